//! A stage that dies ends the process within a second: a non-zero exit status, and one line that names the stage
//! and the reason. A client's session that dies ends nothing else.
//!
//! `BINRELAY_FAULT` makes a stage panic; release builds do not have it, and then neither these tests.

#![cfg(debug_assertions)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use crate::recorded;
use crate::recorded::Conversation;
use crate::support::Deadline;
use crate::support::relay::binrelay;
use crate::support::servers::{free_port, wait_limited};
use rustix::process::Signal;

/// A relay that has not ended by then hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// From the panic of a stage to the end of the process, on a machine that does nothing else.
const END_WITHIN: Duration = Duration::from_secs(1);
/// On a loaded machine it may take so much longer for each process that shares a processor: the end is a few short
/// steps, each of which waits for its turn.
const TURN: Duration = Duration::from_millis(100);

/// How many processes have shared each processor, at most, while it was looked at.
struct Load(f64);

impl Load {
    /// Looks at it. The load average is that of the last minute, and late; the number of runnable threads is that of
    /// this moment.
    fn note(&mut self) {
        let text = std::fs::read_to_string("/proc/loadavg").expect("the load average");
        let numbers: Vec<f64> = text
            .split([' ', '/'])
            .filter_map(|number| number.parse().ok())
            .collect();
        let processors =
            std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
        self.0 = self.0.max(numbers[0].max(numbers[3]) / processors);
    }

    /// The time for the end of a process under this load.
    fn limit(&self) -> Duration {
        END_WITHIN + TURN.mul_f64(self.0)
    }
}

/// A relay's directory, with a log in it, and its ports.
pub struct Directory {
    pub directory: tempfile::TempDir,
    port: u16,
    http: u16,
}

/// A relay that runs; killed if a test fails.
pub struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Plays the recorded master's side of the conversations, one connection after the other.
fn play(listener: &TcpListener, conversations: &[Conversation]) {
    for conversation in conversations {
        let (mut relay, _) = listener.accept().expect("the relay connects");
        for packet in &conversation.packets {
            if !packet.from_client {
                relay.write_all(&packet.bytes).expect("the relay reads");
                continue;
            }
            let mut header = [0; 4];
            relay.read_exact(&mut header).expect("the relay's packet");
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
            let mut payload = vec![0; length as usize];
            relay.read_exact(&mut payload).expect("the relay's packet");
        }
        // The relay closes the connection when it stops.
        let _ = relay.read(&mut [0; 64]);
    }
}

impl Directory {
    /// With the log of a recorded master that cannot be reached any more.
    pub fn with_log() -> Directory {
        let master = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let source = master.local_addr().expect("an address").port();
        let directory = tempfile::tempdir().expect("a directory");
        let (port, http) = (free_port(), free_port());
        let text = format!(
            "[relay]\nserver_id = 900\nserver_uuid = \"00000000-0000-0000-0000-000000000900\"\n\
             data_dir = {:?}\nlisten = \"127.0.0.1:{port}\"\n[admin]\nhttp = \"127.0.0.1:{http}\"\n\
             [[source]]\nname = \"m1\"\nhost = \"127.0.0.1\"\nport = {source}\nuser = \"fixture\"\n\
             password = \"fixture-password\"\ntls = {{ mode = \"disabled\" }}\n",
            directory.path().join("data")
        );
        std::fs::write(directory.path().join("config.toml"), text).expect("a configuration");
        let relay = Directory {
            directory,
            port,
            http,
        };
        let conversations = recorded::conversations("mysql-9.7", "relay-gtid");
        let player = std::thread::spawn(move || play(&master, &conversations));
        let mut first_run = relay.start(None);
        relay.wait_until(&mut first_run, "the log has a transaction", |status| {
            status["sources"][0]["transactions"]["kept"].as_u64() > Some(0)
        });
        assert_eq!(relay.stop(first_run).status.code(), Some(0));
        player.join().expect("the master was played");
        relay
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    fn stderr(&self) -> PathBuf {
        self.directory.path().join("stderr")
    }

    pub fn start(&self, fault: Option<&str>) -> Running {
        let mut command = binrelay();
        command.args(["run", "--config"]).arg(self.config());
        if let Some(stage) = fault {
            command.env("BINRELAY_FAULT", stage);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.stderr()).expect("a log"))
            .spawn()
            .expect("binrelay can be started");
        Running(Some(child))
    }

    fn status(&self) -> serde_json::Value {
        let output = binrelay()
            .args(["status", "--json", "--config"])
            .arg(self.config())
            .output()
            .expect("binrelay can be run");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn wait_until(
        &self,
        running: &mut Running,
        what: &str,
        holds: impl Fn(&serde_json::Value) -> bool,
    ) {
        let deadline = Deadline::after_secs(30);
        while !holds(&self.status()) {
            let child = running.0.as_mut().expect("it runs");
            let ended = child.try_wait().expect("it can be waited for");
            let log = std::fs::read_to_string(self.stderr()).unwrap_or_default();
            assert!(ended.is_none(), "{what}: binrelay has ended:\n{log}");
            assert!(!deadline.passed(), "never: {what}:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Connects a client of the listener, and waits for the end of its connection.
    fn connect(&self) {
        Self::connect_to(self.port);
    }

    fn connect_to(port: u16) {
        let deadline = Deadline::after_secs(30);
        let mut client = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(client) => break client,
                Err(error) => assert!(!deadline.passed(), "cannot connect: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let limit = Some(Duration::from_secs(30));
        client.set_read_timeout(limit).expect("a time limit");
        // A reset is the end as well; a time limit that passes is not.
        if let Err(error) = client.read_to_end(&mut Vec::new()) {
            let kind = error.kind();
            assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }

    fn stop(&self, mut running: Running) -> Output {
        let child = running.0.as_ref().expect("it runs");
        let id = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(id, Signal::TERM).expect("binrelay runs");
        self.wait_end(&mut running)
    }

    /// Waits until `stage` has panicked, then for the end of the process: within [`END_WITHIN`].
    fn wait_end_of(&self, running: &mut Running, stage: &str) -> Output {
        let fault = format!("injected fault in {stage}");
        let deadline = Deadline::after_secs(60);
        let log = || std::fs::read_to_string(self.stderr()).unwrap_or_default();
        while !log().contains(&fault) {
            assert!(!deadline.passed(), "{stage} does not panic:\n{}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
        let panicked = Instant::now();
        let mut load = Load(0.0);
        let child = running.0.as_mut().expect("it runs");
        while child.try_wait().expect("it can be waited for").is_none() {
            load.note();
            assert!(!deadline.passed(), "{stage}: it does not end:\n{}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = panicked.elapsed();
        load.note();
        let limit = load.limit();
        println!("{stage}: ended after {took:?} of {limit:?}");
        assert!(
            took <= limit,
            "{stage}: {took:?}, more than {limit:?}:\n{}",
            log()
        );
        self.wait_end(running)
    }

    pub fn wait_end(&self, running: &mut Running) -> Output {
        let child = running.0.take().expect("it runs");
        Output {
            status: wait_limited(child, LIMIT),
            stdout: Vec::new(),
            stderr: std::fs::read(self.stderr()).unwrap_or_default(),
        }
    }
}

/// Starts a relay whose `stage` panics once `provoke` is called; it must end and name the stage.
fn stage_ends_the_process(stage: &str, name: &str, provoke: impl Fn(&Directory) + Sync) {
    let relay = Directory::with_log();
    let mut running = relay.start(Some(stage));
    let output = std::thread::scope(|scope| {
        scope.spawn(|| provoke(&relay));
        relay.wait_end_of(&mut running, stage)
    });
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stage}:\n{log}");
    let expected =
        format!("binrelay: error: {name} ended unexpectedly: panic: injected fault in {stage}; ");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with(&expected), "{stage}:\n{log}");
    let naming = log
        .lines()
        .filter(|line| line.contains("ended unexpectedly"));
    assert_eq!(naming.count(), 1, "{stage}: not exactly one line:\n{log}");
}

#[test]
fn dead_receiver_ends_the_process() {
    stage_ends_the_process("receiver", "the receiver of source \"m1\"", |_| {});
}

#[test]
fn dead_log_thread_ends_the_process() {
    stage_ends_the_process("log_thread", "the log thread", |_| {});
}

/// The thread that syncs the log is a part of the log thread.
#[test]
fn dead_sync_thread_ends_the_process() {
    let relay = Directory::with_log();
    let mut running = relay.start(Some("log_sync"));
    let output = relay.wait_end_of(&mut running, "log_sync");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("injected fault in log_sync"), "{log}");
}

#[test]
fn dead_accept_loop_ends_the_process() {
    let name = "the accept loop of the listener";
    stage_ends_the_process("accept_loop", name, Directory::connect);
}

#[test]
fn dead_admin_loop_ends_the_process() {
    let name = "the accept loop of the admin socket";
    let ask = |relay: &Directory| {
        // Until the socket is there, nothing panics.
        let socket = relay.directory.path().join("data/binrelay.sock");
        let deadline = Deadline::after_secs(30);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(!deadline.passed(), "no admin socket");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    stage_ends_the_process("admin_loop", name, ask);
}

#[test]
fn dead_http_loop_ends_the_process() {
    let name = "the accept loop of the HTTP listener";
    stage_ends_the_process("http_loop", name, |relay| Directory::connect_to(relay.http));
}

#[test]
fn dead_session_ends_only_itself() {
    let relay = Directory::with_log();
    let mut running = relay.start(Some("session"));
    for _ in 0..3 {
        relay.connect();
    }
    relay.wait_until(&mut running, "status answers", |status| {
        status["relay"]["state"] == "running"
    });
    let output = relay.stop(running);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("injected fault in session"), "{log}");
    assert!(log.contains("a client's session"), "{log}");
    assert!(!log.contains("ended unexpectedly"), "{log}");
}
