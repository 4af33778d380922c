//! Two masters on hosts of their own, the relay, its replica, and MHA on this machine.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::Deadline;
use crate::support::load::create_tables;
use crate::support::network::{Host, Network};
use crate::support::programs::{program, signal, trade, wait_limited};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{attach, retry_each_second, settle};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions};
use crate::support::topology::{Mode, replica_options};

/// No program of MHA needs longer here.
const LIMIT: Duration = Duration::from_secs(180);
/// MHA's account on the masters.
const USER: &str = "mha";
const PASSWORD: &str = "mha-secret";

pub struct Stage {
    pub kind: Kind,
    pub m1: Server,
    /// M1's replica, which MHA makes the master.
    pub m2: Server,
    pub relay: Relay,
    pub replica: Server,
    _sshd: Vec<Sshd>,
    network: Network,
    directory: TempDir,
}

impl Stage {
    pub async fn start(kind: Kind, gtid: bool) -> Stage {
        let directory = TempDir::new_in("/tmp").expect("a directory that MHA sees");
        let network = Network::start(2);
        let sshd = start_sshd(&network, directory.path());
        write_clients(kind, directory.path());
        let master = |number: usize, server_id| {
            let mut options = ServerOptions::new(server_id).extra("--bind-address=0.0.0.0");
            options.binlog_format = Some("ROW");
            options.gtid = gtid;
            options.prefix = network.hosts[number].prefix();
            Server::start(kind, options)
        };
        let mut of_replica = replica_options(kind, 11);
        of_replica.gtid = gtid;
        let replica = Server::start(kind, of_replica);
        let (m1, m2, replica) = tokio::join!(master(0, 86), master(1, 18), replica);
        for server in [&m1, &m2] {
            let account = format!(
                "SET sql_log_bin = 0; GRANT ALL ON *.* TO {USER}@'%' IDENTIFIED BY '{PASSWORD}' WITH GRANT OPTION"
            );
            server.sql(&account).await;
        }
        let mode = mode(kind, gtid);
        let host = |number: usize| network.hosts[number].address.clone();
        let extra = retry_each_second(kind);
        let at = mode.start_at("mysql-bin");
        attach(&m2, &host(0), m1.port, &at, extra).await;
        let source = |name, number, port| SourceOptions {
            host: host(number),
            auto_position: mode.auto_position(),
            ..SourceOptions::at(name, port)
        };
        let sources = vec![source("m1", 0, m1.port), source("m2", 1, m2.port)];
        let mut options = RelayOptions::new(sources);
        options.admin_extra = vec![format!(
            "[[user]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\nprivileges = [\"admin\", \"replication\"]"
        )];
        let relay = Relay::start(options);
        relay.wait_streaming().await;
        let at = mode.start_at("relay-bin");
        attach(&replica, RELAY_HOST, relay.port, &at, extra).await;
        create_tables(&m1, "").await;
        settle(&[&m1], &[&m2, &replica], 60).await;
        let stage = Stage {
            kind,
            m1,
            m2,
            relay,
            replica,
            _sshd: sshd,
            network,
            directory,
        };
        let gtid_of_mysql = gtid && kind.is_mysql();
        stage.write_configuration("mha.cnf", gtid_of_mysql, "");
        let relay = format!(
            "[server3]\nhostname={}\nport={}\nno_master=1\nignore_fail=1\n",
            stage.network.address(1),
            stage.relay.port
        );
        stage.write_configuration("listed.cnf", gtid_of_mysql, &relay);
        stage
    }

    /// MHA's configuration. By GTID it does not look for what is only in the dead master's binlog, unless that host
    /// is a binlog server.
    fn write_configuration(&self, name: &str, has_binlog_server: bool, more: &str) {
        let file = |what: &str| self.directory.path().join(what).display().to_string();
        let mut text = format!(
            "[server default]\nuser={USER}\npassword={PASSWORD}\nrepl_user={REPL_USER}\nrepl_password={REPL_PASSWORD}\n\
             ssh_user=root\nssh_options=-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i {}\n\
             manager_workdir={}\nremote_workdir={}\nclient_bindir={}\nping_interval=1\n",
            file("key"),
            file("manager"),
            file("remote"),
            file("bin"),
        );
        let hosts = self.network.hosts.iter();
        for (number, (host, server)) in hosts.zip([&self.m1, &self.m2]).enumerate() {
            let section = format!(
                "hostname={}\nmaster_binlog_dir={}\n",
                host.address,
                server.data_dir().display()
            );
            let (id, port) = (number + 1, server.port);
            text.push_str(&format!("[server{id}]\nport={port}\n{section}"));
            if has_binlog_server && number == 0 {
                text.push_str(&format!("[binlog1]\n{section}"));
            }
        }
        text.push_str(more);
        std::fs::write(file(name), text).expect("the configuration is written");
    }

    /// What an administrator has MHA check: it reaches all hosts by ssh, and replication is as it must be. With the
    /// relay, which has two sources, among MHA's servers it is not.
    pub fn check(&self) {
        let run = |name, configuration| self.ended(self.start_program(name, configuration, &[]));
        // Its exit status means nothing.
        let (_, text) = run("masterha_check_ssh", "mha.cnf");
        has(&text, "All SSH connection tests passed successfully");
        let (is_good, text) = run("masterha_check_repl", "mha.cnf");
        assert!(is_good, "{text}");
        has(&text, "MySQL Replication Health is OK");
        let (is_good, text) = run("masterha_check_repl", "listed.cnf");
        assert!(!is_good, "{text}");
        has(&text, "There are 2 non-slave servers!");
    }

    /// The program that notices that the master is dead, and makes M2 the master.
    pub fn start_manager(&self) -> Child {
        let manager =
            self.start_program("masterha_manager", "mha.cnf", &["--ignore_last_failover"]);
        let deadline = Deadline::after_secs(LIMIT.as_secs());
        while !self
            .output()
            .contains("waiting until MySQL doesn't respond")
        {
            assert!(!deadline.passed(), "{}", self.output());
            std::thread::sleep(Duration::from_millis(100));
        }
        manager
    }

    /// Waits until the manager has ended, because it has done its work.
    pub fn fails_over(&self, manager: Child) {
        let (is_good, text) = self.ended(manager);
        println!("{text}");
        assert!(is_good, "{text}");
        has(&text, "completed successfully");
    }

    /// Starts a program of MHA.
    fn start_program(&self, name: &str, configuration: &str, arguments: &[&str]) -> Child {
        let file = |what: &str| self.directory.path().join(what);
        let program = trade("administration", name);
        // It ends with the test, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        command.arg(program.get_program()).args(program.get_args());
        command.arg("--global_conf=/dev/null");
        command.arg(format!("--conf={}", file(configuration).display()));
        command.args(arguments);
        let output = std::fs::File::create(file("output")).expect("a file");
        let stderr = output.try_clone().expect("a handle");
        command.stdin(Stdio::null()).stdout(output).stderr(stderr);
        command.process_group(0).spawn().expect("it can be run")
    }

    /// What the program has printed.
    fn output(&self) -> String {
        let text = std::fs::read(self.directory.path().join("output")).expect("its output");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits for its end, and returns whether it has succeeded, and what it has printed.
    fn ended(&self, child: Child) -> (bool, String) {
        let status = wait_limited(child, LIMIT);
        (status.success(), format!("{}\n{status}", self.output()))
    }

    /// What the relay has is sound, and it followed without anybody's help.
    pub fn finish(&mut self) {
        let source = self.relay.source_status("m2");
        assert_eq!(source["state"], "streaming", "{source:#}");
        self.relay.terminate();
        self.relay.verify();
    }
}

fn mode(kind: Kind, gtid: bool) -> Mode {
    match (kind.is_mariadb(), gtid) {
        (true, _) => Mode::MariaDbFilePosition,
        (false, true) => Mode::MySqlAutoPosition,
        (false, false) => Mode::MySqlNoGtids,
    }
}

/// Fails if the part is missing.
pub fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in:\n{text}");
}

/// The ssh server of a host.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        signal(&self.0, rustix::process::Signal::KILL);
        self.0.wait().ok();
    }
}

/// All hosts have the same keys.
fn start_sshd(network: &Network, directory: &Path) -> Vec<Sshd> {
    let file = |what: &str| directory.join(what).display().to_string();
    for key in ["host_key", "key"] {
        let mut command = trade("administration", "ssh-keygen");
        let arguments = ["-q", "-t", "ed25519", "-N", "", "-f"];
        let status = command.args(arguments).arg(file(key)).status();
        assert!(status.is_ok_and(|status| status.success()), "ssh-keygen");
    }
    let text = format!(
        "Port 22\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
         PermitRootLogin prohibit-password\nPidFile none\nSubsystem sftp internal-sftp\n",
        file("host_key"),
        file("key.pub")
    );
    std::fs::write(file("sshd_config"), text).expect("written");
    let start = |host: &Host| {
        let mut program = trade("administration", "/usr/sbin/sshd");
        program.args(["-D", "-e", "-f", &file("sshd_config")]);
        let log = std::fs::File::create(file(&format!("sshd-{}.log", host.address)));
        let child = host
            .command(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a file"))
            .process_group(0)
            .spawn()
            .expect("sshd can be started");
        Sshd(child)
    };
    network.hosts.iter().map(start).collect()
}

/// The clients that MHA uses: its set's own `mysql`, and the servers' binlog tool, which reaches its files through /proc,
/// because MHA's programs have another root directory.
fn write_clients(kind: Kind, directory: &Path) {
    let bin = directory.join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    let command = program(kind, "binlog");
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let root = format!("/proc/{}/root/", std::process::id());
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().replacen('/', &root, 1))
        .collect();
    let mut binlog_tool = format!("{} \"$@\"", words.join(" "));
    if kind == Kind::MySql56 {
        // The tool is a newer one, and 5.6 refuses statements for later versions between two transactions with GTIDs.
        binlog_tool.push_str(" | sed '/^[/][*]!8/d'");
    }
    for (name, command) in [
        ("mysql", "/usr/bin/mysql \"$@\""),
        ("mysqlbinlog", &binlog_tool),
    ] {
        let file = bin.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{command}\n")).expect("written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&file, mode).expect("its mode is set");
    }
}
