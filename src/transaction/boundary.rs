//! Where a transaction ends: the boundary state machine of both flavors.
//!
//! | flavor | opener | ends with |
//! |---|---|---|
//! | MySQL | GTID, then BEGIN or XA START | XID, COMMIT, ROLLBACK, XA_PREPARE |
//! | MySQL | GTID, then anything else | that statement (DDL, XA COMMIT …), payload or incident |
//! | MariaDB | GTID without `standalone` | XID, COMMIT, ROLLBACK, XA_PREPARE |
//! | MariaDB | GTID with `standalone` | the first event that is no preparation of a statement |

use crate::binlog::EventType;
use crate::binlog::query::Query;

/// Where in a transaction the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// Between transactions.
    Outside,
    /// After a MySQL opener: the next statement tells which form it is.
    Opened,
    /// In a transaction that ends with a commit.
    InGroup,
    /// In a MariaDB group of one statement.
    Standalone,
}

impl Boundary {
    /// Where the stream stands after an event that is not an opener. `query` is given of
    /// statement events. Must not be called outside a transaction.
    pub(crate) fn after(self, event_type: EventType, query: Option<&Query<'_>>) -> Boundary {
        let prepares = prepares_statement(event_type);
        match self {
            Boundary::Outside => Boundary::Outside,
            Boundary::Opened if prepares => Boundary::Opened,
            Boundary::Opened if query.is_some_and(Query::opens_transaction) => Boundary::InGroup,
            Boundary::Standalone if prepares => Boundary::Standalone,
            Boundary::Opened | Boundary::Standalone => Boundary::Outside,
            Boundary::InGroup if commits(event_type, query) => Boundary::Outside,
            Boundary::InGroup => Boundary::InGroup,
        }
    }
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
