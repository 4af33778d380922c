//! QUERY_EVENT (2), EXECUTE_LOAD_QUERY_EVENT (18) and MariaDB's QUERY_COMPRESSED_EVENT (165).
//!
//! ```text
//!  0        19          23          27       28           30
//!  | header | thread_id | exec_time | db len | error code | status vars len | …
//!  30 + post-header (13, or 26 in EXECUTE_LOAD_QUERY): | status vars | database | 0 | statement |
//! ```

use super::event::{self, EventHeader, HEADER_LEN};
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};
use super::status_variables::StatusVariables;

/// Fixed part of an EXECUTE_LOAD_QUERY event after that of a QUERY event: file id, start and end
/// of the file name in the statement, and how duplicates are handled.
const LOAD_QUERY_EXTRA_LEN: usize = 13;
/// Fixed part of a QUERY event.
const FIXED_LEN: usize = 13;
/// Offset of the length of the status variables in a whole event.
pub const STATUS_VARIABLES_LEN_AT: usize = 30;

/// The length of the fixed part (post-header) of a QUERY or EXECUTE_LOAD_QUERY event: the status
/// variables follow it.
pub fn fixed_len(event_type: EventType) -> usize {
    match event_type {
        EventType::EXECUTE_LOAD_QUERY => FIXED_LEN + LOAD_QUERY_EXTRA_LEN,
        _ => FIXED_LEN,
    }
}

/// The length of the status variables, from a whole event or the head of one.
///
/// # Errors
/// When it is truncated.
pub fn status_variables_len(event: &[u8]) -> Result<u16, EventError> {
    let mut fields = FieldReader::new("Query event", event, 0);
    fields.take("fixed part", STATUS_VARIABLES_LEN_AT)?;
    fields.u16("status variables length")
}

/// The fields of a statement event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The connection that ran the statement, on its origin.
    pub thread_id: u32,
    /// Its execution time, in seconds.
    pub exec_time: u32,
    /// The error that the statement is expected to end with.
    pub error_code: u16,
    /// The default database; empty when there was none. In CREATE, DROP and ALTER DATABASE it is
    /// the database that the statement names.
    pub database: &'a [u8],
    /// The status variables (sql_mode, character sets, time zone, …), undecoded.
    pub status_variables: &'a [u8],
    /// The statement. Incomplete when only the event's head was given; compressed in a
    /// QUERY_COMPRESSED event.
    pub statement: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads `body`, the event without its header and checksum; it may be only the head of one,
    /// as long as the database is in it.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn parse(event_type: EventType, body: &'a [u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("Query event", body, HEADER_LEN);
        let thread_id = fields.u32("thread_id")?;
        let exec_time = fields.u32("exec_time")?;
        let database_len = usize::from(fields.u8("database length")?);
        let error_code = fields.u16("error code")?;
        let variables_len = usize::from(fields.u16("status variables length")?);
        if event_type == EventType::EXECUTE_LOAD_QUERY {
            fields.take("load data fields", LOAD_QUERY_EXTRA_LEN)?;
        }
        let status_variables = fields.take("status variables", variables_len)?;
        let database = fields.take("database", database_len)?;
        let at = fields.offset();
        match fields.u8("database terminator")? {
            0 => {}
            found => return Err(fields.invalid("database terminator", at, found.into(), "0")),
        }
        let statement = fields.rest();
        Ok(Self {
            thread_id,
            exec_time,
            error_code,
            database,
            status_variables,
            statement,
        })
    }

    /// MySQL 8.0+: the storage engine's number for a DDL statement's transaction. `None` when there
    /// is none, or when it follows a variable of unknown length.
    pub fn ddl_xid(&self) -> Option<u64> {
        let variables = StatusVariables::parse(self.status_variables).ok()?;
        variables.ddl_xid
    }

    /// Whether the statement begins, ends or structures a transaction and so passes every filter: BEGIN,
    /// COMMIT, ROLLBACK, ROLLBACK TO, SAVEPOINT, XA ….
    pub fn is_transaction_keyword(&self) -> bool {
        self.statement == b"BEGIN"
            || self.statement == b"COMMIT"
            || starts_with_ignoring_case(self.statement, b"SAVEPOINT")
            || starts_with_ignoring_case(self.statement, b"ROLLBACK")
            || starts_with_ignoring_case(self.statement, b"RELEASE SAVEPOINT")
            || starts_with_ignoring_case(self.statement, b"XA ")
    }

    /// Whether the statement opens a transaction: BEGIN, START TRANSACTION or XA START.
    pub fn opens_transaction(&self) -> bool {
        self.statement == b"BEGIN"
            || starts_with_ignoring_case(self.statement, b"XA START")
            || starts_with_ignoring_case(self.statement, b"START TRANSACTION")
    }

    /// The XID of an XA transaction that the statement commits or rolls back, as the servers write
    /// it: `X'7861',X'',1`.
    pub fn ended_xid(&self) -> Option<&'a [u8]> {
        [&b"XA COMMIT "[..], b"XA ROLLBACK "]
            .iter()
            .find(|prefix| starts_with_ignoring_case(self.statement, prefix))
            .and_then(|prefix| self.statement.get(prefix.len()..))
    }

    /// Whether the statement ends a transaction: COMMIT or ROLLBACK, but not ROLLBACK TO.
    pub fn ends_transaction(&self) -> bool {
        self.statement.eq_ignore_ascii_case(b"COMMIT")
            || self.statement.eq_ignore_ascii_case(b"ROLLBACK")
    }
}

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// A BEGIN or COMMIT event without default database, to replace filtered statements.
/// `like` gives the timestamp and the server_id.
pub fn transaction_keyword(like: &EventHeader, statement: &str) -> Vec<u8> {
    const SUPPRESS_USE: u16 = 0x8; // There is no default database to switch to.
    let mut body = vec![0; 13];
    body.push(0); // The database's terminator.
    body.extend_from_slice(statement.as_bytes());
    let header = EventHeader {
        event_type: EventType::QUERY,
        flags: SUPPRESS_USE,
        log_pos: 0,
        event_size: 0,
        ..*like
    };
    event::build(header, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(database: &str, statement: &str) -> Vec<u8> {
        let mut body = 7u32.to_le_bytes().to_vec();
        body.extend_from_slice(&1u32.to_le_bytes());
        body.push(database.len() as u8);
        body.extend_from_slice(&0u16.to_le_bytes());
        body.extend_from_slice(&3u16.to_le_bytes());
        body.extend_from_slice(&[9, 9, 9]);
        body.extend_from_slice(database.as_bytes());
        body.push(0);
        body.extend_from_slice(statement.as_bytes());
        body
    }

    #[test]
    fn event_is_read_and_truncation_is_safe() {
        let bytes = body("ss-vps1", "insert into t values (1)");
        let query = Query::parse(EventType::QUERY, &bytes).unwrap();
        assert_eq!(query.database, b"ss-vps1");
        assert_eq!(query.statement, b"insert into t values (1)");
        assert_eq!(query.status_variables, &[9, 9, 9]);
        for cut in 0..bytes.len() - query.statement.len() {
            assert!(
                Query::parse(EventType::QUERY, &bytes[..cut]).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn ddl_xid_is_found_after_other_variables() {
        let mut variables = vec![0, 1, 2, 3, 4, 6, 3, b's', b't', b'd', 12, 1, b't', 0, 11];
        variables.extend([1, b'u', 0, 5, 0, 17]);
        variables.extend(258u64.to_le_bytes());
        let bytes = |variables: &[u8]| {
            let mut bytes = vec![0; 11];
            bytes.extend((variables.len() as u16).to_le_bytes());
            bytes.extend(variables);
            bytes.push(0);
            bytes
        };
        let xid = |variables: &[u8]| {
            let bytes = bytes(variables);
            Query::parse(EventType::QUERY, &bytes).unwrap().ddl_xid()
        };
        assert_eq!(xid(&variables), Some(258));
        for cut in 0..variables.len() {
            assert_eq!(xid(&variables[..cut]), None, "cut at {cut}");
        }
        variables[12] = 99;
        assert_eq!(xid(&[&[200][..], &variables].concat()), None);
    }

    #[test]
    fn transaction_keywords_are_recognised() {
        let ends = |text: &str| {
            let bytes = body("", text);
            let query = Query::parse(EventType::QUERY, &bytes).unwrap();
            (
                query.is_transaction_keyword(),
                query.opens_transaction(),
                query.ends_transaction(),
            )
        };
        assert_eq!(ends("BEGIN"), (true, true, false));
        assert_eq!(ends("COMMIT"), (true, false, true));
        assert_eq!(ends("ROLLBACK"), (true, false, true));
        assert_eq!(ends("ROLLBACK TO `s`"), (true, false, false));
        assert_eq!(ends("XA START 'a','',1"), (true, true, false));
        assert_eq!(ends("XA COMMIT 'a','',1"), (true, false, false));
        assert_eq!(ends("BEGIN_NOT"), (false, false, false));
        assert_eq!(ends("create table begin (a int)"), (false, false, false));
    }

    #[test]
    fn generated_keyword_can_be_read() {
        let like = EventHeader {
            timestamp: 5,
            event_type: EventType::GTID,
            server_id: 86,
            event_size: 80,
            log_pos: 500,
            flags: 0,
        };
        let event = transaction_keyword(&like, "COMMIT");
        event::verify_checksum(&event).unwrap();
        assert_eq!(EventHeader::parse(&event).unwrap().server_id, 86);
        let query = Query::parse(EventType::QUERY, event::body(&event, true)).unwrap();
        assert!(query.ends_transaction());
    }
}
