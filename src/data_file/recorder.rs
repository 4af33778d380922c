//! Records the operations on the files of one directory, and lets some of them fail. In tests only.
//!
//! A test attaches a [`Recorder`] to a directory. Every operation below it, of any thread, is recorded once it
//! has been done; a sync is recorded twice, when it begins and when it is done, because it covers only what
//! was written before it began.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// Directories that are watched, with their recorders.
static WATCHED: Mutex<Vec<(PathBuf, Arc<Recorder>)>> = Mutex::new(Vec::new());

/// An operation that was done. Paths are relative to the watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A file was opened for writing, and has `len` bytes: less than before if it was truncated, and none if it
    /// was created. `file` is a number for this opening.
    Opened {
        file: u64,
        path: PathBuf,
        len: u64,
    },
    Wrote {
        file: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        file: u64,
        len: u64,
    },
    SyncBegan {
        sync: u64,
        file: u64,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    Removed {
        path: PathBuf,
    },
    DirSyncBegan {
        sync: u64,
    },
    Synced {
        sync: u64,
    },
}

/// An operation, and what had been promised before it was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) operation: Operation,
    /// What the test's probe returned.
    pub(crate) promised: u64,
    /// The name of the thread.
    pub(crate) thread: String,
}

/// Operations that fail: those from number `from` on, `count` of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) from: u64,
    pub(crate) count: u64,
    pub(crate) errno: Errno,
    /// Whether a write that fails has written half of its bytes.
    pub(crate) short: bool,
}

type Probe = Box<dyn Fn() -> u64 + Send>;

/// What is done in one directory.
#[derive(Default)]
pub(crate) struct Recorder {
    steps: Mutex<Vec<Step>>,
    probe: Mutex<Option<Probe>>,
    fault: Mutex<Option<Fault>>,
    /// Operations that were attempted.
    calls: AtomicU64,
    /// Those that failed on request.
    failed: AtomicU64,
    /// The next number of an opening or a sync.
    next: AtomicU64,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Detaches the recorder of a directory when it is dropped.
#[derive(Debug)]
pub(crate) struct Attached(PathBuf);

impl Drop for Attached {
    fn drop(&mut self) {
        lock(&WATCHED).retain(|(dir, _)| *dir != self.0);
    }
}

impl Recorder {
    /// A recorder of what is done below `dir` until the second result is dropped.
    pub(crate) fn attach(dir: &Path) -> (Arc<Self>, Attached) {
        let recorder = Arc::new(Self::default());
        lock(&WATCHED).push((dir.to_owned(), recorder.clone()));
        (recorder, Attached(dir.to_owned()))
    }

    /// What `probe` returns is recorded with each operation. It must not use files of the directory.
    pub(crate) fn set_probe(&self, probe: impl Fn() -> u64 + Send + 'static) {
        *lock(&self.probe) = Some(Box::new(probe));
    }

    /// Lets operations fail from now on, or no more. Their numbers begin with 0 at the attachment.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        *lock(&self.fault) = fault;
    }

    /// Operations that were attempted.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The number of steps.
    pub(crate) fn len(&self) -> usize {
        lock(&self.steps).len()
    }

    /// The number of operations that were done: a sync is two steps.
    pub(crate) fn operations(&self) -> usize {
        let is_begin = |step: &&Step| !matches!(step.operation, Operation::Synced { .. });
        lock(&self.steps).iter().filter(is_begin).count()
    }

    /// Operations that failed on request.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// The operations that were done, in order.
    pub(crate) fn steps(&self) -> Vec<Step> {
        lock(&self.steps).clone()
    }

    /// What the probe returns now.
    pub(crate) fn promised(&self) -> u64 {
        lock(&self.probe).as_ref().map_or(0, |probe| probe())
    }

    fn record(&self, operation: Operation) {
        let promised = self.promised();
        let thread = std::thread::current();
        lock(&self.steps).push(Step {
            operation,
            promised,
            thread: thread.name().unwrap_or_default().to_owned(),
        });
    }

    /// The fault that this call has, if any.
    fn call(&self) -> Option<Fault> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = (*lock(&self.fault))?;
        let is_hit = number >= fault.from && number - fault.from < fault.count;
        is_hit.then(|| {
            self.failed.fetch_add(1, Ordering::SeqCst);
            fault
        })
    }

    fn may_call(&self) -> io::Result<()> {
        self.call().map_or(Ok(()), |fault| Err(fault.errno.into()))
    }

    fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }
}

/// The recorder of what is at `path`, and the path below its directory.
fn find(path: &Path) -> Option<(Arc<Recorder>, PathBuf)> {
    let watched = lock(&WATCHED);
    watched.iter().find_map(|(dir, recorder)| {
        let name = path.strip_prefix(dir).ok()?;
        Some((recorder.clone(), name.to_owned()))
    })
}

/// A file's part in the recording.
#[derive(Debug, Default)]
pub(super) struct Watched(Option<(Arc<Recorder>, u64)>);

impl Watched {
    pub(super) fn may_call(&self) -> io::Result<()> {
        let recorder = self.0.as_ref().map(|(recorder, _)| recorder);
        recorder.map_or(Ok(()), |recorder| recorder.may_call())
    }

    pub(super) fn may_write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some((recorder, _)) = &self.0 else {
            return Ok(());
        };
        let Some(fault) = recorder.call() else {
            return Ok(());
        };
        if fault.short {
            let (half, _) = bytes.split_at(bytes.len() / 2);
            file.write_all_at(half, offset)?;
            self.wrote(half, offset);
        }
        Err(fault.errno.into())
    }

    pub(super) fn wrote(&self, bytes: &[u8], offset: u64) {
        if let Some((recorder, file)) = &self.0 {
            let (file, bytes) = (*file, bytes.to_vec());
            recorder.record(Operation::Wrote {
                file,
                offset,
                bytes,
            });
        }
    }

    pub(super) fn set_len(&self, len: u64) {
        if let Some((recorder, file)) = &self.0 {
            recorder.record(Operation::SetLen { file: *file, len });
        }
    }

    pub(super) fn may_sync(&self) -> io::Result<u64> {
        self.may_call()?;
        let Some((recorder, file)) = &self.0 else {
            return Ok(0);
        };
        let (sync, file) = (recorder.next_number(), *file);
        recorder.record(Operation::SyncBegan { sync, file });
        Ok(sync)
    }

    pub(super) fn synced(&self, sync: u64) {
        if let Some((recorder, _)) = &self.0 {
            recorder.record(Operation::Synced { sync });
        }
    }
}

pub(super) fn may_open(path: &Path) -> io::Result<()> {
    find(path).map_or(Ok(()), |(recorder, _)| recorder.may_call())
}

pub(super) fn opened(path: &Path, file: &File) -> io::Result<Watched> {
    let Some((recorder, path)) = find(path) else {
        return Ok(Watched::default());
    };
    let (number, len) = (recorder.next_number(), file.metadata()?.len());
    let file = number;
    recorder.record(Operation::Opened { file, path, len });
    Ok(Watched(Some((recorder, number))))
}

pub(super) fn may_change(path: &Path) -> io::Result<()> {
    may_open(path)
}

pub(super) fn renamed(from: &Path, to: &Path) {
    if let (Some((recorder, from)), Some((_, to))) = (find(from), find(to)) {
        recorder.record(Operation::Renamed { from, to });
    }
}

pub(super) fn removed(path: &Path) {
    if let Some((recorder, path)) = find(path) {
        recorder.record(Operation::Removed { path });
    }
}

pub(super) fn may_sync_dir(dir: &Path) -> io::Result<u64> {
    let Some((recorder, _)) = find(dir) else {
        return Ok(0);
    };
    recorder.may_call()?;
    let sync = recorder.next_number();
    recorder.record(Operation::DirSyncBegan { sync });
    Ok(sync)
}

pub(super) fn synced_dir(dir: &Path, sync: u64) {
    if let Some((recorder, _)) = find(dir) {
        recorder.record(Operation::Synced { sync });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_file::{self, DataFile};

    #[test]
    fn operations_are_recorded_in_order_with_what_was_promised() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (recorder, attached) = Recorder::attach(dir.path());
        let promised = Arc::new(AtomicU64::new(0));
        let probe = promised.clone();
        recorder.set_probe(move || probe.load(Ordering::SeqCst));
        let path = dir.path().join("a");
        let file = DataFile::create(&path, 0o600).unwrap();
        file.write_all_at(b"abc", 2).unwrap();
        file.sync_data().unwrap();
        promised.store(7, Ordering::SeqCst);
        data_file::rename(&path, &dir.path().join("b")).unwrap();
        data_file::sync_dir(dir.path()).unwrap();
        file.set_len(1).unwrap();
        DataFile::open(&dir.path().join("b")).unwrap();
        data_file::remove(&dir.path().join("b")).unwrap();
        DataFile::create(&other.path().join("a"), 0o600).unwrap();
        drop(attached);
        DataFile::create(&path, 0o600).unwrap();
        let [a, b] = ["a", "b"].map(PathBuf::from);
        let bytes = b"abc".to_vec();
        let opened = |file, path, len| Operation::Opened { file, path, len };
        let expected = [
            (opened(0, a.clone(), 0), 0),
            (
                Operation::Wrote {
                    file: 0,
                    offset: 2,
                    bytes,
                },
                0,
            ),
            (Operation::SyncBegan { sync: 1, file: 0 }, 0),
            (Operation::Synced { sync: 1 }, 0),
            (
                Operation::Renamed {
                    from: a,
                    to: b.clone(),
                },
                7,
            ),
            (Operation::DirSyncBegan { sync: 2 }, 7),
            (Operation::Synced { sync: 2 }, 7),
            (Operation::SetLen { file: 0, len: 1 }, 7),
            (opened(3, b.clone(), 1), 7),
            (Operation::Removed { path: b }, 7),
        ];
        let steps = recorder.steps().into_iter();
        let steps: Vec<_> = steps.map(|step| (step.operation, step.promised)).collect();
        assert_eq!(steps, expected);
    }

    #[test]
    fn requested_calls_fail() {
        let dir = tempfile::tempdir().unwrap();
        let (recorder, _attached) = Recorder::attach(dir.path());
        let path = dir.path().join("a");
        let file = DataFile::create(&path, 0o600).unwrap();
        let fault = Fault {
            from: 1,
            count: 2,
            errno: Errno::NOSPC,
            short: true,
        };
        recorder.set_fault(Some(fault));
        let full = io::ErrorKind::StorageFull;
        assert_eq!(file.write_all_at(b"abcd", 0).unwrap_err().kind(), full);
        assert_eq!(data_file::open_to_read(&path).unwrap_err().kind(), full);
        assert_eq!(std::fs::read(&path).unwrap(), b"ab");
        file.write_all_at(b"abcd", 0).unwrap();
        assert_eq!((recorder.calls(), recorder.failed()), (4, 2));
        recorder.set_fault(Some(Fault { from: 4, ..fault }));
        file.set_len(0).unwrap_err();
        recorder.set_fault(None);
        file.set_len(0).unwrap();
    }
}
