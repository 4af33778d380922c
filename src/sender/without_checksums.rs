//! Events for clients that do not know checksums: replicas of MySQL 5.5 and older, and the
//! mysqlbinlog of these versions.
//!
//! Such a client sends no `SET @master_binlog_checksum`. MySQL 5.6 and later refuse it as soon as
//! their events have checksums; the relay's always have. But the relay's source may be a master
//! that serves this replica (MySQL 5.5, or 5.6 with `binlog_checksum=NONE`), so the relay must
//! serve it as well.
//!
//! # Lengths
//! A replica of MySQL 5.5 computes its position in the master's binlog: it adds the length of each
//! packet. With the position it reconnects, and it stops when a heartbeat has another one. If
//! the checksums were removed, the position would no longer be one of the relay's files. It could
//! not be translated back either: an offset with four bytes less for each event may be the offset
//! of another event, and administrators set positions from `SHOW MASTER STATUS`. So **each event
//! keeps its length and its `log_pos`**: in place of the checksum there are four other bytes
//! (the filler) where that replica ignores them. Its positions are then those of the relay's files,
//! in the middle of a transaction too.
//!
//! | events | place of the filler |
//! |---|---|
//! | Query, Execute_load_query | the end of the status variables. `0xff` is the code of none, and 5.5 ignores what follows an unknown code |
//! | rows (version 1), Append_block, Begin_load_query | the end of the fixed part (post-header), whose length in the format description event is four bytes more. 5.5 uses that length, and keeps it when it begins another relay log file |
//! | Table_map, Intvar, RAND, User_var, Xid, Incident, Delete_file, Exec_load | the event's end: 5.5 reads these fields by their lengths and ignores what follows. The bytes are 0: the first may be read as the flags of a User_var that MySQL 5.1 wrote without flags |
//! | Format_desc | none; as MySQL 5.6 with `binlog_checksum=NONE` sends it to 5.5: algorithm 0 and a checksum. 5.5 reads these five bytes as the lengths of five more event types |
//! | Rotate, Heartbeat | none: they are shortened. 5.5 does not count their lengths, and reads a file name to the event's end |
//!
//! A reader that ignores the lengths in the format description event cannot read the rows: it reads
//! the filler's `0xff`, which is not the first byte of any number of columns, instead of
//! wrong rows.
//!
//! # Events that MySQL 5.5 does not know
//! | events | sent as |
//! |---|---|
//! | Previous_gtids, Anonymous_Gtid; MariaDB: Gtid_list, Binlog_checkpoint, Gtid of a standalone statement | Xid. Between two transactions it commits nothing, and advances the position in `SHOW SLAVE STATUS` |
//! | Rows_query and others that replicas may ignore; MariaDB: Annotate_rows | User_var: sets a variable that nothing uses. It does not end a transaction |
//! | MariaDB: other Gtid events | BEGIN, which they stand for |
//! | all others; a Table_map with a column type that 5.5 does not know | refused with error 1236 |
//!
//! A dump by GTID is not for these clients: the versions that request it know checksums.

use super::old_replicas;
use crate::binlog::columns::{column_type, column_types};
use crate::binlog::event::{self, FLAG_IGNORABLE};
use crate::binlog::format_description::{ALGORITHM_AND_CHECKSUM_LEN, POST_HEADER_LENGTHS_AT};
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::query::{STATUS_VARIABLES_LEN_AT, fixed_len, status_variables_len};
use crate::binlog::{CHECKSUM_LEN, EventError, EventHeader, EventType, HEADER_LEN};
use crate::protocol::framing::FrameWriter;

/// The bytes of an event that must be at hand before it is sent, if it has so many: more than a
/// Query's status variables or a Table_map's column types need.
pub const HEAD_LEN: usize = 8 * 1024;

/// The most bytes of status variables that MySQL 5.5 reads (its `MAX_SIZE_LOG_EVENT_STATUS`); it
/// stops at an event with more.
const STATUS_VARIABLES_LEN_MAX: usize = 638;
/// The filler in the middle of an event.
const FILLER: [u8; CHECKSUM_LEN] = [0xff; CHECKSUM_LEN];
/// What follows the fields of an event.
const ZEROS: [u8; 256] = [0; 256];
/// Length of the fixed part of rows events of version 1.
const ROWS_FIXED_LEN: usize = 8;
/// Length of the fixed part of events with a block of a file: the file's id.
const BLOCK_FIXED_LEN: usize = 4;
/// The longer fixed parts in the format description event. For Begin_load_query, too, MySQL 5.5
/// reads the length of Append_block.
const FIXED_LENGTHS: [(EventType, usize); 5] = [
    (EventType::APPEND_BLOCK, BLOCK_FIXED_LEN),
    (EventType::BEGIN_LOAD_QUERY, BLOCK_FIXED_LEN),
    (EventType::WRITE_ROWS_V1, ROWS_FIXED_LEN),
    (EventType::UPDATE_ROWS_V1, ROWS_FIXED_LEN),
    (EventType::DELETE_ROWS_V1, ROWS_FIXED_LEN),
];
/// Body of a Xid event: transaction 0.
const XID_BODY: &[u8] = &[0; 8];
/// Body of a User_var event: the length of the name, the name, 1 for NULL.
const USER_VAR_BODY: &[u8] = &[1, 0, 0, 0, b'!', 1];

/// Why an event cannot be sent to such a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The client does not know the event's type.
    Event(EventType),
    /// The client does not know the type of a table's column.
    Column(u8),
    /// The client does not read so many status variables.
    StatusVariables,
}

/// How an event of the log is sent.
#[derive(Debug)]
pub enum Form {
    /// This event is sent instead.
    Replaced(Vec<u8>),
    /// An event of the same length is sent.
    Rewritten(Rewriting),
    /// The dump ends before it.
    Unreadable(Unreadable),
}

/// Rewrites one event while its bytes pass.
#[derive(Debug, Clone, Copy)]
pub struct Rewriting {
    change: Change,
    /// Length of the event.
    len: u64,
    /// How many of its bytes have passed.
    passed: u64,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    /// The filler is at this offset.
    Filled(usize),
    /// The filler is at this offset, after status variables of this length.
    FilledStatus(usize, u16),
    /// The filler is at the end.
    Ended,
    /// An event with this header and body instead, and zeros up to the length.
    Dummy(EventHeader, &'static [u8]),
}

/// Decides how the event with `header` is sent. `bytes` is the whole event or its head, at least
/// [`HEAD_LEN`] bytes.
///
/// # Errors
/// The event is too short for its type.
pub fn form(header: &EventHeader, bytes: &[u8]) -> Result<Form, EventError> {
    require(header, 0, "checksum")?;
    let change = match header.event_type {
        EventType::FORMAT_DESCRIPTION => {
            return Ok(Form::Replaced(format_description(bytes)?));
        }
        EventType::ROTATE => {
            let mut rotate = bytes.to_vec();
            event::remove_checksum(&mut rotate)?;
            return Ok(Form::Replaced(rotate));
        }
        EventType::MARIADB_GTID if !MariaDbGtidEvent::parse(bytes, true)?.is_standalone() => {
            return Ok(Form::Replaced(old_replicas::begin(header)?));
        }
        EventType::QUERY | EventType::EXECUTE_LOAD_QUERY => {
            let len = usize::from(status_variables_len(bytes)?);
            if len + FILLER.len() > STATUS_VARIABLES_LEN_MAX {
                return Ok(Form::Unreadable(Unreadable::StatusVariables));
            }
            let body_len = fixed_len(header.event_type) + len;
            require(header, body_len, "status variables")?;
            Change::FilledStatus(HEADER_LEN + body_len, (len + FILLER.len()) as u16)
        }
        EventType::TABLE_MAP => match unknown_column(bytes)? {
            Some(column_type) => return Ok(Form::Unreadable(Unreadable::Column(column_type))),
            None => Change::Ended,
        },
        EventType::INTVAR
        | EventType::RAND
        | EventType::USER_VAR
        | EventType::XID
        | EventType::INCIDENT
        | EventType::DELETE_FILE
        | EventType::EXEC_LOAD => Change::Ended,
        EventType::PREVIOUS_GTIDS
        | EventType::ANONYMOUS_GTID
        | EventType::MARIADB_GTID
        | EventType::GTID_LIST
        | EventType::BINLOG_CHECKPOINT => dummy(header, EventType::XID, XID_BODY)?,
        EventType::ROWS_QUERY | EventType::ANNOTATE_ROWS => {
            dummy(header, EventType::USER_VAR, USER_VAR_BODY)?
        }
        other => match FIXED_LENGTHS.iter().find(|(longer, _)| *longer == other) {
            Some((_, len)) => {
                require(header, *len, "fixed part")?;
                Change::Filled(HEADER_LEN + len)
            }
            None if header.flags & FLAG_IGNORABLE != 0 => {
                dummy(header, EventType::USER_VAR, USER_VAR_BODY)?
            }
            None => return Ok(Form::Unreadable(Unreadable::Event(other))),
        },
    };
    Ok(Form::Rewritten(Rewriting {
        change,
        len: u64::from(header.event_size),
        passed: 0,
    }))
}

/// Checks that an event has `len` bytes between header and checksum, for `field`.
fn require(header: &EventHeader, len: usize, field: &'static str) -> Result<(), EventError> {
    let found = (header.event_size as usize).saturating_sub(HEADER_LEN);
    match found >= len + CHECKSUM_LEN {
        true => Ok(()),
        false => Err(EventError::Truncated {
            event: header.event_type.name(),
            field,
            offset: HEADER_LEN,
            needed: (len + CHECKSUM_LEN) as u64,
            found,
        }),
    }
}

fn dummy(
    header: &EventHeader,
    event_type: EventType,
    body: &'static [u8],
) -> Result<Change, EventError> {
    // The checksum's bytes may be a part of the body.
    require(header, body.len().saturating_sub(CHECKSUM_LEN), "body")?;
    let header = EventHeader {
        event_type,
        flags: header.flags & !FLAG_IGNORABLE,
        ..*header
    };
    Ok(Change::Dummy(header, body))
}

/// The first column type in a Table_map event that MySQL 5.5 does not know: it knows those up to
/// BIT, and those from NEWDECIMAL on.
fn unknown_column(event: &[u8]) -> Result<Option<u8>, EventError> {
    let body = event.get(HEADER_LEN..).unwrap_or(&[]);
    let types = column_types(body)?;
    let unknown = |column: &&u8| (column_type::BIT + 1..column_type::NEWDECIMAL).contains(*column);
    Ok(types.iter().find(unknown).copied())
}

/// The format description event in place of `event`, a whole one of the relay log.
///
/// # Errors
/// It is too short.
pub fn format_description(event: &[u8]) -> Result<Vec<u8>, EventError> {
    let mut event = event.to_vec();
    let algorithm_at = event.len().saturating_sub(ALGORITHM_AND_CHECKSUM_LEN);
    let (lengths, _) = event.split_at_mut_checked(algorithm_at).unwrap_or_default();
    for (event_type, len) in FIXED_LENGTHS {
        let at = POST_HEADER_LENGTHS_AT + usize::from(event_type.0) - 1;
        let longer = (len + FILLER.len()) as u8;
        event::patch(lengths, "post-header length", at, &[longer])?;
    }
    event::patch(&mut event, "checksum algorithm", algorithm_at, &[0])?;
    event::write_checksum(&mut event)?;
    Ok(event)
}

impl Rewriting {
    /// Sends what becomes of `part`, the next bytes of the event. The first part is as long as the
    /// bytes that [`form`] had.
    pub fn put(&mut self, part: &[u8], frames: &mut FrameWriter, out: &mut Vec<u8>) {
        let mut rest = part;
        if self.passed == 0 {
            rest = self.put_head(part, frames, out);
        }
        let end = self.passed + part.len() as u64;
        let start = end - rest.len() as u64;
        self.passed = end;
        if let Change::Dummy(..) = self.change {
            return put_zeros(rest.len(), frames, out);
        }
        let kept = (self.len - CHECKSUM_LEN as u64).saturating_sub(start);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).min(rest.len());
        frames.put(out, rest.get(..kept).unwrap_or(rest));
        if let Change::Ended = self.change
            && self.passed == self.len
        {
            put_zeros(CHECKSUM_LEN, frames, out);
        }
    }

    /// Sends the event up to the filler in its middle, and returns the bytes after it.
    fn put_head<'a>(
        &self,
        part: &'a [u8],
        frames: &mut FrameWriter,
        out: &mut Vec<u8>,
    ) -> &'a [u8] {
        let split = |at| part.split_at_checked(at).unwrap_or((part, &[]));
        match self.change {
            Change::Ended => part,
            Change::Filled(at) => {
                let (head, rest) = split(at);
                frames.put(out, head);
                frames.put(out, &FILLER);
                rest
            }
            Change::FilledStatus(at, len) => {
                let (head, rest) = split(at);
                let len = len.to_le_bytes();
                let after = STATUS_VARIABLES_LEN_AT + len.len();
                frames.put(out, head.get(..STATUS_VARIABLES_LEN_AT).unwrap_or(head));
                frames.put(out, &len);
                frames.put(out, head.get(after..).unwrap_or(&[]));
                frames.put(out, &FILLER);
                rest
            }
            Change::Dummy(header, body) => {
                frames.put(out, &header.encode());
                frames.put(out, body);
                split(HEADER_LEN + body.len()).1
            }
        }
    }
}

fn put_zeros(len: usize, frames: &mut FrameWriter, out: &mut Vec<u8>) {
    let mut left = len;
    while left > 0 {
        let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
        frames.put(out, zeros);
        left -= zeros.len();
    }
}

#[cfg(test)]
mod tests;
