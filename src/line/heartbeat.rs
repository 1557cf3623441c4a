//! Whether the PLC is alive: its heartbeat changes. A number that merely stands there proves nothing.

use std::time::Duration;

use crate::part::Nanos;

/// Changes after which a PLC counts as alive.
const CHANGES_TO_LIVE: u8 = 2;

/// Watches the PLC's heartbeat.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeartbeatWatch {
    timeout: Duration,
    value: Option<u16>,
    changes: u8,
    changed_at: Nanos,
}

impl HeartbeatWatch {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            value: None,
            changes: 0,
            changed_at: Nanos::default(),
        }
    }

    /// The heartbeat has this value.
    pub(super) fn see(&mut self, value: u16, at: Nanos) {
        let before = self.value.replace(value);
        if before.is_some_and(|before| before != value) {
            self.changes = (self.changes + 1).min(CHANGES_TO_LIVE);
            self.changed_at = at;
        }
    }

    /// Lets time pass; after the timeout the PLC has to show again that it lives. Returns whether it was lost just now.
    pub(super) fn expire(&mut self, now: Nanos) -> bool {
        let lost = self.changes > 0 && now.since(self.changed_at) >= self.timeout;
        let was_alive = self.is_alive();
        if lost {
            self.changes = 0;
        }
        lost && was_alive
    }

    pub(super) fn is_alive(self) -> bool {
        self.changes == CHANGES_TO_LIVE
    }

    /// When it will have been silent for too long.
    pub(super) fn expires_at(self) -> Option<Nanos> {
        (self.changes > 0).then(|| self.changed_at + self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_after_two_changes_and_lost_after_the_timeout() {
        let mut watch = HeartbeatWatch::new(Duration::from_millis(300));
        let at = Nanos::from_millis;
        watch.see(7, at(0));
        watch.see(8, at(100));
        assert!(!watch.is_alive());
        watch.see(9, at(200));
        assert!(watch.is_alive() && !watch.expire(at(499)));
        assert_eq!(watch.expires_at(), Some(at(500)));
        assert!(watch.expire(at(500)) && !watch.is_alive() && !watch.expire(at(600)));
        watch.see(10, at(700));
        assert!(!watch.is_alive());
    }
}
