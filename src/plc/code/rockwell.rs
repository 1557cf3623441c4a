//! Structured text for Logix 5000 (Studio 5000). Numbers are DINT, bits of a word are bits of one DINT, one signal per DINT, as the EtherNet/IP wire
//! has them; CPS copies a tag whole. There are neither TRUE nor TON in this structured text: booleans are 1 and 0, timers TONR with an `FBD_TIMER`.
//! Studio 5000 imports text of this kind only by hand: the header says what is made where.

use std::fmt::Write;

use super::print::{self, Dialect};
use super::syntax::{Section, Type};
use super::variables::variables;
use super::{Target, block_name, declare, handshake, heading, signal_fields, window_fields};
use crate::line::config::ResultMode;
use crate::line::image::WINDOW_SLOTS;
use crate::plc::signals::{FROM_PLC, FROM_STATION, Kind, Signal};

struct Logix;

impl Dialect for Logix {
    fn station(&self, signal: &str) -> String {
        format!("FromStation.{}", path(FROM_STATION, signal))
    }

    fn plc(&self, signal: &str) -> String {
        format!("ToStation.{}", path(FROM_PLC, signal))
    }

    fn boolean(&self, value: bool) -> &'static str {
        if value { "1" } else { "0" }
    }

    fn milliseconds(&self, milliseconds: u32) -> String {
        milliseconds.to_string()
    }

    fn expired(&self, timer: &str) -> String {
        format!("{timer}.DN")
    }

    fn elapsed(&self, timer: &str) -> String {
        format!("{timer}.ACC")
    }

    fn run(&self, timer: &str, enable: &str, preset: &str) -> Vec<String> {
        vec![
            format!("{timer}.TimerEnable := {enable};"),
            format!("{timer}.Reset := NOT {timer}.TimerEnable;"),
            format!("{timer}.PRE := {preset};"),
            format!("TONR({timer});"),
        ]
    }

    fn copy_serial(&self, to: &str, from: &str) -> String {
        format!("COP({from}[0], {to}[0], 8);")
    }

    fn type_name(&self, type_of: Type) -> String {
        match type_of {
            Type::Bool => "BOOL".to_owned(),
            Type::U16 | Type::U32 => "DINT".to_owned(),
            Type::Time => "DINT (milliseconds)".to_owned(),
            Type::Timer => "FBD_TIMER".to_owned(),
            Type::Serial => "DINT[8]".to_owned(),
            Type::FromStation => "TaktFromStation_T".to_owned(),
            Type::ToStation => "TaktToStation_T".to_owned(),
            Type::Window => "TaktWindow_T".to_owned(),
            // Arrays of BOOL come in steps of 32, and are no bits of a DINT.
            Type::Bools(_) => "BOOL[32]".to_owned(),
            Type::Times(count) => format!("DINT[{count}] (milliseconds)"),
            Type::U16s(count) | Type::U32s(count) => format!("DINT[{count}]"),
        }
    }

    /// A line of a list: tags are made by hand.
    fn declaration(&self, name: &str, type_name: &str, initial: Option<&str>, meaning: &str) -> String {
        let initial = initial.map(|value| format!(" := {value}")).unwrap_or_default();
        format!("{name} : {type_name}{initial}   {meaning}")
    }

    fn section(&self, section: Section) -> (&'static str, &'static str) {
        let about = match section {
            Section::Input => "// Program tags that your logic writes:",
            Section::Output => "// Program tags that your logic reads:",
            Section::Own => "// Program tags of the routine's own:",
            Section::Retained => "// Likewise; Logix keeps every tag over a power cut:",
        };
        (about, "//")
    }

    fn margin(&self) -> &'static str {
        "//    "
    }
}

/// The name of the DINT that holds the bits of this register.
fn word_of(register: u16) -> &'static str {
    match register {
        0 => "Word0",
        _ => "Word28",
    }
}

/// A signal as a member of its structure: itself, or a bit of a word.
fn path<I>(signals: &'static [Signal<I>], name: &str) -> String {
    let signal = signals.iter().find(|signal| signal.name == name);
    match signal.map(|signal| (signal.kind, signal.register)) {
        Some((Kind::Bit(bit), register)) => format!("{}.{bit}", word_of(register)),
        _ => name.to_owned(),
    }
}

/// The whole source.
pub(super) fn source(mode: ResultMode) -> String {
    let mut text = String::new();
    for line in heading(Target::RockwellSt, mode).lines() {
        let _ = writeln!(text, "// {line}");
    }
    text.push_str(IMPORT);
    let (from_station, to_station) = (members(FROM_STATION), members(FROM_PLC));
    let mut said = length(&from_station);
    structure(&mut text, "TaktFromStation_T", &from_station);
    if mode == ResultMode::Window {
        window_types(&mut text);
        let (slot, besides) = (window_members(true), window_members(false));
        said += WINDOW_SLOTS as u16 * length(&slot) + length(&besides);
    }
    structure(&mut text, "TaktToStation_T", &to_station);
    let _ = writeln!(
        text,
        "// Controller tags TaktFromStation : DINT[{said}] and TaktToStation : DINT[{}].\n//",
        length(&to_station)
    );
    text.push_str(&declare::variables(&Logix, &variables(mode)));
    let _ = writeln!(text, "// Numbers of docs/plc/codes.md:\n{}", declare::constants(&Logix));
    let _ = writeln!(text, "// ---- The logic of the routine {} ----", block_name(mode));
    text.push_str("CPS(TaktFromStation[0], FromStation, 1);\n");
    if mode == ResultMode::Window {
        let _ = writeln!(text, "CPS(TaktFromStation[{}], Window, 1);", length(&from_station));
    }
    text.push_str(&print::statements(&Logix, &handshake::scan(mode), 0));
    let _ = writeln!(text, "CPS(ToStation, TaktToStation[0], {});", length(&to_station));
    text.push_str(match mode {
        ResultMode::Single => EXAMPLE,
        ResultMode::Window => WINDOW_EXAMPLE,
    });
    text
}

/// A member of a structure: one DINT, or several.
struct Member {
    name: String,
    count: u16,
    meaning: String,
}

/// The members of the window: of one slot, or beside the slots.
fn window_members(of_slots: bool) -> Vec<Member> {
    let members = window_fields(of_slots).map(|(signal, name)| Member {
        name: name.to_owned(),
        count: 1,
        meaning: signal.meaning.to_owned(),
    });
    members.collect()
}

fn window_types(text: &mut String) {
    structure(text, "TaktSlot_T", &window_members(true));
    let _ = writeln!(text, "// User-defined data type TaktWindow_T:");
    let slots = format!("TaktSlot_T[{WINDOW_SLOTS}]");
    member(text, "Slot", &slots, "slot ResultId mod 16");
    for besides in window_members(false) {
        member(text, &besides.name, "DINT", &besides.meaning);
    }
    text.push_str("//\n");
}

/// Every member of a structure, in the order of the map: one DINT each, bits of a register in one.
fn members<I>(signals: &'static [Signal<I>]) -> Vec<Member> {
    let mut members: Vec<(u16, Member)> = Vec::new();
    for signal in signal_fields(signals) {
        let (name, count, meaning) = match signal.kind {
            Kind::Bit(bit) => {
                let said = format!(".{bit} {}", signal.name);
                if let Some((_, word)) = members.iter_mut().find(|(register, _)| *register == signal.register) {
                    word.meaning.push_str(", ");
                    word.meaning.push_str(&said);
                    continue;
                }
                (word_of(signal.register), 1, said)
            }
            Kind::Characters => (signal.name, signal.count / 2, signal.meaning.to_owned()),
            Kind::U16 | Kind::U32 => (signal.name, 1, signal.meaning.to_owned()),
        };
        let name = name.to_owned();
        members.push((signal.register, Member { name, count, meaning }));
    }
    members.sort_by_key(|(register, _)| *register);
    members.into_iter().map(|(_, member)| member).collect()
}

/// How many DINTs a structure has.
fn length(members: &[Member]) -> u16 {
    members.iter().map(|member| member.count).sum()
}

fn structure(text: &mut String, name: &str, members: &[Member]) {
    let _ = writeln!(text, "// User-defined data type {name}:");
    for Member { name, count, meaning } in members {
        let type_name = if *count > 1 { format!("DINT[{count}]") } else { "DINT".to_owned() };
        member(text, name, &type_name, meaning);
    }
    text.push_str("//\n");
}

fn member(text: &mut String, name: &str, type_name: &str, meaning: &str) {
    let line = Logix.declaration(name, type_name, None, meaning);
    let _ = writeln!(text, "{}{line}", Logix.margin());
}

/// How it is brought in.
const IMPORT: &str = "\
//
// Studio 5000: make the user-defined data types, the two controller tags (external access Read/Write), the program tags with their initial values,
// then a structured text routine with the logic below. Nothing else may write TaktToStation, and only the station writes TaktFromStation. Members are one DINT each and in the order of the tags' elements, so that CPS copies
// one onto the other.
//
";

/// How the routine is called.
const EXAMPLE: &str = "
// ---- An example, for the routine that runs every scan ----
// One station, a part sensor, an output that lets a part pass. LinkOk is your watch over the connection. Tags survive a power cut in Logix: S:FS is what
// begins a session. The gate opens for PassPart and for nothing else.
//
//    FirstScan := S:FS;
//    LinkOk := StationConnected;
//    Enable := Run;
//    NewSession := EStopReset;
//    StartPart := PartSensor;
//    Encoder := EncoderCount;
//    ClearError := Acknowledge;
//    PartTime := 400;
//    JSR(TaktStation);
//    OpenGate := PassPart;
";

/// The same in window mode.
const WINDOW_EXAMPLE: &str = "
// ---- An example, for the routine that runs every scan ----
// One station, a part sensor, an output that lets a part pass. LinkOk is your watch over the connection. Tags survive a power cut in Logix: S:FS is what
// begins a session. PartAtGate is the number of the part at the gate, from your tracking of the belt; when StartedCycleId changes, it is the number of
// the part that StartPart announced. The gate opens for PassPart and for nothing else.
//
//    FirstScan := S:FS;
//    LinkOk := StationConnected;
//    Enable := Run;
//    NewSession := EStopReset;
//    StartPart := PartSensor;
//    GateCycleId := PartAtGate;
//    Encoder := EncoderCount;
//    ClearError := Acknowledge;
//    PartTime := 400;
//    JSR(TaktWindowStation);
//    OpenGate := PassPart;
";
