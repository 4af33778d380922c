//! Which of the two server families a source, a log or a replica belongs to.

use std::fmt;

/// The server family. It decides the GTID form, the control events of a binlog file and the
/// queries a replica asks; one relay log holds events of one flavor only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// MySQL and Percona Server: `uuid[:tag]:gno` GTIDs.
    MySql,
    /// MariaDB: `domain-server-seq` GTIDs.
    MariaDb,
}

impl Flavor {
    /// The name used in configuration and in status: `mysql` or `mariadb`.
    pub fn name(self) -> &'static str {
        match self {
            Flavor::MySql => "mysql",
            Flavor::MariaDb => "mariadb",
        }
    }

    /// The family of a server by the version string it reports (`SELECT VERSION()`, the greeting
    /// of the handshake, or a format description event).
    pub fn of_version(version: &str) -> Flavor {
        if version.to_ascii_lowercase().contains("mariadb") {
            Flavor::MariaDb
        } else {
            Flavor::MySql
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
