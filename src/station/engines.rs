//! Worker threads that own the models. Each has a session of every model, takes the next frame, and tells the line what it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::line_thread::LineInput;
use super::located::{self, LocatorError, NotUpright};
use super::models::{ModelInForce, ModelSet};
use super::part_finder::PartFinder;
use super::probe::{PROBE_EVERY, Probe, Stage};
use crate::capture::Frame;
use crate::flow::{self, NothingReceived, Receiver, Sender};
use crate::line::event::{Inspected, Job, ProviderStanding};
use crate::model::package::{Package, PackageError};
use crate::model::signature::{SignatureError, Trust};
use crate::part::{ModelIdentity, Nanos, Reason, Verdict, View};
use crate::recipe::Rules;
use crate::recipe::pose::Whereabouts;
use crate::vision::inspector::{InspectError, Inspection, Inspector};
use crate::vision::providers::ProviderOrder;
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
    /// The models that judge the part; `None` if they are gone.
    pub models: Option<Arc<ModelSet>>,
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

/// One inspection of a recipe, as the engines need it.
#[derive(Debug, Clone)]
pub struct InspectionPlan {
    /// Name in the recipe.
    pub name: String,
    /// Name of the camera.
    pub camera: String,
    /// What finds the part first; `None`: it lies where it lay when the recipe was made.
    pub finder: Option<Arc<PartFinder>>,
    /// Where it looks, and what rejects a part.
    pub rules: Rules,
    /// Width and height of the frames that the rules' scale holds for, where that is known.
    pub calibrated_px: Option<(u32, u32)>,
    /// Where the part number is stamped into the camera's frames.
    pub stamp: Option<StampPlace>,
}

/// Why a worker cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum EngineStartError {
    /// A model does not load or does not prove itself.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A model is not trusted.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Somebody exchanged a package while it was loaded.
    #[error("failed to load model package {0}: it is another one than a moment ago; start the station again once it is in place")]
    Exchanged(PathBuf),
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

impl EngineStartError {
    /// Whether another provider might do what this one does not.
    pub fn is_of_provider(&self) -> bool {
        matches!(self, Self::Package(PackageError::Engine { .. } | PackageError::Golden { .. }))
    }
}

/// What a worker says of itself.
#[derive(Debug)]
pub enum WorkerState {
    /// It loads a model, which may take minutes where a GPU's compiler runs.
    Loading {
        /// The package.
        model: PathBuf,
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// Every model is loaded and has proven itself.
    Ready,
    /// A model does not load or does not prove itself; the worker has ended.
    Failed(EngineStartError),
}

/// Models that were loaded and proven for a worker, on their way to it.
pub struct Delivery {
    /// The set that they belong to. They stay for as long as somebody holds it.
    pub set: Weak<ModelSet>,
    /// Each by the hash of its manifest.
    pub loaded: Vec<(String, Inspector)>,
}

/// How a worker gets its models, and gets rid of them.
pub struct ModelPorts {
    /// Those to begin with.
    pub first: Arc<ModelSet>,
    /// Which packages are trusted.
    pub trust: Trust,
    /// Further ones. They are here before the first job that needs them.
    pub deliveries: Receiver<Delivery>,
    /// Those that nobody needs any more: unloading takes a while.
    pub retired: Sender<Inspector>,
}

/// Starts a worker, which sends `probe` now and then. It loads and proves its models, says so through `state` (which answers whether anybody
/// listens), and works until the queue closes.
///
/// # Errors
/// When the thread cannot be made.
pub fn start(
    (number, probe): (usize, Probe),
    plans: Arc<Vec<InspectionPlan>>,
    order: ProviderOrder,
    models: ModelPorts,
    jobs: Receiver<EngineJob>,
    line: Sender<LineInput>,
    state: impl Fn(WorkerState) -> bool + Send + 'static,
) -> Result<JoinHandle<()>, EngineStartError> {
    let name = format!("engine-{number}");
    let work = move || {
        let mut worker = match Worker::load(plans, order, models, probe, &state) {
            Ok(worker) => worker,
            Err(error) => {
                state(WorkerState::Failed(error));
                return;
            }
        };
        if worker.is_stood_in() {
            let _ = line.send(LineInput::Provider(ProviderStanding::StoodIn));
        }
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

/// Loads a model and proves it here.
fn load(model: &ModelInForce, order: ProviderOrder, trust: &Trust) -> Result<Inspector, EngineStartError> {
    let package = Package::open(&model.path)?;
    trust.check(&package)?;
    if package.identity().sha256 != model.identity.sha256 {
        return Err(EngineStartError::Exchanged(model.path.clone()));
    }
    let active = package.activate(order)?;
    if let Some(wanted) = active.stands_in_for {
        let (model, provider) = (model.path.display(), active.engine.provider());
        tracing::error!(%model, %wanted, %provider, "another provider stands in for the one that is wanted; inspecting may be slower");
    }
    Ok(Inspector::new(active))
}

struct Worker {
    plans: Arc<Vec<InspectionPlan>>,
    order: ProviderOrder,
    trust: Trust,
    /// By the hash of their manifests: what is the same is loaded once.
    inspectors: BTreeMap<String, Inspector>,
    /// The sets that they belong to.
    sets: Vec<Weak<ModelSet>>,
    deliveries: Receiver<Delivery>,
    retired: Sender<Inspector>,
    /// How long a frame takes, smoothed.
    typical: Duration,
    probe: Probe,
}

impl Worker {
    fn load(
        plans: Arc<Vec<InspectionPlan>>,
        order: ProviderOrder,
        models: ModelPorts,
        probe: Probe,
        state: &impl Fn(WorkerState) -> bool,
    ) -> Result<Self, EngineStartError> {
        let mut inspectors = BTreeMap::new();
        for finder in plans.iter().filter_map(|plan| plan.finder.as_ref()) {
            finder.prepare()?;
        }
        let set = &models.first.models;
        let of = set.iter().map(|model| &model.identity.sha256).collect::<BTreeSet<_>>().len();
        for model in set {
            if inspectors.contains_key(&model.identity.sha256) {
                continue;
            }
            state(WorkerState::Loading {
                model: model.path.clone(),
                number: inspectors.len() + 1,
                of,
            });
            inspectors.insert(model.identity.sha256.clone(), load(model, order, &models.trust)?);
        }
        Ok(Self {
            plans,
            order,
            trust: models.trust,
            inspectors,
            sets: vec![Arc::downgrade(&models.first)],
            deliveries: models.deliveries,
            retired: models.retired,
            typical: Duration::ZERO,
            probe,
        })
    }

    /// Whether a model runs on another provider than the one that is wanted.
    fn is_stood_in(&self) -> bool {
        self.inspectors.values().any(|inspector| inspector.model().stands_in_for.is_some())
    }

    /// Takes in what was loaded for it, and lets go what nobody needs any more.
    fn exchange_models(&mut self) {
        while let Some(Delivery { set, loaded }) = self.deliveries.try_receive() {
            self.inspectors.extend(loaded);
            self.sets.push(set);
        }
        if self.sets.iter().all(|set| set.strong_count() > 0) {
            return;
        }
        self.sets.retain(|set| set.strong_count() > 0);
        let needed: Vec<Arc<ModelSet>> = self.sets.iter().filter_map(Weak::upgrade).collect();
        let is_needed = |sha256: &String| {
            needed
                .iter()
                .flat_map(|set| &set.models)
                .any(|model| model.identity.sha256 == *sha256)
        };
        let (needed, retired) = std::mem::take(&mut self.inspectors)
            .into_iter()
            .partition(|(sha256, _)| is_needed(sha256));
        self.inspectors = needed;
        let retired: BTreeMap<String, Inspector> = retired;
        for inspector in retired.into_values() {
            // If nobody takes it, it is unloaded here.
            drop(self.retired.send(inspector));
        }
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
            self.exchange_models();
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
        let model = job.models.as_ref().and_then(|set| set.models.get(job.job.inspection));
        if model.is_some_and(|model| !self.inspectors.contains_key(&model.identity.sha256)) {
            self.exchange_models();
        }
        let (Some(plan), Some(frame)) = (self.plans.get(job.job.inspection), &job.frame) else {
            return undecided(Reason::Internal, None);
        };
        let Some((model, inspector)) = model.and_then(|model| Some((model, self.inspectors.get_mut(&model.identity.sha256)?))) else {
            return undecided(Reason::Internal, Some(frame));
        };
        let begin_by = job.job.deadline.before(self.typical);
        let attempt = catch_unwind(AssertUnwindSafe(|| look(inspector, plan, frame, begin_by)));
        let stamp = plan.stamp.and_then(|place| stamp::read(frame, place));
        let inspected = match attempt {
            Ok(Ok(inspection)) => judged(inspection, frame, &model.identity),
            Ok(Err(reason)) => undecided(reason, Some(frame)),
            Err(_) => {
                tracing::error!(
                    inspection = plan.name,
                    "failed to inspect a frame: the engine panicked; its model is loaded anew"
                );
                self.reload(model);
                undecided(Reason::EngineFailed, Some(frame))
            }
        };
        Inspected {
            view: View { stamp, ..inspected.view },
            ..inspected
        }
    }

    /// A session that panicked is not trusted again.
    fn reload(&mut self, model: &ModelInForce) {
        self.inspectors.remove(&model.identity.sha256);
        self.probe.loading(flow::now());
        match load(model, self.order, &self.trust) {
            Ok(loaded) => {
                self.inspectors.insert(model.identity.sha256.clone(), loaded);
            }
            Err(error) => tracing::error!(%error, "failed to load the model anew; its parts are not decidable"),
        }
        self.probe.loaded(flow::now());
    }
}

fn reason_of(error: &InspectError) -> Reason {
    match error {
        InspectError::Decode(_) => Reason::Unreadable,
        InspectError::Preprocess(_) | InspectError::Tiles(_) => Reason::FrameSize,
        InspectError::Engine(_) => Reason::EngineFailed,
    }
}

/// Judges a part where it lies. Whatever is not looked at is told, with the reason. To be in time it must not wait for others after `begin_by`.
fn look(inspector: &mut Inspector, plan: &InspectionPlan, frame: &Frame, begin_by: Nanos) -> Result<Inspection, Reason> {
    let refused = |reason: &Reason| {
        tracing::warn!(
            inspection = plan.name,
            reason = reason.name(),
            "failed to look at a part: {}",
            reason.text()
        );
    };
    let failed = |error: InspectError| {
        tracing::error!(inspection = plan.name, %error, "failed to inspect a frame");
        reason_of(&error)
    };
    let size = (frame.width, frame.height);
    if plan.calibrated_px.is_some_and(|calibrated| calibrated != size) {
        tracing::error!(
            inspection = plan.name,
            width = size.0,
            height = size.1,
            "failed to measure in a frame of another size than the camera was calibrated with; calibrate it again"
        );
        return Err(Reason::FrameSize);
    }
    let drawn = plan.rules.placed(size, Whereabouts::AsDrawn).inspect_err(refused)?;
    let Some(finder) = &plan.finder else {
        return inspector.inspect_by(frame, &drawn).map_err(failed);
    };
    let started = flow::now();
    let found = finder.find(frame, begin_by).ok_or(Reason::Internal)?;
    let upright = found
        .and_then(|pose| located::upright(frame, drawn.area.crop, pose))
        .map_err(|why| {
            tracing::info!(inspection = plan.name, %why, "a part is not decidable");
            if why == NotUpright::Frame {
                Reason::FrameSize
            } else {
                Reason::NotLocated
            }
        })?;
    let mut placed = plan.rules.placed(upright.size(), upright.whereabouts()).inspect_err(refused)?;
    placed.scale = upright.scale(placed.scale);
    let located = flow::now().since(started);
    let mut inspection = inspector.inspect_by(&upright.frame, &placed).map_err(failed)?;
    inspection.findings = upright.in_frame(inspection.findings, plan.rules.scale);
    inspection.latency.preprocess += located;
    Ok(inspection)
}

fn judged(inspection: Inspection, frame: &Frame, model: &ModelIdentity) -> Inspected {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Inspected {
        defect_code: inspection.defect_code,
        queue_us: 0,
        preprocess_us: micros(inspection.latency.preprocess),
        infer_us: micros(inspection.latency.infer),
        postprocess_us: micros(inspection.latency.postprocess),
        view: View {
            verdict: inspection.verdict,
            reason: inspection.reason,
            severity: inspection.severity,
            score: Some(inspection.score).filter(|score| score.is_finite()),
            threshold: Some(inspection.threshold).filter(|threshold| threshold.is_finite()),
            findings: inspection.findings,
            model: Some(model.clone()),
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
        severity: None,
        findings: Vec::new(),
        model: None,
    }
}
