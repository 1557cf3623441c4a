//! Whether a gate that the station moves itself can tell parts apart, and has its verdict in time. Pure.

use std::time::Duration;

/// The share of a pocket or window that the belt may go within the worst round trip to the PLC: where a part was triggered is known no better.
const ROUND_TRIP_SHARE_MAX: f64 = 0.25;

/// What decides it. Lengths in millimetres along the belt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateFit {
    /// Highest speed of the belt, millimetres a second.
    pub top_speed_mm_s: f64,
    /// How much of the belt belongs to one part.
    pub window_mm: f64,
    /// How long a part is at most.
    pub part_length_mm: f64,
    /// How far before a part the first gate begins to act.
    pub reach_mm: f64,
    /// From the trigger to the first gate.
    pub gate_mm: f64,
    /// From a change at one side of the wire to an answer that the other side acted on, at worst.
    pub round_trip: Duration,
    /// From the trigger to the outcome, at worst.
    pub outcome: Duration,
    /// What is kept in hand.
    pub margin: Duration,
    /// Smallest time between two parts.
    pub part_interval_min: Duration,
}

impl GateFit {
    fn travel_mm(&self, time: Duration) -> f64 {
        self.top_speed_mm_s * time.as_secs_f64()
    }

    /// How far the belt goes within the worst round trip, and how far it may.
    pub fn round_trip_mm(&self) -> (f64, f64) {
        (self.travel_mm(self.round_trip), ROUND_TRIP_SHARE_MAX * self.window_mm)
    }

    /// How far two parts are apart at the smallest interval and top speed, from front to front, and how far they must be: neither their windows
    /// nor what the gate needs around them may meet.
    pub fn spacing_mm(&self) -> (f64, f64) {
        let least = (self.part_length_mm + self.reach_mm).max(self.window_mm);
        (self.travel_mm(self.part_interval_min), least)
    }

    /// How long a part takes at top speed from its trigger to where the gate begins to act, and how long its outcome takes.
    pub fn verdict(&self) -> (Duration, Duration) {
        let way_mm = (self.gate_mm - self.reach_mm).max(0.0);
        let there = Duration::try_from_secs_f64(way_mm / self.top_speed_mm_s).unwrap_or_default();
        (there, self.round_trip / 2 + self.outcome + self.margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const FIT: GateFit = GateFit {
        top_speed_mm_s: 500.0,
        window_mm: 60.0,
        part_length_mm: 40.0,
        reach_mm: 25.0,
        gate_mm: 425.0,
        round_trip: millis(30),
        outcome: millis(200),
        margin: millis(10),
        part_interval_min: millis(150),
    };

    #[test]
    fn a_line_by_hand() {
        // 500 mm/s for 30 ms; a quarter of 60 mm.
        assert_eq!(FIT.round_trip_mm(), (15.0, 15.0));
        // 500 mm/s for 150 ms; 40 mm of part and 25 mm of gate.
        assert_eq!(FIT.spacing_mm(), (75.0, 65.0));
        // 400 mm at 500 mm/s; half of 30 ms, 200 ms, 10 ms.
        assert_eq!(FIT.verdict(), (millis(800), millis(225)));
    }

    #[test]
    fn windows_keep_parts_apart_too() {
        let wide = GateFit { window_mm: 100.0, ..FIT };
        assert_eq!(wide.spacing_mm(), (75.0, 100.0));
        let early = GateFit { gate_mm: 20.0, ..FIT };
        assert_eq!(early.verdict().0, Duration::ZERO);
    }
}
