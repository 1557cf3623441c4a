//! Which sequences of a chain are held: ranges that neither overlap nor touch. Pure.

use std::ops::RangeInclusive;

use crate::rpc::proto;

/// Sequences, as few ranges in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(Vec<RangeInclusive<u64>>);

impl Held {
    /// Adds a range; an empty one adds nothing.
    pub fn add(&mut self, range: RangeInclusive<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut first, mut last) = range.into_inner();
        // Those that overlap it or touch it become one with it.
        let from = self.0.partition_point(|held| held.end().saturating_add(1) < first);
        let to = self.0.partition_point(|held| *held.start() <= last.saturating_add(1));
        if from < to {
            first = first.min(*self.0[from].start());
            last = last.max(*self.0[to - 1].end());
        }
        self.0.splice(from..to, [first..=last]);
    }

    /// Whether a sequence is held.
    pub fn contains(&self, sequence: u64) -> bool {
        self.from(sequence).next().is_some_and(|held| held.contains(&sequence))
    }

    /// Whether any sequence of a range is held.
    pub fn touches(&self, range: &RangeInclusive<u64>) -> bool {
        !range.is_empty() && self.from(*range.start()).next().is_some_and(|held| held.start() <= range.end())
    }

    /// The first gap at or above `sequence`; its end is 2^64 - 1 where nothing is held above.
    pub fn gap_from(&self, sequence: u64) -> RangeInclusive<u64> {
        let mut first = sequence;
        for held in self.from(sequence) {
            if *held.start() > first {
                return first..=held.start() - 1;
            }
            first = held.end().saturating_add(1);
        }
        first..=u64::MAX
    }

    /// The highest sequence.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|held| *held.end())
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, in ascending order.
    pub fn ranges(&self) -> &[RangeInclusive<u64>] {
        &self.0
    }

    /// The ranges, as they go over the wire.
    pub fn to_proto(&self) -> Vec<proto::SequenceRange> {
        let range = |held: &RangeInclusive<u64>| proto::SequenceRange {
            first: *held.start(),
            last: *held.end(),
        };
        self.0.iter().map(range).collect()
    }

    /// Those ranges that end at or above `sequence`.
    fn from(&self, sequence: u64) -> impl Iterator<Item = &RangeInclusive<u64>> {
        let first = self.0.partition_point(|held| *held.end() < sequence);
        self.0[first..].iter()
    }
}

impl FromIterator<RangeInclusive<u64>> for Held {
    fn from_iter<T: IntoIterator<Item = RangeInclusive<u64>>>(ranges: T) -> Self {
        let mut held = Self::default();
        ranges.into_iter().for_each(|range| held.add(range));
        held
    }
}

impl From<&[proto::SequenceRange]> for Held {
    fn from(ranges: &[proto::SequenceRange]) -> Self {
        ranges.iter().map(|range| range.first..=range.last).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_sequences(ranges in prop::collection::vec((1u64..60, 0u64..9), 0..30)) {
            let ranges: Vec<_> = ranges.into_iter().map(|(first, length)| first..=first + length).collect();
            let set: BTreeSet<u64> = ranges.iter().cloned().flatten().collect();
            let held: Held = ranges.into_iter().collect();
            prop_assert_eq!(held.ranges().iter().cloned().flatten().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert!(held.ranges().windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()), "{held:?}");
            prop_assert_eq!(held.last(), set.last().copied());
            for sequence in 0..75 {
                prop_assert_eq!(held.contains(sequence), set.contains(&sequence));
                let gap = held.gap_from(sequence);
                let first = (sequence..=u64::MAX).find(|at| !set.contains(at)).unwrap();
                prop_assert_eq!(*gap.start(), first);
                prop_assert_eq!(*gap.end(), set.range(first..).next().map_or(u64::MAX, |next| next - 1));
                prop_assert_eq!(held.touches(&(sequence..=sequence + 3)), set.range(sequence..=sequence + 3).next().is_some());
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_do_no_harm() {
        let mut held = Held::default();
        held.add(u64::MAX - 1..=u64::MAX);
        held.add(0..=0);
        #[expect(clippy::reversed_empty_ranges, reason = "the case is what a hostile peer sends")]
        held.add(7..=3);
        assert_eq!(held.ranges(), [0..=0, u64::MAX - 1..=u64::MAX]);
        assert_eq!(held.gap_from(1), 1..=u64::MAX - 2);
    }
}
