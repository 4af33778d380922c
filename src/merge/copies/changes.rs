//! Whether replicas would lack something if a transaction were dropped.

use crate::binlog::EventType;
use crate::binlog::event::{CHECKSUM_LEN, EventHeader, FLAG_THREAD_SPECIFIC, HEADER_LEN};
use crate::binlog::query::Query;
use crate::transaction::{Half, Transaction, TransactionBatch};

/// Whether the transaction certainly has changes that the filter keeps, and that every peer logs. The second half of a
/// transaction changes nothing that the first one does not bring.
///
/// Not certain are statements of which a peer that logs rows may log nothing: those that may have changed no row, and
/// those that use temporary tables.
pub fn brings_changes(batch: &TransactionBatch, transaction: &Transaction) -> bool {
    let is_second_half = matches!(
        transaction.half,
        Some(Half::XaEnded(_) | Half::AlterEnded { .. })
    );
    transaction.has_changes
        && !transaction.emptied
        && !is_second_half
        && (transaction.spill.is_some() || certainly_changes(batch, transaction))
}

/// By the transaction's events:
///
/// | statements | rows | its end | |
/// |---|---|---|---|
/// | any | some | any | certain |
/// | one outside BEGIN and COMMIT, without temporary tables | none | itself | certain: DDL |
/// | at least one without temporary tables | none | XID, XA PREPARE: a transactional table was changed | certain |
/// | any | none | a COMMIT statement: none was changed; others may have been | not certain |
/// | only with temporary tables | none | any | not certain |
fn certainly_changes(batch: &TransactionBatch, transaction: &Transaction) -> bool {
    let mut rest = batch.bytes.get(transaction.rest.clone());
    let (mut has_statement, mut ends_by_statement) = (false, false);
    while let Some(bytes) = rest.filter(|bytes| !bytes.is_empty()) {
        let Ok(header) = EventHeader::parse(bytes) else {
            return true;
        };
        let len = (header.event_size as usize).max(HEADER_LEN);
        match header.event_type {
            kind if kind.is_rows() => return true,
            EventType::TRANSACTION_PAYLOAD => return true,
            EventType::QUERY if is_keyword(&header, bytes.get(..len)) => ends_by_statement = true,
            EventType::QUERY | EventType::QUERY_COMPRESSED | EventType::EXECUTE_LOAD_QUERY => {
                has_statement |= header.flags & FLAG_THREAD_SPECIFIC == 0;
                ends_by_statement = false;
            }
            EventType::XID | EventType::XA_PREPARE => ends_by_statement = false,
            _ => {}
        }
        rest = bytes.get(len..);
    }
    has_statement && !ends_by_statement
}

fn is_keyword(header: &EventHeader, event: Option<&[u8]>) -> bool {
    let body =
        event.and_then(|event| event.get(HEADER_LEN..event.len().checked_sub(CHECKSUM_LEN)?));
    let query = body.and_then(|body| Query::parse(header.event_type, body).ok());
    query.is_some_and(|query| query.is_transaction_keyword())
}
