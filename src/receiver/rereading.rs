//! Reading a source's binlog again: its transactions are assembled, but not recorded.

use super::connect::connect;
use super::dump_position::{Change, DumpPosition};
use super::dump_request::{request_after, request_all_but, request_to_end};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::listening::Listening;
use super::options::ReceiverOptions;
use super::packets::{DumpPart, next_part};
use crate::binlog::EventType;
use crate::binlog::event::EventHeader;
use crate::config::FilterConfig;
use crate::connection::Connection;
use crate::gtid::{GtidPosition, GtidSet};
use crate::position::SourcePosition;
use crate::transaction::{Assembler, AssemblerOptions, TransactionBatch};

/// Passes the transactions of the binlog of the server `expected` from `from` up to its end on to `accept`, as the
/// source's rules filter them. Connects for that: a connection cannot be reused after a dump.
///
/// # Errors
/// When the source cannot be read, or another server answers.
pub(super) async fn read_binlog(
    options: &ReceiverOptions,
    expected: &SourceFacts,
    from: &SourcePosition,
    accept: &mut (dyn FnMut(&TransactionBatch) + Send),
) -> Result<(), ReceiverError> {
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    let filter = options.config.filter.current();
    let mut reading = Rereading::request(&mut connection, options, &facts, from, &filter).await?;
    while let Some(batch) = reading.next(&mut connection).await? {
        accept(&batch);
        batch.recycle();
    }
    Ok(())
}

/// A dump that is read without recording it.
pub(super) struct Rereading<'a> {
    options: &'a ReceiverOptions,
    facts: &'a SourceFacts,
    filter: &'a FilterConfig,
    pub(super) position: DumpPosition,
    /// Where the newest transaction begins that was received, perhaps not as a whole yet.
    pub(super) began: SourcePosition,
    /// Nothing is read of transactions that begin here or later.
    stop_at: Option<SourcePosition>,
    listening: Listening,
    /// `None` before the first format description.
    assembler: Option<Assembler>,
    /// Whether the event that arrives in parts is a control event.
    skips_large: bool,
}

impl<'a> Rereading<'a> {
    /// Requests the source's binlog from `from` up to its present end. The transactions are filtered by `filter`.
    pub(super) async fn request(
        connection: &mut Connection,
        options: &'a ReceiverOptions,
        facts: &'a SourceFacts,
        from: &SourcePosition,
        filter: &'a FilterConfig,
    ) -> Result<Self, ReceiverError> {
        request_to_end(connection, options, facts, from).await?;
        Ok(Self::of(options, facts, filter))
    }

    /// MySQL: requests all transactions of the source's binlog that are not in `set`.
    pub(super) async fn request_all_but(
        connection: &mut Connection,
        options: &'a ReceiverOptions,
        facts: &'a SourceFacts,
        set: &GtidSet,
        filter: &'a FilterConfig,
    ) -> Result<Self, ReceiverError> {
        request_all_but(connection, options, facts, set).await?;
        Ok(Self::of(options, facts, filter))
    }

    /// MariaDB: requests the transactions of the source's binlog after `position`.
    pub(super) async fn request_after(
        connection: &mut Connection,
        options: &'a ReceiverOptions,
        facts: &'a SourceFacts,
        position: &GtidPosition,
        filter: &'a FilterConfig,
    ) -> Result<Self, ReceiverError> {
        request_after(connection, options, facts, position).await?;
        Ok(Self::of(options, facts, filter))
    }

    fn of(options: &'a ReceiverOptions, facts: &'a SourceFacts, filter: &'a FilterConfig) -> Self {
        Self {
            options,
            facts,
            filter,
            position: DumpPosition::new(),
            began: SourcePosition::default(),
            stop_at: None,
            listening: Listening::new(options.config.read_timeout),
            assembler: None,
            skips_large: false,
        }
    }

    /// As it is, but ends before the first transaction that begins at `end` or later.
    pub(super) fn up_to(mut self, end: &SourcePosition) -> Self {
        self.stop_at = Some(end.clone());
        self
    }

    /// Whether a transaction has begun that is not wanted.
    fn has_passed_end(&self) -> bool {
        let Some(end) = &self.stop_at else {
            return false;
        };
        !self.began.is_unknown() && !self.began.precedes(end)
    }

    /// The next transactions; `None` at the end.
    pub(super) async fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<TransactionBatch>, ReceiverError> {
        loop {
            while let Some(part) = next_part(connection, &self.position)? {
                if matches!(part, DumpPart::EndOfDump) {
                    return Ok(None);
                }
                self.note_begin(&part);
                if self.has_passed_end() {
                    return Ok(None);
                }
                self.part(part)?;
                let assembler = self.assembler.as_mut();
                let batch = assembler.and_then(Assembler::take_batch);
                if let Some(batch) = batch.filter(|batch| !batch.is_empty()) {
                    return Ok(Some(batch));
                }
            }
            self.listening.heard(connection);
            self.listening.fill(connection).await?;
        }
    }

    /// Handles an event, or a part of one.
    fn part(&mut self, part: DumpPart<'_>) -> Result<(), ReceiverError> {
        let at = self.position.at.clone();
        let assembled = match (part, &mut self.assembler) {
            (DumpPart::Event(header, event), _) if header.event_type.is_control() => {
                return self.control(&header, event);
            }
            // A list of GTIDs.
            (DumpPart::Begin(header, _), _) if header.event_type.is_control() => {
                self.position.at.offset = self.position.after(&header);
                self.skips_large = true;
                return Ok(());
            }
            (DumpPart::Continue(_), _) if self.skips_large => return Ok(()),
            (DumpPart::End(_), _) if self.skips_large => {
                self.skips_large = false;
                return Ok(());
            }
            (DumpPart::EndOfDump, _) | (_, None) => return Ok(()),
            (DumpPart::Event(header, event), Some(assembler)) => {
                self.position.check_description(event)?;
                let after = self.position.after(&header);
                let assembled = assembler.event(event, after);
                assembled.map_err(|cause| self.position.broken(&header, event.len(), cause))?;
                self.position.pass(after);
                return Ok(());
            }
            (DumpPart::Begin(header, head), Some(assembler)) => {
                self.position.pass(self.position.after(&header));
                assembler.large_part(head)
            }
            (DumpPart::Continue(bytes), Some(assembler)) => assembler.large_part(bytes),
            (DumpPart::End(bytes), Some(assembler)) => assembler
                .large_part(bytes)
                .and_then(|()| assembler.end_large(self.position.at.offset)),
        };
        assembled.map_err(|cause| ReceiverError::Transaction { at, cause })
    }

    /// Records where a transaction begins, if the event does not belong to the one before.
    fn note_begin(&mut self, part: &DumpPart<'_>) {
        let (DumpPart::Event(header, _) | DumpPart::Begin(header, _)) = part else {
            return;
        };
        let assembler = self.assembler.as_ref();
        if header.event_type.is_control() || assembler.is_some_and(Assembler::is_in_transaction) {
            return;
        }
        let end = self.position.after(header);
        self.began.file = self.position.at.file.clone();
        self.began.offset = end.saturating_sub(header.event_size.into());
    }

    /// Applies a control event.
    fn control(&mut self, header: &EventHeader, event: &[u8]) -> Result<(), ReceiverError> {
        if header.event_type == EventType::HEARTBEAT {
            return Ok(());
        }
        let change = self.position.control(header, event)?;
        let Some(format) = self.position.format.clone() else {
            return Ok(());
        };
        let assembler = self.assembler.get_or_insert_with(|| {
            let options = AssemblerOptions {
                source: self.options.number,
                source_server_id: self.facts.server_id,
                source_first_timestamp: 0,
                has_gtids: self.facts.has_gtids,
                first_run: 0,
                filter: self.facts.filter(self.filter),
                spill_dir: self.options.spill_dir.clone(),
                spill_size: self.options.spill_size,
            };
            Assembler::new(options, format.clone())
        });
        if matches!(change, Change::File | Change::Format) {
            let at = &self.position.at;
            assembler.set_format(format);
            assembler.start_file(at.file.clone(), at.offset);
        }
        Ok(())
    }
}
