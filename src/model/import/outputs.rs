//! What comes out of a model, and what it means.

use super::{ANOMALIB_THRESHOLD, ANOMALY_MAP, PRED_SCORE, Questions, ScoreForm, Told};
use crate::model::manifest::{Kind, OutputSpec, ThresholdSpec};
use crate::vision::detect::Size;
use crate::vision::detect::recognise::{Possible, recognise};
use crate::vision::{ElementType, Port};

/// Above which share of a label a part is not Ok: a pixel has it or not.
const LABEL_THRESHOLD: f32 = 0.5;

/// What comes out, and what it means.
pub(super) struct Meaning {
    pub(super) kind: Kind,
    pub(super) outputs: OutputSpec,
    pub(super) classes: Vec<String>,
    pub(super) threshold: ThresholdSpec,
}

/// What the outputs mean, unless something has to be asked. `input` is the size of the model's input, once that is known.
///
/// # Errors
/// Why takt cannot read them.
pub(super) fn meaning(outputs: &[Port], input: Option<Size>, told: &Told, questions: &mut Questions) -> Result<Option<Meaning>, String> {
    if outputs.iter().any(|port| port.name == PRED_SCORE) {
        return Ok(Some(of_anomalies(outputs, told)));
    }
    if let [port] = outputs {
        match *port.shape.as_slice() {
            [_, count] => return of_classes(port, count, told, questions),
            [_, channels, _, _] => return of_pixels(port, channels, told, questions),
            [_, _, _] if port.element.is_some_and(ElementType::is_whole) => return of_pixels(port, Some(1), told, questions),
            _ => {}
        }
    }
    of_boxes(outputs, input, told, questions)
}

/// A limit that was told.
fn told_limit(score: f32) -> ThresholdSpec {
    limit(score, "whoever imported it")
}

fn limit(score: f32, chosen_by: &str) -> ThresholdSpec {
    ThresholdSpec {
        score,
        region: None,
        chosen_by: chosen_by.into(),
        calibration: None,
    }
}

/// Scores of anomalies, named as anomalib names them.
fn of_anomalies(outputs: &[Port], told: &Told) -> Meaning {
    let map = outputs.iter().any(|port| port.name == ANOMALY_MAP);
    let threshold = told.threshold.map_or_else(
        || limit(ANOMALIB_THRESHOLD, "anomalib, whose exports map their threshold to 0.5"),
        told_limit,
    );
    Meaning {
        kind: Kind::Anomaly,
        outputs: OutputSpec::Anomaly {
            anomaly_map: map.then(|| ANOMALY_MAP.to_owned()),
            pred_score: PRED_SCORE.to_owned(),
        },
        classes: vec!["anomaly".into()],
        threshold: ThresholdSpec {
            region: map.then_some(threshold.score),
            ..threshold
        },
    }
}

/// Whether the classes are told, and as many as there are, and which of them are good is known.
fn are_classes_told(count: Option<usize>, told: &Told, questions: &mut Questions) -> Result<bool, String> {
    if told.classes.is_empty() {
        let count = count.map_or_else(|| "its".to_owned(), |count| format!("its {count}"));
        questions.ask(format!("how {count} classes are called (--class NAME, once for each, in order)"));
        return Ok(false);
    }
    if count.is_some_and(|count| count != told.classes.len()) {
        return Err(format!(
            "it has other than the {} classes that are named ({}); name each once with --class",
            told.classes.len(),
            told.classes.join(", ")
        ));
    }
    if let Some(unknown) = told.ok_classes.iter().find(|class| !told.classes.contains(class)) {
        return Err(format!(
            "--ok-class {unknown} is none of its classes; name one of {}",
            told.classes.join(", ")
        ));
    }
    if told.classes.iter().all(|class| told.ok_classes.contains(class)) {
        return Err("every class is an --ok-class, so no part could ever be rejected; leave out those that are defects".into());
    }
    Ok(true)
}

/// Which class is good must be known where each picture, or each pixel, has one.
fn is_good_told(told: &Told, what: &str, questions: &mut Questions) -> bool {
    if told.ok_classes.is_empty() {
        questions.ask(format!("which class is {what} (--ok-class NAME)"));
    }
    !told.ok_classes.is_empty()
}

fn of_classes(port: &Port, count: Option<usize>, told: &Told, questions: &mut Questions) -> Result<Option<Meaning>, String> {
    let are_told = are_classes_told(count, told, questions)? & is_good_told(told, "a good part", questions);
    let form = questions.unless(
        told.scores,
        "whether its scores are logits or sum up to 1 (--scores logits or --scores shares)",
    );
    if form == Some(ScoreForm::Labels) {
        return Err("its output has a score for each class, not labels; say --scores logits or --scores shares".into());
    }
    let score = questions.unless(
        told.threshold,
        "above which share of defects a part is not Ok (--threshold, for example 0.5)",
    );
    let (Some(form), Some(score), true) = (form, score, are_told) else {
        return Ok(None);
    };
    Ok(Some(Meaning {
        kind: Kind::Classification,
        outputs: OutputSpec::Classes {
            scores: port.name.clone(),
            are_logits: form == ScoreForm::Logits,
        },
        classes: told.classes.clone(),
        threshold: told_limit(score),
    }))
}

/// A class for each pixel: scores in `channels`, or a label.
fn of_pixels(port: &Port, channels: Option<usize>, told: &Told, questions: &mut Questions) -> Result<Option<Meaning>, String> {
    let form = if port.element.is_some_and(ElementType::is_whole) {
        Some(ScoreForm::Labels)
    } else {
        questions.unless(
            told.scores,
            "what its values of pixels are (--scores logits, --scores shares, or --scores labels)",
        )
    };
    let is_label = form == Some(ScoreForm::Labels);
    if is_label && channels.is_some_and(|channels| channels != 1) {
        return Err(format!(
            "its output {port} has several values for each pixel, so they are no labels; say --scores logits or shares"
        ));
    }
    let mut are_told = are_classes_told(channels.filter(|_| !is_label), told, questions)?;
    // One channel tells a defect from all else, which needs no name.
    if is_label || channels != Some(1) {
        are_told &= is_good_told(told, "no defect, such as the background", questions);
    }
    let threshold = match (is_label, told.threshold) {
        (true, None) => Some(limit(LABEL_THRESHOLD, "takt: a pixel has a label or not")),
        (_, score) => questions
            .unless(
                score,
                "above which share of defects a pixel belongs to one (--threshold, for example 0.5)",
            )
            .map(told_limit),
    };
    let (Some(form), Some(threshold), true) = (form, threshold, are_told) else {
        return Ok(None);
    };
    Ok(Some(Meaning {
        kind: Kind::Segmentation,
        outputs: OutputSpec::Pixels {
            scores: port.name.clone(),
            form,
        },
        classes: told.classes.clone(),
        threshold,
    }))
}

/// A detector, once it is known which.
fn of_boxes(outputs: &[Port], input: Option<Size>, told: &Told, questions: &mut Questions) -> Result<Option<Meaning>, String> {
    let count = (!told.classes.is_empty()).then_some(told.classes.len());
    let found = outputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let possible: Vec<Possible> = recognise(outputs, count, input)
        .into_iter()
        .filter(|possible| told.head.is_none_or(|head| head == possible.kind))
        .collect();
    let head = match possible.as_slice() {
        [] => {
            return Err(format!(
                "its outputs {found} are none that takt reads, with what was told of them; see docs/models.md"
            ));
        }
        [only] => Some(only),
        several => {
            let names: Vec<&str> = several.iter().map(|possible| possible.kind.name()).collect();
            questions.ask(format!("which head its outputs {found} are of (--head {})", names.join(" or ")));
            None
        }
    };
    let are_told = are_classes_told(head.and_then(|head| head.classes), told, questions)?;
    let score = questions.unless(
        told.threshold,
        "above which score a box makes a part not Ok (--threshold, for example 0.5)",
    );
    let iou = if head.is_some_and(|head| head.kind.overlaps()) {
        questions.unless(told.iou, "how much boxes may overlap (--iou, for example 0.45)")
    } else {
        Some(told.iou.unwrap_or(1.0))
    };
    let (Some(head), Some(score), Some(iou), true) = (head, score, iou, are_told) else {
        return Ok(None);
    };
    let tensors = head.outputs.iter().filter_map(|position| outputs.get(*position));
    Ok(Some(Meaning {
        kind: Kind::Detection,
        outputs: OutputSpec::Boxes {
            boxes: head.kind,
            tensors: tensors.map(|port| port.name.clone()).collect(),
            coefficients: head.coefficients,
            iou,
            scope: told.scope,
        },
        classes: told.classes.clone(),
        threshold: told_limit(score),
    }))
}
