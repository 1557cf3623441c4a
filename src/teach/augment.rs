//! Good pictures varied a little, so that a model taught from few of them allows for a lamp that ages and a part that lies a little askew. Pure.
//!
//! Varied pictures are for fitting alone. What good parts score is measured on pictures as the camera gave them.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::model::manifest::Variation;

/// Varied copies of each picture: a few show where features go, and each costs as much time and memory as the picture itself.
pub const COPIES: usize = 3;

/// Largest change of brightness and of contrast (about the picture's mean), as a share, and of the exponent of its levels.
const LIGHT: f32 = 0.15;

/// Largest change of red and, the other way, of blue, as a share: some 500 K about daylight of 5500 K.
const WARMTH: f32 = 0.06;

/// Largest shift along each axis, as a share of the side, and largest change of scale.
const SHIFT: f32 = 0.02;

/// Largest rotation, degrees.
const ROTATION_DEGREES: f32 = 2.0;

/// Copies of a picture (RGB, row by row), each varied in all of the `ways`. The same seed gives the same copies.
pub fn varied(rgb: &[u8], width: usize, height: usize, ways: &[Variation], seed: u64) -> Vec<Vec<u8>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut copy = || {
        let mut copy = rgb.to_vec();
        if ways.contains(&Variation::Pose) {
            copy = moved(&copy, width, height, Pose::drawn(&mut random, width, height));
        }
        if ways.contains(&Variation::Light) {
            relight(&mut copy, &mut random);
        }
        copy
    };
    (0..COPIES).map(|_| copy()).collect()
}

/// Another light: brightness, contrast, exponent, and of coloured pictures warmth. A grey picture stays grey.
fn relight(rgb: &mut [u8], random: &mut ChaCha8Rng) {
    let mean = rgb.iter().map(|level| f64::from(*level)).sum::<f64>() / rgb.len().max(1) as f64 / 255.0;
    let is_grey = rgb
        .as_chunks::<3>()
        .0
        .iter()
        .all(|[red, green, blue]| red == green && green == blue);
    let mut about_one = |most: f32| 1.0 + random.random_range(-most..most);
    let (brightness, contrast, exponent, warm) = (about_one(LIGHT), about_one(LIGHT), about_one(LIGHT), about_one(WARMTH));
    let warm = if is_grey { 1.0 } else { warm };
    let mean = (mean as f32).powf(exponent);
    let table = |gain: f32| -> Vec<u8> {
        let level = |level: u8| {
            let value = (f32::from(level) / 255.0).powf(exponent);
            (((value - mean) * contrast + mean) * brightness * gain * 255.0)
                .round()
                .clamp(0.0, 255.0) as u8
        };
        (0..=255).map(level).collect()
    };
    let tables = [table(warm), table(1.0), table(2.0 - warm)];
    for (at, level) in rgb.iter_mut().enumerate() {
        *level = tables[at % 3][usize::from(*level)];
    }
}

/// Where a copy's pixels come from: turned and scaled about the middle, then shifted.
#[derive(Debug, Clone, Copy)]
struct Pose {
    cosine: f32,
    sine: f32,
    shift: (f32, f32),
}

impl Pose {
    fn drawn(random: &mut ChaCha8Rng, width: usize, height: usize) -> Self {
        let mut within = |most: f32| random.random_range(-most..most);
        let angle = within(ROTATION_DEGREES).to_radians();
        let scale = 1.0 + within(SHIFT);
        Self {
            cosine: angle.cos() * scale,
            sine: angle.sin() * scale,
            shift: (within(SHIFT) * width as f32, within(SHIFT) * height as f32),
        }
    }
}

/// The picture in another pose, interpolated linearly; beyond its border the border is repeated.
fn moved(rgb: &[u8], width: usize, height: usize, pose: Pose) -> Vec<u8> {
    let middle = ((width as f32 - 1.0) / 2.0, (height as f32 - 1.0) / 2.0);
    let pixel = |x: usize, y: usize, channel: usize| f32::from(rgb[(y * width + x) * 3 + channel]);
    let mut out = Vec::with_capacity(rgb.len());
    for y in 0..height {
        for x in 0..width {
            let (across, down) = (x as f32 - middle.0, y as f32 - middle.1);
            let from_x = (pose.cosine * across - pose.sine * down + middle.0 + pose.shift.0).clamp(0.0, width as f32 - 1.0);
            let from_y = (pose.sine * across + pose.cosine * down + middle.1 + pose.shift.1).clamp(0.0, height as f32 - 1.0);
            let (left, top) = (from_x as usize, from_y as usize);
            let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
            let (share_x, share_y) = (from_x.fract(), from_y.fract());
            for channel in 0..3 {
                let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
                let above = mix(pixel(left, top, channel), pixel(right, top, channel), share_x);
                let below = mix(pixel(left, bottom, channel), pixel(right, bottom, channel), share_x);
                out.push(mix(above, below, share_y).round() as u8);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Variation; 2] = [Variation::Light, Variation::Pose];

    proptest! {
        #[test]
        fn copies_have_the_size_differ_and_follow_from_the_seed(levels in prop::collection::vec(20_u8..200, 300), seed: u64) {
            let copies = varied(&levels, 10, 10, &ALL, seed);
            prop_assert_eq!(copies.len(), COPIES);
            prop_assert!(copies.iter().all(|copy| copy.len() == levels.len() && *copy != levels));
            prop_assert_eq!(copies, varied(&levels, 10, 10, &ALL, seed));
        }

        #[test]
        fn light_changes_levels_within_its_bounds_and_leaves_grey_grey(level in 60_u8..180, seed: u64) {
            let even = vec![level; 300];
            for copy in varied(&even, 10, 10, &[Variation::Light], seed) {
                prop_assert!(copy.as_chunks::<3>().0.iter().all(|[red, green, blue]| red == green && green == blue));
                // An even picture has no contrast; brightness and exponent are left.
                let share = f32::from(level) / 255.0;
                let (low, high) = (share.powf(1.0 + LIGHT) * (1.0 - LIGHT), share.powf(1.0 - LIGHT) * (1.0 + LIGHT));
                let got = f32::from(copy[0]) / 255.0;
                prop_assert!(got >= low - 0.01 && got <= high + 0.01, "{} became {}", level, copy[0]);
            }
        }
    }

    #[test]
    fn a_pose_without_a_change_leaves_the_picture_and_a_shift_moves_it() {
        let rgb: Vec<u8> = (0..12 * 8 * 3).map(|at| (at * 37 % 251) as u8).collect();
        let still = Pose {
            cosine: 1.0,
            sine: 0.0,
            shift: (0.0, 0.0),
        };
        assert_eq!(moved(&rgb, 12, 8, still), rgb);
        let right = moved(
            &rgb,
            12,
            8,
            Pose {
                shift: (1.0, 0.0),
                ..still
            },
        );
        assert_eq!(right[..11 * 3], rgb[3..12 * 3]);
    }
}
