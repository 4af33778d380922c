//! Sources that statements change while the relay runs: stopped, started, moved to another master, added and removed.
//! The replica is attached all the time and never connects again; what is wrong is refused as a real server does.

use std::os::unix::fs::PermissionsExt;

use crate::support;
use crate::support::administration::{
    about, account, admin, administer, ask, at_its_end, by_gtid, change, wait_state,
};
use crate::support::replication::{
    assert_never_interrupted, attach, retry_each_second, wait_for_table,
};
use crate::support::servers::{
    Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, UNPRIVILEGED_USER,
};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, Topology, TopologyOptions};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_without_gtids() {
    walk(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos() {
    walk(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_versions_and_modes() {
    walk(Kind::MySql56, Mode::MySqlNoGtids).await;
    walk(Kind::MySql, Mode::MySqlAutoPosition).await;
    walk(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

/// A relay and its masters, of which the third replicates from the first.
struct Walk {
    kind: Kind,
    mode: Mode,
    topology: Topology,
    m3: Server,
}

async fn walk(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    options.attach_extra = retry_each_second(kind);
    let mut m3 = ServerOptions::new(33);
    m3.gtid = mode.has_gtids();
    let (topology, m3) = tokio::join!(Topology::start(options), Server::start(kind, m3));
    let at = mode.start_at("mysql-bin");
    attach(
        &m3,
        "127.0.0.1",
        topology.m1.port,
        &at,
        retry_each_second(kind),
    )
    .await;
    topology
        .m1
        .sql("USE test; CREATE TABLE numbered (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
        .await;
    wait_for_table(&topology.m2, "test", "numbered").await;
    let mut walk = Walk {
        kind,
        mode,
        topology,
        m3,
    };
    walk.insert_and_settle().await;
    walk.stop_and_start().await;
    walk.add_and_remove().await;
    walk.continue_at_a_position().await;
    walk.move_to_another_master().await;
    walk.refuse().await;
    assert_never_interrupted(&walk.topology.replicas[0]).await;
    walk.stay_stopped_over_a_restart().await;
    assert_same_tables(&walk.topology.m1, &walk.topology.m2, "test").await;
    assert_same_tables(&walk.topology.m1, &walk.topology.replicas[0], "test").await;
    walk.topology.relay.terminate();
    walk.topology.relay.verify();
    let log = walk.topology.relay.log();
    assert!(!log.contains(REPL_PASSWORD), "a password is shown: {log}");
}

impl Walk {
    async fn insert(&self) {
        for server in [&self.topology.m1, &self.topology.m2] {
            for _ in 0..3 {
                server
                    .sql("USE test; INSERT INTO numbered (v) VALUES (1)")
                    .await;
            }
        }
    }

    async fn insert_and_settle(&self) {
        self.insert().await;
        self.topology.settle(60).await;
    }

    async fn ask(&self, statement: &str) {
        administer(&self.topology.relay, statement).await;
    }

    fn about(&self, verb: &str, name: &str) -> String {
        about(self.kind, verb, name)
    }

    fn change(&self, name: &str, options: &str) -> String {
        change(self.kind, name, options)
    }

    async fn wait_state(&self, name: &str, state: &str) {
        wait_state(&self.topology.relay, name, state).await;
    }

    async fn stop_and_start(&self) {
        self.ask(&self.about("STOP", "m1")).await;
        let status = self.topology.relay.source_status("m1");
        assert_eq!(status["state"], "stopped", "the statement waits for it");
        // Both masters' transactions arrive by m2.
        self.insert_and_settle().await;
        self.ask(&self.about("START", "m1")).await;
        self.wait_state("m1", "streaming").await;
        self.insert_and_settle().await;
    }

    async fn add_and_remove(&self) {
        let options = format!(
            "MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='{REPL_USER}', \
             MASTER_PASSWORD='{REPL_PASSWORD}', MASTER_CONNECT_RETRY=1",
            self.m3.port
        );
        // From its first binlog, and, under another name, from a position: the relay has what lies before.
        let at = at_its_end(&self.m3).await;
        for (name, options) in [("m3", options.clone()), ("m4", format!("{options}, {at}"))] {
            self.ask(&self.change(name, &options)).await;
            assert_eq!(self.topology.relay.source_status(name)["state"], "stopped");
            self.ask(&self.about("START", name)).await;
            self.wait_state(name, "streaming").await;
            self.insert_and_settle().await;
            self.ask(&self.about("STOP", name)).await;
            self.ask(&self.about("RESET ALL", name)).await;
            self.wait_state(name, "gone").await;
            self.insert_and_settle().await;
        }
    }

    /// M1 is followed from a position of its binlog, before which all came by M2, and by GTID again.
    async fn continue_at_a_position(&self) {
        self.ask(&self.about("STOP", "m1")).await;
        self.insert_and_settle().await;
        let received =
            || self.topology.relay.source_status("m1")["transactions"]["received"].clone();
        let before = received();
        let at = at_its_end(&self.topology.m1).await;
        self.ask(&self.change("m1", &at)).await;
        self.ask(&self.about("START", "m1")).await;
        self.wait_state("m1", "streaming").await;
        assert_eq!(received(), before, "what lies before {at} was sent again");
        self.insert_and_settle().await;
        if self.mode.has_gtids() {
            self.ask(&self.about("STOP", "m1")).await;
            self.insert().await;
            self.ask(&self.change("m1", by_gtid(self.kind))).await;
            self.ask(&self.about("START", "m1")).await;
            self.wait_state("m1", "streaming").await;
            self.insert_and_settle().await;
        }
    }

    /// M2 is followed at M3's address, which replicates from M1, and at its own again.
    async fn move_to_another_master(&self) {
        for master in [&self.m3, &self.topology.m2] {
            self.ask(&self.about("STOP", "m2")).await;
            self.insert().await;
            let options = format!("MASTER_HOST='127.0.0.1', MASTER_PORT={}", master.port);
            self.ask(&self.change("m2", &options)).await;
            self.ask(&self.about("START", "m2")).await;
            self.wait_state("m2", "streaming").await;
            self.insert_and_settle().await;
            let status = self.topology.relay.source_status("m2");
            assert_eq!(status["server_id"], master.options.server_id);
            assert_eq!(status["changed"], serde_json::json!(["host", "port"]));
        }
    }

    /// The errors are those of a real server, which is the replica, and nothing changes.
    async fn refuse(&self) {
        let replica = &self.topology.replicas[0];
        let change = self.change("m1", "MASTER_PORT=7");
        let mut cases = vec![(UNPRIVILEGED_USER, change)];
        if self.kind == Kind::MySql56 {
            return;
        }
        for verb in ["START", "STOP", "RESET ALL"] {
            cases.push((UNPRIVILEGED_USER, self.about(verb, "nix")));
            cases.push((REPL_USER, self.about(verb, "m1")));
        }
        cases.push((UNPRIVILEGED_USER, self.about("RESET ALL", "m1")));
        for (user, statement) in cases {
            let found = ask(&account(&self.topology.relay, user), &statement).await;
            let real = match user == REPL_USER {
                true => replica.repl_opts(),
                false => replica.opts(),
            };
            let expected = ask(&real, &statement.replace("'m1'", "''")).await;
            let expected = expected.map_err(|(code, text)| (code, text.replace("''", "'m1'")));
            assert!(expected.is_err(), "{statement}");
            // After the server's text follows how the privilege is given here.
            let hint = "; on binrelay, privileges = [\"admin\"] of the [[user]]";
            let found = found.map_err(|(code, text)| match code {
                1227 => (code, text.trim_end_matches(hint).to_owned()),
                _ => (code, text),
            });
            assert_eq!(found, expected, "{statement}");
        }
        // A position that the source's binlog does not have.
        self.ask(&self.about("STOP", "m1")).await;
        let options = "MASTER_LOG_FILE='mysql-bin.000777', MASTER_LOG_POS=4";
        let statement = self.change("m1", options);
        let outcome = ask(&admin(&self.topology.relay), &statement).await;
        assert!(outcome.is_err_and(|(code, _)| code == 1105), "{statement}");
        self.ask(&self.about("START", "m1")).await;
        self.wait_state("m1", "streaming").await;
        self.insert_and_settle().await;
    }

    async fn stay_stopped_over_a_restart(&mut self) {
        self.ask(&self.about("STOP", "m1")).await;
        let file = self.topology.relay.data_dir().join("channels.toml");
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        self.topology.relay.kill9();
        self.topology.relay.restart();
        self.wait_state("m2", "streaming").await;
        assert_eq!(self.topology.relay.source_status("m1")["state"], "stopped");
        assert_eq!(
            self.topology.relay.source_status("m2")["port"],
            self.topology.m2.port
        );
        let log = self.topology.relay.log();
        assert!(log.contains("source m1 is stopped until START"), "{log}");
        self.ask(&self.about("START", "m1")).await;
        self.wait_state("m1", "streaming").await;
        self.insert_and_settle().await;
    }
}
