//! Logins of real replicas with their default TLS settings: accounts of the relay that are kept as
//! passwords or as hashes that real servers made, in every form that the replica can answer to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::support;
use crate::support::Deadline;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    ReplicaStatus, StartAt, assert_healthy, attach_as, replica_status, settle,
};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, program};
use crate::support::topology::{Mode, replica_options, run_for};
use binrelay::protocol::StoredPassword;
use binrelay::protocol::auth::{
    AuthPlugin, AuthStep, ClientAuth, Protection, Secret, certificate_proof,
};
use binrelay::protocol::capability::{CLIENT_SIDE, CLIENT_SSL};
use binrelay::protocol::framing::put_packet;
use binrelay::protocol::handshake::{COLLATION_UTF8MB4, Greeting, HandshakeResponse, SslRequest};
use binrelay::secret::PasswordHash;
use binrelay::tls::{ClientTls, client_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tempfile::TempDir;

/// An account kept as the hash that is its kind's default.
const HASHED_USER: &str = "hashed";
/// An account kept as MariaDB's public key.
const ED25519_USER: &str = "signing";
/// The first one's hash once more, for a connection without TLS: the relay has not seen the
/// password of this one yet, so it must come encrypted.
const RSA_USER: &str = "rsa";

/// How a replica logs in.
struct Login {
    user: &'static str,
    /// Options beyond host, port, user and password.
    extra: &'static str,
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_10_5_logs_in() {
    log_in(Kind::MariaDb105).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_10_11_logs_in() {
    log_in(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_11_8_logs_in() {
    log_in(Kind::MariaDb118).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_6_logs_in() {
    log_in(Kind::MySql56).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_5_logs_in() {
    log_in(Kind::MySql55).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_7_logs_in() {
    log_in(Kind::MySql57).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_9_7_logs_in() {
    log_in(Kind::MySql).await;
}

/// One source, the relay, and a replica that logs in with each account in turn, first with a wrong
/// password. All three of one kind.
async fn log_in(kind: Kind) {
    let _turn = support::turn();
    let plugins = kind.is_mariadb().then(|| plugin_dir(kind));
    let mut options = replica_options(kind, 11);
    if let Some(plugins) = &plugins {
        options = options.extra(format!("--plugin-dir={}", plugins.path().display()));
    }
    let (source, replica) = tokio::join!(
        Server::start(kind, ServerOptions::new(86)),
        Server::start(kind, options)
    );
    source.sql("CREATE DATABASE IF NOT EXISTS test").await;
    let mode = match kind.is_mariadb() {
        true => Mode::MariaDbSlavePos,
        false if kind.has_gtids() => Mode::MySqlAutoPosition,
        false => Mode::MySqlNoGtids,
    };
    let mut relay_options = RelayOptions::new(vec![SourceOptions::of("m1", &source)]);
    relay_options.sources[0].auto_position = mode.auto_position();
    relay_options.hashed_users = hashed_users(&source).await;
    let mut relay = Relay::start(relay_options);
    relay.wait_streaming().await;

    if !mode.has_gtids() {
        // It begins at the end of the log each time.
        replica.sql("CREATE DATABASE IF NOT EXISTS test").await;
    }
    for login in logins(kind) {
        let at = start(mode, &relay);
        for (user, password) in [(login.user, "wrong"), ("unknown", REPL_PASSWORD)] {
            let account = (user, password);
            attach_as(account, &replica, RELAY_HOST, relay.port, &at, login.extra).await;
            let status = first_answer(&replica).await;
            assert_eq!(status.io_errno, 1045, "{replica}: {user}: {status:#?}");
            stop(&replica).await;
        }
        let account = (login.user, REPL_PASSWORD);
        // Once more, since what the relay knows of a password may change with the first login.
        for _ in 0..2 {
            let at = start(mode, &relay);
            attach_as(account, &replica, RELAY_HOST, relay.port, &at, login.extra).await;
            let status = first_answer(&replica).await;
            assert_eq!(status.io_errno, 0, "{replica}: {account:?}: {status:#?}");
            settle(&[&source], &[&replica], 60).await;
            assert_healthy(&replica).await;
            assert_eq!(relay.status()["replicas"][0]["user"], login.user);
            stop(&replica).await;
        }
    }
    relay.assert_running();
}

/// Where a replica begins that has everything that is in the relay log.
fn start(mode: Mode, relay: &Relay) -> StartAt {
    if mode.has_gtids() {
        return mode.start_at("relay-bin");
    }
    let status = relay.status();
    let file = status["relay"]["file"].as_str().expect("a file");
    let position = status["relay"]["position"].as_u64().expect("a position");
    StartAt::FilePosition(file.to_owned(), position)
}

fn logins(kind: Kind) -> Vec<Login> {
    let login = |user, extra| Login { user, extra };
    let mut logins = vec![login(REPL_USER, ""), login(HASHED_USER, "")];
    if kind.is_mariadb() {
        logins.push(login(ED25519_USER, ""));
    }
    if kind == Kind::MySql {
        let extra = "SOURCE_SSL=0, GET_SOURCE_PUBLIC_KEY=1";
        logins.push(login(RSA_USER, extra));
    }
    logins
}

/// The hashes as the server itself stores them.
async fn hashed_users(server: &Server) -> Vec<(String, String)> {
    let query = match server.kind {
        Kind::MySql => format!(
            "SELECT CONCAT('0x', HEX(authentication_string)) FROM mysql.user \
             WHERE user = '{REPL_USER}' AND host = '%' AND plugin = 'caching_sha2_password'"
        ),
        _ => format!("SELECT PASSWORD('{REPL_PASSWORD}')"),
    };
    let hash = server.value(&query).await.expect("a hash");
    let mut users = vec![(HASHED_USER.to_owned(), hash.clone())];
    if server.kind.is_mariadb() {
        users.push((ED25519_USER.to_owned(), create_signing_user(server).await));
    } else if server.kind == Kind::MySql {
        users.push((RSA_USER.to_owned(), hash));
    }
    users
}

/// Makes an account that logs in by ed25519 and returns its public key.
async fn create_signing_user(server: &Server) -> String {
    server
        .sql(&format!(
            "SET SESSION sql_log_bin = 0; INSTALL SONAME 'auth_ed25519'; \
             CREATE USER {ED25519_USER}@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{REPL_PASSWORD}')"
        ))
        .await;
    let query = format!(
        "SELECT JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv \
         WHERE User = '{ED25519_USER}'"
    );
    server.value(&query).await.expect("a public key")
}

/// A directory with links to the plugins of the server and of its client library: a replica loads
/// both from its one --plugin-dir, and `client_ed25519` is among the second.
fn plugin_dir(kind: Kind) -> TempDir {
    let directory = tempfile::Builder::new()
        .prefix("br-plugins-")
        .tempdir_in("/tmp")
        .expect("a temporary directory in /tmp");
    for name in ["server", "client"] {
        let words = program(kind, name);
        let mut words = words.get_args().filter_map(|word| word.to_str());
        let plugins = words.find_map(|word| word.strip_prefix("--plugin-dir="));
        let plugins = PathBuf::from(plugins.expect("tools/server names the plugins' directory"));
        for entry in std::fs::read_dir(&plugins).expect("the plugins' directory can be read") {
            let entry = entry.expect("the plugins' directory can be read");
            let link = directory.path().join(entry.file_name());
            if !link.exists() {
                std::os::unix::fs::symlink(entry.path(), link).expect("a link");
            }
        }
    }
    assert!(directory.path().join("client_ed25519.so").exists());
    directory
}

/// Waits until the replica has logged in or was refused.
async fn first_answer(replica: &Server) -> ReplicaStatus {
    let deadline = Deadline::after_secs(60);
    loop {
        let status = replica_status(replica).await;
        if status.io_running == "Yes" || status.io_errno != 0 {
            return status;
        }
        assert!(
            !deadline.passed(),
            "{replica}: no answer in {} s: {status:#?}\n{}",
            deadline.limit_secs(),
            replica.error_log_tail()
        );
        run_for(20).await;
    }
}

async fn stop(replica: &Server) {
    let statement = match replica.kind.says_replica() {
        false => "STOP SLAVE",
        true => "STOP REPLICA",
    };
    replica.sql(statement).await;
}

/// What MariaDB's client compares, so that it need not know the certificate's authority.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_sends_the_certificate_proof_that_the_relay_computes() {
    let _turn = support::turn();
    let server = Server::start(Kind::MariaDb118, ServerOptions::new(86)).await;
    let query = format!("SELECT PASSWORD('{REPL_PASSWORD}')");
    let native = server.value(&query).await.expect("a hash");
    let ed25519 = create_signing_user(&server).await;
    for (user, plugin, hash) in [
        (REPL_USER, AuthPlugin::Native, native),
        (ED25519_USER, AuthPlugin::Ed25519, ed25519),
    ] {
        let hash = PasswordHash::parse(&hash).expect("a hash");
        let from_hash = StoredPassword::from_hashes(&[hash]);
        let from_plaintext = StoredPassword::from_plaintext(REPL_PASSWORD);
        let seen = TlsLogin::of(server.port, user, REPL_PASSWORD);
        assert_eq!(seen.plugin, plugin);
        for stored in [from_hash, from_plaintext] {
            let hash = stored.proof_hash(plugin).expect("a hash for the proof");
            let proof = certificate_proof(hash, &seen.scramble, &seen.certificate);
            assert_eq!(
                String::from_utf8_lossy(&seen.info),
                String::from_utf8_lossy(&proof),
                "{user}"
            );
        }
    }
}

/// What a login over TLS shows.
struct TlsLogin {
    certificate: Vec<u8>,
    /// The greeting's.
    scramble: [u8; 20],
    /// By which the password was proved.
    plugin: AuthPlugin,
    /// The text of the OK packet.
    info: Vec<u8>,
}

impl TlsLogin {
    fn of(port: u16, user: &str, password: &str) -> TlsLogin {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        tcp.set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a read timeout");
        let mut sequence = 0;
        let greeting = read_packet(&mut tcp, &mut sequence);
        let greeting = Greeting::decode(&greeting).expect("a greeting");
        let request = SslRequest {
            capabilities: CLIENT_SIDE & greeting.capabilities | CLIENT_SSL,
            packet_length_max: 1 << 24,
            collation: COLLATION_UTF8MB4,
        };
        write_packet(&mut tcp, &mut sequence, &request.encode());
        let config = client_config(&ClientTls::default()).expect("TLS settings");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let tls = ClientConnection::new(config.expect("TLS settings"), name).expect("TLS settings");
        let mut stream = StreamOwned::new(tls, tcp);

        let secret = Secret::new(password.to_owned());
        let mut auth = ClientAuth::new(
            &greeting.auth_plugin,
            &greeting.scramble,
            &secret,
            Protection::UnverifiedTls,
        );
        let response = HandshakeResponse {
            capabilities: request.capabilities,
            packet_length_max: request.packet_length_max,
            collation: request.collation,
            user: user.to_owned(),
            auth_response: auth.response().expect("an answer"),
            database: None,
            auth_plugin: auth.plugin().name().to_owned(),
            attributes: Vec::new(),
            zstd_level: 0,
        };
        write_packet(&mut stream, &mut sequence, &response.encode());
        let ok = loop {
            let packet = read_packet(&mut stream, &mut sequence);
            match auth.on_packet(&packet).expect("the login succeeds") {
                AuthStep::Send(answer) => write_packet(&mut stream, &mut sequence, &answer),
                AuthStep::Read => {}
                AuthStep::Done(ok) => break ok,
            }
        };
        let certificates = stream.conn.peer_certificates().expect("a certificate");
        TlsLogin {
            certificate: certificates[0].to_vec(),
            scramble: greeting.scramble,
            plugin: auth.plugin(),
            info: ok.info,
        }
    }
}

fn read_packet(stream: &mut impl Read, sequence: &mut u8) -> Vec<u8> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).expect("a packet");
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    *sequence = header[3].wrapping_add(1);
    let mut payload = vec![0; usize::try_from(length).expect("a small packet")];
    stream.read_exact(&mut payload).expect("a whole packet");
    payload
}

fn write_packet(stream: &mut impl Write, sequence: &mut u8, payload: &[u8]) {
    let mut bytes = Vec::new();
    put_packet(&mut bytes, sequence, payload);
    stream.write_all(&bytes).expect("the packet is sent");
    stream.flush().expect("the packet is sent");
}
