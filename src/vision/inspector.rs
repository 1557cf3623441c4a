//! The whole way for one image: preprocess, run, judge, find; timed stage by stage.

use std::path::Path;
use std::time::{Duration, Instant};

use super::decode::{DecodeError, read_image};
use super::preprocess::{PreprocessError, Preprocessor};
use super::{AnomalyMap, Engine, EngineError, Image, OutputTensor, TensorData, findings};
use crate::model::manifest::Manifest;
use crate::model::package::ActiveModel;
use crate::part::{Finding, Reason, Verdict};
use crate::recipe;

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
    /// The image's anomaly score.
    pub score: f32,
    /// The score above which it is not Ok.
    pub threshold: f32,
    /// Where it is not Ok, most anomalous first; empty if it is Ok.
    pub findings: Vec<Finding>,
    /// Scores per pixel at the model's input size.
    pub map: AnomalyMap,
    /// Time spent.
    pub latency: Latency,
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
    preprocessor: Preprocessor,
    map_output: usize,
    score_output: usize,
}

/// tmp
#[derive(Debug, Clone, PartialEq)]
pub struct Criteria {
    /// tmp
    pub threshold: Option<f32>,
    /// tmp
    pub min_area_px: Option<u32>,
}

impl Inspector {
    /// tmp
    pub fn inspect_frame(&mut self, frame: &crate::capture::Frame, _region: Option<crate::part::Region>, _criteria: &Criteria) -> Result<Inspection, InspectError> {
        let rgb = (0..frame.height as usize).flat_map(|y| frame.row(0, y).unwrap_or(&[]).iter().copied()).collect();
        self.inspect(&Image { width: frame.width, height: frame.height, rgb })
    }

    /// An inspector for an active model.
    pub fn new(model: ActiveModel) -> Self {
        let manifest = &model.package.manifest;
        let output = |name: &str| {
            model
                .engine
                .outputs()
                .iter()
                .position(|port| port.name == name)
                .unwrap_or(usize::MAX)
        };
        let (map_output, score_output) = (output(&manifest.outputs.anomaly_map), output(&manifest.outputs.pred_score));
        let preprocessor = Preprocessor::new(manifest.input.width, manifest.input.height);
        Self {
            model,
            preprocessor,
            map_output,
            score_output,
        }
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
        let input = &self.model.package.manifest.input;
        let shape = [1, input.height as usize, input.width as usize, 3];
        let pixels = self.preprocessor.resize(image)?;
        let preprocessed = Instant::now();
        let outputs = self.model.engine.run(&shape, TensorData::U8(pixels))?;
        let inferred = Instant::now();
        let mut inspection = self.conclude(outputs, image);
        inspection.latency = Latency {
            decode: Duration::ZERO,
            preprocess: preprocessed - start,
            infer: inferred - preprocessed,
            postprocess: inferred.elapsed(),
        };
        Ok(inspection)
    }

    fn conclude(&self, mut outputs: Vec<OutputTensor>, image: &Image) -> Inspection {
        let (input, threshold) = (&self.manifest().input, &self.manifest().threshold);
        let score = outputs
            .get(self.score_output)
            .and_then(|output| output.values.first().copied())
            .unwrap_or(f32::NAN);
        let scores = outputs
            .get_mut(self.map_output)
            .map(|output| std::mem::take(&mut output.values))
            .unwrap_or_default();
        let map = AnomalyMap {
            width: input.width as usize,
            height: input.height as usize,
            scores,
        };
        let whole = map.scores.len() == map.width * map.height && map.scores.iter().all(|score| score.is_finite());
        let (verdict, reason) = if whole {
            recipe::judge(score, threshold.score)
        } else {
            (Verdict::NotDecidable, Some(Reason::ModelOutput))
        };
        let findings = if verdict == Verdict::NotOk {
            findings::find(&map, findings::effective_limit(&map, threshold.region), image.width, image.height)
        } else {
            Vec::new()
        };
        Inspection {
            verdict,
            reason,
            score,
            threshold: threshold.score,
            findings,
            map,
            latency: Latency::default(),
        }
    }
}
