//! The values of variables and expressions.

use crate::protocol::response::ColumnKind;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// NULL.
    Null,
    /// A number, as text.
    Number(String),
    /// A text.
    Text(String),
    /// A time in UTC, as text.
    Time(String),
}

impl Value {
    /// The value as text; `None` for NULL.
    pub fn into_text(self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Number(text) | Value::Text(text) | Value::Time(text) => Some(text),
        }
    }

    /// The value as text; `None` for NULL.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Null => None,
            Value::Number(text) | Value::Text(text) | Value::Time(text) => Some(text),
        }
    }

    /// The type of a column with this value.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Value::Number(text) if text.contains('.') => ColumnKind::Decimal,
            Value::Number(_) => ColumnKind::Integer,
            Value::Null | Value::Text(_) => ColumnKind::Text,
            Value::Time(_) => ColumnKind::Time,
        }
    }

    /// Bytes of the text.
    pub fn byte_len(&self) -> usize {
        match self {
            Value::Null => 0,
            Value::Number(text) | Value::Text(text) | Value::Time(text) => text.len(),
        }
    }
}
