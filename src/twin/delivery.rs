//! From the exposure to the frame's arrival: the order in which frames leave the camera, with what goes wrong on the way. Pure.
//!
//! Bounds: at most one frame is held back for the next one.

use std::collections::VecDeque;
use std::time::Duration;

use super::schedule::FrameFault;
use crate::part::Nanos;

/// How much later than the next part's frame a late one arrives.
const LATE: Duration = Duration::from_millis(5);

/// Frames on their way.
#[derive(Debug)]
pub struct Delivery<F> {
    transfer: Duration,
    /// By the time of arrival.
    due: VecDeque<(Nanos, F)>,
    /// A frame that arrives only after the next one, by so much.
    held: Option<(Duration, F)>,
}

impl<F: Clone> Delivery<F> {
    /// Nothing on its way; frames arrive `transfer` after their exposure.
    pub fn new(transfer: Duration) -> Self {
        Self {
            transfer,
            due: VecDeque::new(),
            held: None,
        }
    }

    /// A frame is exposed.
    pub fn exposed(&mut self, frame: F, at: Nanos, fault: Option<FrameFault>) {
        let arrives = at + self.transfer;
        let overtaken = self.held.take();
        match fault {
            None => self.put(arrives, frame),
            Some(FrameFault::Missed) => {}
            Some(FrameFault::Duplicate) => {
                self.put(arrives, frame.clone());
                self.put(arrives, frame);
            }
            Some(FrameFault::Late) => self.held = Some((LATE, frame)),
            Some(FrameFault::Swapped) => self.held = Some((Duration::ZERO, frame)),
        }
        if let Some((after, frame)) = overtaken {
            self.put(arrives + after, frame);
        }
    }

    /// No frame will follow.
    pub fn finish(&mut self, now: Nanos) {
        if let Some((after, frame)) = self.held.take() {
            self.put(now + after, frame);
        }
    }

    /// The next frame that has arrived by `now`.
    pub fn arrived(&mut self, now: Nanos) -> Option<F> {
        self.due.front().filter(|(arrives, _)| *arrives <= now)?;
        self.due.pop_front().map(|(_, frame)| frame)
    }

    /// When the next frame arrives, as far as is known.
    pub fn next(&self) -> Option<Nanos> {
        self.due.front().map(|(arrives, _)| *arrives)
    }

    /// Behind everything that arrives by then.
    fn put(&mut self, arrives: Nanos, frame: F) {
        let place = self.due.partition_point(|(other, _)| *other <= arrives);
        self.due.insert(place, (arrives, frame));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three parts 50 ms apart, the middle one with a fault: what arrives when, ms.
    fn arrivals(fault: Option<FrameFault>) -> Vec<(u64, u32)> {
        let mut delivery = Delivery::new(Duration::from_millis(2));
        let mut arrived = Vec::new();
        for part in 1..=3 {
            let at = Nanos::from_millis(50 * u64::from(part));
            delivery.exposed(part, at, fault.filter(|_| part == 2));
        }
        while let Some(at) = delivery.next() {
            while let Some(part) = delivery.arrived(at) {
                arrived.push((at.0 / 1_000_000, part));
            }
        }
        arrived
    }

    #[test]
    fn each_fault_does_what_its_name_says() {
        assert_eq!(arrivals(None), [(52, 1), (102, 2), (152, 3)]);
        assert_eq!(arrivals(Some(FrameFault::Missed)), [(52, 1), (152, 3)]);
        assert_eq!(arrivals(Some(FrameFault::Duplicate)), [(52, 1), (102, 2), (102, 2), (152, 3)]);
        assert_eq!(arrivals(Some(FrameFault::Swapped)), [(52, 1), (152, 3), (152, 2)]);
        assert_eq!(arrivals(Some(FrameFault::Late)), [(52, 1), (152, 3), (157, 2)]);
    }

    #[test]
    fn the_last_frame_is_not_held_for_ever() {
        let mut delivery = Delivery::new(Duration::ZERO);
        delivery.exposed(1, Nanos::from_millis(1), Some(FrameFault::Swapped));
        assert_eq!(delivery.next(), None);
        delivery.finish(Nanos::from_millis(9));
        assert_eq!(delivery.arrived(Nanos::from_millis(9)), Some(1));
    }
}
