//! Where a transaction ends: the boundary state machine of both flavors.
//!
//! | flavor | opener | ends with |
//! |---|---|---|
//! | MySQL | GTID, then BEGIN or XA START | XID, COMMIT, ROLLBACK, XA_PREPARE |
//! | MySQL | GTID, then anything else | that statement (DDL, XA COMMIT …), payload or incident |
//! | MySQL ≤ 5.6 without GTIDs | none: BEGIN, or a single statement | as with a GTID |
//! | MariaDB | GTID without `standalone` | XID, COMMIT, ROLLBACK, XA_PREPARE |
//! | MariaDB | GTID with `standalone` | the first event that does not only prepare a statement |

use crate::binlog::query::Query;
use crate::binlog::{EventError, EventType, FormatDescription, Opener, event};
use crate::flavor::Flavor;

/// The state of the stream relative to transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// Between transactions.
    Outside,
    /// After a MySQL opener: the next statement decides which form the transaction has.
    Opened,
    /// In a transaction that ends with a commit.
    InGroup,
    /// In a MariaDB group of one statement.
    Standalone,
}

impl Boundary {
    /// The state after a transaction's opener.
    pub(crate) fn after_opener(opener: &Opener) -> Boundary {
        match opener {
            Opener::MySql(_) => Boundary::Opened,
            Opener::MariaDb(opener) if opener.is_standalone() => Boundary::Standalone,
            Opener::MariaDb(_) => Boundary::InGroup,
        }
    }

    /// The state after an event that is neither an opener nor a control event. `query` is given for
    /// statement events. `without_opener`: the event may begin a transaction that has no opener,
    /// see [`has_groups_without_opener`].
    pub(crate) fn after(
        self,
        event_type: EventType,
        query: Option<&Query<'_>>,
        without_opener: bool,
    ) -> Boundary {
        let prepares = prepares_statement(event_type);
        let before = match self {
            Boundary::Outside if without_opener && begins_without_opener(event_type) => {
                Boundary::Opened
            }
            before => before,
        };
        match before {
            Boundary::Outside => Boundary::Outside,
            Boundary::Opened if prepares => Boundary::Opened,
            Boundary::Opened if query.is_some_and(Query::opens_transaction) => Boundary::InGroup,
            Boundary::Standalone if prepares => Boundary::Standalone,
            Boundary::Opened | Boundary::Standalone => Boundary::Outside,
            Boundary::InGroup if commits(event_type, query) => Boundary::Outside,
            Boundary::InGroup => Boundary::InGroup,
        }
    }

    /// The state after any event, for callers that read nothing else from it. `event` is whole, or
    /// the head of a large one with `checksummed` false. Control events do not change the state.
    ///
    /// # Errors
    /// When an opener or a statement cannot be read.
    pub(crate) fn after_event(
        self,
        event_type: EventType,
        event: &[u8],
        checksummed: bool,
        without_opener: bool,
    ) -> Result<Boundary, EventError> {
        if event_type.is_gtid() {
            return Ok(Self::after_opener(&Opener::parse(event, checksummed)?));
        }
        if event_type.is_control() {
            return Ok(self);
        }
        let query = match event_type {
            EventType::QUERY => Some(Query::parse(event_type, event::body(event, checksummed))?),
            _ => None,
        };
        Ok(self.after(event_type, query.as_ref(), without_opener))
    }
}

/// Whether a server with this format description may write transactions without an opener: one
/// before MySQL 5.7, which has fewer event types. Later ones write ANONYMOUS_GTID events.
pub(crate) fn has_groups_without_opener(format: &FormatDescription) -> bool {
    format.post_header_lengths.len() < usize::from(EventType::TRANSACTION_CONTEXT.0)
        && Flavor::of_version(&format.server_version) == Flavor::MySql
}

/// Whether a transaction without opener can begin with the event. Any other, outside a
/// transaction, means that reading began in the middle of one.
pub(crate) fn begins_without_opener(event_type: EventType) -> bool {
    matches!(
        event_type,
        EventType::QUERY
            | EventType::INTVAR
            | EventType::RAND
            | EventType::USER_VAR
            | EventType::BEGIN_LOAD_QUERY
            | EventType::INCIDENT
    )
}

/// Whether the event only prepares the statement that follows it.
fn prepares_statement(event_type: EventType) -> bool {
    matches!(
        event_type,
        EventType::INTVAR
            | EventType::RAND
            | EventType::USER_VAR
            | EventType::ROWS_QUERY
            | EventType::ANNOTATE_ROWS
            | EventType::TABLE_MAP
            | EventType::BEGIN_LOAD_QUERY
            | EventType::APPEND_BLOCK
    )
}

fn commits(event_type: EventType, query: Option<&Query<'_>>) -> bool {
    match event_type {
        EventType::XID | EventType::XA_PREPARE => true,
        _ => query.is_some_and(Query::ends_transaction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::event::EventHeader;
    use crate::transaction::test_events as make;

    fn after(before: Boundary, event: &[u8], without_opener: bool) -> Boundary {
        let event_type = EventHeader::parse(event).unwrap().event_type;
        let after = before.after_event(event_type, event, true, without_opener);
        after.unwrap()
    }

    #[test]
    fn opener_decides_the_state_and_control_events_keep_it() {
        let opener = make::mysql_gtid(86, make::gtid(1, "", 1), make::clock(0, 1), 100);
        assert_eq!(after(Boundary::Outside, &opener, false), Boundary::Opened);
        let rotate = make::event(EventType::ROTATE, 86, &[4, 0, 0, 0, 0, 0, 0, 0, b'f']);
        for state in [Boundary::Outside, Boundary::Opened, Boundary::InGroup] {
            assert_eq!(after(state, &rotate, true), state);
        }
        let damaged = &opener[..30];
        let found = Boundary::Outside.after_event(EventType::GTID, damaged, false, false);
        assert!(found.is_err());
    }

    #[test]
    fn transaction_without_opener_begins_only_where_servers_write_them() {
        let intvar = make::event(EventType::INTVAR, 86, &[2, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(after(Boundary::Outside, &intvar, true), Boundary::Opened);
        assert_eq!(after(Boundary::Outside, &intvar, false), Boundary::Outside);
        let begin = make::query(86, "", "BEGIN");
        assert_eq!(after(Boundary::Outside, &begin, true), Boundary::InGroup);
        let statement = make::query(86, "test", "insert into t values (1)");
        assert_eq!(after(Boundary::Opened, &statement, true), Boundary::Outside);
        assert_eq!(
            after(Boundary::InGroup, &statement, true),
            Boundary::InGroup
        );
    }
}
