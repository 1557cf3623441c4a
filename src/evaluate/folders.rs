//! Folders of images become samples: `good` and kinds of defect (MVTec AD), with masks or classes of pixels; or one folder for each class of a
//! classifier.

use std::fs;
use std::path::{Path, PathBuf};

use super::{EvaluateError, Sample, Truth};
use crate::model::manifest::{Kind, Manifest};
use crate::teach::dataset::{DatasetError, test_images};
use crate::vision::decode::list_images;

/// The labelled images below `root/test`, or directly below `root`, as a model of this kind needs them.
///
/// # Errors
/// When a folder cannot be read, there are no images, or a classifier's folders are not its classes.
pub fn samples(root: &Path, manifest: &Manifest) -> Result<Vec<Sample>, EvaluateError> {
    match manifest.kind {
        Kind::Classification => of_classes(root, manifest),
        Kind::Segmentation => of_pixels(root, manifest),
        Kind::Anomaly | Kind::Detection => Ok(test_images(root)?.into_iter().map(Sample::from).collect()),
    }
}

/// Where `labels/<folder>/<name>.png` holds the classes of an image's pixels, that is what is true of it; else its mask, of the kind of its folder.
fn of_pixels(root: &Path, manifest: &Manifest) -> Result<Vec<Sample>, EvaluateError> {
    let mut samples = Vec::new();
    for image in test_images(root)? {
        let file = image.path.file_stem().map(|stem| Path::new(stem).with_added_extension("png"));
        let labels = file
            .map(|file| root.join("labels").join(&image.class).join(file))
            .filter(|file| file.is_file());
        let sample = Sample::from(image);
        let truth = match (labels, sample.truth) {
            (Some(labels), _) => Truth::Labels(labels),
            (None, Truth::Mask(mask)) => {
                // A mask of a kind that is no class would have to be guessed at.
                if let Some(name) = sample.kinds.iter().find(|kind| !manifest.classes.contains(kind)) {
                    return Err(EvaluateError::Folder {
                        folder: root.join("ground_truth"),
                        name: name.clone(),
                        classes: manifest.classes.clone(),
                    });
                }
                Truth::Mask(mask)
            }
            (None, truth) => truth,
        };
        samples.push(Sample { truth, ..sample });
    }
    Ok(samples)
}

fn of_classes(root: &Path, manifest: &Manifest) -> Result<Vec<Sample>, EvaluateError> {
    let test = root.join("test");
    let folder = if test.is_dir() { test } else { root.to_owned() };
    let mut samples = Vec::new();
    for path in folders_in(&folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let images = list_images(&path).map_err(|source| DatasetError::Read {
            path: path.clone(),
            source,
        })?;
        if images.is_empty() {
            continue;
        }
        let Some(class) = manifest.classes.iter().position(|class| *class == name) else {
            return Err(EvaluateError::Folder {
                folder,
                name,
                classes: manifest.classes.clone(),
            });
        };
        let is_defect = !manifest.ok_classes.contains(&name);
        samples.extend(images.into_iter().map(|path| Sample {
            path,
            kinds: vec![name.clone()],
            is_defect,
            truth: Truth::Class(class),
        }));
    }
    if samples.is_empty() {
        let hint = format!(
            "; a classifier is evaluated on one folder for each of its classes ({})",
            manifest.classes.join(", ")
        );
        return Err(DatasetError::Empty { path: folder, hint }.into());
    }
    Ok(samples)
}

fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let read = fs::read_dir(folder).map_err(|source| DatasetError::Read {
        path: folder.into(),
        source,
    })?;
    let mut folders: Vec<PathBuf> = read
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    Ok(folders)
}
