//! What the classes of a model are told from: confusion matrix, figures by class, curves of found objects.

use super::charts::object_precision;
use super::html::{each, number, text};
use super::{ClassMatrix, EvaluationReport, FigureTable, ObjectCurve};

/// Classes of a confusion matrix that is shown; beyond, nobody could read it, and the table by class has to do.
const MATRIX_CLASSES_MAX: usize = 30;

/// How strongly the cell with all images of its class is coloured: the number on it stays readable in either scheme.
const SHADE_MAX: f64 = 0.45;

/// The sections of the kind of the model; nothing where it has none.
pub(super) fn sections(report: &EvaluationReport) -> String {
    let matrix = report.confusion.as_ref().map_or_else(String::new, confusion);
    let curves = if report.object_curves.is_empty() {
        String::new()
    } else {
        objects(&report.object_curves, report.headline.as_ref().and_then(|headline| headline.value))
    };
    format!("{matrix}{curves}{}", each(&report.tables, table))
}

/// True class against class said.
fn confusion(matrix: &ClassMatrix) -> String {
    if matrix.classes.len() > MATRIX_CLASSES_MAX {
        return String::new();
    }
    let columns = each(&matrix.classes, |class| {
        format!("<th scope=\"col\" class=\"number\">{}</th>", text(class))
    });
    let rows = each(matrix.classes.iter().zip(&matrix.counts).enumerate(), |(truth, (class, counts))| {
        let total = counts.iter().sum::<u64>().max(1);
        let cells = each(counts.iter().enumerate(), |(said, count)| {
            let shade = SHADE_MAX * *count as f64 / total as f64;
            let colour = if truth == said { "0,114,178" } else { "213,94,0" };
            let style = if *count > 0 {
                format!(" style=\"background:rgba({colour},{shade:.2})\"")
            } else {
                String::new()
            };
            format!("<td class=\"number\"{style}>{count}</td>")
        });
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", text(class))
    });
    format!(
        "<section><h2>Class by class: what is true, and what was said</h2><p class=\"lead\">A row for each true class, a column for each class said. Blue on \
         the diagonal is right, orange beside it is wrong; the stronger, the larger the share of the row.</p><div class=\"scroll\"><table class=\"matrix\">\
         <thead><tr><th scope=\"col\">true class</th>{columns}</tr></thead><tbody>{rows}</tbody></table></div></section>\n"
    )
}

/// How found objects and true ones agree.
fn objects(curves: &[ObjectCurve], headline: Option<f64>) -> String {
    let mean = |curve: &ObjectCurve| curve.precision.iter().sum::<f64>() / curve.precision.len().max(1) as f64;
    let average = curves.iter().map(mean).sum::<f64>() / curves.len().max(1) as f64;
    format!(
        "<section><h2>Objects found</h2><div class=\"charts pair\"><figure><h3>Every possible score</h3>{}<figcaption>An object is found where a box of its class \
         overlaps it by half or more (intersection over union). The thick line is the mean over the classes, thin ones are the classes; each takes the \
         best precision at its recall or beyond, as COCO does.</figcaption></figure><figure class=\"prose\"><h3>How to read this</h3><p>Boxes count down to a score of 0.001, \
         far below the threshold: the threshold decides about parts, not about this curve. mAP over overlaps from 0.50 to 0.95 is {}: it asks boxes to \
         fit tightly, which small objects rarely do. For reject or pass, escapes and false rejects above are what counts.</p></figure></div></section>\n",
        object_precision(curves, Some(average)),
        number(headline, 4),
    )
}

fn table(table: &FigureTable) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let columns = each(&table.columns, |column| {
        format!("<th scope=\"col\" class=\"number\">{}</th>", text(column))
    });
    let rows = each(&table.rows, |(name, figures)| {
        let cells = each(figures, |figure| {
            let words = figure
                .value
                .map_or_else(|| "\u{2013}".into(), |value| number(Some(value), figure.decimals));
            format!("<td class=\"number\">{words}</td>")
        });
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", text(name))
    });
    format!(
        "<section><h2>{}</h2><p class=\"lead\">{}</p><div class=\"scroll\"><table><thead><tr><th scope=\"col\">{}</th>{columns}</tr></thead><tbody>{rows}</tbody>\
         </table></div></section>\n",
        text(&table.heading),
        text(&table.words),
        text(&table.of),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figure;

    #[test]
    fn a_matrix_has_a_row_for_each_class_unless_nobody_could_read_it() {
        let matrix = |classes: usize| ClassMatrix {
            classes: vec!["<a>".into(); classes],
            counts: vec![vec![3; classes]; classes],
        };
        let page = confusion(&matrix(3));
        assert_eq!((page.matches("<tr>").count(), page.matches("<td").count()), (4, 9));
        assert!(page.contains("&lt;a&gt;") && page.contains("rgba(0,114,178,0.15)"));
        assert_eq!(confusion(&matrix(MATRIX_CLASSES_MAX + 1)), "");
    }

    #[test]
    fn figures_that_are_none_are_a_dash() {
        let figure = |value| Figure { value, decimals: 2 };
        let page = table(&FigureTable {
            heading: "a < b".into(),
            words: String::new(),
            of: "class".into(),
            columns: vec!["AP".into(), "AR".into()],
            rows: vec![("bolt".into(), vec![figure(Some(0.5)), figure(None)])],
        });
        assert!(page.contains("a &lt; b") && page.contains(">0.50</td>") && page.contains(">\u{2013}</td>"));
    }
}
