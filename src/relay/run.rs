//! Starts the stages, waits, and stops them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

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
use crate::log_thread::{LogThread, Queued, SourceCounters};
use crate::receiver::control;
use crate::receiver::{
    self, ContinueRequest, Identities, Queue, ReadBack, ReceiverContext, ReceiverOptions,
    SourceStatus,
};
use crate::relay_log::recover::Recovered;
use crate::relay_log::{
    Condition, LogOptions, RelayLog, ReplicaAcknowledgements, ReplicaWait, bridge, purge,
};
use crate::sender::{self, Replicas};
use crate::status::{Parts, Report, SourceParts};

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
            self.config.clone(),
            self.sender,
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
            source_rows(pipeline.parts.clone(), log_slot.subscribe()),
            shutdown.clone(),
        );
        supervisor.spawn(Stage::AcceptLoop, until_stopped(accepting));
        let keeper = Keeper::new(pipeline.parts.clone(), replicas.clone());
        let keeping = retention::run(keeper, log_slot.subscribe(), shutdown.clone());
        supervisor.spawn(Stage::Retention, until_stopped(keeping));
        let (parts, slot) = (pipeline.parts.clone(), log_slot.subscribe());
        let connected = replicas.clone();
        let connected_to_report = replicas.clone();
        let forget = forgetting(log_slot.subscribe(), replicas.clone());
        let report = move || {
            let log: Option<Arc<RelayLog>> = slot.borrow().clone();
            parts.report(log.as_deref(), replicas.report())
        };
        let report: Arc<dyn Fn() -> Report + Send + Sync> = Arc::new(report);
        if let Some(listener) = self.http {
            let token = self.config.admin.http_token.clone();
            let answering = http::serve(listener, token, report.clone(), shutdown.clone());
            supervisor.spawn(Stage::HttpLoop, until_stopped(answering));
        }
        let options = adoption_options(&self.config, reloader.replica_user.subscribe());
        let adoption = Adoption::new(options, log_slot.subscribe());
        let answering = Answering {
            report,
            data_dir: self.data_dir.path().to_owned(),
            sources: Arc::new(pipeline.deciding.clone()),
            adoption: Arc::new(adoption),
            conflicts: pipeline.parts.conflicts.clone(),
            disconnect_replicas: Arc::new(move || connected.disconnect_replicas()),
            forget: Arc::new(forget),
            reload: Arc::new(move || reloader.reload()),
        };
        let answering = admin::serve(self.admin, answering, shutdown.clone());
        supervisor.spawn(Stage::AdminLoop, until_stopped(answering));
        let reporting = systemd::report(
            pipeline.parts.clone(),
            connected_to_report,
            shutdown.clone(),
        );
        supervisor.spawn(Stage::ServiceManager, until_stopped(reporting));
        let watching = watch_shutdown(pipeline.log_options.stopping.clone(), shutdown);
        supervisor.spawn(Stage::ShutdownWatcher, until_stopped(watching));
        let outcome = pipeline.run(resumed, &log_slot, &mut supervisor).await;
        if outcome.is_err() {
            supervisor.abort().await;
        }
        let _ = std::fs::remove_file(&self.config.admin.socket);
        drop(self.data_dir);
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
        receiver::announce_filters(data_dir, sources);
        let started = self.recovered.as_ref().map(started).unwrap_or_default();
        receiver::announce_starts(data_dir, sources, &started);
        receiver::keep_offered_tls(data_dir, sources);
    }
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

fn adoption_options(config: &Config, user: watch::Receiver<Option<String>>) -> AdoptionOptions {
    AdoptionOptions {
        server_id: config.relay.server_id,
        listen: config.relay.listen.clone(),
        user,
        sources: config.sources.clone(),
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
    receivers: Vec<(ReceiverOptions, Arc<SourceStatus>)>,
    /// By name: where an administrator's decisions are sent to, and, in the same order, where the receivers get
    /// them.
    deciding: Vec<(String, mpsc::Sender<ContinueRequest>)>,
    requests: Vec<mpsc::Receiver<ContinueRequest>>,
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
        let acknowledged = Arc::new(ReplicaAcknowledgements::new(ReplicaWait {
            replicas: config.relay.semi_sync_wait_for_replicas as usize,
            timeout: config.relay.semi_sync_timeout,
        }));
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
            acknowledged: acknowledged.clone(),
            alert: Mutex::new(config.alert),
            // One source cannot be in conflict.
            conflicts: (config.relay.detect_conflicts && config.sources.len() > 1)
                .then(Arc::default),
        };
        let receivers = (0u16..).zip(&parts.sources).map(|(number, source)| {
            let options = ReceiverOptions {
                number,
                config: source.config.clone(),
                server_id,
                server_uuid,
                report: (
                    relay.sender.host.report_host.clone(),
                    relay.sender.host.report_port,
                ),
                spill_dir: log_dir.spool_path(),
                spill_size: usize::try_from(config.log.spill_size).unwrap_or(usize::MAX),
            };
            (options, source.status.clone())
        });
        let receivers = receivers.collect();
        let channels = config.sources.iter().map(|source| {
            let (sender, receiver) = mpsc::channel(1);
            ((source.name.clone(), sender), receiver)
        });
        let (deciding, requests) = channels.unzip();
        Self {
            log_options: LogOptions {
                log_dir,
                server_id,
                max_size: config.log.max_size,
                sync: config.log.sync,
                source_names: source_names(config),
                retention: retention_options(&config.log),
                reserve: RESERVE_LEN,
                stopping: Arc::new(AtomicBool::new(false)),
            },
            flavor: config.relay.flavor,
            receivers,
            deciding,
            requests,
            parts: Arc::new(parts),
            identities: Arc::new(Identities::default()),
            acknowledged,
            shutdown,
        }
    }

    /// Opens the log, starts its thread and the receivers, and waits until all stages have ended.
    async fn run(
        self,
        resumed: Option<LogThread>,
        log_slot: &watch::Sender<Option<Arc<RelayLog>>>,
        supervisor: &mut Supervisor,
    ) -> Result<(), RelayError> {
        let opening = self.open_log(resumed);
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
        self.start_receivers(context, supervisor);
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
        let sources = self.parts.sources.iter();
        let ledgers: Vec<_> = sources.map(|source| source.ledger.clone()).collect();
        let (runtime, log) = (Handle::current(), writer.log().clone());
        let senders = batches.downgrade();
        let write = move || {
            writer.run(queue, &ledgers, &runtime);
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
        let sources = self.parts.sources.iter();
        let sources = sources.map(|source| (source.config.clone(), source.status.clone()));
        let sources = Sources::new(sources.collect(), Handle::current(), self.shutdown.clone());
        let log = log.clone();
        let find = move || {
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

    fn start_receivers(self, context: ReceiverContext, supervisor: &mut Supervisor) {
        let receivers = self.receivers.into_iter().zip(self.requests);
        for (((options, status), requests), source) in receivers.zip(&self.parts.sources) {
            let (config, shutdown) = (source.config.clone(), self.shutdown.clone());
            let stage = Stage::ControlConnection(config.name.clone());
            let watching = control::watch_source_end(config, status.clone(), shutdown);
            supervisor.spawn(stage, until_stopped(watching));
            let stage = Stage::Receiver(source.config.name.clone());
            let receiving = receiver::run(
                options,
                context.clone(),
                source.ledger.clone(),
                status,
                requests,
                self.shutdown.clone(),
            );
            supervisor.spawn(stage, async {
                match receiving.await {
                    Ok(()) => StageEnd::Stopped,
                    // The source is `failed`, and the others continue.
                    Err(_) => StageEnd::Finished,
                }
            });
        }
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
        &self,
        resumed: Option<LogThread>,
    ) -> Result<(LogThread, ReadBack), RelayError> {
        if let Some(writer) = resumed {
            return Ok((writer, ReadBack::new(Vec::new())));
        }
        let first = receiver::first_start(&self.receivers, self.flavor, &self.identities).await;
        let options = self.log_options.clone();
        let read_back = ReadBack::new(first.read_back_to);
        let writer = LogThread::create_after(
            options,
            &first.format,
            first.before,
            first.progress,
            &first.precedents,
        )?;
        Ok((writer, read_back))
    }
}
