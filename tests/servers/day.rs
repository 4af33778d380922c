//! What an administrator does with a relay in the course of time, with two replicas that have the default connect retry
//! of a minute: `check`, another password, a replaced master, a third source that comes and goes, rotation, `PURGE`,
//! another filter, killed servers and connections, and the restart of an upgrade. In the end the replicas equal the
//! masters, and the only connections that they lost are the one that was killed, and those of the restart.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::administration::{
    about, administer, change, dump_connections, printed, reload, wait_state,
};
use crate::support::load::{Load, assert_acknowledged};
use crate::support::relay::run_binrelay;
use crate::support::replication::{
    assert_healthy, attach_as, retry_each_second, settle, start_replica, stop_replica,
    wait_for_table,
};
use crate::support::servers::{
    Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, UNPRIVILEGED_USER,
};
use crate::support::tables::{assert_no_database, assert_same_tables, assert_same_tables_where};
use crate::support::topology::{
    Mode, Topology, TopologyOptions, gtid_executed, master_options, run_for,
};
use crate::support::{self, Deadline};

/// The masters' password of `repl` from the morning on.
const NEW_PASSWORD: &str = "another-secret";
/// The server_id of the master that replaces M2, and of the third source. MariaDB: their gtid_domain_id, too.
const M3_ID: u32 = 33;
const ARCHIVE_ID: u32 = 44;
/// A replica that waits for its connect retry needs a minute.
const AT_ONCE_SECS: u64 = 45;
/// Transactions of each load between two steps.
const PART: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_97() {
    Day::begin(Mode::MySqlAutoPosition).await.run().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_1011() {
    Day::begin(Mode::MariaDbSlavePos).await.run().await;
}

struct Day {
    topology: Topology,
    mode: Mode,
    kind: Kind,
    options: TopologyOptions,
    /// A server that has data of its own.
    archive: Server,
    /// The load on M1, and on M2 or the master that has replaced it.
    loads: [Option<Load>; 2],
    /// How many loads were started.
    rounds: u32,
    /// How often each replica's connection has ended.
    lost: Vec<usize>,
    directory: TempDir,
    _turn: support::Turn,
}

impl Day {
    async fn begin(mode: Mode) -> Day {
        let turn = support::turn();
        let directory = tempfile::tempdir().expect("a directory");
        let mut options = TopologyOptions::new(mode, support::seed());
        options.keeps_socket = true;
        options.password_file = Some(password_file(&directory));
        write_password(&password_file(&directory), REPL_PASSWORD);
        let kind = mode.kind();
        let archive = ServerOptions::new(ARCHIVE_ID);
        let archive = Server::start(kind, with_domain(archive, ARCHIVE_ID, kind)).await;
        let topology = Topology::start(options.clone()).await;
        let lost = vec![0; topology.replicas.len()];
        Day {
            topology,
            mode,
            kind,
            options,
            archive,
            loads: [None, None],
            rounds: 0,
            lost,
            directory,
            _turn: turn,
        }
    }

    async fn run(mut self) {
        self.check();
        self.topology
            .m1
            .sql("USE test; CREATE TABLE private (a INT PRIMARY KEY); INSERT INTO private VALUES (1)")
            .await;
        self.start_load(1);
        self.start_load(2);
        self.carry_on("another password").await;
        self.change_the_password().await;
        self.carry_on("another master").await;
        self.replace_m2().await;
        self.carry_on("a third source").await;
        self.add_and_remove_a_source().await;
        self.carry_on("rotation and PURGE").await;
        self.rotate_and_purge().await;
        self.carry_on("another filter").await;
        self.reload_a_filter().await;
        self.carry_on("the death of M1").await;
        self.kill_m1().await;
        self.carry_on("KILL").await;
        self.kill_a_connection().await;
        self.carry_on("an upgrade").await;
        self.upgrade().await;
        self.carry_on("the evening").await;
        self.compare().await;
    }

    /// The load continues for a while, and nothing has happened to the replicas' connections.
    async fn carry_on(&self, before: &str) {
        for load in self.loads.iter().flatten() {
            load.wait_for(PART).await;
        }
        eprintln!("{}: {before}", self.mode);
        self.assert_connections(before);
    }

    fn assert_connections(&self, before: &str) {
        for (replica, lost) in self.topology.replicas.iter().zip(&self.lost) {
            let log = replica.error_log_tail();
            assert_eq!(
                self.dumps(replica),
                lost + 1,
                "{replica} before {before}: {log}"
            );
        }
    }

    /// How many dumps the relay has begun for a replica. MariaDB logs nothing when it connects again at once.
    fn dumps(&self, replica: &Server) -> usize {
        let id = format!(" server_id={} ", replica.options.server_id);
        let log = self.topology.relay.log();
        let is_dump = |line: &&str| line.contains("dump started") && line.contains(&id);
        log.lines().filter(is_dump).count()
    }

    fn start_load(&mut self, master: u32) {
        self.rounds += 1;
        let server = self.master(master);
        let options = self.topology.load_options(master, self.rounds);
        let load = Load::start(server, &options);
        self.loads[master as usize - 1] = Some(load);
    }

    fn master(&self, number: u32) -> &Server {
        match number {
            1 => &self.topology.m1,
            _ => &self.topology.m2,
        }
    }

    async fn stop_load(&mut self, master: u32) {
        let load = self.loads[master as usize - 1].take();
        let report = load.expect("it was started").finish().await;
        assert_acknowledged(self.master(master), &report, "").await;
    }

    /// Waits until the masters and the replicas have what was written until now.
    async fn settle(&self) {
        let (m1, m2) = (&self.topology.m1, &self.topology.m2);
        settle(&[m1, m2], &[m1, m2], 120).await;
        let replicas: Vec<&Server> = self.topology.replicas.iter().collect();
        settle(&[m1, m2], &replicas, 120).await;
        for replica in replicas {
            assert_healthy(replica).await;
        }
    }

    async fn administer(&self, statement: &str) {
        administer(&self.topology.relay, statement).await;
    }

    async fn wait_state(&self, name: &str, state: &str) {
        wait_state(&self.topology.relay, name, state).await;
    }

    fn check(&self) {
        let config = self.topology.relay.config();
        let output = run_binrelay(&["check", "--config", config.to_str().expect("a path")]);
        let text = printed(&output);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{text}");
        assert!(!text.contains("problem:"), "{text}");
    }

    /// The masters get it first. The relay notices when it connects again, and the corrected file is enough.
    async fn change_the_password(&self) {
        for master in [&self.topology.m1, &self.topology.m2] {
            set_password(master).await;
            let source = match self.kind.says_replica() {
                true => "REPLICATION SOURCE TO SOURCE",
                false => "MASTER TO MASTER",
            };
            let (stop, start) = (stop_replica(self.kind), start_replica(self.kind));
            let statements = format!("{stop}; CHANGE {source}_PASSWORD='{NEW_PASSWORD}'; {start}");
            master.sql(&statements).await;
        }
        for (name, master) in [("m1", &self.topology.m1), ("m2", &self.topology.m2)] {
            end_dumps(master).await;
            let is_refused = |status: &serde_json::Value| {
                let sources = status["sources"].as_array().expect("a list");
                let source = sources.iter().find(|source| source["name"] == name);
                source.is_some_and(|source| {
                    source["state"] != "streaming" && source["last_error"]["code"] == 1045
                })
            };
            let what = format!("{name} refuses the old password");
            self.topology.relay.wait_status(&what, 60, is_refused).await;
        }
        write_password(&password_file(&self.directory), NEW_PASSWORD);
        self.topology.relay.wait_streaming().await;
    }

    /// A server that has replicated from M1 takes M2's place, and M2 is shut down.
    async fn replace_m2(&mut self) {
        let mut options = master_options(&self.options, 2);
        options.server_id = M3_ID;
        let m3 = Server::start(self.kind, with_domain(options, M3_ID, self.kind)).await;
        set_password(&m3).await;
        let at = self.mode.start_at("mysql-bin");
        let (account, retry) = ((REPL_USER, NEW_PASSWORD), retry_each_second(self.kind));
        attach_as(account, &m3, "127.0.0.1", self.topology.m1.port, &at, retry).await;
        // M1 can follow only a server that has all of M1's transactions (MariaDB).
        self.stop_load(1).await;
        self.stop_load(2).await;
        self.settle().await;
        settle(&[&self.topology.m1, &self.topology.m2], &[&m3], 120).await;
        self.administer(&about(self.kind, "STOP", "m2")).await;
        let options = format!("MASTER_HOST='127.0.0.1', MASTER_PORT={}", m3.port);
        self.administer(&change(self.kind, "m2", &options)).await;
        self.administer(&about(self.kind, "START", "m2")).await;
        self.topology.m1.sql(stop_replica(self.kind)).await;
        attach_as(account, &self.topology.m1, "127.0.0.1", m3.port, &at, retry).await;
        let mut m2 = std::mem::replace(&mut self.topology.m2, m3);
        m2.terminate();
        self.wait_state("m2", "streaming").await;
        assert_eq!(self.topology.relay.source_status("m2")["server_id"], M3_ID);
        self.start_load(1);
        self.start_load(2);
    }

    async fn add_and_remove_a_source(&self) {
        self.archive
            .sql("CREATE DATABASE IF NOT EXISTS test; USE test; CREATE TABLE archive (a INT PRIMARY KEY)")
            .await;
        let options = format!(
            "MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='{REPL_USER}', \
             MASTER_PASSWORD='{REPL_PASSWORD}', MASTER_CONNECT_RETRY=1",
            self.archive.port
        );
        self.administer(&change(self.kind, "archive", &options))
            .await;
        self.administer(&about(self.kind, "START", "archive")).await;
        self.wait_state("archive", "streaming").await;
        for replica in &self.topology.replicas {
            wait_for_table(replica, "test", "archive").await;
        }
        self.archive
            .sql("USE test; INSERT INTO archive VALUES (1), (2)")
            .await;
        settle(
            &[&self.archive],
            &self.topology.replicas.iter().collect::<Vec<_>>(),
            60,
        )
        .await;
        self.administer(&about(self.kind, "STOP", "archive")).await;
        self.administer(&about(self.kind, "RESET ALL", "archive"))
            .await;
        self.wait_state("archive", "gone").await;
    }

    /// Files are removed once the replicas have certainly received them: 16 MiB later.
    async fn rotate_and_purge(&self) {
        self.administer("FLUSH BINARY LOGS").await;
        let m1 = &self.topology.m1;
        m1.sql("USE test; CREATE TABLE large (a INT PRIMARY KEY, payload MEDIUMTEXT)")
            .await;
        for number in 0..24 {
            let row = format!("({number}, CONCAT(UUID(), REPEAT('x', 1048576)))");
            m1.sql(&format!("INSERT INTO test.large VALUES {row}"))
                .await;
        }
        self.settle().await;
        let newest = self.topology.relay.log_files().pop().expect("a file");
        let name = newest.file_name().and_then(|name| name.to_str());
        let statement = format!("PURGE BINARY LOGS TO '{}'", name.expect("a name"));
        let deadline = Deadline::after_secs(60);
        loop {
            self.administer(&statement).await;
            let files = self.topology.relay.log_files();
            if !files[0].ends_with("relay-bin.000001") {
                return;
            }
            assert!(
                !deadline.passed(),
                "{files:?}: {}",
                self.topology.relay.log()
            );
            run_for(500).await;
        }
    }

    async fn reload_a_filter(&self) {
        let config = self.topology.relay.config();
        let original = std::fs::read_to_string(config).expect("the configuration");
        let rule = "[filter]\nreplicate_ignore_table = [\"test.private\"]\n";
        let changed = original.replacen("[filter]\n", rule, 1);
        let output = reload(&self.topology.relay, &changed);
        assert!(output.contains("replicate_ignore_table"), "{output}");
        // A statement without a default database does not pass `replicate_do_db`.
        let insert = "USE test; INSERT INTO private VALUES (2)";
        self.topology.m2.sql(insert).await;
        self.settle().await;
        for (servers, expected) in [
            (&self.topology.replicas[..], &[1][..]),
            (std::slice::from_ref(&self.topology.m1), &[1, 2]),
        ] {
            for server in servers {
                let query = "SELECT a FROM test.private ORDER BY a";
                assert_eq!(server.rows::<i32>(query).await, expected, "{server}");
            }
        }
    }

    async fn kill_m1(&mut self) {
        self.topology.m1.kill9();
        let load = self.loads[0].take().expect("it was started");
        let report = load.ended().await;
        // The other master's load arrives meanwhile.
        self.loads[1]
            .as_ref()
            .expect("it was started")
            .wait_for(PART)
            .await;
        self.topology.restart_m1().await;
        assert_acknowledged(&self.topology.m1, &report, "").await;
        self.topology.relay.wait_streaming().await;
        self.start_load(1);
    }

    /// One of the replicas connects again, at once.
    async fn kill_a_connection(&mut self) {
        let relay = &self.topology.relay;
        let ids = dump_connections(relay, UNPRIVILEGED_USER, REPL_PASSWORD);
        assert_eq!(ids.len(), self.topology.replicas.len());
        self.administer(&format!("KILL {}", ids[0])).await;
        let expected: usize = self.lost.iter().map(|lost| lost + 1).sum::<usize>() + 1;
        let replicas = &self.topology.replicas;
        let count = || replicas.iter().map(|one| self.dumps(one)).sum::<usize>();
        let deadline = Deadline::after_secs(AT_ONCE_SECS);
        while count() < expected {
            assert!(!deadline.passed(), "it did not connect again");
            run_for(100).await;
        }
        self.lost = replicas.iter().map(|one| self.dumps(one) - 1).collect();
        assert_eq!(self.lost.iter().sum::<usize>(), 1);
    }

    /// An orderly stop and a start, while the service manager keeps the listening socket.
    async fn upgrade(&mut self) {
        let began = Instant::now();
        self.topology.relay.terminate();
        self.topology.relay.restart();
        for lost in &mut self.lost {
            *lost += 1;
        }
        let deadline = Deadline::after_secs(AT_ONCE_SECS);
        for (replica, lost) in self.topology.replicas.iter().zip(&self.lost) {
            while self.dumps(replica) < lost + 1 {
                let log = replica.error_log_tail();
                assert!(
                    !deadline.passed(),
                    "{replica} waits for its connect retry: {log}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let elapsed = began.elapsed();
        eprintln!(
            "{}: the replicas were back {elapsed:?} after the stop",
            self.mode
        );
        self.topology.relay.wait_streaming().await;
    }

    async fn compare(mut self) {
        self.stop_load(1).await;
        self.stop_load(2).await;
        self.settle().await;
        let (m1, m2) = (&self.topology.m1, &self.topology.m2);
        assert_same_tables(m1, m2, "test").await;
        assert_same_tables(m1, m2, "other").await;
        let of_archive = format!("mark_{ARCHIVE_ID}");
        let is_of_archive = |name: &str| name == "archive" || name == of_archive;
        for replica in &self.topology.replicas {
            let is_shared = |name: &str| name != "private" && !is_of_archive(name);
            assert_same_tables_where(m1, replica, "test", is_shared).await;
            assert_same_tables_where(&self.archive, replica, "test", is_of_archive).await;
            assert_no_database(replica, "other").await;
            self.assert_same_gtids(replica).await;
        }
        self.assert_connections("the end");
        let status = self.topology.relay.status();
        assert_eq!(
            status["relay"]["conflicts"],
            0,
            "{}",
            self.topology.relay.log()
        );
        assert_eq!(status["relay"]["degraded"], serde_json::json!([]));
        self.topology.relay.terminate();
        self.topology.relay.verify();
        let log = self.topology.relay.log();
        let has_secret = [REPL_PASSWORD, NEW_PASSWORD]
            .iter()
            .any(|word| log.contains(word));
        assert!(!has_secret, "a password is shown: {log}");
    }

    /// MySQL: the replica has the transactions of M1 and of the third source, and no other.
    async fn assert_same_gtids(&self, replica: &Server) {
        if !self.kind.is_mysql() {
            return;
        }
        let m1 = gtid_executed(&self.topology.m1).await;
        let archive = gtid_executed(&self.archive).await;
        let query = format!(
            "SELECT CONCAT(GTID_SUBTRACT(GTID_SUBTRACT(@@GLOBAL.gtid_executed, '{m1}'), '{archive}'), \
             '; missing: ', GTID_SUBTRACT('{m1}', @@GLOBAL.gtid_executed))"
        );
        assert_eq!(replica.value(&query).await.as_deref(), Some("; missing: "));
    }
}

fn password_file(directory: &TempDir) -> PathBuf {
    directory.path().join("masters.password")
}

fn write_password(file: &Path, password: &str) {
    std::fs::write(file, format!("{password}\n")).expect("the password is written");
}

fn with_domain(options: ServerOptions, domain: u32, kind: Kind) -> ServerOptions {
    match kind.is_mariadb() {
        true => options.extra(format!("--gtid-domain-id={domain}")),
        false => options,
    }
}

/// Gives the account `repl` of a master its new password.
async fn set_password(master: &Server) {
    let alter = |host| format!("ALTER USER {REPL_USER}@'{host}' IDENTIFIED BY '{NEW_PASSWORD}'");
    let (any, local) = (alter("%"), alter("localhost"));
    let statements = format!("SET SESSION sql_log_bin=0; {any}; {local}");
    master.sql(&statements).await;
}

/// Ends all dumps of a master's binlog.
async fn end_dumps(master: &Server) {
    let query = "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";
    for id in master.rows::<u64>(query).await {
        master.sql(&format!("KILL {id}")).await;
    }
}
