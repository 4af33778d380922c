//! `binrelay check`: whether a source still has what follows that which was received from it.

use super::connect::within;
use super::dump_request::{self, StartPoint, prepare};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use super::scan::{Until, scan};
use crate::connection::Connection;
use crate::flavor::Flavor;
use crate::identity::Executed;
use crate::protocol::command::BINLOG_DUMP_NON_BLOCK;
use crate::relay_log::SourceProgress;
use crate::relay_log::recover::Inspected;

/// Requests the binlog from where `run` would resume, and reads its beginning. Returns where that is, as the end of a
/// sentence. `first` is how far the source was received.
///
/// # Errors
/// Errors that would stop a receiver, for example because the source has purged what follows.
pub(super) async fn try_resuming(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: &SourceFacts,
    log: &Inspected,
    first: &SourceProgress,
) -> Result<String, ReceiverError> {
    let start = match (facts.follows_by_gtid(&options.config), &log.executed) {
        (true, Executed::MySql(set)) if facts.flavor == Flavor::MySql => {
            StartPoint::Set(set.clone())
        }
        (true, _) => StartPoint::Position(first.gtid_position.clone()),
        (false, _) => {
            // Another server that has answered at this address before has a position of its own.
            let name = format!("{}@{}", options.config.name, facts.server_key());
            let progress = log.started(&name).unwrap_or(first);
            if progress.is_of_another(facts.server_id) {
                return Ok(format!(
                    "another server than before answers (server_id {} instead of {}): where it continues is found when \
                     the relay connects to it, and was not tested",
                    facts.server_id, progress.server_id
                ));
            }
            StartPoint::File(progress.position.clone())
        }
    };
    prepare(connection, options, facts).await?;
    let read_timeout = options.config.read_timeout;
    within(read_timeout, async {
        let flags = BINLOG_DUMP_NON_BLOCK;
        let dump = dump_request::request(connection, options, facts, flags, &start).await?;
        Ok(connection.write_command(&dump).await?)
    })
    .await?;
    let kind = facts.identity_kind();
    scan(connection, read_timeout, kind, &Until::FirstTransaction).await?;
    Ok(match &start {
        StartPoint::File(position) => format!("resumes at {position}"),
        start => format!("resumes {start}"),
    })
}
