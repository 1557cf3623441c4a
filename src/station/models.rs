//! Which models are in force: one set for all inspections, which never changes; another is put in its place.
//!
//! A set goes by its `ConfigChecksum`, which covers the configuration and every model. A part carries that of the moment of its trigger, so
//! whatever happens meanwhile, all of it is judged by one set, and PLC and record are told which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::error::StationError;
use crate::config::recipe::InspectionConfig;
use crate::config::station::StationConfig;
use crate::line::event::InspectionIndex;
use crate::model::manifest::{Kind, Manifest};
use crate::model::package::{MANIFEST, Package};
use crate::model::registry::{KnownSet, Registry, SETS_MAX};
use crate::model::signature::Trust;
use crate::part::ModelIdentity;
use crate::rpc::{convert, proto};
use crate::vision::reading;

/// The model of an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInForce {
    /// Which package.
    pub identity: ModelIdentity,
    /// What it does; `None` where its manifest does not read: then it is refused when it is loaded.
    pub kind: Option<Kind>,
    /// Where it is loaded from.
    pub path: PathBuf,
}

/// The models of all inspections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSet {
    /// Checksum of configuration, recipe and models.
    pub config_checksum: u32,
    /// By inspection.
    pub models: Vec<ModelInForce>,
}

impl ModelSet {
    /// The set of these models under this configuration.
    pub fn new(configuration: &str, models: Vec<ModelInForce>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(configuration);
        for model in &models {
            hasher.update(convert::model(&model.identity).sha256);
        }
        let digest = hasher.finalize();
        Self {
            config_checksum: u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]),
            models,
        }
    }

    /// The set with another model for these inspections.
    #[must_use]
    pub fn with(&self, configuration: &str, inspections: &[InspectionIndex], model: &ModelInForce) -> Self {
        let mut models = self.models.clone();
        for inspection in inspections {
            if let Some(place) = models.get_mut(*inspection) {
                place.clone_from(model);
            }
        }
        Self::new(configuration, models)
    }

    /// What the checksum stands for.
    pub fn known(&self) -> KnownSet {
        // A model whose manifest does not read has no name, and never judges.
        let named = self.models.iter().filter(|model| model.kind.is_some());
        let mut models: Vec<ModelIdentity> = named.map(|model| model.identity.clone()).collect();
        models.sort_by(|a, b| a.sha256.cmp(&b.sha256));
        models.dedup();
        KnownSet {
            config_checksum: self.config_checksum,
            models,
        }
    }
}

/// What a station starts with.
pub struct AtStart {
    /// What was activated, else what the configuration names.
    pub first: Arc<ModelSet>,
    /// What is activated; it knows of the first set.
    pub registry: Registry,
    /// Which packages are trusted.
    pub trust: Trust,
    /// The models behind each checksum.
    pub known: KnownModels,
}

/// The models that a station starts with.
///
/// # Errors
/// When a manifest or a key cannot be read, or the registry not be used.
pub fn at_start(config: &StationConfig) -> Result<AtStart, StationError> {
    let trust = Trust::read(config.models.require_signature, &config.models.trusted_keys)?;
    let mut registry = Registry::open(&config.state_directory)?;
    let mut placed: BTreeMap<&Path, PathBuf> = BTreeMap::new();
    let mut models = Vec::new();
    for inspection in config.inspections() {
        let path = match registry.activated(&inspection.name, &inspection.model) {
            Some(activated) => {
                let path = registry.path_of(&activated.current);
                tracing::info!(
                    inspection = inspection.name,
                    package = %path.display(),
                    configured = %inspection.model.display(),
                    "the package that was activated runs, in place of the one that station.toml names"
                );
                path
            }
            None => placed
                .entry(&inspection.model)
                .or_insert_with(|| kept(&registry, &inspection.model))
                .clone(),
        };
        models.push(in_force(path)?);
    }
    for (inspection, model) in config.inspections().zip(&models) {
        check_rules(inspection, model)?;
    }
    let set = ModelSet::new(&config.checksummed(), models);
    let configured: Vec<(&str, &Path)> = config
        .inspections()
        .map(|inspection| (inspection.name.as_str(), inspection.model.as_path()))
        .collect();
    if let Err(error) = registry.begin(&configured, set.known()) {
        tracing::warn!(%error, "parts that are recovered after a crash may be recorded without the names of their models");
    }
    registry.sweep(&hashes(&set));
    let known = KnownModels::new(registry.sets());
    known.add(set.known());
    Ok(AtStart {
        first: Arc::new(set),
        registry,
        trust,
        known,
    })
}

/// Whether the model tells what the inspection asks for. A manifest that does not read is told of by whoever loads it.
fn check_rules(inspection: &InspectionConfig, model: &ModelInForce) -> Result<(), StationError> {
    let text = std::fs::read_to_string(model.path.join(MANIFEST)).unwrap_or_default();
    let Ok(manifest) = Manifest::from_text(&text) else { return Ok(()) };
    let misfit = |reason| StationError::Rules {
        inspection: inspection.name.clone(),
        reason,
    };
    inspection.rules.check(&reading::abilities(&manifest)).map_err(misfit)
}

/// The hashes of a set's manifests.
pub fn hashes(set: &ModelSet) -> Vec<String> {
    set.models.iter().map(|model| model.identity.sha256.clone()).collect()
}

/// Sessions run from a copy that nobody else changes, which is the way back to it as well. Where there can be none, from the package itself.
fn kept(registry: &Registry, configured: &Path) -> PathBuf {
    if let Some(place) = registry.kept(configured) {
        return place;
    }
    // What is wrong with a package is told by whoever loads it.
    let Ok(package) = Package::open(configured) else {
        return configured.to_owned();
    };
    registry.keep(&package).unwrap_or_else(|error| {
        tracing::warn!(%error, "the station runs its model from where it lies: do not change it there; there will be no way back to it");
        configured.to_owned()
    })
}

/// The model in this folder, by its manifest.
///
/// # Errors
/// When there is none.
pub fn in_force(path: PathBuf) -> Result<ModelInForce, StationError> {
    let file = path.join(MANIFEST);
    let text = std::fs::read(&file).map_err(|source| StationError::Model { path: file, source })?;
    let sha256 = crate::model::manifest::sha256_hex(&text);
    let manifest = String::from_utf8(text).ok().and_then(|text| Manifest::from_text(&text).ok());
    Ok(match manifest {
        Some(manifest) => ModelInForce {
            identity: ModelIdentity {
                name: manifest.name,
                version: manifest.version,
                sha256,
            },
            kind: Some(manifest.kind),
            path,
        },
        None => ModelInForce {
            identity: ModelIdentity {
                name: String::new(),
                version: String::new(),
                sha256,
            },
            kind: None,
            path,
        },
    })
}

/// What checksums stand for, for those who make records.
#[derive(Debug, Clone, Default)]
pub struct KnownModels(Arc<Mutex<Vec<KnownSet>>>);

impl KnownModels {
    /// Those that are known from before, oldest first.
    pub fn new(sets: &[KnownSet]) -> Self {
        Self(Arc::new(Mutex::new(sets.to_vec())))
    }

    /// Another is known, and in force. The oldest of [`SETS_MAX`] is forgotten.
    pub fn add(&self, set: KnownSet) {
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|known| known.config_checksum != set.config_checksum);
        sets.push(set);
        let beyond = sets.len().saturating_sub(SETS_MAX);
        sets.drain(..beyond);
    }

    /// The models behind a checksum, as records name them. 0 is a part of which no more is known than that it was here: those in force.
    pub fn of(&self, config_checksum: u32) -> Vec<proto::Model> {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = if config_checksum == 0 {
            sets.last()
        } else {
            sets.iter().find(|set| set.config_checksum == config_checksum)
        };
        known.map(|set| set.models.iter().map(convert::model).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(version: &str) -> ModelInForce {
        ModelInForce {
            identity: ModelIdentity {
                name: "cap".into(),
                version: version.into(),
                sha256: crate::model::manifest::sha256_hex(version.as_bytes()),
            },
            kind: Some(Kind::Anomaly),
            path: version.into(),
        }
    }

    #[test]
    fn a_checksum_stands_for_configuration_and_models() {
        let set = ModelSet::new("a", vec![model("1"), model("1")]);
        let other = set.with("a", &[1], &model("2"));
        assert_ne!(set.config_checksum, other.config_checksum);
        assert_ne!(set.config_checksum, ModelSet::new("b", set.models.clone()).config_checksum);
        assert_eq!(other.with("a", &[1], &model("1")), set);
        assert_eq!((set.known().models.len(), other.known().models.len()), (1, 2));
    }

    #[test]
    fn a_record_names_the_models_of_its_checksum_and_none_where_they_are_unknown() {
        let (old, new) = (ModelSet::new("a", vec![model("1")]), ModelSet::new("a", vec![model("2")]));
        let known = KnownModels::new(&[old.known()]);
        known.add(new.known());
        let versions = |checksum| known.of(checksum).into_iter().map(|model| model.version).collect::<Vec<_>>();
        assert_eq!(versions(old.config_checksum), ["1"]);
        assert_eq!(versions(0), ["2"]);
        assert!(versions(old.config_checksum ^ new.config_checksum).is_empty());
    }
}
