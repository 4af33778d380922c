//! Dual masters without GTIDs, by file and position: MySQL 5.6 (and 5.5), whose transactions have
//! nothing but their order, and 9.7 (and 5.7) with gtid_mode=OFF. Mixed format, one database of two replicated, each
//! master and the relay killed under load: the replicas have every row once. 5.7 has the same done to it
//! with GTIDs, too.
//!
//! `BINRELAY_PROFILE=long tools/test --test servers no_gtids` runs all seeds.

use crate::support;
use crate::support::load::{Load, assert_acknowledged};
use crate::support::replication::kill_replicating;
use crate::support::servers::Kind;
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{SeedNote, seeds};

/// What differs from run to run.
#[derive(Clone, Copy, Debug)]
struct Setup {
    kind: Kind,
    mode: Mode,
    m2_log_slave_updates: bool,
    m2_binlog_format: Option<&'static str>,
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_with_log_slave_updates_on_both() {
    run_seeds(Kind::MySql56, true, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_with_log_slave_updates_on_m1() {
    run_seeds(Kind::MySql56, false, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_with_different_formats() {
    run_seeds(Kind::MySql56, true, Some("ROW")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_with_log_slave_updates_on_both() {
    run_seeds(Kind::MySql, true, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_with_log_slave_updates_on_m1() {
    run_seeds(Kind::MySql, false, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_with_different_formats() {
    run_seeds(Kind::MySql, true, Some("ROW")).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_with_log_slave_updates_on_both() {
    run_seeds(Kind::MySql55, true, None).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_with_log_slave_updates_on_m1() {
    run_seeds(Kind::MySql55, false, None).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_with_different_formats() {
    run_seeds(Kind::MySql55, true, Some("ROW")).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_with_log_slave_updates_on_both() {
    run_seeds(Kind::MySql57, true, None).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_with_log_slave_updates_on_m1() {
    run_seeds(Kind::MySql57, false, None).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_with_different_formats() {
    run_seeds(Kind::MySql57, true, Some("ROW")).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_with_gtids() {
    let _turn = support::turn();
    let setup = Setup {
        kind: Kind::MySql57,
        mode: Mode::MySqlAutoPosition,
        m2_log_slave_updates: true,
        m2_binlog_format: None,
    };
    repeat(setup).await;
}

async fn run_seeds(kind: Kind, on_both: bool, m2_binlog_format: Option<&'static str>) {
    let _turn = support::turn();
    let setup = Setup {
        kind,
        mode: Mode::MySqlNoGtids,
        m2_log_slave_updates: on_both,
        m2_binlog_format,
    };
    repeat(setup).await;
}

async fn repeat(setup: Setup) {
    for seed in seeds(1, 20) {
        let _note = SeedNote(seed);
        run(setup, seed).await;
        println!("{setup:?}: seed {seed} passed");
    }
}

async fn run(setup: Setup, seed: u64) {
    // An even seed: MIXED.
    let mut options = TopologyOptions::new(setup.mode, seed * 2);
    options.master_kind = setup.kind;
    options.replica_kind = setup.kind;
    options.m2_log_slave_updates = setup.m2_log_slave_updates;
    options.m2_binlog_format = setup.m2_binlog_format;
    options.attach_extra = support::replication::retry_each_second(setup.kind);
    let mut topology = Topology::start(options).await;

    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    run_for(1500).await;
    kill_replicating(&mut topology.m1).await;
    run_for(700).await;
    topology.relay.kill9();
    topology.relay.restart();
    let of_m1 = on_m1.ended().await;
    assert_eq!(of_m1.disconnected, 4, "the clients of a killed master");
    topology.restart_m1().await;
    let of_m2 = on_m2.finish().await;

    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 1));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 1));
    run_for(1000).await;
    topology.relay.kill9();
    run_for(300).await;
    topology.relay.restart();
    run_for(500).await;
    kill_replicating(&mut topology.m2).await;
    run_for(500).await;
    let later_m1 = on_m1.finish().await;
    let later_m2 = on_m2.ended().await;
    assert_eq!(later_m2.disconnected, 4, "the clients of a killed master");
    topology.m2.restart().await;

    topology.settle(120).await;
    topology.assert_replicas_equal_m1().await;
    let reports = [&of_m1, &of_m2, &later_m1, &later_m2];
    for replica in &topology.replicas {
        for report in reports {
            assert_acknowledged(replica, report, "").await;
        }
    }
    let acknowledged: u64 = reports.iter().map(|report| report.acknowledged).sum();
    assert!(acknowledged > 100, "{reports:?}");
    for name in ["m1", "m2"] {
        println!(
            "{name}: {}",
            topology.relay.source_status(name)["transactions"]
        );
    }
    topology.relay.terminate();
    topology.relay.verify();
}
