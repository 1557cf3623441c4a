//! Points of a flat target in pictures become lens and plane.
//!
//! Several views that are tilted differently: Z. Zhang, "A flexible new technique for camera calibration", IEEE PAMI 22 (2000), begun with the
//! principal point in the middle, refined on the distances in the picture. One view: a homography with radial distortion around the middle,
//! as far as the points tell; a single plane does not tell the focal length of a camera that may look at it from anywhere.

use nalgebra::{Matrix3, Rotation3, SMatrix, SVector, Vector3};

use super::Point;
use super::homography::Homography;
use super::least_squares::{Block, Minimum, minimise};
use super::lens::Lens;

/// Pictures at most.
pub const VIEWS_MAX: usize = 64;

/// Pictures from which a lens is found: two leave a part of it open.
pub const VIEWS_OF_LENS_MIN: usize = 3;

/// The most that the focal length may be in doubt (one standard deviation, as a share of it). Views that differ in tilt determine it to a few
/// parts in a thousand; views that are all alike leave it at tens of percent.
pub const FOCAL_DOUBT_MAX: f64 = 0.02;

/// How much better, in units of its own variance, the points have to be met for a coefficient of distortion to be believed: four standard
/// deviations.
const BELIEVED: f64 = 16.0;

/// Numbers of the lens among the parameters.
const OF_LENS: usize = 9;

/// Numbers of the pose of a view.
const OF_POSE: usize = 6;

/// A flat target: columns by rows of points, all the same distance apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Points along x.
    pub columns: usize,
    /// Points along y.
    pub rows: usize,
    /// From one to the next, millimetres.
    pub pitch_mm: f64,
}

impl Grid {
    /// The points, row by row.
    pub fn points_mm(&self) -> Vec<Point> {
        let row = |row: usize| (0..self.columns).map(move |column| [column as f64 * self.pitch_mm, row as f64 * self.pitch_mm]);
        (0..self.rows).flat_map(row).collect()
    }
}

/// How lens and plane were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// From several views: everything.
    SeveralViews,
    /// From one view: the plane, and radial distortion as far as it shows.
    OneView,
}

impl Method {
    /// The word in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SeveralViews => "several_views",
            Self::OneView => "one_view",
        }
    }

    /// The method of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::SeveralViews, Self::OneView].into_iter().find(|method| method.name() == name)
    }
}

/// What the points tell.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// How it was found.
    pub method: Method,
    /// The lens. Where the points do not tell, the focal length is the longer side of the picture, the principal point its middle, and
    /// coefficients are 0.
    pub lens: Lens,
    /// From millimetres of each view's target to undistorted pixels.
    pub planes_px: Vec<Homography>,
    /// From the points as they were seen to where they should be, pixels; by view.
    pub residuals_px: Vec<Vec<Point>>,
    /// Standard deviation of the focal lengths, pixels; `None` where they are assumed.
    pub focal_deviation_px: Option<[f64; 2]>,
    /// Which numbers of the lens the points do not tell.
    pub undetermined: Vec<&'static str>,
}

/// Why there is no lens, or no plane.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EstimateError {
    /// Two pictures, or far too many.
    #[error(
        "failed to calibrate from {given} pictures: a lens takes {VIEWS_OF_LENS_MIN} to {VIEWS_MAX} that are tilted differently, a plane alone takes 1; \
         take more, or give one"
    )]
    ViewCount {
        /// How many were given.
        given: usize,
    },
    /// The points of a view lie on a line.
    #[error("failed to calibrate: the points of picture {view} lie on a line; turn the target towards the camera")]
    NoPlane {
        /// Its place in the list, from 0.
        view: usize,
    },
    /// The views do not determine the lens.
    #[error(
        "failed to calibrate: the pictures are all alike, and the focal length could be anything{doubt}; tilt the target by 20 to 40 degrees \
         in another direction for each picture, or calibrate the plane alone from one picture"
    )]
    AllAlike {
        /// How uncertain it is, in words.
        doubt: String,
    },
    /// There are no numbers that fit.
    #[error("failed to calibrate: no lens shows the target as the pictures do; check --columns, --rows and that the target is flat")]
    NoLens,
}

/// Lens and planes from views of one target, each with all of its points, row by row.
///
/// `with_k3` also looks for the third radial coefficient, which only lenses of a wide angle need.
///
/// # Errors
/// When the views are too few, too many, or do not tell.
pub fn estimate(grid: &Grid, size_px: [u32; 2], views: &[Vec<Point>], with_k3: bool) -> Result<Estimate, EstimateError> {
    match views {
        [view] => from_one_view(grid, size_px, view),
        views if (VIEWS_OF_LENS_MIN..=VIEWS_MAX).contains(&views.len()) => from_several_views(grid, size_px, views, with_k3),
        views => Err(EstimateError::ViewCount { given: views.len() }),
    }
}

fn middle(size_px: [u32; 2]) -> Point {
    size_px.map(|side| (f64::from(side) - 1.0) / 2.0)
}

/// x and y of every residual in turn.
fn flat(seen: &[Point], shown: impl Iterator<Item = Point>) -> Vec<f64> {
    shown
        .zip(seen)
        .flat_map(|(shown, seen)| [shown[0] - seen[0], shown[1] - seen[1]])
        .collect()
}

fn paired(flat: &[f64]) -> Vec<Point> {
    flat.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
}

fn from_several_views(grid: &Grid, size_px: [u32; 2], views: &[Vec<Point>], with_k3: bool) -> Result<Estimate, EstimateError> {
    let points_mm = grid.points_mm();
    let fit = |(view, seen): (usize, &Vec<Point>)| Homography::fit(&points_mm, seen).ok_or(EstimateError::NoPlane { view });
    let planes: Vec<Homography> = views.iter().enumerate().map(fit).collect::<Result<_, _>>()?;
    let centre_px = middle(size_px);
    let longer = f64::from(size_px[0].max(size_px[1]));
    let lens = Lens {
        focal_px: focal_lengths(&planes, centre_px).unwrap_or([longer; 2]),
        centre_px,
        distortion: [0.0; 5],
    };
    let mut start = vec![
        lens.focal_px[0],
        lens.focal_px[1],
        centre_px[0],
        centre_px[1],
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    ];
    for (view, plane) in planes.iter().enumerate() {
        start.extend(pose_of(plane, &lens).ok_or(EstimateError::NoPlane { view })?);
    }
    let of_lens = if with_k3 { OF_LENS } else { OF_LENS - 1 };
    let blocks: Vec<Block<'_>> = views
        .iter()
        .enumerate()
        .map(|(view, seen)| {
            let first = OF_LENS + view * OF_POSE;
            let points_mm = &points_mm;
            Block {
                parameters: (0..of_lens).chain(first..first + OF_POSE).collect(),
                residuals: Box::new(move |parameters| {
                    let lens = lens_of(parameters);
                    let (turn, shift) = pose(&parameters[first..first + OF_POSE]);
                    let shown = points_mm.iter().map(|[x, y]| {
                        let point = turn * Vector3::new(*x, *y, 0.0) + shift;
                        lens.project([point.x / point.z, point.y / point.z])
                    });
                    flat(seen, shown)
                }),
            }
        })
        .collect();
    let found = minimise(start, &blocks).ok_or(EstimateError::NoLens)?;
    check_focal_lengths(&found)?;
    let lens = lens_of(&found.parameters);
    let poses = found.parameters[OF_LENS..].chunks_exact(OF_POSE);
    Ok(Estimate {
        method: Method::SeveralViews,
        lens,
        planes_px: poses.map(|numbers| plane_of(numbers, &lens)).collect(),
        residuals_px: blocks.iter().map(|block| paired(&(block.residuals)(&found.parameters))).collect(),
        focal_deviation_px: Some([found.deviations[0], found.deviations[1]]),
        undetermined: if with_k3 { vec![] } else { vec!["k3"] },
    })
}

/// Focal lengths from what planes do to right angles and equal lengths (Zhang, equations 3 and 4), with the principal point known and no skew;
/// `None` where the planes do not tell.
fn focal_lengths(planes: &[Homography], centre_px: Point) -> Option<[f64; 2]> {
    let mut products = SMatrix::<f64, 2, 2>::zeros();
    let mut sums = SVector::<f64, 2>::zeros();
    for plane in planes {
        let centred = Matrix3::new(1.0, 0.0, -centre_px[0], 0.0, 1.0, -centre_px[1], 0.0, 0.0, 1.0) * plane.0;
        let unit = |column: usize| centred.column(column).into_owned();
        let (a, b) = (unit(0), unit(1));
        // Both axes of the plane are equally long and at right angles; so are their sum and difference.
        let (a, b) = (a / a.norm(), b * (1.0 / a.norm()));
        let rows = [
            ([a.x * b.x, a.y * b.y], -a.z * b.z),
            ([a.x * a.x - b.x * b.x, a.y * a.y - b.y * b.y], b.z * b.z - a.z * a.z),
        ];
        for (row, value) in rows {
            let row = SVector::<f64, 2>::from(row);
            products += row * row.transpose();
            sums += row * value;
        }
    }
    let solved = products.try_inverse()? * sums;
    let focal = [solved[0], solved[1]].map(|inverse_square| inverse_square.recip().sqrt());
    focal.iter().all(|length| length.is_finite()).then_some(focal)
}

/// Rotation vector and shift of a plane before a camera of this lens.
fn pose_of(plane: &Homography, lens: &Lens) -> Option<[f64; OF_POSE]> {
    let camera = camera_matrix(lens);
    let columns = camera.try_inverse()? * plane.0;
    let scale = 2.0 / (columns.column(0).norm() + columns.column(1).norm());
    // The target is before the camera, not behind it.
    let scale = if columns[(2, 2)] < 0.0 { -scale } else { scale };
    let (x, y) = (columns.column(0) * scale, columns.column(1) * scale);
    let shift = columns.column(2) * scale;
    let svd = Matrix3::from_columns(&[x, y, x.cross(&y)]).svd(true, true);
    let turn = Rotation3::from_matrix_unchecked(svd.u? * svd.v_t?).scaled_axis();
    let numbers = [turn.x, turn.y, turn.z, shift.x, shift.y, shift.z];
    numbers.iter().all(|number| number.is_finite()).then_some(numbers)
}

fn camera_matrix(lens: &Lens) -> Matrix3<f64> {
    Matrix3::new(
        lens.focal_px[0],
        0.0,
        lens.centre_px[0],
        0.0,
        lens.focal_px[1],
        lens.centre_px[1],
        0.0,
        0.0,
        1.0,
    )
}

fn pose(numbers: &[f64]) -> (Rotation3<f64>, Vector3<f64>) {
    let turn = Rotation3::from_scaled_axis(Vector3::new(numbers[0], numbers[1], numbers[2]));
    (turn, Vector3::new(numbers[3], numbers[4], numbers[5]))
}

/// From millimetres of the plane to undistorted pixels.
fn plane_of(numbers: &[f64], lens: &Lens) -> Homography {
    let (turn, shift) = pose(numbers);
    let columns = Matrix3::from_columns(&[turn.matrix().column(0).into_owned(), turn.matrix().column(1).into_owned(), shift]);
    Homography(camera_matrix(lens) * columns).scaled()
}

fn lens_of(parameters: &[f64]) -> Lens {
    Lens {
        focal_px: [parameters[0], parameters[1]],
        centre_px: [parameters[2], parameters[3]],
        distortion: std::array::from_fn(|index| parameters[4 + index]),
    }
}

fn check_focal_lengths(found: &Minimum) -> Result<(), EstimateError> {
    let doubt = (0..2)
        .map(|axis| found.deviations[axis] / found.parameters[axis].abs())
        .fold(0.0, f64::max);
    if found.parameters[..OF_LENS].iter().any(|number| !number.is_finite()) {
        return Err(EstimateError::NoLens);
    }
    let is_positive = found.parameters[0] > 0.0 && found.parameters[1] > 0.0;
    if doubt <= FOCAL_DOUBT_MAX && is_positive {
        return Ok(());
    }
    let doubt = if doubt.is_finite() && is_positive {
        format!(" (one standard deviation is {:.0} %)", 100.0 * doubt)
    } else {
        String::new()
    };
    Err(EstimateError::AllAlike { doubt })
}

fn from_one_view(grid: &Grid, size_px: [u32; 2], seen: &[Point]) -> Result<Estimate, EstimateError> {
    let longer = f64::from(size_px[0].max(size_px[1]));
    let pinhole = Lens {
        focal_px: [longer; 2],
        centre_px: middle(size_px),
        distortion: [0.0; 5],
    };
    // Lengths of about 1 on both sides.
    let half_mm = grid.pitch_mm * (grid.columns.max(grid.rows) as f64) / 2.0;
    let middle_mm = [grid.columns, grid.rows].map(|count| grid.pitch_mm * (count as f64 - 1.0) / 2.0);
    let to_unit = Matrix3::new(
        1.0 / half_mm,
        0.0,
        -middle_mm[0] / half_mm,
        0.0,
        1.0 / half_mm,
        -middle_mm[1] / half_mm,
        0.0,
        0.0,
        1.0,
    );
    let points: Vec<Point> = grid.points_mm().iter().map(|point| Homography(to_unit).apply(*point)).collect();
    let directions: Vec<Point> = seen
        .iter()
        .map(|point| std::array::from_fn(|axis| (point[axis] - pinhole.centre_px[axis]) / longer))
        .collect();
    let first = Homography::fit(&points, &directions).ok_or(EstimateError::NoPlane { view: 0 })?.0;
    let mut start: Vec<f64> = first.transpose().iter().take(8).copied().collect();
    start.extend([0.0, 0.0]);

    let plane = |parameters: &[f64]| {
        let [a, b, c, d, e, f, g, h] = std::array::from_fn(|index| parameters[index]);
        Homography(Matrix3::new(a, b, c, d, e, f, g, h, 1.0))
    };
    let with_distortion = |parameters: &[f64]| Lens {
        distortion: [parameters[8], parameters[9], 0.0, 0.0, 0.0],
        ..pinhole
    };
    let residuals = |parameters: &[f64]| {
        let (plane, lens) = (plane(parameters), with_distortion(parameters));
        flat(seen, points.iter().map(|point| lens.project(plane.apply(*point))))
    };
    let search = |start: Vec<f64>, coefficients: usize| {
        let block = Block {
            parameters: (0..8 + coefficients).collect(),
            residuals: Box::new(residuals),
        };
        minimise(start, &[block]).ok_or(EstimateError::NoLens)
    };
    // One coefficient after the other, as long as the points are met so much better that it cannot be chance.
    let mut found = search(start, 0)?;
    let mut undetermined = vec!["focal_length_px", "principal_point_px", "p1", "p2", "k3"];
    for (coefficients, name) in [(1, "k1"), (2, "k2")] {
        let freedom = (2 * seen.len()).saturating_sub(8 + coefficients);
        let richer = search(found.parameters.clone(), coefficients)?;
        let variance = richer.squares / freedom.max(1) as f64;
        if freedom == 0 || found.squares - richer.squares <= BELIEVED * variance {
            undetermined.extend(["k1", "k2"].iter().skip_while(|other| **other != name));
            break;
        }
        found = richer;
    }
    let to_px = camera_matrix(&pinhole) * plane(&found.parameters).0 * to_unit;
    Ok(Estimate {
        method: Method::OneView,
        lens: with_distortion(&found.parameters),
        planes_px: vec![Homography(to_px).scaled()],
        residuals_px: vec![paired(&residuals(&found.parameters))],
        focal_deviation_px: None,
        undetermined,
    })
}
