//! What a model says beyond its verdict: what an evaluation needs and a line does not. Pure.

use super::said::{borrowed, first_of};
use super::{Head, Reader};
use crate::part::Region;
use crate::vision::OutputTensor;
use crate::vision::detect::masks::instance_mask;
use crate::vision::detect::spans::Spans;
use crate::vision::detect::{self, DetectError, Detection, Limits, Tensor};
use crate::vision::pixels::shares;
use crate::vision::preprocess::Placement;
use crate::vision::tiling::{Edges, FromTile, merge_boxes};

/// Boxes of a picture in tiles that are kept, the best: one tile has at most [`detect::DETECTIONS_MAX`]. COCO's figures look at 100 of a class.
const CANDIDATES_MAX: usize = 1000;

/// What somebody wants to know beyond the verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// Lowest score of boxes, above 0.
    pub score_min: f32,
    /// Whether the pixels of instances are wanted too, where the model tells them.
    pub masks: bool,
}

/// What a model says of one image, whatever its threshold is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Answer {
    /// Nothing beyond score and map.
    #[default]
    Bare,
    /// Something that cannot be read, and why.
    Unreadable(String),
    /// For each class, by its number, how much the image is of it; they sum up to 1.
    Shares(Vec<f32>),
    /// Boxes, best first, of all classes, those that are no defects too.
    Boxes(Vec<Candidate>),
}

/// A box that may be an object, in pixels of the whole frame, not rounded; cut off where it leaves what was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which class, by its number.
    pub class: usize,
    /// How sure the model is, in [0, 1].
    pub score: f32,
    /// Where it is.
    pub edges: Edges,
    /// Its pixels, where they are wanted and the model tells them; none of them where it says that no pixel belongs to it.
    pub mask: Option<Spans>,
}

impl FromTile for Candidate {
    fn score(&self) -> f32 {
        self.score
    }

    fn edges(&self) -> Edges {
        self.edges
    }

    fn is_of_class_of(&self, other: &Self) -> bool {
        self.class == other.class
    }

    fn joined(self, other: Self) -> Self {
        Self {
            class: self.class,
            score: self.score.max(other.score),
            edges: self.edges.around(other.edges),
            mask: self.mask.zip(other.mask).map(|(mask, other)| mask.union(&other)),
        }
    }
}

impl Reader {
    /// What the outputs say of a picture that lies so in the model's input.
    pub fn answer(&self, outputs: &[OutputTensor], placement: &Placement, wanted: Wanted) -> Answer {
        match &self.head {
            Head::Anomaly { .. } | Head::Pixels { .. } => Answer::Bare,
            Head::Classes { scores, are_logits } => shares(first_of(outputs, *scores), *are_logits)
                .filter(|shares| shares.len() == self.classes.len())
                .map_or_else(|| Answer::Unreadable(super::said::NO_SHARES.into()), Answer::Shares),
            Head::Boxes { head, tensors, iou, scope } => {
                let tensors = borrowed(head, tensors, outputs);
                let limits = Limits {
                    score_min: wanted.score_min,
                    iou_max: *iou,
                    scope: *scope,
                };
                let found = self.candidates(head, &tensors, &limits, placement, wanted.masks);
                found.map_or_else(|error| Answer::Unreadable(error.to_string()), Answer::Boxes)
            }
        }
    }

    fn candidates(
        &self,
        head: &detect::Head,
        outputs: &[Tensor<'_>],
        limits: &Limits,
        placement: &Placement,
        masks: bool,
    ) -> Result<Vec<Candidate>, DetectError> {
        let found = detect::detect(head, outputs, 0, self.input, limits)?;
        let candidate = |detection: &Detection| {
            let pixels = || instance_mask(head, outputs, 0, detection, (placement, self.input));
            let mask = (masks && head.coefficients > 0).then(pixels).transpose()?;
            Ok(Candidate {
                class: detection.class,
                score: detection.score,
                edges: edges(detection, placement),
                mask: mask.map(|mask| mask.as_ref().map_or_else(Spans::default, Spans::of)),
            })
        };
        found.kept.iter().map(candidate).collect()
    }

    /// What was said of tiles, regions of the frame, as what is said of the picture: as [`Reader::join`] does for the verdict.
    pub fn join_answers(&self, tiles: Vec<(Region, Answer)>) -> Answer {
        let mut boxes = Vec::new();
        let mut worst: Option<Vec<f32>> = None;
        for (tile, answer) in tiles {
            match answer {
                Answer::Bare => return Answer::Bare,
                Answer::Unreadable(why) => return Answer::Unreadable(super::tiled::of_tile(tile, &why)),
                Answer::Shares(shares) => {
                    let is_worse = worst
                        .as_ref()
                        .is_none_or(|worst| self.defects_of(&shares) >= self.defects_of(worst));
                    worst = if is_worse { Some(shares) } else { worst };
                }
                Answer::Boxes(found) => boxes.extend(found.into_iter().map(|one| (tile, one))),
            }
        }
        worst.map_or_else(|| Answer::Boxes(merge_boxes(boxes, CANDIDATES_MAX)), Answer::Shares)
    }
}

fn edges(detection: &Detection, placement: &Placement) -> Edges {
    let seen = Edges::from(placement.region);
    let (left, top) = placement.to_frame(f64::from(detection.x0), f64::from(detection.y0));
    let (right, bottom) = placement.to_frame(f64::from(detection.x1), f64::from(detection.y1));
    Edges {
        left: left.clamp(seen.left, seen.right),
        top: top.clamp(seen.top, seen.bottom),
        right: right.clamp(seen.left, seen.right),
        bottom: bottom.clamp(seen.top, seen.bottom),
    }
}
