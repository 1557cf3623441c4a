//! Who may write: one connection at a time, from an address on the list. Pure.
//!
//! The newest connection from an address replaces the one before: a PLC that lost its connection and comes back does not wait for the old one to
//! be missed. A second address on the list waits, reading, until the writer is gone; nobody is pushed aside by another machine.

use std::net::IpAddr;

/// Connections from addresses on the list, by a number `I`: at most one of each address, the writer first, then in the order they came.
#[derive(Debug)]
pub(super) struct Writers<I> {
    allowed: Vec<IpAddr>,
    connected: Vec<(I, IpAddr)>,
}

/// What a change means for the one writer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change<I> {
    /// A connection that was replaced and is to be closed.
    pub(super) replaced: Option<I>,
    /// The writer's connection ended.
    pub(super) lost: bool,
    /// Another connection is the writer now.
    pub(super) gained: bool,
}

impl<I: Copy + PartialEq> Writers<I> {
    pub(super) fn new(allowed: &[IpAddr]) -> Self {
        Self {
            allowed: allowed.iter().map(IpAddr::to_canonical).collect(),
            connected: Vec::new(),
        }
    }

    /// Whether connections from this address may write at all.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        self.allowed.contains(&address.to_canonical())
    }

    /// Whether this connection is the writer.
    pub(super) fn may_write(&self, connection: I) -> bool {
        self.writer() == Some(connection)
    }

    /// A connection was made.
    pub(super) fn connect(&mut self, connection: I, address: IpAddr) -> Change<I> {
        let address = address.to_canonical();
        let before = self.writer();
        let mut replaced = None;
        if self.allows(address) {
            match self.connected.iter_mut().find(|(_, other)| *other == address) {
                // In its place: who waited does not go before the writer that comes back.
                Some((place, _)) => replaced = Some(std::mem::replace(place, connection)),
                None => self.connected.push((connection, address)),
            }
        }
        self.change(before, replaced)
    }

    /// A connection ended.
    pub(super) fn disconnect(&mut self, connection: I) -> Change<I> {
        let before = self.writer();
        self.connected.retain(|(other, _)| *other != connection);
        self.change(before, None)
    }

    fn writer(&self) -> Option<I> {
        self.connected.first().map(|(connection, _)| *connection)
    }

    fn change(&self, before: Option<I>, replaced: Option<I>) -> Change<I> {
        let now = self.writer();
        Change {
            replaced,
            lost: before.is_some() && before != now,
            gained: now.is_some() && before != now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 0, last])
    }

    fn change(replaced: Option<u8>, lost: bool, gained: bool) -> Change<u8> {
        Change { replaced, lost, gained }
    }

    #[test]
    fn the_newest_connection_of_an_address_takes_over() {
        let mut writers = Writers::new(&[address(1)]);
        assert_eq!(writers.connect(1, address(1)), change(None, false, true));
        assert_eq!(writers.connect(2, address(1)), change(Some(1), true, true));
        assert!(writers.may_write(2) && !writers.may_write(1));
        assert_eq!(writers.disconnect(1), change(None, false, false), "it was replaced before");
        assert_eq!(writers.disconnect(2), change(None, true, false));
    }

    #[test]
    fn a_second_address_waits_until_the_writer_is_gone() {
        let mut writers = Writers::new(&[address(1), address(2)]);
        writers.connect(1, address(1));
        assert_eq!(writers.connect(2, address(2)), change(None, false, false));
        assert_eq!(writers.connect(3, address(2)), change(Some(2), false, false));
        assert_eq!(
            writers.connect(4, address(1)),
            change(Some(1), true, true),
            "the writer comes back before the one who waits"
        );
        assert!(!writers.may_write(3));
        assert_eq!(writers.disconnect(4), change(None, true, true));
        assert!(writers.may_write(3));
    }

    #[test]
    fn others_never_write() {
        let mut writers = Writers::new(&[address(1)]);
        assert_eq!(writers.connect(1, address(9)), change(None, false, false));
        assert!(!writers.may_write(1));
        let mapped: IpAddr = "::ffff:192.168.0.1".parse().unwrap();
        assert_eq!(
            writers.connect(2, mapped),
            change(None, false, true),
            "the same address as IPv6 tells it"
        );
    }
}
