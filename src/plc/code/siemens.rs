//! SCL for TIA Portal (S7-1200, S7-1500), as an external source. The data blocks of the wire have standard access and lie in memory as the register
//! map does: a register is a word, big endian; bit 0 of a register is bit 0 of its second byte. So PUT/GET, and a Modbus client as well, move them
//! as they are, and nothing needs to be unpacked.

use std::fmt::Write;

use super::print::{self, Dialect};
use super::syntax::Type;
use super::variables::variables;
use super::{Target, block_name, declare, handshake, heading, signal_fields, window_fields};
use crate::line::config::ResultMode;
use crate::line::image::WINDOW_SLOTS;
use crate::plc::signals::{FROM_PLC, FROM_STATION, Kind, Signal, WINDOW_START, WINDOW_STRIDE};

struct Scl;

impl Dialect for Scl {
    fn variable(&self, name: &str) -> String {
        format!("#{name}")
    }

    fn type_name(&self, type_of: Type) -> String {
        let array = |count: u16, of: &str| format!("Array[0..{}] of {of}", count - 1);
        match type_of {
            Type::Bool => "Bool".to_owned(),
            Type::U16 => "UInt".to_owned(),
            Type::U32 => "UDInt".to_owned(),
            Type::Time => "Time".to_owned(),
            Type::Timer => "TON_TIME".to_owned(),
            Type::Serial => array(32, "Char"),
            Type::FromStation => "\"TaktFromStation\"".to_owned(),
            Type::ToStation => "\"TaktToStation\"".to_owned(),
            Type::Window => "\"TaktWindow\"".to_owned(),
            Type::Bools(count) => array(count, "Bool"),
            Type::Times(count) => array(count, "Time"),
            Type::U16s(count) => array(count, "UInt"),
            Type::U32s(count) => array(count, "UDInt"),
        }
    }
}

/// The whole source.
pub(super) fn source(mode: ResultMode) -> String {
    let mut text = String::new();
    for line in heading(Target::SiemensScl, mode).lines() {
        let _ = writeln!(text, "// {line}");
    }
    text.push_str(match mode {
        ResultMode::Single => IMPORT,
        ResultMode::Window => WINDOW_IMPORT,
    });
    structure(&mut text, "TaktFromStation", fields(FROM_STATION));
    structure(&mut text, "TaktToStation", fields(FROM_PLC));
    if mode == ResultMode::Window {
        window_types(&mut text);
    }
    constants(&mut text);
    data_block(&mut text, "TaktRead", "TaktFromStation");
    if mode == ResultMode::Window {
        data_block(&mut text, "TaktReadWindow", "TaktWindow");
    }
    data_block(&mut text, "TaktWrite", "TaktToStation");
    block(&mut text, mode);
    text.push_str(match mode {
        ResultMode::Single => EXAMPLE,
        ResultMode::Window => WINDOW_EXAMPLE,
    });
    text
}

/// A field of a type: where it begins, in bits from the start of the structure, and its line.
struct Field {
    at: usize,
    bits: usize,
    line: String,
}

/// A signal as a field, in a structure whose first register is this one. Within a word the high byte comes first, so bits 8 to 15 stand before
/// bits 0 to 7.
fn field<I>(signal: &Signal<I>, name: &str, first_register: u16) -> Field {
    let word = 16 * usize::from(signal.register - first_register);
    let (at, bits) = match signal.kind {
        Kind::Bit(bit) => (word + (usize::from(bit) + 8) % 16, 1),
        Kind::U16 => (word, 16),
        Kind::U32 => (word, 32),
        Kind::Characters => (word, 16 * usize::from(signal.count)),
    };
    let line = declare::field(&Scl, signal, name);
    Field { at, bits, line }
}

fn fields<I>(signals: &'static [Signal<I>]) -> Vec<Field> {
    signal_fields(signals).map(|signal| field(signal, signal.name, 0)).collect()
}

/// A structure that lies in memory as the registers do.
fn structure(text: &mut String, name: &str, mut fields: Vec<Field>) {
    fields.sort_by_key(|field| field.at);
    let _ = writeln!(text, "TYPE \"{name}\"\nVERSION : 0.1\n   STRUCT");
    let mut at = 0;
    for field in fields {
        reserve(text, &mut at, field.at);
        let _ = writeln!(text, "{}{}", Scl.margin(), field.line);
        at += field.bits;
    }
    let end = at.next_multiple_of(16);
    reserve(text, &mut at, end);
    text.push_str("   END_STRUCT;\nEND_TYPE\n\n");
}

fn window_types(text: &mut String) {
    let fields = |of_slots| window_fields(of_slots).map(|(signal, name)| field(signal, name, WINDOW_START));
    structure(text, "TaktSlot", fields(true).collect());
    let slots = format!("Array[0..{}] of \"TaktSlot\"", WINDOW_SLOTS - 1);
    let slots = Field {
        at: 0,
        bits: 16 * usize::from(WINDOW_STRIDE) * WINDOW_SLOTS,
        line: Scl.declaration("Slot", &slots, None, "slot ResultId mod 16"),
    };
    structure(text, "TaktWindow", [slots].into_iter().chain(fields(false)).collect());
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

fn constants(text: &mut String) {
    text.push_str("// Numbers of docs/plc/codes.md.\nDATA_BLOCK \"TaktCode\"\n{ S7_Optimized_Access := 'TRUE' }\nVERSION : 0.1\nNON_RETAIN\n   STRUCT\n");
    text.push_str(&declare::constants(&Scl));
    text.push_str("   END_STRUCT;\nBEGIN\nEND_DATA_BLOCK\n\n");
}

fn data_block(text: &mut String, name: &str, type_name: &str) {
    let _ = write!(
        text,
        "DATA_BLOCK \"{name}\"\n{{ S7_Optimized_Access := 'FALSE' }}\nVERSION : 0.1\nNON_RETAIN\n\"{type_name}\"\n\nBEGIN\nEND_DATA_BLOCK\n\n"
    );
}

fn block(text: &mut String, mode: ResultMode) {
    let name = block_name(mode);
    let _ = write!(
        text,
        "// The PLC's side of the handshake with one station. Call it once per scan.\nFUNCTION_BLOCK \"{name}\"\n{{ S7_Optimized_Access := 'TRUE' }}\nVERSION : 0.1\n"
    );
    text.push_str(&declare::variables(&Scl, &variables(mode)));
    text.push_str("BEGIN\n");
    text.push_str(&print::statements(&Scl, &handshake::scan(mode), 1));
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

/// The same in window mode.
const WINDOW_IMPORT: &str = "\
//
// TIA Portal: External source files > Add new external file > this file > Generate blocks from source. Then MB_CLIENT, one after the other, with
// MB_DATA_PTR on \"TaktRead\" (88 bytes, input registers 0 to 43), \"TaktReadWindow\" (196 bytes, input registers 100 to 197) and \"TaktWrite\" (80 bytes,
// holding 0 to 39). These three keep standard access: optimised access would move their signals.

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

/// The same in window mode.
const WINDOW_EXAMPLE: &str = "\
// An example: one station, a part sensor, an output that lets a part pass. Enable the system memory byte (FirstScan). Set LinkOk while
// every MB_CLIENT ends with DONE. PartAtGate is the number of the part at the gate, from your tracking of the belt; when StartedCycleId changes, it is
// the number of the part that StartPart announced. The gate opens for PassPart and for nothing else.
DATA_BLOCK \"TaktWindowStation_DB\"
{ S7_Optimized_Access := 'TRUE' }
VERSION : 0.1
\"TaktWindowStation\"

BEGIN
END_DATA_BLOCK

FUNCTION \"TaktWindowExample\" : Void
{ S7_Optimized_Access := 'TRUE' }
VERSION : 0.1
   VAR_INPUT
      FirstScan : Bool;
      LinkOk : Bool;
      Run : Bool;
      EStopReset : Bool;
      PartSensor : Bool;
      PartAtGate : UDInt;
      EncoderCount : UDInt;
      Acknowledge : Bool;
   END_VAR
   VAR_OUTPUT
      OpenGate : Bool;
   END_VAR
BEGIN
   \"TaktWindowStation_DB\"(FirstScan := #FirstScan,
                          LinkOk := #LinkOk,
                          FromStation := \"TaktRead\",
                          Window := \"TaktReadWindow\",
                          Enable := #Run,
                          NewSession := #EStopReset,
                          StartPart := #PartSensor,
                          GateCycleId := #PartAtGate,
                          Encoder := #EncoderCount,
                          ClearError := #Acknowledge,
                          PartTime := T#400ms,
                          ToStation => \"TaktWrite\",
                          PassPart => #OpenGate);
END_FUNCTION
";
