//! Rows whose values cannot be shown: those of MySQL before 5.1.18, and those of very large events.

use super::*;

/// A file without checksums of this version, with these post-header lengths and events.
fn old_file(version: &str, lengths: &[u8], events: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = vec![4, 0];
    body.extend_from_slice(version.as_bytes());
    body.resize(52, 0);
    body.extend_from_slice(&[0, 0, 0, 0, 19]);
    body.extend_from_slice(lengths);
    let mut bytes = MAGIC_BYTES.to_vec();
    let first = [(15, &body[..])];
    for (event_type, body) in first.iter().chain(events) {
        let event = make::event(EventType(*event_type), 1, body);
        let mut event = make::without_checksum(&event);
        let end = (bytes.len() + event.len()) as u32;
        event::set_log_pos(&mut event, end).unwrap();
        bytes.extend(event);
    }
    bytes
}

const BETA: [u8; 22] = [
    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 79, 0, 4, 26, 8, 8, 8, 8,
];
const DEVELOPMENT: [u8; 22] = [
    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 79, 6, 6, 6, 6, 0, 4, 26,
];

fn summary(bytes: &[u8]) -> Vec<String> {
    let options = DumpOptions {
        rows: true,
        ..json()
    };
    let found = dump_bytes(bytes, &options);
    assert_eq!((found.damages, found.warnings), (vec![], 0));
    let summary = |line: &String| {
        let rows = field(line, "rows");
        format!("{} {} {rows}", field(line, "type"), field(line, "table"))
    };
    found.lines[1..].iter().map(summary).collect()
}

#[test]
fn rows_before_5_1_18_are_named() {
    let map = [15, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 2, 3, 15];
    let rows = [15, 0, 0, 0, 0, 0, 1, 0, 2, 0xff, 0xfc, 1, 0, 0, 0, 1, b'x'];
    let bytes = old_file(
        "5.1.17-beta-debug-log",
        &BETA,
        &[(19, &map), (20, &rows), (21, &rows)],
    );
    let expected = [
        "\"Table_map\" \"t\" null",
        "\"Write_rows_event_old\" \"t\" null",
        "\"Update_rows_event_old\" null null",
    ];
    assert_eq!(summary(&bytes), expected);
    let options = DumpOptions {
        rows: true,
        ..DumpOptions::default()
    };
    let text = dump_bytes(&bytes, &options).lines;
    assert!(text[2].contains("`d`.`t` id=15 rows=? (row format before MySQL 5.1.18) stmt_end"));
    assert!(text[3].starts_with("### (the rows cannot be read: MySQL before 5.1.18 wrote them"));
    // A truncated one is damage.
    let bytes = old_file("5.1.17-beta", &BETA, &[(19, &map), (20, &rows[..9])]);
    assert_eq!(dump_bytes(&bytes, &json()).damages.len(), 1);
}

#[test]
fn event_types_of_development_versions_are_known() {
    let map = [15, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 2, 3, 15];
    let rows = [15, 0, 0, 0, 1, 0, 2, 0xff, 0xfc, 1, 0, 0, 0, 1, b'x'];
    let xid = 7u64.to_le_bytes();
    let events: [(u8, &[u8]); 3] = [(16, &map), (19, &rows), (20, &xid)];
    let bytes = old_file("5.2.2-a_drop6p13-debug-log", &DEVELOPMENT, &events);
    let expected = [
        "\"Table_map\" \"t\" null",
        "\"Delete_rows_event_old\" \"t\" null",
        "\"Xid\" null null",
    ];
    assert_eq!(summary(&bytes), expected);
}

#[test]
fn rows_of_an_event_over_the_limit_are_not_shown() {
    let map = [
        1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 1, 252, 1, 4, 0,
    ];
    let mut rows = vec![1, 0, 0, 0, 0, 0, 1, 0, 1, 0xff, 0];
    let len = EVENT_KEPT_MAX as u32 + 1;
    rows.extend_from_slice(&len.to_le_bytes());
    rows.resize(rows.len() + len as usize, 0);
    let lengths = [&BETA[..19], &[0, 0, 0, 8, 8, 8, 2]].concat();
    let bytes = old_file("5.5.59-log", &lengths, &[(19, &map), (23, &rows), (3, &[])]);
    let options = DumpOptions {
        rows: true,
        ..DumpOptions::default()
    };
    let text = dump_bytes(&bytes, &options);
    assert_eq!((text.damages, text.lines.len()), (vec![], 5));
    let expected = "### (the rows cannot be read: the event is larger than 64 MiB)";
    assert_eq!(text.lines[3], expected);
    let json = dump_bytes(&bytes, &json());
    assert_eq!(field(&json.lines[2], "rows"), serde_json::Value::Null);
}
