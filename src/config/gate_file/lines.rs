//! Lines of a GPIO chip as configuration names them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::super::reader::{Answer, Table};
use super::super::value::{flag, path, whole, whole_u32};
use crate::gate::wiring::{TravelWires, Wire, Wiring};

/// Highest offset of a line on its chip.
const LINE_MAX: u32 = 1023;

/// Lines that `[reject]` names.
pub(super) struct Lines {
    pub(super) travel: TravelWires,
    pub(super) chip: PathBuf,
    pub(super) output_chip: PathBuf,
    pub(super) index: Option<Wire>,
    pub(super) stop: Option<Wire>,
    pub(super) ready: Option<Wire>,
    pub(super) debounce: Duration,
}

impl Lines {
    /// None: the PLC has them.
    const OF_PLC: Self = Self {
        travel: TravelWires::Plc,
        chip: PathBuf::new(),
        output_chip: PathBuf::new(),
        index: None,
        stop: None,
        ready: None,
        debounce: Duration::ZERO,
    };

    pub(super) fn is_plc(&self) -> bool {
        self.travel == TravelWires::Plc
    }
}

pub(super) fn read_lines(table: &mut Table<'_>, folder: &Path) -> Answer<Lines> {
    let chip = table.required("chip", path(folder));
    let output_chip = table.optional("output_chip", path(folder));
    let encoder = table.inline("encoder", read_encoder);
    let running = table.optional("belt_running", wire);
    let index = table.optional("index", wire);
    let stop = table.optional("stop", wire);
    let ready = table.optional("ready", wire);
    let debounce = table.or("debounce_us", 0, whole(0..=100_000));
    let travel = travel(table, encoder?, running?);
    let chip = chip?;
    Ok(Lines {
        travel: travel?,
        output_chip: output_chip?.unwrap_or_else(|| chip.clone()),
        chip,
        index: index?,
        stop: stop?,
        ready: ready?,
        debounce: Duration::from_micros(debounce?),
    })
}

pub(super) fn lines_of_plc(table: &mut Table<'_>) -> Answer<Lines> {
    const LINES: [&str; 8] = [
        "chip",
        "output_chip",
        "encoder",
        "belt_running",
        "index",
        "stop",
        "ready",
        "debounce_us",
    ];
    no_lines(table, &LINES).map(|()| Lines::OF_PLC)
}

/// None of these is there.
pub(super) fn no_lines(table: &mut Table<'_>, keys: &[&'static str]) -> Answer<()> {
    let mut answer = Ok(());
    for key in keys {
        if table.has(key) {
            answer = Err(table.refuse_key(
                key,
                "the PLC has the lines, and says in its registers what they do (board = \"plc\"); remove it",
            ));
        }
    }
    answer
}

/// A line of the chip: its offset, or `{ line = 17, active_low = true }`.
pub(super) fn wire(value: &DeValue<'_>) -> Result<Wire, String> {
    let expected = || format!("a line of the chip, 0 to {LINE_MAX}, like 17 or {{ line = 17, active_low = true }}");
    let line = whole_u32(0..=LINE_MAX);
    match value {
        DeValue::Integer(_) => line(value).map(|line| Wire { line, active_low: false }),
        DeValue::Table(table) => {
            let known = table
                .iter()
                .all(|(key, _)| ["line", "active_low"].contains(&key.get_ref().as_ref()));
            let number = table.get("line").and_then(|value| line(value.get_ref()).ok());
            let active_low = table.get("active_low").map_or(Ok(false), |value| flag(value.get_ref()));
            match (number, active_low) {
                (Some(line), Ok(active_low)) if known => Ok(Wire { line, active_low }),
                _ => Err(expected()),
            }
        }
        _ => Err(expected()),
    }
    .map_err(|_| expected())
}

fn read_encoder(table: &mut Table<'_>) -> Answer<TravelWires> {
    let pulse = table.optional("pulse", wire);
    let a = table.optional("a", wire);
    let b = table.optional("b", wire);
    match (pulse?, a?, b?) {
        (Some(pulse), None, None) => Ok(TravelWires::Pulse(pulse)),
        (None, Some(a), Some(b)) => Ok(TravelWires::Quadrature { a, b }),
        _ => Err(table.refuse("", "give both channels, { a = 3, b = 4 }, or the only one, { pulse = 3 }")),
    }
}

fn travel(table: &Table<'_>, encoder: Option<TravelWires>, running: Option<Wire>) -> Answer<TravelWires> {
    match (encoder, running) {
        (Some(encoder), None) => Ok(encoder),
        (None, Some(running)) => Ok(TravelWires::Running(running)),
        (Some(_), Some(_)) => Err(table.refuse(
            "belt_running",
            "belt_running is for a belt without encoder; remove it, or the encoder",
        )),
        (None, None) => Err(table.refuse(
            "encoder",
            "there is no encoder, and nothing that stops the tracking while the belt stands; give encoder, or belt_running",
        )),
    }
}

/// Each line is one thing.
pub(super) fn check_wires(root: &Table<'_>, wiring: &Wiring) -> Answer<()> {
    let inputs = wiring.inputs().into_iter().map(|(_, wire)| (&wiring.chip, wire.line));
    let outputs = wiring.outputs().into_iter().map(|wire| (&wiring.output_chip, wire.line));
    let mut seen = Vec::new();
    for wire in inputs.chain(outputs) {
        if seen.contains(&wire) {
            let reason = format!("line {} of {} is used twice; each line is one thing", wire.1, wire.0.display());
            return Err(root.refuse_at("reject", "[reject]", reason));
        }
        seen.push(wire);
    }
    Ok(())
}
