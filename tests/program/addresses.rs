//! Where sources and replicas are: at IPv6 addresses, and at names that change their addresses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};
use serde_json::Value;

use crate::old_servers::{CHAINS_57, REPLICA_ID, options_of, started};
use crate::standin::event::Event;
use crate::standin::replica::ReplicaStandin;
use crate::standin::source::SourceStandin;
use crate::support::Deadline;
use crate::support::relay::{Relay, RelayOptions, run_binrelay};
use crate::support::servers::REPL_PASSWORD;

fn wait(relay: &Relay, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = Deadline::after_secs(60);
    loop {
        let status = relay.status();
        if condition(&status) {
            return status;
        }
        assert!(!deadline.passed(), "not in 60 s: {what}: {status:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A replica that connects to this address gets everything.
fn assert_served(relay: &Relay, address: &str, served: &[Event]) {
    let mut replica = ReplicaStandin::by_gtid(REPLICA_ID, (address, relay.port), REPL_PASSWORD);
    CHAINS_57[1].catch_up(&mut replica, served);
}

/// Whether an account may log in from `::1`.
fn logs_in(relay: &Relay, user: &str) -> bool {
    let options = OptsBuilder::default()
        .ip_or_hostname("::1")
        .tcp_port(relay.port)
        .user(Some(user))
        .pass(Some(REPL_PASSWORD))
        .prefer_socket(false);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(Conn::new(options)) {
        Ok(_) => true,
        Err(mysql_async::Error::Server(error)) => {
            assert_eq!(error.code, 1045, "{error}");
            false
        }
        Err(error) => panic!("{user}: {error}"),
    }
}

/// Source, relay and replica at `::1`, and accounts with ranges of addresses.
#[test]
fn source_and_replica_at_ipv6_addresses() {
    let chain = CHAINS_57[1];
    let binlog = chain.recorded();
    let served = binlog.events();
    for host in ["::1", "[::1]"] {
        let source = SourceStandin::start_at("[::1]:0", binlog.clone(), REPL_PASSWORD);
        let mut options = options_of(&[&source]);
        options.listen_on = "[::1]".to_owned();
        options.sources[0].host = host.to_owned();
        for (name, hosts) in [
            ("near", "[\"10.0.0.0/8\", \"::1\"]"),
            ("far", "[\"fd00::/8\"]"),
        ] {
            options.admin_extra.push(format!(
                "[[user]]\nname = \"{name}\"\npassword = \"{REPL_PASSWORD}\"\nprivileges = []\nhosts = {hosts}"
            ));
        }
        let mut relay = started(options);
        assert_served(&relay, "::1", &served);
        assert!(logs_in(&relay, "near") && !logs_in(&relay, "far"));
        let status = relay.status();
        let shown = status["sources"][0]["host"].as_str();
        assert_eq!(shown, Some("::1"), "{status:#}");
        let text = run_binrelay(&[
            "status",
            "--config",
            relay.config().to_str().expect("UTF-8"),
        ]);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        let address = format!("[::1]:{}", source.port);
        assert!(text.contains(&address), "{address}: {text}");
        source.stop(false);
        let status = wait(&relay, "it is away", |status| {
            status["sources"][0]["state"] != "streaming"
        });
        let error = status["sources"][0]["last_error"]["message"].as_str();
        assert!(
            error.is_some_and(|error| error.contains(&address)),
            "{status:#}"
        );
        relay.terminate();
    }
}

/// A program that runs binrelay where `/etc/hosts` is `hosts`.
fn resolving_by(hosts: &Path, directory: &Path) -> std::path::PathBuf {
    let program = directory.join("binrelay-with-hosts");
    let script = format!(
        "#!/bin/sh\nexec unshare --map-root-user --mount sh -c \
         'mount --bind {} /etc/hosts && exec {} \"$@\"' sh \"$@\"\n",
        hosts.display(),
        env!("CARGO_BIN_EXE_binrelay")
    );
    fs::write(&program, script).expect("the program is written");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("its mode is set");
    program
}

/// The name's address changes, is missing for a while, and is then one of two.
#[test]
#[ignore = "BINRELAY_PROFILE=long"]
fn source_whose_name_changes_its_address() {
    let chain = CHAINS_57[1];
    let directory = tempfile::tempdir().expect("a directory");
    let hosts = directory.path().join("hosts");
    let resolves_to = |addresses: &[&str]| {
        let lines = addresses
            .iter()
            .map(|address| format!("{address} db.example\n"));
        fs::write(&hosts, lines.collect::<String>()).expect("the names are written");
    };
    resolves_to(&["127.0.0.1"]);
    let binlog = chain.recorded();
    let source = SourceStandin::start(binlog.clone(), REPL_PASSWORD);
    let port = source.port;
    let mut options = RelayOptions {
        program: resolving_by(&hosts, directory.path()),
        ..options_of(&[&source])
    };
    options.sources[0].host = "db.example".to_owned();
    let relay = started(options);
    assert_served(&relay, "127.0.0.1", &binlog.events());

    resolves_to(&[]);
    drop(source);
    wait(&relay, "the name is named", |status| {
        let message = status["sources"][0]["last_error"]["message"].as_str();
        message.is_some_and(|text| text.contains("cannot resolve the name db.example: "))
    });
    let mut moved = binlog;
    moved.start();
    let source =
        SourceStandin::start_at(&format!("127.0.0.3:{port}"), moved.clone(), REPL_PASSWORD);
    resolves_to(&["127.0.0.3"]);
    wait(&relay, "it is followed at its new address", |status| {
        status["sources"][0]["state"] == "streaming"
    });
    drop(source);
    wait(&relay, "it is away", |status| {
        status["sources"][0]["state"] != "streaming"
    });
    moved.start();
    let _source =
        SourceStandin::start_at(&format!("127.0.0.4:{port}"), moved.clone(), REPL_PASSWORD);
    resolves_to(&["127.0.0.3", "127.0.0.4"]);
    wait(&relay, "all addresses are tried", |status| {
        status["sources"][0]["state"] == "streaming"
    });
    assert_served(&relay, "127.0.0.1", &moved.events());
}
