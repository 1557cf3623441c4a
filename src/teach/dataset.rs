//! Folders of images: good ones to teach from, and labelled ones to judge by (the layout of MVTec AD: `train/good`, `test/good`,
//! `test/<defect>`, `ground_truth/<defect>/<name>_mask.png` or `<name>.png`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::vision::decode::{self, EXTENSIONS};

/// The folder of parts without defect.
pub const GOOD: &str = "good";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The folder cannot be read.
    #[error("failed to read folder {path}: {source}")]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No images in it.
    #[error("failed to find images in {path}{hint}; takt reads {}", EXTENSIONS.join(", "))]
    Empty {
        /// The folder.
        path: PathBuf,
        /// Where they may be instead.
        hint: String,
    },
    /// A folder of defects was given as good.
    #[error(
        "failed to take {path} for good parts: a folder \"good\" lies beside it, so it seems to hold defects; give the good parts, such as {suggestion}"
    )]
    Defects {
        /// The folder.
        path: PathBuf,
        /// What was probably meant.
        suggestion: PathBuf,
    },
    /// No labelled images.
    #[error("failed to find test images in {0}: it needs folders good/ and one per kind of defect, directly or below test/")]
    NoTest(PathBuf),
}

/// One labelled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImage {
    /// The file.
    pub path: PathBuf,
    /// Its folder's name: `good` or the kind of defect.
    pub class: String,
    /// Where the defect is, if that is known.
    pub mask: Option<PathBuf>,
}

impl LabelledImage {
    /// Whether the part has a defect.
    pub fn is_defect(&self) -> bool {
        self.class != GOOD
    }
}

/// The image files directly inside `folder`, by name.
///
/// # Errors
/// When it cannot be read or holds no image.
pub fn images_in(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let images = list_images(folder)?;
    if images.is_empty() {
        let inner = [Path::new("train/good"), Path::new("good")]
            .map(|inner| folder.join(inner))
            .into_iter()
            .find(|inner| inner.is_dir());
        let hint = inner
            .map(|inner| format!("; did you mean {}?", inner.display()))
            .unwrap_or_default();
        return Err(DatasetError::Empty { path: folder.into(), hint });
    }
    Ok(images)
}

/// The images of good parts in `folder`.
///
/// # Errors
/// As [`images_in`], and when the folder lies where a data set has its defects.
pub fn good_images(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let images = images_in(folder)?;
    let full = folder.canonicalize().map_err(|source| DatasetError::Read {
        path: folder.into(),
        source,
    })?;
    if let Some(parent) = full.parent().filter(|_| full.file_name().is_some_and(|name| name != GOOD))
        && parent.join(GOOD).is_dir()
    {
        let train = parent.with_file_name("train").join(GOOD);
        let suggestion = if train.is_dir() { train } else { parent.join(GOOD) };
        return Err(DatasetError::Defects {
            path: folder.into(),
            suggestion,
        });
    }
    Ok(images)
}

/// The labelled test images of a data set: below `root/test`, or directly below `root`.
///
/// # Errors
/// When there is no folder `good`, or a folder cannot be read.
pub fn test_images(root: &Path) -> Result<Vec<LabelledImage>, DatasetError> {
    let test = if root.join("test").is_dir() {
        root.join("test")
    } else {
        root.to_owned()
    };
    let truth = test.parent().map(|parent| parent.join("ground_truth"));
    let failed = |source| DatasetError::Read {
        path: test.clone(),
        source,
    };
    let mut classes: Vec<PathBuf> = fs::read_dir(&test)
        .map_err(failed)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    classes.sort();
    let mut images = Vec::new();
    for folder in &classes {
        let class = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        for path in list_images(folder)? {
            let mask = truth
                .as_ref()
                .filter(|_| class != GOOD)
                .and_then(|truth| mask_of(&truth.join(&class), &path));
            images.push(LabelledImage {
                path,
                class: class.clone(),
                mask,
            });
        }
    }
    if images.is_empty() || !test.join(GOOD).is_dir() {
        return Err(DatasetError::NoTest(root.into()));
    }
    Ok(images)
}

fn mask_of(folder: &Path, image: &Path) -> Option<PathBuf> {
    let stem = image.file_stem()?.to_str()?;
    [format!("{stem}_mask.png"), format!("{stem}.png")]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.is_file())
}

fn list_images(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    decode::list_images(folder).map_err(|source| DatasetError::Read {
        path: folder.into(),
        source,
    })
}
