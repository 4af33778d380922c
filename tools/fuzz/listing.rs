//! The target of `binrelay dump`: a listing of any file, and behind it every parser of a body.

use binrelay::binlog::MAGIC;
use binrelay::binlog::event::{self, EventHeader};
use binrelay::binlog::format_description::{Checksum, FormatDescription};
use binrelay::inspect::dump::{DumpOptions, dump};

use super::{event_of_type, scratch};

/// Lists the input: a binlog file, or else, as for the assembler, (type, 2 bytes of length, body)
/// one after the other behind a first byte.
pub fn fuzz_listing(data: &[u8]) {
    if data.starts_with(&MAGIC) {
        list(data);
        return;
    }
    let format = FormatDescription {
        server_version: "8.0.41".to_owned(),
        created: 0,
        post_header_lengths: post_header_lengths(),
        checksum: Checksum::Crc32,
    };
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&format.encode(1, 1, 0, 0));
    let mut rest = data.get(1..).unwrap_or_default();
    while let Some(([event_type, low, high], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (body, tail) = tail.split_at(len);
        rest = tail;
        file.extend_from_slice(&event_of_type(*event_type, body));
    }
    list(&file);
}

/// The lengths of MySQL's types, and of MariaDB's from 160 on: events of all of them are read.
fn post_header_lengths() -> Vec<u8> {
    let mut lengths = vec![
        56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 99, 0, 4, 26, 8, 8, 8, 8, 8, 8, 8, 2, 0, 0,
        0, 10, 10, 10, 42, 42, 0, 18, 52, 0, 10, 40, 0, 0,
    ];
    lengths.resize(159, 0);
    lengths.extend([0, 4, 19, 4, 0, 13, 8, 8, 8, 10, 10, 10]);
    lengths
}

fn list(file: &[u8]) {
    let path = scratch().join("bin.000001");
    for bytes in [file.to_vec(), sealed(file)] {
        std::fs::write(&path, bytes).expect("the file is written");
        for json in [false, true] {
            let options = DumpOptions {
                json,
                rows: true,
                force: true,
                ..DumpOptions::default()
            };
            let mut out = Vec::new();
            let _ = dump(std::slice::from_ref(&path), &options, &mut out, &mut |_| {});
            assert!(std::str::from_utf8(&out).is_ok(), "what is listed is text");
        }
    }
}

/// `file` with the checksum of each event made right: a damaged one would not be looked into.
fn sealed(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let mut rest = file.get_mut(MAGIC.len()..).unwrap_or_default();
    while let Ok(header) = EventHeader::parse(rest)
        && let Some((event, tail)) = rest.split_at_mut_checked(header.event_size as usize)
    {
        let _ = event::write_checksum(event);
        rest = tail;
    }
    file
}
