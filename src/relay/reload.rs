//! `binrelay reload` and SIGHUP: the configuration is read again while the relay runs.
//!
//! Everything is read and checked before anything is changed, so that a broken file changes nothing. Connections that
//! exist are kept, with the options with which they began.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::channels::ChannelHandle;
use super::open::{sender_options, tls_of};
use crate::admin::Reloaded;
use crate::config::{Change, Config, ConfigError, LogConfig, Privilege, SharedFilter, UserConfig};
use crate::receiver::{changed_starts, rules_that_differ};
use crate::relay_log::{RelayLog, RetentionOptions};
use crate::sender::{SenderOptions, SourceChangeError};
use crate::status::Parts;
use crate::tls;

/// The parts of the relay whose settings can change.
pub(super) struct Reloader {
    /// Held by a reload: the sources are changed in the order of the reloads.
    reloading: Mutex<()>,
    /// The configuration that is in effect, without what statements have changed.
    running: Mutex<Config>,
    channels: ChannelHandle,
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
        channels: ChannelHandle,
        parts: Arc<Parts>,
        log: watch::Receiver<Option<Arc<RelayLog>>>,
    ) -> Self {
        Self {
            replica_user: watch::Sender::new(replicating_user(&config)),
            running: Mutex::new(config),
            reloading: Mutex::default(),
            channels,
            sender: watch::Sender::new(Arc::new(sender)),
            parts,
            log,
        }
    }

    /// Reads the configuration again and applies what can change while the relay runs. It blocks, while files are read.
    pub(super) fn reload(&self) -> Reloaded {
        let _one_after_the_other = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let prepared = self.prepare(&self.running());
        match prepared {
            Ok(prepared) => self.apply(prepared),
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
        check_source_files(&config)?;
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

    fn running(&self) -> MutexGuard<'_, Config> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, prepared: Prepared) -> Reloaded {
        let Prepared {
            mut config,
            sender,
            changed,
            restart,
        } = prepared;
        let mut warnings = config.warnings.clone();
        let mut late = Vec::new();
        match self.change_sources(&mut config) {
            Ok(sentences) => warnings.extend(sentences),
            Err(text) => late.push(text),
        }
        warnings.extend(rules_that_differ(&config.sources));
        let started = self.started_sources();
        // With what statements have changed, as at the start of the relay.
        let followed = self.parts.sources.now();
        let followed: Vec<_> = followed
            .iter()
            .map(|source| source.config.clone())
            .collect();
        let starts = changed_starts(&config.relay.data_dir, &followed, &started);
        warnings.extend(
            starts
                .into_iter()
                .map(|(name, text)| format!("source {name}: {text}")),
        );
        self.replica_user.send_replace(replicating_user(&config));
        self.sender.send_replace(Arc::new(sender));
        self.parts.set_alert(config.alert);
        self.change_limits(&config.log);
        let path = config.path.clone();
        *self.running() = config;
        tracing::info!("the configuration was reloaded");
        for line in &changed {
            tracing::info!("changed: {line}");
        }
        for line in &restart {
            tracing::warn!("a restart is needed for a changed setting: {line}");
        }
        for warning in &warnings {
            tracing::warn!(file = %path.display(), "{warning}");
        }
        for line in &late {
            tracing::error!("not in effect yet: {line}");
        }
        Reloaded::Done {
            changed,
            restart,
            warnings,
            late,
        }
    }

    /// The sources of `config` are followed from now on, with its rules; returns what an administrator should know.
    /// The error says which of them are not followed so yet.
    fn change_sources(&self, config: &mut Config) -> Result<Vec<String>, String> {
        // Rules change between two transactions, without another connection.
        for old in &self.running().sources {
            let mut new = config.sources.iter_mut();
            if let Some(new) = new.find(|new| new.name == old.name) {
                old.filter.replace(new.filter.current());
                new.filter = old.filter.clone();
            }
        }
        let filter = SharedFilter::new(config.filter.clone());
        match self.channels.configure(config.sources.clone(), filter) {
            Ok(changed) => Ok(changed.warnings),
            Err(
                SourceChangeError::Refused(why)
                | SourceChangeError::Unknown(why)
                | SourceChangeError::Running(why),
            ) => Err(format!("sources: {why}")),
        }
    }

    /// The names of the sources of which the log has a position.
    fn started_sources(&self) -> Vec<String> {
        let Some(log) = self.log.borrow().clone() else {
            return Vec::new();
        };
        let state = log.state();
        let sources = self.parts.sources.now();
        let started = sources.iter().filter(|source| {
            let progress = state.sources.get(usize::from(source.number));
            progress.is_some_and(|progress| !progress.position.is_unknown())
        });
        started.map(|source| source.config.name.clone()).collect()
    }

    /// The log may have been opened with the limits of a configuration before a reload.
    fn log_opened(&self) {
        let log = self.running().log.clone();
        self.change_limits(&log);
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

/// Reads the files of each source as a connection to it would: a connection that exists must not be given up for one that
/// cannot be made.
fn check_source_files(config: &Config) -> Result<(), String> {
    let mut problems = Vec::new();
    for source in &config.sources {
        let key = source.source_public_key_file.as_deref();
        let found = tls::client_config(&source.tls).map(drop);
        let found =
            found.and_then(|()| key.map_or(Ok(()), |path| tls::read_public_key(path).map(drop)));
        if let Err(error) = found {
            let path = config.path.display();
            problems.push(format!("{path}: [source \"{}\"]: {error}", source.name));
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems.join("\n")),
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
