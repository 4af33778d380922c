//! With GTIDs: whether a source still has the transactions of its own that the relay log contains.
//!
//! A server that was restored from an older copy, or has lost its newest transactions in a crash, assigns their
//! GTIDs again. Nothing of that need reach the relay: it asks for what it lacks, and MySQL servers send, and
//! replicate, no GTID twice. So before each dump:
//!
//! - The source must have executed them ([`verify_executed`]).
//! - MySQL: those that only other sources have delivered, as far as it has not sent later ones itself, are requested
//!   from it once more, and compared ([`verify_delivered_by_others`]). So is the newest one that it has sent, where its binlog
//!   does not prove otherwise that it is the one that was received: another server has answered at its address since, for example.
//!   MariaDB continues after the numbers that it has lost, which the merge notices; see also
//!   [`newest_own`](super::newest_own).

use std::fmt;
use std::sync::Arc;

use super::connect::{connect, within};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use super::rereading::Rereading;
use super::source_queries::purged_set;
use crate::config::FilterConfig;
use crate::connection::Connection;
use crate::gtid::{BinlogState, GtidSet, Uuid};
use crate::identity::{CopyEvidence, Executed, Identity};
use crate::merge::copies::{Copies, brings_changes};
use crate::position::{RecordNumber, SourcePosition};
use crate::relay_log::ledger::IndexLedger;
use crate::relay_log::{RelayLog, SentByServer, SourceProgress, sent_by};
use crate::transaction::{Transaction, TransactionBatch};

/// The error of a source that has purged what is requested.
pub(super) const PURGED: u16 = 1236;

/// Verifies that the source has executed all transactions of its own that are in `executed`, the
/// transactions of the relay log.
///
/// # Errors
/// [`ReceiverError::History`] when it has not; others when the source cannot be asked.
pub(super) async fn verify_executed(
    connection: &mut Connection,
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    executed: &Executed,
) -> Result<(), ReceiverError> {
    let limit = options.config.read_timeout;
    match executed {
        Executed::Anonymous => Ok(()),
        Executed::MariaDb(state) => {
            match within(limit, lost_mariadb(connection, facts, state)).await? {
                None => Ok(()),
                Some(lost) => Err(lost_transactions(&lost, None)),
            }
        }
        Executed::MySql(set) => {
            let lost = within(limit, not_executed(connection, facts, set)).await?;
            if lost.is_empty() {
                return Ok(());
            }
            // A source sends a transaction before it counts as executed there, and a semi-synchronous one then waits
            // for an acknowledgement, perhaps the relay's own. What is in its binlog it commits, even after a crash.
            let everything = FilterConfig::default();
            let reread = read_again(lost, options, (log, set), facts, (&everything, None)).await?;
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
/// the newest one that it has sent itself, with those in its binlog; unless it `is_proved` otherwise that its binlog is the
/// one that was received, also that newest one. `executed` are the transactions of the relay log, `progress` is the source's.
///
/// # Errors
/// [`ReceiverError::History`] when one differs; others when the source or the log cannot be read.
pub(super) async fn verify_delivered_by_others(
    connection: &mut Connection,
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    (progress, is_proved): (&SourceProgress, bool),
    executed: &Executed,
) -> Result<(), ReceiverError> {
    let Executed::MySql(set) = executed else {
        return Ok(());
    };
    let SentByServer { newest, unsent } = sent_by_itself(options, log, facts, set).await?;
    let mut wanted = unsent.clone();
    if !is_proved {
        wanted.union_with(&newest);
    }
    let wanted = in_binlog(connection, options, wanted).await?;
    if wanted.is_empty() {
        return Ok(());
    }
    // Whether the changes up to the source's position were delivered was decided when it was received, or verified, or
    // an administrator has continued the source there.
    let decided = Some(&progress.position).filter(|position| !position.is_unknown());
    let everything = FilterConfig::default();
    let of_log = (log, set);
    let of_binlog = (&everything, decided);
    let compared = match read_again(wanted.clone(), options, of_log, facts, of_binlog).await {
        Err(ReceiverError::Source(error)) if error.code == PURGED => {
            note_purged(options, &wanted);
            return Ok(());
        }
        compared => compared?,
    };
    if let Some(other) = compared.other {
        return Err(lost_transactions(&wanted, Some(other)));
    }
    let mut lacking = compared.without_changes;
    lacking.subtract(&newest);
    // At an address that was moved, the position is another server's: what was decided is not known.
    if lacking.is_empty() || progress.server_id != facts.server_id {
        return Ok(());
    }
    // The source's rules may drop the changes, too.
    let filter = options.config.filter.current();
    let compared = read_again(lacking, options, of_log, facts, (&filter, decided)).await?;
    match compared.end_of_changes {
        None => Ok(()),
        Some(end) => Err(ReceiverError::Refused(format!(
            "{} were delivered without their changes: the server that sent them has filtered or skipped these. Replicas \
             have the GTIDs and lack the changes; if they need them, execute those of the source's binlog up to {end} on \
             each replica (SET sql_log_bin=0), and run binrelay continue SOURCE --at {end}",
            compared.without_changes
        ))),
    }
}

/// MySQL: those of `wanted` that the source has not purged.
pub(super) async fn in_binlog(
    connection: &mut Connection,
    options: &ReceiverOptions,
    mut wanted: GtidSet,
) -> Result<GtidSet, ReceiverError> {
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let purged = within(options.config.read_timeout, purged_set(connection)).await?;
    let mut found = wanted.clone();
    found.subtract(&purged);
    wanted.subtract(&found);
    if !wanted.is_empty() {
        note_purged(options, &wanted);
    }
    Ok(found)
}

fn note_purged(options: &ReceiverOptions, purged: &GtidSet) {
    tracing::info!(
        source = %options.config.name,
        "the source has purged its own transactions {purged}, so it is not verified that they are those that the relay \
         log contains"
    );
}

/// MySQL: which of its own transactions in `set`, those of the relay log, the server that answers has sent itself, without
/// those from before the log.
pub(super) async fn sent_by_itself(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    set: &GtidSet,
) -> Result<SentByServer, ReceiverError> {
    let mut own = own(facts, set);
    if let Executed::MySql(purged) = &log.state().purged {
        own.subtract(purged);
    }
    if own.is_empty() {
        return Ok(SentByServer::default());
    }
    let (log, name, server_id) = (log.clone(), options.config.name.clone(), facts.server_id);
    let reading = tokio::task::spawn_blocking(move || {
        let _pin = log.pin(pinned_by(&name));
        sent_by(&log, &name, server_id, &own)
    });
    let read = reading.await.map_err(|_| ReceiverError::LogClosed)?;
    read.map_err(|cause| unreadable(&cause))
}

pub(super) fn pinned_by(source: &str) -> String {
    format!("source {source}, whose history is verified")
}

pub(super) fn unreadable(cause: &impl fmt::Display) -> ReceiverError {
    ReceiverError::setup(
        format!("the record of delivered transactions cannot be read: {cause}"),
        "run binrelay verify",
    )
}

/// `other`: another transaction that the binlog has under a GTID of `lost`.
pub(super) fn lost_transactions(
    lost: &impl fmt::Display,
    other: Option<Identity>,
) -> ReceiverError {
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
pub(super) struct Reread {
    /// Those that the binlog does not have, or only others under their GTIDs.
    missing: GtidSet,
    /// Those in the binlog of which the relay log has no record.
    unknown: GtidSet,
    /// Another transaction that the binlog has under one of the GTIDs.
    other: Option<Identity>,
    /// Those that have changes in the binlog, and none in the relay log.
    without_changes: GtidSet,
    /// The end of the last one of these.
    end_of_changes: Option<SourcePosition>,
}

/// Reads the transactions `wanted`, a part of `set`, those of the relay log, once more from the source, as `filter`
/// filters them. Those up to `decided` may have been delivered without their changes.
pub(super) async fn read_again(
    wanted: GtidSet,
    options: &ReceiverOptions,
    (log, set): (&Arc<RelayLog>, &GtidSet),
    expected: &SourceFacts,
    (filter, decided): (&FilterConfig, Option<&SourcePosition>),
) -> Result<Reread, ReceiverError> {
    // Its commit indexes are read.
    let _pin = log.pin(pinned_by(&options.config.name));
    let mut recorded = Recorded::new(log.clone(), options.number);
    let mut others = set.clone();
    others.subtract(&wanted);
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    let mut reading =
        Rereading::request_all_but(&mut connection, options, &facts, &others, filter).await?;
    let mut reread = Reread {
        missing: wanted,
        unknown: GtidSet::new(),
        other: None,
        without_changes: GtidSet::new(),
        end_of_changes: None,
    };
    while !reread.missing.is_empty()
        && let Some(batch) = reading.next(&mut connection).await?
    {
        let sent = batch.transactions.iter();
        let sent = sent.filter(|transaction| reread.is_wanted(&transaction.identity));
        let mut sent: Vec<Sent> = sent
            .map(|transaction| Sent::new(&batch, transaction))
            .collect();
        batch.recycle();
        for sent in &mut sent {
            let is_decided = decided.is_some_and(|position| !position.precedes(&sent.end));
            sent.brings_changes &= !is_decided;
        }
        if !sent.is_empty() {
            let compared;
            (recorded, compared) = recorded.compare(sent).await?;
            compared.into_iter().for_each(|one| reread.note(one));
        }
    }
    Ok(reread)
}

impl Reread {
    /// Whether the binlog has all that were wanted, as far as they were delivered with their changes.
    pub(super) fn has_all(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_empty() && self.other.is_none()
    }

    fn is_wanted(&self, identity: &Identity) -> bool {
        matches!(identity, Identity::MySql(gtid) if self.missing.contains(gtid))
    }

    fn note(&mut self, (sent, compared): (Sent, Comparison)) {
        let Identity::MySql(gtid) = sent.identity else {
            return;
        };
        if compared == Comparison::Other {
            self.other.get_or_insert(sent.identity);
            return;
        }
        let mut found = GtidSet::new();
        found.insert(gtid);
        self.missing.subtract(&found);
        match compared {
            Comparison::Same | Comparison::Other => {}
            Comparison::Unknown => {
                self.unknown.insert(gtid);
            }
            Comparison::WithoutChanges => {
                self.without_changes.insert(gtid);
                self.end_of_changes = Some(sent.end);
            }
        }
    }
}

/// A transaction of the source's binlog.
pub(super) struct Sent {
    pub(super) identity: Identity,
    evidence: CopyEvidence,
    brings_changes: bool,
    end: SourcePosition,
}

impl Sent {
    pub(super) fn new(batch: &TransactionBatch, transaction: &Transaction) -> Self {
        Self {
            identity: transaction.identity,
            evidence: transaction.evidence(),
            brings_changes: brings_changes(batch, transaction),
            end: SourcePosition::new(batch.source_end.file.clone(), transaction.source_offset),
        }
    }
}

/// How the transaction with the same GTID in the relay log compares with one of the source's binlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Same,
    Other,
    /// There is no record of it.
    Unknown,
    /// It was delivered without the changes that the source has.
    WithoutChanges,
}

/// The transactions of the relay log that have records.
pub(super) struct Recorded {
    log: Arc<RelayLog>,
    /// The path that looks them up.
    path: u16,
    end: RecordNumber,
    copies: Copies,
}

impl Recorded {
    /// Those that are in the log now.
    pub(super) fn new(log: Arc<RelayLog>, path: u16) -> Self {
        let (newest, purged) = {
            let state = log.state();
            (
                state.files.last().copied().unwrap_or(1),
                state.purged.clone(),
            )
        };
        Self {
            log,
            path,
            // What is not written yet is not needed.
            end: RecordNumber {
                file: newest,
                record: u64::MAX,
            },
            copies: Copies::new(purged),
        }
    }

    /// Compares transactions with those of the log. Commit indexes are read, which can take long.
    pub(super) async fn compare(
        mut self,
        transactions: Vec<Sent>,
    ) -> Result<(Self, Vec<(Sent, Comparison)>), ReceiverError> {
        let comparing = tokio::task::spawn_blocking(move || {
            let compared = transactions.into_iter().map(|sent| {
                let comparison = self.compare_one(&sent)?;
                Ok((sent, comparison))
            });
            let compared = compared.collect::<Result<Vec<_>, ReceiverError>>()?;
            Ok((self, compared))
        });
        comparing.await.map_err(|_| ReceiverError::LogClosed)?
    }

    /// Whether the transaction has a record.
    pub(super) async fn has(mut self, identity: Identity) -> Result<bool, ReceiverError> {
        let finding = tokio::task::spawn_blocking(move || self.find(&identity));
        let found = finding.await.map_err(|_| ReceiverError::LogClosed)??;
        Ok(found.is_some())
    }

    fn find(&mut self, identity: &Identity) -> Result<Option<CopyEvidence>, ReceiverError> {
        let ledger = IndexLedger {
            log_dir: self.log.log_dir(),
            source_names: &[],
            end: self.end,
            staged: &[],
        };
        let found = self.copies.find(self.path, identity, &ledger);
        found.map_err(|cause| unreadable(&cause))
    }

    fn compare_one(&mut self, sent: &Sent) -> Result<Comparison, ReceiverError> {
        Ok(match self.find(&sent.identity)? {
            None => Comparison::Unknown,
            Some(delivered) if !delivered.has_changes && sent.brings_changes => {
                Comparison::WithoutChanges
            }
            Some(delivered) if sent.evidence.contradicts(&delivered) => Comparison::Other,
            Some(_) => Comparison::Same,
        })
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
