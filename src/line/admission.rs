//! Admission: whether a part that came now would have its verdict in time, by what parts of late took. TriggerReady drops before a deadline
//! would be missed, not after.
//!
//! The estimate: the frame arrives as late as frames did, then everything that parts ahead still wait for, and the part's own inspections, is
//! shared by the workers: `frame + max(longest own, (ahead + own) / workers)`. Times are those of the [`RANK`]th longest of the last [`KEPT`], so that one
//! stutter closes nothing. A part that is alone is always admitted: waiting would not make it faster, and nothing would be measured any more.

use std::collections::VecDeque;
use std::time::Duration;

use super::event::Inspected;

/// Measurements that count.
const KEPT: usize = 32;

/// Which of them is taken, from the longest: about nine of ten are shorter.
const RANK: usize = 3;

/// Measurements without which nothing is known yet.
const KNOWN_FROM: usize = 8;

/// The last times of a stage.
#[derive(Debug, Clone, Default)]
struct Times {
    last: VecDeque<Duration>,
    /// What most of them stayed below; `None` while too few are known. Found when one is added: it is asked for with every event.
    typical_max: Option<Duration>,
}

impl Times {
    fn add(&mut self, time: Duration) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(time);
        let mut times: Vec<Duration> = self.last.iter().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        self.typical_max = times.get(RANK - 1).copied().filter(|_| times.len() >= KNOWN_FROM);
    }
}

/// What parts of late took.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    workers: u32,
    /// From the trigger (hardware trigger: the exposure) to the last frame.
    frames: Times,
    /// Of each inspection, from an engine's hands to its verdict.
    inspections: Vec<Times>,
}

impl Admission {
    pub(super) fn new(workers: usize, inspections: usize) -> Self {
        Self {
            workers: u32::try_from(workers).unwrap_or(u32::MAX).max(1),
            frames: Times::default(),
            inspections: vec![Times::default(); inspections],
        }
    }

    /// A frame was so late.
    pub(super) fn frame_came(&mut self, after: Duration) {
        self.frames.add(after);
    }

    /// An inspection is done.
    pub(super) fn inspected(&mut self, inspection: usize, inspected: &Inspected) {
        let times = [inspected.preprocess_us, inspected.infer_us, inspected.postprocess_us];
        if let Some(kept) = self.inspections.get_mut(inspection) {
            kept.add(Duration::from_micros(times.into_iter().fold(0, u64::saturating_add)));
        }
    }

    /// How long a part would take whose recipe has the inspections `own`, behind parts that still wait for the inspections `ahead`. `None` while
    /// that is not known.
    pub(super) fn expected(&self, own: impl Iterator<Item = usize>, ahead: impl Iterator<Item = usize>) -> Option<Duration> {
        let time = |inspection: usize| self.inspections.get(inspection)?.typical_max;
        let own: Vec<Duration> = own.map(time).collect::<Option<_>>()?;
        let longest = own.iter().max().copied().unwrap_or_default();
        let work = ahead.filter_map(time).chain(own).fold(Duration::ZERO, Duration::saturating_add);
        Some(self.frames.typical_max?.saturating_add(longest.max(work / self.workers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn measured(workers: usize, inspection_ms: u64) -> Admission {
        let mut admission = Admission::new(workers, 2);
        for inspection in [0, 1] {
            (0..KNOWN_FROM).for_each(|_| admission.inspections[inspection].add(ms(inspection_ms)));
        }
        (0..KNOWN_FROM).for_each(|_| admission.frame_came(ms(5)));
        admission
    }

    #[test]
    fn work_ahead_is_shared_by_the_workers() {
        let one = measured(1, 20);
        assert_eq!(one.expected([0, 1].into_iter(), [].into_iter()), Some(ms(45)));
        assert_eq!(one.expected([0].into_iter(), [0, 1, 1].into_iter()), Some(ms(85)));
        let two = measured(2, 20);
        assert_eq!(
            two.expected([0].into_iter(), [].into_iter()),
            Some(ms(25)),
            "one inspection is not shared"
        );
        assert_eq!(two.expected([0].into_iter(), [0, 1, 1].into_iter()), Some(ms(45)));
    }

    #[test]
    fn little_is_not_enough_and_a_stutter_or_two_change_nothing() {
        let mut admission = Admission::new(1, 1);
        (0..KNOWN_FROM - 1).for_each(|_| admission.inspections[0].add(ms(10)));
        (0..KEPT).for_each(|_| admission.frame_came(ms(1)));
        assert_eq!(admission.expected([0].into_iter(), [].into_iter()), None);
        (0..RANK - 1).for_each(|_| admission.inspections[0].add(ms(900)));
        assert_eq!(admission.expected([0].into_iter(), [].into_iter()), Some(ms(11)));
        admission.inspections[0].add(ms(900));
        assert_eq!(admission.expected([0].into_iter(), [].into_iter()), Some(ms(901)));
        (0..KEPT).for_each(|_| admission.inspections[0].add(ms(10)));
        assert_eq!(
            admission.expected([0].into_iter(), [].into_iter()),
            Some(ms(11)),
            "what was is forgotten"
        );
        assert_eq!(
            admission.expected([7].into_iter(), [].into_iter()),
            None,
            "an inspection that is not there"
        );
    }
}
