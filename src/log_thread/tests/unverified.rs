//! Copies whose records were removed, so that they cannot be compared with what was delivered.

use super::retention::{before, numbers, plan_before, small_files};
use super::*;
use crate::relay_log::purge;

/// What a peer has omitted cannot be recognised once the records are removed: it must not be dropped silently.
#[test]
fn copies_whose_records_were_removed_are_reported() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        for restarts in [false, true] {
            let dir = fast_dir();
            let options = small_files(dir.path());
            let mut log_thread = created_after(&options, flavor, 3);
            let (mut m1, mut m2) = (TestSource::new(0, flavor), TestSource::new(1, flavor));
            let of = |server_id, number| group(flavor, server_id, number, "", Shape::Small);
            // From before the log: m1's path has begun.
            let first = appended(&mut log_thread, &mut m1, of(80, 3));
            assert_eq!(first, Decision::Duplicate, "{flavor}");
            // M2 omits one on MariaDB, and logs nothing of it.
            for number in (4..=30).filter(|number| *number != 6) {
                let new = matches!(
                    appended(&mut log_thread, &mut m2, of(80, number)),
                    Decision::New(_)
                );
                assert!(new, "{flavor} {number}");
            }
            let keep_from = numbers(&log_thread)[4];
            let removed = before(&options, keep_from);
            assert!(removed.contains(&identity(flavor, 80, 7)));
            let log = log_thread.log().clone();
            purge::purge(&log, &plan_before(keep_from), &mut |_| {}).unwrap();
            if restarts {
                log_thread.close().unwrap();
                log_thread = resume(&options);
            } else {
                log_thread.serve_requests().unwrap();
                // The newest ones are in memory.
                for number in 4..=5 {
                    let copy = appended(&mut log_thread, &mut m1, of(80, number));
                    assert_eq!(copy, Decision::Duplicate, "{flavor} {number}");
                }
            }
            // MySQL: a gap in the set is new.
            let from = if flavor == Flavor::MySql { 7 } else { 6 };
            if restarts {
                for number in from..=7 {
                    let copy = appended(&mut log_thread, &mut m1, of(80, number));
                    assert_eq!(copy, Decision::Unverified, "{flavor} {number}");
                }
            } else {
                if flavor == Flavor::MariaDb {
                    let batch = m1.deliver(&[of(80, 6)]);
                    let omitted = log_thread.append(&batch, &batch.transactions[0]);
                    let error = omitted.unwrap_err().to_string();
                    assert!(error.contains("0-80-6 was not delivered"), "{error}");
                }
                let copy = appended(&mut log_thread, &mut m1, of(80, 7));
                assert_eq!(copy, Decision::Duplicate, "{flavor}");
            }
            // What the filter drops is not missing, and the peer's copies show nothing.
            let emptied = group(flavor, 80, 8, "", Shape::Emptied);
            let copy = appended(&mut log_thread, &mut m1, emptied);
            assert_eq!(copy, Decision::Duplicate, "{flavor} {restarts}");
            let copy = appended(&mut log_thread, &mut m2, of(80, 9));
            assert_ne!(copy, Decision::Unverified, "{flavor} {restarts}");
            // Those that have records are compared.
            let mut copy = Decision::Unverified;
            for number in 9..=30 {
                copy = appended(&mut log_thread, &mut m1, of(80, number));
            }
            assert_eq!(copy, Decision::Duplicate, "{flavor} {restarts}");
        }
    }
}

/// A virtual IP that was moved, or a source that was added or continued, begins with what was delivered long ago.
#[test]
fn what_was_delivered_when_a_path_began_is_not_reported() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let dir = fast_dir();
        let options = small_files(dir.path());
        let mut log_thread = created_after(&options, flavor, 3);
        let (mut m1, mut m2) = (TestSource::new(0, flavor), TestSource::new(1, flavor));
        let of = |number| group(flavor, 80, number, "", Shape::Small);
        for number in 4..=30 {
            appended(&mut log_thread, &mut m2, of(number));
        }
        let keep_from = numbers(&log_thread)[4];
        let log = log_thread.log().clone();
        purge::purge(&log, &plan_before(keep_from), &mut |_| {}).unwrap();
        log_thread.close().unwrap();
        let mut log_thread = resume(&options);
        for number in 4..=30 {
            let copy = appended(&mut log_thread, &mut m1, of(number));
            assert_eq!(copy, Decision::Duplicate, "{flavor} {number}");
        }
    }
}

/// A log before which the first transactions of server 80 lie.
fn created_after(options: &LogOptions, flavor: Flavor, count: u64) -> LogThread {
    let mut before = Executed::empty(flavor);
    for number in 1..=count {
        before.record(&identity(flavor, 80, number));
    }
    LogThread::create(options.clone(), &format(flavor), before, Vec::new()).unwrap()
}

fn identity(flavor: Flavor, server_id: u32, number: u64) -> Identity {
    let group = group(flavor, server_id, number, "", Shape::Small);
    let mut source = TestSource::new(0, flavor);
    source.deliver(&[group]).transactions[0].identity
}

fn appended(log_thread: &mut LogThread, source: &mut TestSource, group: Vec<Vec<u8>>) -> Decision {
    let batch = source.deliver(&[group]);
    let decision = log_thread.append(&batch, &batch.transactions[0]).unwrap();
    log_thread.commit().unwrap();
    decision
}
