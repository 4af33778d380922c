//! M2 without log_slave_updates, and masters that do not replicate from each other at all: each
//! transaction arrives by one path only.

use crate::support;
use crate::support::load::{Load, assert_acknowledged};
use crate::support::replication::assert_never_interrupted;
use crate::support::tables::{assert_no_database, assert_same_tables_where};
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{SeedNote, seed};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_m2_does_not_log_what_it_replicates() {
    m2_without_log_slave_updates(Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_m2_does_not_log_what_it_replicates() {
    m2_without_log_slave_updates(Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_m2_does_not_log_what_it_replicates() {
    m2_without_log_slave_updates(Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_plain_multi_source() {
    plain_multi_source(Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_plain_multi_source() {
    plain_multi_source(Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_plain_multi_source() {
    plain_multi_source(Mode::MySqlAutoPosition).await;
}

async fn m2_without_log_slave_updates(mode: Mode) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let mut options = TopologyOptions::new(mode, seed());
    options.m2_log_slave_updates = false;
    let mut topology = Topology::start(options).await;
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    run_for(1500).await;
    topology.m1.kill9();
    run_for(1000).await;
    let of_m1 = on_m1.finish().await;
    topology.restart_m1().await;
    run_for(500).await;
    let of_m2 = on_m2.finish().await;
    topology.settle(60).await;
    topology.assert_replicas_equal_m1().await;
    for replica in &topology.replicas {
        assert_never_interrupted(replica).await;
        assert_acknowledged(replica, &of_m1, "").await;
        assert_acknowledged(replica, &of_m2, "").await;
    }
}

async fn plain_multi_source(mode: Mode) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let mut options = TopologyOptions::new(mode, seed());
    options.peered = false;
    let mut topology = Topology::start(options).await;
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    run_for(1500).await;
    topology.m1.kill9();
    run_for(1000).await;
    let of_m1 = on_m1.finish().await;
    topology.restart_m1().await;
    run_for(500).await;
    let of_m2 = on_m2.finish().await;
    topology.settle(60).await;
    for replica in &topology.replicas {
        for (number, master) in [("1", &topology.m1), ("2", &topology.m2)] {
            assert_same_tables_where(master, replica, "test", |table| belongs_to(table, number))
                .await;
        }
        assert_no_database(replica, "other").await;
        assert_never_interrupted(replica).await;
        assert_acknowledged(replica, &of_m1, "_m1").await;
        assert_acknowledged(replica, &of_m2, "_m2").await;
    }
}

/// Whether only that master writes the table.
fn belongs_to(table: &str, number: &str) -> bool {
    table.ends_with(&format!("_m{number}")) || table.starts_with(&format!("own_{number}"))
}
