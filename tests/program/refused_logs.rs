//! A relay log one of whose files is wrong is refused by `run` and `verify` for the same reason, before any socket is open,
//! and nothing in it is changed.

#![cfg(debug_assertions)]

use std::collections::BTreeMap;
use std::path::Path;

use crate::stage_failures::Directory;
use crate::support::relay::run_binrelay;

/// The files in `data_dir`, without those that a start writes in any case.
fn log_files(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(data).expect("data_dir");
    let entries = entries.map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).unwrap_or_default())
        })
        .filter(|(name, _)| name.starts_with("relay-bin"))
        .collect()
}

/// `wrong` changes a log that is right.
fn is_refused(wrong: impl Fn(&Path), reason: &str) {
    let relay = Directory::with_log();
    let data = relay.directory.path().join("data");
    wrong(&data);
    let before = log_files(&data);
    let mut running = relay.start(None);
    let output = relay.wait_end(&mut running);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(reason), "run: {log}");
    assert!(!log.contains("listening"), "{log}");
    assert!(log_files(&data) == before, "run has changed the log");
    let verified = run_binrelay(&["verify", data.to_str().expect("UTF-8")]);
    let stderr = String::from_utf8_lossy(&verified.stderr);
    let stdout = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.status.code(), Some(1), "{stdout}{stderr}");
    assert!(
        format!("{stdout}{stderr}").contains(reason),
        "verify: {stdout}{stderr}"
    );
    assert!(log_files(&data) == before, "verify has changed the log");
}

fn index(data: &Path) -> std::path::PathBuf {
    data.join("relay-bin.000001.idx")
}

#[test]
fn missing_index() {
    let remove = |data: &Path| std::fs::remove_file(index(data)).expect("removed");
    is_refused(remove, "the commit index is missing");
}

#[test]
fn older_index() {
    let truncate = |data: &Path| {
        let bytes = std::fs::read(index(data)).expect("the index");
        std::fs::write(index(data), &bytes[..bytes.len() - 64]).expect("written");
    };
    is_refused(
        truncate,
        "the commit index is an older copy, or was truncated",
    );
}

#[test]
fn index_of_another_relay() {
    let other = Directory::with_log();
    let other = index(&other.directory.path().join("data"));
    let copy = |data: &Path| {
        std::fs::copy(&other, index(data)).expect("copied");
    };
    is_refused(copy, "the commit index belongs to another relay log");
}

/// With an older index beside it, so that the log continues after it.
#[test]
fn missing_mark() {
    let remove = |data: &Path| {
        std::fs::remove_file(data.join("relay-bin.durable")).expect("removed");
        let bytes = std::fs::read(index(data)).expect("the index");
        std::fs::write(index(data), &bytes[..bytes.len() / 128 * 64]).expect("written");
    };
    is_refused(remove, "it is not known what replicas have received");
}
