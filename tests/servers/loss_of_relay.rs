//! Loss of the relay: it is killed at random moments under load, ten times in one run, twenty with
//! `BINRELAY_PROFILE=long`.

use crate::support;
use crate::support::binlog_text::count_gtids;
use crate::support::load::{Load, assert_acknowledged};
use crate::support::replication::{assert_no_errors, retry_each_second};
use crate::support::servers::Kind;
use crate::support::topology::{Mode, Topology, TopologyOptions, gtid_executed, run_for};
use crate::support::{Profile, SeedNote, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How often it is killed.
fn kills() -> u32 {
    match support::profile() {
        Profile::Gate => 10,
        Profile::Long => 20,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_file_and_position() {
    lose_relay(Mode::MariaDbFilePosition, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos() {
    lose_relay(Mode::MariaDbSlavePos, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_by_auto_position() {
    lose_relay(Mode::MySqlAutoPosition, Kind::MySql).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_by_auto_position() {
    lose_relay(Mode::MySqlAutoPosition, Kind::MySql57).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_by_file_and_position() {
    lose_relay(Mode::MySqlNoGtids, Kind::MySql55).await;
}

async fn lose_relay(mode: Mode, kind: Kind) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let mut rng = StdRng::seed_from_u64(seed());
    let mut options = TopologyOptions {
        master_kind: kind,
        replica_kind: kind,
        ..TopologyOptions::new(mode, seed())
    };
    options.attach_extra = retry_each_second(kind);
    // Kills shall meet rotations too.
    options.log_extra = vec!["max_size = \"512KiB\"".to_owned()];
    let mut topology = Topology::start(options).await;
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    for _ in 0..kills() {
        run_for(rng.random_range(50..1200)).await;
        topology.relay.kill9();
        run_for(rng.random_range(0..200)).await;
        topology.relay.restart();
    }
    let reports = [on_m1.finish().await, on_m2.finish().await];
    topology.settle(90).await;
    topology.assert_replicas_equal_m1().await;
    for replica in &topology.replicas {
        // Errors of a disconnected replica; none of them is about its data.
        assert_no_errors(
            replica,
            &[
                "econnecting",
                "Error reading packet",
                "Lost connection",
                // Killed between the login and the answer to COM_REGISTER_SLAVE; the replica connects again. What
                // a source refuses is reported as "command COM_REGISTER_REPLICA failed".
                "couldn't register on",
            ],
        );
        for report in &reports {
            assert_eq!(report.disconnected, 0, "{report:?}");
            assert_acknowledged(replica, report, "").await;
        }
    }
    topology.relay.terminate();
    topology.relay.verify();
    if mode.has_gtids() {
        assert_each_gtid_once(&topology, mode).await;
    }
}

/// Every transaction of both masters is in the relay's log, and none twice.
async fn assert_each_gtid_once(topology: &Topology, mode: Mode) {
    let files = topology.relay.log_files();
    assert!(files.len() > 1, "no rotation happened: {files:?}");
    let counts = count_gtids(mode.kind(), &files);
    let twice: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count != 1)
        .take(10)
        .collect();
    assert!(
        twice.is_empty(),
        "GTIDs that are in the log more than once: {twice:?}"
    );
    // A MariaDB group that is filtered out needs not be in the log as a group.
    if mode != Mode::MySqlAutoPosition {
        return;
    }
    for master in [&topology.m1, &topology.m2] {
        let expected = count_gtids(mode.kind(), &master.log_files());
        assert!(!expected.is_empty(), "{master} logged nothing");
        let missing = expected
            .keys()
            .filter(|gtid| !counts.contains_key(*gtid))
            .take(10);
        let missing: Vec<_> = missing.collect();
        let set = gtid_executed(master).await;
        assert!(
            missing.is_empty(),
            "of {set} these are not in the log: {missing:?}"
        );
    }
}
