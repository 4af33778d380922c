//! The stream of a dump: from packets to batches of transactions for the relay log.

use std::sync::atomic::{AtomicU64, Ordering};

use super::changing_filter::ChangingFilter;
use super::dump_position::{Change, DumpPosition};
use super::enqueue::enqueue;
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::listening::Listening;
use super::options::{ReceiverContext, ReceiverOptions};
use super::packets::{DumpPart, next_received};
use super::semi_sync::Acknowledgements;
use super::status::{SourceState, SourceStatus};
use crate::binlog::EventType;
use crate::binlog::event::EventHeader;
use crate::connection::Connection;
use crate::log_thread::SourceCounters;
use crate::position::SourcePosition;
use crate::transaction::{Assembler, AssemblerOptions, TransactionError};

/// Finished transactions are passed on when they reach this many bytes, or when the source has
/// nothing more to send.
const BATCH_LEN: usize = 1024 * 1024;

/// The dumps of all sources since the relay's start, which number their runs: a source that is removed and added again
/// is another one for its receiver, and the same for the log.
static DUMPS: AtomicU64 = AtomicU64::new(0);

/// A connection whose dump has been requested.
pub(super) struct Dump {
    pub(super) connection: Connection,
    /// Whether each event has a header for semi-sync.
    pub(super) is_semi_sync: bool,
    pub(super) facts: SourceFacts,
    /// See [`crate::relay_log::SourceProgress::first_timestamp`].
    pub(super) first_timestamp: u32,
    /// The number of the path in the log, see [`crate::log_thread::Paths`].
    pub(super) path: u16,
    /// Up to where the server's binlog was received, or counts as received by decision of an administrator.
    pub(super) received_to: Option<SourcePosition>,
}

/// How an event that arrives in parts is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Large {
    None,
    /// It belongs to the transaction.
    Kept {
        header: EventHeader,
        offset_after: u64,
    },
    /// It is a control event.
    Skipped {
        offset_after: u64,
    },
}

/// Why reading from the buffer stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// It has no more packets; whether it had one.
    Nothing { has_read: bool },
    /// The transactions that are complete are passed on first.
    PassOn {
        /// Whether a new run of events begins then.
        ends_run: bool,
        /// Whether everything before the source's start has been read.
        is_at_start: bool,
    },
}

/// A dump's stream.
struct Stream<'a> {
    options: &'a ReceiverOptions,
    context: &'a ReceiverContext,
    counters: &'a SourceCounters,
    /// Up to here the source is read only to recognise copies.
    start: Option<SourcePosition>,
    /// See [`Dump::received_to`].
    received_to: Option<SourcePosition>,
    status: &'a SourceStatus,
    position: DumpPosition,
    /// `None` before the first format description.
    assembler: Option<Assembler>,
    assembler_options: AssemblerOptions,
    filter: ChangingFilter,
    large: Large,
    bytes: u64,
    listening: Listening,
    /// Whether anything but heartbeats arrived since the last wait.
    has_news: bool,
    /// In a semi-synchronous dump.
    acknowledgements: Option<Acknowledgements<'a>>,
    /// Whether the source wants an acknowledgement of the event that is being received.
    wants_acknowledgement: bool,
}

/// Reads the dump; returns the error that ended it.
pub(super) async fn stream(
    dump: Dump,
    options: &ReceiverOptions,
    context: &ReceiverContext,
    counters: &SourceCounters,
    status: &SourceStatus,
) -> ReceiverError {
    let (facts, mut connection) = (dump.facts, dump.connection);
    let mut filter = ChangingFilter::new(options.config.filter.follow(), facts.clone());
    let assembler_options = AssemblerOptions {
        source: dump.path,
        source_server_id: facts.server_id,
        source_first_timestamp: dump.first_timestamp,
        has_gtids: facts.has_gtids,
        first_run: (1 + DUMPS.fetch_add(1, Ordering::Relaxed)) << 32,
        filter: filter.take(),
        spill_dir: options.spill_dir.clone(),
        spill_size: options.spill_size,
    };
    let mut stream = Stream {
        options,
        context,
        counters,
        start: context.read_back.start_of(dump.path),
        received_to: dump.received_to,
        status,
        position: DumpPosition::new(),
        assembler: None,
        assembler_options,
        filter,
        large: Large::None,
        bytes: 0,
        listening: Listening::new(options.config.read_timeout),
        has_news: true,
        acknowledgements: dump
            .is_semi_sync
            .then(|| Acknowledgements::new(options, context, counters, status, &facts)),
        wants_acknowledgement: false,
    };
    loop {
        if let Err(error) = stream.step(&mut connection).await {
            // Transactions that were complete before the error are not lost.
            let _ = stream.pass_on(None).await;
            return error;
        }
    }
}

impl Stream<'_> {
    /// Handles everything in the read buffer, then waits for more.
    async fn step(&mut self, connection: &mut Connection) -> Result<(), ReceiverError> {
        let mut has_read = false;
        self.filter.notice();
        self.adopt_filter();
        loop {
            let due = self.take_buffered(connection)?;
            has_read |= due != Due::Nothing { has_read: false };
            let Due::PassOn {
                ends_run,
                is_at_start,
            } = due
            else {
                break;
            };
            self.pass_on(Some(connection)).await?;
            if ends_run {
                self.begin_run();
            }
            if is_at_start {
                self.pass_start();
            }
        }
        self.status.count_bytes(std::mem::take(&mut self.bytes));
        self.pass_on(Some(connection)).await?;
        if has_read {
            self.listening.heard(connection);
        }
        if self.is_in_transaction() || self.large != Large::None || connection.buffered_len() > 0 {
            self.status.set_busy();
        } else if std::mem::take(&mut self.has_news) {
            self.status.set_waiting();
        }
        self.fill(connection).await
    }

    /// Handles packets in the read buffer, until there are no more or something is due. In a function of its own that
    /// never waits: in [`Stream::step`] each of its values would be in the task's memory.
    fn take_buffered(&mut self, connection: &mut Connection) -> Result<Due, ReceiverError> {
        let is_semi_sync = self.acknowledgements.is_some();
        let mut has_read = false;
        while let Some(received) = next_received(connection, &self.position, is_semi_sync)? {
            has_read = true;
            let wants_acknowledgement = received.wants_acknowledgement;
            let ends_run = self.part(received.part)?;
            if wants_acknowledgement || self.wants_acknowledgement {
                self.note_wanted(wants_acknowledgement);
            }
            if self.filter.has_changed {
                self.adopt_filter();
            }
            let is_full = self.assembler.as_ref().is_some_and(|assembler| {
                assembler.memory_len() > BATCH_LEN || assembler.has_spilled()
            });
            let is_at_start = self.start.is_some() && self.is_at_start();
            if ends_run || is_full || is_at_start {
                return Ok(Due::PassOn {
                    ends_run,
                    is_at_start,
                });
            }
        }
        Ok(Due::Nothing { has_read })
    }

    /// Reads more of the dump; acknowledges what becomes durable meanwhile.
    async fn fill(&mut self, connection: &mut Connection) -> Result<(), ReceiverError> {
        let Some(acknowledgements) = &mut self.acknowledgements else {
            return self.listening.fill(connection).await;
        };
        loop {
            tokio::select! {
                biased;
                () = acknowledgements.due() => {}
                filled = self.listening.fill(connection) => return filled,
            }
            acknowledgements.send(connection).await?;
        }
    }

    /// Records that the source wants an acknowledgement of the event whose first part was received last.
    fn note_wanted(&mut self, wants_acknowledgement: bool) {
        self.wants_acknowledgement |= wants_acknowledgement;
        if !self.wants_acknowledgement || self.large != Large::None {
            return;
        }
        self.wants_acknowledgement = false;
        let is_whole = !self.is_in_transaction();
        if let Some(acknowledgements) = &mut self.acknowledgements {
            acknowledgements.want(&self.position.at, is_whole);
        }
    }

    fn is_in_transaction(&self) -> bool {
        let assembler = self.assembler.as_ref();
        assembler.is_some_and(Assembler::is_in_transaction)
    }

    /// Passes finished transactions on to the relay log, once the queue has memory for them.
    /// `connection` is that on which acknowledgements are sent meanwhile.
    async fn pass_on(&mut self, connection: Option<&mut Connection>) -> Result<(), ReceiverError> {
        if let Some(batch) = self.assembler.as_mut().and_then(Assembler::take_batch) {
            self.status.pause_reading();
            let queueing = enqueue(
                batch,
                self.options,
                self.context,
                self.status,
                self.counters,
            );
            match (&mut self.acknowledgements, connection) {
                (Some(acknowledgements), Some(connection)) => {
                    acknowledgements.send_during(queueing, connection).await?;
                }
                _ => queueing.await?,
            }
            self.status.count_bytes(std::mem::take(&mut self.bytes));
        }
        if let Some(acknowledgements) = &mut self.acknowledgements {
            acknowledgements.passed_on(self.counters.queued.load(Ordering::Relaxed));
        }
        Ok(())
    }

    /// Applies changed rules, once no transaction is being received.
    fn adopt_filter(&mut self) {
        if !self.filter.has_changed || self.is_in_transaction() || self.large != Large::None {
            return;
        }
        let filter = self.filter.take();
        tracing::info!(
            source = %self.options.config.name,
            "the changed filter applies to what follows {} in the source's binlog",
            self.position.at
        );
        if let Some(assembler) = &mut self.assembler {
            assembler.set_filter(filter.clone());
        }
        self.assembler_options.filter = filter;
    }

    /// Whether everything before the source's start has been read.
    fn is_at_start(&self) -> bool {
        let at = &self.position.at;
        !self.is_in_transaction()
            && self
                .start
                .as_ref()
                .is_some_and(|start| start.file == at.file && at.offset >= start.offset)
    }

    /// From here on transactions are recorded, once all sources have reached their starts.
    fn pass_start(&mut self) {
        self.start = None;
        if let Some(assembler) = &mut self.assembler {
            assembler.set_before_start(false);
        }
        self.status.set_state(SourceState::Streaming);
        self.context.read_back.finish(self.options.number);
    }

    /// Continues in another file, or with events of another format.
    fn begin_run(&mut self) {
        let Some(format) = &self.position.format else {
            return;
        };
        let before_start = self.start.is_some();
        let assembler = self.assembler.get_or_insert_with(|| {
            let mut new = Assembler::new(self.assembler_options.clone(), format.clone());
            new.limit_transactions(self.options.max_transaction_size);
            new.set_before_start(before_start);
            new
        });
        let at = &self.position.at;
        assembler.set_format(format.clone());
        assembler.start_file(at.file.clone(), at.offset);
        // If the relay is stopped before the log begins, it is created again, with another `latest`.
        match before_start {
            true => self.status.end_error(),
            false => self.status.set_state(SourceState::Streaming),
        }
    }

    /// Handles an event or a part of one; true when everything before it must be passed on and a
    /// new run begins.
    fn part(&mut self, part: DumpPart<'_>) -> Result<bool, ReceiverError> {
        match part {
            DumpPart::Event(header, event) => self.event(&header, event),
            DumpPart::Begin(header, head) => self.begin_large(&header, head).map(|()| false),
            DumpPart::Continue(bytes) => self.continue_large(bytes).map(|()| false),
            DumpPart::End(bytes) => self.end_large(bytes).map(|()| false),
            DumpPart::EndOfDump => Err(ReceiverError::Ended {
                at: self.position.at.clone(),
            }),
        }
    }

    fn begin_large(&mut self, header: &EventHeader, head: &[u8]) -> Result<(), ReceiverError> {
        let offset_after = self.position.after(header);
        match header.event_type {
            EventType::PREVIOUS_GTIDS | EventType::GTID_LIST => {
                self.large = Large::Skipped { offset_after };
                return Ok(());
            }
            kind if kind.is_control() => return Err(self.misfit(header, "a smaller one")),
            _ => self.has_news = true,
        }
        self.large = Large::Kept {
            header: *header,
            offset_after,
        };
        self.continue_large(head)
    }

    fn continue_large(&mut self, bytes: &[u8]) -> Result<(), ReceiverError> {
        self.bytes += bytes.len() as u64;
        let Large::Kept { header, .. } = self.large else {
            return Ok(());
        };
        let assembled = match &mut self.assembler {
            Some(assembler) => assembler.large_part(bytes),
            None => return Err(self.too_early()),
        };
        assembled.map_err(|cause| self.broken(&header, cause))
    }

    fn end_large(&mut self, bytes: &[u8]) -> Result<(), ReceiverError> {
        self.continue_large(bytes)?;
        match std::mem::replace(&mut self.large, Large::None) {
            Large::Kept {
                header,
                offset_after,
            } => {
                let ended = match &mut self.assembler {
                    Some(assembler) => assembler.end_large(offset_after),
                    None => Ok(()),
                };
                ended.map_err(|cause| self.broken(&header, cause))?;
                self.position.pass(offset_after);
            }
            Large::Skipped { offset_after } => self.position.at.offset = offset_after,
            Large::None => {}
        }
        Ok(())
    }

    fn event(&mut self, header: &EventHeader, event: &[u8]) -> Result<bool, ReceiverError> {
        self.bytes += event.len() as u64;
        if header.event_type != EventType::HEARTBEAT {
            self.has_news = true;
        }
        if header.event_type.is_control() {
            if header.event_size as usize != event.len() {
                return Err(self.misfit(header, "one as long as its packet"));
            }
            return self.control(header, event);
        }
        self.position.check_file_format(header, event)?;
        let offset_after = self.position.after(header);
        if header.event_type == EventType::INCIDENT && self.was_decided(offset_after) {
            self.position.pass(offset_after);
            if let Some(assembler) = &mut self.assembler {
                assembler.pass_to(offset_after);
            }
            return Ok(false);
        }
        let assembled = match &mut self.assembler {
            Some(assembler) => assembler.event_with_header(*header, event, offset_after),
            None => return Err(self.too_early()),
        };
        assembled.map_err(|cause| self.position.broken(header, event.len(), cause))?;
        self.position.pass(offset_after);
        Ok(false)
    }

    /// Whether an INCIDENT event that ends at `offset` was decided on: a MariaDB source that is followed by GTID sends it
    /// again, as long as no transaction after it was received.
    fn was_decided(&self, offset: u64) -> bool {
        let end = SourcePosition::new(self.position.at.file.clone(), offset);
        let received_to = self.received_to.as_ref();
        !self.is_in_transaction() && received_to.is_some_and(|to| end == *to || end.precedes(to))
    }

    /// Applies a control event. One that ends a run of events requires that the batch before it is
    /// passed on: a batch is of one file and one format.
    fn control(&mut self, header: &EventHeader, event: &[u8]) -> Result<bool, ReceiverError> {
        let ends_run = matches!(
            header.event_type,
            EventType::ROTATE | EventType::FORMAT_DESCRIPTION
        );
        if ends_run && self.is_in_transaction() {
            tracing::info!(
                source = %self.options.config.name,
                "{}: the source's binlog ends inside a transaction, which is discarded",
                self.position.at
            );
        }
        let before = self.position.at.offset;
        let change = self.position.control(header, event)?;
        if header.event_type == EventType::HEARTBEAT {
            self.status.note_heartbeat(&self.position.at);
        }
        match change {
            Change::Nothing => Ok(false),
            Change::File | Change::Format => Ok(true),
            Change::Position => {
                let has_moved = self.position.at.offset != before && !self.is_in_transaction();
                if let Some(assembler) = &mut self.assembler {
                    match has_moved {
                        // A dump by GTID has skipped what the relay log has: this is recorded, as each dump begins at
                        // the beginning of a file.
                        true => assembler.pass_to(self.position.at.offset),
                        false => assembler.move_to(self.position.at.offset),
                    }
                }
                if let Some(acknowledgements) = self.acknowledgements.as_mut().filter(|_| has_moved)
                {
                    acknowledgements.note_skipped(&self.position.at);
                }
                Ok(false)
            }
        }
    }

    /// The error for an event that arrives in parts.
    fn broken(&self, header: &EventHeader, cause: TransactionError) -> ReceiverError {
        let len = header.event_size as usize;
        self.position.broken(header, len, cause)
    }

    fn misfit(&self, header: &EventHeader, expected: &'static str) -> ReceiverError {
        let (kind, size) = (header.event_type, header.event_size);
        self.position
            .contradiction(format!("a {kind} event of {size} bytes"), expected)
    }

    fn too_early(&self) -> ReceiverError {
        self.position
            .contradiction("an event".to_owned(), "a format description event first")
    }
}
