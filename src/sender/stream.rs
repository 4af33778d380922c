//! The stream of one dump: blocks of the log files go through [`Walk`] to the socket, up to the
//! published end, and on from there as it moves.
//!
//! A block that a replica at the end of the log needs was written just now and lies in the page
//! cache: it is read in the task. What is larger may have to come from the disk and is read on
//! the runtime's threads for blocking calls, one call for each block.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::control_events;
use super::dump_request::{ChecksumAwareness, DumpStart};
use super::refusals::{DumpPlace, Wording};
use super::replicas::{Client, KillReason, Replica, killed};
use super::stopping;
use super::walk::{Walk, WalkError};
use crate::binlog::{EventType, FormatDescription};
use crate::connection::{Connection, ConnectionError};
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::{ER_CONNECTION_KILLED, ER_SERVER_SHUTDOWN};
use crate::protocol::handshake::SERVER_STATUS_AUTOCOMMIT;
use crate::relay_log::reader::{FIRST_EVENT, LogFile};
use crate::relay_log::{LogError, RelayLog, RelayLogPosition};

/// Bytes read at once, at most.
const BLOCK_LEN: usize = 512 * 1024;
/// Up to this many bytes are read in the task itself.
const INLINE_READ_MAX: usize = 64 * 1024;
/// Bytes given to the socket at once: a replica has to take so many within the write timeout.
const WRITE_LEN: usize = 64 * 1024;

/// How a dump ended.
#[derive(Debug)]
pub enum DumpEnd {
    /// A dump that does not wait has sent all: commands may follow.
    Complete,
    /// The client went away, sent something, or took nothing for too long: nobody is told.
    Gone(ConnectionError),
    /// The client took nothing for too long.
    Stalled,
    /// The client is to be told this, then the connection ends.
    Refused(ServerError),
    /// The connection was ended from outside in the middle of a write.
    Cut,
}

/// What a dump needs beside its start.
#[derive(Debug)]
pub struct DumpContext {
    /// The log.
    pub log: Arc<RelayLog>,
    /// The relay's server_id.
    pub server_id: u32,
    /// A replica that takes nothing for so long is dropped.
    pub write_timeout: Duration,
    /// The connection in the registry.
    pub client: Arc<Client>,
    /// The replica in the registry.
    pub replica: Arc<Replica>,
    /// Whether the relay is stopping.
    pub shutdown: watch::Receiver<bool>,
}

/// Streams until something ends it. The connection's packet numbers are left such that an error
/// or EOF can follow.
pub async fn run(connection: &mut Connection, context: DumpContext, start: DumpStart) -> DumpEnd {
    let mut dump = Dump::new(connection, context, start);
    let replica = dump.context.replica.clone();
    replica.progress.dumping.store(true, Relaxed);
    let outcome = dump.run().await;
    replica.progress.dumping.store(false, Relaxed);
    let end = outcome.map_or_else(|end| end, |()| DumpEnd::Complete);
    let sequence = dump.walk.frames.sequence();
    connection.set_sequence(sequence);
    end
}

struct Dump<'a> {
    connection: &'a mut Connection,
    context: DumpContext,
    start: DumpStart,
    wording: Wording,
    walk: Walk,
    /// The current file's number, and where in it everything before was walked through.
    file: u64,
    offset: u64,
    block: Vec<u8>,
    out: Vec<u8>,
    kill: watch::Receiver<Option<KillReason>>,
    last_write: Instant,
}

impl<'a> Dump<'a> {
    fn new(connection: &'a mut Connection, context: DumpContext, start: DumpStart) -> Self {
        let version = context.log.server_version();
        let wording = Wording::of_version(version);
        let replaces = Flavor::of_version(version) == Flavor::MariaDb && !start.knows_mariadb_gtids;
        let name = context.log.log_dir().file_name(start.file);
        let mut walk = Walk::new(&start, context.server_id, wording, name, replaces);
        walk.frames.set_sequence(connection.sequence());
        Self {
            kill: context.client.follow_kill(),
            connection,
            context,
            wording,
            walk,
            file: start.file,
            offset: start.position,
            start,
            block: Vec::new(),
            out: Vec::new(),
            last_write: Instant::now(),
        }
    }

    async fn run(&mut self) -> Result<(), DumpEnd> {
        // What the client sends from now on are commands: they start at packet number 0.
        self.connection.accept_any_sequence();
        let mut follow = self.context.log.follow();
        let mut file = self.open()?;
        let format = self.read_format(&file)?;
        self.send_head(&file, &format).await?;
        loop {
            let published = *follow.borrow_and_update();
            let end = if published.file > self.file {
                file.file_len().map_err(|error| self.unreadable(&error))?
            } else {
                published.offset
            };
            self.note_place(published, end);
            while self.offset < end {
                self.send_block(&file, end).await?;
            }
            self.walk.end_region(self.offset, &mut self.out);
            self.write_out().await?;
            if published.file > self.file {
                file = self.next_file()?;
                continue;
            }
            if self.start.non_blocking {
                return self.send_eof().await;
            }
            self.context.replica.progress.at_end.store(true, Relaxed);
            self.release_memory();
            self.wait(&mut follow).await?;
        }
    }

    fn open(&self) -> Result<Arc<LogFile>, DumpEnd> {
        let path = self.context.log.log_dir().log_path(self.file);
        match LogFile::open(&path) {
            Ok(file) => Ok(Arc::new(file)),
            Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Err(
                DumpEnd::Refused(self.wording.no_next_file(&self.place(self.offset))),
            ),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    /// The file's format description event. Heartbeats keep to it: a MySQL replica stops at an event
    /// of a type that it does not list, and MySQL 5.6 lists no HEARTBEAT_V2.
    fn read_format(&mut self, file: &LogFile) -> Result<Vec<u8>, DumpEnd> {
        let event = file
            .event_at(FIRST_EVENT)
            .map_err(|error| self.unreadable(&error))?;
        let format = FormatDescription::parse(&event)
            .map_err(|error| self.walk_error(WalkError::Damage(error)))?;
        let knows_v2 = format.post_header_length(EventType::HEARTBEAT_V2).is_some();
        self.walk.heartbeat_v2 = self.start.heartbeat_v2 && knows_v2;
        Ok(event)
    }

    /// The ROTATE that names the file, and, when the stream starts behind it, the format
    /// description.
    async fn send_head(&mut self, file: &LogFile, format: &[u8]) -> Result<(), DumpEnd> {
        let checksummed = self.start.checksums == ChecksumAwareness::FromStart;
        let name = self.walk.file_name().to_owned();
        let rotate = control_events::file_name(
            self.context.server_id,
            &name,
            self.start.position,
            checksummed,
        )
        .map_err(|error| self.walk_error(error.into()))?;
        self.walk.put_event(&rotate, &mut self.out);
        let format_end = FIRST_EVENT + format.len() as u64;
        if self.start.checksums == ChecksumAwareness::Unaware {
            self.write_out().await?;
            return Err(DumpEnd::Refused(
                self.wording.no_checksums(&self.place(format_end)),
            ));
        }
        if self.start.position > FIRST_EVENT {
            let event = control_events::format_description(format, self.start.by_gtid)
                .map_err(|error| self.walk_error(error.into()))?;
            self.walk.put_event(&event, &mut self.out);
        }
        self.write_out().await?;
        if self.start.at_border {
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

    /// Goes on at the start of the next file.
    fn next_file(&mut self) -> Result<Arc<LogFile>, DumpEnd> {
        self.file += 1;
        let file = self.open()?;
        self.read_format(&file)?;
        let name = self.context.log.log_dir().file_name(self.file);
        let server_id = self.context.server_id;
        let rotate = control_events::file_name(server_id, &name, FIRST_EVENT, true)
            .map_err(|error| self.walk_error(error.into()))?;
        self.walk.start_file(name);
        self.offset = FIRST_EVENT;
        self.walk.put_event(&rotate, &mut self.out);
        Ok(file)
    }

    /// Reads a block before `end`, and sends what is in it.
    async fn send_block(&mut self, file: &Arc<LogFile>, end: u64) -> Result<(), DumpEnd> {
        let left = end - self.offset;
        let len = usize::try_from(left).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
        self.read(file, len).await?;
        let bytes = self.block.get(..len).unwrap_or(&[]);
        let taken = match self.walk.block(bytes, self.offset, &mut self.out) {
            Ok(taken) => taken as u64,
            Err(error) => {
                self.write_out().await?;
                return Err(self.walk_error(error));
            }
        };
        self.offset += taken;
        self.offset += self.walk.pass_over(self.offset, end - self.offset);
        if taken == 0 || (self.offset == end && self.walk.is_in_event()) {
            tracing::error!(
                file = %file.path().display(),
                offset = self.offset,
                "an event goes on behind the end of the log: the file is damaged"
            );
            let place = self.place(self.offset);
            return Err(DumpEnd::Refused(self.wording.read_error(&place)));
        }
        if self.out.is_empty()
            && self
                .heartbeat_due()
                .is_some_and(|due| due <= Instant::now())
        {
            self.walk.put_skip_heartbeat(&mut self.out);
        }
        self.write_out().await
    }

    async fn read(&mut self, file: &Arc<LogFile>, len: usize) -> Result<(), DumpEnd> {
        let mut block = std::mem::take(&mut self.block);
        if block.len() < len {
            block.resize(len, 0);
        }
        let offset = self.offset;
        let read = move |file: &LogFile, mut block: Vec<u8>| {
            let outcome = file.read_exact_at(block.get_mut(..len).unwrap_or_default(), offset);
            outcome.map(|()| block)
        };
        let outcome = if len <= INLINE_READ_MAX {
            read(file, block)
        } else {
            let file = file.clone();
            match tokio::task::spawn_blocking(move || read(&file, block)).await {
                Ok(outcome) => outcome,
                Err(_) => return Err(DumpEnd::Cut), // The runtime is going down.
            }
        };
        self.block = outcome.map_err(|error| self.unreadable(&error))?;
        Ok(())
    }

    /// Sends what was gathered, in pieces, each of which the client has to take in time.
    async fn write_out(&mut self) -> Result<(), DumpEnd> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.check_ended()?;
        let mut shutdown = self.context.shutdown.clone();
        for piece in self.out.chunks(WRITE_LEN) {
            let write = async {
                self.connection.write_raw(piece).await?;
                self.connection.flush().await
            };
            tokio::select! {
                written = timeout(self.context.write_timeout, write) => match written {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(DumpEnd::Gone(error)),
                    Err(_) => return Err(DumpEnd::Stalled),
                },
                () = killed(&mut self.kill) => return Err(DumpEnd::Cut),
                () = stopping(&mut shutdown) => return Err(DumpEnd::Cut),
            }
        }
        self.last_write = Instant::now();
        let progress = &self.context.replica.progress;
        progress.set_place(self.walk.file_name(), self.offset);
        progress.timestamp.store(self.walk.timestamp, Relaxed);
        progress
            .bytes_sent
            .fetch_add(self.out.len() as u64, Relaxed);
        self.out.clear();
        Ok(())
    }

    /// Between two packets: whether the dump is to end, and what the client is told.
    fn check_ended(&self) -> Result<(), DumpEnd> {
        match *self.kill.borrow() {
            Some(KillReason::SameReplica) => {
                let place = self.place(self.offset);
                return Err(DumpEnd::Refused(self.wording.same_replica(&place)));
            }
            Some(KillReason::Killed) => {
                let error = ServerError::new(ER_CONNECTION_KILLED, "Connection was killed");
                return Err(DumpEnd::Refused(error));
            }
            None => {}
        }
        if *self.context.shutdown.borrow() {
            let error = ServerError::new(ER_SERVER_SHUTDOWN, "Server shutdown in progress");
            return Err(DumpEnd::Refused(error));
        }
        Ok(())
    }

    async fn send_eof(&mut self) -> Result<(), DumpEnd> {
        let sequence = self.walk.frames.sequence();
        self.connection.set_sequence(sequence);
        let write = self.connection.write_eof(SERVER_STATUS_AUTOCOMMIT);
        let outcome = timeout(self.context.write_timeout, write).await;
        self.walk.frames.set_sequence(self.connection.sequence());
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(DumpEnd::Gone(error)),
            Err(_) => Err(DumpEnd::Stalled),
        }
    }

    /// Waits at the end of the log, with heartbeats.
    async fn wait(
        &mut self,
        follow: &mut watch::Receiver<RelayLogPosition>,
    ) -> Result<(), DumpEnd> {
        let mut shutdown = self.context.shutdown.clone();
        loop {
            self.check_ended()?;
            let due = self.heartbeat_due();
            let heartbeat = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let is_heartbeat = tokio::select! {
                moved = follow.changed() => match moved {
                    Ok(()) => return Ok(()),
                    Err(_) => return Err(DumpEnd::Cut),
                },
                received = self.connection.wait_readable_or_closed() => {
                    return Err(match received {
                        Err(error) => DumpEnd::Gone(error),
                        // A command (COM_QUIT, most likely) ends the dump.
                        Ok(()) => DumpEnd::Cut,
                    });
                }
                () = heartbeat => true,
                () = killed(&mut self.kill) => false,
                () = stopping(&mut shutdown) => false,
            };
            if is_heartbeat {
                self.walk.put_heartbeat(self.offset, &mut self.out);
                self.write_out().await?;
            }
        }
    }

    fn heartbeat_due(&self) -> Option<Instant> {
        self.start
            .heartbeat
            .and_then(|period| self.last_write.checked_add(period))
    }

    /// Tells status whether the replica is at the end or has to catch up.
    fn note_place(&self, published: RelayLogPosition, end: u64) {
        let far = published.file > self.file || end.saturating_sub(self.offset) > BLOCK_LEN as u64;
        if far {
            self.context.replica.progress.at_end.store(false, Relaxed);
        }
    }

    /// Gives back what only catching up needs.
    fn release_memory(&mut self) {
        if self.block.len() > INLINE_READ_MAX {
            self.block = Vec::new();
        }
        self.out.shrink_to(2 * INLINE_READ_MAX);
    }

    fn place(&self, last: u64) -> DumpPlace {
        let log_dir = self.context.log.log_dir();
        DumpPlace {
            first_file: log_dir.file_name(self.start.file),
            first_position: self.start.position,
            file: log_dir.file_name(self.file),
            last_event: last,
            last_byte: last,
        }
    }

    fn unreadable(&self, error: &LogError) -> DumpEnd {
        tracing::error!(%error, "a dump ends");
        DumpEnd::Refused(self.wording.read_error(&self.place(self.offset)))
    }

    fn walk_error(&self, error: WalkError) -> DumpEnd {
        match error {
            WalkError::Refusal(error) => DumpEnd::Refused(error),
            WalkError::Damage(error) => {
                let file = self.walk.file_name();
                let at = self.walk.last_event;
                tracing::error!(file, at, %error, "a dump ends: the log file is damaged");
                DumpEnd::Refused(self.wording.read_error(&self.place(at)))
            }
        }
    }
}
