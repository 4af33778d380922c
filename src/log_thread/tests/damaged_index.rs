//! Removal of files whose index is damaged.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::relay_log::index_record::RECORD_LEN;
use crate::relay_log::purge;
use crate::relay_log::removed_until;

/// A damaged or missing index of an old file keeps no file; what its file may have had counts as removed.
#[test]
fn files_with_a_damaged_index_are_removed() {
    let dir = fast_dir();
    let options = LogOptions {
        max_size: 700,
        ..options(dir.path())
    };
    let mut log_thread = create(&options, Flavor::MySql);
    let (mut m0, mut m1) = (
        TestSource::new(0, Flavor::MySql),
        TestSource::new(1, Flavor::MySql),
    );
    for number in 1..=24 {
        let one = group(Flavor::MySql, 80, number, "", Shape::Small);
        for source in [&mut m0, &mut m1] {
            let batch = source.deliver(std::slice::from_ref(&one));
            log_thread.append(&batch, &batch.transactions[0]).unwrap();
        }
        log_thread.commit().unwrap();
    }
    let log = log_thread.log().clone();
    assert!(log.state().files.len() > 5);
    let path = options.log_dir.index_path(2);
    let mut index = fs::read(&path).unwrap();
    let end = index.len() - RECORD_LEN;
    index[end - 10] ^= 1;
    fs::write(&path, index).unwrap();
    let purge_to = |number| purge::purge_to(&log, number, SystemTime::now());
    assert_eq!(purge_to(3).unwrap().removed, 2);
    let written = fs::metadata(options.log_dir.log_path(3)).unwrap();
    let written = written.modified().unwrap().duration_since(UNIX_EPOCH);
    let near = u32::try_from(written.unwrap().as_secs()).unwrap() - 60;
    let removed = removed_until::read(&options.log_dir).unwrap();
    let servers: Vec<u32> = removed.keys().copied().collect();
    assert_eq!(servers, [80, 81]);
    assert!(removed.values().all(|until| *until > near), "{removed:?}");
    fs::remove_file(options.log_dir.index_path(3)).unwrap();
    assert_eq!(purge_to(4).unwrap().removed, 1);
    log_thread.close().unwrap();
    drop(log_thread);
    drop(resume(&options));
}
