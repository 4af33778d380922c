//! Events in files of servers that are older than MySQL 5.6 or MariaDB 10, which newer servers still
//! send: what is missing in them, and which cannot be in a file of a newer version.
//!
//! | written by | event | |
//! |---|---|---|
//! | MySQL 3.23–4.1 | START_V3 and all after it | no format description, other layouts |
//! | 5.0.0–5.0.3 | LOAD, CREATE_FILE, EXEC_LOAD, NEW_LOAD | replaced in 5.0.3 |
//! | 5.1.0–5.1.17 | rows of types 20 to 22; in some versions other numbers for types | no release had them |
//! | 5.0.0–5.0.57, 5.1.0–5.1.16 | INTVAR with INSERT_ID | replicas correct or refuse the statement, by the file's version |
//! | 5.1 | rows without BEGIN and COMMIT | as one transaction per statement |
//! | before 5.1.x and 5.5 | USER_VAR of an integer without flags | see [`with_user_var_flags`] |

use super::event::{self, EventHeader, HEADER_LEN};
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};
use super::format_description::{FormatDescription, version_numbers};
use super::statement_context::Intvar;

/// Length of the header in binlog format 1 (MySQL 3.23).
const V1_HEADER_LEN: usize = 13;
/// Length of a START_V3 event in that format: the header, the format's number 2, the server's version
/// 50, a timestamp 4.
const V1_START_LEN: usize = V1_HEADER_LEN + 56;
const SERVER_VERSION_LEN: usize = 50;

/// The version of the server that wrote a START_V3 event, the first event of a file of MySQL 3.23 to
/// 4.1; empty when the event is truncated.
pub fn version_in_start_v3(event: &[u8]) -> String {
    let header_len = match event.len() {
        V1_START_LEN => V1_HEADER_LEN,
        _ => HEADER_LEN,
    };
    let version = event.get(header_len + 2..).unwrap_or(&[]);
    let version = version.iter().take(SERVER_VERSION_LEN);
    let text: Vec<u8> = version.copied().take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&text).into_owned()
}

/// The first event type that has another fixed part than in all released versions since MySQL 5.0;
/// `None` if there is none. Development versions of MySQL 5.1 had others, or other numbers.
pub fn differing_type(format: &FormatDescription) -> Option<EventType> {
    const KNOWN: [(EventType, u8); 14] = [
        (EventType::QUERY, 13),
        (EventType::STOP, 0),
        (EventType::ROTATE, 8),
        (EventType::INTVAR, 0),
        (EventType::RAND, 0),
        (EventType::USER_VAR, 0),
        (EventType::XID, 0),
        (EventType::BEGIN_LOAD_QUERY, 4),
        (EventType::EXECUTE_LOAD_QUERY, 26),
        (EventType::TABLE_MAP, 8),
        (EventType::WRITE_ROWS_V1, 8),
        (EventType::UPDATE_ROWS_V1, 8),
        (EventType::DELETE_ROWS_V1, 8),
        (EventType::INCIDENT, 2),
    ];
    // A server writes 0 for types that it never writes itself.
    let differs = |event_type: EventType, expected: u8| {
        let found = format.post_header_length(event_type).unwrap_or(0);
        found != 0 && found != usize::from(expected)
    };
    KNOWN
        .iter()
        .find(|(event_type, length)| differs(*event_type, *length))
        .map(|(event_type, _)| *event_type)
}

/// Whether a server of this version may have logged rows without BEGIN and COMMIT: MySQL 5.1, for
/// tables without transactions.
pub fn has_rows_without_begin(format: &FormatDescription) -> bool {
    !format.is_checksummed() && version_numbers(&format.server_version) < (5, 5, 0)
}

/// Why an event of a file with this format description cannot be in the relay log; `None` if it can.
/// `body` is the event without its header and checksum, or the head of it.
///
/// # Errors
/// When it is truncated.
#[inline]
pub fn why_unsupported(
    format: &FormatDescription,
    event_type: EventType,
    body: &[u8],
) -> Result<Option<&'static str>, EventError> {
    match event_type {
        EventType::START_V3
        | EventType::LOAD
        | EventType::CREATE_FILE
        | EventType::EXEC_LOAD
        | EventType::NEW_LOAD
        | EventType::PRE_GA_WRITE_ROWS
        | EventType::PRE_GA_UPDATE_ROWS
        | EventType::PRE_GA_DELETE_ROWS => return Ok(Some("replicas no longer support this type")),
        EventType::INTVAR if !format.is_checksummed() => {}
        _ => return Ok(None),
    }
    let version = version_numbers(&format.server_version);
    let has_bug =
        ((5, 0, 0)..(5, 0, 58)).contains(&version) || ((5, 1, 0)..(5, 1, 17)).contains(&version);
    let is_affected = has_bug && Intvar::parse(body)?.name == "INSERT_ID";
    Ok(is_affected.then_some(
        "this version logged wrong AUTO_INCREMENT values for some statements (MySQL bugs 24432 and \
         33029), and replicas can allow for that only when they read its own files",
    ))
}

/// The event with flags, if it is a USER_VAR of an integer without them; `None` if it has them or
/// needs none.
///
/// Old servers do not write the flags, which say whether the integer is unsigned. Some newer
/// readers decide by the length in the header whether an event has flags, and would take the first
/// byte of the checksum for them. The flags that are added say what such a server meant: signed.
///
/// # Errors
/// When it is truncated.
pub fn with_user_var_flags(event: &[u8]) -> Result<Option<Vec<u8>>, EventError> {
    const INTEGER: u8 = 2;
    const SIGNED: u8 = 0;
    let body = event::body(event, false);
    let mut fields = FieldReader::new("User_var event", body, HEADER_LEN);
    let name_len = fields.u32("name length")?;
    fields.take("name", name_len as usize)?;
    if fields.u8("null flag")? != 0 || fields.u8("type")? != INTEGER {
        return Ok(None);
    }
    fields.u32("collation")?;
    let value_len = fields.u32("value length")?;
    fields.take("value", value_len as usize)?;
    if fields.remaining() > 0 {
        return Ok(None);
    }
    let header = EventHeader::parse(event)?;
    let mut complete = EventHeader {
        event_size: header.event_size.saturating_add(1),
        ..header
    }
    .encode()
    .to_vec();
    complete.extend_from_slice(body);
    complete.push(SIGNED);
    Ok(Some(complete))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::format_description::Checksum;

    fn of(version: &str, lengths: &[u8]) -> FormatDescription {
        FormatDescription {
            server_version: version.to_owned(),
            created: 0,
            post_header_lengths: lengths.to_vec(),
            checksum: Checksum::None,
        }
    }

    /// As in files of the named versions.
    #[test]
    fn development_versions_are_known_by_their_lengths() {
        let released: [(&str, &[u8]); 3] = [
            (
                "5.0.86-log",
                &[56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 75, 0, 4, 26],
            ),
            (
                "5.1.17-beta-log",
                &[
                    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 79, 0, 4, 26, 8, 8, 8, 8,
                ],
            ),
            (
                "5.5.59-log",
                &[
                    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 84, 0, 4, 26, 8, 0, 0, 0, 8, 8,
                    8, 2, 0,
                ],
            ),
        ];
        for (version, lengths) in released {
            assert_eq!(differing_type(&of(version, lengths)), None, "{version}");
        }
        let permuted = of(
            "5.2.2-a_drop6p13-log",
            &[
                56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 79, 6, 6, 6, 6, 0, 4, 26,
            ],
        );
        assert_eq!(differing_type(&permuted), Some(EventType::XID));
        let short_ids = of(
            "5.1.3-alpha",
            &[0, 13, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 26, 6],
        );
        assert_eq!(differing_type(&short_ids), Some(EventType::TABLE_MAP));
    }

    #[test]
    fn events_that_depend_on_the_files_version_are_unsupported() {
        let is_unsupported = |version: &str, event_type, body: &[u8]| {
            let found = why_unsupported(&of(version, &[]), event_type, body);
            found.unwrap().is_some()
        };
        let insert_id = [2, 1, 0, 0, 0, 0, 0, 0, 0];
        let last_insert_id = [1, 1, 0, 0, 0, 0, 0, 0, 0];
        for (version, expected) in [
            ("5.0.46-log", true),
            ("5.0.58-log", false),
            ("5.1.16-beta", true),
            ("5.1.17-beta", false),
            ("5.5.59-log", false),
        ] {
            let found = is_unsupported(version, EventType::INTVAR, &insert_id);
            assert_eq!(found, expected, "{version}");
            assert!(!is_unsupported(version, EventType::INTVAR, &last_insert_id));
        }
        for event_type in [1, 6, 8, 10, 12, 20, 21, 22].map(EventType) {
            assert!(is_unsupported("5.5.59", event_type, &[]), "{event_type}");
        }
    }

    #[test]
    fn version_of_a_file_before_5_0_is_read() {
        let mut body = vec![3, 0];
        body.extend_from_slice(b"4.1.24-log");
        body.resize(56, 0);
        for header_len in [V1_HEADER_LEN, HEADER_LEN] {
            let event = [vec![0; header_len], body.clone()].concat();
            assert_eq!(version_in_start_v3(&event), "4.1.24-log");
        }
        assert_eq!(version_in_start_v3(&[0; 20]), "");
    }

    /// `SET @x = 4`, as in a file of MySQL 5.1.23.
    #[test]
    fn missing_flags_of_a_user_variable_are_added() {
        let mut body = vec![1, 0, 0, 0, b'x', 0, 2, 0x3f, 0, 0, 0, 8, 0, 0, 0];
        body.extend_from_slice(&4u64.to_le_bytes());
        let header = EventHeader {
            timestamp: 1,
            event_type: EventType::USER_VAR,
            server_id: 1,
            event_size: 42,
            log_pos: 1086,
            flags: 0,
        };
        let event = [&header.encode()[..], &body].concat();
        let complete = with_user_var_flags(&event).unwrap().unwrap();
        assert_eq!(complete.len(), 43);
        assert_eq!(EventHeader::parse(&complete).unwrap().event_size, 43);
        assert_eq!(event::body(&complete, false), [&body[..], &[0]].concat());
        assert_eq!(with_user_var_flags(&complete), Ok(None));
        for cut in HEADER_LEN..event.len() {
            assert!(with_user_var_flags(&event[..cut]).is_err(), "cut at {cut}");
        }
        body[6] = 0; // A string.
        let event = [&header.encode()[..], &body].concat();
        assert_eq!(with_user_var_flags(&event), Ok(None));
    }
}
