//! Writing a text result, as a server.

use super::packets::{SERVER_STATUS_AUTOCOMMIT, encode_eof};
use crate::protocol::framing::put_packet;
use crate::protocol::wire::{put_length_encoded, put_length_encoded_bytes};

/// utf8mb4_general_ci, the collation of text columns: known to every server from 5.5.
pub const COLLATION_UTF8MB4: u8 = 45;

/// The type of a column of a served result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// VAR_STRING in utf8mb4.
    Text,
    /// LONGLONG.
    Integer,
    /// NEWDECIMAL.
    Decimal,
    /// DOUBLE.
    Double,
    /// DATETIME.
    Time,
}

/// A column of a served result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// The column's name.
    pub name: &'a str,
    /// Its type.
    pub kind: ColumnKind,
}

impl<'a> Column<'a> {
    /// A VAR_STRING column.
    pub fn text(name: &'a str) -> Column<'a> {
        Column {
            name,
            kind: ColumnKind::Text,
        }
    }

    /// A LONGLONG column.
    pub fn integer(name: &'a str) -> Column<'a> {
        Column {
            name,
            kind: ColumnKind::Integer,
        }
    }

    fn encode(&self) -> Vec<u8> {
        const MYSQL_TYPE_DOUBLE: u8 = 5;
        const MYSQL_TYPE_LONGLONG: u8 = 8;
        const MYSQL_TYPE_DATETIME: u8 = 12;
        const MYSQL_TYPE_NEWDECIMAL: u8 = 246;
        const MYSQL_TYPE_VAR_STRING: u8 = 253;
        const COLLATION_BINARY: u8 = 63;
        const BINARY_FLAG: u16 = 128;
        const NO_FIXED_DECIMALS: u8 = 31;
        let binary =
            |kind, length, decimals| (kind, COLLATION_BINARY, length, BINARY_FLAG, decimals);
        let (kind, collation, length, flags, decimals) = match self.kind {
            ColumnKind::Text => (MYSQL_TYPE_VAR_STRING, COLLATION_UTF8MB4, 4096u32, 0, 0),
            ColumnKind::Integer => binary(MYSQL_TYPE_LONGLONG, 21, 0),
            ColumnKind::Decimal => binary(MYSQL_TYPE_NEWDECIMAL, 30, 6),
            ColumnKind::Double => binary(MYSQL_TYPE_DOUBLE, 22, NO_FIXED_DECIMALS),
            ColumnKind::Time => binary(MYSQL_TYPE_DATETIME, 26, 0),
        };
        let mut out = Vec::new();
        put_length_encoded_bytes(&mut out, b"def");
        // Schema, table alias and table.
        out.extend_from_slice(&[0, 0, 0]);
        put_length_encoded_bytes(&mut out, self.name.as_bytes());
        put_length_encoded_bytes(&mut out, b"");
        out.push(12);
        out.extend_from_slice(&u16::from(collation).to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.push(kind);
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[decimals, 0, 0]);
        out
    }
}

/// Appends the packets of a text result to `out` and advances `sequence` by their number. A row
/// with fewer values than columns is padded with NULL, so that the result is always well-formed.
pub fn put_text_result(
    out: &mut Vec<u8>,
    sequence: &mut u8,
    columns: &[Column<'_>],
    rows: &[Vec<Option<Vec<u8>>>],
) {
    put_columns(out, sequence, columns);
    put_rows(out, sequence, columns.len(), rows);
    put_packet(out, sequence, &encode_eof(SERVER_STATUS_AUTOCOMMIT));
}

/// Appends the packets before a text result's first row.
pub fn put_columns(out: &mut Vec<u8>, sequence: &mut u8, columns: &[Column<'_>]) {
    let mut packet = Vec::new();
    put_length_encoded(&mut packet, columns.len() as u64);
    put_packet(out, sequence, &packet);
    for column in columns {
        put_packet(out, sequence, &column.encode());
    }
    put_packet(out, sequence, &encode_eof(SERVER_STATUS_AUTOCOMMIT));
}

/// Appends rows of a text result that has `columns` columns.
pub fn put_rows(
    out: &mut Vec<u8>,
    sequence: &mut u8,
    columns: usize,
    rows: &[Vec<Option<Vec<u8>>>],
) {
    let mut packet = Vec::new();
    for row in rows {
        packet.clear();
        let values = row
            .iter()
            .map(Option::as_deref)
            .chain(std::iter::repeat(None));
        for value in values.take(columns) {
            match value {
                Some(value) => put_length_encoded_bytes(&mut packet, value),
                None => packet.push(0xFB),
            }
        }
        put_packet(out, sequence, &packet);
    }
}
