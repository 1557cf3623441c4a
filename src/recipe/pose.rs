//! Where a part lies, against where it lay when the recipe was made. Pure.

use super::geometry::{Point, Polygon};

/// How a part moved: it was turned about a place, then shifted. Any move that keeps a part's shape and size can be said so, whatever the place.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pose {
    /// To the right, pixels.
    pub dx_px: f64,
    /// Down, pixels.
    pub dy_px: f64,
    /// From the x axis towards the y axis: clockwise as people see a frame, radians.
    pub angle_rad: f64,
    /// What it was turned about, where that lay before.
    pub pivot: Point,
}

/// Where a part is, as far as anybody looked for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Whereabouts {
    /// Nobody looked: it lies where it lay when the recipe was made.
    AsDrawn,
    /// It was found, and had moved so.
    Found(Pose),
    /// It was looked for and not found.
    Lost,
}

impl Pose {
    /// Whether every number of it is one.
    pub fn is_finite(&self) -> bool {
        [self.dx_px, self.dy_px, self.angle_rad, self.pivot.x, self.pivot.y]
            .into_iter()
            .all(f64::is_finite)
    }

    /// Where a place of the part came to lie.
    pub fn to_frame(&self, point: Point) -> Point {
        let (sin, cos) = self.angle_rad.sin_cos();
        let (x, y) = (point.x - self.pivot.x, point.y - self.pivot.y);
        Point {
            x: self.pivot.x + self.dx_px + cos * x - sin * y,
            y: self.pivot.y + self.dy_px + sin * x + cos * y,
        }
    }

    /// Where a place of the frame lies on the part, as it lay before.
    pub fn to_reference(&self, point: Point) -> Point {
        let (sin, cos) = self.angle_rad.sin_cos();
        let (x, y) = (point.x - self.pivot.x - self.dx_px, point.y - self.pivot.y - self.dy_px);
        Point {
            x: self.pivot.x + cos * x + sin * y,
            y: self.pivot.y - sin * x + cos * y,
        }
    }

    /// Where an outline on the part came to lie.
    pub fn moved(&self, polygon: &Polygon) -> Polygon {
        polygon.map(|point| self.to_frame(point))
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Rect;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quarter_turn_goes_from_right_to_down() {
        let quarter = Pose {
            angle_rad: std::f64::consts::FRAC_PI_2,
            ..Pose::default()
        };
        let turned = quarter.to_frame(Point::new(10.0, 0.0));
        assert!(turned.distance(Point::new(0.0, 10.0)) < 1e-9, "{turned:?}");
    }

    proptest! {
        #[test]
        fn shape_and_size_stay(angle_rad in -7.0_f64..7.0, dx in -50.0_f64..50.0, dy in -50.0_f64..50.0, x in 0.0_f64..90.0, y in 0.0_f64..90.0) {
            let pivot = Point::new(x, y);
            let pose = Pose { dx_px: dx, dy_px: dy, angle_rad, pivot };
            let landed = pose.to_frame(pivot);
            prop_assert!(landed.distance(Point::new(x + dx, y + dy)) < 1e-9);
            prop_assert!(pose.to_reference(landed).distance(pivot) < 1e-9);
            let corner = Point::new(10.0, 60.0);
            prop_assert!(pose.to_reference(pose.to_frame(corner)).distance(corner) < 1e-9);
            let rect = Polygon::of_rect(Rect { left: 10.0, top: 20.0, right: 40.0, bottom: 60.0 });
            let moved = pose.moved(&rect);
            prop_assert!((moved.area() - rect.area()).abs() < 1e-6);
            for (before, after) in rect.points().iter().zip(moved.points()) {
                prop_assert!((before.distance(pivot) - after.distance(landed)).abs() < 1e-9);
            }
        }
    }
}
