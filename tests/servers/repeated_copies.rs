//! A MySQL 5.6 without GTIDs that is killed while it replicates logs again what it applied last
//! without changing an InnoDB table: its position had not been stored. Replicas of the relay apply
//! once what it logs twice, and also every transaction that only looks the same.
//!
//! `BINRELAY_PROFILE=long tools/test --test servers repeated_copies` runs more seeds.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support;
use crate::support::binlog_text::read_open_file;
use crate::support::servers::Kind;
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{SeedNote, seeds};

/// Most find nothing to change at most times; all look alike again and again.
const STATEMENTS: [&str; 6] = [
    "DELETE FROM counted WHERE n % 7 = 0",
    "DELETE FROM counted WHERE n % 11 = 0",
    "DELETE FROM counted WHERE n < 0",
    "UPDATE counted SET n = n + 1 WHERE n % 13 = 0",
    "DROP TABLE IF EXISTS never_there",
    "INSERT INTO counted (n) VALUES (7)",
];

#[tokio::test(flavor = "multi_thread")]
async fn copies_repeated_by_a_killed_master_are_kept_once() {
    let _turn = support::turn();
    for seed in seeds(1, 20) {
        let _note = SeedNote(seed);
        run(seed).await;
    }
}

async fn run(seed: u64) {
    // An even seed: MIXED.
    let mut options = TopologyOptions::new(Mode::MySqlNoGtids, seed * 2);
    options.master_kind = Kind::MySql56;
    options.replica_kind = Kind::MySql56;
    options.replicas = 1;
    options.attach_extra = support::replication::retry_each_second(Kind::MySql56);
    let mut topology = Topology::start(options).await;
    topology
        .m2
        .sql("USE test; CREATE TABLE counted (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL)")
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut random = StdRng::seed_from_u64(seed);
    let load = tokio::spawn(write(
        topology.m2.connect().await,
        StdRng::seed_from_u64(seed),
        stop.clone(),
    ));
    for round in 0..6 {
        run_for(random.random_range(400..900)).await;
        topology.m1.kill9();
        if round % 3 == 2 {
            topology.relay.kill9();
            topology.relay.restart();
        }
        topology.restart_m1().await;
    }
    run_for(300).await;
    stop.store(true, Ordering::Relaxed);
    let count = load.await.expect("the load continues");
    topology.settle(120).await;

    let replica = &topology.replicas[0];
    assert_same_tables(&topology.m1, &topology.m2, "test").await;
    assert_same_tables(&topology.m2, replica, "test").await;
    let log = topology.relay.log();
    let repeated = log.matches("a second time").count();
    println!(
        "seed {seed}: {count} statements, some of them twice on M1 after {repeated} of 6 kills"
    );
    let of_m2 = statements(&topology.m2.log_files(), topology.m2.options.server_id);
    assert_eq!(of_m2.len() as u64, count, "statements in M2's binlog");
    let relayed = statements(&topology.relay.log_files(), topology.m2.options.server_id);
    assert!(of_m2 == relayed, "{}", first_difference(&of_m2, &relayed));
    assert!(repeated > 0, "M1 has logged none twice: nothing was tried");
    topology.relay.terminate();
    topology.relay.verify();
}

/// Runs statements until told to stop; returns how many.
async fn write(mut conn: Conn, mut random: StdRng, stop: Arc<AtomicBool>) -> u64 {
    conn.query_drop("USE test").await.expect("the database");
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let statement = STATEMENTS[random.random_range(0..STATEMENTS.len())];
        conn.query_drop(statement).await.expect(statement);
        count += 1;
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    conn.disconnect().await.expect("the connection ends");
    count
}

/// The statements of `STATEMENTS` that began on this server, in the order of these files.
fn statements(files: &[PathBuf], server_id: u32) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let text = read_open_file(Kind::MySql56, file);
        for event in text
            .events
            .iter()
            .filter(|event| event.server_id == server_id)
        {
            // The server writes DROP TABLE in its own words.
            let body = event.body.replace('`', "");
            let mut lines = body.lines();
            let statement = lines.find_map(|line| {
                let mut known = STATEMENTS.iter();
                known.find(|text| line.starts_with(**text))
            });
            found.extend(statement.map(|text| (*text).to_owned()));
        }
    }
    found
}

fn first_difference(expected: &[String], found: &[String]) -> String {
    let mut pairs = expected.iter().zip(found);
    let place = pairs.position(|(expected, found)| expected != found);
    let place = place.unwrap_or(expected.len().min(found.len()));
    let around = place.saturating_sub(2)..place + 3;
    format!(
        "M2 has {} statements, the relay {}; from {place} on M2 has {:?}, the relay {:?}",
        expected.len(),
        found.len(),
        expected.get(around.clone()),
        found.get(around)
    )
}
