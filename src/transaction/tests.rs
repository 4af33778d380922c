//! Assembling events into batches: boundaries, refusals, filtering, spilling, events in parts.

mod altered;
mod large;
mod memory;
mod old_servers;
mod payload;
mod rewritten;
mod shapes;
mod without_opener;

use std::sync::Arc;

use super::test_events::{self as make, clock, gtid, outline, without_checksum};
use super::*;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::binlog::mysql_gtid::MySqlGtidEvent;
use crate::binlog::rows::RowsHead;
use crate::binlog::{EventType, FormatDescription, HEADER_LEN};
use crate::filter::Filter;
use crate::identity::Identity;

const SPILL_NEVER: usize = usize::MAX / 2;

/// An assembler at position 4 of a source's file, and the directory of its spill files.
struct Source {
    assembler: Assembler,
    position: u64,
    dir: tempfile::TempDir,
}

impl Source {
    fn new(format: Arc<FormatDescription>, do_db: &[&str], spill_size: usize) -> Self {
        Self::with(format, make::keeping(do_db), spill_size)
    }

    fn with(format: Arc<FormatDescription>, filter: Filter, spill_size: usize) -> Self {
        let has_gtids = !boundary::has_groups_without_opener(&format);
        Self::of(has_gtids, format, filter, spill_size)
    }

    fn of(
        has_gtids: bool,
        format: Arc<FormatDescription>,
        filter: Filter,
        spill_size: usize,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = AssemblerOptions {
            source: 3,
            source_server_id: 86,
            source_first_timestamp: 0,
            has_gtids,
            first_run: 1 << 32,
            filter,
            spill_dir: dir.path().to_owned(),
            spill_size,
        };
        let mut assembler = Assembler::new(options, format);
        assembler.start_file(Arc::from("bin.000001"), 4);
        Self {
            assembler,
            position: 4,
            dir,
        }
    }

    fn mysql() -> Self {
        Self::new(make::mysql_format(Checksum::Crc32), &[], SPILL_NEVER)
    }

    fn mariadb() -> Self {
        Self::new(make::mariadb_format(Checksum::Crc32), &[], SPILL_NEVER)
    }

    fn filtered(format: Arc<FormatDescription>) -> Self {
        Self::new(format, &["test"], SPILL_NEVER)
    }

    fn event(&mut self, event: &[u8]) -> Result<(), TransactionError> {
        let after = self.position + event.len() as u64;
        self.assembler.event(event, after)?;
        self.position = after;
        Ok(())
    }

    fn events(&mut self, events: &[Vec<u8>]) -> Result<(), TransactionError> {
        events.iter().try_for_each(|event| self.event(event))
    }

    /// The finished transactions as events.
    fn taken(&mut self) -> Vec<Vec<Vec<u8>>> {
        let batch = self.assembler.take_batch().unwrap();
        let whole = |transaction: &Transaction| make::split(&bytes(&batch, transaction));
        batch.transactions.iter().map(whole).collect()
    }
}

fn bytes(batch: &TransactionBatch, transaction: &Transaction) -> Vec<u8> {
    let mut bytes = match transaction.opener.clone() {
        Some(opener) => batch.bytes[opener].to_vec(),
        None => Vec::new(),
    };
    match &transaction.spill {
        None => bytes.extend_from_slice(&batch.bytes[transaction.rest.clone()]),
        Some(spill) => {
            let mut rest = vec![0; spill.len() as usize];
            spill.read_exact_at(&mut rest, 0).unwrap();
            bytes.extend(rest);
        }
    }
    assert_eq!(bytes.len() as u64, transaction.len());
    bytes
}

fn row_transaction(gno: u64, databases: &[&str]) -> Vec<Vec<u8>> {
    let mut events = vec![make::query(86, "", "BEGIN")];
    events.extend(
        (1..)
            .zip(databases)
            .map(|(id, name)| make::table_map(86, id, name)),
    );
    for id in 1..=databases.len() {
        events.push(make::rows(86, id as u8, id == databases.len(), 50));
    }
    events.push(make::xid(86));
    make::mysql_group(
        86,
        gtid(1, "", gno),
        clock(gno as i64 - 1, gno as i64),
        events,
    )
}

#[test]
fn whole_transactions_are_kept_unchanged() {
    let mut source = Source::mysql();
    let first = row_transaction(1, &["test"]);
    let second = row_transaction(2, &["a", "b"]);
    source.events(&first).unwrap();
    source.events(&second).unwrap();
    let batch = source.assembler.take_batch().unwrap();
    assert_eq!((batch.source, batch.source_server_id), (3, 86));
    assert_eq!(
        (&*batch.source_end.file, batch.source_end.offset),
        ("bin.000001", source.position)
    );
    let [one, two] = &batch.transactions[..] else {
        panic!("{batch:?}")
    };
    assert_eq!(bytes(&batch, one), first.concat());
    assert_eq!(bytes(&batch, two), second.concat());
    assert_eq!(one.identity, Identity::MySql(gtid(1, "", 1)));
    assert_eq!((one.server_id, one.timestamp), (86, make::TIMESTAMP));
    assert_eq!(
        (one.clock, two.clock),
        (Some(clock(0, 1)), Some(clock(1, 2)))
    );
    assert_eq!(one.source_offset, 4 + first.concat().len() as u64);
    assert_eq!(two.source_offset, source.position);
    assert!(!one.emptied && one.spill.is_none());
    batch.recycle();
    assert!(source.assembler.take_batch().is_none());
}

#[test]
fn interrupted_transaction_is_dropped_whole() {
    for kept in 1..row_transaction(1, &["test"]).len() {
        let mut source = Source::mysql();
        source.events(&row_transaction(1, &["test"])).unwrap();
        let position = source.position;
        source
            .events(&row_transaction(2, &["test"])[..kept])
            .unwrap();
        assert!(source.assembler.is_in_transaction());
        let batch = source.assembler.take_batch().unwrap();
        assert_eq!(
            (batch.transactions.len(), batch.source_end.offset),
            (1, position)
        );
        assert_eq!(batch.bytes, row_transaction(1, &["test"]).concat());
        source.assembler.start_file(Arc::from("bin.000002"), 4);
        assert!(!source.assembler.is_in_transaction());
        let moved = source.assembler.take_batch().unwrap();
        assert!(moved.is_empty() && moved.bytes.is_empty() && moved.run > batch.run);
        assert_eq!(
            (&*moved.source_end.file, moved.source_end.offset),
            ("bin.000002", 4)
        );
        source.events(&row_transaction(2, &["test"])).unwrap();
        assert_eq!(
            source.taken(),
            [row_transaction(2, &["test"])],
            "kept {kept}"
        );
    }
}

#[test]
fn misplaced_boundaries_are_refused() {
    let group = row_transaction(1, &["test"]);
    for event in &group[1..] {
        let error = Source::mysql().event(event).unwrap_err();
        assert!(
            matches!(error, TransactionError::OutsideTransaction { .. }),
            "{error}"
        );
    }
    for at in 1..group.len() {
        let mut source = Source::mysql();
        source.events(&group[..at]).unwrap();
        let error = source.event(&group[0]).unwrap_err();
        assert!(
            matches!(error, TransactionError::NotEnded { .. }),
            "{error}"
        );
    }
}

/// Nothing of a refused transaction is passed on, nor is the position after it.
#[test]
fn wrong_transaction_length_is_refused_and_the_position_stays() {
    for wrong in [-1i64, 1, 4] {
        let rest = [make::query(86, "", "BEGIN"), make::xid(86)];
        let len = rest.concat().len() as i64;
        let opener = make::mysql_gtid(86, gtid(1, "", 5), clock(0, 1), (len + wrong) as u64);
        let mut source = Source::mysql();
        source.event(&opener).unwrap();
        source.event(&rest[0]).unwrap();
        let error = source.event(&rest[1]).unwrap_err();
        assert!(matches!(error, TransactionError::Length { .. }), "{error}");
        assert!(error.to_string().contains(":5"), "{error}");
        let moved = source.assembler.take_batch().unwrap();
        assert!(moved.is_empty());
        assert_eq!(moved.source_end.offset, 4);
    }
}

#[test]
fn damaged_events_are_refused() {
    let group = row_transaction(1, &["test"]);
    for at in 0..group.len() {
        for byte in [4, 5, HEADER_LEN, group[at].len() - 1] {
            let mut source = Source::mysql();
            source.events(&group[..at]).unwrap();
            let mut damaged = group[at].clone();
            damaged[byte] ^= 0x10;
            let error = source.event(&damaged).unwrap_err();
            assert!(error.to_string().contains("checksum"), "{error}");
        }
        for cut in 0..group[at].len() {
            let mut source = Source::mysql();
            source.events(&group[..at]).unwrap();
            assert!(
                source.event(&group[at][..cut]).is_err(),
                "event {at} cut at {cut}"
            );
        }
    }
}

/// Without checksums the source's events are 4 bytes shorter; here each event has these 4 bytes.
#[test]
fn events_without_checksums_get_four_bytes_for_one() {
    for tag in ["", "blue"] {
        let rest = row_transaction(1, &["test"])[1..].to_vec();
        let rest_len = rest.iter().map(|event| event.len() as u64 - 4).sum::<u64>();
        // The opener counts itself with its checksum, which is not there.
        let opener = make::mysql_gtid(86, gtid(1, tag, 5), clock(0, 1), rest_len - 4);
        let mut sent = vec![without_checksum(&opener)];
        sent.extend(rest.iter().map(|event| without_checksum(event)));
        let mut source = Source::new(make::mysql_format(Checksum::None), &[], SPILL_NEVER);
        source.events(&sent).unwrap();
        let [events] = &source.taken()[..] else {
            panic!("one transaction")
        };
        for (event, sent) in events.iter().zip(&sent) {
            assert_eq!(event.len(), sent.len() + 4);
            assert_eq!(event::body(event, true), event::body(sent, false));
        }
        let parsed = MySqlGtidEvent::parse(&events[0], true).unwrap();
        assert_eq!(parsed.gtid, Some(gtid(1, tag, 5)));
    }
}

/// Rows of a dropped table at the end: the flag moves to the last kept rows event.
#[test]
fn statement_end_flag_moves_to_the_last_kept_rows_event() {
    let mut source = Source::filtered(make::mysql_format(Checksum::Crc32));
    source
        .events(&row_transaction(1, &["test", "x", "test", "x", "x"]))
        .unwrap();
    let [events] = &source.taken()[..] else {
        panic!("one transaction")
    };
    let expected = [
        "Gtid",
        "BEGIN",
        "Table_map",
        "Table_map",
        "Write_rows",
        "Write_rows",
        "Xid",
    ];
    assert_eq!(outline(events), expected);
    let ends = |event: &[u8]| {
        RowsHead::parse(&event[HEADER_LEN..])
            .unwrap()
            .ends_statement()
    };
    assert!(!ends(&events[4]) && ends(&events[5]));
}

#[test]
fn filtered_row_transaction_keeps_its_begin_and_commit() {
    let mut source = Source::filtered(make::mysql_format(Checksum::Crc32));
    source.events(&row_transaction(1, &["x"])).unwrap();
    let batch = source.assembler.take_batch().unwrap();
    let transaction = &batch.transactions[0];
    assert!(transaction.emptied);
    let events = make::split(&bytes(&batch, transaction));
    assert_eq!(outline(&events), ["Gtid", "BEGIN", "Xid"]);
}

#[test]
fn filtered_statement_becomes_an_empty_transaction() {
    let mut source = Source::filtered(make::mysql_format(Checksum::Crc32));
    let statement = vec![
        make::plain(EventType::INTVAR, 86),
        make::query(86, "x", "create table t (a int)"),
    ];
    source
        .events(&make::mysql_group(
            86,
            gtid(1, "", 1),
            clock(0, 1),
            statement,
        ))
        .unwrap();
    let [events] = &source.taken()[..] else {
        panic!("one transaction")
    };
    assert_eq!(outline(events), ["Gtid", "BEGIN", "COMMIT"]);
    assert_eq!(EventHeader::parse(&events[2]).unwrap().server_id, 86);
}

#[test]
fn filtered_mariadb_statement_keeps_its_gtid() {
    let mut source = Source::filtered(make::mariadb_format(Checksum::Crc32));
    source
        .event(&make::mariadb_gtid(18, 3, 9, 1, Some(40)))
        .unwrap();
    source.event(&make::query(18, "x", "drop table t")).unwrap();
    let batch = source.assembler.take_batch().unwrap();
    let transaction = &batch.transactions[0];
    assert!(transaction.emptied);
    assert_eq!(transaction.commit_id, None, "the new opener has none");
    let events = make::split(&bytes(&batch, transaction));
    assert_eq!(outline(&events), ["Gtid", "COMMIT"]);
    let opener = crate::binlog::mariadb_gtid::MariaDbGtidEvent::parse(&events[0], true).unwrap();
    assert_eq!(opener.gtid.to_string(), "3-18-9");
    assert!(!opener.is_standalone());
}

/// MySQL replicas refuse XA transactions without changes, so they become normal empty ones.
#[test]
fn emptied_xa_transaction_becomes_a_normal_empty_one() {
    for (database, one_phase, expected) in [
        ("x", false, &["Gtid", "BEGIN", "COMMIT"][..]),
        ("x", true, &["Gtid", "BEGIN", "COMMIT"]),
        ("test", false, &[]),
    ] {
        let mut group = make::xa_prepared(86, gtid(1, "", 1), "a", database);
        group[5] = make::xa_prepare(86, one_phase, "a");
        let mut source = Source::filtered(make::mysql_format(Checksum::Crc32));
        source.events(&group).unwrap();
        let batch = source.assembler.take_batch().unwrap();
        let transaction = &batch.transactions[0];
        let xid = b"x'61',x'',1".to_vec();
        let step = (!one_phase).then_some(Half::XaPrepared(xid));
        assert_eq!(
            (&transaction.half, transaction.emptied),
            (&step, database == "x")
        );
        let events = make::split(&bytes(&batch, transaction));
        match database {
            "test" => assert_eq!(events, group),
            _ => assert_eq!(outline(&events), expected),
        }
    }
    for statement in ["XA COMMIT X'6F',X'',1", "XA ROLLBACK X'6f',X'',1"] {
        let events = vec![make::query(86, "", statement)];
        let mut source = Source::filtered(make::mysql_format(Checksum::Crc32));
        let group = make::mysql_group(86, gtid(1, "", 1), clock(0, 1), events);
        source.events(&group).unwrap();
        let batch = source.assembler.take_batch().unwrap();
        let xid = b"x'6f',x'',1".to_vec();
        assert_eq!(batch.transactions[0].half, Some(Half::XaEnded(xid)));
    }
}
