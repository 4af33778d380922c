//! `binrelay reload` and SIGHUP without servers: what is read again, what needs a restart, and broken files.

use std::process::Output;

use crate::support::Deadline;
use crate::support::relay::{Relay, RelayOptions, SourceOptions, binrelay, run_binrelay};
use crate::support::servers::{free_port, signal};

fn reload(relay: &Relay) -> Output {
    let socket = relay.data_dir().join("binrelay.sock");
    run_binrelay(&["reload", "--socket", socket.to_str().expect("a path")])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes `change` of the configuration, reloads, and returns what is printed.
fn reload_with(relay: &Relay, change: impl Fn(String) -> String) -> Output {
    let before = std::fs::read_to_string(relay.config()).expect("the configuration");
    std::fs::write(relay.config(), change(before)).expect("it is written");
    reload(relay)
}

/// Waits until the log contains `text` so often.
fn wait_for_log(relay: &Relay, text: &str, count: usize) {
    let deadline = Deadline::after_secs(20);
    while relay.log().matches(text).count() < count {
        assert!(!deadline.passed(), "{}", relay.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn configuration_is_read_again_while_the_relay_runs() {
    let sources = vec![SourceOptions::at("m1", free_port())];
    let mut relay = Relay::start(RelayOptions::new(sources));
    let unchanged = reload(&relay);
    assert_eq!(text(&unchanged.stdout), "nothing has changed\n");
    assert!(unchanged.status.success());

    // 1. What can change does; what cannot is named until it is restored, or the relay is restarted.
    let changed = reload_with(&relay, |text| {
        text.replacen(
            "[log]\n",
            "[log]\nmax_size = \"1MiB\"\nsync = \"10ms\"\n",
            1,
        )
        .replacen(
            "replicate_do_db = [\"test\"]",
            "replicate_do_db = [\"other\"]",
            1,
        ) + "[alert]\nreplica_lag = \"7s\"\n"
    });
    assert_eq!(
        text(&changed.stdout),
        "changed: [log] max_size: 1GiB → 1MiB\n\
         changed: [alert] replica_lag: 5m → 7s\n\
         changed: [source \"m1\"] filter: replicate_do_db = [\"test\"] → replicate_do_db = [\"other\"]\n\
         needs a restart: [log] sync: commit → 10ms\n"
    );
    assert!(changed.status.success());
    let filters = relay.data_dir().join("filters");
    let recorded = std::fs::read_to_string(filters).expect("it is recorded");
    assert_eq!(recorded, "m1\treplicate_do_db = [\"other\"]\n");
    let again = reload(&relay);
    let expected = "needs a restart: [log] sync: commit → 10ms\n";
    assert_eq!(text(&again.stdout), expected);

    // 2. A broken file changes nothing: neither the key that is broken nor another.
    let broken = reload_with(&relay, |text| {
        text.replacen("\"7s\"", "\"8s\"", 1) + "[limits]\nmax_connections = 0\n"
    });
    assert_eq!(broken.status.code(), Some(2));
    let errors = text(&broken.stderr);
    let line = std::fs::read_to_string(relay.config())
        .expect("it")
        .lines()
        .count();
    let problem = format!("binrelay.toml:{line}: [limits] max_connections: expected a number");
    assert!(errors.contains(&problem), "{errors}");
    assert!(errors.contains("nothing was changed"), "{errors}");
    let certificate = reload_with(&relay, |text| {
        text.replacen("max_connections = 0", "", 1)
            + "[tls]\ncert = \"binrelay.toml\"\nkey = \"binrelay.toml\"\n"
    });
    assert_eq!(certificate.status.code(), Some(2));
    let errors = text(&certificate.stderr);
    assert!(errors.contains("binrelay.toml: [tls]: "), "{errors}");

    // 3. SIGHUP does the same.
    let repaired = |text: String| text.split("[tls]").next().expect("a part").to_owned();
    let before = std::fs::read_to_string(relay.config()).expect("the configuration");
    std::fs::write(relay.config(), repaired(before)).expect("it is written");
    signal(relay.child(), rustix::process::Signal::HUP);
    wait_for_log(&relay, "changed: [alert] replica_lag: 7s → 8s", 1);
    std::fs::write(relay.config(), "[relay").expect("it is written");
    signal(relay.child(), rustix::process::Signal::HUP);
    wait_for_log(&relay, "was not reloaded, and nothing was changed", 3);
    relay.assert_running();
    relay.terminate();
}

#[test]
fn commands_for_a_running_relay_need_one() {
    for arguments in [["reload", "--socket"], ["forget", "--socket"]] {
        let mut command = binrelay();
        command.args(arguments).arg("/nonexistent/binrelay.sock");
        if arguments[0] == "forget" {
            command.arg("11");
        }
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let errors = text(&output.stderr);
        assert!(
            errors.contains("no relay answers at /nonexistent"),
            "{errors}"
        );
    }
}

/// The relay would give up its connection to the source for one that cannot be made.
#[test]
fn certificate_of_a_source_that_cannot_be_read_changes_nothing() {
    let sources = vec![SourceOptions::at("m1", free_port())];
    let relay = Relay::start(RelayOptions::new(sources));
    let half = relay.data_dir().join("half.pem");
    std::fs::write(&half, "-----BEGIN CERTIFICATE-----\nMIIB").expect("it is written");
    let refused = reload_with(&relay, |text| {
        let tls = format!("[[source]]\ntls = {{ mode = \"verify_ca\", ca = {half:?} }}\n");
        text.replacen("[[source]]\n", &tls, 1)
    });
    let errors = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{errors}");
    assert!(errors.contains("[source \"m1\"]: "), "{errors}");
    assert!(errors.contains("half.pem"), "{errors}");
}
