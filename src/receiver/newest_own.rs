//! By GTID: whether a source still has the newest transactions of its own server that the relay log contains: the one that it
//! has sent itself, and the one that any path has delivered. (Its peer may have delivered what it has written since it was
//! restored, so the latter alone proves nothing.)
//!
//! That matters where the newest transaction that was *received* from the source proves nothing: another server has
//! answered at its address since, or its file was purged. A server that was reset, or restored from an older copy, may
//! have reached the number of its newest transaction again by then. Nothing of that need reach the relay: it asks for what
//! follows that number, and MariaDB servers continue after it.
//!
//! MySQL's are compared with the others of its own transactions, see
//! [`verify_delivered_by_others`](super::own_gtids::verify_delivered_by_others).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::connect::connect;
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use super::own_gtids::{
    Comparison, PURGED, Recorded, Sent, in_binlog, lost_transactions, pinned_by, read_again,
    sent_by_itself, unreadable,
};
use super::rereading::Rereading;
use crate::config::FilterConfig;
use crate::gtid::{BinlogState, GtidPosition, MariaDbGtid};
use crate::identity::{Executed, Identity};
use crate::relay_log::{LogError, RelayLog, SourceProgress, has_new_history, highest_sent_by};

/// What the source's binlog has in the place of one of its own transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Same,
    /// A later one follows those before it.
    Lost,
    /// Another one with the same GTID.
    Other,
    /// It was purged, or the relay log has no record of it.
    Unknown,
}

/// MariaDB: verifies that the source has the newest transactions of its own server that are in `executed`, in each domain.
/// `progress` is the source's.
///
/// # Errors
/// [`ReceiverError::History`] when it has not; others when the source or the log cannot be read.
pub(super) async fn verify_mariadb(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    progress: &SourceProgress,
    executed: &Executed,
) -> Result<(), ReceiverError> {
    let Executed::MariaDb(state) = executed else {
        return Ok(());
    };
    for gtid in newest(options, log, facts, state).await? {
        match find(options, log, facts, (&progress.gtid_position, gtid)).await? {
            Found::Same => {}
            Found::Lost => return Err(lost_transactions(&gtid, None)),
            Found::Other => return Err(lost_transactions(&gtid, Some(Identity::MariaDb(gtid)))),
            Found::Unknown => tracing::info!(
                source = %options.config.name,
                "the source's own transaction {gtid} was purged there, or has no record here, so it is not verified that \
                 its binlog has it"
            ),
        }
    }
    Ok(())
}

/// Whether the source certainly has the newest transactions of its own server that are in `executed`, although the newest
/// one that was received at its address was received from another server.
///
/// # Errors
/// When the source or the log cannot be read.
pub(super) async fn is_restored(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    progress: &SourceProgress,
    executed: &Executed,
) -> Result<bool, ReceiverError> {
    match executed {
        Executed::Anonymous => Ok(false),
        Executed::MySql(set) => {
            let mut all = sent_by_itself(options, log, facts, set).await?;
            all.newest.union_with(&all.unsent);
            // What it has purged proves nothing.
            let (mut connection, answering) = connect(options).await?;
            answering.check_server(facts)?;
            let all = in_binlog(&mut connection, options, all.newest).await?;
            if all.is_empty() {
                return Ok(false);
            }
            let everything = FilterConfig::default();
            let of_log = (log, set);
            match read_again(all, options, of_log, facts, (&everything, None)).await {
                Ok(reread) => Ok(reread.has_all()),
                Err(ReceiverError::Source(error)) if error.code == PURGED => Ok(false),
                Err(error) => Err(error),
            }
        }
        Executed::MariaDb(state) => {
            let newest = newest(options, log, facts, state).await?;
            for gtid in &newest {
                let after = (&progress.gtid_position, *gtid);
                if find(options, log, facts, after).await? != Found::Same {
                    return Ok(false);
                }
            }
            Ok(!newest.is_empty())
        }
    }
}

/// MariaDB: the newest transactions of the source's own server, in each domain: the one that it has sent itself, and the one
/// that any path has delivered. Without those from before the log.
async fn newest(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    executed: &BinlogState,
) -> Result<BTreeSet<MariaDbGtid>, ReceiverError> {
    let purged = log.state().purged.clone();
    let own = executed.iter().filter(|gtid| {
        gtid.server_id == facts.server_id && !purged.contains(&Identity::MariaDb(*gtid))
    });
    let domains: BTreeSet<u32> = own.map(|gtid| gtid.domain_id).collect();
    if domains.is_empty() {
        return Ok(BTreeSet::new());
    }
    let (reader, name, server_id) = (log.clone(), options.config.name.clone(), facts.server_id);
    let of_domains = domains.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let _pin = reader.pin(pinned_by(&name));
        // A new history of the server, which was accepted, uses its numbers again.
        match has_new_history(&reader, server_id)? {
            true => Ok(None),
            false => highest_sent_by(&reader, &name, server_id, of_domains).map(Some),
        }
    });
    let sent = reading.await.map_err(|_| ReceiverError::LogClosed)?;
    let Some(sent) = sent.map_err(|cause: LogError| unreadable(&cause))? else {
        return Ok(BTreeSet::new());
    };
    let delivered = domains
        .iter()
        .filter_map(|domain_id| Some((*domain_id, executed.highest(*domain_id, server_id)?)));
    let numbers = sent.into_iter().chain(delivered);
    Ok(numbers
        .map(|(domain_id, seq_no)| MariaDbGtid {
            domain_id,
            server_id,
            seq_no,
        })
        .collect())
}

/// MariaDB: what the binlog of the server `expected` has as `gtid`. `position` is that of the source, for other domains.
async fn find(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    expected: &SourceFacts,
    (position, gtid): (&GtidPosition, MariaDbGtid),
) -> Result<Found, ReceiverError> {
    let mut before = position.clone();
    match gtid.seq_no {
        0 | 1 => {
            before.remove(gtid.domain_id);
        }
        number => before.set(MariaDbGtid {
            seq_no: number - 1,
            ..gtid
        }),
    }
    let found = match first_from(options, expected, &before, &gtid).await {
        Err(ReceiverError::Source(error)) if error.code == PURGED => None,
        found => found?,
    };
    let Some(sent) = found else {
        return Ok(Found::Unknown);
    };
    // Its commit indexes are read.
    let _pin = log.pin(pinned_by(&options.config.name));
    let recorded = Recorded::new(log.clone(), options.number);
    if sent.identity != Identity::MariaDb(gtid) {
        let is_recorded = recorded.has(Identity::MariaDb(gtid)).await?;
        return Ok(match is_recorded {
            true => Found::Lost,
            false => Found::Unknown,
        });
    }
    let (_, compared) = recorded.compare(vec![sent]).await?;
    let is_other = compared
        .iter()
        .any(|(_, found)| *found == Comparison::Other);
    let is_unknown = compared
        .iter()
        .any(|(_, found)| *found == Comparison::Unknown);
    Ok(match (is_other, is_unknown) {
        (true, _) => Found::Other,
        (_, true) => Found::Unknown,
        _ => Found::Same,
    })
}

/// MariaDB: the first transaction after `before` of the server of `gtid` and in its domain whose number is not below that
/// of `gtid`; `None` if there is none.
async fn first_from(
    options: &ReceiverOptions,
    expected: &SourceFacts,
    before: &GtidPosition,
    gtid: &MariaDbGtid,
) -> Result<Option<Sent>, ReceiverError> {
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    let everything = FilterConfig::default();
    let mut reading =
        Rereading::request_after(&mut connection, options, &facts, before, &everything).await?;
    while let Some(batch) = reading.next(&mut connection).await? {
        let found = batch.transactions.iter().find(|transaction| {
            matches!(transaction.identity, Identity::MariaDb(found)
                if found.domain_id == gtid.domain_id
                    && found.server_id == gtid.server_id
                    && found.seq_no >= gtid.seq_no)
        });
        if let Some(transaction) = found {
            return Ok(Some(Sent::new(&batch, transaction)));
        }
        batch.recycle();
    }
    Ok(None)
}
