//! Fields of single events: inserted rows without columns, and what no server writes.

use super::*;

/// A table `d`.`t` with one INT.
fn table_map() -> Vec<u8> {
    let body = b"\x01\0\0\0\0\0\x01\0\x01d\0\x01t\0\x01\x03\0\x01";
    make::event(EventType::TABLE_MAP, 86, body)
}

fn rows_of(event_type: EventType, extra: &[u8], rest: &[u8]) -> Vec<u8> {
    let body = [&[1, 0, 0, 0, 0, 0, 1, 0], extra, rest].concat();
    make::event(event_type, 86, &body)
}

#[test]
fn inserted_row_without_columns_is_shown_as_values() {
    // No column is present: the row has no bytes.
    let insert = rows_of(EventType::WRITE_ROWS, &[2, 0], &[1, 0]);
    let bytes = mysql_file(&[table_map(), insert]);
    let options = |json| DumpOptions {
        rows: true,
        json,
        ..DumpOptions::default()
    };
    let text = dump_bytes(&bytes, &options(false));
    assert_eq!(text.lines[3..], ["### INSERT INTO `d`.`t` VALUES ()"]);
    let json = dump_bytes(&bytes, &options(true));
    let expected = serde_json::json!([{"after": [], "after_columns": []}]);
    assert_eq!(field(&json.lines[2], "rows"), expected);
    // With a column that is NULL there is a byte.
    let insert = rows_of(EventType::WRITE_ROWS, &[2, 0], &[1, 1, 1]);
    let text = dump_bytes(&mysql_file(&[table_map(), insert]), &options(false));
    let expected = "###   @1=NULL /* INT meta=0 nullable=1 is_null=1 */";
    assert_eq!(
        text.lines[3..],
        ["### INSERT INTO `d`.`t`", "### SET", expected]
    );
}

/// The checksum is right, so only the field is wrong; with `force` the next event is shown.
#[test]
fn field_that_no_server_writes_is_damage() {
    let incident = |body: &[u8]| make::event(EventType::INCIDENT, 86, body);
    let extra = |extra: &[u8]| rows_of(EventType::WRITE_ROWS, extra, &[1, 1, 1]);
    let cases = [
        (incident(&[1, 0, 4, b'l', b'o', b's', b't']), true),
        (incident(&[0, 0, 0]), false),
        (incident(&[2, 0, 0]), false),
        (extra(&[2, 0]), true),
        (extra(&[0, 0]), false),
        (extra(&[1, 0]), false),
        (extra(&[200, 0]), false),
        (extra(&[5, 0, 1, 7, 0]), true),
        (extra(&[4, 0, 1, 7]), false),
        (extra(&[5, 0, 0, 2, 9]), true),
        (extra(&[4, 0, 0, 1]), false),
        (extra(&[5, 0, 0, 3, 9]), false),
        (extra(&[6, 0, 0, 3, 9, 9]), true),
        (extra(&[4, 0, 99, 1]), true),
        (make::event(EventType(99), 86, &[1]), false),
        (make::event(EventType::LOAD, 86, &[1; 60]), false),
    ];
    for (number, (event, is_sound)) in cases.into_iter().enumerate() {
        let bytes = mysql_file(&[table_map(), event, make::xid(86)]);
        let found = dump_bytes(&bytes, &json());
        assert_eq!(found.damages.is_empty(), is_sound, "case {number}");
        let force = DumpOptions {
            force: true,
            ..json()
        };
        let forced = dump_bytes(&bytes, &force);
        assert_eq!(forced.damages, found.damages, "case {number}");
        assert_eq!(forced.lines.len(), 4, "case {number}");
        assert_eq!(field(&forced.lines[2], "checksum"), "ok", "case {number}");
        assert_eq!(field(&forced.lines[3], "type"), "Xid", "case {number}");
    }
}
