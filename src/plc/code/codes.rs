//! Every number on the wire that means something: as tables for people (`docs/plc/codes.md`) and as constants for PLCs. The texts are those of the
//! enumerations themselves.

use std::fmt::Write;

use serde::Serialize;

use crate::line::commands::Command;
use crate::line::error_code::{ErrorCode, Level};
use crate::line::image::StationMode;
use crate::part::{Disposition, Reason, Verdict};

/// A number with its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Code {
    /// The number on the wire; fixed for good.
    pub number: u16,
    /// Its name in `snake_case`, as logs and records have it.
    pub name: &'static str,
    /// What kind it is, where the table tells kinds apart.
    pub kind: Option<&'static str>,
    /// What it means.
    pub text: &'static str,
    /// What to do about it; empty where there is nothing to do.
    pub remedy: &'static str,
}

impl Code {
    const fn plain(number: u16, name: &'static str, text: &'static str) -> Self {
        Self {
            number,
            name,
            kind: None,
            text,
            remedy: "",
        }
    }

    /// Its name as the constants of PLCs have it.
    pub fn constant(&self) -> String {
        self.name.to_uppercase()
    }
}

/// A table of codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Codes {
    /// The signal that carries them.
    pub signal: &'static str,
    /// What the names of constants begin with.
    #[serde(rename = "constant_prefix")]
    pub prefix: &'static str,
    /// What they are for, in a sentence or two.
    pub about: &'static str,
    /// By number.
    pub codes: Vec<Code>,
}

impl Codes {
    /// Every table.
    pub fn all() -> Vec<Self> {
        vec![verdicts(), reasons(), errors(), commands(), modes(), dispositions()]
    }
}

fn verdicts() -> Codes {
    Codes {
        signal: "Verdict",
        prefix: "TAKT_VERDICT",
        about: "Of the result shown. Only 1 may pass, and only with everything else that the pass rule demands.",
        codes: vec![
            Code::plain(0, "undefined", "no result is shown: reject"),
            Code::plain(Verdict::Ok.code(), "ok", "the part is good"),
            Code::plain(Verdict::NotOk.code(), "not_ok", "the part has a defect: reject"),
            Code::plain(
                Verdict::NotDecidable.code(),
                "not_decidable",
                "nobody knows; ReasonCode says why: reject",
            ),
        ],
    }
}

pub(super) fn reasons() -> Codes {
    let code = |reason: &Reason| Code {
        number: reason.code(),
        name: reason.name(),
        kind: None,
        text: reason.text(),
        remedy: reason.remedy(),
    };
    Codes {
        signal: "ReasonCode",
        prefix: "TAKT_REASON",
        about: "Why the result shown is not OK; 0 is none. Some are recorded only: what is never shown has no result.",
        codes: Reason::ALL.iter().map(code).collect(),
    }
}

pub(super) fn errors() -> Codes {
    let code = |error: &ErrorCode| Code {
        number: error.code(),
        name: error.name(),
        kind: Some(match (error.level(), error.is_latched()) {
            (Level::Error, false) => "error",
            (Level::Error, true) => "error, latched",
            (Level::Warning, false) => "warning",
            (Level::Warning, true) => "warning, latched",
        }),
        text: error.text(),
        remedy: error.remedy(),
    };
    Codes {
        signal: "ErrorCode",
        prefix: "TAKT_ERROR",
        about: "The lowest that is active; 0 is none. An error drops TriggerReady, with a warning inspection goes on. What is latched stays until ClearError, the rest goes with its cause.",
        codes: ErrorCode::ALL.iter().map(code).collect(),
    }
}

pub(super) fn commands() -> Codes {
    Codes {
        signal: "Command",
        prefix: "TAKT_COMMAND",
        about: "Carried out at a rising edge of ExecuteCommand, one at a time; CommandDone or CommandFailed stands until ExecuteCommand falls.",
        codes: Command::ALL
            .iter()
            .map(|command| Code::plain(command.code(), command.name(), command.text()))
            .collect(),
    }
}

pub(super) fn modes() -> Codes {
    let code = |mode: StationMode, name, text| Code::plain(mode as u16, name, text);
    Codes {
        signal: "StationMode",
        prefix: "TAKT_MODE",
        about: "Accept is 0 in every mode but auto.",
        codes: vec![
            code(
                StationMode::Preoperational,
                "preoperational",
                "starting, or nothing to inspect with",
            ),
            code(StationMode::Auto, "auto", "inspecting"),
            code(
                StationMode::Teach,
                "teach",
                "being taught: parts are kept, not counted and not passed",
            ),
            code(StationMode::TestRun, "test_run", "the models prove themselves; no part is taken"),
            code(StationMode::Simulated, "simulated", "nothing is real"),
        ],
    }
}

fn dispositions() -> Codes {
    let code = |number: u16, name, text| {
        debug_assert!(Disposition::from_code(number).is_some());
        Code::plain(number, name, text)
    };
    Codes {
        signal: "Disposition",
        prefix: "TAKT_DISPOSITION",
        about: "What really happened to the part DispositionCycleId; 0 says nothing.",
        codes: vec![
            code(1, "passed", "it went on"),
            code(2, "rejected", "it was rejected"),
            code(3, "removed", "somebody took it away"),
        ],
    }
}

/// Every table, as the document has it.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Codes\n\nMade by `takt plc codes --format md` from the tables in the program, which also name the constants of `takt plc code`. Numbers are fixed for good; new ones are added.\n",
    );
    for table in Codes::all() {
        let _ = write!(text, "\n## {}\n\n{}\n\n", table.signal, table.about);
        let kinds = table.codes.iter().any(|code| code.kind.is_some());
        let remedies = table.codes.iter().any(|code| !code.remedy.is_empty());
        let head: Vec<&str> = [
            Some("number"),
            Some("name"),
            kinds.then_some("kind"),
            Some("meaning"),
            remedies.then_some("remedy"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let _ = writeln!(text, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
        for code in &table.codes {
            let mut cells = vec![code.number.to_string(), format!("`{}`", code.name)];
            cells.extend(kinds.then(|| code.kind.unwrap_or_default().to_owned()));
            cells.push(code.text.to_owned());
            cells.extend(remedies.then(|| code.remedy.to_owned()));
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    text.push_str(
        "\n## DefectCode\n\nAssigned in the recipe (`defect_code`, per criterion or inspection), never from the order of a model's classes: exchanging a model renumbers nothing. 0 is none.\n",
    );
    text
}
