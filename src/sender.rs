//! Stage 6: serving replicas and SQL clients.
//!
//! ```text
//! accept → login → session ─┬─ query → answer
//!                           └─ dump  → start → stream
//! ```
//! [`run`] accepts; `session` is one client's command loop; `queries`, `expression`, `variables`
//! and `shows` answer SQL, `binlog_events` and `event_info` list a file's events,
//! `information_schema` is empty; `dump_request` finds where a stream starts and `stream` runs it, with
//! `walk` deciding event by event; `refusals` holds the errors of real servers; `replicas` is who
//! is connected.
//!
//! A sender reads what the relay log has published, and nothing else of the relay.

mod binlog_events;
mod control_events;
mod dump_request;
mod event_info;
mod expression;
mod information_schema;
pub mod login;
mod old_replicas;
mod queries;
mod refusals;
mod replicas;
mod session;
mod shows;
mod sql;
mod stream;
#[cfg(test)]
mod tests;
mod variables;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_CON_COUNT_ERROR;
use crate::relay_log::RelayLog;
use crate::tls::ServerTls;
use login::Accounts;
pub use replicas::{ReplicaReport, Replicas};
use session::Shared;

/// Pause after accepting failed, as it does when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Time given to the sessions to end by themselves at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How clients are served.
#[derive(Debug)]
pub struct SenderOptions {
    /// The relay's own server_id.
    pub server_id: u32,
    /// The relay's own server_uuid.
    pub server_uuid: Uuid,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// TLS for clients that ask for it.
    pub tls: ServerTls,
    /// Refuse clients that do not ask for TLS.
    pub require_tls: bool,
    /// A replica that takes nothing for so long is dropped.
    pub write_timeout: Duration,
    /// The most clients at a time.
    pub max_connections: usize,
}

/// Accepts and serves clients until `shutdown` is true, and returns when all are gone.
///
/// Before there is a log, clients are refused such that replicas try again.
pub async fn run(
    listener: TcpListener,
    options: Arc<SenderOptions>,
    log: watch::Receiver<Option<Arc<RelayLog>>>,
    replicas: Arc<Replicas>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut sessions = JoinSet::new();
    let mut connection_id: u32 = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    crate::fault::inject("accept_loop");
                    connection_id = connection_id.wrapping_add(1).max(1);
                    let log = log.borrow().clone();
                    let Some(log) = log else {
                        refuse(tcp, no_log_yet());
                        continue;
                    };
                    if sessions.len() >= options.max_connections {
                        let error = ServerError::new(ER_CON_COUNT_ERROR, "Too many connections");
                        refuse(tcp, error);
                        continue;
                    }
                    let shared = Shared {
                        options: options.clone(),
                        log,
                        replicas: replicas.clone(),
                        shutdown: shutdown.clone(),
                    };
                    sessions.spawn(session::serve(tcp, connection_id, shared));
                }
                Err(error) => {
                    tracing::warn!(%error, "a client cannot be accepted");
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
        tracing::warn!("{} clients are cut off", sessions.len());
    }
}

/// Waits until the relay stops; its end without a word counts too.
async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stopping| *stopping).await;
}

fn refuse(tcp: TcpStream, error: ServerError) {
    tokio::spawn(async move { login::refuse(tcp, &error).await });
}

/// Replicas try again after this error.
fn no_log_yet() -> ServerError {
    ServerError::new(
        ER_CON_COUNT_ERROR,
        "binrelay has not reached any of its sources yet, and does not know whether it serves \
         MySQL or MariaDB; try again later",
    )
}

/// The version as the greeting has it: MariaDB's begins with what replicas before 10 expected.
fn greeting_version(version: &str) -> String {
    match Flavor::of_version(version) {
        Flavor::MariaDb if !version.starts_with("5.5.5-") => format!("5.5.5-{version}"),
        _ => version.to_owned(),
    }
}
