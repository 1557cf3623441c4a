//! The codes as enumerations of the gRPC contract, where they are numbers: what a reader of `takt.v1` calls them.

use std::fmt::Write;

use super::codes::{Code, Codes, commands, errors, modes, reasons};

/// `proto/takt/v1/codes.proto`.
pub fn proto() -> String {
    let mut text = String::from(
        "// What the numbers mean that messages carry as the PLC has them. Made by `takt plc codes --format proto`. Numbers are fixed for good; new ones\n\
         // are added, so the fields stay numbers: an older reader takes those that it does not know.\n\
         syntax = \"proto3\";\n\npackage takt.v1;\n",
    );
    for table in [reasons(), errors(), commands(), modes()] {
        enumeration(&mut text, &table);
    }
    text
}

fn enumeration(text: &mut String, table: &Codes) {
    // Command is what a PLC calls it; as the name of a type it says too little.
    let name = if table.signal == "Command" { "CommandCode" } else { table.signal };
    let prefix = screaming(name);
    let _ = writeln!(text, "\n// {}\nenum {name} {{", table.about);
    if table.codes.iter().all(|code| code.number != 0) {
        let _ = writeln!(text, "  {prefix}_UNSPECIFIED = 0;");
    }
    for code in &table.codes {
        let _ = writeln!(text, "  // {}\n  {prefix}_{} = {};", comment(code), code.constant(), code.number);
    }
    text.push_str("}\n");
}

fn comment(code: &Code) -> String {
    let kind = code.kind.map_or_else(String::new, |kind| format!("{kind}: "));
    let remedy = if code.remedy.is_empty() {
        String::new()
    } else {
        format!(" Remedy: {}.", code.remedy.trim_end_matches('.'))
    };
    format!("{kind}{}.{remedy}", code.text.trim_end_matches('.'))
}

/// `ReasonCode` becomes `REASON_CODE`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(character.to_ascii_uppercase());
    }
    text
}
