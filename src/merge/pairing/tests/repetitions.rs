//! A peer that was killed while it replicated logs a copy twice.

use super::*;

/// A DELETE that found no row, logged as a statement.
fn without_rows(content: u64, timestamp: u32) -> Fingerprint {
    let kinds = Fingerprint::HAS_STATEMENTS | Fingerprint::DELETES;
    Fingerprint {
        traits: kinds | Fingerprint::MAY_BE_WITHOUT_ROWS,
        ..rows(content, timestamp)
    }
}

/// M2 (path 1) deletes nothing; M1 logs that, is killed, and logs it again at its next start. In
/// the same second M2 sends the same statement once more, and there it finds rows. (MySQL 5.6.)
#[test]
fn a_copy_that_a_killed_peer_logs_twice_takes_nobodys_place() {
    for restarts in [false, true] {
        let (nothing, rows_found) = (
            without_rows(7, 5),
            Fingerprint {
                traits: Fingerprint::HAS_STATEMENTS | Fingerprint::DELETES,
                ..without_rows(7, 5)
            },
        );
        let as_rows = Fingerprint {
            traits: Fingerprint::HAS_ROWS | Fingerprint::DELETES,
            ..rows(20, 5)
        };
        let mut log = Log::new(2);
        let between: Vec<_> = (10..15).map(|content| rows(content, 5)).collect();
        let rest = [&between[..], &[rows_found, as_rows, rows(21, 5)]].concat();
        log.take(1, 1, nothing).unwrap();
        assert_eq!(log.take(0, 1, nothing), Ok(Paired::Copy));
        for fingerprint in &rest {
            assert_eq!(log.take(1, 1, *fingerprint), Ok(Paired::New));
        }
        if restarts {
            log.restart();
        }
        log.pairing.begin_source_file(0);
        if restarts {
            log.restart();
        }
        assert_eq!(log.take(0, 1, nothing), Ok(Paired::Repeated));
        for fingerprint in &rest {
            assert_eq!(log.take(0, 1, *fingerprint), Ok(Paired::Copy));
        }
        assert_eq!(log.take(0, 1, rows(22, 5)), Ok(Paired::New));
    }
}

#[test]
fn what_looks_like_a_repetition_is_the_next_one_first() {
    let same = without_rows(7, 5);
    for logged_twice in [false, true] {
        let mut log = Log::new(2);
        for fingerprint in [same, same, same, rows(8, 5)] {
            log.take(1, 1, fingerprint).unwrap();
        }
        assert_eq!(log.take(0, 1, same), Ok(Paired::Copy));
        log.pairing.begin_source_file(0);
        assert_eq!(log.take(0, 1, same), Ok(Paired::Copy));
        assert_eq!(log.take(0, 1, same), Ok(Paired::Copy));
        if logged_twice {
            assert_eq!(log.take(0, 1, same), Ok(Paired::Repeated));
        }
        assert_eq!(log.take(0, 1, rows(8, 5)), Ok(Paired::Copy));
        // From here on the same look means another one.
        assert_eq!(log.take(0, 1, same), Ok(Paired::New));
    }
}

/// The peer is ahead of the origin: it may be another one.
#[test]
fn what_may_be_a_repetition_or_new_is_delivered() {
    let same = without_rows(7, 5);
    for is_repetition in [true, false] {
        for restarts in [true, false] {
            let mut log = Log::new(2);
            assert_eq!(log.take(0, 1, same), Ok(Paired::New));
            log.pairing.begin_source_file(0);
            for fingerprint in [same, rows(8, 5), same, rows(9, 5)] {
                assert_eq!(log.take(0, 1, fingerprint), Ok(Paired::New));
            }
            if restarts {
                log.restart();
            }
            // The origin's own path has it once more, or has not.
            assert_eq!(log.take(1, 1, same), Ok(Paired::Copy));
            if !is_repetition {
                assert_eq!(log.take(1, 1, same), Ok(Paired::Copy));
            }
            for fingerprint in [rows(8, 5), same, rows(9, 5)] {
                assert_eq!(log.take(1, 1, fingerprint), Ok(Paired::Copy));
            }
            assert_eq!(log.take(1, 1, same), Ok(Paired::New));
        }
    }
    // What looks alike behind it may be left over as well.
    let mut log = Log::new(2);
    log.take(0, 1, same).unwrap();
    log.pairing.begin_source_file(0);
    for fingerprint in [same, same, rows(8, 5)] {
        assert_eq!(log.take(0, 1, fingerprint), Ok(Paired::New));
    }
    for fingerprint in [same, same, rows(8, 5)] {
        assert_eq!(log.take(1, 1, fingerprint), Ok(Paired::Copy));
    }
}

#[test]
fn not_all_can_be_repetitions() {
    // What InnoDB commits together with the position is logged once, and so are a server's own.
    for (origin, fingerprint) in [(1, rows(7, 5)), (0, without_rows(7, 5))] {
        let mut log = Log::new(2);
        log.take(0, origin, fingerprint).unwrap();
        log.pairing.begin_source_file(0);
        log.take(1, 1, rows(9, 5)).unwrap();
        assert_eq!(log.take(0, origin, fingerprint), Ok(Paired::New));
        let delivered = log.ledger.records.borrow();
        assert!(delivered.iter().all(|(_, entry)| !entry.may_be_repetition));
    }
}

#[test]
fn commit_timestamps_tell_repetitions_for_certain() {
    let mut log = Log::new(2);
    for at in [1, 2, 3] {
        assert_eq!(log.take(0, 1, committed(at)), Ok(Paired::New));
    }
    log.restart();
    log.pairing.begin_source_file(0);
    for at in [2, 3] {
        assert_eq!(log.take(0, 1, committed(at)), Ok(Paired::Repeated));
    }
    assert_eq!(log.take(0, 1, committed(4)), Ok(Paired::New));
    assert_eq!(
        log.take(0, 1, committed(3)),
        Ok(Paired::New),
        "a clock set back"
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// M2's transactions, some of which look alike, come by M2 and by M1, which is killed now and
    /// then. Each is delivered once and in its place, but for a repetition that may be new.
    #[test]
    fn killed_peers_neither_lose_nor_repeat(
        looks in prop::collection::vec(0u64..4, 1..60),
        steps in prop::collection::vec(0u8..24, 0..200),
    ) {
        let mut all: Vec<Fingerprint> = (0..)
            .zip(&looks)
            .map(|(at, look)| match look {
                0 => without_rows(7, 5),
                1 => rows(8, 5),
                _ => rows(100 + at, 5),
            })
            .collect();
        all.dedup();
        let mut log = Log::new(2);
        let mut sent = [0, 0];
        let mut maybe_new = 0;
        for step in steps.into_iter().chain((0..120).map(|at| 2 + at % 2)) {
            let path = u16::from(step % 2);
            let at = sent[usize::from(path)];
            match (step, all.get(at)) {
                (0, _) => log.restart(),
                (1, _) => {
                    log.pairing.begin_source_file(0);
                    let last = all[..sent[0]].last().copied();
                    let twice = last.filter(|last| *last == without_rows(7, 5));
                    let Some(last) = twice else { continue };
                    let was_ahead = sent[0] > sent[1];
                    if log.take(0, 1, last) == Ok(Paired::New) {
                        prop_assert!(was_ahead || sent[0] == sent[1]);
                        log.delivered.pop();
                        maybe_new += 1;
                    }
                }
                (_, Some(fingerprint)) => {
                    sent[usize::from(path)] += 1;
                    let taken = log.take(path, 1, *fingerprint);
                    prop_assert!(taken.is_ok(), "{taken:?}");
                }
                (_, None) => {}
            }
        }
        prop_assert_eq!(sent, [all.len(); 2]);
        let expected: Vec<_> = all.iter().map(|print| (1, print.content)).collect();
        prop_assert_eq!(&log.delivered, &expected);
        let delivered = log.ledger.records.borrow();
        let doubtful = delivered.iter().filter(|(_, entry)| entry.may_be_repetition);
        prop_assert_eq!(doubtful.count(), maybe_new);
    }
}
