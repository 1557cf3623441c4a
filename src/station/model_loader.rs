//! Other models for a station that runs: loaded and proven beside those in force, then put in their place between two parts.
//!
//! ```text
//! asked (gRPC, SIGHUP) ──> models thread ── a thread that gives way: read, trust, keep, load, golden gate, once for each engine
//!                      │ passed                        └─ refused: told, counted, nothing changed
//!                      ├─ to each engine: what was loaded, before anybody needs it
//!                      ├─ to the registry: durable, so that a restart runs it
//!                      └─ to the line: parts that are triggered from now on are judged by it ──> answered
//! ```
//!
//! Those before stay loaded for as long as a part is open that is judged by them. There is one candidate at a time, and no second exchange
//! before the parts of the last are gone: an engine holds two sets of models at most, and one candidate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::configuration::Configuration;
use super::engines::{Delivery, ModelPorts};
use super::error::StationError;
use super::line_thread::{LineInput, Recorded};
use super::model_desk::{Asked, ModelDesk, Outcome};
use super::models::{self, AtStart, KnownModels, ModelInForce, ModelSet};
use super::threads::{Control, spawn};
use crate::config::recipe::{InspectionConfig, RecipeConfig};
use crate::config::station::StationConfig;
use crate::flow::{self, NothingReceived, Receiver, Sender, WhenFull, bounded};
use crate::line::event::InspectionIndex;
use crate::line::image::StationMode;
use crate::model::activation::{
    ActivationError, ActivationRequest, CameOfIt, Exchanged, InspectionModels, ModelChange, ModelsInForce, Wanted, Wish,
};
use crate::model::package::Package;
use crate::model::registry::{Activated, KnownSet, Registry, RegistryError};
use crate::model::signature::Trust;
use crate::part::ModelIdentity;
use crate::plc::Shown;
use crate::recipe::Rules;
use crate::telemetry::Metrics;
use crate::vision::giving_way::{self, GivingWay};
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

/// Who asks when the configuration was read again.
const CONFIGURATION: &str = "station.toml";

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

/// What is around the loader.
pub struct Surroundings {
    /// Is told what is in force.
    pub line: Sender<LineInput>,
    /// Takes what was asked for, and what came of it.
    pub records: Sender<Recorded>,
    /// Whether it is the moment.
    pub shown: Shown,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// What exchanges models: made before the engines, started with the rest.
pub struct ModelLoader {
    /// Where the next life of the station finds what was read again.
    configuration: Configuration,
    /// The configuration that models in force are put together with in their checksum.
    text: String,
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
    desk: Weak<ModelDesk>,
    line: Sender<LineInput>,
    shown: Shown,
    metrics: Arc<Metrics>,
}

/// A candidate that passed.
struct Proven {
    model: ModelInForce,
    /// One for each engine; none where the model is loaded already.
    inspectors: Vec<Inspector>,
    /// The threads of their sessions.
    giving_way: Arc<GivingWay>,
}

impl ModelLoader {
    /// Sets it up, with what each engine is given of it and where others ask.
    pub fn new(configuration: &Configuration, models: AtStart, around: Surroundings) -> (Self, Vec<ModelPorts>, Arc<ModelDesk>) {
        let config = &*configuration.in_force();
        let (retire, retired) = bounded("models/retired", RETIRED_MAX, WhenFull::DropNewest);
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
        let (desk, asked) = ModelDesk::new(around.records);
        let (in_force, busy) = desk.board();
        let loader = Self {
            configuration: configuration.clone(),
            text: config.checksummed(),
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
            busy,
            in_force,
            desk: Arc::downgrade(&desk),
            line: around.line,
            shown: around.shown,
            metrics: around.metrics,
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
                // Whoever asked may have gone; log and journal know.
                Ok(Asked::Model { request, answer }) => {
                    let outcome = self.serve(&request);
                    self.answered();
                    let _ = answer.send(outcome);
                }
                Ok(Asked::Configuration { config, answer }) => {
                    let outcome = self.configure(&config);
                    self.answered();
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

    /// Another question may come.
    fn answered(&self) {
        // A candidate that was refused is kept by nobody.
        self.registry.sweep(&models::hashes(&self.current));
        self.busy.store(false, Ordering::Release);
    }

    fn serve(&mut self, request: &ActivationRequest) -> Outcome<Exchanged> {
        let found = self.find(&request.inspection);
        let wish = match &request.wanted {
            Wanted::Package(package) => Wish::Package(package.clone()),
            Wanted::Previous => Wish::Previous,
        };
        let index = found.as_ref().ok().map(|inspections| inspections[0]);
        let change = self.wished_for(&request.inspection, wish, &request.by, index);
        let outcome = found.and_then(|inspections| {
            self.check_moment(&request.inspection)?;
            self.exchange(&inspections, request)
        });
        self.tell(change, outcome.as_ref());
        outcome
    }

    /// Puts in force what another configuration names, which differs from the one in force in nothing else: all of it, or none.
    fn configure(&mut self, config: &Arc<StationConfig>) -> Outcome<Vec<Exchanged>> {
        let wanted: Vec<PathBuf> = config.inspections().map(|inspection| inspection.model.clone()).collect();
        if wanted.len() != self.inspections.len() {
            return Err(ActivationError::Station("the configuration has other inspections".into()));
        }
        let differs = |index: &InspectionIndex| self.inspections[*index].configured != wanted[*index];
        let indices: Vec<InspectionIndex> = (0..wanted.len()).filter(differs).collect();
        let mut changes: Vec<(InspectionIndex, ModelChange)> = Vec::new();
        for &index in &indices {
            let wish = Wish::Configuration(wanted[index].clone());
            let change = self.wished_for(&self.name_of(&self.inspections[index]), wish, CONFIGURATION, Some(index));
            // Inspections of several recipes that are one are told of once.
            if !changes
                .iter()
                .any(|(_, told)| told.inspection == change.inspection && told.wish == change.wish)
            {
                changes.push((index, change));
            }
        }
        let before: Vec<ModelIdentity> = self.current.models.iter().map(|model| model.identity.clone()).collect();
        let outcome = self.exchange_all(config, &wanted, &indices);
        let of = |index: InspectionIndex| {
            let (model, previous) = (self.current.models[index].identity.clone(), before[index].clone());
            Exchanged {
                changed: model.sha256 != previous.sha256,
                model,
                previous,
                config_checksum: self.current.config_checksum,
            }
        };
        let exchanged: Vec<Exchanged> = changes.iter().map(|(index, _)| of(*index)).collect();
        for ((_, change), exchanged) in changes.into_iter().zip(&exchanged) {
            self.tell(change, outcome.as_ref().map(|()| exchanged));
        }
        outcome.map(|()| exchanged)
    }

    fn exchange_all(&mut self, config: &Arc<StationConfig>, wanted: &[PathBuf], indices: &[InspectionIndex]) -> Outcome<()> {
        let Some(&first) = indices.first() else { return Ok(()) };
        let name = self.name_of(&self.inspections[first]);
        self.check_moment(&name)?;
        let mut by_package: BTreeMap<&Path, Vec<InspectionIndex>> = BTreeMap::new();
        for &index in indices {
            by_package.entry(&wanted[index]).or_default().push(index);
        }
        let mut set = (*self.current).clone();
        let mut all_proven = Vec::new();
        for (source, inspections) in by_package {
            let proven = self.prove(source, &inspections)?;
            set = set.with(&config.checksummed(), &inspections, &proven.model);
            all_proven.push(proven);
        }
        self.put_in_force(&Arc::new(set), all_proven, &name, |loader, set| {
            let names = loader.inspections.iter().map(|place| place.name.as_str());
            let configured: Vec<(&str, &Path)> = names.zip(wanted.iter().map(PathBuf::as_path)).collect();
            loader.registry.begin(&configured, set)?;
            for (place, configured) in loader.inspections.iter_mut().zip(wanted) {
                place.configured.clone_from(configured);
            }
            loader.text = config.checksummed();
            loader.configuration.replace(Arc::clone(config));
            Ok(())
        })
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
        let model = proven.model.identity.clone();
        let changed = model.sha256 != before.identity.sha256;
        let set = Arc::new(self.current.with(&self.text, inspections, &proven.model));
        if changed {
            let activated = Activated {
                // The way back leads back again.
                previous: Some(before.identity.sha256.clone()),
                inspection: name.clone(),
                configured,
                current: model.sha256.clone(),
            };
            self.put_in_force(&set, vec![proven], &name, |loader, set| loader.registry.activate(activated, set))?;
        }
        Ok(Exchanged {
            model,
            previous: before.identity,
            config_checksum: set.config_checksum,
            changed,
        })
    }

    /// Reads, keeps, loads and proves a package, on threads that give way to those that judge parts until it does so itself.
    fn prove(&self, source: &Path, inspections: &[InspectionIndex]) -> Outcome<Proven> {
        let proof = giving_way::prove(|| self.candidate(source, inspections));
        let (proven, giving_way) = proof.map_err(|error| ActivationError::Station(format!("no thread can be started: {error}")))?;
        let (model, inspectors) = proven.map_err(|_| ActivationError::Station("the runtime panicked on this model".into()))??;
        Ok(Proven {
            model,
            inspectors,
            giving_way,
        })
    }

    /// The model in a package, and an inspector for each engine, none where it is loaded already.
    fn candidate(&self, source: &Path, inspections: &[InspectionIndex]) -> Outcome<(ModelInForce, Vec<Inspector>)> {
        let package = Package::open(source)?;
        self.trust.check(&package)?;
        let identity = package.identity();
        for &inspection in inspections {
            let replaced = &self.current.models[inspection];
            if let Some(wanted) = replaced.kind.filter(|wanted| *wanted != package.manifest.kind) {
                return Err(ActivationError::OtherKind {
                    package: source.into(),
                    found: package.manifest.kind,
                    inspection: self.inspections[inspection].name.clone(),
                    wanted,
                });
            }
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
            return Ok((loaded.clone(), Vec::new()));
        }
        let kind = Some(package.manifest.kind);
        let path = self.registry.keep(&package)?;
        drop(package);
        let make = |_| {
            Ok(Inspector::new(
                Package::open(&path)?.activate(self.order).map_err(|error| error.of(source))?,
            ))
        };
        let inspectors = (0..self.engines.len()).map(make).collect::<Outcome<_>>()?;
        Ok((ModelInForce { identity, kind, path }, inspectors))
    }

    /// The exchange itself; `note` makes it durable. Whatever fails before the line knows leaves everything as it was.
    fn put_in_force(
        &mut self,
        set: &Arc<ModelSet>,
        proven: Vec<Proven>,
        inspection: &str,
        note: impl FnOnce(&mut Self, KnownSet) -> Result<(), RegistryError>,
    ) -> Outcome<()> {
        self.wait_for_parts_before()?;
        // It may have gone online meanwhile.
        self.check_moment(inspection)?;
        let threads: Vec<_> = proven.iter().map(|proven| Arc::clone(&proven.giving_way)).collect();
        let of = |proven: Proven| (proven.model.identity.sha256, proven.inspectors.into_iter());
        let mut inspectors: Vec<_> = proven.into_iter().map(of).collect();
        for engine in &self.engines {
            let one_of_each = inspectors.iter_mut();
            let delivery = Delivery {
                set: Arc::downgrade(set),
                loaded: one_of_each
                    .filter_map(|(sha256, inspectors)| Some((sha256.clone(), inspectors.next()?)))
                    .collect(),
            };
            let sent = engine.send(delivery);
            sent.map_err(|_| ActivationError::Station("an engine does not take the model".into()))?;
        }
        note(self, set.known())?;
        self.known.add(set.known());
        for threads in &threads {
            threads.end();
        }
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

    /// The beginning of what the journal will say of a wish.
    fn wished_for(&self, inspection: &str, wish: Wish, by: &str, index: Option<InspectionIndex>) -> ModelChange {
        let meant = match &wish {
            Wish::Package(package) | Wish::Configuration(package) => Some(package.clone()),
            Wish::Previous => index.and_then(|index| {
                let Place { name, configured, .. } = &self.inspections[index];
                let previous = self.registry.activated(name, configured)?.previous.as_ref()?;
                Some(self.registry.path_of(previous))
            }),
        };
        let meant = meant.and_then(|package| models::in_force(package).ok());
        ModelChange {
            wish,
            came_of_it: CameOfIt::NotNow,
            inspection: inspection.to_owned(),
            by: by.to_owned(),
            from: index.map(|index| self.current.models[index].identity.clone()),
            to: meant.filter(|model| model.kind.is_some()).map(|model| model.identity),
            from_checksum: self.current.config_checksum,
            to_checksum: self.current.config_checksum,
            reason: String::new(),
            asked_unix_ns: flow::unix_now_ns(),
        }
    }

    /// Tells everybody what came of a wish: log, metrics, journal.
    fn tell(&self, mut change: ModelChange, outcome: Result<&Exchanged, &ActivationError>) {
        let package = match &change.wish {
            Wish::Package(package) | Wish::Configuration(package) => package.display().to_string(),
            Wish::Previous => "the one before".into(),
        };
        let (inspection, by) = (&change.inspection, &change.by);
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
                change.came_of_it = if exchanged.changed {
                    CameOfIt::Exchanged
                } else {
                    CameOfIt::Unchanged
                };
                change.to = Some(model.clone());
                change.to_checksum = exchanged.config_checksum;
            }
            Err(error) => {
                self.metrics
                    .model_asked(if error.refuses_package() { "refused" } else { "not_now" });
                change.reason = error.told();
                tracing::warn!(
                    inspection,
                    package,
                    by,
                    error = change.reason,
                    "model not activated: nothing changed"
                );
                change.came_of_it = error.came_of_it();
            }
        }
        let sent = self.desk.upgrade().is_some_and(|desk| desk.record(change));
        if !sent {
            self.metrics.record_dropped();
        }
    }
}
