//! Whether a source's binlog is still the one that was received.
//!
//! A position, or a GTID, belongs to one history. After `RESET MASTER`, or when the source was restored
//! from a copy, its binlog may contain other transactions at the same positions and under the same
//! GTIDs. To resume there would lose transactions silently. So before each dump:
//!
//! - The newest transaction that was received from the source is requested again by file and position,
//!   and compared ([`LastReceived`]). Where its file was purged, or its position cannot be requested,
//!   this proof is not available.
//! - The source must have executed all transactions of its own that the relay log contains, whichever
//!   path delivered them. A source that has lost some of them will assign their GTIDs again.
//!
//! Neither holds for another server that answers at the address: with GTIDs only its own history counts.

use std::fmt;

use super::connect::connect;
use super::error::ReceiverError;
use super::event_boundary::{begins_event, oldest_file};
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use super::rereading::Rereading;
use crate::config::FilterConfig;
use crate::connection::Connection;
use crate::gtid::{BinlogState, GtidSet, Uuid};
use crate::identity::{Executed, Identity};
use crate::merge::copies::Copies;
use crate::position::{RecordNumber, SourcePosition};
use crate::protocol::ServerError;
use crate::relay_log::ledger::IndexLedger;
use crate::relay_log::{LastReceived, RelayLog, SourceProgress};
use crate::transaction::{Transaction, TransactionBatch, TransactionError};
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
    let verdict = read_last(options, last).await?;
    let found = match verdict {
        Verdict::Same => return Ok(true),
        Verdict::Other(found) => found,
        Verdict::Ended(at) => format!("the end of its binlog at {at}"),
        Verdict::NoFile(error) => {
            let oldest = oldest_file(options).await?;
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
            matches!(read_last(options, last).await?, Verdict::Same)
        }
        _ => uuids.is_some(),
    };
    if is_same {
        tracing::info!(
            source = %options.config.name,
            "the source's server_id has changed from {} to {}; its binlog is the one that was received, \
             so it is followed further",
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
    progress: &SourceProgress,
) -> Result<bool, ReceiverError> {
    match &progress.last {
        Some(last) => Ok(matches!(read_last(options, last).await?, Verdict::Same)),
        None => Ok(false),
    }
}

/// Requests the newest transaction that was received; again, or its whole file, where that shows more.
async fn read_last(
    options: &ReceiverOptions,
    last: &LastReceived,
) -> Result<Verdict, ReceiverError> {
    let begin = SourcePosition::new(last.file.clone(), last.begin);
    match read_at(options, last, &begin).await {
        // A source that is shutting down ends a dump in the same way, but accepts no new connection.
        Ok(Verdict::Ended(_)) => read_at(options, last, &begin).await,
        Err(error @ (ReceiverError::Transaction { .. } | ReceiverError::Stream { .. })) => {
            match begins_event(options, &begin).await? {
                true => Err(error),
                false => Ok(Verdict::Other(format!("no event that begins at {begin}"))),
            }
        }
        verdict => verdict,
    }
}

async fn read_at(
    options: &ReceiverOptions,
    last: &LastReceived,
    begin: &SourcePosition,
) -> Result<Verdict, ReceiverError> {
    // A connection cannot be reused after an aborted dump.
    let (mut connection, facts) = connect(options).await?;
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
    let time = utc::microseconds(transaction.commit_time_us).unwrap_or_default();
    Some(Verdict::Other(format!(
        "another transaction ({}, committed at {time}, ending at {file}:{end})",
        transaction.identity
    )))
}

/// Whether the message of error 1236 says that the file does not exist.
fn is_unknown_file(message: &str) -> bool {
    message.contains("Could not find first log file name")
}

/// Whether the message of error 1236 says that no event begins at the position. All servers raise
/// `max_allowed_packet` to its maximum for a dump, so an event that exceeds it is none.
fn is_unknown_position(message: &str) -> bool {
    const MESSAGES: [&str; 5] = [
        "position > file size",
        "impossible position",
        "bogus data in log event",
        "truncated in the middle of event",
        "log event entry exceeded max_allowed_packet",
    ];
    MESSAGES.iter().any(|text| message.contains(text))
}

/// Verifies that the source has executed all transactions of its own that are in `executed`, the
/// transactions of the relay log.
///
/// It is asked once: a source that has lost some of them looks right again as soon as it has assigned their
/// GTIDs to others.
///
/// # Errors
/// [`ReceiverError::History`] when it has not; others when the source cannot be asked.
pub(super) async fn verify_executed(
    connection: &mut Connection,
    options: &ReceiverOptions,
    log: &RelayLog,
    facts: &SourceFacts,
    executed: &Executed,
) -> Result<(), ReceiverError> {
    match executed {
        Executed::Anonymous => Ok(()),
        Executed::MariaDb(state) => match lost_mariadb(connection, facts, state).await? {
            None => Ok(()),
            Some(lost) => Err(lost_transactions(&lost, None)),
        },
        Executed::MySql(set) => {
            let mut lost = not_executed(connection, facts, set).await?;
            if lost.is_empty() {
                return Ok(());
            }
            let other = subtract_logged(&mut lost, options, log, facts, set).await?;
            match lost.is_empty() {
                true => Ok(()),
                false => Err(lost_transactions(&lost, other)),
            }
        }
    }
}

/// `other`: another transaction that the binlog has under a GTID of `lost`.
fn lost_transactions(lost: &impl fmt::Display, other: Option<Identity>) -> ReceiverError {
    ReceiverError::History {
        expected: format!("its own transactions {lost}, which the relay log contains"),
        found: match other {
            None => "a binlog without them".to_owned(),
            Some(gtid) => format!("a binlog with another transaction {gtid}"),
        },
    }
}

/// MySQL: the source's own transactions in `set` that it has not executed.
async fn not_executed(
    connection: &mut Connection,
    facts: &SourceFacts,
    set: &GtidSet,
) -> Result<GtidSet, ReceiverError> {
    let mut own = GtidSet::new();
    let uuid = facts.server_uuid.as_deref();
    let Some(uuid) = uuid.and_then(|uuid| uuid.parse::<Uuid>().ok()) else {
        return Ok(own);
    };
    for (sid, first, last) in set.iter_intervals() {
        if sid.uuid == uuid {
            own.insert_interval(sid, first, last);
        }
    }
    if own.is_empty() {
        return Ok(own);
    }
    let answer = connection.query("SELECT @@GLOBAL.gtid_executed").await?;
    let text = answer.single().unwrap_or_default();
    let executed: GtidSet = text.parse().map_err(|cause| ReceiverError::Gtid {
        what: "the source's gtid_executed",
        cause,
    })?;
    own.subtract(&executed);
    Ok(own)
}

/// Removes from `lost`, a part of `set`, what is in the source's binlog as it is in the relay log. A source
/// sends a transaction before it counts as executed there, and a semi-synchronous one then waits for an
/// acknowledgement, perhaps the relay's own. What is in its binlog it commits, even after a crash.
///
/// Returns another transaction that the binlog has under one of the GTIDs.
async fn subtract_logged(
    lost: &mut GtidSet,
    options: &ReceiverOptions,
    log: &RelayLog,
    expected: &SourceFacts,
    set: &GtidSet,
) -> Result<Option<Identity>, ReceiverError> {
    // Its commit indexes are read.
    let _pin = log.pin(format!(
        "source {}, whose history is verified",
        options.config.name
    ));
    let mut recorded = Recorded::new(log, options.number);
    let mut others = set.clone();
    others.subtract(lost);
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    let everything = FilterConfig::default();
    let mut reading =
        Rereading::request_all_but(&mut connection, options, &facts, &others, &everything).await?;
    let mut other = None;
    while let Some(batch) = reading.next(&mut connection).await? {
        for transaction in &batch.transactions {
            let identity = transaction.identity;
            let Identity::MySql(gtid) = identity else {
                continue;
            };
            if !lost.contains(&gtid) {
                continue;
            }
            if recorded.has(transaction)? {
                let mut found = GtidSet::new();
                found.insert(gtid);
                lost.subtract(&found);
            } else {
                other.get_or_insert(identity);
            }
        }
        batch.recycle();
        if lost.is_empty() {
            break;
        }
    }
    Ok(other)
}

/// The transactions of the relay log that have records.
struct Recorded<'a> {
    log: &'a RelayLog,
    /// The path that looks them up.
    path: u16,
    end: RecordNumber,
    copies: Copies,
}

impl<'a> Recorded<'a> {
    /// Those that are in the log now.
    fn new(log: &'a RelayLog, path: u16) -> Self {
        let state = log.state();
        let newest = state.files.last().copied().unwrap_or(1);
        Self {
            log,
            path,
            // What is not written yet is not needed.
            end: RecordNumber {
                file: newest,
                record: u64::MAX,
            },
            copies: Copies::new(state.purged.clone()),
        }
    }

    /// Whether one of them is `transaction`, not only another one with its GTID.
    fn has(&mut self, transaction: &Transaction) -> Result<bool, ReceiverError> {
        let ledger = IndexLedger {
            log_dir: self.log.log_dir(),
            source_names: &[],
            end: self.end,
            staged: &[],
        };
        let found = self
            .copies
            .find(self.path, &transaction.identity, &ledger)
            .map_err(|cause| {
                ReceiverError::setup(
                    format!("the record of delivered transactions cannot be read: {cause}"),
                    "run binrelay verify",
                )
            })?;
        Ok(found.is_some_and(|delivered| !transaction.evidence().contradicts(&delivered)))
    }
}

/// The source's own transactions that it has lost: the newest GTID of each domain. What waits for a replica's
/// acknowledgement is not among them: `gtid_binlog_state` has everything that is in the binlog.
async fn lost_mariadb(
    connection: &mut Connection,
    facts: &SourceFacts,
    state: &BinlogState,
) -> Result<Option<String>, ReceiverError> {
    let mut own = state
        .iter()
        .filter(|gtid| gtid.server_id == facts.server_id);
    let Some(first) = own.next() else {
        return Ok(None);
    };
    let answer = connection
        .query("SELECT @@GLOBAL.gtid_binlog_state")
        .await?;
    let text = answer.single().unwrap_or_default();
    let executed: BinlogState = text.parse().map_err(|cause| ReceiverError::Gtid {
        what: "the source's gtid_binlog_state",
        cause,
    })?;
    let lost = std::iter::once(first)
        .chain(own)
        .filter(|gtid| !executed.contains(gtid));
    let lost: Vec<String> = lost.map(|gtid| format!("up to {gtid}")).collect();
    Ok((!lost.is_empty()).then(|| lost.join(", ")))
}
