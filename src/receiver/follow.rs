//! One connection to a source, from the first question to the error that ends it.

use tokio::sync::watch;

use super::binlog_check;
use super::connect::{connect, within};
use super::control::SemiSync;
use super::dump_request::{self, StartPoint};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::history;
use super::history_record;
use super::identities::Identities;
use super::moved_address::{AnsweringPath, answering_path, displaced, followed_elsewhere, reclaim};
use super::newest_own;
use super::options::{ReceiverContext, ReceiverOptions};
use super::own_gtids;
use super::own_transactions;
use super::resume;
use super::semi_sync;
use super::status::SourceStatus;
use super::stream::{self, Dump};
use super::without_transactions;
use crate::connection::{Connection, Phase};
use crate::gtid::BinlogState;
use crate::identity::Executed;
use crate::log_thread::{RefusalNote, SourceCounters};
use crate::position::SourcePosition;
use crate::relay_log::{Condition, SourceProgress};

/// Follows the source over one connection; returns the error that ended it.
pub(super) async fn follow(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    counters: &SourceCounters,
    status: &SourceStatus,
) -> ReceiverError {
    let name = options.config.name.as_str();
    let data_dir = &context.log.log_dir().dir;
    if let Err(error) = history_record::check(data_dir, name) {
        return error;
    }
    let mut refusal = counters.refusal.subscribe();
    let mut condition = context.log.follow_condition();
    if matches!(*refusal.borrow(), Some(RefusalNote::Reused { .. })) {
        // It could not be recorded, or the record was removed by hand: only a decision ends it.
        return history_record::keep(data_dir, name, refused(&mut refusal).await);
    }
    if let Err(error) = history_record::reserve(data_dir, name) {
        return error;
    }
    let streaming = async {
        // Without GTIDs, what is received again because it is not in the log yet would be logged twice.
        counters.wait_until_committed().await;
        match open(options, context, status).await {
            Ok(dump) => {
                let error = stream::stream(dump, options, context, counters, status).await;
                history_record::keep_incident(data_dir, name, error)
            }
            Err(error) => history_record::keep(data_dir, name, error),
        }
    };
    let error = tokio::select! {
        // A refusal must be recorded, even if the stream ends at the same time.
        biased;
        error = refused(&mut refusal) => {
            history_record::keep(data_dir, name, error)
        }
        error = displaced(options, context) => error,
        error = streaming => error,
        error = binlog_check::contradiction(options.number, context, status) => error,
        error = own_transactions::watch(options, context, status) => error,
        error = semi_sync::plugin_loaded(status) => error,
        // A source that has nothing to send would not notice.
        _ = condition.wait_for(|now| matches!(now, Condition::Failed(_))) => {
            ReceiverError::LogClosed
        }
    };
    status.semi_sync.end_dump();
    error
}

async fn refused(refusal: &mut watch::Receiver<Option<RefusalNote>>) -> ReceiverError {
    let note = refusal
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|note| note.clone());
    match note {
        Some(RefusalNote::Other(message)) => ReceiverError::Refused(message),
        Some(RefusalNote::Reused { expected, found }) => ReceiverError::History { expected, found },
        None => std::future::pending().await,
    }
}

/// Connects and requests the dump.
async fn open(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    status: &SourceStatus,
) -> Result<Dump, ReceiverError> {
    let (mut connection, facts) = connect(options).await?;
    let kind = context.log.state().executed.kind();
    resume::check_kind(kind, &facts)?;
    let note = || {
        let identities = &context.identities;
        identities.note(options.number, &facts, options.server_id)
    };
    note()
        .or_else(|error| match reclaim(options, context, &facts) {
            true => note(),
            false => Err(error),
        })
        .map_err(|error| followed_elsewhere(options, context, &facts).unwrap_or(error))?;
    warn(options, &context.identities, &facts);
    let before = status.facts();
    status.set_facts(&facts);
    let mut received_to = None;
    let (path, start, first_timestamp) =
        match answering_path(options, context, &facts, before.as_ref()).await? {
            AnsweringPath::Known(path) => {
                let of_path = ReceiverOptions {
                    number: path,
                    ..options.clone()
                };
                let (start, first) =
                    resume::start_point(&of_path, context, &facts, before.as_ref()).await?;
                verify_history(&mut connection, &of_path, context, &facts).await?;
                received_to = received_from(context, path, facts.server_id);
                (path, start, first)
            }
            AnsweringPath::New {
                path,
                begin,
                first_timestamp,
            } => (path, StartPoint::File(begin), first_timestamp),
        };
    status.set_path(path);
    dump_request::prepare(&mut connection, options, &facts).await?;
    let source_side = negotiate(&mut connection, options, context).await?;
    let is_semi_sync = source_side != SemiSync::NotLoaded;
    announce(options, &facts, &start);
    request(&mut connection, options, &facts, &start).await?;
    if is_semi_sync {
        connection.begin_semi_sync();
    }
    if options.config.semi_sync {
        status.semi_sync.begin_dump(source_side);
    }
    Ok(Dump {
        connection,
        is_semi_sync,
        facts,
        first_timestamp,
        path,
        received_to,
    })
}

/// The position of the path, if it is one of this server.
fn received_from(context: &ReceiverContext, path: u16, server_id: u32) -> Option<SourcePosition> {
    let state = context.log.state();
    let progress = state.sources.get(usize::from(path))?;
    let is_of_server = progress.server_id == server_id && !progress.position.is_unknown();
    is_of_server.then(|| progress.position.clone())
}

fn announce(options: &ReceiverOptions, facts: &SourceFacts, start: &StartPoint) {
    tracing::info!(
        source = %options.config.name,
        "{} {}, server_id {}: following from {start}; TLS: {}",
        facts.flavor,
        facts.version,
        facts.server_id,
        facts.tls
    );
}

/// Requests the dump.
async fn request(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: &SourceFacts,
    start: &StartPoint,
) -> Result<(), ReceiverError> {
    within(options.config.read_timeout, async {
        let dump = dump_request::request(connection, options, facts, 0, start).await?;
        Ok(connection.write_command(&dump).await?)
    })
    .await?;
    connection.set_phase(Phase::Dump);
    Ok(())
}

/// Agrees on semi-sync with the source, and waits until the dump may be requested.
async fn negotiate(
    connection: &mut Connection,
    options: &ReceiverOptions,
    context: &ReceiverContext,
) -> Result<SemiSync, ReceiverError> {
    let negotiating = semi_sync::negotiate(connection, options);
    let source_side = within(options.config.read_timeout, negotiating).await?;
    if source_side != SemiSync::NotLoaded {
        semi_sync::until_acknowledgeable(&context.log, &context.acknowledged).await;
    }
    Ok(source_side)
}

/// Verifies that the source's binlog is still the one that was received.
async fn verify_history(
    connection: &mut Connection,
    options: &ReceiverOptions,
    context: &ReceiverContext,
    facts: &SourceFacts,
) -> Result<(), ReceiverError> {
    let (progress, executed) = {
        let state = context.log.state();
        let progress = state.sources.get(usize::from(options.number)).cloned();
        (progress.unwrap_or_default(), state.executed.clone())
    };
    let is_proved = history::verify_last(options, facts, &progress).await?;
    let is_by_gtid = facts.follows_by_gtid(&options.config);
    if !is_by_gtid {
        without_transactions::verify(options, context, facts, &progress).await?;
    }
    let executed = match is_proved {
        true => without_sent(executed, &progress, facts.server_id),
        // Only what the server has executed shows its history.
        false => executed,
    };
    let log = &context.log;
    own_gtids::verify_executed(connection, options, log, facts, &executed).await?;
    if is_by_gtid && !is_proved {
        newest_own::verify_mariadb(options, log, facts, &progress, &executed).await?;
    }
    let of_source = (&progress, is_proved);
    own_gtids::verify_delivered_by_others(connection, options, log, facts, of_source, &executed)
        .await
}

/// `executed` without what the server itself has sent. MariaDB: after a transaction was executed again,
/// the server's own state has a lower number than before.
fn without_sent(executed: Executed, progress: &SourceProgress, server_id: u32) -> Executed {
    let Executed::MariaDb(state) = &executed else {
        return executed;
    };
    if progress.server_id != server_id {
        return executed;
    }
    let mut rest = BinlogState::new();
    for gtid in state.iter().filter(|gtid| !progress.sent.contains(gtid)) {
        rest.record(gtid);
    }
    Executed::MariaDb(rest)
}

/// Logs configurations that work, but not as intended: once a GTID domain that several sources
/// write to, at each connection rules that never match.
fn warn(options: &ReceiverOptions, identities: &Identities, facts: &SourceFacts) {
    if let Some(warning) = identities.shared_domain(options.number, facts) {
        tracing::warn!(source = %options.config.name, "{warning}");
    }
    if let Some(warning) = facts.useless_rules(&options.config.filter.current()) {
        tracing::warn!(source = %options.config.name, "{warning}");
    }
}
