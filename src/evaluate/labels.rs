//! Which class each pixel truly is of: from a picture of class numbers, or from a mask and the kind of defect it is of.

use std::path::Path;

use super::metrics::confusion::Confusion;
use super::{EvaluateError, Sample, Truth};
use crate::model::manifest::Manifest;
use crate::vision::Image;
use crate::vision::decode::read_image;

/// In a picture of class numbers, what nobody judged (as in Pascal VOC and Cityscapes).
const NOT_JUDGED: u8 = 255;

/// A class number that is none: it is not counted.
const NO_CLASS: u16 = u16::MAX;

/// Pixels of a model's classes, and of none of them, true against said.
pub(super) struct LabelTally {
    confusion: Confusion,
    classes: Vec<String>,
    /// The class of pixels without a defect: the model's only class that is none, else that of none of its classes.
    background: usize,
}

/// A class for each pixel, row by row.
struct Labels {
    width: usize,
    height: usize,
    classes: Vec<u16>,
}

impl LabelTally {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let none = manifest.classes.len();
        let mut ok = (0..none).filter(|class| manifest.ok_classes.contains(&manifest.classes[*class]));
        let background = match (ok.next(), ok.next()) {
            (Some(only), None) => only,
            _ => none,
        };
        Self {
            confusion: Confusion::new(none + 1),
            classes: manifest.classes.clone(),
            background,
        }
    }

    /// Counts the pixels of an image of which a model said these classes, at the size of what is true of it.
    pub(super) fn add(&mut self, sample: &Sample, width: usize, height: usize, said: &[u16]) -> Result<(), EvaluateError> {
        let truth = self.truth(sample, width, height)?;
        let said = resized(width, height, said, truth.width, truth.height);
        // A map of another length than it states leaves the counts as they are; the sizes were checked where the model was read.
        let _ = self.confusion.add_map(&truth.classes, &said, self.classes.len());
        Ok(())
    }

    /// How many of which class; the last is of none of the model's.
    pub(super) fn confusion(&self) -> &Confusion {
        &self.confusion
    }

    fn truth(&self, sample: &Sample, width: usize, height: usize) -> Result<Labels, EvaluateError> {
        match &sample.truth {
            Truth::Labels(path) => self.of_numbers(path),
            Truth::Mask(path) => Ok(self.of_mask(&read_image(path)?, &sample.kinds)),
            Truth::Unmarked | Truth::Class(_) | Truth::Objects(_) => Ok(Labels {
                width,
                height,
                classes: vec![self.background as u16; width * height],
            }),
        }
    }

    fn of_numbers(&self, path: &Path) -> Result<Labels, EvaluateError> {
        let image = read_image(path)?;
        let failed = |reason: String| EvaluateError::Labels { path: path.into(), reason };
        let label = |pixel: &[u8; 3]| match *pixel {
            [number, green, blue] if number != green || number != blue => {
                Err(failed("it has colours; write the numbers of the classes as grey levels".into()))
            }
            [NOT_JUDGED, ..] => Ok(NO_CLASS),
            [number, ..] if usize::from(number) < self.classes.len() => Ok(u16::from(number)),
            [number, ..] => Err(failed(format!(
                "it has the class {number}, the model has {} classes, from 0 on",
                self.classes.len()
            ))),
        };
        Ok(Labels {
            width: image.width as usize,
            height: image.height as usize,
            classes: image.rgb.as_chunks::<3>().0.iter().map(label).collect::<Result<_, _>>()?,
        })
    }

    /// Bright pixels are of the class that the image is of, all others have no defect.
    fn of_mask(&self, mask: &Image, kinds: &[String]) -> Labels {
        let class = self
            .classes
            .iter()
            .position(|class| kinds.contains(class))
            .unwrap_or(self.classes.len());
        let label = |pixel: &[u8; 3]| if pixel[0] > 127 { class as u16 } else { self.background as u16 };
        Labels {
            width: mask.width as usize,
            height: mask.height as usize,
            classes: mask.rgb.as_chunks::<3>().0.iter().map(label).collect(),
        }
    }
}

/// Classes at another size, by the nearest pixel.
fn resized(width: usize, height: usize, classes: &[u16], to_width: usize, to_height: usize) -> Vec<u16> {
    if (width, height) == (to_width, to_height) || classes.len() != width * height || classes.is_empty() {
        return classes.to_vec();
    }
    let nearest = |place: usize, from: usize, to: usize| ((2 * place + 1) * from / (2 * to)).min(from - 1);
    (0..to_width * to_height)
        .map(|index| {
            let (x, y) = (
                nearest(index % to_width, width, to_width),
                nearest(index / to_width, height, to_height),
            );
            classes[y * width + x]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use image::{Rgb, RgbImage};

    use super::*;

    fn tally(classes: &[&str], ok: &[&str]) -> LabelTally {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let manifest = Manifest::from_text(include_str!("../../tests/fixtures/model_v1.toml")).unwrap();
        LabelTally::new(&Manifest {
            classes: names(classes),
            ok_classes: names(ok),
            ..manifest
        })
    }

    fn sample(kind: &str, truth: Truth) -> Sample {
        Sample {
            path: "part.png".into(),
            kinds: vec![kind.into()],
            is_defect: kind != "good",
            truth,
        }
    }

    /// A picture of 16 x 16 pixels, written to a file.
    fn picture(folder: &Path, pixel: impl Fn(u32, u32) -> [u8; 3]) -> PathBuf {
        let file = folder.join("truth.png");
        RgbImage::from_fn(16, 16, |x, y| Rgb(pixel(x, y))).save(&file).unwrap();
        file
    }

    #[test]
    fn classes_are_compared_at_the_size_of_the_truth() {
        assert_eq!(resized(2, 1, &[3, 4], 4, 2), [3, 3, 4, 4, 3, 3, 4, 4]);
        assert_eq!(resized(4, 1, &[1, 2, 3, 4], 2, 1), [2, 4]);
        assert_eq!(resized(2, 2, &[1], 4, 4), [1]);
    }

    #[test]
    fn background_is_the_only_class_that_is_no_defect_or_none() {
        assert_eq!(tally(&["plain", "crack"], &["plain"]).background, 0);
        assert_eq!(tally(&["crack"], &[]).background, 1);
        assert_eq!(tally(&["a", "b", "crack"], &["a", "b"]).background, 3);
    }

    #[test]
    fn numbers_are_classes_and_what_nobody_judged_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut tally = tally(&["plain", "crack"], &["plain"]);
        // The left half is plain, the right one crack but for a column that nobody judged.
        let file = picture(folder.path(), |x, _| {
            [if x < 8 {
                0
            } else if x < 15 {
                1
            } else {
                NOT_JUDGED
            }; 3]
        });
        // Said at half the size: all of it is crack, but for the first column, of which the model said nothing.
        let said: Vec<u16> = (0..64).map(|index| if index % 8 == 0 { NO_CLASS } else { 1 }).collect();
        tally.add(&sample("crack", Truth::Labels(file)), 8, 8, &said).unwrap();
        let confusion = tally.confusion();
        let counts = [[0, 0], [0, 1], [0, 2], [1, 1]].map(|[truth, said]| confusion.count(truth, said));
        assert_eq!((counts, confusion.total()), ([0, 6 * 16, 2 * 16, 7 * 16], 15 * 16));
    }

    #[test]
    fn a_mask_is_of_the_kind_of_its_folder_and_a_good_part_is_background() {
        let folder = tempfile::tempdir().unwrap();
        let mut tally = tally(&["crack", "dent"], &[]);
        let mask = picture(folder.path(), |_, y| [if y < 4 { 255 } else { 0 }; 3]);
        let said: Vec<u16> = (0..256).map(|index| if index < 32 { 1 } else { NO_CLASS }).collect();
        tally.add(&sample("dent", Truth::Mask(mask)), 16, 16, &said).unwrap();
        tally.add(&sample("good", Truth::Unmarked), 16, 16, &[NO_CLASS; 256]).unwrap();
        let dent = tally.confusion().class(1);
        assert_eq!((dent.truly, dent.said, dent.iou, dent.dice), (64, 32, Some(0.5), Some(2.0 / 3.0)));
        assert_eq!(tally.confusion().class(2).truly, 192 + 256);
    }

    #[test]
    fn colours_and_unknown_numbers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut tally = tally(&["plain", "crack"], &["plain"]);
        for (pixel, words) in [([1, 0, 0], "grey levels"), ([2, 2, 2], "class 2")] {
            let file = picture(folder.path(), |_, _| pixel);
            let error = tally.add(&sample("crack", Truth::Labels(file)), 16, 16, &[0; 256]).unwrap_err();
            assert!(
                error.to_string().contains(words) && error.to_string().contains("truth.png"),
                "{error}"
            );
        }
    }
}
