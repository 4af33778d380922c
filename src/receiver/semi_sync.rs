//! Semi-synchronous replication: the relay acknowledges a source's transactions.
//!
//! A source with semi-sync replication waits with each commit until a replica has acknowledged its
//! transaction. [`negotiate`] requests that before a dump. Then the source marks the events that it wants
//! to be acknowledged, and [`Acknowledgements`] says when: once everything up to the event is durable in
//! the relay log and, if `semi_sync_wait_for_replicas` is set, acknowledged by as many replicas. Copies,
//! filtered transactions and the relay's own count as durable with the record of the commit index that
//! moves the source's position past them.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::within;
use super::control::SemiSync;
use super::dump_request::FIRST_EVENT;
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::old_servers::{first_known, is_unknown_variable};
use super::options::{ReceiverContext, ReceiverOptions};
use super::semi_sync_status::{SemiSyncStatus, problem};
use super::status::SourceStatus;
use crate::binlog::format_description::version_numbers;
use crate::connection::Connection;
use crate::flavor::Flavor;
use crate::log_thread::{RefusalNote, SourceCounters};
use crate::position::{RelayLogPosition, SourcePosition};
use crate::protocol::semi_sync::Acknowledgement;
use crate::relay_log::{RelayLog, ReplicaAcknowledgements, Satisfied};

/// `rpl_semi_sync_source_enabled` has another name before MySQL 8.0.26 and on MariaDB. Whatever the
/// value, a source that has the variable sends the header before each event to replicas that ask.
const QUESTIONS: &[&str] = &[
    "SELECT @@GLOBAL.rpl_semi_sync_source_enabled",
    "SELECT @@GLOBAL.rpl_semi_sync_master_enabled",
];
/// The first is read by MySQL from 8.0.26, the second by all others.
const REQUEST: &str = "SET @rpl_semi_sync_replica = 1, @rpl_semi_sync_slave = 1";

/// Requests that the dump be semi-synchronous, if the source supports it and `semi_sync` is set. Returns
/// the source's side of it; [`SemiSync::NotLoaded`] when nothing was requested.
///
/// # Errors
/// When the connection fails.
pub(super) async fn negotiate(
    connection: &mut Connection,
    options: &ReceiverOptions,
) -> Result<SemiSync, ReceiverError> {
    if !options.config.semi_sync {
        return Ok(SemiSync::NotLoaded);
    }
    let source = options.config.name.as_str();
    let row = match first_known(connection, QUESTIONS).await {
        Err(ReceiverError::Connection(error)) if is_unknown_variable(&error) => {
            tracing::warn!(source, "{}", problem(SemiSync::NotLoaded));
            return Ok(SemiSync::NotLoaded);
        }
        row => row?,
    };
    connection.execute(REQUEST).await?;
    let value = row.first().and_then(Option::as_deref).unwrap_or_default();
    match value {
        b"0" | b"OFF" => {
            tracing::warn!(source, "{}", problem(SemiSync::Off));
            Ok(SemiSync::Off)
        }
        _ => {
            tracing::info!(
                source,
                "transactions are acknowledged to the source (semi-sync)"
            );
            Ok(SemiSync::On)
        }
    }
}

/// Waits until a semi-synchronous dump may be requested. A source takes the request itself as the
/// acknowledgement of everything before its start, so that must be on disk, and acknowledged by the replicas
/// that are waited for, unless they do not do that in time.
pub(super) async fn until_acknowledgeable(log: &RelayLog, replicas: &ReplicaAcknowledgements) {
    let end = log.published();
    log.until_durable(end).await;
    let mut satisfied = replicas.follow();
    let waiting = satisfied.wait_for(|satisfied| satisfied.covers(end));
    if timeout(replicas.timeout(), waiting).await.is_err() {
        replicas.time_out(log.published());
    }
}

/// Waits until the source has loaded its plugin, if it had not when the dump was requested.
pub(super) async fn plugin_loaded(status: &SourceStatus) -> ReceiverError {
    status.semi_sync.wait_for_plugin().await;
    ReceiverError::SemiSyncLoaded
}

/// Coordinates that the source wants to be acknowledged, and when that may be done.
#[derive(Debug)]
struct Wanted {
    at: SourcePosition,
    /// How many of the source's batches must be durable.
    batches: u64,
}

/// Durable coordinates that replicas have to acknowledge first.
#[derive(Debug)]
struct Durable {
    at: SourcePosition,
    /// An end of the relay log with everything up to there.
    end: RelayLogPosition,
    since: Instant,
}

/// The acknowledgements of one dump.
#[derive(Debug)]
pub(super) struct Acknowledgements<'a> {
    /// The newest coordinates that the source wants to be acknowledged. They never go back.
    newest: SourcePosition,
    /// Whether that is since the last batch was passed on.
    is_wanted: bool,
    /// See [`Acknowledgements::note_skipped`].
    acknowledges_skipped: bool,
    /// Passed on. Bounded: entries have different `batches`, and the queue of batches is bounded.
    waiting: VecDeque<Wanted>,
    /// Durable here. Bounded as `waiting`: entries have different ends of the log.
    durable: VecDeque<Durable>,
    /// To be sent now.
    due: Option<SourcePosition>,
    batches: watch::Receiver<u64>,
    refusal: watch::Receiver<Option<RefusalNote>>,
    log: Arc<RelayLog>,
    replicas: Arc<ReplicaAcknowledgements>,
    satisfied: watch::Receiver<Satisfied>,
    write_timeout: Duration,
    status: &'a SemiSyncStatus,
    packet: Vec<u8>,
}

impl<'a> Acknowledgements<'a> {
    pub(super) fn new(
        options: &ReceiverOptions,
        context: &ReceiverContext,
        counters: &SourceCounters,
        status: &'a SourceStatus,
        facts: &SourceFacts,
    ) -> Self {
        let takes_any =
            facts.flavor == Flavor::MariaDb || version_numbers(&facts.version) >= (5, 7, 0);
        Self {
            newest: SourcePosition::default(),
            is_wanted: false,
            acknowledges_skipped: takes_any,
            waiting: VecDeque::new(),
            durable: VecDeque::new(),
            due: None,
            batches: counters.durable.subscribe(),
            refusal: counters.refusal.subscribe(),
            log: context.log.clone(),
            satisfied: context.acknowledged.follow(),
            replicas: context.acknowledged.clone(),
            write_timeout: options.config.read_timeout,
            status: &status.semi_sync,
            packet: Vec::new(),
        }
    }

    /// The source's dump has moved to `at`, outside any transaction, without an event: it has skipped
    /// transactions that the relay said it has. MySQL since 8.0 does not count them as acknowledged, and its
    /// clients would wait until another one, or its timeout.
    ///
    /// MySQL before 5.7 would take this for the answer to its next event.
    pub(super) fn note_skipped(&mut self, at: &SourcePosition) {
        if self.acknowledges_skipped && self.newest != *at {
            self.want(at, true);
        }
    }

    /// The source wants an acknowledgement of an event that ends at `at`. `is_whole`: it does not end
    /// inside a transaction.
    ///
    /// While it does not wait for acknowledgements, a source may mark any event, and MySQL 5.5 and 5.6
    /// send nothing more before an answer. Inside a transaction the answer covers only what precedes it.
    pub(super) fn want(&mut self, at: &SourcePosition, is_whole: bool) {
        self.is_wanted = true;
        if is_whole {
            self.newest = at.clone();
        } else if self.newest.file != at.file {
            self.newest = SourcePosition::new(at.file.clone(), FIRST_EVENT);
        }
    }

    /// Everything received is in the first `batches` batches of the source.
    pub(super) fn passed_on(&mut self, batches: u64) {
        if !std::mem::take(&mut self.is_wanted) {
            return;
        }
        let at = self.newest.clone();
        match self.waiting.back_mut() {
            Some(last) if last.batches == batches => last.at = at,
            _ => self.waiting.push_back(Wanted { at, batches }),
        }
    }

    /// Waits until an acknowledgement is to be sent. Cancel-safe.
    pub(super) async fn due(&mut self) {
        loop {
            self.note_durable();
            let limit = self.note_replicated();
            if self.due.is_some() {
                return;
            }
            let timeout = async {
                match limit {
                    Some(limit) => sleep_until(limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.batches.changed(), if !self.waiting.is_empty() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                changed = self.satisfied.changed(), if limit.is_some() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                () = timeout => self.replicas.time_out(self.log.published()),
                () = std::future::pending(), if self.waiting.is_empty() && limit.is_none() => {}
            }
        }
    }

    fn note_durable(&mut self) {
        let batches = *self.batches.borrow_and_update();
        while let Some(wanted) = self
            .waiting
            .pop_front_if(|wanted| wanted.batches <= batches)
        {
            // After a refusal, batches are counted whose transactions are not in the log.
            if self.refusal.borrow().is_some() {
                self.waiting.clear();
                return;
            }
            if !self.replicas.are_waited_for() {
                self.due = Some(wanted.at);
                continue;
            }
            let end = self.log.published();
            match self.durable.back_mut() {
                Some(last) if last.end == end => last.at = wanted.at,
                _ => self.durable.push_back(Durable {
                    at: wanted.at,
                    end,
                    since: Instant::now(),
                }),
            }
        }
    }

    /// Takes what the replicas have acknowledged. Returns until when to wait for them.
    fn note_replicated(&mut self) -> Option<Instant> {
        let satisfied = *self.satisfied.borrow_and_update();
        while let Some(durable) = self
            .durable
            .pop_front_if(|durable| satisfied.covers(durable.end))
        {
            self.due = Some(durable.at);
        }
        let first = self.durable.front()?;
        Some(first.since + self.replicas.timeout())
    }

    /// Sends the acknowledgement that is due.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) async fn send(&mut self, connection: &mut Connection) -> Result<(), ReceiverError> {
        let Some(at) = self.due.take() else {
            return Ok(());
        };
        let acknowledgement = Acknowledgement {
            file: at.file.as_bytes(),
            position: at.offset,
        };
        acknowledgement.encode(&mut self.packet);
        within(self.write_timeout, async {
            Ok(connection.write_acknowledgement(&self.packet).await?)
        })
        .await?;
        self.status.count();
        Ok(())
    }

    /// Waits for `queueing`, and sends what becomes due meanwhile.
    ///
    /// # Errors
    /// Those of `queueing`, and when the connection breaks.
    pub(super) async fn send_during(
        &mut self,
        queueing: impl Future<Output = Result<(), ReceiverError>>,
        connection: &mut Connection,
    ) -> Result<(), ReceiverError> {
        let mut queueing = pin!(queueing);
        loop {
            tokio::select! {
                biased;
                () = self.due() => {}
                queued = &mut queueing => return queued,
            }
            self.send(connection).await?;
        }
    }
}
