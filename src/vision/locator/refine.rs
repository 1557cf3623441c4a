//! A pose to a fraction of a pixel: each edge is measured along its normal, and the pose that fits all of them best is taken.

use nalgebra::{Matrix3, Vector3};

use super::Point;
use super::search::Candidate;
use super::shape::Shape;
use crate::vision::grey::GreyImage;

/// How far from where it should be an edge is looked for, pixels.
const REACH_PX: isize = 3;

/// Least rise of brightness of an edge, levels per pixel.
const RISE_MIN: f64 = 2.0;

/// Rounds of measuring and moving. The pose is near when it begins; each round measures nearer to the edges.
const ROUNDS: usize = 6;

/// Edges that lie farther off than this say less, pixels (Huber).
const OUTLYING_PX: f64 = 0.5;

/// Edges without which a pose stays as it is.
const EDGES_MIN: usize = 12;

/// How far along a direction it gets bright fastest, pixels; `None` where it does not within reach.
pub(super) fn edge_along(image: &GreyImage, [x, y]: Point, [dx, dy]: Point) -> Option<f64> {
    const COUNT: usize = 2 * REACH_PX as usize + 3;
    let reach = (REACH_PX + 2) as f64;
    let is_inside = x >= reach && y >= reach && x <= image.width as f64 - 1.0 - reach && y <= image.height as f64 - 1.0 - reach;
    if !is_inside {
        return None;
    }
    // A profile across the edge, averaged over three pixels along it.
    let profile: [f64; COUNT] = std::array::from_fn(|index| {
        let step = index as f64 - (REACH_PX + 1) as f64;
        let sample = |side: f64| image.sample(x + step * dx - side * dy, y + step * dy + side * dx);
        (sample(-1.0) + sample(0.0) + sample(1.0)) / 3.0
    });
    let rise = |index: usize| (profile[index + 2] - profile[index]) / 2.0;
    let steepest = (1..COUNT - 3).max_by(|a, b| rise(*a).total_cmp(&rise(*b)))?;
    let (before, here, after) = (rise(steepest - 1), rise(steepest), rise(steepest + 1));
    let bend = before - 2.0 * here + after;
    if here < RISE_MIN || here < before || here < after || bend >= 0.0 {
        return None;
    }
    let between = (before - after) / (2.0 * bend);
    Some(steepest as f64 - REACH_PX as f64 + between)
}

/// The pose near a candidate that fits the edges best.
///
/// Without `turns` the angle stays: the edges of a round part do not tell it.
pub(super) fn refined(shape: &Shape, frame: &GreyImage, start: Candidate, turns: bool) -> Candidate {
    let mut pose = start;
    for _ in 0..ROUNDS {
        let Some([dx, dy, turn]) = correction(shape, frame, &pose, turns) else {
            break;
        };
        pose.x += dx;
        pose.y += dy;
        pose.angle += turn;
    }
    // What drifted away from where the search saw it was drawn by something else.
    let drift = (pose.x - start.x).hypot(pose.y - start.y);
    if drift <= 2.0 * REACH_PX as f64 { pose } else { start }
}

fn correction(shape: &Shape, frame: &GreyImage, pose: &Candidate, turns: bool) -> Option<[f64; 3]> {
    let (sin, cos) = pose.angle.sin_cos();
    let mut products = Matrix3::zeros();
    let mut sums = Vector3::zeros();
    let mut count = 0;
    for point in &shape.measured {
        let ([x, y], [towards_x, towards_y]) = (point.at.map(f64::from), point.towards.map(f64::from));
        let from_middle = [cos * x - sin * y, sin * x + cos * y];
        let towards = [cos * towards_x - sin * towards_y, sin * towards_x + cos * towards_y];
        let Some(off) = edge_along(frame, [pose.x + from_middle[0], pose.y + from_middle[1]], towards) else {
            continue;
        };
        // How far the edge moves along its normal with the shift and the angle.
        let lever = from_middle[0] * towards[1] - from_middle[1] * towards[0];
        let slope = Vector3::new(towards[0], towards[1], if turns { lever } else { 0.0 });
        let weight = (OUTLYING_PX / off.abs().max(OUTLYING_PX)).powi(2);
        products += weight * slope * slope.transpose();
        sums += weight * off * slope;
        count += 1;
    }
    if count < EDGES_MIN {
        return None;
    }
    if !turns {
        products[(2, 2)] = 1.0;
    }
    let step = products.try_inverse()? * sums;
    step.iter().all(|number| number.is_finite()).then_some([step.x, step.y, step.z])
}
