//! Starts the stages, waits, and stops them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::channels::{ChannelHandle, ChannelRequest, Channels, Configured, ReceiverTemplate};
use super::error::RelayError;
use super::forget::forgetting;
use super::open::{Relay, log_dir, source_names};
use super::reload::{self, Reloader, retention_options};
use super::retention::{self, Keeper};
use super::source_rows::source_rows;
use super::supervisor::{Stage, StageEnd, Supervisor};
use super::systemd;
use crate::admin::{self, Answering};
use crate::adoption::{Adoption, AdoptionOptions};
use crate::config::{Config, FlavorChoice};
use crate::conflicts::{Finder, Sources};
use crate::fault;
use crate::http;
use crate::log_thread::{LogThread, Queued};
use crate::receiver::{self, FirstStart, Identities, Queue, ReadBack, ReceiverContext};
use crate::relay_log::recover::Recovered;
use crate::relay_log::{
    Condition, HAND_OVER_MIN, LogOptions, RelayLog, ReplicaAcknowledgements, bridge, purge,
};
use crate::sender::{self, Replicas, SourceAccess};
use crate::status::{Parts, Report, SourceList};

/// The most batches that wait for the relay log.
const QUEUE_LEN: usize = 64;
/// The most memory that they may use, in KiB.
const QUEUE_KIB: u32 = 16 * 1024;
/// Bytes of the disk that are reserved for the commit index and the list of files.
const RESERVE_LEN: u64 = 8 * 1024 * 1024;

impl Relay {
    /// Runs until `shutdown` is true, then stops the stages. `hangup` is notified of each SIGHUP.
    ///
    /// # Errors
    /// When the log cannot be created, has failed, or a stage ended unexpectedly.
    pub async fn run(
        self,
        shutdown: watch::Receiver<bool>,
        hangup: Arc<Notify>,
    ) -> Result<(), RelayError> {
        self.announce();
        let (handle, requests) = ChannelHandle::new();
        let pipeline = Pipeline::new(&self, shutdown.clone());
        let resumed = match self.recovered {
            Some(recovered) => Some(pipeline.resume(recovered)?),
            None => None,
        };
        // If there is a log already, the first client that is answered finds it.
        let log = resumed.as_ref().map(|writer| writer.log().clone());
        let log_slot = watch::Sender::new(log);
        let replicas = Arc::new(Replicas::new(pipeline.acknowledged.clone()));
        let mut supervisor = Supervisor::new(shutdown.clone());
        let reloader = Arc::new(Reloader::new(
            file_config(&self.config, &self.configured),
            self.sender,
            handle.clone(),
            pipeline.parts.clone(),
            log_slot.subscribe(),
        ));
        let reloading = reload::at_signals(reloader.clone(), hangup, shutdown.clone());
        supervisor.spawn(Stage::Reload, until_stopped(reloading));
        let accepting = sender::run(
            self.listener,
            reloader.sender.subscribe(),
            log_slot.subscribe(),
            replicas.clone(),
            source_access(&pipeline.parts, &log_slot, &handle),
            shutdown.clone(),
        );
        supervisor.spawn(Stage::AcceptLoop, until_stopped(accepting));
        let keeper = Keeper::new(pipeline.parts.clone(), replicas.clone());
        let keeping = retention::run(keeper, log_slot.subscribe(), shutdown.clone());
        supervisor.spawn(Stage::Retention, until_stopped(keeping));
        let (connected, shown) = (replicas.clone(), replicas.clone());
        let forget = forgetting(log_slot.subscribe(), replicas.clone());
        let report = reporting(pipeline.parts.clone(), log_slot.subscribe(), replicas);
        if let Some(listener) = self.http {
            let token = self.config.admin.http_token.clone();
            let answering = http::serve(listener, token, report.clone(), shutdown.clone());
            supervisor.spawn(Stage::HttpLoop, until_stopped(answering));
        }
        let users = reloader.replica_user.subscribe();
        let adoption = adoption(&self.config, users, &pipeline.parts, &log_slot);
        let answering = Answering {
            report,
            data_dir: self.data_dir.path().to_owned(),
            parts: pipeline.parts.clone(),
            adoption: Arc::new(adoption),
            disconnect_replicas: Arc::new(move || connected.disconnect_replicas()),
            forget: Arc::new(forget),
            reload: Arc::new(move || reloader.reload()),
        };
        let answering = admin::serve(self.admin, answering, shutdown.clone());
        supervisor.spawn(Stage::AdminLoop, until_stopped(answering));
        let to_systemd = systemd::report(pipeline.parts.clone(), shown, shutdown.clone());
        supervisor.spawn(Stage::ServiceManager, until_stopped(to_systemd));
        let watching = watch_shutdown(pipeline.log_options.stopping.clone(), shutdown);
        supervisor.spawn(Stage::ShutdownWatcher, until_stopped(watching));
        let outcome = pipeline
            .run(resumed, &log_slot, requests, &mut supervisor)
            .await;
        let have_all_ended = outcome.is_ok() || supervisor.abort().await;
        // The log thread does not wait for the thread that syncs when it panics.
        let have_all_ended =
            have_all_ended && !matches!(outcome, Err(RelayError::StageEnded { .. }));
        let _ = std::fs::remove_file(&self.config.admin.socket);
        if !have_all_ended {
            // One may still write files: no other relay may use the directory before this process has ended.
            std::mem::forget(self.data_dir);
        }
        outcome
    }

    /// Logs what runs, and what has changed in the configuration since the last run.
    fn announce(&self) {
        let (data_dir, sources) = (self.data_dir.path(), &self.config.sources);
        tracing::info!(
            "binrelay {}: server_id {}, data_dir {}, listening on {}",
            env!("CARGO_PKG_VERSION"),
            self.config.relay.server_id,
            data_dir.display(),
            self.config.relay.listen
        );
        let configured = &self.configured;
        for sentence in configured.changes.sentences(&configured.sources, data_dir) {
            tracing::warn!("{sentence}");
        }
        receiver::announce_filters(data_dir, sources);
        let started = self.recovered.as_ref().map(started).unwrap_or_default();
        receiver::announce_starts(data_dir, sources, &started);
    }
}

/// Makes reports of the state.
fn reporting(
    parts: Arc<Parts>,
    log: watch::Receiver<Option<Arc<RelayLog>>>,
    replicas: Arc<Replicas>,
) -> Arc<dyn Fn() -> Report + Send + Sync> {
    Arc::new(move || {
        let log = log.borrow().clone();
        parts.report(log.as_deref(), &replicas)
    })
}

/// Makes the log thread give up waiting for disk space when the relay stops.
async fn watch_shutdown(stopping: Arc<AtomicBool>, mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
    fault::stall("shutdown").await;
    stopping.store(true, Ordering::Relaxed);
}

/// The names of the sources of which the log has a position.
fn started(recovered: &Recovered) -> Vec<String> {
    let sources = recovered.sources.iter();
    let started = sources.filter(|(_, progress)| !progress.position.is_unknown());
    started.map(|(name, _)| name.to_string()).collect()
}

/// The configuration without what statements have changed.
fn file_config(config: &Config, configured: &Configured) -> Config {
    Config {
        sources: configured.sources.clone(),
        ..config.clone()
    }
}

/// Where the relay log is, once there is one.
type LogSlot = watch::Sender<Option<Arc<RelayLog>>>;

/// What sessions see of the sources, and how they change them.
fn source_access(parts: &Arc<Parts>, log: &LogSlot, handle: &ChannelHandle) -> SourceAccess {
    SourceAccess {
        rows: source_rows(parts.clone(), log.subscribe()),
        changes: handle.changes(),
    }
}

fn adoption(
    config: &Config,
    user: watch::Receiver<Option<String>>,
    parts: &Arc<Parts>,
    log: &LogSlot,
) -> Adoption {
    let parts = parts.clone();
    let read_sources = move || {
        let sources = parts.sources.now();
        let sources = sources.iter();
        sources
            .map(|source| (source.number, source.config.clone()))
            .collect()
    };
    Adoption::new(
        adoption_options(config, user),
        Box::new(read_sources),
        log.subscribe(),
    )
}

fn adoption_options(config: &Config, user: watch::Receiver<Option<String>>) -> AdoptionOptions {
    AdoptionOptions {
        server_id: config.relay.server_id,
        listen: config.relay.listen.clone(),
        user,
        sources: Vec::new(),
    }
}

/// A stage that returns at shutdown only.
async fn until_stopped(stage: impl Future<Output = ()>) -> StageEnd {
    stage.await;
    StageEnd::Stopped
}

/// The receivers and the relay log.
struct Pipeline {
    log_options: LogOptions,
    flavor: FlavorChoice,
    channels: Channels,
    parts: Arc<Parts>,
    identities: Arc<Identities>,
    acknowledged: Arc<ReplicaAcknowledgements>,
    shutdown: watch::Receiver<bool>,
}

impl Pipeline {
    fn new(relay: &Relay, shutdown: watch::Receiver<bool>) -> Self {
        let config = &relay.config;
        let server_uuid = relay.data_dir.server_uuid();
        let server_id = config.relay.server_id;
        let log_dir = log_dir(config);
        let wait = relay.sender.replica_wait;
        let acknowledged = Arc::new(ReplicaAcknowledgements::new(wait));
        let parts = Parts {
            server_id,
            server_uuid,
            started: Instant::now(),
            sources: SourceList::default(),
            acknowledged: acknowledged.clone(),
            alert: Mutex::new(config.alert),
            conflicts: config.relay.detect_conflicts.then(Arc::default),
        };
        let parts = Arc::new(parts);
        let template = ReceiverTemplate {
            server_id,
            server_uuid,
            report: (
                relay.sender.host.report_host.clone(),
                relay.sender.host.report_port,
            ),
            spill_dir: log_dir.spool_path(),
            spill_size: usize::try_from(config.log.spill_size).unwrap_or(usize::MAX),
            max_transaction_size: config.limits.max_transaction_size,
        };
        let channels = Channels::new(
            relay.data_dir.path().to_owned(),
            template,
            relay.configured.clone(),
            parts.clone(),
        );
        Self {
            log_options: LogOptions {
                log_dir,
                server_id,
                max_size: config.log.max_size,
                sync: config.log.sync,
                source_names: source_names(config),
                retention: retention_options(&config.log),
                reserve: RESERVE_LEN,
                hand_over_min: HAND_OVER_MIN,
                stopping: Arc::new(AtomicBool::new(false)),
            },
            flavor: config.relay.flavor,
            channels,
            parts,
            identities: Arc::new(Identities::default()),
            acknowledged,
            shutdown,
        }
    }

    /// Opens the log, starts its thread and the receivers, and waits until all stages have ended.
    async fn run(
        mut self,
        resumed: Option<LogThread>,
        log_slot: &watch::Sender<Option<Arc<RelayLog>>>,
        mut requests: mpsc::Receiver<ChannelRequest>,
        supervisor: &mut Supervisor,
    ) -> Result<(), RelayError> {
        let opening = self.open_log(resumed, &mut requests);
        let opened = tokio::select! {
            opened = opening => Some(opened?),
            stopped = supervisor.wait_for_shutdown() => {
                stopped?;
                None
            }
        };
        let Some((writer, read_back)) = opened else {
            return supervisor.drain().await;
        };
        let log = writer.log().clone();
        let paths = writer.paths().clone();
        let end = log.published();
        tracing::info!(
            "the relay log is open at {}:{}",
            log.log_dir().file_name(end.file),
            end.offset
        );
        log_slot.send_replace(Some(log.clone()));
        let batches = self.start_log_thread(writer, supervisor)?;
        self.start_finder(&log, supervisor)?;
        let context = ReceiverContext {
            log: log.clone(),
            queue: Queue {
                batches,
                memory: Arc::new(Semaphore::new(QUEUE_KIB as usize)),
                memory_kib: QUEUE_KIB,
            },
            identities: self.identities.clone(),
            paths,
            read_back: Arc::new(read_back),
            acknowledged: self.acknowledged.clone(),
        };
        let (mut channels, shutdown) = (self.channels, self.shutdown);
        channels.start(context, supervisor.spawner(), shutdown.clone());
        supervisor.spawn(Stage::SourceChanges, channels.run(requests, shutdown));
        supervisor.wait_for_shutdown().await?;
        supervisor.drain().await?;
        match log.condition() {
            Condition::Failed(message) => Err(RelayError::Failed(message)),
            _ => Ok(()),
        }
    }

    /// Starts the log thread; it ends when the last receiver has dropped its end of the queue, or
    /// when the log fails.
    fn start_log_thread(
        &self,
        writer: LogThread,
        supervisor: &mut Supervisor,
    ) -> Result<mpsc::Sender<Queued>, RelayError> {
        let (batches, queue) = mpsc::channel(QUEUE_LEN);
        let sources = self.parts.sources.now();
        let counters: Vec<_> = sources.iter().map(|one| one.counters.clone()).collect();
        let (runtime, log) = (Handle::current(), writer.log().clone());
        let senders = batches.downgrade();
        let write = move || {
            writer.run(queue, &counters, &runtime);
            let has_failed = matches!(log.condition(), Condition::Failed(_));
            match has_failed || senders.upgrade().is_none() {
                true => StageEnd::Finished,
                false => StageEnd::Stopped,
            }
        };
        let thread = std::thread::Builder::new()
            .name("relay-log".to_owned())
            .spawn(write)
            .map_err(RelayError::Thread)?;
        supervisor.watch_thread(Stage::LogThread, thread);
        Ok(batches)
    }

    /// Starts the thread that finds conflicts of the sources, where that is configured.
    fn start_finder(
        &self,
        log: &Arc<RelayLog>,
        supervisor: &mut Supervisor,
    ) -> Result<(), RelayError> {
        let Some(conflicts) = self.parts.conflicts.clone() else {
            return Ok(());
        };
        let parts = self.parts.clone();
        let read = move || {
            let sources = parts.sources.now();
            let sources = sources.iter();
            sources
                .map(|source| (source.config.clone(), source.status.clone()))
                .collect()
        };
        let mut sources = Sources::new(Box::new(read), Handle::current(), self.shutdown.clone());
        let log = log.clone();
        let find = move || {
            // One source cannot be in conflict.
            sources.wait_for_two();
            Finder::new(log, conflicts, sources).run();
            StageEnd::Stopped
        };
        let thread = std::thread::Builder::new()
            .name("conflicts".to_owned())
            .spawn(find)
            .map_err(RelayError::Thread)?;
        supervisor.watch_thread(Stage::ConflictFinder, thread);
        Ok(())
    }

    /// Continues the existing log.
    fn resume(&self, recovered: Recovered) -> Result<LogThread, RelayError> {
        for repair in &recovered.repairs {
            tracing::warn!("recovery: {repair}");
        }
        let log_dir = &self.log_options.log_dir;
        purge::delete_leftovers(log_dir, &recovered.files, recovered.log_id)?;
        bridge::remove_useless(log_dir, &recovered.files)?;
        Ok(LogThread::resume(self.log_options.clone(), recovered)?)
    }

    /// The existing log or, when a source has answered, a new one.
    async fn open_log(
        &mut self,
        resumed: Option<LogThread>,
        requests: &mut mpsc::Receiver<ChannelRequest>,
    ) -> Result<(LogThread, ReadBack), RelayError> {
        if let Some(writer) = resumed {
            return Ok((writer, ReadBack::new(Vec::new())));
        }
        let first = self.first_start(requests).await;
        let options = LogOptions {
            source_names: self.channels.names(),
            ..self.log_options.clone()
        };
        let read_back = ReadBack::new(first.read_back_to);
        let writer = LogThread::create_after(
            options,
            &first.format,
            first.before,
            first.progress,
            &first.preceding,
        )?;
        Ok((writer, read_back))
    }

    /// Asks the sources until one has answered. It begins again when they are changed meanwhile.
    async fn first_start(&mut self, requests: &mut mpsc::Receiver<ChannelRequest>) -> FirstStart {
        loop {
            let receivers = self.channels.receivers();
            let request = tokio::select! {
                first = receiver::first_start(&receivers, self.flavor, &self.identities) => {
                    return first;
                }
                Some(request) = requests.recv() => request,
            };
            for (options, _) in receivers {
                self.identities.forget(options.number);
            }
            self.channels.answer(request).await;
        }
    }
}
