//! Writing a bridge: a binlog file with transactions of the log that one replica lacks.

use std::path::PathBuf;

use super::finish::finish;
use super::head::{now, previous_transactions, stage_control};
use super::tail::{STAGED_LEN_MAX, Tail};
use crate::binlog::event::{self, HEADER_LEN, MAGIC};
use crate::binlog::mysql_gtid::LogicalClock;
use crate::binlog::{CHECKSUM_LEN, EventError, EventType, FormatDescription, mariadb_gtid};
use crate::binlog::{mysql_gtid, rotate};
use crate::data_file;
use crate::identity::Executed;
use crate::position::RelayLogPosition;
use crate::relay_log::error::LogError;
use crate::relay_log::files::{LogDir, sync_dir};
use crate::relay_log::held::Logged;
use crate::relay_log::reader::LogFile;

/// Bytes of an event that are copied at once.
const PIECE_LEN: usize = 1024 * 1024;
/// Bytes reserved for the closing ROTATE and for openers that grow.
const RESERVE: u64 = 64 * 1024;

/// Writes one bridge. It has its name only once it is complete and on disk.
#[derive(Debug)]
pub struct BridgeWriter<'a> {
    log_dir: &'a LogDir,
    server_id: u32,
    tail: Tail,
    path: PathBuf,
    /// The log file that is being copied from, by its number.
    source: Option<(u64, LogFile)>,
    sequence: i64,
    /// Whether a transaction has used temporary tables.
    uses_temporary_tables: bool,
}

impl<'a> BridgeWriter<'a> {
    /// Begins the bridge that will be at `path`, for a replica that has `held`. `format` is that of
    /// the log's files.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(
        log_dir: &'a LogDir,
        path: PathBuf,
        server_id: u32,
        format: &FormatDescription,
        held: &Executed,
    ) -> Result<Self, LogError> {
        let mut tail = Tail::create(path.with_extension("tmp"))?;
        tail.staged.extend_from_slice(&MAGIC);
        stage_control(&mut tail, format.encode(now(), server_id, 0, 0))?;
        stage_control(&mut tail, previous_transactions(server_id, held))?;
        Ok(Self {
            log_dir,
            server_id,
            tail,
            path,
            source: None,
            sequence: 0,
            uses_temporary_tables: false,
        })
    }

    /// Whether a transaction of the bridge has used temporary tables.
    pub fn uses_temporary_tables(&self) -> bool {
        self.uses_temporary_tables
    }

    /// Appends a transaction of the log.
    ///
    /// # Errors
    /// When it cannot be read, is damaged or does not fit into the file, or the file cannot be
    /// written.
    pub fn append(&mut self, transaction: &Logged) -> Result<(), LogError> {
        let Logged {
            file, begin, end, ..
        } = *transaction;
        let log = match self.source.take() {
            Some((number, log)) if number == file => log,
            _ => LogFile::open(&self.log_dir.log_path(file))?,
        };
        let staged = self.append_from(&log, begin, end);
        self.source = Some((file, log));
        staged
    }

    fn append_from(&mut self, log: &LogFile, begin: u64, end: u64) -> Result<(), LogError> {
        let len = end.saturating_sub(begin);
        if self.tail.end() + len + RESERVE > u64::from(u32::MAX) {
            return Err(LogError::Unexpected {
                path: self.path.clone(),
                offset: self.tail.end(),
                found: "more transactions than one binlog file can hold".to_owned(),
                expected: "less than 4 GiB; attach the replica from a newer position or dump",
            });
        }
        if log.verified_end(begin, end)? != end {
            return Err(LogError::Unexpected {
                path: log.path().to_owned(),
                offset: begin,
                found: "a damaged transaction".to_owned(),
                expected: "whole events with the right checksums; check it with binrelay verify",
            });
        }
        let mut offset = begin;
        if log.header_at(begin)?.event_type.is_gtid() {
            let opener = log.event_at(begin)?;
            offset += opener.len() as u64;
            self.sequence += 1;
            self.stage_opener(&opener, end.saturating_sub(offset))
                .map_err(|cause| LogError::Event {
                    path: log.path().to_owned(),
                    offset: begin,
                    cause,
                })?;
        }
        while offset < end {
            offset += self.copy_event(log, offset)?;
        }
        Ok(())
    }

    /// The transactions of a bridge run one after another.
    fn stage_opener(&mut self, opener: &[u8], rest_len: u64) -> Result<(), EventError> {
        let (from, start) = (self.tail.staged.len(), self.tail.end());
        let kind = opener.get(4).copied().map(EventType);
        if kind == Some(EventType::MARIADB_GTID) {
            self.tail.staged.extend_from_slice(opener);
            let staged = event::appended(&mut self.tail.staged, from)?;
            mariadb_gtid::set_commit_id(staged, start)?;
        } else {
            let clock = LogicalClock {
                last_committed: self.sequence - 1,
                sequence_number: self.sequence,
            };
            mysql_gtid::rewrite(opener, clock, rest_len, &mut self.tail.staged)?;
        }
        let staged = event::appended(&mut self.tail.staged, from)?;
        finish(staged, start + staged.len() as u64)
    }

    /// Copies the event at `offset`, which was verified, and returns its size.
    fn copy_event(&mut self, log: &LogFile, offset: u64) -> Result<u64, LogError> {
        let header = log.header_at(offset)?;
        let size = header.event_size as usize;
        self.uses_temporary_tables |= header.flags & event::FLAG_THREAD_SPECIFIC != 0;
        let damage = |cause| LogError::Event {
            path: log.path().to_owned(),
            offset,
            cause,
        };
        let mut head = [0; HEADER_LEN];
        log.read_exact_at(&mut head, offset)?;
        let end = self.tail.end() + size as u64;
        event::set_log_pos(&mut head, end as u32).map_err(damage)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head);
        self.tail.staged.extend_from_slice(&head);
        let mut at = offset + HEADER_LEN as u64;
        let body_end = offset + size.saturating_sub(CHECKSUM_LEN) as u64;
        while at < body_end {
            let len = usize::try_from(body_end - at).unwrap_or(PIECE_LEN);
            let from = self.tail.staged.len();
            self.tail.staged.resize(from + len.min(PIECE_LEN), 0);
            let piece = event::appended(&mut self.tail.staged, from).map_err(damage)?;
            log.read_exact_at(piece, at)?;
            hasher.update(piece);
            at += piece.len() as u64;
            if self.tail.staged.len() > STAGED_LEN_MAX {
                self.tail.write_all()?;
            }
        }
        let checksum = hasher.finalize().to_le_bytes();
        self.tail.staged.extend_from_slice(&checksum);
        Ok(size as u64)
    }

    /// Ends the bridge, and returns the end of its last transaction. Readers continue at `next` in the
    /// log, or, without it, wait at the bridge's end: its ROTATE leads to that.
    ///
    /// # Errors
    /// When it cannot be written, synced or renamed.
    pub fn close(mut self, next: Option<RelayLogPosition>) -> Result<u64, LogError> {
        let end = self.tail.end();
        let closing = match next {
            Some(next) => {
                let name = self.log_dir.file_name(next.file);
                rotate::leading_to(now(), self.server_id, 0, &name, next.offset)
            }
            None => {
                let name = self.path.file_name().unwrap_or_default().to_string_lossy();
                let leading = |to| rotate::leading_to(now(), self.server_id, 0, &name, to);
                leading(end + leading(0).len() as u64)
            }
        };
        stage_control(&mut self.tail, closing)?;
        self.tail.write_all()?;
        self.tail.sync()?;
        data_file::rename(&self.tail.path, &self.path)
            .map_err(|cause| LogError::io("rename", &self.tail.path, cause))?;
        sync_dir(&self.log_dir.dir)?;
        Ok(end)
    }
}
