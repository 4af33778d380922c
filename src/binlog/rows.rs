//! TABLE_MAP_EVENT (19) and the rows events: which table, and where a statement ends.
//!
//! ```text
//!  TABLE_MAP  0        19           25      27
//!             | header | table id 6 | flags | db len | database | 0 | table len | table | 0 | …
//!  rows       0        19           25
//!             | header | table id 6 | flags | …
//! ```
//!
//! The table id has 4 bytes where the fixed part of these events has 6 instead of 8: before MySQL 5.1.4.

use super::event::{self, HEADER_LEN};
use super::fields::{EventError, FieldReader};

/// Flag of the last rows event of a statement. At this flag a replica ends the statement and
/// discards its table maps; without it, rows are skipped silently.
pub const STMT_END_F: u16 = 0x1;
const FLAGS_AT: usize = 25;
/// Bytes of a table id.
pub const TABLE_ID_LEN: usize = 6;

/// The fields of a table map that the relay reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMap<'a> {
    /// The number of the table in the rows events that follow.
    pub table_id: u64,
    /// The table's database.
    pub database: &'a [u8],
    /// The table's name.
    pub table: &'a [u8],
    /// What follows the names: the columns. Incomplete when only the event's head was given.
    pub columns: &'a [u8],
    /// Offset of `columns` in the event.
    pub columns_at: usize,
}

impl<'a> TableMap<'a> {
    /// Reads `body`, the event without its header and checksum, or the head of it.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn parse(body: &'a [u8]) -> Result<Self, EventError> {
        Self::parse_with_id(body, TABLE_ID_LEN)
    }

    /// As [`TableMap::parse`], with a table id of `id_len` bytes.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn parse_with_id(body: &'a [u8], id_len: usize) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("Table_map event", body, HEADER_LEN);
        let table_id = fields.uint("table id", id_len)?;
        fields.u16("flags")?;
        let length = usize::from(fields.u8("database length")?);
        let database = fields.take("database", length)?;
        fields.u8("database terminator")?;
        let length = usize::from(fields.u8("table length")?);
        let table = fields.take("table", length)?;
        fields.u8("table terminator")?;
        Ok(Self {
            table_id,
            database,
            table,
            columns_at: fields.offset(),
            columns: fields.rest(),
        })
    }
}

/// The fixed part of all rows events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsHead {
    /// The table, as numbered by an earlier table map.
    pub table_id: u64,
    /// Flag bits; see [`STMT_END_F`].
    pub flags: u16,
}

impl RowsHead {
    /// Reads `body`, the event without its header, or the head of it.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        Self::parse_with_id(body, TABLE_ID_LEN)
    }

    /// As [`RowsHead::parse`], with a table id of `id_len` bytes.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn parse_with_id(body: &[u8], id_len: usize) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("rows event", body, HEADER_LEN);
        Ok(Self {
            table_id: fields.uint("table id", id_len)?,
            flags: fields.u16("flags")?,
        })
    }

    /// Whether this is the last rows event of its statement.
    pub fn ends_statement(&self) -> bool {
        self.flags & STMT_END_F != 0
    }
}

/// Makes the rows event whose bytes start at `event` the last one of its statement. The checksum
/// is left as it was.
///
/// # Errors
/// When the event ends before its flags.
pub fn set_statement_end(event: &mut [u8]) -> Result<(), EventError> {
    let low = event.get(FLAGS_AT).copied().unwrap_or(0); // Without flags patching fails.
    event::patch(event, "flags of rows", FLAGS_AT, &[low | STMT_END_F as u8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_maps_are_read_and_truncation_is_safe() {
        let mut body = vec![1, 0, 0, 0, 0, 1, 1, 0, 4];
        body.extend_from_slice(b"test\0\x02t1\0");
        let map = TableMap::parse(&body).unwrap();
        assert_eq!(map.table_id, (1 << 40) + 1);
        assert_eq!((map.database, map.table), (&b"test"[..], &b"t1"[..]));
        for cut in 0..body.len() {
            assert!(TableMap::parse(&body[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn statement_end_flag_can_be_set() {
        let mut event = vec![0; 40];
        assert!(
            !RowsHead::parse(&event[HEADER_LEN..])
                .unwrap()
                .ends_statement()
        );
        set_statement_end(&mut event).unwrap();
        assert!(set_statement_end(&mut event[..FLAGS_AT]).is_err());
        assert!(
            RowsHead::parse(&event[HEADER_LEN..])
                .unwrap()
                .ends_statement()
        );
        for cut in 0..8 {
            assert!(RowsHead::parse(&event[HEADER_LEN..HEADER_LEN + cut]).is_err());
        }
    }
}
