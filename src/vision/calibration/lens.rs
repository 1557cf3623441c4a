//! The camera as a pinhole with a lens: D. C. Brown, "Close-range camera calibration", Photogrammetric Engineering 37 (1971), with the
//! coefficients in the order in which OpenCV has them (`calib3d`, "Detailed Description"), so that files compare.

use super::Point;

/// Steps of Newton's method when distortion is undone. It doubles the digits with each step; a lens needs 3 to 5.
const UNDISTORT_STEPS_MAX: usize = 20;

/// Where undoing distortion is done, in units of the focal length: below a millionth of a pixel.
const UNDISTORT_EXACT: f64 = 1e-12;

/// Focal length, principal point and distortion of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lens {
    /// Focal lengths along x and y, pixels.
    pub focal_px: [f64; 2],
    /// Where the optical axis meets the sensor, pixels.
    pub centre_px: Point,
    /// Radial k1, k2, tangential p1, p2, radial k3; in units of the focal length.
    pub distortion: [f64; 5],
}

impl Lens {
    /// The picture point of a direction, given where it meets the plane at distance 1 before the camera.
    pub fn project(&self, [x, y]: Point) -> Point {
        let ([x, y], _) = self.distorted([x, y]);
        [self.focal_px[0] * x + self.centre_px[0], self.focal_px[1] * y + self.centre_px[1]]
    }

    /// Where a pinhole without distortion would show what the camera shows at `point_px`.
    ///
    /// Far outside of the picture, where the polynomial folds back, it is the point that Newton's method ends at.
    pub fn undistort(&self, point_px: Point) -> Point {
        let target = self.normalised(point_px);
        let mut point = target;
        for _ in 0..UNDISTORT_STEPS_MAX {
            let (there, [[a, b], [c, d]]) = self.distorted(point);
            let miss = [there[0] - target[0], there[1] - target[1]];
            let determinant = a * d - b * c;
            if determinant.abs() < f64::EPSILON || miss[0].hypot(miss[1]) < UNDISTORT_EXACT {
                break;
            }
            point[0] -= (d * miss[0] - b * miss[1]) / determinant;
            point[1] -= (a * miss[1] - c * miss[0]) / determinant;
        }
        [
            self.focal_px[0] * point[0] + self.centre_px[0],
            self.focal_px[1] * point[1] + self.centre_px[1],
        ]
    }

    /// Where the camera shows what a pinhole without distortion would show at `point_px`.
    pub fn distort(&self, point_px: Point) -> Point {
        self.project(self.normalised(point_px))
    }

    fn normalised(&self, [x, y]: Point) -> Point {
        [
            (x - self.centre_px[0]) / self.focal_px[0],
            (y - self.centre_px[1]) / self.focal_px[1],
        ]
    }

    /// A direction after distortion, and how it changes with the direction.
    fn distorted(&self, [x, y]: Point) -> (Point, [Point; 2]) {
        let [k1, k2, p1, p2, k3] = self.distortion;
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        let slope = k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3);
        let there = [
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        ];
        let mixed = 2.0 * x * y * slope + 2.0 * p1 * x + 2.0 * p2 * y;
        let change = [
            [radial + 2.0 * x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x, mixed],
            [mixed, radial + 2.0 * y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x],
        ];
        (there, change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `cv2.projectPoints` of OpenCV 5.0.0 for the camera below and points of the plane at distance 1.
    const PROJECTED_BY_OPENCV: [(Point, Point); 3] = [
        ([0.0, 0.0], [640.5, 470.25]),
        ([0.31, -0.22], [1_001.433_263_610, 216.342_092_175]),
        ([-0.45, 0.4], [134.435_652_305, 916.542_452_320]),
    ];

    fn lens() -> Lens {
        Lens {
            focal_px: [1200.0, 1190.0],
            centre_px: [640.5, 470.25],
            distortion: [-0.21, 0.09, 0.0011, -0.0007, -0.013],
        }
    }

    #[test]
    fn projects_as_opencv_does() {
        for (direction, expected) in PROJECTED_BY_OPENCV {
            let got = lens().project(direction);
            assert!(
                (got[0] - expected[0]).abs() < 1e-6 && (got[1] - expected[1]).abs() < 1e-6,
                "{direction:?}: {got:?}, OpenCV {expected:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn undistorting_undoes_distorting(x in 0.0..1280.0_f64, y in 0.0..960.0_f64) {
            let back = lens().distort(lens().undistort([x, y]));
            prop_assert!((back[0] - x).abs() < 1e-6 && (back[1] - y).abs() < 1e-6, "{back:?}");
        }
    }
}
