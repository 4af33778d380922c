//! Copying a large transaction's events from its spill file.

use std::path::Path;

use super::finish::finish;
use super::tail::Tail;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::{CHECKSUM_LEN, EventError, HEADER_LEN};
use crate::relay_log::error::LogError;
use crate::transaction::SpillFile;

/// Events of up to this many bytes are copied from a spill file whole, larger ones in pieces of
/// this size.
const PIECE_LEN: usize = 1024 * 1024;

/// The checksum of an event that is copied in pieces.
enum Checksum {
    /// It follows from the source's.
    Known(u32),
    /// Of what was copied.
    Computed(crc32fast::Hasher),
}

/// Copies a large transaction's events from its spill file, a piece at a time.
pub(super) struct SpillCopy<'a> {
    spill: &'a SpillFile,
    offset: u64,
    /// The rest of an event that is copied in pieces: bytes left before its checksum.
    open: Option<(u64, Checksum)>,
    /// See [`crate::transaction::Transaction::is_verified`].
    is_verified: bool,
}

impl<'a> SpillCopy<'a> {
    pub(super) fn new(spill: &'a SpillFile, is_verified: bool) -> Self {
        Self {
            spill,
            offset: 0,
            open: None,
            is_verified,
        }
    }

    /// Stages the next piece; false when there is none.
    pub(super) fn next(&mut self, tail: &mut Tail) -> Result<bool, LogError> {
        if let Some((left, checksum)) = self.open.take() {
            self.stage_piece(tail, left, checksum)?;
            return Ok(true);
        }
        if self.offset >= self.spill.len() {
            return Ok(false);
        }
        let mut head = [0; HEADER_LEN];
        self.read(&mut head, &tail.path)?;
        let header = EventHeader::parse(&head).map_err(|cause| damage(&tail.path, cause))?;
        let size = header.event_size as usize;
        let end = tail.end() + size as u64;
        if size <= PIECE_LEN {
            let from = tail.staged.len();
            tail.staged.extend_from_slice(&head);
            self.stage(tail, size.saturating_sub(HEADER_LEN))?;
            let (_, event) = tail.staged.split_at_mut(from);
            finish(event, end).map_err(|cause| damage(&tail.path, cause))?;
            return Ok(true);
        }
        let left = (size - HEADER_LEN - CHECKSUM_LEN) as u64;
        let before = head;
        event::set_log_pos(&mut head, end as u32).map_err(|cause| damage(&tail.path, cause))?;
        let checksum = match self.is_verified {
            true => {
                let mut stored = [0; CHECKSUM_LEN];
                let at = self.offset + left;
                self.read_at(&mut stored, at, &tail.path)?;
                let stored = u32::from_le_bytes(stored);
                Checksum::Known(event::checksum_with_header(stored, (&before, &head), left))
            }
            false => {
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(&head);
                Checksum::Computed(hasher)
            }
        };
        tail.staged.extend_from_slice(&head);
        self.open = Some((left, checksum));
        Ok(true)
    }

    fn stage_piece(
        &mut self,
        tail: &mut Tail,
        left: u64,
        mut checksum: Checksum,
    ) -> Result<(), LogError> {
        let piece = left.min(PIECE_LEN as u64);
        let from = tail.staged.len();
        self.stage(tail, piece as usize)?;
        if let Checksum::Computed(hasher) = &mut checksum {
            let (_, copied) = tail.staged.split_at(from);
            hasher.update(copied);
        }
        if piece < left {
            self.open = Some((left - piece, checksum));
            return Ok(());
        }
        let checksum = match checksum {
            Checksum::Known(checksum) => checksum,
            Checksum::Computed(hasher) => hasher.finalize(),
        };
        tail.staged.extend_from_slice(&checksum.to_le_bytes());
        self.offset += CHECKSUM_LEN as u64; // The source's checksum, or space for one.
        Ok(())
    }

    /// Stages the next `len` bytes of the spill file.
    fn stage(&mut self, tail: &mut Tail, len: usize) -> Result<(), LogError> {
        let from = tail.staged.len();
        tail.staged.resize(from + len, 0);
        let Tail { staged, path, .. } = tail;
        let (_, target) = staged.split_at_mut(from);
        self.read(target, path)
    }

    fn read(&mut self, target: &mut [u8], path: &Path) -> Result<(), LogError> {
        self.read_at(target, self.offset, path)?;
        self.offset += target.len() as u64;
        Ok(())
    }

    fn read_at(&self, target: &mut [u8], offset: u64, path: &Path) -> Result<(), LogError> {
        let read = self.spill.read_exact_at(target, offset);
        read.map_err(|cause| LogError::io("read the spooled transaction for", path, cause))
    }
}

/// Damage of a spilled event, which was whole when it was spilled.
fn damage(path: &Path, cause: EventError) -> LogError {
    LogError::Event {
        path: path.to_owned(),
        offset: 0,
        cause,
    }
}
