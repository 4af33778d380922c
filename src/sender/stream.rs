//! The stream of one dump: blocks of the log files pass through [`Walk`] to the client, up to the
//! published end, and further as it moves.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::block_reader::{BLOCK_LEN, BlockError, BlockReader, INLINE_READ_MAX};
use super::control_events;
use super::dump_output::{DumpEnd, DumpOutput, Interruption, Wakeup};
use super::dump_request::{ChecksumAwareness, DumpStart, EventSupport};
use super::refusals::{DumpCoordinates, Wording};
use super::replicas::{Client, KillReason, Replica};
use super::semi_sync::SemiSync;
use super::walk::{Walk, WalkError};
use super::without_checksums;
use crate::binlog::{EventError, EventType, FormatDescription};
use crate::connection::Connection;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::{ER_CONNECTION_KILLED, ER_SERVER_SHUTDOWN};
use crate::protocol::semi_sync::MAGIC;
use crate::relay_log::bridge::ServedFile;
use crate::relay_log::reader::{FIRST_EVENT, LogFile};
use crate::relay_log::retention::pins::Pin;
use crate::relay_log::{LogError, RelayLog, RelayLogPosition, ReplicaAcknowledgements};

/// The resources of a dump.
#[derive(Debug)]
pub struct DumpContext {
    /// The log.
    pub log: Arc<RelayLog>,
    /// The relay's server_id.
    pub server_id: u32,
    /// A replica that accepts no data for this long is disconnected.
    pub write_timeout: Duration,
    /// The connection in the registry.
    pub client: Arc<Client>,
    /// The replica in the registry.
    pub replica: Arc<Replica>,
    /// What all replicas have acknowledged (semi-sync).
    pub acknowledged: Arc<ReplicaAcknowledgements>,
    /// Keeps the files that it has not sent yet.
    pub pin: Pin,
    /// True when the relay is stopping.
    pub shutdown: watch::Receiver<bool>,
}

/// Streams until something ends the dump. An error can follow what was written of it.
pub async fn run(connection: &mut Connection, context: DumpContext, start: DumpStart) -> DumpEnd {
    let mut dump = Dump::new(connection, context, start);
    let replica = dump.replica.clone();
    replica.progress.dumping.store(true, Relaxed);
    let outcome = dump.run().await;
    replica.progress.dumping.store(false, Relaxed);
    let end = outcome.map_or_else(|end| end, |()| DumpEnd::Complete);
    dump.output.finish(end)
}

struct Dump<'a> {
    log: Arc<RelayLog>,
    server_id: u32,
    replica: Arc<Replica>,
    pin: Pin,
    start: DumpStart,
    wording: Wording,
    walk: Walk,
    /// The current file.
    file: ServedFile,
    /// The end of the part of the current file that passed through `walk`; never past the
    /// published end.
    offset: u64,
    /// Whether the walk was reduced to the transactions that the log does not have yet.
    has_forgotten: bool,
    blocks: BlockReader,
    output: DumpOutput<'a>,
    /// In a semi-synchronous dump.
    semi_sync: Option<SemiSync>,
}

impl<'a> Dump<'a> {
    fn new(connection: &'a mut Connection, context: DumpContext, mut start: DumpStart) -> Self {
        let version = context.log.server_version();
        let wording = Wording::of_version(version);
        let name = start.file.name(context.log.log_dir());
        let mut walk = Walk::new(&mut start, context.server_id, wording, name);
        walk.packets.frames.set_sequence(connection.sequence());
        let begin_semi_sync = || {
            let position = match start.file {
                ServedFile::Log(file) => Some(RelayLogPosition {
                    file,
                    offset: start.position,
                }),
                ServedFile::Bridge(_) => None,
            };
            let (id, replica) = (context.client.id, context.replica.clone());
            SemiSync::new(context.acknowledged, id, replica, position)
        };
        let semi_sync = start.is_semi_sync.then(begin_semi_sync);
        if start.is_semi_sync {
            connection.begin_semi_sync();
        }
        let progress = &context.replica.progress;
        progress.begin_connection(connection.is_compressed());
        let output = DumpOutput::new(
            connection,
            &context.client,
            context.shutdown,
            context.write_timeout,
        );
        Self {
            log: context.log,
            server_id: context.server_id,
            replica: context.replica,
            pin: context.pin,
            wording,
            walk,
            file: start.file,
            offset: start.position,
            start,
            has_forgotten: false,
            blocks: BlockReader::default(),
            output,
            semi_sync,
        }
    }

    async fn run(&mut self) -> Result<(), DumpEnd> {
        let mut follow = self.log.follow();
        let mut file = self.open()?;
        let format = self.read_format(&file)?;
        self.send_head(&file, &format).await?;
        loop {
            let published = *follow.borrow_and_update();
            let is_complete = match self.file {
                ServedFile::Log(number) => published.file > number,
                // A bridge written by `binrelay missing` has no next file: its reader waits at its end.
                ServedFile::Bridge(bridge) => bridge.next.is_some(),
            };
            let end = match self.file {
                ServedFile::Log(_) if !is_complete => published.offset,
                _ => file.file_len().map_err(|error| self.unreadable(&error))?,
            };
            self.clear_at_end_if_far(is_complete, end);
            // A client that does not wait may send a command next; the end of a bridge is not that of the log.
            let is_in_log = matches!(self.file, ServedFile::Log(_));
            let asks = is_in_log && !is_complete && !self.start.non_blocking;
            self.walk.packets.ask_at(asks.then_some(end));
            while self.offset < end {
                self.send_block(&file, end).await?;
            }
            let ended = self.walk.end_region(self.offset, &mut self.output.pending);
            if let Err(error) = ended {
                return Err(self.end(error).await);
            }
            self.write_out().await?;
            if is_in_log && !is_complete {
                self.note_sent(published);
            }
            if is_complete {
                file = self.next_file()?;
                continue;
            }
            if self.start.non_blocking {
                return self.send_eof().await;
            }
            self.forget_passed();
            self.blocks.release_memory();
            self.output.release_memory(2 * INLINE_READ_MAX);
            self.wait(&mut follow).await?;
        }
    }

    /// Everything up to the published end was sent or skipped.
    fn note_sent(&mut self, published: RelayLogPosition) {
        if let Some(semi_sync) = &mut self.semi_sync {
            semi_sync.sent(published, self.walk.packets.take_region());
        }
    }

    /// Handles what the replica has sent.
    fn receive(&mut self) -> Result<(), DumpEnd> {
        let Some(semi_sync) = &mut self.semi_sync else {
            // A command (COM_QUIT, most likely) ends the dump.
            return Err(DumpEnd::Cut);
        };
        while let Some(packet) = self.output.received()? {
            if packet.first() != Some(&MAGIC) {
                return Err(DumpEnd::Cut);
            }
            if let Err(problem) = semi_sync.received(packet, self.log.log_dir()) {
                tracing::warn!(
                    server_id = self.replica.server_id,
                    "semi-sync: a replica has sent {problem}; it was disconnected"
                );
                return Err(DumpEnd::Cut);
            }
        }
        Ok(())
    }

    /// At the end of the log: what the replica had of it need not be remembered any longer. Only once,
    /// because what is left then is usually nothing, and otherwise transactions that may still arrive.
    fn forget_passed(&mut self) {
        if self.has_forgotten || !self.walk.skips_a_set() {
            return;
        }
        let executed = {
            let state = self.log.state();
            let end = self.log.published();
            // The published end belongs to the state while it is locked.
            let is_passed = self.file == ServedFile::Log(end.file) && self.offset == end.offset;
            state.executed.as_mysql().filter(|_| is_passed).cloned()
        };
        if let Some(executed) = executed {
            self.walk.forget(&executed);
            self.has_forgotten = true;
        }
    }

    fn open(&self) -> Result<Arc<LogFile>, DumpEnd> {
        let path = self.file.path(self.log.log_dir());
        match LogFile::open(&path) {
            Ok(file) => Ok(Arc::new(file)),
            Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                let coordinates = self.coordinates(self.offset);
                Err(DumpEnd::Refused(self.wording.no_next_file(&coordinates)))
            }
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    /// Reads the file's format description event. Heartbeats depend on it: a MySQL replica stops
    /// at an event of a type that it does not list, and MySQL 5.6 does not list HEARTBEAT_V2.
    fn read_format(&mut self, file: &LogFile) -> Result<Vec<u8>, DumpEnd> {
        let event = file
            .event_at(FIRST_EVENT)
            .map_err(|error| self.unreadable(&error))?;
        let format =
            FormatDescription::parse(&event).map_err(|error| self.damaged(FIRST_EVENT, &error))?;
        let knows_v2 = format.post_header_length(EventType::HEARTBEAT_V2).is_some();
        self.walk.heartbeat_v2 = self.start.heartbeat_v2 && knows_v2;
        Ok(event)
    }

    /// Sends the ROTATE that names the file and, if the stream starts after it, the format
    /// description.
    async fn send_head(&mut self, file: &LogFile, format: &[u8]) -> Result<(), DumpEnd> {
        let checksummed = self.start.checksums == ChecksumAwareness::FromStart;
        let name = self.walk.file_name().to_owned();
        self.put_rotate(&name, self.start.position, checksummed)?;
        let format_end = FIRST_EVENT + format.len() as u64;
        let has_checksums = self.start.support != EventSupport::NoChecksums;
        if self.start.checksums == ChecksumAwareness::Unaware && has_checksums {
            self.write_out().await?;
            let coordinates = self.coordinates(format_end);
            return Err(DumpEnd::Refused(self.wording.no_checksums(&coordinates)));
        }
        if self.start.keeps_temporary_tables {
            self.offset = self.offset.max(format_end);
            self.put_format(format)?;
        }
        self.write_out().await?;
        if self.start.at_event_boundary {
            return Ok(());
        }
        let end = file.file_len().map_err(|error| self.unreadable(&error))?;
        Err(DumpEnd::Refused(self.wording.position_in_event(
            &name,
            self.start.position,
            format_end,
            end,
        )))
    }

    /// Sends the format description of a file whose events are sent from the middle on.
    fn put_format(&mut self, format: &[u8]) -> Result<(), DumpEnd> {
        let event = control_events::format_description(format, self.start.by_gtid)
            .and_then(|event| match self.start.support {
                EventSupport::NoChecksums => without_checksums::format_description(&event),
                EventSupport::All | EventSupport::NoMariaDbEvents => Ok(event),
            })
            .map_err(|error| self.damaged(FIRST_EVENT, &error))?;
        self.put_event(&event)
    }

    /// Continues at the start of the next file, or, after a bridge, where it leads.
    fn next_file(&mut self) -> Result<Arc<LogFile>, DumpEnd> {
        let after = |number| RelayLogPosition {
            file: number + 1,
            offset: FIRST_EVENT,
        };
        let next = match self.file {
            ServedFile::Log(number) => Some(after(number)),
            ServedFile::Bridge(bridge) => bridge.next,
        };
        let Some(next) = next else {
            let coordinates = self.coordinates(self.offset);
            return Err(DumpEnd::Refused(self.wording.no_next_file(&coordinates)));
        };
        if let ServedFile::Log(left) = self.file {
            let pending = self.output.pending.len() as u64;
            self.replica.progress.leave_file(left, pending);
        }
        self.file = ServedFile::Log(next.file);
        let file = self.open()?;
        self.pin.move_to(next.file);
        let format = self.read_format(&file)?;
        let name = self.file.name(self.log.log_dir());
        self.walk.start_file(name.clone());
        self.offset = next.offset;
        self.put_rotate(&name, next.offset, true)?;
        if next.offset > FIRST_EVENT {
            self.put_format(&format)?;
        }
        Ok(file)
    }

    /// Appends the ROTATE that names the file whose events follow; never with a checksum for a client that
    /// does not know checksums.
    fn put_rotate(&mut self, name: &str, position: u64, checksummed: bool) -> Result<(), DumpEnd> {
        let checksummed = checksummed && self.start.support != EventSupport::NoChecksums;
        let rotate = control_events::file_name(self.server_id, name, position, checksummed)
            .map_err(|error| self.walk_error(error.into()))?;
        self.put_event(&rotate)
    }

    fn put_event(&mut self, event: &[u8]) -> Result<(), DumpEnd> {
        let put = self.walk.put_event(event, &mut self.output.pending);
        put.map_err(|error| self.walk_error(error))
    }

    /// Reads a block before `end` and sends its events.
    async fn send_block(&mut self, file: &Arc<LogFile>, end: u64) -> Result<(), DumpEnd> {
        let left = end - self.offset;
        let len = usize::try_from(left).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
        let bytes = match self.blocks.read(file, self.offset, len).await {
            Ok(bytes) => bytes,
            Err(BlockError::Log(error)) => return Err(self.unreadable(&error)),
            Err(BlockError::ShuttingDown) => return Err(DumpEnd::Cut),
        };
        let walked = self
            .walk
            .block(bytes, self.offset, &mut self.output.pending);
        let walked = match walked {
            Ok(walked) => walked as u64,
            Err(error) => return Err(self.end(error).await),
        };
        self.offset += walked;
        self.offset += self.walk.pass_over(self.offset, end - self.offset);
        if walked == 0 || (self.offset == end && self.walk.is_in_event()) {
            tracing::error!(
                file = %file.path().display(),
                offset = self.offset,
                "an event extends past the end of the log: the file is damaged; check it with binrelay verify"
            );
            let coordinates = self.coordinates(self.offset);
            return Err(DumpEnd::Refused(self.wording.read_error(&coordinates)));
        }
        let due = self.output.heartbeat_due(self.start.heartbeat);
        if self.output.pending.is_empty() && due.is_some_and(|due| due <= Instant::now()) {
            let put = self.walk.put_skip_heartbeat(&mut self.output.pending);
            put.map_err(|error| self.walk_error(error))?;
        }
        self.write_out().await
    }

    /// Writes the pending packets, if there are any, and records the progress.
    async fn write_out(&mut self) -> Result<(), DumpEnd> {
        self.check_interrupted()?;
        if self.output.pending.is_empty() {
            return Ok(());
        }
        self.replica.progress.begin_sending();
        let next = self.walk.packets.next_sequence();
        let written = self.output.write_pending(next).await?;
        if self.walk.packets.take_asked() {
            let flavor = Flavor::of_version(self.log.server_version());
            self.output.continue_after_asking(flavor);
        }
        let progress = &self.replica.progress;
        progress.set_coordinates(self.walk.file_name(), self.offset);
        progress.timestamp.store(self.walk.timestamp, Relaxed);
        progress.bytes_sent.fetch_add(written, Relaxed);
        Ok(())
    }

    /// Ends the dump with an error if it is to end.
    fn check_interrupted(&self) -> Result<(), DumpEnd> {
        Err(DumpEnd::Refused(match self.output.interruption() {
            None => return Ok(()),
            Some(Interruption::Killed(KillReason::SameReplica)) => {
                self.wording.same_replica(&self.coordinates(self.offset))
            }
            Some(Interruption::Killed(KillReason::Killed)) => {
                ServerError::new(ER_CONNECTION_KILLED, "Connection was killed")
            }
            Some(Interruption::Shutdown) => {
                ServerError::new(ER_SERVER_SHUTDOWN, "Server shutdown in progress")
            }
        }))
    }

    /// Sends what precedes an error of the walk, or the end that the replica requested.
    async fn end(&mut self, error: WalkError) -> DumpEnd {
        if let Err(end) = self.write_out().await {
            return end;
        }
        if !matches!(error, WalkError::EndReached) {
            return self.walk_error(error);
        }
        match self.send_eof().await {
            Ok(()) => DumpEnd::Complete,
            Err(end) => end,
        }
    }

    async fn send_eof(&mut self) -> Result<(), DumpEnd> {
        let sequence = self
            .output
            .write_eof(self.walk.packets.frames.sequence())
            .await?;
        self.walk.packets.frames.set_sequence(sequence);
        Ok(())
    }

    /// Waits at the end of the log, with heartbeats.
    async fn wait(
        &mut self,
        follow: &mut watch::Receiver<RelayLogPosition>,
    ) -> Result<(), DumpEnd> {
        loop {
            self.replica.progress.reach_end();
            self.check_interrupted()?;
            let due = self.output.heartbeat_due(self.start.heartbeat);
            match self.output.wait(follow, due).await? {
                Wakeup::Published => return Ok(()),
                Wakeup::Interrupted => {}
                Wakeup::Received => self.receive()?,
                Wakeup::Heartbeat => {
                    let put = self
                        .walk
                        .put_heartbeat(self.offset, &mut self.output.pending);
                    put.map_err(|error| self.walk_error(error))?;
                    self.write_out().await?;
                }
            }
        }
    }

    /// Reports in the status that the replica has to catch up, if it is far from the end.
    fn clear_at_end_if_far(&self, is_complete: bool, end: u64) {
        if is_complete || end.saturating_sub(self.offset) > BLOCK_LEN as u64 {
            self.replica.progress.leave_end();
        }
    }

    fn coordinates(&self, last: u64) -> DumpCoordinates {
        let log_dir = self.log.log_dir();
        DumpCoordinates {
            first_file: self.start.file.name(log_dir),
            first_position: self.start.position,
            file: self.file.name(log_dir),
            last_event: last,
            last_byte: last,
        }
    }

    fn unreadable(&self, error: &LogError) -> DumpEnd {
        tracing::error!(%error, "dump ended: the log cannot be read");
        let coordinates = self.coordinates(self.offset);
        DumpEnd::Refused(self.wording.read_error(&coordinates))
    }

    fn damaged(&self, offset: u64, error: &EventError) -> DumpEnd {
        let file = self.walk.file_name();
        tracing::error!(file, offset, %error, "dump ended: the log file is damaged; check it with binrelay verify");
        let coordinates = self.coordinates(offset);
        DumpEnd::Refused(self.wording.read_error(&coordinates))
    }

    fn walk_error(&self, error: WalkError) -> DumpEnd {
        let offset = self.walk.last_event;
        match error {
            WalkError::Refusal(error) => DumpEnd::Refused(error),
            WalkError::EndReached => DumpEnd::Complete,
            WalkError::Damage(error) => self.damaged(offset, &error),
            WalkError::Internal(cause) => {
                let file = self.walk.file_name();
                tracing::error!(file, offset, cause, "dump ended: internal error");
                let coordinates = self.coordinates(offset);
                DumpEnd::Refused(self.wording.read_error(&coordinates))
            }
        }
    }
}
