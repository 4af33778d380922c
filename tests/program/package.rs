//! The Debian package on a machine of its own (`tools/container`): installed, run by systemd with the restrictions of its
//! unit, upgraded, removed and purged. Needs root rights; `BINRELAY_PROFILE=long`.
//!
//! That machine has the files of this one: whether the dependencies that the package names suffice on a fresh Debian is
//! not tested. What systemd does when the whole machine starts or stops, and the watchdog, are not tested either.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::standin::recordings::recorded_binlog;
use crate::standin::source::SourceStandin;
use crate::standin::version::Version;
use crate::support::machine::{CONFIG, Machine};
use crate::support::packages::{CURRENT, NEWER, OLDER};
use crate::support::servers::{REPL_PASSWORD, free_port};

const UNIT: &str = "/lib/systemd/system/binrelay.service";

#[test]
#[ignore = "BINRELAY_PROFILE=long"]
fn package_is_installed_upgraded_and_removed() {
    let machine = Machine::boot();
    machine.install(OLDER, "");
    check_files(&machine);
    // The example was not changed, so its new version replaces it; the owner and the mode stay.
    machine.install(CURRENT, "");
    check_files(&machine);
    let text = machine.run(&format!("cat {CONFIG}"));
    assert!(!text.contains(OLDER), "{text}");
    check_unit(&machine);

    let binlog = recorded_binlog("mysql-5.7", "replica-gtid", Version::V57, true);
    let source = SourceStandin::start(binlog, REPL_PASSWORD);
    let port = free_port();
    machine.write(CONFIG, &configuration(source.port, port));
    run_as_a_service(&machine, port);
    let before = executed(&machine);
    assert!(!before.is_empty());

    upgrade(&machine, port);
    assert_eq!(executed(&machine), before, "the data are kept");
    upgrade_without_the_configuration(&machine, source.port, port);
    assert_eq!(executed(&machine), before, "the data are kept");
    remove(&machine);
}

fn configuration(source: u16, listen: u16) -> String {
    format!(
        "[relay]\nserver_id = 900\ndata_dir = \"/var/lib/binrelay\"\nlisten = \"127.0.0.1:{listen}\"\n\
         [[source]]\nname = \"m1\"\nhost = \"127.0.0.1\"\nport = {source}\nuser = \"repl\"\n\
         password = \"{REPL_PASSWORD}\"\nconnect_retry = \"200ms\"\nconnect_retry_max = \"1s\"\n\
         [[user]]\nname = \"repl\"\npassword = \"{REPL_PASSWORD}\"\n"
    )
}

fn check_files(machine: &Machine) {
    let modes = machine.run(&format!(
        "stat -c '%A %U:%G %n' /etc/binrelay {CONFIG} /var/lib/binrelay /usr/bin/binrelay {UNIT}"
    ));
    let expected = format!(
        "drwxr-x--- root:binrelay /etc/binrelay\n-rw-r----- root:binrelay {CONFIG}\n\
         drwxr-x--- binrelay:binrelay /var/lib/binrelay\n-rwxr-xr-x root:root /usr/bin/binrelay\n\
         -rw-r--r-- root:root {UNIT}\n"
    );
    assert_eq!(modes, expected);
    let account = machine.run("getent passwd binrelay; id -G binrelay");
    let fields: Vec<&str> = account.trim().split([':', '\n']).collect();
    assert_eq!(fields[5..7], ["/var/lib/binrelay", "/usr/sbin/nologin"]);
    assert!(
        fields[2].parse::<u32>().is_ok_and(|id| id < 1000),
        "{account}"
    );
    assert_eq!(fields[3], fields[7], "it has no other group: {account}");
    for file in [
        "/usr/share/man/man1/binrelay-run.1.gz",
        "/usr/share/bash-completion/completions/binrelay",
        "/usr/share/doc/binrelay/examples/dual-master.toml",
        "/usr/share/doc/binrelay/copyright",
    ] {
        machine.run(&format!("test -s {file}"));
    }
    // An administrator starts it, once it is configured.
    assert_eq!(machine.state("is-enabled"), "disabled");
    assert_eq!(machine.state("is-active"), "inactive");
}

fn check_unit(machine: &Machine) {
    let found = machine.run(&format!("systemd-analyze verify {UNIT} 2>&1 || true"));
    let about: Vec<&str> = found
        .lines()
        .filter(|line| line.contains("binrelay"))
        .collect();
    assert!(about.is_empty(), "{about:?}");
    // 0 is safest, 100 has no restriction.
    machine.run("systemd-analyze security --threshold=20 --no-pager binrelay.service");
}

fn run_as_a_service(machine: &Machine, port: u16) {
    machine.run("runuser -u binrelay -- binrelay check || [ $? = 3 ]");
    machine.run("systemctl enable --now binrelay");
    wait_streaming(machine);
    machine.assert_restricted();
    machine.wait("a client is greeted", || is_greeted(port));

    let first = machine.process();
    machine.run("systemctl reload binrelay");
    machine.run(&format!(
        "echo broken >>{CONFIG} && ! systemctl reload binrelay && sed -i '$d' {CONFIG}"
    ));
    assert_eq!(machine.process(), first, "a reload is not a restart");

    // Replicas that connect meanwhile wait.
    let watch = Watch::begin(port);
    machine.run("systemctl restart binrelay");
    wait_streaming(machine);
    assert_eq!(
        watch.refused(),
        0,
        "a connection was refused during the restart"
    );
    let second = machine.process();
    assert_ne!(second, first);
    let watch = Watch::begin(port);
    machine.run("systemctl kill --signal=KILL binrelay");
    machine.wait_for_another(&second);
    wait_streaming(machine);
    assert_eq!(watch.refused(), 0, "a connection was refused after a crash");
    machine.wait("a client is greeted", || is_greeted(port));
}

/// The administrator has changed the configuration, and so has the package.
fn upgrade(machine: &Machine, port: u16) {
    let before = machine.process();
    let text = machine.run(&format!("cat {CONFIG}"));
    let watch = Watch::begin(port);
    machine.install(NEWER, "--force-confold");
    wait_streaming(machine);
    assert_eq!(
        watch.refused(),
        0,
        "a connection was refused during the upgrade"
    );
    machine.wait("a client is greeted", || is_greeted(port));
    assert_ne!(machine.process(), before, "the new program runs");
    assert_eq!(machine.version(), NEWER);
    assert_eq!(machine.run(&format!("cat {CONFIG}")), text);
    let modes = machine.run(&format!("stat -c '%a %U:%G' {CONFIG}"));
    assert_eq!(modes, "640 root:binrelay\n");
    let offered = machine.run(&format!("cat {CONFIG}.dpkg-dist"));
    assert!(offered.contains(NEWER), "{offered}");
    assert_eq!(machine.state("is-enabled"), "enabled");
}

/// The file was removed, the directory's mode was changed, and there are files of the administrator's.
fn upgrade_without_the_configuration(machine: &Machine, source: u16, port: u16) {
    machine.run(&format!(
        "systemctl stop binrelay; rm {CONFIG}; chmod 0755 /etc/binrelay; touch /etc/binrelay/m1.password"
    ));
    machine.install(CURRENT, "--force-confold");
    machine.install(NEWER, "--force-confold");
    machine.run(&format!("test ! -e {CONFIG}"));
    assert_eq!(machine.run("stat -c %a /etc/binrelay"), "755\n");
    assert_eq!(machine.state("is-active"), "inactive", "it was stopped");
    machine.write(CONFIG, &configuration(source, port));
    machine.run(&format!(
        "chown root:binrelay {CONFIG}; chmod 640 {CONFIG}; systemctl start binrelay"
    ));
    wait_streaming(machine);
}

fn remove(machine: &Machine) {
    machine.run("dpkg --remove binrelay");
    assert_eq!(machine.state("is-active"), "inactive");
    machine.run(&format!(
        "test ! -e /usr/bin/binrelay && test ! -e {UNIT} && test -e {CONFIG}"
    ));
    machine.run("test -s /var/lib/binrelay/relay-bin.index");
    // Installed again, it is what it was.
    machine.install(NEWER, "--force-confold");
    assert_eq!(machine.state("is-enabled"), "enabled");
    machine.run("systemctl start binrelay");
    wait_streaming(machine);
    machine.run("dpkg --purge binrelay");
    machine.run(&format!(
        "test ! -e {CONFIG} && test -e /etc/binrelay/m1.password"
    ));
    machine.run("test -s /var/lib/binrelay/relay-bin.index && getent passwd binrelay");
    assert_eq!(machine.state("is-active"), "inactive");
    machine.run("! systemctl list-unit-files | grep binrelay");
}

fn status(machine: &Machine) -> serde_json::Value {
    let output = machine.try_run("binrelay status --json");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// The transactions in the relay log.
fn executed(machine: &Machine) -> String {
    let status = status(machine);
    let executed = status["relay"]["gtid_executed"].as_str();
    executed.unwrap_or_default().to_owned()
}

fn wait_streaming(machine: &Machine) {
    machine.wait("the source streams", || {
        status(machine)["sources"][0]["state"] == "streaming"
    });
}

/// Connects all the time.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<usize>,
}

impl Watch {
    fn begin(port: u16) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut refused = 0;
            while !stopped.load(Ordering::Relaxed) {
                refused += usize::from(TcpStream::connect(("127.0.0.1", port)).is_err());
                std::thread::sleep(Duration::from_millis(10));
            }
            refused
        });
        Watch { stop, thread }
    }

    /// How many connections were refused.
    fn refused(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it ends")
    }
}

/// Whether the relay greets a client, which may have to wait for it.
fn is_greeted(port: u16) -> bool {
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it is listened on");
    let limit = Duration::from_secs(20);
    client.set_read_timeout(Some(limit)).expect("a limit");
    let mut head = [0; 5];
    // Version 10 of the protocol, after the packet's header.
    client.read_exact(&mut head).is_ok() && head[4] == 10
}
