//! Opens the data directory, the log and the sockets, before the stages start.

use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};

use super::channels::Configured;
use super::error::RelayError;
use super::kept_socket::PassedSockets;
use crate::admin;
use crate::config::{
    ChannelChanges, Config, FlavorChoice, Privilege, SharedFilter, UserConfig, UserPassword,
};
use crate::data_dir::DataDir;
use crate::gtid::Uuid;
use crate::http;
use crate::identity::Executed;
use crate::protocol::StoredPassword;
use crate::relay_log::recover::{Recovered, recover};
use crate::relay_log::{LogDir, ReplicaWait};
use crate::sender::login::{Account, Accounts, Privileges};
use crate::sender::{ConnectionLimits, HostNames, SenderOptions, StatementLimits};
use crate::tls::{self, PasswordKey, ServerTls, ServerTlsFiles, TlsError};

/// A relay with its directory, log and sockets open.
#[derive(Debug)]
pub struct Relay {
    /// Its sources are those that are followed at first: with what was changed at run time.
    pub(super) config: Config,
    /// Those of the file, and the changes.
    pub(super) configured: Configured,
    pub(super) data_dir: DataDir,
    pub(super) recovered: Option<Recovered>,
    pub(super) listener: TcpListener,
    pub(super) admin: UnixListener,
    pub(super) http: Option<TcpListener>,
    pub(super) sender: SenderOptions,
}

impl Relay {
    /// Locks the data directory, recovers the log and opens the sockets, except for one that was passed to the process.
    ///
    /// # Errors
    /// When one of these fails.
    pub async fn prepare(mut config: Config, passed: PassedSockets) -> Result<Self, RelayError> {
        tls::install_crypto_provider();
        let server_uuid = config
            .relay
            .server_uuid
            .as_ref()
            .and_then(|uuid| uuid.parse().ok());
        let data_dir = DataDir::open(&config.relay.data_dir, server_uuid)?;
        let configured = Configured {
            changes: ChannelChanges::load(data_dir.path())?,
            filter: SharedFilter::new(config.filter.clone()),
            sources: std::mem::take(&mut config.sources),
        };
        let wanted = configured.wanted().into_iter();
        config.sources = wanted.map(|source| source.config).collect();
        let recovered = recover(&log_dir(&config), &source_names(&config))?;
        if let Some(recovered) = &recovered {
            check_flavor(&config, &recovered.executed)?;
        }
        let (tls, key) = (tls_of(&config)?, PasswordKey::open(data_dir.path())?);
        let uuid = data_dir.server_uuid();
        let sender = sender_options(&config, tls, uuid, |_| None, Arc::new(key));
        let listener =
            passed
                .listen(&config.relay.listen)
                .await
                .map_err(|cause| RelayError::Listen {
                    address: config.relay.listen.clone(),
                    cause,
                })?;
        let socket = &config.admin.socket;
        let admin = admin::listen(socket)
            .await
            .map_err(|cause| RelayError::Admin {
                path: socket.clone(),
                cause,
            })?;
        let http = match config.admin.http {
            Some(address) => Some(http::bind(address).await.map_err(|cause| {
                let address = address.to_string();
                RelayError::Http { address, cause }
            })?),
            None => None,
        };
        Ok(Self {
            config,
            configured,
            data_dir,
            recovered,
            listener,
            admin,
            http,
            sender,
        })
    }
}

/// Refuses a relay log of another flavor than the configured one.
pub(super) fn check_flavor(config: &Config, executed: &Executed) -> Result<(), RelayError> {
    let found = executed.flavor();
    match config.relay.flavor {
        FlavorChoice::Fixed(expected) if expected != found => Err(RelayError::Flavor {
            path: config.relay.data_dir.clone(),
            expected: expected.name(),
            found: found.name(),
        }),
        _ => Ok(()),
    }
}

pub(super) fn log_dir(config: &Config) -> LogDir {
    LogDir {
        dir: config.relay.data_dir.clone(),
        basename: config.log.basename.clone(),
    }
}

pub(super) fn source_names(config: &Config) -> Vec<Arc<str>> {
    let names = config.sources.iter();
    names.map(|source| source.name.as_str().into()).collect()
}

/// The names under which this machine and this replica are shown.
pub(super) fn host_names(config: &Config) -> HostNames {
    let host_name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let listen = config.relay.listen.rsplit_once(':');
    let port = listen
        .and_then(|(_, port)| port.parse().ok())
        .unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    let base_dir = program.ancestors().nth(2).unwrap_or(Path::new("/"));
    let with_slash = |path: &Path| {
        let path = path.to_string_lossy();
        format!("{}/", path.trim_end_matches('/'))
    };
    HostNames {
        report_host: config
            .relay
            .report_host
            .clone()
            .unwrap_or(host_name.clone()),
        report_port: config.relay.report_port.unwrap_or(port),
        host_name,
        port,
        data_dir: with_slash(&config.relay.data_dir),
        base_dir: with_slash(base_dir),
        max_log_size: config.log.max_size,
    }
}

/// The listener's certificate, if one is configured.
pub(super) fn tls_files(config: &Config) -> Option<ServerTlsFiles> {
    let (cert, key) = config.tls.cert.clone().zip(config.tls.key.clone())?;
    let ca = config.tls.ca.clone();
    Some(ServerTlsFiles { cert, key, ca })
}

/// A size of the configuration in bytes of memory.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The listener's certificate.
pub(super) fn tls_of(config: &Config) -> Result<ServerTls, TlsError> {
    tls::server_config(tls_files(config).as_ref(), &config.relay.data_dir)
}

/// How clients are served. `known` has the stored passwords of accounts that have not changed.
pub(super) fn sender_options(
    config: &Config,
    tls: ServerTls,
    server_uuid: Uuid,
    known: impl Fn(&UserConfig) -> Option<StoredPassword>,
    key: Arc<PasswordKey>,
) -> SenderOptions {
    let stored = |user: &UserConfig| match &user.password {
        UserPassword::Plain(password) => StoredPassword::from_plaintext(password.expose()),
        UserPassword::Hashes(hashes) => StoredPassword::from_hashes(hashes),
    };
    let users = config.users.iter().map(|user| Account {
        name: user.name.clone(),
        password: known(user).unwrap_or_else(|| stored(user)),
        hosts: user.hosts.clone(),
        privileges: Privileges {
            replication: user.privileges.contains(&Privilege::Replication),
            admin: user.privileges.contains(&Privilege::Admin),
            monitor: user.privileges.contains(&Privilege::Monitor),
        },
    });
    SenderOptions {
        server_id: config.relay.server_id,
        server_uuid,
        flavor: match config.relay.flavor {
            FlavorChoice::Fixed(flavor) => Some(flavor),
            FlavorChoice::Auto => None,
        },
        host: host_names(config),
        accounts: Arc::new(Accounts::new(users.collect(), key)),
        tls,
        require_tls: config.tls.required,
        compression: config.relay.compression,
        replica_wait: ReplicaWait {
            replicas: config.relay.semi_sync_wait_for_replicas as usize,
            timeout: config.relay.semi_sync_timeout,
        },
        write_timeout: config.relay.replica_write_timeout,
        login_timeout: config.limits.login_timeout,
        limits: ConnectionLimits {
            total: config.limits.max_connections as usize,
            per_address: config.limits.max_connections_per_address as usize,
            reserved: config.limits.reserved_connections as usize,
        },
        statement_limits: StatementLimits {
            statement_len: size(config.limits.max_statement_size),
            result_len: size(config.limits.max_result_size),
        },
    }
}
