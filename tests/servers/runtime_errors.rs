//! Errors at run time: a source that cannot be followed is `failed`, its message names what to
//! change, and the other sources continue.

use std::io::Read;
use std::net::TcpStream;

use crate::support;
use crate::support::relay::{RELAY_SERVER_ID, Relay, RelayOptions, SourceOptions};
use crate::support::servers::{Kind, Server, ServerOptions, UNPRIVILEGED_USER};
use crate::support::topology::run_for;
use serde_json::Value;

/// Replicas that connect while the relay starts must not get an error because its log is not open yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_a_log_greets_its_first_client() {
    let _turn = support::turn();
    let source = Server::start(Kind::MariaDb, ServerOptions::new(86)).await;
    let mut relay = Relay::start(RelayOptions::new(vec![SourceOptions::of("m", &source)]));
    relay.wait_streaming().await;
    for round in 0..10 {
        relay.terminate();
        let port = relay.port;
        let first_client = std::thread::spawn(move || first_packet(port));
        relay.restart();
        let packet = first_client.join().unwrap();
        let said = String::from_utf8_lossy(&packet);
        assert_eq!(packet.first(), Some(&10), "restart {round}: {said}");
    }
}

/// The payload of the first packet on the first connection that the port accepts.
fn first_packet(port: u16) -> Vec<u8> {
    let deadline = support::Deadline::after_secs(30);
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(!deadline.passed(), "no listener: {error}"),
        }
    };
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
    stream.read_exact(&mut payload).unwrap();
    payload
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_sources_that_cannot_be_followed_are_failed() {
    failed_sources(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_sources_that_cannot_be_followed_are_failed() {
    failed_sources(Kind::MySql).await;
}

async fn failed_sources(kind: Kind) {
    let _turn = support::turn();
    let other = if kind == Kind::MySql {
        Kind::MariaDb
    } else {
        Kind::MySql
    };
    let mut without_binlog = ServerOptions::new(20);
    without_binlog.log_bin = false;
    without_binlog.gtid = false;
    let good = Server::start(kind, ServerOptions::new(86)).await;
    let other_flavor = Server::start(other, ServerOptions::new(21)).await;
    let same_id = Server::start(kind, ServerOptions::new(RELAY_SERVER_ID)).await;
    let no_binlog = Server::start(kind, without_binlog).await;
    let no_privilege = Server::start(kind, ServerOptions::new(22)).await;
    let mut sources = vec![
        SourceOptions::of("good", &good),
        SourceOptions::of("other_flavor", &other_flavor),
        SourceOptions::of("same_id", &same_id),
        SourceOptions::of("no_binlog", &no_binlog),
        SourceOptions::of("no_privilege", &no_privilege),
    ];
    sources[4].user = UNPRIVILEGED_USER.to_owned();
    let mut relay = Relay::start(RelayOptions::new(sources));

    // The message must name the fault and what to change.
    for (name, expected) in [
        ("other_flavor", vec![kind.flavor(), other.flavor()]),
        ("same_id", vec!["server_id", "900"]),
        ("no_binlog", vec!["log_bin"]),
        ("no_privilege", vec!["replication slave", UNPRIVILEGED_USER]),
    ] {
        let source = wait_failed(&relay, name).await;
        let message = source["last_error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        for word in expected {
            let flat = message.replace('-', "_");
            let found = message.contains(word) || flat.contains(word);
            assert!(found, "{kind}: {name}: {word:?} is missing in: {message}");
        }
    }

    relay
        .wait_status("the good source streams", 20, |_| {
            relay.source_status("good")["state"] == "streaming"
        })
        .await;
    let before = relay.source_status("good")["transactions"]["received"]
        .as_u64()
        .unwrap();
    good.sql("CREATE DATABASE IF NOT EXISTS test; CREATE TABLE test.t (a INT)")
        .await;
    relay
        .wait_status("the good source continues", 20, |_| {
            relay.source_status("good")["transactions"]["received"]
                .as_u64()
                .unwrap()
                > before
        })
        .await;
    relay.assert_running();
}

async fn wait_failed(relay: &Relay, name: &str) -> Value {
    let deadline = support::Deadline::after_secs(30);
    loop {
        let source = relay.source_status(name);
        if source["state"] == "failed" {
            return source;
        }
        assert!(
            !deadline.passed(),
            "{name} is not failed in 30 s: {source:#}"
        );
        run_for(100).await;
    }
}
