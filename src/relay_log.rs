//! Stage 4: the relay's own binlog: append, make durable, publish, recover, read.
//!
//! [`Writer`] appends, syncs and publishes; [`recover`] finds the log's state after a stop;
//! [`coordinates`] looks up positions, and [`reader`] reads files; [`held`], [`held_paths`] and [`bridge`]
//! attach replicas that followed something else; [`retention`] and [`purge`] remove old files. The writer knows nothing about
//! how the merge decides: [`crate::log_thread`] calls both.
#![doc = include_str!("relay_log/format.md")]

mod batch_count;
pub mod bridge;
mod check;
pub mod coordinates;
mod delivered_gtids;
mod durable_mark;
mod error;
pub mod files;
pub mod held;
pub mod held_origins;
pub mod held_paths;
pub mod index_reader;
pub mod index_record;
pub mod ledger;
mod names;
mod published;
pub mod purge;
mod purged_before;
pub mod reader;
mod recorded;
pub mod recover;
pub mod removed_until;
mod replay_pairing;
mod replica_acknowledgements;
mod reserve;
pub mod retention;
mod temporary_table;
mod timings;
mod writer;

pub use batch_count::BatchCount;
pub use check::LogBinding;
pub use error::{IndexMismatch, LogError};
pub use files::LogDir;
pub use published::{Condition, LastReceived, LogState, RelayLog, SourceProgress};
pub use recorded::{
    SentByServer, has_new_history, highest_sent_by, sent_by, was_recorded,
    without_transactions_from,
};
pub use replica_acknowledgements::{ReplicaAcknowledgements, ReplicaWait, Satisfied};
pub use retention::RetentionOptions;
pub use timings::{DurationReport, Timings};
pub use writer::{CarriedOver, HAND_OVER_MIN, LogOptions, OpenedLog, WriteError, Writer};

pub use crate::position::{RelayLogPosition, SourcePosition};
