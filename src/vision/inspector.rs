//! The whole way for one image: preprocess, run, judge, find; timed stage by stage.

use std::path::Path;
use std::time::{Duration, Instant};

use super::decode::{DecodeError, read_image};
use super::preprocess::{PreprocessError, Preprocessor};
use super::{AnomalyMap, Engine, EngineError, Image, OutputTensor, TensorData, findings};
use crate::capture::Frame;
use crate::model::manifest::Manifest;
use crate::model::package::ActiveModel;
use crate::part::{Finding, Reason, Region, Verdict};
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
    preprocessor: Preprocessor,
    map_output: usize,
    score_output: usize,
}

impl Inspector {
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
        let whole = Region {
            x: 0,
            y: 0,
            width: image.width,
            height: image.height,
        };
        let pixels = self.preprocessor.resize(image)?;
        let preprocessed = Instant::now();
        let outputs = run(&mut self.model, pixels)?;
        Ok(self.conclude(outputs, whole, Overrides::default(), [start, preprocessed, Instant::now()]))
    }

    /// Judges a frame of a camera, or the part of it in `region`. Findings are in pixels of the whole frame.
    ///
    /// # Errors
    /// When the frame's bytes or the region do not fit its size or the runtime fails.
    pub fn inspect_frame(&mut self, frame: &Frame, region: Option<Region>, overrides: Overrides) -> Result<Inspection, InspectError> {
        let start = Instant::now();
        let seen = region.unwrap_or(Region {
            x: 0,
            y: 0,
            width: frame.width,
            height: frame.height,
        });
        let pixels = self.preprocessor.resize_frame(frame, region)?;
        let preprocessed = Instant::now();
        let outputs = run(&mut self.model, pixels)?;
        Ok(self.conclude(outputs, seen, overrides, [start, preprocessed, Instant::now()]))
    }

    /// What the outputs for the pixels in `seen` mean; it began, was preprocessed and inferred at these times.
    fn conclude(&self, mut outputs: Vec<OutputTensor>, seen: Region, overrides: Overrides, times: [Instant; 3]) -> Inspection {
        let [start, preprocessed, inferred] = times;
        let input = &self.manifest().input;
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
        let threshold = overrides.threshold.unwrap_or(self.manifest().threshold.score);
        let (verdict, reason, findings) = judge(
            &map,
            score,
            threshold,
            self.manifest().threshold.region,
            seen,
            overrides.min_area_px,
        );
        Inspection {
            verdict,
            reason,
            score,
            threshold,
            findings,
            map,
            latency: Latency {
                decode: Duration::ZERO,
                preprocess: preprocessed - start,
                infer: inferred - preprocessed,
                postprocess: inferred.elapsed(),
            },
        }
    }
}

/// Runs a model on pixels of its input size.
fn run(model: &mut ActiveModel, pixels: &[u8]) -> Result<Vec<OutputTensor>, EngineError> {
    let input = &model.package.manifest.input;
    let shape = [1, input.height as usize, input.width as usize, 3];
    model.engine.run(&shape, TensorData::U8(pixels))
}

/// The verdict on what was seen, and where it is not Ok.
fn judge(
    map: &AnomalyMap,
    score: f32,
    threshold: f32,
    limit: f32,
    seen: Region,
    min_area_px: u32,
) -> (Verdict, Option<Reason>, Vec<Finding>) {
    if map.scores.len() != map.width * map.height || !map.scores.iter().all(|score| score.is_finite()) {
        return (Verdict::NotDecidable, Some(Reason::ModelOutput), Vec::new());
    }
    let (verdict, reason) = recipe::judge(score, threshold);
    if verdict != Verdict::NotOk {
        return (verdict, reason, Vec::new());
    }
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
        let (verdict, reason, findings) = judge(&map(), 9.0, 5.0, 5.0, SEEN, 0);
        assert_eq!((verdict, reason), (Verdict::NotOk, Some(Reason::Anomaly)));
        let places: Vec<_> = findings.iter().map(|f| (f.x, f.y, f.width, f.height, f.area_px)).collect();
        assert_eq!(places, [(100, 20, 10, 5, 50), (120, 30, 20, 10, 200)]);
    }

    #[test]
    fn small_findings_are_dropped_and_without_any_it_is_ok() {
        let areas = |min_area_px| {
            let (verdict, _, findings) = judge(&map(), 9.0, 5.0, 5.0, SEEN, min_area_px);
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
            assert_eq!(judge(&map, score, 5.0, 5.0, SEEN, u32::MAX).0, Verdict::NotDecidable);
        }
    }
}
