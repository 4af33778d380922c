//! The sync of one group while the next ones are appended: nothing is promised before it is on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::io::Errno;
use tokio::sync::{Semaphore, mpsc};

use super::read_back::transactions;
use super::*;
use crate::data_file::recorder::{Fault, Operation, Recorder, Step};
use crate::position::RelayLogPosition;
use crate::relay_log::index_reader::IndexReader;
use crate::relay_log::index_record::RECORD_LEN;

const BATCHES: u64 = 40;

/// What one run has done.
struct Run {
    options: LogOptions,
    steps: Vec<Step>,
    log: Arc<RelayLog>,
    counters: Arc<SourceCounters>,
    /// Operations while it ran.
    calls: u64,
    _dir: tempfile::TempDir,
}

/// The published end as the recorder notes it.
fn published(log: &RelayLog) -> u64 {
    let end = log.published();
    end.file << 32 | end.offset
}

/// Always handed over, never, and after a group that took any time.
const HAND_OVER: [Duration; 3] = [Duration::ZERO, Duration::MAX, Duration::from_nanos(1)];

/// Sends batches to a running log thread as fast as it takes them. `fault`: the operation that fails, counted from
/// when it runs.
fn run(
    dir: tempfile::TempDir,
    (max_size, hand_over_min): (u64, Duration),
    fault: Option<u64>,
) -> Run {
    let options = LogOptions {
        max_size,
        hand_over_min,
        ..options(dir.path())
    };
    let (recorder, attached) = Recorder::attach(dir.path());
    let log_thread = create(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let probe = log.clone();
    recorder.set_probe(move || published(&probe));
    let before = recorder.calls();
    recorder.set_fault(fault.map(|number| Fault {
        from: before + number,
        count: 1,
        errno: Errno::IO,
        short: false,
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (queue, batches) = mpsc::channel(8);
    let counters: Vec<Arc<SourceCounters>> = (0..SOURCES).map(|_| Arc::default()).collect();
    let (handle, own) = (runtime.handle().clone(), counters.clone());
    let running = thread::spawn(move || log_thread.run(batches, &own, &handle));
    let mut source = TestSource::new(0, Flavor::MySql);
    for number in 0..BATCHES {
        let small = |tag| group(Flavor::MySql, 80, number + 1, tag, Shape::Small);
        let batch = match number % 3 {
            0 => source.deliver(&[small("")]),
            1 => source.deliver(&[small(""), small("t"), small("")]), // The third is a copy.
            _ => source.deliver(&[group(Flavor::MySql, 80, number + 1, "", Shape::Spilled)]),
        };
        let memory = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let queued = QueuedBatch {
            received_at: std::time::Instant::now(),
            source: batch.source,
            batch,
            memory,
        };
        counters[0].queued.fetch_add(1, Ordering::Release);
        if queue.blocking_send(Queued::Batch(queued)).is_err() {
            break; // The log has failed.
        }
    }
    drop(queue);
    running.join().unwrap();
    drop(attached);
    Run {
        options,
        steps: recorder.steps(),
        log,
        counters: counters[0].clone(),
        calls: recorder.calls() - before,
        _dir: dir,
    }
}

/// The bytes of the index up to the record of the transaction that ends at `end` of its log file, or up to its head.
fn index_len_for(options: &LogOptions, end: RelayLogPosition) -> u64 {
    let mut index = IndexReader::open(&options.log_dir.index_path(end.file)).unwrap();
    let mut len = u64::from(index.header().head_records) * RECORD_LEN as u64;
    if u64::from(index.header().log_head_len) == end.offset {
        return len;
    }
    while let Some(read) = index.next_record().unwrap() {
        let Some(step) = read.record.step() else {
            continue;
        };
        if u64::from(step.log_end) > end.offset {
            break; // It ends with the closing Rotate.
        }
        len = read.index_end();
        if u64::from(step.log_end) == end.offset
            && read.number >= u64::from(index.header().head_records)
        {
            break;
        }
    }
    len
}

/// Checks that whenever an end was published, both files were synced up to it before, by syncs that began after the
/// bytes were written.
fn assert_published_is_durable(run: &Run) {
    let mut paths: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut written: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut durable: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut syncs: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    let mut known = 0;
    let name = |path: PathBuf| PathBuf::from(path.file_name().unwrap());
    for step in &run.steps {
        if step.promised != known && step.promised != 0 {
            known = step.promised;
            let end = RelayLogPosition {
                file: known >> 32,
                offset: known & u64::from(u32::MAX),
            };
            let log = name(run.options.log_dir.log_path(end.file));
            let index = name(run.options.log_dir.index_path(end.file));
            let on_disk = |path: &Path| durable.get(path).copied().unwrap_or_default();
            assert!(on_disk(&log) >= end.offset, "{end:?} before its sync");
            let needed = index_len_for(&run.options, end);
            assert!(on_disk(&index) >= needed, "{end:?} before its index");
        }
        match &step.operation {
            Operation::Opened { file, path, .. } => {
                paths.insert(*file, path.clone());
            }
            Operation::Wrote {
                file,
                offset,
                bytes,
            } => {
                let len = written.entry(paths[file].clone()).or_default();
                *len = (*len).max(offset + bytes.len() as u64);
            }
            Operation::SyncBegan { sync, file } => {
                let path = paths[file].clone();
                let len = written.get(&path).copied().unwrap_or_default();
                syncs.insert(*sync, (path, len));
            }
            Operation::Synced { sync } => {
                if let Some((path, len)) = syncs.get(sync) {
                    durable.insert(path.clone(), *len);
                }
            }
            _ => {}
        }
    }
}

fn counts(counters: &SourceCounters) -> [u64; 3] {
    let taken = counters.taken.load(Ordering::Relaxed);
    [
        taken,
        *counters.committed.borrow(),
        *counters.durable.borrow(),
    ]
}

/// On a disk, where a sync takes time, and in memory; within one file, and through many.
#[test]
fn nothing_is_published_before_both_files_are_synced_up_to_it() {
    for max_size in [1 << 30, 4000] {
        for dir in [fast_dir(), tempfile::tempdir().unwrap()] {
            let run = run(dir, (max_size, Duration::ZERO), None);
            assert_eq!(run.log.condition(), Condition::Running);
            assert_published_is_durable(&run);
            assert_eq!(counts(&run.counters), [BATCHES; 3]);
            let expected = BATCHES + BATCHES / 3;
            assert_eq!(transactions(&run.options.log_dir).len() as u64, expected);
            let state = run.log.state().clone();
            let recovered = recovered(&run.options);
            assert_eq!(recovered.executed, state.executed);
            assert_eq!(recovered.end, run.log.published());
        }
    }
}

/// Syncs of log files by each thread.
fn syncs_by_thread(run: &Run) -> BTreeMap<&str, u64> {
    let mut files = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for step in &run.steps {
        match &step.operation {
            Operation::Opened { file, path, .. } => drop(files.insert(*file, path.clone())),
            Operation::SyncBegan { file, .. } => {
                let is_log = files[file].extension().is_some_and(|name| name != "idx");
                *counts.entry(step.thread.as_str()).or_default() += u64::from(is_log);
            }
            _ => {}
        }
    }
    counts
}

/// Where a sync takes less time than waking the other thread, the log thread does it; as soon as one takes longer, it is
/// handed over.
#[test]
fn groups_are_handed_over_after_one_that_took_longer() {
    for hand_over_min in HAND_OVER {
        let run = run(fast_dir(), (1 << 30, hand_over_min), None);
        assert_published_is_durable(&run);
        assert_eq!(counts(&run.counters), [BATCHES; 3]);
        let by_thread = syncs_by_thread(&run);
        let handed_over = by_thread.get("relay-sync").copied().unwrap_or_default();
        assert_eq!(
            handed_over > 0,
            hand_over_min != Duration::MAX,
            "{hand_over_min:?}: {by_thread:?}"
        );
    }
}

/// Each operation fails once. Then the log stops, nothing more is published or counted as durable, and the next start
/// finds at least what was published.
#[test]
fn after_a_failed_write_or_sync_nothing_more_is_published() {
    for hand_over_min in [Duration::ZERO, Duration::MAX] {
        nothing_is_published_after_a_failure(hand_over_min);
    }
}

/// A disk that hangs must not keep a process alive whose log thread has panicked.
#[test]
fn log_thread_that_panics_does_not_wait_for_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let (recorder, _attached) = Recorder::attach(dir.path());
    let mut log_thread = create(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let before = log.published();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (hang, hanging) = std::sync::mpsc::channel();
    recorder.set_probe(move || {
        if thread::current().name() == Some("relay-sync") {
            let _ = hang.send(());
            let _ = released.recv();
        }
        0
    });
    let mut source = TestSource::new(0, Flavor::MySql);
    let batch = source.deliver(&[group(Flavor::MySql, 80, 1, "", Shape::Small)]);
    let counters: Vec<Arc<SourceCounters>> = (0..SOURCES).map(|_| Arc::default()).collect();
    let panicking = thread::spawn(move || {
        log_thread.append(&batch, &batch.transactions[0]).unwrap();
        log_thread
            .begin_commit(&CounterTable::new(&counters))
            .unwrap();
        hanging.recv().unwrap();
        panic!("on purpose, while a sync hangs");
    });
    let began = std::time::Instant::now();
    while !panicking.is_finished() {
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(20), "it waits for the sync");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(panicking.join().is_err());
    assert_eq!(log.published(), before);
    // What was handed over is as good as before.
    drop(release);
    let began = std::time::Instant::now();
    while log.published() == before {
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(20), "it is not completed");
        thread::sleep(Duration::from_millis(5));
    }
}

fn nothing_is_published_after_a_failure(hand_over_min: Duration) {
    let sizes = (4000, hand_over_min);
    let calls = run(fast_dir(), sizes, None).calls;
    let mut failures = 0;
    for number in 0..calls {
        let run = run(fast_dir(), sizes, Some(number));
        assert_published_is_durable(&run);
        let [_, committed, durable] = counts(&run.counters);
        assert!(durable <= committed, "{committed} {durable}");
        let state = run.log.state().clone();
        let has_failed = matches!(run.log.condition(), Condition::Failed(_));
        failures += u64::from(has_failed);
        if !has_failed {
            continue; // The reserve, or one that is not needed.
        }
        // The file that was being created may be incomplete.
        let recovered = recovered(&run.options);
        let published = run.log.published();
        assert!(
            published <= recovered.end,
            "{published:?} {:?}",
            recovered.end
        );
        let (Executed::MySql(before), Executed::MySql(after)) =
            (&state.executed, &recovered.executed)
        else {
            panic!("not MySQL")
        };
        assert!(before.is_subset_of(after), "{before} {after}");
    }
    assert!(failures * 2 > calls, "{failures} of {calls} operations");
}
