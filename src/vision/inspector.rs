//! The whole way for one image: preprocess, run, judge, find; timed stage by stage.

use std::path::Path;
use std::time::{Duration, Instant};

use super::decode::{DecodeError, read_image};
use super::pixels::ClassMap;
use super::preprocess::{Placement, PreprocessError};
use super::reading::Answer;
use super::{AnomalyMap, Engine, EngineError, Image};
use crate::capture::Frame;
use crate::model::manifest::Manifest;
use crate::model::package::ActiveModel;
use crate::part::{Finding, Reason, Region, Severity, Verdict};
use crate::recipe::{PlacedRules, Rules};

/// Time spent in each stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Reading and decoding the file; zero for images that were in memory.
    pub decode: Duration,
    /// Resizing.
    pub preprocess: Duration,
    /// The engine.
    pub infer: Duration,
    /// Judging and finding.
    pub postprocess: Duration,
}

impl Latency {
    /// From decoded pixels to the verdict.
    pub fn inspect(&self) -> Duration {
        self.preprocess + self.infer + self.postprocess
    }
}

/// What was found out about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The decision.
    pub verdict: Verdict,
    /// Why, unless it is Ok.
    pub reason: Option<Reason>,
    /// How bad the worst of it is, where a criterion says so.
    pub severity: Option<Severity>,
    /// What the PLC is told of it; 0 unless it is NotOk.
    pub defect_code: u16,
    /// The image's score: the higher, the worse.
    pub score: f32,
    /// The score above which it is not Ok.
    pub threshold: f32,
    /// Where it is not Ok, worst first; if it is Ok, what criteria noted all the same.
    pub findings: Vec<Finding>,
    /// Scores per pixel at the model's input size, where the model gives them.
    pub map: Option<AnomalyMap>,
    /// The class of each pixel, where the model tells it.
    pub classes: Option<ClassMap>,
    /// Time spent.
    pub latency: Latency,
}

/// What a recipe says otherwise than the package.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overrides {
    /// The score above which it is not Ok; `None` for the package's threshold.
    pub threshold: Option<f32>,
    /// Findings of fewer pixels are dropped, and where none is left it is Ok; 0 drops none.
    pub min_area_px: u32,
}

/// Why an image could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The file is no usable image. That is the part's fault, so to speak: it is rejected and the next one inspected.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The image's buffer does not fit its size.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The runtime failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Judges images with one active model.
pub struct Inspector {
    model: ActiveModel,
    /// Lowest score of boxes in answers that are kept; `None` if none is kept.
    answers_from: Option<f32>,
    answer: Answer,
}

impl Inspector {
    /// An inspector for an active model.
    pub fn new(model: ActiveModel) -> Self {
        Self {
            model,
            answers_from: None,
            answer: Answer::Bare,
        }
    }

    /// From now on keeps what the model says beyond its verdict, with boxes that score at least `score_min`, above 0. It takes time of its own,
    /// which is in no stage.
    pub fn keep_answers(&mut self, score_min: f32) {
        self.answers_from = Some(score_min);
    }

    /// What the model said of the last image beyond its verdict, if that is kept.
    pub fn take_answer(&mut self) -> Answer {
        std::mem::take(&mut self.answer)
    }

    /// The manifest of the model.
    pub fn manifest(&self) -> &Manifest {
        &self.model.package.manifest
    }

    /// The model.
    pub fn model(&self) -> &ActiveModel {
        &self.model
    }

    /// The engine of the model, bare.
    pub fn engine(&mut self) -> &mut dyn Engine {
        self.model.engine.as_mut()
    }

    /// Judges an image file.
    ///
    /// # Errors
    /// When the file is no usable image or the runtime fails.
    pub fn inspect_file(&mut self, path: &Path) -> Result<(Image, Inspection), InspectError> {
        let start = Instant::now();
        let image = read_image(path)?;
        let decode = start.elapsed();
        let mut inspection = self.inspect(&image)?;
        inspection.latency.decode = decode;
        Ok((image, inspection))
    }

    /// Judges an image.
    ///
    /// # Errors
    /// When the image's buffer does not fit its size or the runtime fails.
    pub fn inspect(&mut self, image: &Image) -> Result<Inspection, InspectError> {
        let start = Instant::now();
        let placement = self.model.tensor.set_image(0, image, None)?;
        self.conclude(&placement, &Rules::default().in_picture(placement.region), start)
    }

    /// Judges a frame of a camera, or the part of it in `region`. Findings are in pixels of the whole frame.
    ///
    /// # Errors
    /// When the frame's bytes or the region do not fit its size or the runtime fails.
    pub fn inspect_frame(&mut self, frame: &Frame, region: Option<Region>, overrides: Overrides) -> Result<Inspection, InspectError> {
        let rules = Rules {
            threshold: overrides.threshold,
            min_area_px: overrides.min_area_px,
            ..Rules::default()
        };
        let seen = region.unwrap_or(Region::whole(frame.width, frame.height));
        self.inspect_by(frame, &rules.in_picture(seen))
    }

    /// Judges what of a frame the rules of an inspection look at. Findings are in pixels of the whole frame.
    ///
    /// # Errors
    /// When the frame's bytes or what is looked at do not fit its size, or the runtime fails.
    pub fn inspect_by(&mut self, frame: &Frame, rules: &PlacedRules<'_>) -> Result<Inspection, InspectError> {
        let start = Instant::now();
        let placement = self.model.tensor.set_frame(0, frame, Some(rules.area.crop))?;
        self.conclude(&placement, rules, start)
    }

    /// Runs the model on the tensor that was made since `start`, in which the picture lies so.
    fn conclude(&mut self, placement: &Placement, rules: &PlacedRules<'_>, start: Instant) -> Result<Inspection, InspectError> {
        let preprocessed = Instant::now();
        let tensor = &self.model.tensor;
        let outputs = self.model.engine.run(&tensor.shape(), tensor.values())?;
        let inferred = Instant::now();
        if let Some(score_min) = self.answers_from {
            self.answer = self.model.reader.answer(&outputs, placement, score_min);
        }
        let answered = Instant::now();
        let inspection = self.model.reader.read_by(outputs, placement, rules);
        Ok(Inspection {
            latency: Latency {
                decode: Duration::ZERO,
                preprocess: preprocessed - start,
                infer: inferred - preprocessed,
                postprocess: answered.elapsed(),
            },
            ..inspection
        })
    }
}
