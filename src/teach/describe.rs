//! What a taught package says of itself: its manifest, and the record of its lesson.

use std::collections::BTreeMap;

use super::backbone::Backbone;
use super::detector::Detector;
use super::extend::Base;
use super::parts::GoodParts;
use super::patchcore::PatchCore;
use super::record::Record;
use super::{Lesson, PartScore, graph};
use crate::model::manifest::{
    self, BackboneSpec, FORMAT_VERSION, Fit, Golden, InputSpec, Kind, Manifest, MethodSpec, Normalisation, OutputSpec, Provenance,
    Teaching, ThresholdSpec, sha256_hex,
};
use crate::vision::findings::ANOMALY;
use crate::vision::preprocess::{Colour, Element, Filter, Layout};

/// The manifest of a package; without files, which are hashed when it is written.
pub(super) fn manifest(
    lesson: &Lesson,
    base: Option<&Base>,
    backbone: &Backbone,
    parts: &GoodParts,
    threshold: ThresholdSpec,
    golden: Golden,
    detector: &Detector,
) -> Manifest {
    let bank = match detector {
        Detector::PatchCore(patchcore) => Some(patchcore),
        Detector::Relative(relative) => Some(&relative.as_is.bank),
        Detector::Padim(_) => None,
    };
    let mut teaching = Teaching {
        taught_by: manifest::somebody(),
        taught_unix_ns: manifest::unix_ns(),
        taught_from: lesson.good.display().to_string(),
        images: parts.count(),
        images_sha256: sha256_hex(parts.images.iter().map(|pixels| sha256_hex(pixels)).collect::<String>().as_bytes()),
        takt_version: env!("CARGO_PKG_VERSION").into(),
        extended_from: None,
        method: MethodSpec {
            name: lesson.method.name().into(),
            bank: bank.map(PatchCore::bank_size),
            neighbours: bank.map(|bank| bank.neighbours),
            own_level: matches!(detector, Detector::Relative(_)).then_some(lesson.settings.own_level),
            own_contrast: lesson.own_contrast,
            augment: lesson.augment.clone(),
            seed: lesson.settings.seed,
        },
        backbone: BackboneSpec {
            name: backbone.manifest.name.clone(),
            sha256: backbone.sha256.clone(),
            licence: backbone.manifest.licence.clone(),
            provenance: backbone.manifest.provenance.clone(),
        },
    };
    if let Some(base) = base {
        tell_base(&mut teaching, base);
    }
    Manifest {
        format_version: FORMAT_VERSION,
        name: lesson.name.clone(),
        version: lesson.version.clone(),
        kind: Kind::Anomaly,
        licence: backbone.manifest.licence.clone(),
        classes: vec![ANOMALY.into()],
        ok_classes: Vec::new(),
        input: InputSpec {
            name: graph::PIXELS.into(),
            layout: Layout::Nhwc,
            dtype: Element::U8,
            colour: Colour::Rgb,
            width: lesson.width,
            height: lesson.height,
            batch: 1,
            normalisation: Normalisation::InModel,
            scale: None,
            offset: None,
            fit: Fit::Stretch,
            fill: manifest::BAR_LEVEL,
            filter: Filter::Bilinear,
            tiles: lesson.tiles,
        },
        outputs: OutputSpec::Anomaly {
            anomaly_map: Some(graph::ANOMALY_MAP.into()),
            pred_score: graph::PRED_SCORE.into(),
        },
        threshold,
        provenance: Provenance::Taught(Box::new(teaching)),
        quantisation: None,
        files: BTreeMap::new(),
        golden,
    }
}

/// What the package keeps of the lesson.
pub(super) fn record(lesson: &Lesson, base: Option<&Base>, parts: &GoodParts, detector: &Detector, held_out: &[PartScore]) -> Record {
    let before = base.map(|base| &base.record);
    let mut hashes = parts.hashes();
    hashes.extend(before.iter().flat_map(|before| before.parts.clone()));
    Record::new(
        lesson.settings.bank,
        lesson.false_reject_rate,
        lesson.known.is_some(),
        parts.images.len() * lesson.views() + before.map_or(0, |before| before.fitted),
        detector,
        held_out,
        &hashes,
    )
}

/// Says in what is told of the new parts what they were added to.
fn tell_base(teaching: &mut Teaching, base: &Base) {
    let told = base.told();
    teaching.images += told.images;
    teaching.images_sha256 = sha256_hex(format!("{}{}", base.images_sha256(), teaching.images_sha256).as_bytes());
    teaching.extended_from = Some(told);
}
