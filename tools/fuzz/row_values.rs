//! The target of everything that decodes rows: table maps, row images, values of every type.

use binrelay::binlog::EventType;
use binrelay::binlog::columns::Columns;
use binrelay::binlog::compressed::decompress_column;
use binrelay::binlog::json::Document;
use binrelay::binlog::json_diff;
use binrelay::binlog::payload::PayloadEvents;
use binrelay::binlog::row_images::{Cell, RawValue, RowImages};
use binrelay::binlog::row_value::Value;

/// The most bytes that compressed bytes may expand to here.
const EXPANDED_MAX: usize = 1 << 20;

/// The input as a table map (2 bytes of length before it) and a rows event behind it, of every
/// type; and as a document, a change of one, a compressed value and a payload.
pub fn fuzz_rows(data: &[u8]) {
    check_document(data);
    let _ = json_diff::decode(data).map(|changes| {
        for change in changes {
            check_document(change.value);
        }
    });
    if let Ok(Some(expanded)) = decompress_column(data, EXPANDED_MAX) {
        assert!(expanded.len() <= EXPANDED_MAX);
    }
    if let Ok(Some(mut events)) = PayloadEvents::new(data, EXPANDED_MAX) {
        let mut left = 1000;
        while left > 0
            && let Ok(Some(_)) = events.next_event()
        {
            assert!(events.event().len() <= EXPANDED_MAX);
            left -= 1;
        }
    }
    let Some(([low, high], rest)) = data.split_first_chunk() else {
        return;
    };
    let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (map, body) = rest.split_at(len);
    let Ok(columns) = Columns::parse(map) else {
        return;
    };
    for event_type in (0..=u8::MAX)
        .map(EventType)
        .filter(|event_type| event_type.is_rows())
    {
        let Ok(Some(images)) = RowImages::parse(event_type, body, &columns, EXPANDED_MAX) else {
            continue;
        };
        let count = images.count();
        let mut rows = 0;
        for row in images.rows() {
            let Ok(row) = row else {
                assert!(count.is_err(), "what was counted is read");
                break;
            };
            rows += 1;
            row.image.iter().for_each(check_cell);
            row.after.iter().flatten().for_each(check_cell);
        }
        if let Ok(count) = count {
            assert_eq!(count, rows);
        }
    }
}

/// How many values of the input's row, as one of WRITE_ROWS_EVENTv1, can be decoded.
pub fn sound_values(data: &[u8]) -> usize {
    let len = usize::from(u16::from_le_bytes([data[0], data[1]]));
    let (map, body) = data[2..].split_at(len);
    let columns = Columns::parse(map).expect("a table map");
    let images = RowImages::parse(EventType::WRITE_ROWS_V1, body, &columns, EXPANDED_MAX);
    let images = images.expect("a rows event").expect("known types");
    let rows = images.rows().map(|row| row.expect("a row"));
    let cells = rows.flat_map(|row| row.image);
    let sound = cells.filter(|cell| match cell.value {
        RawValue::Bytes(bytes) => Value::decode(cell.column, bytes).is_ok(),
        _ => false,
    });
    sound.count()
}

fn check_cell(cell: &Cell<'_>) {
    match cell.value {
        RawValue::Null => {}
        RawValue::JsonDiff(bytes) => drop(json_diff::decode(bytes)),
        RawValue::Bytes(bytes) => drop(Value::decode(cell.column, bytes)),
    }
}

fn check_document(bytes: &[u8]) {
    if let Ok(document) = Document::decode(bytes) {
        assert!(document.text.len() <= bytes.len() * 8 + 64);
    }
}
