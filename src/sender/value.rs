//! The values of variables and expressions.

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// A number, as text.
    Number(String),
    /// A text.
    Text(String),
}

impl Value {
    /// The value as text; `None` for NULL.
    pub fn into_text(self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Number(text) | Value::Text(text) => Some(text),
        }
    }

    /// Bytes of the text.
    pub fn byte_len(&self) -> usize {
        match self {
            Value::Null => 0,
            Value::Number(text) | Value::Text(text) => text.len(),
        }
    }
}
