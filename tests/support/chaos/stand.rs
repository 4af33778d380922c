//! The servers and the relay, the load on both masters, and the comparison at a calm point.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use super::plan::Setup;
use super::table::Table;
use crate::support::attachment::return_to;
use crate::support::binlog_text::count_gtids;
use crate::support::directories;
use crate::support::faulty_link::FaultyLink;
use crate::support::load::{Load, LoadOptions, LoadReport, create_tables};
use crate::support::raw_client::tcp_opts;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    assert_healthy, attach, dual_masters, retry_each_second, settle, wait_for_table,
};
use crate::support::servers::{REPL_PASSWORD, Server, UNPRIVILEGED_USER};
use crate::support::small_disk::SmallDisk;
use crate::support::tables::assert_same_tables;
use crate::support::topology::{TopologyOptions, master_options, pause, replica_options};

/// The databases of the load.
const DATABASES: [&str; 2] = ["test", "other"];
/// Of the relay's disk, in MiB: more than `max_total_size`.
const DISK_MIB: u32 = 320;
/// By how many files and sockets the relay may have more open than at the first calm point.
const DESCRIPTORS_MORE: usize = 16;
/// By how much its memory may grow over that of the first calm point, in MiB: an allocator keeps some of what a peak
/// needed.
const MEMORY_MORE_MIB: u64 = 192;

pub struct Stand {
    pub(super) setup: Setup,
    seed: u64,
    pub(super) masters: [Server; 2],
    /// Between each master and the relay.
    pub(super) links: [FaultyLink; 2],
    pub(super) relay: Relay,
    pub(super) disk: Option<SmallDisk>,
    /// Follows the relay from its first file on.
    fixed: Server,
    /// Follows M1, or the relay.
    pub(super) moving: Server,
    pub(super) moving_is_direct: bool,
    /// After a new history, only GTID sets of MySQL show what a replica of a master has: the relay refuses to attach others.
    pub(super) is_attachable: bool,
    pub(super) loads: [Option<Load>; 2],
    /// Since the last calm point.
    pub(super) reports: Vec<LoadReport>,
    /// How many loads were started.
    rounds: u32,
    acknowledged: u64,
    pub(super) table: Table,
    /// The newest log file at the last calm point.
    counted: String,
    /// Descriptors and memory at the first calm point.
    first: Option<(usize, u64)>,
}

impl Stand {
    pub async fn start(setup: Setup, seed: u64, program: Option<&Path>) -> Stand {
        let Setup { kind, mode } = setup;
        let mut options = TopologyOptions::new(mode, seed);
        (options.master_kind, options.replica_kind) = (kind, kind);
        let replica = |server_id| {
            let mut replica = replica_options(kind, server_id);
            replica.gtid = mode.has_gtids();
            Server::start(kind, replica)
        };
        let (m1, m2, fixed, moving) = tokio::join!(
            Server::start(kind, master_options(&options, 1)),
            Server::start(kind, master_options(&options, 2)),
            replica(11),
            replica(12),
        );
        dual_masters(&m1, &m2, &mode.start_at("mysql-bin")).await;
        let links = [FaultyLink::to(m1.port).await, FaultyLink::to(m2.port).await];
        let disk = SmallDisk::new(DISK_MIB);
        if let Err(reason) = &disk {
            println!("the disk of the relay is never full: {reason}");
        }
        let disk = disk.ok();
        let mut of_relay = relay_options(setup, &links, disk.as_ref());
        if let Some(program) = program {
            of_relay.program = program.into();
        }
        let relay = Relay::start(of_relay);
        relay.wait_streaming().await;
        let retry = retry_each_second(kind);
        let at = mode.start_at("relay-bin");
        attach(&fixed, RELAY_HOST, relay.port, &at, retry).await;
        let at = mode.start_at("mysql-bin");
        attach(&moving, "127.0.0.1", m1.port, &at, retry).await;
        create_tables(&m1, "").await;
        for server in [&m2, &fixed, &moving] {
            wait_for_table(server, "other", "items").await;
        }
        Stand {
            setup,
            seed,
            masters: [m1, m2],
            links,
            relay,
            disk,
            fixed,
            moving,
            moving_is_direct: true,
            is_attachable: true,
            loads: [None, None],
            reports: Vec::new(),
            rounds: 0,
            acknowledged: 0,
            table: Table::default(),
            counted: String::new(),
            first: None,
        }
    }

    /// Starts the load on a master.
    pub(super) fn start_load(&mut self, master: usize) {
        self.rounds += 1;
        let kind = self.setup.kind;
        let first_owner = self.rounds * 10;
        let mut load = LoadOptions::new(self.seed, first_owner);
        load.clients = 3;
        load.pause = pause(kind);
        load.cross_database = kind.is_mysql() && self.seed % 2 == 1;
        // Both masters are killed, see `Topology::load_options`.
        load.ddl = kind.has_atomic_ddl() && kind.is_mysql();
        self.loads[master] = Some(Load::start(&self.masters[master], &load));
    }

    /// Every replica has what the masters have, which have the same; nothing is lost, nothing is there twice; the
    /// relay has not grown.
    pub async fn calm(&mut self, part: u32) {
        for load in &mut self.loads {
            if let Some(load) = load.take() {
                self.reports.push(load.finish().await);
            }
        }
        self.relay.assert_running();
        self.relay.wait_streaming().await;
        self.settle().await;
        let lost = self.lost().await;
        let twice = self.twice().await;
        self.table.found(lost, twice);
        if lost + twice > 0 {
            print!("{}", self.table.text());
            panic!("{lost} acknowledged transactions are lost, {twice} GTIDs are there twice");
        }
        self.compare().await;
        let status = self.relay.status();
        let conflicts = &status["relay"]["conflicts"];
        assert!(
            conflicts.is_null() || conflicts == 0,
            "{conflicts} conflicts: {}",
            self.relay.log()
        );
        self.assert_flat(part);
        let reports = self.reports.drain(..);
        self.acknowledged += reports.map(|report| report.acknowledged).sum::<u64>();
    }

    pub(super) async fn settle(&self) {
        let [m1, m2] = &self.masters;
        let readers = [m1, m2, &self.fixed, &self.moving];
        settle(&[m1, m2], &readers, 180).await;
        for replica in [&self.fixed, &self.moving] {
            assert_healthy(replica).await;
        }
    }

    async fn compare(&self) {
        let [m1, m2] = &self.masters;
        for database in DATABASES {
            for server in [m2, &self.fixed, &self.moving] {
                assert_same_tables(m1, server, database).await;
            }
        }
    }

    /// Transactions that were acknowledged to a client and are not on every server.
    async fn lost(&self) -> u64 {
        let [m1, m2] = &self.masters;
        let mut lost = 0;
        for server in [m1, m2, &self.fixed, &self.moving] {
            let rows = server.rows::<(u32, u64)>("SELECT owner, n FROM test.progress");
            let found: BTreeMap<u32, u64> = rows.await.into_iter().collect();
            for (owner, n) in self.reports.iter().flat_map(|report| &report.progress) {
                let there = found.get(owner).copied().unwrap_or_default();
                if there < *n {
                    println!("{server}: client {owner} was acknowledged {n}, {there} is there");
                    lost += n - there;
                }
            }
        }
        lost
    }

    /// GTIDs that are in the relay's log twice, in the files since the last calm point.
    async fn twice(&mut self) -> u64 {
        self.relay_sql("FLUSH BINARY LOGS").await;
        let mut files = self.relay.log_files();
        // The newest one is empty.
        let newest = files.pop().expect("a log file");
        files.retain(|file| *file.to_string_lossy() >= *self.counted);
        self.counted = newest.to_string_lossy().into_owned();
        if !self.setup.mode.has_gtids() {
            return 0;
        }
        let counts = count_gtids(self.setup.kind, &files).into_iter();
        let twice: Vec<_> = counts.filter(|(_, count)| *count > 1).collect();
        if !twice.is_empty() {
            println!("in the relay's log more than once: {twice:?}");
            self.keep(&files);
        }
        twice.len() as u64
    }

    /// Copies log files out of the relay's file system, which ends with this process, and says how many GTIDs each has.
    fn keep(&self, files: &[PathBuf]) {
        let kept = tempfile::Builder::new()
            .prefix("br-kept-")
            .tempdir_in(directories::base())
            .expect("a temporary directory")
            .keep();
        for file in files {
            let gtids: u32 = count_gtids(self.setup.kind, std::slice::from_ref(file))
                .values()
                .sum();
            println!("{} has {gtids} GTIDs", file.display());
            for file in [file.clone(), file.with_added_extension("idx")] {
                let name = file.file_name().expect("a name");
                std::fs::copy(&file, kept.join(name)).expect("a log file is copied");
            }
        }
        println!("kept in {}", kept.display());
    }

    /// Executes a statement on the relay's listener.
    async fn relay_sql(&self, sql: &str) {
        let port = self.relay.port;
        let opts = tcp_opts("127.0.0.1", port, UNPRIVILEGED_USER, REPL_PASSWORD);
        let mut conn = Conn::new(opts).await.expect("the relay's listener");
        conn.query_drop(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        conn.disconnect().await.ok();
    }

    fn assert_flat(&mut self, part: u32) {
        let now = (self.relay.open_descriptors(), self.relay.rss_kib() / 1024);
        if part == 0 {
            return;
        }
        let first = *self.first.get_or_insert(now);
        assert!(
            now.0 <= first.0 + DESCRIPTORS_MORE && now.1 <= first.1 + MEMORY_MORE_MIB,
            "the relay had {} descriptors and {} MiB at the first calm point, and has {} and {}",
            first.0,
            first.1,
            now.0,
            now.1
        );
    }

    /// Between two parts: old rows and old binlogs go, and the moving replica is M1's or the relay's.
    pub async fn trim(&mut self) {
        let [m1, m2] = &self.masters;
        let mut statements = "FLUSH BINARY LOGS".to_owned();
        for database in DATABASES {
            for table in ["children", "items", "progress"] {
                statements.push_str(&format!("; DELETE FROM `{database}`.{table}"));
            }
        }
        let own: Vec<String> = m1
            .rows(
                "SELECT CONCAT('; DROP TABLE `', table_schema, '`.', table_name) FROM information_schema.tables \
                 WHERE table_schema IN ('test', 'other') AND table_name LIKE 'own!_%' ESCAPE '!'",
            )
            .await;
        statements.push_str(&own.concat());
        m1.sql(&statements).await;
        m2.sql("FLUSH BINARY LOGS").await;
        // The masters' own positions are in the new files as well.
        self.settle().await;
        let newest = [&self.masters[0], &self.masters[1]].map(|master| {
            let files = master.log_files();
            let newest = files.last().and_then(|path| path.file_name());
            let newest = newest.expect("a binlog file").to_string_lossy();
            newest.into_owned()
        });
        // What replicas have may have come from the other master: the relay may need the old files of this one.
        let has_left = |status: &Value| {
            let sources = [&status["sources"][0], &status["sources"][1]];
            sources
                .iter()
                .zip(&newest)
                .all(|(source, file)| source["file"] == **file)
        };
        let what = "the relay reads the newest binlogs";
        self.relay.wait_status(what, 60, has_left).await;
        for (master, file) in self.masters.iter().zip(&newest) {
            master.sql(&format!("PURGE BINARY LOGS TO '{file}'")).await;
        }
        if !self.moving_is_direct && self.is_attachable && self.rounds.is_multiple_of(2) {
            return_to(&self.masters[0], &self.moving, self.setup.mode).await;
            self.moving_is_direct = true;
        }
    }

    /// One line.
    pub fn progress(&self) -> String {
        format!(
            "{} faults, {} transactions, the relay has {} MiB (at most {}) and {} descriptors",
            self.table.injected(),
            self.acknowledged,
            self.relay.rss_kib() / 1024,
            self.relay.rss_peak_kib() / 1024,
            self.relay.open_descriptors()
        )
    }

    pub fn table(&self) -> String {
        format!("{}{}\n", self.table.text(), self.progress())
    }

    pub async fn finish(mut self) {
        self.settle().await;
        self.compare().await;
        self.relay.terminate();
        self.relay.verify();
    }
}

fn relay_options(setup: Setup, links: &[FaultyLink; 2], disk: Option<&SmallDisk>) -> RelayOptions {
    let mut sources: Vec<SourceOptions> = ["m1", "m2"]
        .into_iter()
        .zip(links)
        .map(|(name, link)| SourceOptions::at(name, link.port))
        .collect();
    for source in &mut sources {
        source.auto_position = setup.mode.auto_position();
        source.extra.extend([
            "read_timeout = \"2s\"".to_owned(),
            "get_source_public_key = true".to_owned(),
            "[source.tls]\nmode = \"disabled\"".to_owned(),
        ]);
    }
    let mut options = RelayOptions::new(sources);
    options.replicate_do_db.clear();
    options.log_extra.extend([
        "max_size = \"4MiB\"".to_owned(),
        "max_total_size = \"192MiB\"".to_owned(),
    ]);
    options.data_dir = disk.map(|disk| disk.directory("data"));
    options
}
