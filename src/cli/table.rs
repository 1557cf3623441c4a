//! Tables for people.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, LineStyle, Table, TableStyle};

/// A line below the header and nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with a header and rows, as text that ends with a line break.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table.add_rows(rows);
    format!("{table}\n")
}

/// Columns of a screen that is none: a file, a pipe, a mail.
const COLUMNS: u16 = 80;

/// How a row's word of state looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// As everything else.
    Plain,
    Good,
    Caution,
    Bad,
    /// The whole row steps back.
    Faint,
}

/// A table whose second column is a word of state, in colour. It fits the terminal, and 80 columns where there is none.
pub(super) fn marked_table(header: &[&str], rows: impl IntoIterator<Item = (Mark, Vec<String>)>) -> String {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if table.width().is_none_or(|columns| columns == 0) {
        table.set_width(COLUMNS);
    }
    for (mark, row) in rows {
        let cells = row
            .into_iter()
            .enumerate()
            .map(|(column, text)| marked(Cell::new(text), mark, column == 1));
        table.add_row(cells);
    }
    format!("{table}\n")
}

fn marked(cell: Cell, mark: Mark, is_state: bool) -> Cell {
    match mark {
        Mark::Faint => cell.add_attribute(Attribute::Dim),
        Mark::Good if is_state => cell.fg(Color::Green),
        Mark::Caution if is_state => cell.fg(Color::Yellow).add_attribute(Attribute::Bold),
        Mark::Bad if is_state => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        _ => cell,
    }
}

/// A share as percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A figure that may be missing.
pub(super) fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.4}"))
}
