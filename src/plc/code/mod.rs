//! The PLC's side of the handshake as source for its engineering tool. It is written once (`handshake.rs`, in the little language of `syntax.rs`)
//! and printed for each target; types and register layouts follow from `plc/signals.rs`, numbers from the tables of codes. Pure.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | targets and what is made for them |
//! | `syntax.rs` | declarations, expressions, statements |
//! | `variables.rs`, `handshake.rs`, `requests.rs` | the function block: what it takes, gives and keeps; what it does in a scan for parts, and beside them |
//! | `codes.rs`, `proto.rs` | every number that means something, as tables; as enumerations of the gRPC contract |
//! | `print.rs` | statements as text |
//! | `iec.rs`, `rockwell.rs`, `siemens.rs` | the targets: declarations, and what each spells in its own way |

mod codes;
mod handshake;
mod iec;
mod print;
mod proto;
mod requests;
mod rockwell;
mod siemens;
mod syntax;
mod variables;

use std::fmt::Write;

pub use codes::{Code, Codes, markdown as codes_markdown};
pub use proto::proto as codes_proto;

use super::signals::{Kind, MAP_VERSION, Signal};

/// Parts that a block follows: as many as the station has result buffers, and the one whose `PassPart` stands.
const SLOTS: u16 = 9;

/// The number of no slot.
const NO_SLOT: u32 = SLOTS as u32;

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

/// Everything that a target needs.
pub fn sources(target: Target) -> Vec<SourceFile> {
    let (name, text) = match target {
        Target::IecSt => ("takt.st", iec::source()),
        Target::RockwellSt => ("takt_logix.st", rockwell::source()),
        Target::SiemensScl => ("takt.scl", siemens::source()),
    };
    vec![SourceFile { name, text }]
}

/// What every source begins with.
fn heading(target: &str) -> String {
    let mut text = format!("The PLC's side of a takt station, for register map {MAP_VERSION}.\n");
    let _ = writeln!(
        text,
        "Made by: takt plc code --target {target}. Make it anew rather than change it."
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
