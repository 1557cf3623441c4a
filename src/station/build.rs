//! Configuration becomes a running station.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::commands::{self, Commands, Orders};
use super::configuration::Configuration;
use super::departures::Departures;
use super::engines::{self, EngineJob, InspectionPlan, ModelPorts};
use super::error::StationError;
use super::gate_thread;
use super::life::Station;
use super::line_thread::{Controllers, LineInput, LineThread, Recorded, Report};
use super::model_loader::{ModelLoader, Surroundings};
use super::models;
use super::outside::{PlcWire, cameras, controllers_server, facts, forwarder, modbus};
use super::part_finder::PartFinder;
use super::probe::Probe;
use super::recording::Keeping;
use super::recovery::{self, Recovery};
use super::reporter::{self, ReportFormat};
use super::threads::{Control, StageWatch, spawn, spawn_line};
use super::undelivered::Undelivered;
use crate::config::station::{InspectionConfig, StationConfig};
use crate::flow::{self, NothingReceived, Receiver, Sender, WhenFull, bounded};
use crate::journal::black_box::BlackBox;
use crate::journal::database::Journal;
use crate::journal::evidence::FramePlaces;
use crate::journal::log::RecordLog;
use crate::journal::numbers::Numbers;
use crate::line::config::TriggerSource;
use crate::line::{Line, Memory};
use crate::part::{Delivery, PartRecord};
use crate::plc::Shown;
use crate::telemetry::endpoint;
use crate::telemetry::{LineEvents, Metrics};

/// Things that may wait for the line thread. It never stands still, so senders wait for microseconds at most.
const INPUTS_MAX: usize = 1024;

/// Frames that may wait for an engine: as many as there can be open parts, for a few cameras.
const JOBS_MAX: usize = 64;

/// Lines that may wait for whoever reads standard output; beyond that the newest are not printed, and counted.
const REPORTS_MAX: usize = 65_536;

/// Records that may wait on their way to the journal; beyond that the newest are dropped and counted. They are in the black box all the same.
const RECORDS_MAX: usize = 65_536;

/// A disk that does not take numbers is asked again after this time.
const NUMBERS_RETRY: Duration = Duration::from_secs(1);

/// Name of the black box in `runtime_directory`.
pub const BLACK_BOX: &str = "black_box";

/// What an earlier life left, open for this one.
struct Past {
    numbers: Numbers,
    black_box: BlackBox,
    journal: Journal,
    /// Which parts have left.
    departures: Departures,
    memory: Memory,
    /// Parts that may not have been recorded.
    unreported: Vec<PartRecord>,
}

impl Past {
    fn open(config: &StationConfig) -> Result<Self, StationError> {
        let before = Numbers::read(&config.state_directory, flow::unix_now_ns().unsigned_abs() / 1_000_000_000)?;
        let numbers = before.next_start();
        numbers.write(&config.state_directory)?;
        let (mut black_box, recovered) = BlackBox::open(&config.runtime_directory.join(BLACK_BOX), numbers.epoch)?;
        let (journal, found) = Journal::open(&config.journal.directory, &config.id, numbers.epoch)?;
        let Recovery {
            memory,
            closed,
            unreported,
            reported_below,
        } = recovery::recover(&config.id, &before, &numbers, &recovered, &found.recent_parts);
        for (record, counts) in &closed {
            black_box.write_decided(record, counts);
        }
        Ok(Self {
            numbers,
            black_box,
            journal,
            departures: Departures::new(reported_below),
            memory,
            unreported,
        })
    }
}

/// Starts a station. `control` is told what happens to it. `restarted`: it failed a moment ago, and the PLC is to know.
///
/// # Errors
/// When a part of it cannot be set up. Nothing runs then.
#[allow(clippy::too_many_lines, reason = "one list of what a station is made of")]
pub fn start(
    configuration: &Configuration,
    format: ReportFormat,
    output: Box<dyn Write + Send>,
    control: &Sender<Control>,
    restarted: bool,
) -> Result<Station, StationError> {
    let config = &*configuration.in_force();
    let Past {
        numbers,
        black_box,
        journal,
        departures,
        mut memory,
        unreported,
    } = Past::open(config)?;
    let models = models::at_start(config)?;
    let (first, known) = (Arc::clone(&models.first), models.known.clone());
    let line_config = config.line_config(first.config_checksum);
    let deadline = line_config.deadline;
    let exposes = matches!(line_config.trigger_source, TriggerSource::Plc { .. });
    memory.stage_restarted = restarted;
    let line = Line::new(line_config, memory, flow::now()).with_alarms(config.alarms);

    let (inputs, line_inputs) = bounded("line/inputs", INPUTS_MAX, WhenFull::Block);
    let (jobs, engine_jobs) = bounded("engine/jobs", JOBS_MAX, WhenFull::DropNewest);
    let (reports, to_print) = bounded("reports", REPORTS_MAX, WhenFull::DropNewest);
    let (records, to_record) = bounded("records", RECORDS_MAX, WhenFull::DropNewest);
    let (numbers_wanted, numbers_in) = bounded("numbers", 1, WhenFull::DropNewest);
    let shown: Shown = Arc::new(ArcSwap::from_pointee(line.image().clone()));
    let metrics = Arc::new(Metrics::new());
    let stop = CancellationToken::new();

    // What can fail comes first, so that nothing is half running.
    let mut threads = Vec::new();
    if let Some(address) = config.metrics {
        threads.push(("metrics", endpoint::start(address, Arc::clone(&metrics), stop.clone())?));
    }
    let cameras = cameras(config, &inputs)?;
    let gate = own_gate(config, &inputs, &stop, control, &mut threads)?;
    let (plc, result_port) = modbus(config, &shown, &inputs, control)?;
    if let PlcWire::Client(plc) = &plc {
        metrics.polls_plc(plc.counters());
    }
    if let PlcWire::Server(plc) = &plc {
        let _ = reports.send(Report::Listening(plc.address()));
    }
    tell_again(unreported, &plc, &reports, &records);

    let log: Arc<dyn RecordLog> = Arc::new(journal.reader()?);
    let keeping = Keeping {
        journal,
        models: known,
        departures: departures.clone(),
        line: inputs.clone(),
        metrics: Arc::clone(&metrics),
    };
    let (mut output, printed) = (output, departures.clone());
    let print = move || reporter::run(&to_print, format, &mut output, &printed);
    threads.push(("reporter", spawn("reporter", control, print)?));
    threads.extend(keeping.start(config, to_record, control)?);
    threads.extend(forwarder(config, &log, &inputs, &stop, control)?);
    let controllers = Controllers::default();
    let around = Surroundings {
        line: inputs.clone(),
        records: records.clone(),
        shown: Arc::clone(&shown),
        metrics: Arc::clone(&metrics),
    };
    let (loader, model_ports, desk) = ModelLoader::new(configuration, models, around);
    configuration.serve(&desk);
    threads.push(("models", loader.start(control)?));
    let served = (facts(config, numbers.epoch), Arc::clone(&desk));
    if let Some(server) = controllers_server(config, served, &shown, &controllers, log, &inputs, &stop)? {
        let _ = reports.send(Report::Serving(server.address));
        threads.push(("grpc", server.thread));
    }
    let (state_directory, granted) = (config.state_directory.clone(), inputs.clone());
    let keep = move || keep_numbers(&numbers_in, &state_directory, &granted);
    threads.push(("numbers", spawn("numbers", control, keep)?));
    let (orders, executor) = commands(config, &inputs, control)?;
    threads.push(("commands", executor));
    let probes = probes(config);
    threads.extend(workers(config, &probes, model_ports, &engine_jobs, &inputs, control)?);

    let camera_names: Vec<String> = config.cameras.iter().map(|camera| camera.name.clone()).collect();
    let line_thread = LineThread {
        line,
        black_box,
        shown: Arc::clone(&shown),
        inputs: line_inputs,
        jobs,
        models: vec![first],
        reports,
        records,
        orders,
        numbers_wanted,
        numbers,
        departures: departures.clone(),
        events: LineEvents::new(camera_names.clone(), Arc::clone(&metrics)),
        metrics: Arc::clone(&metrics),
        camera_names,
        views: config.inspections().map(|inspection| inspection.camera).collect(),
        ok_share: config.journal.ok_share,
        places: FramePlaces::default(),
        controllers,
        undelivered: Undelivered::new(result_port),
        exposing: if exposes { cameras.clone() } else { Vec::new() },
        gate,
    };
    Ok(Station {
        line: spawn_line(line_thread, shown, control)?,
        inputs,
        threads,
        cameras,
        plc,
        stop,
        deadline,
        state_directory: config.state_directory.clone(),
        departures,
        workers_starting: config.engine.workers,
        probes,
        metrics,
        engine: config.engine,
        desk,
    })
}

/// Who carries out what the PLC commands, and where orders are given.
fn commands(config: &StationConfig, line: &Sender<LineInput>, control: &Sender<Control>) -> Result<(Orders, JoinHandle<()>), StationError> {
    let (orders, ordered) = commands::orders();
    let commands = Commands::new(config, line.clone());
    Ok((orders, spawn("commands", control, move || commands.run(&ordered))?))
}

/// The gate, where the station moves it, and its threads.
fn own_gate(
    config: &StationConfig,
    inputs: &Sender<LineInput>,
    stop: &CancellationToken,
    control: &Sender<Control>,
    threads: &mut Vec<(&'static str, JoinHandle<()>)>,
) -> Result<Option<gate_thread::GateLink>, StationError> {
    let Some(gate) = &config.gate else { return Ok(None) };
    let (link, own) = gate_thread::start(gate, inputs.clone(), stop, control)?;
    threads.extend(own);
    let answered_within = config.plc.polled().map(|polled| polled.write_max);
    Ok(Some(link.with_trigger_age_max(answered_within)))
}

/// Parts of an earlier life that may not have left it.
fn tell_again(unreported: Vec<PartRecord>, plc: &PlcWire, reports: &Sender<Report>, records: &Sender<Recorded>) {
    for mut record in unreported {
        if matches!(plc, PlcWire::Client(_)) && record.result_id != 0 {
            // Whoever knew better is gone.
            record.delivery = Some(Delivery::Unconfirmed);
        }
        let record = Arc::new(record);
        let _ = reports.send(Report::Part(Arc::clone(&record)));
        let _ = records.send(Recorded::again(record));
    }
}

fn probes(config: &StationConfig) -> Vec<Probe> {
    (1..=config.engine.workers)
        .map(|number| Probe::of_engine(number, flow::now()))
        .collect()
}

fn workers(
    config: &StationConfig,
    probes: &[Probe],
    models: Vec<ModelPorts>,
    jobs: &Receiver<EngineJob>,
    line: &Sender<LineInput>,
    control: &Sender<Control>,
) -> Result<Vec<(&'static str, JoinHandle<()>)>, StationError> {
    let finders: Vec<_> = config
        .locators
        .iter()
        .map(|locator| Arc::new(PartFinder::new(locator.clone())))
        .collect();
    let plan = |inspection: &InspectionConfig| {
        let camera = config.cameras.get(inspection.camera);
        InspectionPlan {
            name: inspection.name.clone(),
            camera: camera.map_or_else(String::new, |camera| camera.name.clone()),
            finder: inspection.locator.and_then(|locator| finders.get(locator).cloned()),
            rules: inspection.rules.clone(),
            calibrated_px: camera.and_then(|camera| camera.calibrated_px),
            stamp: camera.and_then(|camera| camera.stamp),
        }
    };
    let plans = Arc::new(config.inspections().map(plan).collect::<Vec<_>>());
    let start = |(index, (probe, models)): (usize, (&Probe, ModelPorts))| {
        let control = control.clone();
        let watch = StageWatch::new("engine", &control);
        let state = move |state| {
            let _ = &watch;
            control.send(Control::Worker(state)).is_ok()
        };
        let thread = engines::start(
            (index + 1, probe.clone()),
            Arc::clone(&plans),
            config.engine.order,
            models,
            jobs.clone(),
            line.clone(),
            state,
        )?;
        Ok(("engine", thread))
    };
    probes.iter().zip(models).enumerate().map(start).collect()
}

/// Persists numbers whenever the line asks for more, and tells it when they are on the disk.
fn keep_numbers(wanted: &Receiver<Numbers>, folder: &Path, line: &Sender<LineInput>) {
    while let Some(mut numbers) = wanted.receive() {
        while let Err(error) = numbers.write(folder) {
            tracing::error!(%error, "numbers run out unless the disk takes them; trying again");
            match wanted.receive_timeout(NUMBERS_RETRY) {
                Ok(newer) => numbers = newer,
                Err(NothingReceived::TimedOut) => {}
                Err(NothingReceived::Closed) => return,
            }
        }
        if line.send(LineInput::Granted(numbers)).is_err() {
            return;
        }
    }
}
