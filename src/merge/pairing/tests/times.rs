//! A server before MySQL 8.0 logs what it replicates from a newer one without its commit time.

use super::*;

/// The copy of a transaction of second `second` that a server before 8.0 logs.
fn copy(content: u64, second: u32) -> Fingerprint {
    rows(content, second)
}

/// M1 (path 0) is 5.7 and logs what it replicates, M2 (path 1) is 8.0 or later.
#[test]
fn copy_that_has_lost_its_commit_time_is_not_new() {
    for restarts in [false, true] {
        let mut log = Log::new(2);
        assert_eq!(log.receive(1, 1, committed(7_000_000)), Ok(Paired::New));
        if restarts {
            log.rotate();
            log.restart();
        }
        let refused = Err(Unaligned::OneTimed {
            is_timed: false,
            other: 7,
        });
        assert_eq!(log.receive(0, 1, copy(1, 7)), refused);
        // Each of them, wherever an administrator makes the path continue.
        log.pairing.begin_again(0, Some(1), None, &BTreeMap::new());
        assert_eq!(log.receive(0, 1, copy(2, 8)), refused);
        // What M1 itself executes is new, and M2 logs it without a commit time, too.
        assert_eq!(log.receive(0, 0, rows(3, 9)), Ok(Paired::New));
        assert_eq!(log.receive(1, 0, rows(3, 9)), Ok(Paired::Copy));
        assert_eq!(log.receive(1, 1, committed(8_000_000)), Ok(Paired::New));
    }
}

#[test]
fn original_of_a_copy_that_has_lost_its_commit_time_is_not_new() {
    let ddl = Fingerprint {
        traits: Fingerprint::HAS_STATEMENTS | Fingerprint::LONE_STATEMENT,
        ..copy(2, 7)
    };
    // By the way of its origin, and by that of another server (path 2) that keeps commit times.
    for path in [1, 2] {
        for delivered in [copy(1, 7), ddl] {
            let mut log = Log::new(3);
            assert_eq!(log.receive(0, 1, delivered), Ok(Paired::New));
            let refused = Err(Unaligned::OneTimed {
                is_timed: true,
                other: 7,
            });
            assert_eq!(log.receive(path, 1, committed(7_000_000)), refused);
            log.rotate();
            log.restart();
            assert_eq!(log.receive(path, 1, committed(7_000_000)), refused);
            // An administrator makes the path continue after it.
            log.pairing
                .begin_again(path, Some(2), None, &BTreeMap::new());
            assert_eq!(log.receive(path, 1, committed(8_000_000)), Ok(Paired::New));
            assert_eq!(log.receive(path, 1, committed(9_000_000)), Ok(Paired::New));
        }
    }
}

/// M2 (path 1) is upgraded to 8.0. M1 (path 0), which is new enough, logs its transactions with the commit times
/// that they have.
#[test]
fn origin_may_be_upgraded_to_a_version_with_commit_times() {
    let all = [
        copy(1, 5),
        copy(2, 5),
        committed(6_000_000),
        committed(7_000_000),
    ];
    for ahead in 0..=all.len() {
        // One path is ahead by as many, and then the other one.
        for [first, second] in [[0, 1], [1, 0]] {
            let mut log = Log::new(2);
            let (head, rest) = all.split_at(ahead);
            for fingerprint in head {
                assert_eq!(log.receive(first, 1, *fingerprint), Ok(Paired::New));
            }
            for fingerprint in &all {
                let expected = match head.contains(fingerprint) {
                    true => Paired::Copy,
                    false => Paired::New,
                };
                assert_eq!(log.receive(second, 1, *fingerprint), Ok(expected));
            }
            for fingerprint in rest {
                assert_eq!(log.receive(first, 1, *fingerprint), Ok(Paired::Copy));
            }
        }
    }
}

#[test]
fn entries_that_a_path_need_not_send_contradict_no_commit_time() {
    // The dropping of temporary tables; and for a peer that logs rows, any statement that changed none.
    let without_rows = Fingerprint::HAS_STATEMENTS | Fingerprint::MAY_BE_WITHOUT_ROWS;
    let with = |traits| Fingerprint {
        traits,
        ..rows(1, 5)
    };
    let dropped = with(without_rows | Fingerprint::LONE_STATEMENT);
    for (path, origin, delivered) in [(0, 0, dropped), (1, 0, dropped), (1, 0, with(without_rows))]
    {
        let mut log = Log::new(3);
        log.receive(2, origin, delivered).unwrap();
        assert_eq!(
            log.receive(path, origin, committed(6_000_000)),
            Ok(Paired::New)
        );
    }
    // Transactions of files that were purged.
    let mut log = Log::new(2);
    log.receive(1, 0, rows(1, 5)).unwrap();
    log.pairing.begin_origin(1, 6);
    assert_eq!(log.receive(0, 0, committed(7_000_000)), Ok(Paired::New));
    // An administrator has accepted that the origin lacks them.
    let mut log = Log::new(2);
    log.receive(0, 0, rows(1, 5)).unwrap();
    for content in [1, 2] {
        log.receive(1, 0, rows(content, 5)).unwrap();
    }
    log.pairing.excuse_own(0, 1, log.next_record());
    assert_eq!(log.receive(0, 0, committed(7_000_000)), Ok(Paired::New));
}
