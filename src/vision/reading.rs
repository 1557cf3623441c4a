//! How a model's outputs are read: tensors become scores and findings, by what the package's manifest says of them; the recipe judges them. Pure.
//!
//! | file | what it does |
//! |---|---|
//! | `reading.rs` | where in the outputs the answer lies; from outputs to an inspection |
//! | `said.rs` | outputs of one picture, or of one tile, as what they mean |
//! | `tiled.rs` | what was said of tiles as what is said of the picture |
//! | `seen.rs` | what was said, as far as the rules of an inspection look at it |
//! | `answer.rs` | what an evaluation asks beyond that |

mod answer;
mod said;
mod seen;
mod tiled;

pub use answer::{Answer, Candidate, Wanted};
pub use said::Said;

use super::detect::nms::Scope;
use super::detect::{self, Size};
use super::inspector::{Inspection, Latency, Overrides};
use super::pixels::ScoreForm;
use super::preprocess::Placement;
use super::{OutputTensor, Port};
use crate::model::manifest::{Manifest, OutputSpec};
use crate::part::Region;
use crate::recipe::{self, Abilities, PlacedRules, Rules};

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
            OutputSpec::Boxes { .. } | OutputSpec::Pixels { .. } => true,
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
    Pixels {
        scores: usize,
        form: ScoreForm,
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
            OutputSpec::Pixels { scores, form } => Head::Pixels {
                scores: find(scores)?,
                form: *form,
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
        let rules = Rules::from(overrides);
        self.read_by(outputs, placement, &rules.in_picture(placement.region))
    }

    /// The same, by the rules of an inspection.
    pub fn read_by(&self, outputs: Vec<OutputTensor>, placement: &Placement, rules: &PlacedRules<'_>) -> Inspection {
        self.conclude(self.say(outputs, placement, rules), placement.region, rules)
    }

    /// What was said of a region of a frame, judged by the rules of an inspection, in no time.
    pub fn conclude(&self, said: Said, region: Region, rules: &PlacedRules<'_>) -> Inspection {
        let threshold = self.threshold(rules);
        let (seen, map, classes) = self.see(said, region, threshold, rules);
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
            classes,
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
}
