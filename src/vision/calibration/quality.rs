//! How good a calibration is, and what to say about it.

use super::estimate::Estimate;
use super::{Calibration, Point};

/// Root mean square of the distances between where points were seen and where they should be, above which a calibration is called poor. Points
/// are found to 0.02 to 0.2 px; half a pixel says that the target is not flat, the picture moved or the lens is of another kind.
pub const RMS_PX_MAX: f64 = 0.5;

/// The largest single distance above which it is called poor: four times the above; of a few hundred points none is that far off by chance.
pub const WORST_PX_MAX: f64 = 2.0;

/// Share of the picture that the points must lie over. Outside of them the lens is extrapolated, by a polynomial of the sixth degree.
pub const COVERAGE_MIN: f64 = 0.4;

/// Share of the target's pixels that may be at full white. Light that is cut off widens the bright squares where the picture is not sharp.
pub const SATURATED_MAX: f64 = 0.2;

/// Places across and down the picture where the scale is asked.
const SCALE_PLACES: u32 = 9;

/// What was reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// Pictures.
    pub views: usize,
    /// Points in all of them.
    pub points: usize,
    /// Root mean square distance between where points were seen and where they should be, pixels; OpenCV's reprojection error.
    pub rms_px: f64,
    /// The largest such distance, pixels.
    pub worst_px: f64,
    /// Share of the picture that the points lie over, 0 to 1.
    pub coverage: f64,
    /// Millimetres of the plane per pixel in the middle of the picture.
    pub scale_mm_per_px: f64,
    /// The least and the most over the whole picture.
    pub scale_range_mm_per_px: [f64; 2],
    /// The largest way that the lens moves a point of the picture, pixels.
    pub distortion_px: f64,
}

impl Quality {
    /// By how much the scale differs over the picture, as a share of that in the middle.
    pub fn scale_spread(&self) -> f64 {
        (self.scale_range_mm_per_px[1] - self.scale_range_mm_per_px[0]) / self.scale_mm_per_px
    }
}

/// Root mean square and largest of these distances, pixels.
pub fn rms_and_worst<'a>(residuals_px: impl Iterator<Item = &'a Point>) -> (f64, f64) {
    let (mut squares, mut count, mut worst) = (0.0, 0.0, 0.0_f64);
    for [x, y] in residuals_px {
        squares += x * x + y * y;
        count += 1.0;
        worst = worst.max(x.hypot(*y));
    }
    (if count > 0.0 { (squares / count).sqrt() } else { 0.0 }, worst)
}

/// What an estimate reached on these views, and what it makes of the picture.
pub fn assess(calibration: &Calibration, estimate: &Estimate, views: &[Vec<Point>]) -> Quality {
    let (rms_px, worst_px) = rms_and_worst(estimate.residuals_px.iter().flatten());
    let [width, height] = calibration.size_px.map(f64::from);
    let hull = hull(views.iter().flatten().copied().collect());
    let mut scale_range_mm_per_px = [f64::INFINITY, 0.0_f64];
    let mut distortion_px = 0.0_f64;
    for row in 0..SCALE_PLACES {
        for column in 0..SCALE_PLACES {
            let share = |index: u32| f64::from(index) / f64::from(SCALE_PLACES - 1);
            let place = [share(column) * (width - 1.0), share(row) * (height - 1.0)];
            let scale = calibration.mm_per_px_at(place);
            scale_range_mm_per_px = [scale_range_mm_per_px[0].min(scale), scale_range_mm_per_px[1].max(scale)];
            let straight = calibration.undistort(place);
            distortion_px = distortion_px.max((straight[0] - place[0]).hypot(straight[1] - place[1]));
        }
    }
    Quality {
        views: views.len(),
        points: views.iter().map(Vec::len).sum(),
        rms_px,
        worst_px,
        coverage: area(&hull) / (width * height),
        scale_mm_per_px: calibration.scale_mm_per_px(),
        scale_range_mm_per_px,
        distortion_px,
    }
}

/// What to be told, each with its remedy.
pub fn warnings(quality: &Quality, estimate: &Estimate) -> Vec<String> {
    let mut warnings = Vec::new();
    if quality.rms_px > RMS_PX_MAX || quality.worst_px > WORST_PX_MAX {
        warnings.push(format!(
            "the calibration is poor: points are off by {:.2} px (root mean square), {:.2} px at worst, where {RMS_PX_MAX} and {WORST_PX_MAX} are the limits; \
             check that the target is flat, at rest and sharp, and look at the overlays",
            quality.rms_px, quality.worst_px
        ));
    }
    if quality.coverage < COVERAGE_MIN {
        warnings.push(format!(
            "the points lie over {:.0} % of the picture, and outside of them the lens is guessed; bring the target nearer, or take pictures with it in the corners",
            100.0 * quality.coverage
        ));
    }
    if estimate.undetermined.contains(&"k1") {
        warnings.push(
            "the points do not tell how the lens distorts, so it is taken for one that does not; that is right where --overlay shows straight lines".into(),
        );
    }
    warnings
}

/// The corners of the smallest convex polygon around points (Andrew's monotone chain).
pub(super) fn hull(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let is_left = |a: Point, b: Point, c: Point| (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0.0;
    let chain = |points: &mut dyn Iterator<Item = Point>| {
        let mut chain: Vec<Point> = Vec::new();
        for point in points {
            while chain.len() >= 2 && !is_left(chain[chain.len() - 2], chain[chain.len() - 1], point) {
                chain.pop();
            }
            chain.push(point);
        }
        chain.pop();
        chain
    };
    let mut hull = chain(&mut points.iter().copied());
    hull.extend(chain(&mut points.iter().rev().copied()));
    hull
}

fn area(polygon: &[Point]) -> f64 {
    let next = polygon.iter().cycle().skip(1);
    polygon.iter().zip(next).map(|(a, b)| a[0] * b[1] - a[1] * b[0]).sum::<f64>().abs() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hull_of_a_grid_is_its_rim() {
        let grid = (0..20).map(|index| [f64::from(index % 5), f64::from(index / 5)]).collect();
        let hull = hull(grid);
        assert_eq!(hull.len(), 4, "{hull:?}");
        assert!((area(&hull) - 12.0).abs() < 1e-12);
    }

    #[test]
    fn root_mean_square_is_of_distances() {
        let (rms, worst) = rms_and_worst([[3.0, 4.0], [0.0, 0.0]].iter());
        assert!((rms - 12.5_f64.sqrt()).abs() < 1e-12 && (worst - 5.0).abs() < 1e-12);
    }
}
