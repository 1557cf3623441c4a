//! The register map as documents: one row for each signal, from the definition that is served (`signals.rs`). Pure.

use std::fmt::Write;

use serde::Serialize;

use super::signals::{FROM_PLC, FROM_STATION, Kind, MAP_VERSION, Signal};

/// Who writes a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The PLC: holding registers from 0.
    PlcToStation,
    /// The station: input registers from 0, mirrored at holding 1000.
    StationToPlc,
}

/// A signal as the map tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Who writes it.
    pub direction: Direction,
    /// The name that PLC programs use.
    pub name: &'static str,
    /// `bit`, `u16`, `u32`, or `ascii` of this many characters.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its (first) register.
    pub register: u16,
    /// The last register of one of it.
    pub last_register: u16,
    /// The bit of the register, 0 the least significant; `None` where it has registers of its own.
    pub bit: Option<u8>,
    /// How many of it there are.
    pub count: u16,
    /// Registers from one of them to the next.
    pub stride: u16,
    /// What it means.
    pub meaning: &'static str,
}

impl Row {
    fn of<I>(direction: Direction, signal: &Signal<I>) -> Self {
        // A text counts as one signal here, whatever its length.
        let text = signal.kind == Kind::Characters;
        let width = if text { signal.count } else { signal.width() };
        Self {
            direction,
            name: signal.name,
            type_name: match signal.kind {
                Kind::Bit(_) => "bit".to_owned(),
                Kind::U16 => "u16".to_owned(),
                Kind::U32 => "u32".to_owned(),
                Kind::Characters => format!("ascii[{}]", 2 * signal.count),
            },
            register: signal.register,
            last_register: signal.register + width - 1,
            bit: match signal.kind {
                Kind::Bit(bit) => Some(bit),
                _ => None,
            },
            count: if text { 1 } else { signal.count },
            stride: if text { width } else { signal.stride },
            meaning: signal.meaning,
        }
    }

    /// Where it lies, in words: `0, bit 2`, `4-5`, `100-101 and every 6 on`.
    pub fn place(&self) -> String {
        let registers = if self.last_register > self.register {
            format!("{}-{}", self.register, self.last_register)
        } else {
            self.register.to_string()
        };
        match self.bit {
            Some(bit) => format!("{registers}, bit {bit}"),
            None if self.count > 1 => format!("{registers} and every {} on", self.stride),
            None => registers,
        }
    }
}

/// Every signal of one direction, in the order of the map.
pub fn rows(direction: Direction) -> Vec<Row> {
    match direction {
        Direction::PlcToStation => FROM_PLC.iter().map(|signal| Row::of(direction, signal)).collect(),
        Direction::StationToPlc => FROM_STATION.iter().map(|signal| Row::of(direction, signal)).collect(),
    }
}

/// The map as Markdown.
pub fn markdown() -> String {
    let mut text = format!(
        "# Register map, version {MAP_VERSION}\n\n\
         Made by `takt plc map --format md`. Addresses are those of the protocol, from 0 (holding 0 is 40001, input 0 is 30001). u32: high word first; bit 0 is the\n\
         least significant; of two characters the first is in the high byte. Registers that are not listed are reserved and read 0. 0 means reject everywhere.\n"
    );
    for (direction, title) in [
        (Direction::PlcToStation, "The PLC writes (holding registers)"),
        (
            Direction::StationToPlc,
            "The station writes (input registers; the same at holding 1000 and up)",
        ),
    ] {
        let _ = write!(text, "\n## {title}\n\n| register | signal | type | meaning |\n|---|---|---|---|\n");
        for row in rows(direction) {
            let _ = writeln!(text, "| {} | {} | {} | {} |", row.place(), row.name, row.type_name, row.meaning);
        }
    }
    text
}

/// The map as comma-separated values (RFC 4180), a line for each signal.
pub fn csv() -> String {
    let mut text = String::from("direction,name,type,register,last_register,bit,count,stride,meaning\r\n");
    for row in rows(Direction::PlcToStation).into_iter().chain(rows(Direction::StationToPlc)) {
        let direction = match row.direction {
            Direction::PlcToStation => "plc_to_station",
            Direction::StationToPlc => "station_to_plc",
        };
        let bit = row.bit.map_or_else(String::new, |bit| bit.to_string());
        let _ = write!(
            text,
            "{direction},{},{},{},{},{bit},{},{},{}\r\n",
            row.name,
            row.type_name,
            row.register,
            row.last_register,
            row.count,
            row.stride,
            quoted(row.meaning)
        );
    }
    text
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The whole map as one object.
#[derive(Debug, Serialize)]
pub struct Map {
    /// What `MapVersion` reads.
    pub map_version: u16,
    /// Every signal.
    pub signals: Vec<Row>,
}

/// The map for programs.
pub fn map() -> Map {
    Map {
        map_version: MAP_VERSION,
        signals: [rows(Direction::PlcToStation), rows(Direction::StationToPlc)].concat(),
    }
}
