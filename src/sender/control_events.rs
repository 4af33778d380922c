//! The events that a source makes up for one connection: heartbeats, the GTID list after a
//! skipped range, and the format description of a dump that starts in the middle of a file.

use crate::binlog::event::{self, EventHeader, FLAG_ARTIFICIAL};
use crate::binlog::{CHECKSUM_LEN, EventError, EventType, rotate};
use crate::gtid::BinlogState;

/// Fields of a HEARTBEAT_V2 event: type, length, value; MySQL's `codecs::binary`.
const FIELD_END: u8 = 0;
const FIELD_FILE_NAME: u8 = 1;
const FIELD_POSITION: u8 = 2;
/// Where `created` stands in a format description event.
const CREATED_AT: usize = 71;

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

/// A heartbeat: all up to `position` of `file` has been sent.
pub fn heartbeat(server_id: u32, file: &str, position: u64, v2: bool) -> Vec<u8> {
    if !v2 {
        let header = header(EventType::HEARTBEAT, server_id, position, 0);
        return event::build(header, file.as_bytes());
    }
    let mut body = vec![FIELD_FILE_NAME, file.len().min(250) as u8];
    body.extend(file.bytes().take(250));
    let value = length_encoded(position);
    body.extend([FIELD_POSITION, value.len() as u8]);
    body.extend(value);
    body.push(FIELD_END);
    let header = header(EventType::HEARTBEAT_V2, server_id, position, 0);
    event::build(header, &body)
}

fn length_encoded(value: u64) -> Vec<u8> {
    let [a, b, c, ..] = value.to_le_bytes();
    match value {
        0..251 => vec![a],
        251..0x1_0000 => vec![0xFC, a, b],
        0x1_0000..0x100_0000 => vec![0xFD, a, b, c],
        _ => [&[0xFE][..], &value.to_le_bytes()].concat(),
    }
}

/// MariaDB: what lies before `position`, of which the replica was sent nothing just now.
pub fn gtid_list(server_id: u32, position: u64, state: &BinlogState) -> Vec<u8> {
    let mut body = Vec::new();
    state.encode_gtid_list(&mut body);
    let header = header(EventType::GTID_LIST, server_id, position, FLAG_ARTIFICIAL);
    event::build(header, &body)
}

/// The ROTATE that names the file whose events follow; `checksummed` is what the client expects.
///
/// # Errors
/// When the event cannot be changed as the client expects it.
pub fn file_name(
    server_id: u32,
    file: &str,
    position: u64,
    checksummed: bool,
) -> Result<Vec<u8>, EventError> {
    let mut rotate = rotate::artificial(server_id, file, position);
    if !checksummed {
        rotate.truncate(rotate.len() - CHECKSUM_LEN);
        let size = rotate.len() as u32;
        event::set_event_size(&mut rotate, size)?;
    }
    Ok(rotate)
}

/// The format description for a dump that starts behind it: it says nothing about the replica's
/// position (unless GTIDs decide that) and does not make it drop its temporary tables.
///
/// # Errors
/// When `stored` is too short for a format description.
pub fn format_description(stored: &[u8], by_gtid: bool) -> Result<Vec<u8>, EventError> {
    let mut event = stored.to_vec();
    if !by_gtid {
        event::set_log_pos(&mut event, 0)?;
    }
    event::patch(&mut event, "created", CREATED_AT, &[0; 4])?;
    event::write_checksum(&mut event)?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_byte_for_byte_those_of_mysql() {
        // Seen from MySQL 9.7: 31 and 39 bytes for b.000003 at 699.
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
    fn a_rotate_with_and_without_checksum() {
        // Seen from MySQL 9.7 and MariaDB 10.11.
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
        let list = gtid_list(1, 669, &state);
        assert_eq!(list.len(), 43);
        assert_eq!(&list[39..], b";<\xd0\xb3");
    }
}
