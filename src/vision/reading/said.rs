//! Outputs of a model, of one picture or of one tile, as what they mean.

use super::{Class, Head, Reader};
use crate::part::{Finding, Measures, Region};
use crate::recipe::PlacedRules;
use crate::recipe::measure::diagonal_px;
use crate::vision::detect::masks::instance_mask;
use crate::vision::detect::{self, DetectError, Detection, Detections, Limits, Tensor};
use crate::vision::pixels::{self, PixelClasses, Window, shares};
use crate::vision::preprocess::Placement;
use crate::vision::{AnomalyMap, OutputTensor};

/// Boxes that score less are not looked at: they would tell nothing about a part, and cost time.
const BOX_SCORE_MIN: f32 = 0.05;

/// Why shares cannot be read.
pub(super) const NO_SHARES: &str =
    "its scores of classes are not one number for each class that add up to shares; was it imported with other --scores?";

/// Why classes of pixels cannot be read.
const NO_PIXELS: &str =
    "its scores of pixels are not one number for each class that add up to shares; was it imported with other --scores?";

/// What a model says of a region of a frame, whatever an inspection makes of it. Maps show that region, without the bars beside it.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Nothing that can be read, and why.
    Unreadable(String),
    /// How unlike good parts it is.
    Anomaly {
        /// The whole of it.
        score: f32,
        /// Each of its pixels, where the model tells.
        map: Option<AnomalyMap>,
    },
    /// The share of each class.
    Shares {
        /// By class.
        shares: Vec<f32>,
        /// What they are of.
        of: Region,
    },
    /// The class of each pixel.
    Pixels(PixelClasses),
    /// Things in it.
    Boxes {
        /// Those that are defects, best score first, in pixels of the whole frame.
        defects: Vec<Finding>,
        /// Whether those are all that may count.
        is_complete: bool,
    },
}

impl Reader {
    /// What the outputs say of a picture that lies so in the model's input; of boxes and pixels, what may count by the rules.
    pub fn say(&self, mut outputs: Vec<OutputTensor>, placement: &Placement, rules: &PlacedRules<'_>) -> Said {
        let threshold = self.threshold(rules);
        let least = rules.rules.score_min().map_or(threshold, |least| threshold.min(least));
        match &self.head {
            Head::Anomaly { map, score, .. } => Said::Anomaly {
                score: first_of(&outputs, *score).first().copied().unwrap_or(f32::NAN),
                map: map.map(|map| self.map(&mut outputs, map, placement)),
            },
            Head::Classes { scores, are_logits } => shares(first_of(&outputs, *scores), *are_logits)
                .filter(|shares| shares.len() == self.classes.len())
                .map_or_else(
                    || Said::Unreadable(NO_SHARES.into()),
                    |shares| Said::Shares {
                        shares,
                        of: placement.region,
                    },
                ),
            Head::Pixels { scores, form } => {
                // What counts from a score on is above all that is less.
                let limit = if least < threshold { least.next_down() } else { threshold };
                let is_ok: Vec<bool> = self.classes.iter().map(|class| class.is_ok).collect();
                let pixels = outputs.get(*scores).and_then(|output| pixels::read(output, *form, &is_ok, limit));
                pixels.map_or_else(
                    || Said::Unreadable(NO_PIXELS.into()),
                    |pixels| {
                        let window = Window::of(placement, self.input, pixels.classes.width, pixels.classes.height);
                        Said::Pixels(window.pixels(pixels))
                    },
                )
            }
            Head::Boxes { head, tensors, iou, scope } => {
                let limits = Limits {
                    score_min: least.clamp(f32::MIN_POSITIVE, BOX_SCORE_MIN),
                    iou_max: *iou,
                    scope: *scope,
                };
                let outputs = borrowed(head, tensors, &outputs);
                let said = self.boxes(head, &outputs, &limits, least, placement);
                said.unwrap_or_else(|error| Said::Unreadable(error.to_string()))
            }
        }
    }

    /// The boxes of defects. `least`: below that none counts.
    fn boxes(
        &self,
        head: &detect::Head,
        outputs: &[Tensor<'_>],
        limits: &Limits,
        least: f32,
        placement: &Placement,
    ) -> Result<Said, DetectError> {
        let found = detect::detect(head, outputs, 0, self.input, limits)?;
        let dropped = found.candidates_dropped + found.unexamined;
        Ok(Said::Boxes {
            // What was dropped scores no more than the last that was kept.
            is_complete: dropped == 0 || found.kept.last().is_some_and(|last| last.score <= least),
            defects: self.defects(head, outputs, &found, placement)?,
        })
    }

    /// Those of what was detected that are defects, in pixels of the frame.
    fn defects(
        &self,
        head: &detect::Head,
        outputs: &[Tensor<'_>],
        found: &Detections,
        placement: &Placement,
    ) -> Result<Vec<Finding>, DetectError> {
        let mut defects = Vec::new();
        for detection in &found.kept {
            let class = self.classes.get(detection.class).filter(|class| !class.is_ok);
            let Some(mut finding) = class.and_then(|class| finding(detection, class, placement)) else {
                continue;
            };
            if head.coefficients > 0
                && let Some(mask) = instance_mask(head, outputs, 0, detection, (placement, self.input))?
            {
                finding.area_px = mask.area_px;
                finding.measures.length_px = Some(mask.length_px());
            }
            defects.push(finding);
        }
        Ok(defects)
    }

    /// The map of the first image, of the picture without the bars beside it.
    fn map(&self, outputs: &mut [OutputTensor], at: usize, placement: &Placement) -> AnomalyMap {
        let (width, height) = (self.input.width as usize, self.input.height as usize);
        let mut scores = outputs
            .get_mut(at)
            .map(|output| std::mem::take(&mut output.values))
            .unwrap_or_default();
        scores.truncate(width * height);
        let map = AnomalyMap { width, height, scores };
        if map.scores.len() < width * height {
            return map;
        }
        Window::of(placement, self.input, width, height).map(map)
    }
}

/// The tensors of a head, in its order, of a model's outputs.
pub(super) fn borrowed<'a>(head: &detect::Head, positions: &[usize], outputs: &'a [OutputTensor]) -> Vec<Tensor<'a>> {
    let tensor = |(position, name): (&usize, &&'static str)| {
        let output: &OutputTensor = outputs.get(*position)?;
        Some(Tensor {
            name,
            shape: &output.shape,
            values: &output.values,
        })
    };
    positions.iter().zip(head.tensors()).filter_map(tensor).collect()
}

/// What an output says of the first image of a batch.
pub(super) fn first_of(outputs: &[OutputTensor], at: usize) -> &[f32] {
    let Some(output) = outputs.get(at) else { return &[] };
    let batch = output.shape.first().copied().unwrap_or(1).max(1);
    &output.values[..output.values.len() / batch]
}

/// A box in pixels of the whole frame, cut off where it leaves what was seen; none where nothing is left.
fn finding(detection: &Detection, class: &Class, placement: &Placement) -> Option<Finding> {
    let seen = placement.region;
    let (left, top) = placement.to_frame(f64::from(detection.x0), f64::from(detection.y0));
    let (right, bottom) = placement.to_frame(f64::from(detection.x1), f64::from(detection.y1));
    let inside = |edge: f64, from: u32, length: u32| edge.clamp(f64::from(from), f64::from(from + length));
    let (left, right) = (inside(left, seen.x, seen.width).floor(), inside(right, seen.x, seen.width).ceil());
    let (top, bottom) = (inside(top, seen.y, seen.height).floor(), inside(bottom, seen.y, seen.height).ceil());
    let (width, height) = ((right - left) as u32, (bottom - top) as u32);
    let region = Region {
        x: left as u32,
        y: top as u32,
        width,
        height,
    };
    (width > 0 && height > 0).then(|| Finding {
        measures: Measures {
            length_px: Some(diagonal_px(width, height)),
            ..Measures::default()
        },
        ..Finding::somewhere_in(region, &class.name, detection.score)
    })
}
