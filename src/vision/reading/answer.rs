//! What a model says beyond its verdict: what an evaluation needs and a line does not. Pure.

use super::said::{borrowed, first_of};
use super::{Head, Reader};
use crate::vision::OutputTensor;
use crate::vision::detect::{self, Detection, Limits};
use crate::vision::pixels::shares;
use crate::vision::preprocess::Placement;

/// What a model says of one image, whatever its threshold is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Answer {
    /// Nothing beyond score and map, or nothing that can be read.
    #[default]
    Bare,
    /// For each class, by its number, how much the image is of it; they sum up to 1.
    Shares(Vec<f32>),
    /// Boxes, best first, of all classes, those that are no defects too.
    Boxes(Vec<Candidate>),
}

/// A box that may be an object, in pixels of the whole frame, not rounded; cut off where it leaves what was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Which class, by its number.
    pub class: usize,
    /// How sure the model is, in [0, 1].
    pub score: f32,
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width, not negative.
    pub width: f64,
    /// Height, not negative.
    pub height: f64,
}

impl Reader {
    /// What the outputs say of a picture that lies so in the model's input, with boxes that score at least `score_min`, above 0.
    pub fn answer(&self, outputs: &[OutputTensor], placement: &Placement, score_min: f32) -> Answer {
        match &self.head {
            Head::Anomaly { .. } | Head::Pixels { .. } => Answer::Bare,
            Head::Classes { scores, are_logits } => shares(first_of(outputs, *scores), *are_logits)
                .filter(|shares| shares.len() == self.classes.len())
                .map_or(Answer::Bare, Answer::Shares),
            Head::Boxes { head, tensors, iou, scope } => {
                let tensors = borrowed(head, tensors, outputs);
                let limits = Limits {
                    score_min,
                    iou_max: *iou,
                    scope: *scope,
                };
                let found = detect::detect(head, &tensors, 0, self.input, &limits);
                found.map_or(Answer::Bare, |found| {
                    Answer::Boxes(found.kept.iter().map(|detection| candidate(detection, placement)).collect())
                })
            }
        }
    }
}

fn candidate(detection: &Detection, placement: &Placement) -> Candidate {
    let seen = placement.region;
    let inside = |edge: f64, from: u32, length: u32| edge.clamp(f64::from(from), f64::from(from + length));
    let (left, top) = placement.to_frame(f64::from(detection.x0), f64::from(detection.y0));
    let (right, bottom) = placement.to_frame(f64::from(detection.x1), f64::from(detection.y1));
    let (left, right) = (inside(left, seen.x, seen.width), inside(right, seen.x, seen.width));
    let (top, bottom) = (inside(top, seen.y, seen.height), inside(bottom, seen.y, seen.height));
    Candidate {
        class: detection.class,
        score: detection.score,
        x: left,
        y: top,
        width: right - left,
        height: bottom - top,
    }
}
