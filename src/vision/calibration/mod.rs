//! Pixels become millimetres: pictures of a flat target tell what lens a camera has and where the plane of the parts lies. Pure.
//!
//! | file | what it does |
//! |---|---|
//! | `target.rs`, `checkerboard.rs`, `dots.rs` | the points of a target in a picture, to a fraction of a pixel |
//! | `grid.rs` | loose points become columns and rows |
//! | `homography.rs`, `lens.rs` | the plane as a pinhole sees it; what the lens does to that |
//! | `least_squares.rs`, `estimate.rs` | points become lens and plane |
//! | `quality.rs` | how good a calibration is, and what to say about it |
//! | `file.rs` | `calibration.toml` |
//! | `overlay.rs` | the picture that people look at |
//!
//! Picture points are those of OpenCV: the centre of the first pixel is (0, 0), x to the right, y down.

mod checkerboard;
mod dots;
pub mod estimate;
pub mod file;
mod grid;
pub mod homography;
mod least_squares;
pub mod lens;
pub mod overlay;
pub mod quality;
pub mod target;
#[cfg(test)]
mod tests;

use homography::Homography;
use lens::Lens;

/// A place, x and y: in pixels, in millimetres, or in units of the focal length, as the name of the value says.
pub type Point = [f64; 2];

/// A camera whose pixels mean millimetres of one plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Size of the pictures it holds for, pixels.
    pub size_px: [u32; 2],
    /// The lens.
    pub lens: Lens,
    /// From undistorted pixels to millimetres of the plane. Its origin is the first point of the target, x runs along the target's columns.
    pub plane_mm: Homography,
}

impl Calibration {
    /// Where a pinhole without distortion would show it, pixels.
    pub fn undistort(&self, point_px: Point) -> Point {
        self.lens.undistort(point_px)
    }

    /// Where on the plane it lies, millimetres.
    pub fn to_mm(&self, point_px: Point) -> Point {
        self.plane_mm.apply(self.lens.undistort(point_px))
    }

    /// Where the camera shows a place of the plane, pixels; `None` where it cannot be seen.
    pub fn to_px(&self, point_mm: Point) -> Option<Point> {
        let seen = self.lens.distort(self.plane_mm.inverse()?.apply(point_mm));
        seen.iter().all(|number| number.is_finite()).then_some(seen)
    }

    /// Millimetres of the plane per pixel around a point: the square root of the area that a pixel covers.
    pub fn mm_per_px_at(&self, point_px: Point) -> f64 {
        let [x, y] = point_px;
        let across = |a: Point, b: Point| {
            let (a, b) = (self.to_mm(a), self.to_mm(b));
            [b[0] - a[0], b[1] - a[1]]
        };
        let along_x = across([x - 0.5, y], [x + 0.5, y]);
        let along_y = across([x, y - 0.5], [x, y + 0.5]);
        (along_x[0] * along_y[1] - along_x[1] * along_y[0]).abs().sqrt()
    }

    /// Millimetres of the plane per pixel in the middle of the picture.
    pub fn scale_mm_per_px(&self) -> f64 {
        self.mm_per_px_at(self.middle_px())
    }

    /// The middle of the picture.
    pub fn middle_px(&self) -> Point {
        self.size_px.map(|side| (f64::from(side) - 1.0) / 2.0)
    }
}
