//! `takt bench record`: what records cost beside bare SQLite, and whether a busy disk reaches the verdicts.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use rusqlite::{Connection, params};
use serde::Serialize;

use super::bench_station::{Overhead, overhead_of_a_cell};
use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::flow;
use crate::historian::ingest;
use crate::historian::sqlite::SqliteStore;
use crate::historian::store::Store;
use crate::journal::database::{Journal, NewRecord};
use crate::journal::record_table::{self, Inserter, Stored, TABLES};
use crate::rpc::proto::{self, ClockQuality, record::Body};

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// Folder on the disk to be measured; everything made there is removed again
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Parts that are recorded in each round
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    parts: u32,
    /// Parts of a commit
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// Parts on the virtual line with the disk at rest, and again with the disk busy, three times each; 0 leaves that out
    #[arg(long, default_value_t = 300, value_name = "N")]
    line_parts: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Rounds; each does everything once, so that a slow moment of the machine hits all alike.
const ROUNDS: usize = 5;

/// How often the virtual line runs with the disk at rest and then with the disk busy.
const LINE_ROUNDS: usize = 3;

/// What keeps the disk busy writes so much between two fsyncs.
const BUSY_BYTES: usize = 4 << 20;

/// Of a thread that runs when nobody else wants to.
const LOWEST_PRIORITY: i32 = 19;

/// Everything measured. Rates are medians of the rounds, parts per second on the disk; ratios are medians of the rounds' own ratios.
#[derive(Debug, Serialize)]
struct RecordBench {
    parts: u32,
    batch: u32,
    record_bytes: usize,
    /// The station's journal.
    journal_parts_per_s: f64,
    /// The same rows, made beforehand, inserted into the same tables and indexes by rusqlite alone, with the same batches and fsyncs.
    journal_bare_parts_per_s: f64,
    journal_ratio: f64,
    /// Beside the same bytes in one table that nothing is found in but by number.
    journal_ratio_one_table: f64,
    /// The historian's embedded store.
    ingest_parts_per_s: f64,
    /// As for the journal.
    ingest_bare_parts_per_s: f64,
    ingest_ratio: f64,
    ingest_ratio_one_table: f64,
    /// What the station adds to the engine's time, with the disk at rest and with another thread writing and syncing all the time. That thread
    /// yields the processor to whoever wants it: the disk is to be busy, not the cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    overhead_disk_at_rest: Option<Overhead>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overhead_disk_busy: Option<Overhead>,
    /// How often the busy thread synced meanwhile.
    busy_syncs: u64,
}

pub(super) fn run(args: &RecordArgs) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir_in(&args.dir).with_context(|| format!("failed to create a folder in {}", args.dir.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start a runtime")?;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        rounds.push(one_round(&folder.path().join(round.to_string()), args, &runtime)?);
    }
    let (mut at_rest, mut while_busy, mut busy_syncs) = (Vec::new(), Vec::new(), 0);
    let line_rounds = if args.line_parts == 0 { 0 } else { LINE_ROUNDS };
    for round in 0..line_rounds {
        let cell = |name: &str| folder.path().join(format!("{name}-{round}"));
        at_rest.push(overhead_of_a_cell(&cell("rest"), args.line_parts)?);
        let busy = BusyDisk::start(&folder.path().join("busy"))?;
        while_busy.push(overhead_of_a_cell(&cell("busy-cell"), args.line_parts)?);
        busy_syncs += busy.stop();
    }
    let overhead = |rounds: &[Vec<u64>]| (!rounds.is_empty()).then(|| Overhead::of(rounds));
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let rate = |of: &dyn Fn(&Round) -> Duration| f64::from(args.parts) / median(&|round| of(round).as_secs_f64());
    let bench = RecordBench {
        parts: args.parts,
        batch: args.batch,
        record_bytes: rounds.first().map_or(0, |round| round.record_bytes),
        journal_parts_per_s: rate(&|round| round.journal),
        journal_bare_parts_per_s: rate(&|round| round.journal_bare),
        journal_ratio: median(&|round| round.journal_bare.as_secs_f64() / round.journal.as_secs_f64()),
        journal_ratio_one_table: median(&|round| round.one_table.as_secs_f64() / round.journal.as_secs_f64()),
        ingest_parts_per_s: rate(&|round| round.ingest),
        ingest_bare_parts_per_s: rate(&|round| round.ingest_bare),
        ingest_ratio: median(&|round| round.ingest_bare.as_secs_f64() / round.ingest.as_secs_f64()),
        ingest_ratio_one_table: median(&|round| round.one_table.as_secs_f64() / round.ingest.as_secs_f64()),
        overhead_disk_at_rest: overhead(&at_rest),
        overhead_disk_busy: overhead(&while_busy),
        busy_syncs,
    };
    match args.format {
        Format::Json => print_json(&bench)?,
        Format::Table => print(&told(&bench))?,
    }
    Ok(Exit::Done)
}

/// Times of one round.
struct Round {
    journal: Duration,
    journal_bare: Duration,
    ingest: Duration,
    ingest_bare: Duration,
    one_table: Duration,
    record_bytes: usize,
}

fn one_round(folder: &Path, args: &RecordArgs, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Round> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let parts: Vec<NewRecord> = (1..=u64::from(args.parts))
        .map(|number| part(number, number.is_multiple_of(10), flow::unix_now_ns()))
        .collect();
    let (mut journal, _) = Journal::open(&folder.join("journal"), "bench", 1)?;
    let (mut batches, mut time) = (Vec::new(), Duration::ZERO);
    for batch in parts.chunks(args.batch as usize) {
        let started = Instant::now();
        let appended = journal.append(batch)?;
        time += started.elapsed();
        batches.push(appended.stored);
    }
    let journal_bare = bare(&folder.join("bare.sqlite"), &batches)?;
    let ingest = ingest_all(&folder.join("historian.sqlite"), &batches, runtime)?;
    let ingest_bare = bare(&folder.join("bare-2.sqlite"), &batches)?;
    let one_table = one_table(&folder.join("one-table.sqlite"), &batches)?;
    let bytes: usize = batches.iter().flatten().map(|stored| stored.bytes.len()).sum();
    Ok(Round {
        journal: time,
        journal_bare,
        ingest,
        ingest_bare,
        one_table,
        record_bytes: bytes / args.parts as usize,
    })
}

fn database(file: &Path, tables: &str) -> anyhow::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(tables)?;
    Ok(connection)
}

/// The same rows in the same tables, without whatever makes them and looks after them.
fn bare(file: &Path, batches: &[Vec<Arc<Stored>>]) -> anyhow::Result<Duration> {
    let mut connection = database(file, TABLES)?;
    let chain = record_table::chain(&connection, "bench", 1)?;
    let started = Instant::now();
    for batch in batches {
        let transaction = connection.transaction()?;
        let mut inserter = Inserter::new(&transaction, chain);
        for stored in batch {
            inserter.insert(stored)?;
        }
        drop(inserter);
        transaction.commit()?;
    }
    Ok(started.elapsed())
}

/// The same bytes, by their number, in one table without an index.
fn one_table(file: &Path, batches: &[Vec<Arc<Stored>>]) -> anyhow::Result<Duration> {
    let mut connection = database(file, "CREATE TABLE records (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT")?;
    let started = Instant::now();
    for batch in batches {
        let transaction = connection.transaction()?;
        for stored in batch {
            transaction
                .prepare_cached("INSERT INTO records (id, bytes) VALUES (?1, ?2)")?
                .execute(params![stored.sequence as i64, stored.bytes])?;
        }
        transaction.commit()?;
    }
    Ok(started.elapsed())
}

/// As the historian's service does it: each batch is checked and committed before the next is taken.
fn ingest_all(file: &Path, batches: &[Vec<Arc<Stored>>], runtime: &tokio::runtime::Runtime) -> anyhow::Result<Duration> {
    let store = SqliteStore::open(file)?;
    let chain = ingest::chain_of(&proto::Hello {
        station: "bench".into(),
        epoch: 1,
        next_sequence: 1,
        written_below: 1,
        format_version: ingest::FORMAT_VERSION,
        ..proto::Hello::default()
    })?;
    let mut received: Vec<proto::RecordBatch> = batches.iter().map(|batch| on_the_wire(batch)).collect();
    let started = Instant::now();
    for batch in received.drain(..) {
        runtime.block_on(store.commit(ingest::read_batch(&chain, batch)?))?;
    }
    Ok(started.elapsed())
}

fn on_the_wire(batch: &[Arc<Stored>]) -> proto::RecordBatch {
    proto::RecordBatch {
        lane: proto::Lane::Backlog.into(),
        first_sequence: batch.first().map_or(0, |stored| stored.sequence),
        records: batch.iter().map(|stored| stored.bytes.clone()).collect(),
    }
}

/// A part as stations record it: one view, with a finding if it is a reject.
pub(super) fn part(number: u64, is_reject: bool, triggered_unix_ns: i64) -> NewRecord {
    let outcome = proto::Outcome {
        verdict: if is_reject { proto::Verdict::NotOk } else { proto::Verdict::Ok }.into(),
        reason: u32::from(is_reject),
    };
    let finding = proto::Finding {
        class: "anomaly".into(),
        score: 1.5,
        x: 10,
        y: 20,
        width: 30,
        height: 40,
        area_px: 600,
    };
    let view = proto::View {
        inspection: "surface".into(),
        camera: "top".into(),
        frame_counter: Some(number),
        exposed_us: 40,
        stamp: None,
        outcome: Some(outcome),
        score: Some(0.5),
        threshold: Some(1.0),
        findings: if is_reject { vec![finding] } else { Vec::new() },
        model: None,
    };
    let body = Body::Part(Box::new(proto::Part {
        part_sequence: number,
        cycle_id: Some(number as u32),
        plc_session: 1,
        boot_id: 1,
        acquisition_id: number as u32,
        result_id: number as u32,
        encoder: (number * 1000) as u32,
        serial: format!("SN{number:010}"),
        recipe: 1,
        recipe_name: "bench".into(),
        config_checksum: 0xC0DE,
        models: vec![proto::Model {
            name: "surface".into(),
            version: "1".into(),
            sha256: vec![7; 32],
        }],
        outcome: Some(outcome),
        delivery: proto::Delivery::Shown.into(),
        triggered_unix_ns,
        deadline_us: 200_000,
        stages: Some(proto::StageTimes {
            frame_us: 700,
            queue_us: 20,
            preprocess_us: 500,
            infer_us: 15_000,
            postprocess_us: 40,
            total_us: 16_500,
        }),
        views: vec![view],
        evidence_share: if is_reject { 1.0 } else { 0.01 },
        ..proto::Part::default()
    }));
    NewRecord {
        body,
        recorded_unix_ns: triggered_unix_ns,
        clock_quality: ClockQuality::Synchronised,
    }
}

/// A thread that writes and syncs without pause.
struct BusyDisk {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl BusyDisk {
    fn start(file: &Path) -> anyhow::Result<Self> {
        let mut into = File::create(file).with_context(|| format!("failed to create {}", file.display()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let write = move || {
            // Without this the processor is shared, too; that costs, and is not what is measured.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST_PRIORITY);
            let bytes = vec![0xA5; BUSY_BYTES];
            let mut syncs = 0;
            while !stopped.load(Ordering::Relaxed) {
                // The same place again and again, so that the disk does not fill.
                let written = std::io::Seek::rewind(&mut into)
                    .and_then(|()| into.write_all(&bytes))
                    .and_then(|()| into.sync_all());
                syncs += u64::from(written.is_ok());
            }
            syncs
        };
        let thread = std::thread::Builder::new()
            .name("busy-disk".into())
            .spawn(write)
            .context("failed to start a thread")?;
        Ok(Self { stop, thread })
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn told(bench: &RecordBench) -> String {
    use std::fmt::Write as _;

    let row = |name: &str, rates: [f64; 2], ratios: [f64; 2]| {
        let (rates, ratios) = (rates.map(|rate| format!("{rate:.0}")), ratios.map(|ratio| format!("{ratio:.2}")));
        [vec![name.into()], rates.to_vec(), ratios.to_vec()].concat()
    };
    let journal = [bench.journal_ratio, bench.journal_ratio_one_table];
    let ingest = [bench.ingest_ratio, bench.ingest_ratio_one_table];
    let rows = vec![
        row("journal", [bench.journal_parts_per_s, bench.journal_bare_parts_per_s], journal),
        row("historian", [bench.ingest_parts_per_s, bench.ingest_bare_parts_per_s], ingest),
    ];
    let mut text = table(&["parts/s on the disk", "takt", "bare SQLite", "ratio", "ratio to one table"], rows);
    for (name, overhead) in [("at rest", &bench.overhead_disk_at_rest), ("busy", &bench.overhead_disk_busy)] {
        if let Some(overhead) = overhead {
            let ms = |us: &u64| format!("{:.2}", *us as f64 / 1e3);
            let rounds = |of: &[u64]| of.iter().map(ms).collect::<Vec<_>>().join(", ");
            let _ = write!(
                text,
                "\nwhat the station adds, disk {name}: p50 {} ms ({}), p99 {} ms ({})",
                ms(&overhead.us_p50),
                rounds(&overhead.us_p50_rounds),
                ms(&overhead.us_p99),
                rounds(&overhead.us_p99_rounds)
            );
        }
    }
    text.push('\n');
    text
}
