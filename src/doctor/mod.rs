//! What a service engineer needs to know of a box, on one screen.
//!
//! ```text
//! sysfs, procfs ──> tree ────────────┐
//! network, files, other processes ──> probes ──> facts ──> findings/ ──> findings ──> examination: each in its time ──> the screen
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | what a finding is, and every check there is; pure |
//! | `findings/` | facts of the configuration, engine, cameras, peers, records, machine become findings; pure |
//! | `texts.rs` | what the kernel and other programs write, read; pure |
//! | `tree.rs` | reads the machine's facts from sysfs and procfs, below any root |
//! | `probes.rs` | reads the station's facts: files, network, the journal |
//! | `programs.rs` | other programs and takt itself as a child, each ended when its time is up |
//! | `examination.rs` | which checks are made, and that none of them holds up the others |
//!
//! Nothing here changes anything, needs root, or takes what a running station needs: the journal is read beside its writer, the PLC's port is
//! looked at and not connected to, cameras are asked for and not opened. Whatever loads code of others (ONNX Runtime, GStreamer) runs in a child
//! process, so that its crash is a finding and not the end.

pub mod examination;
pub mod findings;
pub mod probes;
pub mod programs;
pub mod texts;
pub mod tree;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Not present here, or not to be known from here; the fact says why.
    Unknown,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Failed,
}

impl Status {
    /// All, the best first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Warning, Self::Failed];

    /// The word on the screen and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

macro_rules! checks {
    ($($(#[doc = $doc:expr])+ $variant:ident = $name:literal;)+) => {
        /// What is looked at. The names are fixed for good.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Check {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl Check {
            /// Every check, in the order of the screen.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name on the screen and in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What is looked at, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii_start()),+ }
            }
        }
    };
}

checks! {
    /// Version and architecture of takt.
    Takt = "takt";
    /// The configuration file: everything that is wrong with it, and what should be known.
    Config = "config";
    /// ONNX Runtime: file, version, execution providers.
    Library = "library";
    /// Each model package: present, and its seal whole.
    Model = "model";
    /// Whether each model gives its golden scores on the configured provider.
    GoldenGate = "golden_gate";
    /// GStreamer's version, and the elements that the configuration needs.
    GStreamer = "gstreamer";
    /// Each configured camera: whether its device, address, socket or folder is there.
    Camera = "camera";
    /// Video devices that the kernel knows.
    VideoDevices = "video_devices";
    /// The PLC's port: served by the station, free, or taken; who is connected.
    Plc = "plc";
    /// The running station: ready, its ErrorCode, its last verdict.
    Station = "station";
    /// Whether the historian answers, with the configured TLS; records that wait for it.
    Historian = "historian";
    /// Each certificate: until when it is valid, and whether its key fits.
    Certificate = "certificate";
    /// The journal: its version, its records, its size.
    Journal = "journal";
    /// The black box: its version, parts that are not in the journal yet.
    BlackBox = "black_box";
    /// How the station's last life ended.
    LastEnd = "last_end";
    /// The last error that the station wrote into the system's log.
    LastError = "last_error";
    /// Model of the machine, kernel, cores.
    Machine = "machine";
    /// The clock on the wall: plausible, and synchronised.
    Clock = "clock";
    /// Hardware clocks for PTP, and who disciplines them.
    Ptp = "ptp";
    /// Each folder that the station writes to: file system, space, quota, whether it may be written.
    Disk = "disk";
    /// How worn the flash memory is.
    Wear = "wear";
    /// The hottest sensor, and whether heat or current throttles the machine.
    Temperature = "temperature";
    /// Power mode, cores in use, governor.
    PowerMode = "power_mode";
    /// Memory that programs can still have.
    Memory = "memory";
    /// Why the machine was last reset, and whether its kernel crashed.
    Reset = "reset";
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// Which of several: a camera's name, a folder, a file; empty where there is only one.
    pub subject: String,
    /// How it stands.
    pub status: Status,
    /// What was found, on one line, with units.
    pub fact: String,
    /// What to do about it; empty where nothing has to be done.
    pub remedy: String,
    /// The same as numbers and words for programs; units stand last in the names.
    pub values: BTreeMap<String, Value>,
}

impl Finding {
    /// A finding of a check of which there is one.
    pub fn new(check: Check, status: Status, fact: impl Into<String>) -> Self {
        Self {
            check,
            subject: String::new(),
            status,
            fact: one_line(&fact.into()),
            remedy: String::new(),
            values: BTreeMap::new(),
        }
    }

    /// Something that does not work, in the words of an error of takt: what failed, and after the first semicolon what to do about it.
    pub fn failed(check: Check, error: &impl fmt::Display) -> Self {
        let told = one_line(&error.to_string());
        match told.split_once("; ") {
            Some((fact, remedy)) => Self::new(check, Status::Failed, fact).remedy(remedy),
            None => Self::new(check, Status::Failed, told),
        }
    }

    /// Something that could not be looked at. That this user may not look is no fault of the box.
    pub fn not_looked_at(check: Check, error: &str) -> Self {
        if error.contains(MAY_NOT_LOOK) {
            let fact = format!("this user may not look: {}", error.split("; ").next().unwrap_or(error));
            return Self::new(check, Status::Unknown, fact).remedy("run it as the station's user or root: sudo takt doctor");
        }
        Self::failed(check, &error)
    }

    /// Which of several.
    #[must_use]
    pub fn of(self, subject: impl Into<String>) -> Self {
        let subject = one_line(&subject.into());
        Self { subject, ..self }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        let remedy = one_line(&remedy.into());
        Self { remedy, ..self }
    }

    /// For programs.
    #[must_use]
    pub fn value(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }
}

/// What an error says where a user may not look.
const MAY_NOT_LOOK: &str = "Permission denied";

/// Longest fact or remedy, characters: what others say may be longer, and is cut.
const LINE_CHARS_MAX: usize = 600;

/// On one line, without control characters, within bounds.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|sign: char| sign.is_whitespace() || sign.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// All that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// In the order of [`Check::ALL`].
    pub findings: Vec<Finding>,
}

impl Report {
    /// In order.
    pub fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.check);
        Self { findings }
    }

    /// The worst there is; what is not known is no fault.
    pub fn status(&self) -> Status {
        let worst = self.findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
        if worst == Status::Unknown { Status::Ok } else { worst }
    }

    /// How many stand so.
    pub fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_what_is_not_known_is_no_fault() {
        let of = |statuses: &[Status]| Report::new(statuses.iter().map(|status| Finding::new(Check::Disk, *status, "")).collect()).status();
        assert_eq!(of(&[]), Status::Ok);
        assert_eq!(of(&[Status::Ok, Status::Unknown]), Status::Ok);
        assert_eq!(of(&[Status::Unknown, Status::Warning, Status::Ok]), Status::Warning);
        assert_eq!(of(&[Status::Failed, Status::Warning]), Status::Failed);
    }

    #[test]
    fn findings_stand_in_the_order_of_the_screen_and_of_their_finding() {
        let finding = |check, fact| Finding::new(check, Status::Ok, fact);
        let report = Report::new(vec![
            finding(Check::Disk, "1"),
            finding(Check::Takt, "2"),
            finding(Check::Disk, "3"),
        ]);
        let facts: Vec<&str> = report.findings.iter().map(|finding| finding.fact.as_str()).collect();
        assert_eq!(facts, ["2", "1", "3"]);
    }

    #[test]
    fn an_error_of_takt_is_a_fact_and_a_remedy() {
        let finding = Finding::failed(Check::Model, &"failed to open it: it is not there; teach it again; or not");
        assert_eq!(
            (finding.fact.as_str(), finding.remedy.as_str()),
            ("failed to open it: it is not there", "teach it again; or not")
        );
    }

    #[test]
    fn what_others_say_is_one_line_within_bounds() {
        let finding = Finding::new(Check::Library, Status::Failed, format!("a\n\tb\u{1b}[31m {}", "x".repeat(5000)));
        assert!(finding.fact.starts_with("a b [31m x"), "{}", finding.fact);
        assert_eq!(finding.fact.chars().count(), LINE_CHARS_MAX + 1);
    }

    #[test]
    fn findings_cross_a_pipe() {
        let finding = Finding::new(Check::GoldenGate, Status::Ok, "proven").of("model").value("images", 7);
        let line = serde_json::to_string(&finding).unwrap();
        assert!(line.contains("\"golden_gate\"") && line.contains("\"ok\""), "{line}");
        assert_eq!(serde_json::from_str::<Finding>(&line).unwrap(), finding);
    }
}
