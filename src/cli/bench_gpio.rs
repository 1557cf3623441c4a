//! `takt bench gpio`: from a decided verdict to an output line that another reader of the chip sees changed, beside the time of the bare ioctl that
//! changes it.
//!
//! Gate, channels and output are the real ones; the belt is played, and stands one count before the place at which the gate acts: the outcome and that
//! count follow each other at once. The reader is a file that shows the line's level, as the kernel's gpio-sim has one for each line, or an input that is
//! wired to the output. Each part measures both, so that both suffer what the machine does to everybody.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::config::station::GateConfig;
use crate::evaluate::metrics::percentile;
use crate::flow::{self, WhenFull, bounded, now};
use crate::gate::board::{Board, Edge, GpioError, Inputs, Opened, Output, Outputs};
use crate::gate::config::{GateKind, GatePlan, Pitch, TrackerConfig, Travel};
use crate::gate::gpio::{GpioInputs, GpioOutputs};
use crate::gate::wiring::{GateWires, Input, TravelWires, Wire, Wiring};
use crate::gate::{Grade, PartId};
use crate::line::image::StationImage;
use crate::part::{CycleId, Nanos};
use crate::station::gate_thread::{self, GateLink};
use crate::station::line_thread::LineInput;
use crate::station::threads::Control;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("reader").required(true).args(["level_file", "input"])))]
pub(super) struct GpioArgs {
    /// The GPIO chip
    #[arg(long, value_name = "DEVICE")]
    chip: PathBuf,
    /// The line that is switched: nothing that moves may be wired to it
    #[arg(long, value_name = "LINE")]
    output: u32,
    /// A file that shows the level of that line: gpio-sim's, /sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio4/value
    #[arg(long, value_name = "FILE")]
    level_file: Option<PathBuf>,
    /// An input of the chip that is wired to that line
    #[arg(long, value_name = "LINE")]
    input: Option<u32>,
    /// Parts that are passed
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    parts: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Parts that are not counted: caches fill, clocks rise.
const WARM_UP: u32 = 20;

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Places along the played belt, counts from the trigger; length of a part, and how far before it the gate acts.
const SENSOR: i64 = 100;
const GATE: i64 = 160;
const PART: i64 = 20;
const REACH: i64 = 10;

/// Speed that the played belt never reaches, counts a second: edges are made as fast as they can be.
const TOP_SPEED: u64 = 100_000_000;

/// Events that nobody reads: what does not fit is dropped.
const EVENTS_MAX: usize = 16;

#[derive(Debug, Serialize)]
struct GpioBench {
    reader: &'static str,
    parts: usize,
    /// From the decision to the moment at which the reader sees the line changed.
    decided_to_seen_us_p50: u64,
    decided_to_seen_us_p99: u64,
    /// The ioctl alone that changes the line, of the same parts.
    bare_ioctl_us_p50: u64,
    bare_ioctl_us_p99: u64,
    /// What is left, part by part: takt, and the reader.
    overhead_us_p50: u64,
    overhead_us_p99: u64,
}

/// One part.
struct Round {
    seen: Duration,
    ioctl: Duration,
}

pub(super) fn run(args: &GpioArgs) -> anyhow::Result<Exit> {
    let mut reader = Reader::open(args)?;
    let mut bench = Bench::start(args)?;
    let mut rounds = Vec::new();
    for cycle_id in 1..=args.parts + WARM_UP {
        let round = bench.part(cycle_id, &mut reader)?;
        if cycle_id > WARM_UP {
            rounds.push(round);
        }
    }
    bench.stop.cancel();
    let result = told(&reader, &rounds);
    match args.format {
        Format::Json => print_json(&result)?,
        Format::Table => print(&rows(&result))?,
    }
    Ok(Exit::Done)
}

fn told(reader: &Reader, rounds: &[Round]) -> GpioBench {
    let at = |of: fn(&Round) -> Duration, percent| {
        let times: Vec<u64> = rounds.iter().map(|round| of(round).as_micros() as u64).collect();
        percentile(&times, percent).unwrap_or_default()
    };
    let overhead: fn(&Round) -> Duration = |round| round.seen.saturating_sub(round.ioctl);
    GpioBench {
        reader: match reader {
            Reader::File(_) => "level file",
            Reader::Input(_) => "input",
        },
        parts: rounds.len(),
        decided_to_seen_us_p50: at(|round| round.seen, 50.0),
        decided_to_seen_us_p99: at(|round| round.seen, 99.0),
        bare_ioctl_us_p50: at(|round| round.ioctl, 50.0),
        bare_ioctl_us_p99: at(|round| round.ioctl, 99.0),
        overhead_us_p50: at(overhead, 50.0),
        overhead_us_p99: at(overhead, 99.0),
    }
}

fn rows(bench: &GpioBench) -> String {
    let ms = |us: u64| format!("{:.3} ms", us as f64 / 1e3);
    let row = |name: &str, p50, p99| vec![name.to_owned(), ms(p50), ms(p99)];
    let rows = [
        row("decided to seen", bench.decided_to_seen_us_p50, bench.decided_to_seen_us_p99),
        row("bare ioctl", bench.bare_ioctl_us_p50, bench.bare_ioctl_us_p99),
        row("what is left", bench.overhead_us_p50, bench.overhead_us_p99),
    ];
    format!(
        "{}\nReader: {}, {} parts.\n",
        table(&["", "p50", "p99"], rows),
        bench.reader,
        bench.parts
    )
}

/// Whoever sees the line change, and is not takt's gate.
enum Reader {
    File(File),
    Input(GpioInputs),
}

impl Reader {
    fn open(args: &GpioArgs) -> anyhow::Result<Self> {
        if let Some(file) = &args.level_file {
            let opened = File::open(file).with_context(|| format!("failed to open {}", file.display()))?;
            return Ok(Self::File(opened));
        }
        let line = args.input.context("failed to choose a reader: give --level-file or --input")?;
        let wiring = Wiring {
            travel: TravelWires::Pulse(wire(line)),
            ..wiring(args)
        };
        let wiring = Wiring {
            gates: Vec::new(),
            ..wiring
        };
        Ok(Self::Input(GpioInputs::open(&wiring)?.0))
    }

    /// When the line is seen on.
    fn sees(&mut self) -> anyhow::Result<Nanos> {
        let begun = now();
        while now().since(begun) < PATIENCE {
            match self {
                Self::File(file) => {
                    let mut level = [0];
                    file.read_exact_at(&mut level, 0)
                        .context("failed to read the level of the output")?;
                    if level == *b"1" {
                        return Ok(now());
                    }
                }
                Self::Input(input) => {
                    for edge in input.wait(PATIENCE)? {
                        if let Edge::Is { at, on: true, .. } = edge {
                            return Ok(at);
                        }
                    }
                }
            }
        }
        bail!("failed to see the output change within {PATIENCE:?}; is this the reader of that line?")
    }
}

/// The gate on the bench.
struct Bench {
    link: GateLink,
    /// The belt, for the played inputs.
    edges: Sender<Vec<Edge>>,
    /// Told when the inputs have passed on what they had, and wait.
    waits: Receiver<()>,
    /// What was set, and how long that took.
    sets: Receiver<(Output, bool, Duration)>,
    stop: CancellationToken,
    lamp: bool,
    counts: usize,
    /// Nobody reads it, but the gate must be able to tell.
    _line: flow::Receiver<LineInput>,
    _control: flow::Receiver<Control>,
}

impl Bench {
    fn start(args: &GpioArgs) -> anyhow::Result<Self> {
        let ((edges, played), (waiting, waits), (set, sets)) = (channel(), channel(), channel());
        let config = config(args);
        let outputs = TimedOutputs {
            outputs: GpioOutputs::open(&config.wiring)?,
            set,
        };
        let inputs = PlayedInputs {
            edges: played,
            waiting,
            is_told: true,
        };
        let board = OnceOpened(Some(Opened {
            inputs: Box::new(inputs),
            levels: Vec::new(),
            outputs: Box::new(outputs),
        }));
        let (line, told) = bounded("bench/line", EVENTS_MAX, WhenFull::DropNewest);
        let (control, happened) = bounded("bench/control", EVENTS_MAX, WhenFull::DropNewest);
        let stop = CancellationToken::new();
        let (link, _threads) = gate_thread::start_with(Box::new(board), &config, line, &stop, &control)?;
        let mut bench = Self {
            link,
            edges,
            waits,
            sets,
            stop,
            lamp: true,
            counts: 0,
            _line: told,
            _control: happened,
        };
        // Edges are later than the gate's beginning. What lay before it at the start has gone by then.
        bench.settle()?;
        bench.go(2 * GATE)?;
        Ok(bench)
    }

    /// One part that passes.
    fn part(&mut self, cycle_id: u32, reader: &mut Reader) -> anyhow::Result<Round> {
        let cycle_id = CycleId::new(cycle_id).context("failed to number the parts")?;
        let id = PartId { plc_session: 1, cycle_id };
        self.link.triggered(id, now());
        self.go(SENSOR)?;
        self.tell(vec![sensor(true)])?;
        self.go(PART)?;
        self.tell(vec![sensor(false)])?;
        self.go(GATE - REACH - SENSOR - PART - 1)?;
        self.settle()?;

        let last = vec![self.count()];
        let decided = now();
        self.link.graded(id, Grade::Ok);
        self.edges.send(last).context("the gate has ended")?;
        let seen = reader.sees()?.since(decided);
        let ioctl = self.until(Output::Gate(0), true)?;

        self.waits.recv_timeout(PATIENCE).context("the gate has ended")?;
        self.go(REACH + PART + 2 * REACH)?;
        self.until(Output::Gate(0), false)?;
        self.go(GATE)?;
        Ok(Round { seen, ioctl })
    }

    /// The belt goes on.
    fn go(&mut self, counts: i64) -> anyhow::Result<()> {
        let edges = (0..counts).map(|_| self.count()).collect();
        self.tell(edges)
    }

    fn count(&mut self) -> Edge {
        const FORWARD: [(Input, bool); 4] = [
            (Input::EncoderA, true),
            (Input::EncoderB, true),
            (Input::EncoderA, false),
            (Input::EncoderB, false),
        ];
        let (input, on) = FORWARD[self.counts % FORWARD.len()];
        self.counts += 1;
        Edge::Is { at: now(), input, on }
    }

    /// Inputs do this; returns when the gate has been told.
    fn tell(&mut self, edges: Vec<Edge>) -> anyhow::Result<()> {
        self.edges.send(edges).context("the gate has ended")?;
        self.waits.recv_timeout(PATIENCE).context("the gate has ended")
    }

    /// Returns when the gate has done with everything that it was told: another lamp is the last of it.
    fn settle(&mut self) -> anyhow::Result<()> {
        self.lamp = !self.lamp;
        let image = StationImage {
            stop_request: self.lamp,
            ..StationImage::default()
        };
        self.link.shown(&[], &image, |_| false);
        self.until(Output::Stop, self.lamp).map(drop)
    }

    /// Waits until an output was set so: how long that took.
    fn until(&self, output: Output, on: bool) -> anyhow::Result<Duration> {
        let begun = now();
        loop {
            let (which, is_on, took) = self.sets.recv_timeout(PATIENCE).context("the gate does not set its output")?;
            if (which, is_on) == (output, on) {
                return Ok(took);
            }
            ensure!(now().since(begun) < PATIENCE, "the gate does not set its output");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn sensor(on: bool) -> Edge {
    let input = Input::Sensor(0);
    Edge::Is { at: now(), input, on }
}

fn wire(line: u32) -> Wire {
    Wire { line, active_low: false }
}

/// Wires of the gate: only its output is there.
fn wiring(args: &GpioArgs) -> Wiring {
    let gate = GateWires {
        sensor: wire(0),
        output: wire(args.output),
        confirm: None,
        off_rejects: true,
    };
    Wiring {
        chip: args.chip.clone(),
        output_chip: args.chip.clone(),
        travel: TravelWires::Quadrature { a: wire(0), b: wire(0) },
        index: None,
        gates: vec![gate],
        stop: None,
        ready: None,
        debounce: Duration::ZERO,
    }
}

fn config(args: &GpioArgs) -> GateConfig {
    let gate = GatePlan {
        kind: GateKind::EnergiseToPass,
        rejects: Grade::REJECTED.to_vec(),
        sensor: SENSOR,
        gate: GATE,
        part_length: PART,
        lead: REACH - 4,
        margin: 4,
        confirm: None,
        open_max: PATIENCE,
    };
    GateConfig {
        tracker: TrackerConfig {
            travel: Travel::Encoder { modulus: 1 << 32 },
            top_speed: TOP_SPEED,
            slack: 4,
            pitch: Pitch::Random { tolerance: 5 },
            gates: vec![gate],
        },
        wiring: wiring(args),
        names: vec!["bench".into()],
        mm_per_count: 1.0,
    }
}

/// A board that is opened once: one that fails ends the bench.
struct OnceOpened(Option<Opened>);

impl Board for OnceOpened {
    fn open(&mut self) -> Result<Opened, GpioError> {
        self.0.take().ok_or_else(|| GpioError::Read {
            chip: PathBuf::new(),
            reason: "the bench does not open its board twice".into(),
        })
    }
}

/// Inputs that do what the bench says.
struct PlayedInputs {
    edges: Receiver<Vec<Edge>>,
    waiting: Sender<()>,
    /// Whether the gate was told of all that was played: once these are waited for again.
    is_told: bool,
}

impl Inputs for PlayedInputs {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<Edge>, GpioError> {
        if !std::mem::replace(&mut self.is_told, true) {
            let _ = self.waiting.send(());
        }
        match self.edges.recv_timeout(timeout) {
            Ok(edges) => {
                self.is_told = false;
                Ok(edges)
            }
            Err(RecvTimeoutError::Timeout) => Ok(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => Err(GpioError::Read {
                chip: PathBuf::new(),
                reason: "the bench has ended".into(),
            }),
        }
    }
}

/// Real outputs, and how long each setting takes.
struct TimedOutputs {
    outputs: GpioOutputs,
    set: Sender<(Output, bool, Duration)>,
}

impl Outputs for TimedOutputs {
    fn set(&mut self, output: Output, on: bool) -> Result<(), GpioError> {
        let begun = now();
        self.outputs.set(output, on)?;
        let _ = self.set.send((output, on, now().since(begun)));
        Ok(())
    }
}
