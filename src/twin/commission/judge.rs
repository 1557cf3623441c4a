//! Whether an image is what a step expects, and whether any image passed a part that it must not. Pure: images with their times go in,
//! deviations come out.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Check, Name, Relation, Value};
use crate::line::image::WINDOW_SLOTS;
use crate::part::{Nanos, Reason, Verdict};
use crate::plc::signals::{STATION_REGISTERS, station_signal};

/// What the PLC read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// When it was asked for: what happened before shows in it.
    pub asked: Nanos,
    /// When it was there.
    pub received: Nanos,
    /// The station's registers.
    pub registers: [u16; STATION_REGISTERS],
}

impl Image {
    /// What a signal says; 0 for one that does not exist.
    pub fn value(&self, signal: &str) -> u32 {
        self.value_in(signal, 0)
    }

    /// What a signal of the window says in a slot; 0 for one that does not exist.
    fn value_in(&self, signal: &str, slot: usize) -> u32 {
        station_signal(signal).map_or(0, |signal| signal.read(&self.registers, slot as u16))
    }

    /// The window's slot of a part.
    fn slot_of(&self, cycle_id: u32) -> Option<usize> {
        (0..WINDOW_SLOTS).find(|slot| self.value_in("WindowCycleId", *slot) == cycle_id)
    }

    /// What the signal of a check says.
    fn value_of(&self, check: &Check) -> u32 {
        match check.part {
            None => self.value(check.signal),
            Some(cycle_id) => self.slot_of(cycle_id).map_or(0, |slot| self.value_in(check.signal, slot)),
        }
    }
}

/// What was kept, by name.
pub type Kept = BTreeMap<Name, u32>;

/// A signal that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviation {
    /// Which one; empty where it is no signal.
    pub signal: String,
    /// What it had to be.
    pub expected: String,
    /// What it was.
    pub seen: String,
}

impl Deviation {
    /// Something that is no signal.
    pub fn other(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            signal: String::new(),
            expected: expected.into(),
            seen: seen.into(),
        }
    }
}

/// What an image says to an expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It is not the image that is waited for.
    NotYet,
    /// It is, and says everything it must.
    Met,
    /// It contradicts.
    Broken(Deviation),
}

/// Judges an image by an expectation.
pub fn expect(first: &Check, with: &[Check], meanwhile: &[Check], kept: &Kept, image: &Image) -> Judged {
    let (deviation, judged) = if deviates(first, kept, image).is_none() {
        (with.iter().find_map(|check| deviates(check, kept, image)), Judged::Met)
    } else {
        (meanwhile.iter().find_map(|check| deviates(check, kept, image)), Judged::NotYet)
    };
    deviation.map_or(judged, Judged::Broken)
}

/// How the image deviates from a check, if it does.
pub fn deviates(check: &Check, kept: &Kept, image: &Image) -> Option<Deviation> {
    let seen = image.value_of(check);
    let value = |value: Value| resolve(value, kept, Some(image));
    let (holds, expected) = match &check.relation {
        Relation::Is(wanted) => (seen == value(*wanted), value(*wanted).to_string()),
        Relation::IsNot(unwanted) => (seen != value(*unwanted), format!("not {}", value(*unwanted))),
        Relation::OneOf(values) => (
            values.contains(&seen),
            format!("one of {}", values.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
        ),
    };
    let reason = match check.signal {
        "Verdict" if seen != 0 => reason_in_words(image.value("ReasonCode")),
        _ => String::new(),
    };
    (!holds).then(|| Deviation {
        signal: check.name(),
        expected,
        seen: format!("{seen}{reason}"),
    })
}

/// ReasonCode as people look it up; nothing for 0.
fn reason_in_words(code: u32) -> String {
    match u16::try_from(code).ok().and_then(Reason::from_code) {
        Some(reason) => format!(" (ReasonCode {code} {}: {})", reason.name(), reason.remedy()),
        None if code == 0 => String::new(),
        None => format!(" (ReasonCode {code})"),
    }
}

/// The number that a value is now; what was never kept is 0, and so is a signal without an image.
pub fn resolve(value: Value, kept: &Kept, image: Option<&Image>) -> u32 {
    let kept = |name| kept.get(name).copied().unwrap_or(0);
    match value {
        Value::Number(number) => number,
        Value::Kept(name) => kept(name),
        Value::After(name, more) => kept(name).wrapping_add(more),
        Value::Flipped(name) => u32::from(kept(name) == 0),
        Value::Signal(name) => image.map_or(0, |image| image.value(name)),
    }
}

/// A life of the station, and a session of the PLC in it, as an image tells them.
type Life = (u32, u32);

/// Looks at every image of a run: no part may pass that is not good, whatever is done to the station.
#[derive(Debug, Clone, Default)]
pub struct Watchdog {
    /// Parts that may pass: the good ones, in the life and session in which they were triggered.
    good: BTreeSet<(Life, u32)>,
    /// As the last image told.
    life: Life,
    /// Images looked at.
    pub images: u64,
    /// Those in which Accept was 1.
    pub accepting: u64,
}

impl Watchdog {
    /// A part is under the camera that may pass; or one that may, for all that is known of it.
    pub fn may_pass(&mut self, cycle_id: u32) {
        self.good.insert((self.life, cycle_id));
    }

    /// This part must not pass, or not any more.
    pub fn must_not_pass(&mut self, cycle_id: u32) {
        self.good.remove(&(self.life, cycle_id));
    }

    /// What is wrong with this image, whatever the step.
    pub fn see(&mut self, image: &Image) -> Option<Deviation> {
        self.images += 1;
        self.life = (image.value("BootId"), image.value("EchoPlcSession"));
        let broken = |signal: &str, expected: &str| {
            Some(Deviation {
                signal: signal.into(),
                expected: expected.into(),
                seen: format!("{} {}", signal, image.value(signal)),
            })
        };
        if image.value("TriggerAck") == 1 && image.value("MissedTrigger") == 1 {
            return broken("MissedTrigger", "exactly one of TriggerAck and MissedTrigger");
        }
        if image.value("ResultId") != image.value("ResultIdTail") {
            return broken("ResultIdTail", "equal to ResultId in every image");
        }
        let accepted = self.see_window(image);
        if accepted.is_some() || image.value("Accept") == 0 {
            return accepted;
        }
        self.accepting += 1;
        let accept = |seen: String| {
            Some(Deviation {
                signal: "Accept".into(),
                expected: "0, unless ResultValid = 1, Verdict = 1, StationMode = 1 and EchoCycleId is a good part of this run".into(),
                seen: format!("1 with {seen}"),
            })
        };
        for (signal, wanted) in [
            ("ResultValid", 1),
            ("Verdict", u32::from(Verdict::Ok.code())),
            ("StationMode", 1),
            ("Simulated", 0),
        ] {
            if image.value(signal) != wanted {
                return accept(format!("{signal} = {}", image.value(signal)));
            }
        }
        let part = image.value("EchoCycleId");
        if self.good.contains(&(self.life, part)) {
            None
        } else {
            accept(format!("EchoCycleId = {part}"))
        }
    }

    /// The same of the window: a PLC passes whatever has its CycleId and Verdict 1 there.
    fn see_window(&mut self, image: &Image) -> Option<Deviation> {
        let mut accepts = false;
        for slot in 0..WINDOW_SLOTS {
            let value = |signal| image.value_in(signal, slot);
            let (part, verdict) = (value("WindowCycleId"), value("WindowVerdict"));
            let broken = |signal: &str, expected: &str, seen: u32| {
                Some(Deviation {
                    signal: format!("{signal} in slot {slot}"),
                    expected: expected.into(),
                    seen: format!("{seen}, CycleId {part}"),
                })
            };
            if part != 0 && value("WindowResultId") as usize % WINDOW_SLOTS != slot {
                return broken("WindowResultId", "that of its slot: ResultId mod 16", value("WindowResultId"));
            }
            if verdict != u32::from(Verdict::Ok.code()) {
                continue;
            }
            accepts = true;
            let is_for_real = image.value("StationMode") == 1 && image.value("Simulated") == 0;
            let life = (image.value("WindowBootId"), self.life.1);
            if !is_for_real || !self.good.contains(&(life, part)) {
                let expected = "not 1, unless StationMode = 1 and WindowCycleId is a good part of this run";
                return broken("WindowVerdict", expected, verdict);
            }
        }
        self.accepting += u64::from(accepts);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::{is, is_not, one_of, slot};
    use super::*;
    use crate::line::image::{StationImage, StationMode, WindowSlot};
    use crate::part::CycleId;
    use crate::plc::signals::station_registers;

    fn image(change: impl FnOnce(&mut StationImage)) -> Image {
        let mut image = StationImage {
            station_mode: StationMode::Auto,
            ..StationImage::default()
        };
        change(&mut image);
        Image {
            asked: Nanos::default(),
            received: Nanos::default(),
            registers: station_registers(&image),
        }
    }

    #[test]
    fn what_belongs_together_must_be_in_one_image() {
        let (first, with) = (is("TriggerAck", 1), [is("EchoTriggerId", 41)]);
        let judged = |image| expect(&first, &with, &[is("Accept", 0)], &Kept::new(), &image);
        assert_eq!(judged(image(|image| image.echo_trigger_id = 41)), Judged::NotYet);
        assert_eq!(
            judged(image(|image| (image.trigger_ack, image.echo_trigger_id) = (true, 41))),
            Judged::Met
        );
        let Judged::Broken(deviation) = judged(image(|image| (image.trigger_ack, image.echo_trigger_id) = (true, 40))) else {
            panic!("two images are not one");
        };
        assert_eq!(
            (deviation.signal.as_str(), deviation.expected.as_str(), deviation.seen.as_str()),
            ("EchoTriggerId", "41", "40")
        );
        assert!(matches!(judged(image(|image| image.accept = true)), Judged::Broken(_)));
    }

    #[test]
    fn values_refer_to_what_was_kept_and_to_the_image_itself() {
        let kept = Kept::from([("toggle", 1), ("result", u32::MAX)]);
        let image = image(|image| image.result_id = 7);
        let deviates = |check: Check| deviates(&check, &kept, &image).is_some();
        assert!(!deviates(is("InspectionToggle", Value::Flipped("toggle"))));
        assert!(!deviates(is("ResultIdTail", Value::Signal("ResultId"))));
        assert!(!deviates(is("Verdict", Value::After("result", 1))), "it wraps");
        assert!(!deviates(is_not("ResultId", Value::Kept("result"))));
        assert!(deviates(one_of("ResultId", &[1, 2])));
    }

    #[test]
    fn the_watchdog_lets_good_parts_pass_and_no_others() {
        let accepts = |cycle_id| {
            image(|image| {
                (image.accept, image.result_valid, image.verdict) = (true, true, Some(Verdict::Ok));
                image.echo_cycle_id = cycle_id;
            })
        };
        let mut watchdog = Watchdog::default();
        assert!(watchdog.see(&accepts(41)).is_some());
        watchdog.may_pass(41);
        assert_eq!(watchdog.see(&accepts(41)), None);
        watchdog.must_not_pass(41);
        assert!(watchdog.see(&accepts(41)).is_some());
        watchdog.may_pass(42);
        let changed = |change: fn(&mut StationImage)| {
            image(|image| {
                (image.accept, image.result_valid, image.verdict) = (true, true, Some(Verdict::Ok));
                image.echo_cycle_id = 42;
                change(image);
            })
        };
        assert_eq!(watchdog.see(&changed(|_| ())), None);
        assert!(watchdog.see(&changed(|image| image.result_valid = false)).is_some());
        assert!(watchdog.see(&changed(|image| image.verdict = Some(Verdict::NotOk))).is_some());
        assert!(watchdog.see(&changed(|image| image.station_mode = StationMode::Teach)).is_some());
        assert!(
            watchdog.see(&changed(|image| image.boot_id = 8)).is_some(),
            "a part of the life before"
        );
        assert!(
            watchdog.see(&changed(|image| image.echo_plc_session = 4)).is_some(),
            "a part of the session before"
        );
        assert_eq!(watchdog.see(&changed(|_| ())), None);
        assert_eq!((watchdog.images, watchdog.accepting), (10, 10));
    }
    #[test]
    fn in_the_window_a_part_has_its_own_slot_and_only_good_parts_pass() {
        let shows = |cycle_id: u32, result_id: u32, verdict: u16| {
            image(|image| {
                image.window[5] = WindowSlot {
                    cycle_id: CycleId::new(cycle_id),
                    result_id,
                    verdict,
                    defect_code: 0,
                };
            })
        };
        let wanted = slot(41, is("WindowVerdict", 1));
        assert_eq!(deviates(&wanted, &Kept::new(), &shows(41, 21, 1)), None);
        let deviation = deviates(&wanted, &Kept::new(), &shows(42, 21, 1)).unwrap();
        assert_eq!(
            (deviation.signal.as_str(), deviation.seen.as_str()),
            ("WindowVerdict of part 41", "0")
        );
        let mut watchdog = Watchdog::default();
        assert_eq!(watchdog.see(&shows(41, 21, 0)), None);
        assert_eq!(watchdog.see(&shows(41, 21, 2)), None);
        let deviation = watchdog.see(&shows(41, 21, 1)).unwrap();
        assert_eq!(deviation.signal, "WindowVerdict in slot 5");
        watchdog.may_pass(41);
        assert_eq!(watchdog.see(&shows(41, 21, 1)), None);
        assert_eq!(watchdog.accepting, 1);
        let deviation = watchdog.see(&shows(41, 22, 1)).unwrap();
        assert_eq!(deviation.signal, "WindowResultId in slot 5");
    }
}
