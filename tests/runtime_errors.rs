//! What goes wrong at run time: a place that is taken ends the program with one clear line; a source
//! that cannot be followed is `failed` with what to change, and the others go on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Test code: a failed expectation is how a test fails.

mod support;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::relay::{RELAY_SERVER_ID, Relay, RelayOptions, SourceOptions, binrelay};
use support::servers::{Kind, NOBODY_USER, Server, ServerOptions, free_port, wait_limited};
use support::topology::run_for;

/// A source where nothing listens: enough for a relay that shall not get that far.
fn unreachable_source() -> SourceOptions {
    SourceOptions::at("m1", free_port())
}

/// Runs a relay that must end by itself soon.
fn run_to_its_end(options: &RelayOptions, data_dir: &std::path::Path, port: u16) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("binrelay.toml");
    let text = options.toml(data_dir, port);
    std::fs::write(&config, text).unwrap();
    let stderr = directory.path().join("stderr");
    let child = binrelay()
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let status = wait_limited(child, Duration::from_secs(10));
    Output {
        status,
        stdout: Vec::new(),
        stderr: std::fs::read(&stderr).unwrap(),
    }
}

/// The last line of what it said; log lines may stand before it.
fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_data_dir_in_use_is_refused() {
    let options = || RelayOptions {
        relay_extra: vec!["flavor = \"mysql\"".to_owned()],
        ..RelayOptions::new(vec![unreachable_source()])
    };
    let relay = Relay::start(options());
    let output = run_to_its_end(&options(), &relay.data_dir(), free_port());
    let line = last_line(&output);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(
        line.contains(relay.data_dir().to_str().unwrap()),
        "the place is missing: {line}"
    );
    relay.status();
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let options = RelayOptions {
        relay_extra: vec!["flavor = \"mysql\"".to_owned()],
        ..RelayOptions::new(vec![unreachable_source()])
    };
    let port = free_port();
    let _taken = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let data_dir = tempfile::tempdir().unwrap();
    let output = run_to_its_end(&options, &data_dir.path().join("data"), port);
    let line = last_line(&output);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(
        line.contains(&port.to_string()),
        "the port is missing: {line}"
    );
}

/// Replicas that come while the relay starts must not be told that it knows nothing yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_a_log_greets_its_first_client() {
    let _one_at_a_time = support::exclusive();
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

/// What the first connection that the port takes is sent: the payload of one packet.
fn first_packet(port: u16) -> Vec<u8> {
    let deadline = support::Deadline::after_secs(30);
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(!deadline.passed(), "nobody listens: {error}"),
        }
    };
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
    stream.read_exact(&mut payload).unwrap();
    payload
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_sources_that_cannot_be_followed() {
    failed_sources(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_sources_that_cannot_be_followed() {
    failed_sources(Kind::MySql).await;
}

async fn failed_sources(kind: Kind) {
    let _one_at_a_time = support::exclusive();
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
    sources[4].user = NOBODY_USER.to_owned();
    let mut relay = Relay::start(RelayOptions::new(sources));

    // What the administrator must read in the message: what is wrong, and what to change.
    for (name, words) in [
        ("other_flavor", vec![kind.flavor(), other.flavor()]),
        ("same_id", vec!["server_id", "900"]),
        ("no_binlog", vec!["log_bin"]),
        ("no_privilege", vec!["replication slave", NOBODY_USER]),
    ] {
        let source = wait_failed(&relay, name).await;
        let message = source["last_error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        for word in words {
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
        .wait_status("the good source goes on", 20, |_| {
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
