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

#[path = "../recorded/mod.rs"]
#[cfg(any(has_mysql_5_5, has_mysql_5_7))]
mod recorded;
#[path = "../standin/mod.rs"]
#[cfg(any(has_mysql_5_5, has_mysql_5_7))]
mod standin;
#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod adoption;
mod any_of_three;
mod catalog;
mod changed_server_id;
mod come_and_go;
mod compression;
mod conflicts;
mod control_connection;
mod copies;
mod day;
mod dead_master;
mod dump;
mod dump_malformed;
mod dump_options;
mod dump_rows;
mod everything_at_once;
mod features;
mod filters;
mod filters_at_start;
mod fingerprints;
mod foreign_clients;
mod gtid_modes;
mod harness_check;
mod histories;
mod incidents;
mod keepalived;
mod large_transactions;
mod log_is_a_binlog;
mod loss_of_master;
mod loss_of_relay;
mod many_clients;
mod matrix;
mod metrics;
mod mha;
mod mixed_versions;
mod moved_address;
mod moved_replica;
mod network_faults;
mod no_gtids;
mod no_gtids_start;
mod old_files;
mod page;
mod random_histories;
#[cfg(any(has_mysql_5_5, has_mysql_5_7))]
mod real_old_servers;
mod refusals;
mod reload;
mod repeated_copies;
mod retention;
mod runtime_errors;
mod semi_sync;
mod semi_sync_losses;
#[cfg(any(has_mysql_5_5, has_mysql_5_7))]
mod semi_sync_plugins;
mod semi_sync_replicas;
mod shared_domain;
mod slow_replica;
mod source_changes;
mod source_tls;
mod start_of_a_file;
mod starts;
mod statements;
mod temporary_tables;
mod trade;
#[cfg(has_mysql_5_7)]
mod two_relays;
mod until_gtid;
mod ways_back;
mod without_log_slave_updates;
