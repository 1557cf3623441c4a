//! The configuration in force, and the way on which one that was read again reaches the station that runs.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;

use super::model_desk::ModelDesk;
use crate::config::station::StationConfig;
use crate::model::activation::{ActivationError, Exchanged};

/// The configuration of a station. It outlives the station's lives: what failed is started anew with what was in force.
#[derive(Clone)]
pub struct Configuration {
    in_force: Arc<ArcSwap<StationConfig>>,
    /// Where the station that runs is asked for other models.
    desk: Arc<Mutex<Weak<ModelDesk>>>,
}

impl Configuration {
    /// Begins with this one.
    pub fn new(config: StationConfig) -> Self {
        Self {
            in_force: Arc::new(ArcSwap::from_pointee(config)),
            desk: Arc::default(),
        }
    }

    /// The one in force.
    pub fn in_force(&self) -> Arc<StationConfig> {
        self.in_force.load_full()
    }

    /// Another is in force, and the next life of the station begins with it.
    pub(super) fn replace(&self, config: Arc<StationConfig>) {
        self.in_force.store(config);
    }

    /// A station runs, and is asked here.
    pub(super) fn serve(&self, desk: &Arc<ModelDesk>) {
        *self.desk.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(desk);
    }

    /// Has the models of this configuration loaded, proven and put in force, all or none, and waits for it: minutes, where a provider has to
    /// build them. Gives what changed, by inspection.
    ///
    /// # Errors
    /// When a model is refused, or it is not the moment, or no station runs; then nothing changed.
    pub fn exchange_models(&self, config: Arc<StationConfig>) -> Result<Vec<Exchanged>, ActivationError> {
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let stopped = || ActivationError::Station("the station does not run".into());
        let answered = desk.ok_or_else(stopped)?.ask_for_configuration(config);
        answered.blocking_recv().map_err(|_| stopped())?
    }
}
