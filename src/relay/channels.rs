//! The sources that are followed, and how they change while the relay runs.
//!
//! ```text
//! statements, reload ──request──▶ Channels (one task) ─┬─ channels.toml
//!                                                      ├─ orders ──▶ receivers, control connections
//!                                                      ├─ Follow ──▶ log thread
//!                                                      └─ the list for status, SHOW REPLICA STATUS, conflicts, …
//! ```
//! One task owns the list, so changes happen one after the other: a change is first made durable in `channels.toml`, then
//! carried out. Sources are followed as the configuration says, with the changes of `channels.toml`:
//! [`Channels::reconcile`] compares the sources that are wanted with those that there are. Before the relay log has
//! begun, the list is made again instead, and the first start is repeated with it.

mod apply;
mod requests;
#[cfg(test)]
mod tests;

pub use requests::ChannelHandle;
pub(super) use requests::ChannelRequest;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::supervisor::{Spawner, Stage, StageEnd};
use crate::config::{Channel as Wanted, ChannelChanges, SharedFilter, SourceConfig};
use crate::gtid::Uuid;
use crate::log_thread::{FollowChange, NewPath, Queued};
use crate::receiver::{
    self, Activity, ContinueRequest, OrderSender, ReceiverContext, ReceiverOptions, SourceStatus,
    control,
};
use crate::relay_log::Condition;
use crate::sender::SourceChangeError;
use crate::status::{Parts, SourceParts};

/// Time limits.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// For a receiver or the log thread to carry out a change. A source that waits for a full disk may take longer.
    step: Duration,
    /// For finding a new position in a source's binlog.
    position: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(60),
            position: Duration::from_secs(120),
        }
    }
}

/// The settings of receivers that are the same for all sources.
#[derive(Debug, Clone)]
pub(super) struct ReceiverTemplate {
    /// The relay's own server_id.
    pub(super) server_id: u32,
    /// The relay's own server_uuid.
    pub(super) server_uuid: Uuid,
    /// See [`ReceiverOptions::report`].
    pub(super) report: (String, u16),
    /// See [`ReceiverOptions::spill_dir`].
    pub(super) spill_dir: PathBuf,
    /// See [`ReceiverOptions::spill_size`].
    pub(super) spill_size: usize,
    /// The largest transaction, in bytes.
    pub(super) max_transaction_size: u64,
}

/// Where the wanted sources come from.
#[derive(Debug, Clone)]
pub(super) struct Configured {
    /// The sources of the configuration file.
    pub(super) sources: Vec<SourceConfig>,
    /// The filter of sources that are added.
    pub(super) filter: SharedFilter,
    /// What was changed at run time.
    pub(super) changes: ChannelChanges,
}

impl Configured {
    /// The sources that are wanted.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        self.changes.apply(&self.sources, &self.filter)
    }
}

/// One source.
struct Channel {
    parts: SourceParts,
    orders: OrderSender,
    /// For its receiver, until that is started.
    requests: Option<mpsc::Receiver<ContinueRequest>>,
}

/// What receivers are started with, once the log has begun.
struct Running {
    context: ReceiverContext,
    spawner: Spawner,
    shutdown: watch::Receiver<bool>,
}

/// The sources.
pub(super) struct Channels {
    data_dir: PathBuf,
    template: ReceiverTemplate,
    configured: Configured,
    channels: Vec<Channel>,
    parts: Arc<Parts>,
    running: Option<Running>,
    limits: Limits,
}

impl Channels {
    /// The sources of `configured`; their list is in `parts` from now on. None is followed yet.
    pub(super) fn new(
        data_dir: PathBuf,
        template: ReceiverTemplate,
        configured: Configured,
        parts: Arc<Parts>,
    ) -> Self {
        let mut channels = Self {
            data_dir,
            template,
            configured,
            channels: Vec::new(),
            parts,
            running: None,
            limits: Limits::default(),
        };
        channels.make_again();
        channels
    }

    /// Before the log has begun: the list, with numbers from 0.
    fn make_again(&mut self) {
        let before = std::mem::take(&mut self.channels);
        let numbered = (0u16..).zip(self.configured.wanted());
        self.channels = numbered
            .map(|(number, wanted)| {
                let mut before = before.iter();
                let known = before.find(|known| known.parts.config.name == wanted.config.name);
                let config = self.remembering(wanted.config, known.map(|known| &known.parts));
                let status = known.map(|known| known.parts.status.clone());
                let wanted = Wanted { config, ..wanted };
                Channel::new(number, wanted, status.unwrap_or_default())
            })
            .collect();
        self.publish();
    }

    /// `config` with what was learnt about the source's address.
    fn remembering(&self, config: SourceConfig, before: Option<&SourceParts>) -> SourceConfig {
        let mut config = config;
        let before = before.map(|parts| &parts.config);
        match before.filter(|old| old.host == config.host && old.port == config.port) {
            Some(old) => config.offered_tls = old.offered_tls.clone(),
            None => receiver::keep_offered_tls(&self.data_dir, std::slice::from_ref(&config)),
        }
        config
    }

    fn publish(&self) {
        let channels = self.channels.iter();
        let sources = channels.map(|channel| channel.parts.clone());
        self.parts.sources.replace(sources.collect());
    }

    /// The names, by number.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let channels = self.channels.iter();
        channels
            .map(|channel| channel.parts.config.name.as_str().into())
            .collect()
    }

    /// The receivers, for the first start.
    pub(super) fn receivers(&self) -> Vec<(ReceiverOptions, Arc<SourceStatus>)> {
        let channels = self.channels.iter();
        let receivers = channels.map(|channel| {
            let options = self.options(&channel.parts);
            (options, channel.parts.status.clone())
        });
        receivers.collect()
    }

    fn options(&self, source: &SourceParts) -> ReceiverOptions {
        let template = self.template.clone();
        ReceiverOptions {
            number: source.number,
            config: source.config.clone(),
            server_id: template.server_id,
            server_uuid: template.server_uuid,
            report: template.report,
            spill_dir: template.spill_dir,
            spill_size: template.spill_size,
            max_transaction_size: template.max_transaction_size,
        }
    }

    /// Starts the receivers: the log has begun.
    pub(super) fn start(
        &mut self,
        context: ReceiverContext,
        spawner: Spawner,
        shutdown: watch::Receiver<bool>,
    ) {
        let running = Running {
            context,
            spawner,
            shutdown,
        };
        for number in 0..self.channels.len() {
            self.start_receiver(number, &running);
        }
        self.running = Some(running);
    }

    fn start_receiver(&mut self, at: usize, running: &Running) {
        let channel = self.channels.get(at);
        let Some(options) = channel.map(|channel| self.options(&channel.parts)) else {
            return;
        };
        if let Some(channel) = self.channels.get_mut(at) {
            channel.start(options, running);
        }
    }

    /// Makes the sources those that are wanted.
    async fn reconcile(&mut self) -> Result<(), SourceChangeError> {
        let Some(running) = self.running.take() else {
            self.make_again();
            return Ok(());
        };
        let outcome = self.reconcile_with(&running).await;
        self.running = Some(running);
        self.publish();
        outcome
    }

    async fn reconcile_with(&mut self, running: &Running) -> Result<(), SourceChangeError> {
        let wanted = self.configured.wanted();
        let is_wanted = |name: &str| wanted.iter().any(|one| one.config.name == name);
        let mut orders = Vec::new();
        let mut removed = Vec::new();
        // What is late for one source must not keep the others as they were.
        let mut late = Vec::new();
        for channel in &self.channels {
            let config = &channel.parts.config;
            // Its receiver may have ended since, after the request that removed it had given up waiting.
            let is_ending = channel.orders.activity() == Activity::Remove;
            if !is_ending && !is_wanted(&config.name) {
                if let Err(error) = apply::check_read_back(channel, running) {
                    late.push(error);
                    continue;
                }
                channel.orders.send(config.clone(), Activity::Remove);
            }
            if channel.orders.activity() == Activity::Remove {
                removed.push(config.name.clone());
            }
        }
        for name in removed {
            late.extend(self.remove(&name, running).await.err());
        }
        for wanted in wanted {
            let name = wanted.config.name.clone();
            let mut channels = self.channels.iter();
            match channels.position(|channel| channel.parts.config.name == name) {
                Some(at) => orders.extend(self.order(at, wanted)),
                None => late.extend(self.add(wanted, running).await.err()),
            }
        }
        // Shown before they are carried out: a stopped source must not look as if it were still followed.
        self.publish();
        for (name, number) in orders {
            late.extend(self.wait(&name, number).await.err());
        }
        all_of(late)
    }

    /// Sends an order to a source, if it is not as it is wanted.
    fn order(&mut self, at: usize, wanted: Wanted) -> Option<(String, u64)> {
        let before = self.channels.get(at)?.parts.clone();
        let activity = match wanted.is_stopped {
            true => Activity::Stop,
            false => Activity::Follow,
        };
        // A password in a file is read for each connection: only a source whose last attempt has failed needs an order.
        let needs_password = before.status.has_error()
            && activity == Activity::Follow
            && before.config.password.expose() != wanted.config.password.expose();
        // With other rules to follow, those of its own section or those of [filter], it is not.
        let is_same = before.config.has_same_settings(&wanted.config)
            && before.config.filter.is_shared_with(&wanted.config.filter)
            && !needs_password;
        let config = match is_same {
            true => before.config.clone(),
            false => self.remembering(wanted.config, Some(&before)),
        };
        let channel = self.channels.get_mut(at)?;
        channel.parts.changed = wanted.changed;
        if is_same && channel.orders.activity() == activity {
            return None;
        }
        channel.parts.config = config.clone();
        let name = config.name.clone();
        Some((name, channel.orders.send(config, activity)))
    }

    fn find(&self, name: &str) -> Option<&Channel> {
        let exact = |channel: &&Channel| channel.parts.config.name == name;
        let similar = |channel: &&Channel| channel.parts.config.name.eq_ignore_ascii_case(name);
        let mut channels = self.channels.iter();
        let found = channels.find(exact);
        found.or_else(|| self.channels.iter().find(similar))
    }

    /// Adds a source. Its path in the log may exist: then it continues where it was.
    async fn add(&mut self, wanted: Wanted, running: &Running) -> Result<(), SourceChangeError> {
        let name: Arc<str> = wanted.config.name.as_str().into();
        let paths = &running.context.paths;
        let number = paths.number_of(&name).unwrap_or_else(|| {
            let name = name.clone();
            let before = Vec::new();
            paths.add(NewPath { name, before })
        });
        let config = self.remembering(wanted.config, None);
        let wanted = Wanted { config, ..wanted };
        let channel = Channel::new(number, wanted, Arc::default());
        let counters = Some(channel.parts.counters.clone());
        let limit = self.limits.step;
        tell_log_thread(running, (number, name), counters, limit).await?;
        self.channels.push(channel);
        self.start_receiver(self.channels.len() - 1, running);
        Ok(())
    }

    /// Removes a source that was ordered to end.
    async fn remove(&mut self, name: &str, running: &Running) -> Result<(), SourceChangeError> {
        let Some(channel) = self.find(name) else {
            return Ok(());
        };
        let (number, status) = (channel.parts.number, &channel.parts.status);
        let order = channel.orders.newest_number();
        let limit = self.limits.step;
        if !channel.orders.wait(status, order, limit).await {
            return Err(is_late(name, limit));
        }
        running.context.identities.forget(number);
        tell_log_thread(running, (number, name.into()), None, limit).await?;
        // After the log thread knows it: then the other sources may begin the log.
        running.context.read_back.finish(number);
        self.channels
            .retain(|channel| channel.parts.number != number);
        Ok(())
    }
}

impl Channel {
    fn new(number: u16, wanted: Wanted, status: Arc<SourceStatus>) -> Self {
        let activity = match wanted.is_stopped {
            true => Activity::Stop,
            false => Activity::Follow,
        };
        match activity {
            Activity::Stop => status.set_stopped_by_order(),
            _ => status.set_begun(),
        }
        let (deciding, requests) = mpsc::channel(1);
        Self {
            orders: OrderSender::new(wanted.config.clone(), activity),
            parts: SourceParts {
                number,
                config: wanted.config,
                changed: wanted.changed,
                status,
                counters: Arc::default(),
                deciding,
            },
            requests: Some(requests),
        }
    }

    /// Whether a statement must stop it first.
    fn is_running(&self) -> bool {
        self.orders.activity() == Activity::Follow
            && self.parts.status.state() != receiver::SourceState::Failed
    }

    fn start(&mut self, options: ReceiverOptions, running: &Running) {
        let Some(requests) = self.requests.take() else {
            return;
        };
        let (name, status) = (self.parts.config.name.clone(), self.parts.status.clone());
        let end = |orders: &receiver::Orders| match orders.are_removed() {
            true => StageEnd::Finished,
            false => StageEnd::Stopped,
        };
        let (orders, shutdown) = (self.orders.subscribe(), running.shutdown.clone());
        let watching = control::watch_source_end(orders.clone(), status.clone(), shutdown);
        let stage = Stage::ControlConnection(name.clone());
        running.spawner.spawn(stage, async move {
            watching.await;
            end(&orders)
        });
        let orders = self.orders.subscribe();
        let receiving = receiver::run(
            options,
            running.context.clone(),
            (self.parts.counters.clone(), status),
            requests,
            orders.clone(),
            running.shutdown.clone(),
        );
        running.spawner.spawn(Stage::Receiver(name), async move {
            match receiving.await {
                Ok(()) => end(&orders),
                // The source is `failed`, and the others continue.
                Err(_) => StageEnd::Finished,
            }
        });
    }
}

/// Tells the log thread that a source is followed from now on, or no more.
async fn tell_log_thread(
    running: &Running,
    (source, name): (u16, Arc<str>),
    counters: Option<Arc<crate::log_thread::SourceCounters>>,
    limit: Duration,
) -> Result<(), SourceChangeError> {
    let late = is_late(&name, limit);
    let (done, carried_out) = oneshot::channel();
    let change = FollowChange {
        source,
        name,
        counters,
        done,
    };
    let telling = async {
        let queue = &running.context.queue.batches;
        let sent = queue.send(Queued::Follow(Box::new(change))).await;
        sent.is_ok() && carried_out.await.is_ok()
    };
    match tokio::time::timeout(limit, telling).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(log_is(&running.context.log.condition())),
        Err(_) => Err(late),
    }
}

/// What was not carried out, of several sources.
fn all_of(errors: Vec<SourceChangeError>) -> Result<(), SourceChangeError> {
    let mut texts: Vec<String> = errors
        .into_iter()
        .map(|error| match error {
            SourceChangeError::Refused(text)
            | SourceChangeError::Unknown(text)
            | SourceChangeError::Running(text) => text,
        })
        .collect();
    // If the log has failed it has for all.
    texts.dedup();
    match texts.is_empty() {
        true => Ok(()),
        false => Err(SourceChangeError::Refused(texts.join("; "))),
    }
}

fn is_late(name: &str, limit: Duration) -> SourceChangeError {
    SourceChangeError::Refused(format!(
        "the change of source {name} is recorded, but was not carried out within {} s: binrelay status shows why \
         the relay is busy; repeat the statement, or binrelay reload",
        limit.as_secs()
    ))
}

fn log_is(condition: &Condition) -> SourceChangeError {
    let state = match condition {
        Condition::Failed(message) => format!("failed: {message}"),
        Condition::DiskFull(message) => format!("waiting for space: {message}"),
        Condition::Running => "stopping".to_owned(),
    };
    SourceChangeError::Refused(format!("the relay log is {state}"))
}
