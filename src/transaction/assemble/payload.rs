//! Filtering inside a TRANSACTION_PAYLOAD event, which holds a whole transaction compressed.
//!
//! The event is first kept unchanged. At its end, if there is a filter, the events in it are judged:
//! when all are kept unchanged, so is the event; otherwise the kept ones replace it, uncompressed.
//! It is decompressed as a stream, at most twice, so that memory does not depend on its size; a
//! content too large for a binlog file is refused, and a large one is spilled, as in any
//! transaction.
//!
//! The events in it are whole, but without checksums, which their sizes do not count either, and
//! their log_pos is 0.

use std::io::{self, BufRead, BufReader, Read};

use super::append::counting_checksum;
use super::open::Open;
use super::{Admission, Assembler, TRANSACTION_LEN_MAX};
use crate::binlog::event::{self, CHECKSUM_LEN, EventHeader, HEADER_LEN};
use crate::binlog::payload::{self, COMPRESSION_NONE, COMPRESSION_ZSTD, PayloadHeader};
use crate::binlog::query::Query;
use crate::binlog::{EventError, EventType};
use crate::filter::trim::Verdict;
use crate::transaction::boundary::Boundary;
use crate::transaction::error::{PayloadError, TransactionError};
use crate::transaction::large::HEAD_LEN;
use crate::transaction::taken_bytes::TakenBytes;

/// Bytes of an event that are copied at once.
const PIECE_LEN: usize = 64 * 1024;
/// More than the length of the fields before the payload.
const FIELDS_LEN: usize = 256;
const EVENT: &str = "Transaction_payload event";

impl Assembler {
    /// Applies the filter to the events in the TRANSACTION_PAYLOAD event after the opener.
    pub(super) fn filter_payload(&mut self, open: &mut Open) -> Result<(), TransactionError> {
        let taken = self
            .body
            .take_rest()
            .map_err(|cause| self.body_error(cause))?;
        if self.keeps_all(open, &mut PayloadEvents::open(&taken)?)? {
            self.body.put_back(taken);
            return Ok(());
        }
        self.trim.reset();
        let mut events = PayloadEvents::open(&taken)?;
        // The remaining events include a BEGIN and the end.
        open.grouped = true;
        let mut piece = Vec::new();
        while let Some(header) = events.next_event()? {
            let (whole, offset) = (events.left == 0, self.body.len());
            let verdict = self.trim.judge(&header, &events.head, whole, offset)?;
            let header = counting_checksum(header);
            match self.obey(verdict)? {
                Admission::Drop => continue,
                Admission::Keep => {
                    self.append(&header.encode())?;
                    self.append(&events.head)?;
                }
                Admission::KeepRewritten => self.append_rewritten(header, events.head.len())?,
            }
            while events.next_piece(&mut piece)? {
                self.append(&piece)?;
            }
            self.append(&[0; CHECKSUM_LEN])?;
        }
        Ok(())
    }

    /// Judges all events, and records their effect on an XA transaction.
    fn keeps_all(
        &mut self,
        open: &mut Open,
        events: &mut PayloadEvents<'_>,
    ) -> Result<bool, TransactionError> {
        let mut all = true;
        while let Some(header) = events.next_event()? {
            open.note_xa(header.event_type, &events.head, None)?;
            if all {
                let whole = events.left == 0;
                let verdict = self.trim.judge(&header, &events.head, whole, 0)?;
                all = verdict == Verdict::Keep;
            }
        }
        Ok(all)
    }
}

/// The events in a payload, in their order.
struct PayloadEvents<'a> {
    bytes: Box<dyn BufRead + 'a>,
    boundary: Boundary,
    /// The size of all events, from the payload's header; not to be trusted.
    expected: u64,
    /// The size of the events read, in bytes.
    found: u64,
    /// The current event's body, or its first [`HEAD_LEN`] bytes.
    head: Vec<u8>,
    /// Bytes of the current event's body after `head`, not yet read.
    left: u64,
    event_type: EventType,
}

impl<'a> PayloadEvents<'a> {
    /// Opens a payload event, the only one in `taken`.
    fn open(taken: &'a TakenBytes) -> Result<Self, TransactionError> {
        let mut start = Vec::new();
        let unreadable = |cause| TransactionError::from(PayloadError::Stream(cause));
        let head_reader = taken.read_from(0, taken.len());
        head_reader
            .take((HEADER_LEN + FIELDS_LEN) as u64)
            .read_to_end(&mut start)
            .map_err(unreadable)?;
        let header = EventHeader::parse(&start)?;
        if header.event_type != EventType::TRANSACTION_PAYLOAD
            || u64::from(header.event_size) != taken.len()
        {
            let event_type = header.event_type;
            return Err(PayloadError::Misplaced { event_type }.into());
        }
        let fields = PayloadHeader::parse(event::body(&start, false))?;
        let payload_start = (HEADER_LEN + fields.len) as u64;
        let payload_end = taken.len().saturating_sub(CHECKSUM_LEN as u64);
        let payload_len = payload_end.saturating_sub(payload_start);
        if fields.payload_size != Some(payload_len) {
            let found = fields.payload_size.unwrap_or(0);
            let expected = "the number of bytes that follow";
            return Err(invalid("payload size", found, expected).into());
        }
        let expected = match fields.uncompressed_size {
            Some(size) if size > TRANSACTION_LEN_MAX => return Err(TransactionError::TooLarge),
            Some(size) => size,
            None => return Err(invalid("uncompressed size", 0, "a size").into()),
        };
        let stream = taken.read_from(payload_start, payload_end);
        let bytes: Box<dyn BufRead + 'a> = match fields.compression_type {
            Some(COMPRESSION_NONE) => Box::new(BufReader::new(stream)),
            Some(COMPRESSION_ZSTD) => {
                let expanded = payload::expand(BufReader::new(stream));
                Box::new(expanded.map_err(unreadable)?)
            }
            found => {
                let found = found.unwrap_or(u64::MAX);
                let expected = "0 (zstd) or 255 (none)";
                return Err(invalid("compression type", found, expected).into());
            }
        };
        Ok(Self {
            bytes,
            boundary: Boundary::Opened,
            expected,
            found: 0,
            head: Vec::new(),
            left: 0,
            event_type: EventType::TRANSACTION_PAYLOAD,
        })
    }

    /// The next event's header; its body, or the start of it, is then in `head`. `None` at the end
    /// of the payload, where the transaction must end.
    fn next_event(&mut self) -> Result<Option<EventHeader>, TransactionError> {
        let left = std::mem::take(&mut self.left);
        let skipped = io::copy(&mut self.bytes.by_ref().take(left), &mut io::sink());
        if skipped.map_err(PayloadError::Stream)? != left {
            return Err(self.truncated().into());
        }
        self.read_head(HEADER_LEN as u64)?;
        if self.head.is_empty() {
            return self.end();
        }
        let header = EventHeader::parse(&self.head).map_err(|_| self.truncated())?;
        self.event_type = header.event_type;
        let body_len = u64::from(header.event_size) - HEADER_LEN as u64;
        self.count(body_len)?;
        let head_len = body_len.min(HEAD_LEN as u64);
        self.read_head(head_len)?;
        if (self.head.len() as u64) < head_len {
            return Err(self.truncated().into());
        }
        self.left = body_len - head_len;
        self.follow(header.event_type)?;
        Ok(Some(header))
    }

    /// The next piece of the current event's body after the head; false when there is none.
    fn next_piece(&mut self, piece: &mut Vec<u8>) -> Result<bool, PayloadError> {
        piece.clear();
        let wanted = self.left.min(PIECE_LEN as u64);
        let read = self.bytes.by_ref().take(wanted).read_to_end(piece);
        if (read.map_err(PayloadError::Stream)? as u64) < wanted {
            return Err(self.truncated());
        }
        self.left -= wanted;
        Ok(wanted > 0)
    }

    fn read_head(&mut self, len: u64) -> Result<(), PayloadError> {
        self.head.clear();
        let read = self.bytes.by_ref().take(len).read_to_end(&mut self.head);
        read.map(|_| ()).map_err(PayloadError::Stream)
    }

    fn count(&mut self, body_len: u64) -> Result<(), PayloadError> {
        self.found += HEADER_LEN as u64 + body_len;
        match self.found > self.expected {
            true => Err(self.wrong_size()),
            false => Ok(()),
        }
    }

    /// Advances the boundary state: the transaction may end with the last event only.
    fn follow(&mut self, event_type: EventType) -> Result<(), TransactionError> {
        let misplaced = event_type.is_control()
            || event_type.is_gtid()
            || event_type == EventType::TRANSACTION_PAYLOAD;
        if misplaced || self.boundary == Boundary::Outside {
            return Err(PayloadError::Misplaced { event_type }.into());
        }
        let query = match event_type {
            EventType::QUERY => Some(Query::parse(event_type, &self.head)?),
            _ => None,
        };
        self.boundary = self.boundary.after(event_type, query.as_ref(), false);
        Ok(())
    }

    fn end(&self) -> Result<Option<EventHeader>, TransactionError> {
        if self.found != self.expected {
            return Err(self.wrong_size().into());
        }
        match self.boundary {
            Boundary::Outside => Ok(None),
            _ => Err(PayloadError::NotEnded.into()),
        }
    }

    fn wrong_size(&self) -> PayloadError {
        let (expected, found) = (self.expected, self.found);
        PayloadError::Size { expected, found }
    }

    fn truncated(&self) -> PayloadError {
        let (event_type, offset) = (self.event_type, self.found);
        PayloadError::Truncated { event_type, offset }
    }
}

fn invalid(field: &'static str, found: u64, expected: &'static str) -> EventError {
    EventError::Invalid {
        event: EVENT,
        field,
        offset: HEADER_LEN,
        found,
        expected,
    }
}
