//! Where a station that runs is asked for other models, and tells how far those of its start are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::oneshot;

use super::line_thread::Recorded;
use crate::config::station::StationConfig;
use crate::flow::{Receiver, Sender, WhenFull, bounded};
use crate::model::activation::{ActivationError, ActivationRequest, Exchanged, ModelChange, ModelsInForce, ModelsLoading};
use crate::rpc::models::StationModels;

/// What becomes of a question.
pub(super) type Outcome<T> = Result<T, ActivationError>;

/// What is asked.
pub(super) enum Asked {
    /// One model.
    Model {
        /// Which.
        request: ActivationRequest,
        /// Where the answer goes.
        answer: oneshot::Sender<Outcome<Exchanged>>,
    },
    /// Those that a configuration names which was read again; in force are they all, or none.
    Configuration {
        /// It.
        config: Arc<StationConfig>,
        /// Where the answer goes.
        answer: oneshot::Sender<Outcome<Vec<Exchanged>>>,
    },
}

impl Asked {
    fn refuse(self, error: ActivationError) {
        // Whoever asked may have gone.
        match self {
            Self::Model { answer, .. } => drop(answer.send(Err(error))),
            Self::Configuration { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// Where other models are asked for. With the last who may ask the loader's thread ends.
pub struct ModelDesk {
    asked: Sender<Asked>,
    /// Whether one is being answered: there is one at a time.
    busy: Arc<AtomicBool>,
    in_force: Arc<ArcSwap<ModelsInForce>>,
    loading: ArcSwapOption<ModelsLoading>,
    /// Here, and not with the loader: a proof that takes long must not keep the journal open when the station stops.
    records: Sender<Recorded>,
}

impl ModelDesk {
    /// A desk, and where what is asked at it arrives.
    pub(super) fn new(records: Sender<Recorded>) -> (Arc<Self>, Receiver<Asked>) {
        let (ask, asked) = bounded("models/asked", 1, WhenFull::DropNewest);
        let desk = Self {
            asked: ask,
            busy: Arc::default(),
            in_force: Arc::default(),
            loading: ArcSwapOption::empty(),
            records,
        };
        (Arc::new(desk), asked)
    }

    /// What tells it that models are in force, and that it may be asked again.
    pub(super) fn board(&self) -> (Arc<ArcSwap<ModelsInForce>>, Arc<AtomicBool>) {
        (Arc::clone(&self.in_force), Arc::clone(&self.busy))
    }

    /// Has it recorded what came of a wish. Returns whether it will be.
    pub(super) fn record(&self, change: ModelChange) -> bool {
        self.records.send(Recorded::ModelChange(Box::new(change))).is_ok()
    }

    /// Asks for the models of a configuration that was read again.
    pub(super) fn ask_for_configuration(&self, config: Arc<StationConfig>) -> oneshot::Receiver<Outcome<Vec<Exchanged>>> {
        let (answer, answered) = oneshot::channel();
        self.put(Asked::Configuration { config, answer });
        answered
    }

    /// How far the models of a start are; `None` when there is nothing more to load.
    pub(super) fn tell_loading(&self, loading: Option<ModelsLoading>) {
        self.loading.store(loading.map(Arc::new));
    }

    fn put(&self, asked: Asked) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return asked.refuse(ActivationError::Busy);
        }
        if let Err(asked) = self.asked.send(asked) {
            asked.refuse(ActivationError::Station("the station stops".into()));
        }
    }
}

impl StationModels for ModelDesk {
    fn in_force(&self) -> Arc<ModelsInForce> {
        self.in_force.load_full()
    }

    fn loading(&self) -> Option<Arc<ModelsLoading>> {
        self.loading.load_full()
    }

    fn ask(&self, request: ActivationRequest) -> oneshot::Receiver<Outcome<Exchanged>> {
        let (answer, answered) = oneshot::channel();
        self.put(Asked::Model { request, answer });
        answered
    }
}
