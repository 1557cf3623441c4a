//! Edges of the reference: where the gradient is strongest along its own direction.

use super::gradient::{Directions, gradient};
use super::refine::edge_along;
use super::search::{Pattern, at_level};
use super::{LEVELS_MAX, Point, SIDE_MIN, TeachError, middle_of};
use crate::part::Region;
use crate::vision::grey::GreyImage;

/// Edge points without which a shape says nothing.
pub(super) const POINTS_MIN: usize = 48;

/// Edge points that are kept of a level; a few hundred place a part as well as all of them.
const POINTS_MAX: usize = 250;

/// Edge points that are kept for measuring.
const MEASURED_MAX: usize = 600;

/// A gradient is an edge from this share of the strong ones on.
const EDGE_SHARE: f32 = 0.3;

/// Which of the gradients, sorted, is a strong one.
const STRONG: f32 = 0.98;

/// Least gradient of an edge, levels per pixel: above the noise of a camera (5 levels make 2).
const EDGE_MIN: f32 = 5.0;

/// Least gradient in a frame, as a share of that in the reference: half the light, and an edge half as sharp.
const FRAME_SHARE: f32 = 0.25;

/// An edge point: where it is, from the middle of the region, and the direction in which it gets brighter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EdgePoint {
    pub(super) at: [f32; 2],
    pub(super) towards: [f32; 2],
}

/// The edges at one level of the pyramid, in its pixels.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub(super) points: Vec<EdgePoint>,
    /// Farthest point from the middle.
    pub(super) radius: f64,
    /// Gradient below which nothing in a frame has a direction, levels per pixel.
    pub(super) least: f32,
}

/// What a part looks like.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Middle of the region in the reference, pixels.
    pub(super) middle: Point,
    /// From the whole picture to the coarsest.
    pub(super) levels: Vec<Level>,
    /// Points of the whole picture, exactly on their edges.
    pub(super) measured: Vec<EdgePoint>,
}

/// A shape at an angle, its points as distances in the memory of directions.
pub(super) struct Turned {
    points: Vec<(isize, [f32; 2])>,
}

impl Pattern for Shape {
    const HILLS_ARE_BROAD: bool = false;
    // Where pixels and angles are rounded most, the part itself may lose a third.
    const FOLLOWED_SHARE: f64 = 0.7;

    type Picture = Directions;
    type Turned = Turned;

    fn middle(&self) -> Point {
        self.middle
    }

    fn levels(&self) -> usize {
        self.levels.len()
    }

    fn radius(&self, level: usize) -> f64 {
        self.levels[level].radius
    }

    fn points(&self, level: usize) -> usize {
        self.levels[level].points.len()
    }

    fn picture(&self, level: usize, image: &GreyImage) -> Directions {
        let Level { radius, least, .. } = self.levels[level];
        Directions::of(image, least, radius.ceil() as usize + 2)
    }

    fn turned(&self, level: usize, angle: f64, directions: &Directions) -> Turned {
        let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
        let turn = |[x, y]: [f32; 2]| [cos * x - sin * y, sin * x + cos * y];
        let place = |point: &EdgePoint| {
            let [x, y] = turn(point.at).map(|place| place.round() as i32);
            // A point that reaches beyond the margin would be seen in another row.
            let margin = directions.margin() as i32;
            (x.abs() <= margin && y.abs() <= margin).then(|| (directions.offset(x, y), turn(point.towards)))
        };
        Turned {
            points: self.levels[level].points.iter().filter_map(place).collect(),
        }
    }

    /// How well the directions agree: the mean of their products.
    fn score(turned: &Turned, directions: &Directions, x: i32, y: i32) -> f32 {
        let Some(middle) = directions.index(x, y) else { return 0.0 };
        let agreement = |(offset, towards): &(isize, [f32; 2])| {
            let [dx, dy] = directions.at(middle.wrapping_add_signed(*offset));
            dx * towards[0] + dy * towards[1]
        };
        turned.points.iter().map(agreement).sum::<f32>() / turned.points.len().max(1) as f32
    }
}

impl Shape {
    /// The edges of a region that lies in the reference.
    pub(super) fn of(reference: &GreyImage, region: Region) -> Result<Self, TeachError> {
        let middle = middle_of(region);
        let mut levels: Vec<Level> = Vec::new();
        let mut measured = Vec::new();
        let mut picture = reference.clone();
        for level in 0..LEVELS_MAX {
            if level > 0 && region.width.min(region.height) >> level < SIDE_MIN {
                break;
            }
            let (points, least) = edges(&picture, region, middle, level);
            if points.len() < POINTS_MIN {
                if level == 0 {
                    return Err(TeachError::FewEdges {
                        found: points.len(),
                        needed: POINTS_MIN,
                    });
                }
                break;
            }
            if level == 0 {
                measured = thinned(&points, MEASURED_MAX)
                    .into_iter()
                    .filter_map(|point| on_its_edge(reference, middle, point))
                    .collect();
            }
            let points = thinned(&points, POINTS_MAX);
            let radius = points
                .iter()
                .map(|point| f64::from(point.at[0].hypot(point.at[1])))
                .fold(1.0, f64::max);
            levels.push(Level { points, radius, least });
            let Some(half) = picture.halved() else { break };
            picture = half;
        }
        Ok(Self { middle, levels, measured })
    }
}

/// Every so many, so that at most `most` are left, evenly spread.
fn thinned(points: &[EdgePoint], most: usize) -> Vec<EdgePoint> {
    let count = points.len().min(most);
    (0..count).map(|index| points[index * points.len() / count]).collect()
}

/// The edge points of a region at a level, and the least gradient in a frame.
fn edges(picture: &GreyImage, region: Region, middle: Point, level: usize) -> (Vec<EdgePoint>, f32) {
    let lower = |place: u32| at_level(f64::from(place), level).ceil().max(1.0) as usize;
    let upper = |place: u32, side: usize| (at_level(f64::from(place), level).floor() as usize + 1).min(side - 1);
    let columns = lower(region.x)..upper(region.x + region.width - 1, picture.width);
    let rows = lower(region.y)..upper(region.y + region.height - 1, picture.height);
    let strength = |x: usize, y: usize| {
        let [dx, dy] = gradient(picture, x, y);
        dx.hypot(dy)
    };
    let mut strengths: Vec<f32> = rows
        .clone()
        .flat_map(|y| columns.clone().map(move |x| (x, y)))
        .map(|(x, y)| strength(x, y))
        .collect();
    strengths.sort_by(f32::total_cmp);
    let strong = strengths.get((STRONG * strengths.len() as f32) as usize).copied().unwrap_or(0.0);
    let least = (EDGE_SHARE * strong).max(EDGE_MIN);
    let centre = middle.map(|place| at_level(place, level));
    let mut points = Vec::new();
    for y in rows {
        for x in columns.clone() {
            let [dx, dy] = gradient(picture, x, y);
            let here = dx.hypot(dy);
            if here < least {
                continue;
            }
            // The neighbours that the gradient points to and comes from (Canny).
            let step = |value: f32| if value.abs() > 0.383 * here { value.signum() as isize } else { 0 };
            let (ahead_x, ahead_y) = (step(dx), step(dy));
            let ahead = strength(x.saturating_add_signed(ahead_x), y.saturating_add_signed(ahead_y));
            let behind = strength(x.saturating_add_signed(-ahead_x), y.saturating_add_signed(-ahead_y));
            if here > behind && here >= ahead {
                points.push(EdgePoint {
                    at: [(x as f64 - centre[0]) as f32, (y as f64 - centre[1]) as f32],
                    towards: [dx / here, dy / here],
                });
            }
        }
    }
    (points, FRAME_SHARE * least)
}

/// The point moved along its gradient to where the edge is steepest; `None` where that is not near.
fn on_its_edge(reference: &GreyImage, middle: Point, point: EdgePoint) -> Option<EdgePoint> {
    let place = [middle[0] + f64::from(point.at[0]), middle[1] + f64::from(point.at[1])];
    let towards = point.towards.map(f64::from);
    let step = edge_along(reference, place, towards)?;
    Some(EdgePoint {
        at: [
            (f64::from(point.at[0]) + step * towards[0]) as f32,
            (f64::from(point.at[1]) + step * towards[1]) as f32,
        ],
        towards: point.towards,
    })
}
