//! A commit index that does not belong to its log file is refused by `run` (which recovers the log)
//! and by `verify`, for the same reason, and nothing on disk is changed.

use std::collections::BTreeMap;

use super::*;

type Files = BTreeMap<String, Vec<u8>>;

fn files_in(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// `run` and `verify` refuse the log with this reason, and name the file.
fn assert_refused(dir: &Path, name: &str, reason: &str) {
    let before = files_in(dir);
    let error = recover::recover(&log_dir(dir), &["m1".into()]).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains(name) && error.contains(reason),
        "run: {error}"
    );
    assert!(error.contains("restore"), "run: {error}");
    assert_eq!(files_in(dir), before, "run changes nothing: {reason}");
    let problems: Vec<String> = match verify(dir) {
        Ok(report) => {
            let problems = report.files.iter().flat_map(|file| &file.problems);
            problems
                .map(|problem| format!("{}: {}", problem.path.display(), problem.what))
                .collect()
        }
        Err(error) => vec![error.to_string()],
    };
    let is_named = |problem: &String| problem.contains(name) && problem.contains(reason);
    assert!(problems.iter().any(is_named), "verify: {problems:?}");
    assert_eq!(files_in(dir), before, "verify changes nothing: {reason}");
}

const FIRST: &str = "relay-bin.000001.idx";

#[test]
fn missing_index_is_refused() {
    for number in [1, 2] {
        let dir = relay_log(FIXTURES[0]);
        fs::remove_file(log_dir(dir.path()).index_path(number)).unwrap();
        let name = format!("relay-bin.{number:06}.idx");
        assert_refused(dir.path(), &name, "the commit index is missing");
    }
    let dir = relay_log(FIXTURES[0]);
    let last = newest(dir.path());
    fs::remove_file(log_dir(dir.path()).index_path(last)).unwrap();
    let name = format!("relay-bin.{last:06}.idx");
    assert_refused(dir.path(), &name, "the commit index is missing");
}

#[test]
fn index_that_ends_within_its_head_is_refused() {
    for len in [0, 63, 64, 100] {
        for number in [1, newest(relay_log(FIXTURES[0]).path())] {
            let dir = relay_log(FIXTURES[0]);
            let path = log_dir(dir.path()).index_path(number);
            let head = IndexReader::open(&path).unwrap().header().head_records;
            if len >= u64::from(head) * RECORD_LEN as u64 {
                continue;
            }
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(len).unwrap();
            let name = format!("relay-bin.{number:06}.idx");
            let reason = format!("the commit index ends at {len} bytes, within its head");
            assert_refused(dir.path(), &name, &reason);
        }
    }
}

#[test]
fn index_of_another_kind_of_server_is_refused() {
    let dir = relay_log("mysql-9.7");
    let other = relay_log("mariadb-10.11");
    let last = newest(dir.path());
    for number in [1, last] {
        let from = log_dir(other.path()).index_path(1);
        let to = log_dir(dir.path()).index_path(number);
        let own = fs::read(&to).unwrap();
        fs::copy(from, &to).unwrap();
        let name = format!("relay-bin.{number:06}.idx");
        let reason =
            "the commit index belongs to a mariadb log, but the log file holds mysql events";
        assert_refused(dir.path(), &name, reason);
        fs::write(&to, own).unwrap();
    }
    assert!(verify(dir.path()).unwrap().is_sound());
}

#[test]
fn index_of_another_relay_is_refused() {
    let (dir, other) = (relay_log("mysql-9.7"), relay_log("mysql-9.7"));
    let (log, other) = (log_dir(dir.path()), log_dir(other.path()));
    for number in [1, newest(dir.path())] {
        let own = fs::read(log.index_path(number)).unwrap();
        fs::copy(other.index_path(number), log.index_path(number)).unwrap();
        let name = format!("relay-bin.{number:06}.idx");
        let reason = "the commit index belongs to another relay log";
        assert_refused(dir.path(), &name, reason);
        fs::write(log.index_path(number), own).unwrap();
    }
    // Without the mark the other indexes identify the log.
    fs::remove_file(log.durable_path()).unwrap();
    fs::copy(other.index_path(2), log.index_path(2)).unwrap();
    assert_refused(
        dir.path(),
        "relay-bin.000002.idx",
        "the commit index belongs to another relay log",
    );
}

#[test]
fn swapped_indexes_are_refused() {
    let dir = relay_log("mysql-9.7");
    let log = log_dir(dir.path());
    let (first, second) = (log.index_path(1), log.index_path(2));
    let bytes = fs::read(&first).unwrap();
    fs::copy(&second, &first).unwrap();
    fs::write(&second, bytes).unwrap();
    let reason = "the commit index belongs to log file number 2, expected 1";
    assert_refused(dir.path(), FIRST, reason);
}

#[test]
fn index_of_a_log_file_with_another_head_is_refused() {
    let dir = relay_log("mysql-9.7");
    let log = log_dir(dir.path());
    let mut bytes = fs::read(log.index_path(1)).unwrap();
    let (head, _) = bytes.split_first_chunk_mut::<RECORD_LEN>().unwrap();
    let header = IndexHeader::decode(head).unwrap();
    *head = IndexHeader {
        log_head_crc: header.log_head_crc ^ 1,
        ..header
    }
    .encode();
    fs::write(log.index_path(1), bytes).unwrap();
    let reason = "the commit index belongs to a log file with another head";
    assert_refused(dir.path(), FIRST, reason);
}

/// The index lacks records of transactions that were served; at each length that it ever had.
#[test]
fn older_copy_of_an_index_is_refused() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let log = log_dir(dir.path());
        for number in [1, newest(dir.path())] {
            let path = log.index_path(number);
            let whole = fs::read(&path).unwrap();
            let index = IndexReader::open(&path).unwrap();
            let head = index.header().head_records as usize * RECORD_LEN;
            for len in (head..whole.len()).step_by(RECORD_LEN) {
                fs::write(&path, &whole[..len]).unwrap();
                let name = format!("relay-bin.{number:06}.idx");
                assert_refused(dir.path(), &name, "older copy, or was truncated");
            }
            fs::write(&path, whole).unwrap();
        }
    }
}

#[test]
fn older_list_of_files_is_refused() {
    let dir = relay_log("mysql-9.7");
    let log = log_dir(dir.path());
    let last = newest(dir.path());
    // The unlisted file has no transactions, so only the mark shows that it was written.
    let head = FileHead::read(&log.log_path(last)).unwrap().end;
    let file = OpenOptions::new()
        .write(true)
        .open(log.log_path(last))
        .unwrap();
    file.set_len(head).unwrap();
    log.write_list(&(1..last).collect::<Vec<u64>>()).unwrap();
    let reason = format!("does not name relay-bin.{last:06}, which was written");
    assert_refused(dir.path(), "relay-bin.index", &reason);
}

#[test]
fn damaged_or_missing_mark_proves_nothing_and_one_of_another_version_is_refused() {
    let dir = relay_log("mysql-9.7");
    let path = log_dir(dir.path()).durable_path();
    let whole = fs::read(&path).unwrap();
    flip(&path, 9);
    let report = verify(dir.path()).unwrap();
    assert!(report.is_sound());
    let noted = &report.files.last().unwrap().notes;
    assert!(
        noted[0].contains("not a record of this format"),
        "{noted:?}"
    );
    let recovered = recover::recover(&log_dir(dir.path()), &["m1".into()]);
    assert_eq!(&recovered.unwrap().unwrap().repairs, noted);
    let mut other = whole;
    other[4] = 2;
    let (covered, checksum) = other.split_at_mut(60);
    checksum.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
    fs::write(&path, other).unwrap();
    assert_refused(
        dir.path(),
        "relay-bin.durable",
        "version 2, expected version 1",
    );
    fs::remove_file(&path).unwrap();
    assert!(verify(dir.path()).unwrap().is_sound());
    let recovered = recover::recover(&log_dir(dir.path()), &["m1".into()]);
    assert_eq!(recovered.unwrap().unwrap().repairs, Vec::<String>::new());
    // From now on it is there, whatever interrupts the start.
    assert_eq!(fs::read(&path).unwrap().len(), 0);
}

#[test]
fn mark_of_another_relay_is_refused() {
    let (dir, other) = (relay_log("mysql-9.7"), relay_log("mysql-9.7"));
    let path = log_dir(dir.path()).durable_path();
    fs::copy(log_dir(other.path()).durable_path(), path).unwrap();
    assert_refused(
        dir.path(),
        "relay-bin.durable",
        "as in all commit indexes; restore the file of this data_dir",
    );
}

/// Also if the list has one file only.
#[test]
fn newer_mark_of_another_relay_is_refused() {
    let dir = relay_log("mysql-9.7");
    let log = log_dir(dir.path());
    for number in (2..=newest(dir.path())).rev() {
        fs::remove_file(log.log_path(number)).unwrap();
        fs::remove_file(log.index_path(number)).unwrap();
        let left: Vec<u64> = (1..number).collect();
        log.write_list(&left).unwrap();
        let other = relay_log("mysql-9.7");
        fs::copy(log_dir(other.path()).durable_path(), log.durable_path()).unwrap();
        assert_refused(
            dir.path(),
            "relay-bin.durable",
            "restore the file of this data_dir",
        );
    }
}

/// Without the mark an older index could pass for one that lost its tail in a crash.
#[test]
fn missing_mark_is_refused_if_the_log_continues_after_its_index() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let log = log_dir(dir.path());
        let last = newest(dir.path());
        let path = log.index_path(last);
        let whole = fs::read(&path).unwrap();
        let index = IndexReader::open(&path).unwrap();
        let head = index.header().head_records as usize * RECORD_LEN;
        fs::remove_file(log.durable_path()).unwrap();
        let mut refused = 0;
        for len in (head..whole.len()).step_by(RECORD_LEN) {
            fs::write(&path, &whole[..len]).unwrap();
            if ends_with_its_index(dir.path()) {
                continue;
            }
            refused += 1;
            let reason = "it is not known what replicas have received";
            assert_refused(dir.path(), "relay-bin.durable", reason);
        }
        assert!(refused > 0, "{kind}");
        // A log that lost its tail while its index did not.
        fs::write(&path, &whole).unwrap();
        let log_path = log.log_path(last);
        let log_bytes = fs::read(&log_path).unwrap();
        fs::write(&log_path, &log_bytes[..log_bytes.len() - 1]).unwrap();
        let reason = "it is not known what replicas have received";
        assert_refused(dir.path(), "relay-bin.durable", reason);
        fs::write(&log_path, &log_bytes).unwrap();
        // As an administrator declares it.
        fs::write(log.durable_path(), "").unwrap();
        assert!(recover::recover(&log, &["m1".into()]).is_ok());
    }
}

/// Whether the newest log file ends where its index does.
fn ends_with_its_index(dir: &Path) -> bool {
    let log = log_dir(dir);
    let last = newest(dir);
    let mut index = IndexReader::open(&log.index_path(last)).unwrap();
    let mut end = FileHead::read(&log.log_path(last)).unwrap().end;
    while let Some(read) = index.next_record().unwrap() {
        if let Some(step) = read.record.step() {
            end = u64::from(step.log_end);
        }
    }
    fs::metadata(log.log_path(last)).unwrap().len() == end
}

/// The log file is wrong, not its index.
#[test]
fn truncated_log_file_is_named() {
    let dir = relay_log("mysql-9.7");
    let log = log_dir(dir.path());
    let path = log.log_path(1);
    let whole = fs::read(&path).unwrap();
    let head = FileHead::read(&path).unwrap().end;
    for len in (head..whole.len() as u64).step_by(97) {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(len).unwrap();
        assert_refused(dir.path(), "relay-bin.000001", "the file ends here");
        fs::write(&path, &whole).unwrap();
    }
}

/// The transactions that an older index lacks are still in the log: with the right index restored,
/// the relay continues.
#[test]
fn log_whose_index_was_restored_is_sound() {
    let dir = relay_log("mysql-9.7");
    let path = log_dir(dir.path()).index_path(newest(dir.path()));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - RECORD_LEN]).unwrap();
    assert!(recover::recover(&log_dir(dir.path()), &["m1".into()]).is_err());
    fs::write(&path, whole).unwrap();
    assert!(verify(dir.path()).unwrap().is_sound());
    assert!(recover::recover(&log_dir(dir.path()), &["m1".into()]).is_ok());
}
