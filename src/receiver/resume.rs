//! Where a new connection to a source resumes.

use tokio::sync::oneshot;

use super::dump_request::StartPoint;
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::first_contact::{FirstContact, first_contact};
use super::history;
use super::log_alignment::joins_whole;
use super::options::{ReceiverContext, ReceiverOptions};
use crate::flavor::Flavor;
use crate::gtid::domain_history::up_to;
use crate::identity::{Executed, IdentityKind};
use crate::log_thread::{Continuation, DeliveredChange, Queued};
use crate::relay_log::{LogState, SourceProgress};

/// Refuses a source whose transactions are identified differently from those of the log, or of the
/// sources before it.
pub(super) fn check_kind(expected: IdentityKind, facts: &SourceFacts) -> Result<(), ReceiverError> {
    let found = facts.identity_kind();
    if found.flavor() != expected.flavor() {
        return Err(ReceiverError::Flavor {
            expected: expected.flavor(),
            found: facts.flavor,
            version: facts.version.clone(),
        });
    }
    if found == expected {
        return Ok(());
    }
    let (here, there) = match expected {
        IdentityKind::Anonymous => ("without", "with"),
        IdentityKind::MySql | IdentityKind::MariaDb => ("with", "without"),
    };
    Err(ReceiverError::setup(
        format!(
            "the source runs {there} GTIDs, but the relay log or another source runs {here} them"
        ),
        "use the same gtid_mode (ON or OFF) on all sources; to change it, start with an empty \
         data_dir and seed the replicas again",
    ))
}

/// Where to resume: after the last durable transaction, or at the configured start. Also returns the
/// source's [`SourceProgress::first_timestamp`]. `before` is the server that answered before, if one did since
/// the relay's start.
pub(super) async fn start_point(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    facts: &SourceFacts,
    before: Option<&SourceFacts>,
) -> Result<(StartPoint, u32), ReceiverError> {
    let known = {
        let state = context.log.state();
        state.sources.get(usize::from(options.number)).cloned()
    };
    let progress = match known.filter(|progress| !progress.position.is_unknown()) {
        Some(progress) => progress,
        None => join(options, context).await?,
    };
    let executed = context.log.state().executed.clone();
    if !facts.follows_by_gtid(&options.config) {
        if progress.server_id != 0
            && progress.server_id != facts.server_id
            && !history::is_same_server(options, facts, before, &progress).await?
        {
            return Err(ReceiverError::setup(
                format!(
                    "the source is another server: it has server_id {} instead of {}, and position \
                     {} is not valid there",
                    facts.server_id, progress.server_id, progress.position
                ),
                "point the address to the old server again; if the replicas have everything up to a \
                 position of this server, run binrelay continue SOURCE --at FILE:POS",
            ));
        }
        let start = StartPoint::File(progress.position);
        return Ok((start, progress.first_timestamp));
    }
    match (facts.flavor, executed) {
        (Flavor::MySql, Executed::MySql(set)) => Ok((StartPoint::Set(set), 0)),
        // Never the configured start: it is one of the history in which the source was followed first.
        _ => Ok((StartPoint::Position(progress.gtid_position), 0)),
    }
}

/// The start of a source that joins a relay log with transactions in it: the log must have had all
/// transactions before that start, because replicas would never receive them.
async fn join(
    options: &ReceiverOptions,
    context: &ReceiverContext,
) -> Result<SourceProgress, ReceiverError> {
    let contact = first_contact(options, &context.identities).await?;
    if contact.facts.identity_kind() == IdentityKind::Anonymous {
        check_history(options, context, &contact).await?;
    }
    // Read afterwards: transactions that the source has from others may have arrived meanwhile.
    let state = context.log.state().clone();
    let lacking = missing(&contact.before, &state, contact.facts.server_id);
    if let Some(missing) = lacking {
        return Err(ReceiverError::setup(
            format!(
                "the start of this source is after transactions that the relay log never had: \
                 {missing}"
            ),
            "configure an earlier start; once other sources have delivered these transactions (MySQL: or if the \
             replicas have their changes), run binrelay continue SOURCE --at earliest; otherwise start with an empty data_dir while all sources are up and seed the replicas again",
        ));
    }
    let by_position = contact.facts.flavor == Flavor::MariaDb
        && contact.facts.follows_by_gtid(&options.config)
        && !contact.progress.gtid_position.is_empty();
    if by_position {
        record_start(options, context, contact.progress.clone()).await?;
    }
    Ok(contact.progress)
}

/// MariaDB, by GTID: has the start recorded, as that of a source with which the log begins is. What the source sends
/// need not have all its domains.
async fn record_start(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    progress: SourceProgress,
) -> Result<(), ReceiverError> {
    let (done, recorded) = oneshot::channel();
    let continuation = Continuation {
        path: options.number,
        source: options.number,
        progress,
        new_history: false,
        change: DeliveredChange::None,
        done,
    };
    let queued = Queued::Continuation(Box::new(continuation));
    let sent = context.queue.batches.send(queued).await;
    sent.map_err(|_| ReceiverError::LogClosed)?;
    recorded.await.map_err(|_| ReceiverError::LogClosed)?;
    Ok(())
}

/// Without GTIDs nothing shows whether the replicas have the old transactions of a source that joins
/// later, unless the log begins where its sources' history does, and the source's binlog where its own does.
async fn check_history(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    contact: &FirstContact,
) -> Result<(), ReceiverError> {
    let has_lost = {
        let state = context.log.state();
        let mut sources = state.sources.iter();
        sources.any(|source| source.first_timestamp != 0)
    };
    let is_partial = contact.read_back_to.is_some() || contact.progress.first_timestamp != 0;
    if !is_partial
        && !has_lost
        && !context.log.begins_later()
        && joins_whole(options, context, contact).await?
    {
        return Ok(());
    }
    Err(ReceiverError::setup(
        "the source joins a relay log that began without it, and without GTIDs its old \
         transactions cannot be distinguished from new ones",
        "if the replicas have everything up to a position of the source, run binrelay continue SOURCE \
         --at FILE:POS; otherwise start with an empty data_dir while all sources are up, and seed the \
         replicas again",
    ))
}

/// Describes what the log never had of the transactions `before` a position of the server `own`.
pub(super) fn missing(before: &Executed, log: &LogState, own: u32) -> Option<String> {
    match (before, &log.executed) {
        (Executed::MySql(before), Executed::MySql(executed)) => {
            let mut rest = before.clone();
            rest.subtract(executed);
            (!rest.is_empty()).then(|| rest.to_string())
        }
        (Executed::MariaDb(before), Executed::MariaDb(_)) => {
            let (missing, earlier) = log.domain_history()?.never_had(before, own);
            if let (true, Some(earlier)) = (missing.is_empty(), up_to(&earlier)) {
                tracing::warn!(
                    "transactions of servers that no longer write to their domain count as executed before the relay \
                     log began, because of their numbers: {earlier}"
                );
            }
            up_to(&missing)
        }
        _ => None,
    }
}
