//! Curves over all thresholds: ROC, and precision over recall.

use super::super::html::{each, number, percent, text};
use super::{BOTTOM, LEFT, RIGHT, TOP, across, column_tick, column_title, empty_chart, row_tick, row_title, svg};
use crate::evaluate::metrics::{PrecisionPoint, RocPoint};
use crate::report::ObjectCurve;

/// Curves of single classes that are drawn; of more classes the mean is drawn alone.
const CLASS_CURVES_MAX: usize = 24;

/// The receiver operating characteristic with the working point of the chosen threshold as (false reject rate, detection rate), shares of 1.
pub(in crate::report) fn roc(curve: &[RocPoint], auroc: Option<f64>, working_point: Option<(f64, f64)>) -> String {
    if curve.is_empty() {
        return empty_chart("ROC curve: needs good and defective parts");
    }
    let line = line(curve.iter().map(|point| (point.false_reject_rate, point.detection_rate)));
    let grid = percent_grid();
    let marker = working_point.map_or_else(String::new, |(rate, detection)| {
        let (x, y) = place(rate, detection);
        // The label goes where the curve is not: below and to the right of a point that lies in the upper left.
        let (label_x, anchor) = if rate < 0.55 { (x + 12.0, "start") } else { (x - 12.0, "end") };
        format!(
            "<path class=\"point\" d=\"M{x:.1} {:.1}l6 6-6 6-6-6z\"/><text class=\"strong\" x=\"{label_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">\
             at the threshold: {} found,</text><text class=\"strong\" x=\"{label_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{} falsely rejected</text>",
            y - 6.0,
            y + 20.0,
            percent(Some(detection)),
            y + 36.0,
            percent(Some(rate)),
        )
    });
    let area = number(auroc, 4);
    svg(
        &format!("ROC curve, area under it {area}"),
        &format!(
            "{grid}<polygon class=\"area\" points=\"{LEFT},{BOTTOM} {line}{RIGHT},{BOTTOM}\"/>\
             <line class=\"faint dashed\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{TOP}\"/>\
             <polyline class=\"curve\" points=\"{line}\"/>{marker}\
             <text class=\"strong\" x=\"{}\" y=\"{}\" text-anchor=\"end\">AUROC {area}</text>{}{}",
            RIGHT - 8.0,
            BOTTOM - 12.0,
            column_title("good parts rejected, %"),
            row_title("defects found, %"),
        ),
    )
}

/// Precision over recall of rejected parts, with the working point of the chosen threshold as (recall, precision), shares of 1.
pub(in crate::report) fn precision(curve: &[PrecisionPoint], average: Option<f64>, working_point: Option<(f64, f64)>) -> String {
    let Some(first) = curve.first() else {
        return empty_chart("Precision and recall: needs good and defective parts");
    };
    let start = PrecisionPoint { recall: 0.0, ..*first };
    let line = line(std::iter::once(&start).chain(curve).map(|point| (point.recall, point.precision)));
    let marker = working_point.map_or_else(String::new, |(recall, precision)| {
        let (x, y) = place(recall, precision);
        let (label_x, anchor) = if recall < 0.5 { (x + 12.0, "start") } else { (x - 12.0, "end") };
        // Below the point, unless that is at the foot of the plot.
        let first_line = if y < BOTTOM - 60.0 { y + 20.0 } else { y - 26.0 };
        format!(
            "<path class=\"point\" d=\"M{x:.1} {:.1}l6 6-6 6-6-6z\"/><text class=\"strong\" x=\"{label_x:.1}\" y=\"{first_line:.1}\" \
             text-anchor=\"{anchor}\">at the threshold: {} of the</text><text class=\"strong\" x=\"{label_x:.1}\" y=\"{:.1}\" \
             text-anchor=\"{anchor}\">rejected are defective</text>",
            y - 6.0,
            percent(Some(precision)),
            first_line + 16.0,
        )
    });
    let average = number(average, 4);
    svg(
        &format!("Precision over recall, average precision {average}"),
        &format!(
            "{}<polyline class=\"curve\" points=\"{line}\"/>{marker}<text class=\"strong\" x=\"{}\" y=\"{}\">average precision {average}</text>{}{}",
            percent_grid(),
            LEFT + 8.0,
            BOTTOM - 12.0,
            column_title("defective parts found, %"),
            row_title("defective among the rejected, %"),
        ),
    )
}

/// Precision over recall of found objects: each class, and the mean over the classes.
pub(in crate::report) fn object_precision(curves: &[ObjectCurve], average: Option<f64>) -> String {
    let Some(points) = curves.iter().map(|curve| curve.precision.len()).min().filter(|points| *points > 1) else {
        return empty_chart("Precision and recall: no image has an object");
    };
    let recall = |index: usize| index as f64 / (points - 1) as f64;
    let mean = |index: usize| curves.iter().map(|curve| curve.precision[index]).sum::<f64>() / curves.len() as f64;
    let classes = if curves.len() <= CLASS_CURVES_MAX { curves } else { &[] };
    let lines = each(classes, |curve| {
        let line = line(
            curve.precision[..points]
                .iter()
                .enumerate()
                .map(|(index, precision)| (recall(index), *precision)),
        );
        format!(
            "<polyline class=\"single\" points=\"{line}\"><title>{}</title></polyline>",
            text(&curve.class)
        )
    });
    let mean = line((0..points).map(|index| (recall(index), mean(index))));
    let average = number(average, 4);
    svg(
        &format!("Precision over recall of found objects, mean average precision {average}"),
        &format!(
            "{}{lines}<polyline class=\"curve\" points=\"{mean}\"/><text class=\"strong\" x=\"{}\" y=\"{}\">mean {average}</text>{}{}",
            percent_grid(),
            LEFT + 8.0,
            BOTTOM - 12.0,
            column_title("objects found, %"),
            row_title("right among the found, %"),
        ),
    )
}

/// Where a share across and a share up lie in the plot.
fn place(across_share: f64, up: f64) -> (f64, f64) {
    (across(across_share), BOTTOM - up * (BOTTOM - TOP))
}

fn line(points: impl Iterator<Item = (f64, f64)>) -> String {
    each(points, |(across_share, up)| {
        let (x, y) = place(across_share, up);
        format!("{x:.1},{y:.1} ")
    })
}

/// Both axes from 0 to 100 %.
fn percent_grid() -> String {
    each([0.0, 0.25, 0.5, 0.75, 1.0], |share| {
        let (x, y) = place(share, share);
        let label = format!("{:.0}", share * 100.0);
        format!("{}{}", column_tick(x, &label), row_tick(y, &label))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_without_data_say_so() {
        assert!(roc(&[], None, None).contains("needs good and defective parts"));
        assert!(precision(&[], None, None).contains("needs good and defective parts"));
        assert!(object_precision(&[], None).contains("no image has an object"));
    }

    #[test]
    fn the_mean_is_drawn_over_the_classes_and_alone_where_they_are_many() {
        let curve = |class: &str, level: f64| ObjectCurve {
            class: class.into(),
            precision: vec![level; 3],
        };
        let chart = object_precision(&[curve("<a>", 1.0), curve("b", 0.5)], Some(0.75));
        assert_eq!(chart.matches("class=\"single\"").count(), 2);
        let (_, height) = place(0.0, 0.75);
        assert!(chart.contains(&format!("points=\"{LEFT:.1},{height:.1} ")), "{chart}");
        assert!(chart.contains("&lt;a&gt;"));
        let many = vec![curve("c", 1.0); CLASS_CURVES_MAX + 1];
        assert!(!object_precision(&many, None).contains("single"));
    }
}
