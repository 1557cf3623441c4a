//! Structured text for Logix 5000 (Studio 5000). Numbers are DINT, bits of a word are bits of one DINT, one signal per DINT, as the EtherNet/IP wire
//! has them; CPS copies a tag whole. There are neither TRUE nor TON in this structured text: booleans are 1 and 0, timers TONR with an `FBD_TIMER`.
//! Studio 5000 imports text of this kind only by hand: the header says what is made where.

use std::fmt::Write;

use super::print::{self, Dialect};
use super::syntax::{Initial, Preset, Section, Type, Variable};
use super::variables::VARIABLES;
use super::{Codes, heading, signal_fields};
use crate::plc::signals::{FROM_PLC, FROM_STATION, Kind, Signal};

struct Logix;

impl Dialect for Logix {
    fn variable(&self, name: &str) -> String {
        name.to_owned()
    }

    fn station(&self, signal: &str) -> String {
        format!("FromStation.{}", member(FROM_STATION, signal))
    }

    fn plc(&self, signal: &str) -> String {
        format!("ToStation.{}", member(FROM_PLC, signal))
    }

    fn boolean(&self, value: bool) -> &'static str {
        if value { "1" } else { "0" }
    }

    fn expired(&self, timer: &str) -> String {
        format!("{timer}.DN")
    }

    fn run(&self, timer: &str, enable: &str, preset: Preset) -> Vec<String> {
        let preset = match preset {
            Preset::Variable(name) => name.to_owned(),
            Preset::Milliseconds(milliseconds) => milliseconds.to_string(),
        };
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

    fn comment(&self, words: &str) -> String {
        format!("// {words}")
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
fn member<I>(signals: &'static [Signal<I>], name: &str) -> String {
    let signal = signals.iter().find(|signal| signal.name == name);
    match signal.map(|signal| (signal.kind, signal.register)) {
        Some((Kind::Bit(bit), register)) => format!("{}.{bit}", word_of(register)),
        _ => name.to_owned(),
    }
}

/// The whole source.
pub(super) fn source() -> String {
    let mut text = String::new();
    for line in heading("rockwell-st").lines() {
        let _ = writeln!(text, "// {line}");
    }
    text.push_str(IMPORT);
    structure(&mut text, "TaktFromStation_T", FROM_STATION);
    structure(&mut text, "TaktToStation_T", FROM_PLC);
    parameters(&mut text);
    codes(&mut text);
    text.push_str("// ---- The logic of the routine TaktStation ----\nCPS(TaktFromStation[0], FromStation, 1);\n");
    text.push_str(&print::statements(&Logix, &super::handshake::scan(), 0));
    let _ = writeln!(text, "CPS(ToStation, TaktToStation[0], {});", length(&members(FROM_PLC)));
    text.push_str(EXAMPLE);
    text
}

/// Every member of a structure, in the order of the map: one DINT each, bits of a register in one.
fn members<I>(signals: &'static [Signal<I>]) -> Vec<(String, u16, String)> {
    let mut members: Vec<(u16, String, u16, String)> = Vec::new();
    for signal in signal_fields(signals) {
        match signal.kind {
            Kind::Bit(bit) => {
                let said = format!(".{bit} {}", signal.name);
                match members.iter_mut().find(|(register, ..)| *register == signal.register) {
                    Some((.., meaning)) => {
                        meaning.push_str(", ");
                        meaning.push_str(&said);
                    }
                    None => members.push((signal.register, word_of(signal.register).to_owned(), 1, said)),
                }
            }
            Kind::Characters => members.push((signal.register, signal.name.to_owned(), signal.count / 2, signal.meaning.to_owned())),
            _ => members.push((signal.register, signal.name.to_owned(), 1, signal.meaning.to_owned())),
        }
    }
    members.sort_by_key(|member| member.0);
    members
        .into_iter()
        .map(|(_, name, count, meaning)| (name, count, meaning))
        .collect()
}

/// How many DINTs a structure has.
fn length(members: &[(String, u16, String)]) -> u16 {
    members.iter().map(|member| member.1).sum()
}

fn structure<I>(text: &mut String, name: &str, signals: &'static [Signal<I>]) {
    let members = members(signals);
    let tag = name.trim_end_matches("_T");
    let _ = writeln!(
        text,
        "// User-defined data type {name}, and the controller tag {tag} : DINT[{}]:",
        length(&members)
    );
    for (name, count, meaning) in members {
        let type_name = if count > 1 { format!("DINT[{count}]") } else { "DINT".to_owned() };
        let _ = writeln!(text, "//    {name} : {type_name}   {meaning}");
    }
    text.push_str("//\n");
}

fn type_name(type_of: Type) -> String {
    match type_of {
        Type::Bool => "BOOL".to_owned(),
        Type::U16 | Type::U32 | Type::Time => "DINT".to_owned(),
        Type::Timer => "FBD_TIMER".to_owned(),
        Type::Serial => "DINT[8]".to_owned(),
        Type::FromStation => "TaktFromStation_T".to_owned(),
        Type::ToStation => "TaktToStation_T".to_owned(),
        // Arrays of BOOL come in steps of 32, and are no bits of a DINT.
        Type::Bools(_) => "BOOL[32]".to_owned(),
        Type::U32s(count) => format!("DINT[{count}]"),
    }
}

fn parameters(text: &mut String) {
    for (section, about) in [
        (Section::Input, "Program tags that your logic writes"),
        (Section::Output, "Program tags that your logic reads"),
        (Section::Own, "Program tags of the routine's own"),
        (Section::Retained, "Likewise; Logix keeps every tag over a power cut"),
    ] {
        let _ = writeln!(text, "// {about}:");
        for variable in VARIABLES.iter().filter(|variable| variable.section == section) {
            let _ = writeln!(text, "//    {}", declaration(variable));
        }
        text.push_str("//\n");
    }
}

fn declaration(variable: &Variable) -> String {
    let initial = match variable.initial {
        Initial::Nothing => String::new(),
        Initial::Number(number) | Initial::Milliseconds(number) => format!(" := {number}"),
    };
    let unit = if variable.type_of == Type::Time { ", milliseconds" } else { "" };
    format!(
        "{} : {}{initial}   {}{unit}",
        variable.name,
        type_name(variable.type_of),
        variable.meaning
    )
}

fn codes(text: &mut String) {
    text.push_str("// Numbers of docs/plc/codes.md:\n");
    for table in Codes::all() {
        for code in table.codes {
            let _ = writeln!(text, "//    {}_{} = {}   {}", table.prefix, code.constant(), code.number, code.text);
        }
    }
    text.push('\n');
}

/// How it is brought in.
const IMPORT: &str = "\
//
// Studio 5000: make the two user-defined data types, the two controller tags (external access Read/Write), the program tags with their initial values,
// then a structured text routine TaktStation with the logic below. Nothing else may write
// TaktToStation, and only the station writes TaktFromStation. Members are one DINT each and in the order of the tags' elements, so that CPS copies
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
