//! The expressions for a point in time that administrators write after BEFORE.
//!
//! | expression | |
//! |---|---|
//! | `'2026-11-27 10:00:00'`, `'2026-11-27'`, `20261127100000` | in the session's time zone, which is UTC unless it was set |
//! | `'2026-11-27 10:00:00+02:00'` | |
//! | `NOW()`, `SYSDATE()`, `CURRENT_TIMESTAMP`, `CURDATE()`, `CURRENT_DATE`, `UTC_TIMESTAMP()` | |
//! | `expression - INTERVAL 3 DAY`, `DATE_SUB(expression, INTERVAL 3 DAY)`, with `+` and `DATE_ADD` likewise | `SECOND`, `MINUTE`, `HOUR`, `DAY`, `WEEK`, `MONTH`, `QUARTER`, `YEAR` |
//! | `FROM_UNIXTIME(seconds)` | |

use std::time::SystemTime;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp};

use super::budget::{DEPTH_MAX, too_deep};
use super::cursor::Cursor;
use super::sql::Token;
use super::sql_errors::shortened;
use super::variables::SessionVariables;
use crate::protocol::ServerError;

/// "Unknown or incorrect time zone".
const ER_UNKNOWN_TIME_ZONE: u16 = 1298;
/// "Incorrect DATETIME value".
const ER_WRONG_VALUE: u16 = 1525;

/// Reads points in time in a session's time zone.
#[derive(Debug, Clone)]
pub struct Instants {
    zone: TimeZone,
}

fn wrong(value: &str) -> ServerError {
    let text = format!("Incorrect DATETIME value: '{}'", shortened(value));
    ServerError::new(ER_WRONG_VALUE, text)
}

impl Instants {
    /// In the time zone that the session has set: an offset, `SYSTEM` or `UTC`.
    ///
    /// # Errors
    /// It is another one.
    pub fn of_session(variables: &SessionVariables) -> Result<Self, ServerError> {
        let name = variables.system_text("time_zone").unwrap_or_default();
        let offset = match name.to_ascii_uppercase().as_str() {
            "" | "SYSTEM" | "UTC" | "DEFAULT" => Some(Offset::UTC),
            _ => offset(&name),
        };
        let offset = offset.ok_or_else(|| {
            let name = shortened(&name);
            let text = format!("Unknown or incorrect time zone: '{name}'");
            ServerError::new(ER_UNKNOWN_TIME_ZONE, text)
        })?;
        Ok(Self {
            zone: TimeZone::fixed(offset),
        })
    }

    /// Reads an expression; `None` if it is not supported.
    ///
    /// # Errors
    /// It is no time.
    pub fn read(&self, cursor: &mut Cursor<'_>) -> Result<Option<SystemTime>, ServerError> {
        let Some(time) = self.expression(cursor, 0)? else {
            return Ok(None);
        };
        let zoned = time.to_zoned(self.zone.clone());
        let zoned = zoned.map_err(|_| wrong(&time.to_string()))?;
        Ok(Some(SystemTime::from(zoned.timestamp())))
    }

    /// A literal; one with a time zone offset is converted.
    fn parsed(&self, text: &str) -> Result<DateTime, ServerError> {
        let trimmed = text.trim();
        let time = trimmed.get(10..).unwrap_or_default();
        let (local, zone) = match time.find(['+', '-']) {
            Some(at) if at > 0 => trimmed.split_at_checked(10 + at).unwrap_or((trimmed, "")),
            _ => (trimmed, ""),
        };
        // The parser accepts, and ignores, more than servers do.
        let is_part =
            |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | ' ' | 'T' | 't');
        let is_whole = local.chars().all(is_part);
        let date_time = local.parse::<DateTime>();
        let date = || local.parse::<Date>().map(|date| date.at(0, 0, 0, 0));
        let parsed = date_time.or_else(|_| date()).ok().filter(|_| is_whole);
        let parsed = parsed.ok_or_else(|| wrong(text))?;
        if zone.is_empty() {
            return Ok(parsed);
        }
        let instant = offset(zone).and_then(|offset| offset.to_timestamp(parsed).ok());
        let instant = instant.ok_or_else(|| wrong(text))?;
        Ok(self.zone.to_datetime(instant))
    }

    fn now(&self) -> DateTime {
        self.zone.to_datetime(Timestamp::now())
    }

    fn expression(
        &self,
        cursor: &mut Cursor<'_>,
        depth: usize,
    ) -> Result<Option<DateTime>, ServerError> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let Some(mut time) = self.operand(cursor, depth)? else {
            return Ok(None);
        };
        loop {
            let sign = match (cursor.eat_symbol('-'), cursor.peek()) {
                (true, _) => -1,
                (false, _) if cursor.eat_symbol('+') => 1,
                _ => return Ok(Some(time)),
            };
            match interval(cursor)? {
                Some(span) => time = shifted(time, span, sign)?,
                None => return Ok(None),
            }
        }
    }

    fn operand(
        &self,
        cursor: &mut Cursor<'_>,
        depth: usize,
    ) -> Result<Option<DateTime>, ServerError> {
        let Some(token) = cursor.next() else {
            return Ok(None);
        };
        let word = match token {
            Token::Text(text) => return self.parsed(text).map(Some),
            Token::Number(number) => return from_digits(number).map(Some),
            Token::Symbol('(') => {
                let inner = self.expression(cursor, depth + 1)?;
                return Ok(inner.filter(|_| cursor.eat_symbol(')')));
            }
            Token::Word(word) => word.to_ascii_uppercase(),
            _ => return Ok(None),
        };
        let has_arguments = cursor.eat_symbol('(');
        let is_empty = has_arguments && cursor.eat_symbol(')');
        let midnight = |time: DateTime| time.date().at(0, 0, 0, 0);
        Ok(match word.as_str() {
            "NOW" | "SYSDATE" if is_empty => Some(self.now()),
            "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP" if is_empty || !has_arguments => {
                Some(self.now())
            }
            "CURDATE" if is_empty => Some(midnight(self.now())),
            "CURRENT_DATE" if is_empty || !has_arguments => Some(midnight(self.now())),
            "UTC_TIMESTAMP" if is_empty || !has_arguments => {
                Some(TimeZone::UTC.to_datetime(Timestamp::now()))
            }
            "DATE_SUB" | "SUBDATE" | "DATE_ADD" | "ADDDATE" if has_arguments => {
                let sign = if word.contains("SUB") { -1 } else { 1 };
                let Some(time) = self.expression(cursor, depth + 1)? else {
                    return Ok(None);
                };
                let span = match cursor.eat_symbol(',') {
                    true => interval(cursor)?,
                    false => None,
                };
                match span.filter(|_| cursor.eat_symbol(')')) {
                    Some(span) => Some(shifted(time, span, sign)?),
                    None => None,
                }
            }
            "FROM_UNIXTIME" if has_arguments => {
                let Some(Token::Number(seconds)) = cursor.next() else {
                    return Ok(None);
                };
                let known = seconds
                    .parse()
                    .ok()
                    .and_then(|s| Timestamp::from_second(s).ok());
                let time = known.ok_or_else(|| wrong(seconds))?;
                cursor.eat_symbol(')').then(|| self.zone.to_datetime(time))
            }
            "TIMESTAMP" | "DATE" if !has_arguments => match cursor.next() {
                Some(Token::Text(text)) => Some(self.parsed(text)?),
                _ => None,
            },
            _ => None,
        })
    }
}

/// `+02:00`, `-7:30`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..15).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// YYYYMMDD or YYYYMMDDhhmmss.
fn from_digits(digits: &str) -> Result<DateTime, ServerError> {
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("0");
    let number = |from, to| part(from, to).parse::<i8>().map_err(|_| wrong(digits));
    if !matches!(digits.len(), 8 | 14) {
        return Err(wrong(digits));
    }
    let year = part(0, 4).parse::<i16>().map_err(|_| wrong(digits))?;
    let time = match digits.len() {
        8 => (0, 0, 0),
        _ => (number(8, 10)?, number(10, 12)?, number(12, 14)?),
    };
    let date = (number(4, 6)?, number(6, 8)?);
    DateTime::new(year, date.0, date.1, time.0, time.1, time.2, 0).map_err(|_| wrong(digits))
}

/// `INTERVAL 3 DAY`; `None` if it is another expression.
fn interval(cursor: &mut Cursor<'_>) -> Result<Option<Span>, ServerError> {
    if !cursor.eat("INTERVAL") {
        return Ok(None);
    }
    let text = match cursor.next() {
        Some(Token::Number(text) | Token::Text(text)) => text,
        _ => return Ok(None),
    };
    let count: i64 = text.trim().parse().map_err(|_| wrong(text))?;
    let Some(Token::Word(unit)) = cursor.next() else {
        return Ok(None);
    };
    let span = Span::new();
    let span = match unit.to_ascii_uppercase().as_str() {
        "SECOND" => span.try_seconds(count),
        "MINUTE" => span.try_minutes(count),
        "HOUR" => span.try_hours(count),
        "DAY" => span.try_days(count),
        "WEEK" => span.try_weeks(count),
        "MONTH" => span.try_months(count),
        "QUARTER" => span.try_months(count.saturating_mul(3)),
        "YEAR" => span.try_years(count),
        _ => return Ok(None),
    };
    span.map(Some).map_err(|_| wrong(text))
}

fn shifted(time: DateTime, span: Span, sign: i64) -> Result<DateTime, ServerError> {
    let shifted = match sign {
        1 => time.checked_add(span),
        _ => time.checked_sub(span),
    };
    shifted.map_err(|_| wrong(&time.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::sender::sql::tokenize;
    use crate::sender::value::Value;

    fn read(zone: &str, text: &str) -> Result<Option<u64>, u16> {
        let mut variables = SessionVariables::default();
        if !zone.is_empty() {
            variables
                .set_system("time_zone", Value::Text(zone.to_owned()))
                .unwrap();
        }
        let instants = Instants::of_session(&variables).map_err(|error| error.code)?;
        let tokens = tokenize(text, 100).unwrap();
        let mut cursor = Cursor::new(&tokens);
        let time = instants.read(&mut cursor).map_err(|error| error.code)?;
        Ok(time
            .filter(|_| cursor.is_done())
            .map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs()))
    }

    #[test]
    fn literals_and_intervals_are_times() {
        // 2026-11-27 00:00:00 UTC.
        const DAY: u64 = 1_795_737_600;
        for (zone, text, expected) in [
            ("", "'2026-11-27'", DAY),
            ("", "'2026-11-27 10:00:00'", DAY + 36_000),
            ("+02:00", "'2026-11-27 10:00:00'", DAY + 28_800),
            ("-07:30", "'2026-11-27'", DAY + 27_000),
            ("SYSTEM", "20261127", DAY),
            ("utc", "20261127010203", DAY + 3723),
            ("", "'2026-11-27' - INTERVAL 2 DAY", DAY - 172_800),
            (
                "",
                "'2026-11-27' - interval '1' week + interval 1 second",
                DAY - 604_799,
            ),
            ("", "DATE_SUB('2026-12-27', INTERVAL 1 MONTH)", DAY),
            ("", "(DATE_ADD('2025-11-27', INTERVAL 4 QUARTER))", DAY),
            ("+05:00", "FROM_UNIXTIME(1795737600)", DAY),
            ("", "TIMESTAMP '2026-11-27 00:00:01'", DAY + 1),
            ("", "'2026-11-27 10:00:00+02:00'", DAY + 28_800),
            ("-07:30", "'2026-11-27T10:00:00.5-01:00'", DAY + 39_600),
            ("+01:00", "'2026-11-27T10:00:00'", DAY + 32_400),
        ] {
            assert_eq!(read(zone, text), Ok(Some(expected)), "{zone} {text}");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        for (text, seconds) in [
            ("NOW()", 0),
            ("current_timestamp", 0),
            ("SYSDATE() - INTERVAL 1 HOUR", 3600),
            ("DATE_SUB(NOW(), INTERVAL 3 DAY)", 259_200),
        ] {
            for zone in ["", "+09:00"] {
                let found = Duration::from_secs(read(zone, text).unwrap().unwrap() + seconds);
                assert!(
                    found.abs_diff(now) < Duration::from_secs(30),
                    "{zone} {text}"
                );
            }
        }
    }

    #[test]
    fn other_expressions_are_refused() {
        for text in [
            "",
            "NOW(",
            "NOW() - 3",
            "UUID()",
            "@a",
            "NOW() - INTERVAL 3 DAYS",
            "DATE_SUB(NOW()",
        ] {
            assert_eq!(read("", text), Ok(None), "{text}");
        }
        for text in [
            "'tomorrow'",
            "'2026-13-01'",
            "20261",
            "'2026-01-01' - INTERVAL 'x' DAY",
            "'2026-11-27+02:00'",
            "'2026-11-27 10:00:00-24'",
            "'2026-11-27 10:00:00+15:00'",
            "'2026-11-27 10:00:00Z'",
            "'2026-11-27 10:00:00[Europe/Berlin]'",
            "'2026-11-27 10:00:00 +02:00 x'",
        ] {
            assert_eq!(read("", text), Err(1525), "{text}");
        }
        for zone in ["Europe/Berlin", "+15:00", "+600000:00", "-0:99999999"] {
            assert_eq!(read(zone, "NOW()"), Err(1298), "{zone}");
        }
        assert_eq!(read("", &"(".repeat(200)), Err(1436));
    }
}
