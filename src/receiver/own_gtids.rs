//! With GTIDs: whether a source still has the transactions of its own that the relay log contains.
//!
//! A server that was restored from an older copy, or has lost its newest transactions in a crash, assigns their
//! GTIDs again. Nothing of that need reach the relay: it asks for what it lacks, and MySQL servers send, and
//! replicate, no GTID twice. So before each dump:
//!
//! - The source must have executed them ([`verify_executed`]).
//! - MySQL: those that only other sources have delivered, as far as it has not sent later ones itself, are requested
//!   from it once more, and compared ([`verify_delivered_by_others`]). MariaDB continues after the numbers that it
//!   has lost, which the merge notices.

use std::fmt;
use std::sync::Arc;

use super::connect::connect;
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use super::rereading::Rereading;
use crate::config::FilterConfig;
use crate::connection::Connection;
use crate::gtid::{BinlogState, GtidSet, Uuid};
use crate::identity::{Executed, Identity};
use crate::merge::copies::Copies;
use crate::position::RecordNumber;
use crate::relay_log::ledger::IndexLedger;
use crate::relay_log::{RelayLog, SourceProgress, not_sent_by};
use crate::transaction::Transaction;

/// The error of a source that has purged what is requested.
const PURGED: u16 = 1236;

/// Verifies that the source has executed all transactions of its own that are in `executed`, the
/// transactions of the relay log.
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
            let lost = not_executed(connection, facts, set).await?;
            if lost.is_empty() {
                return Ok(());
            }
            // A source sends a transaction before it counts as executed there, and a semi-synchronous one then waits
            // for an acknowledgement, perhaps the relay's own. What is in its binlog it commits, even after a crash.
            let reread = read_again(lost, options, log, facts, set).await?;
            let mut lost = reread.missing;
            lost.union_with(&reread.unknown);
            match lost.is_empty() {
                true => Ok(()),
                false => Err(lost_transactions(&lost, reread.other)),
            }
        }
    }
}

/// MySQL: compares the transactions of the source's own server that only other sources have delivered, those after
/// the newest one that it has sent itself, with those in its binlog. `executed` are the transactions of the relay
/// log, `progress` is the source's.
///
/// # Errors
/// [`ReceiverError::History`] when one differs; others when the source or the log cannot be read.
pub(super) async fn verify_delivered_by_others(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    progress: &SourceProgress,
    executed: &Executed,
) -> Result<(), ReceiverError> {
    let Executed::MySql(set) = executed else {
        return Ok(());
    };
    // The transactions of another server at the address are those of another path.
    if progress.server_id != facts.server_id {
        return Ok(());
    }
    let unsent = unsent(options, log, own(facts, set)).await?;
    if unsent.is_empty() {
        return Ok(());
    }
    let compared = match read_again(unsent.clone(), options, log, facts, set).await {
        Err(ReceiverError::Source(error)) if error.code == PURGED => {
            tracing::info!(
                source = %options.config.name,
                "the source has purged its own transactions {unsent}, so it is not verified that they are those \
                 that other sources have delivered"
            );
            return Ok(());
        }
        compared => compared?,
    };
    match compared.other {
        None => Ok(()),
        Some(other) => Err(lost_transactions(&unsent, Some(other))),
    }
}

/// Those of `own` that the source has not sent.
async fn unsent(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    mut own: GtidSet,
) -> Result<GtidSet, ReceiverError> {
    if let Executed::MySql(purged) = &log.state().purged {
        own.subtract(purged);
    }
    if own.is_empty() {
        return Ok(own);
    }
    let (log, name) = (log.clone(), options.config.name.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let _pin = log.pin(pinned_by(&name));
        not_sent_by(&log, &name, own)
    });
    let read = reading.await.map_err(|_| ReceiverError::LogClosed)?;
    read.map_err(|cause| unreadable(&cause))
}

fn pinned_by(source: &str) -> String {
    format!("source {source}, whose history is verified")
}

fn unreadable(cause: &impl fmt::Display) -> ReceiverError {
    ReceiverError::setup(
        format!("the record of delivered transactions cannot be read: {cause}"),
        "run binrelay verify",
    )
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
    let mut own = own(facts, set);
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

/// The transactions in `set` of the source's own server.
fn own(facts: &SourceFacts, set: &GtidSet) -> GtidSet {
    let mut own = GtidSet::new();
    let uuid = facts.server_uuid.as_deref();
    let Some(uuid) = uuid.and_then(|uuid| uuid.parse::<Uuid>().ok()) else {
        return own;
    };
    for (sid, first, last) in set.iter_intervals() {
        if sid.uuid == uuid {
            own.insert_interval(sid, first, last);
        }
    }
    own
}

/// Transactions of the relay log, compared with the source's binlog.
struct Reread {
    /// Those that the binlog does not have, or only others under their GTIDs.
    missing: GtidSet,
    /// Those in the binlog of which the relay log has no record.
    unknown: GtidSet,
    /// Another transaction that the binlog has under one of the GTIDs.
    other: Option<Identity>,
}

/// Reads the transactions `wanted`, a part of `set`, once more from the source.
async fn read_again(
    wanted: GtidSet,
    options: &ReceiverOptions,
    log: &RelayLog,
    expected: &SourceFacts,
    set: &GtidSet,
) -> Result<Reread, ReceiverError> {
    // Its commit indexes are read.
    let _pin = log.pin(pinned_by(&options.config.name));
    let mut recorded = Recorded::new(log, options.number);
    let mut others = set.clone();
    others.subtract(&wanted);
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    let everything = FilterConfig::default();
    let mut reading =
        Rereading::request_all_but(&mut connection, options, &facts, &others, &everything).await?;
    let mut reread = Reread {
        missing: wanted,
        unknown: GtidSet::new(),
        other: None,
    };
    while !reread.missing.is_empty()
        && let Some(batch) = reading.next(&mut connection).await?
    {
        for transaction in &batch.transactions {
            reread.compare(transaction, &mut recorded)?;
        }
        batch.recycle();
    }
    Ok(reread)
}

impl Reread {
    fn compare(
        &mut self,
        transaction: &Transaction,
        recorded: &mut Recorded<'_>,
    ) -> Result<(), ReceiverError> {
        let identity = transaction.identity;
        let Identity::MySql(gtid) = identity else {
            return Ok(());
        };
        if !self.missing.contains(&gtid) {
            return Ok(());
        }
        let mut found = GtidSet::new();
        found.insert(gtid);
        match recorded.is_same(transaction)? {
            Some(true) => self.missing.subtract(&found),
            Some(false) => {
                self.other.get_or_insert(identity);
            }
            None => {
                self.missing.subtract(&found);
                self.unknown.insert(gtid);
            }
        }
        Ok(())
    }
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

    /// Whether the one with the GTID of `transaction` is the same; `None` without a record.
    fn is_same(&mut self, transaction: &Transaction) -> Result<Option<bool>, ReceiverError> {
        let ledger = IndexLedger {
            log_dir: self.log.log_dir(),
            source_names: &[],
            end: self.end,
            staged: &[],
        };
        let found = self
            .copies
            .find(self.path, &transaction.identity, &ledger)
            .map_err(|cause| unreadable(&cause))?;
        Ok(found.map(|delivered| !transaction.evidence().contradicts(&delivered)))
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
