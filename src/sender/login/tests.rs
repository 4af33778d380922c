//! Client against server over real sockets.

use super::*;
use crate::connection::client::{ConnectOptions, connect};
use crate::connection::{ConnectionErrorCause, Phase};
use crate::protocol::StoredPassword;
use crate::protocol::auth::{AuthPlugin, Protection, Secret, ServerKey};
use crate::protocol::command::Command;
use crate::protocol::response::parse_error;
use crate::sender::admission::{Admission, ConnectionLimits};
use crate::tls::{ClientTls, OfferedTls, PRIVATE_KEY_FILE, PasswordKey, TlsMode, server_config};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) outcome: JoinHandle<Result<LoggedIn, LoginError>>,
    dir: tempfile::TempDir,
}

/// One key for all tests: generating one takes long.
fn key_dir() -> &'static std::path::Path {
    static DIR: std::sync::LazyLock<tempfile::TempDir> = std::sync::LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let key = PasswordKey::open(dir.path()).unwrap();
        // In a thread of its own: a test that runs in a runtime cannot start another one.
        let generating = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(key.ready());
        });
        generating.join().unwrap();
        assert!(dir.path().join(PRIVATE_KEY_FILE).exists());
        dir
    });
    DIR.path()
}

pub(super) fn account(name: &str, password: StoredPassword) -> Account {
    Account {
        name: name.to_owned(),
        password,
        hosts: Vec::new(),
        privileges: Privileges {
            replication: true,
            ..Privileges::default()
        },
    }
}

fn options(default_plugin: AuthPlugin) -> LoginOptions {
    let accounts = vec![
        account("repl", StoredPassword::from_plaintext("secret")),
        account("open", StoredPassword::from_plaintext("")),
    ];
    options_with(accounts, default_plugin)
}

pub(super) fn options_with(accounts: Vec<Account>, default_plugin: AuthPlugin) -> LoginOptions {
    let key = PasswordKey::open(key_dir()).unwrap();
    LoginOptions {
        accounts: Arc::new(Accounts::new(accounts, key.into())),
        tls: None,
        require_tls: false,
        compression: 0,
        server_version: "8.4.5-binrelay".to_owned(),
        default_plugin,
        timeout: Duration::from_secs(10),
    }
}

/// Serves one login.
pub(super) async fn serve(mut options: LoginOptions, with_tls: bool) -> Server {
    let dir = tempfile::tempdir().unwrap();
    if with_tls {
        options.tls = Some(server_config(None, dir.path()).unwrap());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let outcome = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let limits = ConnectionLimits {
            total: 1,
            per_address: 1,
            reserved: 0,
        };
        let (mut place, _eviction) = Admission::new(limits).admit(address.ip());
        login(tcp, 77, &options, &mut place).await
    });
    Server {
        address,
        outcome,
        dir,
    }
}

pub(super) fn client(
    address: SocketAddr,
    user: &str,
    password: &str,
    mode: TlsMode,
) -> ConnectOptions {
    ConnectOptions {
        host: address.ip().to_string(),
        port: address.port(),
        user: user.to_owned(),
        password: Secret::new(password),
        tls: ClientTls {
            mode,
            ..ClientTls::default()
        },
        offered_tls: OfferedTls::default(),
        server_key: ServerKey::Requested,
        compression: None,
        connect_timeout: Duration::from_secs(10),
        read_buffer_size: 4096,
    }
}

#[tokio::test]
async fn every_plugin_logs_in_with_and_without_tls() {
    for plugin in [AuthPlugin::Native, AuthPlugin::CachingSha2] {
        for with_tls in [false, true] {
            for (user, password) in [("repl", "secret"), ("open", "")] {
                let server = serve(options(plugin), with_tls).await;
                let connecting = client(server.address, user, password, TlsMode::Preferred);
                let (mut connection, greeting) = connect(&connecting).await.unwrap();
                assert_eq!(
                    (greeting.connection_id, connection.is_tls()),
                    (77, with_tls)
                );
                assert_eq!(greeting.auth_plugin, plugin.name());
                let mut served = server.outcome.await.unwrap().unwrap();
                assert_eq!((served.user.as_str(), served.tls), (user, with_tls));
                assert!(served.privileges.replication && !served.privileges.admin);
                let name = ("_client_name".to_owned(), "binrelay".to_owned());
                assert!(served.attributes.contains(&name));

                // The connection is at its first command, on both sides.
                let answering = tokio::spawn(async move {
                    let packet = served.connection.read_command(1024).await.unwrap();
                    assert_eq!(
                        Command::parse(&packet).unwrap(),
                        Command::Query(b"SELECT 1")
                    );
                    let error = ServerError::new(ER_NOT_SUPPORTED_YET, "not here");
                    served.connection.write_error(&error).await.unwrap();
                });
                let error = connection.query("SELECT 1").await.unwrap_err();
                assert_eq!(error.server_error().unwrap().code, ER_NOT_SUPPORTED_YET);
                answering.await.unwrap();
            }
        }
    }
}

/// Receivers share the threads of logins: at a first start they stood still until the key pair was generated.
#[tokio::test]
async fn login_that_waits_for_the_key_pair_does_not_block_its_thread() {
    let dir = tempfile::tempdir().unwrap();
    let (key, finish) = PasswordKey::pending(dir.path());
    let accounts = vec![account("repl", StoredPassword::from_plaintext("secret"))];
    let options = LoginOptions {
        accounts: Arc::new(Accounts::new(accounts, key.into())),
        ..options(AuthPlugin::CachingSha2)
    };
    let server = serve(options, false).await;
    let connecting = client(server.address, "repl", "secret", TlsMode::Disabled);
    let connected = tokio::spawn(async move { connect(&connecting).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!server.outcome.is_finished());
    finish();
    connected.await.unwrap().unwrap();
    assert_eq!(server.outcome.await.unwrap().unwrap().user, "repl");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    for plugin in [AuthPlugin::Native, AuthPlugin::CachingSha2] {
        for (user, password, using) in [
            ("repl", "Secret", "YES"),
            ("repl", "", "NO"),
            ("open", "secret", "YES"),
            ("nobody", "secret", "YES"),
            ("nobody", "", "NO"),
        ] {
            let server = serve(options(plugin), true).await;
            let connecting = client(server.address, user, password, TlsMode::Required);
            let error = connect(&connecting).await.unwrap_err();
            assert!(error.is_access_denied());
            assert_eq!(error.phase, Phase::Authentication);
            let text =
                format!("Access denied for user '{user}'@'127.0.0.1' (using password: {using})");
            let expected = ServerError {
                code: 1045,
                sqlstate: "28000".to_owned(),
                message: text,
            };
            assert_eq!(error.server_error(), Some(&expected));
            let refused = server.outcome.await.unwrap().unwrap_err();
            assert!(matches!(&refused, LoginError::Refused { error, .. } if *error == expected));
            assert!(
                !refused.to_string().to_lowercase().contains("secret"),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_requires_tls_reports_its_absence() {
    let server = serve(options(AuthPlugin::CachingSha2), false).await;
    let connecting = client(server.address, "repl", "secret", TlsMode::Required);
    let error = connect(&connecting).await.unwrap_err();
    assert!(
        matches!(error.cause, ConnectionErrorCause::TlsNotOffered),
        "{error}"
    );
    let text = format!("127.0.0.1:{}: TLS: TLS is required", server.address.port());
    assert!(error.to_string().starts_with(&text), "{error}");
}

#[tokio::test]
async fn a_server_that_requires_tls_refuses_clients_without() {
    let mut required = options(AuthPlugin::CachingSha2);
    required.require_tls = true;
    let server = serve(required, true).await;
    let connecting = client(server.address, "repl", "secret", TlsMode::Disabled);
    let error = connect(&connecting).await.unwrap_err();
    assert_eq!(
        error.server_error().unwrap().code,
        ER_SECURE_TRANSPORT_REQUIRED
    );
}

#[tokio::test]
async fn certificates_are_verified_by_chain_and_by_name() {
    // The self-signed certificate is for "binrelay" and is its own authority.
    for (mode, trusted, works) in [
        (TlsMode::VerifyCa, true, true),
        (TlsMode::VerifyCa, false, false),
        (TlsMode::VerifyIdentity, true, false),
    ] {
        let server = serve(options(AuthPlugin::CachingSha2), true).await;
        let other = tempfile::tempdir().unwrap();
        server_config(None, other.path()).unwrap();
        let dir = if trusted {
            server.dir.path()
        } else {
            other.path()
        };
        let mut connecting = client(server.address, "repl", "secret", mode);
        connecting.tls.ca = Some(dir.join(crate::tls::SERVER_CERTIFICATE_FILE));
        match connect(&connecting).await {
            Ok((connection, _)) => {
                assert!(works, "{mode:?} with a trusted authority: {trusted}");
                assert!(connection.peer_certificate().is_some());
            }
            Err(error) => {
                assert!(!works, "{error}");
                assert_eq!(error.phase, Phase::Tls);
            }
        }
    }
}

#[tokio::test]
async fn a_silent_client_is_disconnected_at_the_time_limit() {
    let mut short = options(AuthPlugin::CachingSha2);
    short.timeout = Duration::from_millis(50);
    let server = serve(short, false).await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    let error = server.outcome.await.unwrap().unwrap_err();
    assert!(matches!(error, LoginError::TimedOut { .. }), "{error}");
    let mut greeting = Vec::new();
    tcp.read_to_end(&mut greeting).await.unwrap();
    assert_eq!(greeting[4], 10);
}

/// Reads the greeting, sends `bytes` as they are, and returns the last packet's payload and the
/// login's error.
async fn send_raw(bytes: &[u8]) -> (Vec<u8>, LoginError) {
    let server = serve(options(AuthPlugin::CachingSha2), true).await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    let mut header = [0; 4];
    tcp.read_exact(&mut header).await.unwrap();
    let mut greeting = vec![0; usize::from(header[0])];
    tcp.read_exact(&mut greeting).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset instead of an end is fine: the server closes with our bytes unread.
    let _ = tcp.read_to_end(&mut answer).await;
    let error = server.outcome.await.unwrap().unwrap_err();
    (answer.get(4..).unwrap_or_default().to_vec(), error)
}

#[tokio::test]
async fn a_command_before_the_login_is_treated_as_an_old_client() {
    let (answer, error) = send_raw(&[5, 0, 0, 1, 0x12, 4, 0, 0, 0]).await;
    assert_eq!(
        answer[..4],
        [0xFF, 0xE3, 0x04, b'C'],
        "1251, and no SQLSTATE"
    );
    assert!(matches!(error, LoginError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_truncated_handshake_is_refused() {
    let (answer, error) = send_raw(&[5, 0, 0, 1, 0x85, 0xA6, 0xFF, 0, 0]).await;
    let sent = parse_error(&answer).unwrap();
    assert_eq!(
        (sent.code, sent.sqlstate.as_str()),
        (ER_HANDSHAKE_ERROR, "08S01")
    );
    assert!(matches!(error, LoginError::BadHandshake { .. }), "{error}");
}

#[tokio::test]
async fn a_huge_packet_before_the_login_is_refused_by_its_header() {
    let (_, error) = send_raw(&[0xFF, 0xFF, 0xFF, 1]).await;
    let LoginError::Connection(error) = error else {
        panic!("{error}")
    };
    assert!(
        matches!(error.cause, ConnectionErrorCause::PacketTooLarge { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn client_that_only_connects_is_a_probe() {
    let server = serve(options(AuthPlugin::Native), false).await;
    drop(
        tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap(),
    );
    assert!(server.outcome.await.unwrap().unwrap_err().is_probe());
    let server = serve(options(AuthPlugin::Native), false).await;
    let mut tcp = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    tcp.write_all(b"GET / HTTP/1.1").await.unwrap();
    assert!(!server.outcome.await.unwrap().unwrap_err().is_probe());
}

#[tokio::test]
async fn packets_out_of_order_end_the_login() {
    let (_, error) = send_raw(&[1, 0, 0, 0, 1]).await;
    assert!(
        error
            .to_string()
            .contains("expected sequence number 1, found 0"),
        "{error}"
    );
}

/// A client's login by hand, for cases that our own client does not produce.
async fn answer_greeting(
    server: &Server,
    capabilities: u32,
    plugin: &str,
) -> (Connection, Vec<u8>) {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let mut connection = Connection::new(tcp, "server".to_owned(), 4096);
    let packet = connection.read_packet(1024).await.unwrap();
    let greeting = Greeting::decode(&packet).unwrap();
    let response = HandshakeResponse {
        capabilities: greeting.capabilities & capabilities,
        packet_length_max: 1 << 24,
        collation: COLLATION_UTF8MB4,
        user: "repl".to_owned(),
        auth_response: Zeroizing::new(b"whatever".to_vec()),
        database: None,
        auth_plugin: plugin.to_owned(),
        attributes: Vec::new(),
        zstd_level: 0,
    };
    connection.write_packet(&response.encode()).await.unwrap();
    connection.flush().await.unwrap();
    let answer = connection.read_packet(1024).await.unwrap();
    (connection, answer)
}

#[tokio::test]
async fn a_client_with_another_plugin_is_switched() {
    let capabilities = SERVER_SIDE & !crate::protocol::capability::CLIENT_CONNECT_WITH_DB;
    for (named, default, expected) in [
        (
            "mysql_clear_password",
            AuthPlugin::CachingSha2,
            AuthPlugin::CachingSha2,
        ),
        ("sha256_password", AuthPlugin::Native, AuthPlugin::Native),
        (
            "dummy_fallback_auth",
            AuthPlugin::CachingSha2,
            AuthPlugin::Native,
        ),
    ] {
        let server = serve(options(default), false).await;
        let (mut connection, switch) = answer_greeting(&server, capabilities, named).await;
        let secret = Secret::new("secret");
        let mut auth = crate::protocol::auth::ClientAuth::new(
            "",
            &[1; 20],
            &secret,
            Protection::Plain(ServerKey::Requested),
        );
        let crate::protocol::auth::AuthStep::Send(answer) = auth.on_packet(&switch).unwrap() else {
            panic!("no switch: {switch:?}")
        };
        assert_eq!(auth.plugin(), expected);
        connection.write_packet(&answer).await.unwrap();
        connection.flush().await.unwrap();
        assert_eq!(server.outcome.await.unwrap().unwrap().user, "repl");
    }
}

#[tokio::test]
async fn a_client_without_plugins_uses_the_native_one() {
    let capabilities = crate::protocol::capability::CLIENT_PROTOCOL_41
        | crate::protocol::capability::CLIENT_SECURE_CONNECTION;
    let server = serve(options(AuthPlugin::CachingSha2), false).await;
    let (_, answer) = answer_greeting(&server, capabilities, "").await;
    assert_eq!(parse_error(&answer).unwrap().code, ER_ACCESS_DENIED_ERROR);
}

#[tokio::test]
async fn an_error_replaces_the_greeting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        refuse(
            tcp,
            &ServerError::new(ER_CON_COUNT_ERROR, "Too many connections"),
        )
        .await;
    });
    let error = connect(&client(address, "repl", "secret", TlsMode::Preferred))
        .await
        .unwrap_err();
    assert_eq!(error.phase, Phase::Greeting);
    assert_eq!(error.server_error().unwrap().code, ER_CON_COUNT_ERROR);
    serving.await.unwrap();
}

#[tokio::test]
async fn accounts_are_for_the_hosts_that_they_allow() {
    let with_hosts = |name: &str, hosts: &[&str]| Account {
        hosts: hosts.iter().map(|text| text.parse().unwrap()).collect(),
        ..account(name, StoredPassword::from_plaintext("secret"))
    };
    let elsewhere = with_hosts("elsewhere", &["10.0.0.0/8", "::1"]);
    let here = with_hosts("here", &["127.0.0.0/8"]);
    let all = vec![elsewhere.clone(), here];
    for (accounts, user, code) in [
        (all.clone(), "here", None),
        (
            all,
            "elsewhere",
            Some((1045, "Access denied for user 'elsewhere'@'127.0.0.1'")),
        ),
        (
            vec![elsewhere],
            "elsewhere",
            Some((
                1130,
                "Host '127.0.0.1' is not allowed to connect to this MySQL server",
            )),
        ),
    ] {
        let server = serve(options_with(accounts, AuthPlugin::Native), false).await;
        let options = client(server.address, user, "secret", TlsMode::Disabled);
        match (connect(&options).await, code) {
            (Ok(_), None) => {}
            (Err(error), Some((code, text))) => {
                let error = error.server_error().unwrap();
                assert_eq!(error.code, code);
                assert!(error.message.starts_with(text), "{error}");
            }
            (outcome, _) => panic!("{user}: {outcome:?}"),
        }
    }
}
