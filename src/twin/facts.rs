//! What was seen of a run, each fact by whoever saw it: the PLC its cycles, the camera its exposures. The oracle compares them with the
//! station's records. Pure.

use crate::part::{CycleId, Nanos, PartRecord, Verdict};

/// The PLC's name of a part: unique within a run, as the PLC gives each of its starts a session of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CycleKey {
    /// The PLC's session.
    pub plc_session: u16,
    /// The cycle.
    pub cycle_id: CycleId,
}

impl CycleKey {
    /// The cycle that a record is about; `None` if its ID was none.
    pub fn of(record: &PartRecord) -> Option<Self> {
        record.cycle_id.map(|cycle_id| Self {
            plc_session: record.plc_session,
            cycle_id,
        })
    }
}

impl std::fmt::Display for CycleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cycle {} of PLC session {}", self.cycle_id, self.plc_session)
    }
}

/// How the station answered a Trigger edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `TriggerAck`.
    Taken,
    /// `MissedTrigger`.
    Missed,
}

/// A result as the PLC read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The verdict.
    pub verdict: Verdict,
    /// Its number.
    pub result_id: u32,
    /// Why, by its number on the wire; 0 in window mode, which does not tell.
    pub reason_code: u16,
    /// When the reply that carried it was received.
    pub received: Nanos,
    /// When the poll was sent that was the last not to show it: it was shown later than this. `None` if every poll since the trigger did.
    pub not_yet: Option<Nanos>,
}

/// Why the gate let a part pass, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateReason {
    /// Everything the pass rule asks for held.
    Pass,
    /// The station said NotOk.
    NotOk,
    /// The station could not judge it.
    NotDecidable,
    /// No result came before the part timer expired.
    NoResult,
    /// The station did not take the trigger.
    Missed,
    /// The station's heartbeat had stopped.
    StationLost,
    /// The station restarted while the part was between camera and gate.
    StationRestarted,
    /// The PLC restarted while the part was between camera and gate.
    PlcRestarted,
}

impl GateReason {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pass => "passed",
            Self::NotOk => "rejected",
            Self::NotDecidable => "rejected, not judged",
            Self::NoResult => "rejected, no result in time",
            Self::Missed => "rejected, trigger missed",
            Self::StationLost => "rejected, station silent",
            Self::StationRestarted => "rejected, station restarted",
            Self::PlcRestarted => "rejected, PLC restarted",
        }
    }
}

/// What the gate did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gated {
    /// When it decided.
    pub at: Nanos,
    /// Why.
    pub reason: GateReason,
}

impl Gated {
    /// Whether the part passed.
    pub fn passed(self) -> bool {
        self.reason == GateReason::Pass
    }
}

/// What the PLC knows of one part it triggered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// Its name.
    pub key: CycleKey,
    /// Which part it was really; the number in its stamp.
    pub part: u32,
    /// The start of the station that the PLC knew of when it triggered.
    pub boot_id: u16,
    /// When the PLC raised Trigger in its memory.
    pub raised: Nanos,
    /// When the last byte of the write that raised Trigger left; `None` if none got out.
    pub sent: Option<Nanos>,
    /// When the reply to that write was received; `None` if none came: then it is unknown whether the station saw the edge.
    pub replied: Option<Nanos>,
    /// How often the same block was triggered again, on purpose.
    pub repeats: u32,
    /// The answer to the first edge.
    pub answer: Option<Answer>,
    /// The answer to the last repetition that waited for one.
    pub repeat_answer: Option<Answer>,
    /// Whether link or station failed, or the PLC restarted, while it waited for an answer.
    pub disturbed: bool,
    /// The result, as first read.
    pub read: Option<Read>,
    /// Another verdict, read later for the same cycle.
    pub contradiction: Option<Verdict>,
    /// When the last poll was sent whose reply showed Ok for it.
    pub last_ok_polled: Option<Nanos>,
    /// Why it must not pass, whatever is read: a restart of either side since its trigger.
    pub voided: Option<GateReason>,
    /// What the gate did; `None` while the part is on its way.
    pub gated: Option<Gated>,
}

impl Cycle {
    /// A part whose Trigger is being raised.
    pub fn new(key: CycleKey, part: u32, boot_id: u16, raised: Nanos) -> Self {
        Self {
            key,
            part,
            boot_id,
            raised,
            sent: None,
            replied: None,
            repeats: 0,
            answer: None,
            repeat_answer: None,
            disturbed: false,
            read: None,
            contradiction: None,
            last_ok_polled: None,
            voided: None,
            gated: None,
        }
    }
}

/// An Ok that the station showed for no cycle that the PLC was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrayOk {
    /// The number it carried.
    pub cycle_id: u32,
    /// The number of the result.
    pub result_id: u32,
    /// The start of the station that showed it.
    pub boot_id: u16,
    /// When the reply was received.
    pub received: Nanos,
}

/// One exposure, as the camera made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// Which part was under the camera.
    pub part: u32,
    /// The camera's number of the exposure.
    pub counter: u64,
    /// When.
    pub exposed_at: Nanos,
}
