//! Plain tables, bars and sparklines. Nothing wraps and nothing is coloured, so that output is the same in a terminal, a file and a mail.

/// Characters of a cell; longer ones end with `…`. Whole values are in JSON and CSV.
const CELL_MAX: usize = 32;

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Left(&'static str),
    Right(&'static str),
    /// Left out where no row says anything.
    Optional(&'static str),
    /// The same for numbers.
    OptionalRight(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) | Self::Optional(title) | Self::OptionalRight(title) => title,
        }
    }
}

/// Columns, a line below their titles, rows.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let shown: Vec<usize> = (0..columns.len())
        .filter(|column| {
            !matches!(columns[*column], Column::Optional(_) | Column::OptionalRight(_))
                || rows.iter().any(|row| !cell(row, *column).is_empty())
        })
        .collect();
    let width = |column: usize| {
        let title = columns[column].title().chars().count();
        rows.iter()
            .map(|row| cell(row, column).chars().count())
            .chain([title])
            .max()
            .unwrap_or(title)
    };
    let widths: Vec<usize> = shown.iter().map(|column| width(*column)).collect();
    let line = |cells: Vec<String>| {
        let padded = shown
            .iter()
            .zip(&widths)
            .zip(cells)
            .map(|((column, width), cell)| match columns[*column] {
                Column::Right(_) | Column::OptionalRight(_) => format!("{cell:>width$}"),
                Column::Left(_) | Column::Optional(_) => format!("{cell:<width$}"),
            });
        format!(" {}", padded.collect::<Vec<_>>().join("  ")).trim_end().to_owned() + "\n"
    };
    let rule = "─".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1) + 2);
    let titles = line(shown.iter().map(|column| columns[*column].title().to_owned()).collect());
    let rows: String = rows
        .iter()
        .map(|row| line(shown.iter().map(|column| cell(row, *column)).collect()))
        .collect();
    format!("{titles}{rule}\n{rows}")
}

/// What came from outside, so that it cannot move the cursor or change colours.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|sign| {
            if sign.is_control() || is_invisible(sign) {
                sign.escape_default().to_string()
            } else {
                sign.to_string()
            }
        })
        .collect()
}

/// Marks that change the direction of the text around them.
fn is_invisible(sign: char) -> bool {
    matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The same, cut to the length of a cell.
pub(super) fn cell(text: &str) -> String {
    let text = plain(text);
    if text.chars().count() <= CELL_MAX {
        return text;
    }
    text.chars().take(CELL_MAX - 1).chain(['…']).collect()
}

/// A bar of at most `width` characters for a share from 0 to 1, to an eighth of a character. What is not nothing is seen.
pub(super) fn bar(share: f64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let share = share.clamp(0.0, 1.0);
    let eighths = (share * width as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// A line of small columns from the lowest value to the highest; a blank where there is none.
pub(super) fn sparkline(values: &[Option<f64>]) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let known = || values.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let level = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 1.0 };
        LEVELS[((share * 7.0).round() as usize).min(7)]
    };
    values.iter().map(|value| value.map_or(' ', level)).collect()
}

/// A number with its thousands apart: 12 345.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_stands_straight_and_leaves_empty_columns_out() {
        let columns = [Column::Left("name"), Column::Optional("serial"), Column::Right("parts")];
        let rows = [
            vec!["scratch".into(), String::new(), "7".into()],
            vec!["é".into(), String::new(), "1 200".into()],
        ];
        assert_eq!(
            table(&columns, &rows),
            " name     parts\n────────────────\n scratch      7\n é        1 200\n"
        );
        assert_eq!(table(&columns, &[]), " name  parts\n─────────────\n");
    }

    #[test]
    fn what_came_from_outside_cannot_write_over_the_screen() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\nc\\u{202e}");
        assert_eq!(cell(&"x".repeat(99)).chars().count(), CELL_MAX);
        assert!(cell(&"x".repeat(99)).ends_with('…'));
    }

    #[test]
    fn bars_and_sparklines_show_what_there_is() {
        assert_eq!(
            [bar(0.0, 4), bar(0.5, 4), bar(1.0, 4), bar(1e-9, 4), bar(0.53, 4)],
            ["", "██", "████", "▏", "██▏"]
        );
        assert_eq!(bar(f64::NAN, 4), "");
        assert_eq!(sparkline(&[Some(0.0), None, Some(1.0), Some(0.5)]), "▁ █▅");
        assert_eq!(sparkline(&[Some(0.9)]), "█");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }
}
