//! The drivers of `tools/clients`, and what clients received side by side.

use std::fmt::{Debug, Write as _};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::servers::{REPL_PASSWORD, REPL_USER, wait_limited};

/// Time for a client to read everything.
const CLIENT_LIMIT: Duration = Duration::from_secs(60);
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

/// How a driver is given a server.
pub fn server(port: u16) -> Value {
    json!({"host": "127.0.0.1", "port": port, "user": REPL_USER, "password": REPL_PASSWORD})
}

/// The same, as an account that may see the tables.
pub fn tables(port: u16) -> Value {
    json!({"host": "127.0.0.1", "port": port, "user": "root", "password": ""})
}

/// Runs a command to its end and returns the lines of its output and, if it failed, of its stderr.
pub fn lines_of(mut command: Command) -> Vec<String> {
    // Into files: a full pipe would block it.
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

/// Without the comments in quotes: what a server writes in place of an event that a client does
/// not know says something different on each.
pub fn without_comments(lines: &[String]) -> Vec<String> {
    let without = |line: &String| {
        let mut parts = line.split("\"# ");
        let mut result = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            result.push_str("\"# …");
            result.push_str(part.find('"').map_or("", |end| &part[end..]));
        }
        result
    };
    lines.iter().map(without).collect()
}

/// A client's row in the table.
struct Received {
    client: String,
    relay: usize,
    master: usize,
    is_same: bool,
    /// What has to be known about it.
    note: String,
}

/// Client × what it got from the relay and from the real master.
#[derive(Default)]
pub struct Comparison {
    rows: Vec<Received>,
    differences: Vec<String>,
}

impl Comparison {
    /// Adds a client that must have received the same.
    pub fn add<T: PartialEq + Debug>(&mut self, client: &str, relay: &[T], master: &[T]) {
        let has_failed = |item: &T| format!("{item:?}").contains(FAILED);
        let is_whole = !relay.is_empty() && !relay.last().is_some_and(has_failed);
        self.compare(client, relay, master, is_whole, "");
    }

    /// Adds a client that fails by itself at the same place on both sides: it must have received
    /// the same up to there, and say the same.
    pub fn add_until_failure(
        &mut self,
        client: &str,
        relay: &[String],
        master: &[String],
        why: &str,
    ) {
        let [relay, master] = [relay, master].map(|lines| {
            let mut lines = lines.to_vec();
            if let Some(last) = lines.last_mut()
                && last.starts_with(FAILED)
            {
                // The command has the port in it, and the traceback has file names.
                let said = last.trim_end().lines().last().unwrap_or_default();
                *last = format!("{FAILED} {said}");
            }
            lines
        });
        let has_failed = relay.last().is_some_and(|last| last.starts_with(FAILED));
        let is_whole = has_failed && relay.len() > 1;
        self.compare(client, &relay, &master, is_whole, &format!("until {why}"));
    }

    /// Adds a client that a real master itself fails, with an error that has `failure` in it: it
    /// must have received the same up to there. The relay continues.
    pub fn add_until_master_fails(
        &mut self,
        client: &str,
        relay: &[String],
        master: &[String],
        failure: &str,
    ) {
        let at = master.iter().position(|line| line.contains(failure));
        let same = at.unwrap_or(master.len());
        let is_whole = at.is_some() && same > 1 && relay.len() > same;
        let note = format!("until the master's \"{failure} …\"");
        let relay = relay.get(..same).unwrap_or(relay);
        self.compare(client, relay, &master[..same], is_whole, &note);
    }

    /// Adds a client that is known not to receive the same: it is in the table, and not asserted.
    pub fn add_different<T>(&mut self, client: &str, relay: &[T], master: &[T], why: &str) {
        self.rows.push(Received {
            client: client.to_owned(),
            relay: relay.len(),
            master: master.len(),
            is_same: false,
            note: format!("differs: {why}"),
        });
    }

    fn compare<T: PartialEq + Debug>(
        &mut self,
        client: &str,
        relay: &[T],
        master: &[T],
        is_whole: bool,
        note: &str,
    ) {
        let is_same = is_whole && relay == master;
        self.rows.push(Received {
            client: client.to_owned(),
            relay: relay.len(),
            master: master.len(),
            is_same,
            note: note.to_owned(),
        });
        if is_same {
            return;
        }
        let longer = relay.len().max(master.len());
        let mut different: Vec<usize> = (0..longer)
            .filter(|index| relay.get(*index) != master.get(*index))
            .collect();
        if different.is_empty() {
            // Both sides have failed alike.
            different.extend(longer.checked_sub(1));
        }
        let mut text = format!("{client}:");
        for index in different.into_iter().take(4) {
            for (side, item) in [("relay ", relay.get(index)), ("master", master.get(index))] {
                let item = format!("{item:?}");
                // The reason of a failure is at the end.
                let len = item.chars().count();
                let start: String = item.chars().take(700).collect();
                let end: String = item.chars().skip(len.max(1400) - 700).collect();
                let _ = write!(text, "\n  {index} {side} {start} … {end}");
            }
        }
        self.differences.push(text);
    }

    /// Prints the table; fails where anything differs that is not known to.
    pub fn finish(self, title: &str) {
        let mut table = format!("\n{title:<58} {:>9} {:>9}\n", "relay", "master");
        for row in &self.rows {
            let sign = if row.is_same { "=" } else { "≠" };
            let _ = writeln!(
                table,
                "{:<58} {:>7} {sign} {:>9}  {}",
                row.client, row.relay, row.master, row.note
            );
        }
        println!("{table}");
        assert!(
            self.differences.is_empty(),
            "{table}\n{}",
            self.differences.join("\n")
        );
    }
}
