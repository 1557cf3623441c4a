//! What a run of the list comes to; pure.

use serde::Serialize;

/// How a step or a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// Not run.
    Skipped,
}

impl Ending {
    /// In a word.
    pub fn text(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepOutcome {
    /// Its place in the sequence, from 1.
    pub number: usize,
    /// What it is, in a few words.
    pub title: String,
    /// The signal that it is about, or that was found wrong; empty where it is none.
    pub signal: String,
    /// What is done or expected, in signals.
    pub expectation: String,
    /// How long that may take at most, milliseconds, and the name of that time; `None` where nothing is waited for.
    pub limit_ms: Option<u64>,
    /// See `limit_ms`; empty where there is none.
    pub timer: &'static str,
    /// How long it took, milliseconds.
    pub took_ms: f64,
    /// What was seen instead; empty where it passed.
    pub seen: String,
    /// How it ended.
    pub ending: Ending,
}

/// What became of a sequence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SequenceOutcome {
    /// Its name for machines.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it proves.
    pub proves: &'static str,
    /// How it ended.
    pub ending: Ending,
    /// Why it was skipped; empty otherwise.
    pub reason: String,
    /// Its steps.
    pub steps: Vec<StepOutcome>,
}

impl SequenceOutcome {
    /// The step that failed.
    pub fn failure(&self) -> Option<&StepOutcome> {
        self.steps.iter().find(|step| step.ending == Ending::Failed)
    }

    /// How long all of it took, seconds.
    pub fn seconds(&self) -> f64 {
        self.steps.iter().fold(0.0, |sum, step| sum + step.took_ms) / 1e3
    }
}

/// Something the station was held to, as its configuration says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// What it is here, with its unit.
    pub value: String,
}

/// What a run of the list comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Commissioning {
    /// Name of the station, of its own file.
    pub station: String,
    /// Where it was reached, or where it came to.
    pub address: String,
    /// Which of the two that is.
    pub wire: &'static str,
    /// What the station was held to.
    pub facts: Vec<Fact>,
    /// When the run began, RFC 3339.
    pub began: String,
    /// Whether the verdicts were judged too, or the handshake alone.
    pub verdicts_judged: bool,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
    /// Images that were read, and those with Accept among them: each was looked at by the watchdog.
    pub images: u64,
    /// See `images`.
    pub accepting_images: u64,
    /// The sequences, in the order they were run.
    pub sequences: Vec<SequenceOutcome>,
}

impl Commissioning {
    /// How many sequences ended so.
    pub fn count(&self, ending: Ending) -> usize {
        self.sequences.iter().filter(|sequence| sequence.ending == ending).count()
    }

    /// Whether nothing failed, something was run, and all of it.
    pub fn is_passed(&self) -> bool {
        !self.stopped && self.count(Ending::Failed) == 0 && self.count(Ending::Passed) > 0
    }
}
