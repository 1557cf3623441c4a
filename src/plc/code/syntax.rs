//! The little language that the PLC's side is written in once: declarations, expressions and statements that every structured text has, under
//! whatever spelling. Numbers never wrap and are never negative, since the targets differ in what happens then.

use std::ops::{Add, BitAnd, BitOr, Not, Sub};

/// What a variable may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// True or false.
    Bool,
    /// 0 to 65535.
    U16,
    /// 0 to 4294967295, of which programs only compare; what is counted stays below 2^31.
    U32,
    /// A span of time.
    Time,
    /// A timer with on-delay.
    Timer,
    /// The characters of a serial number.
    Serial,
    /// What the station says, one copy.
    FromStation,
    /// What the PLC says.
    ToStation,
    /// The results that the station shows side by side, one copy.
    Window,
    /// As many booleans.
    Bools(u16),
    /// As many spans of time.
    Times(u16),
    /// As many numbers of 16 bits.
    U16s(u16),
    /// As many numbers of 32 bits.
    U32s(u16),
}

/// Whom a variable belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// The caller sets it.
    Input,
    /// The caller reads it.
    Output,
    /// The block's own.
    Own,
    /// The block's own, and survives a power cut.
    Retained,
}

/// Every section, in the order of the source.
pub(super) const SECTIONS: [Section; 4] = [Section::Input, Section::Output, Section::Own, Section::Retained];

/// What a variable starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Initial {
    /// False, 0, or nothing.
    Nothing,
    /// This many milliseconds.
    Milliseconds(u32),
    /// This number.
    Number(u32),
}

/// A variable of the block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable {
    pub(super) section: Section,
    pub(super) name: &'static str,
    pub(super) type_of: Type,
    pub(super) initial: Initial,
    pub(super) meaning: &'static str,
}

/// What can be computed.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Bool(bool),
    Number(u32),
    /// A variable of the block.
    Variable(&'static str),
    /// A signal of the copy of what the station says.
    Station(&'static str),
    /// A signal of what the PLC says.
    Plc(&'static str),
    /// A signal of the copy of the window, beside its slots.
    Window(&'static str),
    /// A signal of a slot of the window: of the slot that this variable says.
    WindowSlot(&'static str, &'static str),
    /// An element of an array of the block.
    Element(&'static str, Index),
    /// Whether a timer has run out.
    Expired(&'static str),
    /// For how long a timer has run.
    Elapsed(&'static str),
    /// A span of time.
    Milliseconds(u32),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    Add(Box<Self>, Box<Self>),
    /// Of what is at least as long.
    Subtract(Box<Self>, Box<Self>),
}

/// Which element of an array.
#[derive(Debug, Clone, Copy)]
pub(super) enum Index {
    Number(u16),
    Variable(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtLeast,
}

/// What can be assigned to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Variable(&'static str),
    Plc(&'static str),
    Element(&'static str, Index),
}

/// What can be done.
#[derive(Debug, Clone)]
pub(super) enum Statement {
    /// Words for whoever reads the source; before a paragraph of it.
    Comment(&'static str),
    Assign(Place, Expression),
    /// A serial number, character by character.
    CopySerial {
        to: Place,
        from: &'static str,
    },
    /// Lets a timer run while `enable` holds, for as long as `preset` says.
    Run {
        timer: &'static str,
        enable: Expression,
        preset: Preset,
    },
    If {
        branches: Vec<(Expression, Vec<Self>)>,
        otherwise: Vec<Self>,
    },
    /// By a number: its value, what that means, what to do.
    Case(&'static str, Vec<(u32, &'static str, Vec<Self>)>),
    /// For every number from 0 to `last`.
    Each {
        variable: &'static str,
        last: u16,
        body: Vec<Self>,
    },
}

/// How long a timer runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Preset {
    Variable(&'static str),
    Element(&'static str, u16),
    Milliseconds(u32),
}

pub(super) fn var(name: &'static str) -> Expression {
    Expression::Variable(name)
}

pub(super) fn station(signal: &'static str) -> Expression {
    Expression::Station(signal)
}

pub(super) fn plc(signal: &'static str) -> Expression {
    Expression::Plc(signal)
}

pub(super) fn window(signal: &'static str) -> Expression {
    Expression::Window(signal)
}

pub(super) fn window_slot(slot: &'static str, signal: &'static str) -> Expression {
    Expression::WindowSlot(slot, signal)
}

pub(super) fn element(array: &'static str, index: &'static str) -> Expression {
    Expression::Element(array, Index::Variable(index))
}

pub(super) fn number(number: u32) -> Expression {
    Expression::Number(number)
}

pub(super) fn expired(timer: &'static str) -> Expression {
    Expression::Expired(timer)
}

pub(super) fn elapsed(timer: &'static str) -> Expression {
    Expression::Elapsed(timer)
}

pub(super) const TRUE: Expression = Expression::Bool(true);
pub(super) const FALSE: Expression = Expression::Bool(false);

impl Expression {
    fn compare(self, comparison: Comparison, other: Self) -> Self {
        Self::Compare(comparison, Box::new(self), Box::new(other))
    }

    pub(super) fn is(self, other: Self) -> Self {
        self.compare(Comparison::Equal, other)
    }

    pub(super) fn differs_from(self, other: Self) -> Self {
        self.compare(Comparison::Unequal, other)
    }

    pub(super) fn below(self, other: Self) -> Self {
        self.compare(Comparison::Less, other)
    }

    pub(super) fn at_least(self, other: Self) -> Self {
        self.compare(Comparison::AtLeast, other)
    }
}

impl BitAnd for Expression {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        match self {
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            first => Self::And(vec![first, other]),
        }
    }
}

impl BitOr for Expression {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match self {
            Self::Or(mut any) => {
                any.push(other);
                Self::Or(any)
            }
            first => Self::Or(vec![first, other]),
        }
    }
}

impl Not for Expression {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl Add for Expression {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::Add(Box::new(self), Box::new(other))
    }
}

impl Sub for Expression {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::Subtract(Box::new(self), Box::new(other))
    }
}

pub(super) fn note(words: &'static str) -> Statement {
    Statement::Comment(words)
}

pub(super) fn set(variable: &'static str, value: Expression) -> Statement {
    Statement::Assign(Place::Variable(variable), value)
}

pub(super) fn say(signal: &'static str, value: Expression) -> Statement {
    Statement::Assign(Place::Plc(signal), value)
}

pub(super) fn each(variable: &'static str, count: u16, body: Vec<Statement>) -> Statement {
    Statement::Each {
        variable,
        last: count - 1,
        body,
    }
}

pub(super) fn set_element(array: &'static str, index: &'static str, value: Expression) -> Statement {
    Statement::Assign(Place::Element(array, Index::Variable(index)), value)
}

pub(super) fn run(timer: &'static str, enable: Expression, preset: &'static str) -> Statement {
    Statement::Run {
        timer,
        enable,
        preset: Preset::Variable(preset),
    }
}

pub(super) fn when(condition: Expression, body: Vec<Statement>) -> Statement {
    Statement::If {
        branches: vec![(condition, body)],
        otherwise: Vec::new(),
    }
}

impl Statement {
    /// If nothing before held, but this does.
    pub(super) fn or_when(mut self, condition: Expression, body: Vec<Self>) -> Self {
        if let Self::If { branches, .. } = &mut self {
            branches.push((condition, body));
        }
        self
    }

    /// If nothing before held.
    pub(super) fn otherwise(mut self, body: Vec<Self>) -> Self {
        if let Self::If { otherwise, .. } = &mut self {
            *otherwise = body;
        }
        self
    }
}
