//! A run: the station as a child, the PLC and the cameras on their threads, and one place that hears them all.
//!
//! ```text
//!   plc thread ──Modbus TCP──> station (child) ──records──┐
//!       │ exposures                ▲ shared memory        ├──> news ──> this thread: watcher, faults of machines ──> oracle ──> report
//!       └──> camera thread ────────┘                      │
//!            plc thread ──────────────────────────────────┘
//! ```
//!
//! Bounds: at most [`NEWS`] pieces of news wait; facts grow with the number of parts, which is given.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::camera::{TwinCamera, TwinCameraError};
use super::camera_thread::{self, Mounted};
use super::child_process::{ChildProcess, StationLine};
use super::facts::{CycleKey, Exposure};
use super::historian_side::HistorianSide;
use super::model_oracle::{Answered, Swap};
use super::model_swaps::{ModelSwaps, SwapError};
use super::oracle::Finding;
use super::pictures::{PictureError, Pictures};
use super::plc_thread::{PlcLog, PlcNews, PlcThread};
use super::records;
use super::report::{PartRun, Remains, TwinReport, sum_up};
use super::schedule::{MachineFault, Schedule};
use super::settings::{CameraSettings, Settings};
use crate::flow::{NothingReceived, Receiver, Sender, WhenFull, bounded, now};
use crate::part::{Nanos, PartRecord};

/// Pieces of news that wait to be heard; then the tellers wait.
const NEWS: usize = 4096;

/// Side of the pictures that nobody looks at.
const MINIATURE_PX: u32 = 16;

/// How often the watcher is asked whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// How long the station may take to stop in order.
const STATION_STOP: Duration = Duration::from_secs(20);

/// How long records may take to the historian once the network stands.
const ARRIVAL: Duration = Duration::from_mins(2);

/// How long the last model that was asked for may take.
const SWAP_STOP: Duration = Duration::from_mins(5);

/// How long the PLC may take to end, and the last words of a killed station to arrive.
const PLC_STOP: Duration = Duration::from_secs(15);

/// Why a run failed: no verdict on the station's promises.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// There is nothing to show to the cameras.
    #[error(transparent)]
    Pictures(#[from] PictureError),
    /// A camera cannot be set up.
    #[error(transparent)]
    Camera(#[from] TwinCameraError),
    /// The station cannot be started.
    #[error("failed to start the station: {0}")]
    Start(std::io::Error),
    /// The historian or the network to it cannot be started.
    #[error("failed to start the historian: {0}; check [historian] of line.toml")]
    Historian(std::io::Error),
    /// There are no models to swap.
    #[error(transparent)]
    Swaps(#[from] SwapError),
    /// Nobody can ask the station for models.
    #[error(
        "failed to swap models: the station serves no line controllers, who could ask for them; add a [grpc] table with listen = \"127.0.0.1:PORT\" to its station.toml"
    )]
    NoDesk,
    /// What was recorded cannot be read.
    #[error("failed to look at the records: {0}")]
    Records(String),
    /// The station ended by itself.
    #[error("failed to keep the station running: it ended with {status}; its last words:\n{last_words}")]
    StationEnded {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its log.
        last_words: String,
    },
    /// No part got through.
    #[error("failed to run the line: {0}")]
    GaveUp(String),
    /// The system refused a thread.
    #[error("failed to start a thread: {0}")]
    Thread(std::io::Error),
}

/// Looks on while the line runs.
pub trait Watcher {
    /// The station runs as this process, for the first time or again.
    fn station_started(&mut self, process_id: u32) {
        let _ = process_id;
    }

    /// The gate decided about a part. What its record will say is there if it came already.
    fn part(&mut self, part: &PartRun) {
        let _ = part;
    }

    /// Something people should know.
    fn note(&mut self, note: &str) {
        let _ = note;
    }

    /// Whether the run is to stop.
    fn stopped(&self) -> bool {
        false
    }
}

/// What is heard.
enum News {
    Station(StationLine),
    Historian(StationLine),
    Plc(PlcNews),
    Swapped(String),
}

/// Runs the line and judges the station.
///
/// # Errors
/// When the line cannot be set up or no part gets through. Broken promises are no error but in the report.
pub fn run(settings: &Settings, watcher: &mut dyn Watcher) -> Result<TwinReport, TwinError> {
    let schedule = Arc::new(Schedule::new(settings.plan()));
    let areas = settings.cameras.iter().map(|camera| (camera.area.width, camera.area.height));
    // Without a camera of the twin's own there is still the truth about each part.
    let areas = areas.chain([(MINIATURE_PX, MINIATURE_PX)]);
    let each = Pictures::each(settings.frame_px);
    let load = |size| Pictures::load(settings.dataset.as_deref(), settings.seed, size, each, settings.defect_share > 0.0).map(Arc::new);
    let pictures = areas.map(load).collect::<Result<Vec<_>, _>>()?;
    let truth = Arc::clone(&pictures[pictures.len() - 1]);
    let (news, heard) = bounded("twin/news", NEWS, WhenFull::Block);
    let defect_of = |part| truth.of(&schedule.part(part)).and_then(|picture| picture.defect.clone());
    let mut line = Line::start(settings, &schedule, &pictures, news)?;
    let outcome = line.hear(&heard, &defect_of, watcher);
    let exposures = line.stop(&heard, watcher);
    let mut log = outcome?;
    if let Some(reason) = log.gave_up.take() {
        return Err(TwinError::GaveUp(reason));
    }
    let line_5 = line.line_5(settings, &log.boot_ids)?;
    let swaps = line.swaps.as_mut().map(ModelSwaps::take).unwrap_or_default();
    let undisturbed = line.kills == 0 && log.plc_restarts == 0 && !watcher.stopped();
    let remains = Remains {
        cycles: log.cycles,
        exposures,
        strays: log.strays,
        boot_ids: log.boot_ids,
        records: settings.start.is_some().then(|| std::mem::take(&mut line.records)),
        counts: log.counts.filter(|_| undisturbed),
        untriggered: log.untriggered,
        station_kills: line.kills,
        historian_kills: line.historian.as_ref().map_or(0, |historian| historian.kills),
        network_cuts: line.historian.as_ref().map_or(0, |historian| historian.cuts),
        plc_restarts: log.plc_restarts,
        line_5,
        swaps,
        swapped_inspection: settings.swaps.as_ref().map(|swaps| swaps.inspection.clone()).unwrap_or_default(),
        stopped: watcher.stopped(),
    };
    Ok(sum_up(&settings.terms(), remains, defect_of))
}

/// Whoever asks for other models, where they are to be swapped.
fn start_swaps(settings: &Settings, news: &Sender<News>) -> Result<Option<ModelSwaps>, TwinError> {
    if settings.faults.model_swaps == 0 {
        return Ok(None);
    }
    let asked = settings.swaps.as_ref().ok_or(TwinError::NoDesk)?;
    let news = news.clone();
    let told = move |swap: &Swap| {
        let answer = match &swap.answer {
            Answered::InForce { .. } => "is in force".to_owned(),
            Answered::Refused(why) => format!("is refused: {why}"),
            Answered::Nothing => "is asked for in vain: the station is gone".to_owned(),
        };
        let milliseconds = swap.answered.since(swap.asked).as_millis();
        let _ = news.send(News::Swapped(format!("{} {answer} ({milliseconds} ms)", swap.kind.text())));
    };
    Ok(Some(ModelSwaps::start(asked, settings.seed, told)?))
}

/// Of the historian's log only what is wrong is of interest here.
fn historian_said(line: &StationLine, watcher: &mut dyn Watcher) {
    if let StationLine::Log(line) | StationLine::Garbage(line) = line {
        watcher.note(&format!("historian: {line}"));
    }
}

/// Everything that runs. Dropping it ends the station and stops the PLC.
struct Line {
    config: Option<PathBuf>,
    deadline: Duration,
    station: Option<ChildProcess>,
    historian: Option<HistorianSide>,
    swaps: Option<ModelSwaps>,
    resume_at: Option<Nanos>,
    kills: u32,
    stop: Arc<AtomicBool>,
    news: Sender<News>,
    plc: Option<JoinHandle<()>>,
    /// They stay while the station runs.
    _cameras: Arc<Vec<Mounted>>,
    camera: Option<JoinHandle<Vec<Exposure>>>,
    /// Name of the station, and its journal.
    name: String,
    journal: PathBuf,
    records: Vec<PartRecord>,
    /// The first record of each cycle, by its place.
    by_cycle: HashMap<CycleKey, usize>,
}

impl Line {
    fn start(settings: &Settings, schedule: &Arc<Schedule>, pictures: &[Arc<Pictures>], news: Sender<News>) -> Result<Self, TwinError> {
        let mount = |(camera, pictures): (&CameraSettings, &Arc<Pictures>)| {
            let (width, height) = settings.frame_px;
            Ok(Mounted {
                camera: TwinCamera::start(&camera.socket, width, height, settings.format)?,
                settings: camera.clone(),
                frame_px: settings.frame_px,
                pictures: Arc::clone(pictures),
            })
        };
        let cameras: Result<Vec<Mounted>, TwinError> = settings.cameras.iter().zip(pictures).map(mount).collect();
        let cameras = Arc::new(cameras?);
        let (exposures, camera) =
            camera_thread::start(Arc::clone(&cameras), Arc::clone(schedule), settings.transfer).map_err(TwinError::Thread)?;
        let historian = settings.historian.as_ref();
        let historian = historian.map(|historian| HistorianSide::start(historian, &news, News::Historian));
        let historian = historian.transpose().map_err(TwinError::Historian)?;
        let swaps = start_swaps(settings, &news)?;
        let stop = Arc::new(AtomicBool::new(false));
        let tell = news.clone();
        let tell = Box::new(move |told| drop(tell.send(News::Plc(told))));
        let plc = PlcThread::new(settings.clone(), Arc::clone(schedule), exposures, tell, Arc::clone(&stop));
        let plc = thread::Builder::new()
            .name("twin-plc".into())
            .spawn(move || plc.run())
            .map_err(TwinError::Thread)?;
        Ok(Self {
            config: settings.start.clone(),
            deadline: settings.deadline,
            station: None,
            historian,
            swaps,
            resume_at: None,
            kills: 0,
            stop,
            news,
            plc: Some(plc),
            _cameras: cameras,
            camera: Some(camera),
            name: settings.station.clone(),
            journal: settings.journal.clone(),
            records: Vec::new(),
            by_cycle: HashMap::new(),
        })
    }

    /// Hears everyone until the PLC is done.
    fn hear(
        &mut self,
        heard: &Receiver<News>,
        defect_of: &dyn Fn(u32) -> Option<String>,
        watcher: &mut dyn Watcher,
    ) -> Result<PlcLog, TwinError> {
        self.start_station(watcher)?;
        loop {
            if watcher.stopped() {
                self.stop.store(true, Ordering::Relaxed);
            }
            self.resume_station();
            self.check_station()?;
            let mended = self.historian.as_mut().and_then(HistorianSide::mend).unwrap_or(TICK);
            let wait = self.resume_at.map_or(TICK, |at| at.since(now()).min(TICK)).min(mended);
            match heard.receive_timeout(wait) {
                Ok(News::Station(line)) => self.station_said(line, watcher),
                Ok(News::Historian(line)) => historian_said(&line, watcher),
                Ok(News::Plc(PlcNews::Gated(cycle))) => {
                    let record = self.by_cycle.get(&cycle.key).and_then(|place| self.records.get(*place));
                    watcher.part(&PartRun::new(&cycle, defect_of(cycle.part), record));
                    if let Some(historian) = self.historian.as_mut().filter(|historian| historian.is_cut_at(cycle.part)) {
                        let length = historian.cut();
                        watcher.note(&format!("the network to the historian is cut for {} s", length.as_secs_f64()));
                    }
                }
                Ok(News::Plc(PlcNews::Machine(fault))) => self.suffer(fault, watcher)?,
                Ok(News::Swapped(note) | News::Plc(PlcNews::Note(note))) => watcher.note(&note),
                Ok(News::Plc(PlcNews::Done(log))) => return Ok(*log),
                Err(_) => {
                    if self.plc.as_ref().is_none_or(JoinHandle::is_finished) && heard.is_empty() {
                        return Err(TwinError::GaveUp("the PLC's thread failed; please report it".into()));
                    }
                }
            }
        }
    }

    fn start_station(&mut self, watcher: &mut dyn Watcher) -> Result<(), TwinError> {
        if let Some(config) = &self.config {
            let arguments = ["run".into(), "--config".into(), config.clone().into_os_string()];
            let station = ChildProcess::start(&arguments, &self.news, News::Station).map_err(TwinError::Start)?;
            watcher.station_started(station.id());
            self.station = Some(station);
        }
        Ok(())
    }

    /// A station that ends without being asked is no station.
    fn check_station(&mut self) -> Result<(), TwinError> {
        let Some(station) = &mut self.station else { return Ok(()) };
        match station.exited() {
            Some(status) => Err(TwinError::StationEnded {
                status,
                last_words: station.last_words(),
            }),
            None => Ok(()),
        }
    }

    fn station_said(&mut self, line: StationLine, watcher: &mut dyn Watcher) {
        match line {
            StationLine::Part(record) => {
                if let Some(key) = CycleKey::of(&record) {
                    self.by_cycle.entry(key).or_insert(self.records.len());
                }
                self.records.push(*record);
            }
            StationLine::State { ready: true, .. } => watcher.note("station: ready"),
            StationLine::State { error_code: 0, .. } => watcher.note("station: not ready"),
            StationLine::State { error_code, .. } => watcher.note(&format!("station: not ready (ErrorCode {error_code})")),
            StationLine::Other => {}
            StationLine::Log(line) => watcher.note(&format!("station: {line}")),
            // What a kill cut off; a whole line of this kind would show as a record that is missing.
            StationLine::Garbage(line) => watcher.note(&format!("station: not understood: {line}")),
        }
    }

    fn suffer(&mut self, fault: MachineFault, watcher: &mut dyn Watcher) -> Result<(), TwinError> {
        if let Some(historian) = &mut self.historian {
            match fault {
                MachineFault::HistorianKill => {
                    historian.kill(&self.news, News::Historian).map_err(TwinError::Historian)?;
                    watcher.note(&format!("the historian is killed (kill {}) and started again", historian.kills));
                }
                MachineFault::NetworkCut => {
                    historian.cut();
                    watcher.note(&format!("the network to the historian is cut (cut {})", historian.cuts));
                }
                MachineFault::PlcRestart | MachineFault::StationSlow | MachineFault::StationKill | MachineFault::ModelSwap => {}
            }
        }
        if let Some(swaps) = self.swaps.as_ref().filter(|_| fault == MachineFault::ModelSwap) {
            swaps.order();
        }
        let Some(station) = &mut self.station else { return Ok(()) };
        match fault {
            MachineFault::StationKill => {
                station.kill();
                self.kills += 1;
                self.resume_at = None;
                watcher.note(&format!("the station is killed (kill {}) and started again", self.kills));
                self.start_station(watcher)?;
            }
            MachineFault::StationSlow => {
                station.pause();
                let pause = self.deadline.mul_f64(1.5);
                self.resume_at = Some(now() + pause);
                watcher.note(&format!("the station stands still for {} ms", pause.as_millis()));
            }
            // The PLC sees to its own restart; the others are no matter of the station's.
            MachineFault::PlcRestart | MachineFault::HistorianKill | MachineFault::NetworkCut | MachineFault::ModelSwap => {}
        }
        Ok(())
    }

    fn resume_station(&mut self) {
        if self.resume_at.is_some_and(|at| now() >= at) {
            self.resume_at = None;
            if let Some(station) = &mut self.station {
                station.resume();
            }
        }
    }

    /// Ends the PLC, then the station, then the cameras; hears what they still have to say.
    fn stop(&mut self, heard: &Receiver<News>, watcher: &mut dyn Watcher) -> Vec<Exposure> {
        self.stop.store(true, Ordering::Relaxed);
        self.resume_at = self.resume_at.map(|_| Nanos::default());
        self.resume_station();
        if let Some(plc) = self.plc.take() {
            self.hear_until(heard, watcher, &mut |_| plc.is_finished(), PLC_STOP);
        }
        if let Some(mut swaps) = self.swaps.take() {
            swaps.finish();
            self.hear_until(heard, watcher, &mut |_| swaps.is_over(), SWAP_STOP);
            self.swaps = Some(swaps);
        }
        self.let_records_arrive(heard, watcher);
        if let Some(mut station) = self.station.take() {
            station.ask_to_stop();
            let mut ended = |_: &Self| station.exited().is_some() && station.is_silent();
            if !self.hear_until(heard, watcher, &mut ended, STATION_STOP) {
                watcher.note("the station does not stop; it is killed");
                station.kill();
                self.hear_until(heard, watcher, &mut |_| station.is_silent(), PLC_STOP);
            }
        }
        // The PLC held the other end of its channel, so it ends by itself.
        self.camera.take().and_then(|camera| camera.join().ok()).unwrap_or_default()
    }

    /// What waited for the network has time to get through.
    fn let_records_arrive(&mut self, heard: &Receiver<News>, watcher: &mut dyn Watcher) {
        let Some(historian) = &mut self.historian else { return };
        historian.mend_for_good();
        let (station, journal, store) = (self.name.clone(), self.journal.clone(), historian.store());
        let mut arrived = |_: &Self| {
            let recorded = records::count(&journal, &station);
            recorded > 0 && records::count(&store, &station) >= recorded
        };
        if !self.hear_until(heard, watcher, &mut arrived, ARRIVAL) {
            watcher.note("not every record has reached the historian in time");
        }
    }

    /// Whether journal and historian hold what was said; `None` where the station runs elsewhere.
    fn line_5(&self, settings: &Settings, starts: &BTreeSet<u16>) -> Result<Option<Finding>, TwinError> {
        if settings.start.is_none() {
            return Ok(None);
        }
        let held = |file: &Path| records::read(file, &self.name).map_err(TwinError::Records);
        let journal = held(&self.journal)?;
        let historian = self.historian.as_ref().map(|historian| held(&historian.store())).transpose()?;
        Ok(Some(records::line_5(&self.records, starts, &journal, historian.as_ref())))
    }

    /// Hears the station until something is so and nothing more is to be heard; `false` if it was not so in time.
    fn hear_until(
        &mut self,
        heard: &Receiver<News>,
        watcher: &mut dyn Watcher,
        is_so: &mut dyn FnMut(&Self) -> bool,
        limit: Duration,
    ) -> bool {
        let until = now() + limit;
        loop {
            let so = is_so(self);
            match heard.receive_timeout(if so { Duration::ZERO } else { TICK }) {
                Ok(News::Station(line)) => self.station_said(line, watcher),
                Ok(News::Historian(line)) => historian_said(&line, watcher),
                Ok(News::Swapped(note)) => watcher.note(&note),
                Ok(News::Plc(_)) => {}
                Err(NothingReceived::TimedOut) if !so && now() < until => {}
                Err(_) => return so,
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
