//! A machine of its own, with systemd and this machine's network, on which the Debian package is installed: see
//! `tools/container`. Needs root rights.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::packages::{Packages, assert_success, tool};
use super::{Deadline, last_lines, tail};

/// The configuration of the package.
pub const CONFIG: &str = "/etc/binrelay/binrelay.toml";

/// Runs until it is dropped. Only one at a time: two would have the same control groups.
pub struct Machine {
    process: Child,
    /// With what systemd has printed.
    directory: TempDir,
    _packages: Packages,
}

impl Machine {
    pub fn boot() -> Machine {
        let packages = Packages::build();
        let directory = tempfile::tempdir().expect("a directory");
        let log = std::fs::File::create(directory.path().join("machine.log")).expect("a file");
        let process = tool("container")
            .arg("boot")
            .arg(packages.directory())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("tools/container can be run");
        let machine = Machine {
            process,
            directory,
            _packages: packages,
        };
        machine.wait("systemd runs", || {
            let state = machine.try_run("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded"].contains(&state.as_str())
        });
        machine
    }

    /// The command that runs one on it, as root.
    pub fn command(&self, program: &str) -> Command {
        let mut command = tool("container");
        command.arg("exec").arg(self.process.id().to_string());
        command.arg(program).stdin(Stdio::null());
        command
    }

    pub fn try_run(&self, script: &str) -> Output {
        let output = self.command("sh").args(["-ec", script]).output();
        output.expect("tools/container can be run")
    }

    /// What a script prints, which must succeed.
    pub fn run(&self, script: &str) -> String {
        let output = self.try_run(script);
        if !output.status.success() {
            eprintln!("{}", last_lines(&self.journal(), 40));
        }
        assert_success(script, &output);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn write(&self, path: &str, text: &str) {
        self.run(&format!("cat >{path} <<'END'\n{text}END\n"));
    }

    /// Without a terminal, and without answers to questions.
    pub fn install(&self, version: &str, option: &str) {
        self.run(&format!(
            "DEBIAN_FRONTEND=noninteractive dpkg {option} --force-downgrade --install /packages/{version}.deb"
        ));
    }

    /// The version of the package that is installed.
    pub fn version(&self) -> String {
        self.run("dpkg-query --show --showformat='${Version}' binrelay")
    }

    /// The answer to `systemctl is-…`.
    pub fn state(&self, question: &str) -> String {
        let output = self.try_run(&format!("systemctl {question} binrelay"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The process of the service; 0 if there is none.
    pub fn process(&self) -> String {
        let process = self.run("systemctl show --property=MainPID --value binrelay");
        process.trim().to_owned()
    }

    /// Waits until systemd has started another process of the service.
    pub fn wait_for_another(&self, process: &str) {
        self.wait("another process", || {
            !["", "0", process].contains(&self.process().as_str())
        });
    }

    /// The process of the service has the unit's user and restrictions, and is the program that is installed.
    pub fn assert_restricted(&self) {
        let process = self.process();
        let status = self.run(&format!("cat /proc/{process}/status"));
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"] {
            assert!(status.contains(line), "{line}: {status}");
        }
        let id = self.run("id -u binrelay");
        let id = format!("Uid:\t{}\t", id.trim());
        assert!(status.contains(&id), "{id}: {status}");
        self.run(&format!("test /proc/{process}/exe -ef /usr/bin/binrelay"));
    }

    /// What the service has logged, and what systemd has logged about it.
    pub fn journal(&self) -> String {
        let script = "journalctl --no-pager --output=cat --unit=binrelay";
        String::from_utf8_lossy(&self.try_run(script).stdout).into_owned()
    }

    pub fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Deadline::after_secs(60);
        while !is_so() {
            if deadline.passed() {
                let log = tail(&self.directory.path().join("machine.log"), 40);
                panic!("never: {what}\n{log}\n{}", last_lines(&self.journal(), 40));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let stopped = tool("container")
            .arg("stop")
            .arg(self.process.id().to_string())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            self.process.kill().ok();
        }
        self.process.wait().ok();
    }
}
