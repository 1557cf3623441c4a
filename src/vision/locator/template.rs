//! A part by its brightness: normalised cross-correlation with the reference (J. P. Lewis, "Fast normalized cross-correlation", Vision Interface
//! 1995, equation 2), which is what OpenCV calls `TM_CCOEFF_NORMED`.
//!
//! Brighter or darker light, as a factor and as an offset, changes nothing as long as it is the same all over the part. Each picture is
//! compared with the reference turned; at the end the reference is fitted to it by least squares, to a fraction of a pixel.

use nalgebra::{SMatrix, SVector};

use super::search::{Candidate, Pattern, at_level};
use super::{LEVELS_MAX, Point, SIDE_MIN, TeachError, middle_of};
use crate::part::Region;
use crate::vision::grey::GreyImage;

/// Least standard deviation of a region's brightness, levels: twice that of the noise of a camera. What is plain looks like anything plain.
const DEVIATION_MIN: f64 = 10.0;

/// ... and at the coarser levels, where a fine pattern is averaged away and nothing but shading is left.
const COARSE_DEVIATION_MIN: f64 = 5.0;

/// ... and of the frame where it is compared. Below, all there is may be rounding.
const FRAME_DEVIATION_MIN: f64 = 1.0;

/// Pixels that are compared while searching, about, evenly spread. Their score is off by 1/32 at most in general, the square root of their number.
const SEARCHED_POINTS: f64 = 1024.0;

/// Pixels whose brightness the exact pose is fitted to, about.
const FITTED_POINTS: f64 = 16_384.0;

/// Fixed point of the reference's brightness, per level.
const PARTS: f64 = 4.0;

/// Rounds of fitting; each is nearer by a factor of 5 and more.
const ROUNDS: usize = 10;

/// A round that moves no part of the region by as much is the last, pixels.
const STILL_PX: f64 = 0.01;

/// Pixels that are off by more than so many deviations say less (Huber): what covers the part.
const OUTLYING: f32 = 1.5;

/// ... but in the first round only by more than this share of the reference's contrast, half of it in the next, and so on: while the pose is
/// off, so is every edge.
const OUTLYING_AT_FIRST: f32 = 0.5;

/// A standard deviation, of the median of the distances (normal distribution).
const DEVIATION_OF_MEDIAN: f32 = 1.4826;

/// Farther than this from where the search ended, something else was found, pixels.
const DRIFT_PX_MAX: f64 = 4.0;

/// The region at one level of the pyramid.
#[derive(Debug, Clone)]
struct Level {
    /// It, and a pixel around where there is one.
    picture: GreyImage,
    /// Its middle in that picture.
    middle: Point,
    /// From there to its outermost pixels.
    half: [f64; 2],
}

/// What a part looks like, pixel by pixel.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// Middle of the region in the reference, pixels.
    middle: Point,
    /// From the whole picture to the coarsest.
    levels: Vec<Level>,
}

/// The reference at an angle.
#[derive(Default)]
pub(super) struct Turned {
    /// How far a pixel of the frame is from the middle, and how bright it should be, in [`PARTS`] of a level.
    points: Vec<([i32; 2], i32)>,
    /// The farthest of them to the sides, and up and down.
    reach: [i32; 2],
    /// Of all brightness.
    sum: i64,
    /// ... squared.
    squares: i64,
}

/// Sums over pixels: of the frame, of the reference, of both.
#[derive(Default)]
struct Sums {
    count: i64,
    seen: i64,
    seen_squares: i64,
    wanted: i64,
    wanted_squares: i64,
    products: i64,
}

impl Sums {
    /// Where the whole region lies in the picture.
    fn of_whole(turned: &Turned, picture: &GreyImage, x: i32, y: i32) -> Self {
        // About 1024 products of at most 255 and 4 * 255: far below what 32 bits hold.
        let (mut seen, mut seen_squares, mut products) = (0_i32, 0_i32, 0_i32);
        for ([dx, dy], level) in &turned.points {
            let at = (y + dy) as usize * picture.width + (x + dx) as usize;
            let luma = i32::from(picture.luma.get(at).copied().unwrap_or(0));
            seen += luma;
            seen_squares += luma * luma;
            products += luma * level;
        }
        Self {
            count: turned.points.len() as i64,
            seen: seen.into(),
            seen_squares: seen_squares.into(),
            wanted: turned.sum,
            wanted_squares: turned.squares,
            products: products.into(),
        }
    }

    /// Over what lies in the picture.
    fn of_inside(turned: &Turned, picture: &GreyImage, x: i32, y: i32) -> Self {
        let mut sums = Self::default();
        for ([dx, dy], level) in &turned.points {
            let Some(luma) = pixel(picture, x + dx, y + dy) else { continue };
            let (luma, level) = (i64::from(luma), i64::from(*level));
            sums.count += 1;
            sums.seen += luma;
            sums.seen_squares += luma * luma;
            sums.wanted += level;
            sums.wanted_squares += level * level;
            sums.products += luma * level;
        }
        sums
    }
}

impl Template {
    /// The region, which lies in the reference.
    pub(super) fn of(reference: &GreyImage, region: Region) -> Result<Self, TeachError> {
        let middle = middle_of(region);
        let mut levels: Vec<Level> = Vec::new();
        let mut picture = reference.clone();
        for number in 0..LEVELS_MAX {
            if number > 0 && region.width.min(region.height) >> number < SIDE_MIN {
                break;
            }
            let level = Level::of(&picture, region, number);
            let (found, needed) = (level.deviation(), if number == 0 { DEVIATION_MIN } else { COARSE_DEVIATION_MIN });
            if found < needed {
                if number == 0 {
                    return Err(TeachError::Plain { found, needed });
                }
                break;
            }
            levels.push(level);
            let Some(half) = picture.halved() else { break };
            picture = half;
        }
        Ok(Self { middle, levels })
    }

    /// The pose near a candidate that fits the frame's brightness best: least squares over shift, angle, and the light's factor and offset (B. D.
    /// Lucas and T. Kanade 1981; with light as in S. Baker and I. Matthews, "Lucas-Kanade 20 years on", IJCV 2004).
    ///
    /// Without `turns` the angle stays.
    pub(super) fn refined(&self, frame: &GreyImage, start: Candidate, turns: bool) -> Candidate {
        let mut pose = start;
        for round in 0..ROUNDS {
            let Some([dx, dy, turn]) = self.levels[0].correction(frame, &pose, round, turns) else {
                break;
            };
            pose.x += dx;
            pose.y += dy;
            pose.angle += turn;
            if round > 2 && dx.hypot(dy) + turn.abs() * self.radius(0) < STILL_PX {
                break;
            }
        }
        let drift = (pose.x - start.x).hypot(pose.y - start.y);
        if drift <= DRIFT_PX_MAX { pose } else { start }
    }
}

/// A pixel of the frame, and what the reference says of it.
struct Fitted {
    seen: f32,
    wanted: f32,
    /// How the reference's brightness there changes with the shift to the right, down, and the angle.
    slopes: [f32; 3],
}

impl Level {
    fn of(picture: &GreyImage, region: Region, level: usize) -> Self {
        let range = |first: u32, count: u32, side: usize| {
            let (first, last) = (at_level(f64::from(first), level), at_level(f64::from(first + count - 1), level));
            (
                first.floor().max(1.0) as usize - 1..(last.ceil() as usize + 2).min(side),
                last - first,
            )
        };
        let (columns, across) = range(region.x, region.width, picture.width);
        let (rows, down) = range(region.y, region.height, picture.height);
        let [x, y] = middle_of(region).map(|place| at_level(place, level));
        Self {
            middle: [x - columns.start as f64, y - rows.start as f64],
            half: [across / 2.0, down / 2.0],
            picture: picture.cropped(columns, rows),
        }
    }

    /// Standard deviation of its brightness, levels.
    fn deviation(&self) -> f64 {
        let turned = self.turned(0.0);
        let count = turned.points.len().max(1) as f64;
        let mean = turned.sum as f64 / count;
        (turned.squares as f64 / count - mean * mean).max(0.0).sqrt() / PARTS
    }

    /// Calls `with` for pixels around the middle that lie on it when it is turned, about so many: which, and where they are on it.
    fn each(&self, angle: f64, [right, down]: [f64; 2], most: f64, mut with: impl FnMut([i32; 2], [f64; 2])) {
        let (sin, cos) = angle.sin_cos();
        let [half_x, half_y] = self.half;
        let apart = (self.area() / most).sqrt().round().max(1.0) as usize;
        let reach = |along: f64, across: f64| (cos.abs() * along + sin.abs() * across).ceil() as i32 + 1;
        let (reach_x, reach_y) = (reach(half_x, half_y), reach(half_y, half_x));
        for row in (-reach_y..=reach_y).step_by(apart) {
            for column in (-reach_x..=reach_x).step_by(apart) {
                let (x, y) = (f64::from(column) - right, f64::from(row) - down);
                let (x, y) = (cos * x + sin * y, cos * y - sin * x);
                if x.abs() <= half_x && y.abs() <= half_y {
                    with([column, row], [x, y]);
                }
            }
        }
    }

    fn area(&self) -> f64 {
        (2.0 * self.half[0] + 1.0) * (2.0 * self.half[1] + 1.0)
    }

    fn turned(&self, angle: f64) -> Turned {
        let mut turned = Turned::default();
        self.each(angle, [0.0; 2], SEARCHED_POINTS, |at, [x, y]| {
            let level = (PARTS * self.picture.sample(self.middle[0] + x, self.middle[1] + y)).round() as i32;
            turned.points.push((at, level));
            turned.sum += i64::from(level);
            turned.squares += i64::from(level) * i64::from(level);
            turned.reach = [turned.reach[0].max(at[0].abs()), turned.reach[1].max(at[1].abs())];
        });
        turned
    }

    /// The brightness between four pixels, and how it changes to the right and down; `None` where there are none.
    fn slope_at(&self, [x, y]: Point) -> Option<(f64, [f64; 2])> {
        let (left, top) = (x as usize, y as usize);
        let pair = |row: usize| {
            let pixels = self.picture.luma.get(row * self.picture.width + left..)?.get(..2)?;
            Some([f64::from(pixels[0]), f64::from(pixels[1])])
        };
        let ([a, b], [c, d]) = (pair(top)?, pair(top + 1)?);
        let (right, down) = (x - left as f64, y - top as f64);
        let (upper, lower) = (a + right * (b - a), c + right * (d - c));
        let slopes = [(b - a) + down * ((d - c) - (b - a)), lower - upper];
        (left + 1 < self.picture.width).then_some((upper + down * (lower - upper), slopes))
    }

    /// What the whole frame shows where the part should be.
    fn fitted(&self, frame: &GreyImage, pose: &Candidate) -> Vec<Fitted> {
        let (x, y) = (pose.x.round(), pose.y.round());
        let (sin, cos) = pose.angle.sin_cos();
        let mut fitted = Vec::with_capacity(2 * FITTED_POINTS as usize);
        self.each(pose.angle, [pose.x - x, pose.y - y], FITTED_POINTS, |[dx, dy], [along, across]| {
            let Some(seen) = pixel(frame, x as i32 + dx, y as i32 + dy) else {
                return;
            };
            let Some((wanted, [right, down])) = self.slope_at([self.middle[0] + along, self.middle[1] + across]) else {
                return;
            };
            // Of the frame's axes; the part moves one way, what it shows at a pixel the other.
            let (right, down) = (cos * right - sin * down, sin * right + cos * down);
            let (from_x, from_y) = (f64::from(dx) - (pose.x - x), f64::from(dy) - (pose.y - y));
            fitted.push(Fitted {
                seen: f32::from(seen),
                wanted: wanted as f32,
                slopes: [-right, -down, right * from_y - down * from_x].map(|slope| slope as f32),
            });
        });
        fitted
    }

    /// How far to the right, down, and turned the part lies against a pose.
    fn correction(&self, frame: &GreyImage, pose: &Candidate, round: usize, turns: bool) -> Option<[f64; 3]> {
        let fitted = self.fitted(frame, pose);
        let Light { factor, offset, contrast } = light(&fitted)?;
        let off = |pixel: &Fitted| pixel.seen - factor * pixel.wanted - offset;
        // Plain pixels fit wherever the part lies: how well the others do is what counts.
        let steepness = |pixel: &Fitted| pixel.slopes[0].abs() + pixel.slopes[1].abs();
        let steep_from = fitted.iter().map(steepness).sum::<f32>() / fitted.len() as f32;
        let steep = fitted.iter().filter(|pixel| steepness(pixel) >= steep_from);
        let mut distances: Vec<f32> = steep.map(|pixel| off(pixel).abs()).collect();
        let middle = distances.len() / 2;
        if distances.is_empty() {
            return None;
        }
        let (_, median, _) = distances.select_nth_unstable_by(middle, f32::total_cmp);
        let outlying = (OUTLYING * DEVIATION_OF_MEDIAN * *median)
            .max(OUTLYING_AT_FIRST * contrast / (1 << round) as f32)
            .max(1.0);
        let mut products = SMatrix::<f64, 5, 5>::zeros();
        let mut sums = SVector::<f64, 5>::zeros();
        for pixel in &fitted {
            let off = off(pixel);
            let weight = f64::from(outlying / off.abs().max(outlying)).powi(2);
            let [x, y, turn] = pixel.slopes.map(|slope| f64::from(factor * slope));
            let slope = SVector::from([x, y, if turns { turn } else { 0.0 }, f64::from(pixel.wanted), 1.0]);
            let weighted = weight * slope;
            products += weighted * slope.transpose();
            sums += f64::from(off) * weighted;
        }
        if !turns {
            products[(2, 2)] = 1.0;
        }
        let step = products.try_inverse()? * sums;
        step.iter().all(|number| number.is_finite()).then_some([step[0], step[1], step[2]])
    }
}

/// What takes the reference's brightness to the frame's.
struct Light {
    factor: f32,
    offset: f32,
    /// Standard deviation of the reference's brightness in this light, levels.
    contrast: f32,
}

/// The light of a frame; `None` where there is nothing to tell by, or bright is dark.
fn light(fitted: &[Fitted]) -> Option<Light> {
    let count = fitted.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Fitted) -> f64| fitted.iter().map(of).sum::<f64>() / count;
    let (seen, wanted) = (mean(&|pixel| pixel.seen.into()), mean(&|pixel| pixel.wanted.into()));
    let variance = mean(&|pixel| (f64::from(pixel.wanted) - wanted).powi(2));
    let both = mean(&|pixel| (f64::from(pixel.wanted) - wanted) * (f64::from(pixel.seen) - seen));
    let factor = both / variance;
    (factor.is_finite() && factor > 0.0).then_some(Light {
        factor: factor as f32,
        offset: (seen - factor * wanted) as f32,
        contrast: (factor * variance.sqrt()) as f32,
    })
}

/// A pixel of a picture; `None` outside.
fn pixel(picture: &GreyImage, x: i32, y: i32) -> Option<u8> {
    let (column, row) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
    (column < picture.width).then(|| picture.luma.get(row * picture.width + column).copied())?
}

impl Pattern for Template {
    const HILLS_ARE_BROAD: bool = true;
    // A rival has nine tenths in the end, and brightness averages well.
    const FOLLOWED_SHARE: f64 = 0.8;

    type Picture = GreyImage;
    type Turned = Turned;

    fn middle(&self) -> Point {
        self.middle
    }

    fn levels(&self) -> usize {
        self.levels.len()
    }

    fn radius(&self, level: usize) -> f64 {
        let [x, y] = self.levels[level].half;
        x.hypot(y).max(1.0)
    }

    fn points(&self, level: usize) -> usize {
        self.levels[level].area().min(SEARCHED_POINTS) as usize
    }

    fn picture(&self, _: usize, image: &GreyImage) -> GreyImage {
        image.clone()
    }

    fn turned(&self, level: usize, angle: f64, _: &GreyImage) -> Turned {
        self.levels[level].turned(angle)
    }

    /// The correlation with what is seen, times the share of the reference that is. 0 where the frame is plain.
    fn score(turned: &Turned, picture: &GreyImage, x: i32, y: i32) -> f32 {
        let [reach_x, reach_y] = turned.reach;
        let is_whole =
            x >= reach_x && y >= reach_y && i64::from(x + reach_x) < picture.width as i64 && i64::from(y + reach_y) < picture.height as i64;
        let sums_of = if is_whole { Sums::of_whole } else { Sums::of_inside };
        let Sums {
            count,
            seen,
            seen_squares,
            wanted,
            wanted_squares,
            products,
        } = sums_of(turned, picture, x, y);
        // Each count^2 times a variance, or the covariance.
        let of_frame = count * seen_squares - seen * seen;
        let of_reference = count * wanted_squares - wanted * wanted;
        let both = count * products - seen * wanted;
        if of_reference <= 0 || (of_frame as f64) < (count as f64 * FRAME_DEVIATION_MIN).powi(2) {
            return 0.0;
        }
        let correlation = both as f64 / (of_frame as f64 * of_reference as f64).sqrt();
        (correlation * count as f64 / turned.points.len() as f64) as f32
    }
}
