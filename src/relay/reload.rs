//! `binrelay reload` and SIGHUP: the configuration is read again while the relay runs.
//!
//! Everything is read and checked before anything is changed, so that a broken file changes nothing. Connections that
//! exist are kept, with the options with which they began.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use super::open::{sender_options, tls_of};
use crate::admin::Reloaded;
use crate::config::{Change, Config, ConfigError, LogConfig, Privilege, UserConfig};
use crate::receiver;
use crate::relay_log::{RelayLog, RetentionOptions};
use crate::sender::SenderOptions;
use crate::status::Parts;

/// The parts of the relay whose settings can change.
pub(super) struct Reloader {
    /// The configuration that is in effect.
    running: Mutex<Config>,
    /// For new connections of clients.
    pub(super) sender: watch::Sender<Arc<SenderOptions>>,
    /// The account that replicas use, for the statements that attach one.
    pub(super) replica_user: watch::Sender<Option<String>>,
    parts: Arc<Parts>,
    log: watch::Receiver<Option<Arc<RelayLog>>>,
}

/// What is read, checked, and not in effect yet.
struct Prepared {
    /// The configuration that will be in effect.
    config: Config,
    sender: SenderOptions,
    changed: Vec<String>,
    restart: Vec<String>,
}

impl Reloader {
    /// `config` and `sender` are in effect.
    pub(super) fn new(
        config: Config,
        sender: SenderOptions,
        parts: Arc<Parts>,
        log: watch::Receiver<Option<Arc<RelayLog>>>,
    ) -> Self {
        Self {
            replica_user: watch::Sender::new(replicating_user(&config)),
            running: Mutex::new(config),
            sender: watch::Sender::new(Arc::new(sender)),
            parts,
            log,
        }
    }

    /// Reads the configuration again and applies what can change while the relay runs. It blocks, while files are read.
    pub(super) fn reload(&self) -> Reloaded {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match self.prepare(&running) {
            Ok(prepared) => self.apply(&mut running, prepared),
            Err(text) => {
                for line in text.lines() {
                    tracing::error!(
                        "the configuration was not reloaded, and nothing was changed: {line}"
                    );
                }
                Reloaded::Refused(text)
            }
        }
    }

    /// Reads everything, and changes nothing. The error has a line for each problem.
    fn prepare(&self, running: &Config) -> Result<Prepared, String> {
        let new = Config::load(&running.path).map_err(|error| problems(&error))?;
        let config = running.with_changes_of(&new);
        let path = running.path.display();
        let before = self.sender.borrow().clone();
        let tls = tls_of(&config).map_err(|error| format!("{path}: [tls]: {error}"))?;
        let mut changed = lines(running.changes_to(&config));
        if tls.certificate != before.tls.certificate {
            changed.push("[tls]: clients see another certificate".to_owned());
        }
        Ok(Prepared {
            sender: sender_options(
                &config,
                tls,
                before.server_uuid,
                |user| {
                    let known = running.users.iter().find(|one| one.name == user.name);
                    let is_same = known.is_some_and(|known| known.has_password_of(user));
                    // With what it has learnt of the password.
                    is_same.then(|| before.accounts.stored_password(&user.name))?
                },
                before.accounts.shared_key(),
            ),
            restart: lines(config.changes_to(&new)),
            changed,
            config,
        })
    }

    fn apply(&self, running: &mut Config, prepared: Prepared) -> Reloaded {
        let Prepared {
            mut config,
            sender,
            changed,
            restart,
        } = prepared;
        for (source, new) in running.sources.iter().zip(&mut config.sources) {
            source.filter.replace(new.filter.current());
            new.filter = source.filter.clone();
        }
        receiver::remember_filters(&config.relay.data_dir, &config.sources);
        self.replica_user.send_replace(replicating_user(&config));
        self.sender.send_replace(Arc::new(sender));
        self.parts.set_alert(config.alert);
        *running = config;
        self.change_limits(&running.log);
        tracing::info!("the configuration was reloaded");
        for line in &changed {
            tracing::info!("changed: {line}");
        }
        for line in &restart {
            tracing::warn!("a restart is needed for a changed setting: {line}");
        }
        for warning in &running.warnings {
            tracing::warn!(file = %running.path.display(), "{warning}");
        }
        Reloaded::Done {
            changed,
            restart,
            warnings: running.warnings.clone(),
        }
    }

    /// The log may have been opened with the limits of a configuration before a reload.
    fn log_opened(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.change_limits(&running.log);
    }

    fn change_limits(&self, config: &LogConfig) {
        if let Some(log) = self.log.borrow().as_ref() {
            log.retention().change_options(retention_options(config));
        }
    }
}

/// Reloads at each SIGHUP, until the relay stops.
pub(super) async fn at_signals(
    reloader: Arc<Reloader>,
    hangup: Arc<Notify>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut log = reloader.log.clone();
    let mut is_open = false;
    loop {
        let opened = async {
            let _ = log.wait_for(Option::is_some).await;
        };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            () = opened, if !is_open => {
                is_open = true;
                reloader.log_opened();
                continue;
            }
            () = hangup.notified() => {}
        }
        let reloading = reloader.clone();
        let reloading = tokio::task::spawn_blocking(move || reloading.reload());
        if let Err(ended) = reloading.await
            && let Ok(panic) = ended.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The limits of the log's files.
pub(super) fn retention_options(log: &LogConfig) -> RetentionOptions {
    RetentionOptions {
        expire_after: log.expire_after,
        max_total_size: log.max_total_size,
        keep_for_replicas: log.keep_for_replicas,
        max_file_size: log.max_size,
    }
}

/// The first account that may replicate.
fn replicating_user(config: &Config) -> Option<String> {
    let mut users = config.users.iter();
    let replicates = |user: &&UserConfig| user.privileges.contains(&Privilege::Replication);
    users.find(replicates).map(|user| user.name.clone())
}

/// A line for each problem.
fn problems(error: &ConfigError) -> String {
    match error {
        ConfigError::Read { source, .. } => format!("{error}: {source}"),
        ConfigError::Invalid(_) => error.to_string(),
    }
}

fn lines(changes: Vec<Change>) -> Vec<String> {
    changes.iter().map(Change::to_string).collect()
}
