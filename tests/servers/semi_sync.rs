//! Semi-synchronous replication from end to end: the source counts the relay and waits for it, the relay
//! waits for its replica, and both fall back and return.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support;
use crate::support::load::{Load, LoadOptions, assert_acknowledged, create_tables};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    assert_healthy, attach, retry_each_second, settle, start_replica, stop_replica,
};
use crate::support::semi_sync::{Words, global_status, replica_extra};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, pause, replica_options};
use crate::support::{SeedNote, seed};

#[tokio::test(flavor = "multi_thread")]
async fn mysql() {
    let install = "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'; \
                   SET GLOBAL rpl_semi_sync_source_timeout = 60000";
    follow(Kind::MySql, Mode::MySqlAutoPosition, install, "plugin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    let prepare = "SET GLOBAL rpl_semi_sync_master_timeout = 60000";
    follow(Kind::MariaDb, Mode::MariaDbFilePosition, prepare, "is off").await;
}

struct Stand {
    source: Server,
    replica: Server,
    relay: Relay,
    words: Words,
}

impl Stand {
    async fn start(kind: Kind, mode: Mode) -> Stand {
        let mut of_replica = replica_options(kind, 11);
        of_replica.extra = replica_extra(kind);
        let (source, replica) = tokio::join!(
            Server::start(kind, ServerOptions::new(86)),
            Server::start(kind, of_replica),
        );
        let mut of_source = SourceOptions::of("m", &source);
        of_source.extra.push("semi_sync = true".to_owned());
        of_source.extra.push("compression = \"zlib\"".to_owned());
        let relay = Relay::start(RelayOptions {
            replicate_do_db: Vec::new(),
            relay_extra: vec![
                "semi_sync_wait_for_replicas = 1".to_owned(),
                "semi_sync_timeout = \"1s\"".to_owned(),
                "compression = \"on\"".to_owned(),
            ],
            ..RelayOptions::new(vec![of_source])
        });
        relay.wait_streaming().await;
        if kind.is_mariadb() {
            replica
                .sql("SET GLOBAL slave_compressed_protocol = 1")
                .await;
        }
        let extra = match kind.says_replica() {
            true => "SOURCE_COMPRESSION_ALGORITHMS='zstd,zlib', SOURCE_CONNECT_RETRY=1",
            false => retry_each_second(kind),
        };
        let at = mode.start_at("relay-bin");
        attach(&replica, RELAY_HOST, relay.port, &at, extra).await;
        Stand {
            source,
            replica,
            relay,
            words: Words::of(kind),
        }
    }

    async fn of_source(&self, name: &str) -> String {
        let name = format!("Rpl_semi_sync_{}_{name}", self.words.source);
        global_status(&self.source, &name).await
    }

    async fn enable(&self, is_on: bool) {
        let sql = format!(
            "SET GLOBAL rpl_semi_sync_{}_enabled = {}",
            self.words.source,
            u8::from(is_on)
        );
        self.source.sql(&sql).await;
        self.wait_source("semi-sync of the source", is_on).await;
    }

    async fn wait_source(&self, what: &str, is_active: bool) {
        let is_so = |status: &Value| {
            let source = &status["sources"][0];
            source["semi_sync"] == is_active && source["state"] == "streaming"
        };
        self.relay.wait_status(what, 20, is_so).await;
    }

    async fn wait_replicas(&self, state: &str) {
        self.relay
            .wait_status(state, 20, |status| {
                status["relay"]["semi_sync_wait"] == state
            })
            .await;
    }

    /// How long a transaction takes.
    async fn insert(&self, n: u32) -> Duration {
        let began = Instant::now();
        let sql = format!("INSERT INTO test.progress (owner, n) VALUES ({n}, 1)");
        self.source.sql(&sql).await;
        began.elapsed()
    }
}

async fn follow(kind: Kind, mode: Mode, prepare: &str, problem: &str) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let mut stand = Stand::start(kind, mode).await;
    create_tables(&stand.source, "").await;
    let source = stand.relay.source_status("m");
    assert_eq!(source["semi_sync"], false);
    let told = source["semi_sync_problem"].as_str().unwrap_or_default();
    assert!(told.contains(problem), "{told}");

    // It is enabled later; where the plug-in is loaded later, the relay connects again.
    stand.source.sql(prepare).await;
    stand.enable(true).await;
    assert_eq!(stand.of_source("clients").await, "1");
    let mut load = LoadOptions::new(seed(), 100);
    load.pause = pause(kind);
    let load = Load::start(&stand.source, &load);
    load.wait_for(300).await;
    let report = load.finish().await;
    assert_eq!(stand.of_source("no_tx").await, "0");
    let acknowledged: u64 = stand.of_source("yes_tx").await.parse().expect("a number");
    assert!(acknowledged > 100, "{acknowledged} of {report:?}");
    let state = format!("Rpl_semi_sync_{}_status", stand.words.replica);
    assert_eq!(global_status(&stand.replica, &state).await, "ON");
    let status = stand.relay.status();
    for part in [&status["sources"][0], &status["replicas"][0]] {
        assert_eq!(part["semi_sync"], true, "{part}");
        assert!(part["semi_sync_acks"].as_u64() > Some(10), "{part}");
    }
    assert_eq!(status["relay"]["semi_sync_wait"], "on");

    // Without its replica the relay does not acknowledge before its timeout, and after it without delay.
    stand.replica.sql(stop_replica(kind)).await;
    let first = stand.insert(1).await;
    assert!(first > Duration::from_millis(800), "{first:?}");
    stand.wait_replicas("timed_out").await;
    let mut fastest = Duration::MAX;
    for n in 10..13 {
        fastest = fastest.min(stand.insert(n).await);
    }
    assert!(fastest < Duration::from_millis(800), "{fastest:?}");
    stand.replica.sql(start_replica(kind)).await;
    stand.wait_replicas("on").await;
    stand.insert(3).await;
    assert_eq!(stand.of_source("no_tx").await, "0");

    // Off and on again at the source: the dump continues.
    let reconnects = stand.relay.source_status("m")["reconnects"].clone();
    stand.enable(false).await;
    stand.insert(4).await;
    stand.enable(true).await;
    let before: u64 = stand.of_source("yes_tx").await.parse().expect("a number");
    stand.insert(5).await;
    let after: u64 = stand.of_source("yes_tx").await.parse().expect("a number");
    assert!(after > before, "{after} after {before}");
    assert_eq!(stand.relay.source_status("m")["reconnects"], reconnects);

    settle(&[&stand.source], &[&stand.replica], 30).await;
    assert_healthy(&stand.replica).await;
    assert_same_tables(&stand.source, &stand.replica, "test").await;
    assert_acknowledged(&stand.replica, &report, "").await;
    stand.relay.terminate();
    stand.relay.verify();
}
