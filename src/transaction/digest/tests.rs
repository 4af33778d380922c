use super::*;
use crate::binlog::event;
use crate::transaction::test_events::{TIMESTAMP, plain, query, rows, table_map, xid};

/// The fingerprint of these events, all checksummed.
fn fingerprint(events: &[Vec<u8>]) -> Fingerprint {
    let mut digest = Digest::new();
    digest.reset();
    let mut grouped = false;
    for event in events {
        let header = EventHeader::parse(event).unwrap();
        let body = event::body(event, true);
        digest.event(&header, body, true).unwrap();
        grouped |= header.event_type == EventType::QUERY && body.ends_with(b"BEGIN");
    }
    digest.finish(grouped, &EventHeader::parse(&events[0]).unwrap())
}

fn at(mut event: Vec<u8>, timestamp: u32) -> Vec<u8> {
    event[..4].copy_from_slice(&timestamp.to_le_bytes());
    event
}

fn load_block(event_type: EventType, file_id: u8, bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![file_id, 0, 0, 0];
    body.extend_from_slice(bytes);
    test_event(event_type, &body)
}

fn test_event(event_type: EventType, body: &[u8]) -> Vec<u8> {
    crate::transaction::test_events::event(event_type, 1, body)
}

fn execute_load(file: &str, table: &str) -> Vec<u8> {
    let mut body = vec![0; 13];
    body[8] = 4;
    let text = format!("LOAD DATA INFILE '{file}' INTO TABLE {table}");
    let end = text.find("' INTO").unwrap() as u32 + 1;
    body.extend_from_slice(&[1, 0, 0, 0, 9, 0, 0, 0]);
    body.extend_from_slice(&end.to_le_bytes());
    body.push(0);
    body.extend_from_slice(b"test\0");
    body.extend_from_slice(text.as_bytes());
    test_event(EventType::EXECUTE_LOAD_QUERY, &body)
}

#[test]
fn fingerprint_ignores_what_re_logging_changes() {
    let insert = || query(1, "test", "insert into t values (1)");
    let one = fingerprint(&[query(1, "test", "BEGIN"), insert(), xid(1)]);
    let end = at(query(1, "", "COMMIT"), 9);
    let two = fingerprint(&[query(1, "", "BEGIN"), insert(), end]);
    assert!(one.same_content(&two));
    assert_eq!(one.timestamp, TIMESTAMP);
    let changes = Fingerprint::INSERTS | Fingerprint::UPDATES;
    let traits = Fingerprint::HAS_STATEMENTS | changes | Fingerprint::database(b"test");
    assert_eq!(one.traits, traits);
    let end = Fingerprint::ENDED_BY_STATEMENT | Fingerprint::MAY_BE_WITHOUT_ROWS;
    assert_eq!(two.traits, traits | end);
}

#[test]
fn fingerprint_depends_on_what_re_logging_preserves() {
    let of = |statement: Vec<u8>| fingerprint(&[query(1, "", "BEGIN"), statement, xid(1)]);
    let insert = || query(1, "test", "insert into t values (1)");
    let one = of(insert());
    let mut other_thread = insert();
    other_thread[19] = 7;
    for other in [
        query(1, "test", "insert into t values (2)"),
        query(1, "tess", "insert into t values (1)"),
        at(insert(), TIMESTAMP + 1),
        other_thread,
    ] {
        assert!(!one.same_content(&of(other)));
    }
    let with_value = |value: u8| {
        let mut body = [2, 0, 0, 0, 0, 0, 0, 0, 0];
        body[1] = value;
        let intvar = test_event(EventType::INTVAR, &body);
        fingerprint(&[query(1, "", "BEGIN"), intvar, insert(), xid(1)])
    };
    assert!(with_value(3).same_content(&with_value(3)));
    assert!(!with_value(3).same_content(&with_value(4)));
    assert!(!with_value(3).same_content(&one));
}

/// The same rows in events of another size, with another table id.
#[test]
fn rows_split_into_events_anywhere_have_the_same_fingerprint() {
    let image: Vec<u8> = (0..60).collect();
    let of = |id: u8, database: &str, pieces: &[&[u8]]| {
        let mut events = vec![query(1, "", "BEGIN"), table_map(1, id, database)];
        for (number, piece) in pieces.iter().enumerate() {
            let last = number + 1 == pieces.len();
            let mut body = vec![id, 0, 0, 0, 0, 0, u8::from(last), 0, 2, 0, 1, 0xff];
            body.extend_from_slice(piece);
            events.push(test_event(EventType::WRITE_ROWS, &body));
        }
        events.push(xid(1));
        fingerprint(&events)
    };
    let whole = of(5, "test", &[&image]);
    for cut in 0..image.len() {
        let (one, two) = image.split_at(cut);
        assert_eq!(of(6, "test", &[one, two]), whole, "cut at {cut}");
    }
    assert!(!of(5, "tess", &[&image]).same_content(&whole));
    assert!(!of(5, "test", &[&image[1..]]).same_content(&whole));
    let database = Fingerprint::database(b"test");
    let expected = Fingerprint::HAS_ROWS | Fingerprint::INSERTS | database;
    assert_eq!(whole.traits, expected);
}

/// A replica of MySQL 5.6 makes images whole that its master wrote with fewer columns.
#[test]
fn images_with_fewer_columns_are_marked_as_partial() {
    let of = |database: &str, columns: u8, image: &[u8]| {
        let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 4, columns];
        body.extend_from_slice(image);
        let events = [
            query(1, "", "BEGIN"),
            table_map(1, 1, database),
            test_event(EventType::WRITE_ROWS, &body),
            xid(1),
        ];
        fingerprint(&events)
    };
    let whole = of("test", 0xff, &[1, 2, 3]);
    let partial = of("test", 0b0111, &[1, 2]);
    assert_eq!(whole.traits & Fingerprint::PARTIAL_IMAGES, 0);
    assert!(!whole.same_content(&partial) && whole.may_be_other_format(&partial));
    assert!(!of("other", 0xff, &[1, 2, 3]).may_be_other_format(&partial));
    assert!(!whole.may_be_other_format(&of("test", 0xff, &[1, 2, 4])));
    // The bits after the last column may have any value.
    assert_eq!(of("test", 0x0f, &[1, 2, 3]), whole);
}

#[test]
fn rows_of_two_tables_are_distinguished() {
    let of = |order: [u8; 2]| {
        let mut events = vec![query(1, "", "BEGIN")];
        events.push(table_map(1, order[0], "test"));
        events.push(table_map(1, order[1], "other"));
        events.push(with_columns(rows(1, 1, false, 30)));
        events.push(with_columns(rows(1, 2, true, 30)));
        events.push(xid(1));
        fingerprint(&events)
    };
    assert!(!of([1, 2]).same_content(&of([2, 1])));
}

/// `rows` of the hand-made events has row bytes instead of a column bitmap: this gives it one column.
fn with_columns(mut event: Vec<u8>) -> Vec<u8> {
    event[19 + 10] = 1;
    event
}

#[test]
fn loaded_file_has_the_same_fingerprint_with_other_blocks_and_name() {
    let file: Vec<u8> = (0..40).collect();
    let of = |pieces: &[&[u8]], id: u8, name: &str, table: &str| {
        let mut events = vec![query(1, "", "BEGIN"), plain(EventType::INTVAR, 1)];
        for (number, piece) in pieces.iter().enumerate() {
            let event_type = match number {
                0 => EventType::BEGIN_LOAD_QUERY,
                _ => EventType::APPEND_BLOCK,
            };
            events.push(load_block(event_type, id, piece));
            events.push(plain(EventType::INTVAR, 1));
        }
        events.push(execute_load(name, table));
        events.push(xid(1));
        fingerprint(&events)
    };
    let whole = of(&[&file], 1, "/tmp/a", "t");
    for cut in 0..file.len() {
        let (one, two) = file.split_at(cut);
        let other = of(&[one, two], 2, "/var/tmp/SQL_LOAD-1-2.data", "t");
        assert_eq!(other, whole, "cut at {cut}");
    }
    assert!(!of(&[&file], 1, "/tmp/a", "u").same_content(&whole));
    assert!(!of(&[&file[1..]], 1, "/tmp/a", "t").same_content(&whole));
    assert_ne!(whole.traits & Fingerprint::HAS_STATEMENTS, 0);
}

#[test]
fn lone_statements_are_marked() {
    let ddl = fingerprint(&[query(1, "test", "create table t (a int)")]);
    assert_ne!(ddl.traits & Fingerprint::LONE_STATEMENT, 0);
    assert_eq!(ddl.traits & Fingerprint::MAY_BE_WITHOUT_ROWS, 0);
    let temporary = |text: &str| {
        let mut event = query(1, "test", text);
        event::set_flags(&mut event, FLAG_THREAD_SPECIFIC).unwrap();
        fingerprint(&[event])
    };
    let created = temporary("create temporary table t (a int)");
    assert_ne!(created.traits & Fingerprint::MAY_BE_WITHOUT_ROWS, 0);
    let dropped = temporary("DROP TEMPORARY TABLE `t` /* generated by server */");
    let reworded = temporary("DROP TEMPORARY TABLE IF EXISTS `test`.`t`");
    assert!(!dropped.same_content(&reworded));
    assert!(dropped.may_be_other_format(&reworded));
    assert!(!dropped.may_be_other_format(&created));
}

#[test]
fn statements_logged_as_rows_may_match() {
    let of = |events: Vec<Vec<u8>>| {
        let mut all = vec![query(1, "", "BEGIN")];
        all.extend(events);
        all.push(xid(1));
        fingerprint(&all)
    };
    let logged = of(vec![
        table_map(1, 1, "test"),
        with_columns(rows(1, 1, true, 9)),
    ]);
    let may = |text: &str| of(vec![query(1, "test", text)]).may_be_other_format(&logged);
    assert!(may("insert into t values (1)") && may(" Insert t values (1)"));
    assert!(may("REPLACE t values (1)") && may("/* x */ delete from t") && may("SELECT f()"));
    assert!(!may("delete from t") && !may("update t set a = 1"));
    let other = of(vec![query(1, "other", "insert into t values (1)")]);
    assert!(!other.may_be_other_format(&logged));
}

/// A large event in parts of any size, its checksum among them, gives the same as in one piece.
#[test]
fn events_in_parts_have_the_same_fingerprint() {
    let begin = query(1, "", "BEGIN");
    let texts = [
        query(1, "test", &"x".repeat(50)),
        load_block(EventType::APPEND_BLOCK, 1, &[7; 50]),
        test_event(EventType::USER_VAR, &[9; 50]),
    ];
    for event in texts {
        let header = EventHeader::parse(&event).unwrap();
        let whole = fingerprint(&[begin.clone(), event.clone()]);
        for head_len in 19 + 30..=event.len() {
            for part_len in [1, 3, 100] {
                let mut digest = Digest::new();
                let (head, rest) = event.split_at(head_len);
                digest.event(&header, &head[19..], true).unwrap();
                rest.chunks(part_len).for_each(|part| digest.more(part));
                assert_eq!(digest.finish(true, &header), whole, "{head_len} {part_len}");
            }
        }
    }
}

#[test]
fn truncated_bodies_do_not_panic() {
    let events = [
        query(1, "test", "insert into t values (1)"),
        table_map(1, 1, "test"),
        with_columns(rows(1, 1, true, 9)),
        execute_load("/tmp/a", "t"),
        load_block(EventType::BEGIN_LOAD_QUERY, 1, &[7; 5]),
    ];
    for event in events {
        let header = EventHeader::parse(&event).unwrap();
        let body = event::body(&event, true);
        for cut in 0..body.len() {
            let mut digest = Digest::new();
            let _ = digest.event(&header, &body[..cut], true);
            digest.finish(true, &header);
        }
    }
}
