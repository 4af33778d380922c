//! Stage 1: following one source.
//!
//! A receiver owns one connection to its source and acts as a replica of it:
//!
//! - `first_start`, `first_contact`: where the very first dump starts; `scan`, `source_queries`.
//! - `retry`: connection after connection, with a growing delay. A problem that only an
//!   administrator can resolve is reported as `failed` and retried after the longest delay.
//! - `orders`: what is to be done, which changes at run time.
//! - `follow`: one connection. `facts` asks which server answers, `resume` finds where to start,
//!   `dump_request` requests the dump.
//! - `stream`: packets become batches of transactions for the relay log; `packets`,
//!   `dump_position`, `listening`.
//! - `semi_sync`: acknowledges what is durable to sources that wait for it.
//! - `before_position`: what precedes a position, for a replica that followed the source.
//! - `continue_request`, `continuing`: an administrator's decision to continue a source at another position.
//! - `control`: a second connection, which asks for the source's own end and for privileges.
//!
//! Each source has its own receiver; a problem with one does not affect the others.

mod alignment;
mod auto_increment;
mod before_position;
mod binlog_check;
mod changing_filter;
mod check;
mod commit_times;
mod connect;
mod continue_request;
mod continue_warnings;
mod continuing;
pub mod control;
mod damage;
mod different_rules;
mod dump_position;
mod dump_request;
mod engine_binlog;
mod enqueue;
mod error;
mod event_boundary;
mod facts;
mod filter_changes;
mod first_contact;
mod first_start;
mod follow;
mod gtid_mode;
mod history;
mod history_record;
mod identities;
mod listening;
mod log_alignment;
mod moved_address;
mod newest_error;
mod newest_own;
mod old_servers;
mod options;
mod orders;
mod own_gtids;
mod own_transactions;
mod packets;
mod read_back;
mod rereading;
mod restored;
mod resume;
mod resumption;
mod retry;
mod scan;
mod semi_sync;
mod semi_sync_status;
mod shared_domain;
mod source_end;
mod source_queries;
mod source_retention;
mod source_settings;
mod start_changes;
mod status;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod withdrawal;
mod without_transactions;

pub use auto_increment::{AutoIncrement, auto_increment_collision};
pub use before_position::transactions_before;
pub use check::{CheckedSource, check_source};
pub use commit_times::lost_commit_times;
pub use connect::{keep_offered_tls, read_offered_tls};
pub use continue_request::{ContinueFrom, ContinueRequest};
pub use different_rules::{RuledSource, different_rules, filtering_sources, rules_that_differ};
pub use error::ReceiverError;
pub use facts::SourceFacts;
pub use filter_changes::{announce_filters, remember_filters};
pub use first_contact::FirstContact;
pub use first_start::{FirstStart, first_start};
pub use gtid_mode::GtidMode;
pub use history_record::{check as check_recorded_history, has_changed_history};
pub use identities::Identities;
pub use newest_error::LastError;
pub use options::{Queue, ReceiverContext, ReceiverOptions};
pub use orders::{Activity, Order, OrderSender, Orders};
pub use read_back::ReadBack;
pub use retry::run;
pub use semi_sync_status::{SEMI_SYNC_LOSING, SEMI_SYNC_PAUSED, SemiSyncStatus};
pub use source_end::SourceEnd;
pub use source_settings::{LoggingSettings, not_logging_updates};
pub use start_changes::{announce_starts, changed_starts};
pub use status::{SourceState, SourceStatus};
pub use withdrawal::{Wanted, Withdrawal, withdrawable};
