//! The cycle IDs of late: which were used, for what. A trigger that is repeated is told from one that reuses an ID.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::part::CycleId;

/// Cycle IDs that are remembered.
pub const HISTORY_CYCLES: usize = 65_536;

/// What tells a part from another that has the same cycle ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of encoder and recipe.
    place: u64,
    serial: u64,
}

impl Fingerprint {
    /// The fingerprint of what the PLC said with a trigger.
    pub fn new(encoder: u32, serial: &[u8; 32], recipe: u16) -> Self {
        Self {
            place: hashed(&(encoder, recipe)),
            serial: hashed(serial),
        }
    }

    /// Whether a trigger that says the same cycle ID and this means the same part. A serial number that was latched is gone when the trigger is
    /// repeated, and says nothing then.
    pub(super) fn repeats(self, before: Self, serial_is_told: bool) -> bool {
        self.place == before.place && (self.serial == before.serial || !serial_is_told) && before != Self::never_seen()
    }

    /// Of an ID that was skipped: no trigger repeats it.
    pub fn never_seen() -> Self {
        Self { place: 0, serial: 0 }
    }
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A cycle ID that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedCycle {
    /// The PLC's session.
    pub plc_session: u16,
    /// The ID.
    pub cycle_id: CycleId,
    /// What it was used for.
    pub fingerprint: Fingerprint,
    /// The acquisition it started, 0 for none.
    pub acquisition_id: u32,
}

/// The last [`HISTORY_CYCLES`] cycle IDs.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    order: VecDeque<(u16, CycleId)>,
    used: HashMap<(u16, CycleId), UsedCycle>,
    last: Option<(u16, CycleId)>,
}

impl History {
    /// Remembers an ID as the last one.
    pub(super) fn remember(&mut self, cycle: UsedCycle) {
        let key = (cycle.plc_session, cycle.cycle_id);
        self.last = Some(key);
        if self.used.insert(key, cycle).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > HISTORY_CYCLES
            && let Some(oldest) = self.order.pop_front()
        {
            self.used.remove(&oldest);
        }
    }

    pub(super) fn find(&self, plc_session: u16, cycle_id: CycleId) -> Option<&UsedCycle> {
        self.used.get(&(plc_session, cycle_id))
    }

    /// The ID that was used last in this session.
    pub(super) fn last_in(&self, plc_session: u16) -> Option<CycleId> {
        self.last.filter(|(session, _)| *session == plc_session).map(|(_, cycle)| cycle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(number: u32) -> UsedCycle {
        UsedCycle {
            plc_session: 1,
            cycle_id: CycleId::new(number).unwrap(),
            fingerprint: Fingerprint::new(number, &[0; 32], 1),
            acquisition_id: number,
        }
    }

    #[test]
    fn it_forgets_the_oldest_and_keeps_the_rest() {
        let mut history = History::default();
        (1..=HISTORY_CYCLES as u32 + 1).for_each(|number| history.remember(used(number)));
        assert_eq!(history.find(1, CycleId::FIRST), None);
        assert_eq!(history.find(1, CycleId::new(2).unwrap()), Some(&used(2)));
        assert_eq!(history.find(2, CycleId::new(2).unwrap()), None);
        assert_eq!(history.last_in(1), CycleId::new(HISTORY_CYCLES as u32 + 1));
        assert_eq!(history.last_in(2), None);
    }
}
