//! Where a transaction ends: the boundary state machine of both flavors.
//!
//! | flavor | opener | ends with |
//! |---|---|---|
//! | MySQL | GTID, then BEGIN or XA START | XID, COMMIT, ROLLBACK, XA_PREPARE |
//! | MySQL | GTID, then anything else | that statement (DDL, XA COMMIT …), payload or incident |
//! | MySQL ≤ 5.6 without GTIDs | none: BEGIN, or a statement of its own | as with a GTID |
//! | MariaDB | GTID without `standalone` | XID, COMMIT, ROLLBACK, XA_PREPARE |
//! | MariaDB | GTID with `standalone` | the first event that is no preparation of a statement |

use crate::binlog::query::Query;
use crate::binlog::{EventType, FormatDescription};
use crate::flavor::Flavor;

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
