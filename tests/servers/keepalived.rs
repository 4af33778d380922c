//! Two relays behind one address, which keepalived moves between two hosts (network namespaces): a replica that follows by
//! GTID loses nothing and repeats nothing when a relay is killed, comes back, or its host loses the network. BINRELAY_PROFILE=long,
//! root.
//!
//! The first relay follows the masters, the second one a third relay. [`masters`] has the address of two masters instead.

mod masters;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support;
use crate::support::keepalived::{Keepalived, Owner, wait_for_address};
use crate::support::load::{Load, assert_acknowledged};
use crate::support::network::{Host, Network};
use crate::support::programs::free_port;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    assert_healthy, attach, has_mark, retry_each_second, settle, write_mark,
};
use crate::support::servers::Server;
use crate::support::tables::{assert_no_database, assert_same_tables};
use crate::support::topology::{Mode, Topology, TopologyOptions, gtid_executed, replica_options};
use crate::support::{Deadline, SeedNote, seed};

/// Transactions of each load between two moves.
const PART: u64 = 20;
/// Between two transactions of a client: the replica must not lag, however slow the machine is.
const PAUSE: Duration = Duration::from_millis(80);
/// A relay whose host was not connected gets the address back once its sources' connections have resumed: with the pauses of
/// TCP after ten seconds.
const RETURN_DELAY_SECS: u64 = 20;
/// For a move of the address, and what follows from it.
const LIMIT_SECS: u64 = 120;

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
    stage.attach().await;
    stage.load_and_move().await;
    stage.compare().await;
}

struct Stage {
    mode: Mode,
    topology: Topology,
    replica: Server,
    relays: [Relay; 2],
    keepalived: [Keepalived; 2],
    network: Network,
    address: String,
    _directory: TempDir,
}

impl Stage {
    async fn start(mode: Mode) -> Stage {
        let directory = TempDir::new_in("/tmp").expect("a directory that keepalived sees");
        let network = Network::start(2);
        let mut options = TopologyOptions::new(mode, seed());
        options.replicas = 0;
        // By default they are reached on this machine only.
        options
            .master_extra
            .push("--bind-address=0.0.0.0".to_owned());
        let topology = Topology::start(options).await;
        let mut of_replica = replica_options(mode.kind(), 11);
        let word = if mode.kind().says_replica() {
            "replica"
        } else {
            "slave"
        };
        // A connection to a host that lost the address is silent.
        of_replica.extra.push(format!("--{word}-net-timeout=6"));
        let replica = Server::start(mode.kind(), of_replica).await;
        let (port, machine) = (free_port(), network.address(1));
        let masters = [("m1", topology.m1.port), ("m2", topology.m2.port)];
        let cascade = [("upstream", topology.relay.port)];
        let relays = [(901, &masters[..]), (902, &cascade)];
        let mut hosts = network.hosts.iter();
        let relays = relays.map(|(server_id, sources)| {
            let host = hosts.next().expect("two hosts");
            let sources = sources.iter().map(|(name, port)| SourceOptions {
                host: machine.clone(),
                auto_position: mode.auto_position(),
                ..SourceOptions::at(name, *port)
            });
            let mut options = RelayOptions::new(sources.collect());
            options.server_id = server_id;
            options.port = Some(port);
            options.program = program_on(host, server_id, directory.path());
            options.admin_extra =
                vec!["[[user]]\nname = \"monitor\"\npassword = \"\"\nprivileges = []".to_owned()];
            Relay::start(options)
        });
        for relay in &relays {
            relay.wait_streaming().await;
        }
        let address = network.address(100);
        let mut number = 0;
        let keepalived = [200, 100].map(|priority| {
            let host = &network.hosts[number];
            number += 1;
            let check = format!(
                "/usr/bin/mysql --host=127.0.0.1 --port={port} --user=monitor --connect-timeout=2 --execute=STATUS"
            );
            let owner = Owner {
                host,
                priority,
                preempt_delay_secs: RETURN_DELAY_SECS,
            };
            Keepalived::start(&owner, &address, &check, directory.path())
        });
        let stage = Stage {
            mode,
            topology,
            replica,
            relays,
            keepalived,
            network,
            address,
            _directory: directory,
        };
        stage.wait_for_address(0).await;
        stage
    }

    async fn attach(&self) {
        let at = self.mode.start_at("relay-bin");
        let extra = retry_each_second(self.mode.kind());
        attach(
            &self.replica,
            &self.address,
            self.relays[0].port,
            &at,
            extra,
        )
        .await;
    }

    /// Waits until only this host has the address.
    async fn wait_for_address(&self, number: usize) {
        wait_for_address(&self.network, &self.keepalived, &self.address, number).await;
    }

    /// What the masters write now arrives.
    async fn follows(&self, after: &str) {
        let masters = [&self.topology.m1, &self.topology.m2];
        let mark = write_mark(&masters).await;
        let deadline = Deadline::after_secs(LIMIT_SECS);
        for master in masters {
            while !has_mark(&self.replica, master, mark).await {
                let log = self.replica.error_log_tail();
                assert!(!deadline.passed(), "{} after {after}: {log}", self.replica);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        eprintln!("{}: follows after {after}", self.mode);
    }

    async fn load_and_move(&mut self) {
        let (m1, m2) = (&self.topology.m1, &self.topology.m2);
        let start = |server, number| {
            let mut options = self.topology.load_options(number, 0);
            options.pause = PAUSE;
            Load::start(server, &options)
        };
        let mut loads = [start(m1, 1), start(m2, 2)];
        self.follows("the start").await;
        for round in 0..2 {
            wait_for_load(&mut loads).await;
            self.relays[0].kill9();
            self.wait_for_address(1).await;
            self.follows(&format!("the death of relay 1, round {round}"))
                .await;
            wait_for_load(&mut loads).await;
            self.relays[0].restart();
            self.wait_for_address(0).await;
            self.follows(&format!("its return, round {round}")).await;
        }
        wait_for_load(&mut loads).await;
        self.network.hosts[0].connect(false);
        let deadline = Deadline::after_secs(LIMIT_SECS);
        while !self.network.hosts[1].has(&self.address) {
            assert!(!deadline.passed(), "{}", self.keepalived[1].log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.follows("the loss of host 1").await;
        wait_for_load(&mut loads).await;
        self.network.hosts[0].connect(true);
        self.wait_for_address(0).await;
        self.follows("the return of host 1").await;
        for (load, master) in loads
            .into_iter()
            .zip([&self.topology.m1, &self.topology.m2])
        {
            let report = load.finish().await;
            assert_eq!(report.disconnected, 0, "{report:?}");
            settle(&[master], &[&self.replica], LIMIT_SECS).await;
            assert_acknowledged(&self.replica, &report, "").await;
        }
    }

    async fn compare(mut self) {
        let (m1, m2) = (&self.topology.m1, &self.topology.m2);
        settle(&[m1, m2], &[m1, m2, &self.replica], LIMIT_SECS).await;
        assert_healthy(&self.replica).await;
        assert_same_tables(m1, m2, "test").await;
        assert_same_tables(m1, &self.replica, "test").await;
        assert_no_database(&self.replica, "other").await;
        if self.mode.kind().is_mysql() {
            assert_eq!(gtid_executed(&self.replica).await, gtid_executed(m1).await);
        }
        drop(self.keepalived);
        for relay in &mut self.relays {
            relay.terminate();
            relay.verify();
        }
    }
}

async fn wait_for_load(loads: &mut [Load; 2]) {
    for load in loads {
        load.wait_for(PART).await;
    }
}

/// A program that runs binrelay on this host.
fn program_on(host: &Host, server_id: u32, directory: &Path) -> std::path::PathBuf {
    let program = directory.join(format!("binrelay-{server_id}"));
    let inside = host.command(&Command::new(env!("CARGO_BIN_EXE_binrelay")));
    let words: Vec<_> = inside
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    let inside = inside.get_program().to_string_lossy();
    let script = format!("#!/bin/sh\nexec {inside} {} \"$@\"\n", words.join(" "));
    std::fs::write(&program, script).expect("the program is written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("its mode is set");
    program
}
