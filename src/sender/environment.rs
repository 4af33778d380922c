//! The options and shared state that every session is given.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::admission::ConnectionLimits;
use super::failed_logins::FailedLogins;
use super::login::Accounts;
use super::replicas::Replicas;
use crate::config::CompressionChoice;
use crate::gtid::Uuid;
use crate::relay_log::RelayLog;
use crate::tls::ServerTls;

/// How clients are served.
#[derive(Debug)]
pub struct SenderOptions {
    /// The relay's own server_id.
    pub server_id: u32,
    /// The relay's own server_uuid.
    pub server_uuid: Uuid,
    /// The accounts that may log in.
    pub accounts: Arc<Accounts>,
    /// TLS for clients that request it.
    pub tls: ServerTls,
    /// Refuse clients that do not use TLS.
    pub require_tls: bool,
    /// To whom compression is offered.
    pub compression: CompressionChoice,
    /// A replica that accepts no data for this long is disconnected.
    pub write_timeout: Duration,
    /// Time limit of a login, as `connect_timeout` on servers.
    pub login_timeout: Duration,
    /// The limits on connections.
    pub limits: ConnectionLimits,
}

/// The options, the log, and the state that all sessions share.
#[derive(Debug, Clone)]
pub(super) struct SessionEnvironment {
    pub options: Arc<SenderOptions>,
    pub log: Arc<RelayLog>,
    pub replicas: Arc<Replicas>,
    pub failed_logins: Arc<FailedLogins>,
    /// True when the relay stops.
    pub shutdown: watch::Receiver<bool>,
}

/// Waits until the relay stops; a dropped sender counts as well.
pub(super) async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stopping| *stopping).await;
}
