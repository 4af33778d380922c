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
    /// MySQL 5.5, which a variable must name.
    MySql55,
    /// MySQL 5.6.
    MySql56,
    /// MySQL 5.7, which a variable must name.
    MySql57,
    /// MySQL 9.7.
    MySql,
}

impl Kind {
    /// All kinds, by version.
    pub const ALL: [Kind; 7] = [
        Kind::MariaDb105,
        Kind::MariaDb,
        Kind::MariaDb118,
        Kind::MySql55,
        Kind::MySql56,
        Kind::MySql57,
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
            Kind::MySql55 => "mysql-5.5",
            Kind::MySql56 => "mysql-5.6",
            Kind::MySql57 => "mysql-5.7",
            Kind::MySql => "mysql-9.7",
        }
    }

    /// The variable that names the base directory of an installed server, for kinds that
    /// `tools/server` cannot fetch.
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Kind::MySql55 => Some("BINRELAY_SERVER_MYSQL_5_5"),
            Kind::MySql57 => Some("BINRELAY_SERVER_MYSQL_5_7"),
            _ => None,
        }
    }

    /// The variable that must name a server of this kind and is not set.
    pub fn missing_variable(self) -> Option<&'static str> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|path| !path.is_empty());
        self.variable().filter(|name| !is_set(name))
    }

    /// The kinds of which there is a server: all but those whose variable is not set.
    pub fn available() -> impl Iterator<Item = Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(|kind| kind.missing_variable().is_none())
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
        matches!(
            self,
            Kind::MySql55 | Kind::MySql56 | Kind::MySql57 | Kind::MySql
        )
    }

    /// Whether its transactions can have GTIDs.
    pub fn has_gtids(self) -> bool {
        self != Kind::MySql55
    }

    /// Whether its CREATE USER and default binlog format are those of the time before MySQL 5.7.
    pub fn is_before_57(self) -> bool {
        matches!(self, Kind::MySql55 | Kind::MySql56)
    }

    /// Whether it keeps the AUTO_INCREMENT counter in memory only, so that it may give a number
    /// twice after SIGKILL (seen).
    pub fn forgets_auto_increment(self) -> bool {
        matches!(self, Kind::MySql55 | Kind::MySql56 | Kind::MySql57)
    }

    /// Whether its position as a replica survives SIGKILL with exactly the transactions that it has
    /// applied. MySQL 5.5 writes it to a file after each commit; for MariaDB see
    /// `resume_from_peer`.
    pub fn keeps_position(self) -> bool {
        self.is_mysql() && self != Kind::MySql55
    }

    /// Whether a DDL statement that SIGKILL hits is afterwards both done and in the binlog, or
    /// neither. Elsewhere such a server differs from its own replicas.
    pub fn has_atomic_ddl(self) -> bool {
        !matches!(
            self,
            Kind::MySql55 | Kind::MySql56 | Kind::MySql57 | Kind::MariaDb105
        )
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
