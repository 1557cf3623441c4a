//! A COCO file of objects becomes samples: which images there are, and the boxes on them.
//!
//! Read are `images` (`id`, `file_name`), `categories` (`id`, `name`) and `annotations` (`image_id`, `category_id`, `bbox`, `area`, `iscrowd`,
//! `segmentation`); everything else is left aside, and outlines where the model tells no masks. Categories are matched with the model's classes by name.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::metrics::average_precision::TrueObject;
use super::metrics::outline::{Outline, Runs};
use super::metrics::overlap::Rectangle;
use super::{Object, Sample, Truth};
use crate::model::manifest::{Manifest, OutputSpec};
use crate::teach::dataset::GOOD;

/// Largest file that is read; a larger one is refused. COCO's own annotations of 118,000 images have 450 MB.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why annotations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CocoError {
    /// The file cannot be read.
    #[error("failed to read annotations {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no COCO file.
    #[error("failed to read annotations {path} as COCO JSON: {reason}; it needs images, categories and annotations with boxes")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There are several files to choose from.
    #[error("failed to choose annotations in {folder}: there are {}; name one with --annotations", names(.found))]
    Several {
        /// The folder.
        folder: PathBuf,
        /// The files.
        found: Vec<PathBuf>,
    },
    /// A category is not a class of the model.
    #[error(
        "failed to match annotations {path} with the model: \"{category}\" ({annotations} objects) is none of its classes ({}); rename the category, or \
         take its objects out",
        .classes.join(", ")
    )]
    Category {
        /// The file.
        path: PathBuf,
        /// The category.
        category: String,
        /// Objects of it.
        annotations: usize,
        /// The classes of the model.
        classes: Vec<String>,
    },
    /// Images are not where they should be.
    #[error("failed to find {missing} of the {images} images of {path}, {first} first; name their folder with --images")]
    Images {
        /// The file.
        path: PathBuf,
        /// Images that it names.
        images: usize,
        /// How many of them are not there.
        missing: usize,
        /// The first of them.
        first: PathBuf,
    },
}

fn names(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<String>>()
        .join(", ")
}

#[derive(Debug, Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Debug, Deserialize)]
struct Image {
    id: i64,
    file_name: String,
}

#[derive(Debug, Deserialize)]
struct Category {
    id: i64,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Annotation {
    image_id: i64,
    category_id: i64,
    bbox: [f64; 4],
    area: Option<f64>,
    #[serde(default)]
    iscrowd: u8,
    #[serde(default)]
    segmentation: Option<Segmentation>,
}

/// The outline of an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Segmentation {
    /// Polygons.
    Polygons(Vec<Vec<f64>>),
    /// Run lengths of a mask of this height and width.
    Runs { size: [u32; 2], counts: Counts },
    /// Something else: of no use, and in nobody's way where boxes are enough.
    Other(IgnoredAny),
}

/// Run lengths, as numbers or as COCO's text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Counts {
    Numbers(Vec<u64>),
    Text(String),
}

impl Segmentation {
    /// The outline, where it is one.
    pub(super) fn outline(self) -> Option<Outline> {
        match self {
            Self::Polygons(polygons) => (!polygons.is_empty()).then_some(Outline::Polygons(polygons)),
            Self::Runs {
                size: [height, width],
                counts,
            } => Some(Outline::Runs {
                height,
                width,
                runs: match counts {
                    Counts::Numbers(counts) => Runs::Counts(counts),
                    Counts::Text(text) => Runs::Text(text),
                },
            }),
            Self::Other(_) => None,
        }
    }
}

/// The file of annotations of a data set: the one JSON file in its folder `annotations`, or else in the folder itself. `None` if there is none.
///
/// # Errors
/// When there are several, or a folder cannot be read.
pub fn find(root: &Path) -> Result<Option<PathBuf>, CocoError> {
    for folder in [root.join("annotations"), root.to_owned()] {
        if !folder.is_dir() {
            continue;
        }
        let read = fs::read_dir(&folder).map_err(|source| CocoError::Read {
            path: folder.clone(),
            source,
        })?;
        let mut found: Vec<PathBuf> = read
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.is_file() && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")))
            .collect();
        found.sort();
        match found.len() {
            0 => {}
            1 => return Ok(found.pop()),
            _ => return Err(CocoError::Several { folder, found }),
        }
    }
    Ok(None)
}

/// The images of a file of annotations, by their numbers, with their objects. Images lie in `images`, or else in one of the folders `images` and
/// the folder itself of the data set `root` and of the file: where the first image is found.
///
/// # Errors
/// When the file cannot be read or is none, an object is of a class that the model does not know, or images are missing.
pub fn samples(file: &Path, images: Option<&Path>, root: Option<&Path>, manifest: &Manifest) -> Result<Vec<Sample>, CocoError> {
    let mut read = read(file)?;
    read.images.sort_by_key(|image| image.id);
    let classes = classes(&read, file, manifest)?;
    let with_masks = matches!(&manifest.outputs, OutputSpec::Boxes { coefficients: 1.., .. });
    let annotations = std::mem::take(&mut read.annotations);
    let mut objects = objects(&read, annotations, with_masks, file, &classes)?;
    let folder = match images {
        Some(images) => images.to_owned(),
        None => folder_of(&read, file, root),
    };
    let missing: Vec<PathBuf> = read
        .images
        .iter()
        .map(|image| folder.join(&image.file_name))
        .filter(|path| !path.is_file())
        .collect();
    if let Some(first) = missing.first() {
        return Err(CocoError::Images {
            path: file.into(),
            images: read.images.len(),
            missing: missing.len(),
            first: first.clone(),
        });
    }
    let sample = |image: &Image| {
        let objects = objects.remove(&image.id).unwrap_or_default();
        sample(folder.join(&image.file_name), objects, manifest)
    };
    Ok(read.images.iter().map(sample).collect())
}

/// A part is defective when an object of a class that is no `ok_class` is on it.
fn sample(path: PathBuf, objects: Vec<Object>, manifest: &Manifest) -> Sample {
    let name = |object: &Object| manifest.classes.get(object.class).cloned().unwrap_or_default();
    let mut kinds: Vec<String> = objects
        .iter()
        .map(name)
        .filter(|name| !manifest.ok_classes.contains(name))
        .collect();
    kinds.sort();
    kinds.dedup();
    let is_defect = !kinds.is_empty();
    if !is_defect {
        kinds.push(GOOD.into());
    }
    Sample {
        path,
        kinds,
        is_defect,
        truth: Truth::Objects(objects),
    }
}

fn read(path: &Path) -> Result<File, CocoError> {
    let failed = |source| CocoError::Read { path: path.into(), source };
    let format = |reason: String| CocoError::Format { path: path.into(), reason };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let file: File = serde_json::from_slice(&bytes).map_err(|error| format(error.to_string()))?;
    if file.images.is_empty() {
        return Err(format("it has no images".into()));
    }
    Ok(file)
}

/// The model's class of each category that has objects.
fn classes(file: &File, path: &Path, manifest: &Manifest) -> Result<HashMap<i64, usize>, CocoError> {
    let mut classes = HashMap::new();
    for category in &file.categories {
        let annotations = file.annotations.iter().filter(|one| one.category_id == category.id).count();
        match manifest.classes.iter().position(|class| *class == category.name) {
            Some(class) => {
                classes.insert(category.id, class);
            }
            // Some programs write categories that nothing belongs to, such as the name of the project.
            None if annotations == 0 => {}
            None => {
                return Err(CocoError::Category {
                    path: path.into(),
                    category: category.name.clone(),
                    annotations,
                    classes: manifest.classes.clone(),
                });
            }
        }
    }
    Ok(classes)
}

/// The objects of each image.
fn objects(
    file: &File,
    annotations: Vec<Annotation>,
    with_masks: bool,
    path: &Path,
    classes: &HashMap<i64, usize>,
) -> Result<BTreeMap<i64, Vec<Object>>, CocoError> {
    let format = |reason: String| CocoError::Format { path: path.into(), reason };
    let mut objects: BTreeMap<i64, Vec<Object>> = BTreeMap::new();
    for image in &file.images {
        if objects.insert(image.id, Vec::new()).is_some() {
            return Err(format(format!("two images have the id {}", image.id)));
        }
    }
    for (index, annotation) in annotations.into_iter().enumerate() {
        let [x, y, width, height] = annotation.bbox;
        let area = annotation.area.unwrap_or(width * height);
        let is_box = [x, y, width, height, area].iter().all(|number| number.is_finite()) && width >= 0.0 && height >= 0.0;
        if !is_box {
            return Err(format(format!("annotation {index} (from 0) has the box {:?}", annotation.bbox)));
        }
        let Some(class) = classes.get(&annotation.category_id) else {
            return Err(format(format!(
                "annotation {index} (from 0) is of category {}, which is none",
                annotation.category_id
            )));
        };
        let Some(objects) = objects.get_mut(&annotation.image_id) else {
            return Err(format(format!(
                "annotation {index} (from 0) is on image {}, which is none",
                annotation.image_id
            )));
        };
        objects.push(Object {
            class: *class,
            place: TrueObject {
                shape: Rectangle { x, y, width, height },
                area,
                is_crowd: annotation.iscrowd != 0,
            },
            outline: annotation.segmentation.filter(|_| with_masks).and_then(Segmentation::outline),
        });
    }
    Ok(objects)
}

fn folder_of(file: &File, path: &Path, root: Option<&Path>) -> PathBuf {
    let beside = path.parent().unwrap_or(Path::new(""));
    let candidates: Vec<PathBuf> = [root, Some(beside), beside.parent()]
        .into_iter()
        .flatten()
        .flat_map(|folder| [folder.join("images"), folder.to_owned()])
        .collect();
    let holds_first = |folder: &&PathBuf| file.images.first().is_some_and(|image| folder.join(&image.file_name).is_file());
    candidates
        .iter()
        .find(holds_first)
        .or(candidates.first())
        .cloned()
        .unwrap_or_default()
}
