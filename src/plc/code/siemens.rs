//! SCL for TIA Portal (S7-1200, S7-1500), as an external source. The data blocks of the wire have standard access and lie in memory as the register
//! map does: a register is a word, big endian; bit 0 of a register is bit 0 of its second byte. So PUT/GET, and a Modbus client as well, move them
//! as they are, and nothing needs to be unpacked.

use std::fmt::Write;

use super::print::{self, Dialect};
use super::syntax::{Initial, Preset, Section, Type, Variable};
use super::variables::VARIABLES;
use super::{Codes, heading, signal_fields};
use crate::plc::signals::{FROM_PLC, FROM_STATION, Kind, Signal};

struct Scl;

impl Dialect for Scl {
    fn variable(&self, name: &str) -> String {
        format!("#{name}")
    }

    fn station(&self, signal: &str) -> String {
        format!("#FromStation.{signal}")
    }

    fn plc(&self, signal: &str) -> String {
        format!("#ToStation.{signal}")
    }

    fn boolean(&self, value: bool) -> &'static str {
        if value { "TRUE" } else { "FALSE" }
    }

    fn expired(&self, timer: &str) -> String {
        format!("#{timer}.Q")
    }

    fn run(&self, timer: &str, enable: &str, preset: Preset) -> Vec<String> {
        let preset = match preset {
            Preset::Variable(name) => format!("#{name}"),
            Preset::Milliseconds(milliseconds) => format!("T#{milliseconds}ms"),
        };
        vec![format!("#{timer}(IN := {enable}, PT := {preset});")]
    }

    fn copy_serial(&self, to: &str, from: &str) -> String {
        format!("{to} := {from};")
    }

    fn comment(&self, words: &str) -> String {
        format!("// {words}")
    }
}

/// The whole source.
pub(super) fn source() -> String {
    let mut text = String::new();
    for line in heading("siemens-scl").lines() {
        let _ = writeln!(text, "// {line}");
    }
    text.push_str(IMPORT);
    structure(&mut text, "TaktFromStation", FROM_STATION);
    structure(&mut text, "TaktToStation", FROM_PLC);
    codes(&mut text);
    data_block(&mut text, "TaktRead", "TaktFromStation");
    data_block(&mut text, "TaktWrite", "TaktToStation");
    block(&mut text);
    text.push_str(EXAMPLE);
    text
}

/// A field of a type: where it begins, in bits from the start of the structure, and its line.
struct Field {
    at: usize,
    bits: usize,
    line: String,
}

/// A structure that lies in memory as the registers do. Within a word the high byte comes first, so bits 8 to 15 stand before bits 0 to 7.
fn structure<I>(text: &mut String, name: &str, signals: &'static [Signal<I>]) {
    let mut fields: Vec<Field> = signal_fields(signals)
        .map(|signal| {
            let word = 16 * usize::from(signal.register);
            let (at, bits, type_name) = match signal.kind {
                Kind::Bit(bit) => (word + (usize::from(bit) + 8) % 16, 1, "Bool".to_owned()),
                Kind::U16 => (word, 16, "UInt".to_owned()),
                Kind::U32 => (word, 32, "UDInt".to_owned()),
                Kind::Characters => (
                    word,
                    16 * usize::from(signal.count),
                    format!("Array[0..{}] of Char", 2 * signal.count - 1),
                ),
            };
            let line = format!("      {} : {type_name};   // {}", signal.name, signal.meaning);
            Field { at, bits, line }
        })
        .collect();
    fields.sort_by_key(|field| field.at);
    let _ = writeln!(text, "TYPE \"{name}\"\nVERSION : 0.1\n   STRUCT");
    let mut at = 0;
    for field in fields {
        reserve(text, &mut at, field.at);
        let _ = writeln!(text, "{}", field.line);
        at += field.bits;
    }
    let end = at.next_multiple_of(16);
    reserve(text, &mut at, end);
    text.push_str("   END_STRUCT;\nEND_TYPE\n\n");
}

/// Declares what no signal claims, so that the next one lies where it should.
fn reserve(text: &mut String, at: &mut usize, until: usize) {
    while *at < until {
        if at.is_multiple_of(16) && until - *at >= 16 {
            let _ = writeln!(text, "      Reserved{} : Word;", *at / 16);
            *at += 16;
        } else {
            let _ = writeln!(text, "      Reserved{}_{} : Bool;", *at / 16, (*at + 8) % 16);
            *at += 1;
        }
    }
}

fn codes(text: &mut String) {
    text.push_str("// Numbers of docs/plc/codes.md.\nDATA_BLOCK \"TaktCode\"\n{ S7_Optimized_Access := 'TRUE' }\nVERSION : 0.1\nNON_RETAIN\n   STRUCT\n");
    for table in Codes::all() {
        for code in table.codes {
            let _ = writeln!(
                text,
                "      {}_{} : UInt := {};   // {}",
                table.prefix,
                code.constant(),
                code.number,
                code.text
            );
        }
    }
    text.push_str("   END_STRUCT;\nBEGIN\nEND_DATA_BLOCK\n\n");
}

fn data_block(text: &mut String, name: &str, type_name: &str) {
    let _ = write!(
        text,
        "DATA_BLOCK \"{name}\"\n{{ S7_Optimized_Access := 'FALSE' }}\nVERSION : 0.1\nNON_RETAIN\n\"{type_name}\"\n\nBEGIN\nEND_DATA_BLOCK\n\n"
    );
}

fn type_name(type_of: Type) -> String {
    match type_of {
        Type::Bool => "Bool".to_owned(),
        Type::U16 => "UInt".to_owned(),
        Type::U32 => "UDInt".to_owned(),
        Type::Time => "Time".to_owned(),
        Type::Timer => "TON_TIME".to_owned(),
        Type::Serial => "Array[0..31] of Char".to_owned(),
        Type::FromStation => "\"TaktFromStation\"".to_owned(),
        Type::ToStation => "\"TaktToStation\"".to_owned(),
        Type::Bools(count) => format!("Array[0..{}] of Bool", count - 1),
        Type::U32s(count) => format!("Array[0..{}] of UDInt", count - 1),
    }
}

fn declaration(variable: &Variable) -> String {
    let initial = match variable.initial {
        Initial::Nothing => String::new(),
        Initial::Number(number) => format!(" := {number}"),
        Initial::Milliseconds(milliseconds) => format!(" := T#{milliseconds}ms"),
    };
    format!(
        "      {} : {}{initial};   // {}",
        variable.name,
        type_name(variable.type_of),
        variable.meaning
    )
}

fn block(text: &mut String) {
    text.push_str("// The PLC's side of the handshake with one station. Call it once per scan.\nFUNCTION_BLOCK \"TaktStation\"\n{ S7_Optimized_Access := 'TRUE' }\nVERSION : 0.1\n");
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
    text.push_str("BEGIN\n");
    text.push_str(&print::statements(&Scl, &super::handshake::scan(), 1));
    text.push_str("END_FUNCTION_BLOCK\n\n");
}

/// How it is imported.
const IMPORT: &str = "\
//
// TIA Portal: External source files > Add new external file > this file > Generate blocks from source. Then:
// - S7 wire: in the CPU's properties permit access with PUT/GET. The station reads \"TaktWrite\" and writes \"TaktRead\", one GET and one PUT per poll.
// - Modbus TCP instead: MB_CLIENT with MB_DATA_PTR on \"TaktRead\" (88 bytes, input registers 0 to 43) and \"TaktWrite\" (80 bytes, holding 0 to 39).
// \"TaktRead\" and \"TaktWrite\" keep standard access: optimised access would move their signals.

";

/// How the block is called.
const EXAMPLE: &str = "\
// An example: one station, a part sensor, an output that lets a part pass. Enable the system memory byte (FirstScan). Set LinkOk while the wire works:
// for S7, FALSE where the connection is down; for Modbus, while MB_CLIENT ends with DONE. The gate opens for PassPart and for nothing else.
DATA_BLOCK \"TaktStation_DB\"
{ S7_Optimized_Access := 'TRUE' }
VERSION : 0.1
\"TaktStation\"

BEGIN
END_DATA_BLOCK

FUNCTION \"TaktExample\" : Void
{ S7_Optimized_Access := 'TRUE' }
VERSION : 0.1
   VAR_INPUT
      FirstScan : Bool;
      LinkOk : Bool;
      Run : Bool;
      EStopReset : Bool;
      PartSensor : Bool;
      EncoderCount : UDInt;
      Acknowledge : Bool;
   END_VAR
   VAR_OUTPUT
      OpenGate : Bool;
   END_VAR
BEGIN
   \"TaktStation_DB\"(FirstScan := #FirstScan,
                    LinkOk := #LinkOk,
                    FromStation := \"TaktRead\",
                    Enable := #Run,
                    NewSession := #EStopReset,
                    StartPart := #PartSensor,
                    Encoder := #EncoderCount,
                    ClearError := #Acknowledge,
                    PartTime := T#400ms,
                    ToStation => \"TaktWrite\",
                    PassPart => #OpenGate);
END_FUNCTION
";
