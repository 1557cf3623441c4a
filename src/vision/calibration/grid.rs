//! Loose points become columns and rows: from one point to its neighbours, and from those to theirs, each looked for where the last step leads.

use std::collections::{BTreeMap, VecDeque};

use super::Point;

/// Points that a grid is begun at, one after the other, until one leads to all of it.
const SEEDS_MAX: usize = 64;

/// How far from where it should be a neighbour may lie, as a share of the step. Perspective and lens change the step by a few percent from one
/// point to the next; at a half the neighbour's neighbour would do as well.
const STRAY_MAX: f64 = 0.3;

/// How long the step along one axis may be, in steps along the other: a target tilted by 60 degrees.
const STEP_RATIO_MAX: f64 = 2.0;

/// Cosine of the least angle between the axes of a grid, 45 degrees.
const AXES_COSINE_MAX: f64 = 0.71;

/// Points nearest to a seed that may be its neighbours.
const NEIGHBOURS_MAX: usize = 8;

/// What grew, before anybody asked for a size.
#[derive(Debug, Clone, Default)]
pub(super) struct Grown {
    /// Indices of the points by column and row, from 0.
    places: BTreeMap<(i32, i32), usize>,
}

/// Why a grid is not the one that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// Hardly anything fits together.
    Nothing,
    /// All of a grid of another size.
    OtherSize {
        /// Its columns.
        columns: usize,
        /// Its rows.
        rows: usize,
    },
    /// A part of the grid.
    Incomplete {
        /// Points found.
        found: usize,
    },
}

impl Grown {
    /// Columns and rows that it reaches over.
    fn size(&self) -> (usize, usize) {
        let span = |axis: fn(&(i32, i32)) -> i32| {
            let least = self.places.keys().map(axis).min().unwrap_or(0);
            let most = self.places.keys().map(axis).max().unwrap_or(-1);
            (most - least + 1) as usize
        };
        (span(|place| place.0), span(|place| place.1))
    }

    /// Drops outer lines that are emptier than half, as long as it is larger than wanted: something beside the target that fits in by chance.
    fn trimmed(mut self, longer: usize, shorter: usize) -> Self {
        loop {
            let (columns, rows) = self.size();
            let (long, short) = (columns.max(rows), columns.min(rows));
            if long <= longer && short <= shorter {
                return self;
            }
            let lines = [(true, rows), (false, columns)].into_iter().filter(|(is_column, _)| {
                let side = if *is_column { columns } else { rows };
                side > longer || (side > shorter && side == short)
            });
            let weakest = lines
                .flat_map(|(is_column, length)| self.ends(is_column).map(|at| (is_column, at, length)))
                .map(|(is_column, at, length)| (self.count(is_column, at), is_column, at, length))
                .min();
            match weakest {
                Some((count, is_column, at, length)) if 2 * count < length => {
                    self.places.retain(|place, _| (if is_column { place.0 } else { place.1 }) != at);
                }
                _ => return self,
            }
        }
    }

    fn ends(&self, is_column: bool) -> [i32; 2] {
        let lines = || self.places.keys().map(|place| if is_column { place.0 } else { place.1 });
        [lines().min().unwrap_or(0), lines().max().unwrap_or(0)]
    }

    fn count(&self, is_column: bool, at: i32) -> usize {
        let on_line = |place: &&(i32, i32)| (if is_column { place.0 } else { place.1 }) == at;
        self.places.keys().filter(on_line).count()
    }

    /// The indices of its points, row by row, as a grid of so many columns and rows: not mirrored, and its first row as far to the right and
    /// its first column as far down as can be.
    pub(super) fn ordered(self, points: &[Point], columns: usize, rows: usize) -> Result<Vec<usize>, Misfit> {
        let grown = self.trimmed(columns.max(rows), columns.min(rows));
        let (width, height) = grown.size();
        let found = grown.places.len();
        if found < 4 || width < 2 || height < 2 {
            return Err(Misfit::Nothing);
        }
        let is_full = found == width * height;
        let fits = (width, height) == (columns, rows) || (height, width) == (columns, rows);
        if !is_full || !fits {
            return Err(if is_full {
                Misfit::OtherSize {
                    columns: width,
                    rows: height,
                }
            } else {
                Misfit::Incomplete {
                    found: found.min(columns * rows),
                }
            });
        }
        let (left, top) = (grown.ends(true)[0], grown.ends(false)[0]);
        let at = |column: usize, row: usize| grown.places.get(&(left + column as i32, top + row as i32)).copied();
        // All ways to turn and mirror it that give the size asked for.
        let turned = (0..8).filter_map(|way: u32| {
            let is_swapped = way & 4 != 0;
            if (if is_swapped { (height, width) } else { (width, height) }) != (columns, rows) {
                return None;
            }
            let place = |column: usize, row: usize| {
                let (x, y) = if is_swapped { (row, column) } else { (column, row) };
                let x = if way & 1 == 0 { x } else { width - 1 - x };
                let y = if way & 2 == 0 { y } else { height - 1 - y };
                at(x, y)
            };
            (0..rows)
                .flat_map(|row| (0..columns).map(move |column| (column, row)))
                .map(|(column, row)| place(column, row))
                .collect::<Option<Vec<usize>>>()
        });
        let along = |order: &[usize], step: usize| {
            let (a, b) = (points[order[0]], points[order[step]]);
            [b[0] - a[0], b[1] - a[1]]
        };
        turned
            .filter(|order| {
                let (x, y) = (along(order, columns - 1), along(order, columns * (rows - 1)));
                x[0] * y[1] - x[1] * y[0] > 0.0
            })
            .max_by(|a, b| {
                // To the right, or down: what is turned by a quarter either way keeps its order.
                let rightness = |order: &[usize]| {
                    let [x, y] = along(order, columns - 1);
                    (x + if columns == rows { 0.0 } else { y }) / x.hypot(y)
                };
                rightness(a).total_cmp(&rightness(b))
            })
            .ok_or(Misfit::Nothing)
    }
}

/// The grid that fits best together, of points given in the order in which they are to be tried. `joined` tells whether two neighbours belong
/// to one grid.
pub(super) fn grow(points: &[Point], wanted: usize, joined: impl Fn(usize, usize) -> bool) -> Grown {
    let mut best = Grown::default();
    for seed in 0..points.len().min(SEEDS_MAX) {
        if best.places.values().any(|index| *index == seed) {
            continue;
        }
        let Some((x, y)) = axes(points, seed, &joined) else {
            continue;
        };
        let grown = grow_from(points, seed, (x, y), &joined);
        if grown.places.len() > best.places.len() {
            best = grown;
        }
        if best.places.len() >= wanted {
            break;
        }
    }
    best
}

fn difference(a: Point, b: Point) -> Point {
    [b[0] - a[0], b[1] - a[1]]
}

fn length([x, y]: Point) -> f64 {
    x.hypot(y)
}

/// The steps to two neighbours of a point that are not on a line with it.
fn axes(points: &[Point], seed: usize, joined: &impl Fn(usize, usize) -> bool) -> Option<(Point, Point)> {
    let mut near: Vec<(f64, usize)> = (0..points.len())
        .filter(|other| *other != seed)
        .map(|other| (length(difference(points[seed], points[other])), other))
        .collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut steps = near
        .iter()
        .take(NEIGHBOURS_MAX)
        .filter(|(_, other)| joined(seed, *other))
        .map(|(_, other)| difference(points[seed], points[*other]));
    let x = steps.next()?;
    let y = steps.find(|y| {
        let cosine = (x[0] * y[0] + x[1] * y[1]) / (length(x) * length(*y));
        cosine.abs() < AXES_COSINE_MAX && length(*y) < STEP_RATIO_MAX * length(x)
    })?;
    Some((x, y))
}

fn grow_from(points: &[Point], seed: usize, steps: (Point, Point), joined: &impl Fn(usize, usize) -> bool) -> Grown {
    let mut places = BTreeMap::from([((0, 0), seed)]);
    let mut taken = vec![false; points.len()];
    taken[seed] = true;
    let mut open = VecDeque::from([((0, 0), seed, steps)]);
    while let Some(((column, row), from, (x, y))) = open.pop_front() {
        for (ahead_x, ahead_y) in [(1, 0), (-1, 0), (0, 1), (0, -1)] {
            let place = (column + ahead_x, row + ahead_y);
            if places.contains_key(&place) {
                continue;
            }
            let sign = f64::from(ahead_x + ahead_y);
            let axis = if ahead_x == 0 { y } else { x };
            let step = [sign * axis[0], sign * axis[1]];
            let expected = [points[from][0] + step[0], points[from][1] + step[1]];
            let stray = |index: &usize| length(difference(points[*index], expected));
            let nearest = (0..points.len())
                .filter(|index| !taken[*index])
                .min_by(|a, b| stray(a).total_cmp(&stray(b)));
            let Some(next) = nearest.filter(|next| stray(next) <= STRAY_MAX * length(step) && joined(from, *next)) else {
                continue;
            };
            taken[next] = true;
            places.insert(place, next);
            let made = difference(points[from], points[next]);
            let made = [sign * made[0], sign * made[1]];
            open.push_back((place, next, if ahead_x == 0 { (x, made) } else { (made, y) }));
        }
    }
    Grown { places }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(degrees: f64, columns: usize, rows: usize) -> Vec<Point> {
        let (sin, cos) = degrees.to_radians().sin_cos();
        (0..columns * rows)
            .map(|index| {
                let (x, y) = ((index % columns) as f64 * 20.0, (index / columns) as f64 * 20.0);
                [300.0 + cos * x - sin * y, 300.0 + sin * x + cos * y]
            })
            .collect()
    }

    #[test]
    fn points_come_row_by_row_however_the_target_is_turned() {
        for degrees in [-40.0, -20.0, 0.0, 30.0, 60.0, 90.0, 130.0] {
            let points = turned(degrees, 5, 4);
            let shuffled: Vec<Point> = (0..20).map(|index| points[(7 * index + 3) % 20]).collect();
            let order = grow(&shuffled, 20, |_, _| true).ordered(&shuffled, 5, 4).unwrap();
            let ordered: Vec<Point> = order.iter().map(|index| shuffled[*index]).collect();
            assert_eq!(ordered, points, "{degrees}");
        }
    }

    #[test]
    fn what_fits_by_chance_is_dropped_and_other_sizes_are_named() {
        let mut points = turned(10.0, 5, 4);
        points.push([300.0 - 20.0, 297.0]);
        assert_eq!(
            grow(&points, 20, |_, _| true).ordered(&points, 5, 4).map(|order| order.len()),
            Ok(20)
        );
        let whole = grow(&points[..20], 20, |_, _| true);
        assert_eq!(whole.ordered(&points, 6, 4), Err(Misfit::OtherSize { columns: 5, rows: 4 }));
        let part = grow(&points[1..20], 20, |_, _| true);
        assert_eq!(part.ordered(&points[1..20], 5, 4), Err(Misfit::Incomplete { found: 19 }));
        assert_eq!(grow(&points[..1], 20, |_, _| true).ordered(&points, 5, 4), Err(Misfit::Nothing));
    }
}
