//! The golden gate: a model is active only after its golden images gave the expected scores and verdicts on the very provider that runs it.

use super::manifest::GoldenImage;
use super::package::Package;
use crate::part::{Region, Verdict};
use crate::recipe::Rules;
use crate::vision::inspector::{InspectError, Look, Picture};
use crate::vision::preprocess::InputTensor;
use crate::vision::reading::Reader;
use crate::vision::{Engine, EngineError, Image, Provider};

/// Tolerance for providers that the manifest does not name: that of full precision with another order of additions.
const TOLERANCE_DEFAULT: f64 = 1e-3;

/// Images whose score is nearer to the threshold than this share of it are not used: rounding could turn their verdict.
const CLEARANCE: f32 = 0.02;

/// Whether a score is so far from the threshold that rounding does not turn its verdict.
pub fn is_clear(score: f32, threshold: f32) -> bool {
    (score - threshold).abs() > CLEARANCE * threshold.abs()
}

/// What a golden image gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Gated {
    /// The image's path inside the package.
    pub file: String,
    /// The score that was expected.
    pub expected: f32,
    /// The score that came.
    pub score: f32,
    /// The verdict that came, as expected.
    pub verdict: Verdict,
}

/// Why the gate stays shut.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// No golden images.
    #[error("it has no golden images, so nothing proves it on {0}; teach or import it again")]
    None(Provider),
    /// A golden image cannot be read.
    #[error("golden image {image} cannot be read: {reason}")]
    Image {
        /// The image.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model failed.
    #[error("golden image {image} could not be judged")]
    Engine {
        /// The image.
        image: String,
        /// What the runtime said.
        source: EngineError,
    },
    /// Another score or verdict than expected.
    #[error("golden image {image} scored {score:.6} ({}), expected {expected:.6} ({}) within {tolerance:.6} on {provider}; this provider or runtime does not compute what was taught: use another provider, or teach the model again here", verdict.name(), expected_verdict.name())]
    Mismatch {
        /// The image.
        image: String,
        /// The score that came.
        score: f32,
        /// The verdict that came.
        verdict: Verdict,
        /// The score that was expected.
        expected: f32,
        /// The verdict that was expected.
        expected_verdict: Verdict,
        /// How far the score may be off.
        tolerance: f64,
        /// Where the model ran.
        provider: Provider,
    },
}

/// Runs all golden images of `package` through `engine`, which computes with `precision` (`f32`, `f16`, `int8`), and whose outputs `reader` reads.
///
/// # Errors
/// At the first image that is not answered as expected.
pub fn check(
    package: &Package,
    engine: &mut dyn Engine,
    precision: &str,
    tensor: &mut InputTensor,
    reader: &Reader,
) -> Result<Vec<Gated>, GoldenError> {
    let images = &package.manifest.golden.images;
    if images.is_empty() {
        return Err(GoldenError::None(engine.provider()));
    }
    images
        .iter()
        .map(|image| check_one(package, engine, precision, tensor, reader, image))
        .collect()
}

fn check_one(
    package: &Package,
    engine: &mut dyn Engine,
    precision: &str,
    tensor: &mut InputTensor,
    reader: &Reader,
    golden: &GoldenImage,
) -> Result<Gated, GoldenError> {
    let (manifest, provider) = (&package.manifest, engine.provider());
    let unreadable = |reason: String| GoldenError::Image {
        image: golden.file.clone(),
        reason,
    };
    let image = read_pixels(package, golden).map_err(unreadable)?;
    let input = &manifest.input;
    let whole = Region::whole(image.width, image.height);
    let rules = Rules::default();
    let judged = Look::new(engine, tensor, reader, input).judge(Picture::Image(&image), &rules.in_picture(whole));
    let inspection = judged.map_err(|error| match error {
        InspectError::Engine(source) => GoldenError::Engine {
            image: golden.file.clone(),
            source,
        },
        error => unreadable(error.to_string()),
    })?;
    let (score, verdict) = (inspection.score, inspection.verdict);
    let way = format!("{}_{precision}", provider.name());
    let relative = manifest.golden.tolerance.get(&way).copied().unwrap_or(TOLERANCE_DEFAULT);
    let tolerance = relative * f64::from(golden.score.abs().max(manifest.threshold.score.abs()));
    // Written so that a score that is no number fails.
    let close = (f64::from(score) - f64::from(golden.score)).abs() <= tolerance;
    let is_complete = golden.findings.is_none_or(|findings| findings == inspection.findings.len());
    if close && verdict == golden.verdict && is_complete {
        return Ok(Gated {
            file: golden.file.clone(),
            expected: golden.score,
            score,
            verdict,
        });
    }
    Err(GoldenError::Mismatch {
        image: golden.file.clone(),
        score,
        verdict,
        expected: golden.score,
        expected_verdict: golden.verdict,
        tolerance,
        provider,
    })
}

/// The pixels of a golden image.
fn read_pixels(package: &Package, golden: &GoldenImage) -> Result<Image, String> {
    let bytes = package
        .files
        .get(&golden.file)
        .ok_or("it is not listed among the package's files")?;
    let decoded = image::load_from_memory_with_format(bytes, image::ImageFormat::Png).map_err(|error| error.to_string())?;
    let pixels = decoded.into_rgb8();
    Ok(Image {
        width: pixels.width(),
        height: pixels.height(),
        rgb: pixels.into_raw(),
    })
}
