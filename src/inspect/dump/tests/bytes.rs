//! Text and bytes in JSON.

use super::*;
use crate::binlog::event_type::EventType;

fn statement(bytes: &[u8]) -> String {
    let mut body = vec![0; 14];
    body.extend_from_slice(bytes);
    let event = make::event(EventType::QUERY, 86, &body);
    let lines = dump_bytes(&mysql_file(&[event]), &json()).lines;
    field(&lines[1], "statement").as_str().unwrap().to_owned()
}

/// No two statements have the same text: see the module `json_text`.
#[test]
fn statements_of_any_character_set_are_told_apart() {
    // CP932: two bytes a character; the second one may be a backslash.
    let cp932 = b"INSERT INTO t VALUES ('\x83\x5c')";
    let hex = "0x494e5345525420494e544f20742056414c554553202827835c2729";
    assert_eq!(statement(cp932), hex);
    assert_eq!(
        statement(hex.as_bytes()),
        format!("0x3078{}", to_hex(&hex.as_bytes()[2..]))
    );
    assert_eq!(statement(b"SELECT '\xe4'"), "0x53454c4543542027e427");
    assert_eq!(statement("SELECT 'ä\\xe4'".as_bytes()), "SELECT 'ä\\xe4'");
    assert_eq!(statement(b"SELECT 0xff"), "SELECT 0xff");
}

#[test]
fn values_of_rows_are_told_apart() {
    // Two columns VARCHAR(90).
    let mut map = vec![1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0];
    map.extend_from_slice(&[2, 15, 15, 4, 90, 0, 90, 0, 0]);
    let mut rows = vec![1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 0xff, 0];
    for value in [&b"0xff"[..], b"\xff"] {
        rows.push(value.len() as u8);
        rows.extend_from_slice(value);
    }
    let events = [
        make::event(EventType::TABLE_MAP, 86, &map),
        make::event(EventType::WRITE_ROWS, 86, &rows),
    ];
    let options = DumpOptions {
        rows: true,
        ..json()
    };
    let lines = dump_bytes(&mysql_file(&events), &options).lines;
    let expected = serde_json::json!([{"after": ["0x30786666", "0xff"]}]);
    assert_eq!(field(&lines[2], "rows"), expected);
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
