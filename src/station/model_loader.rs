//! Other models for a station that runs: loaded and proven beside those in force, then put in their place between two parts.
//!
//! ```text
//! asked (gRPC) ──> models thread ── a thread that gives way: read, trust, keep, load, golden gate, once for each engine
//!                      │ passed                        └─ refused: told, counted, nothing changed
//!                      ├─ to each engine: what was loaded, before anybody needs it
//!                      ├─ to the registry: durable, so that a restart runs it
//!                      └─ to the line: parts that are triggered from now on are judged by it ──> answered
//! ```
//!
//! Those before stay loaded for as long as a part is open that is judged by them. There is one candidate at a time, and no second exchange
//! before the parts of the last are gone: an engine holds two sets of models at most, and one candidate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::build::{Control, StationError, spawn};
use super::engines::{Delivery, ModelPorts};
use super::line_thread::LineInput;
use super::models::{self, AtStart, KnownModels, ModelInForce, ModelSet};
use crate::config::recipe::{InspectionConfig, RecipeConfig};
use crate::config::station::StationConfig;
use crate::flow::{self, NothingReceived, Receiver, Sender, WhenFull, bounded};
use crate::line::event::InspectionIndex;
use crate::line::image::StationMode;
use crate::model::activation::{ActivationError, ActivationRequest, Exchanged, InspectionModels, ModelsInForce, Wanted};
use crate::model::package::Package;
use crate::model::registry::{Activated, Registry};
use crate::model::signature::Trust;
use crate::plc::Shown;
use crate::recipe::Rules;
use crate::rpc::models::StationModels;
use crate::telemetry::Metrics;
use crate::vision::inspector::Inspector;
use crate::vision::providers::ProviderOrder;
use crate::vision::reading;

/// Deliveries that wait for an engine: there is one exchange at a time, so this is never reached by an engine that works.
const DELIVERIES_MAX: usize = 4;

/// Models that wait to be unloaded; beyond that the engine unloads them itself.
const RETIRED_MAX: usize = 64;

/// How often models that nobody needs are unloaded.
const UNLOAD_EVERY: Duration = Duration::from_millis(500);

/// How long the line may take to hear of an exchange: it never waits for anybody.
const TAKEN_MAX: Duration = Duration::from_secs(10);

/// How long an exchange waits, besides the deadline, for the parts of the last one to be gone.
const DRAINED_MAX: Duration = Duration::from_secs(10);

/// How often it looks.
const DRAINED_EVERY: Duration = Duration::from_millis(5);

/// How much a proof gives way: a thread that judges parts gets nine times as much of a core that both want (Linux, `sched_prio_to_weight`). Not
/// more: a thread that hardly ever runs may hold what all wait for, such as the process's map of its memory.
const NICENESS: i32 = 10;

type Answer = oneshot::Sender<Result<Exchanged, ActivationError>>;

struct Asked {
    request: ActivationRequest,
    answer: Answer,
}

/// An inspection, as far as its model must fit it.
#[derive(Debug, Clone)]
struct Place {
    recipe: u16,
    name: String,
    /// The package that the configuration names.
    configured: PathBuf,
    rules: Rules,
}

impl Place {
    fn of((recipe, inspection): (&RecipeConfig, &InspectionConfig)) -> Self {
        Self {
            recipe: recipe.number,
            name: inspection.name.clone(),
            configured: inspection.model.clone(),
            rules: inspection.rules.clone(),
        }
    }

    fn name_in_recipe(&self) -> String {
        format!("{}/{}", self.recipe, self.name)
    }
}

/// Where other models are asked for.
#[derive(Clone)]
pub struct ModelDesk {
    asked: Sender<Asked>,
    busy: Arc<AtomicBool>,
    in_force: Arc<ArcSwap<ModelsInForce>>,
}

impl StationModels for ModelDesk {
    fn in_force(&self) -> Arc<ModelsInForce> {
        self.in_force.load_full()
    }

    fn ask(&self, request: ActivationRequest) -> oneshot::Receiver<Result<Exchanged, ActivationError>> {
        let (answer, answered) = oneshot::channel();
        if self.busy.swap(true, Ordering::AcqRel) {
            let _ = answer.send(Err(ActivationError::Busy));
            return answered;
        }
        if let Err(Asked { answer, .. }) = self.asked.send(Asked { request, answer }) {
            let _ = answer.send(Err(ActivationError::Station("the station stops".into())));
        }
        answered
    }
}

/// What exchanges models: made before the engines, started with the rest.
pub struct ModelLoader {
    configuration: String,
    inspections: Vec<Place>,
    order: ProviderOrder,
    trust: Trust,
    activate_while_online: bool,
    deadline: Duration,
    registry: Registry,
    known: KnownModels,
    current: Arc<ModelSet>,
    /// Sets that were in force; whether a part still needs them.
    before: Vec<Weak<ModelSet>>,
    engines: Vec<Sender<Delivery>>,
    retired: Receiver<Inspector>,
    asked: Receiver<Asked>,
    busy: Arc<AtomicBool>,
    in_force: Arc<ArcSwap<ModelsInForce>>,
    line: Sender<LineInput>,
    shown: Shown,
    metrics: Arc<Metrics>,
}

/// A candidate that passed.
struct Proven {
    model: ModelInForce,
    /// One for each engine; none where the model is loaded already.
    inspectors: Vec<Inspector>,
}

impl ModelLoader {
    /// Sets it up, with what each engine is given of it and where others ask.
    pub fn new(
        config: &StationConfig,
        models: AtStart,
        line: &Sender<LineInput>,
        shown: &Shown,
        metrics: &Arc<Metrics>,
    ) -> (Self, Vec<ModelPorts>, ModelDesk) {
        let (retire, retired) = bounded("models/retired", RETIRED_MAX, WhenFull::DropNewest);
        let (ask, asked) = bounded("models/asked", 1, WhenFull::DropNewest);
        let (mut engines, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..config.engine.workers {
            let (deliver, deliveries) = bounded("models/deliveries", DELIVERIES_MAX, WhenFull::DropNewest);
            engines.push(deliver);
            ends.push(ModelPorts {
                first: Arc::clone(&models.first),
                trust: models.trust.clone(),
                deliveries,
                retired: retire.clone(),
            });
        }
        let desk = ModelDesk {
            asked: ask,
            busy: Arc::default(),
            in_force: Arc::default(),
        };
        let loader = Self {
            configuration: config.checksummed(),
            inspections: config
                .recipes
                .iter()
                .flat_map(|recipe| recipe.inspections.iter().map(move |inspection| (recipe, inspection)))
                .map(Place::of)
                .collect(),
            order: config.engine.order,
            trust: models.trust,
            activate_while_online: config.models.activate_while_online,
            deadline: config.timing.deadline,
            registry: models.registry,
            known: models.known,
            current: models.first,
            before: Vec::new(),
            engines,
            retired,
            asked,
            busy: Arc::clone(&desk.busy),
            in_force: Arc::clone(&desk.in_force),
            line: line.clone(),
            shown: Arc::clone(shown),
            metrics: Arc::clone(metrics),
        };
        loader.tell_in_force();
        (loader, ends, desk)
    }

    /// Starts its thread, which ends when nobody is left to ask.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn start(mut self, control: &Sender<Control>) -> Result<JoinHandle<()>, StationError> {
        spawn("models", control, move || self.run())
    }

    fn run(&mut self) {
        loop {
            match self.asked.receive_timeout(UNLOAD_EVERY) {
                Ok(Asked { request, answer }) => {
                    let outcome = self.serve(&request);
                    self.tell(&request, &outcome);
                    self.busy.store(false, Ordering::Release);
                    // Whoever asked may have gone; the log knows.
                    let _ = answer.send(outcome);
                }
                Err(NothingReceived::TimedOut) => {}
                Err(NothingReceived::Closed) => return,
            }
            while let Some(inspector) = self.retired.try_receive() {
                drop(inspector);
            }
        }
    }

    fn serve(&mut self, request: &ActivationRequest) -> Result<Exchanged, ActivationError> {
        let inspections = self.find(&request.inspection)?;
        self.check_moment(&request.inspection)?;
        let exchanged = self.exchange(&inspections, request);
        // A candidate that was refused is kept by nobody.
        self.registry.sweep(&models::hashes(&self.current));
        exchanged
    }

    /// The inspections that go by a name: those of all recipes that have it and the same configured package, which are one to whoever exchanges
    /// models. Where packages differ, the recipe's number and a slash before the name say which.
    fn find(&self, asked: &str) -> Result<Vec<InspectionIndex>, ActivationError> {
        let named = |place: &&Place| place.name == asked || place.name_in_recipe() == asked;
        let known = || {
            let names: BTreeSet<String> = self
                .inspections
                .iter()
                .map(|place| format!("\"{}\"", self.name_of(place)))
                .collect();
            names.into_iter().collect::<Vec<_>>().join(", ")
        };
        let Some(first) = self.inspections.iter().find(named) else {
            return Err(ActivationError::UnknownInspection {
                asked: asked.to_owned(),
                known: known(),
            });
        };
        if self
            .inspections
            .iter()
            .filter(named)
            .any(|place| place.configured != first.configured)
        {
            return Err(ActivationError::SeveralInspections {
                asked: asked.to_owned(),
                known: known(),
            });
        }
        let is_one = |place: &Place| (&place.name, &place.configured) == (&first.name, &first.configured);
        let indices = self.inspections.iter().enumerate().filter(|(_, place)| is_one(place));
        Ok(indices.map(|(index, _)| index).collect())
    }

    /// What an inspection goes by: its name, with the recipe's number where others of that name have a package of their own.
    fn name_of(&self, place: &Place) -> String {
        let is_other = |other: &Place| other.name == place.name && other.configured != place.configured;
        if self.inspections.iter().any(is_other) {
            place.name_in_recipe()
        } else {
            place.name.clone()
        }
    }

    /// Whether models may be exchanged now.
    fn check_moment(&self, inspection: &str) -> Result<(), ActivationError> {
        let shown = self.shown.load();
        if shown.station_mode == StationMode::Preoperational {
            return Err(ActivationError::NotReady);
        }
        if shown.online && !self.activate_while_online {
            return Err(ActivationError::Online(inspection.to_owned()));
        }
        Ok(())
    }

    fn exchange(&mut self, inspections: &[InspectionIndex], request: &ActivationRequest) -> Result<Exchanged, ActivationError> {
        let inspection = inspections[0];
        let Place { name, configured, .. } = self.inspections[inspection].clone();
        let before = self.current.models[inspection].clone();
        let way_back = self
            .registry
            .activated(&name, &configured)
            .and_then(|activated| activated.previous.clone());
        let source = match &request.wanted {
            Wanted::Package(package) => package.clone(),
            Wanted::Previous => {
                let previous = way_back.as_deref().ok_or_else(|| ActivationError::NoPrevious(name.clone()))?;
                self.registry.path_of(previous)
            }
        };
        let proven = self.prove(&source, inspections)?;
        let changed = proven.model.identity.sha256 != before.identity.sha256;
        let set = Arc::new(self.current.with(&self.configuration, inspections, &proven.model));
        if changed {
            self.put_in_force(&set, proven.inspectors, inspection)?;
        }
        Ok(Exchanged {
            model: proven.model.identity,
            previous: before.identity,
            config_checksum: set.config_checksum,
            changed,
        })
    }

    /// Reads, keeps, loads and proves a package, on a thread that gives way to those that judge parts.
    fn prove(&self, source: &Path, inspections: &[InspectionIndex]) -> Result<Proven, ActivationError> {
        // Sessions on one thread of their own are made on the thread that gives way. The others start threads, which would give way for good:
        // those are proven on one thread first, and made again once they have passed.
        let alone = ProviderOrder { threads: 1, ..self.order };
        let made_at_once = self.order.threads == 1;
        let copies = if made_at_once { self.engines.len() } else { 1 };
        let mut proven = std::thread::scope(|scope| {
            let candidate = || {
                let _ = rustix::process::nice(NICENESS);
                self.candidate(source, inspections, alone, copies)
            };
            let thread = Builder::new().name("model-proof".into()).spawn_scoped(scope, candidate);
            let thread = thread.map_err(|error| ActivationError::Station(format!("no thread can be started: {error}")))?;
            thread
                .join()
                .unwrap_or_else(|_| Err(ActivationError::Station("the runtime panicked on this model".into())))
        })?;
        if !made_at_once && !proven.inspectors.is_empty() {
            let make = |_| {
                let package = Package::open(&proven.model.path)?;
                Ok(Inspector::new(package.activate(self.order).map_err(|error| error.of(source))?))
            };
            proven.inspectors = (0..self.engines.len()).map(make).collect::<Result<_, ActivationError>>()?;
        }
        Ok(proven)
    }

    fn candidate(
        &self,
        source: &Path,
        inspections: &[InspectionIndex],
        order: ProviderOrder,
        copies: usize,
    ) -> Result<Proven, ActivationError> {
        let inspection = inspections[0];
        let package = Package::open(source)?;
        self.trust.check(&package)?;
        let identity = package.identity();
        let replaced = &self.current.models[inspection];
        if let Some(wanted) = replaced.kind.filter(|wanted| *wanted != package.manifest.kind) {
            return Err(ActivationError::OtherKind {
                package: source.into(),
                found: package.manifest.kind,
                inspection: self.inspections[inspection].name.clone(),
                wanted,
            });
        }
        let abilities = reading::abilities(&package.manifest);
        for place in inspections.iter().map(|index| &self.inspections[*index]) {
            let misfit = |reason| ActivationError::Rules {
                package: source.into(),
                inspection: self.name_of(place),
                reason,
            };
            place.rules.check(&abilities).map_err(misfit)?;
        }
        let loaded = self.current.models.iter().find(|model| model.identity.sha256 == identity.sha256);
        if let Some(loaded) = loaded {
            // Another inspection has it, or this one: it is loaded and proven.
            return Ok(Proven {
                model: loaded.clone(),
                inspectors: Vec::new(),
            });
        }
        let kind = Some(package.manifest.kind);
        let path = self.registry.keep(&package)?;
        drop(package);
        let make = |_| {
            Ok(Inspector::new(
                Package::open(&path)?.activate(order).map_err(|error| error.of(source))?,
            ))
        };
        let inspectors = (0..copies).map(make).collect::<Result<_, ActivationError>>()?;
        Ok(Proven {
            model: ModelInForce { identity, kind, path },
            inspectors,
        })
    }

    /// The exchange itself. Whatever fails before the line knows leaves everything as it was.
    fn put_in_force(&mut self, set: &Arc<ModelSet>, inspectors: Vec<Inspector>, inspection: usize) -> Result<(), ActivationError> {
        self.wait_for_parts_before()?;
        let Place { name, configured, .. } = self.inspections[inspection].clone();
        // It may have gone online meanwhile.
        self.check_moment(&name)?;
        let sha256 = &set.models[inspection].identity.sha256;
        let mut inspectors = inspectors.into_iter();
        for engine in &self.engines {
            let delivery = Delivery {
                set: Arc::downgrade(set),
                loaded: inspectors.next().map(|inspector| (sha256.clone(), inspector)).into_iter().collect(),
            };
            let sent = engine.send(delivery);
            sent.map_err(|_| ActivationError::Station("an engine does not take the model".into()))?;
        }
        let activated = Activated {
            // The way back leads back again.
            previous: Some(self.current.models[inspection].identity.sha256.clone()),
            inspection: name,
            configured,
            current: sha256.clone(),
        };
        self.registry.activate(activated, set.known())?;
        self.known.add(set.known());
        let (taken, told) = sync_channel(1);
        let sent = self.line.send(LineInput::ModelsExchanged(Arc::clone(set), taken));
        if sent.is_err() || told.recv_timeout(TAKEN_MAX).is_err() {
            return Err(ActivationError::Station(
                "the line is not there to take it; the next start of the station does".into(),
            ));
        }
        let before = std::mem::replace(&mut self.current, Arc::clone(set));
        self.before.push(Arc::downgrade(&before));
        self.tell_in_force();
        Ok(())
    }

    /// Until no part needs the models before those in force.
    fn wait_for_parts_before(&mut self) -> Result<(), ActivationError> {
        let until = flow::now() + self.deadline + DRAINED_MAX;
        loop {
            self.before.retain(|set| set.strong_count() > 0);
            if self.before.is_empty() {
                return Ok(());
            }
            if flow::now() >= until {
                return Err(ActivationError::Station("parts of before the last exchange are still open".into()));
            }
            std::thread::park_timeout(DRAINED_EVERY);
        }
    }

    fn tell_in_force(&self) {
        let of = |(place, model): (&Place, &ModelInForce)| {
            let Place { name, configured, .. } = place;
            let activated = self.registry.activated(name, configured);
            let previous = activated.and_then(|activated| activated.previous.as_ref());
            let previous = previous.and_then(|sha256| models::in_force(self.registry.path_of(sha256)).ok());
            InspectionModels {
                inspection: name.clone(),
                current: model.identity.clone(),
                previous: previous.map(|model| model.identity),
                configured: configured.clone(),
                activated: activated.is_some(),
            }
        };
        let inspections = self.inspections.iter().zip(&self.current.models).map(of).collect();
        self.in_force.store(Arc::new(ModelsInForce {
            inspections,
            config_checksum: self.current.config_checksum,
        }));
    }

    fn tell(&self, request: &ActivationRequest, outcome: &Result<Exchanged, ActivationError>) {
        let ActivationRequest { inspection, wanted, by } = request;
        let package = match wanted {
            Wanted::Package(package) => package.display().to_string(),
            Wanted::Previous => "the one before".into(),
        };
        match outcome {
            Ok(exchanged) => {
                let Exchanged { model, previous, .. } = exchanged;
                self.metrics.model_asked(if exchanged.changed { "activated" } else { "unchanged" });
                tracing::info!(
                    inspection,
                    package,
                    by,
                    name = model.name,
                    version = model.version,
                    sha256 = model.sha256,
                    previous_version = previous.version,
                    previous_sha256 = previous.sha256,
                    config_checksum = format!("{:08x}", exchanged.config_checksum),
                    changed = exchanged.changed,
                    "model activated"
                );
            }
            Err(error) => {
                self.metrics
                    .model_asked(if error.refuses_package() { "refused" } else { "not_now" });
                tracing::warn!(
                    inspection,
                    package,
                    by,
                    error = error.told(),
                    "model not activated: nothing changed"
                );
            }
        }
    }
}
