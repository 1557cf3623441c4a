//! A class for each pixel: what models of segmentation give, as scores of classes or as labels. Pure.

use serde::{Deserialize, Serialize};

use super::detect::Size;
use super::preprocess::Placement;
use super::{AnomalyMap, OutputTensor};

/// How far shares may be off 0 to 1, and their sum off 1: the rounding of half precision, and of many classes.
const SHARE_TOLERANCE: f32 = 0.02;

/// What a model's scores of classes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ScoreForm {
    /// Any numbers: the softmax is still to come, or the sigmoid where there is one class only.
    Logits,
    /// Shares that sum up to 1, or the share of the one class.
    Shares,
    /// The number of the class itself.
    Labels,
}

/// The class of each pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMap {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` classes, row by row: places in the model's list of classes, or [`ClassMap::NONE`].
    pub classes: Vec<u16>,
}

impl ClassMap {
    /// The class of a pixel that belongs to none of the model's.
    pub const NONE: u16 = u16::MAX;
}

/// What a model says of the pixels of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelClasses {
    /// The share of all classes that are defects, for each pixel.
    pub defects: AnomalyMap,
    /// Its class: the likeliest defect where these shares are above the threshold, else the likeliest of the others.
    pub classes: ClassMap,
}

/// Reads the classes of the first image of a batch. A pixel is a defect where the shares of all defects sum up to more than `threshold`.
/// `None` where the output is none of the kind: another shape or number of classes, a value that is no number, a share beyond 0 to 1, a label
/// without a class.
pub fn read(output: &OutputTensor, form: ScoreForm, is_ok: &[bool], threshold: f32) -> Option<PixelClasses> {
    let (channels, height, width) = match *output.shape.as_slice() {
        [_, channels, height, width] => (channels, height, width),
        [_, height, width] => (1, height, width),
        _ => return None,
    };
    let pixels = width.checked_mul(height).filter(|pixels| *pixels > 0 && channels > 0)?;
    let values = output.values.get(..pixels.checked_mul(channels)?)?;
    let (defects, classes) = match form {
        ScoreForm::Labels if channels == 1 => of_labels(values, is_ok)?,
        ScoreForm::Labels => return None,
        ScoreForm::Logits | ScoreForm::Shares if channels != is_ok.len() => return None,
        ScoreForm::Logits | ScoreForm::Shares if channels == 1 => of_one_class(values, form, is_ok, threshold)?,
        ScoreForm::Logits | ScoreForm::Shares => of_scores(values, pixels, form, is_ok, threshold)?,
    };
    Some(PixelClasses {
        defects: AnomalyMap {
            width,
            height,
            scores: defects,
        },
        classes: ClassMap { width, height, classes },
    })
}

fn of_labels(values: &[f32], is_ok: &[bool]) -> Option<(Vec<f32>, Vec<u16>)> {
    let label = |value: &f32| {
        let is_whole = value.fract() == 0.0 && *value >= 0.0;
        let label = is_whole.then_some(*value as usize)?;
        let is_ok = is_ok.get(label)?;
        Some((if *is_ok { 0.0 } else { 1.0 }, label as u16))
    };
    values.iter().map(label).collect()
}

/// One class and its score: all else belongs to none.
fn of_one_class(values: &[f32], form: ScoreForm, is_ok: &[bool], threshold: f32) -> Option<(Vec<f32>, Vec<u16>)> {
    let is_defect = is_ok.first().is_some_and(|is_ok| !is_ok);
    let pixel = |value: &f32| {
        let share = if form == ScoreForm::Logits && value.is_finite() {
            1.0 / (1.0 + (-value).exp())
        } else {
            share(*value)?
        };
        let share = if is_defect { share } else { 1.0 - share };
        Some((share, if (share > threshold) == is_defect { 0 } else { ClassMap::NONE }))
    };
    values.iter().map(pixel).collect()
}

/// A number from 0 to 1, but for rounding.
fn share(value: f32) -> Option<f32> {
    let is_share = (-SHARE_TOLERANCE..=1.0 + SHARE_TOLERANCE).contains(&value);
    is_share.then_some(value.clamp(0.0, 1.0))
}

/// What is known of each pixel while the planes of the classes are read one after the other.
struct Best {
    score: Vec<f32>,
    class: Vec<u16>,
}

impl Best {
    fn of(pixels: usize) -> Self {
        Self {
            score: vec![f32::NEG_INFINITY; pixels],
            class: vec![ClassMap::NONE; pixels],
        }
    }

    fn add(&mut self, class: u16, plane: &[f32]) {
        for ((value, score), best) in plane.iter().zip(&mut self.score).zip(&mut self.class) {
            if *value > *score {
                (*score, *best) = (*value, class);
            }
        }
    }
}

/// Scores of several classes, one plane of pixels for each.
fn of_scores(values: &[f32], pixels: usize, form: ScoreForm, is_ok: &[bool], threshold: f32) -> Option<(Vec<f32>, Vec<u16>)> {
    if !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let (mut good, mut bad) = (Best::of(pixels), Best::of(pixels));
    for (class, (plane, is_ok)) in values.chunks_exact(pixels).zip(is_ok).enumerate() {
        if *is_ok { &mut good } else { &mut bad }.add(class as u16, plane);
    }
    let (mut defects, mut sums) = (vec![0.0_f32; pixels], vec![0.0_f32; pixels]);
    for (plane, is_ok) in values.chunks_exact(pixels).zip(is_ok) {
        for (pixel, value) in plane.iter().enumerate() {
            // The largest is taken off first, so that none is beyond what a float holds.
            let power = match form {
                ScoreForm::Logits => (value - good.score[pixel].max(bad.score[pixel])).exp(),
                _ => share(*value)?,
            };
            sums[pixel] += power;
            defects[pixel] += if *is_ok { 0.0 } else { power };
        }
    }
    if form == ScoreForm::Shares && !sums.iter().all(|sum| (sum - 1.0).abs() <= SHARE_TOLERANCE) {
        return None;
    }
    for (defect, sum) in defects.iter_mut().zip(&sums) {
        *defect /= sum;
    }
    let class = |(pixel, share): (usize, &f32)| if *share > threshold { bad.class[pixel] } else { good.class[pixel] };
    let classes = defects.iter().enumerate().map(class).collect();
    Some((defects, classes))
}

/// Shares of classes that sum up to 1, of logits (softmax) or as they are; `None` where they are no such thing.
pub fn shares(given: &[f32], are_logits: bool) -> Option<Vec<f32>> {
    if given.is_empty() || !given.iter().all(|value| value.is_finite()) {
        return None;
    }
    if !are_logits {
        let shares: Vec<f32> = given.iter().map(|value| share(*value)).collect::<Option<_>>()?;
        let sum: f32 = shares.iter().sum();
        return ((sum - 1.0).abs() <= SHARE_TOLERANCE).then_some(shares);
    }
    let largest = given.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = given.iter().map(|value| (value - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    Some(powers.iter().map(|power| power / sum).collect())
}

/// The columns and rows of a map of the whole input in which the picture lies; the rest are the bars beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Window {
    /// In a map of `width` columns and `height` rows, at least 1 of each.
    pub fn of(placement: &Placement, input: Size, width: usize, height: usize) -> Self {
        let span = |start: u32, length: u32, whole: u32, cells: usize| {
            let cell = |edge: u32| (f64::from(edge) * cells as f64 / f64::from(whole.max(1))).round() as usize;
            let first = cell(start).min(cells.saturating_sub(1));
            (first, cell(start + length).clamp(first + 1, cells.max(first + 1)))
        };
        let (left, right) = span(placement.left, placement.width, input.width, width);
        let (top, bottom) = span(placement.top, placement.height, input.height, height);
        Self { left, top, right, bottom }
    }

    /// The values inside, of rows of `width`.
    fn cut<T: Copy>(&self, values: Vec<T>, width: usize) -> Vec<T> {
        if (self.left, self.right) == (0, width) && self.top == 0 && (self.bottom * width) == values.len() {
            return values;
        }
        let rows = values.chunks_exact(width.max(1)).take(self.bottom).skip(self.top);
        rows.flat_map(|row| &row[self.left..self.right]).copied().collect()
    }

    /// The part of a map that shows the picture.
    pub fn map(&self, map: AnomalyMap) -> AnomalyMap {
        AnomalyMap {
            scores: self.cut(map.scores, map.width),
            width: self.right - self.left,
            height: self.bottom - self.top,
        }
    }

    /// The classes of the pixels that show the picture.
    pub fn pixels(&self, pixels: PixelClasses) -> PixelClasses {
        PixelClasses {
            classes: ClassMap {
                classes: self.cut(pixels.classes.classes, pixels.classes.width),
                width: self.right - self.left,
                height: self.bottom - self.top,
            },
            defects: self.map(pixels.defects),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Region;
    use proptest::prelude::*;

    const IS_OK: [bool; 3] = [true, false, false];

    fn output(shape: &[usize], values: &[f32]) -> OutputTensor {
        OutputTensor {
            shape: shape.to_vec(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn what_no_model_of_pixels_gives_is_not_read() {
        let read = |shape: &[usize], values: &[f32], form| read(&output(shape, values), form, &IS_OK, 0.5).is_some();
        assert!(read(&[1, 3, 1, 1], &[0.2, 0.5, 0.3], ScoreForm::Shares));
        for (shape, values, form) in [
            (&[1, 3, 1, 1][..], &[0.2, 0.5, f32::NAN][..], ScoreForm::Logits),
            (&[1, 3, 1, 1], &[0.2, 0.5, 0.5], ScoreForm::Shares),
            (&[1, 3, 1, 1], &[2.0, -0.5, -0.5], ScoreForm::Shares),
            (&[1, 2, 1, 1], &[0.5, 0.5], ScoreForm::Shares),
            (&[1, 3, 1, 2], &[0.2, 0.5, 0.3], ScoreForm::Logits),
            (&[1, 3, 0, 1], &[], ScoreForm::Logits),
            (&[3], &[0.2, 0.5, 0.3], ScoreForm::Logits),
            (&[1, 1, 1], &[3.0], ScoreForm::Labels),
            (&[1, 1, 1], &[0.5], ScoreForm::Labels),
            (&[1, 1, 1], &[-1.0], ScoreForm::Labels),
            (&[1, 1, 1], &[f32::NAN], ScoreForm::Labels),
            (&[1, 3, 1, 1], &[1.0, 0.0, 0.0], ScoreForm::Labels),
        ] {
            assert!(!read(shape, values, form), "{shape:?} {values:?} {form:?}");
        }
    }

    #[test]
    fn defects_count_together_and_the_likeliest_names_the_pixel() {
        // The background is likeliest, but both defects together are more.
        let found = read(
            &output(&[1, 3, 1, 2], &[0.4, 0.9, 0.25, 0.06, 0.35, 0.04]),
            ScoreForm::Shares,
            &IS_OK,
            0.5,
        )
        .unwrap();
        assert_eq!(found.classes.classes, [2, 0]);
        assert!((found.defects.scores[0] - 0.6).abs() < 1e-6 && (found.defects.peak() - 0.6).abs() < 1e-6);
    }

    #[test]
    fn one_class_needs_no_name_for_all_else() {
        let found = read(&output(&[1, 1, 1, 2], &[3.0, -3.0]), ScoreForm::Logits, &[false], 0.5).unwrap();
        assert_eq!(found.classes.classes, [0, ClassMap::NONE]);
        assert!((found.defects.scores[0] - 0.952_574_1).abs() < 1e-6);
        assert_eq!(read(&output(&[1, 1, 1, 1], &[f32::NAN]), ScoreForm::Logits, &[false], 0.5), None);
    }

    #[test]
    fn bars_beside_the_picture_are_no_part_of_it() {
        let placement = Placement {
            region: Region {
                x: 0,
                y: 0,
                width: 200,
                height: 100,
            },
            left: 0,
            top: 16,
            width: 64,
            height: 32,
        };
        let input = Size { width: 64, height: 64 };
        let map = AnomalyMap {
            width: 16,
            height: 16,
            scores: (0..256).map(|index| (index / 16) as f32).collect(),
        };
        let cut = Window::of(&placement, input, 16, 16).map(map);
        assert_eq!((cut.width, cut.height, cut.scores[0], cut.scores[127]), (16, 8, 4.0, 11.0));
    }

    proptest! {
        /// The definition, pixel by pixel in f64.
        #[test]
        fn logits_are_read_as_the_softmax_says(values in prop::collection::vec(-30.0_f32..30.0, 3 * 6), threshold in 0.05_f32..0.95) {
            let found = read(&output(&[1, 3, 2, 3], &values), ScoreForm::Logits, &IS_OK, threshold).unwrap();
            for pixel in 0..6 {
                let powers: Vec<f64> = (0..3).map(|class| f64::from(values[class * 6 + pixel]).exp()).collect();
                let share = (powers[1] + powers[2]) / powers.iter().sum::<f64>();
                prop_assert!((f64::from(found.defects.scores[pixel]) - share).abs() < 1e-5);
                if (share - f64::from(threshold)).abs() > 1e-5 {
                    let worst = if powers[1] >= powers[2] { 1 } else { 2 };
                    prop_assert_eq!(found.classes.classes[pixel], if share > f64::from(threshold) { worst } else { 0 });
                }
            }
        }

        #[test]
        fn nothing_that_a_model_gives_panics(
            shape in prop::collection::vec(0_usize..5, 0..5), values in prop::collection::vec(prop::num::f32::ANY, 0..64), form in 0..3, classes in 0_usize..4,
        ) {
            let form = [ScoreForm::Logits, ScoreForm::Shares, ScoreForm::Labels][form as usize];
            let is_ok: Vec<bool> = (0..classes).map(|class| class == 0).collect();
            if let Some(found) = read(&output(&shape, &values), form, &is_ok, 0.5) {
                prop_assert!(found.defects.scores.iter().all(|share| (0.0..=1.0).contains(share)));
                prop_assert_eq!(found.defects.scores.len(), found.classes.classes.len());
            }
        }
    }
}
