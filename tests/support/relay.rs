//! The real relay as a child process.

mod instance;
mod measures;
mod options;

use std::fs::File;
use std::net::TcpListener;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::servers::{free_port, numbered_files, signal, wait_limited};
use super::{Deadline, directories};

pub use instance::{Instance, Place};
pub use options::{RELAY_SERVER_ID, RelayOptions, SourceOptions};

/// Where replicas connect to it: not 127.0.0.1, for which MariaDB replicas make exceptions.
pub const RELAY_HOST: &str = "127.0.0.2";

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
    pub options: RelayOptions,
    instance: Instance,
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
        let place = Place::Here {
            program: options.program.clone(),
            directory: path.clone(),
        };
        let mut relay = Relay {
            options,
            instance: Instance { port, place },
            child: None,
            socket,
            directory: Some(directory),
            path,
            peak_kib_before: 0,
        };
        relay.configure();
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

    fn configure(&self) {
        let text = self.options.toml(&self.data_dir(), self.port);
        self.instance.write_config(&text);
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
            .with_socket()
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
    fn with_socket(&self) -> Command {
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
        self.configure();
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

impl Deref for Relay {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl DerefMut for Relay {
    fn deref_mut(&mut self) -> &mut Instance {
        &mut self.instance
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
