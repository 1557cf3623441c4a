//! Worker threads that own the models. Each has a session of every model, takes the next frame, and tells the line what it saw.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::line_thread::LineInput;
use super::located::{self, LocatorError, NotUpright};
use super::probe::{PROBE_EVERY, Probe, Stage};
use crate::capture::Frame;
use crate::config::locator::LocatorConfig;
use crate::flow::{self, NothingReceived, Receiver, Sender};
use crate::line::event::{Inspected, Job};
use crate::model::package::{Package, PackageError};
use crate::part::{Nanos, Reason, Region, Verdict, View};
use crate::vision::EngineOptions;
use crate::vision::inspector::{InspectError, Inspection, Inspector, Overrides};
use crate::vision::locator::Locator;
use crate::vision::stamp::{self, StampPlace};

/// A frame to judge.
#[derive(Debug, Clone)]
pub struct EngineJob {
    /// For which part and inspection.
    pub job: Job,
    /// The frame; `None` if it is gone.
    pub frame: Option<Frame>,
    /// When it was put in the queue.
    pub queued_at: Nanos,
}

impl EngineJob {
    /// What the line is told when no engine takes the job.
    pub fn refusal(&self) -> LineInput {
        self.answer(undecided(Reason::Overload, self.frame.as_ref()))
    }

    fn answer(&self, inspected: Inspected) -> LineInput {
        LineInput::Inspected {
            part: self.job.part,
            inspection: self.job.inspection,
            inspected: Box::new(inspected),
        }
    }
}

/// One inspection of the recipe, as the engines need it.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectionPlan {
    /// Name in the recipe.
    pub name: String,
    /// Name of the camera.
    pub camera: String,
    /// Folder of the model package.
    pub model: PathBuf,
    /// What of the frame is looked at; `None` is all of it.
    pub region: Option<Region>,
    /// What finds the part, with which the region goes.
    pub locator: Option<LocatorConfig>,
    /// Where the limits differ from the package's.
    pub overrides: Overrides,
    /// Number of a defect.
    pub defect_code: u16,
    /// Where the part number is stamped into the camera's frames.
    pub stamp: Option<StampPlace>,
}

/// Why a worker cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum EngineStartError {
    /// A model does not load or does not prove itself.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A locator cannot be made ready.
    #[error(transparent)]
    Locator(#[from] LocatorError),
    /// The thread could not be made.
    #[error("failed to start thread {name}: {source}; check the limits of processes and memory")]
    Thread {
        /// Its name.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What a worker says of itself.
#[derive(Debug)]
pub enum WorkerState {
    /// Every model is loaded and has proven itself.
    Ready,
    /// A model does not load or does not prove itself; the worker has ended.
    Failed(EngineStartError),
}

/// Starts a worker, which sends `probe` now and then. It loads and proves its models, says so through `state` (which answers whether anybody
/// listens), and works until the queue closes.
///
/// # Errors
/// When the thread cannot be made.
pub fn start(
    (number, probe): (usize, Probe),
    plans: Arc<Vec<InspectionPlan>>,
    options: EngineOptions,
    jobs: Receiver<EngineJob>,
    line: Sender<LineInput>,
    state: impl Fn(WorkerState) -> bool + Send + 'static,
) -> Result<JoinHandle<()>, EngineStartError> {
    let name = format!("engine-{number}");
    let work = move || {
        let mut worker = match Worker::load(plans, options, probe) {
            Ok(worker) => worker,
            Err(error) => {
                state(WorkerState::Failed(error));
                return;
            }
        };
        if !state(WorkerState::Ready) {
            return;
        }
        worker.run(&jobs, &line);
    };
    Builder::new()
        .name(name.clone())
        .spawn(work)
        .map_err(|source| EngineStartError::Thread { name, source })
}

struct Worker {
    plans: Arc<Vec<InspectionPlan>>,
    options: EngineOptions,
    inspectors: BTreeMap<PathBuf, Inspector>,
    /// By name.
    locators: BTreeMap<String, Locator>,
    /// How long a frame takes, smoothed.
    typical: Duration,
    probe: Probe,
}

impl Worker {
    fn load(plans: Arc<Vec<InspectionPlan>>, options: EngineOptions, probe: Probe) -> Result<Self, EngineStartError> {
        let mut inspectors = BTreeMap::new();
        let mut locators = BTreeMap::new();
        for plan in plans.iter() {
            if let Some(locator) = &plan.locator
                && !locators.contains_key(&locator.name)
            {
                locators.insert(locator.name.clone(), located::load(locator)?);
            }
            if !inspectors.contains_key(&plan.model) {
                let model = Package::open(&plan.model)?.activate(options)?;
                inspectors.insert(plan.model.clone(), Inspector::new(model));
            }
        }
        Ok(Self {
            plans,
            options,
            inspectors,
            locators,
            typical: Duration::ZERO,
            probe,
        })
    }

    /// Works until the queue closes, or the line is gone.
    fn run(&mut self, jobs: &Receiver<EngineJob>, line: &Sender<LineInput>) {
        self.probe.loaded(flow::now());
        let mut probed_at = Nanos::default();
        loop {
            match jobs.receive_timeout(PROBE_EVERY) {
                Ok(job) => {
                    let inspected = self.inspect(&job, !jobs.is_empty());
                    if line.send(job.answer(inspected)).is_err() {
                        return;
                    }
                }
                Err(NothingReceived::TimedOut) => {}
                Err(NothingReceived::Closed) => return,
            }
            let now = flow::now();
            if now.since(probed_at) >= PROBE_EVERY {
                probed_at = now;
                self.probe.crosses(Stage::Engine, now);
                if line.send(LineInput::Probe(self.probe.clone())).is_err() {
                    return;
                }
            }
        }
    }

    /// Judges a frame. Whatever goes wrong, the line gets an answer.
    fn inspect(&mut self, job: &EngineJob, others_wait: bool) -> Inspected {
        let started = flow::now();
        let mut inspected = if others_wait && started + self.typical >= job.job.deadline {
            // It would be late, and make others late that need not be.
            undecided(Reason::Overload, job.frame.as_ref())
        } else {
            let inspected = self.judge(job);
            self.typical = (3 * self.typical + flow::now().since(started)) / 4;
            inspected
        };
        inspected.queue_us = u64::try_from(started.since(job.queued_at).as_micros()).unwrap_or(u64::MAX);
        if let Some(plan) = self.plans.get(job.job.inspection) {
            inspected.view.inspection.clone_from(&plan.name);
            inspected.view.camera.clone_from(&plan.camera);
        }
        inspected
    }

    fn judge(&mut self, job: &EngineJob) -> Inspected {
        let (Some(plan), Some(frame)) = (self.plans.get(job.job.inspection), &job.frame) else {
            return undecided(Reason::Internal, None);
        };
        let Some(inspector) = self.inspectors.get_mut(&plan.model) else {
            return undecided(Reason::Internal, Some(frame));
        };
        let locator = plan.locator.as_ref().and_then(|locator| self.locators.get(&locator.name));
        if locator.is_none() && plan.locator.is_some() {
            return undecided(Reason::Internal, Some(frame));
        }
        let attempt = catch_unwind(AssertUnwindSafe(|| look(inspector, locator, plan, frame)));
        let stamp = plan.stamp.and_then(|place| stamp::read(frame, place));
        let inspected = match attempt {
            Ok(Ok(inspection)) => judged(inspection, frame, plan.defect_code),
            Ok(Err(LookError::NotUpright(why))) => {
                tracing::info!(inspection = plan.name, %why, "a part is not decidable");
                let reason = if why == NotUpright::Frame {
                    Reason::FrameSize
                } else {
                    Reason::NotLocated
                };
                undecided(reason, Some(frame))
            }
            Ok(Err(LookError::Inspect(error))) => {
                tracing::error!(inspection = plan.name, %error, "failed to inspect a frame");
                undecided(reason_of(&error), Some(frame))
            }
            Err(_) => {
                tracing::error!(
                    inspection = plan.name,
                    "failed to inspect a frame: the engine panicked; its model is loaded anew"
                );
                self.reload(job.job.inspection);
                undecided(Reason::EngineFailed, Some(frame))
            }
        };
        Inspected {
            view: View { stamp, ..inspected.view },
            ..inspected
        }
    }

    /// A session that panicked is not trusted again.
    fn reload(&mut self, inspection: usize) {
        let Some(model) = self.plans.get(inspection).map(|plan| plan.model.clone()) else {
            return;
        };
        self.inspectors.remove(&model);
        self.probe.loading(flow::now());
        let loaded = Package::open(&model).and_then(|package| package.activate(self.options));
        match loaded {
            Ok(loaded) => {
                self.inspectors.insert(model, Inspector::new(loaded));
            }
            Err(error) => tracing::error!(%error, "failed to load the model anew; its parts are not decidable"),
        }
        self.probe.loaded(flow::now());
    }
}

/// Why a frame was not judged.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    NotUpright(#[from] NotUpright),
    #[error(transparent)]
    Inspect(#[from] InspectError),
}

/// Judges the region of a frame, which goes with the part where there is a locator.
fn look(inspector: &mut Inspector, locator: Option<&Locator>, plan: &InspectionPlan, frame: &Frame) -> Result<Inspection, LookError> {
    let (Some(locator), Some(region)) = (locator, plan.region) else {
        return Ok(inspector.inspect_frame(frame, plan.region, plan.overrides)?);
    };
    let started = flow::now();
    let upright = located::upright(locator, frame, region)?;
    let located = flow::now().since(started);
    let mut inspection = inspector.inspect_frame(&upright.frame, None, plan.overrides)?;
    inspection.findings = upright.in_frame(inspection.findings);
    inspection.latency.preprocess += located;
    Ok(inspection)
}

fn reason_of(error: &InspectError) -> Reason {
    match error {
        InspectError::Decode(_) => Reason::Unreadable,
        InspectError::Preprocess(_) => Reason::FrameSize,
        InspectError::Engine(_) => Reason::EngineFailed,
    }
}

fn judged(inspection: Inspection, frame: &Frame, defect_code: u16) -> Inspected {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Inspected {
        defect_code: if inspection.verdict == Verdict::NotOk { defect_code } else { 0 },
        queue_us: 0,
        preprocess_us: micros(inspection.latency.preprocess),
        infer_us: micros(inspection.latency.infer),
        postprocess_us: micros(inspection.latency.postprocess),
        view: View {
            verdict: inspection.verdict,
            reason: inspection.reason,
            score: Some(inspection.score).filter(|score| score.is_finite()),
            threshold: Some(inspection.threshold).filter(|threshold| threshold.is_finite()),
            findings: inspection.findings,
            ..view(Some(frame))
        },
    }
}

fn undecided(reason: Reason, frame: Option<&Frame>) -> Inspected {
    Inspected {
        view: View {
            reason: Some(reason),
            ..view(frame)
        },
        defect_code: 0,
        queue_us: 0,
        preprocess_us: 0,
        infer_us: 0,
        postprocess_us: 0,
    }
}

/// A view of this frame, of which nothing is decided; `None` where the frame is gone.
fn view(frame: Option<&Frame>) -> View {
    View {
        inspection: String::new(),
        camera: String::new(),
        frame_counter: frame.and_then(|frame| frame.counter),
        exposed_ns: frame.map_or(Nanos::default(), |frame| frame.exposed_at),
        stamp: None,
        verdict: Verdict::NotDecidable,
        reason: None,
        score: None,
        threshold: None,
        findings: Vec::new(),
    }
}
