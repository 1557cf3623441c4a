//! One part becomes pixels: a turned steel flange with four bolt holes, seen from above on a dark belt. Pure.
//!
//! Every part differs a little, as on a real line: where it lies (up to 1.5 pixels and 1 degree off), how bright the light is (8 % either way)
//! and where it comes from, the grooves that the turning tool left, and the sensor's noise. A defect changes the surface only; pose, light,
//! grooves and noise stay what they are without it, so the mask is exact.
//!
//! Only additions, multiplications, divisions and square roots are used, which IEEE 754 rounds the same everywhere: the same seed and index
//! give the same pixels on every machine.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::vision::{Image, Mask};

/// Pixels per row and rows of a rendered part.
pub const SIDE: u32 = 320;

/// Radius of the flange, pixels. It has a chamfer of [`CHAMFER`].
const FLANGE: f32 = 138.0;
/// Width of all chamfers, pixels.
const CHAMFER: f32 = 4.0;
/// Radius of the raised boss in the middle, pixels.
const BOSS: f32 = 66.0;
/// Radius of the bore through the boss, pixels.
const BORE: f32 = 30.0;
/// Distance of the bolt holes from the centre on each axis, pixels.
const BOLT_OFFSET: f32 = 72.0;
/// Radius of a bolt hole, pixels.
const BOLT: f32 = 14.0;
/// Grooves per pixel of radius.
const GROOVES_PER_PIXEL: f32 = 1.25;

/// A defect lighter than this changes nothing, so that its mask has a definite edge: brightness in [0, 1], a bit over one grey level.
const VISIBLE: f32 = 1.6 / 255.0;
/// Standard deviation of the sensor's noise, grey levels.
const NOISE: f32 = 1.8;

/// What can be wrong with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DefectKind {
    /// A thin line through the surface, bright on one side and dark on the other.
    Scratch,
    /// A shallow hollow, shaded by the light.
    Dent,
    /// A soft dark patch, as of dried coolant.
    Stain,
    /// A bolt hole that was never drilled.
    MissingHole,
    /// A piece broken out of the edge.
    Chip,
}

impl DefectKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Scratch, Self::Dent, Self::Stain, Self::MissingHole, Self::Chip];

    /// The name used for folders: `scratch`, `dent`, `stain`, `missing_hole` or `chip`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Dent => "dent",
            Self::Stain => "stain",
            Self::MissingHole => "missing_hole",
            Self::Chip => "chip",
        }
    }
}

impl std::fmt::Display for DefectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The defect of a rendered part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defect {
    /// What is wrong.
    pub kind: DefectKind,
    /// How obvious it is: 0 is just visible, 1 jumps to the eye. A hole is missing or not, so that is always 1.
    pub severity: f32,
}

/// A part with its truth.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedPart {
    /// [`SIDE`] x [`SIDE`] pixels.
    pub image: Image,
    /// The pixels that the defect changed, at the size of the image; empty if there is none.
    pub mask: Mask,
    /// The defect, `None` for a good part.
    pub defect: Option<Defect>,
}

/// Part number `index` of production `seed`, good or with a defect of the given kind.
pub fn render(seed: u64, index: u64, defect: Option<DefectKind>) -> RenderedPart {
    let random = |stream: u64| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(8 * index + stream);
        random
    };
    let mut sensor = random(0);
    let scene = Scene::draw(&mut sensor);
    let damage = defect.map(|kind| Damage::draw(&mut random(1 + kind as u64), kind));

    let count = (SIDE * SIDE) as usize;
    let mut rgb = Vec::with_capacity(3 * count);
    let mut changed = Vec::with_capacity(count);
    for (x, y) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (x, y))) {
        let place = scene.place(x, y);
        let good = scene.brightness(x, y, place, None);
        let near = damage.as_ref().filter(|damage| damage.may_change(place));
        let bad = near
            .map(|damage| scene.brightness(x, y, place, Some(damage)))
            .filter(|bad| (bad - good).abs() >= VISIBLE);
        changed.push(bad.is_some());
        let noise = noise(&mut sensor);
        // A slightly warm light on steel.
        let warmth = [1.0, 0.985, 0.95];
        rgb.extend((0..3).map(|c| (bad.unwrap_or(good) * warmth[c] * 255.0 + noise[c]).clamp(0.0, 255.0).round() as u8));
    }
    RenderedPart {
        image: Image {
            width: SIDE,
            height: SIDE,
            rgb,
        },
        mask: Mask {
            width: SIDE as usize,
            height: SIDE as usize,
            defect: changed,
        },
        defect: damage.map(|damage| Defect {
            kind: damage.kind,
            severity: damage.severity,
        }),
    }
}

/// Noise of one pixel's three channels, grey levels: most of it common to all three. A sum of three uniform bytes comes close to normal.
fn noise(random: &mut ChaCha8Rng) -> [f32; 3] {
    let bytes = random.next_u64().to_le_bytes();
    let normal = |bytes: [u8; 3]| (bytes.map(f32::from).iter().sum::<f32>() - 382.5) / 128.0;
    let common = normal([bytes[0], bytes[1], bytes[2]]);
    [3, 4, 5].map(|c| NOISE * (0.85 * common + 0.5 * normal([bytes[c], bytes[c + 1], bytes[c + 2]])))
}

/// A place on the part, pixels from its centre, right and down.
type Place = (f32, f32);

fn length((x, y): Place) -> f32 {
    (x * x + y * y).sqrt()
}

fn distance(a: Place, b: Place) -> f32 {
    length((a.0 - b.0, a.1 - b.1))
}

fn dot(a: Place, b: Place) -> f32 {
    a.0 * b.0 + a.1 * b.1
}

/// A direction, evenly spread.
fn direction(random: &mut ChaCha8Rng) -> Place {
    loop {
        let place = (random.random_range(-1.0..1.0_f32), random.random_range(-1.0..1.0_f32));
        let length = length(place);
        if (0.1..=1.0).contains(&length) {
            return (place.0 / length, place.1 / length);
        }
    }
}

/// Rises smoothly from 0 to 1 while `value` goes from `from` to `to`.
fn step(from: f32, to: f32, value: f32) -> f32 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// How much of a pixel lies inside an edge that is `distance` pixels away (negative is inside).
fn coverage(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

/// What is the same for the whole photograph.
struct Scene {
    /// The part's centre in the image, pixels.
    centre: Place,
    /// Cosine and sine of the part's rotation.
    turn: (f32, f32),
    /// The direction to the light on the image plane, a unit vector.
    light: Place,
    /// Strength of the light, 1 is nominal.
    gain: f32,
    /// Brightness of each groove around the middle, in [-1, 1].
    grooves: Vec<f32>,
    /// Coarse brightness of the belt, in [-1, 1].
    belt: Vec<f32>,
}

impl Scene {
    fn draw(random: &mut ChaCha8Rng) -> Self {
        let mut off = |most: f32| random.random_range(-most..=most);
        let middle = SIDE as f32 / 2.0;
        let centre = (middle + off(1.5), middle + off(1.5));
        // Up to one degree, where this equals cosine and sine to the last digit that matters.
        let angle = off(0.0175);
        let turn = (1.0 - angle * angle / 2.0, angle);
        let light = (-0.6 + off(0.06), -0.8 + off(0.06));
        let light = (light.0 / length(light), light.1 / length(light));
        let gain = 1.0 + off(0.08);
        // The tool's traces: neighbouring grooves resemble each other.
        let mut trace = 0.0;
        let mut groove = || {
            trace = 0.55 * trace + 0.45 * off(1.0);
            trace
        };
        let grooves = (0..(FLANGE * GROOVES_PER_PIXEL) as usize + 2).map(|_| groove()).collect();
        let belt = (0..SIDE).map(|_| off(1.0)).collect();
        Self {
            centre,
            turn,
            light,
            gain,
            grooves,
            belt,
        }
    }

    /// The place on the part that a pixel sees.
    fn place(&self, x: u32, y: u32) -> Place {
        let (dx, dy) = self.offset_from_centre(x, y);
        let (cos, sin) = self.turn;
        (cos * dx + sin * dy, cos * dy - sin * dx)
    }

    /// From the part's centre to a pixel, in the image.
    fn offset_from_centre(&self, x: u32, y: u32) -> Place {
        (x as f32 + 0.5 - self.centre.0, y as f32 + 0.5 - self.centre.1)
    }

    /// Brightness in [0, 1] of a pixel that sees `place`, without noise.
    fn brightness(&self, x: u32, y: u32, place: Place, damage: Option<&Damage>) -> f32 {
        let offset_from_centre = self.offset_from_centre(x, y);
        // The light falls off away from its side.
        let fall = 1.0 + 0.10 * dot(offset_from_centre, self.light) / (SIDE as f32 / 2.0);
        let belt = self.belt(x, y, offset_from_centre);
        let edge = length(place) - FLANGE;
        let inside = coverage(damage.map_or(edge, |damage| edge.max(damage.depth_of_chip(place))));
        let metal = if inside > 0.0 { self.metal(place, belt, damage) } else { 0.0 };
        (mix(belt, metal, inside) * fall * self.gain).min(0.97)
    }

    /// The dark belt with the part's soft shadow, away from the light.
    fn belt(&self, x: u32, y: u32, offset_from_centre: Place) -> f32 {
        let weave =
            0.008 * (self.belt[x as usize] + self.belt[y as usize]) + 0.006 * if (x / 2 + y / 2).is_multiple_of(2) { 1.0 } else { -1.0 };
        let shadow = distance(offset_from_centre, (-7.0 * self.light.0, -7.0 * self.light.1));
        (0.17 + weave) * (0.45 + 0.55 * step(FLANGE - 6.0, FLANGE + 14.0, shadow))
    }

    /// The steel and what is seen through its holes.
    fn metal(&self, place: Place, belt: f32, damage: Option<&Damage>) -> f32 {
        let radius = length(place).max(0.01);
        let outward = (place.0 / radius, place.1 / radius);
        let mut brightness = self.turned(radius, outward);
        // The outer chamfer and the shoulder of the boss look outward, the bore's chamfer looks inward.
        let facing = dot(outward, self.light);
        brightness = mix(
            brightness,
            0.50 + 0.34 * facing,
            step(FLANGE - CHAMFER - 0.7, FLANGE - CHAMFER + 0.7, radius),
        );
        brightness = mix(brightness, 0.52 + 0.36 * facing, coverage((radius - BOSS).abs() - CHAMFER / 2.0));
        // The boss throws a soft shadow on the flange.
        let shadow = length((place.0 + 6.0 * self.light.0, place.1 + 6.0 * self.light.1)) - BOSS;
        if radius > BOSS {
            brightness *= 0.72 + 0.28 * step(-4.0, 5.0, shadow);
        }
        brightness = damage.map_or(brightness, |damage| damage.mark(brightness, place, self.light));
        brightness = self.hole(brightness, place, (0.0, 0.0), BORE, belt);
        for (number, bolt) in BOLTS.iter().enumerate() {
            if damage.is_none_or(|damage| damage.missing_hole != Some(number)) {
                brightness = self.hole(brightness, place, *bolt, BOLT, belt);
            }
        }
        brightness
    }

    /// A turned surface: grooves around the middle, and the two bright fans that they throw towards and away from the light.
    fn turned(&self, radius: f32, outward: Place) -> f32 {
        let along = radius * GROOVES_PER_PIXEL;
        let number = (along as usize).min(self.grooves.len() - 2);
        let groove = mix(self.grooves[number], self.grooves[number + 1], along - number as f32);
        let fan = dot(outward, self.light);
        let fan = fan * fan;
        let height = if radius < BOSS { 0.05 } else { 0.0 };
        (0.46 + height + 0.22 * fan * fan) * (1.0 + 0.13 * groove * (0.5 + fan))
    }

    /// A hole with its chamfer, whose far side catches the light, and the dark below.
    fn hole(&self, surface: f32, place: Place, centre: Place, radius: f32, belt: f32) -> f32 {
        let from = (place.0 - centre.0, place.1 - centre.1);
        if dot(from, from) > (radius + CHAMFER) * (radius + CHAMFER) {
            return surface;
        }
        let away = length(from).max(0.01);
        let facing = -dot(from, self.light) / away;
        let chamfer = mix(surface, 0.46 + 0.36 * facing, coverage(away - radius - 0.8 * CHAMFER));
        // Deep inside only the wall opposite the light is seen.
        let wall = 0.10 * step(0.5, 1.0, away / radius) * (1.0 + facing);
        mix(chamfer, 0.35 * belt + wall, coverage(away - radius))
    }
}

/// The centres of the bolt holes.
const BOLTS: [Place; 4] = [
    (-BOLT_OFFSET, -BOLT_OFFSET),
    (BOLT_OFFSET, -BOLT_OFFSET),
    (BOLT_OFFSET, BOLT_OFFSET),
    (-BOLT_OFFSET, BOLT_OFFSET),
];

/// A defect, ready to be drawn.
struct Damage {
    kind: DefectKind,
    severity: f32,
    /// Which bolt hole is not there.
    missing_hole: Option<usize>,
    /// Round spots that make up a dent, a stain or a chip: centre and radius.
    spots: Vec<(Place, f32)>,
    /// The way of a scratch.
    line: Vec<Place>,
}

impl Damage {
    fn draw(random: &mut ChaCha8Rng, kind: DefectKind) -> Self {
        let severity = if kind == DefectKind::MissingHole {
            1.0
        } else {
            random.random_range(0.0..1.0_f32)
        };
        let mut damage = Self {
            kind,
            severity,
            missing_hole: None,
            spots: Vec::new(),
            line: Vec::new(),
        };
        match kind {
            DefectKind::Scratch => damage.line = scratch(random, severity),
            DefectKind::Dent => damage.spots.push((on_surface(random), 6.0 + 10.0 * severity)),
            DefectKind::Stain => {
                // Overlapping drops.
                let (centre, size) = (on_surface(random), 7.0 + 12.0 * severity);
                damage.spots = (0..4)
                    .map(|_| (beside(random, centre, 0.7 * size), size * random.random_range(0.7..1.1_f32)))
                    .collect();
            }
            DefectKind::MissingHole => damage.missing_hole = Some(random.random_range(0..BOLTS.len())),
            DefectKind::Chip => {
                // Bites along the edge.
                let (out, size) = (direction(random), 4.0 + 8.0 * severity);
                let centre = (out.0 * FLANGE, out.1 * FLANGE);
                damage.spots = (0..7)
                    .map(|_| (beside(random, centre, 0.9 * size), size * random.random_range(0.4..0.8_f32)))
                    .collect();
                damage.spots.push((centre, size));
            }
        }
        damage
    }

    /// Whether the defect can change what is seen at `place`. Says no quickly for most of the part.
    fn may_change(&self, place: Place) -> bool {
        let hole = self.missing_hole.map(|number| (BOLTS[number], BOLT + CHAMFER));
        let line = self.line.iter().map(|end| (*end, 10.0));
        self.spots.iter().copied().chain(hole).chain(line).any(|(centre, radius)| {
            let away = (place.0 - centre.0, place.1 - centre.1);
            dot(away, away) <= (radius + 4.0) * (radius + 4.0)
        })
    }

    /// How deep inside of a broken out piece a place is, pixels; negative is outside.
    fn depth_of_chip(&self, place: Place) -> f32 {
        if self.kind != DefectKind::Chip {
            return f32::NEG_INFINITY;
        }
        self.spots
            .iter()
            .map(|(centre, radius)| radius - distance(*centre, place))
            .fold(f32::NEG_INFINITY, f32::max)
    }

    /// The surface's brightness with the defect on it.
    fn mark(&self, surface: f32, place: Place, light: Place) -> f32 {
        match self.kind {
            DefectKind::MissingHole => surface,
            DefectKind::Scratch => {
                let (side, away) = beside_line(&self.line, place);
                let half_width = 0.7 + 0.6 * self.severity;
                let strength = (0.09 + 0.24 * self.severity) * coverage(away - half_width);
                if dot(side, light) < 0.0 {
                    surface + strength
                } else {
                    surface - 0.7 * strength
                }
            }
            DefectKind::Dent => self.spots.iter().fold(surface, |surface, (centre, radius)| {
                let from = (place.0 - centre.0, place.1 - centre.1);
                let t = length(from) / radius;
                let slope = if t < 1.0 { t * (1.0 - t * t) * 2.6 } else { 0.0 };
                let facing = -dot(from, light) / length(from).max(0.01);
                let dull = 0.05 * (1.0 - t * t).max(0.0);
                surface * (1.0 + (0.22 + 0.34 * self.severity) * slope * facing - dull)
            }),
            DefectKind::Stain => {
                let depth = self
                    .spots
                    .iter()
                    .map(|(centre, radius)| 1.0 - step(0.35, 1.0, distance(*centre, place) / radius))
                    .fold(0.0, f32::max);
                surface * (1.0 - (0.14 + 0.26 * self.severity) * depth)
            }
            DefectKind::Chip => {
                // The fracture: a rough bright rim along what is missing.
                let rim = -self.depth_of_chip(place);
                mix(
                    surface,
                    0.30 + 0.42 * step(-1.0, 1.0, dot(place, light) / FLANGE),
                    0.8 * coverage(rim - 2.0),
                )
            }
        }
    }
}

/// A place within `most` pixels of `centre` on each axis.
fn beside(random: &mut ChaCha8Rng, centre: Place, most: f32) -> Place {
    (
        centre.0 + random.random_range(-most..=most),
        centre.1 + random.random_range(-most..=most),
    )
}

/// A place on the flange or the boss, clear of all holes and edges.
fn on_surface(random: &mut ChaCha8Rng) -> Place {
    loop {
        let (out, radius) = (direction(random), random.random_range(BORE + 14.0..FLANGE - 16.0));
        let place = (out.0 * radius, out.1 * radius);
        if BOLTS.iter().all(|bolt| distance(*bolt, place) > BOLT + 14.0) {
            return place;
        }
    }
}

/// A slightly bent line of 3 to 6 segments that starts on the surface and stays on the part.
fn scratch(random: &mut ChaCha8Rng, severity: f32) -> Vec<Place> {
    let start = on_surface(random);
    let across = direction(random);
    // Towards the middle rather than over the edge.
    let mut heading = if dot(across, start) > 0.0 { (-across.0, -across.1) } else { across };
    let pace = 7.0 + 9.0 * severity;
    let mut line = vec![start];
    let mut end = start;
    for _ in 0..random.random_range(3..=6) {
        heading = beside(random, heading, 0.18);
        end = (end.0 + pace * heading.0, end.1 + pace * heading.1);
        line.push(end);
    }
    line
}

/// From the nearest point of a line to `place`, and how far that is.
fn beside_line(line: &[Place], place: Place) -> (Place, f32) {
    let from_segment = |ends: &[Place]| {
        let (from, to) = (
            (place.0 - ends[0].0, place.1 - ends[0].1),
            (ends[1].0 - ends[0].0, ends[1].1 - ends[0].1),
        );
        let along = (dot(from, to) / dot(to, to)).clamp(0.0, 1.0);
        let rest = (from.0 - along * to.0, from.1 - along * to.1);
        (rest, length(rest))
    };
    line.windows(2)
        .map(from_segment)
        .fold(((0.0, 0.0), f32::INFINITY), |best, next| if next.1 < best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_part_has_the_same_pixels_and_another_has_others() {
        for defect in [None, Some(DefectKind::Dent)] {
            assert_eq!(render(7, 3, defect), render(7, 3, defect));
            assert_ne!(render(7, 3, defect).image, render(7, 4, defect).image);
            assert_ne!(render(7, 3, defect).image, render(8, 3, defect).image);
        }
    }

    #[test]
    fn a_good_part_has_no_defect_and_an_empty_mask() {
        let part = render(1, 0, None);
        assert_eq!(part.defect, None);
        assert!(!part.mask.defect.contains(&true));
    }

    #[test]
    fn a_defect_changes_the_pixels_of_its_mask_and_no_others() {
        for (kind, index) in DefectKind::ALL.into_iter().flat_map(|kind| (0..12).map(move |index| (kind, index))) {
            let (good, bad) = (render(5, index, None), render(5, index, Some(kind)));
            let pixels = |part: &RenderedPart| part.image.rgb.as_chunks::<3>().0.to_vec();
            let differs: Vec<bool> = pixels(&good).iter().zip(pixels(&bad)).map(|(good, bad)| *good != bad).collect();
            assert_eq!(differs, bad.mask.defect, "{kind} {index}");
            assert!(
                bad.mask.defect.iter().filter(|defect| **defect).count() >= 20,
                "{kind} {index} is too small to be seen"
            );
            assert_eq!(bad.defect.map(|defect| defect.kind), Some(kind));
        }
    }

    #[test]
    fn parts_vary_but_look_alike() {
        let mean = |index| render(2, index, None).image.rgb.iter().map(|value| f64::from(*value)).sum::<f64>() / f64::from(SIDE * SIDE * 3);
        let means: Vec<f64> = (0..12).map(mean).collect();
        let (low, high) = means
            .iter()
            .fold((f64::MAX, 0.0_f64), |(low, high), mean| (low.min(*mean), high.max(*mean)));
        assert!(
            low > 50.0 && high < 140.0 && high - low > 2.0 && high / low < 1.2,
            "{low} to {high}"
        );
    }
}
