//! keepalived, which moves an address between hosts ([`super::network`]). It comes from `tools/trade`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::Deadline;
use super::network::{Host, Network};
use super::programs::{signal, trade};

/// For a move of the address.
const LIMIT_SECS: u64 = 120;

/// A host that may have the address.
pub struct Owner<'a> {
    pub host: &'a Host,
    /// Of the hosts whose check succeeds, the one with the highest priority has the address.
    pub priority: u8,
    /// How long it waits before it takes the address from a host with a lower priority.
    pub preempt_delay_secs: u64,
}

/// keepalived on one host; killed with the test.
pub struct Keepalived {
    child: Child,
    log: PathBuf,
}

impl Keepalived {
    /// `check` is the command that succeeds while the host may have the address. Its files are in `directory`.
    pub fn start(owner: &Owner<'_>, address: &str, check: &str, directory: &Path) -> Keepalived {
        let Owner {
            host,
            priority,
            preempt_delay_secs,
        } = owner;
        let file = |what: &str| directory.join(format!("keepalived-{priority}.{what}"));
        let text = format!(
            "global_defs {{\n script_user root\n enable_script_security\n}}\n\
             vrrp_script check {{\n script \"{check}\"\n interval 1\n timeout 3\n fall 2\n rise 2\n}}\n\
             vrrp_instance address {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {priority}\n \
             advert_int 1\n preempt_delay {preempt_delay_secs}\n virtual_ipaddress {{\n  {address}/24\n }}\n track_script {{\n  check\n }}\n}}\n"
        );
        std::fs::write(file("conf"), text).expect("written");
        let mut program = trade("administration", "keepalived");
        program.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]);
        program.arg(file("conf"));
        program.arg(format!("--pid={}", file("pid").display()));
        program.arg(format!("--vrrp_pid={}", file("vrrp-pid").display()));
        let log = std::fs::File::create(file("log")).expect("a file");
        let child = host
            .command(&program)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("keepalived can be started");
        Keepalived {
            child,
            log: file("log"),
        }
    }

    pub fn log(&self) -> String {
        super::tail(&self.log, 20)
    }
}

/// Waits until only host `number` of the two has the address.
pub async fn wait_for_address(
    network: &Network,
    keepalived: &[Keepalived; 2],
    address: &str,
    number: usize,
) {
    let deadline = Deadline::after_secs(LIMIT_SECS);
    let [host, other] = [number, 1 - number].map(|number| &network.hosts[number]);
    while !host.has(address) || other.has(address) {
        let logs = keepalived.each_ref().map(Keepalived::log);
        assert!(
            !deadline.passed(),
            "host {number} does not get the address: {logs:#?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        signal(&self.child, rustix::process::Signal::KILL);
        self.child.wait().ok();
    }
}
