//! What is asked of the models of a station that runs, and what comes of it.

use std::path::PathBuf;

use super::manifest::Kind;
use super::package::PackageError;
use super::registry::RegistryError;
use super::signature::SignatureError;
use crate::part::ModelIdentity;

/// Another model for an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivationRequest {
    /// Name of the inspection.
    pub inspection: String,
    /// Which.
    pub wanted: Wanted,
    /// Who asks, for the log.
    pub by: String,
}

/// Which model is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The package in this folder.
    Package(PathBuf),
    /// The one before.
    Previous,
}

/// A model is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanged {
    /// What judges parts that are triggered from now on.
    pub model: ModelIdentity,
    /// What did before.
    pub previous: ModelIdentity,
    /// What those parts carry as `ConfigChecksum`.
    pub config_checksum: u32,
    /// Whether anything changed.
    pub changed: bool,
}

/// What was wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The package in this folder.
    Package(PathBuf),
    /// The one before.
    Previous,
    /// The package in this folder: the configuration, which was read again, names it.
    Configuration(PathBuf),
}

/// What came of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameOfIt {
    /// It judges parts that are triggered from now on.
    Exchanged,
    /// It did already.
    Unchanged,
    /// Nothing changed: the package is not fit for it, or there is no such inspection or package.
    Refused,
    /// Nothing changed: it was not the moment, or the station could not.
    NotNow,
}

/// That another model was wished for, and what came of it, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelChange {
    /// What was wished for.
    pub wish: Wish,
    /// What came of it.
    pub came_of_it: CameOfIt,
    /// Name of the inspection.
    pub inspection: String,
    /// Who asked.
    pub by: String,
    /// What judged parts when it was asked for; `None` where there is no such inspection.
    pub from: Option<ModelIdentity>,
    /// What was to judge them, as far as its manifest could be read.
    pub to: Option<ModelIdentity>,
    /// `ConfigChecksum` when it was asked for.
    pub from_checksum: u32,
    /// `ConfigChecksum` afterwards.
    pub to_checksum: u32,
    /// Why nothing changed; empty where nothing was in the way.
    pub reason: String,
    /// When it was asked for, Unix time in nanoseconds.
    pub asked_unix_ns: i64,
}

/// How far the models of a start are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelsLoading {
    /// The model that is being loaded, counted from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// Its package.
    pub model: PathBuf,
    /// Where it is to run.
    pub provider: String,
}

/// The models of an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectionModels {
    /// Name of the inspection.
    pub inspection: String,
    /// What judges parts that are triggered now.
    pub current: ModelIdentity,
    /// What did before, as far as there is a way back.
    pub previous: Option<ModelIdentity>,
    /// The package that the configuration names.
    pub configured: PathBuf,
    /// Whether the current one was activated since.
    pub activated: bool,
}

/// The models of a station.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelsInForce {
    /// By inspection, in the recipe's order.
    pub inspections: Vec<InspectionModels>,
    /// What parts that are triggered now carry as `ConfigChecksum`.
    pub config_checksum: u32,
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// There is no such inspection.
    #[error("failed to find inspection \"{asked}\": this station has {known}")]
    UnknownInspection {
        /// As asked.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// Another package is being proven.
    #[error("failed to begin: another activation is under way, and there is one at a time; wait for its answer")]
    Busy,
    /// The station has no models yet.
    #[error("failed to begin: the station still loads its models; try again once it is ready")]
    NotReady,
    /// The PLC is online.
    #[error(
        "failed to exchange the model of \"{0}\": the PLC is online, and this station exchanges models only while it is not; drop Online, or set activate_while_online = true in [models]"
    )]
    Online(String),
    /// There is no model before.
    #[error("failed to roll back \"{0}\": no model was in force before the one that is; activate the package you want")]
    NoPrevious(String),
    /// The package does something else.
    #[error(
        "failed to use model package {package}: it is of kind {}, inspection \"{inspection}\" has a model of kind {}; its limits would not mean the same, so change station.toml and start the station anew", found.name(), wanted.name()
    )]
    OtherKind {
        /// The package.
        package: PathBuf,
        /// Its kind.
        found: Kind,
        /// Name of the inspection.
        inspection: String,
        /// The kind that is in force.
        wanted: Kind,
    },
    /// Several recipes have such an inspection, with packages of their own.
    #[error("failed to find inspection \"{asked}\": recipes have several with packages of their own; name one of {known}")]
    SeveralInspections {
        /// The name that was asked for.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// It does not tell what the inspection asks for.
    #[error("failed to use model package {package} for inspection \"{inspection}\": {reason}")]
    Rules {
        /// The package.
        package: PathBuf,
        /// Name of the inspection.
        inspection: String,
        /// What is asked for, and what to do.
        reason: String,
    },
    /// It is not trusted.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is not whole, does not load, or does not prove itself.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// It cannot be kept.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The station's threads do not play along.
    #[error("failed to exchange the model: {0}; see the station's log")]
    Station(String),
}

impl ActivationError {
    /// What the journal calls it.
    pub fn came_of_it(&self) -> CameOfIt {
        match self {
            Self::UnknownInspection { .. }
            | Self::SeveralInspections { .. }
            | Self::NoPrevious(_)
            | Self::OtherKind { .. }
            | Self::Rules { .. }
            | Self::Signature(_)
            | Self::Package(_) => CameOfIt::Refused,
            Self::Busy | Self::NotReady | Self::Online(_) | Self::Registry(_) | Self::Station(_) => CameOfIt::NotNow,
        }
    }

    /// Whether the package is to blame, or who asked; not whether it was the wrong moment.
    pub fn refuses_package(&self) -> bool {
        matches!(
            self,
            Self::OtherKind { .. } | Self::Rules { .. } | Self::Signature(_) | Self::Package(_)
        )
    }

    /// With what caused it, in one line.
    pub fn told(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |told, cause| {
            let cause = cause.to_string();
            if told.contains(&cause) { told } else { format!("{told}: {cause}") }
        })
    }
}
