//! Appending the kept events to the open transaction.

use super::{Assembler, TRANSACTION_LEN_MAX};
use crate::binlog::event::{self, CHECKSUM_LEN, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::transaction::error::{BodyError, TransactionError};

impl Assembler {
    /// The header of a source's event, with an event_size that counts a checksum.
    pub(super) fn with_checksum(&self, header: EventHeader) -> EventHeader {
        match self.format.checksum {
            Checksum::Crc32 => header,
            Checksum::None => counting_checksum(header),
        }
    }

    /// Appends an event, or the head of one, with the body that the filter rewrote; the checksum
    /// is appended later. The size in `header` counts the checksum, but the original body;
    /// `body_len` is the length of the body, or of its head, that was rewritten.
    pub(super) fn append_rewritten(
        &mut self,
        header: EventHeader,
        body_len: usize,
    ) -> Result<(), TransactionError> {
        let rewritten = self.trim.rewritten();
        let around = u64::from(header.event_size).checked_sub(body_len as u64);
        let around = around.ok_or_else(|| TransactionError::Internal {
            what: format!(
                "{} event: its body of {body_len} bytes is longer than the event of {} bytes",
                header.event_type, header.event_size
            ),
        })?;
        let size = around + rewritten.len() as u64;
        self.check_len(size)?;
        let event_size = u32::try_from(size).map_err(|_| TransactionError::TooLarge)?;
        let head = EventHeader {
            event_size,
            ..header
        }
        .encode();
        let appended = self.body.append(&head);
        appended
            .and_then(|()| self.body.append(rewritten))
            .map_err(|cause| self.body_error(cause))
    }

    /// Appends a whole event, with four bytes for a checksum if it has none.
    #[inline]
    pub(super) fn append_event(
        &mut self,
        header: EventHeader,
        event: &[u8],
        checksummed: bool,
    ) -> Result<(), TransactionError> {
        if checksummed {
            return self.append_verified(event);
        }
        self.append(&counting_checksum(header).encode())?;
        self.append(event::body(event, false))?;
        self.append(&[0; CHECKSUM_LEN])
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), TransactionError> {
        self.check_len(bytes.len() as u64)?;
        let appended = self.body.append(bytes);
        appended.map_err(|cause| self.body_error(cause))
    }

    /// Appends bytes of an event as it was received. The transaction is abandoned if its checksum does not match.
    #[inline]
    pub(super) fn append_verified(&mut self, bytes: &[u8]) -> Result<(), TransactionError> {
        self.check_len(bytes.len() as u64)?;
        let appended = self.body.append_verified(bytes);
        appended.map_err(|cause| self.body_error(cause))
    }

    /// Appends a part of an event that is kept and arrives in parts.
    pub(super) fn append_part(&mut self, part: &[u8]) -> Result<(), TransactionError> {
        match self.format.checksum {
            Checksum::Crc32 => self.append_verified(part),
            Checksum::None => self.append(part),
        }
    }

    /// Whether the open transaction may get so many more bytes.
    fn check_len(&self, more: u64) -> Result<(), TransactionError> {
        match self.body.len() + more {
            len if len <= self.len_max => Ok(()),
            len if len > TRANSACTION_LEN_MAX => Err(TransactionError::TooLarge),
            _ => Err(TransactionError::OverLimit { max: self.len_max }),
        }
    }

    pub(super) fn body_error(&self, cause: BodyError) -> TransactionError {
        match cause {
            BodyError::Spill(cause) => TransactionError::Spill {
                dir: self.options.spill_dir.clone(),
                cause,
            },
            BodyError::Internal(what) => TransactionError::Internal { what },
        }
    }
}

/// The header of an event without a checksum, with an event_size that counts one.
pub(super) fn counting_checksum(header: EventHeader) -> EventHeader {
    EventHeader {
        event_size: header.event_size.saturating_add(CHECKSUM_LEN as u32),
        ..header
    }
}
