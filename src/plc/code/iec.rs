//! IEC 61131-3 structured text, by the standard's third edition and without anybody's extensions. The wire is Modbus TCP: what a Modbus client reads
//! and writes is unpacked and packed by blocks of their own.

use std::fmt::Write;

use super::print::{self, Dialect};
use super::syntax::{Initial, Preset, Section, Type, Variable};
use super::variables::VARIABLES;
use super::{Codes, heading, signal_fields};
use crate::plc::signals::{FROM_PLC, FROM_STATION, Kind, PLC_REGISTERS, Signal};

/// Registers of the station that one read takes: all but those of window mode.
const STATION_BLOCK: u16 = 44;

struct Iec;

impl Dialect for Iec {
    fn variable(&self, name: &str) -> String {
        name.to_owned()
    }

    fn station(&self, signal: &str) -> String {
        format!("FromStation.{signal}")
    }

    fn plc(&self, signal: &str) -> String {
        format!("ToStation.{signal}")
    }

    fn boolean(&self, value: bool) -> &'static str {
        if value { "TRUE" } else { "FALSE" }
    }

    fn expired(&self, timer: &str) -> String {
        format!("{timer}.Q")
    }

    fn run(&self, timer: &str, enable: &str, preset: Preset) -> Vec<String> {
        let preset = match preset {
            Preset::Variable(name) => name.to_owned(),
            Preset::Milliseconds(milliseconds) => format!("T#{milliseconds}ms"),
        };
        vec![format!("{timer}(IN := {enable}, PT := {preset});")]
    }

    fn copy_serial(&self, to: &str, from: &str) -> String {
        format!("{to} := {from};")
    }

    fn comment(&self, words: &str) -> String {
        format!("(* {words} *)")
    }
}

/// The whole source.
pub(super) fn source() -> String {
    let mut text = String::new();
    let _ = writeln!(text, "(*\n{}*)\n", heading("iec-st"));
    types(&mut text);
    constants(&mut text);
    unpack(&mut text);
    pack(&mut text);
    block(&mut text);
    text.push_str(EXAMPLE);
    text
}

fn structure<I>(text: &mut String, name: &str, signals: &'static [Signal<I>]) {
    let _ = writeln!(text, "   {name} : STRUCT");
    for signal in signal_fields(signals) {
        let type_name = match signal.kind {
            Kind::Bit(_) => "BOOL".to_owned(),
            Kind::U16 => "UINT".to_owned(),
            Kind::U32 => "UDINT".to_owned(),
            Kind::Characters => format!("ARRAY [0..{}] OF WORD", signal.count - 1),
        };
        let _ = writeln!(text, "      {} : {type_name}; (* {} *)", signal.name, signal.meaning);
    }
    text.push_str("   END_STRUCT;\n");
}

fn types(text: &mut String) {
    text.push_str("TYPE\n");
    structure(text, "TaktFromStation", FROM_STATION);
    text.push_str("END_TYPE\n\nTYPE\n");
    structure(text, "TaktToStation", FROM_PLC);
    text.push_str("END_TYPE\n\n");
}

fn constants(text: &mut String) {
    text.push_str(
        "(* Numbers of docs/plc/codes.md. Engineering tools keep such constants in a list of global variables. *)\nVAR_GLOBAL CONSTANT\n",
    );
    for codes in Codes::all() {
        for code in codes.codes {
            let _ = writeln!(
                text,
                "   {}_{} : UINT := {}; (* {} *)",
                codes.prefix,
                code.constant(),
                code.number,
                code.text
            );
        }
    }
    text.push_str("END_VAR\n\n");
}

fn unpack(text: &mut String) {
    let last = STATION_BLOCK - 1;
    let _ = write!(
        text,
        "(* Input registers 0 to {last}, read in one request, become signals. *)\n\
         FUNCTION_BLOCK TaktUnpack\n   VAR_INPUT\n      Registers : ARRAY [0..{last}] OF WORD;\n   END_VAR\n   \
         VAR_OUTPUT\n      FromStation : TaktFromStation;\n   END_VAR\n\n"
    );
    for signal in signal_fields(FROM_STATION) {
        let (name, at) = (signal.name, signal.register);
        let value = match signal.kind {
            Kind::Bit(bit) => format!("(Registers[{at}] AND 16#{:04X}) <> 16#0000", 1_u16 << bit),
            Kind::U32 => format!(
                "DWORD_TO_UDINT(SHL(WORD_TO_DWORD(Registers[{at}]), 16) OR WORD_TO_DWORD(Registers[{}]))",
                at + 1
            ),
            Kind::U16 | Kind::Characters => format!("WORD_TO_UINT(Registers[{at}])"),
        };
        let _ = writeln!(text, "   FromStation.{name} := {value};");
    }
    text.push_str("END_FUNCTION_BLOCK\n\n");
}

fn pack(text: &mut String) {
    let last = PLC_REGISTERS - 1;
    let _ = write!(
        text,
        "(* Signals become holding registers 0 to {last}, to be written in one request. *)\n\
         FUNCTION_BLOCK TaktPack\n   VAR_INPUT\n      ToStation : TaktToStation;\n   END_VAR\n   \
         VAR_OUTPUT\n      Registers : ARRAY [0..{last}] OF WORD;\n   END_VAR\n   VAR\n      Place : UINT;\n   END_VAR\n\n   \
         Registers[0] := 16#0000;\n"
    );
    for signal in signal_fields(FROM_PLC) {
        let (name, at) = (signal.name, signal.register);
        let lines = match signal.kind {
            Kind::Bit(bit) => vec![
                format!("IF ToStation.{name} THEN"),
                format!("   Registers[{at}] := Registers[{at}] OR 16#{:04X};", 1_u16 << bit),
                "END_IF;".to_owned(),
            ],
            Kind::U16 => vec![format!("Registers[{at}] := UINT_TO_WORD(ToStation.{name});")],
            Kind::U32 => vec![
                format!("Registers[{at}] := DWORD_TO_WORD(SHR(UDINT_TO_DWORD(ToStation.{name}), 16));"),
                format!(
                    "Registers[{}] := DWORD_TO_WORD(UDINT_TO_DWORD(ToStation.{name}) AND 16#0000FFFF);",
                    at + 1
                ),
            ],
            Kind::Characters => vec![
                format!("FOR Place := 0 TO {} DO", signal.count - 1),
                format!("   Registers[{at} + Place] := ToStation.{name}[Place];"),
                "END_FOR;".to_owned(),
            ],
        };
        for line in lines {
            let _ = writeln!(text, "   {line}");
        }
    }
    text.push_str("END_FUNCTION_BLOCK\n\n");
}

fn type_name(type_of: Type) -> String {
    match type_of {
        Type::Bool => "BOOL".to_owned(),
        Type::U16 => "UINT".to_owned(),
        Type::U32 => "UDINT".to_owned(),
        Type::Time => "TIME".to_owned(),
        Type::Timer => "TON".to_owned(),
        Type::Serial => "ARRAY [0..15] OF WORD".to_owned(),
        Type::FromStation => "TaktFromStation".to_owned(),
        Type::ToStation => "TaktToStation".to_owned(),
        Type::Bools(count) => format!("ARRAY [0..{}] OF BOOL", count - 1),
        Type::U32s(count) => format!("ARRAY [0..{}] OF UDINT", count - 1),
    }
}

fn declaration(variable: &Variable) -> String {
    let initial = match variable.initial {
        Initial::Nothing => String::new(),
        Initial::Number(number) => format!(" := {number}"),
        Initial::Milliseconds(milliseconds) => format!(" := T#{milliseconds}ms"),
    };
    format!(
        "      {} : {}{initial}; (* {} *)",
        variable.name,
        type_name(variable.type_of),
        variable.meaning
    )
}

fn block(text: &mut String) {
    text.push_str("(* The PLC's side of the handshake with one station. Call it once per scan. *)\nFUNCTION_BLOCK TaktStation\n");
    for (section, head) in [
        (Section::Input, "VAR_INPUT"),
        (Section::Output, "VAR_OUTPUT"),
        (Section::Own, "VAR"),
        (Section::Retained, "VAR RETAIN"),
    ] {
        let _ = writeln!(text, "   {head}");
        for variable in VARIABLES.iter().filter(|variable| variable.section == section) {
            let _ = writeln!(text, "{}", declaration(variable));
        }
        text.push_str("   END_VAR\n");
    }
    text.push_str(&print::statements(&Iec, &super::handshake::scan(), 1));
    text.push_str("END_FUNCTION_BLOCK\n\n");
}

/// How the blocks are called.
const EXAMPLE: &str = "\
(* An example: one station, a part sensor, an output that lets a part pass. ReadRegisters, WriteRegisters and LinkOk belong to the Modbus client of
   your PLC: input registers 0 to 43 of the station in one request (function 4), holding registers 0 to 39 in one request (function 16), LinkOk
   while both succeed. The gate is normally closed: it opens for PassPart and for nothing else. *)
PROGRAM TaktExample
   VAR
      Started : BOOL; (* not retained: FALSE in the first scan *)
      Unpack : TaktUnpack;
      Station : TaktStation;
      Pack : TaktPack;
      ReadRegisters : ARRAY [0..43] OF WORD;
      WriteRegisters : ARRAY [0..39] OF WORD;
      LinkOk : BOOL;
      Run : BOOL;
      EStopReset : BOOL;
      PartSensor : BOOL;
      EncoderCount : UDINT;
      Acknowledge : BOOL;
      OpenGate : BOOL;
   END_VAR

   Unpack(Registers := ReadRegisters);
   Station(FirstScan := NOT Started,
           LinkOk := LinkOk,
           FromStation := Unpack.FromStation,
           Enable := Run,
           NewSession := EStopReset,
           StartPart := PartSensor,
           Encoder := EncoderCount,
           ClearError := Acknowledge,
           PartTime := T#400ms);
   Started := TRUE;
   OpenGate := Station.PassPart;
   Pack(ToStation := Station.ToStation);
   WriteRegisters := Pack.Registers;
END_PROGRAM
";
