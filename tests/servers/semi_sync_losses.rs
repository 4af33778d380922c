//! Two masters that are semi-synchronous replicas of each other (T2), the relay as a semi-synchronous
//! replica of both, and its two replicas: what a master has acknowledged to a client is never lost, whether
//! that master or the relay is killed, nor when the master's data is gone with it.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support;
use crate::support::binlog_text::count_gtids;
use crate::support::ledger::{self, Acknowledged, Ledger};
use crate::support::load::{Load, LoadReport, assert_acknowledged};
use crate::support::replication::{
    kill_replicating, retry_each_second, settle, start_replica, stop_replica, write_mark,
};
use crate::support::semi_sync::{Words, global_status, master_extra, replica_extra};
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{Profile, SeedNote, seed};

#[tokio::test(flavor = "multi_thread")]
async fn mysql() {
    lose(Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    lose(Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_by_slave_pos() {
    lose(Mode::MariaDbSlavePos).await;
}

async fn start(mode: Mode) -> Topology {
    let kind = mode.kind();
    let mut options = TopologyOptions::new(mode, seed());
    options.attach_extra = retry_each_second(kind);
    options.log_extra = vec!["max_size = \"1MiB\"".to_owned()];
    options.source_extra = vec!["semi_sync = true".to_owned()];
    options.master_extra = master_extra(kind);
    options.replica_extra = replica_extra(kind);
    let topology = Topology::start(options).await;
    ledger::create(&topology.m1, topology.all_but_m1()).await;
    topology
}

/// The clients of M1: a load, and four that record every commit that is acknowledged to them.
struct Clients {
    load: Load,
    ledger: Ledger,
}

/// What M1 has acknowledged to them.
struct Report {
    load: LoadReport,
    ledger: Acknowledged,
}

impl Clients {
    async fn start(topology: &Topology, round: u32) -> Clients {
        let options = topology.load_options(1, round);
        let numbers = options.first_owner..options.first_owner + 4;
        Clients {
            ledger: Ledger::start(&topology.m1, numbers, options.pause).await,
            load: Load::start(&topology.m1, &options),
        }
    }

    /// Waits until the load has so many more acknowledged transactions; the ledger has about as many.
    async fn wait_for(&self, count: u64) {
        self.load.wait_for(count).await;
    }

    async fn finish(self) -> Report {
        let (load, ledger) = tokio::join!(self.load.finish(), self.ledger.finish());
        assert_eq!(load.disconnected, 0, "{load:?}");
        Report { load, ledger }
    }

    /// M1 was killed.
    async fn ended(self) -> Report {
        let (load, ledger) = tokio::join!(self.load.ended(), self.ledger.ended());
        assert_eq!(load.disconnected, 4, "all clients of a killed master");
        Report { load, ledger }
    }
}

/// How often the relay and M1 are killed.
fn kills() -> (u32, u32) {
    match support::profile() {
        Profile::Gate => (4, 2),
        Profile::Long => (200, 50),
    }
}

/// Kills the relay and M1 in turn; at last M1 is lost with its data.
async fn lose(mode: Mode) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let mut rng = StdRng::seed_from_u64(seed());
    let mut topology = start(mode).await;
    let (relay_kills, master_kills) = kills();
    let mut reports = vec![lose_relay(&mut topology, &mut rng, relay_kills).await];
    for round in 0..master_kills {
        reports.push(lose_m1(&mut topology, &mut rng, round).await);
    }
    topology.settle(90).await;
    topology.assert_replicas_equal_m1().await;
    assert_on_replicas(&topology, &reports).await;
    assert_each_gtid_once(&topology, mode);

    // The relay is the only one that acknowledges to M1, and M1 does not return.
    topology.m2.sql(stop_replica(mode.kind())).await;
    let clients = Clients::start(&topology, 90).await;
    clients.wait_for(rng.random_range(50..150)).await;
    topology.m1.kill9();
    reports.push(clients.ended().await);
    let replicas: Vec<_> = topology.replicas.iter().collect();
    settle(&[&topology.m2], &replicas, 60).await;
    assert_on_replicas(&topology, &reports).await;
    topology.relay.terminate();
    topology.relay.verify();
}

/// The relay is killed at random moments: first while M1 waits for it alone, then while M2 replicates from M1, so that
/// copies arrive meanwhile.
async fn lose_relay(topology: &mut Topology, rng: &mut StdRng, kills: u32) -> Report {
    let kind = topology.m1.kind;
    topology.m2.sql(stop_replica(kind)).await;
    let words = Words::of(kind);
    let clients = Clients::start(topology, 0).await;
    for kill in 0..kills {
        if kill == kills / 2 {
            topology.m2.sql(start_replica(kind)).await;
        }
        clients.wait_for(rng.random_range(10..80)).await;
        run_for(rng.random_range(0..20)).await;
        topology.relay.kill9();
        run_for(rng.random_range(0..200)).await;
        topology.relay.restart();
    }
    clients.wait_for(20).await;
    let report = clients.finish().await;
    let no_tx = format!("Rpl_semi_sync_{}_no_tx", words.source);
    assert_eq!(global_status(&topology.m1, &no_tx).await, "0");
    report
}

/// M1 is killed at a random moment, and returns.
async fn lose_m1(topology: &mut Topology, rng: &mut StdRng, round: u32) -> Report {
    let clients = Clients::start(topology, 1 + round).await;
    clients.wait_for(rng.random_range(10..80)).await;
    run_for(rng.random_range(0..20)).await;
    kill_replicating(&mut topology.m1).await;
    let report = clients.ended().await;
    // M1's own binlog has everything that it has acknowledged, and could send it again.
    for replica in &topology.replicas {
        ledger::wait_for(replica, &report.ledger, 60).await;
    }
    topology.restart_m1().await;
    // Its first commit shows that the relay has come back to it.
    write_mark(&[&topology.m1]).await;
    report
}

async fn assert_on_replicas(topology: &Topology, reports: &[Report]) {
    for replica in &topology.replicas {
        let mut acknowledged = Acknowledged::new();
        for report in reports {
            assert_acknowledged(replica, &report.load, "").await;
            acknowledged.extend(&report.ledger);
        }
        let lacking = ledger::lacking(replica, &acknowledged).await;
        assert_eq!(lacking, [], "{replica} lacks acknowledged rows (client, n)");
    }
}

/// Every transaction with a GTID is in the log once.
fn assert_each_gtid_once(topology: &Topology, mode: Mode) {
    let counts = count_gtids(mode.kind(), &topology.relay.log_files());
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(!counts.is_empty() && twice.is_empty(), "{twice:?}");
}
