//! Statements as structured text. What IEC 61131-3, SCL and Logix share is here; how each spells the rest is its [`Dialect`].

use std::fmt::Write;

use super::syntax::{Comparison, Expression, Index, Place, Preset, Section, Statement, Type};
use crate::plc::signals::MAP_MAGIC;

/// Columns after which a condition goes on in the next line.
const WIDTH: usize = 120;

/// How a target spells what the targets spell differently. What is given here is the spelling of IEC 61131-3, which most share.
pub(super) trait Dialect {
    /// A variable of the block.
    fn variable(&self, name: &str) -> String {
        name.to_owned()
    }

    /// A signal of the copy of what the station says.
    fn station(&self, signal: &str) -> String {
        format!("{}.{signal}", self.variable("FromStation"))
    }

    /// A signal of what the PLC says.
    fn plc(&self, signal: &str) -> String {
        format!("{}.{signal}", self.variable("ToStation"))
    }

    /// True or false.
    fn boolean(&self, value: bool) -> &'static str {
        if value { "TRUE" } else { "FALSE" }
    }

    /// A span of time.
    fn milliseconds(&self, milliseconds: u32) -> String {
        format!("T#{milliseconds}ms")
    }

    /// Whether a timer has run out.
    fn expired(&self, timer: &str) -> String {
        format!("{}.Q", self.variable(timer))
    }

    /// For how long a timer has run.
    fn elapsed(&self, timer: &str) -> String {
        format!("{}.ET", self.variable(timer))
    }

    /// Lets a timer run: one statement, or several on a line each.
    fn run(&self, timer: &str, enable: &str, preset: &str) -> Vec<String> {
        vec![format!("{}(IN := {enable}, PT := {preset});", self.variable(timer))]
    }

    /// Copies a serial number.
    fn copy_serial(&self, to: &str, from: &str) -> String {
        format!("{to} := {from};")
    }

    /// Words for people.
    fn comment(&self, words: &str) -> String {
        format!("// {words}")
    }

    /// A type's name.
    fn type_name(&self, type_of: Type) -> String;

    /// A declaration; `initial` is what the variable starts with, where that is not 0.
    fn declaration(&self, name: &str, type_name: &str, initial: Option<&str>, meaning: &str) -> String {
        let initial = initial.map(|value| format!(" := {value}")).unwrap_or_default();
        format!("{name} : {type_name}{initial}; {}", self.comment(meaning))
    }

    /// What stands before the variables of a section, and after them.
    fn section(&self, section: Section) -> (&'static str, &'static str) {
        let head = match section {
            Section::Input => "   VAR_INPUT",
            Section::Output => "   VAR_OUTPUT",
            Section::Own => "   VAR",
            Section::Retained => "   VAR RETAIN",
        };
        (head, "   END_VAR")
    }

    /// What stands before each line of declarations.
    fn margin(&self) -> &'static str {
        "      "
    }
}

/// The statements, indented by so many levels of three spaces.
pub(super) fn statements(dialect: &impl Dialect, statements: &[Statement], level: usize) -> String {
    let mut printer = Printer {
        dialect,
        text: String::new(),
    };
    printer.all(statements, level);
    printer.text
}

struct Printer<'a, D> {
    dialect: &'a D,
    text: String,
}

impl<D: Dialect> Printer<'_, D> {
    fn line(&mut self, level: usize, line: &str) {
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = 3 * level);
    }

    /// `before` condition `after`, on as many lines as it takes.
    fn long(&mut self, level: usize, before: &str, condition: &Expression, after: &str) {
        let line = format!("{before}{}{after}", self.expression(condition));
        let (all, word) = match condition {
            Expression::And(all) => (all, "AND"),
            Expression::Or(any) => (any, "OR"),
            _ => return self.line(level, &line),
        };
        if 3 * level + line.len() <= WIDTH {
            return self.line(level, &line);
        }
        let operands: Vec<String> = all.iter().map(|operand| self.operand(operand)).collect();
        for (index, operand) in operands.iter().enumerate() {
            let last = index + 1 == operands.len();
            let end = if last { after } else { "" };
            match index {
                0 => self.line(level, &format!("{before}{operand}")),
                _ => self.line(level + 1, &format!("{word} {operand}{end}")),
            }
        }
    }

    fn all(&mut self, statements: &[Statement], level: usize) {
        for statement in statements {
            self.statement(statement, level);
        }
    }

    fn statement(&mut self, statement: &Statement, level: usize) {
        match statement {
            Statement::Comment(words) => {
                self.text.push('\n');
                let comment = self.dialect.comment(words);
                self.line(level, &comment);
            }
            Statement::Assign(place, value) => {
                let before = format!("{} := ", self.place(*place));
                self.long(level, &before, value, ";");
            }
            Statement::CopySerial { to, from } => {
                let copy = self.dialect.copy_serial(&self.place(*to), &self.dialect.variable(from));
                self.line(level, &copy);
            }
            Statement::Run { timer, enable, preset } => {
                let preset = match preset {
                    Preset::Variable(name) => self.dialect.variable(name),
                    Preset::Element(array, index) => self.element(array, Index::Number(*index)),
                    Preset::Milliseconds(milliseconds) => self.dialect.milliseconds(*milliseconds),
                };
                for line in self.dialect.run(timer, &self.expression(enable), &preset) {
                    self.line(level, &line);
                }
            }
            Statement::If { branches, otherwise } => {
                for (index, (condition, body)) in branches.iter().enumerate() {
                    let word = if index == 0 { "IF " } else { "ELSIF " };
                    self.long(level, word, condition, " THEN");
                    self.all(body, level + 1);
                }
                if !otherwise.is_empty() {
                    self.line(level, "ELSE");
                    self.all(otherwise, level + 1);
                }
                self.line(level, "END_IF;");
            }
            Statement::Case(variable, cases) => {
                let head = format!("CASE {} OF", self.dialect.variable(variable));
                self.line(level, &head);
                for (value, meaning, body) in cases {
                    let label = format!("{value}: {}", self.dialect.comment(meaning));
                    self.line(level + 1, &label);
                    self.all(body, level + 2);
                }
                self.line(level, "END_CASE;");
            }
            Statement::Each { variable, last, body } => {
                let head = format!("FOR {} := 0 TO {last} DO", self.dialect.variable(variable));
                self.line(level, &head);
                self.all(body, level + 1);
                self.line(level, "END_FOR;");
            }
        }
    }

    fn place(&self, place: Place) -> String {
        match place {
            Place::Variable(name) => self.dialect.variable(name),
            Place::Plc(signal) => self.dialect.plc(signal),
            Place::Element(array, index) => self.element(array, index),
        }
    }

    fn element(&self, array: &str, index: Index) -> String {
        let index = match index {
            Index::Number(number) => number.to_string(),
            Index::Variable(name) => self.dialect.variable(name),
        };
        format!("{}[{index}]", self.dialect.variable(array))
    }

    fn expression(&self, expression: &Expression) -> String {
        let joined = |all: &[Expression], word: &str| {
            let operands: Vec<String> = all.iter().map(|operand| self.operand(operand)).collect();
            operands.join(word)
        };
        match expression {
            Expression::Bool(value) => self.dialect.boolean(*value).to_owned(),
            Expression::Number(MAP_MAGIC) => format!("16#{MAP_MAGIC:08X}"),
            Expression::Number(number) => number.to_string(),
            Expression::Variable(name) => self.dialect.variable(name),
            Expression::Station(signal) => self.dialect.station(signal),
            Expression::Plc(signal) => self.dialect.plc(signal),
            Expression::Window(signal) => format!("{}.{signal}", self.dialect.variable("Window")),
            Expression::WindowSlot(slot, signal) => {
                format!("{}.Slot[{}].{signal}", self.dialect.variable("Window"), self.dialect.variable(slot))
            }
            Expression::Element(array, index) => self.element(array, *index),
            Expression::Expired(timer) => self.dialect.expired(timer),
            Expression::Elapsed(timer) => self.dialect.elapsed(timer),
            Expression::Milliseconds(milliseconds) => self.dialect.milliseconds(*milliseconds),
            Expression::Not(operand) => format!("NOT {}", self.operand(operand)),
            Expression::And(all) => joined(all, " AND "),
            Expression::Or(any) => joined(any, " OR "),
            Expression::Compare(comparison, left, right) => {
                let sign = match comparison {
                    Comparison::Equal => "=",
                    Comparison::Unequal => "<>",
                    Comparison::Less => "<",
                    Comparison::AtLeast => ">=",
                };
                format!("{} {sign} {}", self.operand(left), self.operand(right))
            }
            Expression::Add(left, right) => format!("{} + {}", self.operand(left), self.operand(right)),
            Expression::Subtract(left, right) => format!("{} - {}", self.operand(left), self.operand(right)),
        }
    }

    /// An expression within another: in parentheses unless it is one word, so that no precedence need be known.
    fn operand(&self, operand: &Expression) -> String {
        let text = self.expression(operand);
        match operand {
            Expression::And(_) | Expression::Or(_) | Expression::Compare(..) | Expression::Add(..) | Expression::Subtract(..) => {
                format!("({text})")
            }
            _ => text,
        }
    }
}
