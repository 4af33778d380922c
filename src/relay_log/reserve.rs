//! Bytes of the disk that are reserved for what must be written although the disk is full: the commit index of
//! transactions that are in the log already, the list of files, and the files of a removal.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::data_file::{self, DataFile};

/// Bytes written by one call.
const BLOCK_LEN: usize = 1024 * 1024;

/// The reserve: a file of zeros that is deleted when its space is needed.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    len: u64,
}

impl Reserve {
    /// A reserve of `len` bytes at `path`, which is not created yet; of 0 bytes it never is.
    pub fn new(path: PathBuf, len: u64) -> Self {
        Self { path, len }
    }

    /// Creates the file if it is missing and there is space.
    pub fn fill(&self) {
        let exists = fs::metadata(&self.path).is_ok_and(|found| found.len() == self.len);
        if self.len > 0 && !exists && self.create().is_err() {
            // A part of it would only take the space that is needed now.
            let _ = data_file::remove(&self.path);
        }
    }

    fn create(&self) -> io::Result<()> {
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

    /// Deletes the file; returns whether that has freed space.
    pub fn release(&self) -> bool {
        data_file::remove(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_filled_once_and_freed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay-bin.reserve");
        let len = BLOCK_LEN as u64 + 7;
        let reserve = Reserve::new(path.clone(), len);
        assert!(!reserve.release());
        // What a killed process has left of it is replaced.
        fs::write(&path, b"part").unwrap();
        reserve.fill();
        assert_eq!(fs::metadata(&path).unwrap().len(), len);
        assert!(reserve.release() && !path.exists() && !reserve.release());
        Reserve::new(path.clone(), 0).fill();
        assert!(!path.exists());
    }
}
