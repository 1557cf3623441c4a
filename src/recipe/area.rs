//! Where an inspection looks: a rectangle or a polygon, less what is left out of it. Pure.

use super::geometry::{Point, Polygon, Rect};
use super::pose::Pose;
use crate::part::Region;

/// Most polygons that are left out of one region.
pub const EXCLUDED_MAX: usize = 32;

/// A turn that moves no corner of the largest frame (65,535 pixels) by a tenth of a pixel: the part was shifted only.
const NO_TURN_RAD: f64 = 1e-6;

/// The outline of where an inspection looks, in pixels of the whole frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Outline {
    /// Everywhere.
    #[default]
    Frame,
    /// In an upright rectangle.
    Rect(Region),
    /// In a polygon.
    Polygon(Polygon),
}

/// Where an inspection looks, as the recipe says it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Area {
    /// Its outline.
    pub outline: Outline,
    /// What inside of it does not count.
    pub exclude: Vec<Polygon>,
}

/// The area is not in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to look at {width}x{height} pixels: the region lies outside of them; set the camera to the size that the region was drawn for"
)]
pub struct OutsideFrame {
    width: u32,
    height: u32,
}

impl Area {
    /// In a rectangle, or everywhere.
    pub fn of_region(region: Option<Region>) -> Self {
        Self {
            outline: region.map_or(Outline::Frame, Outline::Rect),
            exclude: Vec::new(),
        }
    }

    /// The smallest rectangle of whole pixels around it; `None` for the whole frame. Of a part that did not move.
    pub fn region(&self) -> Option<Region> {
        match &self.outline {
            Outline::Frame => None,
            Outline::Rect(region) => Some(*region),
            Outline::Polygon(polygon) => region_around(polygon.bounds()),
        }
    }

    /// Whether something of the rectangle around it does not count.
    pub fn is_partial(&self) -> bool {
        matches!(self.outline, Outline::Polygon(_)) || !self.exclude.is_empty()
    }

    /// The area in a frame of `width` x `height` pixels, on a part that moved so. What of it is cut out for a model is the smallest rectangle of
    /// whole pixels around it.
    ///
    /// # Errors
    /// When a part of it lies outside of the frame: what cannot be seen cannot be Ok.
    pub fn placed(&self, (width, height): (u32, u32), pose: Option<&Pose>) -> Result<PlacedArea, OutsideFrame> {
        let outside = OutsideFrame { width, height };
        let whole = Region::whole(width, height);
        let moved = |polygon: &Polygon| pose.map_or_else(|| polygon.clone(), |pose| pose.moved(polygon));
        let (crop, outline, is_upright) = match (&self.outline, pose) {
            (Outline::Frame, _) => (Some(whole), Polygon::of_rect(whole.into()), true),
            (Outline::Rect(region), None) => (Some(*region), Polygon::of_rect((*region).into()), true),
            (Outline::Rect(region), Some(pose)) if pose.angle_rad.abs() < NO_TURN_RAD => {
                let crop = shifted(*region, pose);
                (crop, Polygon::of_rect(crop.unwrap_or(*region).into()), true)
            }
            (Outline::Rect(region), Some(pose)) => {
                let polygon = pose.moved(&Polygon::of_rect((*region).into()));
                (region_around(polygon.bounds()), polygon, false)
            }
            (Outline::Polygon(polygon), _) => {
                let polygon = moved(polygon);
                (region_around(polygon.bounds()), polygon, false)
            }
        };
        let crop = crop.filter(|crop| crop.is_within(width, height)).ok_or(outside)?;
        Ok(PlacedArea {
            crop,
            outline,
            exclude: self.exclude.iter().map(moved).collect(),
            is_upright,
        })
    }
}

/// Where an inspection looks in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedArea {
    /// What is cut out of the frame for the model.
    pub crop: Region,
    outline: Polygon,
    exclude: Vec<Polygon>,
    /// Whether the outline is the crop.
    is_upright: bool,
}

impl PlacedArea {
    /// A whole region.
    pub(super) fn whole(crop: Region) -> Self {
        Self {
            crop,
            outline: Polygon::of_rect(crop.into()),
            exclude: Vec::new(),
            is_upright: true,
        }
    }

    /// Whether something of the crop does not count.
    pub fn is_masked(&self) -> bool {
        !(self.is_upright && self.exclude.is_empty())
    }

    /// Which cells of a grid count: those whose middle is in the area. Row by row.
    pub fn mask(&self, (columns, rows): (usize, usize), middle_x: impl Fn(usize) -> f64, middle_y: impl Fn(usize) -> f64) -> Vec<bool> {
        let mut mask = vec![false; columns * rows];
        let mut fill = |polygon: &Polygon, value: bool| {
            polygon.runs((columns, rows), &middle_x, &middle_y, |row, from, to| {
                mask[row * columns..][from..to].fill(value);
            });
        };
        fill(&self.outline, true);
        self.exclude.iter().for_each(|polygon| fill(polygon, false));
        mask
    }

    /// Whether anything of a box counts: it touches the area, and does not lie wholly in one polygon that is left out. A box that is cut by an
    /// edge counts, so that no defect is lost at it.
    pub fn touches(&self, of: Rect) -> bool {
        let is_left_out = |polygon: &Polygon| polygon.contains(Point::new(of.left, of.top)) && polygon.edge_distance(of) > 0.0;
        self.outline.meets(of) && !self.exclude.iter().any(is_left_out)
    }

    /// How far a box is from the nearest edge of the area, that of what is left out included, pixels; 0 where they meet.
    pub fn edge_distance(&self, of: Rect) -> f64 {
        let distances = self.exclude.iter().map(|polygon| polygon.edge_distance(of));
        distances.fold(self.outline.edge_distance(of), f64::min)
    }
}

/// The whole pixels around a rectangle; `None` where it begins left of or above the frame.
fn region_around(bounds: Rect) -> Option<Region> {
    let (left, top) = (bounds.left.floor(), bounds.top.floor());
    (left >= 0.0 && top >= 0.0).then(|| Region {
        x: left as u32,
        y: top as u32,
        width: (bounds.right.ceil() - left) as u32,
        height: (bounds.bottom.ceil() - top) as u32,
    })
}

/// A region shifted by whole pixels; `None` where it begins left of or above the frame.
fn shifted(region: Region, pose: &Pose) -> Option<Region> {
    let (x, y) = (f64::from(region.x) + pose.dx_px.round(), f64::from(region.y) + pose.dy_px.round());
    (x >= 0.0 && y >= 0.0).then_some(Region {
        x: x as u32,
        y: y as u32,
        ..region
    })
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is expected are small whole numbers, which come out exactly")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn polygon(points: &[(f64, f64)]) -> Polygon {
        Polygon::new(points.iter().map(|(x, y)| Point::new(*x, *y)).collect()).unwrap()
    }

    fn triangle() -> Area {
        Area {
            outline: Outline::Polygon(polygon(&[(10.5, 10.0), (50.0, 10.0), (10.5, 49.2)])),
            exclude: vec![polygon(&[(15.0, 15.0), (25.0, 15.0), (25.0, 25.0), (15.0, 25.0)])],
        }
    }

    fn rect(left: f64, top: f64, right: f64, bottom: f64) -> Rect {
        Rect { left, top, right, bottom }
    }

    #[test]
    fn a_polygon_is_cut_out_with_the_pixels_around_it() {
        let placed = triangle().placed((50, 50), None).unwrap();
        let around = Region {
            x: 10,
            y: 10,
            width: 40,
            height: 40,
        };
        assert_eq!((placed.crop, triangle().region()), (around, Some(around)));
        assert!(placed.is_masked());
        assert!(triangle().placed((49, 50), None).is_err());
        let everywhere = Area::default().placed((7, 5), None).unwrap();
        assert_eq!((everywhere.crop, everywhere.is_masked()), (Region::whole(7, 5), false));
    }

    #[test]
    fn what_is_left_out_does_not_count_and_what_is_cut_by_an_edge_does() {
        let placed = triangle().placed((60, 60), None).unwrap();
        assert!(!placed.touches(rect(16.0, 16.0, 24.0, 24.0)), "in the hole");
        assert!(placed.touches(rect(16.0, 16.0, 26.0, 24.0)), "across the hole's edge");
        assert!(placed.touches(rect(0.0, 30.0, 12.0, 31.0)), "across the outline");
        assert!(!placed.touches(rect(45.0, 45.0, 50.0, 50.0)), "in the crop, beside the triangle");
        assert_eq!(placed.edge_distance(rect(27.0, 16.0, 28.0, 20.0)), 2.0, "to the hole");
        let mask = placed.mask((40, 40), |x| x as f64 + 10.5, |y| y as f64 + 10.5);
        let counts = |x: usize, y: usize| mask[(y - 10) * 40 + x - 10];
        assert!(counts(12, 12) && counts(30, 12) && !counts(20, 20) && !counts(45, 45));
    }

    #[test]
    fn a_shifted_rectangle_keeps_its_size_and_a_turned_one_is_a_polygon() {
        let region = Region {
            x: 10,
            y: 20,
            width: 30,
            height: 40,
        };
        let area = Area::of_region(Some(region));
        let shift = |dx_px: f64, dy_px: f64| Pose {
            dx_px,
            dy_px,
            ..Pose::default()
        };
        let moved = area.placed((100, 100), Some(&shift(4.4, -7.6))).unwrap();
        assert_eq!((moved.crop, moved.is_masked()), (Region { x: 14, y: 12, ..region }, false));
        for beyond in [shift(-11.0, 0.0), shift(0.0, 41.0), shift(61.0, 0.0)] {
            assert!(area.placed((100, 100), Some(&beyond)).is_err(), "{beyond:?}");
        }
        let turn = Pose {
            dx_px: 20.0,
            dy_px: 0.0,
            angle_rad: 0.2,
            pivot: Point::new(25.0, 40.0),
        };
        let turned = area.placed((100, 100), Some(&turn)).unwrap();
        assert!(turned.is_masked() && turned.crop.width > 30 && turned.crop.height > 40);
        let corner = rect(
            f64::from(turned.crop.x),
            f64::from(turned.crop.y),
            f64::from(turned.crop.x) + 1.0,
            f64::from(turned.crop.y) + 1.0,
        );
        assert!(!turned.touches(corner) && turned.touches(rect(45.0, 40.0, 46.0, 41.0)));
    }

    proptest! {
        #[test]
        fn a_box_counts_where_one_of_its_pixels_does(x in 0_u32..55, y in 0_u32..55, width in 1_u32..8, height in 1_u32..8, dx in -9.0_f64..9.0, angle_rad in -0.3_f64..0.3) {
            let pose = Pose { dx_px: dx, dy_px: 3.0, angle_rad, pivot: Point::new(25.0, 25.0) };
            let Ok(placed) = triangle().placed((70, 70), Some(&pose)) else { return Ok(()) };
            let mask = placed.mask((70, 70), |x| x as f64 + 0.5, |y| y as f64 + 0.5);
            let counts = (y..y + height).any(|y| (x..x + width).any(|x| mask[(y * 70 + x) as usize]));
            let of = rect(x.into(), y.into(), (x + width).into(), (y + height).into());
            prop_assert!(!counts || placed.touches(of), "a box may count without such a pixel, never the other way round");
            prop_assert!(placed.touches(of) || placed.edge_distance(of) > 0.0);
        }
    }
}
