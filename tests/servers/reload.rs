//! `binrelay reload` while a replica is attached: it is not disconnected, and has what the filters of the time keep;
//! then the replica is missing, and is forgotten.

use std::path::Path;

use crate::support;
use crate::support::administration::{dump_connections, printed, reload};
use crate::support::raw_client::RawClient;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions, run_binrelay};
use crate::support::replication::{
    assert_never_interrupted, attach, settle, stop_replica, wait_for_table,
};
use crate::support::servers::{
    Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, UNPRIVILEGED_USER,
};
use crate::support::topology::{Mode, replica_options};

const NEW_USER: &str = "another";
const NEW_PASSWORD: &str = "another secret";

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_reloaded_while_a_replica_is_attached() {
    let _turn = support::turn();
    let kind = Kind::MariaDb;
    let source = Server::start(kind, ServerOptions::new(86)).await;
    let tables = "CREATE DATABASE test; USE test; CREATE TABLE kept (a INT PRIMARY KEY); \
                  CREATE TABLE dropped (a INT PRIMARY KEY)";
    source.sql(tables).await;
    let relay = Relay::start(RelayOptions::new(vec![SourceOptions::of("m1", &source)]));
    relay.wait_streaming().await;
    let replica = Server::start(kind, replica_options(kind, 11)).await;
    let at = Mode::MariaDbFilePosition.start_at("relay-bin");
    attach(&replica, RELAY_HOST, relay.port, &at, "").await;
    let insert = |number| {
        format!(
            "USE test; INSERT INTO kept VALUES ({number}); INSERT INTO dropped VALUES ({number})"
        )
    };
    source.sql(&insert(1)).await;
    settle(&[&source], &[&replica], 60).await;
    let connection = replica_connection(&relay, UNPRIVILEGED_USER, REPL_PASSWORD);

    // 1. Another user, another password, filter and certificate.
    let (cert, key) = certificate(relay.config().parent().expect("a directory"));
    assert!(!is_trusted(&relay, REPL_USER, REPL_PASSWORD, &cert));
    let changed = changed(&relay, &cert, &key);
    let output = reload(&relay, &changed);
    for line in [
        "[user \"another\"]: added",
        "changed: [tls]: clients see another certificate",
        "replicate_ignore_table = [\"test.dropped\"]",
        "[alert] replica_missing_after: 5m → 1s",
        "password: changed",
    ] {
        assert!(output.contains(line), "{line}: {output}");
    }
    assert!(!output.contains("restart"), "{output}");
    let mut stale = RawClient::connect(RELAY_HOST, relay.port);
    let refused = stale.login(REPL_USER, REPL_PASSWORD);
    assert_eq!(refused.expect_err("the password was changed").code, 1045);
    assert!(is_trusted(&relay, NEW_USER, NEW_PASSWORD, &cert));
    let now = replica_connection(&relay, NEW_USER, NEW_PASSWORD);
    assert_eq!(now, connection, "the replica was disconnected");

    // 2. The filter applies to what is written from now on, and only to that.
    source.sql(&insert(2)).await;
    settle(&[&source], &[&replica], 60).await;
    let rows: Vec<i32> = replica.rows("SELECT a FROM test.kept ORDER BY a").await;
    assert_eq!(rows, [1, 2]);
    let rows: Vec<i32> = replica.rows("SELECT a FROM test.dropped ORDER BY a").await;
    assert_eq!(rows, [1]);
    assert!(!relay.log().contains("reconnecting"), "{}", relay.log());

    check_limits(&relay, &changed);
    check_sources(&relay, &replica, &changed).await;
    assert_eq!(
        replica_connection(&relay, NEW_USER, NEW_PASSWORD),
        connection
    );
    assert_never_interrupted(&replica).await;
    check_missing(&relay, &replica).await;
}

/// Limits: the replica, and one more.
fn check_limits(relay: &Relay, changed: &str) {
    let limited = format!("{changed}\n[limits]\nmax_connections = 1\nreserved_connections = 1\n");
    reload(relay, &limited);
    let mut one = RawClient::connect(RELAY_HOST, relay.port);
    one.login(NEW_USER, NEW_PASSWORD)
        .expect("there is one place left");
    let mut too_many = RawClient::connect(RELAY_HOST, relay.port);
    let refused = too_many.login(NEW_USER, NEW_PASSWORD);
    assert_eq!(refused.expect_err("the limit was lowered").code, 1040);
    drop(one);
    reload(relay, changed);
}

/// Another source is followed, and then not any longer.
async fn check_sources(relay: &Relay, replica: &Server, changed: &str) {
    let mut options = ServerOptions::new(18);
    options.extra = vec!["--gtid-domain-id=1".to_owned()];
    let other = Server::start(Kind::MariaDb, options).await;
    other
        .sql("CREATE DATABASE IF NOT EXISTS test; USE test; CREATE TABLE of_other (a INT PRIMARY KEY)")
        .await;
    let password_file = relay
        .config()
        .parent()
        .expect("a directory")
        .join("m2.password");
    std::fs::write(&password_file, "wrong\n").expect("written");
    let source = format!(
        "[[source]]\nname = \"m2\"\nhost = \"127.0.0.1\"\nport = {}\nuser = {REPL_USER:?}\n\
         password_file = {password_file:?}\nconnect_retry_max = \"1h\"\n",
        other.port
    );
    let output = reload(relay, &format!("{changed}\n{source}"));
    assert!(output.contains("[source \"m2\"]: added"), "{output}");
    relay
        .wait_status("the password is refused", 30, |status| {
            status["sources"][1]["state"] == "failed"
        })
        .await;
    // It is tried again at once, not an hour later.
    std::fs::write(&password_file, format!("{REPL_PASSWORD}\n")).expect("written");
    let output = reload(relay, &format!("{changed}\n{source}"));
    assert!(
        output.contains("[source \"m2\"] password: changed"),
        "{output}"
    );
    relay
        .wait_status("the other source is followed", 30, |status| {
            status["sources"][1]["state"] == "streaming"
        })
        .await;
    wait_for_table(replica, "test", "of_other").await;
    let output = reload(relay, changed);
    assert!(output.contains("[source \"m2\"]: removed"), "{output}");
    relay
        .wait_status("the other source is not followed", 30, |status| {
            status["sources"]
                .as_array()
                .is_some_and(|sources| sources.len() == 1)
        })
        .await;
}

/// A replica that has left is missing until it is forgotten.
async fn check_missing(relay: &Relay, replica: &Server) {
    assert!(forget(relay, 11).contains("is connected"));
    replica.sql(stop_replica(Kind::MariaDb)).await;
    relay
        .wait_status("the replica is missing", 30, |status| {
            let degraded = status["relay"]["degraded"].to_string();
            status["replicas"][0]["state"] == "missing"
                && degraded.contains("replica 11 (")
                && degraded.contains("has been missing since 20")
        })
        .await;
    let missing = relay.status()["replicas"][0].clone();
    assert!(
        missing["file"]
            .as_str()
            .is_some_and(|file| file.starts_with("relay-bin."))
    );
    assert!(
        missing["missing_seconds"]
            .as_u64()
            .is_some_and(|seconds| seconds > 1)
    );
    assert!(forget(relay, 11).contains("is forgotten: it is no longer reported as missing"));
    let status = relay.status();
    assert_eq!(status["replicas"], serde_json::json!([]));
    assert_eq!(status["relay"]["degraded"], serde_json::json!([]));
    assert!(forget(relay, 11).contains("forgotten already"));
}

/// The configuration with another user, password, filter and certificate.
fn changed(relay: &Relay, cert: &str, key: &str) -> String {
    let original = std::fs::read_to_string(relay.config()).expect("the configuration");
    let replicating = format!("[[user]]\nname = {REPL_USER:?}\npassword = {REPL_PASSWORD:?}");
    assert!(original.contains(&replicating));
    let changed = original.replacen(
        &replicating,
        &format!("[[user]]\nname = {REPL_USER:?}\npassword = \"changed\""),
        1,
    );
    let changed = changed.replacen(
        "[filter]\n",
        "[filter]\nreplicate_ignore_table = [\"test.dropped\"]\n",
        1,
    );
    format!(
        "{changed}\n[[user]]\nname = {NEW_USER:?}\npassword = {NEW_PASSWORD:?}\n\
         privileges = [\"admin\", \"replication\"]\n\n[tls]\ncert = {cert:?}\nkey = {key:?}\n\n\
         [alert]\nreplica_missing_after = \"1s\"\n"
    )
}

fn forget(relay: &Relay, server_id: u32) -> String {
    let socket = relay.data_dir().join("binrelay.sock");
    let id = server_id.to_string();
    let socket = socket.to_str().expect("a path");
    printed(&run_binrelay(&["forget", &id, "--socket", socket]))
}

/// The id of the one connection that is sent the log.
fn replica_connection(relay: &Relay, user: &str, password: &str) -> String {
    let ids = dump_connections(relay, user, password);
    let [id] = ids.as_slice() else {
        panic!("not one replica: {ids:?}");
    };
    id.clone()
}

/// A self-signed certificate and its key, as files.
fn certificate(directory: &Path) -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["relay".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("it is written");
        path.to_str().expect("a path").to_owned()
    };
    (
        write("new-cert.pem", cert.pem()),
        write("new-key.pem", key.serialize_pem()),
    )
}

/// Whether a client that trusts only `ca` can log in: `binrelay check` of a relay that would follow this one.
fn is_trusted(relay: &Relay, user: &str, password: &str, ca: &str) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("second.toml");
    let text = format!(
        "[relay]\nserver_id = 901\ndata_dir = \"data\"\n[[source]]\nname = \"first\"\nhost = {RELAY_HOST:?}\n\
         port = {}\nuser = {user:?}\npassword = {password:?}\n[source.tls]\nmode = \"verify_ca\"\nca = {ca:?}\n",
        relay.port
    );
    std::fs::write(&config, text).expect("it is written");
    let output = run_binrelay(&["check", "--config", config.to_str().expect("a path")]);
    let text = printed(&output);
    match output.status.code() {
        Some(0 | 3) => true,
        _ => {
            assert!(text.to_lowercase().contains("certificate"), "{text}");
            false
        }
    }
}
