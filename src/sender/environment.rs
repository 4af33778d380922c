//! The options and shared state that every session is given.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::admission::ConnectionLimits;
use super::budget::StatementLimits;
use super::failed_logins::FailedLogins;
use super::login::Accounts;
use super::replicas::Replicas;
use super::source_changes::SourceAccess;
use super::statement_turns::StatementTurns;
use crate::config::CompressionChoice;
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::relay_log::{RelayLog, ReplicaWait};
use crate::tls::ServerTls;

/// The relay's place in the network and on its machine, as variables show it.
#[derive(Debug, Clone, Default)]
pub struct HostNames {
    /// The machine's name.
    pub host_name: String,
    /// The port of the listener.
    pub port: u16,
    /// The name that sources show for this replica.
    pub report_host: String,
    /// The port that sources show for this replica.
    pub report_port: u16,
    /// The data directory.
    pub data_dir: String,
    /// The directory of the installation.
    pub base_dir: String,
    /// A log file is rotated once it has this many bytes.
    pub max_log_size: u64,
}

/// How clients are served.
#[derive(Debug)]
pub struct SenderOptions {
    /// The relay's own server_id.
    pub server_id: u32,
    /// The relay's own server_uuid.
    pub server_uuid: Uuid,
    /// The flavor as configured; `None`: that of the first source.
    pub flavor: Option<Flavor>,
    /// Names for variables.
    pub host: HostNames,
    /// The accounts that may log in.
    pub accounts: Arc<Accounts>,
    /// TLS for clients that request it.
    pub tls: ServerTls,
    /// Refuse clients that do not use TLS.
    pub require_tls: bool,
    /// To whom compression is offered.
    pub compression: CompressionChoice,
    /// For which replicas acknowledgements to the sources wait.
    pub replica_wait: ReplicaWait,
    /// A replica that accepts no data for this long is disconnected.
    pub write_timeout: Duration,
    /// Time limit of a login, as `connect_timeout` on servers.
    pub login_timeout: Duration,
    /// The limits on connections.
    pub limits: ConnectionLimits,
    /// The limits on statements.
    pub statement_limits: StatementLimits,
}

/// The options, the log, and the state that all sessions share.
#[derive(Debug, Clone)]
pub(super) struct SessionEnvironment {
    pub options: Arc<SenderOptions>,
    /// `None` before a source has answered for the first time.
    pub log: watch::Receiver<Option<Arc<RelayLog>>>,
    pub replicas: Arc<Replicas>,
    pub failed_logins: Arc<FailedLogins>,
    pub statement_turns: StatementTurns,
    pub sources: SourceAccess,
    /// True when the relay stops.
    pub shutdown: watch::Receiver<bool>,
}

/// The versions that are reported before there is a log: the first source's is not known yet.
const MYSQL_VERSION: &str = "8.0.0-binrelay";
const MARIADB_VERSION: &str = "10.5.0-MariaDB-binrelay";

impl SessionEnvironment {
    /// The relay log, if there is one yet.
    pub fn log(&self) -> Option<Arc<RelayLog>> {
        self.log.borrow().clone()
    }

    /// The version that clients see: that of the log.
    pub fn version(&self, log: Option<&RelayLog>) -> String {
        match (log, self.options.flavor) {
            (Some(log), _) => log.server_version().to_owned(),
            (None, Some(Flavor::MariaDb)) => MARIADB_VERSION.to_owned(),
            (None, _) => MYSQL_VERSION.to_owned(),
        }
    }
}

/// Waits until the relay stops; a dropped sender counts as well.
pub(super) async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stopping| *stopping).await;
}
