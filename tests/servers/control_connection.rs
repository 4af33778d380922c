//! The control connection to a source of each kind: its answers, what `check` and `status` make of
//! them, and that the dump does not depend on it.

use crate::support;
use crate::support::kind::Kind;
use crate::support::relay::{Relay, RelayOptions, SourceOptions, run_binrelay};
use crate::support::servers::{REPL_PASSWORD, REPL_USER, Server, ServerOptions, UNPRIVILEGED_USER};
use crate::support::topology::run_for;
use binrelay::config::{Config, SourceConfig};
use binrelay::receiver::SourceEnd;
use binrelay::receiver::control::{ControlConnection, SemiSync};
use binrelay::tls::TlsMode;

fn source_config(relay: &Relay) -> SourceConfig {
    Config::load(&relay.config()).unwrap().sources.remove(0)
}

/// The end of the server's binlog, and whether the user lacks REPLICATION SLAVE, asked as the relay
/// asks.
async fn ask(config: &SourceConfig) -> (SourceEnd, bool) {
    let mut control = ControlConnection::open(config).await.unwrap();
    let settings = control.settings().await.unwrap();
    assert_eq!(settings.server_id, 86);
    assert!(settings.log_bin);
    assert_ne!(settings.semi_sync, SemiSync::On);
    let grants = control.grants().await.unwrap();
    let lacks_privilege = grants.missing_replication_slave().is_some();
    let end = control.source_end(&settings).await.unwrap();
    control.close().await;
    (end, lacks_privilege)
}

async fn wait_caught_up(relay: &Relay, what: &str) {
    relay
        .wait_status(what, 30, |status| {
            status["sources"][0]["seconds_behind"].as_u64() == Some(0)
        })
        .await;
}

/// Longer than a source's end stays valid, so that it is asked for again.
const NEXT_ANSWER_MS: u64 = 3000;

async fn answers_are_those_of_the_server(kind: Kind) {
    let source = Server::start(kind, ServerOptions::new(86)).await;
    source
        .sql("CREATE DATABASE test; CREATE TABLE test.t (a INT PRIMARY KEY)")
        .await;
    let relay = Relay::start(RelayOptions::new(vec![SourceOptions::of("m", &source)]));
    relay.wait_streaming().await;
    let config = source_config(&relay);
    let (end, lacks_privilege) = ask(&config).await;
    assert!(!lacks_privilege, "{kind}: {REPL_USER}");
    let position = end.position.as_ref().unwrap();
    let last = source.log_files().pop().unwrap();
    let size = std::fs::metadata(&last).unwrap().len();
    let name = last.file_name().unwrap().to_str().unwrap();
    assert_eq!((&*position.file, position.offset), (name, size), "{kind}");
    assert_eq!(end.executed.is_some(), kind.has_gtids(), "{kind}");

    // The relay reaches the end of the binlog after any kind of event.
    wait_caught_up(&relay, "the start").await;
    for statement in [
        "INSERT INTO test.t VALUES (1)",
        "FLUSH LOGS",
        "INSERT INTO test.t VALUES (2)",
        "CREATE DATABASE filtered",
    ] {
        source.sql(statement).await;
        run_for(NEXT_ANSWER_MS).await;
        wait_caught_up(&relay, statement).await;
        if kind.is_mariadb() && statement == "FLUSH LOGS" {
            // The file begins with events that do not move the durable position; its GTIDs suffice.
            continue;
        }
        let here = &relay.status()["sources"][0];
        let (end, _) = ask(&config).await;
        let end = end.position.unwrap();
        assert_eq!(
            (here["file"].as_str(), here["position"].as_u64()),
            (Some(&*end.file), Some(end.offset)),
            "{kind}: {statement}"
        );
    }
    let log = relay.log();
    assert!(!log.contains("control connection"), "{kind}: {log}");

    let mut unprivileged = SourceOptions::of("m", &source);
    unprivileged.user = UNPRIVILEGED_USER.to_owned();
    check_names_the_grants(kind, &source, unprivileged).await;
}

async fn check_names_the_grants(kind: Kind, source: &Server, unprivileged: SourceOptions) {
    let relay = Relay::start(RelayOptions::new(vec![unprivileged]));
    let config = relay.config();
    let config = config.to_str().unwrap();
    let output = run_binrelay(&["check", "--config", config]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{kind}: {text}");
    // Which of the two hosts of the account a server chooses depends on its name resolution.
    let statement = format!("GRANT REPLICATION SLAVE ON *.* TO '{UNPRIVILEGED_USER}'@'");
    assert!(text.contains(&statement), "{kind}: {text}");

    for host in ["%", "localhost"] {
        let grant = format!("GRANT REPLICATION SLAVE ON *.* TO {UNPRIVILEGED_USER}@'{host}'");
        source.sql(&grant).await;
    }
    source
        .sql(
            "SET GLOBAL binlog_format = 'STATEMENT'; SET GLOBAL sync_binlog = 0; \
             SET GLOBAL binlog_row_image = 'MINIMAL'",
        )
        .await;
    let output = run_binrelay(&["check", "--config", config]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{kind}: {text}");
    let privilege = match kind.is_mariadb() {
        true => "BINLOG MONITOR",
        false => "REPLICATION CLIENT",
    };
    let statement = format!("GRANT {privilege} ON *.* TO '{UNPRIVILEGED_USER}'@'");
    assert!(text.contains(&statement), "{kind}: {text}");
    for expected in [
        "note: binlog_format is STATEMENT",
        "note: sync_binlog is 0",
        "note: binlog_row_image is MINIMAL",
    ] {
        assert!(text.contains(expected), "{kind}: {text}");
    }
    assert!(!text.contains("its clock is"), "{kind}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_each_kind_are_those_of_the_server() {
    let _one_at_a_time = support::turn();
    // They wait most of the time.
    futures_util::future::join_all(Kind::available().map(answers_are_those_of_the_server)).await;
}

/// The relay's connections on the source that do not stream.
async fn control_connections(source: &Server) -> Vec<u64> {
    let query = format!(
        "SELECT id FROM information_schema.processlist WHERE user = '{REPL_USER}' AND command = \
         'Sleep'"
    );
    source.rows(&query).await
}

async fn wait_control_connection(source: &Server, relay: &Relay) -> u64 {
    let deadline = support::Deadline::after_secs(30);
    loop {
        if let [id] = control_connections(source).await[..] {
            return id;
        }
        assert!(!deadline.passed(), "no control connection: {}", relay.log());
        run_for(100).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_control_connection_comes_back_and_the_dump_continues() {
    let _one_at_a_time = support::turn();
    let source = Server::start(Kind::MariaDb, ServerOptions::new(86)).await;
    let relay = Relay::start(RelayOptions::new(vec![SourceOptions::of("m", &source)]));
    relay.wait_streaming().await;
    let first = wait_control_connection(&source, &relay).await;
    source.sql(&format!("KILL {first}")).await;
    let deadline = support::Deadline::after_secs(30);
    while !relay
        .log()
        .contains("control connection is available again")
    {
        assert!(!deadline.passed(), "never available again: {}", relay.log());
        run_for(100).await;
    }
    let second = wait_control_connection(&source, &relay).await;
    assert_ne!(first, second);
    let log = relay.log();
    let warnings = log.matches("control connection is not available").count();
    assert_eq!(warnings, 1, "{log}");
    assert_eq!(relay.source_status("m")["reconnects"].as_u64(), Some(0));
    wait_caught_up(&relay, "the killed connection is back").await;
}

/// MySQL's own certificate is not for the host name: both connections accept it in the modes that
/// do not verify the name, and a certificate of another authority in none that verifies.
#[tokio::test(flavor = "multi_thread")]
async fn tls_modes_are_those_of_the_dump_connection() {
    let _one_at_a_time = support::turn();
    let source = Server::start(Kind::MySql, ServerOptions::new(86)).await;
    let ca = source.data_dir().join("ca.pem");
    for mode in ["required", "verify_ca"] {
        let mut options = SourceOptions::of("m", &source);
        options
            .extra
            .push(format!("tls = {{ mode = \"{mode}\", ca = {ca:?} }}"));
        let relay = Relay::start(RelayOptions::new(vec![options]));
        relay.wait_streaming().await;
        wait_control_connection(&source, &relay).await;
        wait_caught_up(&relay, mode).await;
        let log = relay.log();
        assert!(
            !log.contains("control connection is not available"),
            "{mode}: {log}"
        );
    }
    let relay = Relay::start(RelayOptions::new(vec![SourceOptions::of("m", &source)]));
    let other = relay.data_dir().join("server-cert.pem");
    for (mode, ca, is_accepted) in [
        (TlsMode::VerifyCa, &ca, true),
        (TlsMode::VerifyCa, &other, false),
        (TlsMode::VerifyIdentity, &ca, false),
    ] {
        let mut config = source_config(&relay);
        config.tls.mode = mode;
        config.tls.ca = Some(ca.clone());
        let opened = ControlConnection::open(&config).await;
        let shown = format!("{opened:?}");
        assert_eq!(opened.is_ok(), is_accepted, "{mode:?}: {shown}");
        assert!(!shown.contains(REPL_PASSWORD), "{shown}");
    }
}
