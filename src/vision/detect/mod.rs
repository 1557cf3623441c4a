//! What a detector's output tensors say: boxes with classes and scores, and the masks of instances. Pure: slices in, values out.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the words: tensors, detections, limits, errors; [`detect`] goes the whole way |
//! | `heads.rs` | which layouts are understood, and what their tensors must look like |
//! | `yolo.rs` | dense heads: one box per anchor (`YOLOv5`, v8, 11, YOLOX) |
//! | `peaks.rs` | the highest score of every anchor |
//! | `sparse.rs` | heads that list few boxes: end-to-end exports, RT-DETR, D-FINE |
//! | `recognise.rs` | which heads the outputs of a model could be |
//! | `ranking.rs` | candidates best first |
//! | `nms.rs` | of boxes that overlap the best one stays |
//! | `masks.rs` | masks of instances from prototypes |
//! | `spans.rs` | such masks as spans |
//!
//! Nothing here panics on what a model says. A score that is no number, or a box that is none although its score counts, is an error: such a
//! part is NotDecidable, it is not a part without findings.

pub mod heads;
pub mod masks;
pub mod nms;
mod peaks;
mod ranking;
pub mod recognise;
pub mod spans;
mod sparse;
mod yolo;

pub use heads::{Head, HeadKind};

use nms::{Kept, Scope};
use ranking::Ranking;

/// Candidates that go into the suppression for one image. Of more than these the best stay ([`nms::order`]), the rest is counted
/// ([`Detections::candidates_dropped`]). It bounds the time of one image together with [`DETECTIONS_MAX`].
pub const CANDIDATES_MAX: usize = 4096;

/// Detections kept for one image. When so many are kept, the candidates that are left are counted and not looked at
/// ([`Detections::unexamined`]).
pub const DETECTIONS_MAX: usize = 300;

/// How far above 1 or below 0 a score or a normalised coordinate may be: quantised and half-precision models overshoot a little.
const UNIT_TOLERANCE: f32 = 0.01;

/// Width and height of a picture or of a model's input, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels per row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// An output tensor of a model, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// Name in the graph; messages use it.
    pub name: &'a str,
    /// Length of each dimension, the first one counts images.
    pub shape: &'a [usize],
    /// The values, row-major. Integer outputs are given as floats.
    pub values: &'a [f32],
}

impl<'a> Tensor<'a> {
    /// The values of one image of the batch.
    fn image(&self, image: usize) -> Result<&'a [f32], DetectError> {
        let (images, each) = match self.shape {
            [] => (0, Some(0)),
            [images, rest @ ..] => (*images, rest.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim))),
        };
        let each = each.filter(|each| each.checked_mul(images) == Some(self.values.len()));
        let Some(each) = each else {
            return Err(DetectError::Length {
                tensor: self.name.into(),
                shape: self.shape.to_vec(),
                values: self.values.len(),
            });
        };
        if image >= images {
            return Err(DetectError::Image {
                tensor: self.name.into(),
                image,
                images,
            });
        }
        Ok(&self.values[image * each..(image + 1) * each])
    }

    fn not_finite(&self, what: Quantity, index: usize) -> DetectError {
        DetectError::NotFinite {
            tensor: self.name.into(),
            what,
            index,
        }
    }
}

/// A box that a model reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Which class, from 0, in the order of the model.
    pub class: usize,
    /// How sure the model is, in [0, 1].
    pub score: f32,
    /// Left edge, pixels; 0 is the left edge of the first pixel.
    pub x0: f32,
    /// Top edge, pixels.
    pub y0: f32,
    /// Right edge, pixels, not below `x0`.
    pub x1: f32,
    /// Bottom edge, pixels, not below `y0`.
    pub y1: f32,
    /// The anchor, query or row of the model's output that it was read from; its mask coefficients are there too.
    pub anchor: usize,
}

impl Detection {
    /// Area, square pixels: width times height, in f32.
    pub fn area(&self) -> f32 {
        (self.x1 - self.x0) * (self.y1 - self.y0)
    }

    fn is_finite(&self) -> bool {
        // A difference of finite edges may overflow too, and areas are computed from it.
        self.area().is_finite() && [self.x0, self.y0, self.x1, self.y1].iter().all(|edge| edge.is_finite())
    }
}

/// What counts as a detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Detections score at least this; above 0, at most 1.
    pub score_min: f32,
    /// A box goes where it overlaps a better one by more than this ([`nms::iou`]); in [0, 1]. Heads that suppress by themselves ignore it.
    pub iou_max: f32,
    /// Among which boxes the better one suppresses the other.
    pub scope: Scope,
}

impl Limits {
    fn check(&self) -> Result<(), DetectError> {
        let score = self.score_min > 0.0 && self.score_min <= 1.0;
        if score && (0.0..=1.0).contains(&self.iou_max) {
            Ok(())
        } else {
            Err(DetectError::Limits {
                score_min: self.score_min,
                iou_max: self.iou_max,
            })
        }
    }
}

/// What was detected in one image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detections {
    /// The detections, best first, in pixels of the model's input; at most [`DETECTIONS_MAX`].
    pub kept: Vec<Detection>,
    /// Boxes of the output that reached the score limit.
    pub candidates: usize,
    /// How many of them were more than [`CANDIDATES_MAX`]; those with the lowest scores.
    pub candidates_dropped: usize,
    /// How many candidates were left when [`DETECTIONS_MAX`] were kept.
    pub unexamined: usize,
}

/// What a value of an output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// A score, an objectness or a logit.
    Score,
    /// An edge, a centre or a size of a box.
    Box,
    /// A mask coefficient or prototype.
    Mask,
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Score => "score",
            Self::Box => "box",
            Self::Mask => "mask",
        })
    }
}

/// Why outputs could not be decoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DetectError {
    /// The head's numbers contradict its layout.
    #[error("failed to use head {head}: expected at least one class, and mask coefficients only where the layout has them")]
    Head {
        /// The head that was to be decoded.
        head: Head,
    },
    /// The model gives more or fewer tensors than the head has.
    #[error("failed to decode outputs as {head}: found {found} tensors, expected {expected}")]
    Outputs {
        /// The head that was to be decoded.
        head: Head,
        /// Tensors given.
        found: usize,
        /// The tensors of the head, by meaning.
        expected: String,
    },
    /// A tensor's shape is not that of the head.
    #[error("failed to decode output \"{tensor}\" as {head}: found shape {found:?}, expected {expected}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The head that was to be decoded.
        head: Head,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the head has.
        expected: String,
    },
    /// A tensor's values do not fill its shape.
    #[error("failed to read output \"{tensor}\": shape {shape:?} does not fit its {values} values")]
    Length {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Values given.
        values: usize,
    },
    /// The batch has no such image.
    #[error("failed to read output \"{tensor}\": image {image} of a batch of {images}")]
    Image {
        /// The tensor.
        tensor: String,
        /// Image that was asked for, from 0.
        image: usize,
        /// Images in the tensor.
        images: usize,
    },
    /// A score, or a box or mask of a candidate, is NaN or infinite.
    #[error("failed to decode output \"{tensor}\": the {what} of entry {index} is not a finite number")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// What the value means.
        what: Quantity,
        /// Anchor, query or row; for prototypes the index of the value.
        index: usize,
    },
    /// A score or a normalised coordinate is not in [0, 1]: the tensor is not what the head says it is.
    #[error("failed to decode output \"{tensor}\": the {what} of entry {index} is {value}, expected 0 to 1; is it another head?")]
    OutOfUnit {
        /// The tensor.
        tensor: String,
        /// What the value means.
        what: Quantity,
        /// Anchor, query or row.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A class that the model does not have.
    #[error("failed to decode output \"{tensor}\": the class of entry {index} is {value}, expected a whole number below {classes}")]
    Class {
        /// The tensor.
        tensor: String,
        /// Row.
        index: usize,
        /// The value.
        value: f32,
        /// Classes that the model has.
        classes: usize,
    },
    /// Limits outside their ranges.
    #[error("failed to use limits: found score_min {score_min} and iou_max {iou_max}, expected 0 < score_min <= 1 and 0 <= iou_max <= 1")]
    Limits {
        /// [`Limits::score_min`].
        score_min: f32,
        /// [`Limits::iou_max`].
        iou_max: f32,
    },
}

/// The detections of image `image` (from 0) of a batch: `outputs` are the tensors of `head` in the order of [`Head::tensors`], `input` is the size
/// of the model's input. Decodes, drops what scores less than the limit, and suppresses overlaps where the head has not done so itself.
///
/// # Errors
/// When a tensor does not have the shape of the head, any score is not finite, or a candidate's box or class is impossible.
pub fn detect(head: &Head, outputs: &[Tensor<'_>], image: usize, input: Size, limits: &Limits) -> Result<Detections, DetectError> {
    limits.check()?;
    let found = head.candidates(outputs, image, input, limits.score_min)?;
    let mut ranking = Ranking::of(&found, CANDIDATES_MAX);
    let candidates_dropped = found.len() - ranking.left();
    let kept = if head.kind.overlaps() {
        nms::suppress_ranked(&found, ranking, limits, DETECTIONS_MAX)
    } else {
        let indices = ranking.by_ref().take(DETECTIONS_MAX).collect();
        Kept {
            indices,
            unexamined: ranking.left(),
        }
    };
    Ok(Detections {
        kept: kept.indices.iter().map(|index| found[*index]).collect(),
        candidates: found.len(),
        candidates_dropped,
        unexamined: kept.unexamined,
    })
}

#[cfg(test)]
mod tests;
