//! Whether a source's binlog is still the one that was received.
//!
//! A position, or a GTID, belongs to one history. After `RESET MASTER`, or when the source was restored
//! from a copy, its binlog may contain other transactions at the same positions and under the same
//! GTIDs. To resume there would lose transactions silently. So before each dump:
//!
//! - The newest transaction that was received from the source is requested again by file and position,
//!   and compared ([`LastReceived`]). Where its file was purged, or its position cannot be requested,
//!   this proof is not available.
//! - By file and position, its binlog must have no transaction between that one and the position at which it is
//!   resumed ([`without_transactions`](super::without_transactions)).
//! - The source must have executed all transactions of its own that the relay log contains, whichever
//!   path delivered them ([`own_gtids`](super::own_gtids)). A source that has lost some of them will assign their
//!   GTIDs again.
//!
//! The position of the newest transaction is not one of another server that answers at the address: by GTID, the newest
//! of its own transactions that the relay log contains shows its history ([`newest_own`](super::newest_own)).

use super::connect::connect;
use super::error::ReceiverError;
use super::event_boundary::{begins_event, oldest_file};
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use super::rereading::Rereading;
use crate::config::FilterConfig;
use crate::connection::Connection;
use crate::position::SourcePosition;
use crate::protocol::ServerError;
use crate::relay_log::{LastReceived, SourceProgress};
use crate::transaction::{TransactionBatch, TransactionError};
use crate::utc;

/// What the source's binlog has in the place of the newest transaction that was received from it.
enum Verdict {
    /// The same transaction.
    Same,
    /// Something else; the text describes it.
    Other(String),
    /// Nothing: the source ended the dump at this position, before the end of the transaction.
    Ended(SourcePosition),
    /// The file is gone; the source's error.
    NoFile(ServerError),
}

/// Verifies that the source's binlog contains the newest transaction that was received from it.
/// `progress` is the point at which it is resumed. Returns whether that is proved; it is not where the
/// transaction's file was purged, for example.
///
/// # Errors
/// [`ReceiverError::History`] when it does not; others when the source cannot be asked.
pub(super) async fn verify_last(
    options: &ReceiverOptions,
    facts: &SourceFacts,
    progress: &SourceProgress,
) -> Result<bool, ReceiverError> {
    let Some(last) = &progress.last else {
        return Ok(false);
    };
    let is_other_server = progress.server_id != facts.server_id;
    if is_other_server || last.begin > u64::from(u32::MAX) {
        return Ok(false);
    }
    let verdict = read_last(options, facts, last).await?;
    let found = match verdict {
        Verdict::Same => return Ok(true),
        Verdict::Other(found) => found,
        Verdict::Ended(at) => format!("the end of its binlog at {at}"),
        Verdict::NoFile(error) => {
            let oldest = oldest_file(options, facts).await?;
            let end = SourcePosition::new(last.file.clone(), last.end);
            if oldest.file != end.file && oldest.precedes(&end) {
                // A purge removes the oldest files only.
                return Err(ReceiverError::History {
                    expected: format!(
                        "its file {}, from which transactions were received",
                        last.file
                    ),
                    found: format!(
                        "a binlog that begins with {} and has no such file",
                        oldest.file
                    ),
                });
            }
            if last.file == progress.position.file && !facts.follows_by_gtid(&options.config) {
                return Err(ReceiverError::Source(error));
            }
            tracing::info!(
                source = %options.config.name,
                "the source no longer has its file {}, so it is not verified that its binlog is the one \
                 that was received",
                last.file
            );
            return Ok(false);
        }
    };
    let (file, end) = (&last.file, last.end);
    Err(ReceiverError::History {
        expected: format!("the transaction that was received from it and ends at {file}:{end}"),
        found,
    })
}

/// Whether the server that answers is the one that was followed up to `progress`, although its server_id is
/// another one (`SET GLOBAL server_id`): it has the same server_uuid as `before`, the server that answered
/// last, or its binlog has the newest transaction that was received where it was received.
///
/// # Errors
/// When the source cannot be asked.
pub(super) async fn is_same_server(
    options: &ReceiverOptions,
    facts: &SourceFacts,
    before: Option<&SourceFacts>,
    progress: &SourceProgress,
) -> Result<bool, ReceiverError> {
    let uuids = before
        .and_then(|before| before.server_uuid.as_ref())
        .zip(facts.server_uuid.as_ref());
    if let Some((before, now)) = uuids
        && before != now
    {
        return Ok(false);
    }
    // Its binlog may have changed, too.
    let is_same = match &progress.last {
        Some(last) if last.begin <= u64::from(u32::MAX) => {
            matches!(read_last(options, facts, last).await?, Verdict::Same)
        }
        _ => uuids.is_some(),
    };
    if is_same {
        tracing::info!(
            source = %options.config.name,
            "the source's server_id has changed from {} to {}; its binlog is the one that was received, \
             so replication from it continues",
            progress.server_id,
            facts.server_id
        );
    }
    Ok(is_same)
}

/// Whether the newest transaction that was received is in the source's binlog, where it was received.
///
/// # Errors
/// When the source cannot be asked.
pub(super) async fn is_restored(
    options: &ReceiverOptions,
    facts: &SourceFacts,
    progress: &SourceProgress,
) -> Result<bool, ReceiverError> {
    match &progress.last {
        Some(last) => Ok(matches!(
            read_last(options, facts, last).await?,
            Verdict::Same
        )),
        None => Ok(false),
    }
}

/// Requests the newest transaction that was received from the server `expected`; again, or its whole file, where that
/// shows more. Another server may answer at the same address.
async fn read_last(
    options: &ReceiverOptions,
    expected: &SourceFacts,
    last: &LastReceived,
) -> Result<Verdict, ReceiverError> {
    let begin = SourcePosition::new(last.file.clone(), last.begin);
    match read_at(options, expected, last, &begin).await {
        // A source that is shutting down ends a dump in the same way, but accepts no new connection.
        Ok(Verdict::Ended(_)) => read_at(options, expected, last, &begin).await,
        Err(error @ (ReceiverError::Transaction { .. } | ReceiverError::Stream { .. })) => {
            match begins_event(options, expected, &begin).await? {
                true => Err(error),
                false => Ok(Verdict::Other(format!("no event that begins at {begin}"))),
            }
        }
        verdict => verdict,
    }
}

async fn read_at(
    options: &ReceiverOptions,
    expected: &SourceFacts,
    last: &LastReceived,
    begin: &SourcePosition,
) -> Result<Verdict, ReceiverError> {
    // A connection cannot be reused after an aborted dump.
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    let everything = FilterConfig::default();
    let mut reading =
        Rereading::request(&mut connection, options, &facts, begin, &everything).await?;
    match find_last(&mut reading, &mut connection, last).await {
        Err(ReceiverError::Source(error)) if is_unknown_file(&error.message) => {
            Ok(Verdict::NoFile(error))
        }
        Err(ReceiverError::Source(error)) if is_unknown_position(&error.message) => {
            Ok(Verdict::Other(format!("the error \"{}\"", error.message)))
        }
        Err(
            error @ ReceiverError::Transaction {
                cause: TransactionError::OutsideTransaction { .. },
                ..
            },
        ) => Ok(Verdict::Other(format!("\"{error}\""))),
        outcome => outcome,
    }
}

/// Reads up to the end of the newest transaction that was received.
async fn find_last(
    reading: &mut Rereading<'_>,
    connection: &mut Connection,
    last: &LastReceived,
) -> Result<Verdict, ReceiverError> {
    while let Some(batch) = reading.next(connection).await? {
        if let Some(verdict) = verdict(&batch, last) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Ended(reading.position.at.clone()))
}

/// Compares the newest transaction of `batch`; `None` before the one that was received.
fn verdict(batch: &TransactionBatch, last: &LastReceived) -> Option<Verdict> {
    let transaction = batch.transactions.last()?;
    let (file, end) = (&batch.source_end.file, transaction.source_offset);
    let is_same_file = *file == last.file;
    if is_same_file && end < last.end {
        return None;
    }
    let is_same_end = is_same_file && end == last.end;
    if is_same_end && transaction.history_digest() == last.digest {
        return Some(Verdict::Same);
    }
    Some(Verdict::Other(describe(batch)))
}

/// The newest transaction of `batch`, which is not the one that is expected.
pub(super) fn describe(batch: &TransactionBatch) -> String {
    let Some(transaction) = batch.transactions.last() else {
        return "another transaction".to_owned();
    };
    let time = utc::microseconds(transaction.commit_time_us).unwrap_or_default();
    format!(
        "another transaction ({}, committed at {time}, ending at {}:{})",
        transaction.identity, batch.source_end.file, transaction.source_offset
    )
}

/// Whether the message of error 1236 says that the file does not exist.
pub(super) fn is_unknown_file(message: &str) -> bool {
    message.contains("Could not find first log file name")
}

/// Whether the message of error 1236 says that no event begins at the position. All servers raise
/// `max_allowed_packet` to its maximum for a dump, so an event that exceeds it is none.
pub(super) fn is_unknown_position(message: &str) -> bool {
    const MESSAGES: [&str; 5] = [
        "position > file size",
        "impossible position",
        "bogus data in log event",
        "truncated in the middle of event",
        "log event entry exceeded max_allowed_packet",
    ];
    MESSAGES.iter().any(|text| message.contains(text))
}
