//! Values as text.

use serde_json::Value;

/// The longest value that is shown, in characters.
const VALUE_MAX: usize = 200;

/// The value, truncated.
pub(super) fn truncated(value: Value) -> Value {
    let text = match value {
        Value::String(text) => text,
        Value::Array(_) | Value::Object(_) => value.to_string(),
        short => return short,
    };
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => {
            let kept = text.get(..end).unwrap_or_default();
            Value::String(format!("{kept}…"))
        }
        None => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_truncated_between_characters() {
        let long = truncated(Value::String("é".repeat(201)));
        assert_eq!(long, Value::String("é".repeat(200) + "…"));
        let fits = Value::String("é".repeat(200));
        assert_eq!(truncated(fits.clone()), fits);
        assert_eq!(truncated(Value::from(7)), Value::from(7));
    }
}
