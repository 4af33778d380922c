//! Two-part operations: MySQL's XA transactions that the filter emptied, and MariaDB's two-phase
//! ALTER. The second half is kept or emptied as the first was.

use super::*;
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::{EventHeader, EventType};
use crate::relay_log::index_reader::IndexReader;
use crate::transaction::test_events::{outline, split};

fn prepared(gno: u64, name: &str, database: &str) -> Vec<Vec<u8>> {
    make::xa_prepared(80, gtid(80, "", gno), name, database)
}

fn ended(gno: u64, statement: &str) -> Vec<Vec<u8>> {
    let events = vec![make::query(80, "", statement)];
    make::mysql_group(
        80,
        gtid(80, "", gno),
        clock(gno as i64 - 1, gno as i64),
        events,
    )
}

fn append(log_thread: &mut LogThread, batch: &TransactionBatch) {
    for transaction in &batch.transactions {
        log_thread.append(batch, transaction).unwrap();
    }
    log_thread.commit().unwrap();
}

/// The newest file's transactions, without their openers.
fn newest(log_thread: &LogThread) -> Vec<String> {
    let file = *log_thread.log().state().files.last().unwrap();
    let bytes = std::fs::read(log_thread.log().log_dir().log_path(file)).unwrap();
    let words = outline(&split(&bytes[4..]));
    let own = ["Format_desc", "Previous_gtids", "Gtid", "Rotate"];
    words
        .into_iter()
        .filter(|word| !own.contains(&word.as_str()))
        .collect()
}

#[test]
fn end_of_an_emptied_xa_transaction_is_emptied_after_restarts_and_rotations() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut log_thread = create(&options, Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    let long = "n".repeat(60);
    let batch = source.deliver(&[
        prepared(1, "a", "other"),
        prepared(2, "b", "test"),
        prepared(3, &long, "other"),
        prepared(4, "d", "other"),
    ]);
    append(&mut log_thread, &batch);
    // The same transaction from another source: nothing changes.
    let mut peer = TestSource::new(1, Flavor::MySql);
    append(&mut log_thread, &peer.deliver(&[prepared(1, "a", "other")]));
    let kept = "XA START X'61',X'',1 Table_map Write_rows XA END X'61',X'',1 XA_prepare";
    let emptied = "BEGIN COMMIT";
    let expected = [emptied, kept, emptied, emptied].join(" ");
    assert_eq!(newest(&log_thread).join(" "), expected);

    // Killed, then stopped: each time a new file begins.
    drop(log_thread);
    let mut log_thread = resume(&options);
    append(
        &mut log_thread,
        &source.deliver(&[ended(5, "XA ROLLBACK X'64',X'',1")]),
    );
    assert_eq!(newest(&log_thread).join(" "), emptied);
    log_thread.close().unwrap();
    drop(log_thread);
    let mut log_thread = resume(&options);
    let hex: String = long.bytes().map(|byte| format!("{byte:02x}")).collect();
    let batch = source.deliver(&[
        ended(6, "XA COMMIT X'61',X'',1"),
        ended(7, "XA COMMIT X'62',X'',1"),
        ended(8, &format!("XA COMMIT X'{hex}',X'',1")),
        // The emptied transaction with this xid has ended: this is the end of another one.
        ended(9, "XA COMMIT X'64',X'',1"),
    ]);
    append(&mut log_thread, &batch);
    let expected = [
        emptied,
        "XA COMMIT X'62',X'',1",
        emptied,
        "XA COMMIT X'64',X'',1",
    ];
    assert_eq!(newest(&log_thread).join(" "), expected.join(" "));
    log_thread.close().unwrap();
    assert!(recovered(&options).halves.is_empty());
}

#[test]
fn end_whose_start_is_unknown_leaves_no_record() {
    let dir = fast_dir();
    let mut log_thread = create(&options(dir.path()), Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    let batch = source.deliver(&[
        prepared(1, "a", "other"),
        ended(2, "XA COMMIT X'61',X'',1"),
        ended(3, "XA COMMIT X'62',X'',1"),
    ]);
    append(&mut log_thread, &batch);
    let file = *log_thread.log().state().files.last().unwrap();
    let path = log_thread.log().log_dir().index_path(file);
    let mut index = IndexReader::open(&path).unwrap();
    let mut found = Vec::new();
    while let Some(read) = index.next_record().unwrap() {
        found.push(read.record.name());
    }
    let names = ["source name", "source file", "origin"];
    found.retain(|name| !names.contains(name));
    let expected = [
        "emptied XA",
        "transaction",
        "ended XA",
        "transaction",
        "transaction",
    ];
    assert_eq!(found, expected);
}

/// The second half may be filtered by other rules than the first: another source's, or changed ones
/// after a restart. Here a different database represents that.
#[test]
fn both_parts_of_an_alter_follow_the_rules_for_the_first() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut log_thread = create(&options, Flavor::MariaDb);
    let mut source = TestSource::new(0, Flavor::MariaDb);
    let mut peer = TestSource::new(1, Flavor::MariaDb);
    let start = |seq_no, database| make::alter_half(80, seq_no, None, database);
    let end = |seq_no, start, database| make::alter_half(80, seq_no, Some(start), database);
    let statement = "ALTER TABLE t ADD c INT";
    let batch = source.deliver(&[
        start(1, "test"),
        start(2, "other"),
        start(3, "test"),
        start(4, "other"),
        // Its first half is unknown: the rules decide.
        end(5, 99, "test"),
        end(6, 99, "other"),
        end(7, 3, "other"),
    ]);
    append(&mut log_thread, &batch);
    let expected = [
        statement, "COMMIT", statement, "COMMIT", statement, "COMMIT", statement,
    ];
    assert_eq!(alters(&log_thread), expected);

    // Killed, then stopped: each time a new file begins.
    drop(log_thread);
    let mut log_thread = resume(&options);
    append(&mut log_thread, &peer.deliver(&[end(8, 1, "other")]));
    assert_eq!(alters(&log_thread), [statement]);
    log_thread.close().unwrap();
    drop(log_thread);
    let mut log_thread = resume(&options);
    append(
        &mut log_thread,
        &source.deliver(&[
            end(8, 1, "other"),
            end(9, 2, "test"),
            end(10, 4, "other"),
            // It has ended, so the rules decide again.
            end(11, 4, "test"),
        ]),
    );
    assert_eq!(alters(&log_thread), ["COMMIT", "COMMIT", statement]);
    log_thread.close().unwrap();
    assert!(recovered(&options).halves.is_empty());
}

/// The newest file's transactions, each of which must be whole: its GTID event has a flag for
/// whether one statement or a transaction with COMMIT follows.
fn alters(log_thread: &LogThread) -> Vec<String> {
    let file = *log_thread.log().state().files.last().unwrap();
    let bytes = std::fs::read(log_thread.log().log_dir().log_path(file)).unwrap();
    let events = split(&bytes[4..]);
    for pair in events.windows(2) {
        if EventHeader::parse(&pair[0]).unwrap().event_type == EventType::MARIADB_GTID {
            let standalone = MariaDbGtidEvent::parse(&pair[0], true)
                .unwrap()
                .is_standalone();
            let statement = &outline(&pair[1..])[0];
            assert_eq!(standalone, statement.starts_with("ALTER"), "{statement}");
        }
    }
    let words = outline(&events);
    let own = ["Format_desc", "Gtid_list", "Gtid", "Rotate"];
    words
        .into_iter()
        .filter(|word| !own.contains(&word.as_str()))
        .collect()
}

/// A crash while several operations are written leaves the open halves of the recovered ones.
#[test]
fn open_halves_after_a_crash_at_every_byte_of_the_index() {
    let long = "n".repeat(60);
    let xas = [
        prepared(1, "a", "other"),
        prepared(2, &long, "other"),
        ended(3, "XA COMMIT X'61',X'',1"),
        prepared(4, "a", "test"),
        prepared(5, "b", "other"),
    ];
    let alters = [
        make::alter_half(80, 1, None, "test"),
        make::alter_half(80, 2, None, "other"),
        make::alter_half(80, 3, Some(1), "other"),
        make::alter_half(80, 4, Some(2), "test"),
        make::alter_half(80, 5, None, "test"),
    ];
    for (flavor, groups) in [(Flavor::MySql, xas), (Flavor::MariaDb, alters)] {
        let written = |count: usize, close: bool| {
            let dir = fast_dir();
            let options = options(dir.path());
            let mut log_thread = create(&options, flavor);
            let mut source = TestSource::new(0, flavor);
            append(&mut log_thread, &source.deliver(&groups[..count]));
            if close {
                log_thread.close().unwrap();
            }
            (dir, options)
        };
        let models: Vec<Recovered> = (1..=groups.len())
            .map(|count| recovered(&written(count, true).1))
            .collect();
        let mut seen = vec![0; models.len()];
        let (_whole_dir, whole) = written(groups.len(), false);
        let index = std::fs::read(whole.log_dir.index_path(1)).unwrap();
        for cut in 64..=index.len() {
            let (_dir, options) = written(groups.len(), false);
            // As if the machine had failed before anything was known to be on disk.
            std::fs::write(options.log_dir.durable_path(), []).unwrap();
            std::fs::write(options.log_dir.index_path(1), &index[..cut]).unwrap();
            let found = recovered(&options);
            let model = models.iter().position(|m| m.executed == found.executed);
            match model {
                Some(which) => {
                    assert_eq!(found.halves, models[which].halves, "{flavor}, cut at {cut}");
                    seen[which] += 1;
                }
                None => assert!(found.halves.is_empty(), "{flavor}, cut at {cut}"),
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{flavor}: {seen:?}");
    }
}
