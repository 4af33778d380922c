//! The relay and sources that attack it: its password is not given away, and its memory is bounded.

use binrelay::config::{Config, SourceConfig};
use binrelay::receiver::control::ControlConnection;

use crate::standin::hostile_source::{Attack, HostileSource};
use crate::support::relay::{Relay, RelayOptions, SourceOptions, run_binrelay};
use crate::support::servers::REPL_PASSWORD;

fn directory_with(source: &HostileSource, extra: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "[relay]\nserver_id = 900\ndata_dir = \"data\"\n[[source]]\nname = \"m1\"\n\
         host = \"127.0.0.1\"\nport = {}\nuser = \"repl\"\npassword = \"{REPL_PASSWORD}\"\n{extra}\n",
        source.port
    );
    std::fs::write(directory.path().join("config.toml"), text).unwrap();
    directory
}

fn config_of(directory: &tempfile::TempDir) -> SourceConfig {
    let config = Config::load(&directory.path().join("config.toml")).unwrap();
    config.sources.into_iter().next().unwrap()
}

/// What `check` prints, which uses the dump connection first.
fn check(directory: &tempfile::TempDir) -> String {
    let config = directory.path().join("config.toml");
    let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
    String::from_utf8(output.stdout).unwrap()
}

const TLS_MODES: [&str; 2] = ["preferred", "required"];

/// Each attack on each of the two connections; the message names what to set.
#[tokio::test(flavor = "multi_thread")]
async fn man_in_the_middle_gets_no_password() {
    let mut ways = vec![
        (Attack::OwnKey, "preferred", "get_source_public_key = true"),
        (Attack::OwnKey, "disabled", "source_public_key_file"),
        (
            Attack::OwnKeyAfterSwitch,
            "preferred",
            "Authentication requires secure connection",
        ),
        (
            Attack::OwnKeyUnasked,
            "preferred",
            "caching_sha2_password state",
        ),
        (Attack::Clear, "preferred", "mode = \"verify_ca\""),
    ];
    ways.extend(TLS_MODES.map(|mode| (Attack::ClearOverTls, mode, "mode = \"verify_ca\"")));
    for (attack, mode, named) in ways {
        let source = HostileSource::start(attack);
        let directory = directory_with(&source, &format!("tls = {{ mode = \"{mode}\" }}"));
        let printed = check(&directory);
        assert!(printed.contains(named), "{attack:?} {mode}: {printed}");
        assert!(source.packets() > 0, "{attack:?} {mode}: nothing was sent");
        assert!(
            !source.has_got(REPL_PASSWORD),
            "{attack:?} {mode}: the dump connection"
        );
        let error = ControlConnection::open(&config_of(&directory))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains(named),
            "{attack:?} {mode}: {error}"
        );
        assert!(
            !source.has_got(REPL_PASSWORD),
            "{attack:?} {mode}: the control connection"
        );
    }
}

/// The stand-in notices a password that it gets: where the configuration allows that.
#[tokio::test(flavor = "multi_thread")]
async fn password_is_sent_where_the_configuration_allows_it() {
    for (attack, extra) in [
        (Attack::OwnKey, "get_source_public_key = true"),
        (Attack::FullOverTls, "tls = { mode = \"required\" }"),
    ] {
        let source = HostileSource::start(attack);
        let directory = directory_with(&source, extra);
        let _ = ControlConnection::open(&config_of(&directory)).await;
        assert!(source.has_got(REPL_PASSWORD), "{attack:?}");
    }
    // A pinned key is used instead of the one that the server sends.
    let (source, other) = (
        HostileSource::start(Attack::OwnKey),
        tempfile::tempdir().unwrap(),
    );
    let key = binrelay::tls::PasswordKey::open(other.path()).unwrap();
    key.ready().await;
    assert!(!key.public_pem().is_empty());
    let pem = other.path().join("public_key.pem");
    let extra = format!("source_public_key_file = {pem:?}\nget_source_public_key = true");
    let directory = directory_with(&source, &extra);
    let _ = ControlConnection::open(&config_of(&directory)).await;
    assert!(!source.has_got(REPL_PASSWORD), "pinned");
}

/// A source that has offered TLS before is not followed without it, also after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn preferred_does_not_return_to_plain_text() {
    let source = HostileSource::start(Attack::FullOverTls);
    let mut relay = Relay::start(RelayOptions::new(vec![SourceOptions::at(
        "m1",
        source.port,
    )]));
    let marker = relay.data_dir().join("tls-offered.m1");
    let logged_in = || marker.exists();
    let deadline = crate::support::Deadline::after_secs(30);
    while !logged_in() {
        assert!(!deadline.passed(), "no login over TLS: {}", relay.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    source.attack_by(Attack::Nulls(0));
    let refused = |status: &serde_json::Value| {
        let error = &status["sources"][0]["last_error"]["message"];
        let error = error.as_str().unwrap_or_default();
        error.contains("has offered TLS before")
            && error.contains("mode = \"disabled\"")
            && status["sources"][0]["state"] == "failed"
    };
    relay.wait_status("refused", 30, refused).await;
    relay.kill9();
    relay.restart();
    relay
        .wait_status("refused after a restart", 30, refused)
        .await;
    let printed = run_binrelay(&["check", "--config", relay.config().to_str().unwrap()]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("has offered TLS before"), "{printed}");
}

/// 64 MiB of NULLs took 1.5 GB.
#[tokio::test(flavor = "multi_thread")]
async fn large_answers_of_a_source_take_little_memory() {
    const PEAK_MAX_KIB: u64 = 120 << 10;
    let source = HostileSource::start(Attack::Nulls(64 << 20));
    let relay = Relay::start(RelayOptions::new(vec![SourceOptions::at(
        "m1",
        source.port,
    )]));
    let refused = |status: &serde_json::Value| {
        let error = &status["sources"][0]["last_error"]["message"];
        error.as_str().unwrap_or_default().contains("in a result")
    };
    relay
        .wait_status("the answer is refused", 60, refused)
        .await;
    let peak = relay.rss_peak_kib();
    println!(
        "peak memory with answers of 64 MiB of NULLs: {} MiB",
        peak >> 10
    );
    assert!(peak < PEAK_MAX_KIB, "{peak} KiB");
}
