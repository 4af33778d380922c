//! Two masters, the relay and its replica, and the steps that a history has.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::follower::{Attachments, Follower};
use super::{Address, Beginning, Master, Plan, Step};
use crate::support::Deadline;
use crate::support::programs::{binlog_tool, program};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    StartAt, attach, dual_masters, has_mark, kill_replicating, resume_from_peer, retry_each_second,
    settle, wait_for_table, write_mark,
};
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, TopologyOptions, master_options, replica_options, run_for};
use crate::support::virtual_ip::VirtualIp;

/// The last file of a fresh relay log.
const RELAY_LOG: &str = "relay-bin";

pub struct Pair {
    kind: Kind,
    pub(super) mode: Mode,
    pub(super) masters: [Server; 2],
    pub(super) relay: Relay,
    pub(super) relay_runs: bool,
    pub(super) replica: Server,
    /// The one that is attached later, if there is one.
    pub(super) follower: Option<Follower>,
    /// The address of the source m1, and the master that has it.
    address: Option<(VirtualIp, Master)>,
    copies: [Option<TempDir>; 2],
    pub attachments: Attachments,
}

impl Pair {
    pub async fn start(plan: &Plan) -> Pair {
        let (kind, mode) = (plan.kind, plan.mode);
        let mut options = TopologyOptions::new(mode, 2); // MIXED.
        options.master_kind = kind;
        let (m1, m2) = tokio::join!(
            Server::start(kind, master_options(&options, 1)),
            Server::start(kind, master_options(&options, 2)),
        );
        dual_masters(&m1, &m2, &mode.start_at("mysql-bin")).await;
        m1.sql(
            "CREATE DATABASE IF NOT EXISTS test; CREATE DATABASE lost; CREATE TABLE lost.t (id INT PRIMARY KEY); \
             CREATE TABLE test.history (id INT PRIMARY KEY AUTO_INCREMENT, writer INT, v INT)",
        )
        .await;
        wait_for_table(&m2, "test", "history").await;
        let mut masters = [m1, m2];
        settle_masters(&masters).await;
        let seeded = match plan.beginning {
            Beginning::Earliest => None,
            Beginning::Middle => Some(grow_old(&mut masters, mode).await),
        };
        let address = match plan.address {
            Address::Fixed => None,
            Address::Virtual | Address::OnlyVirtual => {
                Some((VirtualIp::of(masters[0].port).await, 0))
            }
        };
        let m1_port = address.as_ref().map(|(address, _)| address.port);
        let sources = sources(plan, &masters, m1_port);
        let relay = Relay::start(RelayOptions {
            replicate_do_db: Vec::new(),
            ..RelayOptions::new(sources)
        });
        relay.wait_streaming().await;
        let copy = seeded.as_ref().map(TempDir::path);
        let replica = start_replica(kind, mode, 11, copy).await;
        let follower = match plan.has_attachment() {
            true => Some(Follower::start(kind, mode, &masters[0], copy).await),
            false => None,
        };
        let at = mode.start_at(RELAY_LOG);
        attach(
            &replica,
            RELAY_HOST,
            relay.port,
            &at,
            retry_each_second(kind),
        )
        .await;
        Pair {
            kind,
            mode,
            masters,
            relay,
            relay_runs: true,
            replica,
            follower,
            address,
            copies: [None, None],
            attachments: Attachments::default(),
        }
    }

    /// The relay's replicas.
    pub(super) fn replicas(&self) -> impl Iterator<Item = &Server> {
        let attached = self.follower.iter().filter(|one| one.is_attached);
        std::iter::once(&self.replica).chain(attached.map(|one| &one.server))
    }

    pub async fn step(&mut self, step: Step) {
        match step {
            Step::Write(master, count) => write(&self.masters[master], count).await,
            Step::KillMaster(master) => self.kill_master(master).await,
            Step::KillRelay => self.kill_relay().await,
            Step::StopRelay => {
                self.relay.terminate();
                self.relay_runs = false;
            }
            Step::StartRelay => {
                self.relay.restart();
                self.relay_runs = true;
            }
            Step::Purge(master) => {
                self.quiesce().await;
                purge(&self.masters[master]).await;
            }
            Step::PurgeTooEarly(master) => {
                settle_masters(&self.masters).await;
                purge(&self.masters[master]).await;
            }
            Step::Recover(master) => self.recover(master).await,
            Step::ChangeServerId(master) => self.change_server_id(master).await,
            Step::Copy(master) => self.copy(master).await,
            Step::Restore(master) => self.restore(master).await,
            Step::Reset(master) => self.reset(master).await,
            Step::MoveAddress => self.move_address().await,
            Step::Attach { lag } => self.attach(lag).await,
        }
    }

    async fn move_address(&mut self) {
        let (address, at) = self.address.as_mut().expect("a virtual address");
        *at = 1 - *at;
        address.move_to(self.masters[*at].port);
        run_for(500).await;
    }

    async fn attach(&mut self, lag: bool) {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for server in &self.masters {
            writers.push(write_until(server.connect().await, stop.clone()));
        }
        run_for(300).await;
        let follower = self.follower.as_mut().expect("the plan has an attachment");
        let (m1, relay) = (&self.masters[0], &self.relay);
        let count = follower.attach(m1, relay, self.mode, lag).await;
        self.attachments.add(count);
        run_for(200).await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("the writer ends");
        }
    }

    /// Waits until everyone has everything, unless something is wrong already.
    async fn quiesce(&self) {
        settle_masters(&self.masters).await;
        if self.relay_runs {
            self.reach(30).await;
        }
    }

    /// Waits until the replica has what both masters have written; false when it does not get it.
    pub(super) async fn reach(&self, secs: u64) -> bool {
        let writers = [&self.masters[0], &self.masters[1]];
        let mark = write_mark(&writers).await;
        let deadline = Deadline::after_secs(secs);
        loop {
            let mut has_all = true;
            for replica in self.replicas() {
                for writer in writers {
                    has_all &= has_mark(replica, writer, mark).await;
                }
            }
            if has_all || deadline.passed() || self.complaint().await.is_some() {
                return has_all;
            }
            run_for(100).await;
        }
    }

    async fn kill_master(&mut self, master: Master) {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for server in &self.masters {
            writers.push(write_until(server.connect().await, stop.clone()));
        }
        run_for(300).await;
        kill_replicating(&mut self.masters[master]).await;
        run_for(300).await;
        self.masters[master].restart().await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("the writer ends");
        }
        self.resume(master).await;
    }

    /// A master after a restart replicates from the other again.
    async fn resume(&self, master: Master) {
        if self.mode == Mode::MariaDbFilePosition {
            let [first, second] = &self.masters;
            match master {
                0 => resume_from_peer(first, second).await,
                _ => resume_from_peer(second, first).await,
            }
        }
    }

    async fn kill_relay(&mut self) {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for server in &self.masters {
            writers.push(write_until(server.connect().await, stop.clone()));
        }
        run_for(200).await;
        self.relay.kill9();
        self.relay.restart();
        run_for(200).await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("the writer ends");
        }
    }

    async fn recover(&mut self, master: Master) {
        let server = &self.masters[master];
        server
            .sql(
                "USE lost; CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY); \
                 REPLACE INTO t VALUES (1); REPLACE INTO t VALUES (2); FLUSH BINARY LOGS; DROP TABLE t",
            )
            .await;
        settle_masters(&self.masters).await;
        let server = &self.masters[master];
        let files = server.log_files();
        // Without the newest, which begins with the DROP.
        let old = &files[..files.len() - 1];
        let directory = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
        let mut reader = binlog_tool(self.kind, directory.path());
        let reader = reader.args(["--database=lost"]).args(old);
        let mut reader = reader
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let output = reader.stdout.take().expect("its output");
        let socket = server.data_dir().with_file_name("s");
        let fed = program(self.kind, "client")
            .args(["-uroot", "--force"])
            .arg(format!("--socket={}", socket.display()))
            .stdin(output)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        fed.expect("the client runs");
        reader.wait().expect("the tool ends");
    }

    async fn change_server_id(&mut self, master: Master) {
        self.quiesce().await;
        let server = &mut self.masters[master];
        let number = server.options.server_id + 100;
        server
            .sql(&format!("SET GLOBAL server_id = {number}"))
            .await;
        server.options.server_id = number;
    }

    async fn copy(&mut self, master: Master) {
        settle_masters(&self.masters).await;
        self.masters[master].terminate();
        let directory = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
        copy_directory(
            &self.masters[master].data_dir(),
            &directory.path().join("data"),
        );
        self.copies[master] = Some(directory);
        self.masters[master].restart().await;
        resume_stopped(&self.masters[master], self.mode).await;
    }

    async fn restore(&mut self, master: Master) {
        self.quiesce().await;
        let copy = self.copies[master].take().expect("a copy was made");
        let server = &mut self.masters[master];
        server.kill9();
        std::fs::remove_dir_all(server.data_dir()).expect("the data directory is removed");
        copy_directory(&copy.path().join("data"), &server.data_dir());
        server.restart().await;
    }

    async fn reset(&mut self, master: Master) {
        self.quiesce().await;
        let server = &self.masters[master];
        let peer = &self.masters[1 - master];
        let (reset, stop, forget) = match self.kind.says_replica() {
            true => (
                "RESET BINARY LOGS AND GTIDS",
                "STOP REPLICA",
                "RESET REPLICA",
            ),
            false => ("RESET MASTER", "STOP SLAVE", "RESET SLAVE"),
        };
        peer.sql(stop).await;
        server.sql(reset).await;
        if !self.mode.has_gtids() || self.mode == Mode::MariaDbFilePosition {
            peer.sql(forget).await;
            let at = StartAt::first_file("mysql-bin");
            let extra = retry_each_second(self.kind);
            attach(peer, "127.0.0.1", server.port, &at, extra).await;
        }
    }
}

/// The relay's sources; `m1_port` is that of the virtual address.
fn sources(plan: &Plan, masters: &[Server; 2], m1_port: Option<u16>) -> Vec<SourceOptions> {
    let mut sources = vec![
        SourceOptions::at("m1", m1_port.unwrap_or(masters[0].port)),
        SourceOptions::of("m2", &masters[1]),
    ];
    for source in &mut sources {
        source.auto_position = plan.mode.auto_position();
        let is_middle = plan.beginning == Beginning::Middle;
        source.start = is_middle.then(|| "latest".to_owned());
    }
    if plan.address == Address::OnlyVirtual {
        sources.pop();
    }
    sources
}

async fn settle_masters(masters: &[Server; 2]) {
    let both = [&masters[0], &masters[1]];
    settle(&both, &both, 60).await;
}

/// The masters have data and have purged what is older; returns a copy of M1's data.
async fn grow_old(masters: &mut [Server; 2], mode: Mode) -> TempDir {
    for master in masters.iter() {
        write(master, 10).await;
    }
    settle_masters(masters).await;
    for master in masters.iter() {
        purge(master).await;
    }
    // The masters' own positions are in the new files as well.
    for master in masters.iter() {
        write(master, 1).await;
    }
    settle_masters(masters).await;
    masters[0].terminate();
    let directory = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    copy_directory(&masters[0].data_dir(), &directory.path().join("data"));
    masters[0].restart().await;
    resume_stopped(&masters[0], mode).await;
    directory
}

/// A master that was stopped normally replicates from its peer again.
async fn resume_stopped(master: &Server, mode: Mode) {
    if mode == Mode::MariaDbFilePosition {
        master.sql("START SLAVE").await;
    }
}

/// A fresh replica, or one with a copy of M1's data.
pub async fn start_replica(
    kind: Kind,
    mode: Mode,
    server_id: u32,
    seeded: Option<&Path>,
) -> Server {
    let mut options = replica_options(kind, server_id);
    options.gtid = mode.has_gtids();
    let Some(copy) = seeded else {
        return Server::start(kind, options).await;
    };
    // It does not replicate from M2, as M1 does.
    options = options.extra("--skip-slave-start");
    let replica = Server::start_prepared(kind, options, |data| {
        std::fs::remove_dir_all(data).expect("the data directory is removed");
        copy_directory(&copy.join("data"), data);
        let _ = std::fs::remove_file(data.join("auto.cnf"));
    })
    .await;
    let forget = match kind.says_replica() {
        true => "RESET REPLICA ALL",
        false => "RESET SLAVE ALL",
    };
    replica.sql(forget).await;
    replica
}

async fn write(server: &Server, count: u32) {
    let mut session = server.connect().await;
    for number in 0..count {
        session
            .query_drop(statement(server.options.server_id, number))
            .await
            .expect("the master is written to");
    }
    session.disconnect().await.ok();
}

/// Writes until the connection ends, or `stop`.
fn write_until(mut session: Conn, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        for number in 0.. {
            let written = session.query_drop(statement(0, number)).await;
            if written.is_err() || stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

fn statement(writer: u32, number: u32) -> String {
    let insert = format!("INSERT INTO test.history (writer, v) VALUES ({writer}, {number})");
    match number % 4 {
        3 => format!(
            "BEGIN; {insert}; UPDATE test.history SET v = v + 1 WHERE id = LAST_INSERT_ID(); COMMIT"
        ),
        _ => insert,
    }
}

/// The name of a master's newest binlog file.
pub fn newest_file(server: &Server) -> String {
    let files = server.log_files();
    let newest = files.last().and_then(|path| path.file_name());
    let newest = newest.expect("a binlog file").to_string_lossy();
    newest.into_owned()
}

async fn purge(server: &Server) {
    server.sql("FLUSH BINARY LOGS").await;
    let newest = newest_file(server);
    server
        .sql(&format!("PURGE BINARY LOGS TO '{newest}'"))
        .await;
}

fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    let status = status.expect("cp can be run");
    assert!(status.success(), "cp -a {from:?} {to:?}: {status}");
}
