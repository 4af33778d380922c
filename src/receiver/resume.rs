//! Where a connection to a source goes on.

use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::start::{self, StartPoint};
use super::{ReceiverOptions, Shared};
use crate::config::SourceStart;
use crate::flavor::Flavor;
use crate::gtid::GtidPosition;
use crate::identity::{Executed, IdentityKind};
use crate::relay_log::SourceProgress;

/// Refuses a source whose transactions are known by something else than those of the log, or of
/// the sources before.
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
        format!("the source runs {there} GTIDs, and the relay log or another source of it {here}"),
        "set gtid_mode alike (ON or OFF) on all sources; to change it, begin with an empty \
         data_dir and seed the replicas anew",
    ))
}

/// Where to go on: behind what is durable, or at the configured start.
/// With it comes the source's [`SourceProgress::first_timestamp`].
pub(super) async fn start_point(
    options: &ReceiverOptions,
    shared: &Shared,
    facts: &SourceFacts,
) -> Result<(StartPoint, u32), ReceiverError> {
    let known = {
        let state = shared.log.state();
        state.sources.get(usize::from(options.number)).cloned()
    };
    let progress = match known.filter(|progress| !progress.position.is_unknown()) {
        Some(progress) => progress,
        None => join(options, shared).await?,
    };
    let executed = shared.log.state().executed.clone();
    if !start::uses_gtids(options, facts) {
        if progress.server_id != 0 && progress.server_id != facts.server_id {
            return Err(ReceiverError::setup(
                format!(
                    "another server answers: server_id {} instead of {}, and the position \
                     {} means nothing to it",
                    facts.server_id, progress.server_id, progress.position
                ),
                "let the address point to the old server again, or follow by GTID \
                 (auto_position = true)",
            ));
        }
        let start = StartPoint::File(progress.position);
        return Ok((start, progress.first_timestamp));
    }
    match (facts.flavor, executed) {
        (Flavor::MySql, Executed::MySql(set)) => Ok((StartPoint::Set(set), 0)),
        _ => Ok((StartPoint::Position(gtid_position(options, progress)), 0)),
    }
}

/// MariaDB: the configured start, overlaid by what has come since.
fn gtid_position(options: &ReceiverOptions, progress: SourceProgress) -> GtidPosition {
    let mut position = match &options.config.start {
        SourceStart::Gtid(text) => text.parse().unwrap_or_default(),
        _ => GtidPosition::new(),
    };
    for gtid in progress.gtid_position.iter() {
        position.set(gtid);
    }
    position
}

/// The start of a source that joins a relay log with transactions in it: nothing may lie before
/// its start that the log has not had, since replicas would never get it.
async fn join(options: &ReceiverOptions, shared: &Shared) -> Result<SourceProgress, ReceiverError> {
    let contact = start::first_contact(options, &shared.identities).await?;
    if contact.facts.identity_kind() == IdentityKind::Anonymous {
        check_history(shared, contact.read_back_to.is_some())?;
    }
    // Read afterwards: what the source has from others may have come from them meanwhile.
    let executed = shared.log.state().executed.clone();
    if let Some(missing) = missing(&contact.before, &executed) {
        return Err(ReceiverError::setup(
            format!(
                "the start of this source lies behind transactions that the relay log never had: \
                 {missing}"
            ),
            "give an earlier start, or begin with an empty data_dir while all sources are up and \
             seed the replicas anew",
        ));
    }
    Ok(contact.progress)
}

/// Without GTIDs nothing tells whether the replicas have what a source that joins later brings of
/// old times, unless the log begins where its sources' history does.
fn check_history(shared: &Shared, has_start: bool) -> Result<(), ReceiverError> {
    let state = shared.log.state();
    let has_lost = state
        .sources
        .iter()
        .any(|source| source.first_timestamp != 0);
    if !has_start && !has_lost {
        return Ok(());
    }
    Err(ReceiverError::setup(
        "the source joins a relay log that began without it, and without GTIDs its old \
         transactions cannot be told from new ones",
        "begin with an empty data_dir while all sources are up, and seed the replicas anew",
    ))
}

/// What of `before` is not in `executed`, in words.
fn missing(before: &Executed, executed: &Executed) -> Option<String> {
    match (before, executed) {
        (Executed::MySql(before), Executed::MySql(executed)) => {
            let mut rest = before.clone();
            rest.subtract(executed);
            (!rest.is_empty()).then(|| rest.to_string())
        }
        (Executed::MariaDb(before), Executed::MariaDb(executed)) => {
            let rest: Vec<String> = before
                .iter()
                .filter(|gtid| !executed.contains(gtid))
                .map(|gtid| format!("up to {gtid}"))
                .collect();
            (!rest.is_empty()).then(|| rest.join(", "))
        }
        _ => None,
    }
}
