//! Which GPIO line is what.

use std::path::PathBuf;
use std::time::Duration;

/// A line of a GPIO chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// Its offset on the chip, as `gpioinfo` tells.
    pub line: u32,
    /// Whether it means yes when it is low.
    pub active_low: bool,
}

/// What tells how far the belt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TravelWires {
    /// Two channels: four counts a period, forward and back.
    Quadrature {
        /// The channel that leads when the belt goes forward.
        a: Wire,
        /// The other one.
        b: Wire,
    },
    /// One channel: a count for each rising edge, always forward.
    Pulse(Wire),
    /// No encoder: a signal that the belt runs.
    Running(Wire),
    /// No wires: the PLC counts, and says so in its registers.
    Plc,
}

/// The wires of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateWires {
    /// Its part sensor: on while a part is there.
    pub sensor: Wire,
    /// What moves it.
    pub output: Wire,
    /// Is on when something was ejected.
    pub confirm: Option<Wire>,
    /// Whether the output rejects when it is off.
    pub off_rejects: bool,
}

/// Every wire of the station's gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// The chip of all inputs: one, so that the kernel tells in which order their edges came.
    pub chip: PathBuf,
    /// The chip of all outputs.
    pub output_chip: PathBuf,
    /// How far the belt went.
    pub travel: TravelWires,
    /// A pocket begins at the trigger.
    pub index: Option<Wire>,
    /// The gates along the belt.
    pub gates: Vec<GateWires>,
    /// On while the line must stop.
    pub stop: Option<Wire>,
    /// On while the station inspects.
    pub ready: Option<Wire>,
    /// How long a sensor must stay as it is to count; 0 for no filter.
    pub debounce: Duration,
}

/// What an input is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Channel A, or the only one.
    EncoderA,
    /// Channel B.
    EncoderB,
    /// The belt runs.
    Running,
    /// A pocket begins.
    Index,
    /// Something is at the sensor of this gate.
    Sensor(usize),
    /// Something was ejected at this gate.
    Confirm(usize),
}

impl Wiring {
    /// Every input with its wire.
    pub fn inputs(&self) -> Vec<(Input, Wire)> {
        let travel = match self.travel {
            TravelWires::Quadrature { a, b } => vec![(Input::EncoderA, a), (Input::EncoderB, b)],
            TravelWires::Pulse(a) => vec![(Input::EncoderA, a)],
            TravelWires::Running(wire) => vec![(Input::Running, wire)],
            TravelWires::Plc => Vec::new(),
        };
        let index = self.index.map(|wire| (Input::Index, wire));
        let gates = self.gates.iter().enumerate().flat_map(|(gate, wires)| {
            let confirm = wires.confirm.map(|wire| (Input::Confirm(gate), wire));
            std::iter::once((Input::Sensor(gate), wires.sensor)).chain(confirm)
        });
        travel.into_iter().chain(index).chain(gates).collect()
    }

    /// Every output.
    pub fn outputs(&self) -> Vec<Wire> {
        let gates = self.gates.iter().map(|gate| gate.output);
        gates.chain(self.stop).chain(self.ready).collect()
    }
}
