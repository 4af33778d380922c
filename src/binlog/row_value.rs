//! The value of a column in a row image.

use super::columns::{Column, column_type::*};
use super::decimal;
use super::fields::{EventError, FieldReader};
use super::json::Document;
use super::temporal::{Date, DateTime, Time, Timestamp};

const NAME: &str = "column value";
/// YEAR is stored as years since then.
const YEAR_ZERO: u16 = 1900;

/// A value of a column, decoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// An integer of `width` bytes, as its lowest bits; see [`Value::signed`].
    Int {
        /// The value if it is unsigned.
        bits: u64,
        /// Bytes of the type.
        width: usize,
    },
    /// A FLOAT.
    Float(f32),
    /// A DOUBLE.
    Double(f64),
    /// A DECIMAL with all digits of its scale.
    Decimal(String),
    /// A BIT of `width` bits, big-endian.
    Bit {
        /// The bytes.
        bytes: &'a [u8],
        /// How many bits count, the lowest ones.
        width: usize,
    },
    /// The number of an ENUM's element, from 1; 0 is the empty error value.
    Enum(u64),
    /// A bit for each element of a SET, little-endian.
    Set(&'a [u8]),
    /// A YEAR; the year 0 is stored as 1900 would be.
    Year(u16),
    /// A DATE.
    Date(Date),
    /// A TIME.
    Time(Time),
    /// A DATETIME.
    DateTime(DateTime),
    /// A TIMESTAMP.
    Timestamp(Timestamp),
    /// Text or bytes: the binlog does not say which, nor the character set.
    Bytes(&'a [u8]),
    /// The same in a compressed column of MariaDB, still compressed; see
    /// [`decompress_column`](super::compressed::decompress_column).
    Compressed(&'a [u8]),
    /// A GEOMETRY: the number of its reference system in 4 bytes, then WKB.
    Geometry(&'a [u8]),
    /// The elements of a VECTOR.
    Vector(Vec<f32>),
    /// A JSON document of MySQL.
    Json(Document),
}

impl<'a> Value<'a> {
    /// Reads `bytes`, a value of `column` that is neither NULL nor a change to a document.
    ///
    /// # Errors
    /// When it is not a value of that type, or the type is unknown.
    pub fn decode(column: &Column, bytes: &'a [u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new(NAME, bytes, 0);
        let [first, second] = column.metadata.to_be_bytes();
        let digits = second;
        Ok(match column.column_type {
            TINY | SHORT | INT24 | LONG | LONGLONG => {
                let width = match column.column_type {
                    TINY => 1,
                    SHORT => 2,
                    INT24 => 3,
                    LONG => 4,
                    _ => 8,
                };
                let bits = fields.uint("integer", width)?;
                Value::Int { bits, width }
            }
            FLOAT | DOUBLE => return float(fields),
            NEWDECIMAL => Value::Decimal(decimal::decode(bytes, first, second)?),
            BIT => {
                let width = usize::from(first) * 8 + usize::from(second);
                fields.take("bits", width.div_ceil(8))?;
                Value::Bit { bytes, width }
            }
            ENUM => Value::Enum(fields.uint("element", bytes.len().min(8))?),
            SET => Value::Set(bytes),
            YEAR => Value::Year(u16::from(fields.u8("YEAR")?) + YEAR_ZERO),
            DATE | NEWDATE => Value::Date(Date::decode(bytes)?),
            TIME => Value::Time(Time::decode_old(bytes)?),
            TIME2 => Value::Time(Time::decode(bytes, digits)?),
            DATETIME => Value::DateTime(DateTime::decode_old(bytes)?),
            DATETIME2 => Value::DateTime(DateTime::decode(bytes, digits)?),
            TIMESTAMP => Value::Timestamp(Timestamp::decode_old(bytes)?),
            TIMESTAMP2 => Value::Timestamp(Timestamp::decode(bytes, digits)?),
            VARCHAR | VAR_STRING | STRING | TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB => {
                Value::Bytes(bytes)
            }
            VARCHAR_COMPRESSED | BLOB_COMPRESSED => Value::Compressed(bytes),
            GEOMETRY => Value::Geometry(bytes),
            VECTOR => Value::Vector(vector(fields)?),
            JSON => Value::Json(Document::decode(bytes)?),
            found => return Err(fields.invalid("type", 0, found.into(), "a known column type")),
        })
    }

    /// The integer of `width` bytes as a signed one.
    pub fn signed(bits: u64, width: usize) -> i64 {
        let unused = 64 - 8 * u32::try_from(width.clamp(1, 8)).unwrap_or(8);
        ((bits << unused) as i64) >> unused
    }
}

fn float<'a>(mut fields: FieldReader<'_>) -> Result<Value<'a>, EventError> {
    Ok(match fields.remaining() {
        4 => Value::Float(f32::from_bits(fields.u32("FLOAT")?)),
        _ => Value::Double(f64::from_bits(fields.u64("DOUBLE")?)),
    })
}

fn vector(mut fields: FieldReader<'_>) -> Result<Vec<f32>, EventError> {
    let mut elements = Vec::with_capacity(fields.remaining() / 4);
    while fields.remaining() > 0 {
        elements.push(f32::from_bits(fields.u32("element of a VECTOR")?));
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::columns::ValueLength;

    fn column(column_type: u8, metadata: u16) -> Column {
        Column {
            column_type,
            metadata,
            length: ValueLength::Unknown,
            nullable: true,
            unsigned: false,
            dimensions: 0,
        }
    }

    #[test]
    fn integers_are_signed_by_their_width() {
        let value = Value::decode(&column(INT24, 0), &[0xff, 0xff, 0xff]);
        assert_eq!(
            value,
            Ok(Value::Int {
                bits: 0xff_ffff,
                width: 3
            })
        );
        assert_eq!(Value::signed(0xff_ffff, 3), -1);
        assert_eq!(Value::signed(0x7f_ffff, 3), 8_388_607);
        assert_eq!(Value::signed(u64::MAX, 8), -1);
        assert_eq!(Value::signed(128, 1), -128);
    }

    #[test]
    fn any_bytes_as_any_type_do_not_panic() {
        for column_type in 0..=255 {
            for metadata in [
                0, 1, 4, 6, 7, 255, 256, 0x0101, 0x0a02, 0x4101, 0xff00, 0xffff,
            ] {
                for len in (0..20).chain([63, 300]) {
                    for byte in [0, 1, 0x7f, 0x80, 0xff] {
                        let bytes = vec![byte; len];
                        let _ = Value::decode(&column(column_type, metadata), &bytes);
                    }
                }
            }
        }
    }
}
