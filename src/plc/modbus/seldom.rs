//! A warning that is due seldom, however often its cause comes: whoever floods the port does not flood the log. Pure.

use std::time::Duration;

use crate::part::Nanos;

/// Time between two warnings of one kind.
const APART: Duration = Duration::from_secs(10);

/// When a warning of one kind was said last.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    said: Option<Nanos>,
    unsaid: u64,
}

impl Seldom {
    /// Its cause came again: how often it came without a warning before, if one is due now.
    pub(super) fn due(&mut self, now: Nanos) -> Option<u64> {
        if self.said.is_some_and(|said| now.since(said) < APART) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_is_counted() {
        let mut seldom = Seldom::default();
        let due = [0, 1, 9_999, 10_000, 10_001].map(|milliseconds| seldom.due(Nanos::from_millis(milliseconds)));
        assert_eq!(due, [Some(0), None, None, Some(2), None]);
    }
}
