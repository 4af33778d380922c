//! Full or failing disks, and the thread that appends.

use std::fs::{self, File};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use tokio::sync::{Semaphore, mpsc};

use super::read_back::transactions;
use super::*;
use crate::data_file::recorder::{Fault, Recorder};
use crate::relay_log::purge;

fn small(number: u64) -> Vec<Vec<u8>> {
    group(Flavor::MySql, 80, number, "", Shape::Small)
}

fn append(log_thread: &mut LogThread, batch: &TransactionBatch) -> Result<(), AppendError> {
    for transaction in &batch.transactions {
        log_thread.append(batch, transaction)?;
    }
    Ok(())
}

fn full_disk() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A file that accepts writes, and fails to sync.
fn failing_sync() -> File {
    File::options().write(true).open("/dev/null").unwrap()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn is_full(log: &RelayLog) -> bool {
    matches!(log.condition(), Condition::DiskFull(_))
}

#[test]
fn new_file_waits_for_disk_space_and_is_then_created() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        max_size: 200,
        ..options(dir.path())
    };
    let mut log_thread = create(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let mut source = TestSource::new(0, Flavor::MySql);
    append(&mut log_thread, &source.deliver(&[small(1)])).unwrap();
    log_thread.commit().unwrap();
    let published = log.published();
    let next = options.log_dir.log_path(2);
    let full = next.with_added_extension("full");
    File::create(&full).unwrap();
    let batch = source.deliver(&[small(2)]);
    let appending = thread::spawn(move || {
        append(&mut log_thread, &batch).unwrap();
        log_thread.close().unwrap();
    });
    wait_until("the disk is full", || is_full(&log));
    assert_eq!((log.published(), log.state().files.len()), (published, 1));
    fs::remove_file(&full).unwrap();
    appending.join().unwrap();
    assert_eq!(log.condition(), Condition::Running);
    assert_eq!(transactions(&options.log_dir).len(), 2);
    assert_eq!(log.published().file, 2);
}

#[test]
fn write_that_waits_for_disk_space_gives_up_when_the_relay_stops() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut log_thread = create(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let mut source = TestSource::new(0, Flavor::MySql);
    append(&mut log_thread, &source.deliver(&[small(1)])).unwrap();
    log_thread.commit().unwrap();
    let published = log.published();
    log_thread.replace_log_file(full_disk());
    append(&mut log_thread, &source.deliver(&[small(2)])).unwrap();
    let committing = thread::spawn(move || log_thread.commit());
    wait_until("the disk is full", || is_full(&log));
    options.stopping.store(true, Ordering::Relaxed);
    let error = committing.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("relay-bin.000001"), "{error}");
    assert_eq!(log.published(), published);
    let recovered = recovered(&options);
    assert_eq!(recovered.end, published);
    assert_eq!(recovered.repairs, Vec::<String>::new());
}

/// What was freed for the index of a full disk is for nothing else, so that files can still be removed.
#[test]
fn log_waits_until_the_reserve_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        max_size: 500,
        reserve: 5000,
        ..options(dir.path())
    };
    let (recorder, _attached) = Recorder::attach(dir.path());
    let mut log_thread = create(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let mut source = TestSource::new(0, Flavor::MySql);
    for number in 1..=5 {
        append(&mut log_thread, &source.deliver(&[small(number)])).unwrap();
        log_thread.commit().unwrap();
    }
    let reserve = options.log_dir.reserve_path();
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 5000);
    // The disk is full for the index of the next transaction, and from then on for the reserve.
    let full = reserve.with_added_extension("full");
    File::create(&full).unwrap();
    append(&mut log_thread, &source.deliver(&[small(6)])).unwrap();
    recorder.set_fault(Some(Fault {
        from: recorder.calls() + 1,
        count: 1,
        errno: Errno::NOSPC,
        short: false,
    }));
    log_thread.commit().unwrap();
    recorder.set_fault(None);
    assert!(!reserve.exists(), "the index was written in its place");
    let published = log.published();
    let batch = source.deliver(&[small(7)]);
    let appending = thread::spawn(move || {
        append(&mut log_thread, &batch).unwrap();
        log_thread.close().unwrap();
    });
    wait_until("the log waits for the reserve", || is_full(&log));
    assert_eq!(log.published(), published);
    let purged = purge::purge_to(&log, 2, SystemTime::now()).unwrap();
    assert_eq!(purged.removed, 1);
    fs::remove_file(&full).unwrap();
    appending.join().unwrap();
    assert_eq!(log.condition(), Condition::Running);
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 5000);
    assert!(log.published() > published);
}

/// The list and the mark are written in the place of the reserve as well as the new file.
#[test]
fn log_is_opened_on_a_full_disk_with_a_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        reserve: 5000,
        ..options(dir.path())
    };
    let mut log_thread = create(&options, Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    append(&mut log_thread, &source.deliver(&[small(1)])).unwrap();
    log_thread.close().unwrap();
    drop(log_thread);
    let (recorder, _attached) = Recorder::attach(dir.path());
    let before = recorder.calls();
    drop(resume(&options));
    let calls = recorder.calls() - before;
    for number in 0..calls {
        recorder.set_fault(Some(Fault {
            from: recorder.calls() + number,
            count: 1,
            errno: Errno::NOSPC,
            short: false,
        }));
        drop(resume(&options));
        recorder.set_fault(None);
        assert_eq!(transactions(&options.log_dir).len(), 1);
    }
}

/// The running log thread, with its queue.
struct Appending {
    runtime: tokio::runtime::Runtime,
    queue: mpsc::Sender<Queued>,
    counters: Vec<Arc<SourceCounters>>,
    thread: thread::JoinHandle<()>,
}

impl Appending {
    fn start(log_thread: LogThread) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (queue, batches) = mpsc::channel(8);
        let counters: Vec<Arc<SourceCounters>> = (0..SOURCES).map(|_| Arc::default()).collect();
        let (handle, own) = (runtime.handle().clone(), counters.clone());
        let thread = thread::spawn(move || log_thread.run(batches, &own, &handle));
        Self {
            runtime,
            queue,
            counters,
            thread,
        }
    }

    fn send(&self, batch: TransactionBatch) {
        let memory = Arc::new(Semaphore::new(1));
        let memory = memory.try_acquire_owned().unwrap();
        let sending = self.queue.send(Queued::Batch(QueuedBatch {
            source: batch.source,
            batch,
            received_at: std::time::Instant::now(),
            memory,
        }));
        self.runtime.block_on(sending).unwrap();
    }
}

#[test]
fn failed_sync_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut log_thread = create(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let mut source = TestSource::new(0, Flavor::MySql);
    append(&mut log_thread, &source.deliver(&[small(1)])).unwrap();
    log_thread.commit().unwrap();
    let (published, state) = (log.published(), log.state().clone());
    log_thread.replace_log_file(failing_sync());
    let appending = Appending::start(log_thread);
    appending.send(source.deliver(&[small(2)]));
    wait_until("the log has failed", || {
        matches!(log.condition(), Condition::Failed(_))
    });
    appending.thread.join().unwrap();
    assert!(appending.queue.is_closed(), "nothing more is accepted");
    let Condition::Failed(message) = log.condition() else {
        panic!("the log has not failed")
    };
    assert!(
        message.contains("sync") && message.contains("relay-bin.000001"),
        "{message}"
    );
    assert_eq!(log.published(), published);
    assert_eq!(log.state().executed, state.executed);
    assert_eq!(log.state().sources, state.sources);
    let log_thread = resume(&options);
    assert_eq!(log_thread.log().state().sources, state.sources);
    assert_eq!(transactions(&options.log_dir).len(), 1);
}

/// Only a refused source stops: nothing more is accepted from it, and the others continue.
#[test]
fn refused_source_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let log_thread = create(&options, Flavor::MySql);
    let log = log_thread.log().clone();
    let appending = Appending::start(log_thread);
    let mut bad = TestSource::new(0, Flavor::MariaDb);
    let mut good = TestSource::new(1, Flavor::MySql);
    let other = |number| group(Flavor::MariaDb, 80, number, "", Shape::Small);
    appending.send(bad.deliver(&[other(1), other(2)]));
    appending.send(good.deliver(&[small(1), small(2), small(1)]));
    appending.send(bad.deliver(&[other(3)]));
    appending.send(bad.next_file());
    appending.send(good.deliver(&[group(Flavor::MySql, 80, 3, "", Shape::Emptied)]));
    let Appending {
        queue,
        counters,
        thread,
        ..
    } = appending;
    drop(queue);
    thread.join().unwrap();
    let counts = |at: usize| {
        let SourceCounters {
            kept,
            duplicate,
            filtered,
            refusal,
            ..
        } = &*counters[at];
        let counts = [kept, duplicate, filtered].map(|count| count.load(Ordering::Relaxed));
        (counts, refusal.borrow().is_some())
    };
    assert_eq!(counts(0), ([0, 0, 0], true));
    assert_eq!(counts(1), ([3, 1, 1], false));
    assert_eq!(log.condition(), Condition::Running);
    assert_eq!(log.state().sources[0], SourceProgress::default());
    assert_eq!(transactions(&options.log_dir).len(), 3);
}

/// It cannot happen; dropping the batch silently would lose transactions.
#[test]
fn batch_of_an_unconfigured_source_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log_thread = create(&options(dir.path()), Flavor::MySql);
    let log = log_thread.log().clone();
    let running = Appending::start(log_thread);
    let mut unknown = TestSource::new(SOURCES as u16, Flavor::MySql);
    running.send(unknown.deliver(&[small(1)]));
    running.thread.join().unwrap();
    let Condition::Failed(message) = log.condition() else {
        panic!("the log has not failed")
    };
    assert!(
        message.contains("source number 3 is not configured"),
        "{message}"
    );
}
