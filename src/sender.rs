//! Stage 5: serving replicas and SQL clients.
//!
//! ```text
//! accept → login → session ─┬─ query → answer
//!                           └─ dump  → start → stream
//! ```
//! [`run`] accepts, within the limits of `admission`; `login` authenticates; `session` is one client's command loop. SQL: `queries`
//! answers a statement, with `sql`, `cursor` and `expression` reading it, `shows`, `set_statement`,
//! `kill`, `variables` and `information_schema` answering it, and `binlog_events` and `event_info`
//! listing a file's events. Dumps: `dump_request` finds where a stream starts and `stream` runs it:
//! `block_reader` reads the log, `walk` decides event by event, `packets` frames the events, `semi_sync` records
//! acknowledgements, `until` where MariaDB's UNTIL ends it,
//! `old_replicas` and `without_checksums` change events for clients that do not know them,
//! `dump_output` writes to the client.
//! `refusals` and `sql_errors` contain the errors of real servers; `replicas` is the registry of
//! connected clients.
//!
//! A sender reads the published part of the relay log, and nothing else of the relay.

mod admission;
mod answer;
mod binlog_events;
mod block_reader;
mod budget;
mod control_events;
mod cursor;
mod dump_output;
mod dump_request;
mod environment;
mod event_info;
mod expression;
mod failed_logins;
mod information_schema;
mod kill;
pub mod login;
mod old_replicas;
mod packets;
mod queries;
mod refusals;
mod replicas;
mod semi_sync;
mod session;
mod set_statement;
mod shows;
mod sql;
mod sql_errors;
mod statement_context;
mod stream;
#[cfg(test)]
mod tests;
mod until;
mod value;
mod variables;
mod walk;
mod without_checksums;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::protocol::ServerError;
use crate::protocol::error_code::ER_CON_COUNT_ERROR;
use crate::relay_log::RelayLog;
use admission::Admission;
pub use admission::ConnectionLimits;
pub use answer::Answer;
pub use environment::SenderOptions;
use environment::{SessionEnvironment, stopping};
use failed_logins::FailedLogins;
pub use queries::answer as answer_statement;
pub use replicas::{ReplicaReport, Replicas};
pub use statement_context::Caller;
pub use variables::{RelayView, SessionVariables};

/// Pause after accepting a client failed, e.g. because no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long the sessions may take to end by themselves at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts and serves clients until `shutdown` is true, and returns when all have disconnected.
///
/// Before there is a log, clients are refused with an error that makes replicas retry.
pub async fn run(
    listener: TcpListener,
    options: Arc<SenderOptions>,
    log: watch::Receiver<Option<Arc<RelayLog>>>,
    replicas: Arc<Replicas>,
    mut shutdown: watch::Receiver<bool>,
) {
    let admission = Admission::new(options.limits);
    let failed_logins = Arc::new(FailedLogins::default());
    let mut sessions = JoinSet::new();
    let mut connection_id: u32 = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    crate::fault::inject("accept_loop");
                    connection_id = connection_id.wrapping_add(1).max(1);
                    let log = log.borrow().clone();
                    let Some(log) = log else {
                        refuse(tcp, no_log_yet());
                        continue;
                    };
                    let place = admission.admit(peer.ip());
                    let environment = SessionEnvironment {
                        options: options.clone(),
                        log,
                        replicas: replicas.clone(),
                        failed_logins: failed_logins.clone(),
                        shutdown: shutdown.clone(),
                    };
                    sessions.spawn(session::serve(tcp, connection_id, place, environment));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = stopping(&mut shutdown) => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                if let Err(error) = ended {
                    // The other sessions are not affected.
                    tracing::error!("a client's session was ended by a defect in binrelay: {error}");
                }
            }
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

/// The error before any source was reached. Replicas retry after it.
fn no_log_yet() -> ServerError {
    ServerError::new(
        ER_CON_COUNT_ERROR,
        "binrelay has not reached any of its sources yet and does not know whether it serves \
         MySQL or MariaDB; try again later",
    )
}
