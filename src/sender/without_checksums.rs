//! Events for clients that do not know checksums: replicas of MySQL 5.5 and older, and the
//! mysqlbinlog of these versions.
//!
//! Such a client does not set `@master_binlog_checksum`. MySQL 5.6 and later refuse to send it events
//! with checksums, and all events of the relay log have checksums. But the same replica may follow
//! one of the relay's sources directly (MySQL 5.5, or 5.6 with `binlog_checksum=NONE`), so it can
//! follow the relay, too.
//!
//! # Lengths
//! A replica of MySQL 5.5 computes its position in the master's binlog: it adds the length of each
//! packet. It reconnects with that position, and stops at a heartbeat with a different one. Without
//! the four bytes of each checksum the position would not be one of the relay log. The relay
//! could not translate it either: a position that is four bytes smaller for each event can be that of
//! another event, and administrators set positions from `SHOW MASTER STATUS`. So **each event keeps
//! its length and its `log_pos`**: the checksum is replaced by four other bytes (the filler) where
//! the replica ignores them. Its positions are those of the relay log, inside transactions as well.
//!
//! | events | where the filler is |
//! |---|---|
//! | Query, Execute_load_query | at the end of the status variables. `0xff` is not the code of any; 5.5 ignores an unknown code and all that follows |
//! | rows (version 1), Append_block, Begin_load_query | at the end of the fixed part (post-header), whose length in the format description event is four bytes longer. 5.5 reads that length, and writes it again when it begins the next file of its relay log |
//! | Table_map, Intvar, RAND, User_var, Xid, Incident, Delete_file, Exec_load | at the end of the event: 5.5 reads these fields by their lengths and ignores what follows. The filler is 0, because 5.5 reads its first byte as the flags of a User_var without flags |
//! | Format_desc | none. As from MySQL 5.6 with `binlog_checksum=NONE`: algorithm 0 and a checksum. 5.5 reads these five bytes as the lengths of five more event types |
//! | Rotate, Heartbeat | none: they are four bytes shorter. 5.5 does not count their lengths, and reads a file name up to the event's end |
//!
//! A program that ignores the lengths in the format description event cannot read the rows, and does
//! not read wrong rows: `0xff` is not the first byte of any number of columns.
//!
//! # Events that MySQL 5.5 does not know
//! | events | sent as |
//! |---|---|
//! | Previous_gtids, Anonymous_Gtid; MariaDB: Gtid_list, Binlog_checkpoint, Gtid of a standalone statement | Xid. Between two transactions it commits nothing, and `SHOW SLAVE STATUS` shows the position after it |
//! | Rows_query and others that replicas may ignore; MariaDB: Annotate_rows | User_var of a variable that nothing uses. It does not end the transaction |
//! | MariaDB: other Gtid events | BEGIN |
//! | all others, and a Table_map with a column type that 5.5 does not know | not sent: error 1236 |
//!
//! Clients that request a dump by GTID are refused as on real servers: all that do so know checksums,
//! and must announce it.

use super::old_replicas;
use crate::binlog::columns::{column_type, column_types};
use crate::binlog::event::{self, FLAG_IGNORABLE};
use crate::binlog::format_description::{ALGORITHM_AND_CHECKSUM_LEN, POST_HEADER_LENGTHS_AT};
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::query::{STATUS_VARIABLES_LEN_AT, fixed_len, status_variables_len};
use crate::binlog::{CHECKSUM_LEN, EventError, EventHeader, EventType, HEADER_LEN};
use crate::protocol::framing::FrameWriter;

/// How many bytes of an event must be read before it is sent, or all if it is shorter: the status
/// variables of a Query and the column types of a Table_map are within them.
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
    /// Sends the rewritten `part`, the next bytes of the event. The first part has at least the bytes
    /// that were given to [`form`].
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
