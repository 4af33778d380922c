//! The settings of a receiver, and the parts of the relay that it uses.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::identities::Identities;
use super::read_back::ReadBack;
use crate::config::SourceConfig;
use crate::gtid::Uuid;
use crate::log_thread::{Paths, Queued};
use crate::relay_log::{RelayLog, ReplicaAcknowledgements};

/// The settings of one receiver.
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
    /// The name and the port that the source shows for this replica.
    pub report: (String, u16),
    /// `data_dir/spool`.
    pub spill_dir: PathBuf,
    /// Transactions larger than this, in bytes, are assembled in `spill_dir`.
    pub spill_size: usize,
    /// A larger transaction, in bytes as it is kept, is refused.
    pub max_transaction_size: u64,
}

/// The queue into the relay log, shared by all receivers.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Accepts finished batches.
    pub batches: mpsc::Sender<Queued>,
    /// The memory that queued batches may use, in KiB.
    pub memory: Arc<Semaphore>,
    /// The initial number of permits of `memory`, in KiB.
    pub memory_kib: u32,
}

/// The parts of the relay that all receivers share.
#[derive(Debug, Clone)]
pub struct ReceiverContext {
    /// The relay log, for its state.
    pub log: Arc<RelayLog>,
    /// The queue into it.
    pub queue: Queue,
    /// Which server answered at each source.
    pub identities: Arc<Identities>,
    /// The names of the log's paths.
    pub paths: Arc<Paths>,
    /// Without GTIDs: sources that are read from before their start.
    pub read_back: Arc<ReadBack>,
    /// Semi-sync: what the relay's replicas have acknowledged.
    pub acknowledged: Arc<ReplicaAcknowledgements>,
}
