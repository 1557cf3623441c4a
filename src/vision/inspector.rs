//! The whole way for one image: preprocess, run, judge, find; timed stage by stage.

use std::path::Path;
use std::time::{Duration, Instant};

use super::decode::{DecodeError, read_image};
use super::pixels::ClassMap;
use super::preprocess::{InputTensor, Placement, PreprocessError};
use super::reading::{Answer, Reader, Said, Wanted};
use super::tiling::TooManyTiles;
use super::{AnomalyMap, Engine, EngineError, Image, OutputTensor};
use crate::capture::Frame;
use crate::model::manifest::{InputSpec, Manifest};
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
    /// Scores per pixel, where the model gives them: at its input size, or of all tiles at their scale.
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

impl From<Overrides> for Rules {
    fn from(overrides: Overrides) -> Self {
        Self {
            threshold: overrides.threshold,
            min_area_px: overrides.min_area_px,
            ..Self::default()
        }
    }
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
    /// The image is too large for its tiles.
    #[error(transparent)]
    Tiles(#[from] TooManyTiles),
    /// The runtime failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Judges images with one active model.
pub struct Inspector {
    model: ActiveModel,
    /// What of answers is kept; `None` if none is.
    wanted: Option<Wanted>,
    answer: Answer,
}

impl Inspector {
    /// An inspector for an active model.
    pub fn new(model: ActiveModel) -> Self {
        Self {
            model,
            wanted: None,
            answer: Answer::Bare,
        }
    }

    /// From now on keeps what the model says beyond its verdict. It takes time of its own, which is in no stage.
    pub fn keep_answers(&mut self, wanted: Wanted) {
        self.wanted = Some(wanted);
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
        let rules = Rules::default();
        let whole = Region::whole(image.width, image.height);
        self.judge(Picture::Image(image), &rules.in_picture(whole))
    }

    /// Judges a frame of a camera, or the part of it in `region`. Findings are in pixels of the whole frame.
    ///
    /// # Errors
    /// When the frame's bytes or the region do not fit its size or the runtime fails.
    pub fn inspect_frame(&mut self, frame: &Frame, region: Option<Region>, overrides: Overrides) -> Result<Inspection, InspectError> {
        let rules = Rules::from(overrides);
        let seen = region.unwrap_or(Region::whole(frame.width, frame.height));
        self.inspect_by(frame, &rules.in_picture(seen))
    }

    /// Judges what of a frame the rules of an inspection look at. Findings are in pixels of the whole frame.
    ///
    /// # Errors
    /// When the frame's bytes or what is looked at do not fit its size, or the runtime fails.
    pub fn inspect_by(&mut self, frame: &Frame, rules: &PlacedRules<'_>) -> Result<Inspection, InspectError> {
        self.judge(Picture::Frame(frame), rules)
    }

    fn judge(&mut self, picture: Picture<'_>, rules: &PlacedRules<'_>) -> Result<Inspection, InspectError> {
        let model = &mut self.model;
        let input = &model.package.manifest.input;
        let mut look = Look {
            wanted: self.wanted,
            ..Look::new(model.engine.as_mut(), &mut model.tensor, &model.reader, input)
        };
        let inspection = look.judge(picture, rules);
        self.answer = look.answer;
        inspection
    }
}

/// Pixels, wherever they are.
#[derive(Debug, Clone, Copy)]
pub enum Picture<'a> {
    /// In memory of their own.
    Image(&'a Image),
    /// As the camera gave them.
    Frame(&'a Frame),
}

impl Picture<'_> {
    fn set(self, tensor: &mut InputTensor, index: usize, region: Option<Region>) -> Result<Placement, PreprocessError> {
        match self {
            Self::Image(image) => tensor.set_image(index, image, region),
            Self::Frame(frame) => tensor.set_frame(index, frame, region),
        }
    }
}

/// A model that looks at pictures, whole or in tiles: the golden gate and the station go the same way.
pub struct Look<'a> {
    /// Runs it.
    pub engine: &'a mut dyn Engine,
    /// Its input, to be filled.
    pub tensor: &'a mut InputTensor,
    /// Reads its outputs.
    pub reader: &'a Reader,
    /// What its package says of the input.
    pub input: &'a InputSpec,
    /// What is wanted of an answer; `None` if nobody wants one.
    pub wanted: Option<Wanted>,
    /// What it says beyond its verdict.
    pub answer: Answer,
}

impl<'a> Look<'a> {
    /// A look with a model of such an input.
    pub fn new(engine: &'a mut dyn Engine, tensor: &'a mut InputTensor, reader: &'a Reader, input: &'a InputSpec) -> Self {
        Self {
            engine,
            tensor,
            reader,
            input,
            wanted: None,
            answer: Answer::Bare,
        }
    }

    /// Judges what of a picture the rules look at. Findings are in pixels of the whole picture.
    ///
    /// # Errors
    /// When the pixels or what is looked at do not fit the picture's size, it is too large for its tiles, or the runtime fails.
    pub fn judge(&mut self, picture: Picture<'_>, rules: &PlacedRules<'_>) -> Result<Inspection, InspectError> {
        let seen = rules.area.crop;
        let cut = self.input.tiles.map(|tiles| tiles.cut(seen)).transpose()?;
        let (said, mut latency) = match cut.as_deref() {
            None | Some([_]) => self.whole(picture, rules)?,
            Some(cut) => self.tiles(picture, cut, rules)?,
        };
        if let Said::Unreadable(why) = &said {
            tracing::warn!(%why, "what the model says cannot be read; the part is not decidable");
        }
        let start = Instant::now();
        let inspection = self.reader.conclude(said, seen, rules);
        latency.postprocess += start.elapsed();
        Ok(Inspection { latency, ..inspection })
    }

    fn whole(&mut self, picture: Picture<'_>, rules: &PlacedRules<'_>) -> Result<(Said, Latency), InspectError> {
        let start = Instant::now();
        let placement = picture.set(self.tensor, 0, Some(rules.area.crop))?;
        let (outputs, mut latency) = self.run(1, start)?;
        if let Some(wanted) = self.wanted {
            self.answer = self.reader.answer(&outputs, &placement, wanted);
        }
        let read = Instant::now();
        let said = self.reader.say(outputs, &placement, rules);
        latency.postprocess = read.elapsed();
        Ok((said, latency))
    }

    fn tiles(&mut self, picture: Picture<'_>, cut: &[Region], rules: &PlacedRules<'_>) -> Result<(Said, Latency), InspectError> {
        let (mut tiles, mut answers, mut latency) = (Vec::with_capacity(cut.len()), Vec::new(), Latency::default());
        for group in cut.chunks(self.tensor.batch()) {
            let start = Instant::now();
            let set = |(index, tile): (usize, &Region)| picture.set(self.tensor, index, Some(*tile));
            let placements: Vec<Placement> = group.iter().enumerate().map(set).collect::<Result<_, _>>()?;
            let (outputs, spent) = self.run(group.len(), start)?;
            for (index, placement) in placements.iter().enumerate() {
                let read = Instant::now();
                let outputs = outputs_of(&outputs, index);
                let mut postprocess = read.elapsed();
                if let Some(wanted) = self.wanted {
                    answers.push((placement.region, self.reader.answer(&outputs, placement, wanted)));
                }
                let read = Instant::now();
                tiles.push((placement.region, self.reader.say(outputs, placement, rules)));
                postprocess += read.elapsed();
                latency.postprocess += postprocess;
            }
            latency.preprocess += spent.preprocess;
            latency.infer += spent.infer;
        }
        if self.wanted.is_some() {
            self.answer = self.reader.join_answers(answers);
        }
        let start = Instant::now();
        let said = self.reader.join(tiles, rules.area.crop);
        latency.postprocess += start.elapsed();
        Ok((said, latency))
    }

    /// Runs the model on the first pictures of the tensor, which were set since `start`; on all of them where it insists on its batch.
    fn run(&mut self, count: usize, start: Instant) -> Result<(Vec<OutputTensor>, Latency), InspectError> {
        let preprocessed = Instant::now();
        let takes_any_number = self.tensor.batch() != self.input.batch;
        let (shape, values) = self.tensor.first(if takes_any_number { count } else { self.tensor.batch() });
        let outputs = self.engine.run(&shape, values)?;
        let latency = Latency {
            decode: Duration::ZERO,
            preprocess: preprocessed - start,
            infer: preprocessed.elapsed(),
            postprocess: Duration::ZERO,
        };
        Ok((outputs, latency))
    }
}

/// What outputs say of one picture of the batch: every head has the batch as its first dimension.
fn outputs_of(outputs: &[OutputTensor], index: usize) -> Vec<OutputTensor> {
    let of_one = |output: &OutputTensor| {
        let batch = output.shape.first().copied().unwrap_or(1).max(1);
        let length = output.values.len() / batch;
        let mut shape = output.shape.clone();
        if let Some(batch) = shape.first_mut() {
            *batch = 1;
        }
        OutputTensor {
            shape,
            values: output.values.get(index * length..(index + 1) * length).unwrap_or_default().to_vec(),
        }
    };
    outputs.iter().map(of_one).collect()
}
