//! The temporary tables of sessions that ended with their server.

use super::anonymous::{create_anonymous, source};
use super::*;
use crate::binlog::event::{self, FLAG_THREAD_SPECIFIC};
use crate::relay_log::bridge;
use crate::relay_log::held::{Held, LogPart, RecordSet, continuation};
use crate::relay_log::held_paths::{PathPosition, held_without_gtids};
use crate::relay_log::reader::FileHead;

const CLEANUP: &str = "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`";

/// A group of one statement about temporary tables, on server 80 or 81. The test events' sessions
/// have number 0, and all statements begin at the same time.
fn statement(server_id: u32, gno: u64, text: &str) -> Vec<Vec<u8>> {
    let mut query = make::query(server_id, "test", text);
    event::set_flags(&mut query, FLAG_THREAD_SPECIFIC).unwrap();
    event::write_checksum(&mut query).unwrap();
    let source = (server_id % 100) as u8;
    let clock = clock(gno as i64 - 1, gno as i64);
    make::mysql_group(server_id, gtid(source, "", gno), clock, vec![query])
}

/// A statement of `server_id` under a GTID of `executor`.
fn foreign(server_id: u32, executor: u8, gno: u64, text: &str) -> Vec<Vec<u8>> {
    let mut query = make::query(server_id, "test", text);
    event::set_flags(&mut query, FLAG_THREAD_SPECIFIC).unwrap();
    event::write_checksum(&mut query).unwrap();
    let clock = clock(gno as i64 - 1, gno as i64);
    make::mysql_group(server_id, gtid(executor, "", gno), clock, vec![query])
}

fn append(log_thread: &mut LogThread, batch: &TransactionBatch) {
    if batch.is_empty() {
        log_thread.move_source(batch).unwrap();
    }
    for transaction in &batch.transactions {
        log_thread.append(batch, transaction).unwrap();
    }
    log_thread.commit().unwrap();
}

/// The source's server was killed and began another file.
fn restart(log_thread: &mut LogThread, source: &mut TestSource, created: u32) {
    append(log_thread, &source.next_file());
    let format = FormatDescription {
        created,
        ..(*format(source.flavor)).clone()
    };
    source.assembler.set_format(Arc::new(format));
    let name = format!("bin.{:06}", source.file);
    source.position += 120;
    source.assembler.start_file(name.into(), source.position);
    let batch = source.assembler.take_batch().unwrap();
    append(log_thread, &batch);
}

/// Of each log file: whether replicas drop their temporary tables at its beginning.
fn drops(log_thread: &LogThread) -> Vec<bool> {
    let files = log_thread.log().state().files.clone();
    let head = |file| FileHead::read(&log_thread.log().log_dir().log_path(file)).unwrap();
    files
        .into_iter()
        .map(|file| head(file).format.created != 0)
        .collect()
}

fn started(options: &LogOptions) -> (LogThread, TestSource, TestSource) {
    let mut log_thread = create(options, Flavor::MySql);
    let mut m1 = TestSource::new(0, Flavor::MySql);
    let mut m2 = TestSource::new(1, Flavor::MySql);
    append(
        &mut log_thread,
        &m1.deliver(&[statement(80, 1, "CREATE TEMPORARY TABLE t (a INT)")]),
    );
    append(
        &mut log_thread,
        &m2.deliver(&[statement(81, 1, "INSERT INTO u VALUES (1)")]),
    );
    (log_thread, m1, m2)
}

#[test]
fn a_restart_ends_the_tables_of_that_source_once() {
    let dir = fast_dir();
    let options = options(dir.path());
    let (mut log_thread, mut m1, mut m2) = started(&options);
    // A peer's restart does not concern them, nor does a file that only follows another.
    restart(&mut log_thread, &mut m2, 5);
    restart(&mut log_thread, &mut m1, 0);
    assert_eq!(drops(&log_thread), [false]);
    restart(&mut log_thread, &mut m1, 7);
    assert_eq!(drops(&log_thread), [false, true]);
    restart(&mut log_thread, &mut m1, 8);
    assert_eq!(drops(&log_thread), [false, true], "nothing is open");
}

#[test]
fn open_tables_are_known_after_rotations_and_restarts_of_the_relay() {
    let dir = fast_dir();
    let options = options(dir.path());
    let (log_thread, mut m1, _) = started(&options);
    drop(log_thread);
    let mut log_thread = resume(&options);
    assert!(log_thread.temporary_tables.iter().count() == 1);
    log_thread.close().unwrap();
    drop(log_thread);
    let mut log_thread = resume(&options);
    restart(&mut log_thread, &mut m1, 7);
    assert_eq!(drops(&log_thread), [false, false, false, true]);
    drop(log_thread);
    let log_thread = resume(&options);
    assert!(log_thread.temporary_tables.iter().next().is_none());
}

#[test]
fn tables_of_other_sources_live_on() {
    let dir = fast_dir();
    let options = options(dir.path());
    let (mut log_thread, mut m1, mut m2) = started(&options);
    append(
        &mut log_thread,
        &m2.deliver(&[statement(81, 2, "CREATE TEMPORARY TABLE v (a INT)")]),
    );
    restart(&mut log_thread, &mut m1, 7);
    assert_eq!(drops(&log_thread), [false]);
    // The ended session's thread_id is used again.
    let batch = m1.deliver(&[statement(80, 2, "INSERT INTO t VALUES (1)")]);
    let refused = log_thread.append(&batch, &batch.transactions[0]);
    let message = refused.unwrap_err().to_string();
    assert!(
        message
            .contains("thread_id 0 of server_id 80 reuses the thread_id of a session that ended"),
        "{message}"
    );
    append(
        &mut log_thread,
        &m2.deliver(&[
            statement(81, 3, "DROP TEMPORARY TABLE v"),
            statement(81, 4, "INSERT INTO u VALUES (1)"),
        ]),
    );
    assert_eq!(drops(&log_thread), [false, true]);
    append(&mut log_thread, &batch);
}

#[test]
fn tables_created_after_the_restart_are_kept_whichever_path_is_faster() {
    let dir = fast_dir();
    let options = options(dir.path());
    let (mut log_thread, mut m1, mut m2) = started(&options);
    let create = statement(80, 1, "CREATE TEMPORARY TABLE t (a INT)");
    append(&mut log_thread, &m2.deliver(&[create]));
    // The peer was faster: it has dropped the table, and a new session has created another one.
    append(
        &mut log_thread,
        &m2.deliver(&[
            foreign(80, 81, 2, CLEANUP),
            statement(80, 2, "CREATE TEMPORARY TABLE v (a INT)"),
        ]),
    );
    restart(&mut log_thread, &mut m1, 7);
    assert_eq!(drops(&log_thread), [false]);
    assert_eq!(log_thread.temporary_tables.iter().count(), 1);
}

#[test]
fn newer_transactions_by_a_peer_are_noticed() {
    let dir = fast_dir();
    let options = options(dir.path());
    let (mut log_thread, _, mut m2) = started(&options);
    assert!(!log_thread.temporary_tables.was_late(80, 0));
    append(
        &mut log_thread,
        &m2.deliver(&[statement(80, 2, "INSERT INTO t VALUES (1)")]),
    );
    let tables = &log_thread.temporary_tables;
    assert!(tables.was_late(80, make::TIMESTAMP) && !tables.was_late(80, make::TIMESTAMP + 1));
}

#[test]
fn a_new_session_shows_itself_on_any_path() {
    let dir = fast_dir();
    let options = options(dir.path());
    let (mut log_thread, _, mut m2) = started(&options);
    let uses = statement(80, 2, "INSERT INTO t VALUES (1)");
    append(&mut log_thread, &m2.deliver(&[uses]));
    assert_eq!(drops(&log_thread), [false], "its own table");
    let without = make::query(80, "test", "INSERT INTO t VALUES (1)");
    let base = make::mysql_group(80, gtid(80, "", 3), clock(2, 3), vec![without]);
    append(&mut log_thread, &m2.deliver(&[base]));
    assert_eq!(drops(&log_thread), [false, true], "a base table");
    let create = |gno| statement(80, gno, "CREATE TEMPORARY TABLE t (a INT)");
    append(&mut log_thread, &m2.deliver(&[create(4)]));
    assert_eq!(drops(&log_thread), [false, true]);
    append(&mut log_thread, &m2.deliver(&[create(5)]));
    assert_eq!(drops(&log_thread), [false, true, true], "another one");
}

/// They do not look for a temporary table of that name, so their events do not say that their session has one.
#[test]
fn statements_about_base_tables_of_that_name_show_no_new_session() {
    let dir = fast_dir();
    let options = options(dir.path());
    let (mut log_thread, mut m1, _) = started(&options);
    let texts = [
        "CREATE TABLE t (a INT)",
        "RENAME TABLE t TO u",
        "CREATE VIEW t AS SELECT 1",
        "DROP VIEW t",
    ];
    for (gno, text) in (2..).zip(texts) {
        let query = make::query(80, "test", text);
        let clock = clock(gno as i64 - 1, gno as i64);
        let group = make::mysql_group(80, gtid(80, "", gno), clock, vec![query]);
        append(&mut log_thread, &m1.deliver(&[group]));
        assert_eq!(drops(&log_thread), [false], "{text}");
    }
    restart(&mut log_thread, &mut m1, 7);
    assert_eq!(drops(&log_thread), [false, true], "it was open until then");
}

/// MariaDB renames the temporary table, and does not say so in the event's flags.
#[test]
fn renamed_temporary_tables_of_mariadb_are_known_by_their_new_names() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut log_thread = create(&options, Flavor::MariaDb);
    let mut m1 = TestSource::new(0, Flavor::MariaDb);
    let names = |log_thread: &LogThread| -> Vec<String> {
        let tables = log_thread.temporary_tables.iter();
        tables
            .map(|(table, _)| String::from_utf8_lossy(&table.name).into_owned())
            .collect()
    };
    let mut number = 0;
    let mut execute = |log_thread: &mut LogThread, text: &str, is_flagged: bool| {
        number += 1;
        let mut query = make::query(80, "test", text);
        if is_flagged {
            event::set_flags(&mut query, FLAG_THREAD_SPECIFIC).unwrap();
            event::write_checksum(&mut query).unwrap();
        }
        let opener = make::mariadb_gtid(80, 0, number, 1, None);
        append(log_thread, &m1.deliver(&[vec![opener, query]]));
    };
    execute(&mut log_thread, "CREATE TEMPORARY TABLE t (a INT)", true);
    execute(&mut log_thread, "RENAME TABLE t TO tmp, tmp TO t", false);
    assert_eq!(names(&log_thread), ["test.t"]);
    execute(&mut log_thread, "RENAME TABLE t TO tmp, t TO u", false);
    assert_eq!(names(&log_thread), ["test.tmp"]);
    // The base table, in the same session.
    execute(&mut log_thread, "INSERT INTO t VALUES (1)", false);
    assert_eq!(drops(&log_thread), [false]);
    execute(&mut log_thread, "DROP TEMPORARY TABLE tmp", true);
    assert!(names(&log_thread).is_empty());
    assert_eq!(drops(&log_thread), [false]);
}

#[test]
fn a_peers_late_cleanup_is_emptied() {
    let dir = fast_dir();
    let options = options(dir.path());
    let (mut log_thread, mut m1, mut m2) = started(&options);
    restart(&mut log_thread, &mut m1, 7);
    let create = || statement(80, 2, "CREATE TEMPORARY TABLE t (b INT)");
    append(&mut log_thread, &m1.deliver(&[create()]));
    let batch = m2.deliver(&[foreign(80, 81, 2, CLEANUP)]);
    let decision = log_thread.append(&batch, &batch.transactions[0]).unwrap();
    assert!(matches!(decision, Decision::New(placement) if placement.empties));
    log_thread.commit().unwrap();
    assert_eq!(log_thread.temporary_tables.iter().count(), 1);
    // One that the session itself caused is delivered.
    append(&mut log_thread, &m2.deliver(&[create()]));
    let batch = m1.deliver(&[statement(80, 3, CLEANUP)]);
    let decision = log_thread.append(&batch, &batch.transactions[0]).unwrap();
    assert!(matches!(decision, Decision::New(placement) if !placement.empties));
    assert!(log_thread.temporary_tables.iter().next().is_none());
}

#[test]
fn a_peers_restart_ends_the_tables_of_a_removed_source() {
    let dir = fast_dir();
    let all = options(dir.path());
    let mut log_thread = create(&all, Flavor::MySql);
    let mut m2 = TestSource::new(1, Flavor::MySql);
    let mut m3 = TestSource::new(2, Flavor::MySql);
    let insert = statement(82, 1, "INSERT INTO u VALUES (1)");
    append(&mut log_thread, &m3.deliver(&[insert]));
    let create = statement(82, 2, "CREATE TEMPORARY TABLE t (a INT)");
    append(&mut log_thread, &m2.deliver(&[create]));
    log_thread.close().unwrap();
    drop(log_thread);
    let without_m3 = LogOptions {
        source_names: all.source_names[..2].to_vec(),
        ..all
    };
    let mut log_thread = resume(&without_m3);
    restart(&mut log_thread, &mut m2, 7);
    assert_eq!(drops(&log_thread), [false, false, true]);
}

fn published(log: &RelayLog) -> LogPart<'_> {
    LogPart {
        log_dir: log.log_dir(),
        files: log.state().files.clone(),
        end: log.published(),
    }
}

#[test]
fn a_bridge_does_not_cross_the_end_of_temporary_tables() {
    for temporary in [true, false] {
        let dir = fast_dir();
        let options = options(dir.path());
        let mut log_thread = create(&options, Flavor::MySql);
        let mut m1 = TestSource::new(0, Flavor::MySql);
        let mut m2 = TestSource::new(1, Flavor::MySql);
        let insert = |server_id, gno| statement(server_id, gno, "INSERT INTO u VALUES (1)");
        let plain = make::query(80, "test", "INSERT INTO u VALUES (1)");
        let plain = make::mysql_group(80, gtid(80, "", 1), clock(0, 1), vec![plain]);
        let create = |server_id, gno| statement(server_id, gno, "CREATE TEMPORARY TABLE t (a INT)");
        // The table that is ended is one of a session that the replica lacks, or not.
        match temporary {
            true => append(&mut log_thread, &m1.deliver(&[create(80, 1)])),
            false => append(&mut log_thread, &m1.deliver(&[plain, create(80, 2)])),
        }
        append(&mut log_thread, &m2.deliver(&[insert(81, 1)]));
        restart(&mut log_thread, &mut m1, 7);
        append(&mut log_thread, &m2.deliver(&[insert(81, 2)]));
        assert_eq!(drops(&log_thread), [false, true]);
        let mut held = Executed::empty(Flavor::MySql);
        for gno in [1, 2] {
            held.record(&Identity::MySql(gtid(81, "", gno)));
        }
        if !temporary {
            held.record(&Identity::MySql(gtid(80, "", 2)));
        }
        let log = log_thread.log().clone();
        let part = published(&log);
        let held_gtids = Held::Gtids(held.clone());
        let found = continuation(&part, &held_gtids, &[], &RecordSet::default()).unwrap();
        assert_eq!(found.missing, 1);
        let written = bridge::write(&part, OWN, &held_gtids, &held, &found);
        assert_eq!(written.is_err(), temporary, "{written:?}");
    }
}

/// Without GTIDs the peer's statement is not in the relay log: it is not one that the replica lacks.
#[test]
fn a_peers_cleanup_after_the_position_of_a_replica_is_no_lost_transaction() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut log_thread = create_anonymous(&options, Vec::new());
    let (mut m1, mut m2) = (source(0), source(1));
    let session = |text: &str| {
        let mut query = make::query(80, "test", text);
        event::set_flags(&mut query, FLAG_THREAD_SPECIFIC).unwrap();
        event::write_checksum(&mut query).unwrap();
        vec![query]
    };
    let create = session("CREATE TEMPORARY TABLE t (a INT)");
    append(&mut log_thread, &m1.deliver(std::slice::from_ref(&create)));
    let copy = m2.deliver(&[create]);
    append(&mut log_thread, &copy);
    let cleanup = m2.deliver(&[session(CLEANUP)]);
    let decision = log_thread.append(&cleanup, &cleanup.transactions[0]);
    assert_eq!(decision.unwrap(), Decision::Cleanup);
    log_thread.commit().unwrap();
    let log = log_thread.log().clone();
    let held_at = |at: &SourcePosition| {
        let position = PathPosition {
            source: "m1".into(),
            at: at.clone(),
        };
        let names = &options.source_names;
        held_without_gtids(&published(&log), names, OWN, &[position]).unwrap()
    };
    let before = held_at(&copy.source_end);
    assert_eq!(before.ends_sessions.as_deref(), Some("m1"));
    assert_eq!(held_at(&cleanup.source_end).ends_sessions, None);
}
