//! Which parts have left the station: a part leaves the black box once it is printed and its record is committed.
//!
//! Both happen in the order of outcomes, not of numbers, and neither waits for the other: a reader of standard output that stands still must
//! not keep records from the journal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::black_box::SLOTS;

/// What has happened to a part on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It is printed, or never will be: nobody reads any more, or too slowly.
    Printed,
    /// Its record is committed.
    Recorded,
}

/// Parts that left, told by the threads that print and record, read by the line thread without waiting.
#[derive(Debug, Clone)]
pub struct Departures {
    parts: Arc<Mutex<Departed>>,
    below: Arc<AtomicU64>,
}

impl Departures {
    /// Every part below this sequence has left.
    pub fn new(below: u64) -> Self {
        Self {
            parts: Arc::new(Mutex::new(Departed::new(below))),
            below: Arc::new(AtomicU64::new(below)),
        }
    }

    /// This happened to a part.
    pub fn tell(&self, sequence: u64, left: Left) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.below.store(parts.add(sequence, left), Ordering::Relaxed);
    }

    /// The sequence below which every part has left.
    pub fn below(&self) -> u64 {
        self.below.load(Ordering::Relaxed)
    }
}

/// Parts that may wait for the rest of their way out: as many as the black box holds. Beyond, the oldest is no longer waited for: the black
/// box has overwritten it.
const WAITING_MAX: usize = SLOTS as usize;

/// Parts at or above `below` to which something has happened, [`WAITING_MAX`] at most.
#[derive(Debug)]
struct Departed {
    below: u64,
    beyond: BTreeMap<u64, Way>,
}

/// How far a part is on its way out.
#[derive(Debug, Default)]
struct Way {
    printed: bool,
    recorded: bool,
}

impl Departed {
    fn new(below: u64) -> Self {
        Self {
            below,
            beyond: BTreeMap::new(),
        }
    }

    /// Something happened to a part. Returns the sequence below which every one has left.
    fn add(&mut self, sequence: u64, left: Left) -> u64 {
        if sequence >= self.below {
            let way = self.beyond.entry(sequence).or_default();
            match left {
                Left::Printed => way.printed = true,
                Left::Recorded => way.recorded = true,
            }
        }
        if self.beyond.len() > WAITING_MAX
            && let Some((oldest, _)) = self.beyond.pop_first()
        {
            self.below = oldest + 1;
        }
        while let Some(next) = self.beyond.first_entry()
            && *next.key() == self.below
            && next.get().printed
            && next.get().recorded
        {
            next.remove();
            self.below += 1;
        }
        self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_out_of_order_is_not_forgotten() {
        let mut departed = Departed::new(3);
        for sequence in [3, 4, 5, 6, 7] {
            assert_eq!(departed.add(sequence, Left::Printed), 3);
        }
        assert_eq!(
            [5, 4, 2, 3, 7].map(|sequence| departed.add(sequence, Left::Recorded)),
            [3, 3, 3, 6, 6]
        );
    }

    #[test]
    fn a_part_leaves_when_it_is_printed_and_recorded_whichever_comes_first() {
        let departures = Departures::new(1);
        for (sequence, left, below) in [
            (1, Left::Recorded, 1),
            (1, Left::Printed, 2),
            (2, Left::Printed, 2),
            (2, Left::Recorded, 3),
            (2, Left::Printed, 3),
        ] {
            departures.tell(sequence, left);
            assert_eq!(departures.below(), below);
        }
    }

    #[test]
    fn a_part_that_never_leaves_holds_up_no_more_than_the_black_box_does() {
        let mut departed = Departed::new(1);
        for sequence in 2..=SLOTS + 1 {
            departed.add(sequence, Left::Printed);
            assert_eq!(departed.add(sequence, Left::Recorded), 1);
        }
        let last = SLOTS + 2;
        departed.add(last, Left::Printed);
        assert_eq!(departed.add(last, Left::Recorded), last + 1);
        assert!(departed.beyond.is_empty());
    }
}
