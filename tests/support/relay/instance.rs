//! A relay as its administrators see it, whoever runs it: commands, status, log and port.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::machine::{CONFIG, Machine};
use crate::support::{Deadline, last_lines};

pub struct Instance {
    pub port: u16,
    pub place: Place,
}

/// Where its program runs.
pub enum Place {
    /// On this machine. The directory has the configuration, and the file with what the relay logs.
    Here {
        program: PathBuf,
        directory: PathBuf,
    },
    /// On a machine of its own, as the service of the installed package.
    Machine(Arc<Machine>),
}

impl Instance {
    /// A command of the program, with the relay's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        match &self.place {
            Place::Here { program, directory } => {
                let mut command = Command::new(program);
                command.args(arguments).arg("--config");
                command.arg(directory.join("binrelay.toml"));
                command.stdin(Stdio::null());
                command
            }
            // As an administrator there does, who relies on the default of `--config`.
            Place::Machine(machine) => {
                let mut command = machine.command("binrelay");
                command.args(arguments);
                command
            }
        }
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output();
        output.expect("binrelay can be run")
    }

    /// The text of its configuration.
    pub fn read_config(&self) -> String {
        match &self.place {
            Place::Here { directory, .. } => {
                let text = std::fs::read_to_string(directory.join("binrelay.toml"));
                text.expect("the configuration")
            }
            Place::Machine(machine) => machine.run(&format!("cat {CONFIG}")),
        }
    }

    /// Replaces it; its owner and mode stay.
    pub fn write_config(&self, text: &str) {
        match &self.place {
            Place::Here { directory, .. } => {
                let written = std::fs::write(directory.join("binrelay.toml"), text);
                written.expect("the configuration is written");
            }
            Place::Machine(machine) => machine.write(CONFIG, text),
        }
    }

    pub fn log(&self) -> String {
        match &self.place {
            Place::Here { directory, .. } => {
                let bytes = std::fs::read(directory.join("stderr.log"));
                String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
            }
            Place::Machine(machine) => machine.journal(),
        }
    }

    pub fn log_tail(&self) -> String {
        last_lines(&self.log(), 40)
    }

    pub fn try_status(&self) -> Result<Value, String> {
        let output = self.run(&["status", "--json"]);
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
}
