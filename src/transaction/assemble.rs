//! From events to batches of whole transactions.

mod append;
mod open;
mod payload;

use std::path::PathBuf;
use std::sync::Arc;

use self::open::Open;
use super::body::Body;
use super::boundary::{self, Boundary};
use super::digest::Digest;
use super::error::TransactionError;
use super::large::LargeEvent;
use super::{BufferPool, Half, Transaction, TransactionBatch};
use crate::binlog::event::{self, CHECKSUM_LEN, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::binlog::mariadb_gtid::{self, AlterHalf, MariaDbGtidEvent};
use crate::binlog::mysql_gtid::MySqlGtidEvent;
use crate::binlog::query::{self, Query};
use crate::binlog::{EventType, FormatDescription};
use crate::filter::Filter;
use crate::filter::trim::{Trim, Verdict};
use crate::identity::{Fingerprint, Identity};
use crate::position::SourcePosition;

/// No binlog file can hold a longer transaction, in bytes.
const TRANSACTION_LEN_MAX: u64 = u32::MAX as u64;

/// How one source's events are to be assembled.
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
    /// What passes.
    pub filter: Filter,
    /// `data_dir/spool`.
    pub spill_dir: PathBuf,
    /// Transactions of more bytes than this go to a file.
    pub spill_size: usize,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Drop,
    Keep,
    /// With the body that the filter made.
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
    boundary: Boundary,
    open: Option<Open>,
    large: Option<LargeEvent>,
    body: Body,
    transactions: Vec<Transaction>,
    moved: bool,
    before_start: bool,
    pool: BufferPool,
}

impl Assembler {
    /// An assembler that stands at no file yet; call [`Assembler::start_file`] next.
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
        }
    }

    /// Goes on in `file` of the source. An open transaction is dropped: the source was cut off in
    /// it. The batch before must have been taken.
    pub fn start_file(&mut self, file: Arc<str>, position: u64) {
        self.abandon();
        self.run += 1;
        let begin = SourcePosition::new(file, position);
        self.moved = self.source_end != begin;
        self.source_end = begin;
    }

    /// The events that follow look like `format` says.
    pub fn set_format(&mut self, format: Arc<FormatDescription>) {
        self.abandon();
        self.run += 1;
        self.format = format;
    }

    /// The source stands at `position`, outside any transaction.
    pub fn move_to(&mut self, position: u64) {
        if self.boundary == Boundary::Outside {
            self.source_end.offset = position;
        }
    }

    /// Says whether the transactions that follow lie before their source's start. The batch
    /// before must have been taken; there will be a next one, if an empty one.
    pub fn set_before_start(&mut self, before_start: bool) {
        self.moved = true;
        self.before_start = before_start;
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

    /// Whether the newest finished transaction is in a file: the batch is to be taken now, so
    /// that files do not pile up.
    pub fn has_spilled(&self) -> bool {
        self.transactions
            .last()
            .is_some_and(|transaction| transaction.spill.is_some())
    }

    /// Takes the finished transactions, or, when there is none, the news that the source's file
    /// has changed.
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

    /// Takes in one whole event that is not a control event. `position_after` is the source's
    /// position behind it.
    ///
    /// # Errors
    /// See [`TransactionError`]; the assembler must then be abandoned and the connection closed.
    pub fn event(&mut self, event: &[u8], position_after: u64) -> Result<(), TransactionError> {
        let header = EventHeader::parse(event)?;
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

    /// Takes in a part of an event that is too large for one piece of memory; the first part
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
                self.append(part)?;
            }
        }
        self.large = Some(large);
        Ok(())
    }

    /// The event that came in parts is complete.
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

    /// Judges a large event by its head, and appends the head.
    fn judge_large(&mut self, large: &mut LargeEvent, head: &[u8]) -> Result<(), TransactionError> {
        let header = EventHeader::parse(head)?;
        let event_type = header.event_type;
        if event_type.is_gtid() {
            return Err(TransactionError::NotEnded { event_type });
        }
        let size = u64::from(header.event_size);
        let around = match self.format.checksum {
            Checksum::Crc32 => event::HEADER_LEN + CHECKSUM_LEN,
            Checksum::None => event::HEADER_LEN,
        };
        let body_len = (header.event_size as usize).saturating_sub(around);
        let behind_header = head.get(event::HEADER_LEN..).unwrap_or(&[]);
        // The head may reach into the checksum, which is no part of what is judged.
        let body = behind_header.get(..body_len).unwrap_or(behind_header);
        let admission = self.admit(&header, body, body.len() == body_len)?;
        large.judged(header.event_type, size, admission != Admission::Drop);
        match admission {
            Admission::Drop => Ok(()),
            Admission::Keep => {
                self.append(&self.with_checksum(header).encode())?;
                self.append(behind_header)
            }
            Admission::KeepRewritten => {
                self.append_rewritten(self.with_checksum(header), body.len())?;
                // What the head has of the checksum.
                self.append(behind_header.get(body.len()..).unwrap_or(&[]))
            }
        }
    }

    fn begin(
        &mut self,
        header: EventHeader,
        event: &[u8],
        checksummed: bool,
    ) -> Result<(), TransactionError> {
        let event_type = header.event_type;
        if self.boundary != Boundary::Outside {
            return Err(TransactionError::NotEnded { event_type });
        }
        let mut open = Open::without_gtid(header);
        open.source_len = event.len() as u64;
        if event_type == EventType::MARIADB_GTID {
            let parsed = MariaDbGtidEvent::parse(event, checksummed)?;
            open.identity = Identity::MariaDb(parsed.gtid);
            open.commit_id = parsed.commit_id;
            open.digested = false;
            open.standalone = parsed.is_standalone();
            open.grouped = !open.standalone;
            open.half = match parsed.alter {
                Some(AlterHalf::Start) => Some(Half::AlterStarted),
                Some(AlterHalf::End { start_seq_no }) => Some(Half::AlterEnded {
                    start_seq_no,
                    wanted: true,
                }),
                None => None,
            };
            self.boundary = if open.standalone {
                Boundary::Standalone
            } else {
                Boundary::InGroup
            };
        } else {
            let parsed = MySqlGtidEvent::parse(event, checksummed)?;
            open.identity = Identity::of_opener(&parsed);
            if let Some(commit_time_us) = parsed.original_commit_time_us {
                open.commit_time_us = commit_time_us;
            }
            open.digested = open.identity == Identity::Anonymous(Fingerprint::default());
            open.clock = parsed.clock;
            open.transaction_length = parsed.transaction_length;
            self.boundary = Boundary::Opened;
        }
        self.start_transaction(open);
        self.append_event(header, event, checksummed)?;
        self.body.end_opener();
        Ok(())
    }

    fn start_transaction(&mut self, open: Open) {
        self.trim.reset();
        if open.digested {
            self.digest.reset();
        }
        self.open = Some(open);
    }

    /// Judges an event by its head and follows the boundary. `whole`: `body` is not just a head.
    fn admit(
        &mut self,
        header: &EventHeader,
        body: &[u8],
        whole: bool,
    ) -> Result<Admission, TransactionError> {
        let event_type = header.event_type;
        if self.open.is_none() && event_type == EventType::INCIDENT && self.options.has_gtids {
            return Err(TransactionError::of_incident(body)?);
        }
        if self.open.is_none()
            && boundary::has_groups_without_opener(&self.format)
            && boundary::begins_without_opener(event_type)
        {
            self.boundary = Boundary::Opened;
            self.start_transaction(Open::without_gtid(*header));
            self.body.end_opener();
        }
        let Some(open) = &mut self.open else {
            return match event_type {
                EventType::IGNORABLE => Ok(Admission::Drop),
                _ => Err(TransactionError::OutsideTransaction { event_type }),
            };
        };
        open.source_len += u64::from(header.event_size);
        if open.digested {
            let checksummed = self.format.checksum == Checksum::Crc32;
            self.digest.event(header, body, checksummed)?;
        }
        let query = match event_type {
            EventType::QUERY => Some(Query::parse(event_type, body)?),
            _ => None,
        };
        self.boundary = self.boundary.after(event_type, query.as_ref());
        open.grouped |= self.boundary == Boundary::InGroup;
        open.compressed |= event_type == EventType::TRANSACTION_PAYLOAD;
        if !matches!(open.identity, Identity::MariaDb(_)) {
            open.note_xa(event_type, body, query.as_ref())?;
        }
        let verdict = self.trim.judge(event_type, body, whole, self.body.len())?;
        if let Some(Half::AlterEnded { wanted, .. }) = &mut open.half
            && verdict == Verdict::Drop
        {
            // What became of the first half decides, which only the merge knows.
            *wanted = false;
            return Ok(Admission::Keep);
        }
        self.obey(verdict)
    }

    /// Takes back or changes what the verdict says.
    fn obey(&mut self, verdict: Verdict) -> Result<Admission, TransactionError> {
        match verdict {
            Verdict::Keep => return Ok(Admission::Keep),
            Verdict::KeepRewritten => return Ok(Admission::KeepRewritten),
            Verdict::Drop => {}
            Verdict::DropBackTo(offset) => {
                self.body
                    .truncate(offset)
                    .map_err(|cause| self.spill_error(cause))?;
            }
            Verdict::DropAndEndStatementAt(offset) => {
                self.body
                    .end_statement_at(offset)
                    .map_err(|cause| self.spill_error(cause))?;
            }
        }
        Ok(Admission::Drop)
    }

    fn end_event(&mut self, position_after: u64) -> Result<(), TransactionError> {
        if self.boundary != Boundary::Outside {
            return Ok(());
        }
        if let Some(open) = self.open.take() {
            self.finish(open, position_after)?;
        }
        // Not before: the position behind a refused transaction must not be taken for reached.
        self.source_end.offset = position_after;
        Ok(())
    }

    fn finish(&mut self, mut open: Open, position_after: u64) -> Result<(), TransactionError> {
        if let (Some(expected), Identity::MySql(gtid)) = (open.transaction_length, open.identity)
            && expected != open.source_len
        {
            let (gtid, found) = (gtid.to_string(), open.source_len);
            return Err(TransactionError::Length {
                gtid,
                expected,
                found,
            });
        }
        let identity = match open.digested {
            true => Identity::Anonymous(self.digest.finish(open.grouped, &open.header)),
            false => open.identity,
        };
        if open.compressed && !self.options.filter.passes_all() {
            self.filter_payload(&mut open)?;
        }
        let ends_alter = matches!(open.half, Some(Half::AlterEnded { .. }));
        let emptied = self.trim.dropped_all() && !ends_alter;
        if emptied && open.is_xa {
            // MySQL replicas refuse an XA transaction without changes: error 3227.
            self.body
                .truncate(self.body.opener().len() as u64)
                .map_err(|cause| self.spill_error(cause))?;
            open.grouped = false;
        }
        if emptied && !open.grouped {
            self.empty_out(&open)?;
        }
        let (start, opener_end, end, spill) = self
            .body
            .finish()
            .map_err(|cause| self.spill_error(cause))?;
        self.transactions.push(Transaction {
            identity,
            server_id: open.header.server_id,
            timestamp: open.header.timestamp,
            commit_time_us: open.commit_time_us,
            clock: open.clock,
            // The opener of an empty group has none.
            commit_id: open.commit_id.filter(|_| !(emptied && open.standalone)),
            opener: start..opener_end,
            rest: opener_end..end,
            spill,
            source_offset: position_after,
            emptied,
            half: open.half,
        });
        Ok(())
    }

    /// Gives a transaction whose only statement was dropped the form of an empty one, so that its
    /// GTID stays.
    fn empty_out(&mut self, open: &Open) -> Result<(), TransactionError> {
        if open.standalone {
            let opener = mariadb_gtid::empty_group(self.body.opener())?;
            self.body.replace_opener(&opener);
        } else {
            self.append(&query::transaction_keyword(&open.header, "BEGIN"))?;
        }
        self.append(&query::transaction_keyword(&open.header, "COMMIT"))
    }
}
