//! Declarations, in one way for every target: the fields of structures, the variables of a block, the constants. What differs is the [`Dialect`].

use std::fmt::Write;

use super::Codes;
use super::print::Dialect;
use super::syntax::{Initial, SECTIONS, Type, Variable};
use crate::plc::signals::{Kind, Signal};

/// The type of a signal.
pub(super) fn type_of<I>(signal: &Signal<I>) -> Type {
    match signal.kind {
        Kind::Bit(_) => Type::Bool,
        Kind::U16 => Type::U16,
        Kind::U32 => Type::U32,
        Kind::Characters => Type::Serial,
    }
}

/// A signal as a field of a structure.
pub(super) fn field<I>(dialect: &impl Dialect, signal: &Signal<I>, name: &str) -> String {
    dialect.declaration(name, &dialect.type_name(type_of(signal)), None, signal.meaning)
}

/// The variables of a block, section by section.
pub(super) fn variables(dialect: &impl Dialect, variables: &[Variable]) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        let (head, end) = dialect.section(section);
        let _ = writeln!(text, "{head}");
        for variable in variables.iter().filter(|variable| variable.section == section) {
            let _ = writeln!(text, "{}{}", dialect.margin(), declared(dialect, variable));
        }
        let _ = writeln!(text, "{end}");
    }
    text
}

fn declared(dialect: &impl Dialect, variable: &Variable) -> String {
    let initial = match variable.initial {
        Initial::Nothing => None,
        Initial::Number(number) => Some(number.to_string()),
        Initial::Milliseconds(milliseconds) => Some(dialect.milliseconds(milliseconds)),
    };
    let type_name = dialect.type_name(variable.type_of);
    dialect.declaration(variable.name, &type_name, initial.as_deref(), variable.meaning)
}

/// Every number of docs/plc/codes.md.
pub(super) fn constants(dialect: &impl Dialect) -> String {
    let mut text = String::new();
    let type_name = dialect.type_name(Type::U16);
    for table in Codes::all() {
        for code in table.codes {
            let name = format!("{}_{}", table.prefix, code.constant());
            let line = dialect.declaration(&name, &type_name, Some(&code.number.to_string()), code.text);
            let _ = writeln!(text, "{}{line}", dialect.margin());
        }
    }
    text
}
