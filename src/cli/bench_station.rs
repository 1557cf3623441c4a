//! `takt bench station`: what the station adds to the engine's time, on the wire, with a virtual line around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::bench::taught_from_rendered_parts;
use super::progress::Screen;
use super::table::table;
use super::virtual_cell::{self, CellPlan};
use super::{Exit, Format, print, print_json};
use crate::evaluate::metrics::percentile;
use crate::model::package;
use crate::teach::progress::{Progress, Stage};
use crate::twin::{self, PartRun, TwinReport, Watcher};

#[derive(Debug, Args)]
pub(super) struct StationArgs {
    /// A model package; without one, a model is taught from rendered parts first
    #[arg(long, value_name = "PACKAGE")]
    model: Option<PathBuf>,
    /// Parts
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    parts: u32,
    /// Parts per second, or max: the next part as soon as the station is ready
    #[arg(long, default_value = "20", value_name = "HZ|max")]
    rate: String,
    /// Leave out the second run with a PLC that polls every 10 ms and scans every 5 ms
    #[arg(long)]
    skip_customer: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Pixels of the virtual camera.
const CAMERA_PX: (u32, u32) = (640, 480);

/// Parts of the second run at most: enough for a p99.
const CUSTOMER_PARTS_MAX: u32 = 500;

/// Part at which memory is measured first: everything is warm by then.
const MEMORY_AT: usize = 1000;

/// Memory is asked for once in this many parts: asking takes time from them.
const MEMORY_EVERY: usize = 50;

/// Period of the timer probe.
const PROBE: Duration = Duration::from_millis(1);

/// What counts as a stall of the host.
const STALL: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize)]
struct StationBench {
    parts: usize,
    lost: usize,
    wrong_part: usize,
    ok_after_deadline: usize,
    late: usize,
    not_decidable: usize,
    probe_us_p99: u64,
    probe_stalls_over_20ms: usize,
    engine_us_p50: u64,
    engine_us_p99: u64,
    trigger_to_verdict_us_p50: u64,
    trigger_to_verdict_us_p99: u64,
    overhead_us_p50: u64,
    overhead_us_p99: u64,
    rss_mib_at_1000: f64,
    rss_mib_end: f64,
    promises_kept: bool,
    /// The same line with a PLC that polls every 10 ms and scans every 5 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<Customer>,
}

/// What a customer sees.
#[derive(Debug, Serialize)]
struct Customer {
    parts: usize,
    poll_ms: u32,
    scan_ms: u32,
    trigger_to_verdict_us_p50: u64,
    trigger_to_verdict_us_p99: u64,
}

pub(super) fn run(args: &StationArgs) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir().context("failed to create a folder for the bench")?;
    let model = if let Some(model) = &args.model {
        model.clone()
    } else {
        let taught = taught_from_rendered_parts()?;
        let model = folder.path().join("model");
        package::write(&model, &taught.manifest, &taught.files, true)?;
        model
    };
    let rate = match args.rate.parse::<f64>() {
        Ok(rate) => format!("{rate:?}"),
        Err(_) => toml::Value::from(args.rate.as_str()).to_string(),
    };
    let probe = Probe::start()?;
    let (report, memory) = inspect(folder.path(), &model, rate.clone(), args.parts, (0, 0))?;
    let probe = probe.stop();
    let customer = if args.skip_customer || report.stopped {
        None
    } else {
        let polled = inspect(folder.path(), &model, rate, args.parts.min(CUSTOMER_PARTS_MAX), (10, 5))?;
        Some(Customer {
            parts: polled.0.parts,
            poll_ms: 10,
            scan_ms: 5,
            trigger_to_verdict_us_p50: polled.0.trigger_to_verdict_us_p50.unwrap_or_default(),
            trigger_to_verdict_us_p99: polled.0.trigger_to_verdict_us_p99.unwrap_or_default(),
        })
    };
    let bench = sum_up(&report, memory, &probe, customer);
    match args.format {
        Format::Json => print_json(&bench)?,
        Format::Table => print(&told(&bench))?,
    }
    let kept = report.is_kept() && bench.lost == 0 && bench.wrong_part == 0 && bench.ok_after_deadline == 0;
    Ok(if kept { Exit::Done } else { Exit::Failed })
}

fn inspect(folder: &Path, model: &Path, rate: String, parts: u32, (poll_ms, scan_ms): (u32, u32)) -> anyhow::Result<(TwinReport, Memory)> {
    let plan = CellPlan {
        model,
        dataset: None,
        frame_px: CAMERA_PX,
        rate,
        count: parts,
        defect_share: 0.2,
        poll_ms,
        scan_ms,
        part_interval_ms_min: 20,
        deadline_ms: 200,
        // Sixteen results are kept for so long at most: at full rate an engine of a few milliseconds needs its slots back soon.
        accept_hold_ms: 80,
        historian: None,
    };
    let cell = virtual_cell::write(&folder.join("cell"), &plan)?;
    let mut watcher = MemoryWatcher::new(parts);
    let report = twin::run(&cell.settings, &mut watcher)?;
    watcher.screen.finish();
    Ok((report, watcher.memory))
}

/// What a station adds to the engine's time, microseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Overhead {
    pub(super) us_p50: u64,
    pub(super) us_p99: u64,
    pub(super) parts: usize,
    /// Of each round alone: how much chance there is in it.
    pub(super) us_p50_rounds: Vec<u64>,
    pub(super) us_p99_rounds: Vec<u64>,
}

impl Overhead {
    /// Of the parts of all rounds.
    pub(super) fn of(rounds: &[Vec<u64>]) -> Self {
        let at = |times: &[u64], percent| percentile(times, percent).unwrap_or_default();
        let all = rounds.concat();
        let of_rounds = |percent| rounds.iter().map(|times| at(times, percent)).collect();
        Self {
            us_p50: at(&all, 50.0),
            us_p99: at(&all, 99.0),
            parts: all.len(),
            us_p50_rounds: of_rounds(50.0),
            us_p99_rounds: of_rounds(99.0),
        }
    }
}

/// Measures it on a cell in this folder, at 20 parts a second, with a model taught from rendered parts. Returns the times, microseconds.
pub(super) fn overhead_of_a_cell(folder: &Path, parts: u32) -> anyhow::Result<Vec<u64>> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let taught = taught_from_rendered_parts()?;
    let model = folder.join("model");
    package::write(&model, &taught.manifest, &taught.files, true)?;
    let (report, _) = inspect(folder, &model, "20.0".into(), parts, (0, 0))?;
    Ok(report.details.iter().filter_map(overhead_us).collect())
}

fn sum_up(report: &TwinReport, memory: Memory, probe: &[Duration], customer: Option<Customer>) -> StationBench {
    let at = |times: &[u64], percent| percentile(times, percent).unwrap_or_default();
    let engine: Vec<u64> = report.details.iter().filter_map(|part| part.engine_us).collect();
    let wire: Vec<u64> = report.details.iter().filter_map(|part| part.trigger_to_verdict_us).collect();
    let overhead: Vec<u64> = report.details.iter().filter_map(overhead_us).collect();
    StationBench {
        parts: report.parts,
        lost: report.lost.unwrap_or_default(),
        wrong_part: report.wrong_part.unwrap_or_default(),
        ok_after_deadline: report.ok_after_deadline,
        late: report.late.unwrap_or_default(),
        not_decidable: report.outcomes.not_decidable,
        probe_us_p99: percentile(probe, 99.0).unwrap_or_default().as_micros() as u64,
        probe_stalls_over_20ms: probe.iter().filter(|late| **late > STALL).count(),
        engine_us_p50: at(&engine, 50.0),
        engine_us_p99: at(&engine, 99.0),
        trigger_to_verdict_us_p50: at(&wire, 50.0),
        trigger_to_verdict_us_p99: at(&wire, 99.0),
        overhead_us_p50: at(&overhead, 50.0),
        overhead_us_p99: at(&overhead, 99.0),
        rss_mib_at_1000: memory.at_1000,
        rss_mib_end: memory.end,
        promises_kept: report.is_kept(),
        customer,
    }
}

/// Time on the wire less the part's own time in the engine.
fn overhead_us(part: &PartRun) -> Option<u64> {
    Some(part.trigger_to_verdict_us?.saturating_sub(part.engine_us?))
}

/// Resident memory of the station's process, MiB.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    at_1000: f64,
    end: f64,
}

/// Follows the station's memory while parts go by.
struct MemoryWatcher {
    screen: Screen,
    station: Option<u32>,
    total: usize,
    parts: usize,
    memory: Memory,
}

impl MemoryWatcher {
    fn new(parts: u32) -> Self {
        let screen = Screen::new();
        screen.begin(Stage::Line, parts as usize);
        Self {
            screen,
            station: None,
            total: parts as usize,
            parts: 0,
            memory: Memory::default(),
        }
    }
}

impl Watcher for MemoryWatcher {
    fn station_started(&mut self, process_id: u32) {
        self.station = Some(process_id);
    }

    fn part(&mut self, _: &PartRun) {
        self.parts += 1;
        self.screen.advance(1);
        let due = self.parts.is_multiple_of(MEMORY_EVERY) || self.parts == self.total;
        if due && let Some(mib) = self.station.and_then(rss_mib) {
            self.memory.end = mib;
            if self.parts <= MEMORY_AT {
                self.memory.at_1000 = mib;
            }
        }
    }

    fn stopped(&self) -> bool {
        self.screen.stopped()
    }
}

/// `VmRSS` of a process, MiB.
fn rss_mib(process_id: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// A thread that wants to wake up every millisecond: how late it does tells what the host does to everybody.
struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Probe {
    fn start() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let probe = move || {
            let mut lates = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let before = Instant::now();
                std::thread::sleep(PROBE);
                lates.push(before.elapsed().saturating_sub(PROBE));
            }
            lates
        };
        let thread = std::thread::Builder::new()
            .name("probe".into())
            .spawn(probe)
            .context("failed to start the timer probe")?;
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn told(bench: &StationBench) -> String {
    let ms = |us: u64| format!("{:.2} ms", us as f64 / 1e3);
    let row = |name: &str, p50: u64, p99: u64| vec![name.into(), ms(p50), ms(p99)];
    let mut rows = vec![
        row(
            "trigger to verdict",
            bench.trigger_to_verdict_us_p50,
            bench.trigger_to_verdict_us_p99,
        ),
        row("engine", bench.engine_us_p50, bench.engine_us_p99),
        row("what the station adds", bench.overhead_us_p50, bench.overhead_us_p99),
        vec!["late timer of this machine".into(), String::new(), ms(bench.probe_us_p99)],
    ];
    if let Some(customer) = &bench.customer {
        rows.push(row(
            "with 10 ms poll, 5 ms scan",
            customer.trigger_to_verdict_us_p50,
            customer.trigger_to_verdict_us_p99,
        ));
    }
    format!(
        "{}\n{} parts: {} lost, {} wrong part, {} ok after the deadline, {} late, {} stalls of this machine over 20 ms\n\
         memory: {:.1} MiB, at the end {:.1} MiB\n",
        table(&["", "p50", "p99"], rows),
        bench.parts,
        bench.lost,
        bench.wrong_part,
        bench.ok_after_deadline,
        bench.late,
        bench.probe_stalls_over_20ms,
        bench.rss_mib_at_1000,
        bench.rss_mib_end,
    )
}
