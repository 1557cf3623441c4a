//! Which packages a station runs: those that its configuration names, until others are activated; and what they were before.
//!
//! ```text
//! STATE/models/
//!   registry.toml    per inspection: what is activated, what was before; and what checksums of late stood for
//!   SHA256/          packages as they were proven, each under the hash of its manifest: nobody changes them under a session, and the way back
//!                    does not depend on what lies in other folders by then
//! ```
//!
//! An activation holds until the configuration names another package for the inspection: whoever edits it knows better.
//! Bounds: two packages an inspection (and a candidate while it is proven), [`SETS_MAX`] checksums.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::sha256_hex;
use super::package::{MANIFEST, Package, PackageError};
use super::signature::SIGNATURE;
use crate::journal::durable;
use crate::part::ModelIdentity;

/// The registry's folder in the state directory.
const FOLDER: &str = "models";

/// Its file there.
const FILE: &str = "registry.toml";

/// Version of the file that this takt reads and writes.
const VERSION: u32 = 1;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Checksums whose models are remembered: far more than there are exchanges while a part waits for its record. The oldest is forgotten; a part
/// from before it is then recorded without models.
pub const SETS_MAX: usize = 64;

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be read.
    #[error(
        "failed to read the activated models from {path}: {reason}; restore it from a copy, or remove it: then the station runs the packages that its configuration names"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be written.
    #[error("failed to keep {path}: {source}; check free space and permissions of state_directory")]
    Write {
        /// What.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The package that is to be kept is not whole.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// What was activated for an inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activated {
    /// Name of the inspection.
    pub inspection: String,
    /// The package that the configuration named then.
    pub configured: PathBuf,
    /// The manifest's hash of what runs.
    pub current: String,
    /// The manifest's hash of what ran before.
    pub previous: Option<String>,
}

/// What a checksum stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownSet {
    /// `ConfigChecksum`, of configuration, recipe and models.
    pub config_checksum: u32,
    /// The models, each once.
    pub models: Vec<ModelIdentity>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    registry_version: u32,
    #[serde(default, rename = "inspection")]
    inspections: Vec<Activated>,
    #[serde(default, rename = "set")]
    sets: Vec<KnownSet>,
}

/// The registry of a station.
#[derive(Debug)]
pub struct Registry {
    folder: PathBuf,
    content: Content,
}

impl Registry {
    /// Opens the registry in a state directory; an empty one where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a newer takt.
    pub fn open(state_directory: &Path) -> Result<Self, RegistryError> {
        let folder = state_directory.join(FOLDER);
        let path = folder.join(FILE);
        let failed = |reason: String| RegistryError::Read {
            path: path.clone(),
            reason,
        };
        let content = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content {
                registry_version: VERSION,
                ..Content::default()
            },
            Err(error) => return Err(failed(error.to_string())),
            Ok(found) if found.len() > FILE_BYTES_MAX => return Err(failed(format!("it has {} bytes", found.len()))),
            Ok(_) => {
                let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
                read(&text).map_err(failed)?
            }
        };
        Ok(Self { folder, content })
    }

    /// What was activated for an inspection and still holds: the configuration names the same package as it did then.
    pub fn activated(&self, inspection: &str, configured: &Path) -> Option<&Activated> {
        let mut inspections = self.content.inspections.iter();
        inspections.find(|activated| activated.inspection == inspection && activated.configured == configured)
    }

    /// What checksums of late stood for, oldest first.
    pub fn sets(&self) -> &[KnownSet] {
        &self.content.sets
    }

    /// Where the package with this hash of its manifest is kept.
    pub fn path_of(&self, sha256: &str) -> PathBuf {
        self.folder.join(sha256)
    }

    /// Where a copy of the package in this folder is kept, if one is; who signed it may have changed since.
    pub fn kept(&self, package: &Path) -> Option<PathBuf> {
        let place = self.path_of(&manifest_sha256(package).ok()?);
        if !place.join(MANIFEST).exists() {
            return None;
        }
        let signature = fs::read(package.join(SIGNATURE)).ok();
        keep_signature(&place, signature.as_deref()).ok()?;
        Some(place)
    }

    /// Keeps a copy of the package, as it is on the disk of whoever brought it, and returns its place. One that is kept already and whole stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, package: &Package) -> Result<PathBuf, RegistryError> {
        let sha256 = package.identity().sha256;
        let place = self.path_of(&sha256);
        let write = |path: &Path, bytes: &[u8]| {
            durable::write_whole(path, bytes).map_err(|source| RegistryError::Write { path: path.into(), source })
        };
        let Some(sealed) = &package.sealed else {
            return Err(RegistryError::Write {
                path: place,
                source: io::Error::other("the package was not written yet"),
            });
        };
        let is_whole = Package::open(&place).is_ok_and(|kept| kept.identity().sha256 == sha256);
        if !is_whole {
            remove(&place)?;
            for (name, bytes) in &package.files {
                write(&place.join(name), bytes)?;
            }
            // Last: without a manifest there is no package.
            write(&place.join(MANIFEST), &sealed.manifest)?;
        }
        keep_signature(&place, sealed.signature.as_deref())?;
        Ok(place)
    }

    /// Notes that a package is activated for an inspection, that another was before, and what the checksum with it stands for. Durable when this
    /// returns.
    ///
    /// # Errors
    /// When it cannot be written; then nothing changed.
    pub fn activate(&mut self, activated: Activated, set: KnownSet) -> Result<(), RegistryError> {
        let mut content = self.content.clone();
        content.inspections.retain(|known| known.inspection != activated.inspection);
        content.inspections.push(activated);
        note(&mut content.sets, set);
        self.replace(content)
    }

    /// Notes what the checksum of a start stands for, and forgets activations that hold no more: of inspections that are gone, or whose
    /// configuration names another package.
    ///
    /// # Errors
    /// When it cannot be written; then nothing changed.
    pub fn begin(&mut self, configured: &[(&str, &Path)], set: KnownSet) -> Result<(), RegistryError> {
        let mut content = self.content.clone();
        let holds = |activated: &Activated| {
            configured
                .iter()
                .any(|(inspection, path)| activated.inspection == *inspection && activated.configured == *path)
        };
        content.inspections.retain(holds);
        note(&mut content.sets, set);
        if content == self.content {
            return Ok(());
        }
        self.replace(content)
    }

    /// Removes kept packages that are neither activated, nor the way back, nor among these hashes. What cannot be removed stays, and so does
    /// whatever was not kept here: people lay their packages beside.
    pub fn sweep(&self, in_use: &[String]) {
        let of_inspections = self.content.inspections.iter();
        let wanted: BTreeSet<&str> = of_inspections
            .flat_map(|activated| [Some(&activated.current), activated.previous.as_ref()])
            .flatten()
            .chain(in_use)
            .map(String::as_str)
            .collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name();
            let is_ours = |name: &str| is_sha256(name) && !wanted.contains(name);
            if entry.path().is_dir() && name.to_str().is_some_and(is_ours) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn replace(&mut self, content: Content) -> Result<(), RegistryError> {
        let path = self.folder.join(FILE);
        let failed = |source| RegistryError::Write {
            path: path.clone(),
            source,
        };
        let text = toml::to_string(&content).map_err(|error| failed(io::Error::other(error)))?;
        durable::write_whole(&path, text.as_bytes()).map_err(failed)?;
        self.content = content;
        Ok(())
    }
}

fn read(text: &str) -> Result<Content, String> {
    #[derive(Deserialize)]
    struct Version {
        registry_version: u32,
    }
    // The version comes first: a newer format may have other keys.
    let Version { registry_version } = toml::from_str(text).map_err(|error| error.to_string())?;
    if registry_version > VERSION {
        return Err(format!(
            "its registry_version is {registry_version}, this takt reads up to {VERSION}; update takt"
        ));
    }
    toml::from_str(text).map_err(|error| error.to_string())
}

fn note(sets: &mut Vec<KnownSet>, set: KnownSet) {
    sets.retain(|known| known.config_checksum != set.config_checksum);
    sets.push(set);
    let beyond = sets.len().saturating_sub(SETS_MAX);
    sets.drain(..beyond);
}

/// Signing does not change a package, so it may come later.
fn keep_signature(place: &Path, signature: Option<&[u8]>) -> Result<(), RegistryError> {
    let path = place.join(SIGNATURE);
    let kept = fs::read(&path).ok();
    let done = match signature {
        _ if kept.as_deref() == signature => Ok(()),
        Some(signature) => durable::write_whole(&path, signature),
        None => fs::remove_file(&path),
    };
    done.map_err(|source| RegistryError::Write { path, source })
}

fn remove(place: &Path) -> Result<(), RegistryError> {
    match fs::remove_dir_all(place) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(RegistryError::Write {
            path: place.into(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Whether this is written as hashes are: the name of a kept package.
fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The hash of the manifest in a folder: which package lies there, whole or not.
///
/// # Errors
/// What the system says.
pub fn manifest_sha256(package: &Path) -> io::Result<String> {
    fs::read(package.join(MANIFEST)).map(|bytes| sha256_hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(config_checksum: u32) -> KnownSet {
        KnownSet {
            config_checksum,
            models: vec![ModelIdentity {
                name: "cap".into(),
                version: config_checksum.to_string(),
                sha256: "ab".into(),
            }],
        }
    }

    fn activated(current: &str, previous: Option<&str>) -> Activated {
        Activated {
            inspection: "surface".into(),
            configured: "/models/cap".into(),
            current: current.into(),
            previous: previous.map(str::to_owned),
        }
    }

    #[test]
    fn an_activation_outlives_the_process_and_ends_with_another_configuration() {
        let state = tempfile::tempdir().unwrap();
        let mut registry = Registry::open(state.path()).unwrap();
        assert_eq!(registry.activated("surface", Path::new("/models/cap")), None);
        registry.activate(activated("b", Some("a")), set(1)).unwrap();
        registry.activate(activated("c", Some("b")), set(2)).unwrap();

        let mut again = Registry::open(state.path()).unwrap();
        assert_eq!(
            again.activated("surface", Path::new("/models/cap")),
            Some(&activated("c", Some("b")))
        );
        assert_eq!(again.activated("surface", Path::new("/models/other")), None);
        assert_eq!(again.activated("rim", Path::new("/models/cap")), None);
        assert_eq!(again.sets(), [set(1), set(2)]);
        again.begin(&[("surface", Path::new("/models/cap"))], set(2)).unwrap();
        assert!(again.activated("surface", Path::new("/models/cap")).is_some());
        again.begin(&[("surface", Path::new("/models/other"))], set(3)).unwrap();
        let last = Registry::open(state.path()).unwrap();
        assert_eq!(
            last.activated("surface", Path::new("/models/cap")),
            None,
            "the way back is not taken up by accident"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded_and_named_once() {
        let state = tempfile::tempdir().unwrap();
        let mut registry = Registry::open(state.path()).unwrap();
        for checksum in (0..100).chain([99, 50]) {
            registry.begin(&[], set(checksum)).unwrap();
        }
        let known: Vec<u32> = registry.sets().iter().map(|set| set.config_checksum).collect();
        assert_eq!((known.len(), known[0], known[SETS_MAX - 1]), (SETS_MAX, 36, 50));
    }

    #[test]
    fn what_is_not_wanted_goes_but_for_what_people_laid_beside() {
        let state = tempfile::tempdir().unwrap();
        let mut registry = Registry::open(state.path()).unwrap();
        let (kept, before, old) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        registry.activate(activated(&kept, Some(&before)), set(1)).unwrap();
        let in_use = "d".repeat(64);
        for name in [&kept, &before, &old, &in_use, "bars", "ab"] {
            durable::write_whole(&registry.folder.join(name).join(MANIFEST), b"x").unwrap();
        }
        registry.sweep(std::slice::from_ref(&in_use));
        let there = |name: &str| registry.path_of(name).exists();
        assert_eq!([&kept, &before, &in_use, "bars", "ab"].map(there), [true; 5]);
        assert!(!there(&old));
    }

    #[test]
    fn a_newer_or_damaged_file_is_refused_with_the_remedy() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("models/registry.toml");
        durable::write_whole(&file, b"registry_version = 2\nmore = 1\n").unwrap();
        let error = Registry::open(state.path()).unwrap_err().to_string();
        assert!(error.contains("reads up to 1; update takt"), "{error}");
        durable::write_whole(&file, b"registry_version = ").unwrap();
        let error = Registry::open(state.path()).unwrap_err().to_string();
        assert!(error.contains("or remove it"), "{error}");
    }
}
