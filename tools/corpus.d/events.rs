//! The parts of binlog events that a relay must not change.

use std::path::PathBuf;

/// Bytes of a header: time 4, type 1, server_id 4, size 4, position 4, flags 2.
pub const HEADER_LENGTH: usize = 19;
pub const MAGIC: &[u8] = b"\xfebin";
/// Type codes, after MariaDB's own documentation of its binlog events.
const GTID: u8 = 162;
pub const START_ENCRYPTION: u8 = 164;
const FORMAT_DESCRIPTION: u8 = 15;
/// Events of the file, not of a transaction: STOP, ROTATE, FORMAT_DESCRIPTION, HEARTBEAT, BINLOG_CHECKPOINT,
/// GTID_LIST, START_ENCRYPTION.
const OF_THE_FILE: [u8; 7] = [3, 4, FORMAT_DESCRIPTION, 27, 161, 163, START_ENCRYPTION];
/// In the body of a GTID event: sequence number 8, domain 4, flags 1. What follows, and the flag
/// for it, says who committed together, which depends on the place in the log.
const GTID_LENGTH: usize = 13;
const GROUP_COMMIT: u8 = 2;

/// Each event of a file, unchanged.
pub fn raw(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = MAGIC.len();
    std::iter::from_fn(move || {
        let header = bytes.get(at..at + HEADER_LENGTH)?;
        let size = u32::from_le_bytes([header[9], header[10], header[11], header[12]]);
        let event = bytes.get(at..at + (size as usize).max(HEADER_LENGTH))?;
        at += event.len();
        Some(event)
    })
}

/// Of a GTID event: server and domain, and the number.
pub fn gtid(event: &[u8]) -> Option<((u32, u32), u64)> {
    let body = event.get(HEADER_LENGTH..HEADER_LENGTH + GTID_LENGTH)?;
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u64::from(*byte))
    };
    let origin = (number(&event[5..9]) as u32, number(&body[8..12]) as u32);
    (event[4] == GTID).then(|| (origin, number(&body[..8])))
}

/// The events of the transactions in all these files, without the fields that depend on their position.
pub fn of_transactions(files: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for file in files {
        let bytes = std::fs::read(file).unwrap_or_default();
        let mut checksum = 0;
        for event in raw(&bytes) {
            let kind = event[4];
            if kind == FORMAT_DESCRIPTION {
                // The algorithm's number precedes the event's own checksum.
                let algorithm = event[event.len() - 5];
                checksum = if algorithm == 1 { 4 } else { 0 };
            }
            if OF_THE_FILE.contains(&kind) {
                continue;
            }
            let mut body = event[HEADER_LENGTH..event.len() - checksum].to_vec();
            if kind == GTID {
                body.truncate(GTID_LENGTH);
                body[GTID_LENGTH - 1] &= !GROUP_COMMIT;
            }
            found.push([&event[..9], &event[17..HEADER_LENGTH], &body].concat());
        }
    }
    found
}

/// The first difference between what a source's files and a relay's hold.
pub fn difference(source: &[PathBuf], relay: &[PathBuf]) -> Option<String> {
    let (expected, found) = (of_transactions(source), of_transactions(relay));
    let at = (0..expected.len().max(found.len())).find(|&at| expected.get(at) != found.get(at))?;
    let text = |events: &[Vec<u8>]| {
        let event = events
            .get(at)
            .map(|event| String::from_utf8_lossy(event).into_owned());
        event.map(|text| text.chars().take(200).collect::<String>())
    };
    Some(format!(
        "event {at} of {} in the relay's log of {} events is {:?}; expected: {:?}",
        expected.len(),
        found.len(),
        text(&found),
        text(&expected)
    ))
}
