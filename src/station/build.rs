//! Configuration becomes a running station, and is taken down again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::commands::{self, Commands, Orders};
use super::configuration::Configuration;
use super::departures::Departures;
use super::engines::{self, EngineJob, EngineStartError, InspectionPlan, ModelPorts, WorkerState};
use super::forwarding::{self, HistorianError};
use super::gate_thread;
use super::line_thread::{Controllers, LineInput, LineThread, Recorded, Report};
use super::model_desk::ModelDesk;
use super::model_loader::{ModelLoader, Surroundings};
use super::models;
use super::part_finder::PartFinder;
use super::probe::Probe;
use super::recording::Keeping;
use super::recovery::{self, Recovery};
use super::reporter::{self, ReportFormat};
use super::undelivered::Undelivered;
use crate::capture::folder::FolderCamera;
use crate::capture::gstreamer::{GstCamera, GstSettings};
use crate::capture::v4l::{V4lCamera, V4lSettings};
use crate::capture::{Camera, CameraError, CaptureSink};
use crate::config::station::{CameraSource, CycleSource, EngineConfig, RecipeConfig, StationConfig};
use crate::flow::{self, NothingReceived, Receiver, Sender, WhenFull, bounded};
use crate::gate::gpio::GpioError;
use crate::journal::black_box::{BlackBox, BlackBoxError};
use crate::journal::database::{Journal, JournalError};
use crate::journal::evidence::FramePlaces;
use crate::journal::log::RecordLog;
use crate::journal::numbers::{Numbers, NumbersError};
use crate::line::config::TriggerSource;
use crate::line::event::ProviderStanding;
use crate::line::image::StationImage;
use crate::line::{Line, Memory};
use crate::model::activation::ModelsLoading;
use crate::model::registry::RegistryError;
use crate::model::signature::SignatureError;
use crate::part::{Delivery, PartRecord};
use crate::plc::modbus::client::{ClientConfig, ModbusClient, ResultPort};
use crate::plc::modbus::{ModbusConfig, ModbusServer, PlcError, SILENCE_MAX};
use crate::plc::{PlcEvent, Shown};
use crate::rpc::proto;
use crate::rpc::station_service::{self, Events, ServeError, StationFacts, StationPorts, StationServer};
use crate::rpc::tls::SecurityError;
use crate::telemetry::endpoint::{self, EndpointError};
use crate::telemetry::{LineEvents, Metrics, systemd};

/// Things that may wait for the line thread. It never stands still, so senders wait for microseconds at most.
const INPUTS_MAX: usize = 1024;

/// Frames that may wait for an engine: as many as there can be open parts, for a few cameras.
const JOBS_MAX: usize = 64;

/// Lines that may wait for whoever reads standard output; beyond that the newest are not printed, and counted.
const REPORTS_MAX: usize = 65_536;

/// Records that may wait on their way to the journal; beyond that the newest are dropped and counted. They are in the black box all the same.
const RECORDS_MAX: usize = 65_536;

/// How long after the last deadline the threads have to end.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A disk that does not take numbers is asked again after this time.
const NUMBERS_RETRY: Duration = Duration::from_secs(1);

/// Name of the black box in `runtime_directory`.
pub const BLACK_BOX: &str = "black_box";

/// Why a station cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The numbers cannot be kept.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// There is no black box.
    #[error(transparent)]
    BlackBox(#[from] BlackBoxError),
    /// Records cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Records cannot be sent.
    #[error(transparent)]
    Historian(#[from] HistorianError),
    /// Line controllers cannot be served.
    #[error(transparent)]
    Grpc(#[from] ServeError),
    /// A certificate or key is of no use.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// A camera cannot be set up.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// The PLC cannot be served.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The station's own gate cannot be moved.
    #[error(transparent)]
    Gpio(#[from] GpioError),
    /// Metrics cannot be offered.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// What is activated is not known.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A key that packages are signed with cannot be read.
    #[error(transparent)]
    Key(#[from] SignatureError),
    /// The engines cannot start.
    #[error(transparent)]
    Engine(#[from] EngineStartError),
    /// A model package cannot be read.
    #[error("failed to read model {path}: {source}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A model cannot tell what the recipe asks for.
    #[error("failed to use inspection {inspection}: {reason}")]
    Rules {
        /// Its name.
        inspection: String,
        /// What it cannot tell, with a remedy.
        reason: String,
    },
    /// A thread could not be made.
    #[error("failed to start thread {name}: {source}; check the limits of processes and memory")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What the supervisor waits for.
#[derive(Debug)]
pub enum Control {
    /// Somebody wants the station to stop.
    Stop,
    /// An engine worker says something of itself.
    Worker(WorkerState),
    /// The line thread ended.
    LineEnded,
    /// Another thread of the station panicked.
    StageFailed(&'static str),
}

/// How a station's life ended.
#[derive(Debug)]
pub enum Ended {
    /// As it was told to.
    Stopped,
    /// This thread panicked; the outputs are safe.
    Failed(&'static str),
}

/// A station that runs.
pub struct Station {
    line: JoinHandle<(Numbers, BlackBox)>,
    inputs: Sender<LineInput>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    cameras: Vec<Arc<dyn Camera>>,
    plc: PlcWire,
    stop: CancellationToken,
    deadline: Duration,
    state_directory: PathBuf,
    departures: Departures,
    workers_starting: usize,
    probes: Vec<Probe>,
    metrics: Arc<Metrics>,
    engine: EngineConfig,
    /// Where other models are asked for; as long as it is there, they may be.
    desk: Arc<ModelDesk>,
}

/// How the PLC is spoken to; ends with it.
enum PlcWire {
    /// It polls this station.
    Server(ModbusServer),
    /// This station polls it.
    Client(#[allow(dead_code, reason = "held for its end")] ModbusClient),
    /// There is none.
    None,
}

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
    Ok(Some(link))
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

impl Station {
    /// The probe of each engine: whether verdicts could get through.
    pub fn probes(&self) -> Vec<Probe> {
        self.probes.clone()
    }

    /// How long a stop may take: what is open has its outcome by then, and who has not ended is named.
    pub fn stop_max(&self) -> Duration {
        self.deadline + 3 * STOP_GRACE
    }

    /// How long after its trigger a part has its outcome.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs until it is told to stop, or its line fails, then calls `ending` and takes it down.
    ///
    /// # Errors
    /// When a model does not load or does not prove itself: there is nothing to inspect with.
    pub fn run(mut self, control: &Receiver<Control>, ending: &dyn Fn()) -> Result<Ended, StationError> {
        let (mut failure, mut failed_stage) = (None, None);
        loop {
            match control.receive() {
                Some(Control::Worker(WorkerState::Ready)) => {
                    self.workers_starting = self.workers_starting.saturating_sub(1);
                    if self.workers_starting == 0 {
                        self.metrics.models_loading(0);
                        self.desk.tell_loading(None);
                        let _ = self.inputs.send(LineInput::ModelsReady(true));
                        // The PLC's port is served since before there were engines.
                        systemd::ready("models proven, PLC served");
                    }
                }
                Some(Control::Worker(WorkerState::Loading { model, number, of })) => self.loading(&model, number, of),
                Some(Control::Worker(WorkerState::Failed(error))) if self.engine.is_required && error.is_of_provider() => {
                    // Nothing is inspected, and whoever looks at the PLC is told why: more than an end of the process would say.
                    tracing::error!(error = %told(&error), "the provider that [engine] requires does not run the models");
                    systemd::status("the provider that [engine] requires does not run the models; nothing is inspected");
                    let _ = self.inputs.send(LineInput::Provider(ProviderStanding::Missing));
                    self.desk.tell_loading(None);
                }
                Some(Control::Worker(WorkerState::Failed(error))) => {
                    failure = Some(error);
                    break;
                }
                Some(Control::StageFailed(stage)) => {
                    failed_stage = Some(stage);
                    break;
                }
                Some(Control::Stop) => {
                    systemd::stopping();
                    break;
                }
                // A line that failed is started anew: the process does not stop.
                Some(Control::LineEnded) | None => break,
            }
        }
        ending();
        let ended = self.take_down(control);
        match (failure, failed_stage) {
            (Some(error), _) => Err(error.into()),
            (None, Some(stage)) => Ok(Ended::Failed(stage)),
            (None, None) => Ok(ended),
        }
    }

    /// A model is being loaded: minutes, where a GPU's compiler has not seen it before.
    fn loading(&self, package: &Path, number: usize, of: usize) {
        let (model, provider) = (package.display(), self.engine.options.provider);
        tracing::info!(%model, number, of, %provider, "loading a model and proving it");
        systemd::status(&format!("loading model {number} of {of} on {provider}: {model}"));
        self.metrics.models_loading(of + 1 - number);
        self.desk.tell_loading(Some(ModelsLoading {
            number,
            of,
            model: package.into(),
            provider: provider.to_string(),
        }));
    }

    /// No new parts; open ones to their outcome; then everything ends, and whoever does not is named.
    fn take_down(self, control: &Receiver<Control>) -> Ended {
        let _ = self.inputs.send(LineInput::Stop);
        let mut line_is_over = self.line.is_finished() || line_ended(control, self.deadline + STOP_GRACE);
        if !line_is_over {
            tracing::error!("open parts did not get their outcome in time; they are not decidable");
            let _ = self.inputs.send(LineInput::Abort);
            line_is_over = line_ended(control, STOP_GRACE);
        }
        // It said so with its last breath: joining takes no time.
        let (ended, black_box) = if line_is_over {
            match self.line.join() {
                Ok((numbers, black_box)) => {
                    if let Err(error) = numbers.write(&self.state_directory) {
                        tracing::error!(%error, "the counters of this run are lost");
                    }
                    (Ended::Stopped, Some(black_box))
                }
                Err(_) => (Ended::Failed("line"), None),
            }
        } else {
            tracing::error!(thread = "line", "still running");
            (Ended::Stopped, None)
        };
        // From here on nobody talks to the line: its channels close, and with them the threads that wait on them.
        self.stop.cancel();
        drop(self.cameras);
        drop(self.plc);
        drop(self.desk);
        drop(self.inputs);
        let limit = flow::now() + STOP_GRACE;
        for (name, thread) in self.threads {
            while !thread.is_finished() && flow::now() < limit {
                std::thread::park_timeout(Duration::from_millis(2));
            }
            if !thread.is_finished() {
                tracing::error!(thread = name, "still running");
            } else if thread.join().is_err() {
                tracing::error!(thread = name, "panicked");
            }
        }
        // Now that the last records are printed and committed.
        if let Some(mut black_box) = black_box {
            black_box.write_reported_below(self.departures.below());
        }
        ended
    }
}

/// An error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// Waits until the line thread says that it ended.
fn line_ended(control: &Receiver<Control>, limit: Duration) -> bool {
    let until = flow::now() + limit;
    loop {
        match control.receive_timeout(until.since(flow::now())) {
            Ok(Control::LineEnded) | Err(NothingReceived::Closed) => return true,
            Ok(_) => {}
            Err(NothingReceived::TimedOut) => return false,
        }
    }
}

/// Whatever ends the line thread: a panic leaves outputs that pass no part, and the supervisor knows.
struct LineEnd {
    shown: Shown,
    control: Sender<Control>,
}

impl Drop for LineEnd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.shown.load();
            self.shown.store(Arc::new(StationImage {
                boot_id: last.boot_id,
                heartbeat: last.heartbeat,
                error: true,
                error_code: crate::line::error_code::ErrorCode::StageRestarted.code(),
                ..StationImage::default()
            }));
        }
        let _ = self.control.send(Control::LineEnded);
    }
}

fn spawn_line(line_thread: LineThread, shown: Shown, control: &Sender<Control>) -> Result<JoinHandle<(Numbers, BlackBox)>, StationError> {
    let end = LineEnd {
        shown,
        control: control.clone(),
    };
    let run_line = move || {
        let _end = end;
        line_thread.run()
    };
    Builder::new()
        .name("line".into())
        .spawn(run_line)
        .map_err(|source| StationError::Thread { name: "line", source })
}

/// Tells the supervisor when the thread that owns it panics.
struct StageWatch {
    name: &'static str,
    control: Sender<Control>,
}

impl StageWatch {
    fn new(name: &'static str, control: &Sender<Control>) -> Self {
        Self {
            name,
            control: control.clone(),
        }
    }
}

impl Drop for StageWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.control.send(Control::StageFailed(self.name));
        }
    }
}

pub(super) fn spawn(
    name: &'static str,
    control: &Sender<Control>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StationError> {
    let watch = StageWatch::new(name, control);
    let watched = move || {
        let _watch = watch;
        run();
    };
    Builder::new()
        .name(name.into())
        .spawn(watched)
        .map_err(|source| StationError::Thread { name, source })
}

fn cameras(config: &StationConfig, inputs: &Sender<LineInput>) -> Result<Vec<Arc<dyn Camera>>, CameraError> {
    let make = |(index, camera): (usize, &crate::config::station::CameraConfig)| -> Result<Arc<dyn Camera>, CameraError> {
        let inputs = inputs.clone();
        let sink: CaptureSink = Arc::new(move |capture| {
            let _ = inputs.send(LineInput::Capture(index, capture));
        });
        Ok(match &camera.source {
            CameraSource::Folder(folder) => Arc::new(FolderCamera::start(&camera.name, folder, sink)?),
            CameraSource::Device(device) => {
                let settings = V4lSettings {
                    name: camera.name.clone(),
                    device: device.clone(),
                    is_triggered: !matches!(config.trigger.source, TriggerSource::FreeRun { .. }),
                };
                Arc::new(V4lCamera::start(settings, sink)?)
            }
            CameraSource::Pipeline {
                description,
                clock,
                frames_held_max,
            } => {
                let settings = GstSettings {
                    name: camera.name.clone(),
                    source: description.clone(),
                    clock: *clock,
                    frames_held_max: *frames_held_max,
                    is_triggered: !matches!(config.trigger.source, TriggerSource::FreeRun { .. }),
                };
                Arc::new(GstCamera::start(settings, sink)?)
            }
        })
    };
    config.cameras.iter().enumerate().map(make).collect()
}

/// The wire to a PLC that speaks Modbus TCP, and where it takes results if the station writes them.
fn modbus(
    config: &StationConfig,
    shown: &Shown,
    line: &Sender<LineInput>,
    control: &Sender<Control>,
) -> Result<(PlcWire, Option<ResultPort>), PlcError> {
    let (to_line, watch) = (line.clone(), StageWatch::new("plc", control));
    let events = move |event: PlcEvent| {
        let _ = &watch;
        let _ = to_line.send(LineInput::Plc(event));
    };
    match &config.plc.cycle_source {
        CycleSource::Modbus { listen, writers } => {
            let plc_config = ModbusConfig {
                listen: *listen,
                writers: writers.clone(),
                tags: config.has_tag_registers(),
                silence_max: SILENCE_MAX,
            };
            let server = ModbusServer::start(&plc_config, Arc::clone(shown), events)?;
            Ok((PlcWire::Server(server), None))
        }
        CycleSource::PolledModbus(polled) => {
            let client_config = ClientConfig {
                connect: polled.connect,
                unit_id: polled.unit_id,
                layout: polled.layout(config.result.mode, config.has_tag_registers()),
                poll: config.plc.poll,
                response_timeout: polled.response_timeout,
                write_max: polled.write_max,
            };
            let line = line.clone();
            let delivered = move |delivered| drop(line.send(LineInput::Delivered(delivered)));
            let (client, port) = ModbusClient::start(client_config, Arc::clone(shown), events, delivered)?;
            Ok((PlcWire::Client(client), Some(port)))
        }
        CycleSource::Grpc => Ok((PlcWire::None, None)),
    }
}

/// The thread on which records go to the historian, where there is one.
fn forwarder(
    config: &StationConfig,
    log: &Arc<dyn RecordLog>,
    line: &Sender<LineInput>,
    stop: &CancellationToken,
    control: &Sender<Control>,
) -> Result<Option<(&'static str, JoinHandle<()>)>, StationError> {
    let Some(historian) = &config.historian else { return Ok(None) };
    let endpoint = forwarding::endpoint(historian)?;
    let (log, line, stop) = (Arc::clone(log), line.clone(), stop.clone());
    let forward = move || forwarding::run(&log, endpoint, &line, &stop);
    Ok(Some(("forwarder", spawn("forwarder", control, forward)?)))
}

/// What line controllers may know of the station.
fn facts(config: &StationConfig, epoch: u64) -> StationFacts {
    StationFacts {
        station: config.id.clone(),
        epoch,
        recipes: config.recipes.iter().map(summary).collect(),
    }
}

fn summary(recipe: &RecipeConfig) -> proto::RecipeSummary {
    proto::RecipeSummary {
        number: recipe.number.into(),
        name: recipe.name.clone(),
        revision: recipe.revision.clone(),
        inspections: recipe.inspections.iter().map(|inspection| inspection.name.clone()).collect(),
    }
}

/// The server for line controllers, where there is one.
fn controllers_server(
    config: &StationConfig,
    (facts, desk): (StationFacts, Arc<ModelDesk>),
    shown: &Shown,
    controllers: &Controllers,
    log: Arc<dyn RecordLog>,
    line: &Sender<LineInput>,
    stop: &CancellationToken,
) -> Result<Option<StationServer>, StationError> {
    let Some(grpc) = &config.grpc else { return Ok(None) };
    let secured = grpc.security.load()?;
    for warning in &secured.warnings {
        tracing::warn!("{warning}");
    }
    let events: Result<Events, _> = if config.plc.cycle_source == CycleSource::Grpc {
        let line = line.clone();
        Ok(Box::new(move |event| drop(line.send(LineInput::Plc(event)))))
    } else {
        Err(station_service::CYCLES_COME_FROM_PLC)
    };
    let ports = StationPorts {
        facts,
        shown: Arc::clone(shown),
        swapped: controllers.swapped.clone(),
        results: Arc::clone(&controllers.results),
        log: Some(log),
        events,
        access: secured.access,
        models: Some(desk),
        accept_hold: config.result.accept_hold,
        is_stand_in: false,
    };
    Ok(Some(station_service::serve(grpc.listen, secured.tls, ports, stop.clone())?))
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
    let plan = |inspection: &crate::config::station::InspectionConfig| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{WhenFull, bounded};

    #[test]
    fn a_panic_of_the_line_leaves_outputs_that_pass_no_part_and_is_told() {
        let passing = StationImage {
            boot_id: 7,
            heartbeat: 9,
            result_valid: true,
            accept: true,
            trigger_ready: true,
            ..StationImage::default()
        };
        let shown: Shown = Arc::new(ArcSwap::from_pointee(passing));
        let (control, happened) = bounded("control", 4, WhenFull::DropNewest);
        let end = LineEnd {
            shown: Arc::clone(&shown),
            control: control.clone(),
        };
        let line = std::thread::spawn(move || {
            let _end = end;
            std::panic::resume_unwind(Box::new("as if the line had panicked"));
        });
        assert!(line.join().is_err());
        assert!(matches!(happened.receive(), Some(Control::LineEnded)));
        let image = shown.load();
        assert_eq!((image.boot_id, image.heartbeat, image.error), (7, 9, true));
        assert!(!image.accept && !image.result_valid && !image.trigger_ready);

        let stage = spawn("numbers", &control, || std::panic::resume_unwind(Box::new("likewise"))).unwrap();
        assert!(stage.join().is_err());
        assert!(matches!(happened.receive(), Some(Control::StageFailed("numbers"))));
    }
}
