//! MySQL, followed by GTID: transactions of a source's own server that other sources have delivered, and whose records were
//! removed before the source was followed again.
//!
//! The source does not send them, because the relay log has their GTIDs. Without records it cannot be decided whether
//! they were delivered with their changes (see `with_gtids.md` of the merge). Those after the source's position are read
//! from its binlog, and counted.

use std::sync::Arc;

use super::connect::connect;
use super::dump_request::{FIRST_EVENT, request_to_end};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use super::own_gtids::{PURGED, own, unverified, without_sent};
use super::scan::{Until, scan};
use crate::gtid::GtidSet;
use crate::identity::{Executed, IdentityKind};
use crate::log_thread::{SourceCounters, unverified_warning};
use crate::position::SourcePosition;
use crate::relay_log::{RelayLog, SourceProgress};

/// Counts them in `counters`, and warns. `executed` are the transactions of the relay log, `progress` is the source's.
///
/// # Errors
/// When the source or the log cannot be read.
pub(super) async fn note(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    (progress, executed): (&SourceProgress, &Executed),
    counters: &SourceCounters,
) -> Result<(), ReceiverError> {
    let Executed::MySql(executed) = executed else {
        return Ok(());
    };
    // What precedes the start of a source counts as delivered.
    if progress.server_id != facts.server_id || progress.last.is_none() {
        return Ok(());
    }
    let removed = removed(log, own(facts, executed));
    if removed.is_empty() {
        return Ok(());
    }
    let found = match find(options, log, facts, (progress, executed), removed).await {
        Err(error) if is_about_the_binlog(&error) => {
            tracing::warn!(
                source = %options.config.name,
                "the source's binlog at {} cannot be read again, so it is not verified that its own transactions after that \
                 are those that other sources have delivered: {error}",
                progress.position
            );
            return Ok(());
        }
        found => found?,
    };
    if let Some((sid, first, _)) = found.iter_intervals().next() {
        let first = format!("{sid}:{first}");
        tracing::warn!(source = %options.config.name, "{}", unverified_warning(&first));
        let count = u64::try_from(found.count()).unwrap_or(u64::MAX);
        counters.replace_unverified(count, first);
    }
    Ok(())
}

/// It was purged, or cannot be read there (for example: its list of GTIDs is too long): then the source is followed all
/// the same. Another attempt would not help.
fn is_about_the_binlog(error: &ReceiverError) -> bool {
    match error {
        ReceiverError::Source(error) => error.code == PURGED,
        ReceiverError::Stream { .. }
        | ReceiverError::Damaged { .. }
        | ReceiverError::Transaction { .. }
        | ReceiverError::Gtid { .. }
        | ReceiverError::Setup { .. } => true,
        _ => false,
    }
}

/// Those of `own` whose records were removed: none while the log has its first file.
fn removed(log: &RelayLog, mut own: GtidSet) -> GtidSet {
    let state = log.state();
    let Executed::MySql(purged) = &state.purged else {
        return GtidSet::new();
    };
    if state.files.first() == Some(&1) {
        return GtidSet::new();
    }
    let mut recorded = own.clone();
    recorded.subtract(purged);
    own.subtract(&recorded);
    own
}

/// Those of `removed` that the source's binlog has after its position, with changes.
async fn find(
    options: &ReceiverOptions,
    log: &Arc<RelayLog>,
    facts: &SourceFacts,
    (progress, executed): (&SourceProgress, &GtidSet),
    mut removed: GtidSet,
) -> Result<GtidSet, ReceiverError> {
    // Nearly always all are in earlier files.
    if let Executed::MySql(earlier) = before_file(options, facts, &progress.position).await? {
        removed.subtract(&earlier);
    }
    if removed.is_empty() {
        return Ok(removed);
    }
    // What precedes the newest one that the source has sent was sent, or verified then.
    let unsent = without_sent(options, log, removed).await?;
    if unsent.is_empty() {
        return Ok(unsent);
    }
    unverified(unsent, options, (log, executed), facts, &progress.position).await
}

/// The transactions before the source's file at `position`, as its head says.
async fn before_file(
    options: &ReceiverOptions,
    expected: &SourceFacts,
    position: &SourcePosition,
) -> Result<Executed, ReceiverError> {
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    let head = SourcePosition::new(position.file.clone(), FIRST_EVENT);
    request_to_end(&mut connection, options, &facts, &head).await?;
    let limit = options.config.read_timeout;
    let until = Until::FirstTransaction;
    let scanned = scan(&mut connection, limit, IdentityKind::MySql, &until).await?;
    Ok(scanned.before)
}
