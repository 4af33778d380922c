//! Crashes while `relay-bin.durable` is written or emptied: the next start must not refuse a
//! directory that is correct.

use std::fs;

use super::anonymous::{append_all, create_anonymous, insert, source};
use super::crash::{DURABLE, Files, INDEX, LIST, LOG, dir_with, files_of};
use super::*;

/// A relay log whose source `m0` is still read up to its start.
fn reading_back(options: &LogOptions) -> LogThread {
    let progress = SourceProgress {
        position: SourcePosition::new("bin.000001", 4),
        server_id: 80,
        reading_back: true,
        ..SourceProgress::default()
    };
    create_anonymous(options, vec![progress])
}

/// The next start creates the log again, and a further one recovers it.
fn assert_begins_again(files: &Files, what: &str) {
    let (_dir, options) = dir_with(files);
    let outcome = recover(&options.log_dir, &options.source_names);
    assert!(matches!(outcome, Ok(None)), "{what}: {outcome:?}");
    let mut log_thread = reading_back(&options);
    log_thread.close().unwrap();
    let outcome = recover(&options.log_dir, &options.source_names);
    assert!(matches!(outcome, Ok(None)), "{what}: {outcome:?}");
}

/// The files of a first start before the log begins, and its first log file with the Rotate event
/// that is written when the log begins.
fn before_the_log_begins() -> (Files, Vec<u8>) {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut log_thread = reading_back(&options);
    let mut m1 = source(0);
    m1.assembler.set_before_start(true);
    let batch = m1.deliver(&[insert(80, 1), insert(80, 2)]);
    assert_eq!(append_all(&mut log_thread, &batch), [false, false]);
    log_thread.commit().unwrap();
    let files = files_of(&options);
    m1.assembler.set_before_start(false);
    let begins = m1.assembler.take_batch().unwrap();
    log_thread.move_source(&begins).unwrap();
    let rotated = fs::read(options.log_dir.log_path(1)).unwrap();
    assert!(rotated.len() > files[LOG].len(), "it rotated");
    (files, rotated)
}

#[test]
fn removal_of_a_log_that_had_not_begun_can_be_interrupted_after_each_step() {
    let (mut files, _) = before_the_log_begins();
    assert_begins_again(&files, "before the first step");
    files.insert(DURABLE.to_owned(), Vec::new());
    assert_begins_again(&files, "the mark is empty");
    files.insert(LIST.to_owned(), Vec::new());
    assert_begins_again(&files, "the list is empty");
    files.remove(LOG);
    assert_begins_again(&files, "the log file is removed");
    files.remove(INDEX);
    assert_begins_again(&files, "the index is removed");
}

/// With the mark, an empty list would look like one that was lost.
#[test]
fn mark_is_emptied_before_the_list() {
    let (files, _) = before_the_log_begins();
    let (_dir, options) = dir_with(&files);
    // Where the new list is written first.
    let obstacle = options.log_dir.dir.join(format!("{LIST}.new"));
    fs::create_dir(&obstacle).unwrap();
    assert!(recover(&options.log_dir, &options.source_names).is_err());
    let mark = fs::read(options.log_dir.durable_path()).unwrap();
    assert!(mark.is_empty());
    assert_eq!(options.log_dir.read_list().unwrap(), [1]);
    fs::remove_dir(&obstacle).unwrap();
    let outcome = recover(&options.log_dir, &options.source_names).unwrap();
    assert!(outcome.is_none());
}

/// The file may have the Rotate event that the beginning of the log writes, whole or torn. This is
/// no reason to refuse it when its removal is interrupted and the list no longer names it.
#[test]
fn log_that_had_not_begun_is_removed_with_its_rotate_event() {
    let (mut files, rotated) = before_the_log_begins();
    for len in files[LOG].len()..=rotated.len() {
        files.insert(LOG.to_owned(), rotated[..len].to_vec());
        assert_begins_again(&files, &format!("{len} bytes"));
    }
    files.insert(DURABLE.to_owned(), Vec::new());
    assert_begins_again(&files, "the mark is empty");
    files.insert(LIST.to_owned(), Vec::new());
    assert_begins_again(&files, "the list is empty");
}

/// After a power failure a file can have its length, but not its bytes.
#[test]
fn mark_that_was_never_written_proves_nothing() {
    let (files, _) = before_the_log_begins();
    let dir = fast_dir();
    let options = options(dir.path());
    create(&options, Flavor::MySql).close().unwrap();
    let begun = files_of(&options);
    for len in [0, 1, 64] {
        let mut files = files.clone();
        files.insert(DURABLE.to_owned(), vec![0; len]);
        assert_begins_again(&files, &format!("{len} bytes"));
        let mut files = begun.clone();
        files.insert(DURABLE.to_owned(), vec![0; len]);
        let (_dir, options) = dir_with(&files);
        resume(&options).close().unwrap();
        resume(&options).close().unwrap();
    }
}

/// A rotation writes the mark when the old file has its Rotate event, which no index record counts.
#[test]
fn mark_that_counts_the_rotate_event_is_accepted_with_and_without_the_next_file() {
    let dir = fast_dir();
    let mut options = options(dir.path());
    options.max_size = 1;
    let mut log_thread = create(&options, Flavor::MySql);
    let mut m1 = TestSource::new(0, Flavor::MySql);
    let groups = [1, 2].map(|number| group(Flavor::MySql, 80, number, "", Shape::Small));
    let batch = m1.deliver(&groups);
    log_thread.append(&batch, &batch.transactions[0]).unwrap();
    log_thread.commit().unwrap();
    let mark = fs::read(options.log_dir.durable_path()).unwrap();
    // The next file cannot be created.
    fs::create_dir(options.log_dir.log_path(2)).unwrap();
    log_thread
        .append(&batch, &batch.transactions[1])
        .unwrap_err();
    drop(log_thread);
    assert_ne!(fs::read(options.log_dir.durable_path()).unwrap(), mark);
    fs::remove_dir(options.log_dir.log_path(2)).unwrap();
    for _ in 0..2 {
        let recovered = recovered(&options);
        let end = recovered.end.offset;
        let log_thread = LogThread::resume(options.clone(), recovered).unwrap();
        drop(log_thread);
        assert!(end > 0);
    }
    assert_eq!(super::read_back::transactions(&options.log_dir).len(), 1);
}
