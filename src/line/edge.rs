//! Rising and falling edges of control bits. A level found at the start of a connection or session is no edge.

/// What a bit did in a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Rising,
    Falling,
    None,
}

/// Follows one bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct EdgeDetector {
    /// `None` until the bit was seen.
    level: Option<bool>,
    /// Whether it was seen 0, without which a 1 is no edge.
    armed: bool,
}

impl EdgeDetector {
    /// The bit has this level now, said by the PLC itself.
    pub(super) fn see(&mut self, level: bool) -> Edge {
        let before = self.level.replace(level);
        match (level, before) {
            (true, Some(false)) if self.armed => Edge::Rising,
            (false, Some(true)) if self.armed => Edge::Falling,
            (false, _) => {
                self.armed = true;
                Edge::None
            }
            (true, _) => Edge::None,
        }
    }

    /// Forgets everything: the next level is found, not an edge.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether the bit was seen.
    pub(super) fn is_known(self) -> bool {
        self.level.is_some()
    }

    /// Whether the bit was seen 0 since the start.
    pub(super) fn is_armed(self) -> bool {
        self.armed
    }

    /// Whether the bit is known to be 1.
    pub(super) fn is_high(self) -> bool {
        self.level == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_that_is_found_must_go_to_zero_first() {
        let mut bit = EdgeDetector::default();
        assert_eq!(
            [true, true, false, true, false].map(|level| bit.see(level)),
            [Edge::None, Edge::None, Edge::None, Edge::Rising, Edge::Falling]
        );
        bit.forget();
        assert_eq!(
            [true, false, true].map(|level| bit.see(level)),
            [Edge::None, Edge::None, Edge::Rising]
        );
    }
}
