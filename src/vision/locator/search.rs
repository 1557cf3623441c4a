//! From coarse to fine: all places and angles at the coarsest level, then only around the best of them, twice as finely with each level.

use super::gradient::Directions;
use super::shape::{EdgePoint, Shape, at_level, at_whole};
use super::{Settings, TeachError};
use crate::vision::grey::GreyImage;

/// Comparisons of a gradient at the coarsest level at most: some 50 ms.
const STEPS_MAX: usize = 40_000_000;

/// Places that are followed down at most, the best.
const CANDIDATES_MAX: usize = 12;

/// Share of the least score that a place must have at a coarse level, where pixels and angles are rounded most.
const COARSE_SHARE: f64 = 0.7;

/// How near to a better place another one is not looked at, pixels and steps of the angle at the coarsest level.
const PEAK_RADIUS: i32 = 2;

/// The finest level that is searched; below it, edges are measured.
const FINEST: usize = 1;

/// Steps uphill at the finest level at most, each of two pixels or two steps of the angle.
const CLIMB_MAX: usize = 8;

/// A place and an angle in the whole picture: where the middle of the region lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Radians.
    pub(super) angle: f64,
    pub(super) score: f64,
}

/// How a shape is searched for.
#[derive(Debug, Clone)]
pub(super) struct Search {
    settings: Settings,
    top: usize,
    /// At the coarsest level: the angles, radians.
    angles: Vec<f64>,
    /// At the coarsest level: places to each side.
    reach: i32,
}

/// The angle that moves the farthest point by a pixel.
fn step_of(shape: &Shape, level: usize) -> f64 {
    1.0 / shape.levels[level].radius
}

/// A point turned: its whole pixels, and its direction.
fn turned(point: &EdgePoint, (sin, cos): (f32, f32)) -> ([i32; 2], [f32; 2]) {
    let turn = |[x, y]: [f32; 2]| [cos * x - sin * y, sin * x + cos * y];
    (turn(point.at).map(|place| place.round() as i32), turn(point.towards))
}

impl Search {
    pub(super) fn new(shape: &Shape, settings: Settings) -> Result<Self, TeachError> {
        let top = shape.levels.len() - 1;
        let widest = settings.angle_deg_max.to_radians();
        let each_way = (widest / step_of(shape, top)).ceil() as i32;
        let angles: Vec<f64> = (-each_way..=each_way)
            .map(|index| {
                if each_way == 0 {
                    0.0
                } else {
                    widest * f64::from(index) / f64::from(each_way)
                }
            })
            .collect();
        let reach = (settings.shift_px_max / f64::from(1_u32 << top)).ceil() as i32;
        let across = 2 * reach as usize + 1;
        let steps = across * across * angles.len() * shape.levels[top].points.len();
        if steps > STEPS_MAX {
            return Err(TeachError::TooWide {
                shift_px_max: settings.shift_px_max,
                angle_deg_max: settings.angle_deg_max,
                steps,
                limit: STEPS_MAX,
            });
        }
        Ok(Self {
            settings,
            top,
            angles,
            reach,
        })
    }

    /// Places that look like the shape, the best first. There is one at least unless the frame is too small for any.
    pub(super) fn places(&self, shape: &Shape, frame: &GreyImage) -> Vec<Candidate> {
        let (crop, origin) = self.crop(shape, frame);
        let mut pictures = vec![crop];
        for _ in 0..self.top {
            let Some(half) = pictures.last().and_then(GreyImage::halved) else {
                return Vec::new();
            };
            pictures.push(half);
        }
        let directions = |level: usize| {
            let margin = shape.levels[level].radius.ceil() as usize + 2;
            Directions::of(&pictures[level], shape.levels[level].least, margin)
        };
        let middle = [shape.middle[0] - origin[0] as f64, shape.middle[1] - origin[1] as f64];
        let mut found = self.coarse(shape, middle, &directions(self.top));
        let finest = FINEST.min(self.top);
        for level in (finest..=self.top).rev() {
            let directions = directions(level);
            for candidate in &mut found {
                *candidate = self.finer(shape, &directions, level, *candidate);
            }
            if level == finest {
                for candidate in &mut found {
                    *candidate = self.climbed(shape, &directions, level, *candidate);
                }
            }
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
            let best = found.first().map_or(0.0, |best| best.score);
            let mut rank = 0;
            found.retain(|candidate| {
                rank += 1;
                // The best stays, so that it can be told how good it was.
                rank == 1 || candidate.score >= COARSE_SHARE * best.max(self.settings.score_min)
            });
        }
        let (x, y) = (origin[0] as f64, origin[1] as f64);
        let mut distinct: Vec<Candidate> = Vec::new();
        for candidate in found {
            let candidate = Candidate {
                x: candidate.x + x,
                y: candidate.y + y,
                ..candidate
            };
            if !distinct.iter().any(|other| super::is_same(other, &candidate)) {
                distinct.push(candidate);
            }
        }
        distinct
    }

    /// What of the frame the search can reach, and where that begins; whole pixels of the coarsest level.
    fn crop(&self, shape: &Shape, frame: &GreyImage) -> (GreyImage, [usize; 2]) {
        let grain = 1_usize << self.top;
        let around = shape.levels[0].radius + self.settings.shift_px_max + 4.0 * grain as f64;
        let range = |middle: f64, side: usize| {
            let first = (middle - around).max(0.0) as usize / grain * grain;
            let last = ((middle + around).max(0.0).ceil() as usize).min(side);
            (first.min(last), last)
        };
        let (left, right) = range(shape.middle[0], frame.width);
        let (top, bottom) = range(shape.middle[1], frame.height);
        let mut luma = Vec::with_capacity((right - left) * (bottom - top));
        for row in frame.luma.chunks_exact(frame.width.max(1)).take(bottom).skip(top) {
            luma.extend_from_slice(&row[left..right]);
        }
        let crop = GreyImage {
            width: right - left,
            height: bottom - top,
            luma,
        };
        (crop, [left, top])
    }

    /// The best places of the coarsest level, in pixels of the crop.
    fn coarse(&self, shape: &Shape, middle: [f64; 2], directions: &Directions) -> Vec<Candidate> {
        let level = &shape.levels[self.top];
        let centre = middle.map(|place| at_level(place, self.top).round() as i32);
        let across = 2 * self.reach + 1;
        let mut scores = Vec::with_capacity(self.angles.len() * (across * across) as usize);
        for angle in &self.angles {
            let at_angle = Turned::new(&level.points, *angle, directions);
            for dy in -self.reach..=self.reach {
                scores.extend((-self.reach..=self.reach).map(|dx| at_angle.score(directions, centre[0] + dx, centre[1] + dy)));
            }
        }
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        let best = scores.iter().copied().fold(0.0, f32::max);
        let least = (COARSE_SHARE * self.settings.score_min) as f32;
        order.retain(|index| scores[*index as usize] >= least.min(best));
        order.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
        let place = |index: u32| {
            let index = index as i32;
            [
                index % across - self.reach,
                index / across % across - self.reach,
                index / (across * across),
            ]
        };
        let mut peaks: Vec<[i32; 3]> = Vec::new();
        let mut found = Vec::new();
        for index in order {
            let [dx, dy, turn] = place(index);
            let is_near = |peak: &[i32; 3]| {
                (peak[0] - dx).abs() <= PEAK_RADIUS && (peak[1] - dy).abs() <= PEAK_RADIUS && (peak[2] - turn).abs() <= PEAK_RADIUS
            };
            if peaks.iter().any(is_near) {
                continue;
            }
            peaks.push([dx, dy, turn]);
            found.push(Candidate {
                x: at_whole(f64::from(centre[0] + dx), self.top),
                y: at_whole(f64::from(centre[1] + dy), self.top),
                angle: self.angles[turn as usize],
                score: f64::from(scores[index as usize]),
            });
            if found.len() == CANDIDATES_MAX {
                break;
            }
        }
        found
    }

    /// The top of the hill that a place lies on: the flank of a peak is no place of its own.
    fn climbed(&self, shape: &Shape, directions: &Directions, level: usize, from: Candidate) -> Candidate {
        let mut best = from;
        for _ in 0..CLIMB_MAX {
            let next = self.finer(shape, directions, level, best);
            if next.score <= best.score {
                break;
            }
            best = next;
        }
        best
    }

    /// The best place within two pixels and two steps of the angle at a level.
    fn finer(&self, shape: &Shape, directions: &Directions, level: usize, from: Candidate) -> Candidate {
        let step = step_of(shape, level);
        // Around the outermost angle there is as much to look at as around any other.
        let widest = match self.settings.angle_deg_max.to_radians() {
            widest if widest > 0.0 => widest + step,
            none => none,
        };
        let (x, y) = (at_level(from.x, level).round() as i32, at_level(from.y, level).round() as i32);
        let mut best = Candidate {
            score: f64::NEG_INFINITY,
            ..from
        };
        for turn in -2..=2 {
            let angle = from.angle + f64::from(turn) * step;
            if turn != 0 && angle.abs() > widest {
                continue;
            }
            let at_angle = Turned::new(&shape.levels[level].points, angle, directions);
            for dy in -2..=2 {
                for dx in -2..=2 {
                    let score = f64::from(at_angle.score(directions, x + dx, y + dy));
                    if score > best.score {
                        best = Candidate {
                            x: at_whole(f64::from(x + dx), level),
                            y: at_whole(f64::from(y + dy), level),
                            angle,
                            score,
                        };
                    }
                }
            }
        }
        best
    }
}

/// A shape at an angle, its points as distances in the memory of directions.
struct Turned {
    points: Vec<(isize, [f32; 2])>,
}

impl Turned {
    fn new(points: &[EdgePoint], angle: f64, directions: &Directions) -> Self {
        let turn = (angle.sin() as f32, angle.cos() as f32);
        let place = |point: &EdgePoint| {
            let ([x, y], towards) = turned(point, turn);
            // A point that reaches beyond the margin would be seen in another row.
            let margin = directions.margin() as i32;
            (x.abs() <= margin && y.abs() <= margin).then(|| (directions.offset(x, y), towards))
        };
        Self {
            points: points.iter().filter_map(place).collect(),
        }
    }

    /// How well the directions agree where the middle is at a pixel: the mean of their products.
    fn score(&self, directions: &Directions, x: i32, y: i32) -> f32 {
        let Some(middle) = directions.index(x, y) else { return 0.0 };
        let agreement = |(offset, towards): &(isize, [f32; 2])| {
            let [dx, dy] = directions.at(middle.wrapping_add_signed(*offset));
            dx * towards[0] + dy * towards[1]
        };
        self.points.iter().map(agreement).sum::<f32>() / self.points.len().max(1) as f32
    }
}
