//! Packages for a station to be asked to run, good ones and bad ones, and whoever asks it, one at a time.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use prost::Message;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::model_oracle::{Answered, Swap, SwapKind};
use crate::flow::{NothingReceived, Sender, WhenFull, bounded, now};
use crate::model::manifest::Kind;
use crate::model::onnx::{FLOAT, ModelProto};
use crate::model::package::{self, MODEL, Package, PackageError};
use crate::model::signature::{self, SignatureError, SigningKey};
use crate::rpc::historian_client::TlsFiles;
use crate::rpc::proto;
use crate::rpc::station_client::{StationClient, StationClientError};

/// Swaps that wait for the one before; a swap takes as long as a proof, and one that finds so many waiting is not asked for.
const WAITING_MAX: usize = 64;

/// How often whoever asks looks whether it is to stop.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// By how much a model that computes something else has other weights.
const OTHER_WEIGHTS: f32 = 1.05;

/// Good packages between which a station is sent to and fro.
const GOOD: u32 = 2;

/// What to ask of which station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapSettings {
    /// Where it serves line controllers, as a URL.
    pub station: String,
    /// Which inspection.
    pub inspection: String,
    /// The package that it begins with: all others are made of it.
    pub package: PathBuf,
    /// The private key that good packages are signed with.
    pub signing_key: Option<PathBuf>,
    /// Whether the station wants packages signed.
    pub signature_required: bool,
}

/// Why there is nothing to ask for.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// A package cannot be read or written.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A key cannot be used.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A file cannot be written.
    #[error("failed to make packages to swap: {0}; check free space and permissions of the folder for temporary files")]
    Write(#[from] io::Error),
    /// The model has no weights inside.
    #[error("failed to make a model that computes something else: model {0} holds no weights of 32-bit floats; take another package")]
    NoWeights(PathBuf),
    /// The station wants signatures.
    #[error("failed to make good packages: the station wants them signed; give signing_key in [models] of line.toml")]
    NoKey,
}

/// Packages, by what they are.
struct Packages {
    folder: TempDir,
    made: BTreeMap<SwapKind, Vec<(PathBuf, String)>>,
    /// The good one that was asked for last.
    last: usize,
}

impl Packages {
    fn make(settings: &SwapSettings) -> Result<Self, SwapError> {
        let folder = tempfile::tempdir()?;
        let original = Package::open(&settings.package)?;
        let key = settings.signing_key.as_deref().map(SigningKey::read).transpose()?;
        if settings.signature_required && key.is_none() {
            return Err(SwapError::NoKey);
        }
        let mut packages = Self {
            folder,
            made: BTreeMap::new(),
            last: 0,
        };
        for number in 1..=GOOD {
            let good = versioned(&original, &format!("good-{number}"));
            packages.add(SwapKind::Good, &good, key.as_ref())?;
        }
        let corrupted = packages.add(SwapKind::Corrupted, &versioned(&original, "corrupted"), key.as_ref())?;
        corrupt(&corrupted.join(MODEL))?;
        let mut other = versioned(&original, "other-scores");
        other.files.insert(MODEL.into(), with_other_weights(&original)?);
        packages.add(SwapKind::OtherScores, &other, key.as_ref())?;
        let mut other = versioned(&original, "other-kind");
        other.manifest.kind = match other.manifest.kind {
            Kind::Segmentation => Kind::Detection,
            Kind::Anomaly | Kind::Detection | Kind::Classification => Kind::Segmentation,
        };
        packages.add(SwapKind::OtherKind, &other, key.as_ref())?;
        if settings.signature_required {
            packages.add(SwapKind::Unsigned, &versioned(&original, "unsigned"), None)?;
            let stranger = packages.folder.path().join("stranger.key");
            signature::generate(&stranger)?;
            let stranger = SigningKey::read(&stranger)?;
            packages.add(SwapKind::Stranger, &versioned(&original, "stranger"), Some(&stranger))?;
        }
        Ok(packages)
    }

    fn add(&mut self, kind: SwapKind, package: &Package, key: Option<&SigningKey>) -> Result<PathBuf, SwapError> {
        let path = self.folder.path().join(&package.manifest.version);
        package::write(&path, &package.manifest, &package.files, false)?;
        if let Some(key) = key {
            signature::sign(&path, key)?;
        }
        let sha256 = Package::open(&path)?.identity().sha256;
        self.made.entry(kind).or_default().push((path.clone(), sha256));
        Ok(path)
    }

    /// What there is, and the way back.
    fn kinds(&self) -> Vec<SwapKind> {
        self.made.keys().copied().chain([SwapKind::Back]).collect()
    }

    /// A package of this kind: of good ones another than the last time.
    fn pick(&mut self, kind: SwapKind) -> Option<(PathBuf, String)> {
        let made = self.made.get(&kind)?;
        if kind == SwapKind::Good {
            self.last = (self.last + 1) % made.len();
            return made.get(self.last).cloned();
        }
        made.first().cloned()
    }
}

fn versioned(original: &Package, version: &str) -> Package {
    let mut package = original.clone();
    package.manifest.version = version.into();
    package
}

/// Flips a bit in the middle of a file.
fn corrupt(file: &Path) -> io::Result<()> {
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    std::fs::write(file, bytes)
}

/// The model with its largest tensor of weights changed.
fn with_other_weights(original: &Package) -> Result<Vec<u8>, SwapError> {
    let none = || SwapError::NoWeights(original.path.join(MODEL));
    let bytes = original.files.get(MODEL).ok_or_else(none)?;
    let mut model = ModelProto::decode(bytes.as_slice()).map_err(|_| none())?;
    let weights = model.graph.as_mut().into_iter().flat_map(|graph| &mut graph.initializer);
    let largest = weights
        .filter(|tensor| tensor.data_type == FLOAT && !tensor.raw_data.is_empty())
        .max_by_key(|tensor| tensor.raw_data.len());
    for value in largest.ok_or_else(none)?.raw_data.chunks_exact_mut(4) {
        let scaled = f32::from_le_bytes([value[0], value[1], value[2], value[3]]) * OTHER_WEIGHTS;
        value.copy_from_slice(&scaled.to_le_bytes());
    }
    Ok(model.encode_to_vec())
}

/// Whoever asks the station for models.
pub(super) struct ModelSwaps {
    orders: Option<Sender<()>>,
    stop: Arc<AtomicBool>,
    asker: Option<JoinHandle<Vec<Swap>>>,
}

impl ModelSwaps {
    /// Makes the packages, and waits for orders. `done` hears of each swap.
    pub(super) fn start(settings: &SwapSettings, seed: u64, done: impl Fn(&Swap) + Send + 'static) -> Result<Self, SwapError> {
        let mut packages = Packages::make(settings)?;
        let mut kinds = Kinds::new(packages.kinds(), seed);
        let (orders, ordered) = bounded("twin/swaps", WAITING_MAX, WhenFull::DropNewest);
        let stop = Arc::new(AtomicBool::new(false));
        let (settings, stopped) = (settings.clone(), Arc::clone(&stop));
        let ask = move || {
            let mut swaps = Vec::new();
            loop {
                match ordered.receive_timeout(LOOK_EVERY) {
                    _ if stopped.load(Ordering::Relaxed) => return swaps,
                    Ok(()) => {
                        let kind = kinds.next();
                        let swap = ask(&settings, kind, packages.pick(kind));
                        done(&swap);
                        swaps.push(swap);
                    }
                    Err(NothingReceived::TimedOut) => {}
                    Err(NothingReceived::Closed) => return swaps,
                }
            }
        };
        let asker = thread::Builder::new().name("twin-swaps".into()).spawn(ask)?;
        Ok(Self {
            orders: Some(orders),
            stop,
            asker: Some(asker),
        })
    }

    /// Asks for the next.
    pub(super) fn order(&self) {
        if let Some(orders) = &self.orders {
            // Beyond the bound there is one swap less.
            let _ = orders.send(());
        }
    }

    /// Takes no more orders; those that wait are still carried out.
    pub(super) fn finish(&mut self) {
        self.orders = None;
    }

    /// Whether the last answer is there.
    pub(super) fn is_over(&self) -> bool {
        self.asker.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Everything that was asked for. Waits for the last answer; what was not asked for by now is not.
    pub(super) fn take(&mut self) -> Vec<Swap> {
        self.finish();
        self.stop.store(true, Ordering::Relaxed);
        self.asker.take().and_then(|asker| asker.join().ok()).unwrap_or_default()
    }
}

/// Every kind in turn, in an order that the seed draws anew for each round.
struct Kinds {
    all: Vec<SwapKind>,
    round: Vec<SwapKind>,
    random: ChaCha8Rng,
}

impl Kinds {
    fn new(all: Vec<SwapKind>, seed: u64) -> Self {
        Self {
            all,
            round: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn next(&mut self) -> SwapKind {
        if self.round.is_empty() {
            self.round.clone_from(&self.all);
            self.round.shuffle(&mut self.random);
        }
        self.round.pop().unwrap_or(SwapKind::Good)
    }
}

fn ask(settings: &SwapSettings, kind: SwapKind, package: Option<(PathBuf, String)>) -> Swap {
    let asked = now();
    let connected = StationClient::connect(&settings.station, TlsFiles::default());
    let answer = connected.and_then(|mut station| match &package {
        Some((path, _)) => station.activate(&settings.inspection, &path.display().to_string()),
        None => station.roll_back(&settings.inspection),
    });
    Swap {
        kind,
        wanted: package.map(|(_, sha256)| sha256),
        asked,
        answered: now(),
        answer: answered(answer),
    }
}

fn answered(answer: Result<proto::ActivateModelResponse, StationClientError>) -> Answered {
    let hex = |model: Option<proto::Model>| {
        let bytes = model.map(|model| model.sha256).unwrap_or_default();
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    match answer {
        Ok(response) => Answered::InForce {
            sha256: hex(response.model),
            previous: hex(response.previous),
            config_checksum: response.config_checksum,
        },
        Err(StationClientError::Refused(why)) => Answered::Refused(why),
        // A station that was killed, or starts.
        Err(_) => Answered::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_as_often_and_a_seed_repeats_the_order() {
        let all = [SwapKind::Good, SwapKind::Back, SwapKind::Corrupted];
        let draw = |seed| {
            let mut kinds = Kinds::new(all.to_vec(), seed);
            (0..30).map(|_| kinds.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        for kind in all {
            assert_eq!(draw(7).iter().filter(|drawn| **drawn == kind).count(), 10);
        }
    }
}
