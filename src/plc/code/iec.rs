//! IEC 61131-3 structured text, by the standard's third edition and without anybody's extensions. The wire is Modbus TCP: what a Modbus client reads
//! and writes is unpacked and packed by blocks of their own.

use std::fmt::Write;

use super::print::{self, Dialect};
use super::syntax::Type;
use super::variables::variables;
use super::{Target, block_name, declare, handshake, heading, signal_fields, window_fields};
use crate::line::config::ResultMode;
use crate::line::image::WINDOW_SLOTS;
use crate::plc::signals::{FROM_PLC, FROM_STATION, Kind, PLC_REGISTERS, STATION_REGISTERS, Signal, WINDOW_START, WINDOW_STRIDE};

/// Registers of the station that one read takes: all but those of window mode.
const STATION_BLOCK: u16 = 44;

/// Registers of the window.
const WINDOW_BLOCK: u16 = STATION_REGISTERS as u16 - WINDOW_START;

struct Iec;

impl Dialect for Iec {
    fn comment(&self, words: &str) -> String {
        format!("(* {words} *)")
    }

    fn type_name(&self, type_of: Type) -> String {
        let array = |count: u16, of: &str| format!("ARRAY [0..{}] OF {of}", count - 1);
        match type_of {
            Type::Bool => "BOOL".to_owned(),
            Type::U16 => "UINT".to_owned(),
            Type::U32 => "UDINT".to_owned(),
            Type::Time => "TIME".to_owned(),
            Type::Timer => "TON".to_owned(),
            Type::Serial => array(16, "WORD"),
            Type::FromStation => "TaktFromStation".to_owned(),
            Type::ToStation => "TaktToStation".to_owned(),
            Type::Window => "TaktWindow".to_owned(),
            Type::Bools(count) => array(count, "BOOL"),
            Type::Times(count) => array(count, "TIME"),
            Type::U16s(count) => array(count, "UINT"),
            Type::U32s(count) => array(count, "UDINT"),
        }
    }
}

/// The whole source.
pub(super) fn source(mode: ResultMode) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "(*\n{}*)\n", heading(Target::IecSt, mode));
    structure(&mut text, "TaktFromStation", &fields(FROM_STATION));
    structure(&mut text, "TaktToStation", &fields(FROM_PLC));
    if mode == ResultMode::Window {
        window_types(&mut text);
    }
    constants(&mut text);
    unpack(&mut text);
    if mode == ResultMode::Window {
        unpack_window(&mut text);
    }
    pack(&mut text);
    block(&mut text, mode);
    text.push_str(match mode {
        ResultMode::Single => EXAMPLE,
        ResultMode::Window => WINDOW_EXAMPLE,
    });
    text
}

fn fields<I>(signals: &'static [Signal<I>]) -> Vec<String> {
    signal_fields(signals)
        .map(|signal| declare::field(&Iec, signal, signal.name))
        .collect()
}

fn structure(text: &mut String, name: &str, fields: &[String]) {
    let _ = writeln!(text, "TYPE\n   {name} : STRUCT");
    for field in fields {
        let _ = writeln!(text, "{}{field}", Iec.margin());
    }
    text.push_str("   END_STRUCT;\nEND_TYPE\n\n");
}

fn window_types(text: &mut String) {
    let fields = |of_slots| window_fields(of_slots).map(|(signal, name)| declare::field(&Iec, signal, name));
    structure(text, "TaktSlot", &fields(true).collect::<Vec<_>>());
    let slots = format!("ARRAY [0..{}] OF TaktSlot", WINDOW_SLOTS - 1);
    let slots = Iec.declaration("Slot", &slots, None, "slot ResultId mod 16");
    structure(text, "TaktWindow", &[slots].into_iter().chain(fields(false)).collect::<Vec<_>>());
}

fn constants(text: &mut String) {
    text.push_str(
        "(* Numbers of docs/plc/codes.md. Engineering tools keep such constants in a list of global variables. *)\nVAR_GLOBAL CONSTANT\n",
    );
    text.push_str(&declare::constants(&Iec));
    text.push_str("END_VAR\n\n");
}

/// A signal's value from registers; `at` is the place of its register.
fn value(kind: Kind, at: impl Fn(u16) -> String) -> String {
    match kind {
        Kind::Bit(bit) => format!("(Registers[{}] AND 16#{:04X}) <> 16#0000", at(0), 1_u16 << bit),
        Kind::U32 => format!(
            "DWORD_TO_UDINT(SHL(WORD_TO_DWORD(Registers[{}]), 16) OR WORD_TO_DWORD(Registers[{}]))",
            at(0),
            at(1)
        ),
        Kind::U16 | Kind::Characters => format!("WORD_TO_UINT(Registers[{}])", at(0)),
    }
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
        let value = value(signal.kind, |word| (signal.register + word).to_string());
        let name = signal.name;
        let _ = writeln!(text, "   FromStation.{name} := {value};");
    }
    text.push_str("END_FUNCTION_BLOCK\n\n");
}

fn unpack_window(text: &mut String) {
    let _ = write!(
        text,
        "(* Input registers {WINDOW_START} to {}, read in one request, become the window. *)\n\
         FUNCTION_BLOCK TaktUnpackWindow\n   VAR_INPUT\n      Registers : ARRAY [0..{}] OF WORD;\n   END_VAR\n   \
         VAR_OUTPUT\n      Window : TaktWindow;\n   END_VAR\n   VAR\n      Place : UINT;\n   END_VAR\n\n   \
         FOR Place := 0 TO {} DO\n",
        STATION_REGISTERS - 1,
        WINDOW_BLOCK - 1,
        WINDOW_SLOTS - 1
    );
    for (signal, name) in window_fields(true) {
        let first = signal.register - WINDOW_START;
        let value = value(signal.kind, |word| format!("{WINDOW_STRIDE} * Place + {}", first + word));
        let _ = writeln!(text, "      Window.Slot[Place].{name} := {value};");
    }
    text.push_str("   END_FOR;\n");
    for (signal, name) in window_fields(false) {
        let value = value(signal.kind, |word| (signal.register - WINDOW_START + word).to_string());
        let _ = writeln!(text, "   Window.{name} := {value};");
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

fn block(text: &mut String, mode: ResultMode) {
    let name = block_name(mode);
    let _ = writeln!(
        text,
        "(* The PLC's side of the handshake with one station. Call it once per scan. *)\nFUNCTION_BLOCK {name}"
    );
    text.push_str(&declare::variables(&Iec, &variables(mode)));
    text.push_str(&print::statements(&Iec, &handshake::scan(mode), 1));
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

/// The same in window mode.
const WINDOW_EXAMPLE: &str = "\
(* An example: one station, a part sensor, an output that lets a part pass. ReadRegisters, WindowRegisters, WriteRegisters and LinkOk belong to the
   Modbus client of your PLC: input registers 0 to 43 of the station in one request and 100 to 197 in another (function 4), holding registers 0 to 39
   in one request (function 16), LinkOk while all three succeed. PartAtGate is the number of the part at the gate, from your tracking of the belt; when
   Station.StartedCycleId changes, it is the number of the part that StartPart announced. The gate is normally closed: it opens for PassPart and for
   nothing else. *)
PROGRAM TaktWindowExample
   VAR
      Started : BOOL; (* not retained: FALSE in the first scan *)
      Unpack : TaktUnpack;
      UnpackWindow : TaktUnpackWindow;
      Station : TaktWindowStation;
      Pack : TaktPack;
      ReadRegisters : ARRAY [0..43] OF WORD;
      WindowRegisters : ARRAY [0..97] OF WORD;
      WriteRegisters : ARRAY [0..39] OF WORD;
      LinkOk : BOOL;
      Run : BOOL;
      EStopReset : BOOL;
      PartSensor : BOOL;
      PartAtGate : UDINT;
      EncoderCount : UDINT;
      Acknowledge : BOOL;
      OpenGate : BOOL;
   END_VAR

   Unpack(Registers := ReadRegisters);
   UnpackWindow(Registers := WindowRegisters);
   Station(FirstScan := NOT Started,
           LinkOk := LinkOk,
           FromStation := Unpack.FromStation,
           Window := UnpackWindow.Window,
           Enable := Run,
           NewSession := EStopReset,
           StartPart := PartSensor,
           GateCycleId := PartAtGate,
           Encoder := EncoderCount,
           ClearError := Acknowledge,
           PartTime := T#400ms);
   Started := TRUE;
   OpenGate := Station.PassPart;
   Pack(ToStation := Station.ToStation);
   WriteRegisters := Pack.Registers;
END_PROGRAM
";
