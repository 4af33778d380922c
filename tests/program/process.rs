//! The process of `binrelay run`: its signals, and the permissions of its files.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::support::relay::{Relay, RelayOptions, SourceOptions, binrelay, run_binrelay};
use crate::support::servers::{free_port, signal, wait_limited};

/// A relay whose source cannot be reached.
fn relay() -> Relay {
    Relay::start(RelayOptions::new(vec![SourceOptions::at(
        "m1",
        free_port(),
    )]))
}

/// Everything below the directory, the directory included.
fn modes(path: &Path, found: &mut Vec<(String, u32)>) {
    let metadata = path.symlink_metadata().expect("it exists");
    found.push((
        path.display().to_string(),
        metadata.permissions().mode() & 0o777,
    ));
    if metadata.is_dir() {
        for entry in path.read_dir().expect("a directory") {
            modes(&entry.expect("an entry").path(), found);
        }
    }
}

#[test]
fn files_are_not_for_other_users() {
    let mut relay = relay();
    let mut found = Vec::new();
    modes(&relay.data_dir(), &mut found);
    assert!(found.len() > 5, "{found:?}");
    // Others of the relay's group may ask for its status.
    let shared = |path: &str| {
        if path.ends_with(".sock") {
            0o007
        } else {
            0o027
        }
    };
    found.retain(|(path, mode)| mode & shared(path) != 0);
    assert!(found.is_empty(), "for other users: {found:?}");
    relay.terminate();
}

/// Passwords in a configuration file that every user can read are reported, by `run` and by `check`.
#[test]
fn world_readable_configuration_with_passwords_is_reported() {
    const WARNING: &str = "contains passwords and is world-readable";
    let mut relay = relay();
    let config = relay.config();
    for (mode, is_reported) in [(0o644, true), (0o640, false)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&config, permissions).expect("permissions");
        relay.kill9();
        let before = relay.log().matches(WARNING).count();
        relay.restart();
        let logged = relay.log().matches(WARNING).count() > before;
        assert_eq!(logged, is_reported, "{mode:o}: {}", relay.log());
        let output = run_binrelay(&["check", "--config", config.to_str().expect("a path")]);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            printed.contains(WARNING),
            is_reported,
            "{mode:o}: {printed}"
        );
    }
}

/// What systemd would receive.
#[test]
fn service_manager_is_told_when_the_relay_is_ready_and_that_it_is_alive() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    let limit = std::time::Duration::from_secs(20);
    socket.set_read_timeout(Some(limit)).expect("a limit");
    let config = directory.path().join("config.toml");
    let text = format!(
        "[relay]\nserver_id = 900\ndata_dir = \"data\"\nlisten = \"127.0.0.1:{}\"\n[[source]]\n\
         name = \"m1\"\nhost = \"127.0.0.1\"\nport = {}\nuser = \"repl\"\n",
        free_port(),
        free_port()
    );
    std::fs::write(&config, text).expect("a configuration");
    let mut child = binrelay()
        .args(["run", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env("BINRELAY_FAULT", "shutdown")
        .stderr(std::process::Stdio::null())
        .process_group(0)
        .spawn()
        .expect("it starts");
    let receive = || {
        let mut bytes = [0; 1000];
        let length = socket.recv(&mut bytes).expect("a report");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let kept = receive();
    assert_eq!(kept.trim_end(), "FDSTORE=1\nFDNAME=replicas");
    let ready = receive();
    assert!(
        ready.contains("READY=1\nSTATUS=sources streaming: 0 of 1; replicas: 0\n"),
        "{ready}"
    );
    let began = std::time::Instant::now();
    for _ in 0..3 {
        assert!(receive().contains("WATCHDOG=1"));
    }
    assert!(began.elapsed().as_millis() < 2000, "{:?}", began.elapsed());

    // A stage stalls, so that only the second signal ends it; debug builds only.
    signal(&child, rustix::process::Signal::TERM);
    while !receive().contains("STOPPING=1") {}
    if cfg!(debug_assertions) {
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(
            child.try_wait().expect("it can be waited for").is_none(),
            "stopped too early"
        );
        signal(&child, rustix::process::Signal::TERM);
        assert_eq!(wait_limited(child, limit).code(), Some(1));
    } else {
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }
}

/// Whether the relay greets a client, which may have to wait for it.
fn is_greeted(mut client: TcpStream) -> bool {
    let limit = std::time::Duration::from_secs(20);
    client.set_read_timeout(Some(limit)).expect("a limit");
    let mut head = [0; 5];
    // Version 10 of the protocol, after the packet's header.
    client.read_exact(&mut head).is_ok() && head[4] == 10
}

/// A replica that connects while the relay is not running is served by the next process.
#[test]
fn connections_wait_in_a_socket_that_is_kept_over_a_restart() {
    let mut options = RelayOptions::new(vec![SourceOptions::at("m1", free_port())]);
    options.keeps_socket = true;
    options.relay_extra = vec!["flavor = \"mysql\"".to_owned()];
    let mut relay = Relay::start(options);
    let connect = || TcpStream::connect(("127.0.0.1", relay.port)).expect("it is listened on");
    let connected = connect();
    assert!(is_greeted(connect()));
    relay.terminate();
    let waiting = TcpStream::connect(("127.0.0.1", relay.port)).expect("the socket is kept");
    relay.restart();
    assert!(is_greeted(waiting));
    drop(connected);
    let message = "listening on the socket that the service manager has kept open";
    assert_eq!(relay.log().matches(message).count(), 2, "{}", relay.log());
    // Another address is not that of the socket.
    relay.terminate();
    relay.port = free_port();
    relay.restart_with(relay.options.sources.clone());
    let client = TcpStream::connect(("127.0.0.1", relay.port)).expect("it is listened on");
    assert!(is_greeted(client));
    assert_eq!(relay.log().matches(message).count(), 2, "{}", relay.log());
}
