mod assembled;
mod bytes;
mod early_rows;
mod fields;
mod times;

use std::fs;

use super::*;
use crate::transaction::test_events as make;

const FIXTURES: [(&str, &[u8], &str); 5] = [
    (
        "mysql-9.7",
        include_bytes!("../../../proto-fixtures/mysql-9.7/basic.binlog"),
        include_str!("../../../proto-fixtures/mysql-9.7/basic.jsonl"),
    ),
    (
        "mariadb-10.11",
        include_bytes!("../../../proto-fixtures/mariadb-10.11/basic.binlog"),
        include_str!("../../../proto-fixtures/mariadb-10.11/basic.jsonl"),
    ),
    (
        "mysql-5.6",
        include_bytes!("../../../proto-fixtures/mysql-5.6/basic.binlog"),
        include_str!("../../../proto-fixtures/mysql-5.6/basic.jsonl"),
    ),
    (
        "mariadb-10.5",
        include_bytes!("../../../proto-fixtures/mariadb-10.5/basic.binlog"),
        include_str!("../../../proto-fixtures/mariadb-10.5/basic.jsonl"),
    ),
    (
        "mariadb-11.8",
        include_bytes!("../../../proto-fixtures/mariadb-11.8/basic.binlog"),
        include_str!("../../../proto-fixtures/mariadb-11.8/basic.jsonl"),
    ),
];

/// The result of a dump.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    lines: Vec<String>,
    /// The error, or, with `force`, the damage that was reported.
    damages: Vec<u64>,
    warnings: usize,
}

fn dump_bytes(bytes: &[u8], options: &DumpOptions) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("basic.binlog");
    fs::write(&path, bytes).unwrap();
    dump_files(&[path], options)
}

fn dump_files(files: &[PathBuf], options: &DumpOptions) -> Outcome {
    let mut out = Vec::new();
    let (mut damages, mut warnings) = (Vec::new(), 0);
    let result = dump(files, options, &mut out, &mut |remark| match remark {
        Remark::Damage(error) => damages.push(offset_of(&error)),
        Remark::Warning(_) => warnings += 1,
    });
    match result {
        Ok(sound) => assert_eq!(sound, damages.is_empty()),
        Err(DumpError::Input(error)) => damages.push(offset_of(&error)),
        Err(error) => panic!("{error}"),
    }
    let text = String::from_utf8(out).unwrap();
    Outcome {
        lines: text.lines().map(str::to_owned).collect(),
        damages,
        warnings,
    }
}

fn offset_of(error: &InspectError) -> u64 {
    match error {
        InspectError::Damaged { offset, .. } | InspectError::Encrypted { offset, .. } => *offset,
        InspectError::Io { .. } => panic!("{error}"),
    }
}

fn json() -> DumpOptions {
    DumpOptions {
        json: true,
        ..DumpOptions::default()
    }
}

fn field(line: &str, name: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(line).unwrap()[name].clone()
}

#[test]
fn recorded_files_give_their_listings() {
    for (name, bytes, expected) in FIXTURES {
        let outcome = dump_bytes(bytes, &json());
        assert!(outcome.damages.is_empty(), "{name}: {outcome:?}");
        assert_eq!(outcome.warnings, 0, "{name}");
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!(outcome.lines, expected, "{name}");
        let text = dump_bytes(bytes, &DumpOptions::default());
        assert_eq!(text.lines.len(), expected.len(), "one line an event");
    }
}

/// Cut at every length: exactly the whole events are listed; inside an event there is an error with
/// its offset.
#[test]
fn truncated_file_shows_its_whole_events() {
    for (name, bytes, expected) in FIXTURES {
        let mut ends = vec![4];
        ends.extend(
            expected
                .lines()
                .map(|line| field(line, "end_position").as_u64().unwrap()),
        );
        for cut in (0..bytes.len()).step_by(if cfg!(debug_assertions) { 17 } else { 1 }) {
            let outcome = dump_bytes(&bytes[..cut], &json());
            let whole = ends.iter().filter(|end| **end <= cut as u64).count();
            assert_eq!(outcome.lines.len(), whole.saturating_sub(1), "{name} {cut}");
            let last_end = whole.checked_sub(1).map_or(0, |last| ends[last]);
            let damages = match last_end == cut as u64 && cut > 0 {
                true => vec![],
                false => vec![last_end],
            };
            assert_eq!(outcome.damages, damages, "{name} cut at {cut}");
        }
    }
}

/// Any flipped bit is found, at the event that it is in, and `force` loses that event only.
#[test]
fn flipped_bit_is_reported_with_its_offset() {
    for (name, bytes, expected) in FIXTURES {
        let lines: Vec<&str> = expected.lines().collect();
        let spans: Vec<(u64, u64)> = lines
            .iter()
            .map(|line| {
                let at = |key| field(line, key).as_u64().unwrap();
                (at("position"), at("end_position"))
            })
            .collect();
        let in_use = 4 * 8 + 17 * 8; // This bit of the first event is left out of its checksum.
        // All bits of the first event, for one file only: it takes long.
        let first_event = if name == FIXTURES[0].0 { 32..200 } else { 0..0 };
        for bit in (0..bytes.len() * 8).step_by(997).chain(first_event) {
            if bit == in_use {
                continue;
            }
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let outcome = dump_bytes(&damaged, &json());
            let at = (bit / 8) as u64;
            let event = spans.iter().position(|span| span.0 <= at && at < span.1);
            let (before, offset) = event.map_or((0, 0), |event| (event, spans[event].0));
            assert_eq!(outcome.damages, [offset], "{name} bit {bit}");
            assert_eq!(outcome.lines, lines[..before], "{name} bit {bit}");
            if before == 0 {
                continue;
            }
            let force = DumpOptions {
                force: true,
                ..json()
            };
            let forced = dump_bytes(&damaged, &force);
            assert_eq!(forced.damages, [offset], "{name} bit {bit}, forced");
            let good: Vec<&String> = forced
                .lines
                .iter()
                .filter(|line| field(line, "checksum") != "bad")
                .collect();
            assert_eq!(good.len(), lines.len() - 1, "{name} bit {bit}, forced");
        }
    }
}

#[test]
fn start_and_stop_limit_the_events_shown() {
    let (_, bytes, expected) = FIXTURES[0];
    let lines: Vec<&str> = expected.lines().collect();
    let at = |n: usize| field(lines[n], "position").as_u64();
    let options = DumpOptions {
        start_position: at(10),
        stop_position: at(20),
        ..json()
    };
    assert_eq!(dump_bytes(bytes, &options).lines, lines[10..20]);
    let inside = DumpOptions {
        start_position: at(10).map(|at| at + 1),
        ..json()
    };
    assert_eq!(dump_bytes(bytes, &inside).damages.len(), 1);
    let past_the_end = DumpOptions {
        start_position: Some(bytes.len() as u64 + 1),
        ..json()
    };
    assert_eq!(
        dump_bytes(bytes, &past_the_end).damages,
        [bytes.len() as u64 + 1]
    );
    let first = field(lines[0], "timestamp").as_i64().unwrap();
    let stop_time = DumpOptions {
        stop_time: Some(first),
        ..json()
    };
    assert_eq!(dump_bytes(bytes, &stop_time).lines, Vec::<String>::new());
    let start_time = DumpOptions {
        start_time: Some(first + 3600),
        ..json()
    };
    assert_eq!(dump_bytes(bytes, &start_time).lines, Vec::<String>::new());
}

#[test]
fn only_the_selected_transaction_is_shown() {
    for (name, bytes, expected) in FIXTURES {
        let lines: Vec<&str> = expected.lines().collect();
        let openers: Vec<usize> = (0..lines.len())
            .filter(|n| field(lines[*n], "gtid").is_string())
            .collect();
        for pair in openers.windows(2) {
            let gtid = field(lines[pair[0]], "gtid");
            let options = DumpOptions {
                gtids: Some(gtid.as_str().unwrap().parse().unwrap()),
                ..json()
            };
            let found = dump_bytes(bytes, &options).lines;
            // MariaDB's checkpoints may be between transactions.
            let wanted: Vec<&str> = lines[pair[0]..pair[1]]
                .iter()
                .filter(|line| field(line, "type") != "Binlog_checkpoint")
                .copied()
                .collect();
            assert_eq!(found, wanted, "{name} {gtid}");
        }
    }
}

#[test]
fn only_events_of_the_selected_database_are_shown() {
    for (name, bytes, expected) in FIXTURES {
        let options = DumpOptions {
            databases: vec!["ss-vps1".to_owned()],
            ..json()
        };
        let found = dump_bytes(bytes, &options).lines;
        assert!(found.len() > 20 && found.len() < expected.lines().count());
        let tables: Vec<String> = found
            .iter()
            .filter(|line| field(line, "table").is_string())
            .map(|line| field(line, "database").as_str().unwrap().to_owned())
            .collect();
        assert!(!tables.is_empty(), "{name}");
        assert!(
            tables.iter().all(|database| database == "ss-vps1"),
            "{name}"
        );
        // The text of a statement shares the fate of its rows.
        let annotations = found.iter().filter(|line| {
            ["Rows_query", "Annotate_rows"].contains(&field(line, "type").as_str().unwrap())
        });
        assert_eq!(annotations.count(), 2, "{name}");
    }
}

#[test]
fn file_that_is_not_a_binlog_is_refused() {
    let refused = |bytes: &[u8]| dump_bytes(bytes, &json()).damages;
    assert_eq!(refused(b""), [0]);
    assert_eq!(refused(b"\xfebi"), [0]);
    assert_eq!(refused(b"\xfdbin and more"), [0]);
    assert_eq!(refused(b"PK\x03\x04"), [0]);
    assert!(refused(b"\xfebin").is_empty());
    // Without a format description: the first event must describe the others.
    let (_, bytes, _) = FIXTURES[0];
    let mut headless = MAGIC_BYTES.to_vec();
    headless.extend_from_slice(&bytes[127..]);
    assert_eq!(refused(&headless), [4]);
}

const MAGIC_BYTES: [u8; 4] = crate::binlog::MAGIC;

#[test]
fn open_transaction_at_the_end_of_a_file_is_a_warning() {
    let (_, bytes, expected) = FIXTURES[0];
    let lines: Vec<&str> = expected.lines().collect();
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&first, bytes).unwrap();
    // Ends after a BEGIN.
    let end = field(lines[9], "end_position").as_u64().unwrap() as usize;
    assert_eq!(field(lines[9], "statement"), "BEGIN");
    fs::write(&second, &bytes[..end]).unwrap();
    let outcome = dump_files(&[first, second], &json());
    assert_eq!(outcome.lines.len(), lines.len() + 10);
    assert_eq!((outcome.damages, outcome.warnings), (vec![], 1));
    assert_eq!(field(&outcome.lines[lines.len()], "file"), "b");
}

/// A length in a header costs no memory and no reading beyond the file's end.
#[test]
fn wrong_event_size_is_reported() {
    let (_, bytes, _) = FIXTURES[1];
    let mut damaged = bytes.to_vec();
    let format_end = 4 + u32::from_le_bytes(bytes[13..17].try_into().unwrap()) as usize;
    damaged[format_end + 9..format_end + 13].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(dump_bytes(&damaged, &json()).damages, [format_end as u64]);
}

/// The same events as a server writes them with `binlog_checksum=NONE`.
fn without_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes[..4].to_vec();
    let mut rest = &bytes[4..];
    while let Ok(header) = event::EventHeader::parse(rest) {
        let (source, after) = rest.split_at(header.event_size as usize);
        rest = after;
        let mut event = source.to_vec();
        let is_format = header.event_type == EventType::FORMAT_DESCRIPTION;
        if is_format {
            let algorithm = event.len() - 5;
            event[algorithm] = 0;
        } else {
            event.truncate(event.len() - 4);
        }
        let size = event.len() as u32;
        event::set_event_size(&mut event, size).unwrap();
        event::set_log_pos(&mut event, out.len() as u32 + size).unwrap();
        if is_format {
            event::write_checksum(&mut event).unwrap();
        }
        out.extend_from_slice(&event);
    }
    out
}

/// Without checksums much damage is not detected; reported damage has an offset, and nothing panics.
#[test]
fn damage_without_checksums_does_not_panic() {
    for (name, bytes, expected) in FIXTURES {
        let plain = without_checksums(bytes);
        let lines = dump_bytes(&plain, &json()).lines;
        assert_eq!(lines.len(), expected.lines().count(), "{name}");
        for (ours, theirs) in lines.iter().zip(expected.lines()).skip(1) {
            assert_eq!(field(ours, "checksum"), "none", "{name}");
            for key in ["type", "gtid", "statement", "rows"] {
                assert_eq!(field(ours, key), field(theirs, key), "{name} {ours}");
            }
        }
        let mut found = 0;
        for bit in (0..plain.len() * 8).step_by(997) {
            let mut damaged = plain.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            for force in [false, true] {
                let options = DumpOptions { force, ..json() };
                let outcome = dump_bytes(&damaged, &options);
                found += outcome.damages.len();
                let sound_until = outcome.damages.first().copied().unwrap_or(u64::MAX);
                assert!(sound_until <= plain.len() as u64 || sound_until == u64::MAX);
            }
        }
        assert!(found > 20, "{name}: {found}");
        for cut in (0..plain.len()).step_by(11) {
            assert!(dump_bytes(&plain[..cut], &json()).damages.len() <= 1);
        }
    }
}

/// A file of MySQL 9.7 with these events.
fn mysql_file(events: &[Vec<u8>]) -> Vec<u8> {
    let (_, fixture, _) = FIXTURES[0];
    let format = make::split(&fixture[4..]).remove(0);
    let mut bytes = [&fixture[..4], &format].concat();
    for event in events {
        let mut event = event.clone();
        let end = (bytes.len() + event.len()) as u32;
        event::set_log_pos(&mut event, end).unwrap();
        event::write_checksum(&mut event).unwrap();
        bytes.extend(event);
    }
    bytes
}

/// Some payloads cannot be read; JSON stays valid, and with `force` the rest is shown.
#[test]
fn payloads_that_cannot_be_read_are_reported() {
    let inside = make::payload_events(&[
        make::query(86, "", "BEGIN"),
        make::table_map(86, 1, "test"),
        make::xid(86),
    ]);
    let len = inside.len() as u64;
    let last = make::query(86, "test", "CREATE TABLE t (a INT)");
    let show = |payload: Vec<u8>, force| {
        let events = [payload, last.clone()];
        let options = DumpOptions {
            rows: true,
            force,
            ..json()
        };
        let outcome = dump_bytes(&mysql_file(&events), &options);
        let types = outcome.lines.iter().map(|line| field(line, "type"));
        let types: Vec<String> = types
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        (types.join(" "), outcome.damages.len(), outcome.warnings)
    };
    let whole = "Format_desc Transaction_payload Query Table_map Xid Query";
    let rest = "Format_desc Transaction_payload Query";
    let plain = make::payload(86, 255, len, &inside);
    assert_eq!(show(plain, false), (whole.to_owned(), 0, 0));
    let unknown = make::payload(86, 7, len, &inside);
    assert_eq!(
        show(unknown.clone(), false),
        ("Format_desc".to_owned(), 1, 0)
    );
    assert_eq!(show(unknown, true), (rest.to_owned(), 1, 0));
    let damaged = make::payload(86, 0, len, &inside);
    let before = "Format_desc Transaction_payload";
    assert_eq!(show(damaged.clone(), false), (before.to_owned(), 1, 0));
    assert_eq!(show(damaged, true), (rest.to_owned(), 1, 0));
}
