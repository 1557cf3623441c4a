//! Reading and writing packages. A package appears whole or not at all: it is written beside its place under another name and then renamed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::golden::{self, Gated, GoldenError};
use super::manifest::{Kind, Manifest, ManifestError, OutputSpec, Precision, sha256_hex};
use super::onnx::open_dimensions;
use super::signature;
use crate::part::ModelIdentity;
use crate::vision::ort::{OrtEngine, Source};
use crate::vision::preprocess::{Element, InputTensor};
use crate::vision::providers::{Attempt, ProviderOrder, Tried, first_that_works};
use crate::vision::reading::Reader;
use crate::vision::{ElementType, Engine, EngineError, Port, Provider};

/// The manifest's file name.
pub const MANIFEST: &str = "model.toml";
/// The model's file name.
pub const MODEL: &str = "model.onnx";
/// The folder of golden images.
pub const GOLDEN: &str = "golden";
/// What a taught package keeps of its lesson, so that it can be extended.
pub const RECORD: &str = "teaching.json";

/// Largest file a package may hold: far above any real model, and a bound on what a hostile one can make takt read.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// Largest batch that a graph may insist on: its blank images are computed as well.
const BATCH_MAX: usize = 16;

/// Why a package cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// There is no package.
    #[error("failed to open model package {0}: it has no {MANIFEST}; give the folder that `takt teach --out` wrote")]
    Missing(PathBuf),
    /// A file of the package could not be read.
    #[error("failed to read {path}: {source}; restore the package from a copy, or teach the model again")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest is not usable.
    #[error("failed to open model package {package}: {source}")]
    Manifest {
        /// The package.
        package: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// A file is not what it was when the package was written.
    #[error(
        "failed to open model package {package}: {file} is not the file it was taught with (its SHA-256 differs); restore the package from a copy, or teach the model again"
    )]
    Changed {
        /// The package.
        package: PathBuf,
        /// The file.
        file: String,
    },
    /// A path in the manifest points out of the package.
    #[error("failed to open model package {package}: it names the file {file}, which is not inside the package")]
    Outside {
        /// The package.
        package: PathBuf,
        /// The path.
        file: String,
    },
    /// The manifest and the model do not fit each other, or this takt cannot run the model.
    #[error("failed to use model package {package}: {reason}")]
    Unusable {
        /// The package.
        package: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The runtime could not load it.
    #[error("failed to activate model package {package}")]
    Engine {
        /// The package.
        package: PathBuf,
        /// What the runtime said.
        source: EngineError,
    },
    /// The golden images were not answered as they should be.
    #[error("failed to activate model package {package}")]
    Golden {
        /// The package.
        package: PathBuf,
        /// Which image and how.
        source: GoldenError,
    },
    /// The place for a new package is taken.
    #[error("failed to write model package {0}: it exists already; choose another --out, or pass --overwrite to replace it")]
    Exists(PathBuf),
    /// The place for a new package is taken by something else.
    #[error("failed to write model package {0}: something that is no model package is there; choose another --out")]
    NotAPackage(PathBuf),
    /// The package could not be written.
    #[error("failed to write model package {package}: {source}; check free space and permissions, nothing was left behind")]
    Write {
        /// The package.
        package: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PackageError {
    /// The same about a package that was activated from a copy: people know it by this name.
    #[must_use]
    pub fn of(mut self, named: &Path) -> Self {
        if let Self::Unusable { package, .. } | Self::Engine { package, .. } | Self::Golden { package, .. } = &mut self {
            *package = named.into();
        }
        self
    }
}

/// A package whose files are whole, read into memory.
#[derive(Debug, Clone)]
pub struct Package {
    /// The folder.
    pub path: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// All other files by their path inside the package.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The manifest as it lies in the folder; `None` for a package that was not written yet.
    pub sealed: Option<Sealed>,
}

/// The bytes that stand for a whole package: they name the hash of every file.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// `model.toml`, byte for byte.
    pub manifest: Vec<u8>,
    /// What somebody signed it with, where somebody did.
    pub signature: Option<Vec<u8>>,
}

/// A package that has passed its golden gate on the engine that will run it.
pub struct ActiveModel {
    /// Its input, to be filled.
    pub tensor: InputTensor,
    /// Reads its outputs.
    pub reader: Reader,
    /// The package.
    pub package: Package,
    /// The engine, warmed up.
    pub engine: Box<dyn Engine>,
    /// What the golden images gave.
    pub gated: Vec<Gated>,
    /// The provider that was wanted, where another one had to stand in for it.
    pub stands_in_for: Option<Provider>,
}

/// A model that answered its golden images.
struct Proven {
    engine: OrtEngine,
    tensor: InputTensor,
    reader: Reader,
    gated: Vec<Gated>,
}

/// An error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

impl Package {
    /// Reads the package in folder `path` and checks every hash.
    ///
    /// # Errors
    /// When a file is missing, changed, out of place, or written in a newer format.
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        let manifest_file = path.join(MANIFEST);
        if !manifest_file.exists() {
            return Err(PackageError::Missing(path.into()));
        }
        let sealed = Sealed {
            manifest: read_bounded(&manifest_file)?,
            signature: signature::read(path)?,
        };
        let text = String::from_utf8(sealed.manifest.clone()).map_err(|_| ManifestError::Changed);
        let manifest = text.and_then(|text| Manifest::from_text(&text));
        let manifest = manifest.map_err(|source| PackageError::Manifest {
            package: path.into(),
            source,
        })?;
        let mut files = BTreeMap::new();
        for (name, hash) in &manifest.files {
            let inside = Path::new(name)
                .components()
                .all(|component| matches!(component, std::path::Component::Normal(_)));
            if !inside {
                return Err(PackageError::Outside {
                    package: path.into(),
                    file: name.clone(),
                });
            }
            let bytes = read_bounded(&path.join(name))?;
            if sha256_hex(&bytes) != *hash {
                return Err(PackageError::Changed {
                    package: path.into(),
                    file: name.clone(),
                });
            }
            files.insert(name.clone(), bytes);
        }
        Ok(Self {
            path: path.into(),
            manifest,
            files,
            sealed: Some(sealed),
        })
    }

    /// Which package it is, whatever folder it lies in.
    pub fn identity(&self) -> ModelIdentity {
        let manifest = self.sealed.as_ref().map_or(&[][..], |sealed| &sealed.manifest);
        ModelIdentity {
            name: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            sha256: sha256_hex(manifest),
        }
    }

    /// Loads the model where it is to run and proves it there by its golden images: on the first provider of the order that takes it and gives
    /// what is expected. What did not work before it is logged.
    ///
    /// # Errors
    /// When the model does not load or fit its manifest, or a golden image is not answered as expected, on the last provider of the order.
    pub fn activate(self, order: impl Into<ProviderOrder>) -> Result<ActiveModel, PackageError> {
        self.check_spec().map_err(|reason| self.unusable(reason))?;
        let order = order.into();
        let attempts = order.attempts(self.manifest.precision() == Precision::F32);
        let may_help = |error: &PackageError| matches!(error, PackageError::Engine { .. } | PackageError::Golden { .. });
        let tried = first_that_works(&attempts, |attempt| self.proven(attempt), may_help);
        let Some(Tried { outcome, failed }) = tried else {
            return Err(self.unusable("no provider was named to run it on".into()));
        };
        for (attempt, error) in &failed {
            tracing::warn!(model = %self.path.display(), provider = %attempt, error = %told(error), "the model does not run there");
        }
        let (
            attempt,
            Proven {
                engine,
                tensor,
                reader,
                gated,
            },
        ) = outcome?;
        Ok(ActiveModel {
            tensor,
            reader,
            engine: Box::new(engine),
            package: self,
            gated,
            stands_in_for: (attempt.options.provider != order.first).then_some(order.first),
        })
    }

    /// The model, loaded in this way, its golden images answered as expected.
    fn proven(&self, attempt: Attempt) -> Result<Proven, PackageError> {
        let mut tensor = self.manifest.input.tensor().map_err(|error| self.unusable(error.to_string()))?;
        let mut engine = self.load(attempt, &tensor)?;
        let input = &self.manifest.input;
        // Tiles go together where the graph takes any number and nothing was compiled for one.
        let takes_any_number =
            attempt.options.provider != Provider::TensorRt && matches!(engine.inputs(), [port] if port.shape.first() == Some(&None));
        if input.tiles.is_some() && input.batch == 1 && takes_any_number {
            tensor = input.tensor_of_tiles().map_err(|error| self.unusable(error.to_string()))?;
        }
        self.check_input(&engine, &tensor).map_err(|reason| self.unusable(reason))?;
        // What is missing among the outputs is told by the reader, which then sees all of them.
        engine
            .ask_only_for(&self.manifest.outputs.tensors())
            .map_err(|source| self.failed(source))?;
        let reader = Reader::new(&self.manifest, engine.outputs()).map_err(|reason| self.unusable(reason))?;
        let precision = if attempt.fp16 { "f16" } else { self.manifest.precision().name() };
        let gated = golden::check(self, &mut engine, precision, &mut tensor, &reader).map_err(|source| PackageError::Golden {
            package: self.path.clone(),
            source,
        })?;
        Ok(Proven {
            engine,
            tensor,
            reader,
            gated,
        })
    }

    /// Loads the model where it is to run, not yet proven.
    fn load(&self, attempt: Attempt, tensor: &InputTensor) -> Result<OrtEngine, PackageError> {
        let bytes = self.files.get(MODEL).ok_or_else(|| self.unusable(format!("it holds no {MODEL}")))?;
        let file = self.path.join(MODEL);
        // With weights in other files the runtime has to find them; all were hashed a moment ago.
        let is_weight = |name: &&String| *name != MODEL && *name != RECORD && !name.starts_with(&format!("{GOLDEN}/"));
        let has_data = self.files.keys().any(|name| is_weight(&name));
        let hashes = self.manifest.files.iter().filter(|(name, _)| *name == MODEL || is_weight(name));
        let hashes: String = hashes.map(|(_, hash)| hash.as_str()).collect();
        let pinned = match attempt.options.provider {
            Provider::TensorRt => open_dimensions(bytes, &self.manifest.input.name, &tensor.shape()),
            Provider::Cpu | Provider::Cuda => Vec::new(),
        };
        let source = Source {
            name: &file.display().to_string(),
            bytes,
            file: has_data.then_some(file.as_path()),
            sha256: &sha256_hex(hashes.as_bytes()),
            int8: self.manifest.precision() == Precision::Int8,
            pinned: &pinned,
        };
        OrtEngine::from_source(source, attempt).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: EngineError) -> PackageError {
        PackageError::Engine {
            package: self.path.clone(),
            source,
        }
    }

    fn unusable(&self, reason: String) -> PackageError {
        PackageError::Unusable {
            package: self.path.clone(),
            reason,
        }
    }

    /// Whether this takt can run what the manifest describes.
    fn check_spec(&self) -> Result<(), String> {
        let (manifest, input) = (&self.manifest, &self.manifest.input);
        let is_read = matches!(
            (manifest.kind, &manifest.outputs),
            (Kind::Anomaly, OutputSpec::Anomaly { .. })
                | (Kind::Detection, OutputSpec::Boxes { .. })
                | (Kind::Classification, OutputSpec::Classes { .. })
                | (Kind::Segmentation, OutputSpec::Pixels { .. })
        );
        if !is_read {
            return Err(format!(
                "models of kind {} with such outputs are not supported by this version of takt",
                manifest.kind.name()
            ));
        }
        if !(1..=BATCH_MAX).contains(&input.batch) {
            return Err(format!("its batch of {} is none of 1 to {BATCH_MAX}", input.batch));
        }
        if let Some(tiles) = &input.tiles {
            tiles.check().map_err(|reason| format!("its tiles {reason}"))?;
        }
        let range = input.scale.iter().chain(&input.offset).flatten();
        if !range
            .chain(&manifest.threshold.region)
            .chain([&manifest.threshold.score])
            .all(|value| value.is_finite())
        {
            return Err("its thresholds, scales and offsets are not all finite numbers".into());
        }
        if input.scale.iter().flatten().any(|scale| *scale == 0.0) {
            return Err("a scale of its input is 0, so it would see nothing".into());
        }
        if let OutputSpec::Boxes { iou, .. } = &manifest.outputs
            && !(0.0..=1.0).contains(iou)
        {
            return Err(format!("its limit of overlaps is {iou}, none of 0 to 1"));
        }
        Ok(())
    }

    /// Whether the model has the input that the manifest states.
    fn check_input(&self, engine: &dyn Engine, tensor: &InputTensor) -> Result<(), String> {
        let input = &self.manifest.input;
        let element = match input.dtype {
            Element::U8 => ElementType::U8,
            Element::F32 => ElementType::F32,
            Element::F16 => ElementType::F16,
        };
        let wanted = tensor.shape();
        let fits = |port: &Port| {
            let lengths = port.shape.iter().zip(&wanted);
            port.name == input.name
                && port.element == Some(element)
                && port.shape.len() == wanted.len()
                && lengths
                    .into_iter()
                    .all(|(found, wanted)| found.is_none_or(|found| found == *wanted))
        };
        match engine.inputs() {
            [port] if fits(port) => Ok(()),
            ports => Err(format!(
                "its inputs are {}, the manifest states \"{}\" {} {wanted:?}",
                ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                input.name,
                input.dtype.name(),
            )),
        }
    }
}

pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, PackageError> {
    let failed = |source| PackageError::Read { path: path.into(), source };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > FILE_BYTES_MAX {
        return Err(failed(io::Error::other(format!(
            "it has {size} bytes, more than a package may hold"
        ))));
    }
    fs::read(path).map_err(failed)
}

/// Refuses a place for a package that is taken or cannot be written to. `overwrite` allows an older package there.
///
/// # Errors
/// When something is there that must not be replaced, or the nearest folder above that exists takes no new folder.
pub fn check_place(path: &Path, overwrite: bool) -> Result<(), PackageError> {
    match fs::symlink_metadata(path) {
        Ok(_) if !path.join(MANIFEST).exists() => return Err(PackageError::NotAPackage(path.into())),
        Ok(_) if !overwrite => return Err(PackageError::Exists(path.into())),
        Err(_) | Ok(_) => {}
    }
    let existing = parent_of(path).ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    draft_in(existing).map(drop).map_err(|source| PackageError::Write {
        package: path.into(),
        source,
    })
}

/// The folder that a package lies in.
fn parent_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A temporary folder in the same file system as the package, removed on every way out.
fn draft_in(folder: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(".takt-package-").tempdir_in(folder)
}

/// Writes a package to folder `path`; the manifest's `files` are filled in here.
///
/// # Errors
/// When the place is taken ([`check_place`]) or the system fails; then nothing is left behind.
pub fn write(path: &Path, manifest: &Manifest, files: &BTreeMap<String, Vec<u8>>, overwrite: bool) -> Result<(), PackageError> {
    check_place(path, overwrite)?;
    let failed = |source| PackageError::Write {
        package: path.into(),
        source,
    };
    let mut manifest = manifest.clone();
    manifest.files = files.iter().map(|(name, bytes)| (name.clone(), sha256_hex(bytes))).collect();
    let text = manifest.to_text().map_err(|source| PackageError::Manifest {
        package: path.into(),
        source,
    })?;
    let parent = parent_of(path);
    fs::create_dir_all(parent).map_err(failed)?;
    let draft = draft_in(parent).map_err(failed)?;
    let content = draft.path().join("package");
    fs::create_dir_all(content.join(GOLDEN)).map_err(failed)?;
    for (name, bytes) in files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .chain([(MANIFEST, text.as_bytes())])
    {
        write_synced(&content.join(name), bytes).map_err(failed)?;
    }
    for folder in [&content.join(GOLDEN), &content] {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    let replaced = draft.path().join("replaced");
    if path.exists() {
        fs::rename(path, &replaced).map_err(failed)?;
    }
    if let Err(error) = fs::rename(&content, path) {
        // The old package goes back to its place; if that fails too, the first failure is what matters.
        let _ = fs::rename(&replaced, path);
        return Err(failed(error));
    }
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A folder and the package in it, or what is wrong with it.
pub type Listed = (PathBuf, Result<Package, PackageError>);

/// The packages directly inside `folder`, by name, each with its manifest or what is wrong with it.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Listed>, PackageError> {
    let failed = |source| PackageError::Read {
        path: folder.into(),
        source,
    };
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(failed)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.join(MANIFEST).exists())
        .collect();
    paths.sort();
    Ok(paths.into_iter().map(|path| (path.clone(), Package::open(&path))).collect())
}
