//! Bytes of the disk that are reserved for what must be written although the disk is full: the commit index of
//! transactions that are in the log already, the list of files, and the files of a removal.
//!
//! Once it was used, nothing else of the log is written before it is there again ([`Reserve::refill`]): otherwise the
//! log would take the rest of it, and with that the space that a removal needs.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::LogError;
use super::retention::space::writable_bytes;
use crate::data_file::{self, DataFile};

/// Bytes written by one call.
const BLOCK_LEN: usize = 1024 * 1024;

/// The reserve: a file of zeros that is deleted when its space is needed.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    len: u64,
    /// Whether the disk was too full for it, or it was used.
    is_missing: AtomicBool,
    /// Held while its space is being used, or it is created.
    using: Mutex<()>,
}

impl Reserve {
    /// A reserve of `len` bytes at `path`, which is not created yet; of 0 bytes it never is.
    pub fn new(path: PathBuf, len: u64) -> Self {
        Self {
            path,
            len,
            is_missing: AtomicBool::new(false),
            using: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.using.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the file if it is missing and there is space.
    pub fn fill(&self) {
        let _using = self.lock();
        self.fill_locked();
    }

    fn fill_locked(&self) {
        let exists = fs::metadata(&self.path).is_ok_and(|found| found.len() == self.len);
        if self.len == 0 || exists {
            self.is_missing.store(false, Ordering::Relaxed);
            return;
        }
        let created = self.create();
        if created.is_err() {
            // A part of it would only take the space that is needed now.
            let _ = data_file::remove(&self.path);
        }
        // Without it for another reason than space, the log is written as long as it can be.
        let is_full = created.is_err_and(|cause| self.error(cause).is_disk_full());
        self.is_missing.store(is_full, Ordering::Relaxed);
    }

    /// Creates the file again if it was used, before anything else is written.
    ///
    /// # Errors
    /// When the disk is too full for it.
    pub fn refill(&self) -> Result<(), LogError> {
        if !self.is_missing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _using = self.lock();
        // An attempt in vain would take the space from others meanwhile.
        let writable = self.path.parent().and_then(writable_bytes);
        let has_space = writable.is_none_or(|bytes| bytes >= self.len);
        if has_space {
            self.fill_locked();
        }
        match self.is_missing.load(Ordering::Relaxed) {
            true => Err(self.error(io::ErrorKind::StorageFull.into())),
            false => Ok(()),
        }
    }

    fn error(&self, cause: io::Error) -> LogError {
        LogError::io("write", &self.path, cause)
    }

    fn create(&self) -> io::Result<()> {
        // In tests, a disk is full for a file while there is another one of this name.
        #[cfg(test)]
        if self.path.with_added_extension("full").exists() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = DataFile::create(&self.path, 0o640)?;
        let zeros = vec![0; BLOCK_LEN];
        let mut left = self.len;
        while left > 0 {
            let (block, _) =
                zeros.split_at(usize::try_from(left).unwrap_or(BLOCK_LEN).min(BLOCK_LEN));
            file.write_all_at(block, self.len - left)?;
            left -= block.len() as u64;
        }
        file.sync_data()
    }

    /// Makes `attempt`, which writes little; if the disk is full, once more in the space of the reserve. It must be
    /// repeatable.
    ///
    /// # Errors
    /// As `attempt`.
    pub fn spend<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        match attempt() {
            Err(error) if error.is_disk_full() => {
                let _using = self.lock();
                // It may have been used before: then there may be something left of it.
                self.is_missing.store(self.len > 0, Ordering::Relaxed);
                let _ = data_file::remove(&self.path);
                attempt()
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> LogError {
        LogError::io("write", "file".as_ref(), io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn reserve_is_filled_once_and_used_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay-bin.reserve");
        let len = BLOCK_LEN as u64 + 7;
        let reserve = Reserve::new(path.clone(), len);
        // What a killed process has left of it is replaced.
        fs::write(&path, b"part").unwrap();
        reserve.fill();
        assert_eq!(fs::metadata(&path).unwrap().len(), len);
        let mut attempts = [Err(full()), Ok(())].into_iter();
        reserve.spend(|| attempts.next().unwrap()).unwrap();
        assert!(!path.exists());
        // Nothing else may be written before it is there again.
        let hindrance = path.with_added_extension("full");
        fs::write(&hindrance, b"").unwrap();
        assert!(reserve.refill().unwrap_err().is_disk_full());
        assert!(reserve.spend(|| Err::<(), _>(full())).is_err());
        fs::remove_file(&hindrance).unwrap();
        reserve.refill().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), len);
    }

    #[test]
    fn without_a_reserve_nothing_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay-bin.reserve");
        let reserve = Reserve::new(path.clone(), 0);
        reserve.fill();
        assert!(reserve.spend(|| Err::<(), _>(full())).is_err());
        reserve.refill().unwrap();
        assert!(!path.exists());
        // It cannot be created, for another reason than space.
        fs::create_dir(&path).unwrap();
        let reserve = Reserve::new(path, 7);
        reserve.fill();
        reserve.refill().unwrap();
    }
}
