//! How much what was found overlaps what is true: boxes, and masks as COCO writes them. Pure.
//!
//! COCO's rule for a crowd (an area of many objects that nobody drew one by one): what lies inside it overlaps fully, however large the crowd
//! is, so the intersection is taken over the found area alone instead of over the union.

/// The shape of an object.
pub trait Shape {
    /// Square pixels.
    fn area(&self) -> f64;

    /// Intersection over union with a true shape, in [0, 1]; over this shape's own area where the true one `is_crowd`.
    fn overlap(&self, truth: &Self, is_crowd: bool) -> f64;
}

/// A box, in pixels; 0, 0 is the corner of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width, not negative.
    pub width: f64,
    /// Height, not negative.
    pub height: f64,
}

impl Shape for Rectangle {
    fn area(&self) -> f64 {
        self.width * self.height
    }

    fn overlap(&self, truth: &Self, is_crowd: bool) -> f64 {
        let across = (self.x + self.width).min(truth.x + truth.width) - self.x.max(truth.x);
        let down = (self.y + self.height).min(truth.y + truth.height) - self.y.max(truth.y);
        if across <= 0.0 || down <= 0.0 {
            return 0.0;
        }
        let both = across * down;
        both / if is_crowd { self.area() } else { self.area() + truth.area() - both }
    }
}

/// A mask as COCO writes it: lengths of runs of pixels that are not in the object and that are, in turn, starting with those that are not,
/// column by column from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLengthMask {
    height: u32,
    width: u32,
    runs: Vec<u64>,
}

impl RunLengthMask {
    /// A mask from the lengths of its runs; `None` unless they add up to all pixels.
    pub fn from_runs(width: u32, height: u32, runs: Vec<u64>) -> Option<Self> {
        let pixels = runs.iter().try_fold(0_u64, |sum, run| sum.checked_add(*run))?;
        (pixels == u64::from(width) * u64::from(height)).then_some(Self { height, width, runs })
    }

    /// A mask from COCO's text: every run in groups of five bits, lowest first, each a character from `0` (48) on; bit 6 says that more
    /// follow, the last group's bit 5 is the sign. From the third run of a kind on it is the difference to the one before of its kind.
    ///
    /// `None` where the text is none, or its runs do not add up to all pixels.
    pub fn from_text(width: u32, height: u32, text: &str) -> Option<Self> {
        let mut runs: Vec<i64> = Vec::new();
        let (mut value, mut shift) = (0_i64, 0_u32);
        for byte in text.bytes() {
            let group = i64::from(byte.checked_sub(48).filter(|group| *group < 64)?);
            value |= (group & 0x1f).checked_shl(shift).filter(|_| shift < 60)?;
            shift += 5;
            if group & 0x20 != 0 {
                continue;
            }
            if group & 0x10 != 0 {
                value |= -1_i64 << shift;
            }
            if runs.len() > 2 {
                value = value.checked_add(runs[runs.len() - 2])?;
            }
            runs.push(value);
            (value, shift) = (0, 0);
        }
        if shift > 0 {
            return None;
        }
        let runs: Vec<u64> = runs.into_iter().map(u64::try_from).collect::<Result<_, _>>().ok()?;
        Self::from_runs(width, height, runs)
    }

    /// A mask from flags per pixel, row by row; `None` unless there is one for each pixel.
    pub fn from_pixels(width: u32, height: u32, inside: &[bool]) -> Option<Self> {
        let (columns, rows) = (width as usize, height as usize);
        if inside.len() != columns * rows {
            return None;
        }
        let mut runs = vec![0_u64];
        let mut is_inside = false;
        for pixel in (0..columns).flat_map(|x| (0..rows).map(move |y| inside[y * columns + x])) {
            if pixel != is_inside {
                runs.push(0);
                is_inside = pixel;
            }
            runs.last_mut().map(|run| *run += 1)?;
        }
        Some(Self { height, width, runs })
    }

    /// A mask of spans `(column, first row, row behind the last)`, by columns and from the top, none of which meet; `None` where one leaves the
    /// picture or they are in another order.
    pub fn from_spans(width: u32, height: u32, spans: impl Iterator<Item = (u32, u32, u32)>) -> Option<Self> {
        let mut runs = Vec::new();
        let mut place = 0;
        for (x, top, bottom) in spans {
            let column = u64::from(x) * u64::from(height);
            let (start, end) = (column + u64::from(top), column + u64::from(bottom));
            if x >= width || bottom > height || end < start {
                return None;
            }
            runs.extend([start.checked_sub(place)?, end - start]);
            place = end;
        }
        runs.push((u64::from(width) * u64::from(height)).checked_sub(place)?);
        Self::from_runs(width, height, runs)
    }

    /// What lies in either of two masks of one size; this one where they are of two.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.size() != other.size() {
            return self.clone();
        }
        let mut all: Vec<(u64, u64)> = self.inside().chain(other.inside()).collect();
        all.sort_unstable();
        let mut runs = Vec::with_capacity(2 * all.len() + 1);
        // The end of what was covered, and since when.
        let mut covered: Option<(u64, u64)> = None;
        let mut place = 0;
        for (start, end) in all {
            match &mut covered {
                Some((_, last)) if start <= *last => *last = end.max(*last),
                _ => {
                    if let Some((from, to)) = covered.replace((start, end)) {
                        runs.extend([from - place, to - from]);
                        place = to;
                    }
                }
            }
        }
        if let Some((from, to)) = covered {
            runs.extend([from - place, to - from]);
            place = to;
        }
        runs.push(u64::from(self.width) * u64::from(self.height) - place);
        Self { runs, ..*self }
    }

    /// Flags per pixel, row by row.
    pub fn pixels(&self) -> Vec<bool> {
        let (width, height) = (self.width as usize, self.height as usize);
        let mut pixels = vec![false; width * height];
        for place in self.inside().flat_map(|(start, end)| start..end) {
            let place = place as usize;
            pixels[place % height * width + place / height] = true;
        }
        pixels
    }

    /// Width and height, pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The runs of pixels inside, as ranges of places in column order.
    fn inside(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut place = 0;
        self.runs.iter().enumerate().filter_map(move |(index, run)| {
            let start = place;
            place += run;
            (index % 2 == 1 && *run > 0).then_some((start, place))
        })
    }
}

impl Shape for RunLengthMask {
    fn area(&self) -> f64 {
        self.runs.iter().skip(1).step_by(2).sum::<u64>() as f64
    }

    /// Masks of two sizes do not overlap.
    fn overlap(&self, truth: &Self, is_crowd: bool) -> f64 {
        if self.size() != truth.size() {
            return 0.0;
        }
        let (mut ours, mut theirs) = (self.inside().peekable(), truth.inside().peekable());
        let mut both = 0;
        while let (Some((start, end)), Some((other_start, other_end))) = (ours.peek().copied(), theirs.peek().copied()) {
            both += end.min(other_end).saturating_sub(start.max(other_start));
            if end < other_end {
                ours.next();
            } else {
                theirs.next();
            }
        }
        let both = both as f64;
        if both > 0.0 {
            both / if is_crowd { self.area() } else { self.area() + truth.area() - both }
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What pycocotools computed; made by `tests/fixtures/coco_pycocotools.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/coco_pycocotools.json"));

    fn mask_of(value: &Value) -> RunLengthMask {
        let [height, width] = [0, 1].map(|index| value["size"][index].as_u64().unwrap() as u32);
        RunLengthMask::from_text(width, height, value["counts"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn masks_overlap_as_pycocotools_says() {
        let foreign: Value = serde_json::from_str(FOREIGN).unwrap();
        let mut compared = 0;
        for case in foreign["masks"].as_array().unwrap() {
            let masks = |key: &str| case[key].as_array().unwrap().iter().map(mask_of).collect::<Vec<_>>();
            let (found, truths) = (masks("found"), masks("truths"));
            for (index, mask) in found.iter().enumerate() {
                assert_eq!(Some(mask.area()), case["areas"][index].as_f64());
                for (place, truth) in truths.iter().enumerate() {
                    let is_crowd = case["crowd"][place].as_u64() == Some(1);
                    let expected = case["iou"][index][place].as_f64().unwrap();
                    let got = mask.overlap(truth, is_crowd);
                    assert!((got - expected).abs() < 1e-12, "got {got}, expected {expected}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 100, "{compared}");
    }

    #[test]
    fn nonsense_is_no_mask() {
        assert_eq!(RunLengthMask::from_runs(2, 2, vec![1, 2]), None);
        assert_eq!(RunLengthMask::from_runs(2, 2, vec![u64::MAX, 5]), None);
        for text in ["", "P", "\u{7f}", "ooooooooooooooooooooooooooooooooooo", "O"] {
            assert_eq!(RunLengthMask::from_text(3, 3, text), None, "{text}");
        }
        assert_eq!(RunLengthMask::from_pixels(2, 2, &[true]), None);
    }

    #[test]
    fn boxes_that_only_touch_do_not_overlap_and_a_crowd_takes_what_lies_in_it() {
        let at = |x, y, side| Rectangle {
            x,
            y,
            width: side,
            height: side,
        };
        let iou = |a: Rectangle, b: Rectangle, crowd| (a.overlap(&b, crowd) * 1e9).round() / 1e9;
        assert_eq!(iou(at(0.0, 0.0, 2.0), at(2.0, 0.0, 2.0), false), 0.0);
        assert_eq!(iou(at(0.0, 0.0, 0.0), at(0.0, 0.0, 2.0), true), 0.0);
        assert_eq!(iou(at(0.0, 0.0, 2.0), at(1.0, 0.0, 2.0), false), 0.333_333_333);
        assert_eq!(iou(at(1.0, 1.0, 2.0), at(0.0, 0.0, 10.0), false), 0.04);
        assert_eq!(iou(at(1.0, 1.0, 2.0), at(0.0, 0.0, 10.0), true), 1.0);
    }

    proptest! {
        #[test]
        fn any_text_is_a_mask_or_none(text in ".{0,40}", width in 0_u32..9, height in 0_u32..9) {
            if let Some(mask) = RunLengthMask::from_text(width, height, &text) {
                prop_assert!(mask.area() <= f64::from(width * height));
            }
        }

        #[test]
        fn masks_join_pixel_by_pixel(pixels in prop::collection::vec((any::<bool>(), any::<bool>()), 35)) {
            let (a, b): (Vec<bool>, Vec<bool>) = pixels.into_iter().unzip();
            let mask = |pixels: &[bool]| RunLengthMask::from_pixels(7, 5, pixels).unwrap();
            prop_assert_eq!(mask(&a).pixels(), a.clone());
            let both: Vec<bool> = a.iter().zip(&b).map(|(a, b)| *a || *b).collect();
            prop_assert_eq!(mask(&a).union(&mask(&b)).pixels(), both);
        }

        #[test]
        fn masks_overlap_pixel_by_pixel(pixels in prop::collection::vec((any::<bool>(), any::<bool>()), 35), is_crowd in any::<bool>()) {
            let (a, b): (Vec<bool>, Vec<bool>) = pixels.into_iter().unzip();
            let mask = |pixels: &[bool]| RunLengthMask::from_pixels(7, 5, pixels).unwrap();
            let count = |is: fn(bool, bool) -> bool| a.iter().zip(&b).filter(|(a, b)| is(**a, **b)).count() as f64;
            let both = count(|a, b| a && b);
            let of = if is_crowd { count(|a, _| a) } else { count(|a, b| a || b) };
            let expected = if both > 0.0 { both / of } else { 0.0 };
            prop_assert!((mask(&a).overlap(&mask(&b), is_crowd) - expected).abs() < 1e-12);
        }
    }
}
