//! Events a source generates for one connection: heartbeats, the GTID list after a skipped range,
//! and the format description of a dump that starts in the middle of a file.

use crate::binlog::event::{self, EventHeader, FLAG_ARTIFICIAL};
use crate::binlog::{CHECKSUM_LEN, EventError, EventType, rotate};
use crate::gtid::BinlogState;
use crate::protocol::put_length_encoded;

/// Fields of a HEARTBEAT_V2 event: type, length, value; MySQL's `codecs::binary`.
const FIELD_END: u8 = 0;
const FIELD_FILE_NAME: u8 = 1;
const FIELD_POSITION: u8 = 2;
/// Offset of `created` in a format description event.
const CREATED_AT: usize = 71;
/// Bytes of `created`.
const CREATED_LEN: usize = 4;

fn header(event_type: EventType, server_id: u32, log_pos: u64, flags: u16) -> EventHeader {
    EventHeader {
        timestamp: 0,
        event_type,
        server_id,
        event_size: 0,
        log_pos: log_pos as u32,
        flags,
    }
}

/// A heartbeat: everything up to `position` of `file` was sent or skipped.
pub fn heartbeat(server_id: u32, file: &str, position: u64, v2: bool) -> Vec<u8> {
    if !v2 {
        let header = header(EventType::HEARTBEAT, server_id, position, 0);
        return event::build(header, file.as_bytes());
    }
    let mut body = vec![FIELD_FILE_NAME];
    put_length_encoded(&mut body, file.len() as u64);
    body.extend(file.bytes());
    let mut value = Vec::new();
    put_length_encoded(&mut value, position);
    body.push(FIELD_POSITION);
    put_length_encoded(&mut body, value.len() as u64);
    body.extend(value);
    body.push(FIELD_END);
    let header = header(EventType::HEARTBEAT_V2, server_id, position, 0);
    event::build(header, &body)
}

/// MariaDB: the GTIDs before `position`, at the end of a skipped range. `flags` are those of the
/// body, see [`BinlogState::decode_gtid_list`].
pub fn gtid_list(server_id: u32, position: u64, state: &BinlogState, flags: u32) -> Vec<u8> {
    let mut body = Vec::new();
    state.encode_gtid_list(&mut body);
    // They are the top bits of the first field, which is little-endian.
    for (byte, flag) in body.iter_mut().zip(flags.to_le_bytes()) {
        *byte |= flag;
    }
    let header = header(EventType::GTID_LIST, server_id, position, FLAG_ARTIFICIAL);
    event::build(header, &body)
}

/// The ROTATE that names the file whose events follow; `checksummed`: whether
/// the client expects a checksum.
///
/// # Errors
/// The event is too short to have a checksum, which would be a bug.
pub fn file_name(
    server_id: u32,
    file: &str,
    position: u64,
    checksummed: bool,
) -> Result<Vec<u8>, EventError> {
    let mut rotate = rotate::artificial(server_id, file, position);
    if !checksummed {
        event::remove_checksum(&mut rotate)?;
    }
    Ok(rotate)
}

/// The format description for a dump that starts after it: it does not change the replica's
/// position (unless the dump is by GTID) and does not make it drop its temporary tables.
///
/// # Errors
/// The stored event is too short.
pub fn format_description(stored: &[u8], by_gtid: bool) -> Result<Vec<u8>, EventError> {
    let mut event = stored.to_vec();
    let created_end = CREATED_AT + CREATED_LEN;
    if created_end + CHECKSUM_LEN > event.len() {
        return Err(EventError::Truncated {
            event: EventType::FORMAT_DESCRIPTION.name(),
            field: "created",
            offset: CREATED_AT,
            needed: CREATED_LEN as u64,
            found: event.len().saturating_sub(CREATED_AT + CHECKSUM_LEN),
        });
    }
    event::patch(&mut event, "created", CREATED_AT, &[0; CREATED_LEN])?;
    if !by_gtid {
        event::set_log_pos(&mut event, 0)?;
    }
    event::write_checksum(&mut event)?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_byte_for_byte_those_of_mysql() {
        // As MySQL 9.7 sends them: 31 and 39 bytes for b.000003 at 699.
        let v1 = heartbeat(1, "b.000003", 699, false);
        assert_eq!(v1.len(), 31);
        assert_eq!(&v1[19..], b"b.000003\\\x07\xa0\xb9");
        let v2 = heartbeat(1, "b.000003", 699, true);
        assert_eq!(v2.len(), 39);
        assert_eq!(
            &v2[19..],
            b"\x01\x08b.000003\x02\x03\xfc\xbb\x02\x00\xc0]H\x08"
        );
    }

    #[test]
    fn a_rotate_is_byte_for_byte_that_of_servers_with_and_without_checksum() {
        // As MySQL 9.7 and MariaDB 10.11 send it.
        let with = file_name(1, "b.000003", 4, true).unwrap();
        assert_eq!(with.len(), 39);
        assert_eq!(&with[35..], b"\xa38\xa7\xcc");
        let without = file_name(1, "b.000003", 4, false).unwrap();
        assert_eq!(without.len(), 35);
        assert_eq!(EventHeader::parse(&without).unwrap().event_size, 35);
    }

    #[test]
    fn a_gtid_list_is_byte_for_byte_that_of_mariadb() {
        let state: BinlogState = "0-1-7".parse().unwrap();
        let list = gtid_list(1, 669, &state, 0);
        assert_eq!(list.len(), 43);
        assert_eq!(&list[39..], b";<\xd0\xb3");
    }

    #[test]
    fn a_file_name_of_any_length_is_whole_in_a_heartbeat() {
        let name = "b".repeat(300);
        let event = heartbeat(1, &name, 4, true);
        let expected = [&b"\x01\xfc\x2c\x01"[..], name.as_bytes(), b"\x02\x01\x04\0"].concat();
        assert_eq!(event::body(&event, true), expected);
    }

    #[test]
    fn a_truncated_format_description_is_refused() {
        let stored = event::build(header(EventType::FORMAT_DESCRIPTION, 1, 0, 0), &[7; 56]);
        let sent = format_description(&stored, false).unwrap();
        event::verify_checksum(&sent).unwrap();
        assert_eq!(sent[CREATED_AT..CREATED_AT + CREATED_LEN], [0; 4]);
        let short = event::build(header(EventType::FORMAT_DESCRIPTION, 1, 0, 0), &[7; 55]);
        assert!(format_description(&short, false).is_err());
    }
}
