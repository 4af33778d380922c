//! Stage 5: serving replicas and SQL clients.
//!
//! ```text
//! accept → login → session ─┬─ query → answer
//!                           └─ dump  → start → stream
//! ```
//! [`run`] accepts, within the limits of `admission`; `login` authenticates; `session` is one client's command loop. SQL: `queries`
//! answers a statement (costly ones of accounts without privileges in `statement_turns`), with `sql`, `cursor` and `expression` reading it, `shows`, `set_statement`,
//! `kill`, `purge_statement` (with `datetime`), `source_statements` and `change_statement`, `variables` and `information_schema` answering it, and `binlog_events` and `event_info`
//! listing a file's events. Dumps: `dump_request` finds where a stream starts and `stream` runs it:
//! `block_reader` reads the log, `walk` decides event by event, `packets` frames the events, `semi_sync` records
//! acknowledgements, `until` where MariaDB's UNTIL ends it,
//! `old_replicas` and `without_checksums` change events for clients that do not know them,
//! `dump_output` writes to the client.
//! `ahead` makes a MariaDB replica wait for what it has already. `known` records which log files replicas need, as far as they have not certainly `received` them. `refusals` and `sql_errors` contain the errors of real servers; `replicas` is the registry of
//! connected clients.
//!
//! A sender reads the published part of the relay log, and nothing else of the relay.

mod admission;
mod ahead;
mod answer;
mod binlog_events;
mod block_reader;
mod budget;
mod change_statement;
mod control_events;
mod counters;
mod cursor;
mod datetime;
mod dump_output;
mod dump_request;
mod environment;
mod event_info;
mod expression;
mod failed_logins;
mod functions;
mod grants;
mod help;
mod information_schema;
mod kill;
mod known;
pub mod login;
mod old_replicas;
mod operators;
mod order_by;
mod packets;
mod process_list;
mod purge_statement;
mod queries;
mod received;
mod refusals;
mod relay_view;
mod replica_status;
mod replicas;
mod row;
mod schema_shows;
mod schema_tables;
mod select_list;
mod semi_sync;
mod semi_sync_values;
mod session;
mod set_statement;
mod show_filter;
mod shows;
mod source_changes;
mod source_errors;
mod source_rows;
mod source_statements;
mod sql;
mod sql_errors;
mod statement_context;
mod statement_turns;
mod status_counters;
mod stream;
#[cfg(test)]
mod tests;
mod until;
mod value;
mod variables;
mod waits;
mod walk;
mod without_checksums;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::protocol::ServerError;
use crate::relay_log::RelayLog;
use admission::Admission;
pub use admission::ConnectionLimits;
pub use answer::Answer;
pub use budget::StatementLimits;
use counters::Counters;
pub use environment::{HostNames, SenderOptions};
use environment::{SessionEnvironment, stopping};
use failed_logins::FailedLogins;
pub use known::{Forgotten, forget, remember_all};
pub use queries::answer as answer_statement;
pub use relay_view::RelayView;
pub use replicas::{ReplicaReport, ReplicaState, Replicas};
pub use source_changes::{
    ChangedSources, SourceAccess, SourceChange, SourceChangeError, SourceChanges,
};
pub use source_rows::{SourceRow, SourceRowError, SourceRowState, SourceRows};
use sql_errors::no_log_yet;
pub use statement_context::Caller;
use statement_turns::StatementTurns;
pub use variables::SessionVariables;
pub use waits::Waits;

/// Pause after accepting a client failed, e.g. because no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long the sessions may take to end by themselves at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts and serves clients until `shutdown` is true, and returns when all have disconnected.
///
/// Each connection keeps the options with which it began.
/// Before there is a log, statements about the relay itself are answered if the flavor is configured;
/// everything else is refused with an error that makes replicas retry.
pub async fn run(
    listener: TcpListener,
    mut options: watch::Receiver<Arc<SenderOptions>>,
    log: watch::Receiver<Option<Arc<RelayLog>>>,
    replicas: Arc<Replicas>,
    sources: SourceAccess,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut current = options.borrow_and_update().clone();
    let admission = Admission::new(current.limits);
    let failed_logins = Arc::new(FailedLogins::default());
    let statement_turns = StatementTurns::default();
    let mut sessions = JoinSet::new();
    let mut connection_id: u32 = 0;
    loop {
        tokio::select! {
            // First, so that a replica whose connection the stop has just closed is not accepted again: the next process
            // may have the same socket.
            biased;
            () = stopping(&mut shutdown) => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                if let Err(error) = ended {
                    // The other sessions are not affected.
                    tracing::error!("a client's session was ended by a defect in binrelay: {error}");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    crate::fault::inject("accept_loop");
                    connection_id = connection_id.wrapping_add(1).max(1);
                    Counters::count(&replicas.counters.connections);
                    if options.has_changed().unwrap_or(false) {
                        current = options.borrow_and_update().clone();
                        admission.set_limits(current.limits);
                    }
                    if log.borrow().is_none() && current.flavor.is_none() {
                        refuse(tcp, no_log_yet());
                        continue;
                    }
                    let place = admission.admit(peer.ip());
                    let environment = SessionEnvironment {
                        options: current.clone(),
                        log: log.clone(),
                        replicas: replicas.clone(),
                        failed_logins: failed_logins.clone(),
                        statement_turns: statement_turns.clone(),
                        sources: sources.clone(),
                        shutdown: shutdown.clone(),
                    };
                    sessions.spawn(session::serve(tcp, connection_id, place, environment));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
        while sessions.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!(
            "{} clients did not disconnect in time and are closed",
            sessions.len()
        );
    }
}

fn refuse(tcp: TcpStream, error: ServerError) {
    tokio::spawn(async move { login::refuse(tcp, &error).await });
}
