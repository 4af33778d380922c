//! The kinds of servers that the tests run.

use std::fmt;

/// A server that tests run. The two without a number are what most tests use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// MariaDB 10.5.
    MariaDb105,
    /// MariaDB 10.11.
    MariaDb,
    /// MariaDB 11.8.
    MariaDb118,
    /// MySQL 5.6.
    MySql56,
    /// MySQL 9.7.
    MySql,
}

impl Kind {
    /// All kinds, by version.
    pub const ALL: [Kind; 5] = [
        Kind::MariaDb105,
        Kind::MariaDb,
        Kind::MariaDb118,
        Kind::MySql56,
        Kind::MySql,
    ];

    /// The kind with the name that `tools/server` knows; the error lists these names.
    pub fn named(name: &str) -> Result<Kind, String> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("the kinds are {}", Kind::ALL.map(Kind::name).join(", ")))
    }

    /// The name that `tools/server` knows.
    pub fn name(self) -> &'static str {
        match self {
            Kind::MariaDb105 => "mariadb-10.5",
            Kind::MariaDb => "mariadb-10.11",
            Kind::MariaDb118 => "mariadb-11.8",
            Kind::MySql56 => "mysql-5.6",
            Kind::MySql => "mysql-9.7",
        }
    }

    /// The relay's word for it.
    pub fn flavor(self) -> &'static str {
        if self.is_mariadb() {
            "mariadb"
        } else {
            "mysql"
        }
    }

    pub fn is_mariadb(self) -> bool {
        !self.is_mysql()
    }

    pub fn is_mysql(self) -> bool {
        matches!(self, Kind::MySql56 | Kind::MySql)
    }

    /// Whether a DDL statement that SIGKILL hits is afterwards both done and in the binlog, or
    /// neither. Elsewhere such a server differs from its own replicas.
    pub fn has_atomic_ddl(self) -> bool {
        !matches!(self, Kind::MySql56 | Kind::MariaDb105)
    }

    /// Whether its statements say SOURCE and REPLICA, and no longer MASTER and SLAVE.
    pub fn says_replica(self) -> bool {
        self == Kind::MySql
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
