//! Adapter to Linux's GPIO character devices (ABI v2, kernel 5.10 and later), through the crate `gpiocdev`.
//!
//! All inputs are one request, so that the kernel numbers their edges in the order in which they came and a lost one shows as a gap. Their
//! times are those of the kernel's interrupt (`CLOCK_MONOTONIC`). Outputs are in the rejecting state from the request to the end, unless
//! somebody says otherwise; [`Outputs`] puts them back when it is dropped, by a panic too. What a line does after its process was killed is the
//! driver's business: most keep the last value.

use std::path::PathBuf;
use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, EdgeKind, Value, Values};

use super::in_order::{InOrder, Ordered};
use super::wiring::{Input, Wire, Wiring};
use crate::part::Nanos;

/// Who uses the lines, as `gpioinfo` shows it.
const CONSUMER: &str = "takt";

/// Edges that the kernel keeps for us: the most that it does. Beyond that it drops the oldest, which shows as a gap.
const KERNEL_EDGES_MAX: u32 = 1024;

/// How long an edge that is missing is waited for while later ones are there: the kernel's threads of two lines are that far apart at worst.
const MISSING_WAIT: Duration = Duration::from_millis(20);

/// Number of a request's first edge.
const FIRST_EDGE: u32 = 1;

/// Edges that are read at once.
const EDGES_AT_ONCE: usize = 64;

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

/// The inputs.
#[derive(Debug)]
pub struct Inputs {
    request: Request,
    chip: PathBuf,
    wires: Vec<(Input, Wire)>,
    order: InOrder<Edge>,
    /// Where the kernel puts edges.
    buffer: Vec<u64>,
}

impl Inputs {
    /// Takes the inputs, and tells their levels.
    ///
    /// # Errors
    /// When the chip is not there, or does not give the lines.
    pub fn open(wiring: &Wiring) -> Result<(Self, Vec<(Input, bool)>), GpioError> {
        let wires = wiring.inputs();
        let lines: Vec<u32> = wires.iter().map(|(_, wire)| wire.line).collect();
        let failed = |error: gpiocdev::Error| GpioError::Request {
            chip: wiring.chip.clone(),
            lines: lines.clone(),
            reason: error.to_string(),
        };
        let mut builder = Request::builder();
        builder
            .on_chip(&wiring.chip)
            .with_consumer(CONSUMER)
            .with_kernel_event_buffer_size(KERNEL_EDGES_MAX);
        for (input, wire) in &wires {
            let line = builder
                .with_line(wire.line)
                .as_input()
                .with_edge_detection(EdgeDetection::BothEdges);
            if wire.active_low {
                line.as_active_low();
            }
            if matches!(input, Input::Sensor(_) | Input::Confirm(_)) && !wiring.debounce.is_zero() {
                line.with_debounce_period(wiring.debounce);
            }
        }
        let request = builder.request().map_err(failed)?;
        let mut values = Values::from_offsets(&lines);
        request.values(&mut values).map_err(failed)?;
        let is_on = |wire: &Wire| values.get(wire.line) == Some(Value::Active);
        let levels = wires.iter().map(|(input, wire)| (*input, is_on(wire))).collect();
        let inputs = Self {
            buffer: vec![0; EDGES_AT_ONCE * request.edge_event_u64_size()],
            request,
            chip: wiring.chip.clone(),
            wires,
            order: InOrder::new(FIRST_EDGE),
        };
        Ok((inputs, levels))
    }

    /// Waits for edges, not longer than `timeout`; none is no error.
    ///
    /// # Errors
    /// When the chip does not answer.
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Edge>, GpioError> {
        let failed = |error: gpiocdev::Error| GpioError::Read {
            chip: self.chip.clone(),
            reason: error.to_string(),
        };
        let mut edges = Vec::new();
        let timeout = if self.order.is_waiting() { MISSING_WAIT } else { timeout };
        if !self.request.wait_edge_event(timeout).map_err(failed)? {
            self.order.give_up(&mut edges);
        }
        if self.request.has_edge_event().map_err(failed)? {
            // `read_edge_event` of gpiocdev 0.8.0 reads up to eight edges and gives the first of them only.
            let words = self.request.read_edge_events_into_slice(&mut self.buffer).map_err(failed)?;
            let read = self.buffer.get(..words).unwrap_or(&[]);
            for words in read.chunks_exact(self.request.edge_event_u64_size().max(1)) {
                let event = self.request.edge_event_from_slice(words).map_err(failed)?;
                let input = self.wires.iter().find(|(_, wire)| wire.line == event.offset);
                if let Some((input, _)) = input {
                    let edge = Edge::Is {
                        at: Nanos(event.timestamp_ns),
                        input: *input,
                        on: event.kind == EdgeKind::Rising,
                    };
                    self.order.take(event.seqno, edge, &mut edges);
                }
            }
        }
        let edge = |ordered| match ordered {
            Ordered::Next(edge) => edge,
            Ordered::Lost => Edge::Lost,
        };
        Ok(edges.into_iter().map(edge).collect())
    }
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

/// Whoever sets outputs.
pub trait Outputs: Send {
    /// Switches an output on or off; one that is not wired is no error.
    ///
    /// # Errors
    /// When it cannot be set.
    fn set(&mut self, output: Output, on: bool) -> Result<(), GpioError>;
}

/// Outputs of a GPIO chip.
#[derive(Debug)]
pub struct GpioOutputs {
    request: Request,
    chip: PathBuf,
    wires: Vec<(Output, Wire)>,
    safe: Vec<(Output, bool)>,
}

impl GpioOutputs {
    /// Takes the outputs, in the rejecting state.
    ///
    /// # Errors
    /// When the chip is not there, or does not give the lines.
    pub fn open(wiring: &Wiring) -> Result<Self, GpioError> {
        let mut wires: Vec<(Output, Wire)> = Vec::new();
        wires.extend(
            wiring
                .gates
                .iter()
                .enumerate()
                .map(|(gate, wires)| (Output::Gate(gate), wires.output)),
        );
        wires.extend(wiring.stop.map(|wire| (Output::Stop, wire)));
        wires.extend(wiring.ready.map(|wire| (Output::Ready, wire)));
        let safe = safe(wiring);
        let mut builder = Request::builder();
        builder.on_chip(&wiring.output_chip).with_consumer(CONSUMER);
        for (output, wire) in &wires {
            let is_on = safe.iter().any(|(other, on)| other == output && *on);
            let line = builder.with_line(wire.line).as_output(value(is_on));
            if wire.active_low {
                line.as_active_low();
            }
        }
        let request = builder.request().map_err(|error| GpioError::Request {
            chip: wiring.output_chip.clone(),
            lines: wires.iter().map(|(_, wire)| wire.line).collect(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            request,
            chip: wiring.output_chip.clone(),
            wires,
            safe,
        })
    }
}

impl Outputs for GpioOutputs {
    fn set(&mut self, output: Output, on: bool) -> Result<(), GpioError> {
        let Some((_, wire)) = self.wires.iter().find(|(other, _)| *other == output) else {
            return Ok(());
        };
        self.request.set_value(wire.line, value(on)).map_err(|error| GpioError::Set {
            chip: self.chip.clone(),
            line: wire.line,
            reason: error.to_string(),
        })?;
        Ok(())
    }
}

impl Drop for GpioOutputs {
    fn drop(&mut self) {
        for (output, on) in std::mem::take(&mut self.safe) {
            // Nobody is left who could be told.
            let _ = self.set(output, on);
        }
    }
}

/// What every output is while nobody knows anything: gates reject, the line stops, nothing is ready.
pub fn safe(wiring: &Wiring) -> Vec<(Output, bool)> {
    let gates = wiring.gates.iter().enumerate();
    let gates = gates.map(|(gate, wires)| (Output::Gate(gate), !wires.off_rejects));
    gates.chain([(Output::Stop, true), (Output::Ready, false)]).collect()
}

fn value(on: bool) -> Value {
    if on { Value::Active } else { Value::Inactive }
}
