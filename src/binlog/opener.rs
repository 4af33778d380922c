//! The event that opens a transaction, of either flavor.

use super::event_type::EventType;
use super::fields::EventError;
use super::mariadb_gtid::MariaDbGtidEvent;
use super::mysql_gtid::{LogicalClock, MySqlGtidEvent};

/// Offset of the type in an event's header.
const TYPE_AT: usize = 4;

/// A transaction's opener: its GTID event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// GTID_EVENT, ANONYMOUS_GTID_EVENT or GTID_TAGGED of MySQL.
    MySql(MySqlGtidEvent),
    /// GTID_EVENT of MariaDB.
    MariaDb(MariaDbGtidEvent),
}

impl Opener {
    /// Reads a whole event with its header and, when `checksummed`, its checksum.
    ///
    /// # Errors
    /// When the event is of another type (see [`EventType::is_gtid`]), is truncated, or a field
    /// holds a value that no server writes.
    pub fn parse(event: &[u8], checksummed: bool) -> Result<Self, EventError> {
        match event.get(TYPE_AT).copied().map(EventType) {
            Some(EventType::MARIADB_GTID) => {
                MariaDbGtidEvent::parse(event, checksummed).map(Opener::MariaDb)
            }
            Some(event_type) if !event_type.is_gtid() => Err(EventError::Invalid {
                event: "Gtid event",
                field: "type",
                offset: TYPE_AT,
                found: event_type.0.into(),
                expected: "33, 34 or 42 (MySQL) or 162 (MariaDB)",
            }),
            _ => MySqlGtidEvent::parse(event, checksummed).map(Opener::MySql),
        }
    }

    /// MySQL 5.7+: the source's logical clock for the transaction.
    pub fn clock(&self) -> Option<LogicalClock> {
        match self {
            Opener::MySql(opener) => opener.clock,
            Opener::MariaDb(_) => None,
        }
    }

    /// MySQL 8.0+: bytes of the whole transaction, its opener included.
    pub fn transaction_length(&self) -> Option<u64> {
        match self {
            Opener::MySql(opener) => opener.transaction_length,
            Opener::MariaDb(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::event::{self, EventHeader};

    fn event(event_type: EventType, body: &[u8]) -> Vec<u8> {
        let header = EventHeader {
            timestamp: 1,
            event_type,
            server_id: 18,
            event_size: 0,
            log_pos: 0,
            flags: 0,
        };
        event::build(header, body)
    }

    #[test]
    fn type_decides_the_flavor() {
        let body = [1; 25];
        for (event_type, has_gtid) in [
            (EventType::GTID, true),
            (EventType::ANONYMOUS_GTID, false),
            (EventType::MARIADB_GTID, true),
        ] {
            let event = event(event_type, &body);
            let found = match Opener::parse(&event, true).unwrap() {
                Opener::MySql(opener) => opener.gtid.is_some(),
                Opener::MariaDb(opener) => opener.gtid.server_id == 18,
            };
            assert_eq!(found, has_gtid, "{event_type}");
        }
    }

    #[test]
    fn event_of_another_type_or_truncated_is_refused() {
        let query = event(EventType::QUERY, &[1; 25]);
        let error = Opener::parse(&query, true).unwrap_err().to_string();
        let expected =
            "Gtid event: type at byte 4 is 2, expected 33, 34 or 42 (MySQL) or 162 (MariaDB)";
        assert_eq!(error, expected);
        for event_type in [EventType::GTID, EventType::MARIADB_GTID] {
            let whole = event(event_type, &[1; 25]);
            for len in 0..20 {
                assert!(Opener::parse(&whole[..len], false).is_err(), "length {len}");
            }
        }
    }
}
