//! What a sequence consists of: signals that the PLC writes, signals that the station is to show, and what happens to both. Data; pure.

use std::fmt::Write as _;
use std::time::Duration;

use super::outcome::Fact;
use crate::line::config::{ResultMode, SerialMode, TriggerSource};
use crate::part::{Reason, Verdict};
use crate::plc::signals::FROM_STATION;

/// Name of a signal as in [`crate::plc::signals`], or of something that was kept.
pub type Name = &'static str;

/// How this station is configured, as far as the list depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each says another thing of the station")]
pub struct Terms {
    /// How results are given.
    pub mode: ResultMode,
    /// Whether the station polls the PLC, rather than the PLC the station.
    pub polled: bool,
    /// What causes an exposure.
    pub trigger: TriggerSource,
    /// Smallest time from trigger to trigger; zero unless two parts could not be told apart before.
    pub part_interval: Duration,
    /// From the trigger to the image that shows the outcome; with a wired trigger the arm window comes before it.
    pub deadline: Duration,
    /// How long Accept stays.
    pub accept_hold: Duration,
    /// How long a trigger may have torn numbers.
    pub torn: Duration,
    /// Without a heartbeat for so long the PLC is lost.
    pub heartbeat_timeout: Duration,
    /// Recipes that RecipeNumber can ask for, at least one.
    pub recipes: Vec<u16>,
    /// Where serial numbers come from.
    pub serial: SerialMode,
    /// Whether cycle IDs count up by one.
    pub sequential: bool,
    /// Whether nothing is real: Accept stays 0.
    pub simulated: bool,
    /// Whether the parts are the twin's, good and defective as it wants; otherwise only the handshake is judged.
    pub own_parts: bool,
    /// Whether the station is the twin's child, which it may kill and whose records it reads.
    pub own_station: bool,
    /// How long the long cut of the link lasts: longer than `heartbeat_timeout`.
    pub long_cut: Duration,
}

impl Terms {
    /// How long after its trigger an exposure may be taken for that of a part.
    pub fn exposure_window(&self) -> Duration {
        match self.trigger {
            TriggerSource::Plc { frame_window: window }
            | TriggerSource::FreeRun { frame_window: window }
            | TriggerSource::Hardware { arm_window: window } => window,
        }
    }

    /// What the station is held to, in words, by a PLC that polls so often.
    pub fn facts(&self, poll: Duration) -> Vec<Fact> {
        let fact = |name: &str, value: String| Fact { name: name.into(), value };
        let ms = |time: Duration| format!("{} ms", time.as_millis());
        let recipes: Vec<String> = self.recipes.iter().map(u16::to_string).collect();
        vec![
            fact(
                "Result mode",
                match self.mode {
                    ResultMode::Single => "single and buffered".into(),
                    ResultMode::Window => "window".into(),
                },
            ),
            fact(
                "Trigger",
                match self.trigger {
                    TriggerSource::Plc { frame_window } => format!("of the PLC, exposure within {}", ms(frame_window)),
                    TriggerSource::Hardware { arm_window } => {
                        format!(
                            "wired, arm window {}, parts at least {} apart",
                            ms(arm_window),
                            ms(self.part_interval)
                        )
                    }
                    TriggerSource::FreeRun { frame_window } => format!("camera runs freely, nearest frame within {}", ms(frame_window)),
                },
            ),
            fact(
                match self.trigger {
                    TriggerSource::Hardware { .. } => "Deadline, with the arm window",
                    _ => "Deadline",
                },
                ms(self.deadline),
            ),
            fact("Accept and verdicts in the window stand", ms(self.accept_hold)),
            fact("Torn numbers may stand", ms(self.torn)),
            fact("Heartbeat timeout", ms(self.heartbeat_timeout)),
            fact("Recipes", recipes.join(", ")),
            fact(
                "Serial number",
                match self.serial {
                    SerialMode::WithTrigger => "with the trigger".into(),
                    SerialMode::Latched { required: true } => "latched, required".into(),
                    SerialMode::Latched { required: false } => "latched".into(),
                },
            ),
            fact("CycleIds count up by one", if self.sequential { "yes" } else { "no" }.into()),
            fact("Simulated", if self.simulated { "yes: nothing passes" } else { "no" }.into()),
            fact("The PLC played here polls every", ms(poll)),
            fact(
                "Parts",
                if self.own_parts {
                    "the twin's, good and defective as it wants"
                } else {
                    "whatever is in front of the cameras"
                }
                .into(),
            ),
            fact(
                "Station",
                if self.own_station {
                    "started by this run: killed, restarted, its records read"
                } else {
                    "running on its own"
                }
                .into(),
            ),
        ]
    }
}

/// A number to write or to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// This one.
    Number(u32),
    /// What was kept under this name.
    Kept(Name),
    /// That much more than what was kept, wrapping.
    After(Name, u32),
    /// The other of 0 and 1 than what was kept.
    Flipped(Name),
    /// What another signal of the same image says.
    Signal(Name),
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

/// What a signal must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// Equal.
    Is(Value),
    /// Anything else.
    IsNot(Value),
    /// One of these.
    OneOf(Vec<u32>),
}

/// One signal of an image, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The signal.
    pub signal: Name,
    /// Of a signal of the window: that of the slot with this CycleId. Where no slot has it, its signals are 0.
    pub part: Option<u32>,
    /// What it must be.
    pub relation: Relation,
}

/// The signal is this.
pub fn is(signal: Name, value: impl Into<Value>) -> Check {
    of_image(signal, Relation::Is(value.into()))
}

/// The signal is something else.
pub fn is_not(signal: Name, value: impl Into<Value>) -> Check {
    of_image(signal, Relation::IsNot(value.into()))
}

/// The signal is one of these.
pub fn one_of(signal: Name, values: &[u32]) -> Check {
    of_image(signal, Relation::OneOf(values.to_vec()))
}

fn of_image(signal: Name, relation: Relation) -> Check {
    Check {
        signal,
        part: None,
        relation,
    }
}

/// The same of the window's slot of a part.
pub fn slot(cycle_id: u32, check: Check) -> Check {
    Check {
        part: Some(cycle_id),
        ..check
    }
}

/// How long an expectation may take. Named like the timers of the function block that a PLC program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// Trigger to TriggerAck or MissedTrigger.
    Ack,
    /// Trigger to ResultValid.
    Result,
    /// A bit of the PLC falls, and what answers it.
    Clear,
    /// ExecuteCommand to CommandDone or CommandFailed.
    Command,
    /// SetUserData to UserDataAck.
    User,
    /// Torn numbers to MissedTrigger.
    Torn,
    /// The PLC falls silent, to ErrorCode 30.
    Heartbeat,
    /// The PLC starts, to TriggerReady.
    Ready,
    /// The station starts and proves its models, to TriggerReady.
    Start,
    /// An outcome to its record.
    Record,
    /// A good result is shown, to the fall of what passes its part.
    Hold,
}

impl Timer {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ack => "T_ack",
            Self::Result => "T_result",
            Self::Clear => "T_clear",
            Self::Command => "T_cmd",
            Self::User => "T_user",
            Self::Torn => "T_torn",
            Self::Heartbeat => "T_heartbeat",
            Self::Ready => "T_ready",
            Self::Start => "T_start",
            Self::Record => "T_record",
            Self::Hold => "T_hold",
        }
    }

    /// How long it is at this station. What the station's own times do not give is a time that a PLC program waits before it raises an alarm:
    /// the list looks for broken handshakes, not for slow networks; the report says how long each step really took.
    pub fn duration(self, terms: &Terms) -> Duration {
        let alarm = Duration::from_secs(2);
        match self {
            Self::Ack | Self::Clear | Self::User => alarm,
            Self::Result => terms.deadline + alarm,
            Self::Torn => terms.torn + alarm,
            Self::Heartbeat => terms.heartbeat_timeout + alarm,
            Self::Command => Duration::from_mins(1),
            Self::Ready => Duration::from_secs(10).max(terms.heartbeat_timeout + alarm),
            Self::Start => Duration::from_mins(2),
            Self::Record => Duration::from_secs(5),
            Self::Hold => terms.accept_hold + alarm,
        }
    }
}

/// How long something must stay as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Until the station's Heartbeat has changed so often: by then its verdict path has seen what was written before, however slow it is.
    Beats(u32),
    /// This long.
    Time(Duration),
}

/// What the part under the camera is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Good.
    Good,
    /// Defective.
    Defective,
    /// Good, but the station comes to see it only once its deadline has passed.
    GoodButLate,
}

/// What a record must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The part, in the session in force or the one kept as `session`.
    pub cycle_id: u32,
    /// Its outcome; `None`: whatever it is.
    pub outcome: Option<(Verdict, Option<Reason>)>,
    /// Its serial number, where that matters.
    pub serial: Option<&'static str>,
    /// Whether it is of the session before the one in force.
    pub session_before: bool,
}

/// What is done or looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The PLC starts anew: every signal 0, its recipe, and PlcSession := EchoPlcSession + 1.
    PlcStarts,
    /// The PLC writes its block with these signals changed, at once; without a link it stays in the PLC.
    Write(Vec<(Name, Value)>),
    /// The PLC writes Serial.
    Serial(&'static str),
    /// One image must come in which the first check holds; in that very image all others must hold, and until then `meanwhile` in each.
    Expect {
        /// Within.
        within: Timer,
        /// What is waited for.
        first: Check,
        /// What else that image must say.
        with: Vec<Check>,
        /// What every image before it must say.
        meanwhile: Vec<Check>,
    },
    /// Every image must say this.
    Hold {
        /// For so long.
        span: Span,
        /// What.
        checks: Vec<Check>,
    },
    /// What the last image said is kept under a name.
    Keep(Vec<(Name, Name)>),
    /// The smallest time from trigger to trigger passes.
    Distance,
    /// The part with this cycle ID is exposed; again, if it was before.
    Expose(u32, Look),
    /// The link is cut.
    LinkDown,
    /// The link stands again after so long.
    LinkUp(Duration),
    /// The PLC's heartbeat beats, or does not.
    Heart(bool),
    /// The station is killed as by `kill -9`.
    Kill,
    /// The station is asked to stop, and has.
    Stop,
    /// The station starts.
    Start,
    /// Exactly one record says this of each part.
    Records(Vec<Recorded>),
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is, in a few words.
    pub title: String,
    /// What is done.
    pub action: Action,
}

impl Step {
    /// A step.
    pub fn new(title: impl Into<String>, action: Action) -> Self {
        Self {
            title: title.into(),
            action,
        }
    }

    /// What it does or looks for, in signals.
    pub fn text(&self) -> String {
        match &self.action {
            Action::PlcStarts => "PLC: all signals 0, RecipeNumber, PlcSession := EchoPlcSession + 1".into(),
            Action::Write(signals) => format!(
                "PLC: {}",
                list(signals.iter().map(|(signal, value)| format!("{signal} := {}", value.text())))
            ),
            Action::Serial(serial) => format!("PLC: Serial := \"{serial}\""),
            Action::Expect {
                first, with, meanwhile, ..
            } => {
                let mut text = format!("station: {}", first.text());
                if !with.is_empty() {
                    let _ = write!(text, "; in that image {}", list(with.iter().map(Check::text)));
                }
                if !meanwhile.is_empty() {
                    let _ = write!(text, "; until then {}", list(meanwhile.iter().map(Check::text)));
                }
                text
            }
            Action::Hold { span, checks } => {
                let span = match span {
                    Span::Beats(beats) => format!("for {beats} changes of Heartbeat"),
                    Span::Time(time) => format!("for {} ms", time.as_millis()),
                };
                format!("station: {} {span}", list(checks.iter().map(Check::text)))
            }
            Action::Keep(kept) => format!("note {}", list(kept.iter().map(|(_, signal)| (*signal).to_owned()))),
            Action::Distance => "PLC: part_interval_ms_min since the last Trigger".into(),
            Action::Expose(cycle_id, look) => {
                let look = match look {
                    Look::Good => "a good part",
                    Look::Defective => "a defective part",
                    Look::GoodButLate => "a good part, seen only after its deadline",
                };
                match cycle_id {
                    0 => format!("camera: {look} that nobody announced"),
                    cycle_id => format!("camera: part {cycle_id}, {look}"),
                }
            }
            Action::LinkDown => "link: cut".into(),
            Action::LinkUp(after) => format!("link: back after {} ms", after.as_millis()),
            Action::Heart(true) => "PLC: Heartbeat counts".into(),
            Action::Heart(false) => "PLC: Heartbeat stands still".into(),
            Action::Kill => "station: kill -9".into(),
            Action::Stop => "station: stops in order".into(),
            Action::Start => "station: starts".into(),
            Action::Records(records) => format!("one record each: {}", list(records.iter().map(Recorded::text))),
        }
    }

    /// The signal that it is about first; empty where there is none.
    pub fn signal(&self) -> Name {
        match &self.action {
            Action::Write(signals) => signals.first().map_or("", |(signal, _)| signal),
            Action::Expect { first, .. } => first.signal,
            Action::Hold { checks, .. } => checks.first().map_or("", |check| check.signal),
            _ => "",
        }
    }
}

impl Value {
    /// In words.
    pub fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Kept(name) => format!("noted {name}"),
            Self::After(name, more) => format!("noted {name} + {more}"),
            Self::Flipped(name) => format!("not the noted {name}"),
            Self::Signal(name) => name.into(),
        }
    }
}

impl Check {
    /// In words.
    pub fn text(&self) -> String {
        let signal = self.name();
        match &self.relation {
            Relation::Is(value) => format!("{signal} = {}", value.text()),
            Relation::IsNot(value) => format!("{signal} ≠ {}", value.text()),
            Relation::OneOf(values) => format!("{signal} one of {}", list(values.iter().map(u32::to_string))),
        }
    }

    /// The signal, and which of them where there are several.
    pub fn name(&self) -> String {
        match self.part {
            None => self.signal.into(),
            Some(cycle_id) => format!("{} of part {cycle_id}", self.signal),
        }
    }
}

impl Recorded {
    fn text(&self) -> String {
        let mut text = format!("part {}", self.cycle_id);
        if let Some((verdict, reason)) = self.outcome {
            let _ = write!(text, " {}", verdict.name());
            if let Some(reason) = reason {
                let _ = write!(text, " ({})", reason.name());
            }
        }
        if let Some(serial) = self.serial {
            let _ = write!(text, ", serial \"{serial}\"");
        }
        text
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// A sequence of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Name for machines: lower case, underscores.
    pub name: Name,
    /// Name for people.
    pub title: Name,
    /// What it proves.
    pub proves: Name,
    /// Why it cannot be run here.
    pub skip: Option<String>,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Sequence {
    /// Signals it names that the station does not have; none unless this list is wrong.
    pub fn unknown_signals(&self) -> Vec<Name> {
        let known = |name: Name| FROM_STATION.iter().any(|signal| signal.name == name);
        let checks = self.steps.iter().flat_map(|step| match &step.action {
            Action::Expect {
                first, with, meanwhile, ..
            } => std::iter::once(first).chain(with).chain(meanwhile).collect::<Vec<_>>(),
            Action::Hold { checks, .. } => checks.iter().collect(),
            _ => Vec::new(),
        });
        checks.map(|check| check.signal).filter(|name| !known(name)).collect()
    }
}
