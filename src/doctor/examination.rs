//! Which checks are made. Each runs on a thread of its own and has a time limit; one that hangs or fails is a finding, and the others are told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::findings::engine::{self, Gate};
use super::findings::{cameras, config, machine};
use super::tree::SystemTree;
use super::{Check, Finding, Report, Status, probes, programs};
use crate::config::ConfigErrors;
use crate::config::station::StationConfig;
use crate::flow::{Receiver, Sender, WhenFull, bounded};

/// The configuration of a box.
pub const CONFIG: &str = "/etc/takt/station.toml";

/// What reads a few small files, or asks over the network once.
const QUICK_MAX: Duration = Duration::from_secs(12);

/// To read model packages whole, from a slow disk.
const MODELS_MAX: Duration = Duration::from_mins(1);

/// To load a library; from a slow disk, with the drivers of a GPU.
const LIBRARY_MAX: Duration = Duration::from_mins(1);

/// To start GStreamer, which looks through all of its plugins once after each change of them.
const GSTREAMER_MAX: Duration = Duration::from_mins(1);

/// To prove the models: a provider may first have to build what it runs.
const GOLDEN_GATE_MAX: Duration = Duration::from_mins(10);

/// What is to be looked at.
#[derive(Debug, Clone)]
pub struct Examination {
    /// The station's configuration; `None`: [`CONFIG`], if it is there.
    pub config: Option<PathBuf>,
    /// Only what decides whether this version of the software may stay.
    pub boot: bool,
    /// Where sysfs and procfs are: `/`.
    pub root: PathBuf,
}

/// What every check may look at.
struct Scene {
    tree: SystemTree,
    file: PathBuf,
    config: Option<StationConfig>,
}

type Look = Box<dyn FnOnce(&Scene) -> Vec<Finding> + Send>;

/// A check that is to be made.
struct Probe {
    check: Check,
    limit: Duration,
    look: Look,
}

impl Probe {
    fn new(check: Check, limit: Duration, look: impl FnOnce(&Scene) -> Vec<Finding> + Send + 'static) -> Self {
        Self {
            check,
            limit,
            look: Box::new(look),
        }
    }

    fn quick(check: Check, look: impl FnOnce(&Scene) -> Finding + Send + 'static) -> Self {
        Self::new(check, QUICK_MAX, |scene| vec![look(scene)])
    }
}

/// What came of reading the configuration.
enum ConfigRead {
    Read(Box<StationConfig>),
    /// None is there, and none was asked for.
    None,
    Wrong(ConfigErrors),
    /// The disk does not answer.
    Late,
}

impl Examination {
    /// Makes every check.
    pub fn run(&self) -> Report {
        let file = self.config.clone().unwrap_or_else(|| CONFIG.into());
        let read = self.read_config(&file);
        let mut findings = vec![probes::takt()];
        findings.extend(config_findings(&file, &read));
        let is_wrong = matches!(read, ConfigRead::Wrong(_) | ConfigRead::Late);
        let config = match read {
            ConfigRead::Read(config) => Some(*config),
            _ => None,
        };
        let scene = Arc::new(Scene {
            tree: SystemTree::new(&self.root),
            file,
            config,
        });
        let planned = if self.boot { boot_probes(&scene) } else { all_probes(&scene) };
        if scene.config.is_none() {
            findings.extend(not_looked_at(&planned, self.boot, is_wrong));
        }
        findings.extend(make(planned, &scene));
        Report::new(findings)
    }

    /// One check that is made in a child process; see [`programs::findings_of_child`].
    pub fn run_alone(&self, check: Check) -> Vec<Finding> {
        let file = self.config.clone().unwrap_or_else(|| CONFIG.into());
        let config = StationConfig::read(&file).ok();
        // It must not take the processor from a station.
        let _ = rustix::process::nice(NICE);
        alone(check, &SystemTree::new(&self.root), config.as_ref())
    }

    /// Reads the configuration, unless its disk hangs.
    fn read_config(&self, file: &Path) -> ConfigRead {
        let (said, heard) = bounded("doctor/config", 1, WhenFull::DropNewest);
        let (path, is_asked_for) = (file.to_owned(), self.config.is_some());
        let started = spawn(move || {
            let read = match StationConfig::read(&path) {
                Ok(config) => ConfigRead::Read(Box::new(config)),
                Err(_) if !is_asked_for && !path.exists() => ConfigRead::None,
                Err(errors) => ConfigRead::Wrong(errors),
            };
            let _ = said.send(read);
        });
        match started {
            Ok(()) => heard.receive_timeout(QUICK_MAX).unwrap_or(ConfigRead::Late),
            Err(_) => ConfigRead::Late,
        }
    }
}

/// Children run at the lowest priority.
const NICE: i32 = 19;

fn alone(check: Check, tree: &SystemTree, config: Option<&StationConfig>) -> Vec<Finding> {
    match (check, config) {
        (Check::Library, config) => vec![probes::library(tree, config.map(|config| config.engine.options.provider))],
        (Check::GStreamer, config) => probes::gstreamer(config),
        (Check::GoldenGate, Some(config)) => probes::golden_gates(config),
        _ => Vec::new(),
    }
}

fn config_findings(file: &Path, read: &ConfigRead) -> Vec<Finding> {
    match read {
        ConfigRead::Read(config) => config::read(file, &config.id, &config.warnings()),
        ConfigRead::None => vec![Finding::new(
            Check::Config,
            Status::Unknown,
            format!("no station is configured: there is no {}", file.display()),
        )],
        ConfigRead::Wrong(errors) => config::errors(file, errors.lines()),
        ConfigRead::Late => vec![programs::overdue(
            Check::Config,
            &format!("{} is not read within {} s", file.display(), QUICK_MAX.as_secs()),
        )],
    }
}

/// Checks of a station that cannot be made without its configuration.
fn not_looked_at(planned: &[Probe], boot: bool, is_wrong: bool) -> Vec<Finding> {
    let of_station: &[Check] = if boot {
        &[Check::GoldenGate, Check::Plc, Check::Journal]
    } else {
        &[
            Check::Model,
            Check::GoldenGate,
            Check::Camera,
            Check::Plc,
            Check::Station,
            Check::Historian,
            Check::Certificate,
            Check::Journal,
            Check::BlackBox,
            Check::LastEnd,
        ]
    };
    let why = if is_wrong {
        "the configuration has to be right first"
    } else {
        "no station is configured"
    };
    let left_out = of_station
        .iter()
        .filter(|check| !planned.iter().any(|probe| probe.check == **check));
    left_out.map(|check| Finding::new(*check, Status::Unknown, why)).collect()
}

/// Runs a check in a child process.
fn in_child(check: Check, limit: Duration) -> Probe {
    // The child is ended at its limit; the little more is for saying so.
    Probe::new(check, limit + QUICK_MAX, move |scene| {
        let file = scene.config.as_ref().map(|_| scene.file.as_path());
        programs::findings_of_child(check, file, limit, || alone(check, &scene.tree, scene.config.as_ref()))
    })
}

/// Runs a check that needs the configuration.
fn of_station(check: Check, limit: Duration, look: impl FnOnce(&SystemTree, &StationConfig) -> Vec<Finding> + Send + 'static) -> Probe {
    Probe::new(check, limit, |scene| {
        scene.config.as_ref().map_or_else(Vec::new, |config| look(&scene.tree, config))
    })
}

/// Whether this version of the software may stay.
fn boot_probes(scene: &Scene) -> Vec<Probe> {
    let mut planned = vec![in_child(Check::Library, LIBRARY_MAX)];
    if scene.config.is_some() {
        planned.push(golden_gate(true));
        planned.push(of_station(Check::Plc, QUICK_MAX, probes::ports));
        planned.push(of_station(Check::Journal, QUICK_MAX, |tree, config| {
            let records = probes::records(tree, config);
            records.into_iter().filter(|finding| finding.check != Check::LastEnd).collect()
        }));
    }
    planned
}

fn golden_gate(is_tried: bool) -> Probe {
    let limit = if is_tried { GOLDEN_GATE_MAX + QUICK_MAX } else { QUICK_MAX };
    Probe::new(Check::GoldenGate, limit, move |scene| {
        let Some(config) = &scene.config else { return Vec::new() };
        // What the running station has proven is not proven again beside it.
        if probes::runs_this_program(&scene.tree, config) {
            return vec![engine::golden_gate(None, &Gate::Running)];
        }
        if !is_tried {
            return vec![engine::golden_gate(None, &Gate::NotTried)];
        }
        programs::findings_of_child(Check::GoldenGate, Some(&scene.file), GOLDEN_GATE_MAX, || {
            probes::golden_gates(config)
        })
    })
}

fn all_probes(scene: &Scene) -> Vec<Probe> {
    let mut planned = vec![
        in_child(Check::Library, LIBRARY_MAX),
        in_child(Check::GStreamer, GSTREAMER_MAX),
        Probe::quick(Check::VideoDevices, |scene| cameras::video_devices(&scene.tree.video_devices())),
        Probe::quick(Check::LastError, |_| probes::last_error()),
        Probe::quick(Check::Machine, |scene| machine::machine(&scene.tree.machine())),
        Probe::quick(Check::Clock, |scene| probes::clock(&scene.tree)),
        Probe::quick(Check::Ptp, |scene| {
            machine::ptp(&scene.tree.ptp_clocks(), &scene.tree.clock_setters())
        }),
        Probe::new(Check::Wear, QUICK_MAX, |scene| wear(&scene.tree)),
        Probe::quick(Check::Temperature, |scene| machine::temperature(&scene.tree.heat())),
        Probe::quick(Check::PowerMode, |scene| machine::power_mode(&scene.tree.power())),
        Probe::quick(Check::Memory, |scene| {
            let (available, total) = scene.tree.memory_bytes();
            machine::memory(available, total)
        }),
        Probe::quick(Check::Reset, |scene| machine::reset(&scene.tree.reset())),
    ];
    // One that hangs hides none of the others.
    for (path, role) in probes::folders(scene.config.as_ref()) {
        planned.push(Probe::quick(Check::Disk, move |scene| {
            probes::folder(&scene.tree, scene.config.as_ref(), &path, role)
        }));
    }
    let Some(config) = &scene.config else { return planned };
    for camera in config.cameras.clone() {
        planned.push(of_station(Check::Camera, QUICK_MAX, move |_, config| {
            vec![probes::camera(config, &camera)]
        }));
    }
    planned.push(golden_gate(false));
    planned.push(of_station(Check::Model, MODELS_MAX, |_, config| probes::models(config)));
    planned.push(of_station(Check::Plc, QUICK_MAX, probes::ports));
    planned.push(of_station(Check::Station, QUICK_MAX, |tree, config| {
        vec![probes::running(tree, config)]
    }));
    planned.push(of_station(Check::Historian, QUICK_MAX, |tree, config| {
        vec![probes::historian(tree, config)]
    }));
    planned.push(of_station(Check::Certificate, QUICK_MAX, |_, config| certificates(config)));
    planned.push(of_station(Check::Journal, QUICK_MAX, probes::records));
    planned
}

fn certificates(config: &StationConfig) -> Vec<Finding> {
    let found = probes::certificates(config);
    if found.is_empty() {
        return vec![Finding::new(Check::Certificate, Status::Unknown, "the configuration names none")];
    }
    found
}

fn wear(tree: &SystemTree) -> Vec<Finding> {
    let flash = tree.flash();
    if flash.is_empty() {
        return vec![Finding::new(
            Check::Wear,
            Status::Unknown,
            "this machine has no flash memory that is known by its name, as virtual machines have none",
        )];
    }
    flash.iter().map(machine::wear).collect()
}

/// Makes the checks side by side; whoever is not done at its limit is told so and left behind.
fn make(planned: Vec<Probe>, scene: &Arc<Scene>) -> Vec<Finding> {
    let (done, results) = bounded("doctor/findings", planned.len().max(1), WhenFull::DropNewest);
    let began = Instant::now();
    let mut open: Vec<Option<(Check, Duration)>> = Vec::new();
    let mut findings = Vec::new();
    for (number, probe) in planned.into_iter().enumerate() {
        let (check, limit) = (probe.check, probe.limit);
        match start(number, probe, scene, &done) {
            Ok(()) => open.push(Some((check, limit))),
            Err(error) => {
                open.push(None);
                let fact = format!("no thread can be made for it: {error}");
                findings.push(Finding::new(check, Status::Failed, fact).remedy("see the limits of processes and memory"));
            }
        }
    }
    while let Some(next) = open.iter().flatten().map(|(_, limit)| *limit).min() {
        match receive(&results, next.saturating_sub(began.elapsed())) {
            Some((number, found)) => {
                if let Some(place) = open.get_mut(number) {
                    *place = None;
                }
                findings.extend(found);
            }
            None => {
                for place in open.iter_mut().filter(|place| place.is_some_and(|(_, limit)| limit <= next)) {
                    if let Some((check, limit)) = place.take() {
                        findings.push(programs::overdue(check, &format!("no answer within {} s", limit.as_secs())));
                    }
                }
            }
        }
    }
    findings
}

type Done = (usize, Vec<Finding>);

fn receive(results: &Receiver<Done>, wait: Duration) -> Option<Done> {
    results.receive_timeout(wait).ok()
}

fn start(number: usize, probe: Probe, scene: &Arc<Scene>, done: &Sender<Done>) -> std::io::Result<()> {
    let (scene, done) = (Arc::clone(scene), done.clone());
    let Probe { check, look, .. } = probe;
    spawn(move || {
        let found = catch_unwind(AssertUnwindSafe(|| look(&scene))).unwrap_or_else(|_| {
            let finding = Finding::new(check, Status::Failed, "takt itself failed at this check");
            vec![finding.remedy("report it, with what takt doctor wrote to standard error")]
        });
        let _ = done.send((number, found));
    })
}

fn spawn(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name("doctor".into()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Arc<Scene> {
        Arc::new(Scene {
            tree: SystemTree::new(Path::new("/nowhere")),
            file: "/nowhere/station.toml".into(),
            config: None,
        })
    }

    #[test]
    fn a_check_that_hangs_or_fails_hides_none_of_the_others() {
        let (hold, held) = bounded::<()>("doctor/test", 1, WhenFull::Block);
        let found = make(
            vec![
                Probe::new(Check::Disk, Duration::from_millis(30), move |_| {
                    // As a network file system whose server is gone.
                    let _ = held.receive();
                    Vec::new()
                }),
                Probe::quick(Check::Reset, |_| panic!("a planted panic")),
                Probe::quick(Check::Memory, |_| Finding::new(Check::Memory, Status::Ok, "enough")),
            ],
            &scene(),
        );
        let told = |check| found.iter().find(|finding| finding.check == check).unwrap();
        assert_eq!(found.len(), 3, "{found:#?}");
        assert_eq!(told(Check::Memory).status, Status::Ok);
        assert!(told(Check::Disk).fact.contains("no answer within"), "{found:#?}");
        assert!(told(Check::Reset).fact.contains("takt itself failed"), "{found:#?}");
        drop(hold);
    }

    #[test]
    fn without_a_configuration_the_machine_is_looked_at_and_nothing_is_wrong() {
        let scene = scene();
        let planned = all_probes(&scene);
        let left_out = not_looked_at(&planned, false, false);
        for check in Check::ALL {
            let is_made = planned.iter().any(|probe| probe.check == *check);
            let is_told = left_out.iter().any(|finding| finding.check == *check);
            let is_always = [Check::Takt, Check::Config].contains(check);
            assert!(is_made != is_told || is_always, "{check:?}");
        }
        assert!(left_out.iter().all(|finding| finding.status == Status::Unknown));
    }
}
