//! The picture that people look at, readable from two metres: the part as it is, beside it the part with what is anomalous, and above both
//! the verdict in words, shape and colour. Pure.

use embedded_graphics::geometry::{OriginDimensions, Point};
use embedded_graphics::image::GetPixel;
use embedded_graphics::mono_font::MonoFont;
use embedded_graphics::mono_font::ascii::FONT_9X18_BOLD;
use embedded_graphics::pixelcolor::BinaryColor;

use super::findings::{above, effective_limit};
use super::inspector::Inspection;
use super::{AnomalyMap, Image, Mask};
use crate::part::{Finding, Verdict};

/// Smaller images are enlarged by a whole factor until their longer side has this many pixels.
const SIDE_MIN: usize = 384;

/// The same for images that are stacked, as each then has the full width for itself.
const STACKED_SIDE_MIN: usize = 512;

/// Larger images are reduced until their longer side has this many pixels.
const SIDE_MAX: usize = 1024;

/// Pixels around the two images and between them; a contour at the edge of the part is closed here.
const MARGIN: usize = 8;

/// Share of the region limit where heat begins, and where it is strongest. Good parts mostly stay below, and so stay as they are.
const HEAT: (f32, f32) = (0.85, 1.25);

/// How much of the part the strongest heat covers.
const HEAT_COVER: f32 = 0.72;

/// How far the contour reaches out from its region, in pixels: a dark edge from 0 to 1, the white line from 1 to 3, a dark edge from 3 to 4.
const CONTOUR: Contour = [(1, DARK), (3, WHITE), (4, DARK)];

/// The same around what is known to be defective.
const TRUTH_CONTOUR: Contour = [(1, DARK), (3, SKY), (4, DARK)];

type Contour = [(i64, Rgb); 3];

const FONT: MonoFont = FONT_9X18_BOLD;

/// Text is enlarged by at most this whole factor.
const TEXT_SCALE_MAX: usize = 4;

/// Text is enlarged by at least this whole factor; the score is always one step smaller than the verdict.
const TEXT_SCALE_MIN: usize = 2;

type Rgb = [u8; 3];

const WHITE: Rgb = [255, 255, 255];
const DARK: Rgb = [24, 26, 29];
const BACKGROUND: Rgb = [38, 41, 46];

// Okabe and Ito 2008, which stay apart for colour-blind readers.
const BLUE: Rgb = [0, 114, 178];
const SKY: Rgb = [86, 180, 233];
const VERMILLION: Rgb = [213, 94, 0];
const YELLOW: Rgb = [240, 228, 66];
const GREY: Rgb = [96, 102, 109];

/// The picture of one inspection. `region` is the model's limit for pixels, in the unit of the map's scores; without one the limit of the image's
/// score is taken.
///
/// Two panels of the same size show the part: side by side, or stacked where it is much wider than tall. Small images are enlarged by a
/// whole factor, large ones reduced by area average, so that a panel's longer side has 384 to 1024 pixels. The second panel adds heat,
/// which begins a little below the region limit and is strongest a little above ([`HEAT`]), and a contour around each region of a part that is not Ok.
///
/// A map that is not whole (too short, or holding anything but numbers) adds nothing; an image whose buffer does not fit its size is black.
pub fn render(image: &Image, inspection: &Inspection, region: Option<f32>) -> Image {
    render_beside_truth(image, inspection, region, None)
}

/// As [`render`], with a blue contour in the first panel around what is known to be defective. The mask may have any size.
pub fn render_beside_truth(image: &Image, inspection: &Inspection, region: Option<f32>, truth: Option<&Mask>) -> Image {
    let part = fitted(image);
    let region = region.unwrap_or(inspection.threshold);
    let map = inspection.map.as_ref().filter(|map| is_whole(map));
    let scores = map.map(|map| stretched(map, part.width, part.height));
    let mut hot = part.clone();
    if let Some(scores) = &scores {
        hot.add_heat(scores, region);
    }

    let banner = Banner::new(inspection);
    let beside = if is_stacked(part.width, part.height) {
        (0, part.height + MARGIN)
    } else {
        (part.width + MARGIN, 0)
    };
    let (across, down) = (part.width + beside.0, part.height + beside.1);
    let width = (across + 2 * MARGIN).max(banner.width(TEXT_SCALE_MIN));
    let scale = (TEXT_SCALE_MIN..=TEXT_SCALE_MAX)
        .rev()
        .find(|scale| banner.width(*scale) <= width)
        .unwrap_or(TEXT_SCALE_MIN);
    let (left, top) = ((width - across) / 2, Banner::height(scale) + MARGIN);

    let mut picture = Canvas::new(width, top + down + MARGIN, BACKGROUND);
    banner.draw(&mut picture, scale);
    picture.copy(&part, left, top);
    picture.copy(&hot, left + beside.0, top + beside.1);
    if let Some(inside) = truth.and_then(|mask| known(mask, &part)) {
        picture.draw_contours(&inside, part.width, left, top, TRUTH_CONTOUR);
    }
    let found = match (map, &scores) {
        _ if inspection.verdict != Verdict::NotOk => None,
        (Some(map), Some(scores)) => Some(regions(map, scores, &part, region)),
        _ => Some(boxes(&inspection.findings, image, &part)),
    };
    if let Some(inside) = found {
        picture.draw_contours(&inside, part.width, left + beside.0, top + beside.1, CONTOUR);
    }
    Image {
        width: picture.width as u32,
        height: picture.height as u32,
        rgb: picture.pixels.into_flattened(),
    }
}

/// The pixels of a panel that lie in a finding, where there is no map to tell its outline.
fn boxes(findings: &[Finding], image: &Image, part: &Canvas) -> Vec<bool> {
    let across = |x: u32| (u64::from(x) * part.width as u64 / u64::from(image.width.max(1))) as usize;
    let down = |y: u32| (u64::from(y) * part.height as u64 / u64::from(image.height.max(1))) as usize;
    let mut inside = vec![false; part.width * part.height];
    for finding in findings {
        let columns = across(finding.x)..across(finding.x.saturating_add(finding.width)).min(part.width);
        for row in down(finding.y)..down(finding.y.saturating_add(finding.height)).min(part.height) {
            inside[row * part.width..][columns.clone()].fill(true);
        }
    }
    inside
}

/// The pixels of a panel that are known to be defective; a speck of the mask that falls between its pixels still gets one. None for a mask
/// that is not whole.
fn known(mask: &Mask, part: &Canvas) -> Option<Vec<bool>> {
    if mask.defect.is_empty() || mask.defect.len() != mask.width * mask.height {
        return None;
    }
    let scaled = |place: usize, from: usize, to: usize| (2 * place + 1) * to / (2 * from);
    let mut inside: Vec<bool> = (0..part.pixels.len())
        .map(|index| {
            let x = scaled(index % part.width, part.width, mask.width);
            let y = scaled(index / part.width, part.height, mask.height);
            mask.defect[y * mask.width + x]
        })
        .collect();
    for index in (0..mask.defect.len()).filter(|index| mask.defect[*index]) {
        let x = scaled(index % mask.width, mask.width, part.width);
        let y = scaled(index / mask.width, mask.height, part.height);
        inside[y * part.width + x] = true;
    }
    Some(inside)
}

/// Whether the map has a number for every pixel.
fn is_whole(map: &AnomalyMap) -> bool {
    !map.scores.is_empty() && map.scores.len() == map.width * map.height && map.scores.iter().all(|score| score.is_finite())
}

/// Whether a part is so wide that its panels are better stacked than side by side.
fn is_stacked(width: usize, height: usize) -> bool {
    2 * width > 3 * height
}

/// The size of a panel for an image of `width` x `height` pixels.
fn panel_size(width: usize, height: usize) -> (usize, usize) {
    let longer = width.max(height);
    if longer > SIDE_MAX {
        let reduced = |side: usize| ((side * SIDE_MAX + longer / 2) / longer).max(1);
        return (reduced(width), reduced(height));
    }
    let factor = if is_stacked(width, height) { STACKED_SIDE_MIN } else { SIDE_MIN }.div_ceil(longer);
    (width * factor, height * factor)
}

/// The image at its panel's size.
fn fitted(image: &Image) -> Canvas {
    let (width, height) = (image.width as usize, image.height as usize);
    let (source, rest) = image.rgb.as_chunks::<3>();
    if source.is_empty() || !rest.is_empty() || source.len() != width * height {
        return Canvas::new(SIDE_MIN, SIDE_MIN, [0; 3]);
    }
    let (across, down) = panel_size(width, height);
    let (columns, rows) = (spans(width, across), spans(height, down));
    let whole = (width * height) as u64;
    let mut pixels = Vec::with_capacity(across * down);
    for row in &rows {
        for column in &columns {
            let mut sum = [whole / 2; 3];
            for (y, tall) in row {
                for (x, wide) in column {
                    for (sum, value) in sum.iter_mut().zip(source[y * width + x]) {
                        *sum += tall * wide * u64::from(value);
                    }
                }
            }
            pixels.push(sum.map(|sum| (sum / whole) as u8));
        }
    }
    Canvas {
        width: across,
        height: down,
        pixels,
    }
}

/// For each of `target` pixels the source pixels it covers and how much of each; the shares add up to `source`. Exact in both directions: when
/// enlarging by a whole factor, each target pixel covers one source pixel.
fn spans(source: usize, target: usize) -> Vec<Vec<(usize, u64)>> {
    // In this unit a source pixel is `target` long and a target pixel is `source` long.
    let overlap = |t: usize, s: usize| ((t + 1) * source).min((s + 1) * target) - (t * source).max(s * target);
    let covered = |t: usize| t * source / target..((t + 1) * source).div_ceil(target);
    (0..target)
        .map(|t| covered(t).map(|s| (s, overlap(t, s) as u64)).collect())
        .collect()
}

/// The map's scores at `width` x `height` pixels, bilinear between the centres of its pixels. The map must be whole.
fn stretched(map: &AnomalyMap, width: usize, height: usize) -> Vec<f32> {
    // The two neighbours of a pixel on one axis, and how far it lies from the first to the second.
    let neighbours = |source: usize, target: usize| -> Vec<(usize, usize, f32)> {
        let place = |t: usize| ((t as f32 + 0.5) * source as f32 / target as f32 - 0.5).clamp(0.0, (source - 1) as f32);
        (0..target)
            .map(place)
            .map(|place| (place as usize, (place as usize + 1).min(source - 1), place.fract()))
            .collect()
    };
    let (columns, rows) = (neighbours(map.width, width), neighbours(map.height, height));
    let mix = |a: f32, b: f32, share: f32| a * (1.0 - share) + b * share;
    let mut scores = Vec::with_capacity(width * height);
    for (above, below, down) in rows {
        let (above, below) = (&map.scores[above * map.width..], &map.scores[below * map.width..]);
        scores.extend(
            columns
                .iter()
                .map(|&(left, right, across)| mix(mix(above[left], above[right], across), mix(below[left], below[right], across), down)),
        );
    }
    scores
}

/// Which pixels of the panel belong to a finding. A region that is smaller than a pixel of the panel still gets one.
fn regions(map: &AnomalyMap, scores: &[f32], panel: &Canvas, region: f32) -> Vec<bool> {
    let limit = effective_limit(map, region);
    let mut inside: Vec<bool> = scores.iter().map(|score| *score > limit).collect();
    for (i, _) in above(map, limit).into_iter().enumerate().filter(|(_, above)| *above) {
        let centre = |place: usize, source: usize, target: usize| (2 * place + 1) * target / (2 * source);
        let (x, y) = (
            centre(i % map.width, map.width, panel.width),
            centre(i / map.width, map.height, panel.height),
        );
        inside[y * panel.width + x] = true;
    }
    inside
}

/// `over` laid on `under`: 0 leaves it as it is, 1 hides it.
fn blend(under: Rgb, over: Rgb, cover: f32) -> Rgb {
    std::array::from_fn(|c| (f32::from(under[c]) * (1.0 - cover) + f32::from(over[c]) * cover).round() as u8)
}

/// A pixel under heat: 0 is none, 1 the strongest. The part's own colour fades first, so that heat reads on coloured parts as on grey ones.
fn heated(pixel: Rgb, heat: f32) -> Rgb {
    let [r, g, b] = pixel.map(u32::from);
    let grey = [((54 * r + 183 * g + 19 * b) / 256) as u8; 3];
    blend(
        blend(pixel, grey, (2.0 * heat).min(1.0)),
        blend(YELLOW, VERMILLION, heat),
        HEAT_COVER * heat.sqrt(),
    )
}

/// Pixels that are drawn on, row by row.
#[derive(Clone)]
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    fn new(width: usize, height: usize, colour: Rgb) -> Self {
        Self {
            width,
            height,
            pixels: vec![colour; width * height],
        }
    }

    fn copy(&mut self, panel: &Self, left: usize, top: usize) {
        for (y, row) in panel.pixels.chunks_exact(panel.width).enumerate() {
            let start = (top + y) * self.width + left;
            self.pixels[start..start + panel.width].copy_from_slice(row);
        }
    }

    fn fill(&mut self, left: usize, top: usize, width: usize, height: usize, colour: Rgb) {
        for y in top..top + height {
            self.pixels[y * self.width + left..][..width].fill(colour);
        }
    }

    /// Adds heat where `scores` are notable against the limit `region`; none where the limit is no positive number.
    fn add_heat(&mut self, scores: &[f32], region: f32) {
        if !(region.is_finite() && region > 0.0) {
            return;
        }
        for (pixel, score) in self.pixels.iter_mut().zip(scores) {
            let heat = ((score / region - HEAT.0) / (HEAT.1 - HEAT.0)).clamp(0.0, 1.0);
            if heat > 0.0 {
                *pixel = heated(*pixel, heat);
            }
        }
    }

    /// Draws a contour around what is `inside` a panel that is `width` pixels wide and whose corner lies at `left` and `top`. It runs outside
    /// of the regions, over the margin where they touch the panel's edge, which must be at least 4 pixels wide.
    fn draw_contours(&mut self, inside: &[bool], width: usize, left: usize, top: usize, contour: Contour) {
        let height = inside.len() / width;
        let is_inside =
            |x: i64, y: i64| (0..width as i64).contains(&x) && (0..height as i64).contains(&y) && inside[y as usize * width + x as usize];
        let is_edge = |x: i64, y: i64| [(0, -1), (-1, 0), (1, 0), (0, 1)].iter().any(|(dx, dy)| !is_inside(x + dx, y + dy));
        let edge: Vec<(i64, i64)> = (0..inside.len())
            .filter(|i| inside[*i])
            .map(|i| ((i % width) as i64, (i / width) as i64))
            .filter(|(x, y)| is_edge(*x, *y))
            .collect();
        // From the outside in, so that lines of regions that nearly touch do not hide each other.
        for (reach, colour) in contour.into_iter().rev() {
            for (x, y) in &edge {
                for (dx, dy) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy))) {
                    if dx * dx + dy * dy <= reach * reach && !is_inside(x + dx, y + dy) {
                        let (column, row) = (left as i64 + x + dx, top as i64 + y + dy);
                        self.pixels[row as usize * self.width + column as usize] = colour;
                    }
                }
            }
        }
    }

    /// Writes ASCII `text` with its top left corner at `left` and `top`, each dot of the font `scale` pixels wide and high.
    fn write(&mut self, text: &str, left: usize, top: usize, scale: usize, colour: Rgb) {
        let (wide, tall) = (FONT.character_size.width as usize, FONT.character_size.height as usize);
        let per_row = FONT.image.size().width as usize / wide;
        for (place, letter) in text.chars().enumerate() {
            let glyph = FONT.glyph_mapping.index(letter);
            for (x, y) in (0..tall).flat_map(|y| (0..wide).map(move |x| (x, y))) {
                let dot = Point::new((glyph % per_row * wide + x) as i32, (glyph / per_row * tall + y) as i32);
                if FONT.image.pixel(dot) == Some(BinaryColor::On) {
                    self.fill(left + (place * wide + x) * scale, top + y * scale, scale, scale, colour);
                }
            }
        }
    }

    /// Draws `shape` into a square of `side` pixels: its body white, its mark as the ground.
    fn draw_shape(&mut self, shape: &Shape, left: usize, top: usize, side: usize) {
        const SAMPLES: usize = 4;
        let place = |pixel: usize, sample: usize| ((pixel * SAMPLES + sample) as f32 + 0.5) / (side * SAMPLES) as f32 * 2.0 - 1.0;
        for (x, y) in (0..side).flat_map(|y| (0..side).map(move |x| (x, y))) {
            let hits = (0..SAMPLES * SAMPLES)
                .filter(|i| shape.covers(place(x, i % SAMPLES), place(y, i / SAMPLES)))
                .count();
            let pixel = &mut self.pixels[(top + y) * self.width + left + x];
            *pixel = blend(*pixel, WHITE, hits as f32 / (SAMPLES * SAMPLES) as f32);
        }
    }
}

/// The verdict's shape, as in the evaluation report: a circle with a tick, a triangle with an exclamation mark or a diamond with a dash.
/// Coordinates run from -1 to 1, down and right.
struct Shape {
    body: fn(f32, f32) -> bool,
    /// Strokes from point to point.
    mark: &'static [[(f32, f32); 2]],
}

impl Shape {
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Ok => Self {
                body: |x, y| x * x + y * y <= 0.92,
                mark: &[[(-0.46, 0.04), (-0.14, 0.36)], [(-0.14, 0.36), (0.46, -0.32)]],
            },
            Verdict::NotOk => Self {
                body: |x, y| y <= 0.88 && x.abs() <= (y + 0.92) * 0.54,
                mark: &[[(0.0, -0.36), (0.0, 0.26)], [(0.0, 0.58), (0.0, 0.62)]],
            },
            Verdict::NotDecidable => Self {
                body: |x, y| x.abs() + y.abs() <= 1.0,
                mark: &[[(-0.4, 0.0), (0.4, 0.0)]],
            },
        }
    }

    fn covers(&self, x: f32, y: f32) -> bool {
        const HALF_STROKE: f32 = 0.13;
        let near = |[(x0, y0), (x1, y1)]: &[(f32, f32); 2]| {
            let (dx, dy) = (x1 - x0, y1 - y0);
            let along = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            (x - x0 - along * dx).hypot(y - y0 - along * dy) <= HALF_STROKE
        };
        (self.body)(x, y) && !self.mark.iter().any(near)
    }
}

/// The line of words above the panels.
struct Banner {
    verdict: Verdict,
    words: &'static str,
    colour: Rgb,
    /// The score against its limit.
    detail: String,
}

impl Banner {
    fn new(inspection: &Inspection) -> Self {
        let (words, colour) = match inspection.verdict {
            Verdict::Ok => ("OK", BLUE),
            Verdict::NotOk => ("NOT OK", VERMILLION),
            Verdict::NotDecidable => ("NOT DECIDABLE", GREY),
        };
        Self {
            verdict: inspection.verdict,
            words,
            colour,
            detail: comparison(inspection.score, inspection.threshold),
        }
    }

    /// Pixels down. The verdict's letters are `scale` times as large as the font's.
    fn height(scale: usize) -> usize {
        FONT.character_size.height as usize * scale + 2 * MARGIN
    }

    /// Pixels across: gap, shape, gap, verdict, gap, score, gap.
    fn width(&self, scale: usize) -> usize {
        let letter = FONT.character_size.width as usize;
        4 * Self::gap(scale) + Self::side(scale) + letter * (scale * self.words.len() + (scale - 1) * self.detail.len())
    }

    fn gap(scale: usize) -> usize {
        FONT.character_size.width as usize * scale
    }

    /// Pixels across and down of the shape.
    fn side(scale: usize) -> usize {
        FONT.character_size.height as usize * scale - MARGIN
    }

    fn draw(&self, canvas: &mut Canvas, scale: usize) {
        let letter = FONT.character_size.width as usize;
        let (height, gap, side) = (Self::height(scale), Self::gap(scale), Self::side(scale));
        canvas.fill(0, 0, canvas.width, height, self.colour);
        canvas.draw_shape(&Shape::of(self.verdict), gap, (height - side) / 2, side);
        let words = 2 * gap + side;
        canvas.write(self.words, words, MARGIN, scale, WHITE);
        // On one baseline with the verdict.
        let baseline = FONT.baseline as usize;
        let detail = words + letter * scale * self.words.len() + gap;
        canvas.write(&self.detail, detail, MARGIN + baseline, scale - 1, WHITE);
    }
}

/// The score against its limit in words, with as many digits as it takes to tell them apart (at most 6 decimals).
fn comparison(score: f32, limit: f32) -> String {
    const DECIMALS_MAX: usize = 6;
    if !score.is_finite() || !limit.is_finite() {
        return "score is no number".into();
    }
    let relation = if score > limit { ">" } else { "<=" };
    if score.abs().max(limit.abs()) >= 1e6 {
        return format!("score {score:.3e} {relation} limit {limit:.3e}");
    }
    let digits = |decimals: usize| (format!("{score:.decimals$}"), format!("{limit:.decimals$}"));
    let tells = |decimals: &usize| {
        let (score_digits, limit_digits) = digits(*decimals);
        let significant = limit.abs() * 10_f32.powi(*decimals as i32) >= 100.0;
        significant && (score_digits != limit_digits || score.total_cmp(&limit).is_eq())
    };
    let (score, limit) = digits((1..DECIMALS_MAX).find(tells).unwrap_or(DECIMALS_MAX));
    format!("score {score} {relation} limit {limit}")
}

#[cfg(test)]
mod tests {
    use super::super::inspector::Latency;
    use super::*;
    use proptest::prelude::*;

    const LIMIT: f32 = 10.0;

    fn grey(width: u32, height: u32) -> Image {
        Image {
            width,
            height,
            rgb: vec![128; (width * height * 3) as usize],
        }
    }

    fn inspection(verdict: Verdict, width: usize, scores: Vec<f32>) -> Inspection {
        let map = AnomalyMap {
            width,
            height: scores.len() / width.max(1),
            scores,
        };
        Inspection {
            verdict,
            reason: None,
            severity: None,
            defect_code: 0,
            score: 12.0,
            threshold: LIMIT,
            findings: Vec::new(),
            map: Some(map),
            classes: None,
            latency: Latency::default(),
        }
    }

    /// The second panel of the picture of a 40x40 image (10 times as large), margins included.
    fn second_panel(inspection: &Inspection) -> Vec<Vec<Rgb>> {
        let picture = render(&grey(40, 40), inspection, Some(LIMIT));
        let rows: Vec<Vec<Rgb>> = picture
            .rgb
            .as_chunks::<3>()
            .0
            .chunks(picture.width as usize)
            .map(<[Rgb]>::to_vec)
            .collect();
        let (width, height) = (picture.width as usize, picture.height as usize);
        rows[height - 400 - 2 * MARGIN..]
            .iter()
            .map(|row| row[width - 400 - 2 * MARGIN..].to_vec())
            .collect()
    }

    /// A 16x16 map with one region of 2x3 pixels.
    fn spot(low: f32, high: f32) -> Vec<f32> {
        (0..256)
            .map(|i| {
                if (6..8).contains(&(i % 16)) && (4..7).contains(&(i / 16)) {
                    high
                } else {
                    low
                }
            })
            .collect()
    }

    #[test]
    fn the_contour_encloses_the_region() {
        let panel = second_panel(&inspection(Verdict::NotOk, 16, spot(0.0, 30.0)));
        let line = |x: usize, y: usize| panel[y][x] == WHITE;
        // Whoever walks from the middle of the region without crossing the line never gets far.
        let mut seen = vec![false; panel.len() * panel[0].len()];
        let mut open = vec![(MARGIN + 175, MARGIN + 137)];
        let mut reached = 0;
        while let Some((x, y)) = open.pop() {
            assert!(x > 100 && x < 250 && y > 50 && y < 250, "escaped to {x}, {y}");
            if line(x, y) || std::mem::replace(&mut seen[y * panel[0].len() + x], true) {
                continue;
            }
            reached += 1;
            open.extend([(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)]);
        }
        assert!((50 * 75..=100 * 125).contains(&reached), "{reached}");
    }

    #[test]
    fn a_contour_is_closed_at_the_edge_of_the_part() {
        let panel = second_panel(&inspection(Verdict::NotOk, 1, vec![20.0]));
        let size = 400 + 2 * MARGIN;
        for i in MARGIN..size - MARGIN {
            for (x, y) in [
                (i, MARGIN - 2),
                (i, MARGIN - 3),
                (i, size - MARGIN + 1),
                (MARGIN - 2, i),
                (size - MARGIN + 1, i),
            ] {
                assert_eq!(panel[y][x], WHITE, "{x}, {y}");
            }
        }
    }

    #[test]
    fn what_is_known_is_outlined_in_the_first_panel_alone() {
        let mask = Mask {
            width: 20,
            height: 20,
            defect: (0..400).map(|i| i == 210).collect(),
        };
        let quiet = inspection(Verdict::Ok, 16, spot(0.0, 0.0));
        let picture = render_beside_truth(&grey(40, 40), &quiet, Some(LIMIT), Some(&mask));
        let lines: Vec<usize> = picture
            .rgb
            .as_chunks::<3>()
            .0
            .iter()
            .enumerate()
            .filter(|(_, pixel)| **pixel == SKY)
            .map(|(index, _)| index % picture.width as usize)
            .collect();
        // The pixel is 20 x 20 of the panel, from 200 on, and the line lies 1 to 3 pixels around it.
        assert_eq!(lines.iter().min(), Some(&(MARGIN + 200 - 3)));
        assert_eq!(lines.iter().max(), Some(&(MARGIN + 220 + 2)));
        let broken = Mask { width: 7, ..mask };
        assert_eq!(
            render_beside_truth(&grey(40, 40), &quiet, Some(LIMIT), Some(&broken)),
            render(&grey(40, 40), &quiet, Some(LIMIT))
        );
    }

    #[test]
    fn a_rejected_part_below_the_region_limit_still_shows_where() {
        let panel = second_panel(&inspection(Verdict::NotOk, 16, spot(0.0, 4.0)));
        assert!(panel.concat().contains(&WHITE));
    }

    #[test]
    fn a_quiet_good_part_is_shown_as_it_is() {
        let panel = second_panel(&inspection(Verdict::Ok, 16, spot(0.0, 0.5 * LIMIT)));
        assert!(panel.concat().iter().all(|pixel| [BACKGROUND, [128; 3]].contains(pixel)));
    }

    #[test]
    fn a_good_part_gets_heat_but_no_contour() {
        let panel = second_panel(&inspection(Verdict::Ok, 16, spot(0.0, 3.0 * LIMIT))).concat();
        assert!(panel.contains(&heated([128; 3], 1.0)));
        assert!(!panel.contains(&WHITE) && !panel.contains(&DARK));
    }

    #[test]
    fn a_broken_map_adds_nothing() {
        for scores in [vec![], vec![20.0; 255], vec![f32::NAN; 256], vec![f32::INFINITY; 256]] {
            let mut broken = inspection(Verdict::NotOk, 16, scores);
            broken.map.iter_mut().for_each(|map| map.height = 16);
            assert!(
                second_panel(&broken)
                    .concat()
                    .iter()
                    .all(|pixel| [BACKGROUND, [128; 3]].contains(pixel))
            );
        }
    }

    #[test]
    fn panels_are_readable_and_bounded() {
        assert_eq!(panel_size(1, 1), (384, 384));
        assert_eq!(panel_size(218, 273), (436, 546));
        assert_eq!(panel_size(640, 640), (640, 640));
        assert_eq!(panel_size(5000, 4000), (1024, 819));
        assert_eq!(panel_size(10_000, 1), (1024, 1));
        assert_eq!(panel_size(300, 100), (600, 200));
    }

    #[test]
    fn panels_are_stacked_when_the_part_is_much_wider_than_tall() {
        let of = |width, height| {
            let picture = render(&grey(width, height), &inspection(Verdict::Ok, 1, vec![0.0]), Some(LIMIT));
            (picture.width, picture.height)
        };
        let margin = MARGIN as u32;
        assert_eq!(of(640, 480).0, 2 * 640 + 3 * margin);
        assert_eq!(of(1000, 300).0, 1000 + 2 * margin);
        assert_eq!(
            of(1000, 300).1,
            2 * 300 + 2 * margin + margin + Banner::height(TEXT_SCALE_MAX) as u32
        );
    }

    #[test]
    fn reducing_averages_and_enlarging_repeats() {
        let image = Image {
            width: 2,
            height: 1,
            rgb: vec![0, 10, 20, 100, 110, 120],
        };
        let large = fitted(&image);
        assert_eq!((large.pixels[0], large.pixels[large.width - 1]), ([0, 10, 20], [100, 110, 120]));
        let stripes = Image {
            width: 2048,
            height: 2,
            rgb: [0, 0, 0, 100, 100, 100].repeat(2048),
        };
        assert!(fitted(&stripes).pixels.iter().all(|pixel| *pixel == [50; 3]));
    }

    #[test]
    fn scores_get_as_many_digits_as_it_takes() {
        assert_eq!(comparison(47.12, 42.31), "score 47.1 > limit 42.3");
        assert_eq!(comparison(42.314, 42.31), "score 42.314 > limit 42.310");
        assert_eq!(comparison(42.31, 42.31), "score 42.3 <= limit 42.3");
        assert_eq!(comparison(0.2, 0.51), "score 0.200 <= limit 0.510");
        assert_eq!(comparison(f32::MAX, 1.0), "score 3.403e38 > limit 1.000e0");
        assert_eq!(comparison(f32::NAN, 1.0), "score is no number");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_image_and_map_give_a_picture(
            (width, height) in (0_u32..1200, 0_u32..40), tall in any::<bool>(), missing in 0_usize..2, (map_width, map_height) in (0_usize..9, 0_usize..9),
            scores in prop::collection::vec(prop_oneof![9 => -1.0_f32..30.0, 1 => any::<f32>()], 64), region in any::<f32>(), score in any::<f32>(),
            verdict in prop::sample::select(vec![Verdict::Ok, Verdict::NotOk, Verdict::NotDecidable]),
        ) {
            let (width, height) = if tall { (height, width) } else { (width, height) };
            let image = Image { width, height, rgb: vec![90; ((width * height * 3) as usize).saturating_sub(missing)] };
            let scores = scores[..map_width * map_height].to_vec();
            let map = AnomalyMap { width: map_width, height: map_height, scores };
            for region in [LIMIT, region] {
                let inspection = Inspection { score, map: Some(map.clone()), ..inspection(verdict, 1, Vec::new()) };
                let picture = render(&image, &inspection, Some(region));
                prop_assert_eq!(picture.rgb.len(), (picture.width * picture.height * 3) as usize);
            }
        }
    }
}
