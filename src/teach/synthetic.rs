//! Defects drawn onto pictures of good parts, for choosing between ways to teach where no real defects are at hand. They say which way sees thin,
//! small and faint changes better; they do not say how many real defects will be found. Pure.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::vision::Image;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A line of one to two pixels that wanders, darker than what it crosses.
    Crack,
    /// A small round spot, darker or brighter.
    Spot,
    /// A soft, wide change of brightness.
    Stain,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Crack, Self::Spot, Self::Stain];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crack => "drawn crack",
            Self::Spot => "drawn spot",
            Self::Stain => "drawn stain",
        }
    }
}

/// Draws one defect at a place, in a size and strength that follow from `seed`. Most of a picture is its part: places keep an eighth of the
/// picture away from its rim.
pub fn draw(picture: &mut Image, kind: Kind, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let shorter = width.min(height);
    let x = width * random.random_range(0.125..0.875);
    let y = height * random.random_range(0.125..0.875);
    match kind {
        Kind::Crack => {
            let length = shorter * random.random_range(0.08..0.25);
            let (mut x, mut y, mut angle) = (x, y, random.random_range(0.0..std::f64::consts::TAU));
            let (radius, gain) = (random.random_range(0.5..1.0), random.random_range(-0.55..-0.25));
            let mut left = length;
            while left > 0.0 {
                shade(picture, (x, y), radius, 0.5, gain);
                angle += random.random_range(-0.25..0.25);
                // Steps of less than a radius: no gaps, and no step is drawn so often that it turns black.
                x += 0.8 * angle.cos();
                y += 0.8 * angle.sin();
                left -= 0.8;
            }
        }
        Kind::Spot => {
            let radius = (shorter * random.random_range(0.006..0.02)).max(1.0);
            let gain = random.random_range(0.25..0.5);
            shade(picture, (x, y), radius, 0.5, if random.random() { gain } else { -gain });
        }
        Kind::Stain => {
            let radius = shorter * random.random_range(0.05..0.12);
            let gain = random.random_range(0.12..0.25);
            shade(picture, (x, y), 0.0, radius, if random.random() { gain } else { -gain });
        }
    }
}

/// Makes pixels around a place brighter or darker by a share of the larger of their level and a quarter of white: fully within the radius, less and
/// less over `soft` pixels beyond it.
fn shade(picture: &mut Image, (x, y): (f64, f64), radius: f64, soft: f64, gain: f64) {
    let reach = radius + soft + 1.0;
    let span = |centre: f64, length: u32| {
        let first = (centre - reach).floor().clamp(0.0, f64::from(length)) as u32;
        first..(centre + reach).ceil().clamp(0.0, f64::from(length)) as u32
    };
    for row in span(y, picture.height) {
        for column in span(x, picture.width) {
            let distance = (f64::from(column) + 0.5 - x).hypot(f64::from(row) + 0.5 - y);
            let weight = ((radius + soft - distance) / soft.max(1e-6)).clamp(0.0, 1.0);
            let at = (row as usize * picture.width as usize + column as usize) * 3;
            for level in &mut picture.rgb[at..at + 3] {
                let change = gain * weight * f64::from(*level).max(64.0);
                *level = (f64::from(*level) + change).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_defect_changes_little_of_a_picture_and_always_the_same(width in 64_u32..300, height in 64_u32..300, seed: u64, kind in 0_usize..3) {
            let plain = Image { width, height, rgb: vec![120; (width * height * 3) as usize] };
            let drawn = || {
                let mut picture = plain.clone();
                draw(&mut picture, Kind::ALL[kind], seed);
                picture
            };
            let changed = drawn().rgb.chunks(3).zip(plain.rgb.chunks(3)).filter(|(a, b)| a != b).count();
            prop_assert!(changed > 0 && changed < plain.rgb.len() / 3 / 8, "{changed}");
            prop_assert!(drawn() == drawn());
        }
    }
}
