//! Reading blocks of a log file for one dump.
//!
//! A block that a replica at the end of the log needs was just written and is in the page cache:
//! it is read in the task. A larger one may have to come from the disk and is read on the
//! runtime's threads for blocking calls, with one call per block.

use std::sync::Arc;

use crate::relay_log::LogError;
use crate::relay_log::reader::LogFile;

/// The most bytes read at once.
pub const BLOCK_LEN: usize = 512 * 1024;
/// Up to this many bytes are read in the task itself.
pub const INLINE_READ_MAX: usize = 64 * 1024;

/// Why a block could not be read.
#[derive(Debug)]
pub enum BlockError {
    /// The file cannot be read.
    Log(LogError),
    /// The runtime is shutting down.
    ShuttingDown,
}

/// Reads blocks into a buffer that it keeps.
#[derive(Debug, Default)]
pub struct BlockReader {
    /// Exactly the bytes of the block that was read last.
    block: Vec<u8>,
}

impl BlockReader {
    /// Reads exactly `len` bytes at `offset` of `file`; callers pass at most [`BLOCK_LEN`].
    ///
    /// # Errors
    /// The file cannot be read or ends too early, or the runtime is shutting down.
    pub async fn read(
        &mut self,
        file: &Arc<LogFile>,
        offset: u64,
        len: usize,
    ) -> Result<&[u8], BlockError> {
        let mut block = std::mem::take(&mut self.block);
        block.resize(len, 0);
        let read = move |file: &LogFile, mut block: Vec<u8>| {
            let outcome = file.read_exact_at(&mut block, offset);
            outcome.map(|()| block)
        };
        let outcome = if len <= INLINE_READ_MAX {
            read(file, block)
        } else {
            let file = file.clone();
            tokio::task::spawn_blocking(move || read(&file, block))
                .await
                .map_err(|_| BlockError::ShuttingDown)?
        };
        self.block = outcome.map_err(BlockError::Log)?;
        Ok(&self.block)
    }

    /// Frees the buffer if it is larger than needed at the end of the log.
    pub fn release_memory(&mut self) {
        if self.block.capacity() > INLINE_READ_MAX {
            self.block = Vec::new();
        }
    }
}
