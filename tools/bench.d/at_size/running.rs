//! A relay that runs on a generated data directory. Nothing answers at the addresses of its sources.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::numbering::SOURCES;
use crate::support::relay::{RelayOptions, SourceOptions};
use crate::support::servers::{free_port, signal, wait_limited};
use crate::support::{Deadline, tail};

/// No start takes longer, in seconds.
const START_SECS_MAX: u64 = 120;
/// The unit of the processor times in `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process.
pub struct Running {
    pub port: u16,
    child: Option<Child>,
}

/// The configuration file of the relay in a directory.
pub fn config(directory: &Path) -> PathBuf {
    directory.join("binrelay.toml")
}

impl Running {
    /// Starts the program, and waits until it greets clients.
    pub fn start(program: &Path, directory: &Path, data: &Path) -> Running {
        let port = free_port();
        write_config(directory, data, port);
        let errors = directory.join("stderr.log");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&errors)
            .expect("a file");
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(config(directory))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("binrelay can be started");
        let mut running = Running {
            port,
            child: Some(child),
        };
        let deadline = Deadline::after_secs(START_SECS_MAX);
        while !is_greeted(port) {
            let child = running.child.as_mut().expect("just started");
            let ended = child.try_wait().expect("it can be waited for");
            let log = || tail(&errors, 20);
            assert!(ended.is_none(), "binrelay run: {ended:?}\n{}", log());
            assert!(!deadline.passed(), "not in {START_SECS_MAX} s\n{}", log());
            sleep(Duration::from_micros(500));
        }
        running
    }

    /// SIGTERM.
    pub fn stop(mut self) {
        let child = self.child.take().expect("it is running");
        signal(&child, rustix::process::Signal::TERM);
        wait_limited(child, Duration::from_secs(20));
    }

    fn proc(&self, name: &str) -> String {
        let child = self.child.as_ref().expect("it is running");
        std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).expect("its status")
    }

    /// A size that the kernel reports.
    pub fn memory_kib(&self, key: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse().ok())
            .expect("its memory")
    }

    /// The most memory that it has held.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// The processor time that it has used.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        // The program's name, in parentheses, may contain spaces; user and system time are fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
        ticks / TICKS_PER_SECOND
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, rustix::process::Signal::KILL);
            let _ = child.wait();
        }
    }
}

fn write_config(directory: &Path, data: &Path, port: u16) {
    let sources = SOURCES.map(|(name, _)| SourceOptions::at(name, free_port()));
    let mut options = RelayOptions::new(sources.to_vec());
    options.replicate_do_db.clear();
    options.log_extra.push("expire_after = \"0\"".to_owned());
    let mut text = options.toml(data, port);
    text.push_str("\n[limits]\nmax_connections = 2000\nmax_connections_per_address = 2000\n");
    let path = config(directory);
    std::fs::write(&path, text).expect("the configuration");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("its mode");
}

/// Whether a server answers at the port. Before it listens, a connection may also be one to itself, if the port is one that
/// the operating system assigns.
fn is_greeted(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let ends = (stream.local_addr().ok(), stream.peer_addr().ok());
    let mut greeting = [0; 5];
    ends.0 != ends.1
        && stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .is_ok()
        && stream.read_exact(&mut greeting).is_ok()
}
