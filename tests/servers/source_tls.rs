//! TLS towards sources of each kind: what protects the connection, and in which form the password is sent.

use std::path::Path;

use crate::support;
use crate::support::kind::Kind;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::servers::{REPL_PASSWORD, REPL_USER, Server, ServerOptions};
use binrelay::config::Config;
use binrelay::receiver::control::{ControlConnection, ControlError};

/// The description of a connection that is made as the relay makes it, with further lines of the
/// `[[source]]`.
async fn tls_of(source: &Server, extra: &str) -> Result<String, ControlError> {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "[relay]\nserver_id = 900\ndata_dir = \"data\"\n[[source]]\nname = \"m1\"\n\
         host = \"127.0.0.1\"\nport = {}\nuser = \"{REPL_USER}\"\npassword = \"{REPL_PASSWORD}\"\n{extra}\n",
        source.port
    );
    let path = directory.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap();
    let connection = ControlConnection::open(&config.sources[0]).await?;
    let tls = connection.tls().to_owned();
    connection.close().await;
    Ok(tls)
}

/// `caching_sha2_password`: the server has the account in its cache after a login by password, until
/// FLUSH PRIVILEGES.
async fn mysql() {
    let source = Server::start(Kind::MySql, ServerOptions::new(86)).await;
    let empty_cache = async || source.sql("FLUSH PRIVILEGES").await;
    let plain = "tls = { mode = \"disabled\" }";
    let pem = |name: &str| source.data_dir().join(name);
    let pinned = |path: &Path| format!("{plain}\nsource_public_key_file = {path:?}");

    empty_cache().await;
    let error = tls_of(&source, plain).await.unwrap_err().to_string();
    assert!(
        error.contains("Authentication requires secure connection"),
        "{error}"
    );
    let other = tempfile::tempdir().unwrap();
    let key = binrelay::tls::PasswordKey::open(other.path()).unwrap();
    key.ready().await;
    assert!(!key.public_pem().is_empty());
    let error = tls_of(&source, &pinned(&other.path().join("public_key.pem"))).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("Access denied"),
        "another server's key: {error}"
    );
    let right = pinned(&pem("public_key.pem"));
    assert_eq!(tls_of(&source, &right).await.unwrap(), "none");
    assert_eq!(tls_of(&source, plain).await.unwrap(), "none", "cached");
    empty_cache().await;
    let requested = format!("{plain}\nget_source_public_key = true");
    assert_eq!(tls_of(&source, &requested).await.unwrap(), "none");

    empty_cache().await;
    let unverified = "TLSv1.3 TLS_AES_128_GCM_SHA256, certificate not verified";
    assert_eq!(tls_of(&source, "").await.unwrap(), unverified);
    empty_cache().await;
    let verified = format!("tls = {{ mode = \"verify_ca\", ca = {:?} }}", pem("ca.pem"));
    let tls = tls_of(&source, &verified).await.unwrap();
    assert_eq!(
        tls,
        "TLSv1.3 TLS_AES_128_GCM_SHA256, certificate verified (verify_ca)"
    );
}

/// 11.8 has TLS without configuration, and proves that the certificate is its own.
async fn mariadb_with_tls() {
    let source = Server::start(Kind::MariaDb118, ServerOptions::new(87)).await;
    let relay = Relay::start(RelayOptions::new(vec![SourceOptions::of("m1", &source)]));
    relay.wait_streaming().await;
    let tls = "certificate verified (by the account's password)";
    let status = relay.source_status("m1");
    assert!(status["tls"].as_str().unwrap().ends_with(tls), "{status}");
    let log = relay.log();
    assert!(log.contains(tls), "{log}");
    assert!(tls_of(&source, "").await.unwrap().ends_with(tls));
    assert!(relay.data_dir().join("tls-offered.m1").exists());
}

async fn without_tls(kind: Kind) {
    let source = Server::start(kind, ServerOptions::new(88)).await;
    assert_eq!(tls_of(&source, "").await.unwrap(), "none", "{kind}");
    let required = "tls = { mode = \"required\" }";
    let error = tls_of(&source, required).await.unwrap_err().to_string();
    assert!(error.contains("does not offer it"), "{kind}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_sources_say_how_they_are_protected() {
    let _one_at_a_time = support::turn();
    // They wait most of the time.
    tokio::join!(mysql(), mariadb_with_tls(), without_tls(Kind::MySql56));
}
