//! The port to whatever the gate is wired to: inputs that tell their edges, outputs that can be set. It can fail, and be opened anew.

use std::path::PathBuf;
use std::time::Duration;

use super::wiring::{Input, Wiring};
use crate::part::Nanos;

/// Why GPIO lines cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GpioError {
    /// The lines are not given.
    #[error("failed to use lines {lines:?} of {chip}: {reason}; see gpioinfo for what there is and who uses it, and who may open the chip")]
    Request {
        /// The chip.
        chip: PathBuf,
        /// The offsets.
        lines: Vec<u32>,
        /// What the system says.
        reason: String,
    },
    /// Edges cannot be read.
    #[error("failed to read edges of {chip}: {reason}; is the chip still there?")]
    Read {
        /// The chip.
        chip: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// An output cannot be set.
    #[error("failed to set line {line} of {chip}: {reason}; is the chip still there?")]
    Set {
        /// The chip.
        chip: PathBuf,
        /// The offset.
        line: u32,
        /// What the system says.
        reason: String,
    },
}

/// Something that inputs did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// An input is on, or off, since then.
    Is {
        /// When, by the kernel.
        at: Nanos,
        /// Which.
        input: Input,
        /// Whether it is on.
        on: bool,
    },
    /// Edges were lost before the next one.
    Lost,
}

/// What an output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Moves this gate.
    Gate(usize),
    /// The line must stop.
    Stop,
    /// The station inspects.
    Ready,
}

/// Inputs as they are found.
pub type Levels = Vec<(Input, bool)>;

/// Whoever tells what inputs do.
pub trait Inputs: Send {
    /// Waits for edges, not longer than `timeout`; none is no error.
    ///
    /// # Errors
    /// When the board does not answer.
    fn wait(&mut self, timeout: Duration) -> Result<Vec<Edge>, GpioError>;
}

/// Whoever sets outputs. They are in the rejecting state at first, and again when it is dropped, as far as they can be moved.
pub trait Outputs: Send {
    /// Switches an output on or off; one that is not wired is no error.
    ///
    /// # Errors
    /// When it cannot be set.
    fn set(&mut self, output: Output, on: bool) -> Result<(), GpioError>;
}

/// A board that was opened.
pub struct Opened {
    /// Its inputs, from the levels on.
    pub inputs: Box<dyn Inputs>,
    /// The inputs as they were found.
    pub levels: Levels,
    /// Its outputs.
    pub outputs: Box<dyn Outputs>,
}

/// What the gate is wired to.
pub trait Board: Send {
    /// Takes all lines. To be called again after inputs or outputs have failed, and both were dropped.
    ///
    /// # Errors
    /// When it is not there, or somebody else has its lines.
    fn open(&mut self) -> Result<Opened, GpioError>;
}

/// What every output is while nobody knows anything: gates reject, the line stops, nothing is ready.
pub fn safe(wiring: &Wiring) -> Vec<(Output, bool)> {
    let gates = wiring.gates.iter().enumerate();
    let gates = gates.map(|(gate, wires)| (Output::Gate(gate), !wires.off_rejects));
    gates.chain([(Output::Stop, true), (Output::Ready, false)]).collect()
}
