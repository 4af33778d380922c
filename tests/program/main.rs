//! The program without servers: configurations and command lines, errors at start, a recorded
//! master and recorded replicas, and the bodies of the fuzz targets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../recorded/mod.rs"]
mod recorded;
#[path = "../standin/mod.rs"]
mod standin;
#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod config_errors;
mod config_file;
mod fuzz_smoke;
mod hostile_sources;
mod http;
mod old_dual_masters;
mod old_servers;
mod package;
mod process;
mod reconnects;
mod recorded_peers;
mod refused_logs;
mod reload;
mod stage_failures;
mod standins;
mod start_errors;
mod terminal;
