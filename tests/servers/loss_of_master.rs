//! Loss of a master (T1): both masters under load, M1 is killed and comes back; the relay's replicas
//! end with exactly M1's tables, were never interrupted, and none was re-pointed.

use crate::support;
use crate::support::load::{Load, assert_acknowledged};
use crate::support::replication::{assert_never_interrupted, kill_replicating};
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{SeedNote, seeds};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_file_and_position() {
    for seed in seeds(1, 20) {
        lose_m1(Mode::MariaDbFilePosition, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos() {
    for seed in seeds(1, 20) {
        lose_m1(Mode::MariaDbSlavePos, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_by_auto_position_with_four_workers() {
    for seed in seeds(1, 20) {
        lose_m1(Mode::MySqlAutoPosition, seed).await;
    }
}

/// Its default is one worker at a time, as in the other tests.
#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_by_auto_position_with_four_workers() {
    for seed in seeds(1, 20) {
        lose_m1_of(Mode::MySqlAutoPosition, Kind::MySql57, seed).await;
    }
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_by_file_and_position() {
    for seed in seeds(1, 20) {
        lose_m1_of(Mode::MySqlNoGtids, Kind::MySql55, seed).await;
    }
}

async fn lose_m1(mode: Mode, seed: u64) {
    lose_m1_of(mode, mode.kind(), seed).await;
}

async fn lose_m1_of(mode: Mode, kind: Kind, seed: u64) {
    let _turn = support::turn();
    let _note = SeedNote(seed);
    let options = TopologyOptions {
        master_kind: kind,
        replica_kind: kind,
        ..TopologyOptions::new(mode, seed)
    };
    let mut topology = Topology::start(options).await;
    set_workers(kind, &topology.replicas).await;
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    // Another moment of the load with each seed.
    run_for(1500 + seed % 7 * 130).await;
    kill_replicating(&mut topology.m1).await;
    let of_m1 = on_m1.ended().await;
    assert_eq!(of_m1.disconnected, 4, "all clients of a killed master");
    run_for(1500).await;

    // While M1 is dead, what M2 writes reaches the replicas.
    let during = topology
        .m2
        .value("SELECT MAX(id) FROM test.items WHERE owner >= 200")
        .await;
    let during: u64 = during
        .expect("M2 has rows of its own")
        .parse()
        .expect("an id");
    for replica in &topology.replicas {
        wait_for_item(replica, during).await;
    }

    topology.restart_m1().await;
    let back_on_m1 = Load::start(&topology.m1, &topology.load_options(1, 1));
    run_for(1500).await;
    let reports = [of_m1, on_m2.finish().await, back_on_m1.finish().await];
    topology.settle(60).await;
    topology.assert_replicas_equal_m1().await;
    for replica in &topology.replicas {
        assert_never_interrupted(replica).await;
        for report in &reports {
            assert!(
                report.acknowledged > 40,
                "too little load to show anything: {report:?}"
            );
            assert_acknowledged(replica, report, "").await;
        }
    }
    topology.relay.assert_running();
    topology.relay.terminate();
    topology.relay.verify();
}

/// Four workers on replicas that can have them: MySQL 9.7's default, and 5.7 when told to.
async fn set_workers(kind: Kind, replicas: &[Server]) {
    for replica in replicas {
        if kind == Kind::MySql {
            let workers = replica
                .value("SELECT @@GLOBAL.replica_parallel_workers")
                .await;
            assert_eq!(workers.as_deref(), Some("4"), "the default of {replica}");
        }
        if kind == Kind::MySql57 {
            replica
                .sql(
                    "STOP SLAVE SQL_THREAD; SET GLOBAL slave_parallel_type='LOGICAL_CLOCK', \
                     slave_parallel_workers=4, slave_preserve_commit_order=ON; \
                     START SLAVE SQL_THREAD",
                )
                .await;
        }
    }
}

async fn wait_for_item(replica: &Server, id: u64) {
    let deadline = support::Deadline::after_secs(30);
    let query = format!("SELECT 1 FROM test.items WHERE owner >= 200 AND id >= {id}");
    while replica.value(&query).await.is_none() {
        assert!(
            !deadline.passed(),
            "{replica}: item {id} of M2 is not there while M1 is dead"
        );
        run_for(100).await;
    }
}
