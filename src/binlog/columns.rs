//! The columns of a TABLE_MAP_EVENT, and how many bytes each one's value takes in a row image.
//!
//! ```text
//!  … table | 0 | count (length-encoded) | types (1 each) | metadata length | metadata | null bits | …
//! ```
//!
//! The metadata of a column is 0, 1 or 2 bytes, by its type. Types are MySQL's `enum_field_types`,
//! and MariaDB's compressed ones (140 blobs, 141 VARCHAR). MariaDB's old temporal types with fractions
//! (`mysql56_temporal_format=OFF`) do not say how long they are: rows with them cannot be told
//! apart. Values that are shorter than their column begin
//! with their length.

use super::event::HEADER_LEN;
use super::fields::{EventError, FieldReader};
use super::rows::TableMap;

const NAME: &str = "Table_map event";
const DIGITS_PER_WORD: usize = 9;
/// Bytes of 0 to 8 decimal digits that fill no word of 9.
const PARTIAL_DIGIT_BYTES: [usize; DIGITS_PER_WORD] = [0, 1, 1, 2, 2, 3, 3, 4, 4];
const ENUM: u8 = 247;
const SET: u8 = 248;

/// How long the value of a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueLength {
    /// Always so many bytes.
    Fixed(usize),
    /// So many bytes hold the length (1 to 4), the value follows.
    Prefixed(usize),
    /// The type is not known, or says too little to tell.
    Unknown,
}

/// What is read from a table map's columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// In the table's order.
    pub lengths: Vec<ValueLength>,
    /// How many columns are JSON: partial updates hold one bit for each.
    pub json_count: usize,
}

impl Columns {
    /// Reads the columns behind the names in `body`, a whole table map without header and
    /// checksum.
    ///
    /// # Errors
    /// When it is cut short or the metadata does not match the types.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let map = TableMap::parse(body)?;
        let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
        // Table id and flags, and each name with its length and its terminator.
        let names_len = map.database.len() + map.table.len() + 4;
        fields.take("names", 8 + names_len)?;
        let count = fields.length_encoded("column count")?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let types = fields.take("column types", count)?;
        let metadata_len = fields.length_encoded("metadata length")?;
        let metadata_at = fields.offset();
        let metadata_len = usize::try_from(metadata_len).unwrap_or(usize::MAX);
        let metadata = fields.take("metadata", metadata_len)?;
        fields.take("null bits", count.div_ceil(8))?;
        let mut metadata = FieldReader::new(NAME, metadata, metadata_at);
        let mut columns = Columns {
            lengths: Vec::with_capacity(types.len()),
            json_count: 0,
        };
        for column_type in types {
            columns.json_count += usize::from(*column_type == 245);
            let (first, second) = match metadata_width(*column_type) {
                0 => (0, 0),
                1 => (metadata.u8("metadata")?, 0),
                _ => (metadata.u8("metadata")?, metadata.u8("metadata")?),
            };
            columns
                .lengths
                .push(value_length(*column_type, first, second));
        }
        if metadata.remaining() > 0 {
            let found = metadata.remaining() as u64;
            return Err(metadata.invalid("metadata", metadata.offset(), found, "no more bytes"));
        }
        Ok(columns)
    }
}

fn metadata_width(column_type: u8) -> usize {
    match column_type {
        // FLOAT, DOUBLE, the temporal types with fractions, BLOB_COMPRESSED, VECTOR, JSON, blobs,
        // GEOMETRY.
        4 | 5 | 17..=19 | 140 | 242 | 245 | 249..=252 | 255 => 1,
        // VARCHAR, BIT, VARCHAR_COMPRESSED, NEWDECIMAL, ENUM, SET, VAR_STRING, STRING.
        15 | 16 | 141 | 246..=248 | 253 | 254 => 2,
        _ => 0,
    }
}

fn value_length(column_type: u8, first: u8, second: u8) -> ValueLength {
    let fraction_len = usize::from(first).div_ceil(2);
    match column_type {
        1 | 13 => ValueLength::Fixed(1),                 // TINY, YEAR
        2 => ValueLength::Fixed(2),                      // SHORT
        9 | 10 | 11 | 14 => ValueLength::Fixed(3),       // INT24, DATE, TIME, NEWDATE
        3 | 7 => ValueLength::Fixed(4),                  // LONG, TIMESTAMP
        8 | 12 => ValueLength::Fixed(8),                 // LONGLONG, DATETIME
        6 => ValueLength::Fixed(0),                      // NULL
        4 | 5 => ValueLength::Fixed(usize::from(first)), // FLOAT, DOUBLE
        17 => ValueLength::Fixed(4 + fraction_len),      // TIMESTAMP2
        18 => ValueLength::Fixed(5 + fraction_len),      // DATETIME2
        19 => ValueLength::Fixed(3 + fraction_len),      // TIME2
        15 | 141 | 253 => prefix_for(u16::from_le_bytes([first, second])),
        16 => ValueLength::Fixed(usize::from(second) + usize::from(first > 0)),
        246 => decimal_length(first, second),
        ENUM | SET => ValueLength::Fixed(usize::from(second)),
        254 => string_length(first, second),
        140 | 242 | 245 | 249..=252 | 255 => match first {
            1..=4 => ValueLength::Prefixed(usize::from(first)),
            _ => ValueLength::Unknown,
        },
        _ => ValueLength::Unknown,
    }
}

/// The length prefix of a value of at most `max` bytes.
fn prefix_for(max: u16) -> ValueLength {
    ValueLength::Prefixed(if max > 255 { 2 } else { 1 })
}

/// CHAR, BINARY, ENUM and SET share a type. The first byte is the real type, and two of its bits,
/// inverted, continue the maximum length in the second.
fn string_length(first: u8, second: u8) -> ValueLength {
    let high = u16::from((first & 0x30) ^ 0x30) << 4;
    match first {
        ENUM | SET => ValueLength::Fixed(usize::from(second)),
        _ => prefix_for(high | u16::from(second)),
    }
}

fn decimal_length(precision: u8, scale: u8) -> ValueLength {
    let Some(integral) = precision.checked_sub(scale) else {
        return ValueLength::Unknown;
    };
    let digits = |count: u8| {
        let count = usize::from(count);
        let partial = PARTIAL_DIGIT_BYTES.get(count % DIGITS_PER_WORD);
        count / DIGITS_PER_WORD * 4 + partial.copied().unwrap_or(0)
    };
    ValueLength::Fixed(digits(integral) + digits(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(types: &[u8], metadata: &[u8]) -> Vec<u8> {
        let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0];
        body.push(types.len() as u8);
        body.extend_from_slice(types);
        body.push(metadata.len() as u8);
        body.extend_from_slice(metadata);
        body.extend(vec![0; types.len().div_ceil(8)]);
        body
    }

    #[test]
    fn lengths_by_type() {
        use ValueLength::*;
        let types = [3, 15, 15, 254, 254, 254, 246, 16, 19, 245, 6, 200];
        let metadata = [255, 0, 0, 1, 254, 40, 0xee, 44, 247, 2, 20, 7, 1, 2, 5, 4];
        let columns = Columns::parse(&body(&types, &metadata)).unwrap();
        let expected = [
            Fixed(4),
            Prefixed(1),
            Prefixed(2),
            Prefixed(1),
            Prefixed(2),
            Fixed(2),
            Fixed(10),
            Fixed(3),
            Fixed(6),
            Prefixed(4),
            Fixed(0),
            Unknown,
        ];
        assert_eq!(columns.lengths, expected);
        assert_eq!(columns.json_count, 1);
    }

    #[test]
    fn cut_at_every_length_and_metadata_must_match() {
        let whole = body(&[3, 15, 246], &[60, 0, 20, 7]);
        for cut in 0..whole.len() {
            assert!(Columns::parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Columns::parse(&body(&[3], &[1])).is_err());
        assert!(Columns::parse(&body(&[15], &[1])).is_err());
    }
}
