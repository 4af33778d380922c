//! Row events before MySQL 5.1.18, and the event types of the development versions that had them first.
//!
//! PRE_GA_WRITE_ROWS (20), PRE_GA_UPDATE_ROWS (21), PRE_GA_DELETE_ROWS (22):
//!
//! ```text
//!  0        19         25      27
//!  | header | table id | flags | column count (length-encoded) | columns present | rows …
//! ```
//! An update has one bitmap for both images. The null bits of an image are those of the server's own
//! record: they depend on the table's definition (its storage format, BIT columns, which columns
//! can be NULL), which a Table_map event of those versions does not have. So the rows cannot be separated.
//!
//! Versions such as 5.1.2-a_drop5p16 and 5.2.2-a_drop6p13 have 22 event types. The last seven have other
//! numbers: 16 TABLE_MAP, 17 to 19 the rows, 20 XID, 21 BEGIN_LOAD_QUERY, 22 EXECUTE_LOAD_QUERY.
//! Their table ids have 4 bytes.

use super::event::HEADER_LEN;
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};
use super::format_description::FormatDescription;
use super::rows::TABLE_ID_LEN;

/// The number of event types of the development versions.
const DEVELOPMENT_TYPES: usize = 22;
/// The fixed part's length in events with a table id of 4 bytes, and that id's length.
const SHORT_HEAD_LEN: usize = 6;
const SHORT_ID_LEN: usize = 4;
const FLAGS_LEN: usize = 2;

/// Whether the event holds rows in the format before MySQL 5.1.18.
pub fn has_early_rows(event_type: EventType) -> bool {
    matches!(
        event_type,
        EventType::PRE_GA_WRITE_ROWS
            | EventType::PRE_GA_UPDATE_ROWS
            | EventType::PRE_GA_DELETE_ROWS
    )
}

/// Checks `body`, such an event without its header and checksum, whose table id has `id_len` bytes.
///
/// # Errors
/// When it ends before its rows.
pub fn check(body: &[u8], id_len: usize) -> Result<(), EventError> {
    let mut fields = FieldReader::new("rows event", body, HEADER_LEN);
    fields.take("table id and flags", id_len + FLAGS_LEN)?;
    let count = fields.length_encoded("column count")?;
    let bitmap_len = usize::try_from(count.div_ceil(8)).unwrap_or(usize::MAX);
    fields.take("columns present", bitmap_len).map(drop)
}

/// The type of an event with this type byte, in a file with this format description.
pub fn event_type(format: &FormatDescription, code: u8) -> EventType {
    if !is_development(format) {
        return EventType(code);
    }
    match code {
        16 => EventType::TABLE_MAP,
        17 => EventType::PRE_GA_WRITE_ROWS,
        18 => EventType::PRE_GA_UPDATE_ROWS,
        19 => EventType::PRE_GA_DELETE_ROWS,
        20 => EventType::XID,
        21 => EventType::BEGIN_LOAD_QUERY,
        22 => EventType::EXECUTE_LOAD_QUERY,
        other => EventType(other),
    }
}

/// The length of table ids, in bytes, in a file with this format description.
pub fn table_id_len(format: &FormatDescription) -> usize {
    let table_map = match is_development(format) {
        true => EventType(16),
        false => EventType::TABLE_MAP,
    };
    match format.post_header_length(table_map) {
        Some(SHORT_HEAD_LEN) => SHORT_ID_LEN,
        _ => TABLE_ID_LEN,
    }
}

/// Whether it is one of the versions 5.1.1 to 5.1.5 with `-a_drop5`, 5.1.4 with `-a_drop6`, or 5.2.0
/// to 5.2.2 with `-a_drop6`.
fn is_development(format: &FormatDescription) -> bool {
    let version = format.server_version.as_str();
    let Some((numbers, drop)) = version.split_once("-a_drop") else {
        return false;
    };
    let known = match drop.as_bytes().first() {
        Some(b'5') => matches!(numbers, "5.1.1" | "5.1.2" | "5.1.3" | "5.1.4" | "5.1.5"),
        Some(b'6') => matches!(numbers, "5.1.4" | "5.2.0" | "5.2.1" | "5.2.2"),
        _ => false,
    };
    known && format.post_header_lengths.len() == DEVELOPMENT_TYPES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::format_description::Checksum;

    fn format(version: &str, lengths: &[u8]) -> FormatDescription {
        FormatDescription {
            server_version: version.to_owned(),
            created: 0,
            post_header_lengths: lengths.to_vec(),
            checksum: Checksum::None,
        }
    }

    /// The lengths in files of MySQL 5.2.2-a_drop6p13 and of 5.1.17.
    const DEVELOPMENT: [u8; 22] = [
        56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 79, 6, 6, 6, 6, 0, 4, 26,
    ];
    const BETA: [u8; 22] = [
        56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 79, 0, 4, 26, 8, 8, 8, 8,
    ];

    #[test]
    fn development_versions_have_numbers_of_their_own() {
        let development = format("5.2.2-a_drop6p13-debug-log", &DEVELOPMENT);
        let expected = [15, 19, 20, 21, 22, 16, 17, 18];
        let found: Vec<u8> = (15..=22)
            .map(|code| event_type(&development, code).0)
            .collect();
        assert_eq!(found, expected);
        assert_eq!(table_id_len(&development), 4);
        for other in [
            format("5.1.17-beta-debug-log", &BETA),
            format("5.1.1-alpha", &BETA),
            format("5.2.3-a_drop6p14", &BETA),
            format("5.1.5-a_drop6p1", &BETA),
        ] {
            assert_eq!(event_type(&other, 16), EventType::XID);
            assert_eq!(table_id_len(&other), 6);
        }
        assert_eq!(table_id_len(&format("5.1.3-alpha", &[6; 22])), 4);
    }

    #[test]
    fn truncation_is_found() {
        // As in MySQL 5.1.17: one row of two columns.
        let body = [15, 0, 0, 0, 0, 0, 1, 0, 2, 0xff, 0xfc, 1, 0, 0, 0];
        for cut in 0..body.len() {
            assert_eq!(check(&body[..cut], 6).is_ok(), cut >= 10, "cut at {cut}");
        }
    }
}
