//! Resources that are already in use at the start: the program ends with exit status 1 and one line that
//! names the resource.

use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::time::Duration;

use crate::support::relay::{Relay, RelayOptions, SourceOptions, binrelay};
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
