//! The real relay as a child process.

mod measures;

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::servers::{
    REPL_PASSWORD, REPL_USER, Server, UNPRIVILEGED_USER, free_port, numbered_files, signal,
    wait_limited,
};
use super::{Deadline, directories, tail};

/// The relay's own server_id in every test.
pub const RELAY_SERVER_ID: u32 = 900;
/// Where replicas connect to it: not 127.0.0.1, for which MariaDB replicas make exceptions.
pub const RELAY_HOST: &str = "127.0.0.2";

#[derive(Clone, Debug)]
pub struct SourceOptions {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    /// A file with the password of `user`, instead of that of all tests.
    pub password_file: Option<PathBuf>,
    /// None: `earliest`, the relay's default.
    pub start: Option<String>,
    pub auto_position: Option<bool>,
    /// Further lines of the `[[source]]` section.
    pub extra: Vec<String>,
}

impl SourceOptions {
    pub fn at(name: &str, port: u16) -> SourceOptions {
        SourceOptions {
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            user: REPL_USER.to_owned(),
            password_file: None,
            start: None,
            auto_position: None,
            // A killed master is back within seconds; growing to a minute would only cost time.
            extra: vec![
                "connect_retry = \"200ms\"".to_owned(),
                "connect_retry_max = \"1s\"".to_owned(),
            ],
        }
    }

    pub fn of(name: &str, server: &Server) -> SourceOptions {
        SourceOptions::at(name, server.port)
    }
}

#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The program; the one that was built with the tests unless a measurement compares others.
    pub program: PathBuf,
    pub server_id: u32,
    /// The address in `listen`, as it is written before a port.
    pub listen_on: String,
    /// A port that is free where the program runs, if that is another host.
    pub port: Option<u16>,
    pub sources: Vec<SourceOptions>,
    /// Empty: no filter.
    pub replicate_do_db: Vec<String>,
    /// Further lines of `[relay]` and `[log]`.
    pub relay_extra: Vec<String>,
    pub log_extra: Vec<String>,
    /// Lines of `[admin]`.
    pub admin_extra: Vec<String>,
    /// Accounts beyond the two of all tests, by name and stored hash; they may replicate.
    pub hashed_users: Vec<(String, String)>,
    /// Where its directory is, instead of [`directories::base`].
    pub base: Option<PathBuf>,
    /// Its data directory, instead of one in its directory.
    pub data_dir: Option<PathBuf>,
    /// Whether the listening socket is kept open while the relay is not running, as systemd does with
    /// `FileDescriptorStoreMax=`.
    pub keeps_socket: bool,
    /// Copied into the fresh data directory: for measurements, which must not contain the generation of keys.
    pub data_files: Vec<PathBuf>,
}

impl RelayOptions {
    pub fn new(sources: Vec<SourceOptions>) -> RelayOptions {
        RelayOptions {
            program: env!("CARGO_BIN_EXE_binrelay").into(),
            server_id: RELAY_SERVER_ID,
            listen_on: "0.0.0.0".to_owned(),
            port: None,
            sources,
            replicate_do_db: vec!["test".to_owned()],
            relay_extra: Vec::new(),
            log_extra: Vec::new(),
            admin_extra: Vec::new(),
            hashed_users: Vec::new(),
            base: None,
            data_dir: None,
            keeps_socket: false,
            data_files: Vec::new(),
        }
    }

    /// The configuration file's text.
    pub fn toml(&self, data_dir: &Path, port: u16) -> String {
        let quote = |text: &str| format!("{text:?}");
        let mut text = format!(
            "[relay]\nserver_id = {}\ndata_dir = {}\nlisten = \"{}:{port}\"\n",
            self.server_id,
            quote(&data_dir.display().to_string()),
            self.listen_on
        );
        text.extend(self.relay_extra.iter().map(|line| format!("{line}\n")));
        text.push_str("\n[log]\n");
        text.extend(self.log_extra.iter().map(|line| format!("{line}\n")));
        if !self.replicate_do_db.is_empty() {
            text.push_str(&format!(
                "\n[filter]\nreplicate_do_db = {:?}\n",
                self.replicate_do_db
            ));
        }
        for source in &self.sources {
            let password = match &source.password_file {
                Some(file) => format!("password_file = {file:?}"),
                None => format!("password = {}", quote(REPL_PASSWORD)),
            };
            text.push_str(&format!(
                "\n[[source]]\nname = {}\nhost = {}\nport = {}\nuser = {}\n{password}\n",
                quote(&source.name),
                quote(&source.host),
                source.port,
                quote(&source.user),
            ));
            if let Some(start) = &source.start {
                text.push_str(&format!("start = {}\n", quote(start)));
            }
            if let Some(auto_position) = source.auto_position {
                text.push_str(&format!("auto_position = {auto_position}\n"));
            }
            text.extend(source.extra.iter().map(|line| format!("{line}\n")));
        }
        // A user must have a privilege; this one lacks the one that a replica needs.
        for (name, privileges) in [
            (REPL_USER, "[\"replication\"]"),
            (UNPRIVILEGED_USER, "[\"admin\"]"),
        ] {
            text.push_str(&format!(
                "\n[[user]]\nname = {}\npassword = {}\nprivileges = {privileges}\n",
                quote(name),
                quote(REPL_PASSWORD)
            ));
        }
        if !self.admin_extra.is_empty() {
            text.push_str(&format!("\n[admin]\n{}\n", self.admin_extra.join("\n")));
        }
        for (name, hash) in &self.hashed_users {
            text.push_str(&format!(
                "\n[[user]]\nname = {}\npassword_hash = {}\nprivileges = [\"replication\"]\n",
                quote(name),
                quote(hash)
            ));
        }
        text
    }
}

/// The program under test.
pub fn binrelay() -> Command {
    Command::new(env!("CARGO_BIN_EXE_binrelay"))
}

/// Runs the program to its end and returns what it printed.
pub fn run_binrelay(arguments: &[&str]) -> Output {
    binrelay()
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("binrelay can be run")
}

pub struct Relay {
    pub port: u16,
    pub options: RelayOptions,
    child: Option<Child>,
    /// The listening socket, if it is kept.
    socket: Option<TcpListener>,
    directory: Option<TempDir>,
    path: PathBuf,
    /// The highest VmHWM of processes that have ended already.
    peak_kib_before: u64,
}

impl Relay {
    /// Starts a fresh relay and waits until it answers `status`.
    pub fn start(options: RelayOptions) -> Relay {
        let base = options.base.clone();
        let base = base.unwrap_or_else(|| directories::base().into());
        let directory = tempfile::Builder::new()
            .prefix("br-relay-")
            .tempdir_in(base)
            .expect("a temporary directory");
        let path = directory.path().to_path_buf();
        let port = options.port.unwrap_or_else(free_port);
        let listen = || TcpListener::bind(("0.0.0.0", port)).expect("the port is free");
        let socket = options.keeps_socket.then(listen);
        let mut relay = Relay {
            port,
            options,
            child: None,
            socket,
            directory: Some(directory),
            path,
            peak_kib_before: 0,
        };
        relay.write_config();
        relay.copy_data_files();
        relay.spawn();
        relay
    }

    fn copy_data_files(&self) {
        for file in &self.options.data_files {
            let name = file.file_name().expect("a file's name");
            std::fs::create_dir_all(self.data_dir()).expect("the data directory is created");
            std::fs::copy(file, self.data_dir().join(name)).expect("a data file is copied");
        }
    }

    fn write_config(&self) {
        let text = self.options.toml(&self.data_dir(), self.port);
        std::fs::write(self.config(), text).expect("the configuration is written");
        // It has passwords.
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.config(), mode).expect("its mode is set");
    }

    pub fn config(&self) -> PathBuf {
        self.path.join("binrelay.toml")
    }

    pub fn data_dir(&self) -> PathBuf {
        let own = || self.path.join("data");
        self.options.data_dir.clone().unwrap_or_else(own)
    }

    fn stderr_path(&self) -> PathBuf {
        self.path.join("stderr.log")
    }

    fn spawn(&mut self) {
        if let Err(reason) = self.try_spawn() {
            panic!("binrelay run: {reason}\n{}", self.log_tail());
        }
    }

    fn try_spawn(&mut self) -> Result<(), String> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.stderr_path())
            .expect("the relay's log file opens");
        let child = self
            .command()
            .args(["run", "--config"])
            .arg(self.config())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("binrelay can be started");
        self.child = Some(child);
        let deadline = Deadline::after_secs(30);
        while self.try_status().is_err() {
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait().expect("the relay can be waited for") {
                self.child = None;
                return Err(format!("stopped at its start: {status}"));
            }
            assert!(
                !deadline.passed(),
                "binrelay status: no answer in 30 s\n{}",
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The program, with the listening socket passed as systemd passes it if it is kept.
    fn command(&self) -> Command {
        let Some(socket) = &self.socket else {
            let mut command = Command::new(&self.options.program);
            command.stdin(Stdio::null());
            return command;
        };
        let socket = socket.try_clone().expect("a socket can be duplicated");
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"",
                "sh",
            ])
            .arg(&self.options.program)
            .env("LISTEN_FDS", "1")
            .stdin(OwnedFd::from(socket));
        command
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.stderr_path()).unwrap_or_default()).into_owned()
    }

    fn log_tail(&self) -> String {
        tail(&self.stderr_path(), 40)
    }

    pub fn try_status(&self) -> Result<Value, String> {
        let output = Command::new(&self.options.program)
            .args(["status", "--json", "--config"])
            .arg(self.config())
            .output()
            .expect("binrelay can be run");
        // 3 is "answers, but degraded".
        if !matches!(output.status.code(), Some(0 | 3)) {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{error} in {:?}", String::from_utf8_lossy(&output.stdout)))
    }

    pub fn status(&self) -> Value {
        self.try_status()
            .unwrap_or_else(|error| panic!("binrelay status: {error}"))
    }

    /// One source's part of the status.
    pub fn source_status(&self, name: &str) -> Value {
        let status = self.status();
        let sources = status["sources"].as_array().cloned().unwrap_or_default();
        let found = sources.into_iter().find(|source| source["name"] == name);
        found.unwrap_or_else(|| panic!("no source {name} in {status}"))
    }

    /// Waits until the condition holds for the status.
    pub async fn wait_status(&self, what: &str, secs: u64, condition: impl Fn(&Value) -> bool) {
        let deadline = Deadline::after_secs(secs);
        loop {
            let status = self.status();
            if condition(&status) {
                return;
            }
            assert!(!deadline.passed(), "not in {secs} s: {what}: {status:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn wait_streaming(&self) {
        self.wait_status("every source is streaming", 30, |status| {
            let sources = status["sources"].as_array().cloned().unwrap_or_default();
            !sources.is_empty() && sources.iter().all(|source| source["state"] == "streaming")
        })
        .await;
    }

    /// The process, which must be running.
    pub fn child(&self) -> &Child {
        self.child.as_ref().expect("the relay is running")
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.peak_kib_before = self.rss_peak_kib();
        let mut child = self.child.take().expect("the relay is running");
        signal(&child, rustix::process::Signal::KILL);
        child.wait().expect("the relay can be waited for");
    }

    /// SIGTERM; the relay must end by itself and with 0.
    pub fn terminate(&mut self) {
        self.peak_kib_before = self.rss_peak_kib();
        let child = self.child.take().expect("the relay is running");
        signal(&child, rustix::process::Signal::TERM);
        let status = wait_limited(child, Duration::from_secs(20));
        assert!(
            status.success(),
            "binrelay after SIGTERM: {status}\n{}",
            self.log_tail()
        );
    }

    /// Starts it again after `kill9` or `terminate`: same port, same data.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the relay is still running");
        self.spawn();
    }

    /// As `restart`; the reason where it stops by itself, for example without space on its disk.
    pub fn try_restart(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "the relay is still running");
        self.try_spawn()
    }

    /// Whether it was started, and not ended by the test.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// As `restart`, with other sources.
    pub fn restart_with(&mut self, sources: Vec<SourceOptions>) {
        self.options.sources = sources;
        self.write_config();
        self.restart();
    }

    pub fn assert_running(&mut self) {
        let child = self.child.as_mut().expect("the relay was started");
        if let Some(status) = child.try_wait().expect("the relay can be waited for") {
            self.child = None;
            panic!("binrelay run: ended: {status}\n{}", self.log_tail());
        }
    }

    /// `binrelay verify` of a stopped relay's data; anything but "clean" fails the test.
    pub fn verify(&self) {
        assert!(self.child.is_none(), "verify needs a stopped relay");
        let data_dir = self.data_dir();
        let output = run_binrelay(&["verify", data_dir.to_str().expect("a UTF-8 path")]);
        assert!(
            output.status.success(),
            "binrelay verify: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Leaves its data where they are when it ends.
    pub fn keep(&mut self) -> &Path {
        if let Some(directory) = self.directory.take() {
            let _ = directory.keep();
        }
        &self.path
    }

    /// Its binlog files, oldest first.
    pub fn log_files(&self) -> Vec<PathBuf> {
        numbered_files(&self.data_dir(), "relay-bin")
    }
}

impl AsRef<Relay> for Relay {
    fn as_ref(&self) -> &Relay {
        self
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, rustix::process::Signal::KILL);
            child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!(
                "---- the relay, kept in {}:\n{}",
                self.path.display(),
                self.log_tail()
            );
            if let Some(directory) = self.directory.take() {
                let _ = directory.keep();
            }
        }
    }
}
