//! SHOW BINLOG EVENTS: the rows are read from the published part of one file while they are sent.

use super::cursor::Cursor;
use super::event_info;
use super::sql::Token;
use super::sql_errors::missing_user_privilege;
use super::statement_context::StatementContext;
use crate::binlog::fields::EventError;
use crate::binlog::{EventHeader, EventType, HEADER_LEN};
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind;
use crate::relay_log::reader::{FIRST_EVENT, LogFile};
use crate::relay_log::{LogError, RelayLog, coordinates};

/// "Error when executing command".
const ER_ERROR_WHEN_EXECUTING_COMMAND: u16 = 1220;
/// Of a larger event only this many bytes are read, and its Info is truncated.
const EVENT_READ_MAX: usize = 1 << 20;
/// The size of a batch of rows, in bytes of their texts.
const BATCH_LEN: usize = 64 * 1024;

/// The columns of the answer.
pub const COLUMNS: [(&str, ColumnKind); 6] = [
    ("Log_name", ColumnKind::Text),
    ("Pos", ColumnKind::Integer),
    ("Event_type", ColumnKind::Text),
    ("Server_id", ColumnKind::Integer),
    ("End_log_pos", ColumnKind::Integer),
    ("Info", ColumnKind::Text),
];

/// Values of a row, in the order of [`COLUMNS`].
pub type Row = Vec<Option<Vec<u8>>>;

/// The rest of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventListing {
    file: u64,
    position: u64,
    skip: u64,
    left: u64,
    /// Whether `position` is known to be the start of an event, and not past the readable end.
    is_aligned: bool,
}

/// Reads `[IN 'file'] [FROM position] [LIMIT [offset,] count | LIMIT count OFFSET offset]`; `None`
/// for anything else.
///
/// # Errors
/// A privilege is missing, or the file is not in the log.
pub fn parse(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<EventListing>, ServerError> {
    let (mut name, mut position, mut skip, mut left) = (String::new(), 0, 0, u64::MAX);
    if cursor.eat("IN") {
        let Some(Token::Text(file)) = cursor.next() else {
            return Ok(None);
        };
        name.clone_from(file);
    }
    if cursor.eat("FROM") {
        match number(cursor) {
            Some(from) => position = from,
            None => return Ok(None),
        }
    }
    if cursor.eat("LIMIT") {
        let Some(first) = number(cursor) else {
            return Ok(None);
        };
        left = first;
        let is_offset_first = cursor.eat_symbol(',');
        if is_offset_first || cursor.eat("OFFSET") {
            let Some(second) = number(cursor) else {
                return Ok(None);
            };
            (skip, left) = match is_offset_first {
                true => (first, second),
                false => (second, first),
            };
        }
    }
    if !cursor.is_done() {
        return Ok(None);
    }
    if !context.caller.privileges.replication && !context.caller.privileges.admin {
        let on_servers = match context.relay.flavor {
            Flavor::MySql => "REPLICATION SLAVE",
            Flavor::MariaDb => "BINLOG MONITOR",
        };
        return Err(missing_user_privilege(on_servers, "replication"));
    }
    // MySQL ignores LIMIT 0; MariaDB checks the limit after the first row.
    left = match (left, context.relay.flavor) {
        (0, Flavor::MySql) => u64::MAX,
        (0, Flavor::MariaDb) => 1,
        _ => left,
    };
    let log = context.relay.log()?;
    let file = coordinates::file_by_name(log, name.as_bytes());
    let file = file.ok_or_else(|| refused("Could not find target log"))?;
    Ok(Some(EventListing {
        file,
        position: position.max(FIRST_EVENT),
        skip,
        left,
        is_aligned: false,
    }))
}

fn number(cursor: &mut Cursor<'_>) -> Option<u64> {
    match cursor.next()? {
        Token::Number(number) => number.parse().ok(),
        _ => None,
    }
}

fn refused(cause: &str) -> ServerError {
    let text = format!("Error when executing command SHOW BINLOG EVENTS: {cause}");
    ServerError::new(ER_ERROR_WHEN_EXECUTING_COMMAND, text)
}

fn unreadable(error: &LogError) -> ServerError {
    tracing::warn!(%error, "SHOW BINLOG EVENTS failed");
    refused("Wrong offset or I/O error")
}

fn damaged(file: &str, position: u64, error: &EventError) -> ServerError {
    tracing::warn!(file, position, %error, "SHOW BINLOG EVENTS failed");
    refused("Wrong offset or I/O error")
}

/// The column `Event_type`, which real servers spell differently for some types.
fn type_name(event_type: EventType) -> &'static str {
    match event_type {
        EventType::USER_VAR => "User var",
        EventType::GTID_TAGGED => "Gtid_tagged_log_event",
        _ => event_type.name(),
    }
}

impl EventListing {
    /// The next rows, which may be none; `None` at the end. Reads files.
    ///
    /// # Errors
    /// No event begins at the position, or the file cannot be read.
    pub fn next_rows(&mut self, log: &RelayLog) -> Result<Option<Vec<Row>>, ServerError> {
        let end = coordinates::readable_end(log, self.file).map_err(|error| unreadable(&error))?;
        let end = end.ok_or_else(|| refused("Could not find target log"))?;
        let flavor = Flavor::of_version(log.server_version());
        if !self.is_aligned {
            self.align_position(log, flavor, end)?;
        }
        if self.left == 0 || self.position >= end {
            return Ok(None);
        }
        let name = log.log_dir().file_name(self.file);
        let file = LogFile::open(&log.log_dir().log_path(self.file))
            .map_err(|error| unreadable(&error))?;
        let (mut rows, mut len) = (Vec::new(), 0);
        while self.position < end && self.left > 0 && len < BATCH_LEN {
            let header = file
                .header_at(self.position)
                .map_err(|error| unreadable(&error))?;
            let next = self.position + u64::from(header.event_size);
            if header.log_pos != next as u32 {
                return Err(refused("Wrong offset or I/O error"));
            }
            if self.skip > 0 {
                self.skip -= 1;
                // Skipping events costs time as well; a batch must end.
                len += HEADER_LEN;
            } else {
                let row = self.row(&file, &name, flavor, &header)?;
                len += row.iter().flatten().map(Vec::len).sum::<usize>();
                rows.push(row);
                self.left -= 1;
            }
            self.position = next;
        }
        Ok(Some(rows))
    }

    /// Moves the position to the start of an event: MySQL continues at the next one, MariaDB
    /// refuses a position inside an event.
    fn align_position(
        &mut self,
        log: &RelayLog,
        flavor: Flavor,
        end: u64,
    ) -> Result<(), ServerError> {
        self.is_aligned = true;
        if self.position > end {
            return match flavor {
                Flavor::MySql => Ok(()),
                Flavor::MariaDb => Err(refused(&format!(
                    "Invalid pos specified. Requested from pos:{} is greater than actual file \
                     size:{end}",
                    self.position
                ))),
            };
        }
        let event = coordinates::event_at_or_after(log, self.file, self.position)
            .map_err(|error| unreadable(&error))?;
        if event != self.position && flavor == Flavor::MariaDb {
            return Err(refused("Wrong offset or I/O error"));
        }
        self.position = event;
        Ok(())
    }

    fn row(
        &self,
        file: &LogFile,
        name: &str,
        flavor: Flavor,
        header: &EventHeader,
    ) -> Result<Row, ServerError> {
        let size = header.event_size as usize;
        let mut bytes = vec![0; size.min(EVENT_READ_MAX)];
        file.read_exact_at(&mut bytes, self.position)
            .map_err(|error| unreadable(&error))?;
        let is_whole = bytes.len() == size;
        let info = event_info::info(flavor, header, &bytes, is_whole)
            .map_err(|error| damaged(name, self.position, &error))?;
        let number = |number: u64| Some(number.to_string().into_bytes());
        Ok(vec![
            Some(name.as_bytes().to_vec()),
            number(self.position),
            Some(type_name(header.event_type).as_bytes().to_vec()),
            number(header.server_id.into()),
            number(header.log_pos.into()),
            Some(info),
        ])
    }
}
