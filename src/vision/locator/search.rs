//! From coarse to fine: all places and angles at the coarsest level, then only around the best of them, twice as finely with each level.

use super::{Point, Settings, TeachError};
use crate::vision::grey::GreyImage;

/// Comparisons of a point at the coarsest level at most: some 50 ms.
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

/// How deep a valley must be between two places of their own, as a share of the lower one's score.
const VALLEY: f64 = 0.02;

/// Places between two in which a valley is looked for.
const WAY_STEPS: usize = 8;

/// What is searched for, in a pyramid of pictures each half as large as the one before; level 0 is the whole picture.
pub(super) trait Pattern {
    /// Whether the score falls slowly around the part: a place on the slope may then score nearly as well as the top.
    const HILLS_ARE_BROAD: bool;
    /// Share of the best's score that a place must have at a coarse level to be followed down.
    const FOLLOWED_SHARE: f64;

    /// What is made of a frame's picture at a level, to compare with.
    type Picture;
    /// The pattern at an angle, fit for pictures of one size.
    type Turned;

    /// What it turns about, in the whole reference.
    fn middle(&self) -> Point;
    /// How many levels it has, at least 1.
    fn levels(&self) -> usize;
    /// How far its farthest point is from the middle, in pixels of a level; at least 1.
    fn radius(&self, level: usize) -> f64;
    /// How many points are compared.
    fn points(&self, level: usize) -> usize;
    /// A frame at a level.
    fn picture(&self, level: usize, image: &GreyImage) -> Self::Picture;
    /// The pattern at an angle, radians.
    fn turned(&self, level: usize, angle: f64, picture: &Self::Picture) -> Self::Turned;
    /// How much the picture looks like it where its middle is at a pixel: at most 1.
    fn score(turned: &Self::Turned, picture: &Self::Picture, x: i32, y: i32) -> f32;
}

/// From a place in the whole picture to one in a level: the centres of its pixels lie between those of the level above.
pub(super) fn at_level(place: f64, level: usize) -> f64 {
    let scale = f64::from(1_u32 << level);
    (place + 0.5) / scale - 0.5
}

/// The other way.
pub(super) fn at_whole(place: f64, level: usize) -> f64 {
    let scale = f64::from(1_u32 << level);
    (place + 0.5) * scale - 0.5
}

/// How a pattern is searched for.
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
pub(super) fn step_of(pattern: &impl Pattern, level: usize) -> f64 {
    1.0 / pattern.radius(level)
}

impl Search {
    pub(super) fn new(pattern: &impl Pattern, settings: Settings) -> Result<Self, TeachError> {
        let top = pattern.levels() - 1;
        let widest = settings.angle_deg_max.to_radians();
        let each_way = (widest / step_of(pattern, top)).ceil() as i32;
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
        let steps = across * across * angles.len() * pattern.points(top);
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

    /// Places that look like the pattern, the best first. There is one at least unless the frame is too small for any.
    pub(super) fn places<P: Pattern>(&self, pattern: &P, frame: &GreyImage) -> Vec<Candidate> {
        let (crop, origin) = self.crop(pattern, frame);
        let mut pictures = vec![crop];
        for _ in 0..self.top {
            let Some(half) = pictures.last().and_then(GreyImage::halved) else {
                return Vec::new();
            };
            pictures.push(half);
        }
        let [middle_x, middle_y] = pattern.middle();
        let middle = [middle_x - origin[0] as f64, middle_y - origin[1] as f64];
        let mut found = self.coarse(pattern, middle, &pattern.picture(self.top, &pictures[self.top]));
        let finest = FINEST.min(self.top);
        for level in (finest..=self.top).rev() {
            let picture = pattern.picture(level, &pictures[level]);
            for candidate in &mut found {
                *candidate = self.finer(pattern, &picture, level, *candidate);
            }
            if level == finest {
                for candidate in &mut found {
                    *candidate = self.climbed(pattern, &picture, level, *candidate);
                }
            }
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
            if P::HILLS_ARE_BROAD {
                merge(pattern, level, &mut found);
                if level == finest {
                    found = on_tops(pattern, &picture, level, found);
                }
            }
            let best = found.first().map_or(0.0, |best| best.score);
            let mut rank = 0;
            found.retain(|candidate| {
                rank += 1;
                // The best stays, so that it can be told how good it was.
                rank == 1 || candidate.score >= (COARSE_SHARE * self.settings.score_min).max(P::FOLLOWED_SHARE * best)
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
    fn crop(&self, pattern: &impl Pattern, frame: &GreyImage) -> (GreyImage, [usize; 2]) {
        let grain = 1_usize << self.top;
        let around = pattern.radius(0) + self.settings.shift_px_max + 4.0 * grain as f64;
        let range = |middle: f64, side: usize| {
            let first = (middle - around).max(0.0) as usize / grain * grain;
            let last = ((middle + around).max(0.0).ceil() as usize).min(side);
            (first.min(last), last)
        };
        let (left, right) = range(pattern.middle()[0], frame.width);
        let (top, bottom) = range(pattern.middle()[1], frame.height);
        (frame.cropped(left..right, top..bottom), [left, top])
    }

    /// The best places of the coarsest level, in pixels of the crop.
    fn coarse<P: Pattern>(&self, pattern: &P, middle: Point, picture: &P::Picture) -> Vec<Candidate> {
        let centre = middle.map(|place| at_level(place, self.top).round() as i32);
        let across = 2 * self.reach + 1;
        let mut scores = Vec::with_capacity(self.angles.len() * (across * across) as usize);
        for angle in &self.angles {
            let at_angle = pattern.turned(self.top, *angle, picture);
            for dy in -self.reach..=self.reach {
                scores.extend((-self.reach..=self.reach).map(|dx| P::score(&at_angle, picture, centre[0] + dx, centre[1] + dy)));
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
        if P::HILLS_ARE_BROAD {
            // Else the places around the best one would leave no room for others.
            let turns = self.angles.len() as i32;
            let inside = |[dx, dy, turn]: [i32; 3]| dx.abs() <= self.reach && dy.abs() <= self.reach && (0..turns).contains(&turn);
            let index_of = |[dx, dy, turn]: [i32; 3]| ((turn * across + dy + self.reach) * across + dx + self.reach) as usize;
            let is_top = |index: u32| {
                let [x, y, turn] = place(index);
                let around = (0..27).map(|beside| [x + beside % 3 - 1, y + beside / 3 % 3 - 1, turn + beside / 9 - 1]);
                around
                    .filter(|beside| inside(*beside))
                    .all(|beside| scores[index_of(beside)] <= scores[index as usize])
            };
            order.retain(|index| is_top(*index));
        }
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
    fn climbed<P: Pattern>(&self, pattern: &P, picture: &P::Picture, level: usize, from: Candidate) -> Candidate {
        let mut best = from;
        for _ in 0..CLIMB_MAX {
            let next = self.finer(pattern, picture, level, best);
            if next.score <= best.score {
                break;
            }
            best = next;
        }
        best
    }

    /// The best place within two pixels and two steps of the angle at a level.
    fn finer<P: Pattern>(&self, pattern: &P, picture: &P::Picture, level: usize, from: Candidate) -> Candidate {
        let step = step_of(pattern, level);
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
            let at_angle = pattern.turned(level, angle, picture);
            for dy in -2..=2 {
                for dx in -2..=2 {
                    let score = f64::from(P::score(&at_angle, picture, x + dx, y + dy));
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

/// Keeps the best of places that came to lie together.
fn merge(pattern: &impl Pattern, level: usize, found: &mut Vec<Candidate>) {
    let (near_px, near_rad) = (2.0 * f64::from(1_u32 << level), 2.0 * step_of(pattern, level));
    let mut apart: Vec<Candidate> = Vec::with_capacity(found.len());
    for candidate in found.drain(..) {
        let is_near = |other: &Candidate| super::distance(other, &candidate) <= near_px && super::turn(other, &candidate) <= near_rad;
        if !apart.iter().any(is_near) {
            apart.push(candidate);
        }
    }
    *found = apart;
}

/// Without places on the slope of a better one: from there it only goes uphill. Where a place is as good as the better one, it stays all the same.
fn on_tops<P: Pattern>(pattern: &P, picture: &P::Picture, level: usize, found: Vec<Candidate>) -> Vec<Candidate> {
    let score = |from: &Candidate, to: &Candidate, share: f64| {
        let between = |a: f64, b: f64| a + share * (b - a);
        let turned = pattern.turned(level, between(from.angle, to.angle), picture);
        let pixel = |a: f64, b: f64| at_level(between(a, b), level).round() as i32;
        f64::from(P::score(&turned, picture, pixel(from.x, to.x), pixel(from.y, to.y)))
    };
    let mut tops: Vec<Candidate> = Vec::with_capacity(found.len());
    for candidate in found {
        let is_slope_of = |top: &Candidate| {
            let way = (1..WAY_STEPS).map(|step| score(&candidate, top, step as f64 / WAY_STEPS as f64));
            candidate.score < (1.0 - VALLEY / 2.0) * top.score && way.fold(f64::INFINITY, f64::min) > (1.0 - VALLEY) * candidate.score
        };
        if !tops.iter().any(is_slope_of) {
            tops.push(candidate);
        }
    }
    tops
}
