//! What the page says of a kind of model: its headline, its curves, its tables by class and by size.

use crate::evaluate::metrics::average_precision::CocoFigures;
use crate::evaluate::{ClassReport, Evaluation};
use crate::report::{ClassMatrix, EvaluationReport, Figure, FigureTable, Metric, ObjectCurve, ObjectFigures};

/// Fills in what is of this kind; nothing for one that has no more than good and defective.
pub(super) fn fill(report: &mut EvaluationReport, evaluation: &Evaluation) {
    report.headline = headline(evaluation);
    report.confusion = evaluation.confusion.as_ref().map(|matrix| ClassMatrix {
        classes: matrix.classes.clone(),
        counts: matrix.counts.clone(),
    });
    let curve = |(class, precision): &(String, Vec<f64>)| ObjectCurve {
        class: class.clone(),
        precision: precision.clone(),
    };
    report.objects = evaluation.objects.as_ref().map(|objects| ObjectFigures {
        average: objects.map_50,
        curves: evaluation.object_curves.iter().map(curve).collect(),
        by_size: by_size(objects),
    });
    report.tables = [
        evaluation.objects.as_ref().map(|_| objects_by_class(evaluation)),
        evaluation.confusion.as_ref().map(|_| images_by_class(evaluation)),
        evaluation.iou_mean.map(|_| pixels_by_class(evaluation)),
    ]
    .into_iter()
    .flatten()
    .collect();
}

fn headline(evaluation: &Evaluation) -> Option<Metric> {
    let metric = |name: &str, value, decimals, unit: &str, note: String| Metric {
        name: name.into(),
        value,
        decimals,
        unit: unit.into(),
        note,
    };
    if let Some(objects) = &evaluation.objects {
        let count: u64 = evaluation.classes.values().filter_map(|class| class.objects).sum();
        return Some(metric(
            "mAP",
            objects.map_50_95,
            4,
            "",
            format!(
                "of {count} objects, overlaps 0.50 to 0.95; at 0.50 alone {}",
                objects.map_50.map_or_else(|| "not measured".into(), |map| format!("{map:.4}"))
            ),
        ));
    }
    if evaluation.iou_mean.is_some() {
        let note = format!(
            "intersection over union of pixels, over {} classes; mean Dice {}",
            evaluation.classes.len(),
            evaluation
                .dice_mean
                .map_or_else(|| "not measured".into(), |dice| format!("{dice:.4}"))
        );
        return Some(metric("Mean IoU", evaluation.iou_mean, 4, "", note));
    }
    let confusion = evaluation.confusion.as_ref()?;
    let images: u64 = confusion.counts.iter().flatten().sum();
    let classes = confusion.classes.len();
    Some(metric(
        "Accuracy",
        evaluation.accuracy.map(|share| 100.0 * share),
        1,
        "%",
        format!("of {images} images get their own of {classes} classes"),
    ))
}

fn by_size(objects: &CocoFigures) -> FigureTable {
    let row = |name: &str, values: [Option<f64>; 4]| (name.to_owned(), values.map(share).to_vec());
    FigureTable {
        heading: "Objects by size".into(),
        words: "As COCO defines it: small is below 32 x 32 pixels of the picture, large above 96 x 96. Recall is the mean over the overlaps when the best 100 \
                boxes of a class in a picture count."
            .into(),
        of: "figure".into(),
        columns: ["all", "small", "medium", "large"].map(String::from).to_vec(),
        rows: vec![
            row(
                "mAP, overlaps 0.50 to 0.95",
                [objects.map_50_95, objects.map_small, objects.map_medium, objects.map_large],
            ),
            row("mAP at 0.50", [objects.map_50, None, None, None]),
            row("mAP at 0.75", [objects.map_75, None, None, None]),
            row(
                "recall of 100 boxes",
                [objects.ar_100, objects.ar_small, objects.ar_medium, objects.ar_large],
            ),
            row("recall of 10 boxes", [objects.ar_10, None, None, None]),
            row("recall of 1 box", [objects.ar_1, None, None, None]),
        ],
    }
}

fn objects_by_class(evaluation: &Evaluation) -> FigureTable {
    by_class(
        evaluation,
        "Objects by class",
        "Average precision of each class by itself; a dash where no picture has an object of it.",
        &["objects", "AP 0.50 to 0.95", "AP at 0.50", "AP at 0.75", "recall of 100 boxes"],
        |class| {
            vec![
                count(class.objects),
                share(class.ap_50_95),
                share(class.ap_50),
                share(class.ap_75),
                share(class.ar_100),
            ]
        },
    )
}

fn images_by_class(evaluation: &Evaluation) -> FigureTable {
    by_class(
        evaluation,
        "Images by class",
        "Precision: the share of the images said to be of the class that are. Recall: the share of the images of the class that were said to be. The class said \
         is the one with the largest share; whether a part is rejected is decided by the threshold.",
        &["images", "said to be", "precision", "recall", "F1"],
        |class| {
            vec![
                count(class.images),
                count(class.images_said),
                share(class.precision),
                share(class.recall),
                share(class.f1),
            ]
        },
    )
}

fn pixels_by_class(evaluation: &Evaluation) -> FigureTable {
    by_class(
        evaluation,
        "Pixels by class",
        "Over all pixels of all pictures, at the size of what is true of them. IoU: right ones by all that are or were said to be of the class. Pixels of none \
         of the classes of the model are a class of their own.",
        &["pixels", "said to be", "IoU", "Dice", "precision", "recall"],
        |class| {
            vec![
                count(class.pixels),
                count(class.pixels_said),
                share(class.iou),
                share(class.dice),
                share(class.precision),
                share(class.recall),
            ]
        },
    )
}

fn by_class(
    evaluation: &Evaluation,
    heading: &str,
    words: &str,
    columns: &[&str],
    figures: impl Fn(&ClassReport) -> Vec<Figure>,
) -> FigureTable {
    FigureTable {
        heading: heading.into(),
        words: words.into(),
        of: "class".into(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows: evaluation
            .classes
            .iter()
            .map(|(name, class)| (name.clone(), figures(class)))
            .collect(),
    }
}

fn share(value: Option<f64>) -> Figure {
    Figure { value, decimals: 4 }
}

fn count(value: Option<u64>) -> Figure {
    Figure {
        value: value.map(|count| count as f64),
        decimals: 0,
    }
}
