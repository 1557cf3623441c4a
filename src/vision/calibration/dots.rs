//! The dots of a target of round dots, dark on bright or bright on dark, by their centres of brightness.
//!
//! What is found is the centre of the dot as it is seen. Seen at an angle that is not quite the dot's own centre: off by about
//! radius^2 * sin(tilt) / focal length, all in pixels (0.02 px for dots of 10 px at 15 degrees and 1200 px).

use super::Point;
use super::grid::{Misfit, grow};
use crate::vision::grey::GreyImage;

/// Blobs at most, those of the size that most of them have first.
const BLOBS_MAX: usize = 4000;

/// Fewest pixels of a dot: below it the centre is not known to a tenth of a pixel.
const AREA_PX_MIN: usize = 12;

/// Least spread of brightness around a dot, levels; less is noise on a blank sheet.
const SPREAD_MIN: f64 = 5.0;

/// How much longer than wide a dot may look: a target tilted by 60 degrees.
const LENGTH_RATIO_MAX: f64 = 2.2;

/// How far the area of a blob may be from that of the ellipse with its moments, as a share. Squares reach 0.05, letters far more.
const ROUNDNESS: f64 = 0.12;

/// Width of the rim of a dot that still belongs to it, and of the ring of background outside of that, pixels.
const RIM_PX: f64 = 2.5;
const RING_PX: f64 = 2.5;

/// A dot as it is seen.
#[derive(Debug, Clone, Copy)]
struct Blob {
    centre: Point,
    area: f64,
    /// Half axes of the ellipse with its moments, pixels, and the covariance that they come from.
    half_axes: [f64; 2],
    covariance: [f64; 3],
}

/// The centres of the dots, row by row.
pub(super) fn find(image: &GreyImage, columns: usize, rows: usize) -> Result<Vec<Point>, Misfit> {
    let attempt = |is_dark: bool| {
        let blobs = blobs(image, columns.max(rows), is_dark);
        let centres: Vec<Point> = blobs.iter().map(|blob| blob.centre).collect();
        let grown = grow(&centres, columns * rows, |a, b| {
            let ratio = blobs[a].area / blobs[b].area;
            (0.5..=2.0).contains(&ratio)
        });
        let order = grown.ordered(&centres, columns, rows)?;
        Ok(order.into_iter().map(|index| exact(image, &blobs[index])).collect())
    };
    attempt(true).or_else(|dark| {
        attempt(false).map_err(|bright| match (dark, bright) {
            (Misfit::Nothing, other) => other,
            (dark, _) => dark,
        })
    })
}

/// Sums of brightness and of its square from the top left corner, so that those of any box cost four look-ups.
struct Sums {
    width: usize,
    plain: Vec<u64>,
    squares: Vec<u64>,
}

impl Sums {
    fn new(image: &GreyImage) -> Self {
        let width = image.width + 1;
        let mut plain = vec![0; width * (image.height + 1)];
        let mut squares = plain.clone();
        for (y, row) in image.luma.chunks_exact(image.width).enumerate() {
            let (mut sum, mut square) = (0, 0);
            for (x, value) in row.iter().enumerate() {
                sum += u64::from(*value);
                square += u64::from(*value) * u64::from(*value);
                let at = (y + 1) * width + x + 1;
                plain[at] = plain[at - width] + sum;
                squares[at] = squares[at - width] + square;
            }
        }
        Self { width, plain, squares }
    }

    /// Mean and standard deviation of a box.
    fn of(&self, [left, right]: [usize; 2], [top, bottom]: [usize; 2]) -> (f64, f64) {
        let sum = |sums: &[u64]| {
            let at = |x: usize, y: usize| sums[y * self.width + x];
            (at(right, bottom) + at(left, top) - at(left, bottom) - at(right, top)) as f64
        };
        let count = ((right - left) * (bottom - top)) as f64;
        let mean = sum(&self.plain) / count;
        (mean, (sum(&self.squares) / count - mean * mean).max(0.0).sqrt())
    }
}

/// Round blobs, darker or brighter than what is around them; those of the most usual size first.
fn blobs(image: &GreyImage, dots_across: usize, is_dark: bool) -> Vec<Blob> {
    let (width, height) = (image.width, image.height);
    let sums = Sums::new(image);
    // A box that holds a few dots wherever it lies, were the picture full of them.
    let reach = (width.max(height) / dots_across.max(1)).max(8);
    let mut is_dot = vec![false; width * height];
    for y in 0..height {
        let rows = [y.saturating_sub(reach), (y + reach + 1).min(height)];
        for x in 0..width {
            let (mean, spread) = sums.of([x.saturating_sub(reach), (x + reach + 1).min(width)], rows);
            let value = f64::from(image.luma[y * width + x]);
            let below = if is_dark { mean - value } else { value - mean };
            is_dot[y * width + x] = spread > SPREAD_MIN && below > 0.5 * spread;
        }
    }
    let mut blobs: Vec<Blob> = Vec::new();
    let mut open = Vec::new();
    for start in 0..is_dot.len() {
        if !is_dot[start] {
            continue;
        }
        is_dot[start] = false;
        open.push(start);
        let mut pixels = Vec::new();
        while let Some(at) = open.pop() {
            pixels.push(at);
            let (x, y) = (at % width, at / width);
            let beside = [
                (x > 0).then(|| at - 1),
                (x + 1 < width).then_some(at + 1),
                (y > 0).then(|| at - width),
                (y + 1 < height).then_some(at + width),
            ];
            for next in beside.into_iter().flatten() {
                if is_dot[next] {
                    is_dot[next] = false;
                    open.push(next);
                }
            }
        }
        blobs.extend(round(&pixels, width, height));
    }
    let mut areas: Vec<f64> = blobs.iter().map(|blob| blob.area).collect();
    areas.sort_by(f64::total_cmp);
    let usual = areas.get(areas.len() / 2).copied().unwrap_or(1.0);
    blobs.sort_by(|a, b| (a.area / usual).ln().abs().total_cmp(&(b.area / usual).ln().abs()));
    blobs.truncate(BLOBS_MAX);
    blobs
}

/// The blob of these pixels, if it is round, whole and large enough.
fn round(pixels: &[usize], width: usize, height: usize) -> Option<Blob> {
    if pixels.len() < AREA_PX_MIN {
        return None;
    }
    let area = pixels.len() as f64;
    let places = || pixels.iter().map(|at| ((at % width) as f64, (at / width) as f64));
    let touches_rim = places().any(|(x, y)| x < 1.0 || y < 1.0 || x > width as f64 - 2.0 || y > height as f64 - 2.0);
    let (x_sum, y_sum) = places().fold((0.0, 0.0), |(x_sum, y_sum), (x, y)| (x_sum + x, y_sum + y));
    let centre = [x_sum / area, y_sum / area];
    let covariance = places().fold([0.0; 3], |[xx, xy, yy], (x, y)| {
        let (x, y) = (x - centre[0], y - centre[1]);
        [xx + x * x / area, xy + x * y / area, yy + y * y / area]
    });
    let [xx, xy, yy] = covariance;
    let (middle, half) = (f64::midpoint(xx, yy), ((xx - yy) / 2.0).hypot(xy));
    let half_axes = [middle + half, (middle - half).max(0.0)].map(|variance| 2.0 * variance.sqrt());
    let ellipse = std::f64::consts::PI * half_axes[0] * half_axes[1];
    let is_round = half_axes[0] <= LENGTH_RATIO_MAX * half_axes[1] && (area / ellipse - 1.0).abs() <= ROUNDNESS;
    (is_round && !touches_rim).then_some(Blob {
        centre,
        area,
        half_axes,
        covariance,
    })
}

/// The centre of brightness of a dot against the plane of light around it.
fn exact(image: &GreyImage, blob: &Blob) -> Point {
    let [xx, xy, yy] = blob.covariance;
    let determinant = (xx * yy - xy * xy).max(f64::EPSILON);
    let mean_axis = (blob.half_axes[0] * blob.half_axes[1]).sqrt();
    // Distance from the dot's outline, roughly: along the ellipse's own shape.
    let beyond = |x: f64, y: f64| {
        let mahalanobis = (yy * x * x - 2.0 * xy * x * y + xx * y * y) / determinant;
        (mahalanobis.sqrt() / 2.0 - 1.0) * mean_axis
    };
    let reach = (blob.half_axes[0] + (RIM_PX + RING_PX) * blob.half_axes[0] / blob.half_axes[1].max(1.0)).ceil() as isize;
    let middle = blob.centre.map(|place| place.round() as isize);
    let near = || {
        (-reach..=reach)
            .flat_map(move |dy| (-reach..=reach).map(move |dx| (middle[0] + dx, middle[1] + dy)))
            .map(|(x, y)| {
                let offset = [x as f64 - blob.centre[0], y as f64 - blob.centre[1]];
                (offset, f64::from(image.at(x, y)))
            })
    };
    let is_ring = |[x, y]: Point| (RIM_PX..=RIM_PX + RING_PX).contains(&beyond(x, y));
    let ring = near().filter(|(offset, _)| is_ring(*offset));
    let Some(plane) = plane_through(ring) else {
        return blob.centre;
    };
    let (mut sum, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0);
    for ([x, y], value) in near().filter(|([x, y], _)| beyond(*x, *y) <= RIM_PX) {
        let weight = plane[0] + plane[1] * x + plane[2] * y - value;
        sum += weight;
        x_sum += weight * x;
        y_sum += weight * y;
    }
    let step = [x_sum / sum, y_sum / sum];
    // Clutter beside a dot must not carry its centre away.
    if step.iter().all(|step| step.abs() <= 1.0) {
        [blob.centre[0] + step[0], blob.centre[1] + step[1]]
    } else {
        blob.centre
    }
}

/// Level and slopes of the plane nearest to values at places; `None` where they do not determine one.
fn plane_through(values: impl Iterator<Item = (Point, f64)>) -> Option<[f64; 3]> {
    let mut products = nalgebra::Matrix3::zeros();
    let mut sums = nalgebra::Vector3::zeros();
    for ([x, y], value) in values {
        let row = nalgebra::Vector3::new(1.0, x, y);
        products += row * row.transpose();
        sums += row * value;
    }
    let plane = products.try_inverse()? * sums;
    Some([plane.x, plane.y, plane.z])
}
