//! The thread that moves the station's own gate: it owns the tracker, hears edges and the line, and sets outputs. The line thread tells it what
//! happens over a bounded channel and never waits for it; what does not fit in there makes the gate reject whatever is on the belt.
//!
//! When the board fails the gate rejects, as far as it can be moved, says so, and knows of no part any more. Once the board is back it goes on,
//! as after a start: what lies before the gate is rejected.

mod board_thread;
mod link;
mod plc_board;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::board_thread::BoardThread;
pub use self::link::GateLink;
use self::plc_board::PlcBoard;
use super::error::StationError;
use super::line_thread::LineInput;
use super::threads::{Control, spawn};
use crate::config::station::GateConfig;
use crate::flow::{self, NothingReceived, Receiver, Sender, WhenFull, bounded};
use crate::gate::board::{Board, Edge, GpioError, Levels, Opened, Output, Outputs, safe};
use crate::gate::counters::{Counted, Counters};
use crate::gate::gpio::GpioBoard;
use crate::gate::quadrature::{Channel, Quadrature};
use crate::gate::wiring::{Input, TravelWires, Wiring};
use crate::gate::{Event, Fate, Grade, PartId, RejectCause, Report, Tracker};
use crate::line::gate::GateEvent;
use crate::part::{CycleId, Nanos};

/// Edges, triggers and outcomes that may wait for the gate. Where one is dropped, everything on the belt is rejected.
const INPUTS_MAX: usize = 4096;

/// Counts of the encoder whose times are remembered: where the belt was when a trigger was received a moment ago.
const HISTORY_MAX: usize = 4096;

/// How often the tracker is told of an encoder that stands still.
const TICK: Duration = Duration::from_millis(100);

/// How late edges may be told: an encoder that stands is told to have stood until so long ago.
const EDGES_LATE: Duration = Duration::from_millis(500);

/// Threads by their names.
pub(crate) type Threads = Vec<(&'static str, JoinHandle<()>)>;

/// What the gate thread hears.
enum GateInput {
    /// Inputs did something.
    Edges(Vec<Edge>),
    /// The board does not work any more: why, unless the gate has said so itself.
    Failed(Option<GpioError>),
    /// It does again, with these inputs and outputs.
    Back { levels: Levels, outputs: Box<dyn Outputs> },
    /// A part was triggered.
    Triggered(PartId, Nanos),
    /// A part was triggered, and nobody can say where.
    Unplaced(PartId),
    /// A part was triggered while the PLC's encoder said this.
    TriggeredAt(PartId, u32),
    /// What the PLC counts at the gate, and whether it does so anew, in another session.
    Counted(Counted, bool),
    /// A part has its outcome.
    Decided(PartId, Grade),
    /// The PLC began a new session.
    SessionChanged,
    /// Gates must not move, or may again.
    Inhibit(bool),
    /// Whether the line must stop, and whether the station inspects.
    Lamps { stop: bool, ready: bool },
    /// No more.
    Stop,
}

/// Takes the lines and starts the threads of the gate.
///
/// # Errors
/// When a line or a thread cannot be had. Outputs are in the rejecting state then.
pub(super) fn start(
    config: &GateConfig,
    line: Sender<LineInput>,
    stop: &CancellationToken,
    control: &Sender<Control>,
) -> Result<(GateLink, Threads), StationError> {
    let board: Box<dyn Board> = match config.wiring.travel {
        TravelWires::Plc => Box::new(PlcBoard),
        _ => Box::new(GpioBoard::new(config.wiring.clone())),
    };
    start_with(board, config, line, stop, control)
}

/// The same with another board.
///
/// # Errors
/// When it does not open, or a thread cannot be had.
pub(crate) fn start_with(
    mut board: Box<dyn Board>,
    config: &GateConfig,
    line: Sender<LineInput>,
    stop: &CancellationToken,
    control: &Sender<Control>,
) -> Result<(GateLink, Threads), StationError> {
    let Opened { inputs, levels, outputs } = board.open()?;
    let (into, hears) = bounded("gate/inputs", INPUTS_MAX, WhenFull::DropNewest);
    let gate = GateThread::new(config, outputs, line);
    let counts = config.wiring.travel == TravelWires::Plc;
    let link = GateLink::new(into.clone(), Arc::clone(&gate.overrun), counts);
    let board = BoardThread {
        board,
        gate: into,
        overrun: Arc::clone(&gate.overrun),
        outputs_failed: Arc::clone(&gate.outputs_failed),
        stop: stop.clone(),
    };
    let threads = vec![
        ("gate", spawn("gate", control, move || gate.run(&levels, &hears))?),
        ("gate edges", spawn("gate-edges", control, move || board.run(inputs))?),
    ];
    Ok((link, threads))
}

/// The tracker and what it moves.
struct GateThread {
    tracker: Tracker,
    wiring: Wiring,
    names: Vec<String>,
    /// `None` while the board does not work.
    outputs: Option<Box<dyn Outputs>>,
    line: Sender<LineInput>,
    /// Something was not told for want of room.
    overrun: Arc<AtomicBool>,
    /// An output could not be set: told to whoever opens the board anew.
    outputs_failed: Arc<AtomicBool>,
    quadrature: Quadrature,
    counters: Counters,
    /// Counts of the encoder, wrapping.
    count: u32,
    /// Counts and their times, the latest last.
    history: VecDeque<(Nanos, u32)>,
    /// What each output was set to last.
    set: Vec<(Output, bool)>,
    acts_on: Option<CycleId>,
    lamps: (bool, bool),
}

impl GateThread {
    fn new(config: &GateConfig, outputs: Box<dyn Outputs>, line: Sender<LineInput>) -> Self {
        Self {
            tracker: Tracker::new(config.tracker.clone()),
            set: safe(&config.wiring),
            wiring: config.wiring.clone(),
            names: config.names.clone(),
            outputs: Some(outputs),
            line,
            overrun: Arc::default(),
            outputs_failed: Arc::default(),
            quadrature: Quadrature::default(),
            counters: Counters::default(),
            count: 0,
            history: VecDeque::new(),
            acts_on: None,
            lamps: (true, false),
        }
    }

    fn run(mut self, levels: &[(Input, bool)], hears: &Receiver<GateInput>) {
        self.begin(levels, flow::now());
        loop {
            let now = flow::now();
            let wait = self.tracker.wake_at().map_or(TICK, |due| due.since(now).min(TICK));
            match hears.receive_timeout(wait) {
                Ok(GateInput::Stop) | Err(NothingReceived::Closed) => break,
                Ok(input) => self.hear(input, flow::now()),
                Err(NothingReceived::TimedOut) => self.tick(flow::now()),
            }
        }
    }

    /// Inputs as they are found: what is at a sensor now was there before anybody looked.
    fn begin(&mut self, levels: &[(Input, bool)], now: Nanos) {
        let is_on = |input: Input| levels.iter().any(|(other, on)| *other == input && *on);
        self.quadrature = Quadrature::new(is_on(Input::EncoderA), is_on(Input::EncoderB));
        self.tell_count(now);
        for (input, on) in levels {
            match input {
                Input::Running => self.tell(now, Event::Belt { running: *on }),
                Input::Sensor(gate) if *on => self.tell(
                    now,
                    Event::PartSeen {
                        gate: *gate,
                        reading: None,
                    },
                ),
                _ => {}
            }
        }
        self.drive();
    }

    fn hear(&mut self, input: GateInput, now: Nanos) {
        if self.overrun.swap(false, Ordering::AcqRel) {
            tracing::error!("the gate was told more than it could take, and rejects everything on the belt");
            self.tell(now, Event::EncoderLost);
        }
        match input {
            GateInput::Edges(edges) => edges.into_iter().for_each(|edge| self.edge(edge, now)),
            GateInput::Failed(error) => self.fail(error.as_ref(), now),
            GateInput::Back { levels, outputs } => self.begin_anew(&levels, outputs, now),
            GateInput::Triggered(id, at) => self.trigger(id, at, now),
            GateInput::Unplaced(id) => self.refuse(id, RejectCause::NoPosition),
            GateInput::Decided(id, grade) => self.tell(now, Event::Decided { id, grade }),
            GateInput::TriggeredAt(id, reading) => {
                let reading = Some(reading);
                self.tell(now, Event::Triggered { id, reading });
            }
            GateInput::Counted(counted, is_anew) => {
                if is_anew {
                    self.counters.forget();
                }
                for event in self.counters.hear(counted) {
                    self.tell(now, event);
                }
            }
            GateInput::SessionChanged => self.tell(now, Event::Void),
            GateInput::Inhibit(inhibit) => self.tell(now, Event::Inhibit(inhibit)),
            GateInput::Lamps { stop, ready } => self.lamps = (stop, ready),
            GateInput::Stop => {}
        }
        self.drive();
    }

    fn tick(&mut self, now: Nanos) {
        // A moment ago: an edge may be on its way that came before now.
        if self.is_counted() {
            let reading = self.count;
            self.tell(now.before(EDGES_LATE), Event::Encoder { reading });
        }
        self.tell(now, Event::Tick);
        self.drive();
    }

    fn is_counted(&self) -> bool {
        matches!(self.wiring.travel, TravelWires::Quadrature { .. } | TravelWires::Pulse(_))
    }

    fn edge(&mut self, edge: Edge, now: Nanos) {
        let Edge::Is { at, input, on } = edge else {
            tracing::error!("edges of the gate's inputs were lost: the processor is too busy, or they come too fast");
            return self.tell(now, Event::EncoderLost);
        };
        match input {
            Input::EncoderA | Input::EncoderB => self.step(at, input, on),
            Input::Running => self.tell(at, Event::Belt { running: on }),
            Input::Index if on => self.tell(at, Event::Index),
            Input::Sensor(gate) if on => self.tell(at, Event::PartSeen { gate, reading: None }),
            Input::Sensor(gate) => self.tell(at, Event::PartGone { gate }),
            Input::Confirm(gate) if on => self.tell(at, Event::Ejected { gate }),
            Input::Index | Input::Confirm(_) => {}
        }
    }

    fn step(&mut self, at: Nanos, input: Input, on: bool) {
        let step = match self.wiring.travel {
            TravelWires::Quadrature { .. } => {
                let channel = if input == Input::EncoderA { Channel::A } else { Channel::B };
                let Ok(step) = self.quadrature.edge(channel, on) else {
                    return self.tell(at, Event::EncoderLost);
                };
                step
            }
            _ => i8::from(on),
        };
        if step != 0 {
            self.count = self.count.wrapping_add_signed(i32::from(step));
            self.tell_count(at);
        }
    }

    fn tell_count(&mut self, at: Nanos) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back((at, self.count));
        if self.is_counted() {
            let reading = self.count;
            self.tell(at, Event::Encoder { reading });
        }
    }

    /// A part was at the trigger at `at`: where the belt was then, if that is still known.
    fn trigger(&mut self, id: PartId, at: Nanos, now: Nanos) {
        if self.outputs.is_none() {
            return self.refuse(id, RejectCause::BoardFailed);
        }
        let then = self.history.iter().rev().find(|(since, _)| *since <= at);
        match then {
            Some((_, count)) => {
                let reading = self.is_counted().then_some(*count);
                self.tell(now, Event::Triggered { id, reading });
            }
            None => self.refuse(id, RejectCause::NoPosition),
        }
    }

    /// A part that is not tracked: at the gate it will be one that nobody announced.
    fn refuse(&mut self, id: PartId, cause: RejectCause) {
        let fate = Fate::Rejected(cause);
        self.report(Report::Fate { id, fate, gate: None });
    }

    fn tell(&mut self, at: Nanos, event: Event) {
        for report in self.tracker.handle(at, event) {
            self.report(report);
        }
        // Between two edges of one batch too: the gate may have to move for the first of them.
        self.drive_gates();
    }

    fn report(&mut self, report: Report) {
        let name = |gate: usize| self.names.get(gate).map_or("", String::as_str);
        match report {
            Report::Fate { id, fate, gate } => {
                let gate = gate.map_or("", name);
                tracing::debug!(cycle_id = %id.cycle_id, ?fate, gate, "a part has left the belt, or will");
            }
            Report::Untracked { gate } => {
                tracing::warn!(gate = name(gate), "a part came to the gate that nobody announced; it is rejected");
            }
            Report::NotEjected { gate, id } => {
                let cycle_id = id.map_or(0, |id| id.cycle_id.get());
                tracing::error!(gate = name(gate), cycle_id, "a part was not ejected");
            }
            Report::EjectedUnasked { gate } => tracing::warn!(gate = name(gate), "something was ejected that was not rejected"),
            Report::EncoderJump { step } => tracing::error!(step, "the encoder jumped; everything on the belt is rejected"),
        }
        let _ = self.line.send(LineInput::Gate(GateEvent::Report(report)));
    }

    /// The board does not work: everything in the rejecting state, as far as it can be moved. Its lines are let go.
    fn fail(&mut self, error: Option<&GpioError>, now: Nanos) {
        let Some(mut outputs) = self.outputs.take() else { return };
        let error = error.map_or_else(String::new, ToString::to_string);
        tracing::error!(error, "the gate fails, and rejects everything");
        let _ = self.line.send(LineInput::Gate(GateEvent::Failing(true)));
        self.set = safe(&self.wiring);
        for (output, on) in &self.set {
            if let Err(error) = outputs.set(*output, *on) {
                tracing::error!(%error, "an output cannot be made safe");
            }
        }
        self.lose_track(now);
    }

    /// The board works again. Nobody knows how far the belt went meanwhile.
    fn begin_anew(&mut self, levels: &Levels, outputs: Box<dyn Outputs>, now: Nanos) {
        tracing::info!("the gate works again; what lies before it is rejected");
        self.outputs = Some(outputs);
        self.history.clear();
        self.lose_track(now);
        let _ = self.line.send(LineInput::Gate(GateEvent::Failing(false)));
        self.begin(levels, now);
    }

    /// Where parts are is not known any more. That the board failed says why: it is no fault of the encoder.
    fn lose_track(&mut self, now: Nanos) {
        let reports = self.tracker.handle(now, Event::EncoderLost);
        let fates = reports.into_iter().filter(|report| !matches!(report, Report::EncoderJump { .. }));
        fates.for_each(|fate| self.report(fate));
    }

    fn drive_gates(&mut self) {
        for gate in 0..self.wiring.gates.len() {
            let is_on = self.tracker.is_energised(gate);
            self.switch(Output::Gate(gate), is_on);
        }
        let acts_on = self.tracker.acts_on();
        if std::mem::replace(&mut self.acts_on, acts_on) != acts_on {
            let _ = self.line.send(LineInput::Gate(GateEvent::ActsOn(acts_on)));
        }
    }

    fn drive(&mut self) {
        self.drive_gates();
        let (stop, ready) = self.lamps;
        self.switch(Output::Stop, stop);
        self.switch(Output::Ready, ready);
    }

    fn switch(&mut self, output: Output, on: bool) {
        let Some(outputs) = self.outputs.as_mut().filter(|_| !self.set.contains(&(output, on))) else {
            return;
        };
        match outputs.set(output, on) {
            Ok(()) => {
                self.set.retain(|(other, _)| *other != output);
                self.set.push((output, on));
            }
            Err(error) => {
                self.outputs_failed.store(true, Ordering::Release);
                self.fail(Some(&error), flow::now());
            }
        }
    }
}
