//! The first copy wins, and which transactions form a commit group.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::binlog::FormatDescription;
use crate::binlog::format_description::Checksum;
use crate::transaction::test_events::{self as make, clock, gtid};
use crate::transaction::{Assembler, AssemblerOptions};

const OWN: u32 = 900;

/// GTIDs need no ledger.
struct Empty;

impl Ledger for Empty {
    fn read(
        &self,
        _: RecordNumber,
        _: u32,
        _: &mut dyn FnMut(pairing::Delivered) -> bool,
    ) -> Result<Option<RecordNumber>, String> {
        Ok(None)
    }
}

impl DeliveredGtids for Empty {
    fn locate(&self, _: &Identity) -> Result<Option<RecordNumber>, String> {
        Ok(None)
    }

    fn read_gtids(
        &self,
        _: &mut copies::GtidCursor,
        _: &copies::GtidOrigin,
        _: &mut dyn FnMut(copies::DeliveredGtid) -> bool,
    ) -> Result<(), String> {
        Ok(())
    }

    fn read_sent(
        &self,
        _: Option<u64>,
        _: &copies::GtidOrigin,
        _: &mut dyn FnMut(copies::SentRecord),
    ) -> Result<(), String> {
        Ok(())
    }

    fn describe(&self, _: RecordNumber) -> Result<String, String> {
        Ok(String::new())
    }
}

/// A path that has sent nothing yet.
fn fresh() -> PathProgress<'static> {
    static SENT: std::sync::LazyLock<crate::gtid::BinlogState> =
        std::sync::LazyLock::new(crate::gtid::BinlogState::new);
    PathProgress {
        server_id: 0,
        last: None,
        sent: &SENT,
    }
}

fn format(flavor: Flavor) -> Arc<FormatDescription> {
    match flavor {
        Flavor::MySql => make::mysql_format(Checksum::Crc32),
        Flavor::MariaDb => make::mariadb_format(Checksum::Crc32),
    }
}

/// A batch of one transaction.
fn batch(source: u16, run: u64, flavor: Flavor, group: &[Vec<u8>]) -> TransactionBatch {
    let options = AssemblerOptions {
        source,
        source_server_id: 1,
        source_first_timestamp: 0,
        has_gtids: true,
        first_run: run,
        filter: make::keeping(&[]),
        spill_dir: std::env::temp_dir(),
        spill_size: usize::MAX / 2,
    };
    let mut assembler = Assembler::new(options, format(flavor));
    assembler.start_file(Arc::from("bin.1"), 4);
    for event in group {
        assembler.event(event, 100).unwrap();
    }
    assembler.take_batch().unwrap()
}

pub(super) fn mariadb(
    source: u16,
    run: u64,
    server: u32,
    seq: u64,
    commit: Option<u64>,
) -> TransactionBatch {
    let group = [
        make::mariadb_gtid(server, 0, seq, 0, commit),
        make::query(server, "", "COMMIT"),
    ];
    batch(source, run, Flavor::MariaDb, &group)
}

fn mysql(source: u16, uuid: u8, tag: &str, gno: u64, server: u32) -> TransactionBatch {
    let events = vec![make::query(server, "test", "insert")];
    let group = make::mysql_group(server, gtid(uuid, tag, gno), clock(0, 1), events);
    batch(source, 1, Flavor::MySql, &group)
}

fn merge_with(executed: Executed) -> Merge {
    let before = Executed::empty(executed.flavor());
    Merge::new(
        OWN,
        executed,
        before,
        Pairing::new([]),
        OpenHalves::default(),
    )
}

/// Decides about the batch's only transaction, and settles it.
fn process(merge: &mut Merge, batch: &TransactionBatch) -> Decision {
    let transaction = &batch.transactions[0];
    let decision = merge.decide(batch, transaction, &fresh(), &Empty).unwrap();
    let record = RecordNumber::default();
    merge.settle(batch, transaction, &decision, record).unwrap();
    decision
}

fn joins(decision: Decision) -> bool {
    match decision {
        Decision::New(placement) => placement.joins_group,
        other => panic!("{other:?}"),
    }
}

#[test]
fn first_copy_wins_on_any_path() {
    let mut merge = merge_with(Executed::empty(Flavor::MySql));
    for (source, other) in [(0, 1), (1, 0)] {
        let (uuid, gno) = (7, u64::from(source) + 1);
        assert!(matches!(
            process(&mut merge, &mysql(source, uuid, "", gno, 5)),
            Decision::New(_)
        ));
        for again in [other, source] {
            let copy = mysql(again, uuid, "", gno, 5);
            assert_eq!(process(&mut merge, &copy), Decision::Duplicate);
        }
    }
    // With a tag it is another transaction; a GTID in a gap is not a copy.
    assert!(matches!(
        process(&mut merge, &mysql(0, 7, "t", 1, 5)),
        Decision::New(_)
    ));
    assert!(matches!(
        process(&mut merge, &mysql(0, 7, "", 9, 5)),
        Decision::New(_)
    ));
    assert!(matches!(
        process(&mut merge, &mysql(1, 7, "", 8, 5)),
        Decision::New(_)
    ));
    assert_eq!(
        merge.executed().to_text(),
        "07070707-0707-0707-0707-070707070707:1-2:8-9:t:1"
    );
}

#[test]
fn transaction_settled_twice_stops_the_log() {
    let mut merge = merge_with(Executed::empty(Flavor::MySql));
    let batch = mysql(0, 7, "", 1, 5);
    let transaction = &batch.transactions[0];
    let decision = merge.decide(&batch, transaction, &fresh(), &Empty).unwrap();
    let record = RecordNumber::default();
    merge
        .settle(&batch, transaction, &decision, record)
        .unwrap();
    let error = merge
        .settle(&batch, transaction, &decision, record)
        .unwrap_err();
    assert!(error.to_string().contains(":1 was accepted"), "{error}");
}

#[test]
fn own_transactions_are_dropped_and_not_recorded() {
    let mut merge = merge_with(Executed::empty(Flavor::MySql));
    assert_eq!(process(&mut merge, &mysql(0, 7, "", 1, OWN)), Decision::Own);
    assert_eq!(merge.executed(), &Executed::empty(Flavor::MySql));
}

#[test]
fn other_flavor_is_refused_and_nothing_is_recorded() {
    let mut merge = merge_with(Executed::empty(Flavor::MySql));
    let other = mariadb(0, 1, 5, 1, None);
    let error = merge
        .decide(&other, &other.transactions[0], &fresh(), &Empty)
        .unwrap_err();
    assert!(matches!(error, MergeError::Flavor { .. }), "{error}");
    let mut merge = merge_with(Executed::empty(Flavor::MariaDb));
    let other = mysql(0, 7, "", 1, 5);
    assert!(
        merge
            .decide(&other, &other.transactions[0], &fresh(), &Empty)
            .is_err()
    );
    assert_eq!(merge.executed(), &Executed::empty(Flavor::MariaDb));
}

#[test]
fn mariadb_pairs_of_domain_and_server_are_independent() {
    let mut merge = merge_with(Executed::empty(Flavor::MariaDb));
    assert!(matches!(
        process(&mut merge, &mariadb(0, 1, 86, 5, None)),
        Decision::New(_)
    ));
    assert!(matches!(
        process(&mut merge, &mariadb(1, 1, 18, 3, None)),
        Decision::New(_)
    ));
    assert_eq!(
        process(&mut merge, &mariadb(1, 1, 86, 4, None)),
        Decision::Duplicate
    );
    assert_eq!(merge.executed().to_text(), "0-18-3");
}

#[test]
fn group_continues_only_without_anything_between() {
    let mut merge = merge_with(Executed::empty(Flavor::MariaDb));
    let mut seq = 0;
    let mut new = |merge: &mut Merge, source, run, commit| {
        seq += 1;
        joins(process(merge, &mariadb(source, run, 80, seq, commit)))
    };
    assert!(!new(&mut merge, 0, 1, Some(5)));
    assert!(new(&mut merge, 0, 1, Some(5)));
    assert!(!new(&mut merge, 1, 1, Some(5)), "another source");
    assert!(!new(&mut merge, 0, 1, Some(5)), "and back");
    assert!(!new(&mut merge, 0, 2, Some(5)), "another run");
    assert!(new(&mut merge, 0, 2, Some(5)));
    assert!(!new(&mut merge, 0, 2, None));
    assert!(
        !new(&mut merge, 0, 2, Some(5)),
        "after a transaction without a group"
    );
    merge.start_file(2, []);
    assert!(!new(&mut merge, 0, 2, Some(5)), "another file");
}

/// A dropped copy also separates two groups of its source.
#[test]
fn dropped_copy_ends_a_group_unless_it_belongs_to_it() {
    let mut merge = merge_with(Executed::empty(Flavor::MariaDb));
    assert!(!joins(process(&mut merge, &mariadb(1, 1, 18, 1, None))));
    assert!(!joins(process(&mut merge, &mariadb(0, 1, 86, 1, Some(5)))));
    assert_eq!(
        process(&mut merge, &mariadb(0, 1, 18, 1, Some(5))),
        Decision::Duplicate
    );
    assert!(
        joins(process(&mut merge, &mariadb(0, 1, 86, 2, Some(5)))),
        "dropped from the group"
    );
    assert_eq!(
        process(&mut merge, &mariadb(1, 1, 18, 1, Some(9))),
        Decision::Duplicate
    );
    assert!(
        joins(process(&mut merge, &mariadb(0, 1, 86, 3, Some(5)))),
        "dropped elsewhere"
    );
    for (seq, between) in [(4, Some(6)), (5, None)] {
        assert_eq!(
            process(&mut merge, &mariadb(0, 1, 18, 1, between)),
            Decision::Duplicate
        );
        assert!(
            !joins(process(&mut merge, &mariadb(0, 1, 86, seq, Some(5)))),
            "{between:?}"
        );
    }
}

proptest! {
    /// Two masters that log each other's transactions, read in any interleaving: each
    /// transaction is delivered once, and each origin's order is kept.
    #[test]
    fn two_paths_deliver_each_transaction_once_in_order(
        order in prop::collection::vec(any::<bool>(), 1..40),
        interleaving in prop::collection::vec(any::<bool>(), 0..200),
    ) {
        // Both paths have all transactions; each has its own order between the two origins.
        let count = |server| order.iter().filter(|first| **first == server).count();
        let (ones, twos) = (count(true) as u64, count(false) as u64);
        let first: Vec<(u8, u64)> = (1..=ones).map(|n| (1, n)).chain((1..=twos).map(|n| (2, n))).collect();
        let mut numbers = [0u64; 3];
        let second: Vec<(u8, u64)> = order
            .iter()
            .map(|one| {
                let uuid = if *one { 1 } else { 2 };
                numbers[usize::from(uuid)] += 1;
                (uuid, numbers[usize::from(uuid)])
            })
            .collect();
        let mut merge = merge_with(Executed::empty(Flavor::MySql));
        let mut delivered = Vec::new();
        let mut heads = [0usize; 2];
        let paths = [&first, &second];
        let rest = std::iter::repeat_n([true, false], first.len() * 2).flatten();
        for one in interleaving.into_iter().chain(rest) {
            let path = usize::from(one);
            let Some((uuid, gno)) = paths[path].get(heads[path]).copied() else {
                continue;
            };
            heads[path] += 1;
            let batch = mysql(path as u16, uuid, "", gno, uuid.into());
            if let Decision::New(_) = process(&mut merge, &batch) {
                delivered.push((uuid, gno));
            }
        }
        prop_assert_eq!(delivered.len(), first.len());
        for uuid in [1u8, 2] {
            let numbers: Vec<u64> = delivered.iter().filter(|(u, _)| *u == uuid).map(|(_, n)| *n).collect();
            prop_assert_eq!(numbers, (1..=count(uuid == 1) as u64).collect::<Vec<_>>());
        }
    }
}
