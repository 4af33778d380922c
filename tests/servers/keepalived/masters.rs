//! Two masters that replicate from each other, each on a host of its own, behind one address, which keepalived moves when one
//! of them is killed and when it is back: the relay follows that address only, and its replica gets everything once.

use tempfile::TempDir;

use crate::support;
use crate::support::keepalived::{Keepalived, Owner, wait_for_address};
use crate::support::load::{Load, LoadOptions, LoadReport, assert_acknowledged, create_tables};
use crate::support::network::Network;
use crate::support::programs::free_port;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    assert_healthy, attach, kill_replicating, retry_each_second, settle,
};
use crate::support::servers::Server;
use crate::support::tables::{assert_no_database, assert_same_tables};
use crate::support::topology::{
    Mode, TopologyOptions, gtid_executed, master_options, pause, replica_options,
};
use crate::support::{SeedNote, seed};

/// Transactions of each part of the load.
const PART: u64 = 60;
/// For a move of the address, and what follows from it.
const LIMIT_SECS: u64 = 120;
/// A master that is back has replicated from its peer by then.
const RETURN_DELAY_SECS: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_without_gtids() {
    one_address(Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_by_auto_position() {
    one_address(Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_by_slave_pos() {
    one_address(Mode::MariaDbSlavePos).await;
}

async fn one_address(mode: Mode) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let mut stage = Stage::start(mode).await;
    let mut reports = Vec::new();
    for round in 0..2 {
        reports.extend(stage.lose_and_return(round).await);
    }
    stage.compare(&reports).await;
}

struct Stage {
    mode: Mode,
    masters: [Server; 2],
    replica: Server,
    relay: Relay,
    keepalived: [Keepalived; 2],
    network: Network,
    address: String,
    _directory: TempDir,
}

impl Stage {
    async fn start(mode: Mode) -> Stage {
        let directory = TempDir::new_in("/tmp").expect("a directory that keepalived sees");
        let network = Network::start(2);
        let port = free_port();
        let of_masters = TopologyOptions::new(mode, seed());
        let [m1, m2] = [1, 2].map(|number| {
            let mut options = master_options(&of_masters, number).extra("--bind-address=0.0.0.0");
            options.port = Some(port);
            options.prefix = network.hosts[number as usize - 1].prefix();
            Server::start(mode.kind(), options)
        });
        let mut of_replica = replica_options(mode.kind(), 11);
        of_replica.gtid = mode.has_gtids();
        let replica = Server::start(mode.kind(), of_replica);
        let (m1, m2, replica) = tokio::join!(m1, m2, replica);
        let retry = retry_each_second(mode.kind());
        let at = mode.start_at("mysql-bin");
        attach(&m1, &network.hosts[1].address, port, &at, retry).await;
        attach(&m2, &network.hosts[0].address, port, &at, retry).await;
        let address = network.address(100);
        let keepalived = [(0, 200), (1, 100)].map(|(number, priority): (usize, u8)| {
            // It succeeds if a server answers, whatever it says.
            let check = format!(
                "/usr/bin/mysqladmin --host=127.0.0.1 --port={port} --user=monitor --connect-timeout=2 ping"
            );
            let owner = Owner {
                host: &network.hosts[number],
                priority,
                preempt_delay_secs: RETURN_DELAY_SECS,
            };
            Keepalived::start(&owner, &address, &check, directory.path())
        });
        let mut source = SourceOptions {
            host: address.clone(),
            auto_position: mode.auto_position(),
            ..SourceOptions::at("writer", port)
        };
        // A connection to a host that lost the address is silent.
        source.extra.push("read_timeout = \"6s\"".to_owned());
        let relay = Relay::start(RelayOptions::new(vec![source]));
        let mut stage = Stage {
            mode,
            masters: [m1, m2],
            replica,
            relay,
            keepalived,
            network,
            address,
            _directory: directory,
        };
        stage.wait_for_address(0).await;
        stage.follows(0).await;
        stage.attach().await;
        stage
    }

    async fn attach(&mut self) {
        let at = self.mode.start_at("relay-bin");
        let retry = retry_each_second(self.mode.kind());
        attach(&self.replica, RELAY_HOST, self.relay.port, &at, retry).await;
        let [m1, m2] = &self.masters;
        create_tables(m1, "").await;
        settle(&[m1], &[m2, &self.replica], LIMIT_SECS).await;
    }

    /// Waits until only this host has the address.
    async fn wait_for_address(&self, number: usize) {
        wait_for_address(&self.network, &self.keepalived, &self.address, number).await;
    }

    /// Waits until the relay follows this master.
    async fn follows(&self, number: usize) {
        let id = self.masters[number].options.server_id;
        let what = format!("{}: the relay follows server {id}", self.mode);
        self.relay
            .wait_status(&what, LIMIT_SECS, |status| {
                let source = &status["sources"][0];
                source["state"] == "streaming" && source["server_id"] == id
            })
            .await;
    }

    fn load(&self, number: usize, round: u32) -> Load {
        let server = &self.masters[number];
        let owner = 100 * (number as u32 + 1) + 10 * round;
        let mut load = LoadOptions::new(seed(), owner);
        load.cross_database = server.options.binlog_format == Some("ROW");
        load.pause = pause(server.kind);
        // What a killed server does of DDL is not always in its binlog, and a MariaDB that is killed while it applies its
        // peer's logs it again.
        load.ddl = server.kind.is_mysql() && number == 0;
        load.truncate = server.kind.is_mysql();
        Load::start(server, &load)
    }

    /// M1 is killed under load and the address moves to M2, then M1 is back and gets it again. The clients use the master
    /// that has the address.
    async fn lose_and_return(&mut self, round: u32) -> [LoadReport; 2] {
        let load = self.load(0, round);
        load.wait_for(PART).await;
        let first = self.kill_first(load).await;
        self.wait_for_address(1).await;
        self.follows(1).await;
        let load = self.load(1, round);
        load.wait_for(PART).await;
        self.masters[0].restart().await;
        self.wait_for_address(0).await;
        self.follows(0).await;
        load.wait_for(PART).await;
        let second = load.finish().await;
        assert_eq!(second.disconnected, 0, "{second:?}");
        let [m1, m2] = &self.masters;
        settle(&[m1, m2], &[m1, m2, &self.replica], LIMIT_SECS).await;
        eprintln!("{}: round {round} is over", self.mode);
        [first, second]
    }

    /// M1 is killed under load, and M2 may lack its last transactions until it is back. A MariaDB refuses by GTID whoever has
    /// more than it has (error 1236), the relay as any replica, so that there M2 gets everything before.
    async fn kill_first(&mut self, load: Load) -> LoadReport {
        let [m1, m2] = &mut self.masters;
        if self.mode == Mode::MariaDbSlavePos {
            let report = load.finish().await;
            settle(&[m1], &[m2], LIMIT_SECS).await;
            kill_replicating(m1).await;
            return report;
        }
        kill_replicating(m1).await;
        load.finish().await
    }

    async fn compare(mut self, reports: &[LoadReport]) {
        let [m1, m2] = &self.masters;
        for report in reports {
            assert_acknowledged(&self.replica, report, "").await;
        }
        assert_healthy(&self.replica).await;
        assert_same_tables(m1, m2, "test").await;
        assert_same_tables(m1, &self.replica, "test").await;
        assert_no_database(&self.replica, "other").await;
        if self.mode == Mode::MySqlAutoPosition {
            assert_eq!(gtid_executed(&self.replica).await, gtid_executed(m1).await);
        }
        self.relay.terminate();
        self.relay.verify();
    }
}
