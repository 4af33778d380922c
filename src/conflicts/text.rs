//! Times and values as text.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// The longest value that is shown, in characters.
const VALUE_MAX: usize = 200;

/// A time in UTC.
pub(super) fn utc(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// A time in microseconds since 1970; `None` if it is 0.
pub(super) fn utc_us(time_us: u64) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(time_us))?;
    let time = jiff::Timestamp::try_from(time).ok()?;
    (time_us != 0).then(|| time.strftime("%Y-%m-%dT%H:%M:%S%.fZ").to_string())
}

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

    #[test]
    fn times_are_in_utc() {
        assert_eq!(utc_us(0), None);
        let time = utc_us(1_500_000_000_250_000);
        assert_eq!(time.as_deref(), Some("2017-07-14T02:40:00.25Z"));
    }
}
