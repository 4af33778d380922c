//! Stage 1: following one source.
//!
//! A receiver owns one connection to its source. It poses as a replica: asks who answers
//! (`facts`), finds where to start (`start`), requests the dump, and turns packets into events
//! for the transaction stage (`stream`). When the connection breaks it connects again after a
//! growing delay; what only an administrator can mend it reports as `failed`, and looks again now
//! and then. Other sources are not affected.

mod check;
mod dump_position;
mod error;
mod facts;
mod listening;
mod read_back;
mod resume;
mod scan;
mod shared_domain;
mod start;
mod status;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::{Semaphore, mpsc, watch};

pub use check::{CheckedSource, check_source};
pub use error::ReceiverError;
pub use facts::SourceFacts;
pub use read_back::ReadBack;
pub use start::{FirstContact, first_contact};
pub use status::{LastError, SourceState, SourceStatus};

use crate::config::SourceConfig;
use crate::connection::Connection;
use crate::connection::client::{self, ConnectOptions};
use crate::gtid::Uuid;
use crate::log_thread::{QueuedBatch, SourceCounters};
use crate::relay_log::RelayLog;

/// Time limit for connecting and logging in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The read buffer of a dump connection, in bytes. Events up to this size are handled in place.
const READ_BUFFER_LEN: usize = 1024 * 1024;
/// A connection that held this long was a good one: the delay starts small again.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

/// What a receiver needs to know.
#[derive(Debug, Clone)]
pub struct ReceiverOptions {
    /// The source's number in the configuration, from 0.
    pub number: u16,
    /// The source's section of the configuration.
    pub config: SourceConfig,
    /// The relay's own server_id.
    pub server_id: u32,
    /// The relay's own server_uuid.
    pub server_uuid: Uuid,
    /// `data_dir/spool`.
    pub spill_dir: PathBuf,
    /// Transactions of more bytes than this go to `spill_dir`.
    pub spill_size: usize,
}

/// The way to the relay log, shared by all receivers.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Takes finished batches.
    pub batches: mpsc::Sender<QueuedBatch>,
    /// The memory that batches on their way may take, in KiB.
    pub memory: Arc<Semaphore>,
    /// How many KiB `memory` was made with.
    pub memory_kib: u32,
}

/// Who answers at which source, to find two sources that are one server.
#[derive(Debug, Default)]
pub struct Identities {
    known: Mutex<Vec<(u16, SourceFacts)>>,
    /// The server_ids of which it was said that they write to another source's GTID domain.
    warned: Mutex<BTreeSet<u32>>,
}

impl Identities {
    /// Notes who answers at `source`.
    ///
    /// # Errors
    /// When it is the relay itself, or has the server_id of another source.
    pub fn note(
        &self,
        source: u16,
        facts: &SourceFacts,
        own_server_id: u32,
    ) -> Result<(), ReceiverError> {
        let server_id = facts.server_id;
        if server_id == own_server_id {
            return Err(ReceiverError::setup(
                format!("the source has server_id {server_id}, which is the relay's own"),
                "give one of the two another server_id",
            ));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, _)| *other != source);
        if known.iter().any(|(_, other)| other.server_id == server_id) {
            return Err(ReceiverError::setup(
                format!("the source has server_id {server_id}, as another source of this relay"),
                "give each server a server_id of its own, or remove the source that is the same \
                 server",
            ));
        }
        known.push((source, facts.clone()));
        Ok(())
    }

    /// Forgets who answered at `source`: the connection is gone, and the address may move.
    pub fn forget(&self, source: u16) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, _)| *other != source);
    }
}

/// What all receivers share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The relay log, for its state.
    pub log: Arc<RelayLog>,
    /// The way to it.
    pub queue: Queue,
    /// Who answers where.
    pub identities: Arc<Identities>,
    /// Without GTIDs: what is read before the log begins.
    pub read_back: Arc<ReadBack>,
}

/// Follows the source until the relay stops.
pub async fn run(
    options: ReceiverOptions,
    shared: Shared,
    ledger: Arc<SourceCounters>,
    status: Arc<SourceStatus>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut attempts = 0u32;
    let mut connections = 0u64;
    loop {
        let began = Instant::now();
        connections += 1;
        status.set_state(SourceState::Connecting);
        let following = stream::follow(&options, &shared, &ledger, &status, connections);
        let error = tokio::select! {
            error = following => error,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        shared.identities.forget(options.number);
        status.count_reconnect();
        let line = error.to_line();
        let source = options.config.name.as_str();
        if error.is_failure() {
            tracing::error!(source, "{line}");
        } else {
            tracing::warn!(source, "{line}");
        }
        status.note_error(&error);
        if matches!(error, ReceiverError::LogClosed | ReceiverError::Refused(_)) {
            break; // Nothing but a restart helps.
        }
        attempts = if began.elapsed() > GOOD_CONNECTION {
            0
        } else {
            attempts + 1
        };
        let delay = retry_delay(&options.config, attempts, error.is_failure());
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
    }
    status.set_stopped();
}

/// `connect_retry`, doubled with each attempt up to `connect_retry_max`, and spread so that many
/// relays do not come back in step. What an administrator must mend is looked at again at the
/// longest delay.
fn retry_delay(config: &SourceConfig, attempts: u32, failed: bool) -> Duration {
    let doubled = config
        .connect_retry
        .saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let longest = config.connect_retry_max;
    let delay = if failed {
        longest
    } else {
        doubled.min(longest)
    };
    delay.mul_f64(rand::rng().random_range(0.75..1.0))
}

/// Connects, logs in, and asks who answers.
async fn connect(options: &ReceiverOptions) -> Result<(Connection, SourceFacts), ReceiverError> {
    let config = &options.config;
    let connecting = ConnectOptions {
        host: config.host.clone(),
        port: config.port,
        user: config.user.clone(),
        password: config.password.clone(),
        tls: config.tls.clone(),
        connect_timeout: CONNECT_TIMEOUT,
        read_buffer_size: READ_BUFFER_LEN,
    };
    let (mut connection, greeting) = client::connect(&connecting).await?;
    let asking = SourceFacts::ask(&mut connection, &greeting);
    let facts = in_time(config.read_timeout, asking).await?;
    Ok((connection, facts))
}

/// Gives up when the source does not answer in time.
async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, ReceiverError>>,
) -> Result<T, ReceiverError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ReceiverError::Silent(limit)),
    }
}
