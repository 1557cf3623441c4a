//! Parts that are rendered, moved by a known way, lit differently, covered and noisy; and a real picture, warped.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const WIDTH: usize = 480;
const HEIGHT: usize = 360;
const REGION: Region = Region {
    x: 140,
    y: 90,
    width: 200,
    height: 170,
};

/// A plate with a notch, two holes of different size and a bar, as brightness at a place: grey in front of a bright ground.
fn plate([x, y]: Point) -> f64 {
    let in_box = |left: f64, top: f64, right: f64, bottom: f64| x > left && x < right && y > top && y < bottom;
    let in_hole = |at: Point, radius: f64| (x - at[0]).hypot(y - at[1]) < radius;
    let is_plate = in_box(155.0, 105.0, 325.0, 245.0) && !in_box(155.0, 105.0, 195.0, 130.0);
    match () {
        () if in_hole([210.0, 160.0], 18.0) || in_hole([290.0, 210.0], 11.0) => 200.0,
        () if in_box(230.0, 150.0, 305.0, 162.0) => 40.0,
        () if is_plate => 110.0,
        () => 200.0,
    }
}

/// The picture of a scene that was moved: every pixel the mean of 3 x 3 places.
fn rendered(scene: impl Fn(Point) -> f64, pose: Pose) -> GreyImage {
    let level = |index: usize| {
        let (x, y) = ((index % WIDTH) as f64, (index / WIDTH) as f64);
        let places = (0..9).map(|place| {
            [
                x + f64::from(place % 3) / 3.0 - 1.0 / 3.0,
                y + f64::from(place / 3) / 3.0 - 1.0 / 3.0,
            ]
        });
        places
            .map(|[x, y]| {
                let place = pose.to_reference(place::Point::new(x + 0.5, y + 0.5));
                scene([place.x - 0.5, place.y - 0.5])
            })
            .sum::<f64>()
            / 9.0
    };
    GreyImage {
        width: WIDTH,
        height: HEIGHT,
        luma: (0..WIDTH * HEIGHT).map(|index| level(index).round() as u8).collect(),
    }
}

fn pose(dx_px: f64, dy_px: f64, angle_deg: f64) -> Pose {
    Pose {
        dx_px,
        dy_px,
        angle_rad: angle_deg.to_radians(),
        pivot: place::Point::new(
            f64::from(REGION.x) + f64::from(REGION.width) / 2.0,
            f64::from(REGION.y) + f64::from(REGION.height) / 2.0,
        ),
    }
}

/// The picture in other light, with noise of so many levels.
fn lit(mut image: GreyImage, light: f64, noise: f64, seed: u64) -> GreyImage {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for value in &mut image.luma {
        // The sum of twelve uniform numbers is nearly normal, with a deviation of 1.
        let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        *value = (light * f64::from(*value) + noise * normal).clamp(0.0, 255.0).round() as u8;
    }
    image
}

fn taught() -> Locator {
    taught_by(Kind::Edges)
}

fn taught_by(kind: Kind) -> Locator {
    let settings = Settings {
        kind,
        ..Settings::default()
    };
    Locator::teach(&rendered(plate, pose(0.0, 0.0, 0.0)), REGION, settings).unwrap()
}

/// Pixels and degrees between what was found and what is true.
fn off(found: &Pose, truth: &Pose) -> (f64, f64) {
    (
        (found.dx_px - truth.dx_px).hypot(found.dy_px - truth.dy_px),
        (found.angle_rad - truth.angle_rad).to_degrees().abs(),
    )
}

#[track_caller]
fn assert_at(found: Result<Located, NotLocated>, truth: &Pose, (px, degrees): (f64, f64)) {
    let found = found.unwrap();
    let (shift, turn) = off(&found.pose, truth);
    assert!(
        shift <= px && turn <= degrees,
        "off by {shift:.3} px and {turn:.4} degrees: {found:?}, truth {truth:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_part_is_found_wherever_it_lies(dx in -60.0..60.0_f64, dy in -60.0..60.0_f64, angle in -15.0..15.0_f64, light in 0.5..1.25_f64, seed in 0_u64..1000) {
        let truth = pose(dx, dy, angle);
        let frame = lit(rendered(plate, truth), light, 3.0, seed);
        assert_at(taught().locate(&frame), &truth, (0.2, 0.1));
    }

    #[test]
    fn a_template_is_found_wherever_it_lies(dx in -60.0..60.0_f64, dy in -60.0..60.0_f64, angle in -15.0..15.0_f64, light in 0.5..1.25_f64, seed in 0_u64..1000) {
        let truth = pose(dx, dy, angle);
        let frame = lit(rendered(plate, truth), light, 3.0, seed);
        // A turn that moves hard edges by a fraction of a pixel is hardly to be seen in half the light, with noise.
        assert_at(taught_by(Kind::Template).locate(&frame), &truth, (0.35, 0.25));
    }
}

#[test]
fn a_template_is_found_by_shades_that_have_no_edge() {
    // Hills of brightness, 40 px wide: no gradient is strong enough for an edge.
    let shades = |[x, y]: Point| {
        let hill = |at: Point, height: f64| height * (-((x - at[0]).powi(2) + (y - at[1]).powi(2)) / 800.0).exp();
        128.0 + hill([200.0, 150.0], 50.0) - hill([270.0, 200.0], 60.0) + hill([285.0, 130.0], 30.0)
    };
    let reference = rendered(shades, pose(0.0, 0.0, 0.0));
    let settings = Settings {
        kind: Kind::Template,
        ..Settings::default()
    };
    assert!(matches!(
        Locator::teach(&reference, REGION, Settings::default()),
        Err(TeachError::FewEdges { .. })
    ));
    let locator = Locator::teach(&reference, REGION, settings).unwrap();
    for (dx, dy, angle) in [(31.4, -22.7, 6.5), (-48.2, 39.9, -11.0), (0.5, 0.5, 0.0)] {
        let truth = pose(dx, dy, angle);
        // Darker by a factor and brighter by an offset.
        let mut frame = lit(rendered(shades, truth), 0.7, 2.0, 5);
        frame.luma.iter_mut().for_each(|level| *level = level.saturating_add(40));
        assert_at(locator.locate(&frame), &truth, (0.2, 0.2));
    }
}

#[test]
fn a_template_that_is_not_there_is_not_found() {
    let locator = taught_by(Kind::Template);
    let still = pose(0.0, 0.0, 0.0);
    let frames = [
        rendered(|_| 128.0, still),
        lit(rendered(|_| 128.0, still), 1.0, 8.0, 3),
        rendered(|[x, y]| if (x - 200.0).hypot(y - 180.0) < 60.0 { 60.0 } else { 190.0 }, still),
        // Its negative is another thing.
        rendered(|place| 255.0 - plate(place), still),
        GreyImage {
            width: 3,
            height: 1,
            luma: vec![0; 3],
        },
    ];
    for frame in &frames {
        let found = locator.locate(frame);
        assert!(matches!(found, Err(NotLocated::Unlike { .. })), "{found:?}");
    }
}

#[test]
fn a_template_without_a_place_of_its_own_is_not_taught() {
    let teach = |scene: fn(Point) -> f64, angle_deg_max: f64| {
        let settings = Settings {
            kind: Kind::Template,
            angle_deg_max,
            ..Settings::default()
        };
        Locator::teach(&rendered(scene, pose(0.0, 0.0, 0.0)), REGION, settings).map(|_| ())
    };
    assert!(matches!(teach(|_| 90.0, 15.0), Err(TeachError::Plain { .. })));
    let disc: fn(Point) -> f64 = |[x, y]| if (x - 239.5).hypot(y - 174.5) < 70.0 { 60.0 } else { 190.0 };
    assert!(matches!(teach(disc, 15.0), Err(TeachError::Ambiguous { .. })));
    assert!(teach(disc, 0.0).is_ok());
    let stripes = teach(|[x, _]| if (x / 16.0).floor() % 2.0 == 0.0 { 60.0 } else { 190.0 }, 0.0);
    assert!(matches!(stripes, Err(TeachError::Ambiguous { .. })), "{stripes:?}");
}

#[test]
fn a_third_may_be_covered() {
    let truth = pose(23.4, -17.8, 8.3);
    let locator = taught();
    // Right of here lie 30 % of the edges.
    let Look::Edges(shape) = &locator.look else { unreachable!() };
    let mut edges: Vec<f64> = shape.measured.iter().map(|point| f64::from(point.at[0])).collect();
    edges.sort_by(f64::total_cmp);
    let covered_from = truth.pivot.x - 0.5 + edges[7 * edges.len() / 10];
    let cover = |place: Point| if place[0] > covered_from { 90.0 } else { plate(place) };
    let frame = lit(rendered(cover, truth), 0.8, 3.0, 7);
    let found = locator.locate(&frame);
    assert_at(found, &truth, (0.2, 0.1));
    assert!(found.unwrap().score < 0.8, "{found:?}");
}

#[test]
fn where_there_is_no_part_none_is_found() {
    let blank = lit(rendered(|_| 128.0, pose(0.0, 0.0, 0.0)), 1.0, 8.0, 3);
    let found = taught().locate(&blank);
    assert!(
        matches!(found, Err(NotLocated::Unlike { best_score, .. }) if best_score < 0.4),
        "{found:?}"
    );
    let other = rendered(
        |[x, y]| if (x - 200.0).hypot(y - 180.0) < 60.0 { 60.0 } else { 190.0 },
        pose(0.0, 0.0, 0.0),
    );
    assert!(matches!(taught().locate(&other), Err(NotLocated::Unlike { .. })));
    let tiny = GreyImage {
        width: 3,
        height: 1,
        luma: vec![0; 3],
    };
    assert!(taught().locate(&tiny).is_err());
}

#[test]
fn the_same_part_twice_is_not_certain() {
    let settings = Settings::default();
    let small = Region {
        x: 180,
        y: 135,
        width: 60,
        height: 52,
    };
    let hole = |at: Point| {
        move |[x, y]: Point| {
            if (x - at[0]).hypot(y - at[1]) < 18.0 || (x > at[0] && x < at[0] + 24.0 && (y - at[1]).abs() < 5.0) {
                60.0
            } else {
                200.0
            }
        }
    };
    let one = rendered(hole([210.0, 160.0]), pose(0.0, 0.0, 0.0));
    let locator = Locator::teach(&one, small, settings).unwrap();
    let two = rendered(
        |place| hole([205.0, 150.0])(place).min(hole([245.0, 200.0])(place)),
        pose(0.0, 0.0, 0.0),
    );
    let found = locator.locate(&two);
    assert!(
        matches!(found, Err(NotLocated::Ambiguous { distance_px, .. }) if (distance_px - 64.0).abs() < 2.0),
        "{found:?}"
    );
}

#[test]
fn a_region_that_cannot_be_found_again_is_not_taught() {
    let teach =
        |scene: fn(Point) -> f64, settings: Settings| Locator::teach(&rendered(scene, pose(0.0, 0.0, 0.0)), REGION, settings).map(|_| ());
    let settings = Settings::default();
    assert!(matches!(teach(|_| 90.0, settings), Err(TeachError::FewEdges { found: 0, .. })));
    // A disc looks alike however it is turned; stripes look alike one stripe further.
    let disc = teach(|[x, y]| if (x - 240.0).hypot(y - 175.0) < 70.0 { 60.0 } else { 190.0 }, settings);
    assert!(matches!(disc, Err(TeachError::Ambiguous { .. })), "{disc:?}");
    let unturned = Settings {
        angle_deg_max: 0.0,
        ..settings
    };
    assert!(teach(|[x, y]| if (x - 240.0).hypot(y - 175.0) < 70.0 { 60.0 } else { 190.0 }, unturned).is_ok());
    let stripes = teach(|[x, _]| if (x / 16.0).floor() % 2.0 == 0.0 { 60.0 } else { 190.0 }, unturned);
    assert!(matches!(stripes, Err(TeachError::Ambiguous { .. })), "{stripes:?}");
    let too_wide = Settings {
        shift_px_max: 1024.0,
        angle_deg_max: 180.0,
        ..settings
    };
    assert!(matches!(teach(plate, too_wide), Err(TeachError::TooWide { .. })));
    assert_eq!(
        teach(
            plate,
            Settings {
                score_min: 0.0,
                ..settings
            }
        ),
        Err(TeachError::Settings)
    );
    let outside = Region { x: 400, ..REGION };
    let reference = rendered(plate, pose(0.0, 0.0, 0.0));
    assert!(matches!(
        Locator::teach(&reference, outside, settings),
        Err(TeachError::Region { .. })
    ));
}
