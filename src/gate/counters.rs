//! The registers of a PLC that counts at the gate in the station's place, as what happens at the belt. Pure.
//!
//! A PLC sees edges that a poll would miss: it counts the parts at the gate's sensor and latches where the encoder was at the latest. So one part
//! between two readings is known to the count; of more than one only the last is, and where the others are nobody knows.

use super::config::THINGS_MAX;
use super::{Event, GateIndex};

/// The gate whose sensor and confirmation the registers count: there is one.
const GATE: GateIndex = 0;

/// What the PLC says of the belt and the gate. All of it wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// `EncoderNow`: position of the belt, counts.
    pub encoder: u32,
    /// `GatePartCount`: parts that came to the gate's sensor.
    pub parts: u16,
    /// `GatePartEncoder`: where the encoder was when the latest of them came, counts.
    pub part_encoder: u32,
    /// `EjectConfirmCount`: parts that were seen to be ejected.
    pub ejections: u16,
}

/// What was counted when it was heard last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    heard: Option<Counted>,
}

impl Counters {
    /// The PLC may count from anywhere now: a new session.
    pub fn forget(&mut self) {
        self.heard = None;
    }

    /// What happened since it was heard last. A part is told before the reading of the encoder that may be past it.
    pub fn hear(&mut self, counted: Counted) -> Vec<Event> {
        let before = self.heard.replace(counted).unwrap_or(counted);
        let mut events = Vec::new();
        match counted.parts.wrapping_sub(before.parts) {
            0 => {}
            1 => {
                let reading = Some(counted.part_encoder);
                events.extend([Event::PartSeen { gate: GATE, reading }, Event::PartGone { gate: GATE }]);
            }
            _ => events.push(Event::EncoderLost),
        }
        // More than the gate ever acts on are of no use to anybody.
        let ejections = usize::from(counted.ejections.wrapping_sub(before.ejections)).min(THINGS_MAX);
        events.extend(std::iter::repeat_n(Event::Ejected { gate: GATE }, ejections));
        events.push(Event::Encoder { reading: counted.encoder });
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(encoder: u32, parts: u16, part_encoder: u32, ejections: u16) -> Counted {
        Counted {
            encoder,
            parts,
            part_encoder,
            ejections,
        }
    }

    fn reading(reading: u32) -> Event {
        Event::Encoder { reading }
    }

    #[test]
    fn one_part_between_two_readings_is_known_to_the_count() {
        let mut counters = Counters::default();
        let seen = Event::PartSeen {
            gate: 0,
            reading: Some(97),
        };
        assert_eq!(
            counters.hear(counted(90, u16::MAX, 12, 3)),
            [reading(90)],
            "what was counted before is no news"
        );
        assert_eq!(
            counters.hear(counted(100, 0, 97, 3)),
            [seen, Event::PartGone { gate: 0 }, reading(100)]
        );
        assert_eq!(counters.hear(counted(110, 0, 97, 4)), [Event::Ejected { gate: 0 }, reading(110)]);
    }

    #[test]
    fn of_more_parts_nobody_knows_where_they_are() {
        let mut counters = Counters::default();
        counters.hear(counted(90, 5, 12, 3));
        assert_eq!(counters.hear(counted(100, 7, 97, 3)), [Event::EncoderLost, reading(100)]);
        assert_eq!(
            counters.hear(counted(110, 6, 97, 3))[0],
            Event::EncoderLost,
            "counters do not go back"
        );
        counters.forget();
        assert_eq!(counters.hear(counted(3, 0, 0, 0)), [reading(3)], "a new session counts anew");
        assert_eq!(counters.hear(counted(4, 0, 0, u16::MAX)).len(), THINGS_MAX + 1);
    }
}
