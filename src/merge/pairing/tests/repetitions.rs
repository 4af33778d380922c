//! A peer that was killed while it replicated logs copies twice.

use super::super::repetitions::AGAIN_MAX;
use super::*;

/// A DELETE that finds no row, logged as a statement.
fn without_rows(content: u64, timestamp: u32) -> Fingerprint {
    let kinds = Fingerprint::HAS_STATEMENTS | Fingerprint::DELETES;
    Fingerprint {
        traits: kinds | Fingerprint::MAY_BE_WITHOUT_ROWS | Fingerprint::ENDED_BY_STATEMENT,
        ..rows(content, timestamp)
    }
}

/// The same statement if it finds rows.
fn with_rows(without: Fingerprint) -> Fingerprint {
    Fingerprint {
        traits: Fingerprint::HAS_STATEMENTS | Fingerprint::DELETES,
        ..without
    }
}

/// A DELETE on M2 (path 1) finds no row; M1 logs it, is killed, and logs it again at its next
/// start. In the same second M2 runs the same statement once more, which then finds rows. (MySQL
/// 5.6.)
#[test]
fn repetition_by_a_killed_peer_leaves_the_queue_unchanged() {
    for restarts in [false, true] {
        let nothing = without_rows(7, 5);
        let finds_rows = with_rows(nothing);
        let as_rows = Fingerprint {
            traits: Fingerprint::HAS_ROWS | Fingerprint::DELETES,
            ..rows(20, 5)
        };
        let mut log = Log::new(2);
        let between: Vec<_> = (10..15).map(|content| rows(content, 5)).collect();
        let rest = [&between[..], &[finds_rows, as_rows, rows(21, 5)]].concat();
        // Three that M1 applies without saving its position in the same step.
        let last = [nothing, without_rows(8, 5), nothing];
        for fingerprint in [&[rows(1, 5)], &last[..]].concat() {
            log.receive(1, 1, fingerprint).unwrap();
            assert_eq!(log.receive(0, 1, fingerprint), Ok(Paired::Copy));
        }
        for fingerprint in &rest {
            assert_eq!(log.receive(1, 1, *fingerprint), Ok(Paired::New));
        }
        for from in [1, 0] {
            // It is killed again before it logs new ones.
            if restarts {
                log.restart();
            }
            log.note_restart(0);
            for fingerprint in &last[from..] {
                assert_eq!(log.receive(0, 1, *fingerprint), Ok(Paired::Repeated));
                if restarts {
                    log.restart();
                }
            }
        }
        for fingerprint in &rest {
            assert_eq!(log.receive(0, 1, *fingerprint), Ok(Paired::Copy));
        }
        assert_eq!(log.receive(0, 1, rows(22, 5)), Ok(Paired::New));
        assert_eq!(log.receive(0, 1, nothing), Ok(Paired::New));
    }
}

#[test]
fn identical_looking_transaction_is_the_next_in_the_queue_before_a_repetition() {
    let same = without_rows(7, 5);
    for logged_twice in [false, true] {
        let mut log = Log::new(2);
        for fingerprint in [same, same, same, rows(8, 5)] {
            log.receive(1, 1, fingerprint).unwrap();
        }
        assert_eq!(log.receive(0, 1, same), Ok(Paired::Copy));
        log.note_restart(0);
        assert_eq!(log.receive(0, 1, same), Ok(Paired::Copy));
        assert_eq!(log.receive(0, 1, same), Ok(Paired::Copy));
        if logged_twice {
            assert_eq!(log.receive(0, 1, same), Ok(Paired::Repeated));
        }
        assert_eq!(log.receive(0, 1, rows(8, 5)), Ok(Paired::Copy));
        // From here on, an identical-looking one is another transaction.
        assert_eq!(log.receive(0, 1, same), Ok(Paired::New));
    }
}

/// The peer is ahead of the origin's own path: it may be another transaction.
#[test]
fn possible_repetition_is_delivered() {
    let same = without_rows(7, 5);
    for is_repetition in [true, false] {
        for restarts in [true, false] {
            let mut log = Log::new(2);
            assert_eq!(log.receive(0, 1, same), Ok(Paired::New));
            log.note_restart(0);
            assert_eq!(log.receive(0, 1, same), Ok(Paired::NewOrRepeated));
            for fingerprint in [rows(8, 5), same, rows(9, 5)] {
                assert_eq!(log.receive(0, 1, fingerprint), Ok(Paired::New));
            }
            if restarts {
                log.restart();
            }
            // The origin's own path has it a second time, or does not.
            assert_eq!(log.receive(1, 1, same), Ok(Paired::Copy));
            if !is_repetition {
                assert_eq!(log.receive(1, 1, same), Ok(Paired::Copy));
            }
            for fingerprint in [rows(8, 5), same, rows(9, 5)] {
                assert_eq!(log.receive(1, 1, fingerprint), Ok(Paired::Copy));
            }
            assert_eq!(log.receive(1, 1, same), Ok(Paired::New));
        }
    }
}

/// Two are repeated, and two identical-looking ones follow: they cannot be distinguished.
#[test]
fn new_transactions_that_look_like_repetitions_are_all_delivered() {
    let two = [without_rows(7, 5), without_rows(8, 5)];
    let mut log = Log::new(2);
    for fingerprint in two {
        log.receive(0, 1, fingerprint).unwrap();
    }
    log.note_restart(0);
    for fingerprint in two {
        assert_eq!(log.receive(0, 1, fingerprint), Ok(Paired::NewOrRepeated));
    }
    for fingerprint in two {
        assert_eq!(log.receive(0, 1, fingerprint), Ok(Paired::NewOrRepeated));
    }
    for fingerprint in [rows(9, 5), two[0]] {
        assert_eq!(log.receive(0, 1, fingerprint), Ok(Paired::New));
    }
    for fingerprint in [&two[..], &two, &[rows(9, 5), two[0]]].concat() {
        assert_eq!(log.receive(1, 1, fingerprint), Ok(Paired::Copy));
    }
    assert_eq!(log.receive(1, 1, two[0]), Ok(Paired::New));
}

#[test]
fn only_transactions_without_a_saved_position_can_be_repetitions() {
    // Transactions committed together with the position are logged once, and so are a server's own.
    for (origin, fingerprint) in [(1, rows(7, 5)), (0, without_rows(7, 5))] {
        let mut log = Log::new(2);
        log.receive(0, origin, fingerprint).unwrap();
        log.note_restart(0);
        assert_eq!(log.receive(0, origin, fingerprint), Ok(Paired::New));
    }
    // If the position is in a file, the last one can be repeated.
    let mut log = Log::new(2);
    for content in [6, 7, 8] {
        log.receive(1, 1, rows(content, 5)).unwrap();
    }
    for content in [6, 7] {
        assert_eq!(log.receive(0, 1, rows(content, 5)), Ok(Paired::Copy));
    }
    log.note_restart(0);
    assert_eq!(log.receive(0, 1, rows(7, 5)), Ok(Paired::Repeated));
    assert_eq!(log.receive(0, 1, rows(8, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 1, rows(6, 5)), Ok(Paired::New));
}

/// relay_log_info_repository=FILE: the last transaction of any kind is repeated, and a DELETE that
/// found rows finds none the second time. An identical-looking one may arrive first.
#[test]
fn repetition_may_find_no_row_to_change() {
    let deleted = with_rows(without_rows(7, 5));
    let mut log = Log::new(2);
    for fingerprint in [deleted, deleted, rows(8, 5)] {
        log.receive(1, 1, fingerprint).unwrap();
    }
    assert_eq!(log.receive(0, 1, deleted), Ok(Paired::Copy));
    log.note_restart(0);
    assert_eq!(log.receive(0, 1, without_rows(7, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 1, deleted), Ok(Paired::Repeated));
    assert_eq!(log.receive(0, 1, rows(8, 5)), Ok(Paired::Copy));
}

/// Changes of MyISAM tables, logged as rows, end with a COMMIT statement.
#[test]
fn nontransactional_rows_are_repeated_together() {
    let nontransactional = |content| Fingerprint {
        traits: rows(0, 5).traits | Fingerprint::ENDED_BY_STATEMENT,
        ..rows(content, 5)
    };
    let all = [
        without_rows(6, 5),
        nontransactional(7),
        nontransactional(8),
        nontransactional(9),
    ];
    let mut log = Log::new(2);
    for fingerprint in all {
        log.receive(1, 1, fingerprint).unwrap();
    }
    for fingerprint in &all[..3] {
        assert_eq!(log.receive(0, 1, *fingerprint), Ok(Paired::Copy));
    }
    log.note_restart(0);
    for fingerprint in &all[..3] {
        assert_eq!(log.receive(0, 1, *fingerprint), Ok(Paired::Repeated));
    }
    assert_eq!(log.receive(0, 1, all[3]), Ok(Paired::Copy));
}

/// The origin's DELETE finds rows, the peer's does not.
#[test]
fn possible_repetition_is_recognised_by_its_content() {
    let nothing = without_rows(7, 5);
    let mut log = Log::new(2);
    assert_eq!(log.receive(0, 1, nothing), Ok(Paired::New));
    log.note_restart(0);
    assert_eq!(log.receive(0, 1, nothing), Ok(Paired::NewOrRepeated));
    for _ in 0..2 {
        assert_eq!(log.receive(1, 1, with_rows(nothing)), Ok(Paired::Copy));
    }
}

/// With three paths, one without the repetition skips it; a later identical-looking one is new
/// there.
#[test]
fn possible_repetition_is_not_remembered_when_it_is_skipped() {
    let nothing = without_rows(7, 5);
    let mut log = Log::new(3);
    log.receive(0, 1, nothing).unwrap();
    log.note_restart(0);
    assert_eq!(log.receive(0, 1, nothing), Ok(Paired::NewOrRepeated));
    assert_eq!(log.receive(0, 1, rows(8, 5)), Ok(Paired::New));
    assert_eq!(log.receive(2, 1, nothing), Ok(Paired::Copy));
    assert_eq!(log.receive(2, 1, rows(8, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(2, 1, nothing), Ok(Paired::New));
}

#[test]
fn commit_timestamps_identify_repetitions() {
    let mut log = Log::new(2);
    for at in [1, 3] {
        assert_eq!(log.receive(0, 1, committed(at)), Ok(Paired::New));
    }
    log.restart();
    log.note_restart(0);
    assert_eq!(log.receive(0, 1, committed(3)), Ok(Paired::Repeated));
    // MySQL 9.7 with several workers leaves gaps when it is killed, and fills them later.
    assert_eq!(log.receive(0, 1, committed(2)), Ok(Paired::New));
    assert_eq!(log.receive(0, 1, committed(4)), Ok(Paired::New));
}

#[test]
fn repetitions_remembered_are_bounded() {
    let mut repetitions = Repetitions::default();
    for content in 0..3 * AGAIN_MAX as u64 {
        repetitions.note(&Arrival {
            path: 1,
            path_server_id: 2,
            origin: 1,
            fingerprint: without_rows(content, 5),
        });
    }
    assert_eq!(repetitions.newest.len(), AGAIN_MAX);
    repetitions.note_restart();
    assert_eq!(repetitions.again.len(), AGAIN_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// M2's transactions, some of which look alike, arrive from M2 and from M1, which is killed now
    /// and then. Each is delivered once and in order, except for repetitions that may be new.
    #[test]
    fn killed_peers_neither_lose_nor_repeat_transactions(
        looks in prop::collection::vec(0u64..6, 1..60),
        steps in prop::collection::vec((0u8..24, 1usize..4), 0..200),
    ) {
        let mut all: Vec<Fingerprint> = (0..)
            .zip(&looks)
            .map(|(at, look)| match look {
                0 | 1 => without_rows(*look, 5),
                2 => rows(8, 5),
                _ => rows(100 + at, 5),
            })
            .collect();
        all.dedup();
        let mut log = Log::new(2);
        let mut sent = [0, 0];
        let mut expected = Vec::new();
        for (step, len) in steps.into_iter().chain((0..120).map(|at| (2 + at % 2, 0))) {
            let path = usize::from(step % 2);
            match (step, all.get(sent[path])) {
                (0, _) => log.restart(),
                (1, _) => {
                    log.note_restart(0);
                    let before = &all[..sent[0]];
                    let last = before.iter().rev().take(len);
                    let count = last
                        .take_while(|one| one.traits == without_rows(0, 5).traits)
                        .count();
                    for fingerprint in &before[before.len() - count..] {
                        let received = log.receive(0, 1, *fingerprint);
                        prop_assert!(received.is_ok(), "{received:?}");
                    }
                }
                (_, Some(fingerprint)) => {
                    sent[path] += 1;
                    let received = log.receive(path as u16, 1, *fingerprint);
                    prop_assert!(received.is_ok(), "{received:?}");
                }
                (_, None) => {}
            }
        }
        prop_assert_eq!(sent, [all.len(); 2]);
        // Without possible repetitions, and those that look like them.
        let delivered = log.ledger.records.borrow();
        let mut extra: Vec<u64> = Vec::new();
        let mut next = 0;
        for (_, entry) in delivered.iter() {
            expected.push(entry.fingerprint.content);
            if all.get(next) == Some(&entry.fingerprint) {
                next += 1;
            } else {
                extra.push(entry.fingerprint.content);
            }
        }
        prop_assert_eq!(next, all.len(), "{:?} of {:?}", expected, all);
        prop_assert!(extra.iter().all(|content| *content < 2), "{extra:?}");
        let doubtful = delivered.iter().filter(|(_, entry)| entry.may_be_repetition);
        prop_assert!(extra.len() <= doubtful.count(), "{extra:?}");
    }
}
