//! Resources that are already in use at the start: the program ends with exit status 1 and one line that
//! names the resource. `check` names them all beforehand.

use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::time::Duration;

use crate::support::relay::{Relay, RelayOptions, SourceOptions, binrelay, run_binrelay};
use crate::support::servers::{free_port, wait_limited};

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

/// The last line of its stderr; log lines may precede it.
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

/// What `check` prints, whose source is not reachable.
fn check(options: &RelayOptions, data_dir: &std::path::Path, port: u16) -> String {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("binrelay.toml");
    std::fs::write(&config, options.toml(data_dir, port)).unwrap();
    let config = config.to_str().unwrap();
    let output = run_binrelay(&["check", "--config", config]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

fn problems(text: &str) -> Vec<&str> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("problem: "));
    lines.collect()
}

#[test]
fn check_names_what_run_would_lack_on_this_machine() {
    let directory = tempfile::tempdir().unwrap();
    let (port, http) = (free_port(), free_port());
    let socket = directory.path().join("socket");
    let mut options = RelayOptions::new(vec![unreachable_source()]);
    options.admin_extra = vec![
        format!("http = \"127.0.0.1:{http}\""),
        format!("socket = {socket:?}"),
    ];
    let data_dir = directory.path().join("new/data");
    let text = check(&options, &data_dir, port);
    assert_eq!(problems(&text), [""; 0], "{text}");
    assert!(!directory.path().join("new").exists(), "nothing is created");

    let _taken = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let _http = TcpListener::bind(("127.0.0.1", http)).unwrap();
    std::fs::write(&socket, "not a socket").unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    options
        .log_extra
        .push("max_total_size = \"1000000GiB\"".to_owned());
    let text = check(&options, &directory.path().join("file/data"), port);
    let expected = [
        "is not a directory; set data_dir to another path".to_owned(),
        format!(":{port}: Address already in use"),
        format!("127.0.0.1:{http}: Address already in use"),
        "a file that is not a socket exists there".to_owned(),
    ];
    let found = problems(&text);
    assert_eq!(found.len(), expected.len(), "{text}");
    for (problem, expected) in found.iter().zip(&expected) {
        assert!(problem.contains(expected), "{problem}");
    }
    assert!(text.contains("lower max_total_size"), "{text}");
    // What is recorded of the source cannot be read; the source is tested all the same.
    assert!(text.contains("source m1: problem: "), "{text}");
    assert!(!text.contains("history-changed"), "{text}");
}

#[test]
fn check_beside_a_running_relay_does_not_take_its_addresses_for_foreign() {
    let relay = Relay::start(RelayOptions::new(vec![unreachable_source()]));
    let config = relay.config();
    let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(problems(&text), [""; 0], "{text}");
    assert!(text.contains("is in use by a running binrelay"), "{text}");
    relay.status();
}

/// `run` would end with the error of the log, and would not follow a source whose history has changed.
#[test]
fn check_reads_the_relay_log_and_what_is_recorded_of_the_sources() {
    let data_dir = tempfile::tempdir().unwrap();
    let options = RelayOptions::new(vec![unreachable_source()]);
    let record = data_dir.path().join("history-changed.m1");
    std::fs::write(record, "a\nb\n").unwrap();
    std::fs::write(data_dir.path().join("relay-bin.index"), "garbage\n").unwrap();
    let text = check(&options, data_dir.path(), free_port());
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{text}");
    assert!(found[0].contains("relay-bin.index, line 1"), "{text}");
    let of_source = text
        .lines()
        .find(|line| line.starts_with("source m1: problem: "));
    let of_source = of_source.unwrap_or_default();
    assert!(of_source.contains("binrelay continue"), "{text}");
}

/// Its server may be dead for good.
#[test]
fn check_does_not_connect_to_a_source_that_a_statement_has_stopped() {
    let data_dir = tempfile::tempdir().unwrap();
    let options = RelayOptions::new(vec![unreachable_source()]);
    let stopped = "[[channel]]\nname = \"m1\"\nstopped = true\n";
    std::fs::write(data_dir.path().join("channels.toml"), stopped).unwrap();
    let config = data_dir.path().join("binrelay.toml");
    std::fs::write(&config, options.toml(data_dir.path(), free_port())).unwrap();
    let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("source m1: note: not checked"), "{text}");
    assert!(!text.contains("problem: "), "{text}");
    assert_ne!(output.status.code(), Some(1), "{text}");
}

#[test]
fn plugin_says_why_the_configuration_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("nowhere.toml");
    let output = run_binrelay(&["status", "--nagios", "--config", config.to_str().unwrap()]);
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{line}");
    assert!(line.starts_with("BINRELAY UNKNOWN - "), "{line}");
    assert!(line.contains("No such file or directory"), "{line}");
}
