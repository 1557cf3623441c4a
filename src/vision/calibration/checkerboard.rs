//! The inner corners of a checkerboard.
//!
//! Candidates by `ChESS` (S. Bennett and J. Lasenby, "`ChESS`: quick and robust detection of chess-board features", CVIU 118 (2014)), exact
//! places by the corner condition of W. Förstner and E. Gülch (1987): at a corner, every gradient nearby is at right angles to the way there.

use super::Point;
use super::grid::{Misfit, grow};
use crate::vision::grey::GreyImage;

/// Halvings of the picture that are tried, so that corners which are blurred over many pixels are seen too.
const HALVINGS_MAX: usize = 3;

/// Candidates at most, the strongest; a checkerboard of 900 corners in front of as much clutter.
const CANDIDATES_MAX: usize = 2000;

/// Response below which nothing is a corner: squares that differ by 8 levels.
const RESPONSE_MIN: i32 = 64;

/// Share of the strongest response below which nothing is a corner: light that falls to an eighth across the target.
const RESPONSE_SHARE_MIN: i32 = 8;

/// Least difference of two squares along the edge between them, levels.
const EDGE_MIN: f64 = 6.0;

/// Radius of the neighbourhood that places a corner, in steps of the grid; beyond a half other corners would pull.
const WINDOW_SHARE: f64 = 0.3;

/// Its bounds, pixels.
const WINDOW_PX: (f64, f64) = (2.0, 18.0);

/// Steps to a corner's exact place, and when it is reached, pixels.
const REFINE_STEPS_MAX: usize = 30;
const REFINED_PX: f64 = 1e-4;

/// Sixteen places on a circle of radius 5, in order (`ChESS`, figure 3).
const RING: [(isize, isize); 16] = [
    (0, -5),
    (2, -5),
    (4, -4),
    (5, -2),
    (5, 0),
    (5, 2),
    (4, 4),
    (2, 5),
    (0, 5),
    (-2, 5),
    (-4, 4),
    (-5, 2),
    (-5, 0),
    (-5, -2),
    (-4, -4),
    (-2, -5),
];

/// Widest place on it.
const RING_RADIUS: usize = 5;

/// The corners, row by row, in pixels of the whole picture.
pub(super) fn find(image: &GreyImage, columns: usize, rows: usize) -> Result<Vec<Point>, Misfit> {
    let mut level = image.clone();
    let mut scale = 1.0;
    let mut nearest = Misfit::Nothing;
    for _ in 0..=HALVINGS_MAX {
        match find_at(&level, columns, rows) {
            Ok(corners) => {
                let whole: Vec<Point> = corners
                    .iter()
                    .map(|corner| corner.map(|place| scale * place + (scale - 1.0) / 2.0))
                    .collect();
                return Ok(exact(image, &whole, columns));
            }
            Err(misfit) => nearest = more_telling(nearest, misfit),
        }
        let Some(half) = level.halved() else { break };
        level = half;
        scale *= 2.0;
    }
    Err(nearest)
}

/// Which of two failures says more: most points, or a whole grid of another size.
fn more_telling(a: Misfit, b: Misfit) -> Misfit {
    let points = |misfit: Misfit| match misfit {
        Misfit::Nothing => 0,
        Misfit::Incomplete { found } => found,
        Misfit::OtherSize { columns, rows } => columns * rows + 1,
    };
    if points(b) > points(a) { b } else { a }
}

fn find_at(image: &GreyImage, columns: usize, rows: usize) -> Result<Vec<Point>, Misfit> {
    let candidates: Vec<Point> = candidates(image)
        .into_iter()
        .map(|corner| refined(image, corner, WINDOW_PX.0.max(4.0)).unwrap_or(corner))
        .collect();
    let joined = |a: usize, b: usize| is_edge(image, candidates[a], candidates[b]);
    let order = grow(&candidates, columns * rows, joined).ordered(&candidates, columns, rows)?;
    Ok(order.into_iter().map(|index| candidates[index]).collect())
}

/// Places that look like a corner, the strongest first.
fn candidates(image: &GreyImage) -> Vec<Point> {
    let (width, height) = (image.width, image.height);
    if width <= 2 * RING_RADIUS + 2 || height <= 2 * RING_RADIUS + 2 {
        return Vec::new();
    }
    let offsets = RING.map(|(x, y)| y * width as isize + x);
    let mut responses = vec![0_i32; width * height];
    for y in RING_RADIUS..height - RING_RADIUS {
        for x in RING_RADIUS..width - RING_RADIUS {
            responses[y * width + x] = response(&image.luma, y * width + x, width, &offsets);
        }
    }
    let strongest = responses.iter().copied().max().unwrap_or(0);
    let least = RESPONSE_MIN.max(strongest / RESPONSE_SHARE_MIN);
    let is_peak = |x: usize, y: usize| {
        let here = responses[y * width + x];
        here >= least
            && (y - 3..=y + 3).all(|row| {
                let others = &responses[row * width + x - 3..=row * width + x + 3];
                others.iter().enumerate().all(|(column, other)| {
                    // Of two equal ones the first counts.
                    *other < here || (*other == here && (row, column + x - 3) >= (y, x))
                })
            })
    };
    let mut peaks: Vec<(i32, Point)> = Vec::new();
    for y in RING_RADIUS..height - RING_RADIUS {
        for x in RING_RADIUS..width - RING_RADIUS {
            if is_peak(x, y) {
                peaks.push((responses[y * width + x], [x as f64, y as f64]));
            }
        }
    }
    peaks.sort_by_key(|(response, _)| -response);
    peaks.truncate(CANDIDATES_MAX);
    peaks.into_iter().map(|(_, corner)| corner).collect()
}

/// How much like a corner of four squares it is: opposite places alike, places a quarter apart unlike, ring and middle equally bright.
fn response(luma: &[u8], at: usize, width: usize, offsets: &[isize; 16]) -> i32 {
    let ring = offsets.map(|offset| i32::from(luma[at.wrapping_add_signed(offset)]));
    let crossed: i32 = (0..4).map(|i| (ring[i] + ring[i + 8] - ring[i + 4] - ring[i + 12]).abs()).sum();
    let unlike: i32 = (0..8).map(|i| (ring[i] - ring[i + 8]).abs()).sum();
    let middle: i32 = [at, at - 1, at + 1, at - width, at + width]
        .map(|near| i32::from(luma[near]))
        .iter()
        .sum();
    let bright = (ring.iter().sum::<i32>() - 16 * middle / 5).abs();
    crossed - unlike - bright
}

/// Whether two squares meet between two corners: one side brighter than the other all the way.
fn is_edge(image: &GreyImage, a: Point, b: Point) -> bool {
    let step = [b[0] - a[0], b[1] - a[1]];
    let aside = [-0.2 * step[1], 0.2 * step[0]];
    let differences = [0.25, 0.5, 0.75].map(|share| {
        let (x, y) = (a[0] + share * step[0], a[1] + share * step[1]);
        image.sample(x + aside[0], y + aside[1]) - image.sample(x - aside[0], y - aside[1])
    });
    let strongest = differences
        .iter()
        .fold(0.0, |strongest: f64, difference| strongest.max(difference.abs()));
    let least = EDGE_MIN.max(0.3 * strongest);
    differences.iter().all(|difference| *difference > least) || differences.iter().all(|difference| *difference < -least)
}

/// The corners to a fraction of a pixel, in the picture as it was taken.
fn exact(image: &GreyImage, corners: &[Point], columns: usize) -> Vec<Point> {
    let apart = |a: usize, b: usize| {
        let (a, b) = (corners.get(a)?, corners.get(b)?);
        Some((a[0] - b[0]).hypot(a[1] - b[1]))
    };
    let refine = |(index, corner): (usize, &Point)| {
        let column = index % columns;
        let beside = [
            (column > 0).then(|| apart(index, index.wrapping_sub(1))),
            (column + 1 < columns).then(|| apart(index, index + 1)),
            Some(apart(index, index.wrapping_sub(columns))),
            Some(apart(index, index + columns)),
        ];
        let pitch = beside.into_iter().flatten().flatten().fold(f64::INFINITY, f64::min);
        let radius = (WINDOW_SHARE * pitch).clamp(WINDOW_PX.0, WINDOW_PX.1);
        refined(image, *corner, radius).unwrap_or(*corner)
    };
    corners.iter().enumerate().map(refine).collect()
}

/// The place near `start` that all gradients within `radius` pixels are at right angles to; `None` where there is none so near.
fn refined(image: &GreyImage, start: Point, radius: f64) -> Option<Point> {
    let half = radius.ceil() as isize;
    let side = (2 * half + 3) as usize;
    let mut patch = vec![0.0; side * side];
    let mut corner = start;
    for _ in 0..REFINE_STEPS_MAX {
        for (row, values) in patch.chunks_exact_mut(side).enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                let offset = [column, row].map(|index| index as f64 - (half + 1) as f64);
                *value = image.sample(corner[0] + offset[0], corner[1] + offset[1]);
            }
        }
        let step = corner_of(&patch, side, radius)?;
        corner = [corner[0] + step[0], corner[1] + step[1]];
        if (corner[0] - start[0]).hypot(corner[1] - start[1]) > radius.max(3.0) {
            return None;
        }
        if step[0].hypot(step[1]) < REFINED_PX {
            break;
        }
    }
    Some(corner)
}

/// From the middle of a patch to its corner.
fn corner_of(patch: &[f64], side: usize, radius: f64) -> Option<Point> {
    let middle = (side / 2) as f64;
    let (mut xx, mut xy, mut yy, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for row in 1..side - 1 {
        for column in 1..side - 1 {
            let (x, y) = (column as f64 - middle, row as f64 - middle);
            let weight = (-(x * x + y * y) / (radius * radius)).exp();
            let at = row * side + column;
            // Sobel: a difference of three pixels has less noise than one.
            let across = |at: usize, step: usize, aside: usize| {
                let difference = |at: usize| patch[at + step] - patch[at - step];
                difference(at - aside) + 2.0 * difference(at) + difference(at + aside)
            };
            let (dx, dy) = (across(at, 1, side), across(at, side, 1));
            xx += weight * dx * dx;
            xy += weight * dx * dy;
            yy += weight * dy * dy;
            x_sum += weight * (dx * dx * x + dx * dy * y);
            y_sum += weight * (dx * dy * x + dy * dy * y);
        }
    }
    let determinant = xx * yy - xy * xy;
    // Gradients of one direction only are an edge, not a corner.
    if determinant <= 1e-3 * (xx + yy) * (xx + yy) {
        return None;
    }
    Some([(yy * x_sum - xy * y_sum) / determinant, (xx * y_sum - xy * x_sum) / determinant])
}
