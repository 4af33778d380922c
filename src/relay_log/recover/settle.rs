//! Makes the good part of a file durable, and removes what follows it.

use std::path::Path;

use crate::data_file::DataFile;
use crate::relay_log::error::LogError;

/// Bytes rewritten by one call.
const REWRITE_LEN: usize = 1024 * 1024;

/// Truncates the file to `len` bytes, and makes the bytes from `durable` on durable.
///
/// They are written again before the sync: if the operating system failed to write them earlier, it
/// has reported that once, and may regard them as written although they are not on the disk.
pub(super) fn settle(path: &Path, durable: u64, len: u64) -> Result<(), LogError> {
    let settle = || {
        let file = DataFile::open(path)?;
        if file.file_len()? > len {
            file.set_len(len)?;
        }
        let mut block = vec![0; REWRITE_LEN];
        let mut offset = durable;
        while offset < len {
            let left = usize::try_from(len - offset).unwrap_or(usize::MAX);
            let (piece, _) = block.split_at_mut(left.min(REWRITE_LEN));
            file.read_exact_at(piece, offset)?;
            file.write_all_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        file.sync_all()
    };
    settle().map_err(|cause| LogError::io("repair the end of", path, cause))
}
