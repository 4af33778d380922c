//! Rewrites a transaction's events for their position in the log: log_pos, clocks, group ids,
//! checksums.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use super::finish::finish;
use super::spill_copy::SpillCopy;
use super::tail::{Disk, Tail};
use crate::binlog::event::{self, EventHeader};
use crate::binlog::{
    CHECKSUM_LEN, EventError, EventType, HEADER_LEN, mariadb_gtid, mysql_gtid, query,
};
use crate::identity::Identity;
use crate::merge::Placement;
use crate::relay_log::error::LogError;
use crate::transaction::{Transaction, TransactionBatch};

/// Events from this size on are written from the batch's memory, without staging them: two writes cost less than the copy.
const LARGE_LEN: usize = 64 * 1024;

/// Stages a transaction's events at the end of `tail`, and writes them if there are many bytes.
/// `group_id` is the commit id of its group.
pub(super) fn stage_transaction(
    tail: &mut Tail,
    disk: &Disk,
    batch: &TransactionBatch,
    transaction: &Transaction,
    (placement, group_id): (&Placement, u64),
) -> Result<(), LogError> {
    let start = tail.end();
    let source = match &transaction.opener {
        Some(opener) => bytes_of(batch, opener, &tail.path)?,
        None => &[],
    };
    let emptied = match placement.empties {
        true => Some(emptied(transaction, source).map_err(|cause| damage(tail, start, cause))?),
        false => None,
    };
    let (source, in_memory) = match (&emptied, &transaction.spill) {
        (Some((opener, events)), _) => (opener.as_ref(), Some(events.as_slice())),
        (None, None) => (
            source,
            Some(bytes_of(batch, &transaction.rest, &tail.path)?),
        ),
        (None, Some(_)) => (source, None),
    };
    let rest_len = in_memory.map_or(transaction.rest_len(), |rest| rest.len() as u64);
    let placed = (placement, group_id, rest_len);
    opener(source, transaction, placed, start, &mut tail.staged)
        .map_err(|cause| damage(tail, start, cause))?;
    if let Some(events) = in_memory {
        // Those of an emptied transaction are the relay's own.
        let is_verified = transaction.is_verified && emptied.is_none();
        rest(tail, disk, events, is_verified)?;
    } else if let Some(spill) = &transaction.spill {
        let mut copy = SpillCopy::new(spill, transaction.is_verified);
        while copy.next(tail)? {
            disk.write_if_many(tail)?;
        }
    }
    disk.write_if_many(tail)
}

/// An event of the transaction at `offset` of the log that cannot be rewritten.
fn damage(tail: &Tail, offset: u64, cause: EventError) -> LogError {
    LogError::Event {
        path: tail.path.clone(),
        offset,
        cause,
    }
}

/// A part of the batch's bytes. A range outside the batch is a bug of the assembler.
fn bytes_of<'a>(
    batch: &'a TransactionBatch,
    range: &Range<usize>,
    path: &Path,
) -> Result<&'a [u8], LogError> {
    let bytes = batch.bytes.get(range.clone());
    bytes.ok_or_else(|| LogError::Internal {
        path: path.to_owned(),
        what: format!(
            "a transaction of source {} has bytes {range:?} of a batch of {} bytes",
            batch.source,
            batch.bytes.len()
        ),
    })
}

/// Appends `source`, the transaction's opener if it has one, to `out`, for offset `start` of the
/// log file. `group_id` is the commit id of its group, `rest_len` the number of bytes after it.
fn opener(
    source: &[u8],
    transaction: &Transaction,
    (placement, group_id, rest_len): (&Placement, u64, u64),
    start: u64,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    if source.is_empty() {
        return Ok(());
    }
    let from = out.len();
    match transaction.identity {
        Identity::MySql(_) | Identity::Anonymous(_) => {
            mysql_gtid::rewrite(source, placement.clock, rest_len, out)?;
        }
        Identity::MariaDb(_) => out.extend_from_slice(source),
    }
    let written = staged_from(out, from)?;
    if let Identity::MariaDb(_) = transaction.identity {
        mariadb_gtid::set_commit_id(written, group_id)?;
    }
    finish(written, start + written.len() as u64)
}

/// The opener and the other events of a transaction of which only the identity is kept.
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

/// Stages the other events of a transaction, or writes them where they are large.
/// `is_verified`: see [`Transaction::is_verified`].
fn rest(tail: &mut Tail, disk: &Disk, events: &[u8], is_verified: bool) -> Result<(), LogError> {
    let start = tail.end();
    let mut left = events;
    while !left.is_empty() {
        let (small, large, after) =
            up_to_large(left).map_err(|cause| damage(tail, start, cause))?;
        disk.write_before(tail, small.len())?;
        stage_small(small, tail).map_err(|cause| damage(tail, start, cause))?;
        if !large.is_empty() {
            write_large(tail, disk, large, is_verified)?;
        }
        left = after;
    }
    Ok(())
}

/// Events, split before and after the first large one: the small ones, it, and the others. It is empty if there is
/// none.
type AroundLarge<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn up_to_large(events: &[u8]) -> Result<AroundLarge<'_>, EventError> {
    if events.len() < LARGE_LEN {
        return Ok((events, &[], &[])); // None can be large. Whether they are whole is checked when they are staged.
    }
    let mut small_len = 0;
    while let Some(left) = events.get(small_len..).filter(|left| !left.is_empty()) {
        let size = EventHeader::parse(left)?.event_size as usize;
        let Some((event, after)) = left.split_at_checked(size) else {
            return Err(EventError::Truncated {
                event: "event",
                field: "body",
                offset: 0,
                needed: size as u64,
                found: left.len(),
            });
        };
        if size >= LARGE_LEN {
            let (small, _) = events.split_at(small_len);
            return Ok((small, event, after));
        }
        small_len += size;
    }
    Ok((events, &[], &[]))
}

/// Stages whole events. They are copied at once, then finished in place.
fn stage_small(events: &[u8], tail: &mut Tail) -> Result<(), EventError> {
    let (from, mut offset) = (tail.staged.len(), tail.end());
    tail.staged.extend_from_slice(events);
    let mut left = staged_from(&mut tail.staged, from)?;
    while !left.is_empty() {
        let size = EventHeader::parse(left)?.event_size as usize;
        let found = left.len();
        let Some((event, after)) = left.split_at_mut_checked(size) else {
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
        left = after;
    }
    Ok(())
}

/// Writes a large event without copying it; its checksum is staged.
fn write_large(
    tail: &mut Tail,
    disk: &Disk,
    event: &[u8],
    is_verified: bool,
) -> Result<(), LogError> {
    let start = tail.end();
    let end = start + event.len() as u64;
    let (header, body) = event.split_at(HEADER_LEN.min(event.len()));
    let (body, stored) = body.split_at(body.len().saturating_sub(CHECKSUM_LEN));
    let mut head = [0; HEADER_LEN];
    event::patch(&mut head, "header", 0, header).map_err(|cause| damage(tail, start, cause))?;
    event::set_log_pos(&mut head, end as u32).map_err(|cause| damage(tail, start, cause))?;
    let stored = <[u8; CHECKSUM_LEN]>::try_from(stored).ok();
    let checksum = match stored.filter(|_| is_verified) {
        // Nothing but the header has changed.
        Some(stored) => {
            let stored = u32::from_le_bytes(stored);
            event::checksum_with_header(stored, (header, &head), body.len() as u64)
        }
        None => hash(&head, body),
    };
    debug_assert_eq!(
        checksum,
        hash(&head, body),
        "the checksum of an event at {start}"
    );
    tail.staged.extend_from_slice(&head);
    disk.write_with(tail, body)?;
    tail.staged.extend_from_slice(&checksum.to_le_bytes());
    Ok(())
}

fn hash(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// The bytes of `out` after `from`, its length before something was appended.
fn staged_from(out: &mut [u8], from: usize) -> Result<&mut [u8], EventError> {
    let found = out.len();
    out.get_mut(from..).ok_or(EventError::Truncated {
        event: "staged event",
        field: "start",
        offset: from,
        needed: 0,
        found,
    })
}
