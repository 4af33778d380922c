//! MySQL before 5.7: transactions without an opener.

use super::large::feed_in_parts;
use super::*;

fn source(do_db: &[&str], spill_size: usize) -> Source {
    Source::new(make::mysql56_format(Checksum::Crc32), do_db, spill_size)
}

fn row_group(database: &str, len: usize) -> Vec<Vec<u8>> {
    let mut rows = make::rows(86, 1, true, len);
    rows[HEADER_LEN + 10] = 1; // One byte of columns present.
    event::write_checksum(&mut rows).unwrap();
    vec![
        make::query(86, "", "BEGIN"),
        make::table_map(86, 1, database),
        rows,
        make::xid(86),
    ]
}

fn groups(database: &str) -> Vec<Vec<Vec<u8>>> {
    let statement = |text: &str| make::query(86, database, text);
    vec![
        row_group(database, 20),
        vec![statement("create table t (a int)")],
        vec![
            statement("BEGIN"),
            make::plain(EventType::INTVAR, 86),
            statement("insert into my values (1)"),
            statement("COMMIT"),
        ],
        vec![
            make::plain(EventType::INTVAR, 86),
            make::plain(EventType::RAND, 86),
            statement("create table c select rand()"),
        ],
        vec![
            statement("BEGIN"),
            statement("insert into my values (1)"),
            statement("ROLLBACK TO `s`"),
            statement("ROLLBACK"),
        ],
        vec![make::plain(EventType::INCIDENT, 86)],
        vec![
            statement("BEGIN"),
            make::plain(EventType::BEGIN_LOAD_QUERY, 86),
            make::plain(EventType::APPEND_BLOCK, 86),
            make::plain(EventType::DELETE_FILE, 86),
            make::xid(86),
        ],
    ]
}

#[test]
fn groups_without_opener_end_at_their_last_event() {
    let mut source = source(&[], SPILL_NEVER);
    let groups = groups("test");
    for group in &groups {
        for (number, event) in group.iter().enumerate() {
            assert_eq!(source.assembler.is_in_transaction(), number > 0);
            source.event(event).unwrap();
        }
        assert!(!source.assembler.is_in_transaction());
    }
    let batch = source.assembler.take_batch().unwrap();
    assert_eq!(batch.transactions.len(), groups.len());
    for (transaction, group) in batch.transactions.iter().zip(&groups) {
        assert!(transaction.opener.is_none());
        assert_eq!(bytes(&batch, transaction), group.concat());
        assert_eq!(
            (transaction.server_id, transaction.timestamp),
            (86, make::TIMESTAMP)
        );
        let Identity::Anonymous(fingerprint) = transaction.identity else {
            panic!("{:?}", transaction.identity)
        };
        assert_ne!(fingerprint.content, 0);
    }
}

#[test]
fn start_inside_a_transaction_is_refused() {
    for event in &row_group("test", 20)[1..] {
        let error = source(&[], SPILL_NEVER).event(event).unwrap_err();
        assert!(
            matches!(error, TransactionError::OutsideTransaction { .. }),
            "{error}"
        );
    }
}

/// MariaDB, and MySQL 5.6 with GTIDs, write Incident events without a GTID.
#[test]
fn incident_without_a_gtid_is_refused_where_transactions_have_gtids() {
    let formats = [
        make::mariadb_format(Checksum::Crc32),
        make::mysql56_format(Checksum::Crc32),
    ];
    for format in formats {
        let source = || Source::of(true, format.clone(), make::keeping(&["test"]), SPILL_NEVER);
        let body = [1, 0, 4, b'l', b'o', b's', b't'];
        let incident = |body| make::event(EventType::INCIDENT, 86, body);
        let error = source().event(&incident(&body)).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, TransactionError::Incident { number: 1, .. })
                && text.contains("Incident event 1: lost")
                && text.contains("1590"),
            "{text}"
        );
        for cut in 0..body.len() {
            let error = source().event(&incident(&body[..cut])).unwrap_err();
            assert!(matches!(error, TransactionError::Event(_)), "{error}");
        }
    }
}

/// An emptied group consists of BEGIN and its end, so that it has a record in the log.
#[test]
fn emptied_group_consists_of_its_begin_and_end() {
    let mut source = source(&["test"], SPILL_NEVER);
    let groups = groups("other");
    source.events(&groups.concat()).unwrap();
    let batch = source.assembler.take_batch().unwrap();
    let outlines: Vec<Vec<String>> = batch
        .transactions
        .iter()
        .map(|transaction| outline(&make::split(&bytes(&batch, transaction))))
        .collect();
    assert_eq!(outlines[0], ["BEGIN", "Xid"]);
    assert_eq!(outlines[1], ["BEGIN", "COMMIT"]);
    assert_eq!(outlines[2], ["BEGIN", "COMMIT"]);
    assert_eq!(outlines[3], ["BEGIN", "COMMIT"]);
    assert_eq!(outlines[4], ["BEGIN", "ROLLBACK TO `s`", "ROLLBACK"]);
    assert_eq!(outlines[5], ["Incident"]);
    let emptied: Vec<bool> = batch.transactions.iter().map(|one| one.emptied).collect();
    assert_eq!(emptied, [true, true, true, true, true, false, false]);

    // The fingerprint is that of the source's events.
    let mut whole = self::source(&[], SPILL_NEVER);
    whole.events(&groups.concat()).unwrap();
    let unfiltered = whole.assembler.take_batch().unwrap();
    for (one, two) in batch.transactions.iter().zip(&unfiltered.transactions) {
        assert_eq!(one.identity, two.identity);
    }
}

/// In memory, in a file, in parts: the bytes and the fingerprint are the same.
#[test]
fn large_groups_without_opener_are_spilled() {
    let group = row_group("test", 200_000);
    let mut whole = source(&[], SPILL_NEVER);
    whole.events(&group).unwrap();
    let batch = whole.assembler.take_batch().unwrap();
    let identity = batch.transactions[0].identity;
    for len in [1, 3, 4096, 73_728, 100_000, 1 << 20] {
        let mut source = source(&[], 1000);
        source.events(&group[..2]).unwrap();
        feed_in_parts(&mut source, &group[2], &[len]).unwrap();
        source.event(&group[3]).unwrap();
        let batch = source.assembler.take_batch().unwrap();
        let transaction = &batch.transactions[0];
        assert!(transaction.spill.is_some());
        assert!(bytes(&batch, transaction) == group.concat());
        assert_eq!(transaction.identity, identity, "parts of {len}");
    }
}

/// A lone statement that is large, in parts, and filtered.
#[test]
fn large_lone_statement_is_kept() {
    let text = format!("create table t (a int) comment '{}'", "x".repeat(100_000));
    for (do_db, expected) in [(&[][..], 1), (&["test"], 2)] {
        let mut source = source(do_db, 1000);
        let statement = make::query(86, "other", &text);
        feed_in_parts(&mut source, &statement, &[5000]).unwrap();
        let batch = source.assembler.take_batch().unwrap();
        let [transaction] = &batch.transactions[..] else {
            panic!("one transaction")
        };
        let events = make::split(&bytes(&batch, transaction));
        assert_eq!(events.len(), expected);
    }
}

/// A 5.6 server with gtid_mode=ON: its GTID events end at byte 44.
#[test]
fn gtid_events_of_mysql_56_are_kept() {
    let mut body = vec![1];
    body.extend_from_slice(&[7; 16]);
    body.extend_from_slice(&5u64.to_le_bytes());
    let opener = make::event(EventType::GTID, 86, &body);
    let mut source = source(&[], SPILL_NEVER);
    let mut group = vec![opener.clone()];
    group.extend(row_group("test", 20));
    group.extend([opener, make::query(86, "test", "drop table t")]);
    source.events(&group).unwrap();
    let batch = source.assembler.take_batch().unwrap();
    assert_eq!(batch.transactions.len(), 2);
    for transaction in &batch.transactions {
        assert_eq!(transaction.identity, Identity::MySql(gtid(7, "", 5)));
        assert_eq!(transaction.clock, None);
        assert_eq!(transaction.opener.clone().unwrap().len(), 44 + 4);
    }
}
