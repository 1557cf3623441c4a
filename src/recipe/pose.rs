//! Where a part lies, against where it lay when the recipe was made. Pure.

use super::geometry::{Point, Polygon};

/// How a part moved: it was turned about the left top corner of the frame, then shifted. Any move that keeps a part's shape and size can be said
/// so; [`Pose::about`] makes one of a turn about another place.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pose {
    /// To the right, pixels.
    pub dx_px: f64,
    /// Down, pixels.
    pub dy_px: f64,
    /// From the x axis towards the y axis: clockwise as people see a frame, radians.
    pub angle_rad: f64,
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
    /// Of a part that was turned about `pivot`, then shifted by so many pixels.
    pub fn about(pivot: Point, angle_rad: f64, (dx_px, dy_px): (f64, f64)) -> Self {
        let turned = Self {
            angle_rad,
            ..Self::default()
        }
        .apply(pivot);
        Self {
            dx_px: pivot.x - turned.x + dx_px,
            dy_px: pivot.y - turned.y + dy_px,
            angle_rad,
        }
    }

    /// Whether every number of it is one.
    pub fn is_finite(&self) -> bool {
        [self.dx_px, self.dy_px, self.angle_rad].into_iter().all(f64::is_finite)
    }

    /// Where a place of the part came to lie.
    pub fn apply(&self, point: Point) -> Point {
        let (sin, cos) = self.angle_rad.sin_cos();
        Point {
            x: cos * point.x - sin * point.y + self.dx_px,
            y: sin * point.x + cos * point.y + self.dy_px,
        }
    }

    /// Where an outline on the part came to lie.
    pub fn moved(&self, polygon: &Polygon) -> Polygon {
        polygon.map(|point| self.apply(point))
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
        let turned = quarter.apply(Point::new(10.0, 0.0));
        assert!(turned.distance(Point::new(0.0, 10.0)) < 1e-9, "{turned:?}");
    }

    proptest! {
        #[test]
        fn shape_and_size_stay(angle_rad in -7.0_f64..7.0, dx in -50.0_f64..50.0, dy in -50.0_f64..50.0, x in 0.0_f64..90.0, y in 0.0_f64..90.0) {
            let pivot = Point::new(x, y);
            let pose = Pose::about(pivot, angle_rad, (dx, dy));
            let landed = pose.apply(pivot);
            prop_assert!(landed.distance(Point::new(x + dx, y + dy)) < 1e-9);
            let rect = Polygon::of_rect(Rect { left: 10.0, top: 20.0, right: 40.0, bottom: 60.0 });
            let moved = pose.moved(&rect);
            prop_assert!((moved.area() - rect.area()).abs() < 1e-6);
            for (before, after) in rect.points().iter().zip(moved.points()) {
                prop_assert!((before.distance(pivot) - after.distance(landed)).abs() < 1e-9);
            }
        }
    }
}
