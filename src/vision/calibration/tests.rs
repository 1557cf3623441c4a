//! Cameras whose lens is known, targets that are drawn, files that are frozen.

use nalgebra::{Rotation3, Vector3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::estimate::{EstimateError, Grid, Method, estimate};
use super::file::{FileError, Record};
use super::lens::Lens;
use super::quality::{assess, warnings};
use super::target::{FindError, Kind, Target, overexposure};
use super::*;
use crate::vision::grey::GreyImage;

const SIZE_PX: [u32; 2] = [800, 600];

const GRID: Grid = Grid {
    columns: 9,
    rows: 6,
    pitch_mm: 10.0,
};

const LENS: Lens = Lens {
    focal_px: [905.0, 902.5],
    centre_px: [409.3, 294.4],
    distortion: [-0.21, 0.12, 9e-4, -6e-4, 0.0],
};

/// Tilts in degrees and distance in millimetres.
const VIEWS: [([f64; 3], f64); 5] = [
    ([0.0, 0.0, 0.0], 130.0),
    ([28.0, 0.0, 3.0], 140.0),
    ([0.0, 30.0, -5.0], 150.0),
    ([-22.0, 20.0, 10.0], 150.0),
    ([20.0, -24.0, 40.0], 170.0),
];

/// Where the points of the target are seen, moved by noise of this deviation, pixels.
fn seen((degrees, distance): ([f64; 3], f64), lens: &Lens, noise_px: f64, seed: u64) -> Vec<Point> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let turn = Rotation3::from_scaled_axis(Vector3::from(degrees.map(f64::to_radians)));
    let project = |[x, y]: Point| {
        let point = turn * Vector3::new(x - 40.0, y - 25.0, 0.0) + Vector3::new(0.0, 0.0, distance);
        lens.project([point.x / point.z, point.y / point.z])
    };
    let mut noise = || noise_px * ((0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0);
    GRID.points_mm()
        .into_iter()
        .map(project)
        .map(|[x, y]| [x + noise(), y + noise()])
        .collect()
}

#[test]
fn several_views_tell_the_lens_exactly() {
    let views: Vec<_> = VIEWS.iter().map(|view| seen(*view, &LENS, 0.0, 0)).collect();
    let found = estimate(&GRID, SIZE_PX, &views, false).unwrap();
    assert_eq!(found.method, Method::SeveralViews);
    let numbers = |lens: &Lens| [lens.focal_px.as_slice(), &lens.centre_px, &lens.distortion].concat();
    for (got, truth) in numbers(&found.lens).iter().zip(numbers(&LENS)) {
        assert!((got - truth).abs() < 1e-5 * truth.abs().max(1.0), "{:?}", found.lens);
    }
}

#[test]
fn noise_comes_out_as_the_error_that_is_told() {
    let views: Vec<_> = VIEWS.iter().zip(0..).map(|(view, seed)| seen(*view, &LENS, 0.1, seed)).collect();
    let found = estimate(&GRID, SIZE_PX, &views, false).unwrap();
    let calibration = Calibration {
        size_px: SIZE_PX,
        lens: found.lens,
        plane_mm: found.planes_px[0].inverse().unwrap(),
    };
    let quality = assess(&calibration, &found, &views);
    // Of both axes together: 0.1 px times the root of 2, less what the fit takes up.
    assert!((0.12..0.15).contains(&quality.rms_px), "{quality:?}");
    let deviation = found.focal_deviation_px.unwrap()[0];
    assert!((found.lens.focal_px[0] - LENS.focal_px[0]).abs() < 4.0 * deviation, "{found:?}");
    // The first view is parallel to the sensor: millimetres are the distance by the focal length.
    let truth = 130.0 / (905.0_f64 * 902.5).sqrt();
    assert!((quality.scale_mm_per_px / truth - 1.0).abs() < 2e-3, "{quality:?}");
    let [a, b] = [views[0][0], views[0][8]].map(|point| calibration.to_mm(point));
    assert!((a[0] - b[0]).hypot(a[1] - b[1]) - 80.0 < 0.1, "{a:?} {b:?}");
    let back = calibration.to_px(calibration.to_mm([123.0, 456.0])).unwrap();
    assert!((back[0] - 123.0).abs() < 1e-6 && (back[1] - 456.0).abs() < 1e-6, "{back:?}");
}

#[test]
fn one_view_tells_the_plane_and_says_what_it_does_not() {
    for (view, seed) in VIEWS.iter().zip(0..).take(2) {
        let found = estimate(&GRID, SIZE_PX, &[seen(*view, &LENS, 0.02, seed)], false).unwrap();
        assert_eq!(found.method, Method::OneView);
        assert!(
            found.undetermined.contains(&"focal_length_px") && !found.undetermined.contains(&"k1"),
            "{:?}",
            found.undetermined
        );
        let plane = found.planes_px[0].inverse().unwrap();
        for (place, truth) in seen(*view, &LENS, 0.0, 0).into_iter().zip(GRID.points_mm()) {
            let [x, y] = plane.apply(found.lens.undistort(place));
            assert!((x - truth[0]).hypot(y - truth[1]) < 0.03, "{view:?}: {x} {y} {truth:?}");
        }
    }
    let pinhole = Lens {
        distortion: [0.0; 5],
        ..LENS
    };
    let straight = estimate(&GRID, SIZE_PX, &[seen(VIEWS[1], &pinhole, 0.05, 3)], false).unwrap();
    assert!(straight.undetermined.contains(&"k1"), "{:?}", straight.undetermined);
    assert!(straight.lens.distortion.iter().all(|number| *number == 0.0));
}

#[test]
fn views_that_do_not_tell_the_lens_are_refused() {
    let alike: Vec<_> = (0..5)
        .map(|seed| seen(([0.0, 0.0, 4.0 * seed as f64], 130.0 + 3.0 * seed as f64), &LENS, 0.05, seed))
        .collect();
    let refused = estimate(&GRID, SIZE_PX, &alike, false);
    assert!(matches!(refused, Err(EstimateError::AllAlike { .. })), "{refused:?}");
    assert!(matches!(
        estimate(&GRID, SIZE_PX, &alike[..2], false),
        Err(EstimateError::ViewCount { given: 2 })
    ));
    assert!(matches!(
        estimate(&GRID, SIZE_PX, &[], false),
        Err(EstimateError::ViewCount { given: 0 })
    ));
    let line = GRID.points_mm().iter().map(|[x, _]| [*x, *x]).collect();
    assert!(matches!(
        estimate(&GRID, SIZE_PX, &[line], false),
        Err(EstimateError::NoPlane { view: 0 })
    ));
}

/// A picture of 480 x 360 px of a target that lies turned in it, 40 px from point to point; 7 x 5 of them lie in the middle.
fn drawn(degrees: f64, bright: impl Fn(Point) -> f64) -> GreyImage {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (width, height) = (480, 360);
    let level = |index: usize| {
        let (x, y) = ((index % width) as f64, (index / width) as f64);
        let places = (0..16).map(|place| [x - 0.375 + 0.25 * f64::from(place % 4), y - 0.375 + 0.25 * f64::from(place / 4)]);
        let on_target = |[x, y]: Point| {
            let (x, y) = (x - 240.0, y - 180.0);
            [(cos * x + sin * y + 120.0) / 40.0, (cos * y - sin * x + 80.0) / 40.0]
        };
        places.map(|place| bright(on_target(place))).sum::<f64>() / 16.0
    };
    GreyImage {
        width,
        height,
        luma: (0..width * height).map(|index| level(index).round() as u8).collect(),
    }
}

fn squares([x, y]: Point, (columns, rows): (f64, f64)) -> f64 {
    let is_board = x > -1.0 && x < columns && y > -1.0 && y < rows;
    if is_board && (x.floor() + y.floor()).rem_euclid(2.0) == 0.0 {
        30.0
    } else {
        220.0
    }
}

fn dots([x, y]: Point, (columns, rows): (f64, f64)) -> f64 {
    let is_board = x > -0.5 && x < columns - 0.5 && y > -0.5 && y < rows - 0.5;
    if is_board && (x - x.round()).hypot(y - y.round()) < 0.25 {
        30.0
    } else {
        220.0
    }
}

fn target(kind: Kind, columns: usize, rows: usize) -> Target {
    Target {
        kind,
        grid: Grid {
            columns,
            rows,
            pitch_mm: 1.0,
        },
    }
}

#[test]
fn points_are_found_where_they_were_drawn() {
    for degrees in [0.0, 17.0, -33.0, 85.0] {
        for kind in [Kind::Checkerboard, Kind::Dots] {
            let picture = drawn(degrees, |place| match kind {
                Kind::Checkerboard => squares(place, (7.0, 5.0)),
                Kind::Dots => dots(place, (7.0, 5.0)),
            });
            let points = target(kind, 7, 5).find(&picture).unwrap();
            let (sin, cos) = degrees.to_radians().sin_cos();
            for (index, [x, y]) in points.into_iter().enumerate() {
                let (across, down) = (40.0 * (index % 7) as f64 - 120.0, 40.0 * (index / 7) as f64 - 80.0);
                let truth = [240.0 + cos * across - sin * down, 180.0 + sin * across + cos * down];
                assert!(
                    (x - truth[0]).hypot(y - truth[1]) < 0.1,
                    "{kind:?} {degrees}: {index} at {x} {y}, truth {truth:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_the_target_is_told_with_a_remedy() {
    let board = drawn(5.0, |place| squares(place, (7.0, 5.0)));
    let checkers = target(Kind::Checkerboard, 8, 6);
    let refused = checkers.find(&board).unwrap_err();
    assert!(
        matches!(refused, FindError::OtherSize { found_columns, found_rows, .. } if [found_columns, found_rows] == [7, 5] || [found_columns, found_rows] == [5, 7]),
        "{refused:?}"
    );
    assert!(refused.to_string().ends_with("a board of 10 x 7 squares has 9 x 6"), "{refused}");
    let covered = drawn(5.0, |[x, y]| {
        if (x - 3.0).hypot(y - 2.0) < 0.4 {
            120.0
        } else {
            squares([x, y], (7.0, 5.0))
        }
    });
    assert_eq!(
        target(Kind::Checkerboard, 7, 5).find(&covered),
        Err(FindError::Incomplete {
            target: target(Kind::Checkerboard, 7, 5),
            found: 34
        })
    );
    for kind in [Kind::Checkerboard, Kind::Dots] {
        let blank = drawn(0.0, |_| 128.0);
        assert_eq!(target(kind, 7, 5).find(&blank), Err(FindError::Nothing { kind }));
        let white = drawn(0.0, |_| 255.0);
        assert_eq!(target(kind, 7, 5).find(&white), Err(FindError::Overexposed { kind, share: 1.0 }));
        let tiny = GreyImage {
            width: 1,
            height: 1,
            luma: vec![0],
        };
        assert!(target(kind, 7, 5).find(&tiny).is_err());
    }
}

#[test]
fn a_square_grid_on_its_corner_has_no_axes() {
    let square = target(Kind::Dots, 5, 5);
    let picture = |degrees| drawn(degrees, |place| dots(place, (5.0, 5.0)));
    let upright = square.find(&picture(10.0)).unwrap();
    assert_eq!(square.check_axes(&upright), Ok(()));
    let corner = square.find(&picture(44.0)).unwrap();
    assert!(matches!(square.check_axes(&corner), Err(FindError::Ambiguous { .. })));
}

#[test]
fn light_that_is_cut_off_is_warned_of() {
    let board = target(Kind::Checkerboard, 7, 5);
    let fine = drawn(0.0, |place| squares(place, (7.0, 5.0)));
    assert_eq!(overexposure(&fine, &board.find(&fine).unwrap()), None);
    let bright = drawn(0.0, |place| 1.2 * squares(place, (7.0, 5.0)));
    let warning = overexposure(&bright, &board.find(&bright).unwrap()).unwrap();
    assert!(warning.contains("full white"), "{warning}");
}

/// Written by the first version of the format; whatever comes later has to read it.
const FROZEN: &str = include_str!("../../../tests/fixtures/calibration_v1.toml");

#[test]
fn the_first_format_is_read_and_written_as_ever() {
    let record = Record::from_text(FROZEN).unwrap();
    assert_eq!(record.to_text().as_deref(), Ok(FROZEN));
    assert_eq!(record.calibration.size_px, SIZE_PX);
    assert!((record.calibration.scale_mm_per_px() - record.quality.scale_mm_per_px).abs() < 1e-9);
    assert_eq!(record.check_size(800, 600), Ok(()));
    let other = record.check_size(1280, 960).unwrap_err().to_string();
    assert!(other.contains("800 x 600 px, the camera gives 1280 x 960 px"), "{other}");
}

#[test]
fn files_that_are_newer_changed_or_nonsense_are_refused() {
    let newer = FROZEN.replace("calibration_version = 1", "calibration_version = 2");
    assert_eq!(Record::from_text(&newer), Err(FileError::Newer { found: 2 }));
    let changed = FROZEN.replace("pitch_mm = 10.0", "pitch_mm = 11.0");
    assert_ne!(changed, FROZEN);
    assert_eq!(Record::from_text(&changed), Err(FileError::Changed));
    assert_eq!(Record::from_text(&FROZEN[..FROZEN.len() - 20]), Err(FileError::Changed));
    assert!(matches!(Record::from_text("nonsense"), Err(FileError::Invalid(_))));
    let mut record = Record::from_text(FROZEN).unwrap();
    record.calibration.lens.focal_px[0] = -1.0;
    assert!(matches!(record.to_text(), Err(FileError::Invalid(_))));
    let mut record = Record::from_text(FROZEN).unwrap();
    record.calibration.plane_mm.0.fill(0.0);
    assert!(matches!(record.to_text(), Err(FileError::Invalid(_))));
}

#[test]
fn a_poor_calibration_is_called_that() {
    let views: Vec<_> = VIEWS.iter().zip(0..).map(|(view, seed)| seen(*view, &LENS, 0.8, seed)).collect();
    let found = estimate(&GRID, SIZE_PX, &views, false).unwrap();
    let calibration = Calibration {
        size_px: SIZE_PX,
        lens: found.lens,
        plane_mm: found.planes_px[0].inverse().unwrap(),
    };
    let told = warnings(&assess(&calibration, &found, &views), &found);
    assert!(
        told.iter().any(|warning| warning.starts_with("the calibration is poor")),
        "{told:?}"
    );
}
