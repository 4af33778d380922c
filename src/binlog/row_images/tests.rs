use super::*;

fn columns() -> Columns {
    let column = |column_type, length| Column {
        column_type,
        metadata: 0,
        length,
        nullable: true,
        unsigned: false,
        dimensions: 0,
    };
    Columns {
        columns: vec![
            column(column_type::LONG, ValueLength::Fixed(4)),
            column(column_type::VARCHAR, ValueLength::Prefixed(1)),
            column(column_type::JSON, ValueLength::Prefixed(4)),
        ],
        json_count: 1,
    }
}

fn head(event_type: EventType, bitmaps: &[u8]) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0];
    if has_extra_data(event_type) {
        body.extend_from_slice(&[2, 0]);
    }
    body.push(3);
    body.extend_from_slice(bitmaps);
    body
}

fn count(event_type: EventType, body: &[u8]) -> Result<Option<u64>, EventError> {
    let columns = columns();
    let Some(images) = RowImages::parse(event_type, body, &columns, 1000)? else {
        return Ok(None);
    };
    let count = images.count();
    let rows: Result<Vec<_>, _> = images.rows().collect();
    assert_eq!(rows.map(|rows| rows.len() as u64), count);
    count.map(Some)
}

#[test]
fn rows_of_every_kind_are_counted() {
    let row = [0b100, 1, 0, 0, 0, 2, b'a', b'b'];
    for event_type in [EventType::WRITE_ROWS, EventType::DELETE_ROWS_V1] {
        let mut body = head(event_type, &[0b111]);
        assert_eq!(count(event_type, &body), Ok(Some(0)));
        for rows in 1..4 {
            body.extend_from_slice(&row);
            assert_eq!(count(event_type, &body), Ok(Some(rows)));
        }
    }
    let mut body = head(EventType::UPDATE_ROWS, &[0b001, 0b010]);
    body.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, b'x']);
    assert_eq!(count(EventType::UPDATE_ROWS, &body), Ok(Some(1)));
    let mut body = head(EventType::PARTIAL_UPDATE_ROWS, &[0b001, 0b110]);
    body.extend_from_slice(&[0, 1, 0, 0, 0, 1, 1, 0b01, 2, 0, 0, 0, 9, 9]);
    assert_eq!(count(EventType::PARTIAL_UPDATE_ROWS, &body), Ok(Some(1)));
}

#[test]
fn images_follow_the_bitmaps() {
    let mut body = head(EventType::UPDATE_ROWS, &[0b001, 0b010]);
    let fixed = body.len();
    body.extend_from_slice(&[0, 1, 0, 0, 0]);
    let data = RowsData::parse(EventType::UPDATE_ROWS, &body).unwrap();
    assert_eq!(data.columns, [0b001, 0b010]);
    assert!(!data.is_full);
    let full = head(EventType::WRITE_ROWS, &[0b111]);
    let all_columns = RowsData::parse(EventType::WRITE_ROWS, &full).unwrap();
    assert!(all_columns.is_full);
    assert_eq!(data.images, [0, 1, 0, 0, 0]);
    for cut in 0..body.len() {
        let read = RowsData::parse(EventType::UPDATE_ROWS, &body[..cut]);
        assert_eq!(read.is_ok(), cut >= fixed, "cut at {cut}");
    }
}

#[test]
fn truncated_rows_event_is_refused() {
    let mut body = head(EventType::WRITE_ROWS, &[0b111]);
    let one = body.len();
    body.extend_from_slice(&[0b100, 1, 0, 0, 0, 2, b'a', b'b']);
    for cut in 0..body.len() {
        let result = count(EventType::WRITE_ROWS, &body[..cut]);
        assert_eq!(result.is_ok(), cut == one, "cut at {cut}: {result:?}");
    }
}

#[test]
fn rows_with_unknown_types_are_not_counted() {
    let mut columns = columns();
    columns.columns.truncate(1);
    columns.columns[0].length = ValueLength::Unknown;
    let body = [1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 9];
    let images = RowImages::parse(EventType::WRITE_ROWS_V1, &body, &columns, 10);
    assert!(images.unwrap().is_none());
}

#[test]
fn images_hold_the_columns_that_were_logged() {
    let mut body = head(EventType::PARTIAL_UPDATE_ROWS, &[0b001, 0b110]);
    body.extend_from_slice(&[0, 1, 0, 0, 0, 1, 1, 0b01, 2, 0, 0, 0, 9, 9]);
    let columns = columns();
    let images = RowImages::parse(EventType::PARTIAL_UPDATE_ROWS, &body, &columns, 0);
    let images = images.unwrap().unwrap();
    let rows: Vec<_> = images.rows().map(Result::unwrap).collect();
    let seen = |cells: &[Cell<'_>]| -> Vec<(usize, bool)> {
        let is_diff = |cell: &Cell<'_>| matches!(cell.value, RawValue::JsonDiff(_));
        cells
            .iter()
            .map(|cell| (cell.number, is_diff(cell)))
            .collect()
    };
    assert_eq!(seen(&rows[0].image), [(0, false)]);
    let after = rows[0].after.as_ref().unwrap();
    assert_eq!(seen(after), [(1, false), (2, true)]);
    assert_eq!(after[0].value, RawValue::Null);
    assert_eq!(after[1].value, RawValue::JsonDiff(&[9, 9]));
}

#[test]
fn partition_is_read_from_the_extra_data() {
    let columns = columns();
    let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 7, 0, 1, 4, 0, 5, 0, 3];
    body.extend_from_slice(&[1, 1]);
    let images = RowImages::parse(EventType::UPDATE_ROWS, &body, &columns, 0);
    let expected = Partition {
        partition: 4,
        source: Some(5),
    };
    assert_eq!(images.unwrap().unwrap().partition, Some(expected));
    for cut in 0..body.len() {
        let cut = RowImages::parse(EventType::UPDATE_ROWS, &body[..cut], &columns, 0);
        assert!(cut.is_err());
    }
}
