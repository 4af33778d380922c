//! When a new file must begin.

use super::Writer;
use super::error::WriteError;
use crate::relay_log::index_record::RECORD_LEN;

/// Bytes reserved at the end of a file for the closing ROTATE and for headers that grow.
const CLOSING_RESERVE: u64 = 64 * 1024;
/// An index with more bytes than this, and than its log file, is full.
const INDEX_LEN_MAX: u64 = 16 * 1024 * 1024;

impl Writer {
    /// Whether a new file must begin before `len` bytes can be appended.
    ///
    /// # Errors
    /// When no file can hold them.
    pub fn is_full(&self, len: u64) -> Result<bool, WriteError> {
        if !fits(0, len) {
            return Err(WriteError::TooLarge { len });
        }
        let end = self.tail.end();
        let is_full = end >= self.options.max_size || !fits(end, len);
        Ok(is_full && self.has_transactions || self.is_index_full())
    }

    /// A new file begins after this many bytes from now on.
    pub fn set_max_size(&mut self, max_size: u64) {
        self.options.max_size = max_size;
    }

    /// Whether a new file must begin because of the size of the index: copies and empty files of sources make
    /// it grow beside a log file that does not.
    pub fn is_index_full(&self) -> bool {
        let added = (self.index.records() - self.index.head_records) * RECORD_LEN as u64;
        let max = self.tail.end().max(INDEX_LEN_MAX);
        added >= max.min(self.options.max_size)
    }

    /// Checks that `len` bytes fit into the current file.
    ///
    /// # Errors
    /// When they do not.
    pub fn check_fits(&self, len: u64) -> Result<(), WriteError> {
        match fits(self.tail.end(), len) {
            true => Ok(()),
            false => Err(WriteError::TooLarge { len }),
        }
    }
}

/// Whether `len` bytes fit after `end`: offsets in binlog events have 32 bits.
fn fits(end: u64, len: u64) -> bool {
    end.saturating_add(len) <= u64::from(u32::MAX) - CLOSING_RESERVE
}
