//! What proves a model wherever it runs: golden images, and what the processor gives for them now.

use std::path::{Path, PathBuf};

use super::{ANOMALIB_THRESHOLD, ImportError, PRED_LABEL, Told, unusable};
use crate::model::golden::is_clear;
use crate::model::manifest::{GoldenImage, InputSpec, Kind, Manifest};
use crate::model::package::GOLDEN;
use crate::part::{Region, Verdict};
use crate::recipe::Rules;
use crate::vision::decode::{list_images, read_image};
use crate::vision::encode::encode_png;
use crate::vision::inspector::{InspectError, Inspection, Look, Overrides, Picture};
use crate::vision::ort::OrtEngine;
use crate::vision::preprocess::InputTensor;
use crate::vision::reading::Reader;
use crate::vision::{Engine, Image};

/// Most golden images: each is judged at every start.
const GOLDEN_MAX: usize = 8;

/// Golden images, and what should be known of them.
pub(super) struct Proof {
    /// What the package says of them.
    pub(super) images: Vec<GoldenImage>,
    /// Their files, as PNG.
    pub(super) pngs: Vec<Vec<u8>>,
    /// What should be known.
    pub(super) warnings: Vec<String>,
}

/// Judges images of the folder `golden` as the package will. Images so near to the threshold that rounding could turn their verdict prove nothing
/// and are left out.
pub(super) fn prove(file: &Path, manifest: &Manifest, told: &Told, engine: &mut OrtEngine, golden: &Path) -> Result<Proof, ImportError> {
    let is_assumed = manifest.kind == Kind::Anomaly && told.threshold.is_none();
    let mut prover = Prover::new(file, manifest, engine)?;
    let (mut images, mut pngs) = (Vec::new(), Vec::new());
    let chosen = chosen(golden)?;
    for path in &chosen {
        let image = read_image(path)?;
        let inspection = prover.judge(&image)?;
        let of_image = |reason| unusable(file, format!("of {} {reason}", path.display()));
        check(&inspection).map_err(of_image)?;
        if is_assumed {
            prover.labels(&image)?.iter().try_for_each(check_label).map_err(of_image)?;
        }
        if !is_clear(inspection.score, inspection.threshold) {
            continue;
        }
        let are_clear = inspection
            .findings
            .iter()
            .all(|finding| is_clear(finding.score, inspection.threshold));
        images.push(GoldenImage {
            file: format!("{GOLDEN}/{}.png", images.len()),
            score: inspection.score,
            verdict: inspection.verdict,
            findings: are_clear.then_some(inspection.findings.len()),
        });
        pngs.push(encode_png(image.width, image.height, &image.rgb)?);
    }
    if images.is_empty() {
        return Err(ImportError::NoGolden(golden.into()));
    }
    let mut warnings = Vec::new();
    if images.len() < chosen.len() {
        let left_out = chosen.len() - images.len();
        warnings.push(format!(
            "{left_out} golden images score so near to the threshold that they prove nothing; they were left out"
        ));
    }
    if images.iter().all(|image| image.verdict == Verdict::Ok) {
        warnings.push(
            "no golden image is rejected, so they could not tell a model that passes every part; give pictures of bad parts too".into(),
        );
    }
    Ok(Proof { images, pngs, warnings })
}

/// The images of a folder that prove a model: some, evenly spread over their names.
fn chosen(folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let paths = list_images(folder).map_err(|error| ImportError::File {
        path: folder.into(),
        reason: format!("{error}; give a folder of images with --golden"),
    })?;
    let count = paths.len().min(GOLDEN_MAX);
    Ok((0..count).map(|index| paths[index * paths.len() / count].clone()).collect())
}

/// Judges images as the package will.
struct Prover<'a> {
    engine: &'a mut OrtEngine,
    input: &'a InputSpec,
    tensor: InputTensor,
    reader: Reader,
    /// Where the model's own label is, if it gives one.
    label: Option<usize>,
}

impl<'a> Prover<'a> {
    fn new(file: &Path, manifest: &'a Manifest, engine: &'a mut OrtEngine) -> Result<Self, ImportError> {
        let reader = Reader::new(manifest, engine.outputs()).map_err(|reason| unusable(file, reason))?;
        Ok(Self {
            input: &manifest.input,
            tensor: manifest.input.tensor()?,
            reader,
            label: engine.outputs().iter().position(|port| port.name == PRED_LABEL),
            engine,
        })
    }

    /// As a station will: whole, or tile by tile.
    fn judge(&mut self, image: &Image) -> Result<Inspection, ImportError> {
        let rules = Rules::default();
        let whole = Region::whole(image.width, image.height);
        let judged =
            Look::new(self.engine, &mut self.tensor, &self.reader, self.input).judge(Picture::Image(image), &rules.in_picture(whole));
        judged.map_err(|error| match error {
            InspectError::Decode(error) => error.into(),
            InspectError::Preprocess(error) => error.into(),
            InspectError::Tiles(error) => error.into(),
            InspectError::Engine(error) => error.into(),
        })
    }

    /// What the model sees as one picture each: its verdict by our threshold, and its own label.
    fn labels(&mut self, image: &Image) -> Result<Vec<(Inspection, f32)>, ImportError> {
        let Some(label) = self.label else { return Ok(Vec::new()) };
        let whole = Region::whole(image.width, image.height);
        let seen = self.input.tiles.map_or_else(|| Ok(vec![whole]), |tiles| tiles.cut(whole))?;
        let mut labels = Vec::with_capacity(seen.len());
        for region in seen {
            let placement = self.tensor.set_image(0, image, Some(region))?;
            let outputs = self.engine.run(&self.tensor.shape(), self.tensor.values())?;
            let label = outputs.get(label).and_then(|output| output.values.first().copied());
            let inspection = self.reader.read(outputs, &placement, Overrides::default());
            labels.extend(label.map(|label| (inspection, label)));
        }
        Ok(labels)
    }
}

/// Whether what a golden image gave can be relied on.
fn check(inspection: &Inspection) -> Result<(), String> {
    if inspection.verdict == Verdict::NotDecidable {
        return Err("its outputs are of no use; check --range, --colour, --size, --scores and --head".into());
    }
    Ok(())
}

/// Whether the model's own label follows from its score and the threshold that was assumed.
fn check_label((inspection, label): &(Inspection, f32)) -> Result<(), String> {
    if (*label > 0.5) == (inspection.verdict == Verdict::NotOk) {
        return Ok(());
    }
    Err(format!(
        "its own label does not follow from its score of {:.4} and anomalib's threshold of {ANOMALIB_THRESHOLD}; give the threshold that it was exported \
         with (--threshold)",
        inspection.score
    ))
}
