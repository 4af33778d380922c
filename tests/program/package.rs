//! The Debian package on a machine of its own (`tools/container`): installed, run by systemd with the restrictions of its
//! unit, upgraded, removed and purged. Needs root rights; `BINRELAY_PROFILE=long`.
//!
//! That machine has the files of this one: whether the dependencies that the package names suffice on a fresh Debian is
//! not tested. What systemd does when the whole machine starts or stops, and the watchdog, are not tested either.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::standin::recordings::recorded_binlog;
use crate::standin::source::SourceStandin;
use crate::standin::version::Version;
use crate::support::Deadline;
use crate::support::servers::{REPL_PASSWORD, free_port};

const UNIT: &str = "/lib/systemd/system/binrelay.service";
const CONFIG: &str = "/etc/binrelay/binrelay.toml";
/// Versions before and after that of the project, made from the same build.
const OLDER: &str = "0.0.1-1";
const NEWER: &str = "99.0.0-1";

#[test]
#[ignore = "BINRELAY_PROFILE=long"]
fn package_is_installed_upgraded_and_removed() {
    let packages = Packages::build();
    let machine = Machine::boot(&packages.directory);
    machine.install(OLDER, "");
    check_files(&machine);
    // The example was not changed, so its new version replaces it; the owner and the mode stay.
    machine.install("current", "");
    check_files(&machine);
    let text = machine.run(&format!("cat {CONFIG}"));
    assert!(!text.contains(OLDER), "{text}");
    check_unit(&machine);

    let binlog = recorded_binlog("mysql-5.7", "replica-gtid", Version::V57, true);
    let source = SourceStandin::start(binlog, REPL_PASSWORD);
    let port = free_port();
    machine.write(CONFIG, &configuration(source.port, port));
    run_as_a_service(&machine, port);
    let executed = machine.executed();
    assert!(!executed.is_empty());

    upgrade(&machine, port);
    assert_eq!(machine.executed(), executed, "the data are kept");
    upgrade_without_the_configuration(&machine, source.port, port);
    assert_eq!(machine.executed(), executed, "the data are kept");
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
    machine.wait_streaming();
    let process = machine.run("cat /proc/$(systemctl show -p MainPID --value binrelay)/status");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"] {
        assert!(process.contains(line), "{line}: {process}");
    }
    let id = machine.run("id -u binrelay");
    assert!(
        process.contains(&format!("Uid:\t{}\t", id.trim())),
        "{process}"
    );
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
    machine.wait_streaming();
    assert_eq!(
        watch.refused(),
        0,
        "a connection was refused during the restart"
    );
    let second = machine.process();
    assert_ne!(second, first);
    let watch = Watch::begin(port);
    machine.run("systemctl kill --signal=KILL binrelay");
    machine.wait("another process", || {
        !["", "0", second.as_str()].contains(&machine.process().as_str())
    });
    machine.wait_streaming();
    assert_eq!(watch.refused(), 0, "a connection was refused after a crash");
    machine.wait("a client is greeted", || is_greeted(port));
}

/// The administrator has changed the configuration, and so has the package.
fn upgrade(machine: &Machine, port: u16) {
    let before = machine.process();
    let text = machine.run(&format!("cat {CONFIG}"));
    let watch = Watch::begin(port);
    machine.install(NEWER, "--force-confold");
    machine.wait_streaming();
    assert_eq!(
        watch.refused(),
        0,
        "a connection was refused during the upgrade"
    );
    machine.wait("a client is greeted", || is_greeted(port));
    assert_ne!(machine.process(), before, "the new program runs");
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
    machine.install("current", "--force-confold");
    machine.install(NEWER, "--force-confold");
    machine.run(&format!("test ! -e {CONFIG}"));
    assert_eq!(machine.run("stat -c %a /etc/binrelay"), "755\n");
    assert_eq!(machine.state("is-active"), "inactive", "it was stopped");
    machine.write(CONFIG, &configuration(source, port));
    machine.run(&format!(
        "chown root:binrelay {CONFIG}; chmod 640 {CONFIG}; systemctl start binrelay"
    ));
    machine.wait_streaming();
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
    machine.wait_streaming();
    machine.run("dpkg --purge binrelay");
    machine.run(&format!(
        "test ! -e {CONFIG} && test -e /etc/binrelay/m1.password"
    ));
    machine.run("test -s /var/lib/binrelay/relay-bin.index && getent passwd binrelay");
    assert_eq!(machine.state("is-active"), "inactive");
    machine.run("! systemctl list-unit-files | grep binrelay");
}

/// The package of this build, and the same as other versions with other examples of the configuration.
struct Packages {
    directory: TempDir,
}

impl Packages {
    fn build() -> Packages {
        let directory = tempfile::tempdir().expect("a directory");
        let built = directory.path().join("built");
        let output = tool("package").arg("--debug").arg(&built).output();
        assert_success("tools/package", &output.expect("tools/package can be run"));
        let mut found = built.read_dir().expect("a directory");
        let package = found.next().expect("a package").expect("a package").path();
        assert!(found.next().is_none(), "more than one package");
        let packages = Packages { directory };
        std::fs::rename(&package, packages.path("current")).expect("it is renamed");
        for version in [OLDER, NEWER] {
            packages.make(version);
        }
        packages
    }

    fn path(&self, version: &str) -> PathBuf {
        self.directory.path().join(format!("{version}.deb"))
    }

    fn make(&self, version: &str) {
        let files = self.directory.path().join(version);
        let run = |arguments: &[&Path]| {
            let output = Command::new("dpkg-deb").args(arguments).output();
            assert_success("dpkg-deb", &output.expect("dpkg-deb can be run"));
        };
        run(&[Path::new("-R"), &self.path("current"), &files]);
        let change = |path: &str, change: &dyn Fn(String) -> String| {
            let path = files.join(path);
            let text = std::fs::read_to_string(&path).expect("a file of the package");
            std::fs::write(&path, change(text)).expect("it is written");
        };
        change("DEBIAN/control", &|text| {
            let lines = text
                .lines()
                .map(|line| match line.starts_with("Version: ") {
                    true => format!("Version: {version}\n"),
                    false => format!("{line}\n"),
                });
            lines.collect()
        });
        change("etc/binrelay/binrelay.toml", &|text| {
            format!("{text}# of {version}\n")
        });
        run(&[Path::new("-b"), &files, &self.path(version)]);
        std::fs::remove_dir_all(&files).expect("it is removed");
    }
}

/// A machine of its own, until it is dropped.
struct Machine {
    process: Child,
}

impl Machine {
    fn boot(packages: &TempDir) -> Machine {
        let log = packages.path().join("machine.log");
        let log = std::fs::File::create(log).expect("a file");
        let process = tool("container")
            .arg("boot")
            .arg(packages.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("tools/container can be run");
        let machine = Machine { process };
        machine.wait("systemd runs", || {
            let state = machine.try_run("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded"].contains(&state.as_str())
        });
        machine
    }

    fn try_run(&self, script: &str) -> Output {
        tool("container")
            .arg("exec")
            .arg(self.process.id().to_string())
            .args(["sh", "-ec", script])
            .stdin(Stdio::null())
            .output()
            .expect("tools/container can be run")
    }

    /// What a script prints, which must succeed.
    fn run(&self, script: &str) -> String {
        let output = self.try_run(script);
        if !output.status.success() {
            let journal = self.try_run("journalctl --no-pager --lines=40 --unit=binrelay");
            eprintln!("{}", String::from_utf8_lossy(&journal.stdout));
        }
        assert_success(script, &output);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn write(&self, path: &str, text: &str) {
        self.run(&format!("cat >{path} <<'END'\n{text}END\n"));
    }

    /// Without a terminal, and without answers to questions.
    fn install(&self, version: &str, option: &str) {
        self.run(&format!(
            "DEBIAN_FRONTEND=noninteractive dpkg {option} --force-downgrade --install /packages/{version}.deb"
        ));
    }

    /// The answer to `systemctl is-…`.
    fn state(&self, question: &str) -> String {
        let output = self.try_run(&format!("systemctl {question} binrelay"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The process of the service; 0 if there is none.
    fn process(&self) -> String {
        let process = self.run("systemctl show --property=MainPID --value binrelay");
        process.trim().to_owned()
    }

    fn status(&self) -> serde_json::Value {
        let output = self.try_run("binrelay status --json");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The transactions in the relay log.
    fn executed(&self) -> String {
        let status = self.status();
        let executed = status["relay"]["gtid_executed"].as_str();
        executed.unwrap_or_default().to_owned()
    }

    fn wait_streaming(&self) {
        self.wait("the source streams", || {
            self.status()["sources"][0]["state"] == "streaming"
        });
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Deadline::after_secs(60);
        while !is_so() {
            if deadline.passed() {
                let journal = self.try_run("journalctl --no-pager --lines=40 --unit=binrelay");
                let journal = String::from_utf8_lossy(&journal.stdout).into_owned();
                let log =
                    String::from_utf8_lossy(&self.try_run("cat /packages/machine.log").stdout)
                        .into_owned();
                panic!("never: {what}\n{log}\n{journal}");
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

fn tool(name: &str) -> Command {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    Command::new(tools.join(name))
}

fn assert_success(what: &str, output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        output.status.success(),
        "{what}: {}\n{out}{err}",
        output.status
    );
}
