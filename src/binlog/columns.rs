//! The columns of a TABLE_MAP_EVENT, and the length of each one's value in a row image.
//!
//! ```text
//!  … table | 0 | count (length-encoded) | types (1 each) | metadata length | metadata | null bits | …
//!  … optional fields: type 1 | length (length-encoded) | value
//! ```
//!
//! Of the optional fields two are read: 1, a bit for each numeric column that is set when it is
//! unsigned (highest bit first), and 13, the dimension of each VECTOR column. A malformed
//! optional field is not an error: none of them is needed to locate the values.
//!
//! The metadata of a column has 0, 1 or 2 bytes, depending on its type. Before MySQL 5.1.18 there is no
//! metadata, and the event ends with the types. Types are MySQL's
//! `enum_field_types`, and MariaDB's compressed ones (140 blobs, 141 VARCHAR). MariaDB's old
//! temporal types with fractions (`mysql56_temporal_format=OFF`) do not state their length: rows
//! with them cannot be separated.
//! Values that may be shorter than their column begin with their length.

use super::decimal;
use super::fields::{EventError, FieldReader};
use super::rows::TableMap;

const NAME: &str = "Table_map event";
/// The optional fields for unsigned columns and for the dimensions of vectors.
const SIGNEDNESS: u8 = 1;
const VECTOR_DIMENSIONS: u8 = 13;
/// The most digits of a fraction of a second.
const FRACTION_MAX: u8 = 6;

/// The column types in a table map.
#[allow(missing_docs)] // The names are those of `enum_field_types` without their prefix.
pub mod column_type {
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    /// MariaDB's.
    pub const BLOB_COMPRESSED: u8 = 140;
    /// MariaDB's.
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

use column_type::*;

/// The length of a column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueLength {
    /// Always this many bytes.
    Fixed(usize),
    /// This many bytes (1 to 4) hold the length; the value follows.
    Prefixed(usize),
    /// The type is unknown, or does not determine it.
    Unknown,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// One of [`column_type`]; ENUM and SET, not the STRING that the event has for them.
    pub column_type: u8,
    /// The type's metadata as one number, as `mysqlbinlog` prints it.
    pub metadata: u16,
    /// The length of a value.
    pub length: ValueLength,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether the table map says that it is UNSIGNED; servers may omit that.
    pub unsigned: bool,
    /// The elements of a VECTOR, if the table map says so, otherwise 0.
    pub dimensions: u64,
}

impl Column {
    /// The longest value of a VARCHAR, CHAR or BINARY column in bytes.
    pub fn length_max(&self) -> u16 {
        match self.column_type {
            STRING => {
                let [first, second] = self.metadata.to_be_bytes();
                string_max(first, second)
            }
            _ => self.metadata,
        }
    }
}

/// The columns of a table map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// In the table's order.
    pub columns: Vec<Column>,
    /// How many columns are JSON: partial updates hold one bit for each.
    pub json_count: usize,
}

impl Columns {
    /// Reads the columns after the names in `body`, a whole table map without header and
    /// checksum.
    ///
    /// # Errors
    /// When it is truncated or the metadata does not match the types.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        Self::of_map(&TableMap::parse(body)?)
    }

    /// Reads the columns of a table map.
    ///
    /// # Errors
    /// When it is truncated or the metadata does not match the types.
    pub fn of_map(map: &TableMap<'_>) -> Result<Self, EventError> {
        let (types, mut fields) = types_and_rest(map)?;
        if fields.remaining() == 0 {
            return Ok(Self::without_metadata(types));
        }
        let count = types.len();
        let metadata_len = fields.length_encoded("metadata length")?;
        let metadata_at = fields.offset();
        let metadata_len = usize::try_from(metadata_len).unwrap_or(usize::MAX);
        let metadata = fields.take("metadata", metadata_len)?;
        let null_bits = fields.take("null bits", count.div_ceil(8))?;
        let mut metadata = FieldReader::new(NAME, metadata, metadata_at);
        let mut columns = Columns {
            columns: Vec::with_capacity(types.len()),
            json_count: 0,
        };
        // The metadata of a type that is not known has an unknown length.
        let mut are_known = true;
        for (number, column_type) in types.iter().enumerate() {
            columns.json_count += usize::from(*column_type == JSON);
            are_known = are_known && is_known(*column_type);
            let (first, second) = match metadata_width(*column_type) {
                _ if !are_known => (0, 0),
                0 => (0, 0),
                1 => (metadata.u8("metadata")?, 0),
                _ => (metadata.u8("metadata")?, metadata.u8("metadata")?),
            };
            let mut column = column(*column_type, first, second);
            column.nullable = bit(null_bits, number);
            if !are_known {
                column.length = ValueLength::Unknown;
            }
            columns.columns.push(column);
        }
        if metadata.remaining() > 0 && are_known {
            let found = metadata.remaining() as u64;
            return Err(metadata.invalid("metadata", metadata.offset(), found, "no more bytes"));
        }
        // A malformed optional field is ignored, see the module.
        columns.read_optional(fields).ok();
        Ok(columns)
    }

    /// Whether a column has a temporal type of before MySQL 5.6: in MariaDB its values may have
    /// fractions of seconds, which the table map does not state.
    pub fn have_old_temporal_types(&self) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| matches!(column.column_type, TIMESTAMP | TIME | DATETIME))
    }

    /// Before MySQL 5.1.18 a table map ends with the types.
    fn without_metadata(types: &[u8]) -> Self {
        let column = |column_type: &u8| match metadata_width(*column_type) {
            0 => column(*column_type, 0, 0),
            _ => Column {
                length: ValueLength::Unknown,
                ..column(*column_type, 0, 0)
            },
        };
        Columns {
            columns: types.iter().map(column).collect(),
            json_count: 0,
        }
    }

    fn read_optional(&mut self, mut fields: FieldReader<'_>) -> Result<(), EventError> {
        while fields.remaining() > 0 {
            let field_type = fields.u8("optional field's type")?;
            let length = fields.length_encoded("optional field's length")?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let at = fields.offset();
            let value = fields.take("optional field", length)?;
            match field_type {
                SIGNEDNESS => self.set_unsigned(value),
                VECTOR_DIMENSIONS => self.set_dimensions(FieldReader::new(NAME, value, at))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn set_unsigned(&mut self, bits: &[u8]) {
        let numeric = self.columns.iter_mut().filter(|column| {
            matches!(
                column.column_type,
                TINY | SHORT | INT24 | LONG | LONGLONG | FLOAT | DOUBLE | NEWDECIMAL | YEAR
            )
        });
        for (number, column) in numeric.enumerate() {
            let byte = bits.get(number / 8).copied().unwrap_or(0);
            column.unsigned = byte << (number % 8) & 0x80 != 0;
        }
    }

    fn set_dimensions(&mut self, mut values: FieldReader<'_>) -> Result<(), EventError> {
        let vectors = self.columns.iter_mut();
        for column in vectors.filter(|column| column.column_type == VECTOR) {
            column.dimensions = values.length_encoded("dimensions of a vector")?;
        }
        Ok(())
    }
}

/// The types of the columns in `body`, a table map without header, or the head of one.
///
/// # Errors
/// When it is truncated.
pub fn column_types(body: &[u8]) -> Result<&[u8], EventError> {
    types_and_rest(&TableMap::parse(body)?).map(|(types, _)| types)
}

/// The types, and what follows them.
fn types_and_rest<'a>(map: &TableMap<'a>) -> Result<(&'a [u8], FieldReader<'a>), EventError> {
    let mut fields = FieldReader::new(NAME, map.columns, map.columns_at);
    let count = fields.length_encoded("column count")?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let types = fields.take("column types", count)?;
    Ok((types, fields))
}

/// The optional fields: what follows the null bits. None before MySQL 5.1.18.
pub(super) fn after_null_bits<'a>(map: &TableMap<'a>) -> Result<FieldReader<'a>, EventError> {
    let (types, mut fields) = types_and_rest(map)?;
    if fields.remaining() > 0 {
        let metadata_len = fields.length_encoded("metadata length")?;
        let metadata_len = usize::try_from(metadata_len).unwrap_or(usize::MAX);
        fields.take("metadata", metadata_len)?;
        fields.take("null bits", types.len().div_ceil(8))?;
    }
    Ok(fields)
}

/// Whether bit `number` of a bitmap is set, the lowest bit of its first byte being bit 0.
pub(super) fn bit(bitmap: &[u8], number: usize) -> bool {
    bitmap
        .get(number / 8)
        .is_some_and(|byte| byte >> (number % 8) & 1 != 0)
}

fn column(written_type: u8, first: u8, second: u8) -> Column {
    let column_type = match (written_type, first) {
        (STRING, ENUM | SET) => first,
        _ => written_type,
    };
    let metadata = match written_type {
        NEWDECIMAL | ENUM | SET | STRING => u16::from_be_bytes([first, second]),
        _ => u16::from_le_bytes([first, second]),
    };
    Column {
        column_type,
        metadata,
        length: value_length(written_type, first, second),
        nullable: false,
        unsigned: false,
        dimensions: 0,
    }
}

fn is_known(column_type: u8) -> bool {
    metadata_width(column_type) > 0
        || matches!(
            column_type,
            TINY | SHORT
                | LONG
                | NULL
                | TIMESTAMP
                | LONGLONG
                | INT24
                | DATE
                | TIME
                | DATETIME
                | YEAR
                | NEWDATE
        )
}

fn metadata_width(column_type: u8) -> usize {
    match column_type {
        FLOAT | DOUBLE | TIMESTAMP2 | DATETIME2 | TIME2 | BLOB_COMPRESSED | VECTOR | JSON
        | TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB | GEOMETRY => 1,
        VARCHAR | BIT | VARCHAR_COMPRESSED | NEWDECIMAL | ENUM | SET | VAR_STRING | STRING => 2,
        _ => 0,
    }
}

fn value_length(column_type: u8, first: u8, second: u8) -> ValueLength {
    let fraction_len = usize::from(first).div_ceil(2);
    match column_type {
        TINY | YEAR => ValueLength::Fixed(1),
        SHORT => ValueLength::Fixed(2),
        INT24 | DATE | TIME | NEWDATE => ValueLength::Fixed(3),
        LONG | TIMESTAMP => ValueLength::Fixed(4),
        LONGLONG | DATETIME => ValueLength::Fixed(8),
        NULL => ValueLength::Fixed(0),
        FLOAT | DOUBLE => ValueLength::Fixed(usize::from(first)),
        TIMESTAMP2 | DATETIME2 | TIME2 if first > FRACTION_MAX => ValueLength::Unknown,
        TIMESTAMP2 => ValueLength::Fixed(4 + fraction_len),
        DATETIME2 => ValueLength::Fixed(5 + fraction_len),
        TIME2 => ValueLength::Fixed(3 + fraction_len),
        VARCHAR | VARCHAR_COMPRESSED | VAR_STRING => {
            prefix_for(u16::from_le_bytes([first, second]))
        }
        BIT => ValueLength::Fixed(usize::from(second) + usize::from(first > 0)),
        NEWDECIMAL => {
            decimal::length(first, second).map_or(ValueLength::Unknown, ValueLength::Fixed)
        }
        ENUM | SET => ValueLength::Fixed(usize::from(second)),
        STRING => string_length(first, second),
        BLOB_COMPRESSED | VECTOR | JSON | TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB | GEOMETRY => {
            match first {
                1..=4 => ValueLength::Prefixed(usize::from(first)),
                _ => ValueLength::Unknown,
            }
        }
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
    match first {
        ENUM | SET => ValueLength::Fixed(usize::from(second)),
        _ => prefix_for(string_max(first, second)),
    }
}

fn string_max(first: u8, second: u8) -> u16 {
    u16::from((first & 0x30) ^ 0x30) << 4 | u16::from(second)
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
    fn value_length_depends_on_the_type() {
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
        let lengths: Vec<_> = columns.columns.iter().map(|column| column.length).collect();
        assert_eq!(lengths, expected);
        assert_eq!(columns.json_count, 1);
    }

    /// MySQL 8.0.17 has columns of type 20 (arrays of an index), whose metadata have a length of
    /// their own.
    #[test]
    fn unknown_type_does_not_hide_the_other_columns() {
        let columns = Columns::parse(&body(&[3, 20, 15], &[15, 90, 0, 0, 60, 0])).unwrap();
        let lengths: Vec<_> = columns.columns.iter().map(|column| column.length).collect();
        let unknown = ValueLength::Unknown;
        assert_eq!(lengths, [ValueLength::Fixed(4), unknown, unknown]);
    }

    #[test]
    fn optional_fields_are_read() {
        // YEAR, BIGINT UNSIGNED, VECTOR(3), INT, VECTOR(2048): as MySQL 9.7 writes them.
        let mut body = body(&[13, 8, 242, 3, 242], &[4, 4]);
        body.extend_from_slice(&[1, 1, 0b1100_0000, 13, 4, 3, 252, 0, 8]);
        let columns = Columns::parse(&body).unwrap().columns;
        let unsigned: Vec<_> = columns.iter().map(|column| column.unsigned).collect();
        assert_eq!(unsigned, [true, true, false, false, false]);
        let dimensions: Vec<_> = columns.iter().map(|column| column.dimensions).collect();
        assert_eq!(dimensions, [0, 0, 3, 0, 2048]);
        // Truncated optional fields say less, but are not an error.
        for cut in body.len() - 9..body.len() {
            assert_eq!(Columns::parse(&body[..cut]).unwrap().columns.len(), 5);
        }
    }

    #[test]
    fn truncated_table_map_or_wrong_metadata_is_refused() {
        let whole = body(&[3, 15, 246], &[60, 0, 20, 7]);
        let without_metadata = 14 + 1 + 3;
        for cut in (0..whole.len()).filter(|cut| *cut != without_metadata) {
            assert!(Columns::parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let columns = Columns::parse(&whole[..without_metadata]).unwrap().columns;
        let lengths: Vec<_> = columns.iter().map(|column| column.length).collect();
        let expected = [
            ValueLength::Fixed(4),
            ValueLength::Unknown,
            ValueLength::Unknown,
        ];
        assert_eq!(lengths, expected);
        assert!(Columns::parse(&body(&[3], &[1])).is_err());
        assert!(Columns::parse(&body(&[15], &[1])).is_err());
    }
}
