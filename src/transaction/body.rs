//! The bytes of transactions that are being assembled: in memory, and in a file from a configured
//! size on.

use std::ops::Range;
use std::path::PathBuf;

use super::error::BodyError;
use super::spill::{SpillFile, Spilling};
use super::taken_bytes::TakenBytes;
use crate::binlog::rows;

/// The opener of the open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    /// All bytes so far belong to it. It stays in memory, since it is rewritten later.
    Incomplete,
    /// It has this many bytes.
    Complete(usize),
    /// MySQL 5.6 without GTIDs: the transaction has none.
    Absent,
}

/// The bytes of the finished transactions of a batch, and of the open one.
///
/// ```text
///  memory: | finished transactions … | opener | other events, unless they are spilled |
///                                    start    start + opener length            memory.len()
/// ```
#[derive(Debug)]
pub(super) struct Body {
    memory: Vec<u8>,
    /// Where the open transaction begins in `memory`.
    /// Invariant: `start <= start + opener length <= memory.len()`.
    start: usize,
    /// Invariant: not [`Opener::Incomplete`] while `spilling` is set.
    opener: Opener,
    /// The other events of the open transaction, once it is larger than `spill_size`.
    /// Invariant: while set, `memory` ends with the opener.
    spilling: Option<Spilling>,
    /// Whether all events after the opener are as the source has sent them, with checksums that were verified.
    is_verified: bool,
    spill_dir: PathBuf,
    spill_size: usize,
}

/// The bytes of a transaction that is complete, as ranges of the batch's bytes.
#[derive(Debug)]
pub(super) struct FinishedBody {
    /// `None` when the transaction has no opener.
    pub(super) opener: Option<Range<usize>>,
    /// The other events, unless they are in `spill`.
    pub(super) rest: Range<usize>,
    pub(super) spill: Option<SpillFile>,
    /// Whether these events are as the source has sent them, with checksums that were verified.
    pub(super) is_verified: bool,
}

impl Body {
    pub(super) fn new(spill_dir: PathBuf, spill_size: usize) -> Self {
        let memory = Vec::new();
        Self {
            memory,
            start: 0,
            opener: Opener::Incomplete,
            spilling: None,
            is_verified: true,
            spill_dir,
            spill_size,
        }
    }

    /// Bytes of the open transaction, spilled ones included.
    #[inline]
    pub(super) fn len(&self) -> u64 {
        let spilled = self.spilling.as_ref().map_or(0, Spilling::len);
        (self.memory.len() - self.start) as u64 + spilled
    }

    /// Bytes in memory, finished transactions included.
    pub(super) fn memory_len(&self) -> usize {
        self.memory.len()
    }

    /// Says that all bytes so far are the opener.
    pub(super) fn end_opener(&mut self) {
        self.opener = Opener::Complete(self.memory.len() - self.start);
        self.is_verified = true;
    }

    /// Says that the transaction has no opener; nothing was appended yet.
    pub(super) fn begin_without_opener(&mut self) {
        self.opener = Opener::Absent;
        self.is_verified = true;
    }

    /// Replaces the opener, the only event so far.
    pub(super) fn replace_opener(&mut self, opener: &[u8]) -> Result<(), BodyError> {
        let end = self.opener_end()?;
        if self.spilling.is_some() || end != self.memory.len() {
            return Err(BodyError::internal(format!(
                "opener to replace: it ends at byte {end}, but {} bytes follow it",
                self.len().saturating_sub(self.opener_len() as u64)
            )));
        }
        self.memory.truncate(self.start);
        self.memory.extend_from_slice(opener);
        self.end_opener();
        Ok(())
    }

    /// The opener's bytes; empty when there is none.
    pub(super) fn opener(&self) -> Result<&[u8], BodyError> {
        let end = self.opener_end()?;
        let found = self.memory.get(self.start..end);
        found.ok_or_else(|| self.outside("opener", end))
    }

    /// Bytes of the opener; 0 when there is none.
    pub(super) fn opener_len(&self) -> usize {
        match self.opener {
            Opener::Complete(len) => len,
            Opener::Absent => 0,
            Opener::Incomplete => self.memory.len() - self.start,
        }
    }

    /// Where the opener ends in `memory`, and the other events begin.
    fn opener_end(&self) -> Result<usize, BodyError> {
        let end = self.start + self.opener_len();
        match end <= self.memory.len() && self.start <= end {
            true => Ok(end),
            false => Err(self.outside("opener", end)),
        }
    }

    fn outside(&self, what: &'static str, end: usize) -> BodyError {
        BodyError::out_of_range(what, end as u64, self.memory.len() as u64)
    }

    /// Appends bytes of an event that is not as the source has sent it, or lacks a checksum.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.is_verified = false;
        self.append_verified(bytes)
    }

    /// Appends bytes of an event as the source has sent it, whose checksum is verified before the transaction ends.
    #[inline]
    pub(super) fn append_verified(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        if let Some(spilling) = &mut self.spilling {
            return Ok(spilling.append(bytes)?);
        }
        let open_len = self.memory.len() - self.start;
        if self.opener != Opener::Incomplete && open_len + bytes.len() > self.spill_size {
            return self.begin_spilling(bytes);
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// Moves everything after the opener to a file, and appends `bytes` there.
    fn begin_spilling(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let opener_end = self.opener_end()?;
        let rest = self.memory.get(opener_end..);
        let rest = rest.ok_or_else(|| self.outside("opener", opener_end))?;
        let mut spilling = Spilling::create(&self.spill_dir)?;
        spilling.append(rest)?;
        spilling.append(bytes)?;
        self.memory.truncate(opener_end);
        // What was in memory is not needed again soon: the batch is passed on after this transaction.
        self.memory.shrink_to_fit();
        self.spilling = Some(spilling);
        Ok(())
    }

    /// Where `offset`, which counts from the start of the open transaction, is among the spilled
    /// events. It must not be inside the opener.
    fn spilled_offset(&self, offset: u64) -> Result<u64, BodyError> {
        let opener_len = self.opener_len() as u64;
        let inside = || {
            BodyError::internal(format!(
                "offset {offset} of the open transaction: it is inside the opener of \
                 {opener_len} bytes"
            ))
        };
        offset.checked_sub(opener_len).ok_or_else(inside)
    }

    /// Removes everything from `offset` (from the start of the open transaction) on. The opener
    /// stays.
    pub(super) fn truncate(&mut self, offset: u64) -> Result<(), BodyError> {
        let spilled = self.spilled_offset(offset)?;
        if let Some(spilling) = &mut self.spilling {
            return spilling.truncate(spilled);
        }
        if offset > self.len() {
            return Err(BodyError::out_of_range("truncation", offset, self.len()));
        }
        self.memory.truncate(self.start + offset as usize);
        Ok(())
    }

    /// Takes out all events after the opener.
    pub(super) fn take_rest(&mut self) -> Result<TakenBytes, BodyError> {
        match self.spilling.take() {
            Some(spilling) => Ok(TakenBytes::Spilled(spilling.finish()?)),
            None => {
                let opener_end = self.opener_end()?;
                Ok(TakenBytes::Memory(self.memory.split_off(opener_end)))
            }
        }
    }

    /// Puts back the events of [`Body::take_rest`], when nothing was appended since.
    pub(super) fn put_back(&mut self, taken: TakenBytes) {
        match taken {
            TakenBytes::Memory(bytes) => self.memory.extend_from_slice(&bytes),
            TakenBytes::Spilled(file) => self.spilling = Some(Spilling::reopen(file)),
        }
    }

    /// Sets STMT_END_F in the rows event at `offset` (from the start of the open transaction).
    pub(super) fn end_statement_at(&mut self, offset: u64) -> Result<(), BodyError> {
        let spilled = self.spilled_offset(offset)?;
        self.is_verified = false;
        if let Some(spilling) = &mut self.spilling {
            return spilling.set_statement_end(spilled);
        }
        let at = self.start + offset as usize;
        match self.memory.get_mut(at..) {
            Some(event) => rows::set_statement_end(event).map_err(BodyError::internal),
            None => Err(self.outside("rows event", at)),
        }
    }

    /// Ends the open transaction.
    pub(super) fn finish(&mut self) -> Result<FinishedBody, BodyError> {
        let opener_end = self.opener_end()?;
        let spill = self.spilling.take().map(Spilling::finish).transpose()?;
        let opener = match self.opener {
            Opener::Complete(_) => Some(self.start..opener_end),
            Opener::Absent => None,
            Opener::Incomplete => {
                let what = "the transaction ended before its opener was complete";
                return Err(BodyError::internal(what));
            }
        };
        let rest = opener_end..self.memory.len();
        self.start = self.memory.len();
        self.opener = Opener::Incomplete;
        Ok(FinishedBody {
            opener,
            rest,
            spill,
            is_verified: self.is_verified,
        })
    }

    /// Drops the open transaction.
    pub(super) fn abandon(&mut self) {
        self.memory.truncate(self.start);
        self.opener = Opener::Incomplete;
        self.spilling = None;
    }

    /// Takes the finished transactions' bytes; the open one stays, at the start of `empty`.
    pub(super) fn take_finished(&mut self, mut empty: Vec<u8>) -> Vec<u8> {
        empty.clear();
        empty.extend_from_slice(self.memory.drain(self.start..).as_slice());
        self.start = 0;
        std::mem::replace(&mut self.memory, empty)
    }
}

#[cfg(test)]
mod tests;
