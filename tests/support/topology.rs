//! Two masters, the relay and its replicas, with which most acceptance tests begin.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;

use super::Deadline;
use super::load::{LoadOptions, create_tables};
use super::relay::{Instance, RELAY_HOST, Relay, RelayOptions, SourceOptions};
use super::replication::{
    StartAt, assert_healthy, attach, dual_masters, resume_from_peer, settle, wait_for_table,
};
use super::servers::{Kind, Server, ServerOptions};
use super::tables::{assert_no_database, assert_same_tables};

/// How sources and replicas find their positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    MariaDbFilePosition,
    MariaDbSlavePos,
    MySqlAutoPosition,
    /// Transactions have GTIDs, but replicas follow by file and position.
    MySqlFilePosition,
    /// gtid_mode=OFF.
    MySqlNoGtids,
}

impl Mode {
    /// The servers that most tests of the mode run.
    pub fn kind(self) -> Kind {
        match self {
            Mode::MariaDbFilePosition | Mode::MariaDbSlavePos => Kind::MariaDb,
            Mode::MySqlAutoPosition | Mode::MySqlFilePosition | Mode::MySqlNoGtids => Kind::MySql,
        }
    }

    /// Whether transactions have GTIDs.
    pub fn has_gtids(self) -> bool {
        self != Mode::MySqlNoGtids
    }

    /// `auto_position` of the relay's sources; None where the relay's default is the
    /// mode's.
    pub fn auto_position(self) -> Option<bool> {
        match self {
            Mode::MariaDbSlavePos => Some(true),
            Mode::MySqlFilePosition => Some(false),
            Mode::MariaDbFilePosition | Mode::MySqlAutoPosition | Mode::MySqlNoGtids => None,
        }
    }

    /// Where a replica of a fresh server or relay begins.
    pub fn start_at(self, basename: &str) -> StartAt {
        match self {
            Mode::MariaDbFilePosition | Mode::MySqlFilePosition | Mode::MySqlNoGtids => {
                StartAt::first_file(basename)
            }
            Mode::MariaDbSlavePos => StartAt::SlavePos,
            Mode::MySqlAutoPosition => StartAt::AutoPosition,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Debug)]
pub struct TopologyOptions {
    pub mode: Mode,
    /// The kinds of the masters and of the replicas; the mode's kind unless set.
    pub master_kind: Kind,
    pub replica_kind: Kind,
    /// Of the masters, see [`ServerOptions::readable_by_55`].
    pub readable_by_55: bool,
    pub seed: u64,
    pub m2_log_slave_updates: bool,
    /// M2's binlog_format where it differs from M1's.
    pub m2_binlog_format: Option<&'static str>,
    /// Whether the masters replicate from each other.
    pub peered: bool,
    pub replicas: u32,
    /// The relay's; empty is no filter.
    pub replicate_do_db: Vec<String>,
    /// Options of the replicas' CHANGE MASTER beyond what they need.
    pub attach_extra: &'static str,
    pub relay_extra: Vec<String>,
    pub log_extra: Vec<String>,
    /// The file with the password of the sources' user, if the configuration does not have it.
    pub password_file: Option<PathBuf>,
    /// Further lines of each `[[source]]` section.
    pub source_extra: Vec<String>,
    /// Further options of the masters and of the replicas.
    pub master_extra: Vec<String>,
    pub replica_extra: Vec<String>,
}

impl TopologyOptions {
    pub fn new(mode: Mode, seed: u64) -> TopologyOptions {
        TopologyOptions {
            mode,
            master_kind: mode.kind(),
            replica_kind: mode.kind(),
            readable_by_55: false,
            seed,
            m2_log_slave_updates: true,
            m2_binlog_format: None,
            peered: true,
            replicas: 2,
            replicate_do_db: vec!["test".to_owned()],
            attach_extra: "",
            relay_extra: Vec::new(),
            log_extra: Vec::new(),
            password_file: None,
            source_extra: Vec::new(),
            master_extra: Vec::new(),
            replica_extra: Vec::new(),
        }
    }

    /// MariaDB's masters use mixed; MySQL's its default ROW and mixed in turn.
    pub fn binlog_format(&self) -> &'static str {
        if self.master_kind.is_mysql() && self.seed % 2 == 1 {
            "ROW"
        } else {
            "MIXED"
        }
    }
}

pub struct Topology<R = Relay> {
    pub m1: Server,
    pub m2: Server,
    pub relay: R,
    pub replicas: Vec<Server>,
    options: TopologyOptions,
}

impl Topology {
    /// Everything is connected and the load's tables are on all servers.
    pub async fn start(options: TopologyOptions) -> Topology {
        Topology::start_with(options, Relay::start).await
    }
}

impl<R: Deref<Target = Instance>> Topology<R> {
    /// As `start`, with a relay that the test starts itself.
    pub async fn start_with(
        options: TopologyOptions,
        start: impl FnOnce(RelayOptions) -> R,
    ) -> Topology<R> {
        let mode = options.mode;
        let replicas = (0..options.replicas).map(|number| {
            let mut replica = replica_options(options.replica_kind, 11 + number);
            replica.gtid = mode.has_gtids();
            replica.extra.extend(options.replica_extra.iter().cloned());
            Server::start(options.replica_kind, replica)
        });
        let (m1, m2, replicas) = tokio::join!(
            Server::start(options.master_kind, master_options(&options, 1)),
            Server::start(options.master_kind, master_options(&options, 2)),
            join_all(replicas),
        );
        if options.peered {
            dual_masters(&m1, &m2, &mode.start_at("mysql-bin")).await;
        }
        let mut sources = vec![SourceOptions::of("m1", &m1), SourceOptions::of("m2", &m2)];
        for source in &mut sources {
            source.auto_position = mode.auto_position();
            source.password_file = options.password_file.clone();
            source.extra.extend(options.source_extra.iter().cloned());
        }
        let relay = start(RelayOptions {
            replicate_do_db: options.replicate_do_db.clone(),
            relay_extra: options.relay_extra.clone(),
            log_extra: options.log_extra.clone(),
            ..RelayOptions::new(sources)
        });
        relay.wait_streaming().await;
        for replica in &replicas {
            let at = mode.start_at("relay-bin");
            attach(replica, RELAY_HOST, relay.port, &at, options.attach_extra).await;
        }
        let topology = Topology {
            m1,
            m2,
            relay,
            replicas,
            options,
        };
        topology.create_load_tables().await;
        topology
    }

    async fn create_load_tables(&self) {
        if self.options.peered {
            create_tables(&self.m1, "").await;
            wait_for_table(&self.m2, "other", "items").await;
            if !self.options.m2_log_slave_updates {
                // M2's binlog does not show that its rows depend on M1's tables: these must have arrived before.
                for replica in &self.replicas {
                    wait_for_table(replica, "test", "items").await;
                }
            }
        } else {
            create_tables(&self.m1, "_m1").await;
            create_tables(&self.m2, "_m2").await;
        }
    }

    /// M2 and the replicas.
    pub fn all_but_m1(&self) -> impl Iterator<Item = &Server> {
        [&self.m2].into_iter().chain(&self.replicas)
    }

    /// Load for master 1 or 2. Rounds have clients of their own.
    pub fn load_options(&self, master: u32, round: u32) -> LoadOptions {
        let mut load = LoadOptions::new(self.options.seed, master * 100 + round * 10);
        load.cross_database = self.options.binlog_format() == "ROW";
        let kind = self.options.master_kind;
        load.pause = pause(kind);
        // A MariaDB killed while it applies its peer's DDL logs that statement again as its own
        // when it recovers (seen: a second ALTER TABLE with a GTID of M1 and the time 0), which
        // breaks the peer as well. So the master that lives does no DDL. Where DDL is not atomic at
        // all, the one that is killed does none either.
        let is_peer = self.options.peered && master == 2;
        load.ddl = kind.has_atomic_ddl() && !(is_peer && kind.is_mariadb());
        load.truncate = kind.is_mysql() || master == 2;
        if !self.options.peered {
            load.suffix = format!("_m{master}");
        }
        load
    }

    /// M1 after SIGKILL: started again, and replicating from M2 again.
    pub async fn restart_m1(&mut self) {
        self.m1.restart().await;
        if self.options.peered && self.options.mode == Mode::MariaDbFilePosition {
            resume_from_peer(&self.m1, &self.m2).await;
        }
    }

    /// Waits until everything that was written is everywhere it belongs.
    pub async fn settle(&self, secs: u64) {
        if self.options.peered {
            settle(&[&self.m1, &self.m2], &[&self.m1, &self.m2], secs).await;
        }
        let replicas: Vec<&Server> = self.replicas.iter().collect();
        settle(&[&self.m1, &self.m2], &replicas, secs).await;
        for replica in &self.replicas {
            assert_healthy(replica).await;
        }
        self.assert_same_gtids().await;
    }

    /// MySQL: no replica has a hole in its set or anything beyond M1's.
    async fn assert_same_gtids(&self) {
        let has_sets = self.options.master_kind.is_mysql() && self.options.mode.has_gtids();
        if !has_sets || !self.options.peered {
            return;
        }
        // M1 may receive M2's last mark later than the replicas.
        let deadline = Deadline::after_secs(30);
        for replica in &self.replicas {
            loop {
                let expected = gtid_executed(&self.m1).await;
                let found = gtid_executed(replica).await;
                if found == expected {
                    break;
                }
                assert!(
                    !deadline.passed(),
                    "gtid_executed of {replica}: {found}, of M1: {expected}"
                );
                run_for(100).await;
            }
        }
    }

    /// Every replica has exactly M1's tables of `test`, and nothing of `other`; and no conflict was reported, since
    /// the load has none.
    pub async fn assert_replicas_equal_m1(&self) {
        if let Ok(status) = self.relay.try_status() {
            assert_eq!(status["relay"]["conflicts"], 0, "{}", self.relay.log());
        }
        assert_same_tables(&self.m1, &self.m2, "test").await;
        assert_same_tables(&self.m1, &self.m2, "other").await;
        for replica in &self.replicas {
            assert_same_tables(&self.m1, replica, "test").await;
            assert_no_database(replica, "other").await;
        }
    }
}

impl AsRef<Relay> for Topology {
    fn as_ref(&self) -> &Relay {
        &self.relay
    }
}

/// The set as the server writes it, on one line.
pub async fn gtid_executed(server: &Server) -> String {
    let set = server
        .value("SELECT @@GLOBAL.gtid_executed")
        .await
        .unwrap_or_default();
    set.replace('\n', "")
}

/// Master 1 or 2.
pub fn master_options(options: &TopologyOptions, number: u32) -> ServerOptions {
    // The numbers of the users' own topology T1.
    let server_id = if number == 1 { 86 } else { 18 };
    let mut server = ServerOptions::new(server_id)
        .extra("--auto-increment-increment=2")
        .extra(format!("--auto-increment-offset={number}"));
    let of_m2 = options.m2_binlog_format.filter(|_| number == 2);
    server.binlog_format = Some(of_m2.unwrap_or(options.binlog_format()));
    server.log_slave_updates = number == 1 || options.m2_log_slave_updates;
    server.gtid = options.mode.has_gtids();
    server.extra.extend(options.master_extra.iter().cloned());
    server.readable_by_55 = options.readable_by_55;
    if options.master_kind == Kind::MySql {
        // A deadlock that it does not detect (seen): a client that updates many rows waits for a worker's row, the worker
        // waits for the preceding worker's commit, and that one waits for a row of the client.
        server.extra.push("--innodb-lock-wait-timeout=2".to_owned());
    }
    match options.mode {
        // See resume_from_peer.
        Mode::MariaDbFilePosition => server.extra("--skip-slave-start"),
        Mode::MariaDbSlavePos => server.extra(format!("--gtid-domain-id={server_id}")),
        Mode::MySqlAutoPosition | Mode::MySqlFilePosition | Mode::MySqlNoGtids => server,
    }
}

/// The pause between two transactions of a client, with which replicas here do not lag far behind.
pub fn pause(kind: Kind) -> Duration {
    match kind.is_mariadb() {
        true => Duration::from_millis(4),
        false => Duration::from_millis(12),
    }
}

/// A replica with the server's defaults.
pub fn replica_options(kind: Kind, server_id: u32) -> ServerOptions {
    let mut options = ServerOptions::new(server_id);
    options.log_bin = kind.is_mysql();
    // Their default STATEMENT cannot log the rows that they are sent.
    options.binlog_format = kind.is_before_57().then_some("MIXED");
    options
}

/// A short time of load.
pub async fn run_for(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
