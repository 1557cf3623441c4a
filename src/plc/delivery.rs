//! Which results reached a PLC that the station writes to: offered by the line, sent, confirmed, or too late to be sent. Pure.
//!
//! On a wire on which the station writes, a result is shown when its write begins, and the PLC has it for sure when it confirms that write. An Ok
//! is sent only while it can be there before its deadline; once that has passed without a confirmation it is never shown as good again, because the
//! PLC might see it for the first time then. Everything here belongs to the client's side, which alone decides; the line follows.

use std::collections::VecDeque;
use std::time::Duration;

use crate::line::image::{StationImage, WindowSlot};
use crate::part::{Nanos, Verdict};

/// Results that wait for their confirmation; when there are more, the oldest is not waited for any longer. No PLC is shown more than sixteen.
pub const WAITING_MAX: usize = 64;

/// How long a result that passes no part is repeated before it counts as not confirmed.
pub const REPEAT_MAX: Duration = Duration::from_secs(1);

/// Good results that were confirmed and may still stand in an image: the sixteen of the window, and as many of before.
const CONFIRMED_MAX: usize = 32;

/// A result that an image is about to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its number.
    pub result_id: u32,
    /// Whether it passes its part.
    pub passes: bool,
    /// When an Ok must be with the PLC.
    pub deadline: Nanos,
    /// When it was offered.
    pub offered_at: Nanos,
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The PLC has it.
    Confirmed,
    /// It may have it. If it was an Ok, it must not be shown as good any more.
    Unconfirmed,
    /// An Ok that was not sent and will not be: it would not have been there before its deadline.
    Late,
}

/// What became of which result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Its number.
    pub result_id: u32,
    /// What became of it.
    pub fate: Fate,
}

/// A result that waits for its confirmation.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    offer: Offer,
    /// Whether a write of it began: the PLC may have it.
    begun: bool,
}

impl Waiting {
    /// Until when it is waited for. One that was begun may be confirmed until its deadline.
    fn limit(&self, allowance: Duration) -> Nanos {
        match (self.offer.passes, self.begun) {
            (true, true) => self.offer.deadline,
            (true, false) => self.offer.deadline.before(allowance),
            (false, _) => self.offer.offered_at + REPEAT_MAX,
        }
    }

    /// What becomes of it where its time is over.
    fn given_up(&self) -> Delivered {
        let is_late = self.offer.passes && !self.begun;
        self.ends(if is_late { Fate::Late } else { Fate::Unconfirmed })
    }

    fn ends(&self, fate: Fate) -> Delivered {
        Delivered {
            result_id: self.offer.result_id,
            fate,
        }
    }
}

/// The results that are on their way to the PLC.
#[derive(Debug, Clone)]
pub struct Deliveries {
    waiting: VecDeque<Waiting>,
    /// Good results that the PLC has.
    confirmed: VecDeque<u32>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self::new()
    }
}

impl Deliveries {
    /// Nothing is on its way.
    pub fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(WAITING_MAX),
            confirmed: VecDeque::with_capacity(CONFIRMED_MAX),
        }
    }

    /// The line is about to show a result; also one that it offered before as an Ok and shows as not decidable now.
    pub fn offer(&mut self, offer: Offer) -> Option<Delivered> {
        self.waiting.retain(|waiting| waiting.offer.result_id != offer.result_id);
        let is_full = self.waiting.len() == WAITING_MAX;
        let oldest = if is_full { self.waiting.pop_front() } else { None };
        self.waiting.push_back(Waiting { offer, begun: false });
        oldest.map(|oldest| oldest.given_up())
    }

    /// Whether this image may be sent now, if its write takes `allowance` at most: every Ok in it is confirmed already, or would be there before its
    /// deadline. Where one would not, this says what becomes of it, and the line shows another image.
    ///
    /// # Errors
    /// With the results for which it may not be sent.
    pub fn may_send(&mut self, image: &StationImage, now: Nanos, allowance: Duration) -> Result<(), Vec<Delivered>> {
        let mut late = Vec::new();
        for result_id in passing(image).filter(|result_id| !self.confirmed.contains(result_id)) {
            match self.waiting.iter().find(|waiting| waiting.offer.result_id == result_id) {
                Some(waiting) if now + allowance <= waiting.offer.deadline => {}
                Some(waiting) => late.push(waiting.given_up()),
                // Its offer found no room: when it is due is not known.
                None => late.push(Delivered {
                    result_id,
                    fate: Fate::Unconfirmed,
                }),
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        self.waiting
            .retain(|waiting| late.iter().all(|late| late.result_id != waiting.offer.result_id));
        Err(late)
    }

    /// The write that shows this image begins: what it shows may be with the PLC from now on.
    pub fn begin(&mut self, image: &StationImage) {
        for waiting in &mut self.waiting {
            waiting.begun |= shows(image, waiting.offer.result_id);
        }
    }

    /// The PLC confirmed the writes of this image. What was overtaken by it will never be shown again.
    pub fn confirm(&mut self, image: &StationImage, now: Nanos) -> Vec<Delivered> {
        let mut delivered = self.expire(now, Duration::ZERO);
        let newest = newest(image);
        let confirmed = &mut self.confirmed;
        self.waiting.retain(|waiting| {
            let result_id = waiting.offer.result_id;
            if shows(image, result_id) {
                if waiting.offer.passes {
                    remember(confirmed, result_id);
                }
                delivered.push(waiting.ends(Fate::Confirmed));
                return false;
            }
            let is_overtaken = newest.is_some_and(|newest| newest == result_id || is_after(newest, result_id));
            if is_overtaken {
                delivered.push(waiting.ends(Fate::Unconfirmed));
            }
            !is_overtaken
        });
        delivered
    }

    /// The PLC acknowledges a result, so it has it, whatever became of the confirmation.
    pub fn acknowledged(&mut self, result_id: u32) -> Option<Delivered> {
        let is_meant = |waiting: &Waiting| waiting.begun && waiting.offer.result_id == result_id;
        let waiting = self.waiting.remove(self.waiting.iter().position(is_meant)?)?;
        if waiting.offer.passes {
            remember(&mut self.confirmed, result_id);
        }
        Some(waiting.ends(Fate::Confirmed))
    }

    /// Time passes: what cannot be there any more as it was offered, if a write takes `allowance`.
    pub fn expire(&mut self, now: Nanos, allowance: Duration) -> Vec<Delivered> {
        let mut expired = Vec::new();
        self.waiting.retain(|waiting| {
            let is_over = now > waiting.limit(allowance);
            if is_over {
                expired.push(waiting.given_up());
            }
            !is_over
        });
        expired
    }

    /// When [`Self::expire`] has something to say; `None` while nothing waits.
    pub fn expires_at(&self, allowance: Duration) -> Option<Nanos> {
        let limits = self.waiting.iter().map(|waiting| waiting.limit(allowance));
        limits.min().map(|limit| limit + Duration::from_nanos(1))
    }
}

fn remember(confirmed: &mut VecDeque<u32>, result_id: u32) {
    if confirmed.len() == CONFIRMED_MAX {
        confirmed.pop_front();
    }
    confirmed.push_back(result_id);
}

/// The results of an image that pass their parts.
fn passing(image: &StationImage) -> impl Iterator<Item = u32> + '_ {
    let is_ok = |slot: &&WindowSlot| Verdict::from_code(slot.verdict) == Some(Verdict::Ok);
    let window = image.window.iter().filter(is_ok).map(|slot| slot.result_id);
    image.accept.then_some(image.result_id).into_iter().chain(window)
}

/// Whether an image shows a result, as whatever.
fn shows(image: &StationImage, result_id: u32) -> bool {
    let single = image.result_valid && image.result_id == result_id;
    single
        || image
            .window
            .iter()
            .any(|slot| slot.cycle_id.is_some() && slot.result_id == result_id)
}

/// The newest result that an image knows of.
fn newest(image: &StationImage) -> Option<u32> {
    let window = image.window.iter().map(|slot| slot.result_id);
    let known = window.chain([image.result_id]).filter(|result_id| *result_id != 0);
    known.reduce(|newest, result_id| if is_after(result_id, newest) { result_id } else { newest })
}

/// Whether one result came after another; they wrap.
fn is_after(result_id: u32, other: u32) -> bool {
    result_id.wrapping_sub(other).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::part::CycleId;

    const ALLOWANCE: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> Nanos {
        Nanos::from_millis(millis)
    }

    fn offer(result_id: u32, passes: bool) -> Offer {
        Offer {
            result_id,
            passes,
            deadline: at(200),
            offered_at: at(100),
        }
    }

    fn showing(result_id: u32, passes: bool) -> StationImage {
        StationImage {
            result_valid: true,
            accept: passes,
            result_id,
            verdict: Some(if passes { Verdict::Ok } else { Verdict::NotOk }),
            ..StationImage::default()
        }
    }

    fn windowed(results: &[(u32, bool)]) -> StationImage {
        let mut image = StationImage::default();
        for (result_id, passes) in results {
            image.window[*result_id as usize % 16] = WindowSlot {
                cycle_id: CycleId::new(*result_id),
                result_id: *result_id,
                verdict: if *passes { 1 } else { 2 },
                defect_code: 0,
            };
        }
        image
    }

    fn became(result_id: u32, fate: Fate) -> Delivered {
        Delivered { result_id, fate }
    }

    #[test]
    fn an_ok_is_sent_while_it_can_be_there_before_its_deadline() {
        let image = showing(7, true);
        let mut deliveries = Deliveries::new();
        deliveries.offer(offer(7, true));
        assert_eq!(deliveries.may_send(&image, at(150), ALLOWANCE), Ok(()), "at the last moment");
        let mut too_late = deliveries.clone();
        let a_moment_later = at(150) + Duration::from_nanos(1);
        assert_eq!(
            too_late.may_send(&image, a_moment_later, ALLOWANCE),
            Err(vec![became(7, Fate::Late)])
        );
        assert_eq!(too_late.expires_at(ALLOWANCE), None, "told once");
        // A write that began is not late but unknown, and may not be begun again either.
        deliveries.begin(&image);
        assert_eq!(
            deliveries.may_send(&image, a_moment_later, ALLOWANCE),
            Err(vec![became(7, Fate::Unconfirmed)])
        );
        assert_eq!(
            deliveries.may_send(&showing(8, true), at(1), ALLOWANCE),
            Err(vec![became(8, Fate::Unconfirmed)]),
            "one that was never offered"
        );
    }

    #[test]
    fn what_is_confirmed_in_time_stays_good() {
        let image = showing(7, true);
        let mut deliveries = Deliveries::new();
        deliveries.offer(offer(7, true));
        deliveries.begin(&image);
        assert_eq!(deliveries.confirm(&image, at(200)), [became(7, Fate::Confirmed)]);
        assert_eq!(
            deliveries.may_send(&image, at(900), ALLOWANCE),
            Ok(()),
            "after its deadline, the same again"
        );

        deliveries.offer(offer(8, true));
        deliveries.begin(&showing(8, true));
        assert_eq!(
            deliveries.confirm(&showing(8, true), at(201)),
            [became(8, Fate::Unconfirmed)],
            "too late to be sure"
        );
        assert_eq!(deliveries.acknowledged(8), None);
    }

    #[test]
    fn what_passes_nothing_is_repeated_for_a_while() {
        let image = showing(7, false);
        let mut deliveries = Deliveries::new();
        deliveries.offer(offer(7, false));
        assert_eq!(deliveries.may_send(&image, at(900), ALLOWANCE), Ok(()));
        assert_eq!(deliveries.expire(at(1100), ALLOWANCE), []);
        assert_eq!(deliveries.expires_at(ALLOWANCE), Some(at(1100) + Duration::from_nanos(1)));
        assert_eq!(deliveries.clone().confirm(&image, at(1100)), [became(7, Fate::Confirmed)]);
        assert_eq!(deliveries.expire(at(1101), ALLOWANCE), [became(7, Fate::Unconfirmed)]);
    }

    #[test]
    fn an_acknowledgement_confirms_what_was_begun() {
        let mut deliveries = Deliveries::new();
        deliveries.offer(offer(7, true));
        assert_eq!(deliveries.acknowledged(7), None, "nobody can have seen it");
        deliveries.begin(&showing(7, true));
        assert_eq!(deliveries.acknowledged(7), Some(became(7, Fate::Confirmed)));
    }

    #[test]
    fn what_a_newer_image_does_not_show_was_overtaken() {
        let mut deliveries = Deliveries::new();
        for result_id in [u32::MAX, 1, 2] {
            deliveries.offer(offer(result_id, true));
        }
        let confirmed = deliveries.confirm(&showing(1, true), at(150));
        assert_eq!(
            confirmed,
            [became(u32::MAX, Fate::Unconfirmed), became(1, Fate::Confirmed)],
            "2 is still to come"
        );
        let confirmed = deliveries.confirm(&windowed(&[(2, true), (3, false)]), at(150));
        assert_eq!(confirmed, [became(2, Fate::Confirmed)]);
    }

    #[test]
    fn an_ok_that_was_too_late_is_offered_again_as_what_it_is() {
        let mut deliveries = Deliveries::new();
        deliveries.offer(offer(7, true));
        assert_eq!(deliveries.expire(at(151), ALLOWANCE), [became(7, Fate::Late)]);
        deliveries.offer(offer(7, false));
        assert_eq!(deliveries.may_send(&showing(7, false), at(160), ALLOWANCE), Ok(()));
        assert_eq!(deliveries.confirm(&showing(7, false), at(170)), [became(7, Fate::Confirmed)]);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut deliveries = Deliveries::new();
        for result_id in 1..=WAITING_MAX as u32 {
            assert_eq!(deliveries.offer(offer(result_id, false)), None);
        }
        assert_eq!(deliveries.offer(offer(1000, true)), Some(became(1, Fate::Unconfirmed)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Offer(bool),
        /// The newest image is sent, and confirmed or not.
        Send(bool),
        Wait(u64),
        Acknowledge,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<bool>().prop_map(Step::Offer),
            any::<bool>().prop_map(Step::Send),
            (1..80_u64).prop_map(Step::Wait),
            Just(Step::Acknowledge),
        ]
    }

    proptest! {
        /// Whatever happens: each result has one fate in the end, no Ok is first sent without time to arrive, none that was given up is sent as good.
        #[test]
        fn every_result_has_one_fate(steps in proptest::collection::vec(step(), 1..60)) {
            let mut deliveries = Deliveries::new();
            let mut fates: Vec<Delivered> = Vec::new();
            let (mut now, mut newest, mut passes, mut deadline) = (at(1000), 0, false, at(0));
            for step in steps {
                match step {
                    Step::Wait(millis) => {
                        now = now + Duration::from_millis(millis);
                        fates.extend(deliveries.expire(now, ALLOWANCE));
                    }
                    Step::Offer(ok) => {
                        (newest, passes, deadline) = (newest + 1, ok, now + Duration::from_millis(100));
                        fates.extend(deliveries.offer(Offer { result_id: newest, passes, deadline, offered_at: now }));
                    }
                    Step::Send(confirms) if newest != 0 => {
                        // The line does as it is told.
                        let confirmed = fates.contains(&became(newest, Fate::Confirmed));
                        let is_over = fates.iter().any(|told| told.result_id == newest) && !confirmed;
                        let image = showing(newest, passes && !is_over);
                        if let Err(late) = deliveries.may_send(&image, now, ALLOWANCE) {
                            fates.extend(late);
                            continue;
                        }
                        prop_assert!(!image.accept || confirmed || now + ALLOWANCE <= deadline);
                        deliveries.begin(&image);
                        if confirms {
                            fates.extend(deliveries.confirm(&image, now));
                        }
                    }
                    Step::Send(_) => {}
                    Step::Acknowledge => fates.extend(deliveries.acknowledged(newest)),
                }
            }
            fates.extend(deliveries.expire(now + 2 * REPEAT_MAX, ALLOWANCE));
            let mut told: Vec<u32> = fates.iter().map(|told| told.result_id).collect();
            told.sort_unstable();
            prop_assert_eq!(told, (1..=newest).collect::<Vec<_>>());
        }
    }
}
