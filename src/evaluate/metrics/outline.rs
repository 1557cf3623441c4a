//! Outlines of objects as COCO's files have them become masks: polygons, and run lengths as numbers or as text. Pure.
//!
//! Which pixels a polygon holds is a matter of definition at its edge; figures are comparable where they are COCO's, so this is the rule of
//! pycocotools (`rleFrPoly` in `maskApi.c`): edges are walked on a grid five times as fine, and the rows at which they cross the middle of a column
//! turn what lies below them inside out.

use super::overlap::RunLengthMask;

/// The grid that edges are walked on is so many times as fine as pixels.
const FINE: f64 = 5.0;

/// Corners lie within so many pixels of the picture's own; a polygon beyond is none. Pictures have sides of less than a sixth of it.
const PLACE_MAX: f64 = 1e5;

/// An outline as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outline {
    /// Polygons, each x, y, x, y ... of its corners; what lies in any of them.
    Polygons(Vec<Vec<f64>>),
    /// Runs of pixels, of a mask of this size.
    Runs {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// Their lengths.
        runs: Runs,
    },
}

/// Lengths of runs ([`RunLengthMask`]).
#[derive(Debug, Clone, PartialEq)]
pub enum Runs {
    /// As numbers.
    Counts(Vec<u64>),
    /// As COCO's text.
    Text(String),
}

impl Outline {
    /// The mask on a picture of this size; `None` where it is none, or of another size.
    pub fn mask(&self, width: u32, height: u32) -> Option<RunLengthMask> {
        match self {
            Self::Polygons(polygons) => {
                let masks: Option<Vec<_>> = polygons.iter().map(|polygon| polygon_mask(polygon, width, height)).collect();
                masks?.into_iter().reduce(|mask, other| mask.union(&other))
            }
            Self::Runs {
                height: rows,
                width: columns,
                runs,
            } if (*columns, *rows) == (width, height) => match runs {
                Runs::Counts(counts) => RunLengthMask::from_runs(width, height, counts.clone()),
                Runs::Text(text) => RunLengthMask::from_text(width, height, text),
            },
            Self::Runs { .. } => None,
        }
    }
}

/// The pixels of one polygon.
fn polygon_mask(corners: &[f64], width: u32, height: u32) -> Option<RunLengthMask> {
    let (corners, rest) = corners.as_chunks::<2>();
    let is_polygon = rest.is_empty() && corners.len() >= 3 && corners.as_flattened().iter().all(|place| place.abs() <= PLACE_MAX);
    if !is_polygon {
        return None;
    }
    // To whole steps of the fine grid, halves and what is below zero towards zero.
    let fine: Vec<[i64; 2]> = corners
        .iter()
        .map(|corner| corner.map(|place| (FINE * place + 0.5) as i64))
        .collect();
    let ends = fine.iter().cycle().skip(1);
    let boundary: Vec<[i64; 2]> = fine.iter().zip(ends).flat_map(|(start, end)| walked(*start, *end)).collect();
    let mut turns: Vec<u64> = boundary
        .windows(2)
        .filter_map(|step| crossing(step[0], step[1], width, height))
        .map(|(x, y)| x * u64::from(height) + y)
        .collect();
    turns.sort_unstable();
    // Between two turns pixels are all inside or all outside; two at one place undo each other, which leaves a run of nothing.
    turns.push(u64::from(width) * u64::from(height));
    let starts = std::iter::once(0).chain(turns.iter().copied());
    let runs = starts.zip(&turns).map(|(start, end)| end - start).collect();
    RunLengthMask::from_runs(width, height, runs)
}

/// Every step of an edge, both ends included. It is walked in the direction of rising coordinates whichever way round the polygon goes, so that
/// neighbours share their edge.
fn walked(start: [i64; 2], end: [i64; 2]) -> Vec<[i64; 2]> {
    let across = (end[0] - start[0]).abs();
    let down = (end[1] - start[1]).abs();
    let (along, steps) = if across >= down { (0, across) } else { (1, down) };
    let is_reversed = start[along] > end[along];
    let (from, to) = if is_reversed { (end, start) } else { (start, end) };
    let other = 1 - along;
    let slope = if steps == 0 {
        0.0
    } else {
        (to[other] - from[other]) as f64 / steps as f64
    };
    let at = |step: i64| {
        let mut place = [0; 2];
        place[along] = from[along] + step;
        place[other] = (from[other] as f64 + slope * step as f64 + 0.5) as i64;
        place
    };
    (0..=steps).map(|step| at(if is_reversed { steps - step } else { step })).collect()
}

/// The pixel, by column and row, at which a step crosses the middle of a column.
fn crossing(from: [i64; 2], to: [i64; 2], width: u32, height: u32) -> Option<(u64, u64)> {
    if from[0] == to[0] {
        return None;
    }
    let coarse = |fine: i64| (fine as f64 + 0.5) / FINE - 0.5;
    let x = coarse(if to[0] < from[0] { to[0] } else { to[0] - 1 });
    if x.fract() != 0.0 || x < 0.0 || x > f64::from(width) - 1.0 {
        return None;
    }
    let y = coarse(to[1].min(from[1])).clamp(0.0, f64::from(height)).ceil();
    Some((x as u64, y as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::overlap::Shape;
    use serde_json::Value;

    /// What pycocotools made of polygons; by `tests/fixtures/coco_pycocotools.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/coco_pycocotools.json"));

    #[test]
    fn polygons_hold_the_pixels_that_pycocotools_says() {
        let foreign: Value = serde_json::from_str(FOREIGN).unwrap();
        let cases = foreign["polygons"].as_array().unwrap();
        assert!(cases.len() >= 100, "{}", cases.len());
        for case in cases {
            let polygons: Vec<Vec<f64>> = serde_json::from_value(case["polygons"].clone()).unwrap();
            let [height, width] = [0, 1].map(|at| case["size"][at].as_u64().unwrap() as u32);
            let expected = RunLengthMask::from_text(width, height, case["counts"].as_str().unwrap()).unwrap();
            let mask = Outline::Polygons(polygons).mask(width, height).unwrap();
            assert_eq!(mask.pixels(), expected.pixels(), "{case}");
        }
    }

    #[test]
    fn what_is_no_outline_is_no_mask() {
        let none = [
            Outline::Polygons(vec![]),
            Outline::Polygons(vec![vec![1.0, 1.0, 5.0, 5.0]]),
            Outline::Polygons(vec![vec![1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0]]),
            Outline::Polygons(vec![vec![1.0, 1.0, 5.0, f64::NAN, 5.0, 5.0]]),
            Outline::Polygons(vec![vec![1.0, 1.0, 5.0, 1e300, 5.0, 5.0]]),
            Outline::Runs {
                height: 2,
                width: 2,
                runs: Runs::Counts(vec![1, 2]),
            },
            Outline::Runs {
                height: 3,
                width: 2,
                runs: Runs::Counts(vec![1, 5]),
            },
            Outline::Runs {
                height: 2,
                width: 2,
                runs: Runs::Text("P".into()),
            },
        ];
        for outline in none {
            assert_eq!(outline.mask(2, 2), None, "{outline:?}");
        }
        let half = Outline::Runs {
            height: 2,
            width: 2,
            runs: Runs::Counts(vec![2, 2]),
        };
        assert_eq!(half.mask(2, 2).unwrap().area() as u32, 2);
    }
}
