//! Where engines are kept that TensorRT compiled: minutes of work that hold for one model, one TensorRT and one GPU.
//!
//! A folder for each key. What is in it is TensorRT's own; it can be deleted at any time and is made again. At most [`FOLDERS_MAX`] are kept: when
//! one more is needed, the one that was used least recently goes.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Folders that are kept: the models of a few recipes, each before and after an update. An engine has 10 to 200 MB.
pub const FOLDERS_MAX: usize = 16;

/// The file in each folder that says what it is for. Its time is that of the last use.
const KEY: &str = "key.txt";

/// What an engine holds for. With anything else it has to be compiled anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineKey {
    /// SHA-256 of the model.
    pub model_sha256: String,
    /// Version of ONNX Runtime, which cuts the model into parts for TensorRT.
    pub runtime: String,
    /// Version of TensorRT.
    pub tensorrt: String,
    /// The GPU and its driver, as the system names them.
    pub gpu: String,
    /// What it computes with.
    pub precision: &'static str,
    /// The shapes that it was compiled for.
    pub shapes: String,
}

impl EngineKey {
    /// The key in words, a line for each part.
    pub fn text(&self) -> String {
        let Self {
            model_sha256,
            runtime,
            tensorrt,
            gpu,
            precision,
            shapes,
        } = self;
        let parts = [
            ("model", model_sha256.as_str()),
            ("onnxruntime", runtime),
            ("tensorrt", tensorrt),
            ("gpu", gpu),
            ("precision", precision),
            ("shapes", shapes),
        ];
        // A line feed within a part would let two keys look alike.
        parts
            .iter()
            .fold(String::new(), |text, (name, part)| text + &format!("{name} = {part:?}\n"))
    }

    /// Name of its folder: the beginning of the model's hash, for people, and the hash of it all.
    pub fn folder(&self) -> String {
        let hash = Sha256::digest(self.text());
        let hash = hash.iter().take(12).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let model: String = self.model_sha256.chars().filter(char::is_ascii_hexdigit).take(8).collect();
        format!("{model}-{hash}")
    }
}

/// Which folders have to go so that `kept` is one of at most [`FOLDERS_MAX`]: those used least recently. Pure.
pub fn superfluous(mut folders: Vec<(PathBuf, SystemTime)>, kept: &Path) -> Vec<PathBuf> {
    folders.retain(|(folder, _)| folder != kept);
    folders.sort_by(|(a, used_a), (b, used_b)| used_b.cmp(used_a).then_with(|| a.cmp(b)));
    folders.into_iter().skip(FOLDERS_MAX - 1).map(|(folder, _)| folder).collect()
}

/// Makes the folder for a key below `root`, notes that it is used, and drops those that are too many.
///
/// # Errors
/// When the disk does not take it.
pub fn prepare(root: &Path, key: &EngineKey) -> io::Result<PathBuf> {
    let folder = root.join(key.folder());
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(KEY), key.text())?;
    // Only what has a key is a folder of ours.
    let used = |folder: &Path| fs::metadata(folder.join(KEY)).and_then(|key| key.modified()).ok();
    let folders = fs::read_dir(root)?.filter_map(Result::ok).map(|entry| entry.path());
    let folders = folders.filter_map(|folder| used(&folder).map(|used| (folder, used))).collect();
    for folder in superfluous(folders, &folder) {
        fs::remove_dir_all(folder)?;
    }
    Ok(folder)
}

/// Where engines are kept: the service manager's cache directory, else the user's; `None` where there is neither.
pub fn root() -> Option<PathBuf> {
    let of = |name: &str| env::var_os(name).and_then(|folders| env::split_paths(&folders).next());
    let managed = of("CACHE_DIRECTORY");
    let own = || {
        of("XDG_CACHE_HOME")
            .or_else(|| of("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join("takt"))
    };
    managed
        .or_else(own)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("engines"))
}

/// The GPUs of this machine and their driver, as the system below `root` (`/`) names them: NVIDIA's driver in `/proc`, a Jetson by its board and
/// release. Empty where there is none.
pub fn gpu(root: &Path) -> String {
    let line = |file: PathBuf, key: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.trim_end_matches('\0').trim().to_owned())
    };
    let cards = fs::read_dir(root.join("proc/driver/nvidia/gpus")).into_iter().flatten();
    let mut named: Vec<String> = cards
        .filter_map(Result::ok)
        .filter_map(|card| line(card.path().join("information"), "Model:"))
        .collect();
    named.sort();
    let driver = line(root.join("proc/driver/nvidia/version"), "NVRM");
    let board = line(root.join("proc/device-tree/model"), "");
    let release = line(root.join("etc/nv_tegra_release"), "#");
    named.extend(driver);
    // Every board has a model; only with NVIDIA's release is it one with such a GPU.
    named.extend(release.into_iter().flat_map(|release| board.clone().into_iter().chain([release])));
    named.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn key() -> EngineKey {
        EngineKey {
            model_sha256: "ab".repeat(32),
            runtime: "1.24.2".into(),
            tensorrt: "10.3.0".into(),
            gpu: "Model: NVIDIA A2".into(),
            precision: "f32",
            shapes: "N=1".into(),
        }
    }

    #[test]
    fn every_part_of_the_key_asks_for_a_folder_of_its_own() {
        let others = [
            EngineKey {
                model_sha256: "ac".repeat(32),
                ..key()
            },
            EngineKey {
                runtime: "1.24.3".into(),
                ..key()
            },
            EngineKey {
                tensorrt: "10.4.0".into(),
                ..key()
            },
            EngineKey {
                gpu: "Model: NVIDIA A10".into(),
                ..key()
            },
            EngineKey { precision: "f16", ..key() },
            EngineKey {
                shapes: "N=4".into(),
                ..key()
            },
            // What belongs to one part cannot be taken for two.
            EngineKey {
                runtime: "1.24.2\"\ntensorrt = \"10.3.0".into(),
                tensorrt: String::new(),
                ..key()
            },
        ];
        let mut folders: Vec<String> = others.iter().chain([&key()]).map(EngineKey::folder).collect();
        folders.sort();
        folders.dedup();
        assert_eq!(folders.len(), others.len() + 1);
        assert_eq!(key().folder(), key().folder());
        assert!(key().folder().starts_with("abababab-"), "{}", key().folder());
    }

    proptest! {
        #[test]
        fn those_that_go_were_used_before_those_that_stay(ages in prop::collection::vec(0_u64..50, 0..40), kept in 0_usize..40) {
            let folders: Vec<(PathBuf, SystemTime)> = ages
                .iter()
                .enumerate()
                .map(|(index, age)| (PathBuf::from(index.to_string()), SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age)))
                .collect();
            let kept = PathBuf::from(kept.to_string());
            let gone = superfluous(folders.clone(), &kept);
            prop_assert!(!gone.contains(&kept));
            let others = folders.iter().filter(|(folder, _)| *folder != kept).count();
            prop_assert_eq!(gone.len(), others.saturating_sub(FOLDERS_MAX - 1));
            let (went, stayed): (Vec<_>, Vec<_>) = folders.iter().filter(|(folder, _)| *folder != kept).partition(|(folder, _)| gone.contains(folder));
            let newest = went.iter().map(|(_, used)| used).max();
            let oldest = stayed.iter().map(|(_, used)| used).min();
            prop_assert!(newest.zip(oldest).is_none_or(|(newest, oldest)| newest <= oldest));
        }
    }

    #[test]
    fn the_folder_says_what_it_is_for_and_what_is_not_ours_stays() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("somebody's")).unwrap();
        for number in 0..FOLDERS_MAX + 3 {
            let shapes = format!("N={number}");
            let folder = prepare(root.path(), &EngineKey { shapes, ..key() }).unwrap();
            assert!(fs::read_to_string(folder.join(KEY)).unwrap().contains(&format!("N={number}")));
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), FOLDERS_MAX + 1);
        assert!(root.path().join("somebody's").exists());
    }

    #[test]
    fn a_gpu_is_named_with_its_driver() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("proc/device-tree/model", "NVIDIA Jetson Orin Nano\0");
        assert_eq!(gpu(root.path()), "");
        write("etc/nv_tegra_release", "# R36 (release), REVISION: 4.0\n");
        assert_eq!(gpu(root.path()), "NVIDIA Jetson Orin Nano; # R36 (release), REVISION: 4.0");
        write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t NVIDIA A2\nIRQ: 1\n");
        write("proc/driver/nvidia/version", "NVRM version: 550.1\nGCC version: 12\n");
        assert!(
            gpu(root.path()).starts_with("Model: \t NVIDIA A2; NVRM version: 550.1"),
            "{}",
            gpu(root.path())
        );
    }
}
