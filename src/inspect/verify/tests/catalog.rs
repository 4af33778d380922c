//! `list` and `search` against the events of the log files themselves.

use super::*;
use crate::binlog::Opener;
use crate::identity::Identity;
use crate::inspect::catalog::{Wanted, find, list};

/// Each transaction with a GTID in the log: its file, and where it begins.
fn openers(log_dir: &LogDir) -> Vec<(String, u64, Identity)> {
    let mut found = Vec::new();
    for number in log_dir.read_list().unwrap() {
        let mut reader = EventReader::open(&log_dir.log_path(number), 1 << 20).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            if event.header.event_type.is_gtid() {
                let opener = Opener::parse(reader.event(), reader.is_checksummed()).unwrap();
                let identity = Identity::of_opener(&opener);
                found.push((log_dir.file_name(number), event.position, identity));
            }
        }
    }
    found
}

#[test]
fn files_are_listed_as_they_are() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let report = verify(dir.path()).unwrap();
        let files = list(&log_dir(dir.path())).unwrap();
        assert_eq!(files.len(), report.files.len(), "{kind}");
        for (file, verified) in files.iter().zip(&report.files) {
            assert_eq!(file.file, verified.name, "{kind}");
            assert_eq!(file.bytes, verified.verified_to, "{kind}");
            assert_eq!(file.transactions, verified.transactions, "{kind}");
            assert!(
                file.first_commit_us <= file.last_commit_us,
                "{kind}: {file:?}"
            );
            assert_eq!(
                file.first_commit_us.is_some(),
                file.transactions > 0,
                "{kind}"
            );
        }
        if report.executed.kind() != crate::identity::IdentityKind::Anonymous {
            let newest = files
                .iter()
                .rev()
                .find(|file| file.transactions > 0)
                .unwrap();
            assert!(!newest.gtids.is_empty(), "{kind}");
        }
    }
}

#[test]
fn transaction_is_found_by_its_gtid() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let log_dir = log_dir(dir.path());
        let openers = openers(&log_dir);
        let with_gtid = openers
            .iter()
            .filter(|opener| !matches!(opener.2, Identity::Anonymous(_)));
        for (file, begin, identity) in with_gtid {
            let wanted = Wanted::Gtid(*identity);
            let found = find(&log_dir, &wanted).unwrap().expect("it is in the log");
            assert_eq!((&found.file, found.begin), (file, *begin), "{kind}");
            assert_eq!(found.gtid, Some(identity.to_string()));
            let is_next = |next: &&(String, u64, Identity)| next.0 == *file && next.1 > *begin;
            if let Some(next) = openers.iter().find(is_next) {
                assert_eq!(found.end, next.1, "{kind}");
            }
            assert_eq!(found.delivered_by.source, "m1");
        }
    }
}

#[test]
fn transaction_is_found_by_its_time() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let log_dir = log_dir(dir.path());
        let first = find(&log_dir, &Wanted::CommittedFrom(0)).unwrap().unwrap();
        let files = list(&log_dir).unwrap();
        let with_transactions = files.iter().find(|file| file.transactions > 0).unwrap();
        assert_eq!(first.file, with_transactions.file, "{kind}");
        let last = files
            .iter()
            .filter_map(|file| file.last_commit_us)
            .max()
            .unwrap();
        let found = find(&log_dir, &Wanted::CommittedFrom(last))
            .unwrap()
            .unwrap();
        assert_eq!(found.commit_us, last, "{kind}");
        let none = find(&log_dir, &Wanted::CommittedFrom(last + 1)).unwrap();
        assert_eq!(none, None, "{kind}");
    }
}

#[test]
fn record_that_is_being_written_is_the_end() {
    let dir = relay_log(FIXTURES[0]);
    let log_dir = log_dir(dir.path());
    let before = list(&log_dir).unwrap();
    let path = log_dir.index_path(newest(dir.path()));
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([0; RECORD_LEN]);
    fs::write(&path, bytes).unwrap();
    assert_eq!(list(&log_dir).unwrap(), before);
}
