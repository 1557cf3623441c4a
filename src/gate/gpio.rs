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

pub use super::board::GpioError;
use super::board::{Board, Edge, Inputs, Levels, Opened, Output, Outputs, safe};
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

/// The board of GPIO lines.
#[derive(Debug)]
pub struct GpioBoard {
    wiring: Wiring,
}

impl GpioBoard {
    /// The board with this wiring; nothing is taken yet.
    pub fn new(wiring: Wiring) -> Self {
        Self { wiring }
    }
}

impl Board for GpioBoard {
    fn open(&mut self) -> Result<Opened, GpioError> {
        let outputs = GpioOutputs::open(&self.wiring)?;
        let (inputs, levels) = GpioInputs::open(&self.wiring)?;
        Ok(Opened {
            inputs: Box::new(inputs),
            levels,
            outputs: Box::new(outputs),
        })
    }
}

/// The inputs.
#[derive(Debug)]
pub struct GpioInputs {
    request: Request,
    chip: PathBuf,
    wires: Vec<(Input, Wire)>,
    order: InOrder<Edge>,
    /// Where the kernel puts edges.
    buffer: Vec<u64>,
}

impl GpioInputs {
    /// Takes the inputs, and tells their levels.
    ///
    /// # Errors
    /// When the chip is not there, or does not give the lines.
    pub fn open(wiring: &Wiring) -> Result<(Self, Levels), GpioError> {
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
}

impl Inputs for GpioInputs {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<Edge>, GpioError> {
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

fn value(on: bool) -> Value {
    if on { Value::Active } else { Value::Inactive }
}
