//! Bounded channels that say what happens when they are full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel as crossbeam;

/// What happens to an item that finds its channel full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The sender waits. Only towards receivers that never wait themselves.
    Block,
    /// The new item is dropped and counted.
    DropNewest,
    /// The oldest item is dropped and counted.
    DropOldest,
}

/// A channel for at most `capacity` items (at least 1). The name is for logs and metrics.
pub fn bounded<T>(name: &'static str, capacity: usize, when_full: WhenFull) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = crossbeam::bounded(capacity.max(1));
    let sender = Sender {
        name,
        when_full,
        // Dropping the oldest takes receiving it. Such a channel never looks closed to its senders.
        oldest: (when_full == WhenFull::DropOldest).then(|| receiver.clone()),
        into: sender,
        dropped: Arc::default(),
    };
    (sender, Receiver(receiver))
}

/// The end that items go into.
pub struct Sender<T> {
    name: &'static str,
    when_full: WhenFull,
    into: crossbeam::Sender<T>,
    oldest: Option<crossbeam::Receiver<T>>,
    dropped: Arc<AtomicU64>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            when_full: self.when_full,
            into: self.into.clone(),
            oldest: self.oldest.clone(),
            dropped: Arc::clone(&self.dropped),
        }
    }
}

impl<T> Sender<T> {
    /// Puts an item in.
    ///
    /// # Errors
    /// With the item that was dropped: this one, or under [`WhenFull::DropOldest`] an older one.
    pub fn send(&self, item: T) -> Result<(), T> {
        let dropped = match self.when_full {
            WhenFull::Block => return self.into.send(item).map_err(|error| error.0),
            WhenFull::DropNewest => match self.into.try_send(item) {
                Ok(()) => return Ok(()),
                Err(error) => error.into_inner(),
            },
            WhenFull::DropOldest => {
                let mut item = item;
                let mut dropped = None;
                loop {
                    match self.into.try_send(item) {
                        Ok(()) => break,
                        Err(error) => item = error.into_inner(),
                    }
                    dropped = self.oldest.as_ref().and_then(|oldest| oldest.try_recv().ok()).or(dropped);
                }
                match dropped {
                    None => return Ok(()),
                    Some(dropped) => dropped,
                }
            }
        };
        self.dropped.fetch_add(1, Ordering::Relaxed);
        Err(dropped)
    }

    /// How many items were dropped because the channel was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.into.len()
    }

    /// Whether none is waiting.
    pub fn is_empty(&self) -> bool {
        self.into.is_empty()
    }

    /// The channel's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The end that items come out of.
pub struct Receiver<T>(crossbeam::Receiver<T>);

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NothingReceived {
    /// Nothing came in time.
    TimedOut,
    /// Nothing will come any more.
    Closed,
}

impl<T> Receiver<T> {
    /// Waits for an item; `None` once every sender is gone and nothing is left.
    pub fn receive(&self) -> Option<T> {
        self.0.recv().ok()
    }

    /// Waits for an item, but not longer than `timeout`.
    ///
    /// # Errors
    /// When none came.
    pub fn receive_timeout(&self, timeout: Duration) -> Result<T, NothingReceived> {
        self.0.recv_timeout(timeout).map_err(|error| match error {
            crossbeam::RecvTimeoutError::Timeout => NothingReceived::TimedOut,
            crossbeam::RecvTimeoutError::Disconnected => NothingReceived::Closed,
        })
    }

    /// Whether no item is waiting.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An item, if one is waiting.
    pub fn try_receive(&self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received<T>(receiver: &Receiver<T>) -> Vec<T> {
        std::iter::from_fn(|| receiver.try_receive()).collect()
    }

    #[test]
    fn a_full_channel_drops_what_it_says_and_counts_it() {
        let (sender, receiver) = bounded("newest", 2, WhenFull::DropNewest);
        assert_eq!([1, 2, 3].map(|item| sender.send(item)), [Ok(()), Ok(()), Err(3)]);
        assert_eq!((received(&receiver), sender.dropped()), (vec![1, 2], 1));

        let (sender, receiver) = bounded("oldest", 2, WhenFull::DropOldest);
        assert_eq!([1, 2, 3].map(|item| sender.send(item)), [Ok(()), Ok(()), Err(1)]);
        assert_eq!((received(&receiver), sender.dropped()), (vec![2, 3], 1));
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let (sender, receiver) = bounded("gone", 1, WhenFull::Block);
        drop(receiver);
        assert_eq!(sender.send(1), Err(1));
    }
}
