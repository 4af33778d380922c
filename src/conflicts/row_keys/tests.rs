//! Rows events by hand: INT id, VARCHAR(60) note, INT v.

use super::*;

const ALL: u8 = 0b111;

fn table_map(table_id: u8, optional: &[u8]) -> Vec<u8> {
    let mut body = vec![table_id, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0];
    body.extend_from_slice(&[3, 3, 15, 3, 2, 60, 0, 0b110]);
    body.extend_from_slice(optional);
    body
}

/// The present columns' values in the order of the table.
fn image(present: u8, id: u32, note: &str, v: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    if present & 1 != 0 {
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    if present & 2 != 0 {
        bytes.push(note.len() as u8);
        bytes.extend_from_slice(note.as_bytes());
    }
    if present & 4 != 0 {
        bytes.extend_from_slice(&v.to_le_bytes());
    }
    bytes
}

/// A rows event of table 7 in version 1 or 2.
fn rows(version: u8, bitmaps: &[u8], images: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0];
    if version == 2 {
        body.extend_from_slice(&[2, 0]);
    }
    body.push(3);
    body.extend_from_slice(bitmaps);
    body.extend(images.concat());
    body
}

const INSERT: [EventType; 2] = [EventType(23), EventType(30)];
const UPDATE: [EventType; 2] = [EventType(24), EventType(31)];
const DELETE: [EventType; 2] = [EventType(25), EventType(32)];

/// The keys of an event, before and after each change.
fn keys(reader: &mut RowReader, event_type: EventType, body: &[u8]) -> Vec<(Key, Option<Key>)> {
    let mut keys = Vec::new();
    let read = reader.rows(event_type, body, &mut |changed| {
        keys.push((changed.key, changed.key_after));
        true
    });
    assert_eq!(read, Ok(true));
    keys
}

/// A reader that knows the table, whose primary key is `key` as the source shows it.
fn reader(key: &[usize]) -> RowReader {
    let mut reader = RowReader::default();
    let shown = ShownKey {
        columns: 3,
        key: key.to_vec(),
    };
    let map = table_map(7, &[]);
    reader
        .table_map(0, &map, &mut |_| Some(shown.clone()))
        .unwrap();
    reader
}

#[test]
fn key_is_the_same_whatever_changes_the_row_and_however_it_is_logged() {
    let mut reader = reader(&[0]);
    let mut all = Vec::new();
    for version in [1, 2] {
        let at = usize::from(version - 1);
        let insert = rows(version, &[ALL], &[image(ALL, 5, "a", 1)]);
        all.push(keys(&mut reader, INSERT[at], &insert));
        let images = [image(ALL, 5, "a", 1), image(ALL, 5, "b", 2)];
        let update = rows(version, &[ALL, ALL], &images);
        all.push(keys(&mut reader, UPDATE[at], &update));
        // binlog_row_image=MINIMAL: the key before, the changed column after.
        let images = [image(1, 5, "", 0), image(4, 0, "", 9)];
        let update = rows(version, &[1, 4], &images);
        all.push(keys(&mut reader, UPDATE[at], &update));
        let delete = rows(version, &[1], &[image(1, 5, "", 0)]);
        all.push(keys(&mut reader, DELETE[at], &delete));
    }
    let first = all[0].clone();
    assert_eq!((first.len(), first[0].1), (1, None));
    assert!(all.iter().all(|keys| *keys == first), "{all:?}");
}

#[test]
fn update_of_the_key_changes_two_keys() {
    let mut reader = reader(&[0]);
    let images = [image(ALL, 5, "a", 1), image(ALL, 6, "a", 1)];
    let update = keys(&mut reader, UPDATE[1], &rows(2, &[ALL, ALL], &images));
    let insert = rows(2, &[ALL], &[image(ALL, 5, "", 0), image(ALL, 6, "", 0)]);
    let inserted = keys(&mut reader, INSERT[1], &insert);
    assert_eq!(update, [(inserted[0].0, Some(inserted[1].0))]);
}

#[test]
fn whole_row_is_the_key_of_a_table_without_one() {
    for mut reader in [reader(&[]), {
        let mut unknown = RowReader::default();
        unknown
            .table_map(0, &table_map(7, &[]), &mut |_| None)
            .unwrap();
        unknown
    }] {
        let insert = rows(2, &[ALL], &[image(ALL, 5, "a", 1), image(ALL, 5, "a", 2)]);
        let inserted = keys(&mut reader, INSERT[1], &insert);
        assert_ne!(inserted[0], inserted[1]);
        let images = [image(ALL, 5, "a", 1), image(ALL, 5, "a", 2)];
        let update = keys(&mut reader, UPDATE[1], &rows(2, &[ALL, ALL], &images));
        assert_eq!(update, [(inserted[0].0, Some(inserted[1].0))]);
        // Of the row after a minimal update only a part is known.
        let images = [image(ALL, 5, "a", 1), image(4, 0, "", 2)];
        let update = keys(&mut reader, UPDATE[1], &rows(2, &[ALL, 4], &images));
        assert_eq!(update, [(inserted[0].0, None)]);
    }
}

#[test]
fn values_with_the_same_bytes_in_a_row_are_told_apart() {
    let mut reader = reader(&[]);
    let two = [image(ALL, 1, "ab", 0), image(ALL, 1, "a", 0)];
    let found = keys(&mut reader, INSERT[1], &rows(2, &[ALL], &two));
    assert_ne!(found[0], found[1]);
}

#[test]
fn source_is_asked_once_for_each_table_map_and_not_where_the_metadata_are_full() {
    let mut reader = RowReader::default();
    let mut asked = 0;
    let mut map = |reader: &mut RowReader, path, body: &[u8]| {
        reader
            .table_map(path, body, &mut |_| {
                asked += 1;
                Some(ShownKey {
                    columns: 3,
                    key: vec![0],
                })
            })
            .unwrap();
        asked
    };
    assert_eq!(map(&mut reader, 0, &table_map(7, &[])), 1);
    assert_eq!(map(&mut reader, 0, &table_map(7, &[])), 1);
    assert_eq!(map(&mut reader, 1, &table_map(7, &[])), 2, "another server");
    assert_eq!(map(&mut reader, 0, &table_map(8, &[])), 3, "after DDL");
    let full = [4, 6, 1, b'a', 1, b'b', 1, b'c', 8, 1, 0];
    assert_eq!(map(&mut reader, 0, &table_map(9, &full)), 3);
}

/// The log is older than the table that the source shows: NULL was allowed then, or there were fewer columns.
#[test]
fn key_of_another_table_is_not_used() {
    let columns = Columns::parse(&table_map(7, &[])).unwrap();
    let shown = |columns, key: &[usize]| ShownKey {
        columns,
        key: key.to_vec(),
    };
    assert!(is_of(&shown(3, &[0]), &columns));
    assert!(is_of(&shown(2, &[0]), &columns), "a hidden column");
    assert!(!is_of(&shown(4, &[0]), &columns));
    assert!(!is_of(&shown(3, &[1]), &columns), "nullable");
    assert!(!is_of(&shown(3, &[5]), &columns));
}

#[test]
fn malformed_events_are_errors_or_unreadable() {
    let mut reader = reader(&[0]);
    let update = rows(
        2,
        &[ALL, ALL],
        &[image(ALL, 5, "a", 1), image(ALL, 6, "a", 1)],
    );
    for cut in 0..update.len() {
        let _ = reader.rows(UPDATE[1], &update[..cut], &mut |_| true);
    }
    let mut unknown = update;
    unknown[0] = 9;
    assert_eq!(reader.rows(UPDATE[1], &unknown, &mut |_| true), Ok(false));
}

#[test]
fn remembered_table_maps_are_bounded_in_bytes() {
    let mut reader = RowReader::default();
    let optional = vec![0; 1024 * 1024];
    for number in 0..70u64 {
        let mut map = table_map(7, &optional);
        map.extend_from_slice(&number.to_le_bytes());
        reader.begin();
        reader.table_map(0, &map, &mut |_| None).unwrap();
        // Repeated, it takes no more.
        reader.table_map(0, &map, &mut |_| None).unwrap();
        let len: usize = reader.known.keys().map(Vec::len).sum();
        assert!(len <= reader.known_bytes && reader.known_bytes <= TABLES_BYTES_MAX);
    }
    assert!(reader.known.len() < 10);
}
