//! One connection to a source, from the first question to the error that ends it.

use tokio::sync::watch;

use super::dump_position::{Change, DumpPosition};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::listening::Listening;
use super::start;
use super::status::{SourceState, SourceStatus};
use super::{ReceiverOptions, Shared, in_time, resume};
use crate::binlog::event::EventHeader;
use crate::binlog::{EventType, HEADER_LEN};
use crate::connection::{Connection, Phase};
use crate::log_thread::{QueuedBatch, SourceCounters};
use crate::position::SourcePosition;
use crate::protocol::framing::PacketPart;
use crate::protocol::response;
use crate::relay_log::Condition;
use crate::transaction::{Assembler, AssemblerOptions, TransactionBatch};

/// Finished transactions are handed on when they take this many bytes, or when nothing more has
/// come from the source.
const BATCH_LEN: usize = 1024 * 1024;

/// Follows the source over one connection; returns what ended it.
pub(super) async fn follow(
    options: &ReceiverOptions,
    shared: &Shared,
    ledger: &SourceCounters,
    status: &SourceStatus,
    connections: u64,
) -> ReceiverError {
    let mut refusal = ledger.refusal.subscribe();
    let mut condition = shared.log.follow_condition();
    let streaming = async {
        match open(options, shared, status).await {
            Ok(opened) => stream(opened, options, shared, status, connections).await,
            Err(error) => error,
        }
    };
    tokio::select! {
        error = streaming => error,
        message = refused(&mut refusal) => ReceiverError::Refused(message),
        // A source that has nothing to send would not notice.
        _ = condition.wait_for(|now| matches!(now, Condition::Failed(_))) => {
            ReceiverError::LogClosed
        }
    }
}

async fn refused(refusal: &mut watch::Receiver<Option<String>>) -> String {
    let message = refusal
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|message| message.clone());
    match message {
        Some(message) => message,
        None => std::future::pending().await,
    }
}

/// A connection whose dump was asked for.
struct Opened {
    connection: Connection,
    facts: SourceFacts,
    /// See [`crate::relay_log::SourceProgress::first_timestamp`].
    first_timestamp: u32,
}

/// Connects and requests the dump.
async fn open(
    options: &ReceiverOptions,
    shared: &Shared,
    status: &SourceStatus,
) -> Result<Opened, ReceiverError> {
    let (mut connection, facts) = super::connect(options).await?;
    let kind = shared.log.state().executed.kind();
    resume::check_kind(kind, &facts)?;
    shared
        .identities
        .note(options.number, &facts, options.server_id)?;
    start::warn(options, &shared.identities, &facts);
    status.set_facts(&facts);
    let (start, first_timestamp) = resume::start_point(options, shared, &facts).await?;
    start::prepare(&mut connection, options, &facts).await?;
    tracing::info!(
        source = %options.config.name,
        "{} {}, server_id {}: following from {start}",
        facts.flavor,
        facts.version,
        facts.server_id
    );
    in_time(options.config.read_timeout, async {
        let dump = start::request(&mut connection, options, &facts, &start).await?;
        Ok(connection.write_command(&dump).await?)
    })
    .await?;
    connection.set_phase(Phase::Dump);
    Ok(Opened {
        connection,
        facts,
        first_timestamp,
    })
}

/// What becomes of an event that comes in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Large {
    None,
    /// It goes to the transaction.
    Taken {
        position_after: u64,
    },
    /// It is a control event.
    Skipped {
        position_after: u64,
    },
}

/// A dump's stream, from packets to batches.
struct Stream<'a> {
    options: &'a ReceiverOptions,
    shared: &'a Shared,
    /// Up to where the source is read to recognise copies only.
    start: Option<SourcePosition>,
    status: &'a SourceStatus,
    place: DumpPosition,
    /// There is none before the first format description.
    assembler: Option<Assembler>,
    assembler_options: AssemblerOptions,
    large: Large,
    bytes: u64,
    listening: Listening,
    /// Whether anything but heartbeats came since the last wait.
    has_news: bool,
}

async fn stream(
    opened: Opened,
    options: &ReceiverOptions,
    shared: &Shared,
    status: &SourceStatus,
    connections: u64,
) -> ReceiverError {
    let (facts, mut connection) = (opened.facts, opened.connection);
    let assembler_options = AssemblerOptions {
        source: options.number,
        source_server_id: facts.server_id,
        source_first_timestamp: opened.first_timestamp,
        has_gtids: facts.has_gtids,
        first_run: connections << 32,
        filter: facts.filter(&options.config.filter),
        spill_dir: options.spill_dir.clone(),
        spill_size: options.spill_size,
    };
    let mut stream = Stream {
        options,
        shared,
        start: shared.read_back.start_of(options.number),
        status,
        place: DumpPosition::new(),
        assembler: None,
        assembler_options,
        large: Large::None,
        bytes: 0,
        listening: Listening::new(options.config.read_timeout),
        has_news: true,
    };
    loop {
        if let Err(error) = stream.step(&mut connection).await {
            // What was whole before the error is not lost.
            let _ = stream.hand_on().await;
            return error;
        }
    }
}

impl Stream<'_> {
    /// Takes in what is in the read buffer, then waits for more.
    async fn step(&mut self, connection: &mut Connection) -> Result<(), ReceiverError> {
        let mut heard = false;
        while let Some(part) = connection.buffered_part()? {
            heard = true;
            let flush = self.part(part)?;
            let full = self.assembler.as_ref().is_some_and(|assembler| {
                assembler.memory_len() > BATCH_LEN || assembler.has_spilled()
            });
            let at_start = self.is_at_start();
            if flush || full || at_start {
                self.hand_on().await?;
            }
            if flush {
                self.begin_run();
            }
            if at_start {
                self.pass_start();
            }
        }
        self.hand_on().await?;
        self.status.count_bytes(std::mem::take(&mut self.bytes));
        if heard {
            self.listening.heard(connection);
        }
        let in_transaction = self
            .assembler
            .as_ref()
            .is_some_and(Assembler::is_in_transaction);
        if in_transaction || self.large != Large::None || connection.buffered_len() > 0 {
            self.status.set_busy();
        } else if std::mem::take(&mut self.has_news) {
            self.status.set_waiting();
        }
        self.listening.fill(connection).await
    }

    /// Hands finished transactions to the relay log, when there is room for them.
    async fn hand_on(&mut self) -> Result<(), ReceiverError> {
        let Some(batch) = self.assembler.as_mut().and_then(Assembler::take_batch) else {
            return Ok(());
        };
        if !batch.before_start {
            self.shared.read_back.wait_for_all().await;
        }
        let newest = batch
            .transactions
            .last()
            .map(|transaction| transaction.timestamp);
        self.status.count_batch(batch.transactions.len(), newest);
        let memory_kib = batch_kib(&batch).min(self.shared.queue.memory_kib);
        let memory = self
            .shared
            .queue
            .memory
            .clone()
            .acquire_many_owned(memory_kib)
            .await;
        let memory = memory.map_err(|_| ReceiverError::LogClosed)?;
        let queued = QueuedBatch { batch, memory };
        self.shared
            .queue
            .batches
            .send(queued)
            .await
            .map_err(|_| ReceiverError::LogClosed)
    }

    /// Whether what lies before the source's start has been read.
    fn is_at_start(&self) -> bool {
        let is_open = self
            .assembler
            .as_ref()
            .is_some_and(Assembler::is_in_transaction);
        !is_open
            && self.start.as_ref().is_some_and(|start| {
                start.file == self.place.file && self.place.position >= start.offset
            })
    }

    /// From here on transactions are taken in, once all sources are so far.
    fn pass_start(&mut self) {
        self.start = None;
        if let Some(assembler) = &mut self.assembler {
            assembler.set_before_start(false);
        }
        self.shared.read_back.finish(self.options.number);
    }

    /// Goes on in another file, or with events of another form.
    fn begin_run(&mut self) {
        let Some(format) = &self.place.format else {
            return;
        };
        let before_start = self.start.is_some();
        let assembler = self.assembler.get_or_insert_with(|| {
            let mut new = Assembler::new(self.assembler_options.clone(), format.clone());
            new.set_before_start(before_start);
            new
        });
        assembler.set_format(format.clone());
        assembler.start_file(self.place.file.clone(), self.place.position);
        self.status.set_state(SourceState::Streaming);
    }

    /// Takes in one packet or a part of one; true when what came before it is to be handed on and
    /// a new run begins.
    fn part(&mut self, part: PacketPart<'_>) -> Result<bool, ReceiverError> {
        match part {
            PacketPart::Whole(packet) => self.packet(packet),
            PacketPart::Begin(head) => {
                let event = self.event_bytes(head)?;
                let header = EventHeader::parse(event).map_err(|cause| self.place.damage(cause))?;
                let position_after = self.place.after(&header);
                match header.event_type {
                    EventType::PREVIOUS_GTIDS | EventType::GTID_LIST => {
                        self.large = Large::Skipped { position_after };
                        return Ok(false);
                    }
                    kind if kind.is_control() => return Err(self.misfit(&header, "smaller")),
                    _ => self.has_news = true,
                }
                self.large = Large::Taken { position_after };
                self.large_part(event)?;
                Ok(false)
            }
            PacketPart::Continue(bytes) => {
                self.large_part(bytes)?;
                Ok(false)
            }
            PacketPart::End(bytes) => {
                self.large_part(bytes)?;
                let large = std::mem::replace(&mut self.large, Large::None);
                match large {
                    Large::Taken { position_after } => {
                        let ended = match &mut self.assembler {
                            Some(assembler) => assembler.end_large(position_after),
                            None => Ok(()),
                        };
                        ended.map_err(|cause| self.broken(cause))?;
                        self.place.position = position_after;
                    }
                    Large::Skipped { position_after } => self.place.position = position_after,
                    Large::None => {}
                }
                Ok(false)
            }
        }
    }

    fn large_part(&mut self, bytes: &[u8]) -> Result<(), ReceiverError> {
        self.bytes += bytes.len() as u64;
        if !matches!(self.large, Large::Taken { .. }) {
            return Ok(());
        }
        match &mut self.assembler {
            Some(assembler) => {
                let taken = assembler.large_part(bytes);
                taken.map_err(|cause| self.broken(cause))
            }
            None => Err(self.too_early()),
        }
    }

    /// The event in a packet of the dump.
    fn event_bytes<'p>(&self, packet: &'p [u8]) -> Result<&'p [u8], ReceiverError> {
        if response::is_error(packet) {
            return Err(match response::parse_error(packet) {
                Ok(error) => ReceiverError::Source(error),
                Err(_) => self
                    .place
                    .contradiction("a broken error packet".to_owned(), "an event"),
            });
        }
        if response::is_eof(packet) {
            let (file, position) = (self.place.file.to_string(), self.place.position);
            return Err(ReceiverError::Ended { file, position });
        }
        match packet.split_first() {
            Some((0, event)) if event.len() >= HEADER_LEN => Ok(event),
            _ => Err(self.place.contradiction(
                format!("a packet of {} bytes", packet.len()),
                "an event, which has at least 19",
            )),
        }
    }

    fn packet(&mut self, packet: &[u8]) -> Result<bool, ReceiverError> {
        let event = self.event_bytes(packet)?;
        self.bytes += event.len() as u64;
        let header = EventHeader::parse(event).map_err(|cause| self.place.damage(cause))?;
        self.has_news |= header.event_type != EventType::HEARTBEAT;
        if header.event_type.is_control() {
            if header.event_size as usize != event.len() {
                return Err(self.misfit(&header, "as long as its packet"));
            }
            return self.control(&header, event);
        }
        let position_after = self.place.after(&header);
        match &mut self.assembler {
            Some(assembler) => {
                let taken = assembler.event(event, position_after);
                taken.map_err(|cause| self.broken(cause))?;
            }
            None => return Err(self.too_early()),
        }
        self.place.position = position_after;
        Ok(false)
    }

    /// Takes in a control event. Those that end a run of events leave the batch before them to be
    /// handed on: a batch is of one file and one format.
    fn control(&mut self, header: &EventHeader, event: &[u8]) -> Result<bool, ReceiverError> {
        let in_transaction = self
            .assembler
            .as_ref()
            .is_some_and(Assembler::is_in_transaction);
        let ends_run = matches!(
            header.event_type,
            EventType::ROTATE | EventType::FORMAT_DESCRIPTION
        );
        if in_transaction && ends_run {
            tracing::info!(
                source = %self.options.config.name,
                "{}:{}: the source's binlog was cut off in a transaction, which is dropped",
                self.place.file,
                self.place.position
            );
        }
        match self.place.control(header, event)? {
            Change::Nothing => Ok(false),
            Change::File | Change::Format => Ok(true),
            Change::Position => {
                if let Some(assembler) = &mut self.assembler {
                    assembler.move_to(self.place.position);
                }
                Ok(false)
            }
        }
    }

    fn broken(&self, cause: crate::transaction::TransactionError) -> ReceiverError {
        let (file, position) = (self.place.file.to_string(), self.place.position);
        ReceiverError::Transaction {
            file,
            position,
            cause,
        }
    }

    fn misfit(&self, header: &EventHeader, expected: &'static str) -> ReceiverError {
        let (kind, size) = (header.event_type, header.event_size);
        self.place
            .contradiction(format!("a {kind} event of {size} bytes"), expected)
    }

    fn too_early(&self) -> ReceiverError {
        self.place
            .contradiction("an event".to_owned(), "a format description event first")
    }
}

fn batch_kib(batch: &TransactionBatch) -> u32 {
    u32::try_from(batch.bytes.len() / 1024 + 1).unwrap_or(u32::MAX)
}
