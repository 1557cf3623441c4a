//! `takt bench plc`: from a decided verdict to a PLC that can read it, beside what the same peer takes without takt.
//!
//! The line is the real one, cameras and engines are played; the peer is of another make (`twin/foreign_peer.rs`, the crate `tokio-modbus`). Each round measures
//! both, one after the other, so that both suffer what the machine does to everybody.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwap;
use clap::Args;
use serde::Serialize;

use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::evaluate::metrics::percentile;
use crate::flow::now;
use crate::line::config::{LineConfig, RecipePlan, ResultMode, SerialMode, TriggerSource};
use crate::line::event::{Commit, Event, FrameId, Inspected, Job};
use crate::line::image::{PlcImage, StationImage, control};
use crate::line::{Line, Memory};
use crate::part::{Nanos, Verdict, View};
use crate::plc::delivery::Offer;
use crate::plc::modbus::client::{ClientConfig, ModbusClient, ResultPort};
use crate::plc::modbus::{Layout, ModbusConfig, ModbusServer, SILENCE_MAX};
use crate::plc::signals::{STATION_REGISTERS, plc_registers, station_image};
use crate::plc::{PlcEvent, Shown};
use crate::twin::foreign_peer::{Master, PlcMemory, PlcServer};

#[derive(Debug, Args)]
pub(super) struct PlcArgs {
    /// Parts of each role
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    parts: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Limit of what takt may add, p99, on loopback.
const OVERHEAD_US_MAX: u64 = 1000;

/// Parts that are not counted: caches fill, clocks rise.
const WARM_UP: u32 = 20;

/// Registers of status and result.
const BLOCK: u16 = 44;

/// Where a PLC that reads has the station's registers among its holding registers, and where one that is polled has them.
const STATION_AT: u16 = 1000;

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize)]
struct PlcBench {
    peer: &'static str,
    /// The PLC reads the station.
    server: RoleBench,
    /// The station writes to the PLC.
    client: RoleBench,
    overhead_us_p99_max: u64,
    within_limit: bool,
}

/// One role.
#[derive(Debug, Serialize)]
struct RoleBench {
    parts: usize,
    /// From the decision to the moment at which the peer has it.
    decided_to_readable_us_p50: u64,
    decided_to_readable_us_p99: u64,
    /// The same exchange of the peer with one of its own make.
    bare_us_p50: u64,
    bare_us_p99: u64,
    /// What is left, part by part.
    overhead_us_p50: u64,
    overhead_us_p99: u64,
}

impl RoleBench {
    fn of(rounds: &[Round]) -> Self {
        let at = |of: &dyn Fn(&Round) -> Duration, percent| {
            let times: Vec<u64> = rounds.iter().map(|round| of(round).as_micros() as u64).collect();
            percentile(&times, percent).unwrap_or_default()
        };
        let (whole, bare) = (|round: &Round| round.readable, |round: &Round| round.bare);
        let overhead = |round: &Round| round.readable.saturating_sub(round.bare);
        Self {
            parts: rounds.len(),
            decided_to_readable_us_p50: at(&whole, 50.0),
            decided_to_readable_us_p99: at(&whole, 99.0),
            bare_us_p50: at(&bare, 50.0),
            bare_us_p99: at(&bare, 99.0),
            overhead_us_p50: at(&overhead, 50.0),
            overhead_us_p99: at(&overhead, 99.0),
        }
    }
}

/// One part.
struct Round {
    readable: Duration,
    bare: Duration,
}

pub(super) fn run(args: &PlcArgs) -> anyhow::Result<Exit> {
    let server = RoleBench::of(&measure(&mut Reads::start()?, args.parts)?);
    let client = RoleBench::of(&measure(&mut Polled::start()?, args.parts)?);
    let within_limit = server.overhead_us_p99.max(client.overhead_us_p99) <= OVERHEAD_US_MAX;
    let bench = PlcBench {
        peer: "tokio-modbus 0.17",
        server,
        client,
        overhead_us_p99_max: OVERHEAD_US_MAX,
        within_limit,
    };
    match args.format {
        Format::Json => print_json(&bench)?,
        Format::Table => print(&told(&bench))?,
    }
    Ok(if within_limit { Exit::Done } else { Exit::Failed })
}

fn measure(role: &mut dyn Role, parts: u32) -> anyhow::Result<Vec<Round>> {
    begin(role)?;
    let mut rounds = Vec::new();
    for cycle_id in 1..=parts + WARM_UP {
        let (decided, readable) = part(role, cycle_id)?;
        let bare = role.bare()?;
        if cycle_id > WARM_UP {
            rounds.push(Round {
                readable: readable.since(decided),
                bare,
            });
        }
    }
    Ok(rounds)
}

/// A role of the station, with the peer at the other end.
trait Role {
    fn cell(&mut self) -> &mut Cell;
    /// The peer says this.
    fn say(&mut self, image: &PlcImage) -> anyhow::Result<()>;
    /// What the peer has of the station, and since when.
    fn look(&mut self) -> anyhow::Result<(StationImage, Nanos)>;
    /// How long the peer takes for the same without takt.
    fn bare(&mut self) -> anyhow::Result<Duration>;
}

/// Says something until the station shows what is waited for.
fn until(role: &mut dyn Role, image: &mut PlcImage, shown: impl Fn(&StationImage) -> bool) -> anyhow::Result<()> {
    let begun = now();
    loop {
        image.heartbeat = image.heartbeat.wrapping_add(1);
        role.say(image)?;
        role.cell().listen(Duration::from_millis(1))?;
        if shown(&role.look()?.0) {
            return Ok(());
        }
        if now().since(begun) > PATIENCE {
            bail!("the station did not answer its PLC; run this on a machine that does nothing else");
        }
    }
}

fn said(cycle_id: u32) -> PlcImage {
    PlcImage {
        control: control::ONLINE | control::TRIGGER_ENABLE,
        plc_session: 1,
        cycle_id,
        cycle_id_tail: cycle_id,
        ..PlcImage::default()
    }
}

fn begin(role: &mut dyn Role) -> anyhow::Result<()> {
    until(role, &mut said(0), |shown| shown.trigger_ready)
}

/// One part: when it was decided, and when the peer had it.
fn part(role: &mut dyn Role, cycle_id: u32) -> anyhow::Result<(Nanos, Nanos)> {
    let mut image = said(cycle_id);
    image.control |= control::TRIGGER;
    until(role, &mut image, |shown| shown.trigger_ack && shown.echo_trigger_id == cycle_id)?;
    image.control &= !control::TRIGGER;
    until(role, &mut image, |shown| !shown.trigger_ack)?;
    let decided = role.cell().decide()?;
    loop {
        let (shown, at) = role.look()?;
        if shown.result_valid && shown.echo_cycle_id == cycle_id {
            ensure!(shown.accept, "the station did not pass a good part");
            return Ok((decided, at));
        }
        ensure!(now().since(decided) < PATIENCE, "the result did not reach the peer");
    }
}

/// The station: the real line; the camera and the engine are here.
struct Cell {
    line: Line,
    shown: Shown,
    events: Receiver<PlcEvent>,
    results: Option<ResultPort>,
    job: Option<Job>,
}

impl Cell {
    fn new(events: Receiver<PlcEvent>) -> Self {
        let config = LineConfig {
            station: "bench".into(),
            trigger_source: TriggerSource::Plc { frame_window: PATIENCE },
            result_mode: ResultMode::Single,
            deadline: PATIENCE,
            accept_hold: PATIENCE,
            torn: PATIENCE,
            trigger_grace: PATIENCE,
            heartbeat_timeout: PATIENCE,
            sequential: true,
            serial: SerialMode::WithTrigger,
            simulated: false,
            workers: 1,
            cameras: 1,
            tags: Vec::new(),
            recipes: RecipePlan::all([(1, vec![0])]),
            config_checksum: 1,
        };
        let memory = Memory {
            boot_id: 1,
            epoch: 1,
            acquisition_below: u32::MAX / 2,
            result_below: u32::MAX / 2,
            ..Memory::default()
        };
        let mut cell = Self {
            line: Line::new(config, memory, now()),
            shown: Arc::new(ArcSwap::from_pointee(StationImage::default())),
            events,
            results: None,
            job: None,
        };
        cell.step(Event::CameraUp(0));
        cell.step(Event::ModelsReady(true));
        cell
    }

    /// Takes in what the PLC did; waits so long for it to do something.
    fn listen(&mut self, patience: Duration) -> anyhow::Result<()> {
        let mut waited = patience;
        while let Ok(event) = self.events.recv_timeout(waited) {
            waited = Duration::ZERO;
            self.step(match event {
                PlcEvent::Connected => Event::PlcConnected,
                PlcEvent::Lost => bail!("the peer lost the station"),
                PlcEvent::Wrote { at, image, written } => Event::PlcWrote { at, image, written },
            });
        }
        self.step(Event::Tick);
        Ok(())
    }

    fn step(&mut self, event: Event) {
        self.line.advance(now(), event);
        let commit = self.line.commit(now());
        self.show(&commit);
        for opened in commit.opened.iter().filter(|opened| opened.acquisition_id != 0) {
            self.step(Event::Frame {
                camera: 0,
                frame: FrameId(opened.part.0),
                counter: None,
                exposed_at: now(),
            });
        }
        self.job = commit.jobs.first().copied().or(self.job);
    }

    fn show(&self, commit: &Commit) {
        if !commit.image_changed {
            return;
        }
        for record in commit.decided.iter().filter(|record| record.result_id != 0) {
            if let Some(results) = &self.results {
                results.offer(Offer {
                    result_id: record.result_id,
                    passes: record.verdict == Verdict::Ok,
                    deadline: record.deadline_ns,
                    offered_at: now(),
                });
            }
        }
        self.shown.store(Arc::new(self.line.image().clone()));
        if let Some(results) = &self.results {
            results.swapped();
        }
    }

    /// The engine says that the part is good. Returns when that was.
    fn decide(&mut self) -> anyhow::Result<Nanos> {
        let job = self.job.take().context("the line wants nothing judged")?;
        let view = View {
            inspection: "surface".into(),
            camera: "top".into(),
            frame_counter: None,
            exposed_ns: now(),
            stamp: None,
            verdict: Verdict::Ok,
            reason: None,
            score: Some(0.0),
            threshold: Some(1.0),
            severity: None,
            findings: Vec::new(),
            model: None,
        };
        let decided = now();
        self.step(Event::Inspected {
            part: job.part,
            inspection: job.inspection,
            inspected: Box::new(Inspected {
                view,
                defect_code: 0,
                queue_us: 0,
                preprocess_us: 0,
                infer_us: 0,
                postprocess_us: 0,
            }),
        });
        Ok(decided)
    }
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Registers as the station's image; what was not read is 0.
fn image_of(registers: &[u16]) -> StationImage {
    let mut all = [0; STATION_REGISTERS];
    all.iter_mut().zip(registers).for_each(|(register, read)| *register = *read);
    station_image(&all)
}

/// The station is the server.
struct Reads {
    cell: Cell,
    peer: Master,
    _station: ModbusServer,
    bare_peer: Master,
    _bare: PlcServer,
}

impl Reads {
    fn start() -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let cell = Cell::new(events);
        let config = ModbusConfig {
            listen: LOOPBACK,
            writers: vec![LOOPBACK.ip()],
            tags: false,
            silence_max: SILENCE_MAX,
        };
        let station = ModbusServer::start(&config, Arc::clone(&cell.shown), move |event| {
            let _ = sender.send(event);
        })?;
        let bare = PlcServer::start(LOOPBACK, PlcMemory::default())?;
        Ok(Self {
            cell,
            peer: Master::connect(station.address())?,
            _station: station,
            bare_peer: Master::connect(bare.address())?,
            _bare: bare,
        })
    }
}

impl Role for Reads {
    fn cell(&mut self) -> &mut Cell {
        &mut self.cell
    }

    fn say(&mut self, image: &PlcImage) -> anyhow::Result<()> {
        Ok(self.peer.write(0, &plc_registers(image))?)
    }

    fn look(&mut self) -> anyhow::Result<(StationImage, Nanos)> {
        let registers = self.peer.read(STATION_AT, BLOCK)?;
        Ok((image_of(&registers), now()))
    }

    fn bare(&mut self) -> anyhow::Result<Duration> {
        let begun = now();
        self.bare_peer.read(STATION_AT, BLOCK)?;
        Ok(now().since(begun))
    }
}

/// The PLC is the server.
struct Polled {
    cell: Cell,
    memory: PlcMemory,
    _peer: PlcServer,
    _station: ModbusClient,
    bare_peer: Master,
    _bare: PlcServer,
    writes: u64,
}

impl Polled {
    fn start() -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let mut cell = Cell::new(events);
        let memory = PlcMemory::default();
        let peer = PlcServer::start(LOOPBACK, memory.clone())?;
        let config = ClientConfig {
            connect: peer.address(),
            unit_id: 1,
            layout: Layout {
                read_base: 0,
                write_base: STATION_AT,
                has_window: false,
                has_tags: false,
            },
            poll: Duration::from_millis(5),
            response_timeout: PATIENCE,
            write_max: Duration::from_millis(50),
        };
        let events = move |event| {
            let _ = sender.send(event);
        };
        let (station, results) = ModbusClient::start(config, Arc::clone(&cell.shown), events, |_| {})?;
        cell.results = Some(results);
        let bare = PlcServer::start(LOOPBACK, PlcMemory::default())?;
        Ok(Self {
            cell,
            memory,
            _peer: peer,
            _station: station,
            bare_peer: Master::connect(bare.address())?,
            _bare: bare,
            writes: 0,
        })
    }
}

impl Role for Polled {
    fn cell(&mut self) -> &mut Cell {
        &mut self.cell
    }

    fn say(&mut self, image: &PlcImage) -> anyhow::Result<()> {
        self.memory.put(0, &plc_registers(image));
        Ok(())
    }

    fn look(&mut self) -> anyhow::Result<(StationImage, Nanos)> {
        self.writes = self.memory.wait(self.writes, Duration::from_millis(1));
        let image = image_of(&self.memory.get(STATION_AT, BLOCK.into()));
        // The status word comes last.
        let at = self.memory.take_written().last().map_or_else(now, |written| written.at);
        Ok((image, at))
    }

    /// Data, then the status word with them.
    fn bare(&mut self) -> anyhow::Result<Duration> {
        let begun = now();
        for _ in 0..2 {
            self.bare_peer.write(STATION_AT, &[0; BLOCK as usize])?;
        }
        Ok(now().since(begun))
    }
}

fn told(bench: &PlcBench) -> String {
    let ms = |us: u64| format!("{:.3} ms", us as f64 / 1e3);
    let row = |name: &str, p50, p99| vec![name.to_owned(), ms(p50), ms(p99)];
    let rows = [("PLC reads", &bench.server), ("station writes", &bench.client)]
        .into_iter()
        .flat_map(|(role, bench)| {
            [
                row(
                    &format!("{role}: decided to readable"),
                    bench.decided_to_readable_us_p50,
                    bench.decided_to_readable_us_p99,
                ),
                row(&format!("{role}: bare round trip"), bench.bare_us_p50, bench.bare_us_p99),
                row(&format!("{role}: what takt adds"), bench.overhead_us_p50, bench.overhead_us_p99),
            ]
        });
    format!(
        "{}\nPeer: {}. Limit of what takt adds: {} (p99).\n",
        table(&["", "p50", "p99"], rows),
        bench.peer,
        ms(bench.overhead_us_p99_max)
    )
}
