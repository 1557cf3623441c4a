//! `takt bench cameras`: how many frames of several cameras the engines of a station judge, against bare sessions and bare preprocessing on as many
//! threads, turn by turn.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::bench::taught_from_rendered_parts;
use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::capture::{Frame, PixelFormat, Plane};
use crate::evaluate::metrics::percentile;
use crate::flow::{self, Receiver, Sender, WhenFull, bounded};
use crate::line::event::{FrameId, Job, Sequence};
use crate::model::manifest::InputSpec;
use crate::model::package::{Package, write};
use crate::part::Nanos;
use crate::recipe::Rules;
use crate::station::engines::{self, EngineJob, InspectionPlan, ModelPorts, WorkerState};
use crate::station::line_thread::LineInput;
use crate::station::models::{ModelSet, in_force};
use crate::station::probe::Probe;
use crate::twin::parts;
use crate::vision::inspector::Inspector;
use crate::vision::{EngineOptions, Provider};

#[derive(Debug, Args)]
pub(super) struct CamerasArgs {
    /// A model package; without one, a model is taught from rendered parts first
    #[arg(long, value_name = "PACKAGE")]
    model: Option<PathBuf>,
    /// Cameras, each with an inspection of its own
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    cameras: u32,
    /// Engines, each on one thread [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    workers: Option<u32>,
    /// How often bare sessions and engines take turns of a second
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000))]
    rounds: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// How long a turn takes.
const TURN: Duration = Duration::from_secs(1);

/// Frames that wait for an engine: enough that none ever looks for one in vain.
const JOBS_WAITING: usize = 8;

/// A deadline that no frame misses: what is measured is how many are judged.
const NEVER: Nanos = Nanos(u64::MAX / 2);

#[derive(Debug, Serialize)]
struct CamerasBench {
    cameras: u32,
    workers: u32,
    rounds: u32,
    image_px: [u32; 2],
    /// Median over the turns of bare sessions, with preprocessing.
    bare_frames_per_s_p50: f64,
    /// Median over the turns of the engines.
    engines_frames_per_s_p50: f64,
    /// Median of the ratios of neighbouring turns.
    ratio_p50: f64,
}

pub(super) fn run(args: &CamerasArgs) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir()?;
    let model = if let Some(model) = &args.model {
        model.clone()
    } else {
        let package = taught_from_rendered_parts()?;
        let path = folder.path().join("model");
        write(&path, &package.manifest, &package.files, false)?;
        path
    };
    let bench = measured(args, &model)?;
    match args.format {
        Format::Json => print_json(&bench)?,
        Format::Table => print(&report(&bench))?,
    }
    Ok(Exit::Done)
}

fn measured(args: &CamerasArgs, model: &Path) -> anyhow::Result<CamerasBench> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = args.workers.unwrap_or(u32::try_from(cores).unwrap_or(1).min(16));
    let frames: Vec<Frame> = (0..u64::from(args.cameras)).map(frame).collect();
    let image_px = [frames[0].width, frames[0].height];
    let mut bare = (0..workers).map(|_| Bare::load(model)).collect::<anyhow::Result<Vec<_>>>()?;
    let engines = Engines::start(model, workers, frames.clone())?;
    let (mut of_bare, mut of_engines, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn of each fills caches, and does not count.
    for round in 0..=args.rounds {
        let alone = turn_of_bare(&mut bare, &frames);
        let together = engines.turn()?;
        if round > 0 {
            of_bare.push(alone);
            of_engines.push(together);
            ratios.push(together / alone);
        }
    }
    engines.stop();
    let middle = |values: &[f64]| {
        let times: Vec<Duration> = values.iter().map(|value| Duration::from_secs_f64(*value)).collect();
        percentile(&times, 50.0).unwrap_or_default().as_secs_f64()
    };
    Ok(CamerasBench {
        cameras: args.cameras,
        workers,
        rounds: args.rounds,
        image_px,
        bare_frames_per_s_p50: middle(&of_bare),
        engines_frames_per_s_p50: middle(&of_engines),
        ratio_p50: middle(&ratios),
    })
}

/// A frame of a rendered part as a camera gives it, each another one.
fn frame(number: u64) -> Frame {
    let image = parts::render(1, number, None).image;
    let plane = Plane {
        offset: 0,
        stride: image.width as usize * 3,
    };
    Frame {
        width: image.width,
        height: image.height,
        pixels: Arc::new(image.rgb),
        format: PixelFormat::Rgb,
        planes: [plane; 3],
        full_range: true,
        bt709: false,
        exposed_at: flow::now(),
        counter: Some(number),
    }
}

fn on_one_thread() -> EngineOptions {
    EngineOptions {
        provider: Provider::Cpu,
        threads: 1,
    }
}

/// A session and the tensor that it takes, and nothing else.
struct Bare {
    inspector: Inspector,
    input: InputSpec,
}

impl Bare {
    fn load(model: &Path) -> anyhow::Result<Self> {
        let active = Package::open(model)?.activate(on_one_thread())?;
        let input = active.package.manifest.input.clone();
        Ok(Self {
            inspector: Inspector::new(active),
            input,
        })
    }

    /// Preprocesses and runs until told to stop; how many frames.
    fn run(&mut self, frames: &[Frame], stop: &AtomicBool) -> u64 {
        let Ok(mut tensor) = self.input.tensor() else { return 0 };
        let mut count = 0;
        for frame in frames.iter().cycle() {
            if stop.load(Ordering::Relaxed) || tensor.set_frame(0, frame, None).is_err() {
                break;
            }
            if self.inspector.engine().run(&tensor.shape(), tensor.values()).is_err() {
                break;
            }
            count += 1;
        }
        count
    }
}

/// Frames per second of all bare sessions side by side.
fn turn_of_bare(bare: &mut [Bare], frames: &[Frame]) -> f64 {
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let count: u64 = thread::scope(|scope| {
        let threads: Vec<_> = bare.iter_mut().map(|bare| scope.spawn(|| bare.run(frames, &stop))).collect();
        thread::park_timeout(TURN);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    count as f64 / start.elapsed().as_secs_f64()
}

/// The engines of a station, with their queue.
struct Engines {
    jobs: Sender<EngineJob>,
    answers: Receiver<LineInput>,
    models: Arc<ModelSet>,
    frames: Vec<Frame>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Kept open: nobody delivers, and nobody is asked to unload.
    _deliveries: Vec<Sender<engines::Delivery>>,
    _retired: Receiver<Inspector>,
}

impl Engines {
    fn start(model: &Path, workers: u32, frames: Vec<Frame>) -> anyhow::Result<Self> {
        let models = Arc::new(ModelSet {
            config_checksum: 1,
            models: vec![in_force(model.to_owned())?; frames.len()],
        });
        let plan = |number: usize| InspectionPlan {
            name: format!("inspection {number}"),
            camera: format!("camera {number}"),
            finder: None,
            rules: Rules::default(),
            calibrated_px: None,
            stamp: None,
        };
        let plans = Arc::new((0..frames.len()).map(plan).collect::<Vec<_>>());
        let (jobs, queue) = bounded("bench/jobs", JOBS_WAITING, WhenFull::Block);
        let (line, answers) = bounded("bench/answers", 1024, WhenFull::Block);
        let (retire, retired) = bounded("bench/retired", 1, WhenFull::DropNewest);
        let (told, states) = std::sync::mpsc::channel();
        let (mut threads, mut deliveries) = (Vec::new(), Vec::new());
        for number in 1..=workers as usize {
            let (deliver, delivered) = bounded("bench/deliveries", 1, WhenFull::DropNewest);
            deliveries.push(deliver);
            let ports = ModelPorts {
                first: Arc::clone(&models),
                trust: crate::model::signature::Trust::default(),
                deliveries: delivered,
                retired: retire.clone(),
            };
            let (told, probe) = (told.clone(), Probe::of_engine(number, flow::now()));
            let state = move |state| told.send(state).is_ok();
            let order = on_one_thread().into();
            threads.push(engines::start(
                (number, probe),
                Arc::clone(&plans),
                order,
                ports,
                queue.clone(),
                line.clone(),
                state,
            )?);
        }
        for _ in 0..workers {
            while let WorkerState::Loading { .. } = ready(states.recv()?)? {}
        }
        Ok(Self {
            jobs,
            answers,
            models,
            frames,
            threads,
            _deliveries: deliveries,
            _retired: retired,
        })
    }

    /// Frames per second while the queue is never empty.
    fn turn(&self) -> anyhow::Result<f64> {
        let (start, mut asked, mut judged) = (Instant::now(), 0_u64, 0_u64);
        while start.elapsed() < TURN {
            while asked - judged < JOBS_WAITING as u64 {
                self.ask(asked)?;
                asked += 1;
            }
            judged += self.judged()?;
        }
        let rate = judged as f64 / start.elapsed().as_secs_f64();
        while judged < asked {
            judged += self.judged()?;
        }
        Ok(rate)
    }

    fn ask(&self, number: u64) -> anyhow::Result<()> {
        let inspection = (number % self.frames.len() as u64) as usize;
        let job = EngineJob {
            job: Job {
                part: Sequence(number),
                inspection,
                frame: FrameId(number),
                deadline: NEVER,
                config_checksum: self.models.config_checksum,
            },
            frame: Some(self.frames[inspection].clone()),
            queued_at: flow::now(),
            models: Some(Arc::clone(&self.models)),
        };
        self.jobs
            .send(job)
            .map_err(|_| anyhow::anyhow!("failed to measure: the engines have ended"))
    }

    /// Waits for an answer; whether it is of a frame.
    fn judged(&self) -> anyhow::Result<u64> {
        match self.answers.receive() {
            Some(LineInput::Inspected { .. }) => Ok(1),
            Some(_) => Ok(0),
            None => anyhow::bail!("failed to measure: the engines have ended"),
        }
    }

    fn stop(self) {
        drop(self.jobs);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// What a worker says, unless it failed.
fn ready(state: WorkerState) -> anyhow::Result<WorkerState> {
    match state {
        WorkerState::Failed(error) => Err(error.into()),
        state => Ok(state),
    }
}

fn report(bench: &CamerasBench) -> String {
    let rate = |rate: f64| format!("{rate:.1} frames/s");
    table(
        &["what", "p50"],
        [
            vec!["bare sessions and preprocessing".into(), rate(bench.bare_frames_per_s_p50)],
            vec![
                format!("{} engines, {} cameras", bench.workers, bench.cameras),
                rate(bench.engines_frames_per_s_p50),
            ],
            vec!["ratio".into(), format!("{:.3}", bench.ratio_p50)],
        ],
    )
}
