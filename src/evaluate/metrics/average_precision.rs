//! Found objects against true ones: average precision and recall as COCO defines them (Lin et al. 2014, "Microsoft COCO: Common Objects in
//! Context"; the definition is the reference program pycocotools, `cocoeval.py`). Pure.
//!
//! Precision is read at 101 recalls from 0 to 1, each the highest precision at that recall or beyond; the mean over them is the average
//! precision of a class at one overlap threshold. Figures are means over the ten thresholds 0.50, 0.55, ... 0.95 (or one of them) and over
//! the classes that have true objects. An object that is a crowd, or of another size than a figure is about, neither counts nor harms.
//!
//! Like pycocotools this looks at the best 100 found objects of a class in an image, takes the area of a true object from the annotation, and
//! treats `ignore` in annotations as nothing: only crowds are ignored. Unlike it, an annotation with number 0 is one like any other.

mod matching;

use serde::Serialize;

use self::matching::Judged;
use super::overlap::Shape;

/// Overlap thresholds.
const OVERLAPS: usize = 10;

/// Recalls at which precision is read.
pub const RECALLS: usize = 101;

/// Ranges of areas.
const AREAS: usize = 4;

/// Which is which in [`AREA_RANGES`].
const ALL: usize = 0;
const SMALL: usize = 1;
const MEDIUM: usize = 2;
const LARGE: usize = 3;

/// Found objects of a class in an image that are looked at: the best so many.
pub const FOUND_MAX: usize = 100;

/// Square pixels, both ends included.
#[derive(Debug, Clone, Copy)]
struct AreaRange {
    low: f64,
    high: f64,
}

impl AreaRange {
    fn holds(self, area: f64) -> bool {
        area >= self.low && area <= self.high
    }
}

/// COCO's ranges: all, small below 32 x 32, medium to 96 x 96, large.
const AREA_RANGES: [AreaRange; AREAS] = [
    AreaRange { low: 0.0, high: 1e10 },
    AreaRange { low: 0.0, high: 1024.0 },
    AreaRange { low: 1024.0, high: 9216.0 },
    AreaRange { low: 9216.0, high: 1e10 },
];

/// The overlap threshold `index`, as `NumPy`'s `linspace(0.5, 0.95, 10)` rounds it: an overlap of exactly 0.55 must fall on the same side.
fn overlap_threshold(index: usize) -> f64 {
    match index {
        9 => 0.95,
        index => 0.5 + index as f64 * ((0.95 - 0.5) / 9.0),
    }
}

/// The recall `index`, as `NumPy`'s `linspace(0, 1, 101)` rounds it.
fn recall_level(index: usize) -> f64 {
    match index {
        100 => 1.0,
        index => index as f64 * 0.01,
    }
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueObject<S> {
    /// Where it is.
    pub shape: S,
    /// Square pixels, as annotated: for boxes around objects it is usually that of the object.
    pub area: f64,
    /// It stands for many that nobody drew one by one.
    pub is_crowd: bool,
}

/// An object that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<S> {
    /// Where.
    pub shape: S,
    /// How sure the model is.
    pub score: f64,
}

/// COCO's twelve figures, each in [0, 1]; `None` where there are no true objects of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CocoFigures {
    /// Mean average precision over the overlaps 0.50 to 0.95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_50_95: Option<f64>,
    /// At an overlap of 0.50 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_50: Option<f64>,
    /// At an overlap of 0.75 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_75: Option<f64>,
    /// Of objects below 32 x 32 pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_small: Option<f64>,
    /// Of objects from 32 x 32 to 96 x 96 pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_medium: Option<f64>,
    /// Of objects above 96 x 96 pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_large: Option<f64>,
    /// Mean recall over the overlaps when one found object per class and image counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar_1: Option<f64>,
    /// When 10 count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar_10: Option<f64>,
    /// When 100 count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar_100: Option<f64>,
    /// Of objects below 32 x 32 pixels, when 100 count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar_small: Option<f64>,
    /// Of objects from 32 x 32 to 96 x 96 pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar_medium: Option<f64>,
    /// Of objects above 96 x 96 pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ar_large: Option<f64>,
}

/// Found objects against true ones, image after image. It keeps 32 bytes for each found object, at most [`FOUND_MAX`] per image and class.
#[derive(Debug, Clone)]
pub struct PrecisionTally {
    classes: Vec<ClassTally>,
}

#[derive(Debug, Clone, Default)]
struct ClassTally {
    /// In the order of the images, best first in each.
    judged: Vec<Judged>,
    /// True objects that count, for each range of areas.
    truths: [u64; AREAS],
    /// True objects that are no crowd, and objects found, whatever their score.
    instances: u64,
}

/// Precision and recall of a class at one overlap threshold.
struct Curve {
    /// At each recall; 0 beyond the highest.
    precision: [f64; RECALLS],
    /// The highest.
    recall: f64,
}

impl PrecisionTally {
    /// Nothing seen yet, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes: vec![ClassTally::default(); classes],
        }
    }

    /// Adds what is true and what was found of one class in one image. An image where neither is anything may be left out. Equal scores in
    /// different images rank in the order in which these are added; COCO's is that of the numbers of the images. A class that does not exist
    /// is not counted.
    pub fn add<S: Shape>(&mut self, class: usize, truths: &[TrueObject<S>], found: &[Found<S>]) {
        let Some(tally) = self.classes.get_mut(class) else { return };
        tally.judged.extend(matching::judge(truths, found, &AREA_RANGES, FOUND_MAX));
        tally.instances += truths.iter().filter(|truth| !truth.is_crowd).count() as u64;
        for (count, range) in tally.truths.iter_mut().zip(AREA_RANGES) {
            *count += truths.iter().filter(|truth| !truth.is_crowd && range.holds(truth.area)).count() as u64;
        }
    }

    /// The figures over all classes.
    pub fn figures(&self) -> CocoFigures {
        Self::figures_of(&self.classes)
    }

    /// The figures of one class alone; all `None` for one that does not exist.
    pub fn class_figures(&self, class: usize) -> CocoFigures {
        Self::figures_of(self.classes.get(class..=class).unwrap_or_default())
    }

    /// True objects of a class, crowds left out.
    pub fn instances(&self, class: usize) -> u64 {
        self.classes.get(class).map_or(0, |tally| tally.instances)
    }

    /// Precision at the recalls 0, 0.01, ... 1 of one class at an overlap of 0.5; `None` where it has no true objects.
    pub fn curve(&self, class: usize) -> Option<[f64; RECALLS]> {
        self.classes
            .get(class)?
            .curves(ALL, FOUND_MAX)?
            .into_iter()
            .next()
            .map(|curve| curve.precision)
    }

    fn figures_of(classes: &[ClassTally]) -> CocoFigures {
        let curves = |area, most| classes.iter().filter_map(|class| class.curves(area, most)).collect::<Vec<_>>();
        let precision = |curves: &[Vec<Curve>], from: usize, to: usize| {
            mean(curves.iter().flat_map(|curves| &curves[from..to]).flat_map(|curve| curve.precision))
        };
        let recall = |curves: &[Vec<Curve>]| mean(curves.iter().flatten().map(|curve| curve.recall));
        let [of_all, of_small, of_medium, of_large] = [ALL, SMALL, MEDIUM, LARGE].map(|area| curves(area, FOUND_MAX));
        CocoFigures {
            map_50_95: precision(&of_all, 0, OVERLAPS),
            map_50: precision(&of_all, 0, 1),
            map_75: precision(&of_all, 5, 6),
            map_small: precision(&of_small, 0, OVERLAPS),
            map_medium: precision(&of_medium, 0, OVERLAPS),
            map_large: precision(&of_large, 0, OVERLAPS),
            ar_1: recall(&curves(ALL, 1)),
            ar_10: recall(&curves(ALL, 10)),
            ar_100: recall(&of_all),
            ar_small: recall(&of_small),
            ar_medium: recall(&of_medium),
            ar_large: recall(&of_large),
        }
    }
}

impl ClassTally {
    /// A curve for each overlap threshold, over the best `most` found objects of each image; `None` without true objects in the range.
    fn curves(&self, area: usize, most: usize) -> Option<Vec<Curve>> {
        let truths = self.truths[area];
        if truths == 0 {
            return None;
        }
        let mut judged: Vec<&Judged> = self.judged.iter().filter(|one| usize::from(one.rank) < most).collect();
        judged.sort_by(|a, b| b.score.total_cmp(&a.score));
        Some(
            (0..OVERLAPS)
                .map(|threshold| curve(&judged, area, threshold, truths as f64))
                .collect(),
        )
    }
}

fn curve(judged: &[&Judged], area: usize, threshold: usize, truths: f64) -> Curve {
    let (mut right, mut wrong) = (0.0, 0.0);
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(judged.len());
    for one in judged {
        let is = |bits: [u16; AREAS]| bits[area] >> threshold & 1 == 1;
        if is(one.is_right) {
            right += 1.0;
        } else if !is(one.is_ignored) {
            wrong += 1.0;
        }
        // The last term keeps 0 / 0 away, and is part of the definition.
        points.push((right / truths, right / (wrong + right + f64::EPSILON)));
    }
    let recall = points.last().map_or(0.0, |(recall, _)| *recall);
    let mut best = 0.0_f64;
    for (_, precision) in points.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let at = |level: f64| {
        let first = points.partition_point(|(recall, _)| *recall < level);
        points.get(first).map_or(0.0, |(_, precision)| *precision)
    };
    Curve {
        precision: std::array::from_fn(|index| at(recall_level(index))),
        recall,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::overlap::{Rectangle, RunLengthMask};
    use super::*;

    /// What pycocotools computed; made by `tests/fixtures/coco_pycocotools.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/coco_pycocotools.json"));

    /// How far a figure may be off: sums are taken in another order.
    const TOLERANCE: f64 = 1e-12;

    fn rectangle(value: &Value) -> Rectangle {
        let [x, y, width, height] = [0, 1, 2, 3].map(|index| value["bbox"][index].as_f64().unwrap());
        Rectangle { x, y, width, height }
    }

    fn mask(value: &Value) -> RunLengthMask {
        let [height, width] = [0, 1].map(|index| value["segmentation"]["size"][index].as_u64().unwrap() as u32);
        RunLengthMask::from_text(width, height, value["segmentation"]["counts"].as_str().unwrap()).unwrap()
    }

    fn tally<S: Shape>(case: &Value, shape: impl Fn(&Value) -> S) -> PrecisionTally {
        let classes = case["classes"].as_u64().unwrap();
        let mut tally = PrecisionTally::new(classes as usize);
        let of = |key: &str, image: u64, class: u64| {
            let is_of = move |one: &&Value| one["image_id"].as_u64() == Some(image) && one["category_id"].as_u64() == Some(class + 1);
            case[key].as_array().unwrap().iter().filter(is_of)
        };
        for image in case["images"].as_array().unwrap().iter().map(|image| image.as_u64().unwrap()) {
            for class in 0..classes {
                let truth = |one: &Value| TrueObject {
                    shape: shape(one),
                    area: one["area"].as_f64().unwrap(),
                    is_crowd: one["iscrowd"] == 1,
                };
                let found = |one: &Value| Found {
                    shape: shape(one),
                    score: one["score"].as_f64().unwrap(),
                };
                let truths: Vec<_> = of("annotations", image, class).map(truth).collect();
                let found: Vec<_> = of("detections", image, class).map(found).collect();
                tally.add(class as usize, &truths, &found);
            }
        }
        tally
    }

    fn assert_figures(got: &CocoFigures, expected: &Value, what: &str) {
        let got = serde_json::to_value(got).unwrap();
        let names = [
            "map_50_95",
            "map_50",
            "map_75",
            "map_small",
            "map_medium",
            "map_large",
            "ar_1",
            "ar_10",
            "ar_100",
            "ar_small",
            "ar_medium",
            "ar_large",
        ];
        for (index, name) in names.iter().enumerate() {
            // pycocotools writes -1 where there is nothing.
            let (got, expected) = (got[name].as_f64().unwrap_or(-1.0), expected[index].as_f64().unwrap());
            assert!((got - expected).abs() < TOLERANCE, "{what}, {name}: got {got}, expected {expected}");
        }
    }

    fn assert_case(case: &Value, tally: &PrecisionTally) {
        let name = case["name"].as_str().unwrap();
        assert_figures(&tally.figures(), &case["stats"], name);
        for (class, expected) in case["class_stats"].as_array().unwrap().iter().enumerate() {
            assert_figures(&tally.class_figures(class), expected, &format!("{name}, class {class}"));
        }
        for (class, expected) in case["curves"].as_array().unwrap().iter().enumerate() {
            let Some(curve) = tally.curve(class) else {
                assert!(expected.as_array().unwrap().iter().all(|precision| *precision == -1.0));
                continue;
            };
            for (got, expected) in curve.iter().zip(expected.as_array().unwrap()) {
                assert!(
                    (got - expected.as_f64().unwrap()).abs() < TOLERANCE,
                    "{name}, curve of class {class}"
                );
            }
        }
    }

    #[test]
    fn figures_of_boxes_are_those_of_pycocotools() {
        let foreign: Value = serde_json::from_str(FOREIGN).unwrap();
        let cases = foreign["boxes"].as_array().unwrap();
        assert!(cases.len() >= 6);
        for case in cases {
            assert_case(case, &tally(case, rectangle));
        }
    }

    #[test]
    fn figures_of_masks_are_those_of_pycocotools() {
        let foreign: Value = serde_json::from_str(FOREIGN).unwrap();
        for case in foreign["instances"].as_array().unwrap() {
            assert_case(case, &tally(case, mask));
        }
    }

    /// An object as a file has it: polygons, or run lengths as numbers or text.
    fn outlined(value: &Value) -> RunLengthMask {
        let segmentation: crate::evaluate::coco::Segmentation = serde_json::from_value(value["segmentation"].clone()).unwrap();
        segmentation.outline().unwrap().mask(512, 512).unwrap()
    }

    #[test]
    fn figures_of_outlines_are_those_of_pycocotools() {
        let foreign: Value = serde_json::from_str(FOREIGN).unwrap();
        let cases = foreign["outlines"].as_array().unwrap();
        let is_written =
            |case: &Value, is: fn(&Value) -> bool| case["annotations"].as_array().unwrap().iter().any(|one| is(&one["segmentation"]));
        for case in cases {
            assert!(is_written(case, Value::is_array) && is_written(case, |written| written["counts"].is_array()));
            assert_case(case, &tally(case, outlined));
        }
        assert!(!cases.is_empty());
    }

    #[test]
    fn nothing_has_no_figures_and_nothing_found_has_zeros() {
        let mut tally = PrecisionTally::new(1);
        assert_eq!(tally.figures(), CocoFigures::default());
        tally.add::<Rectangle>(5, &[], &[]);
        let truth = TrueObject {
            shape: Rectangle {
                x: 0.0,
                y: 0.0,
                width: 10.0,
                height: 10.0,
            },
            area: 100.0,
            is_crowd: false,
        };
        tally.add(0, std::slice::from_ref(&truth), &[]);
        let figures = tally.figures();
        assert_eq!((figures.map_50_95, figures.ar_100, figures.map_large), (Some(0.0), Some(0.0), None));
        assert_eq!((tally.instances(0), tally.instances(9)), (1, 0));
    }

    #[test]
    fn a_score_that_is_no_number_ranks_last() {
        let at = |x: f64| Rectangle {
            x,
            y: 0.0,
            width: 10.0,
            height: 10.0,
        };
        let mut tally = PrecisionTally::new(1);
        let truth = TrueObject {
            shape: at(0.0),
            area: 100.0,
            is_crowd: false,
        };
        let found = [(f64::NAN, 50.0), (0.5, 0.0)].map(|(score, x)| Found { shape: at(x), score });
        tally.add(0, &[truth], &found);
        assert!(tally.figures().map_50_95.is_some_and(|map| map > 0.999));
    }
}
