//! What is true against what was said, counted: classes of images, or of pixels. Pure.

/// How many of each true class were said to be of each class. Counts are of images or of pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// By true class, then by class said.
    counts: Vec<u64>,
}

/// How well one class was told from the others, all in [0, 1]; `None` where nothing of the kind was there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassFigures {
    /// How many are truly of the class.
    pub truly: u64,
    /// How many were said to be of the class.
    pub said: u64,
    /// Share of those said to be of the class that are.
    pub precision: Option<f64>,
    /// Share of those truly of the class that were said to be.
    pub recall: Option<f64>,
    /// Intersection over union (Jaccard index): right ones by all that are or were said to be of the class.
    pub iou: Option<f64>,
    /// Dice coefficient, also called F1: twice the right ones by the sum of those that are and those that were said to be.
    pub dice: Option<f64>,
}

impl Confusion {
    /// Nothing counted yet, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Counts one of the class `truth` that was said to be of the class `said`. Classes that do not exist are not counted.
    pub fn add(&mut self, truth: usize, said: usize) {
        if truth < self.classes && said < self.classes {
            self.counts[truth * self.classes + said] += 1;
        }
    }

    /// Counts all pixels of two maps of class numbers, which have the same length; else it counts none and returns `false`. Pixels whose true
    /// class does not exist are left out: that is how label maps mark what nobody judged (255 in Pascal VOC and Cityscapes). A class said that
    /// does not exist counts as `otherwise`.
    #[must_use]
    pub fn add_map(&mut self, truth: &[u16], said: &[u16], otherwise: usize) -> bool {
        if truth.len() != said.len() {
            return false;
        }
        for (truth, said) in truth.iter().zip(said) {
            let said = usize::from(*said);
            self.add(usize::from(*truth), if said < self.classes { said } else { otherwise });
        }
        true
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How many of the class `truth` were said to be of the class `said`.
    pub fn count(&self, truth: usize, said: usize) -> u64 {
        if truth < self.classes && said < self.classes {
            self.counts[truth * self.classes + said]
        } else {
            0
        }
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Share of all that were said to be what they are.
    pub fn accuracy(&self) -> Option<f64> {
        ratio((0..self.classes).map(|class| self.count(class, class)).sum(), self.total())
    }

    /// The figures of one class.
    pub fn class(&self, class: usize) -> ClassFigures {
        let right = self.count(class, class);
        let truly: u64 = (0..self.classes).map(|said| self.count(class, said)).sum();
        let said: u64 = (0..self.classes).map(|truth| self.count(truth, class)).sum();
        ClassFigures {
            truly,
            said,
            precision: ratio(right, said),
            recall: ratio(right, truly),
            iou: ratio(right, truly + said - right),
            dice: ratio(2 * right, truly + said),
        }
    }

    /// The mean of a figure over the classes that have it.
    pub fn mean(&self, figure: impl Fn(&ClassFigures) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = (0..self.classes).filter_map(|class| figure(&self.class(class))).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

fn ratio(count: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| count as f64 / of as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What scikit-learn computed; made by `tests/fixtures/metrics_sklearn.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/metrics_sklearn.json"));

    fn labels(value: &Value) -> Vec<u16> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|label| label.as_u64().unwrap() as u16)
            .collect()
    }

    fn assert_close(got: Option<f64>, expected: &Value, what: &str) {
        let (got, expected) = (got.unwrap(), expected.as_f64().unwrap());
        assert!((got - expected).abs() < 1e-12, "{what}: got {got}, expected {expected}");
    }

    #[test]
    fn figures_are_those_of_scikit_learn() {
        for case in serde_json::from_str::<Value>(FOREIGN).unwrap()["labels"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let mut confusion = Confusion::new(case["classes"].as_u64().unwrap() as usize);
            assert!(confusion.add_map(&labels(&case["truth"]), &labels(&case["said"]), 0));
            for (truth, row) in case["confusion"].as_array().unwrap().iter().enumerate() {
                for (said, count) in row.as_array().unwrap().iter().enumerate() {
                    assert_eq!(Some(confusion.count(truth, said)), count.as_u64(), "{name}");
                }
            }
            assert_close(confusion.accuracy(), &case["accuracy"], name);
            for class in 0..confusion.classes() {
                let figures = confusion.class(class);
                assert_close(figures.precision, &case["precision"][class], name);
                assert_close(figures.recall, &case["recall"][class], name);
                assert_close(figures.iou, &case["jaccard"][class], name);
                assert_close(figures.dice, &case["f1"][class], name);
            }
            assert_close(confusion.mean(|class| class.iou), &case["jaccard_mean"], name);
            assert_close(confusion.mean(|class| class.dice), &case["f1_mean"], name);
        }
    }

    #[test]
    fn what_is_not_there_has_no_figures() {
        let mut confusion = Confusion::new(3);
        assert_eq!((confusion.accuracy(), confusion.mean(|class| class.iou)), (None, None));
        confusion.add(0, 0);
        confusion.add(0, 1);
        confusion.add(7, 0);
        confusion.add(0, 7);
        assert_eq!(confusion.total(), 2);
        let (first, second, third) = (confusion.class(0), confusion.class(1), confusion.class(2));
        assert_eq!((first.precision, first.recall, first.iou), (Some(1.0), Some(0.5), Some(0.5)));
        assert_eq!((second.precision, second.recall, second.iou), (Some(0.0), None, Some(0.0)));
        assert_eq!((third.precision, third.recall, third.iou, third.dice), (None, None, None, None));
    }

    #[test]
    fn pixels_that_nobody_judged_are_left_out_and_maps_of_two_sizes_refused() {
        let mut confusion = Confusion::new(2);
        assert!(!confusion.add_map(&[0, 1], &[0], 0));
        assert!(confusion.add_map(&[0, 1, 255, 1], &[0, 1, 1, 9], 0));
        assert_eq!((confusion.total(), confusion.count(1, 0), confusion.count(1, 1)), (3, 1, 1));
    }
}
