//! Where streams start, and the errors of real servers for starts that are refused.

use super::fixture::*;
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidPosition, GtidSet, ReceivedGtidSet};
use crate::identity::Executed;
use crate::relay_log::coordinates::{
    PositionError, SkipKind, file_by_name, gtid_position_at, is_event_boundary, readable_end,
    start_for_position, start_for_set,
};
use crate::relay_log::reader::{FileHead, LogFile};

/// Three files, two transactions in each but the last, which has one.
fn mysql_log() -> TestLog {
    let mut log = TestLog::empty(Flavor::MySql, 500);
    for gno in 1..=5 {
        log.mysql(gno, b"CREATE TABLE t (a INT)");
    }
    assert_eq!(log.log().state().files, [1, 2, 3]);
    log
}

fn mariadb_log(gtids: &[&str], max_size: u64) -> TestLog {
    let mut log = TestLog::empty(Flavor::MariaDb, max_size);
    for gtid in gtids {
        log.mariadb(gtid, None);
    }
    log
}

/// The offsets of all events of a file.
fn boundaries(log: &TestLog, file: u64) -> Vec<u64> {
    let relay_log = log.log();
    let end = readable_end(&relay_log, file).unwrap().unwrap();
    let path = relay_log.log_dir().log_path(file);
    let file = LogFile::open(&path).unwrap();
    let (mut at, mut found) = (4, Vec::new());
    while at < end {
        found.push(at);
        at += u64::from(file.header_at(at).unwrap().event_size);
    }
    found.push(end);
    found
}

/// The set as a replica sends it.
fn received(set: &GtidSet) -> ReceivedGtidSet {
    let mut bytes = Vec::new();
    set.encode(&mut bytes);
    ReceivedGtidSet::decode(&bytes).unwrap()
}

#[test]
fn only_event_boundaries_are_recognised_as_boundaries() {
    let log = mysql_log();
    for file in [1, 2, 3] {
        let expected = boundaries(&log, file);
        let end = *expected.last().unwrap();
        let found: Vec<u64> = (0..end + 50)
            .filter(|at| is_event_boundary(&log.log(), file, *at).unwrap())
            .collect();
        assert_eq!(found, expected, "file {file}");
    }
    assert!(!is_event_boundary(&log.log(), 4, 4).unwrap());
}

#[test]
fn files_are_found_by_name() {
    let test_log = mysql_log();
    let log = test_log.log();
    for (name, expected) in [
        ("", Some(1)),
        ("relay-bin.000002", Some(2)),
        ("./relay-bin.000003", Some(3)),
        ("relay-bin.000004", None),
        ("relay-bin.2", None),
        ("../relay-bin.000001", None),
        ("mysql-bin.000001", None),
    ] {
        assert_eq!(file_by_name(&log, name.as_bytes()), expected, "{name:?}");
    }
    assert_eq!(file_by_name(&log, b"\xff\xfe"), None);
}

#[test]
fn a_set_starts_in_the_newest_file_with_everything_it_lacks() {
    let test_log = mysql_log();
    let log = test_log.log();
    let start = |numbers: &str| {
        let text = match numbers {
            "" => String::new(),
            numbers => format!("{UUID}:{numbers}"),
        };
        start_for_set(&log, &received(&text.parse().unwrap())).unwrap()
    };
    assert_eq!(start(""), Some(1));
    assert_eq!(start("1"), Some(1));
    assert_eq!(start("2-9"), Some(1));
    assert_eq!(start("1-2"), Some(2));
    assert_eq!(start("1-3"), Some(2));
    assert_eq!(start("1-4"), Some(3));
    assert_eq!(start("1-9"), Some(3));
}

#[test]
fn a_set_that_lacks_purged_transactions_has_no_start() {
    let purged: GtidSet = format!("{UUID}:1-3").parse().unwrap();
    let test_log = TestLog::new(Flavor::MySql, 1 << 20, Executed::MySql(purged));
    let log = test_log.log();
    assert_eq!(
        start_for_set(&log, &ReceivedGtidSet::default()).unwrap(),
        None
    );
    let enough: GtidSet = format!("{UUID}:1-3").parse().unwrap();
    assert_eq!(start_for_set(&log, &received(&enough)).unwrap(), Some(1));
}

#[test]
fn gtid_positions_are_known_between_transactions_only() {
    let log = mariadb_log(&["0-1-1", "1-2-1", "0-2-2", "0-1-3"], 445);
    let relay_log = log.log();
    let at = |file, offset| {
        gtid_position_at(&relay_log, file, offset)
            .unwrap()
            .map(|position| position.to_string())
    };
    let files = relay_log.state().files.clone();
    assert!(files.len() >= 2, "{files:?}");
    // Each group is GTID and Query: every second boundary from the end of the head.
    let mut expected = ["", "0-1-1", "0-1-1,1-2-1", "0-2-2,1-2-1", "0-1-3,1-2-1"].iter();
    let mut state = *expected.next().unwrap();
    for file in files {
        let head = FileHead::read(&relay_log.log_dir().log_path(file)).unwrap();
        assert_eq!(at(file, 4).as_deref(), Some(state), "file {file}");
        assert_eq!(at(file, head.end).as_deref(), Some(state));
        let inner: Vec<u64> = boundaries(&log, file)
            .into_iter()
            .filter(|boundary| *boundary > head.end)
            .collect();
        for pair in inner.chunks(2) {
            if let [middle, end] = pair {
                assert_eq!(at(file, *middle), None, "in a group at {file}:{middle}");
                assert_eq!(at(file, *end - 1), None);
                state = expected.next().unwrap();
                assert_eq!(at(file, *end).as_deref(), Some(state), "{file}:{end}");
            }
        }
    }
    assert_eq!(expected.next(), None);
    assert_eq!(at(1, 5), None);
    assert_eq!(at(1, 1 << 40), None);
    assert_eq!(at(77, 4), None);
}

#[test]
fn a_position_starts_before_the_first_missing_group_of_each_domain() {
    // Two groups per file.
    let gtids = ["0-1-1", "1-1-1", "0-2-2", "1-1-2", "0-1-3", "1-1-3"];
    let test_log = mariadb_log(&gtids, 445);
    let log = test_log.log();
    assert_eq!(log.state().files, [1, 2, 3]);
    let start = |position: &str| {
        let position: GtidPosition = position.parse().unwrap();
        let start = start_for_position(&log, &position, false).unwrap();
        let skipped: Vec<u32> = start.skip.keys().copied().collect();
        (start.file, skipped, start.before.to_string())
    };
    assert_eq!(start(""), (1, vec![], String::new()));
    assert_eq!(start("0-1-1"), (1, vec![0], String::new()));
    assert_eq!(start("0-1-1,1-1-1"), (2, vec![], "0-1-1,1-1-1".to_owned()));
    assert_eq!(start("0-2-2,1-1-1").0, 2);
    assert_eq!(start("0-2-2,1-1-1").1, [0]);
    // 0-1-1 is before 0-2-2: starting in the third file would lose 0-2-2.
    assert_eq!(start("0-1-1,1-1-2"), (2, vec![1], "0-1-1,1-1-1".to_owned()));
    assert_eq!(start("0-2-2,1-1-2").0, 3);
    assert_eq!(start("0-1-3,1-1-3").1, [0, 1]);
    assert_eq!(start("0-2-2,1-1-2,9-9-9").1, [9]);
}

#[test]
fn positions_that_are_not_in_the_log_are_refused() {
    let test_log = mariadb_log(&["0-1-1", "0-1-2", "0-1-7"], 1 << 20);
    let log = test_log.log();
    let start = |position: &str, ignore_duplicates| {
        start_for_position(&log, &position.parse().unwrap(), ignore_duplicates)
    };
    assert!(matches!(
        start("0-1-70", false),
        Err(PositionError::NotFound(_))
    ));
    assert!(matches!(
        start("0-9-70", false),
        Err(PositionError::NotFound(_))
    ));
    assert!(matches!(
        start("0-9-3", false),
        Err(PositionError::Diverged(_))
    ));
    assert!(matches!(
        start("0-9-3", true),
        Err(PositionError::Diverged(_))
    ));
    assert_eq!(
        start("0-1-70", true).unwrap().skip[&0].kind,
        SkipKind::Ahead
    );
    assert_eq!(
        start("5-1-3,0-1-1", false).unwrap().skip[&5].kind,
        SkipKind::EmptyDomain
    );
    let before: BinlogState = "0-1-5,0-2-6".parse().unwrap();
    let test_log = TestLog::new(Flavor::MariaDb, 1 << 20, Executed::MariaDb(before));
    let log = test_log.log();
    for position in ["", "0-1-5", "0-1-3", "1-1-1"] {
        let found = start_for_position(&log, &position.parse().unwrap(), false);
        assert!(matches!(found, Err(PositionError::Purged(_))), "{position}");
    }
    let found = start_for_position(&log, &"0-2-6".parse().unwrap(), false).unwrap();
    assert!(found.skip.is_empty());
}

#[tokio::test]
async fn heartbeats_have_a_type_that_the_file_lists() {
    // A replica of MySQL 9.7 stops at a type that the format description does not list.
    for (mut log, expected) in [
        (TestLog::of_mysql_5_6(), "Heartbeat@"),
        (TestLog::empty(Flavor::MySql, 1 << 20), "Heartbeat_v2@"),
    ] {
        log.mysql(1, b"CREATE").mysql(2, b"CREATE");
        let sender = TestSender::of(&log).await;
        let command = by_set(&format!("{UUID}:1-2"), 2 | 1);
        let lines = outline(&mut sender.replica().await, &command).await;
        let end = log.log().published().offset;
        assert_eq!(lines.last(), Some(&format!("{expected}{end}")), "{lines:?}");
    }
    // A replica of MariaDB means another event by the flag.
    let mut log = TestLog::empty(Flavor::MySql, 1 << 20);
    log.mysql(1, b"CREATE");
    let sender = TestSender::of(&log).await;
    let mut mariadb = sender.replica().await;
    let capability = "SET @mariadb_slave_capability=4";
    mariadb.execute(capability).await.unwrap();
    let lines = outline(&mut mariadb, &by_set(&format!("{UUID}:1"), 2 | 1)).await;
    let last = lines.last().unwrap();
    assert!(last.starts_with("Heartbeat@"), "{lines:?}");
}
