//! How large a finding is: pixels become millimetres, outlines become lengths. Pure.

use super::geometry::{Point, Rect, turn};
use crate::part::{Finding, Measures};

/// Smallest and largest scale that a camera may have, millimetres per pixel: from microscopes to coils seen from a ceiling.
pub const MM_PER_PX: std::ops::RangeInclusive<f64> = 1e-6..=1e3;

/// How large a pixel of a camera is in the plane of the part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Millimetres per pixel, alike in both directions; within [`MM_PER_PX`].
    pub mm_per_px: f64,
}

impl Scale {
    /// A scale; `None` where it is none that a camera may have.
    pub fn new(mm_per_px: f64) -> Option<Self> {
        MM_PER_PX.contains(&mm_per_px).then_some(Self { mm_per_px })
    }

    /// A length in millimetres.
    pub fn length_mm(self, length_px: f64) -> f64 {
        length_px * self.mm_per_px
    }

    /// An area in square millimetres.
    pub fn area_mm2(self, area_px: f64) -> f64 {
        area_px * self.mm_per_px * self.mm_per_px
    }

    /// Everything of a finding that can be said in millimetres.
    pub fn measure(self, finding: &Finding) -> Measures {
        let box_of = box_of(finding);
        let mm = |length_px: f64| self.length_mm(length_px) as f32;
        Measures {
            length_mm: finding.measures.length_px.map(|length| mm(length.into())),
            area_mm2: Some(self.area_mm2(finding.area_px.into()) as f32),
            x_mm: Some(mm(box_of.left.midpoint(box_of.right))),
            y_mm: Some(mm(box_of.top.midpoint(box_of.bottom))),
            ..finding.measures
        }
    }
}

/// The box of a finding.
pub fn box_of(finding: &Finding) -> Rect {
    let (left, top) = (f64::from(finding.x), f64::from(finding.y));
    Rect {
        left,
        top,
        right: left + f64::from(finding.width),
        bottom: top + f64::from(finding.height),
    }
}

/// The longest that a thing in this box can be: from corner to corner.
pub fn diagonal_px(width: u32, height: u32) -> f32 {
    f64::from(width).hypot(height.into()) as f32
}

/// The greatest Feret diameter of a set of places: the largest distance of two parallel lines that touch it on both sides, which is the largest
/// distance of two of its places (ISO 9276-6:2008, maximum Feret diameter). 0 of fewer than two places.
///
/// Only corners of the convex hull can be so far apart (Andrew 1979, "Another efficient algorithm for convex hulls in two dimensions"); each
/// pair of them is tried, and of outlines on a grid of `n` rows there are few, about `n^(2/3)`.
pub fn greatest_feret(places: &mut Vec<Point>) -> f64 {
    let hull = convex_hull(places);
    let pairs = hull
        .iter()
        .enumerate()
        .flat_map(|(index, a)| hull[index + 1..].iter().map(|b| a.distance(*b)));
    pairs.fold(0.0, f64::max)
}

/// Corners of the convex hull; sorts the places.
fn convex_hull(places: &mut Vec<Point>) -> Vec<Point> {
    places.sort_unstable_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    places.dedup();
    let mut hull = chain(places.iter().copied());
    hull.extend(chain(places.iter().rev().copied()));
    hull
}

/// One side of the hull, from the first place to the one before the last.
fn chain(places: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut side: Vec<Point> = Vec::new();
    for place in places {
        while let [.., before, last] = side.as_slice() {
            if turn(*before, *last, place) > 0.0 {
                break;
            }
            side.pop();
        }
        side.push(place);
    }
    if side.len() > 1 {
        side.pop();
    }
    side
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is expected are small whole numbers, which come out exactly")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_finding_in_millimetres() {
        let finding = Finding {
            class: "scratch".into(),
            score: 1.0,
            x: 100,
            y: 40,
            width: 20,
            height: 10,
            area_px: 50,
            measures: Measures {
                length_px: Some(22.0),
                ..Measures::default()
            },
            severity: None,
        };
        let measures = Scale::new(0.5).unwrap().measure(&finding);
        let expected = Measures {
            length_px: Some(22.0),
            length_mm: Some(11.0),
            area_mm2: Some(12.5),
            x_mm: Some(55.0),
            y_mm: Some(22.5),
        };
        assert_eq!(measures, expected);
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Scale::new(nonsense), None);
        }
    }

    #[test]
    fn few_places_have_a_diameter_too() {
        let feret = |places: &[(f64, f64)]| greatest_feret(&mut places.iter().map(|(x, y)| Point::new(*x, *y)).collect());
        assert_eq!(feret(&[]), 0.0);
        assert_eq!(feret(&[(3.0, 4.0)]), 0.0);
        assert_eq!(feret(&[(0.0, 0.0), (3.0, 4.0), (0.0, 0.0)]), 5.0);
        assert_eq!(feret(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (3.0, 0.0)]), 3.0, "all on one line");
        assert_eq!(feret(&[(0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (0.0, 3.0)]), 5.0);
    }

    proptest! {
        #[test]
        fn it_is_the_largest_distance_of_any_two(places in prop::collection::vec((0_u8..40, 0_u8..40), 2..60)) {
            let mut places: Vec<Point> = places.into_iter().map(|(x, y)| Point::new(x.into(), y.into())).collect();
            let largest = places.iter().flat_map(|a| places.iter().map(|b| a.distance(*b))).fold(0.0, f64::max);
            prop_assert_eq!(greatest_feret(&mut places), largest);
        }
    }
}
