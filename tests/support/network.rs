//! Hosts that are network namespaces of Linux, connected with each other and with this machine. Needs root rights.

use std::process::{Child, Command, Stdio};

use super::Deadline;

/// Hosts in one network. It is gone when the last process in it has ended.
pub struct Network {
    /// Has the bridge.
    hub: Namespace,
    /// The third part of the addresses.
    number: u8,
    pub hosts: Vec<Host>,
}

/// A host with the interface `eth0`.
pub struct Host {
    namespace: Namespace,
    pub address: String,
}

/// A network namespace, which a process keeps.
struct Namespace(Child);

impl Namespace {
    fn start() -> Namespace {
        // It ends with the test, however that ends.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--net",
            "sleep",
            "infinity",
        ]);
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .expect("setpriv can be run");
        let namespace = Namespace(child);
        let own = std::fs::read_link("/proc/self/ns/net").expect("network namespaces");
        let deadline = Deadline::after_secs(30);
        while std::fs::read_link(namespace.file()).is_ok_and(|found| found == own) {
            assert!(
                !deadline.passed(),
                "no network namespace: this test needs root rights"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        namespace
    }

    fn file(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// The command in this namespace.
    fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net={}", self.file()));
        inside
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        inside
    }

    fn ip(&self, arguments: &str) {
        let mut command = Command::new("ip");
        command.args(arguments.split(' '));
        run(&mut self.command(&command));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("it can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Network {
    /// So many hosts, at most 50.
    pub fn start(hosts: u8) -> Network {
        let hub = Namespace::start();
        hub.ip("link add bridge type bridge");
        hub.ip("link set bridge up");
        let mut network = Network {
            hub,
            number: 0,
            hosts: Vec::new(),
        };
        network.connect_machine();
        for number in 0..hosts {
            network.add(number);
        }
        network
    }

    /// An address of the network: 1 is this machine, hosts begin at 10, and those from 100 on are free.
    pub fn address(&self, number: u8) -> String {
        // For tests of network devices (RFC 2544).
        format!("198.18.{}.{number}", self.number)
    }

    /// With a number that no other test has at present.
    fn connect_machine(&mut self) {
        let id = self.hub.0.id();
        let ip = |arguments: &str| run(Command::new("ip").args(arguments.split(' ')));
        let deadline = Deadline::after_secs(30);
        let name = loop {
            self.number = rand::random_range(1..250);
            let name = format!("binrelay{}", self.number);
            let add = format!("link add {name} type veth peer name machine netns {id}");
            if std::path::Path::new("/sys/class/net").join(&name).exists() {
                assert!(!deadline.passed(), "every number is in use");
                continue;
            }
            ip(&add);
            break name;
        };
        ip(&format!("address add {}/24 dev {name}", self.address(1)));
        ip(&format!("link set {name} up"));
        self.hub.ip("link set machine master bridge up");
    }

    fn add(&mut self, number: u8) {
        let host = Host {
            namespace: Namespace::start(),
            address: self.address(10 + number),
        };
        let id = host.namespace.0.id();
        self.hub.ip(&format!(
            "link add host{number} type veth peer name eth0 netns {id}"
        ));
        self.hub
            .ip(&format!("link set host{number} master bridge up"));
        host.namespace.ip("link set lo up");
        host.namespace
            .ip(&format!("address add {}/24 dev eth0", host.address));
        host.namespace.ip("link set eth0 up");
        self.hosts.push(host);
    }
}

impl Host {
    /// The command on this host.
    pub fn command(&self, command: &Command) -> Command {
        self.namespace.command(command)
    }

    /// The words with which a command on this host begins.
    pub fn prefix(&self) -> Vec<String> {
        let prefix = self.command(&Command::new("true"));
        let words = std::iter::once(prefix.get_program()).chain(prefix.get_args());
        let mut words: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.pop();
        words
    }

    /// Whether it has this address.
    pub fn has(&self, address: &str) -> bool {
        let mut command = Command::new("ip");
        command.args(["-brief", "address", "show", "dev", "eth0"]);
        let shown = run(&mut self.command(&command));
        shown.contains(&format!(" {address}/"))
    }

    /// Pulls its cable, or plugs it in.
    pub fn connect(&self, is_connected: bool) {
        let state = if is_connected { "up" } else { "down" };
        self.namespace.ip(&format!("link set eth0 {state}"));
    }
}
