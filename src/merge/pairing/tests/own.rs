//! Transactions of a path's own server that only others have delivered.

use super::*;

fn unsent(log: &mut Log) -> Option<RecordNumber> {
    log.pairing.own_unsent(0, 1, &log.ledger)
}

#[test]
fn own_transactions_that_only_a_peer_has_sent_are_known() {
    let mut log = Log::new(2);
    assert_eq!(unsent(&mut log), None);
    log.receive(0, 0, rows(1, 5)).unwrap();
    assert_eq!(unsent(&mut log), None, "it has sent it");
    log.receive(1, 0, rows(1, 5)).unwrap();
    let second = log.next_record();
    log.receive(1, 0, rows(2, 6)).unwrap();
    log.receive(1, 0, rows(3, 6)).unwrap();
    assert_eq!(unsent(&mut log), Some(second));
    // Its binlog does not have it: it was restored, and continues with others.
    log.receive(0, 0, rows(9, 8)).unwrap();
    assert_eq!(unsent(&mut log), Some(second));
    log.rotate();
    log.restart();
    assert_eq!(unsent(&mut log), Some(second));
    // By decision of an administrator it continues at another position.
    log.pairing.begin_again(0, Some(1), None, &BTreeMap::new());
    assert_eq!(unsent(&mut log), None);
    // A peer's transactions are not the server's own.
    assert_eq!(log.pairing.own_unsent(1, 2, &log.ledger), None);
}

#[test]
fn transactions_that_a_server_need_not_have_are_not_missed() {
    let mut log = Log::new(2);
    let without_effect = Fingerprint {
        traits: Fingerprint::HAS_STATEMENTS | Fingerprint::MAY_BE_WITHOUT_ROWS,
        ..rows(1, 5)
    };
    log.receive(1, 0, without_effect).unwrap();
    assert_eq!(log.pairing.own_unsent(0, 1, &log.ledger), None);
    // Files before the first one that was read are lost.
    let mut log = Log::new(2);
    log.pairing.begin_origin(1, 4);
    log.receive(1, 0, rows(1, 5)).unwrap();
    assert_eq!(log.pairing.own_unsent(0, 1, &log.ledger), None);
}

/// M1 has lost DDL, which it need not have, and rows after it, which it must have.
#[test]
fn ddl_and_statements_without_rows_do_not_hide_what_follows_them() {
    let ddl = Fingerprint {
        traits: Fingerprint::HAS_STATEMENTS | Fingerprint::LONE_STATEMENT,
        ..rows(1, 5)
    };
    let without_effect = Fingerprint {
        traits: Fingerprint::HAS_STATEMENTS | Fingerprint::MAY_BE_WITHOUT_ROWS,
        ..rows(2, 5)
    };
    let mut log = Log::new(2);
    for fingerprint in [ddl, without_effect] {
        log.receive(1, 0, fingerprint).unwrap();
        assert_eq!(unsent(&mut log), None);
    }
    let lost = log.next_record();
    log.receive(1, 0, rows(3, 5)).unwrap();
    log.receive(1, 0, rows(4, 6)).unwrap();
    log.receive(0, 0, rows(9, 7)).unwrap();
    assert_eq!(unsent(&mut log), Some(lost));
    log.pairing.excuse_own(0, 1, log.next_record());
    assert_eq!(unsent(&mut log), None);
    // If it was only late, nothing is missed.
    for fingerprint in [ddl, without_effect, rows(3, 5), rows(4, 6)] {
        assert_eq!(log.receive(0, 0, fingerprint), Ok(Paired::Copy));
    }
    assert_eq!(unsent(&mut log), None);
}

/// A virtual IP was moved to M1 (path 0), which has purged the files with what M2's path (1) has delivered.
#[test]
fn transactions_of_purged_files_are_not_missed() {
    for restarts in [false, true] {
        let mut log = Log::new(2);
        for content in [1, 2] {
            log.receive(1, 0, rows(content, 90)).unwrap();
        }
        log.pairing.begin_origin(1, 100);
        log.rotate();
        let check = |log: &mut Log| {
            if restarts {
                log.restart();
            }
        };
        assert_eq!(log.receive(0, 0, rows(3, 101)), Ok(Paired::New));
        check(&mut log);
        assert_eq!(unsent(&mut log), None);
        // The peer is ahead: what follows the lost ones is still a copy.
        let ahead = log.next_record();
        log.receive(1, 0, rows(3, 101)).unwrap();
        assert_eq!(log.receive(1, 0, rows(4, 102)), Ok(Paired::New));
        check(&mut log);
        assert!(unsent(&mut log) >= Some(ahead), "its files since have it");
        assert_eq!(log.receive(0, 0, rows(4, 102)), Ok(Paired::Copy));
        assert_eq!(unsent(&mut log), None);
        check(&mut log);
        // One that is lost, although its file was not purged, still contradicts.
        for content in [5, 6] {
            log.receive(1, 0, rows(content, 103)).unwrap();
        }
        assert!(unsent(&mut log).is_some());
        assert_eq!(
            log.receive(0, 0, rows(6, 103)),
            Err(Unaligned::Missing {
                missing_timestamp: 103
            })
        );
    }
}

/// A path with lost files omits one first; what its peer has delivered before is still recognised.
#[test]
fn first_transaction_that_a_peer_omits_leaves_the_queue_unchanged() {
    let mut log = Log::new(2);
    log.pairing.begin_origin(1, 100);
    let count = WINDOW_LEN as u64 * 2;
    for content in 1..count {
        log.receive(1, 0, rows(content, 100 + content as u32))
            .unwrap();
    }
    assert_eq!(log.receive(0, 0, rows(0, 101)), Ok(Paired::New));
    for content in 1..count {
        let copy = rows(content, 100 + content as u32);
        assert_eq!(log.receive(0, 0, copy), Ok(Paired::Copy), "{content}");
    }
}

/// A ring of three: M2 was killed and has logged a transaction of M1 twice; M3 (path 1) logs both.
#[test]
fn repetition_that_a_third_server_has_logged_is_excused() {
    let mut log = Log::new(2);
    for fingerprint in [rows(1, 5), rows(2, 5)] {
        log.receive(0, 0, fingerprint).unwrap();
        assert_eq!(log.receive(1, 0, fingerprint), Ok(Paired::Copy));
    }
    let again = log.next_record();
    assert_eq!(log.receive(1, 0, rows(1, 5)), Ok(Paired::New));
    assert_eq!(unsent(&mut log), Some(again));
    assert!(log.pairing.excuse_repeated(0, 1, again, &log.ledger));
    assert_eq!(unsent(&mut log), None);
    // Others are not.
    let lost = log.next_record();
    assert_eq!(log.receive(1, 0, rows(3, 5)), Ok(Paired::New));
    assert_eq!(unsent(&mut log), Some(lost));
    assert!(!log.pairing.excuse_repeated(0, 1, lost, &log.ledger));
    assert_eq!(unsent(&mut log), Some(lost));
}

#[test]
fn administrator_excuses_what_was_delivered_until_then() {
    let mut log = Log::new(2);
    log.receive(0, 0, rows(1, 5)).unwrap();
    log.receive(1, 0, rows(1, 5)).unwrap();
    for content in [2, 3] {
        log.receive(1, 0, rows(content, 6)).unwrap();
    }
    assert!(unsent(&mut log).is_some());
    log.pairing.excuse_own(0, 1, log.next_record());
    assert_eq!(unsent(&mut log), None);
    let next = log.next_record();
    log.receive(1, 0, rows(4, 7)).unwrap();
    assert_eq!(unsent(&mut log), Some(next));
    // The queue is unchanged.
    for content in [2, 3] {
        assert_eq!(log.receive(0, 0, rows(content, 6)), Ok(Paired::Copy));
    }
    assert_eq!(log.receive(0, 0, rows(4, 7)), Ok(Paired::Copy));
}
