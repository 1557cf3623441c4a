//! What is held before the camera, and its points in a picture.

use super::estimate::Grid;
use super::grid::Misfit;
use super::quality::{SATURATED_MAX, hull};
use super::{Point, checkerboard, dots};
use crate::vision::grey::GreyImage;

/// Columns or rows of points: fewer tell too little of a lens, more are no target that is sold.
pub const POINTS_ACROSS: std::ops::RangeInclusive<usize> = 3..=100;

/// Share of the picture at full white above which no target is found because of that.
const OVEREXPOSED: f64 = 0.5;

/// How far, in degrees, a square grid may be turned before it could as well be turned by a quarter.
const SQUARE_TURN_MAX: f64 = 35.0;

/// What the points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Corners between the squares of a checkerboard.
    Checkerboard,
    /// Round dots in columns and rows.
    Dots,
}

impl Kind {
    /// The word in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkerboard => "checkerboard",
            Self::Dots => "dots",
        }
    }

    /// The kind of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Checkerboard, Self::Dots].into_iter().find(|kind| kind.name() == name)
    }

    fn points(self) -> &'static str {
        match self {
            Self::Checkerboard => "inner corners",
            Self::Dots => "dots",
        }
    }
}

/// A flat target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// What its points are.
    pub kind: Kind,
    /// Where they are.
    pub grid: Grid,
}

/// Why a picture does not show the target.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FindError {
    /// Nothing like it.
    #[error(
        "failed to find the {}: nothing in the picture looks like it; all of the target must be in the picture, sharp, flat and evenly lit, \
         its {} at least 12 px apart", kind.name(), kind.points()
    )]
    Nothing {
        /// What was looked for.
        kind: Kind,
    },
    /// White all over.
    #[error(
        "failed to find the {}: {:.0} % of the picture are at full white; expose for a shorter time, or close the aperture",
        kind.name(), 100.0 * share
    )]
    Overexposed {
        /// What was looked for.
        kind: Kind,
        /// Share of the picture at full white, 0 to 1.
        share: f64,
    },
    /// A grid of another size.
    #[error(
        "failed to find the {}: the picture shows {found_columns} x {found_rows} {points}, not {} x {}; count {points} with --columns and --rows{}",
        target.kind.name(), target.grid.columns, target.grid.rows, hint(target.kind), points = target.kind.points()
    )]
    OtherSize {
        /// What was looked for.
        target: Target,
        /// Columns seen, or rows: which is which is not known.
        found_columns: usize,
        /// The other.
        found_rows: usize,
    },
    /// Not all of it.
    #[error(
        "failed to find the {}: only {found} of its {} {} are seen; nothing may cover the target, and reflections and shadows must not cross it",
        target.kind.name(), target.grid.columns * target.grid.rows, target.kind.points()
    )]
    Incomplete {
        /// What was looked for.
        target: Target,
        /// Points that fit together.
        found: usize,
    },
    /// A square grid that lies on its corner.
    #[error(
        "failed to tell which way the target lies: it has as many columns as rows and is turned by {degrees:.0} degrees; \
         turn it upright, or use one with different numbers"
    )]
    Ambiguous {
        /// How far it is turned.
        degrees: f64,
    },
}

fn hint(kind: Kind) -> &'static str {
    match kind {
        Kind::Checkerboard => ": a board of 10 x 7 squares has 9 x 6",
        Kind::Dots => "",
    }
}

impl Target {
    /// Its points in a picture, row by row, to a fraction of a pixel. The first row runs to the right, as far as the target's shape tells:
    /// a quarter turn either way keeps the order.
    ///
    /// # Errors
    /// When the picture does not show exactly this target.
    pub fn find(&self, image: &GreyImage) -> Result<Vec<Point>, FindError> {
        let (kind, Grid { columns, rows, .. }) = (self.kind, self.grid);
        let found = match kind {
            Kind::Checkerboard => checkerboard::find(image, columns, rows),
            Kind::Dots => dots::find(image, columns, rows),
        };
        found.map_err(|misfit| match misfit {
            Misfit::Nothing => match saturated(&image.luma) {
                share if share > OVEREXPOSED => FindError::Overexposed { kind, share },
                _ => FindError::Nothing { kind },
            },
            Misfit::OtherSize { columns, rows } => FindError::OtherSize {
                target: *self,
                found_columns: columns,
                found_rows: rows,
            },
            Misfit::Incomplete { found } => FindError::Incomplete { target: *self, found },
        })
    }

    /// Refuses points of which nobody can tell which axis is which: those of a square grid that lies on its corner. It matters where the axes
    /// do, for the plane, not for the lens.
    ///
    /// # Errors
    /// When it is so.
    pub fn check_axes(&self, points: &[Point]) -> Result<(), FindError> {
        let Grid { columns, rows, .. } = self.grid;
        let (Some(first), Some(last)) = (points.first(), points.get(columns - 1)) else {
            return Ok(());
        };
        let degrees = (last[1] - first[1]).atan2(last[0] - first[0]).to_degrees();
        if columns == rows && degrees.abs() > SQUARE_TURN_MAX {
            return Err(FindError::Ambiguous { degrees });
        }
        Ok(())
    }
}

/// A warning where too much of the target in a picture is at full white.
pub fn overexposure(image: &GreyImage, points: &[Point]) -> Option<String> {
    let rim = hull(points.to_vec());
    let ahead = rim.iter().cycle().skip(1);
    let sides: Vec<(Point, Point)> = rim.iter().copied().zip(ahead.copied()).collect();
    let is_inside = |x: f64, y: f64| sides.iter().all(|(a, b)| (b[0] - a[0]) * (y - a[1]) >= (b[1] - a[1]) * (x - a[0]));
    let pixels = (0..image.height).flat_map(|y| (0..image.width).map(move |x| (x, y)));
    let inside: Vec<u8> = pixels
        .filter(|(x, y)| is_inside(*x as f64, *y as f64))
        .map(|(x, y)| image.luma[y * image.width + x])
        .collect();
    let share = saturated(&inside);
    (share > SATURATED_MAX).then(|| {
        format!(
            "{:.0} % of the target are at full white, which moves its points where the picture is not sharp; expose for a shorter time",
            100.0 * share
        )
    })
}

fn saturated(luma: &[u8]) -> f64 {
    let white = luma
        .iter()
        .map(|value| u32::from(*value == u8::MAX))
        .fold(0_u64, |sum, one| sum + u64::from(one));
    white as f64 / luma.len().max(1) as f64
}
