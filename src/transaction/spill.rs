//! Large transactions on disk: a file of its own for each, in `data_dir/spool`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::BodyError;
use crate::binlog::rows;
use crate::data_file::{self, DataFile};

/// Bytes gathered before they are written to a spill file.
const WRITE_BUFFER_LEN: usize = 256 * 1024;
/// Bytes from the start of a rows event to the end of its flags, which hold STMT_END_F.
const ROWS_HEAD_LEN: usize = 27;

/// Numbers the files of this process, so that no two have the same name.
static NEXT_SPILL: AtomicU64 = AtomicU64::new(1);

/// A file in `data_dir/spool` that holds the events of one large transaction, without the opener.
/// It is removed when the last owner drops it.
#[derive(Debug, Clone)]
pub struct SpillFile {
    inner: Arc<SpillInner>,
    len: u64,
}

#[derive(Debug)]
struct SpillInner {
    file: DataFile,
    path: PathBuf,
}

impl Drop for SpillInner {
    fn drop(&mut self) {
        // A file that cannot be removed now is removed at the next start.
        let _ = data_file::remove(&self.path);
    }
}

impl SpillFile {
    /// How many bytes it holds.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads exactly `buffer.len()` bytes from `offset`.
    ///
    /// # Errors
    /// The operating system's error, or an unexpected end of the file.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.file.read_exact_at(buffer, offset)
    }
}

/// A spill file that is being written.
#[derive(Debug)]
pub(super) struct Spilling {
    /// Its length counts what is still in `unwritten`.
    file: SpillFile,
    /// The last bytes of the file, not yet written. Invariant: `unwritten.len() <= file.len`.
    unwritten: Vec<u8>,
}

impl Spilling {
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        let number = NEXT_SPILL.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("transaction-{number:06}"));
        // The directory was emptied at start: whatever has the name now was put there by others.
        let file = DataFile::create_new(&path, 0o600)?;
        let file = SpillFile {
            inner: Arc::new(SpillInner { file, path }),
            len: 0,
        };
        Ok(Self {
            file,
            unwritten: Vec::with_capacity(WRITE_BUFFER_LEN),
        })
    }

    /// Continues a file that was complete.
    pub(super) fn reopen(file: SpillFile) -> Self {
        Self {
            file,
            unwritten: Vec::new(),
        }
    }

    /// How many bytes were appended.
    pub(super) fn len(&self) -> u64 {
        self.file.len
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.len += bytes.len() as u64;
        if self.unwritten.len() + bytes.len() <= WRITE_BUFFER_LEN {
            self.unwritten.extend_from_slice(bytes);
            return Ok(());
        }
        let start = self.file.len - bytes.len() as u64;
        self.flush_up_to(start)?;
        self.file.inner.file.write_all_at(bytes, start)
    }

    /// Writes everything and returns the file.
    pub(super) fn finish(mut self) -> io::Result<SpillFile> {
        self.flush_up_to(self.file.len)?;
        Ok(self.file)
    }

    /// Writes the unwritten bytes, which end at `end`.
    fn flush_up_to(&mut self, end: u64) -> io::Result<()> {
        let start = end - self.unwritten.len() as u64;
        self.file.inner.file.write_all_at(&self.unwritten, start)?;
        self.unwritten.clear();
        Ok(())
    }

    /// Removes everything from offset `len` on.
    pub(super) fn truncate(&mut self, len: u64) -> Result<(), BodyError> {
        if len > self.file.len {
            return Err(BodyError::out_of_range("truncation", len, self.file.len));
        }
        self.flush_up_to(self.file.len)?;
        self.file.inner.file.set_len(len)?;
        self.file.len = len;
        Ok(())
    }

    /// Makes the rows event at `offset` the last one of its statement.
    pub(super) fn set_statement_end(&mut self, offset: u64) -> Result<(), BodyError> {
        let end = offset.saturating_add(ROWS_HEAD_LEN as u64);
        if end > self.file.len {
            return Err(BodyError::out_of_range("rows event", end, self.file.len));
        }
        self.flush_up_to(self.file.len)?;
        let mut head = [0; ROWS_HEAD_LEN];
        self.file.inner.file.read_exact_at(&mut head, offset)?;
        rows::set_statement_end(&mut head).map_err(BodyError::internal)?;
        Ok(self.file.inner.file.write_all_at(&head, offset)?)
    }
}
