//! The plane of the target, or of the parts, as a pinhole sees it: R. Hartley and A. Zisserman, "Multiple View Geometry" (2004), algorithm 4.2.

use nalgebra::{Matrix3, SMatrix, SVector, Vector3};

use super::Point;

/// Second smallest eigenvalue of the equations, as a share of the largest, below which more than one map fits: the points lie on a line. Points
/// that span a plane reach 1e-3 and more.
const DETERMINED_MIN: f64 = 1e-10;

/// Determinant of the map below which it takes the plane to a line. A plane that is seen at 80 degrees has 1e-2.
const FLAT_MIN: f64 = 1e-6;

/// A map from plane to plane that keeps straight lines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Homography(pub Matrix3<f64>);

impl Homography {
    /// Where a point goes; not finite for points of the horizon.
    pub fn apply(&self, [x, y]: Point) -> Point {
        let to = self.0 * Vector3::new(x, y, 1.0);
        [to.x / to.z, to.y / to.z]
    }

    /// How it goes back; `None` where the plane is seen from its edge.
    pub fn inverse(&self) -> Option<Self> {
        self.0.try_inverse().map(Self).filter(Self::is_finite)
    }

    /// The map that takes `from` to `to` best, by the direct linear transform; `None` where the points do not determine one: fewer than 4, or
    /// all on a line.
    pub fn fit(from: &[Point], to: &[Point]) -> Option<Self> {
        if from.len() < 4 || from.len() != to.len() {
            return None;
        }
        let (from_scale, to_scale) = (normalising(from)?, normalising(to)?);
        let mut sum = SMatrix::<f64, 9, 9>::zeros();
        for (a, b) in from.iter().zip(to) {
            let ([x, y], [u, v]) = (from_scale.apply(*a), to_scale.apply(*b));
            let rows = [
                [x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, -u],
                [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, -v],
            ];
            for row in rows {
                let row = SVector::<f64, 9>::from(row);
                sum += row * row.transpose();
            }
        }
        let eigen = sum.symmetric_eigen();
        let least = eigen.eigenvalues.imin();
        let next = (0..9)
            .filter(|index| *index != least)
            .map(|index| eigen.eigenvalues[index])
            .fold(f64::INFINITY, f64::min);
        if next < DETERMINED_MIN * eigen.eigenvalues.max() {
            return None;
        }
        let h = eigen.eigenvectors.column(least);
        let fitted = Matrix3::new(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]);
        // All numbers together are of length 1 here.
        if fitted.determinant().abs() < FLAT_MIN {
            return None;
        }
        Some(Self(to_scale.inverse()?.0 * fitted * from_scale.0).scaled())
    }

    #[must_use]
    /// The same map, its last number 1 where that can be.
    pub fn scaled(&self) -> Self {
        let last = self.0[(2, 2)];
        if last.abs() < f64::EPSILON { *self } else { Self(self.0 / last) }
    }

    /// Whether all its numbers are.
    pub fn is_finite(&self) -> bool {
        self.0.iter().all(|number| number.is_finite())
    }
}

/// The shift and scale after which points lie around 0, at a distance of about 1; `None` where they are all one.
fn normalising(points: &[Point]) -> Option<Homography> {
    let count = points.len() as f64;
    let mean = |axis: usize| points.iter().map(|point| point[axis]).sum::<f64>() / count;
    let centre = [mean(0), mean(1)];
    let spread = points
        .iter()
        .map(|point| (point[0] - centre[0]).hypot(point[1] - centre[1]))
        .sum::<f64>()
        / count;
    let scale = 1.0 / spread;
    scale.is_finite().then(|| {
        Homography(Matrix3::new(
            scale,
            0.0,
            -scale * centre[0],
            0.0,
            scale,
            -scale * centre[1],
            0.0,
            0.0,
            1.0,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CORNERS: [Point; 5] = [[0.0, 0.0], [80.0, 0.0], [80.0, 60.0], [0.0, 60.0], [31.0, 17.0]];

    proptest! {
        #[test]
        fn finds_the_map_that_made_the_points(turn in -3.0..3.0_f64, scale in 0.5..20.0_f64, x in -500.0..500.0_f64, g in -2e-3..2e-3_f64, h in -2e-3..2e-3_f64) {
            let map = Homography(Matrix3::new(
                scale * turn.cos(), -scale * turn.sin(), x,
                scale * turn.sin(), scale * turn.cos(), 40.0,
                g, h, 1.0,
            ));
            let seen = CORNERS.map(|corner| map.apply(corner));
            let found = Homography::fit(&CORNERS, &seen).unwrap();
            for (corner, seen) in CORNERS.iter().zip(seen) {
                let [x, y] = found.apply(*corner);
                prop_assert!((x - seen[0]).abs() < 1e-6 && (y - seen[1]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn points_on_a_line_determine_none() {
        let line = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]];
        assert_eq!(Homography::fit(&line, &line), None);
        assert_eq!(Homography::fit(&CORNERS[..3], &CORNERS[..3]), None);
    }
}
