//! An encoder's two channels, a quarter of a period apart, become steps: four a period, forward where A leads B.

/// An encoder with two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quadrature {
    /// Levels of A and B; `None` until both are known.
    levels: Option<(bool, bool)>,
}

/// One of the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The one that leads when the belt goes forward.
    A,
    /// The other one.
    B,
}

/// An edge was lost: the channel had this level already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeLost;

impl Quadrature {
    /// An encoder whose channels have these levels.
    pub fn new(a: bool, b: bool) -> Self {
        Self { levels: Some((a, b)) }
    }

    /// A channel went to `level`: one step forward (1) or back (-1).
    ///
    /// # Errors
    /// When it had this level before, or no level is known: steps were lost. It goes on from here.
    pub fn edge(&mut self, channel: Channel, level: bool) -> Result<i8, EdgeLost> {
        let (a, b) = self.levels.ok_or(EdgeLost)?;
        let (before, other) = match channel {
            Channel::A => (a, b),
            Channel::B => (b, a),
        };
        if before == level {
            return Err(EdgeLost);
        }
        self.levels = Some(match channel {
            Channel::A => (level, b),
            Channel::B => (a, level),
        });
        // Forward: A rises while B is low, B rises while A is high, A falls while B is high, B falls while A is low.
        let is_forward = match channel {
            Channel::A => level != other,
            Channel::B => level == other,
        };
        Ok(if is_forward { 1 } else { -1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARD: [(Channel, bool); 4] = [(Channel::A, true), (Channel::B, true), (Channel::A, false), (Channel::B, false)];

    #[test]
    fn a_period_is_four_steps_either_way() {
        let mut encoder = Quadrature::new(false, false);
        assert_eq!(FORWARD.map(|(channel, level)| encoder.edge(channel, level)), [Ok(1); 4]);
        let back = FORWARD.iter().rev().map(|(channel, level)| encoder.edge(*channel, !level));
        assert!(back.eq([Ok(-1); 4]));
    }

    #[test]
    fn an_edge_that_cannot_be_is_a_lost_one() {
        let mut encoder = Quadrature::new(false, false);
        assert_eq!(encoder.edge(Channel::A, false), Err(EdgeLost));
        assert_eq!(encoder.edge(Channel::A, true), Ok(1));
        assert_eq!(Quadrature::default().edge(Channel::B, true), Err(EdgeLost));
    }
}
