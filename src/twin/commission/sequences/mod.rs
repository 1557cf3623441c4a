//! The list: what a controls engineer wants to see before power-on, as data. Pure. Sections are those of docs/commissioning.md.
//!
//! Every sequence begins with a PLC that starts anew: what came before it, another sequence or another PLC, is the past by then.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the list, and what its sequences have in common |
//! | `results.rs` | results and their acknowledgement, one at a time and buffered |
//! | `window.rs` | results in window mode |
//! | `triggers.rs` | triggers and their numbers |
//! | `exposures.rs` | parts that the camera sees not at all, twice, or unannounced |
//! | `disturbances.rs` | what stops, restarts and is cut |
//! | `modes.rs` | recipes, commands, serial numbers, bypass, test parts |

mod disturbances;
mod exposures;
mod modes;
mod results;
mod triggers;
mod window;

use super::step::{Action, Check, Look, Name, Recorded, Sequence, Span, Step, Terms, Timer, Value, is, is_not, one_of, slot};
use crate::line::config::{ResultMode, SerialMode};
use crate::part::{Reason, Verdict};

/// Changes of the station's Heartbeat after which what was written before must have had its effect.
const SETTLED: Span = Span::Beats(2);

/// The same for what must last by itself: long enough for the PLC to have written more than once.
const LASTING: Span = Span::Beats(4);

/// Encoder counts from part to part.
const PITCH: u32 = 1000;

/// The whole list for a station of these terms, in the order in which it is run.
pub fn all(terms: &Terms) -> Vec<Sequence> {
    let groups = [
        results::all(terms),
        window::all(terms),
        triggers::all(terms),
        exposures::all(terms),
        modes::all(terms),
        disturbances::all(terms),
    ];
    groups.into_iter().flatten().collect()
}

/// A sequence that is being written down.
struct Script<'a> {
    terms: &'a Terms,
    name: Name,
    title: Name,
    proves: Name,
    skip: Option<String>,
    /// Whether the link is cut on the way.
    cut: bool,
    steps: Vec<Step>,
}

impl<'a> Script<'a> {
    fn new(terms: &'a Terms, name: Name, title: Name, proves: Name) -> Self {
        Self {
            terms,
            name,
            title,
            proves,
            skip: None,
            cut: false,
            steps: Vec::new(),
        }
    }

    /// It is skipped unless this holds.
    fn needs(&mut self, holds: bool, otherwise: &str) -> &mut Self {
        if !holds && self.skip.is_none() {
            self.skip = Some(otherwise.to_owned());
        }
        self
    }

    /// It looks at the result registers.
    fn needs_registers(&mut self) -> &mut Self {
        let single = self.terms.mode == ResultMode::Single;
        self.needs(
            single,
            "the station shows results in window mode (result.mode), this is about the result registers",
        )
    }

    /// It looks at the slots of window mode.
    fn needs_window(&mut self) -> &mut Self {
        let window = self.terms.mode == ResultMode::Window;
        self.needs(
            window,
            "the station shows results one at a time (result.mode), this is about window mode",
        )
    }

    /// A part must stay open until it is exposed.
    fn needs_parts(&mut self) -> &mut Self {
        let own = self.terms.own_parts;
        self.needs(own, "the station's cameras are not the twin's, so that no part can be held open")
    }

    /// The station is killed, or its records are read.
    fn needs_station(&mut self) -> &mut Self {
        let own = self.terms.own_station;
        self.needs(
            own,
            "the station is not the twin's child, so that it can be neither stopped nor started",
        )
    }

    fn done(&mut self) -> Sequence {
        Sequence {
            name: self.name,
            title: self.title,
            proves: self.proves,
            skip: self.skip.take(),
            steps: std::mem::take(&mut self.steps),
        }
    }

    fn step(&mut self, title: impl Into<String>, action: Action) -> &mut Self {
        self.cut |= action == Action::LinkDown;
        self.steps.push(Step::new(title, action));
        self
    }

    fn write(&mut self, title: impl Into<String>, signals: &[(Name, Value)]) -> &mut Self {
        self.step(title, Action::Write(signals.to_vec()))
    }

    fn set(&mut self, title: impl Into<String>, signals: &[(Name, u32)]) -> &mut Self {
        let signals: Vec<(Name, Value)> = signals.iter().map(|(signal, value)| (*signal, Value::Number(*value))).collect();
        self.write(title, &signals)
    }

    fn expect(&mut self, title: impl Into<String>, within: Timer, first: Check, with: Vec<Check>) -> &mut Self {
        self.expect_while(title, within, first, with, Vec::new())
    }

    fn expect_while(
        &mut self,
        title: impl Into<String>,
        within: Timer,
        first: Check,
        with: Vec<Check>,
        meanwhile: Vec<Check>,
    ) -> &mut Self {
        self.step(
            title,
            Action::Expect {
                within,
                first,
                with,
                meanwhile,
            },
        )
    }

    fn hold(&mut self, title: impl Into<String>, checks: Vec<Check>) -> &mut Self {
        self.step(title, Action::Hold { span: SETTLED, checks })
    }

    /// It stays so, although nothing is done for it.
    fn lasts(&mut self, title: impl Into<String>, checks: Vec<Check>) -> &mut Self {
        self.step(title, Action::Hold { span: LASTING, checks })
    }

    fn keep(&mut self, kept: &[(Name, Name)]) -> &mut Self {
        self.step("what is there now", Action::Keep(kept.to_vec()))
    }

    /// Exactly one record of each part, where the station's records are read.
    fn records(&mut self, records: &[(u32, Verdict, Option<Reason>)]) -> &mut Self {
        if !self.terms.own_station {
            return self;
        }
        let (own_parts, too_late) = (self.terms.own_parts, self.may_be_too_late());
        let is_certain = |verdict: Verdict| verdict == Verdict::NotDecidable || own_parts && !too_late;
        let records = records.iter().map(|(cycle_id, verdict, reason)| Recorded {
            cycle_id: *cycle_id,
            outcome: Some((*verdict, *reason)).filter(|_| is_certain(*verdict)),
            serial: None,
            session_before: false,
        });
        let records = Action::Records(records.collect());
        self.step("each trigger has exactly one record", records)
    }

    /// The PLC starts, and the station is ready for its first part.
    fn power_up(&mut self) -> &mut Self {
        self.power_up_in(false)
    }

    fn power_up_in(&mut self, buffered: bool) -> &mut Self {
        self.step("the PLC starts in a new session", Action::PlcStarts);
        let nothing = [
            "TriggerAck",
            "MissedTrigger",
            "ResultValid",
            "Verdict",
            "Accept",
            "TriggerReady",
            "Busy",
        ];
        self.expect(
            "the session is in force, nothing of before is shown",
            Timer::Ready,
            is("EchoPlcSession", Value::Kept("session")),
            nothing.map(|signal| is(signal, 0)).to_vec(),
        );
        self.set("errors of before are cleared", &[("ClearError", 1)]);
        self.set(
            "the PLC goes online and arms the trigger",
            &[
                ("ClearError", 0),
                ("BufferEnable", buffered.into()),
                ("Online", 1),
                ("TriggerEnable", 1),
            ],
        );
        let mode = if self.terms.simulated { 4 } else { 1 };
        self.expect(
            "the station is ready",
            Timer::Ready,
            is("TriggerReady", 1),
            vec![
                is("Online", 1),
                is("Error", 0),
                is("StationMode", mode),
                is("TriggerAck", 0),
                is("MissedTrigger", 0),
            ],
        )
    }

    fn ready(&mut self) -> &mut Self {
        self.expect(
            "the station is ready for the next part",
            Timer::Result,
            is("TriggerReady", 1),
            vec![is("Error", 0)],
        )
    }

    /// The numbers of a part, whole.
    fn announce(&mut self, cycle_id: u32) -> &mut Self {
        self.announce_at(cycle_id, cycle_id.wrapping_mul(PITCH))
    }

    fn announce_at(&mut self, cycle_id: u32, encoder: u32) -> &mut Self {
        if self.terms.serial == (SerialMode::Latched { required: true }) {
            self.latch("TAKT");
        }
        self.set(
            format!("the numbers of part {cycle_id}"),
            &[("CycleId", cycle_id), ("Encoder", encoder), ("CycleIdTail", cycle_id)],
        )
    }

    /// A serial number is latched.
    fn latch(&mut self, serial: &'static str) -> &mut Self {
        self.step("the serial number of the next part", Action::Serial(serial));
        self.set("it is latched", &[("SetUserData", 1)]);
        self.expect("the station has it", Timer::User, is("UserDataAck", 1), vec![]);
        self.set("the PLC has seen that", &[("SetUserData", 0)]);
        self.expect("the answer falls", Timer::Clear, is("UserDataAck", 0), vec![])
    }

    fn raise(&mut self) -> &mut Self {
        self.set("a scan later Trigger", &[("Trigger", 1)])
    }

    fn trigger(&mut self, cycle_id: u32) -> &mut Self {
        self.announce(cycle_id).keep_distance().raise()
    }

    /// Two parts in one arm window could not be told apart.
    fn keep_distance(&mut self) -> &mut Self {
        if !self.terms.part_interval.is_zero() {
            self.step("the next part comes, not sooner than it may", Action::Distance);
        }
        self
    }

    /// The trigger is taken.
    fn taken(&mut self, cycle_id: u32) -> &mut Self {
        self.taken_with(cycle_id, vec![])
    }

    fn taken_with(&mut self, cycle_id: u32, also: Vec<Check>) -> &mut Self {
        let mut with = vec![is("EchoTriggerId", cycle_id), is("MissedTrigger", 0), is("TriggerReady", 0)];
        with.extend(also);
        self.expect("the trigger is taken", Timer::Ack, is("TriggerAck", 1), with)
    }

    /// The trigger is not taken.
    fn missed(&mut self, cycle_id: u32, also: Vec<Check>) -> &mut Self {
        let mut with = vec![is("EchoTriggerId", cycle_id), is("TriggerAck", 0)];
        with.extend(also);
        self.expect("the trigger is missed, and says so", Timer::Ack, is("MissedTrigger", 1), with)
    }

    /// Trigger falls, and the answer with it.
    fn release(&mut self) -> &mut Self {
        let was_missed = |step: &Step| match &step.action {
            Action::Expect { first, .. } if first.signal == "TriggerAck" => Some(false),
            Action::Expect { first, .. } if first.signal == "MissedTrigger" => Some(true),
            _ => None,
        };
        let missed = self.steps.iter().rev().find_map(was_missed).unwrap_or(false);
        let (answer, other) = if missed {
            ("MissedTrigger", "TriggerAck")
        } else {
            ("TriggerAck", "MissedTrigger")
        };
        self.set("the PLC has the answer", &[("Trigger", 0)]);
        self.expect("the answer falls", Timer::Clear, is(answer, 0), vec![is(other, 0)])
    }

    fn expose(&mut self, cycle_id: u32, look: Look) -> &mut Self {
        if self.terms.own_parts {
            self.step(format!("part {cycle_id} is exposed"), Action::Expose(cycle_id, look));
        }
        self
    }

    /// A trigger that is taken and let go.
    fn open(&mut self, cycle_id: u32) -> &mut Self {
        self.trigger(cycle_id).taken(cycle_id).release()
    }

    /// A whole part, to its result in the registers, or in window mode to its end.
    fn part(&mut self, cycle_id: u32, look: Look) -> &mut Self {
        self.open(cycle_id).expose(cycle_id, look).result(cycle_id, look)
    }

    /// Whether the link's cut may have cost a good part its deadline: a station that writes into the PLC may not be connected again by then.
    fn may_be_too_late(&self) -> bool {
        self.cut && self.terms.polled
    }

    /// The verdict that the part must have; any where nothing is known of it.
    fn verdict(&self, look: Look) -> Vec<Check> {
        match look {
            _ if !self.terms.own_parts => vec![one_of("Verdict", &[1, 2, 3])],
            Look::Good if self.may_be_too_late() => vec![one_of("Verdict", &[1, 3])],
            Look::Good => vec![is("Verdict", 1), is("ReasonCode", 0)],
            Look::Defective => vec![is("Verdict", 2), is("Accept", 0), is_not("ReasonCode", 0)],
            Look::GoodButLate => vec![is("Verdict", 3), is("Accept", 0)],
        }
    }

    /// The same in the window, where an OK that must not pass is 0.
    fn slot_verdict(&self, look: Look, withheld: bool) -> Check {
        match look {
            _ if !self.terms.own_parts => one_of("WindowVerdict", &[0, 1, 2, 3]),
            Look::Good if withheld => is("WindowVerdict", 0),
            Look::Good if self.may_be_too_late() => one_of("WindowVerdict", &[0, 1, 3]),
            Look::Good => is("WindowVerdict", 1),
            Look::Defective => is("WindowVerdict", 2),
            Look::GoodButLate => is("WindowVerdict", 3),
        }
    }

    /// The result of a part is shown, and a good one passes.
    fn result(&mut self, cycle_id: u32, look: Look) -> &mut Self {
        let passes = look == Look::Good && self.terms.own_parts && !self.terms.simulated;
        let also = if passes { vec![is("Accept", 1)] } else { Vec::new() };
        self.result_with(cycle_id, look, also)
    }

    fn result_with(&mut self, cycle_id: u32, look: Look, also: Vec<Check>) -> &mut Self {
        if self.terms.mode == ResultMode::Window {
            return self.slot_with(cycle_id, look, also);
        }
        let mut with = vec![is("EchoCycleId", cycle_id), is_not("ResultId", 0)];
        with.extend(self.verdict(look));
        with.extend(also);
        self.expect(
            "its result is shown, all of it in one image",
            Timer::Result,
            is("ResultValid", 1),
            with,
        )
    }

    /// The part finds its slot. What else that image must say is not of the result, which has no registers here, and may have been read a moment before.
    fn slot_with(&mut self, cycle_id: u32, look: Look, also: Vec<Check>) -> &mut Self {
        let withheld = self.terms.simulated || also.contains(&is("Accept", 0));
        let verdict = slot(cycle_id, self.slot_verdict(look, withheld));
        let number = slot(cycle_id, is_not("WindowResultId", 0));
        let may_be_0 = !self.terms.own_parts || withheld || self.may_be_too_late();
        // The verdict vouches for the rest of its slot: a station that writes it into the PLC raises it last.
        let first = if may_be_0 {
            number.clone()
        } else {
            slot(cycle_id, is_not("WindowVerdict", 0))
        };
        self.expect(
            "its result is in a slot of its own, all of it at once",
            Timer::Result,
            first,
            vec![verdict, number],
        );
        let mut also = also.into_iter().filter(|check| !is_of_result(check.signal));
        if let Some(first) = also.next() {
            self.expect("the station says so otherwise too", Timer::Clear, first, also.collect());
        }
        self
    }

    /// The result shown is acknowledged, and what is to be seen in the image that withdraws it.
    fn acknowledge(&mut self, also: Vec<Check>) -> &mut Self {
        self.keep(&[("result", "ResultId")]);
        self.write(
            "the PLC acknowledges the result",
            &[("AckResultId", Value::Kept("result")), ("ResultAck", Value::Number(1))],
        );
        let mut with = vec![is("Verdict", 0), is("Accept", 0)];
        with.extend(also);
        self.expect("the result is withdrawn in one image", Timer::Clear, is("ResultValid", 0), with)
    }

    /// ClearError takes an error away that was provoked.
    fn clear_error(&mut self, code: u32) -> &mut Self {
        self.set("ClearError", &[("ClearError", 1)]);
        self.expect("the error is gone", Timer::Clear, is_not("ErrorCode", code), vec![is("Error", 0)]);
        self.set("ClearError falls", &[("ClearError", 0)])
    }
}

/// Signals that are of the result in the result registers.
fn is_of_result(signal: Name) -> bool {
    const OF_RESULT: [&str; 10] = [
        "ResultValid",
        "Accept",
        "Verdict",
        "ReasonCode",
        "EchoCycleId",
        "ResultId",
        "ResultIdTail",
        "InspectionToggle",
        "DeadlineMissed",
        "TestResult",
    ];
    OF_RESULT.contains(&signal)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::line::config::TriggerSource;
    use crate::plc::signals::FROM_PLC;

    fn terms(mode: ResultMode, own: bool, serial: SerialMode) -> Terms {
        Terms {
            mode,
            polled: false,
            trigger: TriggerSource::Plc {
                frame_window: Duration::from_millis(100),
            },
            part_interval: Duration::ZERO,
            deadline: Duration::from_millis(200),
            accept_hold: Duration::from_secs(1),
            torn: Duration::from_millis(200),
            heartbeat_timeout: Duration::from_secs(1),
            recipes: vec![1, 2],
            serial,
            sequential: true,
            simulated: false,
            own_parts: own,
            own_station: own,
            long_cut: Duration::from_secs(5),
        }
    }

    #[test]
    fn every_signal_that_is_named_exists_and_no_sequence_is_there_twice() {
        for (mode, own, serial) in [
            (ResultMode::Single, true, SerialMode::WithTrigger),
            (ResultMode::Window, false, SerialMode::Latched { required: true }),
        ] {
            let list = all(&terms(mode, own, serial));
            let names: BTreeSet<Name> = list.iter().map(|sequence| sequence.name).collect();
            assert_eq!(names.len(), list.len());
            for sequence in &list {
                assert!(!sequence.steps.is_empty() && !sequence.proves.is_empty(), "{}", sequence.name);
                assert_eq!(sequence.unknown_signals(), Vec::<Name>::new(), "{}", sequence.name);
                for step in &sequence.steps {
                    assert!(!step.text().is_empty() && !step.title.is_empty());
                    if let Action::Write(signals) = &step.action {
                        let known = |name: Name| FROM_PLC.iter().any(|signal| signal.name == name);
                        assert!(signals.iter().all(|(name, _)| known(name)), "{}: {}", sequence.name, step.text());
                    }
                }
            }
        }
    }

    #[test]
    fn with_everything_at_hand_only_other_configurations_are_skipped() {
        let skipped = |terms: &Terms| -> Vec<Name> {
            let list = all(terms);
            list.iter()
                .filter(|sequence| sequence.skip.is_some())
                .map(|sequence| sequence.name)
                .collect()
        };
        let window = ["window_slots", "window_hold", "window_session", "window_link_down", "window_kill"];
        let sources = ["two_exposures", "unannounced_part", "nearest_frame"];
        assert_eq!(
            skipped(&terms(ResultMode::Single, true, SerialMode::WithTrigger)),
            [&window[..], &sources, &["serial_latched"]].concat()
        );
        let latched = SerialMode::Latched { required: false };
        assert_eq!(
            skipped(&terms(ResultMode::Single, true, latched)),
            [&window[..], &sources, &["serial_with_trigger"]].concat()
        );
        assert!(skipped(&terms(ResultMode::Single, false, latched)).contains(&"kill"));
        let in_window = skipped(&terms(ResultMode::Window, true, SerialMode::WithTrigger));
        assert!(
            in_window.contains(&"normal") && !window.iter().any(|name| in_window.contains(name)),
            "{in_window:?}"
        );
    }
}
