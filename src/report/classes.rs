//! What the classes of a model are told from: confusion matrix, figures by class, curves of found objects.

use super::charts::object_precision;
use super::html::{each, number, text};
use super::{ClassMatrix, EvaluationReport, FigureTable, ObjectFigures};

/// Classes of a confusion matrix that is shown; beyond, nobody could read it, and the table by class has to do.
const MATRIX_CLASSES_MAX: usize = 30;

/// How strongly the cell with all images of its class is coloured: the number on it stays readable in either scheme.
const SHADE_MAX: f64 = 0.45;

/// The sections of the kind of the model; nothing where it has none.
pub(super) fn sections(report: &EvaluationReport) -> String {
    let matrix = report.confusion.as_ref().map_or_else(String::new, confusion);
    let objects = report.objects.as_ref().map_or_else(String::new, objects);
    format!("{matrix}{objects}{}", each(&report.tables, table))
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
fn objects(objects: &ObjectFigures) -> String {
    format!(
        "<section><h2>Objects found</h2><div class=\"charts\"><figure><h3>Every possible score</h3>{}<figcaption>An object is found where a box of its \
         class overlaps it by half or more (intersection over union). The thick line is the mean over the classes, thin ones are the classes; each takes \
         the best precision at its recall or beyond, as COCO does. Boxes count down to a score of 0.001: the threshold decides about parts, not about this \
         curve.</figcaption></figure><figure><h3>{}</h3>{}<figcaption>{}</figcaption></figure></div></section>\n",
        object_precision(&objects.curves, objects.average),
        text(&objects.by_size.heading),
        grid(&objects.by_size),
        text(&objects.by_size.words),
    )
}

fn table(table: &FigureTable) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    format!(
        "<section><h2>{}</h2><p class=\"lead\">{}</p><div class=\"scroll\">{}</div></section>\n",
        text(&table.heading),
        text(&table.words),
        grid(table),
    )
}

/// The table itself.
fn grid(table: &FigureTable) -> String {
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
        "<table><thead><tr><th scope=\"col\">{}</th>{columns}</tr></thead><tbody>{rows}</tbody></table>",
        text(&table.of)
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
