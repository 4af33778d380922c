//! The programs of the servers, and child processes in general.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use super::kind::Kind;

/// Where `tools/server` is.
fn script() -> PathBuf {
    std::env::var_os("BINRELAY_TOOLS_SERVER").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/server"),
        PathBuf::from,
    )
}

/// Runs `tools/server` and returns its output; a missing server fails the test.
pub fn tools_server(arguments: &[&str]) -> String {
    let script = script();
    let output = Command::new(&script)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: cannot be run: {error}; tests need real servers",
                script.display()
            )
        });
    assert!(
        output.status.success(),
        "{} {}: {}\n{}",
        script.display(),
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("tools/server prints UTF-8")
}

/// A program of a set of `tools/trade`, which is fetched if it is not in the cache.
pub fn trade(set: &str, program: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/trade");
    let status = Command::new(&script).args(["get", set]).status();
    assert!(
        status.as_ref().is_ok_and(ExitStatus::success),
        "tools/trade get {set}: {status:?}"
    );
    let mut command = Command::new(script);
    command.args(["run", set, program]);
    command
}

/// Gets the servers that are not in the cache yet, which prints its progress.
pub fn get(kinds: &[Kind]) {
    let names = kinds.iter().map(|kind| kind.name());
    let status = Command::new(script()).arg("get").args(names).status();
    assert!(
        status.as_ref().is_ok_and(ExitStatus::success),
        "tools/server get: {status:?}"
    );
}

/// The command that starts one of a kind's programs: server, client, binlog, dump or admin.
pub fn program(kind: Kind, name: &str) -> Command {
    let words = tools_server(&["argv", kind.name(), name]);
    let mut words = words.lines();
    let mut command = Command::new(words.next().expect("tools/server argv prints a program"));
    command.args(words);
    command
}

/// The command that starts a kind's binlog tool, which writes what LOAD DATA statements have read to files in
/// `files`. It never removes them, and fails where there are a thousand, so they must not collect in /tmp.
pub fn binlog_tool(kind: Kind, files: &Path) -> Command {
    let mut command = program(kind, "binlog");
    command.arg(format!("--local-load={}", files.display()));
    command
}

/// A port nothing listens on now. Below the range that the system hands to outgoing connections,
/// so that it is still free when a killed server comes back to it.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = rand::random_range(15_000..32_000);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 15000 and 32000");
}

/// Sends a signal to a child's whole process group, if it has not ended already.
pub fn signal(child: &Child, signal: rustix::process::Signal) {
    let group = rustix::process::Pid::from_child(child);
    rustix::process::kill_process_group(group, signal).ok();
}

/// Waits for a child that was asked to stop; kills and fails when it does not.
pub fn wait_limited(mut child: Child, limit: Duration) -> ExitStatus {
    let started = std::time::Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if started.elapsed() > limit {
            signal(&child, rustix::process::Signal::KILL);
            child.wait().ok();
            // The caller reports it as "ended by signal 9".
            return ExitStatus::from_raw(9);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `BASENAME.NNNNNN` in a directory, sorted.
pub fn numbered_files(directory: &Path, basename: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: cannot be listed: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_prefix(basename)?.strip_prefix('.'))
                .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .collect();
    files.sort();
    files
}
