//! SQL with bound values. What is written into the text is fixed at compile time; what comes from outside can only be bound.

use rusqlite::types::Value;

/// A piece of SQL and the values of its places, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    /// Adds text.
    #[must_use]
    pub(super) fn text(mut self, text: &'static str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds a place and what is bound to it.
    #[must_use]
    pub(super) fn value(mut self, value: impl Into<Value>) -> Self {
        self.text.push('?');
        self.values.push(value.into());
        self
    }

    /// Adds `(?, ?, ...)`.
    #[must_use]
    pub(super) fn list<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.text.push('(');
        for (place, value) in values.into_iter().enumerate() {
            if place > 0 {
                self.text.push_str(", ");
            }
            self = self.value(value);
        }
        self.text.push(')');
        self
    }

    /// Adds another piece.
    #[must_use]
    pub(super) fn piece(mut self, other: Self) -> Self {
        self.text.push_str(&other.text);
        self.values.extend(other.values);
        self
    }

    /// Adds the pieces with `between` between them.
    #[must_use]
    pub(super) fn joined(mut self, between: &'static str, pieces: impl IntoIterator<Item = Self>) -> Self {
        for (place, piece) in pieces.into_iter().enumerate() {
            if place > 0 {
                self.text.push_str(between);
            }
            self = self.piece(piece);
        }
        self
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }
}
