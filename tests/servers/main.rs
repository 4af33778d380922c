//! Tests with real servers as masters and replicas, and the real relay between them.
//!
//! Tests that start servers take turns (`support::turns`), whether they are threads of this
//! program or processes of their own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod any_of_three;
mod control_connection;
mod dump;
mod dump_rows;
mod features;
mod filters;
mod fingerprints;
mod foreign_clients;
mod harness_check;
mod histories;
mod incidents;
mod large_transactions;
mod log_is_a_binlog;
mod loss_of_master;
mod loss_of_relay;
mod matrix;
mod mixed_versions;
mod moved_replica;
mod no_gtids;
mod no_gtids_start;
mod refusals;
mod repeated_copies;
mod runtime_errors;
mod shared_domain;
mod slow_replica;
mod without_log_slave_updates;
