//! The PLC's side of the handshake as source for its engineering tool. It is written once (`handshake.rs`, in the little language of `syntax.rs`)
//! and printed for each target; types and register layouts follow from `plc/signals.rs`, numbers from the tables of codes. Pure.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | targets and what is made for them |
//! | `syntax.rs` | declarations, expressions, statements |
//! | `variables.rs`, `handshake.rs`, `requests.rs` | the function blocks: what they take, give and keep; what they do in a scan for parts, and beside them |
//! | `one_by_one.rs`, `window.rs` | what differs between them: how results are taken in single and buffered mode, and in window mode |
//! | `codes.rs`, `proto.rs` | every number that means something, as tables; as enumerations of the gRPC contract |
//! | `print.rs`, `declare.rs` | statements and declarations as text |
//! | `iec.rs`, `rockwell.rs`, `siemens.rs` | the targets: what each spells in its own way, and what its source is made of |

mod codes;
mod declare;
mod handshake;
mod iec;
mod one_by_one;
mod print;
mod proto;
mod requests;
mod rockwell;
mod siemens;
mod syntax;
mod variables;
mod window;

use std::fmt::Write;

pub use codes::{Code, Codes, markdown as codes_markdown};
pub use proto::proto as codes_proto;

use super::signals::{FROM_STATION, Kind, MAP_VERSION, Signal};
use crate::line::config::ResultMode;
use crate::line::image::{BUFFERS, StationImage, WINDOW_SLOTS};

/// Parts that a block follows: as many as the station has result buffers and the one whose `PassPart` stands; or as many as the window shows.
const fn slots(mode: ResultMode) -> u16 {
    match mode {
        ResultMode::Single => BUFFERS as u16 + 1,
        ResultMode::Window => WINDOW_SLOTS as u16,
    }
}

/// The PLC's heartbeat counts up this often, milliseconds; the station waits for at least three of them.
const BEAT_MS: u32 = 100;

/// What the source is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// IEC 61131-3 structured text, third edition; over Modbus TCP.
    IecSt,
    /// Structured text of Logix 5000; over EtherNet/IP.
    RockwellSt,
    /// SCL of TIA Portal; over S7 or Modbus TCP.
    SiemensScl,
}

impl Target {
    /// Every target.
    pub const ALL: &[Self] = &[Self::IecSt, Self::RockwellSt, Self::SiemensScl];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::IecSt => "iec-st",
            Self::RockwellSt => "rockwell-st",
            Self::SiemensScl => "siemens-scl",
        }
    }
}

/// A file to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name.
    pub name: &'static str,
    /// What it holds; lines end with a line feed.
    pub text: String,
}

/// Everything that a target needs for a station whose `result.mode` is this one.
pub fn sources(target: Target, mode: ResultMode) -> Vec<SourceFile> {
    let text = match target {
        Target::IecSt => iec::source(mode),
        Target::RockwellSt => rockwell::source(mode),
        Target::SiemensScl => siemens::source(mode),
    };
    let name = match (target, mode) {
        (Target::IecSt, ResultMode::Single) => "takt.st",
        (Target::IecSt, ResultMode::Window) => "takt_window.st",
        (Target::RockwellSt, ResultMode::Single) => "takt_logix.st",
        (Target::RockwellSt, ResultMode::Window) => "takt_logix_window.st",
        (Target::SiemensScl, ResultMode::Single) => "takt.scl",
        (Target::SiemensScl, ResultMode::Window) => "takt_window.scl",
    };
    vec![SourceFile { name, text }]
}

/// The block's name, and what the names of all that goes with it begin with.
const fn block_name(mode: ResultMode) -> &'static str {
    match mode {
        ResultMode::Single => "TaktStation",
        ResultMode::Window => "TaktWindowStation",
    }
}

/// What every source begins with.
fn heading(target: Target, mode: ResultMode) -> String {
    let (results, option) = match mode {
        ResultMode::Single => ("result.mode = \"single\", with BufferEnable buffered", ""),
        ResultMode::Window => ("result.mode = \"window\"", " --mode window"),
    };
    let mut text = format!("The PLC's side of a takt station, for register map {MAP_VERSION} and {results}.\n");
    let _ = writeln!(
        text,
        "Made by: takt plc code --target {}{option}. Make it anew rather than change it.",
        target.name()
    );
    text.push_str(
        "takt is no safety component: nothing here may be used for a safety function (ISO 13849-1, IEC 62061).\n\
         0 means reject: PassPart is FALSE unless everything that docs/plc/ demands holds, in one copy of what the station says.\n",
    );
    text
}

/// The signals of an image that a block handles one by one: all but those of window mode.
fn signal_fields<I>(signals: &'static [Signal<I>]) -> impl Iterator<Item = &'static Signal<I>> {
    signals
        .iter()
        .filter(|signal| !signal.name.starts_with("Window") && (signal.count == 1 || signal.kind == Kind::Characters))
}

/// The signals of window mode, with their names within the window: those of one slot, and those beside the slots.
fn window_fields(of_slots: bool) -> impl Iterator<Item = (&'static Signal<StationImage>, &'static str)> {
    FROM_STATION
        .iter()
        .filter(move |signal| (signal.count > 1) == of_slots)
        .filter_map(|signal| Some((signal, signal.name.strip_prefix("Window")?)))
}
