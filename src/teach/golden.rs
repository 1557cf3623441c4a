//! Which images prove a taught model: good ones over the range of scores, and good ones that were visibly damaged on purpose, so that the gate
//! also sees a reject. Expected scores come from the reference scorer.

use std::collections::BTreeMap;

use super::detector::Detector;
use super::features::FeatureExtractor;
use super::parts::{self, GoodParts};
use super::progress::Silent;
use super::{Lesson, PartScore, TeachError};
use crate::model::golden::is_clear;
use crate::model::manifest::{GoldenImage, ThresholdSpec};
use crate::model::package::{GOLDEN, Package};
use crate::recipe;
use crate::vision::Image;
use crate::vision::decode::read_image;
use crate::vision::encode::encode_png;

/// How far a provider may be off, as a share of the larger of score and threshold: the rounding of its arithmetic, measured on the processor
/// and with room for another order of additions elsewhere.
pub fn tolerances() -> BTreeMap<String, f64> {
    [
        ("cpu_f32", 1e-4),
        ("cuda_f32", 1e-3),
        ("tensorrt_f32", 1e-3),
        ("tensorrt_f16", 2e-2),
    ]
    .map(|(name, share)| (name.to_owned(), share))
    .into()
}

/// A golden image and what is expected of it.
pub struct Sample {
    /// Path inside the package, score and verdict.
    pub expected: GoldenImage,
    /// The image as PNG.
    pub png: Vec<u8>,
}

/// Chooses up to three good parts (lowest, middle and highest score when held out) and damages two. Of pictures in tiles a corner with seams in it
/// is taken: a package must not grow with the camera.
///
/// # Errors
/// When the backbone fails, or an image cannot be read or encoded.
pub fn choose(
    parts: &GoodParts,
    lesson: &Lesson,
    held_out: &[PartScore],
    detector: &Detector,
    extractor: &mut FeatureExtractor,
    threshold: &ThresholdSpec,
) -> Result<Vec<Sample>, TeachError> {
    let mut order: Vec<usize> = (0..parts.count()).collect();
    order.sort_by(|&a, &b| held_out[a].image.total_cmp(&held_out[b].image));
    let mut picked = vec![order[0], order[order.len() / 2], order[order.len() - 1]];
    picked.dedup();
    let good = picked
        .iter()
        .map(|part| picture(parts, *part, lesson))
        .collect::<Result<Vec<_>, _>>()?;
    let damaged = [0, parts.count() / 2]
        .into_iter()
        .map(|part| Ok(damage(&picture(parts, part, lesson)?)))
        .collect::<Result<Vec<_>, TeachError>>()?;

    let named = |name: &'static str, pictures: Vec<Image>| {
        pictures
            .into_iter()
            .enumerate()
            .map(move |(at, picture)| (format!("{name}_{at}"), picture))
    };
    let pictures = named("good", good).chain(named("damaged", damaged)).collect();
    clear(pictures, lesson, detector, extractor, threshold)
}

/// Golden images that a package carries on from the one that it extends, at most.
const CARRIED_MAX: usize = 5;

/// The golden images of the package that is extended, as the new model judges them; and what to say of those that it judges otherwise.
///
/// # Errors
/// As [`choose`].
pub fn carried(
    base: &Package,
    lesson: &Lesson,
    detector: &Detector,
    extractor: &mut FeatureExtractor,
    threshold: &ThresholdSpec,
) -> Result<(Vec<Sample>, Option<String>), TeachError> {
    let images = parts::evenly(base.manifest.golden.images.clone(), CARRIED_MAX);
    let mut pictures = Vec::new();
    for (at, image) in images.iter().enumerate() {
        let bytes = base.files.get(&image.file).map(Vec::as_slice).unwrap_or_default();
        let pixels = image::load_from_memory_with_format(bytes, image::ImageFormat::Png)?.into_rgb8();
        let picture = Image {
            width: pixels.width(),
            height: pixels.height(),
            rgb: pixels.into_raw(),
        };
        pictures.push((format!("earlier_{at}"), picture));
    }
    let samples = clear(pictures, lesson, detector, extractor, threshold)?;
    let turned = samples.iter().filter_map(|sample| {
        let at = sample
            .expected
            .file
            .strip_prefix(&format!("{GOLDEN}/earlier_"))?
            .strip_suffix(".png")?;
        let before = &images.get(at.parse::<usize>().ok()?)?;
        (before.verdict != sample.expected.verdict).then(|| {
            format!(
                "{} (was {}, is {})",
                before.file,
                before.verdict.name(),
                sample.expected.verdict.name()
            )
        })
    });
    let turned: Vec<String> = turned.collect();
    let warning = (!turned.is_empty()).then(|| {
        format!(
            "look at golden images of the extended package that are judged otherwise now: {}",
            turned.join(", ")
        )
    });
    Ok((samples, warning))
}

/// Those of the pictures whose verdict rounding cannot turn.
fn clear(
    pictures: Vec<(String, Image)>,
    lesson: &Lesson,
    detector: &Detector,
    extractor: &mut FeatureExtractor,
    threshold: &ThresholdSpec,
) -> Result<Vec<Sample>, TeachError> {
    let mut samples = Vec::new();
    let mut tensor = parts::tensor(lesson)?;
    for (name, picture) in pictures {
        let tiles = parts::cut(&picture, lesson, &mut tensor)?;
        let scores = detector.score_all(&extractor.embed(&tiles, &Silent)?, &Silent)?;
        let score = scores.iter().map(|scores| scores.image).fold(f32::NEG_INFINITY, f32::max);
        if is_clear(score, threshold.score) {
            samples.push(sample(&name, &picture, score, threshold)?);
        }
    }
    Ok(samples)
}

/// The picture of a part: as the model takes it, or a corner of what is cut into tiles.
fn picture(parts: &GoodParts, part: usize, lesson: &Lesson) -> Result<Image, TeachError> {
    let Some(tiles) = lesson.tiles else {
        return Ok(Image {
            width: lesson.width,
            height: lesson.height,
            rgb: parts.images[parts.tiles[part].start].clone(),
        });
    };
    let whole = read_image(&parts.paths[part])?;
    let corner = tiles.corner(whole.width, whole.height);
    let row = corner.width as usize * 3;
    let rows = whole.rgb.chunks_exact(whole.width as usize * 3).take(corner.height as usize);
    Ok(Image {
        width: corner.width,
        height: corner.height,
        rgb: rows.flat_map(|pixels| &pixels[..row]).copied().collect(),
    })
}

fn sample(name: &str, picture: &Image, score: f32, threshold: &ThresholdSpec) -> Result<Sample, TeachError> {
    let expected = GoldenImage {
        file: format!("{GOLDEN}/{name}.png"),
        score,
        verdict: recipe::judge(score, threshold.score).0,
        findings: None,
    };
    Ok(Sample {
        expected,
        png: encode_png(picture.width, picture.height, &picture.rgb)?,
    })
}

/// A copy with a block in the middle, an eighth of the picture wide and high, inverted and struck through by a checker of 4 pixels.
fn damage(picture: &Image) -> Image {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let mut damaged = picture.rgb.clone();
    for y in height * 7 / 16..height * 9 / 16 {
        for x in width * 7 / 16..width * 9 / 16 {
            let strike = if (x / 4 + y / 4) % 2 == 0 { 255 } else { 0 };
            damaged[(y * width + x) * 3..][..3]
                .iter_mut()
                .for_each(|value| *value = (255 - *value) / 2 + strike / 2);
        }
    }
    Image { rgb: damaged, ..*picture }
}
