//! Conflicts: the same key was changed on two masters, and neither had the other's change.
//!
//! ```text
//! published log ──▶ commit indexes ──▶ window: which transactions ──▶ certain? ──▶ counted, listed,
//!  and indexes       (index_follower)   are concurrent, which keys     (sources)    logged (registry)
//!                                       they have (row_keys)
//! ```
//! One thread ([`Finder`]) reads what is published, as a sender does.
#![doc = include_str!("conflicts/conflicts.md")]

mod describe;
mod finder;
mod index_follower;
mod log_events;
mod messages;
mod registry;
mod row_keys;
mod sources;
mod text;
mod window;

pub use finder::Finder;
pub use messages::{Conflict, ConflictReport, ConflictingWrite, NotCompared, list};
pub use registry::Conflicts;
pub use sources::Sources;
