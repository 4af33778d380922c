//! Before the size forces away what a replica needs, a warning names the replica and the cost.

use std::time::{Duration, SystemTime};

use super::retention::{filled, numbers, small_files};
use super::*;
use crate::position::RelayLogPosition;
use crate::relay_log::RetentionOptions;
use crate::relay_log::purge::{self, file_facts};
use crate::relay_log::retention::known_replicas::seen;

/// Compares the size with this limit, and returns what the status warns of.
fn warnings_with(log_thread: &LogThread, max_total_size: u64) -> Vec<String> {
    let log = log_thread.log();
    log.retention().change_options(RetentionOptions {
        max_total_size: Some(max_total_size),
        keep_for_replicas: Duration::from_secs(1000),
        ..RetentionOptions::default()
    });
    purge::enforce(log, SystemTime::now()).unwrap();
    log.retention().warnings()
}

#[test]
fn replica_is_named_before_the_size_takes_its_files() {
    let dir = fast_dir();
    let options = small_files(dir.path());
    let mut log_thread = filled(&options, Flavor::MySql);
    let end = RelayLogPosition { file: 1, offset: 4 };
    let names = ("host".to_owned(), "repl".to_owned());
    let known = seen(12, None, names, end);
    log_thread.log().retention().replicas.note(known);
    let path = options.log_dir.log_path(1);
    let files = file_facts(log_thread.log()).unwrap();
    let total: u64 = files.iter().map(|file| file.len).sum();
    let largest = files.iter().map(|file| file.len).max().unwrap();

    // There is space for a whole file more.
    assert_eq!(warnings_with(&log_thread, total + largest), [""; 0]);
    let needs = "because the log reaches max_total_size, although replica 12 (host) needs it: it must be seeded again";
    let expected = [format!("relay-bin.000001 will soon be removed, {needs}")];
    assert_eq!(warnings_with(&log_thread, total), expected);
    assert_eq!(numbers(&log_thread).len(), files.len());
    assert!(path.exists());

    let mut m1 = TestSource::new(0, Flavor::MySql);
    let mut number = 100;
    while numbers(&log_thread).len() == files.len() {
        let batch = m1.deliver(&[group(Flavor::MySql, 80, number, "", Shape::Small)]);
        log_thread.append(&batch, &batch.transactions[0]).unwrap();
        log_thread.commit().unwrap();
        number += 1;
    }
    let expected = [format!("relay-bin.000001 is removed, {needs}")];
    assert_eq!(warnings_with(&log_thread, total), expected);
    assert!(numbers(&log_thread)[0] > 1 && !path.exists());
    let expected = "replica 12 (host) was sent the log up to relay-bin.000001:4, and what follows was removed: seed it again";
    assert_eq!(warnings_with(&log_thread, total), [expected]);
}
