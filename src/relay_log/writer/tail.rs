//! A file that grows at its end, and how a full disk is handled.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::data_file::DataFile;
use crate::relay_log::error::LogError;
use crate::relay_log::published::{Condition, RelayLog};

/// Staged bytes that are written, without a sync, in the middle of a group.
pub(super) const STAGED_LEN_MAX: usize = 4 * 1024 * 1024;
/// The most memory that is kept for staged bytes.
const STAGED_KEPT: usize = 2 * STAGED_LEN_MAX;
/// How long a write is delayed when the disk is full.
const DISK_FULL_RETRY: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1000 });

/// A file that is written at its end only.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) file: Arc<DataFile>,
    pub(super) path: PathBuf,
    /// Bytes in the file.
    pub(super) written: u64,
    /// Staged bytes, not yet written.
    pub(super) staged: Vec<u8>,
}

impl Tail {
    pub(super) fn create(path: PathBuf) -> Result<Self, LogError> {
        // In tests, a disk is full for a file while there is another one of this name.
        #[cfg(test)]
        if path.with_added_extension("full").exists() {
            let cause = std::io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
            return Err(LogError::io("create", &path, cause));
        }
        // Contains user data; must not be world-readable.
        let file =
            DataFile::create(&path, 0o640).map_err(|cause| LogError::io("create", &path, cause))?;
        Ok(Self {
            file: Arc::new(file),
            path,
            written: 0,
            staged: Vec::new(),
        })
    }

    /// Offset after the staged bytes.
    pub(super) fn end(&self) -> u64 {
        self.written + self.staged.len() as u64
    }

    /// Writes the staged bytes at the end of the file. After an error they are still staged, and
    /// the next attempt writes the same bytes at the same offset.
    pub(super) fn write_all(&mut self) -> Result<(), LogError> {
        self.file
            .write_all_at(&self.staged, self.written)
            .map_err(|cause| LogError::io("write", &self.path, cause))?;
        self.written += self.staged.len() as u64;
        self.staged.clear();
        if self.staged.capacity() > STAGED_KEPT {
            self.staged.shrink_to(STAGED_LEN_MAX);
        }
        Ok(())
    }

    /// As [`Tail::write_all`], and writes `bytes` after them, which are not copied.
    fn write_all_and(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.write_all()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.file
            .write_all_at(bytes, self.written)
            .map_err(|cause| LogError::io("write", &self.path, cause))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.synced().sync()
    }

    /// The file, for another thread that syncs it.
    pub(super) fn synced(&self) -> SyncedFile {
        SyncedFile {
            file: self.file.clone(),
            path: self.path.clone(),
        }
    }
}

/// A file that is made durable, while it may grow.
#[derive(Debug, Clone)]
pub(super) struct SyncedFile {
    file: Arc<DataFile>,
    pub(super) path: PathBuf,
}

impl SyncedFile {
    /// Makes durable what was written before the call.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        let synced = self.file.sync_data();
        synced.map_err(|cause| LogError::io("sync", &self.path, cause))
    }
}

/// The disk, which may be full: then writing waits until space is free.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// The log whose condition reports the waiting.
    pub(super) log: Arc<RelayLog>,
    /// Set to give up waiting.
    pub(super) stopping: Arc<AtomicBool>,
    /// How many threads are waiting.
    pub(super) waiting: Arc<Mutex<u32>>,
}

impl Disk {
    /// Writes the staged bytes, and waits for space.
    pub(super) fn write(&self, tail: &mut Tail) -> Result<(), LogError> {
        self.write_with(tail, &[])
    }

    /// Writes the staged bytes and `bytes` after them, and waits for space.
    pub(super) fn write_with(&self, tail: &mut Tail, bytes: &[u8]) -> Result<(), LogError> {
        // At the end, the index of what was written may still be: it is in the reserve's space.
        let is_last = tail.staged.is_empty() && bytes.is_empty();
        self.wait_for_space(|| {
            if !is_last || !self.stopping.load(Ordering::Relaxed) {
                self.log.reserve().refill()?;
            }
            tail.write_all_and(bytes)
        })
    }

    /// As [`Disk::write`], if many bytes are staged, or will be with `more`.
    pub(super) fn write_before(&self, tail: &mut Tail, more: usize) -> Result<(), LogError> {
        match tail.staged.len() + more > STAGED_LEN_MAX {
            true => self.write(tail),
            false => Ok(()),
        }
    }

    /// As [`Disk::write`], if many bytes are staged.
    pub(super) fn write_if_many(&self, tail: &mut Tail) -> Result<(), LogError> {
        match tail.staged.len() > STAGED_LEN_MAX {
            true => self.write(tail),
            false => Ok(()),
        }
    }

    /// Begins a file with `attempt`, and waits for space. It must be repeatable.
    pub(super) fn begin<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.wait_for_space(|| {
            self.log.reserve().refill()?;
            attempt()
        })
    }

    /// Repeats `attempt` while it fails because the disk is full. It must be repeatable.
    fn wait_for_space<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let mut waiting = false;
        loop {
            match attempt() {
                Err(error) if error.is_disk_full() && !self.stopping.load(Ordering::Relaxed) => {
                    if !waiting {
                        self.begin_waiting(&error);
                    }
                    waiting = true;
                    std::thread::sleep(DISK_FULL_RETRY);
                }
                outcome => {
                    if waiting {
                        self.end_waiting(outcome.is_ok());
                    }
                    return outcome;
                }
            }
        }
    }

    /// As [`Disk::wait_for_space`], for what is small and must be written: the reserve is used first.
    pub(super) fn write_with_reserve<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.wait_for_space(|| self.log.reserve().spend(&mut attempt))
    }

    fn begin_waiting(&self, error: &LogError) {
        let message = format!("{error}; sources are paused; free disk space");
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting += 1;
        tracing::error!("{message}");
        self.log.set_condition(Condition::DiskFull(message));
    }

    /// The log runs again once no thread waits.
    fn end_waiting(&self, is_written: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = waiting.saturating_sub(1);
        if is_written && *waiting == 0 {
            tracing::info!("disk space available again, resuming");
            self.log.set_condition(Condition::Running);
        }
        drop(waiting);
        if is_written {
            self.log.reserve().fill();
        }
    }
}
