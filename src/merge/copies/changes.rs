//! Whether replicas would lack something if a transaction were dropped.

use crate::binlog::EventType;
use crate::binlog::event::{CHECKSUM_LEN, EventHeader, FLAG_THREAD_SPECIFIC, HEADER_LEN};
use crate::binlog::query::Query;
use crate::transaction::{Half, TemporaryTableChange, Transaction, TransactionBatch};

/// Whether the transaction has changes that the filter keeps, other than dropping temporary tables: a peer that has
/// not logged the statements with them does not log that they are dropped. The second half of a transaction changes
/// nothing that the first one does not bring.
pub fn brings_changes(batch: &TransactionBatch, transaction: &Transaction) -> bool {
    let is_second_half = matches!(
        transaction.half,
        Some(Half::XaEnded(_) | Half::AlterEnded { .. })
    );
    transaction.has_changes
        && !transaction.emptied
        && !is_second_half
        && !only_drops_temporary_tables(batch, transaction)
}

fn only_drops_temporary_tables(batch: &TransactionBatch, transaction: &Transaction) -> bool {
    let mut dropping = transaction.temporary_tables.iter();
    let statements = dropping.len();
    let is_drop =
        dropping.all(|statement| matches!(statement.change, TemporaryTableChange::Dropped { .. }));
    if statements == 0 || !is_drop || transaction.spill.is_some() {
        return false;
    }
    let mut rest = batch.bytes.get(transaction.rest.clone());
    let mut found = 0;
    while let Some(bytes) = rest.filter(|bytes| !bytes.is_empty()) {
        let Ok(header) = EventHeader::parse(bytes) else {
            return false;
        };
        let len = header.event_size as usize;
        match header.event_type {
            EventType::XID => {}
            EventType::QUERY | EventType::QUERY_COMPRESSED
                if header.flags & FLAG_THREAD_SPECIFIC != 0 =>
            {
                found += 1;
            }
            EventType::QUERY if is_keyword(&header, bytes.get(..len)) => {}
            _ => return false,
        }
        rest = bytes.get(len.max(HEADER_LEN)..);
    }
    // Another statement may use a temporary table and change a table.
    rest.is_some() && found == statements
}

fn is_keyword(header: &EventHeader, event: Option<&[u8]>) -> bool {
    let body =
        event.and_then(|event| event.get(HEADER_LEN..event.len().checked_sub(CHECKSUM_LEN)?));
    let query = body.and_then(|body| Query::parse(header.event_type, body).ok());
    query.is_some_and(|query| query.is_transaction_keyword())
}
