//! From events to batches of whole transactions.
//!
//! [`Assembler::event`] processes each event: `admit` decides whether it is kept, `append` keeps
//! it, and `finish` ends the transaction after its last event.

mod admit;
mod append;
mod finish;
mod open;
mod payload;

use std::path::PathBuf;
use std::sync::Arc;

use self::open::Open;
use super::batch::{BufferPool, Transaction, TransactionBatch};
use super::body::Body;
use super::boundary::Boundary;
use super::digest::Digest;
use super::error::TransactionError;
use super::large::LargeEvent;
use crate::binlog::event::{self, CHECKSUM_LEN, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::binlog::{EventType, FormatDescription, old_servers};
use crate::filter::Filter;
use crate::filter::trim::Trim;
use crate::position::SourcePosition;

/// The longest transaction that a binlog file can hold, in bytes.
const TRANSACTION_LEN_MAX: u64 = u32::MAX as u64;

/// How the events of one source are assembled.
#[derive(Debug, Clone)]
pub struct AssemblerOptions {
    /// The source's number in the configuration, from 0.
    pub source: u16,
    /// The source's own server_id.
    pub source_server_id: u32,
    /// See [`crate::relay_log::SourceProgress::first_timestamp`].
    pub source_first_timestamp: u32,
    /// Whether the source's transactions have GTIDs.
    pub has_gtids: bool,
    /// Number of the first run; see [`TransactionBatch::run`].
    pub first_run: u64,
    /// Which changes are kept.
    pub filter: Filter,
    /// `data_dir/spool`.
    pub spill_dir: PathBuf,
    /// Transactions of more bytes than this go to a file.
    pub spill_size: usize,
}

/// The decision on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Drop,
    Keep,
    /// With the body that the filter rewrote.
    KeepRewritten,
}

/// Gathers one source's events into batches of whole transactions.
#[derive(Debug)]
pub struct Assembler {
    options: AssemblerOptions,
    format: Arc<FormatDescription>,
    /// The position after the last event outside any transaction.
    source_end: SourcePosition,
    run: u64,
    trim: Trim,
    digest: Digest,
    /// Invariant: [`Boundary::Outside`] exactly when `open` is `None`, between two events.
    boundary: Boundary,
    /// The open transaction.
    open: Option<Open>,
    /// The event that is being received in parts.
    large: Option<LargeEvent>,
    /// The bytes of `transactions`, then those of the open transaction.
    body: Body,
    /// The finished transactions of the next batch.
    transactions: Vec<Transaction>,
    /// Whether the next batch is due even without a transaction.
    moved: bool,
    before_start: bool,
    pool: BufferPool,
    /// The most bytes of a transaction. Invariant: at most [`TRANSACTION_LEN_MAX`].
    len_max: u64,
}

impl Assembler {
    /// An assembler without a file; call [`Assembler::start_file`] next.
    pub fn new(options: AssemblerOptions, format: Arc<FormatDescription>) -> Self {
        Self {
            trim: Trim::new(options.filter.clone()),
            digest: Digest::new(),
            body: Body::new(options.spill_dir.clone(), options.spill_size),
            run: options.first_run,
            options,
            format,
            source_end: SourcePosition::default(),
            boundary: Boundary::Outside,
            open: None,
            large: None,
            transactions: Vec::new(),
            moved: false,
            before_start: false,
            pool: BufferPool::default(),
            len_max: TRANSACTION_LEN_MAX,
        }
    }

    /// Refuses transactions of more than `max` bytes, as they are kept.
    pub fn limit_transactions(&mut self, max: u64) {
        self.len_max = max.min(TRANSACTION_LEN_MAX);
    }

    /// Continues in `file` of the source. An open transaction is dropped: the source was interrupted
    /// in it. The previous batch must have been taken.
    pub fn start_file(&mut self, file: Arc<str>, position: u64) {
        self.abandon();
        self.run += 1;
        let begin = SourcePosition::new(file, position);
        self.moved = self.source_end != begin;
        self.source_end = begin;
    }

    /// The events that follow have the format `format`.
    pub fn set_format(&mut self, format: Arc<FormatDescription>) {
        self.abandon();
        self.run += 1;
        self.format = format;
    }

    /// The source is at `position`, outside any transaction.
    pub fn move_to(&mut self, position: u64) {
        if self.boundary == Boundary::Outside {
            self.source_end.offset = position;
        }
    }

    /// As [`Assembler::move_to`]; the next batch is due even if it is empty.
    pub fn pass_to(&mut self, position: u64) {
        self.move_to(position);
        self.moved = true;
    }

    /// Says whether the transactions that follow are before their source's start. The previous
    /// batch must have been taken; the next one is due even if it is empty.
    pub fn set_before_start(&mut self, before_start: bool) {
        self.moved = true;
        self.before_start = before_start;
    }

    /// Applies `filter` to the transactions that follow. Call it outside a transaction, which has one filter as a whole.
    pub fn set_filter(&mut self, filter: Filter) {
        self.trim = Trim::new(filter.clone());
        self.options.filter = filter;
    }

    /// Whether a transaction has begun and not ended.
    pub fn is_in_transaction(&self) -> bool {
        self.boundary != Boundary::Outside
    }

    /// Drops the open transaction: it will be fetched again as a whole.
    pub fn abandon(&mut self) {
        self.body.abandon();
        self.boundary = Boundary::Outside;
        self.open = None;
        self.large = None;
    }

    /// Bytes of finished and open transactions in memory.
    pub fn memory_len(&self) -> usize {
        self.body.memory_len()
    }

    /// Whether the newest finished transaction is in a file: take the batch now, so that files do
    /// not accumulate.
    pub fn has_spilled(&self) -> bool {
        self.transactions
            .last()
            .is_some_and(|transaction| transaction.spill.is_some())
    }

    /// Takes the finished transactions, or, when there are none, an empty batch if the source's
    /// file has changed.
    pub fn take_batch(&mut self) -> Option<TransactionBatch> {
        if self.transactions.is_empty() && !self.moved {
            return None;
        }
        self.moved = false;
        let (bytes, transactions) = self.pool.take();
        Some(TransactionBatch {
            source: self.options.source,
            source_server_id: self.options.source_server_id,
            source_first_timestamp: self.options.source_first_timestamp,
            before_start: self.before_start,
            run: self.run,
            source_end: self.source_end.clone(),
            format: self.format.clone(),
            bytes: self.body.take_finished(bytes),
            transactions: std::mem::replace(&mut self.transactions, transactions),
            pool: self.pool.clone(),
        })
    }

    /// Processes one whole event that is not a control event. `position_after` is the source's
    /// position after it.
    ///
    /// # Errors
    /// See [`TransactionError`]; the assembler must then be abandoned and the connection closed.
    pub fn event(&mut self, event: &[u8], position_after: u64) -> Result<(), TransactionError> {
        self.event_with_header(EventHeader::parse(event)?, event, position_after)
    }

    /// As [`Assembler::event`], if `header` is that of the event.
    ///
    /// # Errors
    /// As [`Assembler::event`].
    #[inline]
    pub fn event_with_header(
        &mut self,
        header: EventHeader,
        event: &[u8],
        position_after: u64,
    ) -> Result<(), TransactionError> {
        let event_type = header.event_type;
        if header.event_size as usize != event.len() {
            let expected = u64::from(header.event_size);
            return Err(TransactionError::Size {
                event_type,
                expected,
                found: event.len() as u64,
            });
        }
        let checksummed = self.format.checksum == Checksum::Crc32;
        if checksummed {
            event::verify_checksum(event)?;
        }
        if event_type.is_gtid() {
            return self.begin(header, event, checksummed);
        }
        if event_type == EventType::USER_VAR
            && !self.format.is_checksummed()
            && let Some(complete) = old_servers::with_user_var_flags(event)?
        {
            return self.event(&complete, position_after);
        }
        let body = event::body(event, checksummed);
        match self.admit(&header, body, true)? {
            Admission::Drop => {}
            Admission::Keep => self.append_event(header, event, checksummed)?,
            Admission::KeepRewritten => {
                self.append_rewritten(self.with_checksum(header), body.len())?;
                self.append(&[0; CHECKSUM_LEN])?; // The relay log computes it.
            }
        }
        self.end_event(position_after)
    }

    /// Processes a part of an event that is too large for one piece of memory; the first part
    /// begins with the header. Call [`Assembler::end_large`] after the last.
    ///
    /// # Errors
    /// As [`Assembler::event`].
    pub fn large_part(&mut self, part: &[u8]) -> Result<(), TransactionError> {
        let checksummed = self.format.checksum == Checksum::Crc32;
        let mut large = self
            .large
            .take()
            .unwrap_or_else(|| LargeEvent::new(checksummed));
        large.add(part)?;
        if let Some(head) = large.head_to_judge() {
            self.judge_large(&mut large, &head)?;
        } else {
            if self.open.as_ref().is_some_and(|open| open.digested) && large.is_judged() {
                self.digest.more(part);
            }
            if large.is_kept() {
                self.append_part(part)?;
            }
        }
        self.large = Some(large);
        Ok(())
    }

    /// The event that arrived in parts is complete.
    ///
    /// # Errors
    /// As [`Assembler::event`].
    pub fn end_large(&mut self, position_after: u64) -> Result<(), TransactionError> {
        let Some(mut large) = self.large.take() else {
            return Ok(());
        };
        if let Some(head) = large.remaining_head() {
            self.judge_large(&mut large, &head)?;
        }
        large.finish()?;
        if large.is_kept() && self.format.checksum == Checksum::None {
            self.append(&[0; CHECKSUM_LEN])?;
        }
        self.end_event(position_after)
    }
}
