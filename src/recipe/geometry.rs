//! Points, rectangles and polygons in the plane of a frame. Pure.
//!
//! Coordinates are pixels of the whole frame, as edges: pixel `i` reaches from `i` to `i + 1`, and its middle is at `i + 0.5`.

use crate::part::Region;

/// Most corners of a polygon; a part's outline takes fewer, and checking it takes time with their square.
pub const POLYGON_POINTS_MAX: usize = 256;

/// Smallest area of a polygon, square pixels: less would hold no pixel.
const AREA_PX_MIN: f64 = 1.0;

/// A place in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// From the left edge, pixels.
    pub x: f64,
    /// From the top edge, pixels.
    pub y: f64,
}

impl Point {
    /// A place in a frame.
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// How far it is to another place.
    pub fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// An upright rectangle; `left <= right`, `top <= bottom`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge, pixels.
    pub left: f64,
    /// Top edge, pixels.
    pub top: f64,
    /// Right edge, pixels.
    pub right: f64,
    /// Bottom edge, pixels.
    pub bottom: f64,
}

impl Rect {
    /// Its corners, clockwise from the left top.
    pub fn corners(self) -> [Point; 4] {
        [
            Point::new(self.left, self.top),
            Point::new(self.right, self.top),
            Point::new(self.right, self.bottom),
            Point::new(self.left, self.bottom),
        ]
    }

    /// Its middle.
    pub fn middle(self) -> Point {
        Point::new(self.left.midpoint(self.right), self.top.midpoint(self.bottom))
    }

    /// Whether the place is in it or on its edge.
    pub fn contains(self, point: Point) -> bool {
        (self.left..=self.right).contains(&point.x) && (self.top..=self.bottom).contains(&point.y)
    }

    /// How far the place is from it; 0 inside.
    fn distance(self, point: Point) -> f64 {
        point.distance(Point::new(
            point.x.clamp(self.left, self.right),
            point.y.clamp(self.top, self.bottom),
        ))
    }
}

impl From<Region> for Rect {
    fn from(region: Region) -> Self {
        let (left, top) = (f64::from(region.x), f64::from(region.y));
        Self {
            left,
            top,
            right: left + f64::from(region.width),
            bottom: top + f64::from(region.height),
        }
    }
}

/// Why points make no polygon.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PolygonError {
    /// Too few or too many.
    #[error("it has {0} points; give 3 to {POLYGON_POINTS_MAX}")]
    Count(usize),
    /// A coordinate is no number.
    #[error("point {0} is no place; give numbers")]
    NoPlace(usize),
    /// A point lies where the one before it does.
    #[error("point {0} is the same as the one before it; remove one")]
    Repeated(usize),
    /// Two edges have more in common than the point between neighbours.
    #[error("its edges from point {0} and from point {1} meet; give the points in the order of the outline, which never meets itself")]
    Crossing(usize, usize),
    /// It holds nothing.
    #[error("it covers less than a pixel; check its points")]
    Empty,
}

/// A simple polygon: one closed outline that never meets itself. Points count from 1 in messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    points: Vec<Point>,
}

impl Polygon {
    /// Of its corners in order, either way round; the last is joined to the first.
    ///
    /// # Errors
    /// When there are too few or too many, or the outline meets itself or covers less than a pixel.
    pub fn new(points: Vec<Point>) -> Result<Self, PolygonError> {
        if !(3..=POLYGON_POINTS_MAX).contains(&points.len()) {
            return Err(PolygonError::Count(points.len()));
        }
        if let Some(index) = points.iter().position(|point| !(point.x.is_finite() && point.y.is_finite())) {
            return Err(PolygonError::NoPlace(index + 1));
        }
        let polygon = Self { points };
        if let Some(index) = polygon.edges().position(|(from, to)| from == to) {
            return Err(PolygonError::Repeated((index + 1) % polygon.points.len() + 1));
        }
        if let Some((first, second)) = polygon.crossing() {
            return Err(PolygonError::Crossing(first + 1, second + 1));
        }
        if polygon.area() < AREA_PX_MIN {
            return Err(PolygonError::Empty);
        }
        Ok(polygon)
    }

    /// A rectangle.
    pub fn of_rect(rect: Rect) -> Self {
        Self {
            points: rect.corners().into(),
        }
    }

    /// Its corners.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Its edges, from each corner to the next.
    pub fn edges(&self) -> impl Iterator<Item = (Point, Point)> + '_ {
        let next = self.points.iter().cycle().skip(1);
        self.points.iter().copied().zip(next.copied())
    }

    /// The smallest upright rectangle around it.
    pub fn bounds(&self) -> Rect {
        let of = |pick: fn(f64, f64) -> f64, axis: fn(&Point) -> f64, start: f64| self.points.iter().map(axis).fold(start, pick);
        Rect {
            left: of(f64::min, |point| point.x, f64::INFINITY),
            top: of(f64::min, |point| point.y, f64::INFINITY),
            right: of(f64::max, |point| point.x, f64::NEG_INFINITY),
            bottom: of(f64::max, |point| point.y, f64::NEG_INFINITY),
        }
    }

    /// Its area, square pixels (shoelace formula).
    pub fn area(&self) -> f64 {
        let twice: f64 = self.edges().map(|(from, to)| from.x * to.y - to.x * from.y).sum();
        twice.abs() / 2.0
    }

    /// Whether a place is inside, by the even-odd rule: a ray to the right crosses the outline an odd number of times. Edges take their upper
    /// end and leave their lower one, so that a place on a common edge of two polygons is in exactly one of them. (Shimrat 1962, algorithm 112,
    /// with the correction by Hacker.)
    pub fn contains(&self, point: Point) -> bool {
        let crossings = self
            .edges()
            .filter(|(from, to)| (from.y > point.y) != (to.y > point.y) && point.x < crossing_x(*from, *to, point.y));
        crossings.count() % 2 == 1
    }

    /// Calls `inside(row, from, to)` for each run of columns `from..to` of a grid whose cells have their middle inside. `middle_x` and
    /// `middle_y` give the middles of columns and rows; both grow.
    pub fn runs(
        &self,
        (columns, rows): (usize, usize),
        middle_x: impl Fn(usize) -> f64,
        middle_y: impl Fn(usize) -> f64,
        mut inside: impl FnMut(usize, usize, usize),
    ) {
        let mut crossings: Vec<f64> = Vec::new();
        for row in 0..rows {
            let y = middle_y(row);
            crossings.clear();
            let crossed = self.edges().filter(|(from, to)| (from.y > y) != (to.y > y));
            crossings.extend(crossed.map(|(from, to)| crossing_x(from, to, y)));
            crossings.sort_unstable_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                // A middle on the right crossing is outside: `contains` asks for less than that.
                let (from, to) = (
                    first_at_least(columns, pair[0], &middle_x),
                    first_at_least(columns, pair[1], &middle_x),
                );
                if from < to {
                    inside(row, from, to);
                }
            }
        }
    }

    /// Whether it has a point in common with a rectangle.
    pub fn meets(&self, rect: Rect) -> bool {
        let [corner, ..] = rect.corners();
        self.contains(corner) || self.edges().any(|(from, to)| segment_rect_distance(from, to, rect) == 0.0)
    }

    /// How far its outline is from a rectangle, pixels; 0 where they meet.
    pub fn edge_distance(&self, rect: Rect) -> f64 {
        let distances = self.edges().map(|(from, to)| segment_rect_distance(from, to, rect));
        distances.fold(f64::INFINITY, f64::min)
    }

    /// The polygon with each corner somewhere else; for moves that keep its shape.
    pub(super) fn map(&self, change: impl Fn(Point) -> Point) -> Self {
        Self {
            points: self.points.iter().map(|point| change(*point)).collect(),
        }
    }

    /// Two edges that have more in common than they may, by where they begin.
    fn crossing(&self) -> Option<(usize, usize)> {
        let edges: Vec<(Point, Point)> = self.edges().collect();
        let last = edges.len() - 1;
        for (first, a) in edges.iter().enumerate() {
            for (second, b) in edges.iter().enumerate().skip(first + 1) {
                let meet = if second == first + 1 {
                    folds_back(a.0, a.1, b.1)
                } else if first == 0 && second == last {
                    folds_back(b.0, b.1, a.1)
                } else {
                    segments_meet(*a, *b)
                };
                if meet {
                    return Some((first, second));
                }
            }
        }
        None
    }
}

/// Where the line through an edge that crosses a height does so. One order of the ends, so that the same edge seen from two polygons is crossed
/// at the same place.
fn crossing_x(from: Point, to: Point, y: f64) -> f64 {
    let (upper, lower) = if from.y < to.y { (from, to) } else { (to, from) };
    upper.x + (y - upper.y) / (lower.y - upper.y) * (lower.x - upper.x)
}

/// The first column whose middle is not left of `x`.
fn first_at_least(columns: usize, x: f64, middle: &impl Fn(usize) -> f64) -> usize {
    let (mut low, mut high) = (0, columns);
    while low < high {
        let between = low.midpoint(high);
        if middle(between) < x {
            low = between + 1;
        } else {
            high = between;
        }
    }
    low
}

/// Twice the signed area of a triangle: positive where `c` lies to the right of the way from `a` to `b` (y points down).
pub(super) fn turn(a: Point, b: Point, c: Point) -> f64 {
    (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x)
}

/// Whether the way from `a` to `b` to `c` goes back over itself.
fn folds_back(a: Point, b: Point, c: Point) -> bool {
    let ahead = (b.x - a.x) * (c.x - b.x) + (b.y - a.y) * (c.y - b.y);
    turn(a, b, c) == 0.0 && ahead < 0.0
}

/// Whether two segments have a point in common, their ends included.
fn segments_meet((a, b): (Point, Point), (c, d): (Point, Point)) -> bool {
    let sides = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
    let apart = |one: f64, other: f64| (one > 0.0 && other > 0.0) || (one < 0.0 && other < 0.0);
    if apart(sides[0], sides[1]) || apart(sides[2], sides[3]) {
        return false;
    }
    // On one line they meet where their boxes do; else this holds anyway.
    let overlap = |p: f64, q: f64, r: f64, s: f64| p.min(q) <= r.max(s) && r.min(s) <= p.max(q);
    overlap(a.x, b.x, c.x, d.x) && overlap(a.y, b.y, c.y, d.y)
}

/// How far a place is from a segment.
fn segment_distance(point: Point, (a, b): (Point, Point)) -> f64 {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 {
        ((point.x - a.x) * dx + (point.y - a.y) * dy) / length
    } else {
        0.0
    };
    let along = along.clamp(0.0, 1.0);
    point.distance(Point::new(a.x + along * dx, a.y + along * dy))
}

/// How far a segment is from a rectangle; 0 where they meet.
fn segment_rect_distance(from: Point, to: Point, rect: Rect) -> f64 {
    let corners = rect.corners();
    let sides = corners.into_iter().zip(corners.into_iter().cycle().skip(1));
    if rect.contains(from) || sides.clone().any(|side| segments_meet((from, to), side)) {
        return 0.0;
    }
    let of_ends = rect.distance(from).min(rect.distance(to));
    corners
        .into_iter()
        .map(|corner| segment_distance(corner, (from, to)))
        .fold(of_ends, f64::min)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is expected are small whole numbers, which come out exactly")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn polygon(points: &[(f64, f64)]) -> Polygon {
        try_polygon(points).unwrap()
    }

    fn try_polygon(points: &[(f64, f64)]) -> Result<Polygon, PolygonError> {
        Polygon::new(points.iter().map(|(x, y)| Point::new(*x, *y)).collect())
    }

    #[test]
    fn what_is_no_outline_is_refused_by_name() {
        let refused = |points: &[(f64, f64)]| try_polygon(points).unwrap_err();
        assert_eq!(refused(&[(0.0, 0.0), (9.0, 0.0)]), PolygonError::Count(2));
        assert_eq!(
            refused(&vec![(0.0, 0.0); POLYGON_POINTS_MAX + 1]),
            PolygonError::Count(POLYGON_POINTS_MAX + 1)
        );
        assert_eq!(refused(&[(0.0, 0.0), (9.0, f64::NAN), (0.0, 9.0)]), PolygonError::NoPlace(2));
        assert_eq!(
            refused(&[(0.0, 0.0), (9.0, 0.0), (9.0, 0.0), (0.0, 9.0)]),
            PolygonError::Repeated(3)
        );
        assert_eq!(
            refused(&[(0.0, 0.0), (9.0, 0.0), (0.0, 9.0), (0.0, 0.0)]),
            PolygonError::Repeated(1)
        );
        // An hourglass, a spike, a corner that touches an edge.
        assert_eq!(
            refused(&[(0.0, 0.0), (9.0, 9.0), (9.0, 0.0), (0.0, 9.0)]),
            PolygonError::Crossing(1, 3)
        );
        assert_eq!(
            refused(&[(0.0, 0.0), (9.0, 0.0), (4.0, 0.0), (4.0, 9.0)]),
            PolygonError::Crossing(1, 2)
        );
        assert_eq!(
            refused(&[(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (4.0, 0.0), (0.0, 9.0)]),
            PolygonError::Crossing(1, 3)
        );
        assert_eq!(refused(&[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]), PolygonError::Empty);
    }

    #[test]
    fn a_place_on_a_common_edge_is_in_one_of_two() {
        let left = polygon(&[(0.0, 0.0), (5.0, 0.0), (7.0, 9.0), (0.0, 9.0)]);
        let right = polygon(&[(5.0, 0.0), (12.0, 0.0), (12.0, 9.0), (7.0, 9.0)]);
        for (x, y) in [(5.0, 0.0), (6.0, 4.5), (7.0, 9.0), (3.0, 0.0), (0.0, 4.0), (12.0, 4.0)] {
            let inside = [&left, &right].iter().filter(|polygon| polygon.contains(Point::new(x, y))).count();
            let expected = usize::from(y < 9.0 && x < 12.0);
            assert_eq!(inside, expected, "{x} {y}");
        }
    }

    #[test]
    fn distances_to_the_edge() {
        let square = Polygon::of_rect(Rect {
            left: 10.0,
            top: 10.0,
            right: 110.0,
            bottom: 60.0,
        });
        let rect = |left: f64, top: f64, right: f64, bottom: f64| Rect { left, top, right, bottom };
        assert_eq!(square.edge_distance(rect(20.0, 30.0, 25.0, 40.0)), 10.0);
        assert_eq!(square.edge_distance(rect(100.0, 50.0, 104.0, 56.0)), 4.0);
        assert_eq!(square.edge_distance(rect(5.0, 30.0, 25.0, 40.0)), 0.0, "across the edge");
        assert_eq!(square.edge_distance(rect(0.0, 0.0, 200.0, 200.0)), 0.0, "around it");
        assert_eq!(square.edge_distance(rect(113.0, 64.0, 120.0, 70.0)), 5.0, "outside");
        assert!(square.meets(rect(20.0, 30.0, 25.0, 40.0)) && square.meets(rect(0.0, 0.0, 200.0, 200.0)));
        assert!(!square.meets(rect(113.0, 64.0, 120.0, 70.0)));
    }

    /// A star-shaped outline: a corner in each of as many directions, at any distance; never meets itself.
    pub(crate) fn stars() -> impl Strategy<Value = Polygon> {
        let corner = (0.05_f64..0.95, 3.0_f64..30.0);
        (prop::collection::vec(corner, 4..20), 30.0_f64..34.0, 30.0_f64..34.0).prop_filter_map("less than a pixel", |(corners, x, y)| {
            let step = std::f64::consts::TAU / corners.len() as f64;
            let corner = |(index, (share, far)): (usize, (f64, f64))| {
                let angle = step * (index as f64 + share);
                Point::new(x + far * angle.cos(), y + far * angle.sin())
            };
            Polygon::new(corners.into_iter().enumerate().map(corner).collect()).ok()
        })
    }

    /// The winding number: how often the outline goes around a place. Another way to say inside, which for simple polygons is the same.
    fn winds_around(polygon: &Polygon, point: Point) -> bool {
        let angle = |from: Point, to: Point| {
            let (a, b) = ((from.y - point.y).atan2(from.x - point.x), (to.y - point.y).atan2(to.x - point.x));
            let turned = b - a;
            turned - std::f64::consts::TAU * (turned / std::f64::consts::TAU).round()
        };
        let sum: f64 = polygon.edges().map(|(from, to)| angle(from, to)).sum();
        sum.abs() > std::f64::consts::PI
    }

    /// What Shapely and OpenCV say; made by `tests/fixtures/geometry_shapely.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/geometry_shapely.json"));

    #[test]
    fn shapely_agrees() {
        #[derive(serde::Deserialize)]
        struct Foreign {
            polygons: Vec<PolygonCase>,
            validity: Vec<ValidityCase>,
        }
        #[derive(serde::Deserialize)]
        struct PolygonCase {
            points: Vec<(f64, f64)>,
            area: f64,
            places: Vec<(f64, f64)>,
            inside: Vec<bool>,
            rects: Vec<[f64; 4]>,
            meets: Vec<bool>,
            edge_distance: Vec<f64>,
        }
        #[derive(serde::Deserialize)]
        struct ValidityCase {
            points: Vec<(f64, f64)>,
            is_simple: bool,
        }
        let foreign: Foreign = serde_json::from_str(FOREIGN).unwrap();
        assert!(!foreign.polygons.is_empty() && !foreign.validity.is_empty());
        for case in foreign.polygons {
            let polygon = polygon(&case.points);
            assert!((polygon.area() - case.area).abs() < 1e-9);
            let inside: Vec<bool> = case.places.iter().map(|(x, y)| polygon.contains(Point::new(*x, *y))).collect();
            assert_eq!(inside, case.inside, "{:?}", case.points);
            for (index, [left, top, right, bottom]) in case.rects.into_iter().enumerate() {
                let rect = Rect { left, top, right, bottom };
                assert_eq!(polygon.meets(rect), case.meets[index], "{rect:?} {:?}", case.points);
                assert!(
                    (polygon.edge_distance(rect) - case.edge_distance[index]).abs() < 1e-9,
                    "{rect:?} {:?}",
                    case.points
                );
            }
        }
        for case in foreign.validity {
            assert_eq!(try_polygon(&case.points).is_ok(), case.is_simple, "{:?}", case.points);
        }
    }

    proptest! {
        #[test]
        fn even_odd_is_the_winding_number(polygon in stars(), x in 0.0_f64..64.0, y in 0.0_f64..64.0) {
            let point = Point::new(x, y);
            let rect = Rect { left: x, top: y, right: x, bottom: y };
            prop_assume!(polygon.edge_distance(rect) > 1e-6);
            prop_assert_eq!(polygon.contains(point), winds_around(&polygon, point));
        }

        #[test]
        fn runs_are_the_cells_whose_middle_is_inside(polygon in stars(), across in 0.3_f64..3.0, down in 0.3_f64..3.0) {
            let (columns, rows) = ((64.0 / across) as usize, (64.0 / down) as usize);
            let middle = |step: f64| move |index: usize| (index as f64 + 0.5) * step;
            let mut filled = vec![false; columns * rows];
            polygon.runs((columns, rows), middle(across), middle(down), |row, from, to| filled[row * columns + from..row * columns + to].fill(true));
            for row in 0..rows {
                for column in 0..columns {
                    let inside = polygon.contains(Point::new(middle(across)(column), middle(down)(row)));
                    prop_assert_eq!(filled[row * columns + column], inside, "{} {}", column, row);
                }
            }
        }

        #[test]
        fn the_area_is_the_share_of_cells(polygon in stars()) {
            let mut cells = 0;
            let middle = |index: usize| (index as f64 + 0.5) / 8.0;
            polygon.runs((768, 768), middle, middle, |_, from, to| cells += to - from);
            let outline: f64 = polygon.edges().map(|(from, to)| from.distance(to)).sum();
            // At most the cells that the outline goes through are wrong.
            prop_assert!((cells as f64 / 64.0 - polygon.area()).abs() <= outline / 8.0 + 1.0);
        }

        #[test]
        fn any_points_are_taken_or_refused(points in prop::collection::vec((0.0_f64..20.0, 0.0_f64..20.0), 0..12), x in 0.0_f64..20.0, y in 0.0_f64..20.0) {
            if let Ok(polygon) = try_polygon(&points) {
                prop_assert!(polygon.area() >= AREA_PX_MIN);
                let rect = Rect { left: x, top: y, right: x + 1.0, bottom: y + 1.0 };
                prop_assume!(polygon.edge_distance(rect) > 1e-6);
                prop_assert_eq!(polygon.contains(Point::new(x, y)), winds_around(&polygon, Point::new(x, y)));
            }
        }
    }
}
