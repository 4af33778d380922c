//! The drivers of `tools/clients`, and what clients received side by side.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::servers::{REPL_PASSWORD, REPL_USER, wait_limited};

/// Time for a client to read everything.
const CLIENT_LIMIT: Duration = Duration::from_secs(12);
/// Begins the last line of a client that failed.
const FAILED: &str = "FAILED:";

/// The command of a client's driver.
pub fn driver(client: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/clients");
    let output = Command::new(&script)
        .args(["argv", client])
        .output()
        .expect("tools/clients can be run");
    assert!(
        output.status.success(),
        "tools/clients argv {client}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let words = String::from_utf8(output.stdout).expect("UTF-8");
    let mut words = words.lines();
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words);
    command
}

/// How a driver is told about a server.
pub fn server(port: u16) -> Value {
    json!({"host": "127.0.0.1", "port": port, "user": REPL_USER, "password": REPL_PASSWORD})
}

/// The same, as an account that may see the tables.
pub fn tables(port: u16) -> Value {
    json!({"host": "127.0.0.1", "port": port, "user": "root", "password": ""})
}

/// Runs a command to its end and returns the lines that it printed, and, if it failed, what it said.
pub fn lines_of(mut command: Command) -> Vec<String> {
    // Into files: a pipe that nobody reads would stop it.
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let errors = tempfile::NamedTempFile::new().expect("a temporary file");
    let child = command
        .stdin(Stdio::null())
        .stdout(out.reopen().expect("it opens"))
        .stderr(errors.reopen().expect("it opens"))
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = wait_limited(child, CLIENT_LIMIT);
    let text = std::fs::read(out.path()).expect("it was written");
    let text = String::from_utf8_lossy(&text).into_owned();
    let said = std::fs::read(errors.path()).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !status.success() {
        let said = String::from_utf8_lossy(&said).into_owned();
        lines.push(format!("{FAILED} {status} {command:?}\n{said}"));
    }
    lines
}

/// A client that waits for more, and is killed at the end.
pub struct Waiting {
    child: Child,
    out: tempfile::NamedTempFile,
}

impl Waiting {
    pub fn start(mut command: Command) -> Waiting {
        let out = tempfile::NamedTempFile::new().expect("a temporary file");
        let child = command
            .stdin(Stdio::null())
            .stdout(out.reopen().expect("it opens"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Waiting { child, out }
    }

    /// All that it has printed.
    pub fn printed(&self) -> Vec<u8> {
        std::fs::read(self.out.path()).expect("it is there")
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Client × what it got from the relay and from the real master.
#[derive(Default)]
pub struct Comparison {
    rows: Vec<(String, usize, usize, bool)>,
    differences: Vec<String>,
}

impl Comparison {
    /// Adds a client that must have received the same.
    pub fn add<T: PartialEq + std::fmt::Debug>(&mut self, client: &str, relay: &[T], master: &[T]) {
        let has_failed = |item: &T| format!("{item:?}").contains(FAILED);
        let is_same = relay == master && !relay.is_empty() && !relay.last().is_some_and(has_failed);
        self.rows
            .push((client.to_owned(), relay.len(), master.len(), is_same));
        println!("{client}: {} {}", relay.len(), master.len());
        if is_same {
            return;
        }
        let longer = relay.len().max(master.len());
        let different = (0..longer).filter(|index| relay.get(*index) != master.get(*index));
        let mut text = format!("{client}:");
        for index in different.take(4) {
            for (side, item) in [("relay ", relay.get(index)), ("master", master.get(index))] {
                let item: String = format!("{item:?}").chars().take(700).collect();
                let _ = write!(text, "\n  {index} {side} {item}");
            }
        }
        println!("{text}");
        self.differences.push(text);
    }

    /// Prints the table; fails where anything differs.
    pub fn finish(self, title: &str) {
        let mut table = format!("\n{title:<58} {:>9} {:>9}\n", "relay", "master");
        for (client, relay, master, is_same) in &self.rows {
            let sign = if *is_same { "=" } else { "≠" };
            let _ = writeln!(table, "{client:<58} {relay:>7} {sign} {master:>9}");
        }
        println!("{table}");
        assert!(
            self.differences.is_empty(),
            "{table}\n{}",
            self.differences.join("\n")
        );
    }
}
