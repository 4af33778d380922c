//! Stage 4: the relay's own binlog: append, make durable, publish, recover, read.
//!
//! [`Writer`] appends, syncs and publishes; [`recover`] finds the log's state after a stop;
//! [`coordinates`] looks up positions, and [`reader`] reads files. The writer knows nothing about
//! how the merge decides: [`crate::log_thread`] calls both.
#![doc = include_str!("relay_log/format.md")]

mod check;
pub mod coordinates;
mod delivered_gtids;
mod durable_mark;
mod error;
pub mod files;
pub mod index_reader;
pub mod index_record;
pub mod ledger;
mod names;
mod published;
pub mod reader;
mod recorded;
pub mod recover;
mod replay_pairing;
mod temporary_table;
mod writer;

pub use check::LogBinding;
pub use error::{IndexMismatch, LogError};
pub use files::LogDir;
pub use published::{Condition, LastReceived, LogState, RelayLog, SourceProgress};
pub use recorded::{started_sources, was_recorded};
pub use writer::{CarriedOver, LogOptions, OpenedLog, WriteError, Writer};

pub use crate::position::{RelayLogPosition, SourcePosition};
