//! One server logs statements, the other their rows.

use super::*;

fn statement(content: u64, timestamp: u32) -> Fingerprint {
    Fingerprint {
        traits: Fingerprint::HAS_STATEMENTS | Fingerprint::INSERTS,
        ..rows(content, timestamp)
    }
}

/// A statement that changed no transactional table: an UPDATE.
fn without_rows(content: u64, timestamp: u32) -> Fingerprint {
    let kinds = Fingerprint::HAS_STATEMENTS | Fingerprint::UPDATES;
    Fingerprint {
        traits: kinds | Fingerprint::MAY_BE_WITHOUT_ROWS | Fingerprint::ENDED_BY_STATEMENT,
        ..rows(content, timestamp)
    }
}

/// Rows of a nontransactional table that were updated.
fn nontransactional(content: u64, timestamp: u32) -> Fingerprint {
    let kinds = Fingerprint::HAS_ROWS | Fingerprint::UPDATES;
    Fingerprint {
        traits: kinds | Fingerprint::ENDED_BY_STATEMENT,
        ..rows(content, timestamp)
    }
}

/// The same transaction with changes of `kinds`.
fn of_kinds(fingerprint: Fingerprint, kinds: u32) -> Fingerprint {
    Fingerprint {
        traits: fingerprint.traits & !Fingerprint::ANY_CHANGE | kinds,
        ..fingerprint
    }
}

#[test]
fn statements_and_rows_of_one_transaction_are_paired_in_order() {
    for first in [0, 1] {
        let mut log = Log::new(2);
        let form = |path: u16, at: u64| match path {
            0 => statement(at, 5),
            _ => rows(100 + at, 5),
        };
        for at in 0..3 {
            assert_eq!(log.receive(first, 0, form(first, at)), Ok(Paired::New));
        }
        for at in 0..3 {
            assert_eq!(
                log.receive(1 - first, 0, form(1 - first, at)),
                Ok(Paired::Copy)
            );
        }
        assert_eq!(
            log.receive(1 - first, 0, form(1 - first, 9)),
            Ok(Paired::New)
        );
    }
}

/// A statement that changes nothing has no rows, so one side has more transactions of that second.
#[test]
fn different_numbers_of_statements_and_rows_stop_the_source() {
    let mut log = Log::new(2);
    log.receive(1, 0, rows(1, 5)).unwrap();
    log.receive(1, 0, rows(2, 6)).unwrap();
    assert_eq!(log.receive(0, 0, statement(11, 5)), Ok(Paired::Copy));
    assert_eq!(
        log.receive(0, 0, statement(12, 5)),
        Err(Unaligned::Ambiguous { timestamp: 5 })
    );
    // With the origin's own path first, nothing can have been delivered twice.
    let mut log = Log::new(2);
    log.receive(0, 0, statement(11, 5)).unwrap();
    log.receive(0, 0, statement(12, 5)).unwrap();
    log.receive(0, 0, statement(13, 6)).unwrap();
    assert_eq!(log.receive(1, 0, rows(1, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(3, 6)), Ok(Paired::Copy));
}

/// A statement that changed no row is not a copy of rows, on whichever path it is first.
#[test]
fn statements_without_rows_leave_the_queue_unchanged() {
    let without = |content| of_kinds(without_rows(content, 5), Fingerprint::INSERTS);
    // The peer, which logs rows, is first.
    let mut log = Log::new(2);
    log.receive(1, 0, rows(1, 5)).unwrap();
    log.receive(1, 0, rows(2, 5)).unwrap();
    log.receive(1, 0, rows(3, 6)).unwrap();
    assert_eq!(log.receive(0, 0, without(40)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 0, statement(11, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 0, statement(12, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 0, statement(13, 6)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 0, statement(14, 6)), Ok(Paired::New));
    // The origin is first, and dies: transactions that only the peer has are new.
    let mut log = Log::new(2);
    log.receive(0, 0, without(40)).unwrap();
    log.receive(0, 0, statement(11, 5)).unwrap();
    assert_eq!(log.receive(1, 0, rows(1, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(3, 6)), Ok(Paired::New));
    let mut log = Log::new(2);
    log.receive(0, 0, without(40)).unwrap();
    assert_eq!(log.receive(1, 0, rows(1, 5)), Ok(Paired::New));
    assert_eq!(log.receive(0, 0, statement(11, 5)), Ok(Paired::Copy));
}

/// The origin sends a statement that changed no row and one that did; the peer sends the second as
/// rows. Its next transaction resembles the first statement, but is new. (Seen with MySQL 5.6: the
/// new transaction was dropped, and the next ones were delivered out of order.)
#[test]
fn statement_that_a_path_has_omitted_is_not_paired_later() {
    let inserts_and_updates = Fingerprint::INSERTS | Fingerprint::UPDATES;
    for restarts in [false, true] {
        let mut log = Log::new(2);
        log.receive(0, 0, without_rows(10, 5)).unwrap();
        log.receive(0, 0, rows(1, 5)).unwrap();
        assert_eq!(log.receive(1, 0, rows(1, 5)), Ok(Paired::Copy));
        if restarts {
            log.rotate();
            log.restart();
        }
        let next = of_kinds(rows(2, 5), inserts_and_updates);
        assert_eq!(log.receive(1, 0, next), Ok(Paired::New));
        let after = of_kinds(rows(3, 5), inserts_and_updates);
        assert_eq!(log.receive(1, 0, after), Ok(Paired::New));
        assert_eq!(log.receive(0, 0, statement(12, 5)), Ok(Paired::Copy));
        assert_eq!(log.receive(0, 0, statement(13, 5)), Ok(Paired::Copy));
        assert_eq!(log.receive(0, 0, statement(14, 5)), Ok(Paired::New));
    }
}

/// A DELETE finds no row, and an INSERT follows, which the peer delivers first, as rows. Executed
/// after it, the DELETE would remove the row.
#[test]
fn statement_without_effect_is_not_delivered_after_a_later_transaction() {
    let delete = of_kinds(without_rows(10, 5), Fingerprint::DELETES);
    for restarts in [false, true] {
        let mut log = Log::new(2);
        log.receive(0, 0, statement(11, 4)).unwrap();
        assert_eq!(log.receive(1, 0, rows(1, 4)), Ok(Paired::Copy));
        assert_eq!(log.receive(1, 0, rows(2, 6)), Ok(Paired::New));
        if restarts {
            log.rotate();
            log.restart();
        }
        assert_eq!(log.receive(0, 0, delete), Ok(Paired::Copy));
        if restarts {
            log.restart();
        }
        assert_eq!(log.receive(0, 0, statement(12, 6)), Ok(Paired::Copy));
        // Nothing has overtaken this one.
        assert_eq!(log.receive(0, 0, delete), Ok(Paired::New));
    }
    // If the later transaction is in another database, it cannot be affected.
    let (a, b) = (Fingerprint::database(b"a"), Fingerprint::database(b"b"));
    assert_ne!(a, b);
    let within = |fingerprint: Fingerprint, database| Fingerprint {
        traits: fingerprint.traits | database,
        ..fingerprint
    };
    let mut log = Log::new(2);
    log.receive(0, 0, within(statement(11, 4), a)).unwrap();
    let copy = log.receive(1, 0, within(rows(1, 4), a));
    assert_eq!(copy, Ok(Paired::Copy));
    log.receive(1, 0, within(rows(2, 6), a)).unwrap();
    let other = log.receive(0, 0, within(delete, b));
    assert_eq!(other, Ok(Paired::New));
}

/// Its rows would have been delivered before the peer's later transaction: either the peer omitted
/// it, or its second differs there. (An INSERT IGNORE that found a duplicate, or an UPDATE to the
/// same values, ends as if it had changed a row: seen with MySQL 5.6.)
#[test]
fn statement_that_the_peer_has_passed_stops_the_source() {
    let mut log = Log::new(2);
    log.receive(0, 0, statement(11, 4)).unwrap();
    assert_eq!(log.receive(1, 0, rows(1, 4)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(2, 6)), Ok(Paired::New));
    for _ in 0..2 {
        assert_eq!(
            log.receive(0, 0, statement(12, 5)),
            Err(Unaligned::Ambiguous { timestamp: 5 })
        );
    }
    assert_eq!(log.receive(0, 0, statement(13, 6)), Ok(Paired::Copy));
    // The peer's rows are of the statement that was delivered, or of a later one.
    let mut log = Log::new(2);
    log.receive(0, 0, statement(11, 4)).unwrap();
    assert_eq!(log.receive(1, 0, rows(1, 4)), Ok(Paired::Copy));
    log.receive(0, 0, statement(12, 5)).unwrap();
    assert_eq!(
        log.receive(1, 0, rows(2, 6)),
        Err(Unaligned::Ambiguous { timestamp: 6 })
    );
    assert_eq!(log.receive(1, 0, rows(2, 5)), Ok(Paired::Copy));
    // Nor does it become certain by a source that was removed, or by restarts of the relay.
    for restarts in [false, true] {
        let mut log = Log::new(3);
        log.receive(2, 0, statement(10, 3)).unwrap();
        log.receive(0, 0, statement(10, 3)).unwrap();
        assert_eq!(log.receive(1, 0, rows(1, 3)), Ok(Paired::Copy));
        log.rotate();
        if restarts {
            log.restart();
        }
        log.receive(0, 0, statement(12, 5)).unwrap();
        assert_eq!(
            log.receive(1, 0, rows(2, 6)),
            Err(Unaligned::Ambiguous { timestamp: 6 }),
            "restarts: {restarts}"
        );
        assert_eq!(log.receive(1, 0, rows(2, 5)), Ok(Paired::Copy));
    }
    // A statement that has set a row to the values that it had is not these rows.
    let same_values = of_kinds(statement(13, 5), Fingerprint::UPDATES);
    log.receive(0, 0, same_values).unwrap();
    assert_eq!(log.receive(1, 0, rows(3, 5)), Ok(Paired::New));
}

/// MyISAM: rows end with a COMMIT statement, too.
#[test]
fn nontransactional_statements_are_paired_with_rows_that_end_alike() {
    let statement_at = |content| without_rows(content, 5);
    for peer_is_first in [false, true] {
        let mut log = Log::new(2);
        let (first, second) = if peer_is_first { (1, 0) } else { (0, 1) };
        let send = |log: &mut Log, path: u16| {
            let form = |content: u64| match path {
                0 => statement_at(content),
                _ => nontransactional(100 + content, 5),
            };
            let all = [form(1), form(2), rows(3, 5), form(4)];
            all.map(|one| log.receive(path, 0, one).unwrap())
        };
        assert_eq!(send(&mut log, first), [Paired::New; 4]);
        assert_eq!(send(&mut log, second), [Paired::Copy; 4]);
        assert_eq!(log.delivered.len(), 4);
    }
    // It was paired with the first statement, which may have changed no row.
    let mut log = Log::new(2);
    log.receive(1, 0, nontransactional(101, 5)).unwrap();
    assert_eq!(log.receive(0, 0, statement_at(1)), Ok(Paired::Copy));
    assert_eq!(
        log.receive(0, 0, statement_at(2)),
        Err(Unaligned::Ambiguous { timestamp: 5 })
    );
    // Later entries leave no doubt.
    let mut log = Log::new(2);
    log.receive(1, 0, nontransactional(101, 5)).unwrap();
    log.receive(1, 0, of_kinds(rows(102, 5), Fingerprint::UPDATES))
        .unwrap();
    for content in [1, 2] {
        let received = log.receive(0, 0, statement_at(content));
        assert_eq!(received, Ok(Paired::Copy));
    }
    let update = of_kinds(statement(3, 5), Fingerprint::UPDATES);
    assert_eq!(log.receive(0, 0, update), Ok(Paired::Copy));
}

/// What one transaction of a master with binlog_format=MIXED is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Statements that changed rows of this kind; the peer logs the rows.
    Statement(u32),
    /// Logged as rows on both.
    Rows(u32),
    /// Some changes as statements, some as rows.
    Both,
    /// A statement that found no row to change; the peer does not log it.
    WithoutEffect(u32),
    /// DDL.
    Lone,
}

fn kind() -> impl Strategy<Value = Kind> {
    let change = prop::sample::select(vec![
        Fingerprint::INSERTS,
        Fingerprint::UPDATES,
        Fingerprint::DELETES,
    ]);
    prop_oneof![
        4 => change.clone().prop_map(Kind::Statement),
        2 => change.clone().prop_map(Kind::Rows),
        2 => Just(Kind::Both),
        3 => change.prop_map(Kind::WithoutEffect),
        1 => Just(Kind::Lone),
    ]
}

/// A transaction as its own server (MIXED) logs it, and as the peer (ROW) does.
fn forms(
    kind: Kind,
    number: u64,
    second: u32,
    database: u32,
) -> (Fingerprint, Option<Fingerprint>) {
    let any = Fingerprint::ANY_CHANGE;
    let (own, copy) = match kind {
        Kind::Statement(Fingerprint::INSERTS) => {
            let verb = Fingerprint::INSERTS | Fingerprint::UPDATES;
            (
                of_kinds(statement(number, second), verb),
                Some(Fingerprint::INSERTS),
            )
        }
        Kind::Statement(change) => (of_kinds(statement(number, second), change), Some(change)),
        Kind::Rows(change) => (of_kinds(rows(number, second), change), None),
        Kind::Both => {
            let mut both = of_kinds(statement(number, second), any);
            both.traits |= Fingerprint::HAS_ROWS;
            (both, Some(Fingerprint::INSERTS | Fingerprint::UPDATES))
        }
        Kind::WithoutEffect(change) => (of_kinds(without_rows(number, second), change), None),
        Kind::Lone => {
            let mut lone = of_kinds(statement(number, second), any);
            lone.traits |= Fingerprint::LONE_STATEMENT;
            (lone, None)
        }
    };
    let within = |fingerprint: Fingerprint| Fingerprint {
        traits: fingerprint.traits | database,
        ..fingerprint
    };
    let as_rows = copy.map(|change| of_kinds(rows(1_000_000 + number, second), change));
    let copy = match kind {
        Kind::WithoutEffect(_) => None,
        _ => Some(within(as_rows.unwrap_or(own))),
    };
    (within(own), copy)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// M1 logs in MIXED format, and M2 logs its transactions again as rows. At any pace of the two
    /// paths and with restarts at any record, each transaction that changed rows is delivered once
    /// and in order; one that changed none is not delivered after a later one that it might affect.
    #[test]
    fn statements_and_rows_are_paired_at_any_pace(
        kinds in prop::collection::vec((kind(), 0u32..4, any::<bool>()), 1..60),
        steps in prop::collection::vec((any::<bool>(), 1usize..8, 0u8..30), 0..120),
        m2_ends_first in any::<bool>(),
    ) {
        let mut second = 100;
        let first = (Kind::Statement(Fingerprint::INSERTS), 0, false);
        let all: Vec<(Kind, Fingerprint, Option<Fingerprint>)> = (1..)
            .zip(std::iter::once(first).chain(kinds))
            .map(|(number, (kind, wait, other))| {
                second += wait / 3;
                let database = Fingerprint::database(if other { b"b" } else { b"a" });
                let (own, copy) = forms(kind, number, second, database);
                (kind, own, copy)
            })
            .collect();
        let sent_by: [Vec<Fingerprint>; 2] = [
            all.iter().map(|(_, own, _)| *own).collect(),
            all.iter().filter_map(|(_, _, copy)| *copy).collect(),
        ];
        let mut log = Log::new(2);
        let mut at = [0, 0];
        let mut send = |log: &mut Log, path: usize| -> Result<bool, TestCaseError> {
            let Some(fingerprint) = sent_by[path].get(at[path]) else {
                return Ok(false);
            };
            at[path] += 1;
            let received = log.receive(path as u16, 0, *fingerprint);
            prop_assert!(received.is_ok(), "path {path}: {fingerprint:?}: {received:?}");
            Ok(true)
        };
        // Until both have sent a statement, it is not known that the formats differ.
        for path in 0..2 {
            send(&mut log, path)?;
        }
        for (of_m2, count, restart) in steps {
            match restart {
                0 => log.restart(),
                1 => log.rotate(),
                _ => {}
            }
            for _ in 0..count {
                send(&mut log, usize::from(of_m2))?;
            }
        }
        for path in if m2_ends_first { [1, 0] } else { [0, 1] } {
            while send(&mut log, path)? {}
        }
        let number = |content: &u64| (content % 1_000_000) as usize;
        let delivered: Vec<usize> = log.delivered.iter().map(|(_, content)| number(content)).collect();
        let has_effect = |number: &usize| !matches!(all[number - 1].0, Kind::WithoutEffect(_));
        let effective: Vec<usize> = delivered.iter().copied().filter(has_effect).collect();
        let expected: Vec<usize> = (1..=all.len()).filter(has_effect).collect();
        prop_assert_eq!(effective, expected, "delivered {:?} of {:?}", delivered, all);
        let databases = |number: usize| all[number - 1].1.traits & Fingerprint::ANY_DATABASE;
        for (place, late) in delivered.iter().enumerate() {
            let overtaking = delivered[..place]
                .iter()
                .find(|early| *early > late && databases(**early) == databases(*late));
            prop_assert_eq!(overtaking, None, "{} in {:?} of {:?}", late, delivered, all);
        }
    }
}
