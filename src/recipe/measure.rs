//! How large a finding is: pixels become millimetres, outlines become lengths. Pure.

use super::geometry::{Point, Rect, turn};
use super::pose::Pose;
use crate::part::{Finding, Measures};
use crate::vision::calibration::Calibration;

/// Smallest and largest scale that a camera may have, millimetres per pixel: from microscopes to coils seen from a ceiling.
pub const MM_PER_PX: std::ops::RangeInclusive<f64> = 1e-6..=1e3;

/// How large a pixel of a camera is in the plane of the part: everywhere the same, or as a calibration has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Millimetres per pixel, alike in both directions; within [`MM_PER_PX`]. Of a calibration that of the middle of the frame.
    pub mm_per_px: f64,
    plane: Option<Plane>,
}

/// The plane of the part, as a camera with a lens sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plane {
    calibration: Calibration,
    /// Where a place of the picture that is measured lies in the frame.
    to_frame: Pose,
}

impl Plane {
    /// A place of the picture in millimetres of the plane; pixels are counted from their edges here, by calibrations from their centres.
    fn mm(&self, place: Point) -> [f64; 2] {
        let Point { x, y } = self.to_frame.to_frame(place);
        self.calibration.to_mm([x - 0.5, y - 0.5])
    }

    /// Millimetres per pixel around a place.
    fn mm_per_px(&self, place: Point) -> f64 {
        let Point { x, y } = self.to_frame.to_frame(place);
        self.calibration.mm_per_px_at([x - 0.5, y - 0.5])
    }

    /// Millimetres from the left top corner of the frame, x along its rows as they run in its middle.
    fn mm_from_corner(&self, place: Point) -> [f64; 2] {
        let [x, y] = self.calibration.middle_px();
        let mm = |right: f64, down: f64| self.calibration.to_mm([x + right, y + down]);
        let along = |a: [f64; 2], b: [f64; 2]| [b[0] - a[0], b[1] - a[1]];
        let (row, column) = (along(mm(-0.5, 0.0), mm(0.5, 0.0)), along(mm(0.0, -0.5), mm(0.0, 0.5)));
        let length = row[0].hypot(row[1]);
        let row = row.map(|part| part / length);
        // Square to the rows, on the side to which columns run: a target may lie in the plane any way round.
        let side = (row[0] * column[1] - row[1] * column[0]).signum();
        let down = [-side * row[1], side * row[0]];
        let from_corner = along(self.calibration.to_mm([-0.5, -0.5]), self.mm(place));
        [row, down].map(|axis| axis[0] * from_corner[0] + axis[1] * from_corner[1])
    }
}

impl Scale {
    /// A scale; `None` where it is none that a camera may have.
    pub fn new(mm_per_px: f64) -> Option<Self> {
        MM_PER_PX.contains(&mm_per_px).then_some(Self { mm_per_px, plane: None })
    }

    /// That of a calibrated camera: lens and tilt of the plane are undone wherever something is measured. `None` where its middle has a scale
    /// that none may have.
    pub fn calibrated(calibration: Calibration) -> Option<Self> {
        let plane = Plane {
            calibration,
            to_frame: Pose::default(),
        };
        let middle = Self::new(calibration.scale_mm_per_px())?;
        Some(Self {
            plane: Some(plane),
            ..middle
        })
    }

    /// The same for a picture whose places lie so in the frame.
    #[must_use]
    pub fn seen_through(self, to_frame: Pose) -> Self {
        let plane = self.plane.map(|plane| Plane { to_frame, ..plane });
        Self { plane, ..self }
    }

    /// Millimetres per pixel around a place: the square root of the area that a pixel covers there.
    fn around(self, place: Point) -> f64 {
        self.plane.map_or(self.mm_per_px, |plane| plane.mm_per_px(place))
    }

    /// A length in millimetres, of what lies around a place.
    pub fn length_mm(self, length_px: f64, place: Point) -> f64 {
        length_px * self.around(place)
    }

    /// An area in square millimetres, of what lies around a place.
    pub fn area_mm2(self, area_px: f64, place: Point) -> f64 {
        area_px * self.around(place).powi(2)
    }

    /// Everything of a finding that can be said in millimetres.
    pub fn measure(self, finding: &Finding) -> Measures {
        let middle = box_of(finding).middle();
        let length = |length_px: f32| self.length_mm(length_px.into(), middle) as f32;
        let [x_mm, y_mm] = match self.plane {
            Some(plane) => plane.mm_from_corner(middle),
            None => [middle.x * self.mm_per_px, middle.y * self.mm_per_px],
        };
        Measures {
            length_mm: finding.measures.length_px.map(length),
            area_mm2: Some(self.area_mm2(finding.area_px.into(), middle) as f32),
            x_mm: Some(x_mm as f32),
            y_mm: Some(y_mm as f32),
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
    use nalgebra::Matrix3;
    use proptest::prelude::*;

    use super::*;
    use crate::part::Region;
    use crate::vision::calibration::homography::Homography;
    use crate::vision::calibration::lens::Lens;

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

    /// A camera with a lens that sees the plane tilted by 25 degrees, and the target turned by a quarter.
    fn tilted() -> Calibration {
        let (sin, cos) = 25_f64.to_radians().sin_cos();
        // Columns: the target's x and y as the camera has them, and its origin, 300 mm away.
        let plane = Matrix3::new(0.0, -cos, 10.0, 1.0, 0.0, -20.0, 0.0, sin, 300.0);
        let focal = Matrix3::new(900.0, 0.0, 400.0, 0.0, 905.0, 300.0, 0.0, 0.0, 1.0);
        Calibration {
            size_px: [800, 600],
            lens: Lens {
                focal_px: [900.0, 905.0],
                centre_px: [400.0, 300.0],
                distortion: [-0.2, 0.1, 0.001, -0.0005, 0.0],
            },
            plane_mm: Homography(focal * plane).inverse().unwrap(),
        }
    }

    /// The place of the frame that shows a place of the plane.
    fn seen(mm: [f64; 2]) -> Point {
        let [x, y] = tilted().to_px(mm).unwrap();
        Point::new(x + 0.5, y + 0.5)
    }

    fn finding_at(place: Point, length_px: f64) -> Finding {
        let region = Region {
            x: place.x.round() as u32,
            y: place.y.round() as u32,
            width: 1,
            height: 1,
        };
        let mut finding = Finding::somewhere_in(region, "scratch", 1.0);
        finding.measures.length_px = Some(length_px as f32);
        finding
    }

    #[test]
    fn a_tilted_plane_is_measured_alike_everywhere() {
        let scale = Scale::calibrated(tilted()).unwrap();
        let mut off_by_the_middle: f64 = 0.0;
        for x in [-60.0, -20.0, 20.0, 60.0] {
            for y in [-80.0, -30.0, 30.0, 80.0] {
                // A square millimetre: as large in pixels as its sides make it.
                let corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].map(|[right, down]| seen([x + right, y + down]));
                let middle = seen([x + 0.5, y + 0.5]);
                let (diagonal, other) = (
                    [corners[2].x - corners[0].x, corners[2].y - corners[0].y],
                    [corners[3].x - corners[1].x, corners[3].y - corners[1].y],
                );
                let area_px = (diagonal[0] * other[1] - diagonal[1] * other[0]).abs() / 2.0;
                let area_mm2 = scale.area_mm2(area_px, middle);
                assert!((area_mm2 - 1.0).abs() < 1e-3, "{area_mm2} at {middle:?}");
                assert!((scale.length_mm(area_px.sqrt(), middle) - 1.0).abs() < 1e-3);
                off_by_the_middle = off_by_the_middle.max((area_px * scale.mm_per_px.powi(2) - 1.0).abs());
            }
        }
        assert!(
            off_by_the_middle > 0.2,
            "the scale of the middle alone was off by {off_by_the_middle}"
        );
    }

    #[test]
    fn places_are_millimetres_apart_in_the_plane() {
        let scale = Scale::calibrated(tilted()).unwrap();
        let plane = scale.plane.unwrap();
        let ([ax, ay], [bx, by]) = (plane.mm_from_corner(seen([-50.0, 10.0])), plane.mm_from_corner(seen([40.0, -60.0])));
        assert!(((bx - ax).hypot(by - ay) - 90_f64.hypot(70.0)).abs() < 1e-6);
        // To the right and down of the frame, though the target lies turned.
        let [left, right] = [Point::new(200.0, 300.0), Point::new(600.0, 300.0)].map(|at| scale.measure(&finding_at(at, 1.0)));
        let [upper, lower] = [Point::new(400.0, 100.0), Point::new(400.0, 500.0)].map(|at| scale.measure(&finding_at(at, 1.0)));
        assert!(
            right.x_mm > left.x_mm && lower.y_mm > upper.y_mm,
            "{left:?} {right:?} {upper:?} {lower:?}"
        );
        assert!(left.x_mm > Some(0.0) && upper.y_mm > Some(0.0));
    }

    #[test]
    fn what_was_laid_upright_is_measured_where_it_lies() {
        let scale = Scale::calibrated(tilted()).unwrap();
        let pose = Pose {
            dx_px: 250.0,
            dy_px: 150.0,
            angle_rad: 0.3,
            pivot: Point::new(100.0, 100.0),
        };
        let place = Point::new(140.0, 60.0);
        assert_eq!(
            scale.seen_through(pose).length_mm(7.0, place),
            scale.length_mm(7.0, pose.to_frame(place))
        );
        assert_ne!(scale.seen_through(pose).length_mm(7.0, place), scale.length_mm(7.0, place));
        let plain = Scale::new(0.1).unwrap();
        assert_eq!(plain.seen_through(pose), plain);
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
