//! Builds the stages, joins them, and shuts them down. No logic of its own.
//!
//! ```text
//! receivers (tasks) ──batches──▶ relay log (thread) ──published end──▶ senders (tasks)
//! ```

mod filters;
mod first_start;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::admin;
use crate::config::{Config, FlavorChoice, Privilege, UserPassword};
use crate::data_dir::{DataDir, DataDirError};
use crate::log_thread::{LogThread, SourceCounters};
use crate::protocol::StoredPassword;
use crate::receiver::{self, Identities, Queue, ReadBack, ReceiverOptions, Shared, SourceStatus};
use crate::relay_log::recover::{Recovered, recover};
use crate::relay_log::{LogDir, LogError, LogOptions, RelayLog};
use crate::sender::login::{Account, Accounts, Privileges};
use crate::sender::{self, Replicas, SenderOptions};
use crate::status::{Parts, SourceParts};
use crate::tls::{self, PasswordKey, ServerTlsFiles, TlsError};

/// Batches that wait for the relay log at most.
const QUEUE_LEN: usize = 64;
/// The memory that they may take, in KiB.
const QUEUE_KIB: u32 = 16 * 1024;

/// Why the relay does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The relay log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener's address.
    #[error("cannot listen on {address}: {cause}; give [relay] listen another address or port")]
    Listen {
        /// As configured.
        address: String,
        /// The operating system's answer.
        #[source]
        cause: io::Error,
    },
    /// The admin socket.
    #[error("cannot open the admin socket {}: {cause}", path.display())]
    Admin {
        /// Its path.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        cause: io::Error,
    },
    /// The log is of another flavor than configured.
    #[error(
        "{}: the relay log holds {found} events, [relay] flavor says {expected}; correct it, or \
         give this relay another data_dir",
        path.display()
    )]
    Flavor {
        /// The data directory.
        path: PathBuf,
        /// As configured.
        expected: &'static str,
        /// The log's.
        found: &'static str,
    },
    /// A thread cannot be started.
    #[error("cannot start the relay log's thread: {0}")]
    Thread(#[source] io::Error),
    /// The log failed while the relay ran.
    #[error("the relay log failed: {0}")]
    Failed(String),
}

/// A relay that has everything that it needs to run: folder, log, sockets.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    data_dir: DataDir,
    recovered: Option<Recovered>,
    listener: TcpListener,
    admin: UnixListener,
    sender: SenderOptions,
}

impl Relay {
    /// Takes the data directory, recovers the log and opens the sockets.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn prepare(config: Config) -> Result<Self, RelayError> {
        tls::install_crypto_provider();
        let configured = config
            .relay
            .server_uuid
            .as_ref()
            .and_then(|uuid| uuid.parse().ok());
        let data_dir = DataDir::open(&config.relay.data_dir, configured)?;
        let recovered = recover(&log_dir(&config), &source_names(&config))?;
        if let (Some(recovered), FlavorChoice::Fixed(flavor)) = (&recovered, config.relay.flavor) {
            let found = recovered.executed.flavor();
            if found != flavor {
                let path = config.relay.data_dir.clone();
                let (expected, found) = (flavor.name(), found.name());
                return Err(RelayError::Flavor {
                    path,
                    expected,
                    found,
                });
            }
        }
        let sender = sender_options(&config, &data_dir)?;
        let listener = TcpListener::bind(&config.relay.listen)
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
        Ok(Self {
            config,
            data_dir,
            recovered,
            listener,
            admin,
            sender,
        })
    }

    /// Runs until `shutdown` is true, then stops the stages in the order of the data path.
    ///
    /// # Errors
    /// When the log cannot be begun, or has failed.
    pub async fn run(self, shutdown: watch::Receiver<bool>) -> Result<(), RelayError> {
        tracing::info!(
            "binrelay {}: server_id {}, data_dir {}, listening on {}",
            env!("CARGO_PKG_VERSION"),
            self.config.relay.server_id,
            self.data_dir.path().display(),
            self.config.relay.listen
        );
        filters::announce(self.data_dir.path(), &self.config.sources);
        let stages = Stages::new(&self);
        let resumed = match self.recovered {
            Some(recovered) => Some(stages.resume(recovered)?),
            None => None,
        };
        // With a log from before, the first client that is answered finds it.
        let log = resumed.as_ref().map(|writer| writer.log().clone());
        let log_slot = watch::Sender::new(log);
        let replicas = Arc::new(Replicas::default());
        let mut outer = JoinSet::new();
        outer.spawn(sender::run(
            self.listener,
            Arc::new(self.sender),
            log_slot.subscribe(),
            replicas.clone(),
            shutdown.clone(),
        ));
        let (parts, slot) = (stages.parts.clone(), log_slot.subscribe());
        let report = move || {
            let log: Option<Arc<RelayLog>> = slot.borrow().clone();
            parts.report(log.as_deref(), replicas.report())
        };
        outer.spawn(admin::serve(self.admin, Arc::new(report), shutdown.clone()));
        let stopping = stages.log_options.stopping.clone();
        let mut stop = shutdown.clone();
        outer.spawn(async move {
            let _ = stop.wait_for(|stop| *stop).await;
            stopping.store(true, Ordering::Relaxed);
        });
        let outcome = stages.run(resumed, &log_slot, shutdown).await;
        if outcome.is_err() {
            outer.abort_all(); // Nobody has asked them to stop.
        }
        while outer.join_next().await.is_some() {}
        let _ = std::fs::remove_file(&self.config.admin.socket);
        drop(self.data_dir);
        outcome
    }
}

fn log_dir(config: &Config) -> LogDir {
    LogDir {
        dir: config.relay.data_dir.clone(),
        basename: config.log.basename.clone(),
    }
}

fn source_names(config: &Config) -> Vec<Arc<str>> {
    let names = config.sources.iter();
    names.map(|source| source.name.as_str().into()).collect()
}

fn sender_options(config: &Config, data_dir: &DataDir) -> Result<SenderOptions, RelayError> {
    let files = config
        .tls
        .cert
        .clone()
        .zip(config.tls.key.clone())
        .map(|(cert, key)| ServerTlsFiles {
            cert,
            key,
            ca: config.tls.ca.clone(),
        });
    let users = config.users.iter().map(|user| Account {
        name: user.name.clone(),
        password: match &user.password {
            UserPassword::Plain(password) => StoredPassword::from_plaintext(password.expose()),
            UserPassword::Hashes(hashes) => StoredPassword::from_hashes(hashes),
        },
        privileges: Privileges {
            replication: user.privileges.contains(&Privilege::Replication),
            admin: user.privileges.contains(&Privilege::Admin),
        },
    });
    Ok(SenderOptions {
        server_id: config.relay.server_id,
        server_uuid: data_dir.server_uuid(),
        accounts: Arc::new(Accounts::new(
            users.collect(),
            PasswordKey::open(data_dir.path())?,
        )),
        tls: tls::server_config(files.as_ref(), data_dir.path())?,
        require_tls: config.tls.required,
        write_timeout: config.relay.replica_write_timeout,
        max_connections: config.relay.max_connections as usize,
    })
}

/// The receivers and the relay log.
struct Stages {
    log_options: LogOptions,
    flavor: FlavorChoice,
    receivers: Vec<ReceiverOptions>,
    parts: Arc<Parts>,
    identities: Arc<Identities>,
}

impl Stages {
    fn new(relay: &Relay) -> Self {
        let config = &relay.config;
        let server_uuid = relay.data_dir.server_uuid();
        let server_id = config.relay.server_id;
        let log_dir = log_dir(config);
        let receivers = (0u16..)
            .zip(&config.sources)
            .map(|(number, source)| ReceiverOptions {
                number,
                config: source.clone(),
                server_id,
                server_uuid,
                spill_dir: log_dir.spool_path(),
                spill_size: usize::try_from(config.log.spill_size).unwrap_or(usize::MAX),
            });
        let receivers: Vec<_> = receivers.collect();
        let sources = config.sources.iter().map(|source| SourceParts {
            config: source.clone(),
            status: Arc::new(SourceStatus::default()),
            ledger: Arc::new(SourceCounters::default()),
        });
        let parts = Parts {
            server_id,
            server_uuid,
            started: Instant::now(),
            sources: sources.collect(),
        };
        let log_options = LogOptions {
            log_dir,
            server_id,
            max_size: config.log.max_size,
            sync: config.log.sync,
            source_names: source_names(config),
            stopping: Arc::new(AtomicBool::new(false)),
        };
        let identities = Arc::new(Identities::default());
        let flavor = config.relay.flavor;
        Self {
            log_options,
            flavor,
            receivers,
            parts: Arc::new(parts),
            identities,
        }
    }

    async fn run(
        self,
        resumed: Option<LogThread>,
        log_slot: &watch::Sender<Option<Arc<RelayLog>>>,
        shutdown: watch::Receiver<bool>,
    ) -> Result<(), RelayError> {
        let mut stop = shutdown.clone();
        let opening = self.open_log(resumed);
        let (writer, read_back) = tokio::select! {
            opened = opening => opened?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let log = writer.log().clone();
        let end = log.published();
        tracing::info!(
            "the relay log is open at {}:{}",
            log.log_dir().file_name(end.file),
            end.offset
        );
        log_slot.send_replace(Some(log.clone()));
        let (batches, queue) = mpsc::channel(QUEUE_LEN);
        let ledgers: Vec<_> = self
            .parts
            .sources
            .iter()
            .map(|source| source.ledger.clone())
            .collect();
        let runtime = Handle::current();
        let thread = std::thread::Builder::new()
            .name("relay-log".to_owned())
            .spawn(move || writer.run(queue, &ledgers, &runtime))
            .map_err(RelayError::Thread)?;
        let queue = Queue {
            batches,
            memory: Arc::new(Semaphore::new(QUEUE_KIB as usize)),
            memory_kib: QUEUE_KIB,
        };
        let shared = Shared {
            log: log.clone(),
            queue,
            identities: self.identities,
            read_back: Arc::new(read_back),
        };
        let mut receivers = JoinSet::new();
        for (options, source) in self.receivers.into_iter().zip(&self.parts.sources) {
            receivers.spawn(receiver::run(
                options,
                shared.clone(),
                source.ledger.clone(),
                source.status.clone(),
                shutdown.clone(),
            ));
        }
        drop(shared); // The thread ends when the last receiver has let go of the queue.
        let _ = stop.wait_for(|stop| *stop).await;
        receivers.join_all().await;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        match log.condition() {
            crate::relay_log::Condition::Failed(message) => Err(RelayError::Failed(message)),
            _ => Ok(()),
        }
    }

    /// Goes on with the log that is there.
    fn resume(&self, recovered: Recovered) -> Result<LogThread, RelayError> {
        for repair in &recovered.repairs {
            tracing::warn!("recovery: {repair}");
        }
        Ok(LogThread::resume(self.log_options.clone(), recovered)?)
    }

    /// The log that is there, or, when a source has answered, a new one.
    async fn open_log(
        &self,
        resumed: Option<LogThread>,
    ) -> Result<(LogThread, ReadBack), RelayError> {
        if let Some(writer) = resumed {
            return Ok((writer, ReadBack::new(Vec::new())));
        }
        let first =
            first_start::first_start(&self.receivers, self.flavor, &self.identities, &self.parts);
        let first = first.await;
        let options = self.log_options.clone();
        let read_back = ReadBack::new(first.read_back_to);
        let writer = LogThread::create(options, &first.format, first.before, first.progress)?;
        Ok((writer, read_back))
    }
}
