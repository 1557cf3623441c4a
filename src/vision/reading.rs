//! How a model's outputs are read: tensors become scores and findings, by what the package's manifest says of them; the recipe judges them. Pure.

use super::detect::nms::Scope;
use super::detect::{self, Detection, Limits, Size, Tensor};
use super::inspector::{Inspection, Latency, Overrides};
use super::preprocess::Placement;
use super::{AnomalyMap, OutputTensor, Port, findings};
use crate::model::manifest::{Manifest, OutputSpec};
use crate::part::{Finding, Measures, Region};
use crate::recipe::area::PlacedArea;
use crate::recipe::measure::diagonal_px;
use crate::recipe::{self, Abilities, PlacedRules, Rules, Seen};

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

/// What a model can tell of a picture, by its manifest.
pub fn abilities(manifest: &Manifest) -> Abilities {
    let classes = manifest.classes.iter().filter(|class| !manifest.ok_classes.contains(class));
    Abilities {
        classes: classes.cloned().collect(),
        is_located: match &manifest.outputs {
            OutputSpec::Anomaly { anomaly_map, .. } => anomaly_map.is_some(),
            OutputSpec::Classes { .. } => false,
            OutputSpec::Boxes { .. } => true,
        },
    }
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
    pub fn read(&self, outputs: Vec<OutputTensor>, placement: &Placement, overrides: Overrides) -> Inspection {
        let rules = Rules {
            threshold: overrides.threshold,
            min_area_px: overrides.min_area_px,
            ..Rules::default()
        };
        self.read_by(outputs, placement, &rules.in_picture(placement.region))
    }

    /// The same, by the rules of an inspection.
    pub fn read_by(&self, mut outputs: Vec<OutputTensor>, placement: &Placement, rules: &PlacedRules<'_>) -> Inspection {
        let threshold = self.threshold(rules);
        let (seen, map) = match &self.head {
            Head::Anomaly { map, score, region } => {
                let score = first_of(&outputs, *score).first().copied().unwrap_or(f32::NAN);
                let map = map.map(|map| self.map(&mut outputs, map));
                (see_anomaly(map.as_ref(), score, (threshold, *region), placement, rules), map)
            }
            Head::Classes { scores, are_logits } => {
                let shares = shares(first_of(&outputs, *scores), *are_logits).filter(|shares| shares.len() == self.classes.len());
                (
                    shares.map_or(Seen::Unreadable, |shares| self.see_classes(&shares, placement.region)),
                    None,
                )
            }
            Head::Boxes { head, tensors, iou, scope } => {
                let score_min = rules.rules.score_min().unwrap_or(threshold).min(threshold);
                let limits = Limits {
                    score_min: score_min.clamp(f32::MIN_POSITIVE, BOX_SCORE_MIN),
                    iou_max: *iou,
                    scope: *scope,
                };
                (self.see_boxes(head, tensors, &limits, score_min, &outputs, placement), None)
            }
        };
        let judged = recipe::judge_seen(seen, threshold, rules);
        Inspection {
            verdict: judged.verdict,
            reason: judged.reason,
            severity: judged.severity,
            defect_code: judged.defect_code,
            score: judged.score,
            threshold,
            findings: judged.findings,
            map,
            latency: Latency::default(),
        }
    }

    /// Above which score something counts. An anomaly model's score is that of all it looked at. Where less counts, the peak of what does stands
    /// for it, and the threshold is that of peaks: calibrated on the peaks of whole good images, it rejects no more of them by parts.
    fn threshold(&self, rules: &PlacedRules<'_>) -> f32 {
        let own = match &self.head {
            Head::Anomaly { region, .. } if rules.area.is_masked() => *region,
            _ => self.threshold,
        };
        rules.rules.threshold.unwrap_or(own)
    }

    /// Of an image that belongs to one of several classes: the shares of those that are defects.
    fn see_classes(&self, shares: &[f32], seen: Region) -> Seen {
        let defects = || shares.iter().zip(&self.classes).filter(|(_, class)| !class.is_ok);
        let mut found: Vec<Finding> = defects()
            .map(|(share, class)| Finding::somewhere_in(seen, &class.name, *share))
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        Seen::Classes {
            score: defects().map(|(share, _)| share).sum(),
            defects: found,
        }
    }

    /// The boxes of defects, best first. `score_min`: below that none counts.
    fn see_boxes(
        &self,
        head: &detect::Head,
        tensors: &[usize],
        limits: &Limits,
        score_min: f32,
        outputs: &[OutputTensor],
        placement: &Placement,
    ) -> Seen {
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
                return Seen::Unreadable;
            }
        };
        let defects = found.kept.iter().filter_map(|detection| {
            let class = self.classes.get(detection.class).filter(|class| !class.is_ok)?;
            finding(detection, class, placement)
        });
        let dropped = found.candidates_dropped + found.unexamined;
        Seen::Objects {
            // What was dropped scores no more than the last that was kept.
            is_complete: dropped == 0 || found.kept.last().is_some_and(|last| last.score <= score_min),
            defects: defects.collect(),
        }
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

/// What an anomaly model says of what counts of a picture, against the thresholds of scores and of regions. Regions are looked for where one of
/// them may count.
fn see_anomaly(
    map: Option<&AnomalyMap>,
    score: f32,
    (threshold, limit): (f32, f32),
    placement: &Placement,
    rules: &PlacedRules<'_>,
) -> Seen {
    let is_whole = |map: &AnomalyMap| map.scores.len() == map.width * map.height && map.scores.iter().all(|score| score.is_finite());
    let Some(map) = map else {
        return if rules.area.is_masked() {
            Seen::Unmeasured
        } else {
            Seen::Anomaly { score, regions: None }
        };
    };
    if !is_whole(map) {
        return Seen::Unreadable;
    }
    let mask = rules.area.is_masked().then(|| mask(map, placement, &rules.area));
    let peak = match &mask {
        None => map.scores.iter().copied().reduce(f32::max),
        Some(mask) => findings::peak(map, mask),
    };
    let Some(peak) = peak else { return Seen::Unmeasured };
    let score = if mask.is_some() { peak } else { score };
    let score_min = rules.rules.score_min();
    let may_count = score > threshold || score_min.is_some_and(|least| peak >= least);
    // A region counts from `score_min` on; the limit is what it is above.
    let limit = score_min.map_or(limit, |least| limit.min(least.next_down()));
    let regions = || findings::find(map, mask.as_deref(), findings::limit_below(peak, limit), placement);
    Seen::Anomaly {
        score,
        regions: Some(if may_count { regions() } else { Vec::new() }),
    }
}

/// Which pixels of a map count: those whose middle lies in the area.
fn mask(map: &AnomalyMap, placement: &Placement, area: &PlacedArea) -> Vec<bool> {
    let middle_x = |column: usize| placement.to_frame(column as f64 + 0.5, 0.0).0;
    let middle_y = |row: usize| placement.to_frame(0.0, row as f64 + 0.5).1;
    area.mask((map.width, map.height), middle_x, middle_y)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::{Reason, Verdict};
    use crate::recipe::Judgement;
    use crate::recipe::area::{Area, Outline};
    use crate::recipe::criterion::{Criterion, Zone};
    use crate::recipe::geometry::{Point, Polygon};
    use crate::recipe::pose::Whereabouts;

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

    /// What is said of an anomaly map with these thresholds of scores and regions.
    fn judged(map: &AnomalyMap, score: f32, thresholds: (f32, f32), placed: &PlacedRules<'_>) -> Judgement {
        let placement = Placement {
            region: placed.area.crop,
            left: 0,
            top: 0,
            width: 4,
            height: 4,
        };
        let seen = see_anomaly(Some(map), score, thresholds, &placement, placed);
        recipe::judge_seen(seen, thresholds.0, placed)
    }

    #[test]
    fn findings_are_in_pixels_of_the_whole_frame() {
        let rules = Rules::default();
        let judged = judged(&map(), 9.0, (5.0, 5.0), &rules.in_picture(SEEN));
        assert_eq!((judged.verdict, judged.reason), (Verdict::NotOk, Some(Reason::Anomaly)));
        let places: Vec<_> = judged.findings.iter().map(|f| (f.x, f.y, f.width, f.height, f.area_px)).collect();
        assert_eq!(places, [(100, 20, 10, 5, 50), (120, 30, 20, 10, 200)]);
    }

    #[test]
    fn small_findings_are_dropped_and_without_any_it_is_ok() {
        let areas = |min_area_px| {
            let rules = Rules {
                min_area_px,
                ..Rules::default()
            };
            let judged = judged(&map(), 9.0, (5.0, 5.0), &rules.in_picture(SEEN));
            let areas: Vec<u32> = judged.findings.iter().map(|finding| finding.area_px).collect();
            (judged.verdict, areas)
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
            let rules = Rules {
                min_area_px: u32::MAX,
                ..Rules::default()
            };
            let judged = judged(&map, score, (5.0, 5.0), &rules.in_picture(SEEN));
            assert_eq!((judged.verdict, judged.reason), (Verdict::NotDecidable, Some(Reason::ModelOutput)));
        }
    }

    /// The right half of [`SEEN`], as a polygon.
    fn right_half() -> Rules {
        let points = [(120.0, 20.0), (140.0, 20.0), (140.0, 40.0), (120.0, 40.0)];
        Rules {
            area: Area {
                outline: Outline::Rect(SEEN),
                exclude: vec![polygon(&[(100.0, 20.0), (120.0, 20.0), (120.0, 40.0), (100.0, 40.0)])],
            },
            zones: vec![Zone {
                name: "right".into(),
                polygon: polygon(&points),
            }],
            ..Rules::default()
        }
    }

    fn polygon(points: &[(f64, f64)]) -> Polygon {
        Polygon::new(points.iter().map(|(x, y)| Point::new(*x, *y)).collect()).unwrap()
    }

    #[test]
    fn where_a_part_of_the_picture_counts_its_peak_is_the_score() {
        let rules = right_half();
        let placed = rules.placed((200, 100), Whereabouts::AsDrawn).unwrap();
        let judged_at = |threshold: f32, limit: f32| judged(&map(), 9.0, (threshold, limit), &placed);
        let judged = judged_at(5.0, 5.0);
        assert_eq!(
            (judged.verdict, judged.score),
            (Verdict::NotOk, 6.0),
            "the hotter pixel is left out"
        );
        assert_eq!(judged.findings.iter().map(|f| (f.x, f.y)).collect::<Vec<_>>(), [(120, 30)]);
        assert_eq!(judged_at(6.0, 5.0).verdict, Verdict::Ok);

        // Without a map nothing is known of a part of the picture.
        let placement = Placement {
            region: SEEN,
            left: 0,
            top: 0,
            width: 4,
            height: 4,
        };
        assert_eq!(see_anomaly(None, 1.0, (5.0, 5.0), &placement, &placed), Seen::Unmeasured);
        // An area between the middles of all pixels holds none of them.
        let sliver = Rules {
            area: Area {
                outline: Outline::Polygon(polygon(&[(101.0, 20.5), (104.0, 20.5), (104.0, 22.0), (101.0, 22.0)])),
                exclude: Vec::new(),
            },
            ..Rules::default()
        };
        let sliver = sliver.placed((200, 100), Whereabouts::AsDrawn).unwrap();
        assert_eq!(see_anomaly(Some(&map()), 1.0, (5.0, 5.0), &placement, &sliver), Seen::Unmeasured);
    }

    #[test]
    fn a_criterion_may_ask_for_less_than_the_threshold() {
        let rules = Rules {
            criteria: vec![Criterion {
                score_min: Some(6.0),
                area_px_min: Some(100.0),
                ..Criterion::default()
            }],
            ..Rules::default()
        };
        // The score is below the threshold, the larger region at what the criterion asks for.
        let judged = judged(&map(), 9.0, (20.0, 20.0), &rules.in_picture(SEEN));
        assert_eq!(judged.verdict, Verdict::NotOk);
        assert_eq!(judged.findings.iter().map(|f| f.area_px).collect::<Vec<_>>(), [200]);
    }
}
