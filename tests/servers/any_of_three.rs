//! Any of three writes (T3): three masters in a ring or in a full mesh, all under load, one of them
//! killed and started again in mid-load. The relay follows all three and keeps one of
//! several databases; its replica gets every write of every master exactly once.

use std::collections::BTreeSet;

use crate::support;
use crate::support::binlog_text::count_gtids;
use crate::support::load::{
    Load, LoadOptions, LoadReport, assert_acknowledged_in, create_tables_in,
};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    assert_never_interrupted, attach, attach_channel, kill_replicating, resume_from_peer,
    retry_each_second, settle_in, wait_for_table,
};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::{assert_no_database, assert_same_tables};
use crate::support::topology::{Mode, gtid_executed, pause, replica_options, run_for};
use crate::support::{Deadline, SeedNote, seeds};

/// The database that the filter keeps.
const KEPT: &str = "ss-vps1";
/// A database that the load writes to as well, and that must not reach any replica.
const DROPPED: &str = "ss-vps2";

/// How the masters replicate from each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// M2 follows M1, M3 follows M2, M1 follows M3, all with log_slave_updates.
    Ring,
    /// Each follows the two others. With GTIDs, log_slave_updates is on. Without it is off: else
    /// each transaction would be applied twice.
    Mesh,
    /// As a mesh, with log_slave_updates on: on each connection the server_id of the third is
    /// ignored, so that without GTIDs, too, each transaction is applied once.
    MeshWithIgnoredIds,
}

/// What differs from run to run.
#[derive(Clone, Copy, Debug)]
struct Setup {
    shape: Shape,
    mode: Mode,
    kind: Kind,
    seed: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_ring_by_auto_position() {
    any_of_three(Shape::Ring, Mode::MySqlAutoPosition, Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_mesh_by_auto_position() {
    any_of_three(Shape::Mesh, Mode::MySqlAutoPosition, Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_ring_without_gtids() {
    any_of_three(Shape::Ring, Mode::MySqlNoGtids, Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_mesh_without_gtids() {
    any_of_three(Shape::Mesh, Mode::MySqlNoGtids, Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_mesh_without_gtids_with_copies() {
    any_of_three(Shape::MeshWithIgnoredIds, Mode::MySqlNoGtids, Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_ring_without_gtids() {
    any_of_three(Shape::Ring, Mode::MySqlNoGtids, Kind::MySql56).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_ring_without_gtids() {
    any_of_three(Shape::Ring, Mode::MySqlNoGtids, Kind::MySql55).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_ring_by_auto_position() {
    any_of_three(Shape::Ring, Mode::MySqlAutoPosition, Kind::MySql57).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_mesh_by_auto_position() {
    any_of_three(Shape::Mesh, Mode::MySqlAutoPosition, Kind::MySql57).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_ring_without_gtids() {
    any_of_three(Shape::Ring, Mode::MySqlNoGtids, Kind::MySql57).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_mesh_without_gtids() {
    any_of_three(Shape::Mesh, Mode::MySqlNoGtids, Kind::MySql57).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_mesh_without_gtids_with_copies() {
    any_of_three(Shape::MeshWithIgnoredIds, Mode::MySqlNoGtids, Kind::MySql57).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_ring_by_slave_pos() {
    any_of_three(Shape::Ring, Mode::MariaDbSlavePos, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_mesh_by_slave_pos() {
    any_of_three(Shape::Mesh, Mode::MariaDbSlavePos, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_ring_by_file_and_position() {
    any_of_three(Shape::Ring, Mode::MariaDbFilePosition, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_mesh_followed_by_file_and_position() {
    any_of_three(Shape::Mesh, Mode::MariaDbFilePosition, Kind::MariaDb).await;
}

async fn any_of_three(shape: Shape, mode: Mode, kind: Kind) {
    for seed in seeds(1, 5) {
        let _turn = support::turn();
        let _note = SeedNote(seed);
        let setup = Setup {
            shape,
            mode,
            kind,
            seed,
        };
        let mut three = Three::start(setup).await;
        three.lose_m1_in_mid_load().await;
    }
}

struct Three {
    setup: Setup,
    masters: Vec<Server>,
    relay: Relay,
    replica: Server,
}

impl Three {
    /// Everything is connected and the load's tables are on all servers.
    async fn start(setup: Setup) -> Three {
        let Setup { mode, kind, .. } = setup;
        let mut of_replica = replica_options(kind, 11);
        of_replica.gtid = mode.has_gtids();
        let (m1, m2, m3, replica) = tokio::join!(
            Server::start(kind, master_options(setup, 1)),
            Server::start(kind, master_options(setup, 2)),
            Server::start(kind, master_options(setup, 3)),
            Server::start(kind, of_replica),
        );
        let masters = vec![m1, m2, m3];
        connect_masters(setup, &masters).await;
        let source = |(name, master): (&str, &Server)| SourceOptions {
            auto_position: mode.auto_position(),
            ..SourceOptions::of(name, master)
        };
        let sources = ["m1", "m2", "m3"].into_iter().zip(&masters).map(source);
        let relay = Relay::start(RelayOptions {
            replicate_do_db: vec![KEPT.to_owned()],
            ..RelayOptions::new(sources.collect())
        });
        relay.wait_streaming().await;
        let at = mode.start_at("relay-bin");
        attach(&replica, RELAY_HOST, relay.port, &at, "").await;
        create_tables_in(&masters[0], &[KEPT, DROPPED], "").await;
        for other in &masters[1..] {
            wait_for_table(other, DROPPED, "items").await;
        }
        wait_for_table(&replica, KEPT, "items").await;
        Three {
            setup,
            masters,
            relay,
            replica,
        }
    }

    /// Load on master 1, 2 or 3. Rounds have clients of their own.
    fn load(&self, master: u32, round: u32) -> Load {
        let kind = self.setup.kind;
        let options = LoadOptions {
            clients: 3,
            database: KEPT.to_owned(),
            other: DROPPED.to_owned(),
            cross_database: binlog_format(self.setup) == "ROW",
            // As `Topology::load_options` says.
            ddl: kind.has_atomic_ddl() && (kind.is_mysql() || master == 1),
            truncate: kind.is_mysql(),
            pause: pause(kind) * 2,
            ..LoadOptions::new(self.setup.seed, master * 100 + round * 10)
        };
        Load::start(&self.masters[master as usize - 1], &options)
    }

    async fn lose_m1_in_mid_load(&mut self) {
        let Setup { shape, mode, .. } = self.setup;
        let (on_m1, on_m2, on_m3) = (self.load(1, 0), self.load(2, 0), self.load(3, 0));
        // Another moment of the load with each seed.
        on_m1.wait_for(60 + self.setup.seed % 7 * 15).await;
        kill_replicating(&mut self.masters[0]).await;
        let of_m1 = on_m1.ended().await;
        assert_eq!(of_m1.disconnected, 3, "all clients of a killed master");
        on_m2.wait_for(40).await;
        on_m3.wait_for(40).await;
        let mut reports = vec![of_m1, on_m2.finish().await, on_m3.finish().await];
        // While M1 is dead, and the ring broken, what the others write reaches the replica.
        for survivor in [2, 3] {
            self.wait_for_newest_item(survivor).await;
        }
        let (on_m2, on_m3) = (self.load(2, 1), self.load(3, 1));
        self.masters[0].restart().await;
        if shape == Shape::Ring && mode == Mode::MariaDbFilePosition {
            resume_from_peer(&self.masters[0], &self.masters[2]).await;
        }
        let on_m1 = self.load(1, 1);
        for load in [on_m1, on_m2, on_m3] {
            load.wait_for(40).await;
            reports.push(load.finish().await);
        }
        self.settle().await;
        self.assert_exactly_once(&reports).await;
    }

    async fn wait_for_newest_item(&self, master: u32) {
        let owners = format!("owner BETWEEN {master}00 AND {master}99");
        let newest = format!("SELECT MAX(id) FROM `{KEPT}`.items WHERE {owners}");
        let newest = self.masters[master as usize - 1].value(&newest).await;
        let newest = newest.expect("the master has rows of its own");
        let query = format!("SELECT 1 FROM `{KEPT}`.items WHERE {owners} AND id >= {newest}");
        let deadline = Deadline::after_secs(60);
        while self.replica.value(&query).await.is_none() {
            assert!(
                !deadline.passed(),
                "{}: item {newest} of M{master} is not there while M1 is dead",
                self.replica
            );
            run_for(100).await;
        }
    }

    async fn settle(&self) {
        let masters: Vec<&Server> = self.masters.iter().collect();
        // All at once: marks of a second round would be new GTIDs that not all have yet.
        let readers = [&masters[..], &[&self.replica]].concat();
        settle_in(KEPT, &masters, &readers, 120).await;
    }

    async fn assert_exactly_once(&mut self, reports: &[LoadReport]) {
        let m1 = &self.masters[0];
        for other in &self.masters[1..] {
            assert_same_tables(m1, other, KEPT).await;
            assert_same_tables(m1, other, DROPPED).await;
        }
        assert_same_tables(m1, &self.replica, KEPT).await;
        assert_no_database(&self.replica, DROPPED).await;
        assert_never_interrupted(&self.replica).await;
        for report in reports {
            assert!(
                report.acknowledged >= 40,
                "too little load to show anything: {report:?}"
            );
            assert_acknowledged_in(&self.replica, report, KEPT, "").await;
        }
        self.assert_same_gtids().await;
        self.assert_copies(reports);
        self.relay.assert_running();
        self.relay.terminate();
        self.relay.verify();
        let counts = count_gtids(self.setup.kind, &self.relay.log_files());
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
        assert!(twice.is_empty(), "in the relay log not once: {twice:?}");
    }

    /// Each source sent copies of what others wrote, wherever the masters log that.
    fn assert_copies(&self, reports: &[LoadReport]) {
        let acknowledged: u64 = reports.iter().map(|report| report.acknowledged).sum();
        let has_copies = log_slave_updates(self.setup);
        let mut kept = 0;
        for name in ["m1", "m2", "m3"] {
            let counts = &self.relay.source_status(name)["transactions"];
            let number = |what: &str| counts[what].as_u64().unwrap();
            assert_eq!(number("duplicate") > 0, has_copies, "{name}: {counts}");
            kept += number("kept");
        }
        let setup = self.setup;
        println!("{setup:?}: {acknowledged} acknowledged, {kept} transactions in the relay log");
    }

    /// The replica and the relay have what M1 has. In a ring by file and position all masters
    /// write to one domain, and the last of it is another one on each server.
    async fn assert_same_gtids(&self) {
        let relay = self.relay.status();
        let relay = relay["relay"]["gtid_executed"].as_str().unwrap();
        let relay = relay.replace('\n', "");
        let m1 = &self.masters[0];
        if self.setup.mode == Mode::MySqlAutoPosition {
            let expected = gtid_executed(m1).await;
            assert_eq!(gtid_executed(&self.replica).await, expected, "the replica");
            assert_eq!(relay, expected, "the relay");
        } else if self.setup.kind.is_mariadb() && domain(self.setup, 1) != 0 {
            let expected = m1.value("SELECT @@GLOBAL.gtid_binlog_pos").await.unwrap();
            let replica = self.replica.value("SELECT @@GLOBAL.gtid_slave_pos").await;
            assert_eq!(domains(&expected).len(), 3, "{expected}");
            assert_eq!(domains(&replica.unwrap()), domains(&expected), "replica");
            assert_eq!(domains(&relay), domains(&expected), "relay");
        }
    }
}

/// The GTIDs of a MariaDB position, which servers print in any order.
fn domains(position: &str) -> BTreeSet<String> {
    position.split(',').map(str::to_owned).collect()
}

/// MariaDB's masters use mixed; MySQL's its default ROW and mixed in turn. Without GTIDs mixed comes
/// first: there copies are harder to recognise.
fn binlog_format(setup: Setup) -> &'static str {
    match setup.kind.is_mysql() && (setup.seed % 2 == 1) == setup.mode.has_gtids() {
        true => "ROW",
        false => "MIXED",
    }
}

fn log_slave_updates(setup: Setup) -> bool {
    setup.mode.has_gtids() || setup.shape != Shape::Mesh
}

/// MariaDB's gtid_domain_id: a mesh needs one for each master; so does everything by slave_pos.
fn domain(setup: Setup, number: u32) -> u32 {
    match (setup.shape, setup.mode) {
        (Shape::Ring, Mode::MariaDbFilePosition) => 0,
        _ => number,
    }
}

fn master_options(setup: Setup, number: u32) -> ServerOptions {
    let mut options = ServerOptions::new(number)
        .extra("--auto-increment-increment=3")
        .extra(format!("--auto-increment-offset={number}"));
    options.binlog_format = Some(binlog_format(setup));
    options.gtid = setup.mode.has_gtids();
    options.log_slave_updates = log_slave_updates(setup);
    if setup.kind.is_mysql() {
        return match (setup.shape, setup.mode) {
            // With more workers two channels can wait for each other without end: each holds a GTID
            // that the other has to commit first.
            (Shape::Mesh, Mode::MySqlAutoPosition) if setup.kind.says_replica() => {
                options.extra("--replica-parallel-workers=1")
            }
            _ => options,
        };
    }
    options = options.extra(format!("--gtid-domain-id={}", domain(setup, number)));
    match (setup.shape, setup.mode) {
        (Shape::Mesh, _) => options.extra("--gtid-ignore-duplicates=ON"),
        // See resume_from_peer.
        (_, Mode::MariaDbFilePosition) => options.extra("--skip-slave-start"),
        _ => options,
    }
}

async fn connect_masters(setup: Setup, masters: &[Server]) {
    let Setup { shape, mode, .. } = setup;
    let retry = retry_each_second(setup.kind);
    let host = "127.0.0.1";
    for (index, master) in masters.iter().enumerate() {
        let (left, right) = (&masters[(index + 2) % 3], &masters[(index + 1) % 3]);
        if shape == Shape::Ring {
            let at = mode.start_at("mysql-bin");
            attach(master, host, left.port, &at, retry).await;
            continue;
        }
        let at = match mode {
            Mode::MariaDbFilePosition => Mode::MariaDbSlavePos.start_at("mysql-bin"),
            _ => mode.start_at("mysql-bin"),
        };
        for (peer, third) in [(left, right), (right, left)] {
            let channel = format!("from{}", peer.options.server_id);
            let extra = match shape {
                Shape::MeshWithIgnoredIds => {
                    format!("{retry}, IGNORE_SERVER_IDS=({})", third.options.server_id)
                }
                Shape::Ring | Shape::Mesh => retry.to_owned(),
            };
            attach_channel(master, &channel, host, peer.port, &at, &extra).await;
        }
    }
}
