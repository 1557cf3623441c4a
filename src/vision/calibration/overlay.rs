//! The picture that people look at: the points as they were found, the order they come in, and the grid as lens and plane show it.

use super::estimate::Grid;
use super::{Calibration, Point};
use crate::vision::Image;

const FOUND: [u8; 3] = [0, 220, 90];
const FIRST: [u8; 3] = [255, 60, 40];
const EXPECTED: [u8; 3] = [40, 150, 255];
const OFF: [u8; 3] = [255, 200, 0];

/// How much longer than it is the way from a point to where it should be is drawn.
const OFF_SCALE: f64 = 50.0;

/// Straight pieces from one point of the grid to the next, so that bent lines look bent.
const PIECES: usize = 8;

/// Draws the lines of the grid that `view` shows as lens and plane have them (blue), the points found (green crosses, the first one red, and a
/// red line along the first row), and how far off each is, 50 times as long (yellow).
pub fn render(image: &Image, view: &Calibration, grid: &Grid, points: &[Point], residuals_px: &[Point]) -> Image {
    let mut picture = image.clone();
    let mm = |column: f64, row: f64| view.to_px([column * grid.pitch_mm, row * grid.pitch_mm]);
    let mut curve = |from: Point, to: Point, pieces: usize| {
        let place = |step: usize| {
            let share = step as f64 / pieces as f64;
            mm(from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]))
        };
        for step in 0..pieces {
            if let (Some(a), Some(b)) = (place(step), place(step + 1)) {
                line(&mut picture, a, b, EXPECTED);
            }
        }
    };
    let (last_column, last_row) = (grid.columns as f64 - 1.0, grid.rows as f64 - 1.0);
    for row in 0..grid.rows {
        curve([0.0, row as f64], [last_column, row as f64], PIECES * grid.columns);
    }
    for column in 0..grid.columns {
        curve([column as f64, 0.0], [column as f64, last_row], PIECES * grid.rows);
    }
    let arm = (f64::from(image.width.max(image.height)) / 250.0).max(3.0);
    if let (Some(first), Some(end)) = (points.first(), points.get(grid.columns - 1)) {
        line(&mut picture, *first, *end, FIRST);
    }
    for (index, (point, off)) in points.iter().zip(residuals_px).enumerate() {
        let [x, y] = *point;
        line(&mut picture, *point, [x + OFF_SCALE * off[0], y + OFF_SCALE * off[1]], OFF);
        let colour = if index == 0 { FIRST } else { FOUND };
        line(&mut picture, [x - arm, y], [x + arm, y], colour);
        line(&mut picture, [x, y - arm], [x, y + arm], colour);
    }
    picture
}

/// A line of a pixel's width; what lies outside is left out.
fn line(picture: &mut Image, a: Point, b: Point, colour: [u8; 3]) {
    let longer = f64::from(picture.width.max(picture.height));
    let steps = (b[0] - a[0]).abs().max((b[1] - a[1]).abs()).min(4.0 * longer).ceil().max(1.0);
    for step in 0..=steps as usize {
        let share = step as f64 / steps;
        let (x, y) = ((a[0] + share * (b[0] - a[0])).round(), (a[1] + share * (b[1] - a[1])).round());
        if x >= 0.0 && y >= 0.0 && x < f64::from(picture.width) && y < f64::from(picture.height) {
            let start = 3 * (y as usize * picture.width as usize + x as usize);
            picture.rgb[start..start + 3].copy_from_slice(&colour);
        }
    }
}
