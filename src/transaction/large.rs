//! An event that is larger than the read buffer: it is processed in parts, and is never complete in
//! memory.

use super::error::TransactionError;
use crate::binlog::event::{CHECKSUM_LEN, HEADER_LEN};
use crate::binlog::{EventError, EventType};

/// Bytes of such an event that are collected before it is judged: enough for the header, the fixed
/// part, 64 KiB of status variables and a database name.
pub(super) const HEAD_LEN: usize = 72 * 1024;

/// The state of the event, from the parts received.
#[derive(Debug)]
pub(super) struct LargeEvent {
    checksummed: bool,
    hasher: crc32fast::Hasher,
    /// The last bytes received, at most four: perhaps the checksum.
    tail: Vec<u8>,
    received: u64,
    head: Vec<u8>,
    judged: Option<Judged>,
}

#[derive(Debug, Clone, Copy)]
struct Judged {
    event_type: EventType,
    size: u64,
    keep: bool,
}

impl LargeEvent {
    pub(super) fn new(checksummed: bool) -> Self {
        Self {
            checksummed,
            hasher: crc32fast::Hasher::new(),
            tail: Vec::with_capacity(2 * CHECKSUM_LEN),
            received: 0,
            head: Vec::new(),
            judged: None,
        }
    }

    /// Adds the next bytes of the event.
    ///
    /// # Errors
    /// When there are more than the header says: they would fill the disk.
    pub(super) fn add(&mut self, part: &[u8]) -> Result<(), TransactionError> {
        self.received += part.len() as u64;
        if let Some(judged) = self.judged.filter(|judged| judged.size < self.received) {
            return Err(self.wrong_size(judged));
        }
        if self.judged.is_none() {
            self.head.extend_from_slice(part);
        }
        if !self.checksummed {
            return Ok(());
        }
        match part.split_last_chunk::<CHECKSUM_LEN>() {
            Some((before, last)) => {
                self.hasher.update(&self.tail);
                self.hasher.update(before);
                self.tail.clear();
                self.tail.extend_from_slice(last);
            }
            None => {
                self.tail.extend_from_slice(part);
                let surplus = self.tail.len().saturating_sub(CHECKSUM_LEN);
                let covered: Vec<u8> = self.tail.drain(..surplus).collect();
                self.hasher.update(&covered);
            }
        }
        Ok(())
    }

    fn wrong_size(&self, judged: Judged) -> TransactionError {
        TransactionError::Size {
            event_type: judged.event_type,
            expected: judged.size,
            found: self.received,
        }
    }

    /// The gathered head, once, as soon as there is enough of it.
    pub(super) fn head_to_judge(&mut self) -> Option<Vec<u8>> {
        (self.judged.is_none() && self.head.len() >= HEAD_LEN)
            .then(|| std::mem::take(&mut self.head))
    }

    /// The gathered head of an event that ended before there was enough of it.
    pub(super) fn remaining_head(&mut self) -> Option<Vec<u8>> {
        self.judged
            .is_none()
            .then(|| std::mem::take(&mut self.head))
    }

    /// Records the decision on the head.
    pub(super) fn judged(&mut self, event_type: EventType, size: u64, keep: bool) {
        self.judged = Some(Judged {
            event_type,
            size,
            keep,
        });
    }

    /// Whether the head has been judged: the following parts are not in it.
    pub(super) fn is_judged(&self) -> bool {
        self.judged.is_some()
    }

    /// Whether the following parts must be appended.
    pub(super) fn is_kept(&self) -> bool {
        self.judged.is_some_and(|judged| judged.keep)
    }

    /// Verifies length and checksum of the complete event.
    pub(super) fn finish(&self) -> Result<(), TransactionError> {
        let Some(judged) = self.judged else {
            return Ok(());
        };
        if judged.size != self.received {
            return Err(self.wrong_size(judged));
        }
        if !self.checksummed {
            return Ok(());
        }
        let event = judged.event_type.name();
        let computed = self.hasher.clone().finalize();
        match <[u8; CHECKSUM_LEN]>::try_from(self.tail.as_slice()) {
            Ok(stored) if u32::from_le_bytes(stored) == computed => Ok(()),
            Ok(stored) => {
                let stored = u32::from_le_bytes(stored);
                Err(EventError::Checksum {
                    event,
                    stored,
                    computed,
                }
                .into())
            }
            Err(_) => Err(EventError::Truncated {
                event,
                field: "checksum",
                offset: HEADER_LEN,
                needed: CHECKSUM_LEN as u64,
                found: self.tail.len(),
            }
            .into()),
        }
    }
}
