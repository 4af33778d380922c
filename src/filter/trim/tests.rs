use super::*;
use crate::filter::RuleLists;
use crate::flavor::Flavor;

fn trim() -> Trim {
    let lists = RuleLists {
        do_db: vec!["test".to_owned()],
        ..RuleLists::default()
    };
    Trim::new(Filter::new(lists, Flavor::MySql, false))
}

fn header(event_type: EventType) -> EventHeader {
    EventHeader {
        timestamp: 0,
        event_type,
        server_id: 86,
        event_size: 0,
        log_pos: 0,
        flags: 0,
    }
}

fn query(database: &str, statement: &str) -> Vec<u8> {
    let mut body = vec![0; 13];
    body[8] = database.len() as u8;
    body.extend_from_slice(database.as_bytes());
    body.push(0);
    body.extend_from_slice(statement.as_bytes());
    body
}

fn map(id: u8, database: &str) -> Vec<u8> {
    let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0, database.len() as u8];
    body.extend_from_slice(database.as_bytes());
    body.extend_from_slice(b"\0\x01t\0");
    body
}

fn rows(id: u8, end: bool) -> Vec<u8> {
    vec![id, 0, 0, 0, 0, 0, u8::from(end), 0, 2, 0]
}

#[test]
fn last_kept_rows_event_ends_the_statement() {
    let mut trim = trim();
    let mut judge = |kind, body: Vec<u8>, at| trim.judge(&header(kind), &body, true, at).unwrap();
    assert_eq!(
        judge(EventType::QUERY, query("other", "BEGIN"), 10),
        Verdict::Keep
    );
    assert_eq!(
        judge(EventType::TABLE_MAP, map(1, "test"), 20),
        Verdict::Keep
    );
    assert_eq!(
        judge(EventType::TABLE_MAP, map(2, "other"), 30),
        Verdict::Drop
    );
    assert_eq!(
        judge(EventType::WRITE_ROWS, rows(1, false), 30),
        Verdict::Keep
    );
    assert_eq!(
        judge(EventType::WRITE_ROWS, rows(2, false), 40),
        Verdict::Drop
    );
    assert_eq!(
        judge(EventType::WRITE_ROWS, rows(2, true), 40),
        Verdict::DropAndEndStatementAt(30)
    );
    assert!(!trim.dropped_all());
}

#[test]
fn dropped_statement_removes_the_events_that_prepare_it() {
    let mut trim = trim();
    let mut judge = |kind, body: Vec<u8>, at| trim.judge(&header(kind), &body, true, at).unwrap();
    assert_eq!(judge(EventType::ROWS_QUERY, vec![], 20), Verdict::Keep);
    assert_eq!(
        judge(EventType::TABLE_MAP, map(1, "test"), 30),
        Verdict::Keep
    );
    assert_eq!(
        judge(EventType::TABLE_MAP, map(2, "other"), 40),
        Verdict::Drop
    );
    assert_eq!(
        judge(EventType::WRITE_ROWS, rows(2, true), 40),
        Verdict::DropBackTo(20)
    );
    assert_eq!(judge(EventType::INTVAR, vec![], 20), Verdict::Keep);
    assert_eq!(judge(EventType::USER_VAR, vec![], 30), Verdict::Keep);
    assert_eq!(
        judge(
            EventType::QUERY,
            query("other", "insert into test.t values (1)"),
            40
        ),
        Verdict::DropBackTo(20)
    );
    assert!(trim.dropped_all());
}

#[test]
fn preparing_events_belong_to_the_next_statement_only() {
    let mut trim = trim();
    let mut judge = |kind, body: Vec<u8>, at| trim.judge(&header(kind), &body, true, at).unwrap();
    assert_eq!(judge(EventType::INTVAR, vec![], 20), Verdict::Keep);
    assert_eq!(
        judge(EventType::QUERY, query("test", "insert 1"), 30),
        Verdict::Keep
    );
    assert_eq!(
        judge(EventType::QUERY, query("other", "insert 2"), 40),
        Verdict::Drop
    );
    assert!(!trim.dropped_all());
}

/// A statement that changes only a MyISAM table, and locks an InnoDB table for its trigger, leaves the map of that table in
/// the transaction.
#[test]
fn what_follows_a_table_map_without_rows_is_not_dropped_with_it() {
    for (kept, statement) in [("test", "update t set a = 1"), ("", "SAVEPOINT `s`")] {
        let mut trim = trim();
        let mut judge =
            |kind, body: Vec<u8>, at| trim.judge(&header(kind), &body, true, at).unwrap();
        assert_eq!(judge(EventType::ROWS_QUERY, vec![0], 20), Verdict::Keep);
        assert_eq!(
            judge(EventType::TABLE_MAP, map(1, "test"), 25),
            Verdict::Keep
        );
        assert_eq!(
            judge(EventType::QUERY, query(kept, statement), 30),
            Verdict::Keep
        );
        assert_eq!(
            judge(EventType::TABLE_MAP, map(2, "other"), 40),
            Verdict::Drop
        );
        let end = judge(EventType::WRITE_ROWS, rows(2, true), 40);
        assert_eq!(end, Verdict::Drop, "{statement}");
    }
}

#[test]
fn what_follows_the_file_of_a_failed_load_data_is_not_dropped_with_it() {
    let mut trim = trim();
    let mut judge = |kind, body: Vec<u8>, at| trim.judge(&header(kind), &body, true, at).unwrap();
    for (kind, at) in [
        (EventType::BEGIN_LOAD_QUERY, 20),
        (EventType::DELETE_FILE, 25),
    ] {
        assert_eq!(judge(kind, vec![1, 0, 0, 0], at), Verdict::Keep);
    }
    assert_eq!(
        judge(EventType::TABLE_MAP, map(1, "test"), 30),
        Verdict::Keep
    );
    assert_eq!(
        judge(EventType::WRITE_ROWS, rows(1, true), 40),
        Verdict::Keep
    );
    let other = judge(EventType::QUERY, query("other", "update t set a = 1"), 50);
    assert_eq!(other, Verdict::Drop);
}

#[test]
fn rows_without_a_table_map_are_an_error() {
    let error = trim()
        .judge(&header(EventType::UPDATE_ROWS), &rows(7, true), true, 4)
        .unwrap_err();
    assert!(error.to_string().contains("table id 7"), "{error}");
}

/// MariaDB 12.3 writes a large rows event as fragments of type 172: dropped with the next statement they would be
/// changes of a table that is kept.
#[test]
fn event_of_an_unknown_type_is_an_error_with_rules() {
    let fragment = header(EventType(172));
    let ignorable = EventHeader {
        flags: FLAG_IGNORABLE,
        ..fragment
    };
    let mut with_rules = trim();
    let map = map(1, "test");
    let kept = with_rules.judge(&header(EventType::TABLE_MAP), &map, true, 20);
    assert_eq!(kept, Ok(Verdict::Keep));
    let kept = with_rules.judge(&ignorable, &[1], true, 30);
    assert_eq!(kept, Ok(Verdict::Keep));
    let error = with_rules.judge(&fragment, &[1], true, 30).unwrap_err();
    assert!(
        error.to_string().starts_with("Unknown(172) event"),
        "{error}"
    );
    for event_type in (0..=255).map(EventType) {
        assert_eq!(event_type.is_known(), event_type.name() != "Unknown");
        let kept = Trim::default().judge(&header(event_type), &[1], true, 30);
        assert_eq!(kept, Ok(Verdict::Keep));
    }
}

#[test]
fn statement_with_too_many_tables_is_an_error() {
    let mut trim = trim();
    let map = map(1, "other");
    for _ in 0..TABLES_MAX {
        assert_eq!(
            trim.judge(&header(EventType::TABLE_MAP), &map, true, 4),
            Ok(Verdict::Drop)
        );
    }
    let error = trim.judge(&header(EventType::TABLE_MAP), &map, true, 4);
    assert_eq!(error, Err(TrimError::TooManyTables));
}

#[test]
fn truncated_bodies_do_not_panic() {
    for (kind, body) in [
        (EventType::QUERY, query("other", "insert")),
        (EventType::TABLE_MAP, map(1, "test")),
        (EventType::WRITE_ROWS, rows(1, true)),
    ] {
        for cut in 0..body.len() {
            let _ = trim().judge(&header(kind), &body[..cut], true, 0);
        }
    }
}
