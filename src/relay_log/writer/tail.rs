//! A file that grows at its end, and what to do when the disk is full.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::relay_log::{Condition, LogError, RelayLog};

/// How long a write is put off when the disk is full.
const DISK_FULL_RETRY: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1000 });

/// A file that is written at its end only.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Bytes in the file.
    pub(super) written: u64,
    /// Bytes that follow, not yet written.
    pub(super) staged: Vec<u8>,
}

impl Tail {
    pub(super) fn create(path: PathBuf) -> Result<Self, LogError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            // Everybody's data: nobody else may read it.
            .mode(0o640)
            .open(&path)
            .map_err(|cause| LogError::io("create", &path, cause))?;
        Ok(Self {
            file,
            path,
            written: 0,
            staged: Vec::new(),
        })
    }

    pub(super) fn end(&self) -> u64 {
        self.written + self.staged.len() as u64
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file
            .sync_data()
            .map_err(|cause| LogError::io("sync", &self.path, cause))
    }
}

/// Writes what is staged at the end of the file. A full disk is waited for: nothing was published
/// yet, and the same bytes go to the same place.
pub(super) fn write_staged(
    tail: &mut Tail,
    log: &RelayLog,
    stopping: &AtomicBool,
) -> Result<(), LogError> {
    wait_for_room(log, stopping, || {
        tail.file
            .write_all_at(&tail.staged, tail.written)
            .map_err(|cause| LogError::io("write", &tail.path, cause))
    })?;
    tail.written += tail.staged.len() as u64;
    tail.staged.clear();
    Ok(())
}

/// Does `attempt` until the disk is not what it fails for. It must be possible to do it again.
pub(super) fn wait_for_room<T>(
    log: &RelayLog,
    stopping: &AtomicBool,
    mut attempt: impl FnMut() -> Result<T, LogError>,
) -> Result<T, LogError> {
    let mut waiting = false;
    loop {
        match attempt() {
            Err(LogError::Io { path, cause, .. })
                if is_disk_full(&cause) && !stopping.load(Ordering::Relaxed) =>
            {
                if !waiting {
                    report_disk_full(&path, &cause, log);
                }
                waiting = true;
                std::thread::sleep(DISK_FULL_RETRY);
            }
            outcome => {
                if waiting && outcome.is_ok() {
                    tracing::info!("there is room on the disk again, going on");
                    log.set_condition(Condition::Running);
                }
                return outcome;
            }
        }
    }
}

fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn report_disk_full(path: &Path, error: &io::Error, log: &RelayLog) {
    let message = format!(
        "cannot write {}: {error}; the sources wait, make room on the disk",
        path.display()
    );
    tracing::error!("{message}");
    log.set_condition(Condition::DiskFull(message));
}
