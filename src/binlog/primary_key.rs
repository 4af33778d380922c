//! The primary key in a TABLE_MAP_EVENT: optional fields that servers write with `binlog_row_metadata=FULL`.
//!
//! ```text
//!  field 4: the columns' names: only where the metadata are full
//!  field 8: the key's columns, numbered from 0 (length-encoded each), where it has whole columns
//!  field 9: pairs of a column and the length of its prefix (0 = all of it)
//! ```
//! A unique key without NULLs counts as the primary key of a table that has none.

use super::columns::after_null_bits;
use super::fields::{EventError, FieldReader};
use super::rows::TableMap;

const NAME: &str = "Table_map event";
const COLUMN_NAME: u8 = 4;
const SIMPLE_PRIMARY_KEY: u8 = 8;
const PRIMARY_KEY_WITH_PREFIX: u8 = 9;

/// The primary key's columns as the table map states them, numbered from 0: empty if it has full metadata but the table has
/// no primary key, `None` if it does not say.
///
/// # Errors
/// When it is truncated.
pub fn primary_key(map: &TableMap<'_>) -> Result<Option<Vec<usize>>, EventError> {
    let mut fields = after_null_bits(map)?;
    let mut key = None;
    let mut is_full = false;
    while fields.remaining() > 0 {
        let field_type = fields.u8("optional field's type")?;
        let length = fields.length_encoded("optional field's length")?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let at = fields.offset();
        let value = FieldReader::new(NAME, fields.take("optional field", length)?, at);
        match field_type {
            COLUMN_NAME => is_full = true,
            SIMPLE_PRIMARY_KEY => key = Some(columns(value, false)?),
            PRIMARY_KEY_WITH_PREFIX => key = Some(columns(value, true)?),
            _ => {}
        }
    }
    Ok(key.or(is_full.then(Vec::new)))
}

fn columns(mut value: FieldReader<'_>, have_prefixes: bool) -> Result<Vec<usize>, EventError> {
    let mut columns = Vec::new();
    while value.remaining() > 0 {
        let column = value.length_encoded("column of the primary key")?;
        columns.push(usize::try_from(column).unwrap_or(usize::MAX));
        if have_prefixes {
            value.length_encoded("length of a prefix")?;
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(optional: &[u8]) -> Vec<u8> {
        // Two INT columns, the first NOT NULL.
        let mut body = vec![
            1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 2, 3, 3, 0, 0b10,
        ];
        body.extend_from_slice(optional);
        body
    }

    fn key(optional: &[u8]) -> Option<Vec<usize>> {
        primary_key(&TableMap::parse(&map(optional)).unwrap()).unwrap()
    }

    #[test]
    fn key_is_read_from_full_metadata_only() {
        let names = [4, 4, 1, b'a', 1, b'b'];
        assert_eq!(key(&[]), None);
        assert_eq!(key(&[1, 1, 0]), None, "minimal metadata");
        assert_eq!(key(&names), Some(Vec::new()), "no primary key");
        assert_eq!(key(&[&names[..], &[8, 2, 1, 0]].concat()), Some(vec![1, 0]));
        assert_eq!(
            key(&[&names[..], &[9, 4, 1, 10, 0, 0]].concat()),
            Some(vec![1, 0])
        );
    }

    #[test]
    fn truncation_is_an_error() {
        let whole = map(&[4, 4, 1, b'a', 1, b'b', 8, 1, 0]);
        for cut in [whole.len() - 1, whole.len() - 2] {
            let map = TableMap::parse(&whole[..cut]).unwrap();
            assert!(primary_key(&map).is_err(), "cut at {cut}");
        }
    }
}
