//! What an administrator does with a relay in the course of time, from the installation of the package to its upgrade: the
//! relay is the service of the package, which systemd runs on a machine of its own (`tools/container`), between real
//! servers. Needs root rights.
//!
//! Two replicas have the default connect retry of a minute. There are: `check`, another password, a replaced master, a third
//! source that comes and goes, rotation, `PURGE`, another filter, and SIGKILL for a master, a connection and the relay.
//! In the end the replicas equal the masters, and the only connections that they lost are the one that was killed, and
//! those of the relay's restarts.

mod restarts;

use std::path::Path;

use crate::support::administration::{
    about, administer, change, dump_connections, log_names, printed, reload, wait_state,
};
use crate::support::load::{Load, assert_acknowledged};
use crate::support::machine::Machine;
use crate::support::relay::RelayOptions;
use crate::support::replication::{
    assert_healthy, attach_as, retry_each_second, settle, start_replica, stop_replica,
    wait_for_table,
};
use crate::support::servers::{
    Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, UNPRIVILEGED_USER,
};
use crate::support::service::Service;
use crate::support::tables::{assert_no_database, assert_same_tables, assert_same_tables_where};
use crate::support::topology::{
    Mode, Topology, TopologyOptions, gtid_executed, master_options, run_for,
};
use crate::support::{self, Deadline};

/// On the relay's machine, with the password of the masters' account.
const PASSWORD_FILE: &str = "/etc/binrelay/masters.password";
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
    topology: Topology<Service>,
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
    _turn: support::Turn,
}

impl Day {
    async fn begin(mode: Mode) -> Day {
        // It waits for other machines, the turn must not.
        let machine = Machine::boot();
        let turn = support::turn();
        let mut options = TopologyOptions::new(mode, support::seed());
        options.password_file = Some(PASSWORD_FILE.into());
        let kind = mode.kind();
        let archive = ServerOptions::new(ARCHIVE_ID);
        let archive = Server::start(kind, with_domain(archive, ARCHIVE_ID, kind)).await;
        let begin = |relay| begin_service(machine, &relay);
        let topology = Topology::start_with(options.clone(), begin).await;
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
            _turn: turn,
        }
    }

    async fn run(mut self) {
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
        self.carry_on("the death of the relay").await;
        self.kill_the_relay().await;
        self.carry_on("an upgrade").await;
        self.upgrade().await;
        self.carry_on("the evening").await;
        self.compare().await;
    }

    /// The load continues for a while, and nothing has happened to the replicas' connections.
    async fn carry_on(&self, before: &str) {
        self.load_on().await;
        eprintln!("{}: {before}", self.mode);
        self.assert_connections(before);
    }

    async fn load_on(&self) {
        for load in self.loads.iter().flatten() {
            load.wait_for(PART).await;
        }
    }

    fn assert_connections(&self, before: &str) {
        let expected: Vec<usize> = self.lost.iter().map(|lost| lost + 1).collect();
        assert_eq!(self.dumps(), expected, "before {before}: {}", self.errors());
    }

    /// What the replicas have logged last.
    fn errors(&self) -> String {
        let tails = self.topology.replicas.iter().map(Server::error_log_tail);
        tails.collect::<Vec<_>>().join("\n\n")
    }

    /// How many dumps the relay has begun for each replica. MariaDB logs nothing when it connects again at once.
    fn dumps(&self) -> Vec<usize> {
        let log = self.topology.relay.log();
        let count = |replica: &Server| {
            let id = format!(" server_id={} ", replica.options.server_id);
            let is_dump = |line: &&str| line.contains("dump started") && line.contains(&id);
            log.lines().filter(is_dump).count()
        };
        self.topology.replicas.iter().map(count).collect()
    }

    /// Waits until the replicas, which have lost so many connections, have connected again: sooner than after their
    /// connect retry.
    async fn wait_for_dumps(&self, lost: &[usize]) {
        let deadline = Deadline::after_secs(AT_ONCE_SECS);
        while self
            .dumps()
            .iter()
            .zip(lost)
            .any(|(dumps, lost)| *dumps < lost + 1)
        {
            assert!(!deadline.passed(), "a connect retry: {}", self.errors());
            run_for(50).await;
        }
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
        write_password(&self.topology.relay, NEW_PASSWORD);
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
        let newest = log_names(&self.topology.relay).pop().expect("a file");
        let statement = format!("PURGE BINARY LOGS TO '{newest}'");
        let deadline = Deadline::after_secs(60);
        loop {
            self.administer(&statement).await;
            let names = log_names(&self.topology.relay);
            if names[0] != "relay-bin.000001" {
                return;
            }
            let log = || self.topology.relay.log();
            assert!(!deadline.passed(), "{names:?}: {}", log());
            run_for(500).await;
        }
    }

    async fn reload_a_filter(&self) {
        let original = self.topology.relay.read_config();
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
        let expected = self.dumps().iter().sum::<usize>() + 1;
        self.administer(&format!("KILL {}", ids[0])).await;
        let deadline = Deadline::after_secs(AT_ONCE_SECS);
        while self.dumps().iter().sum::<usize>() < expected {
            assert!(!deadline.passed(), "it did not connect again");
            run_for(50).await;
        }
        self.lost = self.dumps().iter().map(|dumps| dumps - 1).collect();
        assert_eq!(self.lost.iter().sum::<usize>(), 1);
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
        self.topology.relay.stop_and_verify();
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

/// Installs, configures, checks and starts the relay.
fn begin_service(machine: Machine, options: &RelayOptions) -> Service {
    let relay = Service::install(machine, options);
    write_password(&relay, REPL_PASSWORD);
    check(&relay);
    relay.machine.run("systemctl enable --now binrelay");
    relay.machine.assert_restricted();
    relay
}

/// As the account of the service, before it runs.
fn check(relay: &Service) {
    let mut command = relay.machine.command("runuser");
    let output = command
        .args(["-u", "binrelay", "--", "binrelay", "check"])
        .output();
    let output = output.expect("it can be run");
    let text = printed(&output);
    // 3 would be a warning, or a source that cannot be followed.
    assert_eq!(output.status.code(), Some(0), "{text}");
    for name in ["m1", "m2"] {
        let ok = format!("source {name}: ok: ");
        assert!(text.contains(&ok), "{text}");
    }
}

fn write_password(relay: &Service, password: &str) {
    relay.write_secret(Path::new(PASSWORD_FILE), &format!("{password}\n"));
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
