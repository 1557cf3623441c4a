//! A taught package as the base of another lesson: more good parts are added to what it knows.
//!
//! Of the base are kept: its bank or its Gaussians, read back out of its graph; the held-out scores of its good parts, for the threshold that is
//! chosen again; its golden images. Its method, backbone, size and tiles stay, since nothing of it would fit otherwise.

use std::path::{Path, PathBuf};

use prost::Message;

use super::backbone::Backbone;
use super::detector::{Detector, Method};
use super::patchcore::PatchCoreOptions;
use super::record::{PARTS_MAX, Record};
use super::{Lesson, TeachError, recover};
use crate::model::manifest::{Extended, Manifest, Precision, Provenance, Teaching};
use crate::model::onnx::ModelProto;
use crate::model::package::{MODEL, Package, RECORD};

/// Why a package cannot be extended.
#[derive(Debug, thiserror::Error)]
pub enum ExtendError {
    /// Somebody else trained it.
    #[error(
        "failed to extend {package}: takt did not teach it, it was imported from {from}; train it further where it was trained, or teach a package of your own"
    )]
    Imported {
        /// The package.
        package: PathBuf,
        /// What it was imported from.
        from: String,
    },
    /// It computes with bytes.
    #[error("failed to extend {0}: it computes with bytes; extend the package that it was made of, then quantise the new one")]
    Bytes(PathBuf),
    /// It holds no record of its lesson.
    #[error(
        "failed to extend {0}: it holds no {RECORD}, the scores that a new threshold needs; an older takt taught it. Teach it once more from all of its good pictures, then it can be extended"
    )]
    NoRecord(PathBuf),
    /// Its record is of no use.
    #[error("failed to extend {package}: its {RECORD} {reason}; teach it once more from all of its good pictures with this takt")]
    Record {
        /// The package.
        package: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its graph does not look like one of this takt.
    #[error(
        "failed to extend {0}: its {MODEL} does not hold what this takt teaches where it looks for it; another takt wrote it. Teach it once more from all of its good pictures"
    )]
    Graph(PathBuf),
    /// The backbone is another one.
    #[error(
        "failed to extend {package}: it was taught with backbone {taught} (SHA-256 {taught_sha256}), but {given} was given; pass that file by --backbone"
    )]
    Backbone {
        /// The package.
        package: PathBuf,
        /// Name of its backbone.
        taught: String,
        /// Hash of its backbone.
        taught_sha256: String,
        /// What was given.
        given: String,
    },
    /// Every picture was taught already.
    #[error("failed to extend {package}: all pictures in {folder} were taught to it already; give the folder of new ones")]
    NothingNew {
        /// The package.
        package: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// Its threshold comes from costs, and none were given.
    #[error(
        "failed to extend {0}: its threshold was chosen by what mistakes cost; pass --defects with both costs again, or --false-reject-rate for one from good parts alone"
    )]
    Costs(PathBuf),
    /// Its version is no number.
    #[error("failed to extend {package}: its version \"{version}\" is no whole number to count on from; pass --version")]
    Version {
        /// The package.
        package: PathBuf,
        /// Its version.
        version: String,
    },
}

/// A package that can be extended.
#[derive(Debug, Clone)]
pub struct Base {
    /// The package.
    pub package: Package,
    /// What it kept of its lesson.
    pub record: Record,
    /// What it knows.
    pub detector: Detector,
    teaching: Teaching,
    method: Method,
}

impl Base {
    /// Opens the package at `path`, taught with `backbone` (a built-in name or a file).
    ///
    /// # Errors
    /// When it cannot be read or is none that this takt can extend.
    pub fn open(path: &Path, backbone: &str) -> Result<Self, TeachError> {
        let package = Package::open(path)?;
        let backbone = Backbone::open(backbone)?;
        Ok(Self::of(package, &backbone)?)
    }

    fn of(package: Package, backbone: &Backbone) -> Result<Self, ExtendError> {
        let path = package.path.clone();
        let teaching = match &package.manifest.provenance {
            Provenance::Taught(teaching) => teaching.as_ref().clone(),
            Provenance::Imported(imported) => {
                return Err(ExtendError::Imported {
                    package: path,
                    from: imported.imported_from.clone(),
                });
            }
        };
        if package.manifest.precision() == Precision::Int8 {
            return Err(ExtendError::Bytes(path));
        }
        let record = package.files.get(RECORD).ok_or_else(|| ExtendError::NoRecord(path.clone()))?;
        let refused = |reason: String| ExtendError::Record {
            package: path.clone(),
            reason,
        };
        let record = Record::read(record).map_err(refused)?;
        if record.parts.len() >= PARTS_MAX || record.scores.len() >= PARTS_MAX {
            return Err(refused(format!("lists {PARTS_MAX} parts, the most there may be")));
        }
        if teaching.backbone.sha256 != backbone.sha256 {
            return Err(ExtendError::Backbone {
                package: path,
                taught: teaching.backbone.name,
                taught_sha256: teaching.backbone.sha256,
                given: backbone.manifest.name.clone(),
            });
        }
        let method = Method::of_name(&teaching.method.name).ok_or_else(|| ExtendError::Graph(path.clone()))?;
        let settings = recover::Settings {
            neighbours: teaching.method.neighbours.unwrap_or(PatchCoreOptions::default().neighbours),
            own_level: teaching.method.own_level.unwrap_or_default(),
            balance: record.balance,
            channels: backbone.channels(),
        };
        let model = package.files.get(MODEL).and_then(|bytes| ModelProto::decode(bytes.as_slice()).ok());
        let detector = model
            .and_then(|model| recover::detector(&model.graph?, method, settings))
            .ok_or(ExtendError::Graph(path))?;
        Ok(Self {
            package,
            record,
            detector,
            teaching,
            method,
        })
    }

    fn manifest(&self) -> &Manifest {
        &self.package.manifest
    }

    /// `wishes` taught as the package was: its method and backbone, size and tiles; its bank, unless `bank` tells another.
    pub fn lesson(&self, wishes: &Lesson, bank: Option<usize>) -> Lesson {
        let input = &self.manifest().input;
        let method = &self.teaching.method;
        let settings = PatchCoreOptions::default();
        Lesson {
            width: input.width,
            height: input.height,
            tiles: input.tiles,
            own_contrast: method.own_contrast,
            augment: method.augment.clone(),
            method: self.method,
            settings: PatchCoreOptions {
                bank: bank.unwrap_or(self.record.bank),
                neighbours: method.neighbours.unwrap_or(settings.neighbours),
                seed: method.seed,
                own_level: method.own_level.unwrap_or(settings.own_level),
            },
            ..wishes.clone()
        }
    }

    /// The share of good parts that may be rejected, as it was asked for when the package was taught.
    ///
    /// # Errors
    /// When its threshold comes from costs instead.
    pub fn false_reject_rate(&self) -> Result<f64, ExtendError> {
        if self.record.by_cost {
            return Err(ExtendError::Costs(self.package.path.clone()));
        }
        Ok(self.record.false_reject_rate)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest().name
    }

    /// The version after its own.
    ///
    /// # Errors
    /// When its version is no whole number.
    pub fn next_version(&self) -> Result<String, ExtendError> {
        let version = &self.manifest().version;
        let next = version.parse::<u64>().ok().and_then(|number| number.checked_add(1));
        next.map(|number| number.to_string()).ok_or_else(|| ExtendError::Version {
            package: self.package.path.clone(),
            version: version.clone(),
        })
    }

    /// Refuses a lesson without anything new in it.
    pub(super) fn check_new(&self, parts: usize, folder: &Path) -> Result<(), ExtendError> {
        if parts > 0 {
            return Ok(());
        }
        Err(ExtendError::NothingNew {
            package: self.package.path.clone(),
            folder: folder.into(),
        })
    }

    /// What a package that extends this one says of it.
    pub(super) fn told(&self) -> Extended {
        let identity = self.package.identity();
        Extended {
            name: identity.name,
            version: identity.version,
            sha256: identity.sha256,
            images: self.teaching.images,
            taught_from: self.teaching.taught_from.clone(),
        }
    }

    /// Hash of all pictures that were taught to it.
    pub(super) fn images_sha256(&self) -> &str {
        &self.teaching.images_sha256
    }
}
