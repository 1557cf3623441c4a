//! What is counted while images go by, by kind of model and by what is known of the images.

use std::path::Path;

use super::figures::{ClassReport, ConfusionMatrix, Evaluation};
use super::labels::LabelTally;
use super::metrics::average_precision::{CocoFigures, PrecisionTally};
use super::metrics::confusion::{ClassFigures, Confusion};
use super::metrics::pixels::PixelTally;
use super::{EvaluateError, Object, Sample, Truth, objects};
use crate::model::manifest::{Kind, Manifest, OutputSpec};
use crate::vision::decode::{DecodeError, read_image};
use crate::vision::inspector::Inspection;
use crate::vision::reading::{Answer, Candidate};
use crate::vision::{AnomalyMap, Mask};

/// What pixels of none of the model's classes are called.
const NO_CLASS: &str = "(none)";

/// Everything that is counted. What a model does not say, or nobody knows of the images, is not.
pub(super) struct Tally {
    classes: Vec<String>,
    /// Scores of pixels; until an image comes without a map.
    pixels: Option<PixelTally>,
    images: Option<Confusion>,
    objects: Option<PrecisionTally>,
    /// The same of their pixels.
    masks: Option<PrecisionTally>,
    answers_unreadable: usize,
    labels: Option<LabelTally>,
}

impl Tally {
    pub(super) fn new(manifest: &Manifest, samples: &[Sample]) -> Self {
        let is_masked = |sample: &Sample| !sample.is_defect || matches!(sample.truth, Truth::Mask(_));
        let has = |is: fn(&Truth) -> bool| samples.iter().all(|sample| is(&sample.truth));
        let is_labelled = |sample: &Sample| is_masked(sample) || matches!(sample.truth, Truth::Labels(_));
        let count = manifest.classes.len();
        let tells_masks = matches!(manifest.outputs, OutputSpec::Boxes { coefficients: 1.., .. });
        Self {
            masks: (tells_masks && samples.iter().all(is_outlined)).then(|| PrecisionTally::new(count)),
            answers_unreadable: 0,
            classes: manifest.classes.clone(),
            labels: (manifest.kind == Kind::Segmentation && samples.iter().all(is_labelled)).then(|| LabelTally::new(manifest)),
            pixels: (matches!(manifest.kind, Kind::Anomaly | Kind::Segmentation) && samples.iter().all(is_masked))
                .then(PixelTally::default),
            images: (manifest.kind == Kind::Classification && has(|truth| matches!(truth, Truth::Class(_)))).then(|| Confusion::new(count)),
            objects: (manifest.kind == Kind::Detection && has(|truth| matches!(truth, Truth::Objects(_))))
                .then(|| PrecisionTally::new(count)),
        }
    }

    /// Whether the pixels of instances are compared with outlines.
    pub(super) fn asks_for_masks(&self) -> bool {
        self.masks.is_some()
    }

    /// Counts an image of some width and height. Returns the class that a classifier said.
    pub(super) fn add(
        &mut self,
        sample: &Sample,
        size: (u32, u32),
        inspection: &Inspection,
        answer: Answer,
    ) -> Result<Option<String>, EvaluateError> {
        // Without a map of each image there are no pixels to be right about.
        self.pixels = self.pixels.take().filter(|_| inspection.map.is_some());
        if let (Some(tally), Some(map)) = (&mut self.pixels, &inspection.map) {
            tally.add(map, &mask(sample, map)?);
        }
        self.answers_unreadable += usize::from(matches!(answer, Answer::Unreadable(_)));
        if let Truth::Objects(objects) = &sample.truth {
            let found = match &answer {
                Answer::Boxes(boxes) => boxes.as_slice(),
                Answer::Bare | Answer::Unreadable(_) | Answer::Shares(_) => &[],
            };
            self.add_objects(sample, size, objects, found)?;
        }
        if let (Some(tally), Some(said)) = (&mut self.labels, &inspection.classes) {
            tally.add(sample, said.width, said.height, &said.classes)?;
        }
        let Answer::Shares(shares) = answer else { return Ok(None) };
        let Some((said, _)) = shares.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)) else {
            return Ok(None);
        };
        if let (Some(confusion), Truth::Class(truth)) = (&mut self.images, &sample.truth) {
            confusion.add(*truth, said);
        }
        Ok(self.classes.get(said).cloned())
    }

    /// Counts an image that could not be read: what is on it was not found.
    pub(super) fn add_unreadable(&mut self, sample: &Sample) {
        let Truth::Objects(objects) = &sample.truth else { return };
        for tally in self.objects.iter_mut().chain(&mut self.masks) {
            objects::add_missed(tally, self.classes.len(), objects);
        }
    }

    fn add_objects(&mut self, sample: &Sample, size: (u32, u32), objects: &[Object], found: &[Candidate]) -> Result<(), EvaluateError> {
        if let Some(tally) = &mut self.objects {
            objects::add_boxes(tally, self.classes.len(), objects, found);
        }
        let Some(tally) = &mut self.masks else { return Ok(()) };
        objects::add_masks(tally, self.classes.len(), objects, found, size).map_err(|object| EvaluateError::Outline {
            path: sample.path.clone(),
            object,
            width: size.0,
            height: size.1,
        })
    }

    pub(super) fn figures_into(mut self, evaluation: &mut Evaluation) {
        evaluation.answers_unreadable = self.answers_unreadable;
        if let Some(pixels) = &mut self.pixels {
            evaluation.pixel_auroc = pixels.auroc();
            evaluation.aupro = pixels.aupro();
            evaluation.pixel_error_max = pixels.error_max().filter(|error| *error > 0.0);
        }
        if let Some(confusion) = &self.images {
            evaluation.accuracy = confusion.accuracy();
            evaluation.confusion = Some(matrix(&self.classes, confusion));
            let report = |class: usize| {
                let figures = confusion.class(class);
                ClassReport {
                    images: Some(figures.truly),
                    images_said: Some(figures.said),
                    precision: figures.precision,
                    recall: figures.recall,
                    f1: figures.dice,
                    ..ClassReport::default()
                }
            };
            evaluation.classes.extend(self.named(report));
        }
        if let Some(labels) = &self.labels {
            let confusion = labels.confusion();
            evaluation.iou_mean = confusion.mean(|class| class.iou);
            evaluation.dice_mean = confusion.mean(|class| class.dice);
            evaluation.pixel_accuracy = confusion.accuracy();
            let names = self.classes.iter().map(String::as_str).chain([NO_CLASS]).enumerate();
            let report = |(class, name): (usize, &str)| (name.to_owned(), pixel_report(&confusion.class(class)));
            evaluation
                .classes
                .extend(names.map(report).filter(|(_, report)| report.iou.is_some()));
        }
        if let Some(objects) = &self.objects {
            evaluation.objects = Some(objects.figures());
            evaluation.masks = self.masks.as_ref().map(PrecisionTally::figures);
            let report = |class: usize| {
                let CocoFigures {
                    map_50_95,
                    map_50,
                    map_75,
                    ar_100,
                    ..
                } = objects.class_figures(class);
                let masks = self.masks.as_ref().map(|masks| masks.class_figures(class)).unwrap_or_default();
                ClassReport {
                    mask_ap_50_95: masks.map_50_95,
                    mask_ap_50: masks.map_50,
                    objects: Some(objects.instances(class)),
                    ap_50_95: map_50_95,
                    ap_50: map_50,
                    ap_75: map_75,
                    ar_100,
                    ..ClassReport::default()
                }
            };
            evaluation.classes.extend(self.named(report));
            let curve = |class: usize| objects.curve(class).map(|curve| (self.classes[class].clone(), curve.to_vec()));
            evaluation.object_curves = (0..self.classes.len()).filter_map(curve).collect();
        }
    }

    fn named(&self, report: impl Fn(usize) -> ClassReport) -> impl Iterator<Item = (String, ClassReport)> {
        self.classes
            .iter()
            .enumerate()
            .map(move |(class, name)| (name.clone(), report(class)))
    }
}

fn pixel_report(figures: &ClassFigures) -> ClassReport {
    ClassReport {
        pixels: Some(figures.truly),
        pixels_said: Some(figures.said),
        precision: figures.precision,
        recall: figures.recall,
        iou: figures.iou,
        dice: figures.dice,
        ..ClassReport::default()
    }
}

fn matrix(classes: &[String], confusion: &Confusion) -> ConfusionMatrix {
    let row = |truth| (0..classes.len()).map(|said| confusion.count(truth, said)).collect();
    ConfusionMatrix {
        classes: classes.to_vec(),
        counts: (0..classes.len()).map(row).collect(),
    }
}

/// Whether all that is on an image is known, with its outline.
fn is_outlined(sample: &Sample) -> bool {
    match &sample.truth {
        Truth::Objects(objects) => objects.iter().all(|object| object.outline.is_some()),
        _ => false,
    }
}

/// Where the defects are, at the size of the map, by the nearest pixel; nowhere without a mask.
fn mask(sample: &Sample, map: &AnomalyMap) -> Result<Mask, DecodeError> {
    let (width, height) = (map.width, map.height);
    let Truth::Mask(path) = &sample.truth else {
        return Ok(Mask {
            width,
            height,
            defect: vec![false; width * height],
        });
    };
    read_mask(path, width, height)
}

/// The mask in a file at some size: bright is defect.
fn read_mask(path: &Path, width: usize, height: usize) -> Result<Mask, DecodeError> {
    let image = read_image(path)?;
    let source = |target: usize, from: u32, to: usize| ((2 * target + 1) * from as usize / (2 * to)).min(from as usize - 1);
    let defect = (0..width * height)
        .map(|index| {
            let (x, y) = (
                source(index % width, image.width, width),
                source(index / width, image.height, height),
            );
            image.rgb[(y * image.width as usize + x) * 3] > 127
        })
        .collect();
    Ok(Mask { width, height, defect })
}
