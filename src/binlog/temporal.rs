//! Dates and times, as rows and JSON documents hold them.
//!
//! The types with fractions of a second (TIME2, DATETIME2, TIMESTAMP2; MySQL 5.6, MariaDB 10.1) are
//! big-endian, the highest bit inverted so that they sort as bytes, and end with the fraction in
//! 0 to 3 bytes, as hundredths, ten-thousandths or millionths:
//! ```text
//!  DATETIME2  1 sign | 17 year * 13 + month | 5 day | 5 hour | 6 minute | 6 second | fraction
//!  TIME2      1 sign | 1 unused | 10 hour | 6 minute | 6 second | fraction
//!  TIMESTAMP2 32 seconds since 1970 | fraction
//! ```
//! The older ones are little-endian: TIME and DATETIME are decimal (hhmmss, YYYYMMDDhhmmss), DATE is
//! 15 bits of year, 4 of month, 5 of day.

use std::fmt;

use super::fields::{EventError, FieldReader};

const NAME: &str = "temporal value";

/// A date, which need not exist: servers store year, month or day 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Date {
    /// The year.
    pub year: u32,
    /// The month, from 1.
    pub month: u32,
    /// The day of the month, from 1.
    pub day: u32,
}

/// A time of day, or a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Whether it is less than zero.
    pub negative: bool,
    /// Hours; up to 838 in a TIME.
    pub hour: u32,
    /// Minutes.
    pub minute: u32,
    /// Seconds.
    pub second: u32,
    /// Millionths of a second.
    pub microsecond: u32,
    /// How many digits of the fraction are shown.
    pub digits: u8,
}

/// A date with a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DateTime {
    /// The date.
    pub date: Date,
    /// The time.
    pub time: Time,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp {
    /// Seconds since 1970 in UTC; 0 is the date 0000-00-00.
    pub seconds: u32,
    /// Millionths of a second.
    pub microsecond: u32,
    /// How many digits of the fraction are shown.
    pub digits: u8,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let (hour, minute, second) = (self.hour, self.minute, self.second);
        write!(f, "{sign}{hour:02}:{minute:02}:{second:02}")?;
        write_fraction(f, self.microsecond, self.digits)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.date, self.time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seconds)?;
        write_fraction(f, self.microsecond, self.digits)
    }
}

fn write_fraction(f: &mut fmt::Formatter<'_>, microsecond: u32, digits: u8) -> fmt::Result {
    let digits = digits.min(6);
    if digits == 0 {
        return Ok(());
    }
    let shown = microsecond / 10_u32.pow(6 - u32::from(digits));
    write!(f, ".{shown:0width$}", width = usize::from(digits))
}

impl Date {
    /// Reads a DATE.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
        let value = FieldReader::new(NAME, bytes, 0).uint("DATE", 3)? as u32;
        Ok(Self {
            year: value >> 9,
            month: value >> 5 & 0xf,
            day: value & 0x1f,
        })
    }
}

impl Time {
    /// Reads a TIME of the old format.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode_old(bytes: &[u8]) -> Result<Self, EventError> {
        let value = FieldReader::new(NAME, bytes, 0).uint("TIME", 3)? as i32;
        // 24 bits with a sign.
        let value = (value << 8) >> 8;
        Ok(Self {
            negative: value < 0,
            ..Self::from_decimal(value.unsigned_abs().into())
        })
    }

    /// Reads a TIME2 with `digits` of a fraction.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode(bytes: &[u8], digits: u8) -> Result<Self, EventError> {
        Ok(Self::unpack(Packed::decode(bytes, 3, digits)?, digits))
    }

    /// Reads the TIME of a JSON document.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode_packed(bytes: &[u8]) -> Result<Self, EventError> {
        Ok(Self::unpack(Packed::from_json(bytes)?, 6))
    }

    fn unpack(packed: Packed, digits: u8) -> Self {
        Self {
            negative: packed.negative,
            hour: (packed.whole >> 12 & 0x3ff) as u32,
            minute: (packed.whole >> 6 & 0x3f) as u32,
            second: (packed.whole & 0x3f) as u32,
            microsecond: packed.microsecond,
            digits,
        }
    }

    /// From hhmmss.
    fn from_decimal(value: u64) -> Self {
        Self {
            hour: (value / 10_000) as u32,
            minute: (value / 100 % 100) as u32,
            second: (value % 100) as u32,
            ..Self::default()
        }
    }
}

impl DateTime {
    /// Reads a DATETIME of the old format.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode_old(bytes: &[u8]) -> Result<Self, EventError> {
        let value = FieldReader::new(NAME, bytes, 0).u64("DATETIME")?;
        let (days, time) = (value / 1_000_000, value % 1_000_000);
        Ok(Self {
            date: Date {
                year: u32::try_from(days / 10_000).unwrap_or(u32::MAX),
                month: (days / 100 % 100) as u32,
                day: (days % 100) as u32,
            },
            time: Time::from_decimal(time),
        })
    }

    /// Reads a DATETIME2 with `digits` of a fraction.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode(bytes: &[u8], digits: u8) -> Result<Self, EventError> {
        Ok(Self::unpack(Packed::decode(bytes, 5, digits)?, digits))
    }

    /// Reads the DATE, DATETIME or TIMESTAMP of a JSON document.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode_packed(bytes: &[u8]) -> Result<Self, EventError> {
        Ok(Self::unpack(Packed::from_json(bytes)?, 6))
    }

    fn unpack(packed: Packed, digits: u8) -> Self {
        let months = packed.whole >> 22;
        let time_of_day = packed.whole & 0x1_ffff;
        Self {
            date: Date {
                year: u32::try_from(months / 13).unwrap_or(u32::MAX),
                month: (months % 13) as u32,
                day: (packed.whole >> 17 & 0x1f) as u32,
            },
            time: Time::unpack(
                Packed {
                    whole: time_of_day,
                    ..packed
                },
                digits,
            ),
        }
    }
}

impl Timestamp {
    /// Reads a TIMESTAMP of the old format.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode_old(bytes: &[u8]) -> Result<Self, EventError> {
        Ok(Self {
            seconds: FieldReader::new(NAME, bytes, 0).u32("TIMESTAMP")?,
            ..Self::default()
        })
    }

    /// Reads a TIMESTAMP2 with `digits` of a fraction.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode(bytes: &[u8], digits: u8) -> Result<Self, EventError> {
        let mut fields = FieldReader::new(NAME, bytes, 0);
        let seconds = u32::from_be_bytes(fields.array("TIMESTAMP")?);
        let fraction = big_endian(&mut fields, fraction_length(digits))?;
        Ok(Self {
            seconds,
            microsecond: to_microsecond(fraction, digits),
            digits,
        })
    }
}

/// A value with its sign separated.
#[derive(Debug, Clone, Copy)]
struct Packed {
    negative: bool,
    /// The bits before the fraction.
    whole: u64,
    microsecond: u32,
}

impl Packed {
    /// Reads `length` bytes and the fraction after them, as one number with an inverted sign.
    fn decode(bytes: &[u8], length: usize, digits: u8) -> Result<Self, EventError> {
        let mut fields = FieldReader::new(NAME, bytes, 0);
        let fraction_bits = 8 * fraction_length(digits);
        let value = big_endian(&mut fields, length + fraction_length(digits))?;
        // At most 8 bytes, and 1 << 63 with all of them.
        let zero = 1_u64 << (8 * length + fraction_bits - 1);
        let magnitude = value.abs_diff(zero);
        let fraction = magnitude & ((1 << fraction_bits) - 1);
        Ok(Self {
            negative: value < zero,
            whole: magnitude >> fraction_bits,
            microsecond: to_microsecond(fraction, digits),
        })
    }

    /// Reads a signed little-endian integer of 64 bits, whose lowest 24 bits are microseconds.
    fn from_json(bytes: &[u8]) -> Result<Self, EventError> {
        let value = FieldReader::new(NAME, bytes, 0).u64("packed value")? as i64;
        let magnitude = value.unsigned_abs();
        Ok(Self {
            negative: value < 0,
            whole: magnitude >> 24,
            microsecond: (magnitude & 0xff_ffff) as u32,
        })
    }
}

/// The bytes of a fraction of so many digits, which are 6 at most.
fn fraction_length(digits: u8) -> usize {
    usize::from(digits.min(6)).div_ceil(2)
}

fn to_microsecond(fraction: u64, digits: u8) -> u32 {
    let unit = match fraction_length(digits) {
        0 => 0,
        1 => 10_000,
        2 => 100,
        _ => 1,
    };
    // Three bytes at most.
    u32::try_from(fraction * unit).unwrap_or(u32::MAX)
}

/// Reads up to 8 bytes.
fn big_endian(fields: &mut FieldReader<'_>, length: usize) -> Result<u64, EventError> {
    let bytes = fields.take("temporal value", length)?;
    Ok(bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_fractions_are_read() {
        // As MySQL's manual has them: -00:00:01.10 and -00:00:00.01 of TIME(2).
        assert_eq!(
            Time::decode(&[0x7f, 0xff, 0xfe, 0xf6], 2)
                .unwrap()
                .to_string(),
            "-00:00:01.10"
        );
        assert_eq!(
            Time::decode(&[0x7f, 0xff, 0xff, 0xff], 2)
                .unwrap()
                .to_string(),
            "-00:00:00.01"
        );
        assert_eq!(
            Time::decode(&[0x80, 0, 0], 0).unwrap().to_string(),
            "00:00:00"
        );
        assert_eq!(
            Time::decode(&[0x80, 0, 0, 0, 0, 1], 6).unwrap().to_string(),
            "00:00:00.000001"
        );
        for digits in 0..=6 {
            let length = 3 + fraction_length(digits);
            assert!(Time::decode(&vec![0; length - 1], digits).is_err());
            assert!(Time::decode(&vec![0; length], digits).is_ok());
            assert!(DateTime::decode(&vec![0; length + 1], digits).is_err());
            assert!(DateTime::decode(&vec![0xff; length + 2], digits).is_ok());
            assert!(Timestamp::decode(&vec![0; length], digits).is_err());
            assert!(Timestamp::decode(&vec![0xff; length + 1], digits).is_ok());
        }
    }

    #[test]
    fn temporal_values_of_old_formats_are_read() {
        assert_eq!(
            Date::decode(&[0x21, 0xc8, 0x0f]).unwrap().to_string(),
            "2020-01-01"
        );
        let time = (-123_456_i32).to_le_bytes();
        assert_eq!(Time::decode_old(&time).unwrap().to_string(), "-12:34:56");
        let datetime = 20_200_102_030_405_u64.to_le_bytes();
        assert_eq!(
            DateTime::decode_old(&datetime).unwrap().to_string(),
            "2020-01-02 03:04:05"
        );
        DateTime::decode_old(&[0xff; 8]).unwrap();
        for cut in 0..3 {
            assert!(Date::decode(&datetime[..cut]).is_err());
            assert!(Time::decode_old(&datetime[..cut]).is_err());
            assert!(Timestamp::decode_old(&datetime[..cut]).is_err());
            assert!(DateTime::decode_old(&datetime[..cut]).is_err());
        }
    }
}
