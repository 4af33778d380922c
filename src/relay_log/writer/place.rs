//! Giving a transaction's events their place: positions, clocks, group ids, checksums.

use std::borrow::Cow;

use crate::binlog::event::{self, EventHeader};
use crate::binlog::{
    CHECKSUM_LEN, EventError, EventType, HEADER_LEN, mariadb_gtid, mysql_gtid, query,
};
use crate::identity::Identity;
use crate::merge::Place;
use crate::relay_log::LogError;
use crate::transaction::{SpillFile, Transaction, TransactionBatch};

use super::tail::{Tail, write_staged};
use super::{STAGED_LEN_MAX, Writer};

/// Events of up to this many bytes are copied from a spill file whole, larger ones in pieces of
/// this size.
const PIECE_LEN: usize = 1024 * 1024;

impl Writer {
    /// Stages a transaction's events at their place.
    pub(super) fn place_events(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        place: Place,
    ) -> Result<(), LogError> {
        let start = self.tail.end();
        if !place.joins_group {
            // The place of a group's first member: no other group in this log can have it.
            self.group_id = (self.number << 32) | start;
        }
        let damage = |cause| LogError::Event {
            path: self.tail.path.clone(),
            offset: start,
            cause,
        };
        let out = &mut self.tail.staged;
        let missing = |len| EventError::Truncated {
            event: "transaction",
            field: "opener",
            offset: 0,
            needed: len,
            found: batch.bytes.len(),
        };
        let source = match transaction.opener.clone() {
            Some(range) => {
                let end = range.end as u64;
                let found = batch.bytes.get(range);
                found.ok_or_else(|| missing(end)).map_err(damage)?
            }
            None => &[],
        };
        let emptied = match place.emptied {
            true => Some(emptied(transaction, source).map_err(damage)?),
            false => None,
        };
        let (source, in_memory) = match (&emptied, &transaction.spill) {
            (Some((opener, events)), _) => (opener.as_ref(), Some(events.as_slice())),
            (None, None) => (source, batch.bytes.get(transaction.rest.clone())),
            (None, Some(_)) => (source, None),
        };
        let rest_len = in_memory.map_or(transaction.rest_len(), |rest| rest.len() as u64);
        let place = (place, self.group_id, rest_len);
        opener(source, transaction, place, start, out).map_err(damage)?;
        if let Some(events) = in_memory {
            let start = self.tail.written + out.len() as u64;
            rest(events, start, out).map_err(damage)?;
        } else if let Some(spill) = &transaction.spill {
            let mut copy = SpillCopy::new(spill);
            while copy.next(&mut self.tail)? {
                if self.tail.staged.len() > STAGED_LEN_MAX {
                    write_staged(&mut self.tail, &self.log, &self.options.stopping)?;
                }
            }
        }
        if self.tail.staged.len() > STAGED_LEN_MAX {
            write_staged(&mut self.tail, &self.log, &self.options.stopping)?;
        }
        Ok(())
    }
}

/// Appends `source`, the transaction's opener if it has one, to `out`, for offset `start` of the log file.
/// `group_id` is the commit id of its group, `rest_len` how many bytes follow it.
fn opener(
    source: &[u8],
    transaction: &Transaction,
    (place, group_id, rest_len): (Place, u64, u64),
    start: u64,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    if source.is_empty() {
        return Ok(());
    }
    let from = out.len();
    match transaction.identity {
        Identity::MySql(_) | Identity::Anonymous(_) => {
            mysql_gtid::rewrite(source, place.clock, rest_len, out)?;
        }
        Identity::MariaDb(_) => out.extend_from_slice(source),
    }
    if let Some(written) = out.get_mut(from..) {
        if let Identity::MariaDb(_) = transaction.identity {
            mariadb_gtid::set_commit_id(written, group_id)?;
        }
        finish(written, start + written.len() as u64)?;
    }
    Ok(())
}

/// The opener and the other events of a transaction of which nothing is to be left but its
/// identity.
fn emptied<'a>(
    transaction: &Transaction,
    opener: &'a [u8],
) -> Result<(Cow<'a, [u8]>, Vec<u8>), EventError> {
    let like = EventHeader {
        timestamp: transaction.timestamp,
        event_type: EventType::QUERY,
        server_id: transaction.server_id,
        event_size: 0,
        log_pos: 0,
        flags: 0,
    };
    let keyword = |statement| query::transaction_keyword(&like, statement);
    match transaction.identity {
        // Its opener is the BEGIN.
        Identity::MariaDb(_) => {
            let opener = mariadb_gtid::empty_group(opener)?;
            Ok((Cow::Owned(opener), keyword("COMMIT")))
        }
        Identity::MySql(_) | Identity::Anonymous(_) => {
            let events = [keyword("BEGIN"), keyword("COMMIT")].concat();
            Ok((Cow::Borrowed(opener), events))
        }
    }
}

/// Appends the other events of a transaction to `out`; the first of them stands at `start` of the
/// log file.
fn rest(events: &[u8], start: u64, out: &mut Vec<u8>) -> Result<(), EventError> {
    let from = out.len();
    out.extend_from_slice(events);
    let mut left = out.get_mut(from..).unwrap_or(&mut []);
    let mut offset = start;
    while !left.is_empty() {
        let size = EventHeader::parse(left)?.event_size as usize;
        let found = left.len();
        let Some((event, behind)) = left.split_at_mut_checked(size) else {
            return Err(EventError::Truncated {
                event: "event",
                field: "body",
                offset: 0,
                needed: size as u64,
                found,
            });
        };
        offset += size as u64;
        finish(event, offset)?;
        left = behind;
    }
    Ok(())
}

/// Writes what depends on the place into a whole event that ends at `end` of the log file.
fn finish(event: &mut [u8], end: u64) -> Result<(), EventError> {
    event::set_log_pos(event, end as u32)?;
    event::write_checksum(event)
}

/// Copies a large transaction's events from its spill file, a piece at a time.
struct SpillCopy<'a> {
    spill: &'a SpillFile,
    offset: u64,
    /// The rest of an event that is copied in pieces: bytes left before its checksum.
    open: Option<(u64, crc32fast::Hasher)>,
}

impl<'a> SpillCopy<'a> {
    fn new(spill: &'a SpillFile) -> Self {
        Self {
            spill,
            offset: 0,
            open: None,
        }
    }

    /// Stages the next piece; false when there is none.
    fn next(&mut self, tail: &mut Tail) -> Result<bool, LogError> {
        if let Some((left, hasher)) = self.open.take() {
            self.stage_piece(tail, left, hasher)?;
            return Ok(true);
        }
        if self.offset >= self.spill.len() {
            return Ok(false);
        }
        let mut head = [0; HEADER_LEN];
        self.read(&mut head, tail)?;
        let header = EventHeader::parse(&head).map_err(|cause| damage(tail, cause))?;
        let size = header.event_size as usize;
        let end = tail.end() + size as u64;
        if size <= PIECE_LEN {
            let from = tail.staged.len();
            tail.staged.extend_from_slice(&head);
            self.stage(tail, size.saturating_sub(HEADER_LEN))?;
            if let Some(event) = tail.staged.get_mut(from..) {
                finish(event, end).map_err(|cause| damage(tail, cause))?;
            }
            return Ok(true);
        }
        event::set_log_pos(&mut head, end as u32).map_err(|cause| damage(tail, cause))?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head);
        tail.staged.extend_from_slice(&head);
        self.open = Some(((size - HEADER_LEN - CHECKSUM_LEN) as u64, hasher));
        Ok(true)
    }

    fn stage_piece(
        &mut self,
        tail: &mut Tail,
        left: u64,
        mut hasher: crc32fast::Hasher,
    ) -> Result<(), LogError> {
        let piece = left.min(PIECE_LEN as u64);
        let from = tail.staged.len();
        self.stage(tail, piece as usize)?;
        hasher.update(tail.staged.get(from..).unwrap_or(&[]));
        if piece < left {
            self.open = Some((left - piece, hasher));
            return Ok(());
        }
        tail.staged
            .extend_from_slice(&hasher.finalize().to_le_bytes());
        self.offset += CHECKSUM_LEN as u64; // The source's checksum, or room for one.
        Ok(())
    }

    /// Stages the next `len` bytes of the spill file.
    fn stage(&mut self, tail: &mut Tail, len: usize) -> Result<(), LogError> {
        let from = tail.staged.len();
        tail.staged.resize(from + len, 0);
        let mut slot = std::mem::take(&mut tail.staged);
        let read = match slot.get_mut(from..) {
            Some(target) => self.read(target, tail),
            None => Ok(()),
        };
        tail.staged = slot;
        read
    }

    fn read(&mut self, target: &mut [u8], tail: &Tail) -> Result<(), LogError> {
        self.spill
            .read_exact_at(target, self.offset)
            .map_err(|cause| LogError::io("read the spooled transaction for", &tail.path, cause))?;
        self.offset += target.len() as u64;
        Ok(())
    }
}

fn damage(tail: &Tail, cause: EventError) -> LogError {
    LogError::Event {
        path: tail.path.clone(),
        offset: 0,
        cause,
    }
}
