//! Real servers, the real relay, replication between them, load, and comparisons of the results.
//!
//! Every test program and measuring program uses a part of this, so unused code is not reported.
#![allow(
    dead_code,
    unused_imports,
    reason = "each program uses its own part of the harness"
)]

pub mod administration;
pub mod attachment;
pub mod binlog_text;
pub mod browser;
pub mod chaos;
pub mod cross_database;
pub mod directories;
pub mod faulty_link;
pub mod filter_rules;
pub mod fingerprints;
pub mod foreign_clients;
pub mod history_changes;
pub mod http;
pub mod keepalived;
pub mod kind;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod many_clients;
pub mod network;
pub mod packages;
pub mod programs;
pub mod raw_client;
pub mod relay;
pub mod replication;
pub mod same_binlog;
pub mod semi_sync;
pub mod servers;
pub mod service;
pub mod small_disk;
pub mod tables;
pub mod throttle;
pub mod topology;
pub mod turns;
pub mod virtual_ip;

use std::time::{Duration, Instant};

pub use turns::{Turn, exclusive, turn};

/// How much the repeated tests do; BINRELAY_PROFILE names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// At least one seed of everything, in minutes: the default.
    Gate,
    /// All seeds, all pairs of servers and many more random inputs: hours.
    Long,
}

/// The profile of this run.
pub fn profile() -> Profile {
    match std::env::var("BINRELAY_PROFILE").as_deref() {
        Err(_) | Ok("gate") => Profile::Gate,
        Ok("long") => Profile::Long,
        Ok(other) => panic!("BINRELAY_PROFILE={other}: gate or long was expected"),
    }
}

/// The seeds of a repeated test: so many in each profile, unless BINRELAY_SEED fixes one or
/// BINRELAY_SEEDS sets the number.
pub fn seeds(gate: u64, long: u64) -> Vec<u64> {
    if let Some(seed) = number_from_env("BINRELAY_SEED") {
        return vec![seed];
    }
    let count = number_from_env("BINRELAY_SEEDS").unwrap_or(match profile() {
        Profile::Gate => gate,
        Profile::Long => long,
    });
    assert!(count > 0, "BINRELAY_SEEDS must be at least 1");
    (1..=count).collect()
}

/// The one seed of a test that runs once.
pub fn seed() -> u64 {
    number_from_env("BINRELAY_SEED").unwrap_or(1)
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: a number was expected")),
    )
}

/// Prints the seed when the test fails, so that the run can be repeated.
pub struct SeedNote(pub u64);

impl Drop for SeedNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this run: BINRELAY_SEED={}", self.0);
        }
    }
}

/// The end of a wait.
#[derive(Clone, Copy)]
pub struct Deadline {
    started: Instant,
    limit: Duration,
}

impl Deadline {
    pub fn after_secs(secs: u64) -> Deadline {
        Deadline {
            started: Instant::now(),
            limit: Duration::from_secs(secs),
        }
    }

    pub fn passed(&self) -> bool {
        self.started.elapsed() > self.limit
    }

    pub fn limit_secs(&self) -> u64 {
        self.limit.as_secs()
    }
}

/// The last `count` lines of a file, for messages about failures.
pub fn tail(path: &std::path::Path, count: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&bytes), count)
}

pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
