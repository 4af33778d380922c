//! Packets, byte for byte.

use std::fs;
use std::path::Path;

use crate::support::foreign_clients::Comparison;
use crate::support::raw_client::{Dumped, RawClient};
use crate::support::same_binlog::SameBinlog;
use crate::support::servers::{REPL_PASSWORD, REPL_USER};

/// How MariaDB 10.11 ends the dump of a client that does not know its GTID events, at one of
/// those that it cannot replace.
pub const NOT_REPLACED: &str = "Failed to replace GTID event";

/// The file name in a ROTATE event, after its header and position.
pub fn rotates_to(event: &[u8], file: &str) -> bool {
    event.get(4) == Some(&4) && event.get(27..27 + file.len()) == Some(file.as_bytes())
}

fn dumped(
    port: u16,
    settings: &[String],
    file: &str,
    position: u32,
    flags: u16,
    stop: &str,
) -> Vec<String> {
    let mut client = RawClient::connect("127.0.0.1", port);
    client.login(REPL_USER, REPL_PASSWORD).expect("a login");
    for setting in settings {
        client.query(setting).expect("a setting");
    }
    client.dump(77, file, position, flags);
    let mut events = Vec::new();
    loop {
        match client.next_event() {
            Dumped::Event(event) => {
                let is_last = rotates_to(&event, stop);
                events.push(shown(&event));
                if is_last {
                    return events;
                }
            }
            Dumped::Error(error) => {
                events.push(error.to_string());
                return events;
            }
            Dumped::End => return events,
            Dumped::Silence => {
                panic!("the dump of {file} from {position} does not continue: {events:?}")
            }
        }
    }
}

/// The bytes; of a comment in place of another event only its length.
fn shown(event: &[u8]) -> String {
    /// Where the statement begins in a Query event without database and status variables.
    const STATEMENT_AT: usize = 33;
    /// Header flag: the default database does not matter.
    const SUPPRESS_USE: u8 = 0x8;
    let is_comment = event[4] == 2
        && event[17] & SUPPRESS_USE != 0
        && event
            .get(STATEMENT_AT..)
            .is_some_and(|text| text.starts_with(b"# "));
    match is_comment {
        true => format!("comment {} …", event[..STATEMENT_AT].escape_ascii()),
        false => format!("event of type {} {}", event[4], event.escape_ascii()),
    }
}

/// Only an error's code and state.
fn error_code(lines: &[String]) -> Vec<String> {
    before(lines, "1236 (HY000)", ": ")
}

fn before(lines: &[String], start: &str, end: &str) -> Vec<String> {
    let cut = |line: &String| match line.split_once(end) {
        Some((kept, _)) if line.starts_with(start) => kept.to_owned(),
        _ => line.clone(),
    };
    lines.iter().map(cut).collect()
}

pub fn packets(binlog: &SameBinlog, table: &mut Comparison) {
    let checksum =
        "SET @master_binlog_checksum='CRC32', @source_binlog_checksum='CRC32'".to_owned();
    let none = "SET @master_binlog_checksum='NONE', @source_binlog_checksum='NONE'".to_owned();
    let capable = "SET @mariadb_slave_capability=4".to_owned();
    let beginning = "SET @slave_connect_state=''".to_owned();
    let files = binlog.file_names();
    let first = files[0].as_str();
    let middle = middle_of(&binlog.files[0]);
    let mut cases: Vec<(&str, Vec<String>, &str, u32, u16)> = vec![
        ("from the beginning", vec![checksum.clone()], first, 4, 1),
        ("without a file name", vec![checksum.clone()], "", 4, 1),
        ("checksums unknown at first", vec![none], first, 4, 1),
        ("without checksums", Vec::new(), first, 4, 1),
        (
            "from the middle of a file",
            vec![checksum.clone()],
            first,
            middle,
            1,
        ),
        (
            "from inside an event",
            vec![checksum.clone()],
            first,
            middle + 1,
            1,
        ),
        (
            "from past the end",
            vec![checksum.clone()],
            first,
            9_999_999,
            1,
        ),
        (
            "of an unknown file",
            vec![checksum.clone()],
            "nothing.000001",
            4,
            1,
        ),
    ];
    if binlog.kind().is_mariadb() {
        let all = vec![checksum.clone(), capable.clone()];
        cases.push(("of a GTID client", all.clone(), first, 4, 1));
        cases.push(("with annotations", all, first, 4, 3));
        let state = vec![checksum, capable.clone(), beginning];
        cases.push(("from an empty GTID position", state, "", 4, 3));
    }
    for (what, settings, file, position, flags) in cases {
        let [relay, master] = binlog
            .ports()
            .map(|port| dumped(port, &settings, file, position, flags, &binlog.stop_file()));
        let name = format!("packets {what}");
        let is_old = binlog.kind().is_mariadb() && !settings.contains(&capable);
        let is_refused = master.len() <= 3;
        if what == "from inside an event" {
            // The text depends on the bytes at that position: a length too great, or too
            // small, or nothing.
            table.add(&name, &error_code(&relay), &error_code(&master));
        } else if what == "without checksums" {
            // A master refuses such a client. The relay sends what replicas of MySQL 5.5 can read.
            assert!(is_refused, "{name}: {master:?}");
            assert!(relay.len() > master.len(), "{name}: {relay:?}");
        } else if is_old && !is_refused {
            table.add_until_master_fails(&name, &relay, &master, NOT_REPLACED);
        } else {
            table.add(&name, &relay, &master);
        }
    }
}

/// Where an event in the middle of a binlog file begins.
pub fn middle_of(file: &Path) -> u32 {
    let bytes = fs::read(file).expect("a log file");
    let mut at = 4;
    while at < bytes.len() / 2 {
        let size: [u8; 4] = bytes[at + 9..at + 13].try_into().expect("four bytes");
        at += u32::from_le_bytes(size) as usize;
    }
    at as u32
}
