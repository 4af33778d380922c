mod binding;
mod catalog;
mod decisions;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::binlog::FormatDescription;
use crate::config::SyncPolicy;
use crate::filter::Filter;
use crate::flavor::Flavor;
use crate::inspect::EventReader;
use crate::log_thread::LogThread;
use crate::relay_log::index_reader::IndexReader;
use crate::relay_log::index_record::{IndexHeader, RECORD_LEN};
use crate::relay_log::{LogOptions, recover};
use crate::transaction::{Assembler, AssemblerOptions, TransactionBatch};

const FIXTURES: [&str; 5] = [
    "mysql-9.7",
    "mariadb-10.11",
    "mysql-5.6",
    "mariadb-10.5",
    "mariadb-11.8",
];

fn fixture(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("proto-fixtures/{kind}/basic.binlog"))
}

/// The transactions of a fixture, as a source would send them, one batch each.
fn batches(kind: &str, spill_dir: &Path) -> (Arc<FormatDescription>, Vec<TransactionBatch>) {
    let mut reader = EventReader::open(&fixture(kind), 1 << 20).unwrap();
    reader.next_event().unwrap();
    let format = Arc::new(reader.format().unwrap().clone());
    let options = AssemblerOptions {
        source: 0,
        source_server_id: 86,
        source_first_timestamp: 0,
        has_gtids: true,
        first_run: 0,
        filter: Filter::default(),
        spill_dir: spill_dir.to_owned(),
        spill_size: 1 << 20,
    };
    let mut assembler = Assembler::new(options, format.clone());
    assembler.start_file("basic.000002".into(), 4);
    let mut batches = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        if !event.header.event_type.is_control() {
            assembler.event(reader.event(), event.end()).unwrap();
        }
        if !assembler.is_in_transaction() {
            batches.extend(assembler.take_batch());
        }
    }
    (format, batches)
}

/// A relay log of several files with the fixture's transactions, each of which was sent twice.
fn relay_log(kind: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    written(kind, dir.path()).close().unwrap();
    dir
}

/// The same, in `dir`; the log is not closed.
fn written(kind: &str, dir: &Path) -> LogThread {
    let options = LogOptions {
        log_dir: log_dir(dir),
        server_id: 900,
        max_size: 4000,
        sync: SyncPolicy::Commit,
        source_names: vec!["m1".into()],
        retention: crate::relay_log::RetentionOptions::default(),
        reserve: 0,
        hand_over_min: std::time::Duration::ZERO,
        stopping: Arc::new(AtomicBool::new(false)),
    };
    let (format, batches) = batches(kind, dir);
    let flavor = Flavor::of_version(&format.server_version);
    let mut log_thread =
        LogThread::create(options, &format, Executed::empty(flavor), Vec::new()).unwrap();
    for batch in &batches {
        for transaction in batch.transactions.iter().chain(&batch.transactions) {
            log_thread.append(batch, transaction).unwrap();
        }
        log_thread.commit().unwrap();
    }
    log_thread
}

fn log_dir(dir: &Path) -> LogDir {
    LogDir {
        dir: dir.to_owned(),
        basename: "relay-bin".to_owned(),
    }
}

fn newest(dir: &Path) -> u64 {
    *log_dir(dir).read_list().unwrap().last().unwrap()
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

#[test]
fn sound_log_has_no_problems() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let report = verify(dir.path()).unwrap();
        assert!(report.is_sound(), "{kind}: {report:#?}");
        assert!(report.files.len() > 2, "{kind}");
        assert!(report.files.iter().all(|file| file.notes.is_empty()));
        let (_, batches) = batches(kind, dir.path());
        let sent: usize = batches.iter().map(|batch| batch.transactions.len()).sum();
        assert_eq!(report.transactions(), sent as u64, "{kind}");
        for (file, number) in report.files.iter().zip(1..) {
            let len = fs::metadata(log_dir(dir.path()).log_path(number))
                .unwrap()
                .len();
            assert_eq!(file.verified_to, len, "{kind} {number}");
        }
        // Closed by a restart, it is still sound.
        recover::recover(&log_dir(dir.path()), &[]).unwrap();
        assert!(verify(dir.path()).unwrap().is_sound());
    }
}

#[test]
fn flipped_byte_in_the_log_is_found() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let path = log_dir(dir.path()).log_path(1);
        let len = fs::metadata(&path).unwrap().len();
        for offset in (0..len).step_by(37) {
            if offset == 21 {
                continue; // The in-use flag is left out of the checksum.
            }
            flip(&path, offset);
            match verify(dir.path()) {
                Ok(report) => assert!(!report.is_sound(), "{kind} {offset}"),
                Err(error) => assert!(error.to_string().contains("relay-bin"), "{error}"),
            }
            flip(&path, offset);
        }
        assert!(verify(dir.path()).unwrap().is_sound());
    }
}

#[test]
fn flipped_byte_in_an_index_is_found() {
    let dir = relay_log(FIXTURES[0]);
    let log = log_dir(dir.path());
    let newest = newest(dir.path());
    for (number, is_marked) in [(1, true), (newest, true), (newest, false)] {
        if !is_marked {
            fs::remove_file(log.durable_path()).unwrap();
        }
        let path = log.index_path(number);
        let len = fs::metadata(&path).unwrap().len();
        for offset in (0..len).step_by(13) {
            flip(&path, offset);
            let report = verify(dir.path()).unwrap();
            let noted = report.files.iter().any(|file| !file.notes.is_empty());
            assert!(!report.is_sound() || noted, "{number} {offset}");
            // A damaged record that is not known to be on disk may be the torn end of a write.
            let torn = !is_marked && offset + 64 >= len;
            assert_eq!(report.is_sound(), torn, "{number} {offset}: {report:#?}");
            flip(&path, offset);
        }
    }
}

/// A kill leaves the newest file at any length beyond the part that is known to be on disk, or
/// longer than its index.
#[test]
fn unfinished_end_after_a_kill_is_a_note() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let log = log_dir(dir.path());
        let (path, index) = (
            log.log_path(newest(dir.path())),
            log.index_path(newest(dir.path())),
        );
        let index_len = fs::metadata(&index).unwrap().len();
        // The last transaction's two records are lost: the log is longer than the index. After a
        // power failure the mark may be empty, as it was created, and so not show it.
        fs::write(log.durable_path(), "").unwrap();
        OpenOptions::new()
            .write(true)
            .open(&index)
            .unwrap()
            .set_len(index_len - 128 - 7)
            .unwrap();
        let len = fs::metadata(&path).unwrap().len();
        let mut problems = 0;
        for cut in (0..=len).rev() {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(cut).unwrap();
            drop(file);
            let report = verify(dir.path()).unwrap();
            let last = report.files.last().unwrap();
            assert!(!last.notes.is_empty() || !last.problems.is_empty());
            problems += usize::from(!report.is_sound());
            if cut == len {
                assert!(report.is_sound(), "{kind}: {report:#?}");
            }
        }
        assert!(
            problems > 0,
            "{kind}: the part known to be on disk must not be missing"
        );
    }
}

/// After a power failure the last records of the newest index can be zeros. `run` truncates them.
#[test]
fn several_lost_records_at_the_end_are_a_note() {
    let dir = relay_log(FIXTURES[0]);
    let log = log_dir(dir.path());
    let path = log.index_path(newest(dir.path()));
    fs::write(log.durable_path(), "").unwrap();
    let mut index = fs::read(&path).unwrap();
    // Without the record of the clean stop, nothing shows that the last group is on disk.
    index.truncate(index.len() - RECORD_LEN);
    let lost = index.len() - 2 * RECORD_LEN;
    index[lost..].fill(0);
    fs::write(&path, index).unwrap();
    let report = verify(dir.path()).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert!(!report.files.last().unwrap().notes.is_empty());
    let recovered = recover::recover(&log, &["m1".into()]).unwrap().unwrap();
    assert!(!recovered.repairs.is_empty());
    assert!(verify(dir.path()).unwrap().is_sound());
}

#[test]
fn transaction_that_appears_twice_is_found() {
    for kind in FIXTURES {
        let dir = relay_log(kind);
        let log = log_dir(dir.path());
        // The second file again, as the last.
        let last = newest(dir.path()) + 1;
        fs::copy(log.log_path(2), log.log_path(last)).unwrap();
        copy_index(&log, 2, last);
        log.write_list(&(1..=last).collect::<Vec<u64>>()).unwrap();
        let report = verify(dir.path()).unwrap();
        let problems: Vec<&str> = report
            .files
            .iter()
            .flat_map(|file| &file.problems)
            .map(|problem| problem.what.as_str())
            .collect();
        let has = |text: &str| problems.iter().any(|problem| problem.contains(text));
        assert!(has("expected a Rotate"), "{kind}: {problems:?}");
        assert!(has("as the transactions before it"), "{kind}: {problems:?}");
        assert!(has("expected one to"), "{kind}: {problems:?}");
    }
}

/// Copies the index of file `from` to file `to`, and changes the file number in its header.
fn copy_index(log: &LogDir, from: u64, to: u64) {
    let mut bytes = fs::read(log.index_path(from)).unwrap();
    let (head, _) = bytes.split_first_chunk_mut::<RECORD_LEN>().unwrap();
    let header = IndexHeader::decode(head).unwrap();
    *head = IndexHeader {
        file_number: to,
        ..header
    }
    .encode();
    fs::write(log.index_path(to), bytes).unwrap();
}

#[test]
fn missing_log_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = || verify(dir.path()).unwrap_err().to_string();
    let expected = |lists| {
        format!(
            "{}: found {lists} lists of log files (*.index), expected 1; name the data_dir of one relay",
            dir.path().display()
        )
    };
    assert_eq!(refusal(), expected(0));
    assert!(verify(&dir.path().join("nowhere")).is_err());
    fs::write(dir.path().join("relay-bin.index"), "").unwrap();
    assert!(refusal().contains("an empty list"), "{}", refusal());
    fs::write(dir.path().join("other-bin.index"), "").unwrap();
    assert_eq!(refusal(), expected(2));
}
