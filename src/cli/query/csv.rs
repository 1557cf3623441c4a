//! Comma-separated values, RFC 4180, as a spreadsheet takes them.

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    /// What came from outside. A spreadsheet would compute what begins with = + - @; an apostrophe before it makes it text.
    Text(String),
    /// Numbers, times and words of takt's own, as they are.
    Word(String),
}

impl Field {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Something that may be missing: then nothing.
    pub(super) fn word(word: Option<impl ToString>) -> Self {
        Self::Word(word.map(|word| word.to_string()).unwrap_or_default())
    }

    fn written(&self) -> String {
        let text = match self {
            // Spreadsheets skip a tab or line break before looking.
            Self::Text(text) if text.trim_start_matches(['\t', '\r', '\n', ' ']).starts_with(['=', '+', '-', '@']) => format!("'{text}"),
            Self::Text(text) | Self::Word(text) => text.clone(),
        };
        if text.contains(['"', ',', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    }
}

/// A row, with the line break that RFC 4180 asks for.
pub(super) fn row(fields: &[Field]) -> String {
    fields.iter().map(Field::written).collect::<Vec<_>>().join(",") + "\r\n"
}

/// The names of the columns.
pub(super) fn header(names: &[&str]) -> String {
    names.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let texts = ["plain", "a,b", "say \"hi\"", "two\r\nlines", "", " edge"].map(Field::text);
        assert_eq!(row(&texts), "plain,\"a,b\",\"say \"\"hi\"\"\",\"two\r\nlines\",,\" edge\"\r\n");
    }

    #[test]
    fn formulas_become_text_and_numbers_stay_numbers() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert!(row(&[Field::text(formula)]).trim_start_matches('"').starts_with('\''), "{formula}");
        }
        assert_eq!(row(&[Field::word(Some(-5)), Field::word(None::<u32>)]), "-5,\r\n");
    }
}
