//! Removal of old files: what is kept, what it costs, and crashes at every step.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::anonymous::{append_all, create_anonymous, insert, source};
use super::crash::{Files, dir_with, files_of};
use super::*;
use crate::merge::MergeError;
use crate::merge::pairing::Unaligned;
use crate::relay_log::RetentionOptions;
use crate::relay_log::purge::{self, PurgeStep, Purged, file_facts};
use crate::relay_log::retention::policy::{NeedKind, Plan};

pub(super) fn small_files(dir: &Path) -> LogOptions {
    LogOptions {
        max_size: 700,
        source_names: vec!["m0".into(), "m1".into()],
        ..options(dir)
    }
}

pub(super) fn numbers(log_thread: &LogThread) -> Vec<u64> {
    log_thread.log().state().files.clone()
}

/// A log of some files, with copies by a second source.
pub(super) fn filled(options: &LogOptions, flavor: Flavor) -> LogThread {
    let mut log_thread = create(options, flavor);
    let (mut m1, mut m2) = (TestSource::new(0, flavor), TestSource::new(1, flavor));
    for number in 1..=24 {
        let one = group(flavor, 80, number, "", Shape::Small);
        for source in [&mut m1, &mut m2] {
            let batch = source.deliver(std::slice::from_ref(&one));
            log_thread.append(&batch, &batch.transactions[0]).unwrap();
        }
        log_thread.commit().unwrap();
    }
    assert!(numbers(&log_thread).len() > 5);
    log_thread
}

pub(super) fn plan_before(keep_from: u64) -> Plan {
    Plan {
        keep_from,
        forced: Vec::new(),
        holding: Vec::new(),
    }
}

/// The GTIDs before a file, as its head says.
pub(super) fn before(options: &LogOptions, number: u64) -> Executed {
    reader::FileHead::read(&options.log_dir.log_path(number))
        .unwrap()
        .previous
}

#[test]
fn log_recovers_from_a_crash_at_every_step_of_a_removal() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let dir = fast_dir();
        let options = small_files(dir.path());
        let mut log_thread = filled(&options, flavor);
        let executed = log_thread.log().state().executed.clone();
        let files = numbers(&log_thread);
        let (first, keep_from) = (files[0], files[3]);
        let purged = before(&options, keep_from);
        let mut crashes: Vec<(String, Files)> = vec![("before".to_owned(), files_of(&options))];
        let log = log_thread.log().clone();
        let removed = purge::purge(&log, &plan_before(keep_from), &mut |step: PurgeStep| {
            crashes.push((format!("{step:?}"), files_of(&options)));
        });
        assert_eq!(removed.unwrap().removed, 3);
        assert_eq!(log.state().files, files[3..]);
        assert_eq!(log.state().purged, purged);
        assert_eq!(crashes.len(), 1 + 2 + 2 * 3);
        for (step, files) in &crashes {
            let (_dir, options) = dir_with(files);
            let found = recovered(&options);
            purge::delete_leftovers(&options.log_dir, &found.files, found.log_id).unwrap();
            let is_removed = found.files[0] == keep_from;
            assert!(is_removed || found.files[0] == first, "{flavor} {step}");
            assert_eq!(found.executed, executed, "{flavor} {step}");
            let expected = before(&options, found.files[0]);
            assert_eq!(found.purged, expected, "{flavor} {step}");
            // What is in the directory is in the list.
            let names: BTreeSet<String> = files_of(&options).into_keys().collect();
            for number in 1..=files.len() as u64 {
                let name = options.log_dir.file_name(number);
                let is_listed = found.files.contains(&number);
                assert_eq!(names.contains(&name), is_listed, "{flavor} {step} {name}");
                let index = names.contains(&format!("{name}.idx"));
                assert_eq!(index, is_listed, "{flavor} {step} {name}.idx");
            }
            let resumed = LogThread::resume(options.clone(), found).unwrap();
            assert_eq!(resumed.log().state().executed, executed, "{flavor} {step}");
        }
        // The log continues, and is right after a restart, too.
        let mut m1 = TestSource::new(0, flavor);
        let batch = m1.deliver(&[group(flavor, 80, 99, "", Shape::Small)]);
        log_thread.append(&batch, &batch.transactions[0]).unwrap();
        log_thread.close().unwrap();
        let log_thread = resume(&options);
        assert_eq!(log_thread.log().state().purged, purged);
        assert_eq!(numbers(&log_thread)[0], keep_from);
        assert_eq!(options.log_dir.read_list().unwrap()[0], keep_from);
    }
}

/// Files that are older than the list, but not of this log, are not touched.
#[test]
fn foreign_files_are_not_deleted() {
    let dir = fast_dir();
    let options = small_files(dir.path());
    let log_thread = filled(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let other_dir = fast_dir();
    drop(filled(&small_files(other_dir.path()), Flavor::MySql));
    purge::purge(&log, &plan_before(4), &mut |_| {}).unwrap();
    drop(log_thread);
    for name in ["relay-bin.000001", "relay-bin.000001.idx"] {
        std::fs::copy(other_dir.path().join(name), dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("relay-bin.000002"), b"mine").unwrap();
    let found = recovered(&options);
    purge::delete_leftovers(&options.log_dir, &found.files, found.log_id).unwrap();
    let names = files_of(&options);
    for name in [
        "relay-bin.000001",
        "relay-bin.000001.idx",
        "relay-bin.000002",
    ] {
        assert!(names.contains_key(name), "{name}");
    }
}

#[test]
fn statement_keeps_what_readers_and_replicas_need_and_says_so() {
    let dir = fast_dir();
    let options = LogOptions {
        retention: RetentionOptions {
            keep_for_replicas: Duration::from_secs(1000),
            ..RetentionOptions::default()
        },
        ..small_files(dir.path())
    };
    let log_thread = filled(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let now = SystemTime::now();
    let pin = log.pin("replica 11 (x), connected".to_owned());
    pin.move_to(3);
    let end = crate::position::RelayLogPosition { file: 4, offset: 9 };
    let names = ("y".to_owned(), "repl".to_owned());
    let known = crate::relay_log::retention::known_replicas::seen(12, None, names, end);
    log.retention().replicas.note(known);
    let purged = purge::purge_to(&log, 6, now).unwrap();
    assert_eq!((purged.removed, purged.wanted), (2, 5));
    let kinds: Vec<_> = purged
        .kept
        .iter()
        .map(|need| (need.file, need.kind))
        .collect();
    assert_eq!(kinds, [(3, NeedKind::Reader), (4, NeedKind::Replica)]);
    drop(pin);
    let purged = purge::purge_to(&log, 6, now).unwrap();
    assert_eq!((purged.removed, purged.wanted), (1, 3));
    // It was not seen for longer than it keeps files; and it is known after a restart.
    assert_eq!(log.retention().replicas.list().len(), 1);
    drop(log_thread);
    let log_thread = resume(&options);
    let log = log_thread.log();
    assert_eq!(log.retention().replicas.list()[0].server_id, 12);
    assert_eq!(purge::purge_to(log, 6, now).unwrap().removed, 0);
    let later = now + Duration::from_secs(2000);
    assert_eq!(purge::purge_to(log, u64::MAX, later).unwrap().kept, []);
    // The active file always remains.
    assert_eq!(numbers(&log_thread).len(), 1);
    assert_eq!(
        purge::purge_to(log, u64::MAX, later).unwrap(),
        Purged::default()
    );
}

/// A dump that begins while files are being removed finds all that it was promised.
#[test]
fn reader_that_begins_during_a_removal_keeps_its_file() {
    let dir = fast_dir();
    let options = small_files(dir.path());
    let log_thread = filled(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let mut pin = None;
    let purged = purge::purge(&log, &plan_before(5), &mut |step| {
        if step == PurgeStep::Recorded {
            let begun = log.pin("replica 11".to_owned());
            begun.move_to(2);
            pin = Some(begun);
        }
    });
    assert_eq!(purged.unwrap().removed, 1);
    assert_eq!(log.state().files[0], 2);
    assert_eq!(options.log_dir.read_list().unwrap()[0], 2);
}

fn with_limits(dir: &Path, max_total_size: Option<u64>) -> LogOptions {
    LogOptions {
        retention: RetentionOptions {
            expire_after: Some(Duration::from_secs(3600)),
            max_total_size,
            ..RetentionOptions::default()
        },
        ..small_files(dir)
    }
}

/// Runs the policy until nothing changes any more, as the relay does.
fn enforce(log_thread: &mut LogThread, now: SystemTime) {
    for _ in 0..3 {
        let log = log_thread.log().clone();
        purge::enforce(&log, now).unwrap();
        log_thread.serve_requests().unwrap();
    }
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(7200)
}

/// M2 was away while M1 wrote: its copies are recognised, however old, unless the size forces removal;
/// then it is refused, and nothing is delivered twice.
#[test]
fn copies_of_a_source_that_is_away_are_recognised_or_refused() {
    for max_total_size in [None, Some(4000)] {
        let dir = fast_dir();
        let options = with_limits(dir.path(), max_total_size);
        let mut log_thread = create_anonymous(&options, Vec::new());
        let (mut m1, mut m2) = (source(0), source(1));
        let groups: Vec<_> = (1..=30).map(|number| insert(80, number)).collect();
        append_all(&mut log_thread, &m2.deliver(&[insert(81, 1000)]));
        for one in &groups {
            append_all(&mut log_thread, &m1.deliver(std::slice::from_ref(one)));
            log_thread.commit().unwrap();
        }
        let count = numbers(&log_thread).len();
        enforce(&mut log_thread, later());
        let first = numbers(&log_thread)[0];
        match max_total_size {
            None => assert_eq!(first, 1, "M2 needs all files"),
            Some(_) => assert!(first > 3 && numbers(&log_thread).len() < count, "{first}"),
        }
        drop(log_thread);
        let mut log_thread = resume(&options);
        let batch = m2.deliver(&groups);
        let outcomes: Vec<_> = batch
            .transactions
            .iter()
            .map_while(|transaction| match log_thread.append(&batch, transaction) {
                Ok(decision) => Some(decision),
                Err(AppendError::Refused(Refusal::Merge(MergeError::Unaligned {
                    cause: Unaligned::Removed,
                    ..
                }))) => None,
                Err(other) => panic!("{other:?}"),
            })
            .collect();
        assert!(
            outcomes.iter().all(|one| *one == Decision::Duplicate),
            "{outcomes:?}"
        );
        let expected = if max_total_size.is_none() { 30 } else { 0 };
        assert_eq!(outcomes.len(), expected);
        // What is certainly later is new, whichever source sends it.
        append_all(&mut log_thread, &m1.deliver(&[insert(80, 2000)]));
        log_thread.commit().unwrap();
    }
}

/// Once both sources have sent everything, only age decides.
#[test]
fn files_that_no_source_needs_expire() {
    let dir = fast_dir();
    let options = with_limits(dir.path(), None);
    let mut log_thread = create_anonymous(&options, Vec::new());
    let (mut m1, mut m2) = (source(0), source(1));
    for number in 1..=30 {
        let one = [insert(80, number)];
        assert_eq!(append_all(&mut log_thread, &m1.deliver(&one)), [true]);
        assert_eq!(append_all(&mut log_thread, &m2.deliver(&one)), [false]);
        log_thread.commit().unwrap();
    }
    let before = numbers(&log_thread).len();
    enforce(&mut log_thread, SystemTime::now());
    assert_eq!(numbers(&log_thread).len(), before, "nothing has expired");
    enforce(&mut log_thread, later());
    let left = numbers(&log_thread);
    // The queues of the newest index begin in the file before it at the earliest.
    assert!(left.len() <= 2, "{left:?} of {before}");
    let facts = file_facts(log_thread.log()).unwrap();
    assert_eq!(facts.len(), left.len());
    drop(log_thread);
    let mut log_thread = resume(&options);
    let one = [insert(80, 30), insert(80, 31)];
    assert_eq!(append_all(&mut log_thread, &m2.deliver(&one[1..])), [true]);
    assert_eq!(append_all(&mut log_thread, &m1.deliver(&one[1..])), [false]);
}

/// M2 does not log what it replicates: it will never send copies, and keeps nothing.
#[test]
fn source_that_does_not_log_what_it_replicates_keeps_nothing() {
    let dir = fast_dir();
    let options = with_limits(dir.path(), None);
    let mut log_thread = create_anonymous(&options, Vec::new());
    let (mut m1, mut m2) = (source(0), source(1));
    for number in 1..=30 {
        append_all(&mut log_thread, &m1.deliver(&[insert(80, number)]));
        append_all(&mut log_thread, &m2.deliver(&[insert(81, 100 + number)]));
        log_thread.commit().unwrap();
    }
    let before = numbers(&log_thread).len();
    enforce(&mut log_thread, later());
    assert_eq!(numbers(&log_thread).len(), before);
    for name in ["m0", "m1"] {
        log_thread.log().retention().note_updates(name, false);
    }
    enforce(&mut log_thread, later());
    assert!(numbers(&log_thread).len() <= 2);
    // Later transactions are new on both paths, after a restart as well.
    drop(log_thread);
    let mut log_thread = resume(&options);
    let next = make_later(&mut m1, 80);
    assert_eq!(append_all(&mut log_thread, &next), [true]);
    let next = make_later(&mut m2, 81);
    assert_eq!(append_all(&mut log_thread, &next), [true]);
}

/// A transaction of a later second than all others.
fn make_later(source: &mut TestSource, origin: u32) -> TransactionBatch {
    let mut group = insert(origin, 5000);
    for event in &mut group {
        let timestamp = u32::from_le_bytes(event[..4].try_into().unwrap()) + 100;
        event[..4].copy_from_slice(&timestamp.to_le_bytes());
        crate::binlog::event::write_checksum(event).unwrap();
    }
    source.deliver(&[group])
}

/// A source that only begins new files, again and again, does not make the index grow without limit.
#[test]
fn size_of_the_index_begins_a_new_file() {
    let dir = fast_dir();
    let options = LogOptions {
        max_size: 64 * 1024,
        ..options(dir.path())
    };
    let mut log_thread = create(&options, Flavor::MySql);
    let mut m1 = TestSource::new(0, Flavor::MySql);
    for _ in 0..5000 {
        let batch = m1.next_file();
        log_thread.move_source(&batch).unwrap();
    }
    log_thread.commit().unwrap();
    let files = numbers(&log_thread);
    assert!(files.len() > 5, "{files:?}");
    for number in files {
        let len = std::fs::metadata(options.log_dir.index_path(number))
            .unwrap()
            .len();
        assert!(len < 70 * 1024, "{len}");
    }
    log_thread.close().unwrap();
    let again = resume(&options);
    assert_eq!(
        again.log().state().sources[0].position.file.as_ref(),
        "bin.005001"
    );
}

/// A path that begins while files are being removed finds its first file, even if the size forces the removal.
#[test]
fn path_that_begins_during_a_removal_keeps_its_file() {
    let dir = fast_dir();
    let options = small_files(dir.path());
    let log_thread = filled(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let forced = Plan {
        forced: vec![crate::relay_log::retention::policy::Need {
            file: 1,
            kind: NeedKind::Pairing,
            who: String::new(),
        }],
        ..plan_before(4)
    };
    let mut begins = |step| {
        if step == PurgeStep::Recorded {
            assert_eq!(log.keep_for_path().file, 1);
        }
    };
    assert_eq!(purge::purge(&log, &forced, &mut begins).unwrap().removed, 0);
    assert_eq!(numbers(&log_thread)[0], 1);
    log.retention().set_paths(Vec::new());
    assert_eq!(purge::purge(&log, &forced, &mut |_| {}).unwrap().removed, 3);
}

/// What a path needs must never be skipped because its file is missing.
#[test]
fn missing_index_is_an_error() {
    use crate::merge::pairing::Ledger as _;
    let dir = fast_dir();
    let options = small_files(dir.path());
    let mut log_thread = create_anonymous(&options, Vec::new());
    let mut m1 = source(0);
    for number in 1..=20 {
        append_all(&mut log_thread, &m1.deliver(&[insert(80, number)]));
        log_thread.commit().unwrap();
    }
    let from = RecordNumber { file: 2, record: 0 };
    let read = |log_thread: &LogThread| log_thread.log.ledger().read(from, 80, &mut |_| true);
    assert_eq!(read(&log_thread), Ok(None));
    std::fs::remove_file(options.log_dir.index_path(2)).unwrap();
    let error = read(&log_thread).unwrap_err();
    assert!(error.contains("relay-bin.000002.idx"), "{error}");
    // Files that cannot be read are kept, and the log continues.
    log_thread.log().retention().request_loss(4);
    log_thread.serve_requests().unwrap();
    append_all(&mut log_thread, &m1.deliver(&[insert(80, 21)]));
    log_thread.commit().unwrap();
}

/// An administrator has shortened the list: nothing is deleted, and the start is refused.
#[test]
fn files_that_an_edited_list_lacks_are_refused_and_kept() {
    let dir = fast_dir();
    let options = small_files(dir.path());
    let log_thread = filled(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    purge::purge(&log, &plan_before(3), &mut |_| {}).unwrap();
    let files = numbers(&log_thread);
    drop(log_thread);
    options.log_dir.write_list(&files[2..]).unwrap();
    let found = recovered(&options);
    let before = files_of(&options);
    let start = purge::delete_leftovers(&options.log_dir, &found.files, found.log_id);
    let error = start.unwrap_err().to_string();
    assert!(error.contains("binrelay has not removed it"), "{error}");
    assert!(files_of(&options) == before);
    options.log_dir.write_list(&files).unwrap();
    let found = recovered(&options);
    purge::delete_leftovers(&options.log_dir, &found.files, found.log_id).unwrap();
    assert!(files_of(&options).contains_key("relay-bin.000003"));
}

/// Transactions with the relay's own server_id are dropped: no source ever sends copies of them that need old files.
/// M0's binlog has some of a retired server, and M1's path has some to be paired from before the relay had this
/// server_id.
#[test]
fn transactions_with_the_own_server_id_keep_no_files() {
    for was_another in [false, true] {
        let dir = fast_dir();
        let options = with_limits(dir.path(), None);
        let mut log_thread = create_anonymous(
            &LogOptions {
                server_id: if was_another { OWN + 1 } else { OWN },
                ..options.clone()
            },
            Vec::new(),
        );
        let (mut m1, mut m2) = (source(0), source(1));
        let is_new = append_all(&mut log_thread, &m1.deliver(&[insert(OWN, 1)]));
        assert_eq!(is_new, [was_another]);
        log_thread.commit().unwrap();
        drop(log_thread);
        let mut log_thread = resume(&options);
        for number in 1..=20 {
            let one = [insert(80, number)];
            append_all(&mut log_thread, &m1.deliver(&one));
            append_all(&mut log_thread, &m2.deliver(&one));
            log_thread.commit().unwrap();
        }
        assert!(numbers(&log_thread).len() > 5);
        enforce(&mut log_thread, later());
        let left = numbers(&log_thread);
        assert!(left.len() <= 2, "{left:?}");
    }
}
