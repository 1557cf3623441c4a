//! How far the belt went: readings that wrap become a position that does not, and a step that no belt can have made is told.

use super::config::Travel;
use crate::part::Nanos;

const NANOS_PER_S: i128 = 1_000_000_000;

/// A step longer than the belt can have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jump(pub(super) i64);

/// How far the belt went since the first reading.
#[derive(Debug, Clone)]
pub(super) struct Odometer {
    travel: Travel,
    top_speed: u64,
    slack: i64,
    reading: Option<u32>,
    /// `None` before the first reading.
    position: Option<i64>,
    /// When it was looked at last.
    at: Nanos,
    /// Billionths of a count: what top speed allowed and the belt did not go, at most `slack` counts; in place of an encoder, the fraction.
    spare: i128,
    /// Without an encoder: whether the belt moves. It stands until it is said to move.
    running: bool,
}

impl Odometer {
    pub(super) fn new(travel: Travel, top_speed: u64, slack: i64) -> Self {
        Self {
            travel,
            top_speed,
            slack,
            reading: None,
            position: (travel == Travel::Time).then_some(0),
            at: Nanos(0),
            spare: if travel == Travel::Time {
                0
            } else {
                i128::from(slack) * NANOS_PER_S
            },
            running: false,
        }
    }

    /// Where the belt is; `None` before anybody said.
    pub(super) fn position(&self) -> Option<i64> {
        self.position
    }

    /// Lets time pass: without an encoder the belt goes on, if it runs.
    pub(super) fn pass_time(&mut self, now: Nanos) {
        if self.travel != Travel::Time {
            return;
        }
        let past = now.since(self.at);
        self.at = self.at.max(now);
        if self.running {
            self.spare += i128::from(self.top_speed) * past.as_nanos() as i128;
            let counts = self.spare / NANOS_PER_S;
            self.spare -= counts * NANOS_PER_S;
            self.go(counts as i64);
        }
    }

    /// The belt-running signal.
    pub(super) fn run(&mut self, running: bool) {
        self.running = running;
    }

    /// The encoder says this. After a jump the belt is taken to be where it was.
    pub(super) fn read(&mut self, now: Nanos, reading: u32) -> Result<(), Jump> {
        let Travel::Encoder { modulus } = self.travel else { return Ok(()) };
        let before = self.reading.replace(reading);
        let past = now.since(self.at).as_nanos() as i128;
        self.at = self.at.max(now);
        let (Some(before), Some(_)) = (before, self.position) else {
            self.position = Some(i64::from(reading));
            return Ok(());
        };
        let step = wrapped(before, reading, modulus);
        let allowed = self.spare + i128::from(self.top_speed) * past;
        let needed = i128::from(step.abs()) * NANOS_PER_S;
        // Where the belt can have gone half around, nobody knows which way it went, or how often around.
        let is_ambiguous = allowed >= i128::from(modulus) * NANOS_PER_S / 2;
        if needed > allowed || is_ambiguous || u64::from(reading) >= modulus {
            self.spare = i128::from(self.slack) * NANOS_PER_S;
            return Err(Jump(step));
        }
        self.spare = (allowed - needed).min(i128::from(self.slack) * NANOS_PER_S);
        self.go(step);
        Ok(())
    }

    /// Where the belt was, or will be in a moment, when the encoder says or said this; now, where that is not asked.
    pub(super) fn position_at(&self, reading: Option<u32>) -> Option<i64> {
        let position = self.position?;
        match (self.travel, reading, self.reading) {
            (_, None, _) | (Travel::Time, ..) => Some(position),
            (Travel::Encoder { modulus }, Some(reading), Some(now)) => {
                (u64::from(reading) < modulus).then(|| position + wrapped(now, reading, modulus))
            }
            (Travel::Encoder { .. }, Some(_), None) => None,
        }
    }

    fn go(&mut self, counts: i64) {
        if let Some(position) = &mut self.position {
            *position = position.saturating_add(counts);
        }
    }
}

/// The shortest way from one reading to another, around the wrap if that is shorter: more than minus half of `modulus`, up to half of it. With
/// a modulus of 2^32 this is the difference as a wrapping i32.
fn wrapped(from: u32, to: u32, modulus: u64) -> i64 {
    let modulus = modulus.max(2) as i64;
    let ahead = (i64::from(to) - i64::from(from)).rem_euclid(modulus);
    if ahead > modulus / 2 { ahead - modulus } else { ahead }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: u64 = 1 << 32;

    fn odometer(modulus: u64) -> Odometer {
        Odometer::new(Travel::Encoder { modulus }, 1000, 2)
    }

    #[test]
    fn readings_wrap_either_way() {
        let mut odometer = odometer(4096);
        odometer.read(Nanos::from_millis(0), 4090).unwrap();
        odometer.read(Nanos::from_millis(10), 3).unwrap();
        assert_eq!(odometer.position(), Some(4099));
        odometer.read(Nanos::from_millis(20), 4094).unwrap();
        assert_eq!(odometer.position(), Some(4094));
        assert_eq!(odometer.position_at(Some(1)), Some(4097));
        assert_eq!(odometer.position_at(Some(4096)), None, "no such reading");
    }

    #[test]
    fn a_step_longer_than_top_speed_allows_is_a_jump_and_moves_nothing() {
        let mut odometer = odometer(WHOLE);
        odometer.read(Nanos::from_millis(0), 100).unwrap();
        // 10 ms at 1000 counts a second, and 2 of slack.
        odometer.read(Nanos::from_millis(10), 112).unwrap();
        assert_eq!(odometer.read(Nanos::from_millis(20), 123), Err(Jump(11)), "the slack is used up");
        assert_eq!(odometer.position(), Some(112));
        odometer.read(Nanos::from_millis(30), 125).unwrap();
        assert_eq!(odometer.position(), Some(114));
        assert_eq!(odometer.read(Nanos::from_millis(40), 0), Err(Jump(-125)), "a PLC that starts anew");
    }

    #[test]
    fn noise_is_a_jump_however_short_its_steps_are() {
        let mut odometer = odometer(WHOLE);
        let mut reading = 0;
        odometer.read(Nanos(0), reading).unwrap();
        let jumped = (1..100).find(|pulse| {
            reading += 1;
            odometer.read(Nanos(pulse * 100), reading).is_err()
        });
        assert_eq!(jumped, Some(3), "10 million pulses a second");
    }

    #[test]
    fn where_an_encoder_may_have_gone_around_nobody_knows() {
        let mut odometer = odometer(4096);
        odometer.read(Nanos::from_millis(0), 0).unwrap();
        assert!(
            odometer.read(Nanos::from_millis(3000), 1).is_err(),
            "3000 counts are more than half around"
        );
    }

    #[test]
    fn without_an_encoder_the_belt_goes_while_it_is_said_to_run() {
        let mut odometer = Odometer::new(Travel::Time, 1000, 0);
        odometer.pass_time(Nanos::from_millis(500));
        assert_eq!(odometer.position(), Some(0));
        odometer.run(true);
        for at in 1..=3000 {
            odometer.pass_time(Nanos::from_millis(500) + std::time::Duration::from_micros(at * 333));
        }
        assert_eq!(odometer.position(), Some(999));
        odometer.run(false);
        odometer.pass_time(Nanos::from_millis(90_000));
        assert_eq!(odometer.position(), Some(999));
    }

    proptest! {
        #[test]
        fn a_whole_word_wraps_as_an_i32_does(from: u32, to: u32) {
            let expected = to.wrapping_sub(from).cast_signed();
            // The one difference that is as far either way.
            prop_assume!(expected != i32::MIN);
            prop_assert_eq!(wrapped(from, to, WHOLE), i64::from(expected));
        }
    }
}
