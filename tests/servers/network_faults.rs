//! The network between a source and the relay fails in every way, under load: the reason is in the status, the
//! relay resumes by itself, and its replica has every row once.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::sync::watch;

use crate::support::faulty_link::{Fault, FaultyLink};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    StartAt, assert_never_interrupted, attach, settle, wait_for_table,
};
use crate::support::servers::{Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, replica_options};
use crate::support::{self, Profile, profile};

/// A fault, and words of which the status must have one.
type Case = (Fault, &'static [&'static str]);

/// Bytes after which a connection fails: within the row event of a transaction.
const WITHIN: u64 = 3_000;

const CASES: &[Case] = &[
    (Fault::CutAfter(WITHIN), &["closed", "ended"]),
    (Fault::CorruptAfter(WITHIN), &["checksum"]),
    (Fault::HalfOpen, &["nothing", "timed out"]),
    (Fault::ResetAfter(WITHIN), &["reset", "closed"]),
    (Fault::OneWay, &["nothing", "timed out"]),
    (Fault::CutAfter(0), &["closed", "ended"]),
    (Fault::CorruptAfter(WITHIN + 700), &["checksum"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_link_fails_in_every_way() {
    fails_in_every_way(Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_link_fails_in_every_way() {
    fails_in_every_way(Mode::MySqlAutoPosition).await;
}

async fn fails_in_every_way(mode: Mode) {
    let _turn = support::turn();
    let kind = mode.kind();
    let mut master = Server::start(kind, ServerOptions::new(1).extra("--binlog-format=ROW")).await;
    let replica = Server::start(kind, replica_options(kind, 11)).await;
    let link = FaultyLink::to(master.port).await;
    let mut source = SourceOptions::at("m1", link.port);
    source.extra.extend([
        "read_timeout = \"1s\"".to_owned(),
        "get_source_public_key = true".to_owned(),
        "[source.tls]\nmode = \"disabled\"".to_owned(),
    ]);
    let mut relay = Relay::start(RelayOptions::new(vec![source]));
    relay.wait_streaming().await;
    let at: StartAt = mode.start_at("relay-bin");
    attach(&replica, RELAY_HOST, relay.port, &at, "").await;
    master.sql("CREATE DATABASE IF NOT EXISTS test").await;
    master
        .sql("USE test; CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, payload TEXT)")
        .await;
    wait_for_table(&replica, "test", "t").await;

    let writer = Writer::start(&master).await;
    let count = match profile() {
        Profile::Gate => 4,
        Profile::Long => CASES.len(),
    };
    for (number, case) in (1..).zip(&CASES[..count]) {
        meet(&relay, &link, number, case).await;
    }
    if profile() == Profile::Long {
        let slow = (count + 1) as u64;
        link.set(Fault::Slow);
        link.wait_happened(slow).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        link.set(Fault::None);
        stalls(&relay, &master).await;
    }
    let rows = writer.finish().await;
    settle(&[&master], &[&replica], 60).await;
    assert_same_tables(&master, &replica, "test").await;
    assert_never_interrupted(&replica).await;
    println!("{mode}: {rows} rows");
    returns(&relay, &mut master).await;
    relay.terminate();
    relay.verify();
}

/// The fault happens, its reason is in the status, and the relay streams again.
async fn meet(relay: &Relay, link: &FaultyLink, number: u64, (fault, words): &Case) {
    let reconnects = |status: &serde_json::Value| status["sources"][0]["reconnects"].as_u64();
    let before = reconnects(&relay.status());
    link.set(*fault);
    link.wait_happened(number).await;
    let begin = Instant::now();
    let what = format!("{fault:?} is in the status, as one of {words:?}");
    relay
        .wait_status(&what, 30, |status| {
            let message = &status["sources"][0]["last_error"]["message"];
            let message = message.as_str().unwrap_or_default();
            words.iter().any(|word| message.contains(word))
        })
        .await;
    link.set(Fault::None);
    relay
        .wait_status(&format!("streaming after {fault:?}"), 30, |status| {
            status["sources"][0]["state"] == "streaming" && reconnects(status) > before
        })
        .await;
    println!("{fault:?}: streaming again after {:?}", begin.elapsed());
}

/// A source that stalls, and does not close its connections.
async fn stalls(relay: &Relay, master: &Server) {
    master.pause();
    relay
        .wait_status("the source is silent", 30, |status| {
            status["sources"][0]["state"] != "streaming"
        })
        .await;
    master.resume();
    relay.wait_streaming().await;
}

/// How long it takes from a master's return until the relay streams.
async fn returns(relay: &Relay, master: &mut Server) {
    master.kill9();
    relay
        .wait_status("the source is away", 30, |status| {
            status["sources"][0]["state"] != "streaming"
        })
        .await;
    master.restart().await;
    let begin = Instant::now();
    relay.wait_streaming().await;
    println!("streaming {:?} after the master's return", begin.elapsed());
}

/// Inserts rows of about a kilobyte until it is told to finish.
struct Writer {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<u64>,
}

impl Writer {
    async fn start(master: &Server) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut conn = master.connect().await;
        let task = tokio::spawn(async move {
            let mut rows = 0;
            while !*stopped.borrow() {
                let row = "INSERT INTO test.t (payload) VALUES (REPEAT('x', 900))";
                conn.query_drop(row).await.expect("a row is inserted");
                rows += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            conn.disconnect().await.ok();
            rows
        });
        Self { stop, task }
    }

    async fn finish(self) -> u64 {
        self.stop.send_replace(true);
        self.task.await.expect("the writer has not failed")
    }
}
