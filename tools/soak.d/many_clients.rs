//! Many clients at once: memory, and logins.

use std::path::Path;

use crate::support::many_clients::ManyClients;
use crate::support::servers::{self, Kind};

/// Idle clients, replicas, and logins while another address connects.
const IDLE: u64 = 1000;
const REPLICAS: u32 = 200;
const LOGINS: u32 = 300;

/// Prints the figures.
pub async fn run(relay: &Path) {
    servers::get(&[Kind::MySql]);
    let limits = "max_connections = 2000\nmax_connections_per_address = 2000";
    let mut clients = ManyClients::start(Some(relay), limits).await;
    println!(
        "{IDLE} idle clients: {} KiB each",
        kib(clients.idle_bytes(IDLE).await)
    );
    let streaming = clients.streaming_bytes(REPLICAS, 400).await;
    println!("{REPLICAS} replicas: {} KiB each", kib(streaming));
    println!(
        "the largest set of GTIDs: {:?}",
        clients.largest_set().await
    );
    drop(clients);
    let clients = ManyClients::start(Some(relay), "").await;
    println!(
        "connections without end from one address: {:?}",
        clients.knock(LOGINS)
    );
}

fn kib(bytes: u64) -> f64 {
    (bytes as f64 / 102.4).round() / 10.0
}
