//! Appending what is kept to the open transaction.

use std::io;

use super::{Assembler, TRANSACTION_LEN_MAX};
use crate::binlog::event::{self, CHECKSUM_LEN, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::transaction::TransactionError;

impl Assembler {
    /// The header of a source's event with the checksum counted in.
    pub(super) fn with_checksum(&self, header: EventHeader) -> EventHeader {
        match self.format.checksum {
            Checksum::Crc32 => header,
            Checksum::None => with_checksum_room(header),
        }
    }

    /// Appends an event, or the head of one, with the body that the filter made; the checksum
    /// comes later. `header` counts it in and has the size from before; `body_len` is the length
    /// of the body, or head of it, that was judged.
    pub(super) fn append_rewritten(
        &mut self,
        header: EventHeader,
        body_len: usize,
    ) -> Result<(), TransactionError> {
        let rewritten = self.trim.rewritten();
        let size = u64::from(header.event_size) - body_len as u64 + rewritten.len() as u64;
        if self.body.len() + size > TRANSACTION_LEN_MAX {
            return Err(TransactionError::TooLarge);
        }
        let event_size = u32::try_from(size).map_err(|_| TransactionError::TooLarge)?;
        let head = EventHeader {
            event_size,
            ..header
        }
        .encode();
        let appended = self.body.append(&head);
        appended
            .and_then(|()| self.body.append(rewritten))
            .map_err(|cause| self.spill_error(cause))
    }

    /// Appends a whole event, with room for a checksum if it has none.
    pub(super) fn append_event(
        &mut self,
        header: EventHeader,
        event: &[u8],
        checksummed: bool,
    ) -> Result<(), TransactionError> {
        if checksummed {
            return self.append(event);
        }
        self.append(&with_checksum_room(header).encode())?;
        self.append(event::body(event, false))?;
        self.append(&[0; CHECKSUM_LEN])
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), TransactionError> {
        if self.body.len() + bytes.len() as u64 > TRANSACTION_LEN_MAX {
            return Err(TransactionError::TooLarge);
        }
        self.body
            .append(bytes)
            .map_err(|cause| self.spill_error(cause))
    }

    pub(super) fn spill_error(&self, cause: io::Error) -> TransactionError {
        TransactionError::Spill {
            dir: self.options.spill_dir.clone(),
            cause,
        }
    }
}

/// The header of an event that gets a checksum here.
pub(super) fn with_checksum_room(header: EventHeader) -> EventHeader {
    EventHeader {
        event_size: header.event_size.saturating_add(CHECKSUM_LEN as u32),
        ..header
    }
}
