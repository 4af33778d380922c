//! The relay as the service of the installed package, which systemd runs on a machine of its own.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::machine::Machine;
use super::packages::CURRENT;
use super::relay::{Instance, Place, RelayOptions};
use super::servers::free_port;

const DATA_DIR: &str = "/var/lib/binrelay";

pub struct Service {
    pub machine: Arc<Machine>,
    instance: Instance,
}

impl Service {
    /// Installs the package and configures it; the service is not started.
    pub fn install(machine: Machine, options: &RelayOptions) -> Service {
        let machine = Arc::new(machine);
        machine.install(CURRENT, "");
        let place = Place::Machine(Arc::clone(&machine));
        let instance = Instance {
            port: free_port(),
            place,
        };
        let text = options.toml(Path::new(DATA_DIR), instance.port);
        instance.write_config(&text);
        Service { machine, instance }
    }

    /// Writes a file that the service may read, and no other account.
    pub fn write_secret(&self, path: &Path, text: &str) {
        let path = path.to_str().expect("a UTF-8 path");
        // Renamed, so that it is never read in part.
        let new = format!("{path}.new");
        self.machine.write(&new, text);
        self.machine.run(&format!(
            "chown root:binrelay {new}; chmod 640 {new}; mv {new} {path}"
        ));
    }

    /// `binrelay verify` of its data after a stop; anything but "clean" fails the test.
    pub fn stop_and_verify(&self) {
        self.machine.run("systemctl stop binrelay");
        assert_eq!(self.machine.state("is-failed"), "inactive");
        self.machine.run(&format!("binrelay verify {DATA_DIR}"));
    }
}

impl Deref for Service {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the relay:\n{}", self.log_tail());
        }
    }
}
