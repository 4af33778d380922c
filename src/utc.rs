//! Times as text, in UTC: `2026-11-27T06:05:44Z`, as the status, the listings and the messages show them.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// A time in whole seconds. Empty if it is after the year 9999.
pub fn seconds(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// A time in microseconds since 1970. The fraction has as many digits as it needs, and none if it is 0. `None` if the
/// time is after the year 9999.
pub fn microseconds(us: u64) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(us))?;
    let time = Timestamp::try_from(time).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S%.fZ").to_string())
}

/// A time in seconds since 1970, as servers log it.
pub fn unix_seconds(seconds: u32) -> String {
    microseconds(u64::from(seconds) * 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500_000_000_250);
        assert_eq!(seconds(time), "2017-07-14T02:40:00Z");
        let text = |us| microseconds(us).unwrap_or_default();
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_500_000_000_250_000), "2017-07-14T02:40:00.25Z");
        assert_eq!(text(1_500_000_000_000_001), "2017-07-14T02:40:00.000001Z");
        assert_eq!(unix_seconds(1_500_000_000), "2017-07-14T02:40:00Z");
        assert_eq!(unix_seconds(u32::MAX), "2106-02-07T06:28:15Z");
    }

    #[test]
    fn time_after_the_calendar_is_not_a_text() {
        assert_eq!(microseconds(u64::MAX), None);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(seconds(time), "");
    }
}
