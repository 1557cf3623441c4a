//! An image and what is true of it.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::metrics::average_precision::TrueObject;
use super::metrics::outline::{Outline, Runs};
use super::metrics::overlap::Rectangle;
use crate::teach::dataset::{GOOD, LabelledImage};

/// One labelled image.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// What is on it, by name: its kinds of defect, or the name of a class that is none; without either, `good`.
    pub kinds: Vec<String>,
    /// Whether the part has a defect.
    pub is_defect: bool,
    /// What else is known.
    pub truth: Truth,
}

/// What is known of an image beyond whether it shows a defect.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// Nothing. Of a good part that means: no pixel is defect.
    Unmarked,
    /// A picture in which defect pixels are bright.
    Mask(PathBuf),
    /// A picture of the numbers of the model's classes, a grey level for each pixel; 255 where nobody judged.
    Labels(PathBuf),
    /// Which of the model's classes it is, by number.
    Class(usize),
    /// The objects on it; all of them.
    Objects(Vec<Object>),
}

/// An object on an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Which of the model's classes it is, by number.
    pub class: usize,
    /// Where it is, in pixels of the image.
    pub place: TrueObject<Rectangle>,
    /// Its outline, where it is known and the model tells masks.
    pub outline: Option<Outline>,
}

impl Sample {
    /// Feeds the bytes of the file, and what is true of it, to a hash. A file that cannot be read adds nothing; it is counted elsewhere.
    pub(super) fn hash_into(&self, hash: &mut Sha256) {
        for kind in &self.kinds {
            hash.update(kind.as_bytes());
            hash.update([0]);
        }
        hash.update(fs::read(&self.path).unwrap_or_default());
        match &self.truth {
            Truth::Unmarked | Truth::Class(_) => {}
            Truth::Mask(file) | Truth::Labels(file) => hash.update(fs::read(file).unwrap_or_default()),
            Truth::Objects(objects) => {
                for object in objects {
                    let Rectangle { x, y, width, height } = object.place.shape;
                    hash.update([u8::from(object.place.is_crowd)]);
                    for number in [x, y, width, height, object.place.area] {
                        hash.update(number.to_le_bytes());
                    }
                    hash_outline(object.outline.as_ref(), hash);
                }
            }
        }
    }
}

/// An outline adds to the hash; none leaves it as it was.
fn hash_outline(outline: Option<&Outline>, hash: &mut Sha256) {
    match outline {
        None => {}
        Some(Outline::Polygons(polygons)) => {
            for polygon in polygons {
                hash.update((polygon.len() as u64).to_le_bytes());
                for place in polygon {
                    hash.update(place.to_le_bytes());
                }
            }
        }
        Some(Outline::Runs { height, width, runs }) => {
            hash.update(height.to_le_bytes());
            hash.update(width.to_le_bytes());
            match runs {
                Runs::Counts(counts) => {
                    for count in counts {
                        hash.update(count.to_le_bytes());
                    }
                }
                Runs::Text(text) => hash.update(text),
            }
        }
    }
}

impl From<LabelledImage> for Sample {
    fn from(image: LabelledImage) -> Self {
        Self {
            is_defect: image.class != GOOD,
            path: image.path,
            kinds: vec![image.class],
            truth: image.mask.map_or(Truth::Unmarked, Truth::Mask),
        }
    }
}

/// A finished hash as it is written down.
pub(super) fn hexadecimal(hash: Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
