//! How a model's outputs are read: tensors become a score, a verdict and findings, by what the package's manifest says of them. Pure.

mod tiled;

use super::detect::nms::Scope;
use super::detect::{self, Detection, Limits, Size, Tensor};
use super::inspector::{Inspection, Latency, Overrides};
use super::preprocess::Placement;
use super::{AnomalyMap, OutputTensor, Port, findings};
use crate::model::manifest::{Manifest, OutputSpec};
use crate::part::{Finding, Reason, Region, Verdict};
use crate::recipe;

/// Boxes that score less are not looked at: they would tell nothing about a part, and cost time.
const BOX_SCORE_MIN: f32 = 0.05;

/// Reads the outputs of one model.
#[derive(Debug, Clone)]
pub struct Reader {
    head: Head,
    classes: Vec<Class>,
    threshold: f32,
    input: Size,
}

/// A class that a model knows.
#[derive(Debug, Clone)]
struct Class {
    name: String,
    is_ok: bool,
}

/// Where in the model's outputs its answer lies.
#[derive(Debug, Clone)]
enum Head {
    Anomaly {
        map: Option<usize>,
        score: usize,
        region: f32,
    },
    Classes {
        scores: usize,
        are_logits: bool,
    },
    Boxes {
        head: detect::Head,
        tensors: Vec<usize>,
        iou: f32,
        scope: Scope,
    },
}

impl Reader {
    /// For a model with these outputs.
    ///
    /// # Errors
    /// What does not fit, in words that complete "failed to use model package ...: ...".
    pub fn new(manifest: &Manifest, outputs: &[Port]) -> Result<Self, String> {
        let find = |name: &String| {
            let position = outputs.iter().position(|port| port.name == *name);
            position.ok_or_else(|| {
                let found: Vec<String> = outputs.iter().map(ToString::to_string).collect();
                format!("its outputs are {}, the manifest states \"{name}\"", found.join(", "))
            })
        };
        let head = match &manifest.outputs {
            OutputSpec::Anomaly { anomaly_map, pred_score } => Head::Anomaly {
                map: anomaly_map.as_ref().map(find).transpose()?,
                score: find(pred_score)?,
                region: manifest.threshold.region.unwrap_or(manifest.threshold.score),
            },
            OutputSpec::Classes { scores, are_logits } => Head::Classes {
                scores: find(scores)?,
                are_logits: *are_logits,
            },
            OutputSpec::Boxes {
                boxes,
                tensors,
                coefficients,
                iou,
                scope,
            } => Head::Boxes {
                head: detect::Head {
                    kind: *boxes,
                    classes: manifest.classes.len(),
                    coefficients: *coefficients,
                },
                tensors: tensors.iter().map(find).collect::<Result<_, _>>()?,
                iou: *iou,
                scope: *scope,
            },
        };
        let class = |name: &String| Class {
            name: name.clone(),
            is_ok: manifest.ok_classes.contains(name),
        };
        Ok(Self {
            head,
            classes: manifest.classes.iter().map(class).collect(),
            threshold: manifest.threshold.score,
            input: Size {
                width: manifest.input.width,
                height: manifest.input.height,
            },
        })
    }

    /// What the outputs for a picture say that lies so in the model's input, in no time. Findings are in pixels of the whole frame.
    pub fn read(&self, mut outputs: Vec<OutputTensor>, placement: &Placement, overrides: Overrides) -> Inspection {
        let threshold = overrides.threshold.unwrap_or(self.threshold);
        let (verdict, reason, score, findings, map) = match &self.head {
            Head::Anomaly { map, score, region } => {
                let score = first_of(&outputs, *score).first().copied().unwrap_or(f32::NAN);
                let map = map.map(|map| self.map(&mut outputs, map));
                let (verdict, reason, findings) = judge(map.as_ref(), score, threshold, *region, placement.region, overrides.min_area_px);
                (verdict, reason, score, findings, map)
            }
            Head::Classes { scores, are_logits } => {
                let shares = shares(first_of(&outputs, *scores), *are_logits).filter(|shares| shares.len() == self.classes.len());
                let (score, findings) = shares.map_or((f32::NAN, Vec::new()), |shares| self.worst_class(&shares, placement.region));
                let (verdict, reason, findings) = decided(score, threshold, findings, 0);
                (verdict, reason, score, findings, None)
            }
            Head::Boxes { head, tensors, iou, scope } => {
                let limits = Limits {
                    score_min: threshold.clamp(f32::MIN_POSITIVE, BOX_SCORE_MIN),
                    iou_max: *iou,
                    scope: *scope,
                };
                let (score, findings) = self.boxes(head, tensors, &limits, &outputs, placement);
                let (verdict, reason, findings) = decided(score, threshold, findings, overrides.min_area_px);
                (verdict, reason, score, findings, None)
            }
        };
        Inspection {
            verdict,
            reason,
            score,
            threshold,
            findings,
            map,
            latency: Latency::default(),
        }
    }

    /// Of an image that belongs to one of several classes: the share of all that are defects, and the worst of them.
    fn worst_class(&self, shares: &[f32], seen: Region) -> (f32, Vec<Finding>) {
        let defects = || shares.iter().zip(&self.classes).filter(|(_, class)| !class.is_ok);
        let score = defects().map(|(share, _)| share).sum();
        let worst = defects().max_by(|(a, _), (b, _)| a.total_cmp(b));
        let whole = |(share, class): (&f32, &Class)| Finding {
            class: class.name.clone(),
            score: *share,
            x: seen.x,
            y: seen.y,
            width: seen.width,
            height: seen.height,
            area_px: seen.width.saturating_mul(seen.height),
        };
        (score, worst.map(whole).into_iter().collect())
    }

    /// The boxes of defects, best first, and the score of the best; 0 without any, and no number where the outputs are none that can be read.
    fn boxes(
        &self,
        head: &detect::Head,
        tensors: &[usize],
        limits: &Limits,
        outputs: &[OutputTensor],
        placement: &Placement,
    ) -> (f32, Vec<Finding>) {
        let outputs: Vec<Tensor<'_>> = tensors
            .iter()
            .zip(head.tensors())
            .filter_map(|(position, name)| {
                let output = outputs.get(*position)?;
                Some(Tensor {
                    name,
                    shape: &output.shape,
                    values: &output.values,
                })
            })
            .collect();
        let found = match detect::detect(head, &outputs, 0, self.input, limits) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the model's boxes cannot be read; the part is not decidable");
                return (f32::NAN, Vec::new());
            }
        };
        let defects = found.kept.iter().filter_map(|detection| {
            let class = self.classes.get(detection.class).filter(|class| !class.is_ok)?;
            finding(detection, class, placement)
        });
        let findings: Vec<Finding> = defects.collect();
        (findings.first().map_or(0.0, |best| best.score), findings)
    }

    /// The map of the first image.
    fn map(&self, outputs: &mut [OutputTensor], at: usize) -> AnomalyMap {
        let (width, height) = (self.input.width as usize, self.input.height as usize);
        let mut scores = outputs
            .get_mut(at)
            .map(|output| std::mem::take(&mut output.values))
            .unwrap_or_default();
        scores.truncate(width * height);
        AnomalyMap { width, height, scores }
    }
}

/// What an output says of the first image of a batch.
fn first_of(outputs: &[OutputTensor], at: usize) -> &[f32] {
    let Some(output) = outputs.get(at) else { return &[] };
    let batch = output.shape.first().copied().unwrap_or(1).max(1);
    &output.values[..output.values.len() / batch]
}

/// The verdict on what was seen, and where it is not Ok.
fn judge(
    map: Option<&AnomalyMap>,
    score: f32,
    threshold: f32,
    limit: f32,
    seen: Region,
    min_area_px: u32,
) -> (Verdict, Option<Reason>, Vec<Finding>) {
    let is_whole = |map: &AnomalyMap| map.scores.len() == map.width * map.height && map.scores.iter().all(|score| score.is_finite());
    if !map.is_none_or(is_whole) {
        return (Verdict::NotDecidable, Some(Reason::ModelOutput), Vec::new());
    }
    let (verdict, reason) = recipe::judge(score, threshold);
    let Some(map) = map.filter(|_| verdict == Verdict::NotOk) else {
        return (verdict, reason, Vec::new());
    };
    let mut found = findings::find(map, findings::effective_limit(map, limit), seen.width, seen.height, min_area_px);
    if found.is_empty() && min_area_px > 0 {
        return (Verdict::Ok, None, found);
    }
    for finding in &mut found {
        finding.x += seen.x;
        finding.y += seen.y;
    }
    (verdict, reason, found)
}

/// Shares that sum up to 1, of logits (softmax) or as they are; `None` where they are no such thing.
fn shares(given: &[f32], are_logits: bool) -> Option<Vec<f32>> {
    if given.is_empty() || !given.iter().all(|value| value.is_finite()) {
        return None;
    }
    if !are_logits {
        return Some(given.to_vec());
    }
    // The largest is taken off first, so that none is beyond what a float holds.
    let largest = given.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = given.iter().map(|value| (value - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    Some(powers.iter().map(|power| power / sum).collect())
}

/// The verdict on findings of known classes: those that count, and are large enough.
fn decided(score: f32, threshold: f32, found: Vec<Finding>, min_area_px: u32) -> (Verdict, Option<Reason>, Vec<Finding>) {
    let (verdict, reason) = recipe::judge(score, threshold);
    if verdict != Verdict::NotOk {
        return (verdict, reason, Vec::new());
    }
    let is_alone = found.len() == 1;
    // A single finding may stand for a sum that counts although it alone does not.
    let counts = |finding: &Finding| (is_alone || finding.score > threshold) && finding.area_px >= min_area_px;
    let found: Vec<Finding> = found.into_iter().filter(counts).collect();
    if found.is_empty() {
        return (Verdict::Ok, None, found);
    }
    (Verdict::NotOk, Some(Reason::Defect), found)
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
    (width > 0 && height > 0).then(|| Finding {
        class: class.name.clone(),
        score: detection.score,
        x: left as u32,
        y: top as u32,
        width,
        height,
        area_px: width.saturating_mul(height),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Region = Region {
        x: 100,
        y: 20,
        width: 40,
        height: 20,
    };

    /// A hot region of 1 pixel and a less hot one of 4, on a map of 4 x 4; a pixel of the map is 50 of the frame.
    fn map() -> AnomalyMap {
        let mut scores = vec![0.0; 16];
        scores[0] = 9.0;
        for index in [10, 11, 14, 15] {
            scores[index] = 6.0;
        }
        AnomalyMap {
            width: 4,
            height: 4,
            scores,
        }
    }

    #[test]
    fn findings_are_in_pixels_of_the_whole_frame() {
        let (verdict, reason, findings) = judge(Some(&map()), 9.0, 5.0, 5.0, SEEN, 0);
        assert_eq!((verdict, reason), (Verdict::NotOk, Some(Reason::Anomaly)));
        let places: Vec<_> = findings.iter().map(|f| (f.x, f.y, f.width, f.height, f.area_px)).collect();
        assert_eq!(places, [(100, 20, 10, 5, 50), (120, 30, 20, 10, 200)]);
    }

    #[test]
    fn small_findings_are_dropped_and_without_any_it_is_ok() {
        let areas = |min_area_px| {
            let (verdict, _, findings) = judge(Some(&map()), 9.0, 5.0, 5.0, SEEN, min_area_px);
            (verdict, findings.iter().map(|finding| finding.area_px).collect::<Vec<_>>())
        };
        assert_eq!(areas(50), (Verdict::NotOk, vec![50, 200]));
        assert_eq!(areas(51), (Verdict::NotOk, vec![200]));
        assert_eq!(areas(201), (Verdict::Ok, vec![]));
    }

    #[test]
    fn what_is_no_number_is_not_decided_whatever_its_area() {
        for (score, pixel) in [(f32::NAN, 0.0), (9.0, f32::NAN)] {
            let mut map = map();
            map.scores[5] = pixel;
            assert_eq!(judge(Some(&map), score, 5.0, 5.0, SEEN, u32::MAX).0, Verdict::NotDecidable);
        }
    }
}
