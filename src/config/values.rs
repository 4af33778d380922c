//! Parsing the values of settings: durations, sizes, addresses; and the nearest known key.

use std::time::Duration;

/// The longest duration of any setting (100 years), so that no later arithmetic can overflow.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads `500ms`, `10s`, `5m`, `2h` or `7d`; `0` needs no unit. `None` when it is not one of these
/// or longer than [`DURATION_MAX`].
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds_per_unit = match unit {
        "" if number == 0 => 0,
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(milliseconds_per_unit)?);
    (duration <= DURATION_MAX).then_some(duration)
}

/// Reads `100B`, `512KiB`, `64MiB`, `1GiB` or `2TiB` as bytes; a number without a unit is bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes_per_unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes_per_unit)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

/// Writes a duration as in the file, in the largest unit that divides it.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    for (size, unit) in units {
        if milliseconds != 0 && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    if milliseconds == 0 {
        "0".to_owned()
    } else {
        format!("{milliseconds}ms")
    }
}

/// Writes a size as in the file, in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes.is_multiple_of(1u64 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Whether a text is `HOST:PORT`: an IPv4 address or a name, or an IPv6 address in brackets. Port
/// 0 (any free port) is allowed, since it is a valid address to listen on.
pub(super) fn is_listen_address(text: &str) -> bool {
    if text.parse::<std::net::SocketAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok() && is_host_name(host)
}

fn is_host_name(host: &str) -> bool {
    // All digits and dots is an IPv4 address that did not parse, not a name.
    !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether a text has the form of a server UUID, `8-4-4-4-12` hexadecimal digits.
pub(super) fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups
            .iter()
            .all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The known key that a mistyped one most likely means: the one with the smallest edit distance, if
/// that is at most a third of the length of `word` (or 2, if that is more and `word` has 4 characters).
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let length = word.chars().count();
    let allowed = if length < 4 { 1 } else { (length / 3).max(2) };
    known
        .iter()
        .map(|candidate| (strsim::levenshtein(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7_200)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for bad in [
            "",
            "10",
            "s",
            "10 weeks",
            "-1s",
            "1.5s",
            "10S",
            "99999999999999999999s",
            "18446744073709551615d",
            "36501d",
            "1s1s",
            "é",
            "1é",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_parsed() {
        assert_eq!(parse_size("100B"), Some(100));
        assert_eq!(parse_size("512KiB"), Some(524_288));
        assert_eq!(parse_size("64 MiB"), Some(67_108_864));
        assert_eq!(parse_size("1GiB"), Some(1_073_741_824));
        assert_eq!(parse_size("12345"), Some(12_345));
        for bad in [
            "",
            "MiB",
            "1MB",
            "1mib",
            "-1",
            "0x10",
            "18446744073709551615KiB",
            "1.5GiB",
        ] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn shown_values_are_parsed_again() {
        for text in ["500ms", "90s", "5m", "2h", "7d", "0"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["100B", "512KiB", "64MiB", "1GiB", "3TiB", "0B"] {
            assert_eq!(show_size(parse_size(text).unwrap()), text);
        }
    }

    #[test]
    fn listen_addresses_are_checked() {
        for good in [
            "0.0.0.0:3306",
            "[::]:3306",
            "[::1]:0",
            "relay.example.org:65535",
            "db_1:1",
        ] {
            assert!(is_listen_address(good), "{good}");
        }
        for bad in [
            "",
            ":3306",
            "3306",
            "0.0.0.0",
            "host:",
            "host:65536",
            "host:+1",
            "::1:3306",
            "1.2.3:3306",
            "256.0.0.1:3306",
            "a b:1",
        ] {
            assert!(!is_listen_address(bad), "{bad}");
        }
    }

    #[test]
    fn uuids_are_checked() {
        assert!(is_uuid("3e11fa47-71ca-11e1-9e33-c80aa9429562"));
        assert!(!is_uuid("3e11fa4771ca11e19e33c80aa9429562"));
        assert!(!is_uuid("3e11fa47-71ca-11e1-9e33-c80aa942956g"));
    }

    #[test]
    fn nearest_key_is_suggested() {
        let known = ["max_size", "sync", "basename", "expire_after"];
        assert_eq!(nearest("max_sise", &known), Some("max_size"));
        assert_eq!(nearest("sinc", &known), Some("sync"));
        assert_eq!(nearest("expires_after", &known), Some("expire_after"));
        assert_eq!(nearest("zzz", &known), None);
        assert_eq!(nearest("host", &known), None);
    }
}
