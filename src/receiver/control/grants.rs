//! The privileges of the relay's user on a source, from `SHOW GRANTS`.

use crate::flavor::Flavor;

/// The relay's user on a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// The account that the server chose, quoted: `'repl'@'10.0.0.%'`.
    pub account: String,
    /// Privileges on `*.*`, in upper case.
    global: Vec<String>,
    /// Whether roles are granted: their privileges are not listed.
    has_roles: bool,
}

impl Grants {
    /// Reads the rows of `SHOW GRANTS` for the account that `CURRENT_USER()` names.
    pub(super) fn parse(current_user: &str, rows: &[String]) -> Self {
        let mut grants = Self {
            account: quoted_account(current_user),
            global: Vec::new(),
            has_roles: false,
        };
        for row in rows {
            let Some(granted) = row.strip_prefix("GRANT ") else {
                continue;
            };
            match granted.split_once(" ON ") {
                Some((privileges, on)) if on.starts_with("*.* ") => {
                    let privileges = privileges.split(',');
                    let names = privileges.map(|name| name.trim().to_ascii_uppercase());
                    grants.global.extend(names);
                }
                Some(_) => {}
                None => grants.has_roles = true,
            }
        }
        grants
    }

    /// The statement that grants REPLICATION SLAVE, if the account certainly lacks it.
    pub fn missing_replication_slave(&self) -> Option<String> {
        self.missing(
            &["REPLICATION SLAVE", "REPLICATION REPLICA"],
            "REPLICATION SLAVE",
        )
    }

    /// The statement that grants what the end of the binlog requires (REPLICATION CLIENT; MariaDB
    /// since 10.5: BINLOG MONITOR), if the account certainly lacks it.
    pub fn missing_replication_client(
        &self,
        flavor: Flavor,
        version: (u32, u32, u32),
    ) -> Option<String> {
        let name = match flavor {
            Flavor::MariaDb if version >= (10, 5, 2) => "BINLOG MONITOR",
            Flavor::MariaDb | Flavor::MySql => "REPLICATION CLIENT",
        };
        self.missing(&["REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"], name)
    }

    fn missing(&self, any_of: &[&str], grant: &str) -> Option<String> {
        let has = |name: &String| {
            matches!(name.as_str(), "ALL" | "ALL PRIVILEGES") || any_of.contains(&name.as_str())
        };
        let is_missing = !self.has_roles && !self.global.iter().any(has);
        is_missing.then(|| format!("GRANT {grant} ON *.* TO {}", self.account))
    }
}

/// `repl@10.0.0.%` as a statement needs it. Only the user's name can contain another `@`.
fn quoted_account(current_user: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    match current_user.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", quoted(user), quoted(host)),
        None => quoted(current_user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(rows: &[&str]) -> Grants {
        let rows: Vec<String> = rows.iter().map(|row| (*row).to_owned()).collect();
        Grants::parse("re@l'1@10.0.0.%", &rows)
    }

    const NEW: (u32, u32, u32) = (10, 11, 6);
    const OLD: (u32, u32, u32) = (10, 4, 6);

    #[test]
    fn missing_privileges_are_named_with_the_statement_that_grants_them() {
        let usage = grants(&["GRANT USAGE ON *.* TO `repl`@`%` IDENTIFIED BY PASSWORD '*1'"]);
        let account = "'re@l''1'@'10.0.0.%'";
        assert_eq!(
            usage.missing_replication_slave(),
            Some(format!("GRANT REPLICATION SLAVE ON *.* TO {account}"))
        );
        let client = |flavor, version| usage.missing_replication_client(flavor, version).unwrap();
        assert_eq!(
            client(Flavor::MySql, (9, 7, 0)),
            format!("GRANT REPLICATION CLIENT ON *.* TO {account}")
        );
        assert_eq!(
            client(Flavor::MariaDb, OLD),
            format!("GRANT REPLICATION CLIENT ON *.* TO {account}")
        );
        assert_eq!(
            client(Flavor::MariaDb, NEW),
            format!("GRANT BINLOG MONITOR ON *.* TO {account}")
        );
    }

    #[test]
    fn granted_privileges_are_recognised() {
        for row in [
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'repl'@'%'",
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `repl`@`%`",
            "GRANT ALL PRIVILEGES ON *.* TO 'root'@'localhost' WITH GRANT OPTION",
        ] {
            let grants = grants(&[row]);
            assert_eq!(grants.missing_replication_slave(), None, "{row}");
            let client = grants.missing_replication_client(Flavor::MariaDb, NEW);
            assert_eq!(client, None, "{row}");
        }
    }

    #[test]
    fn privileges_on_one_database_do_not_count() {
        let grants = grants(&[
            "GRANT USAGE ON *.* TO 'repl'@'%'",
            "GRANT ALL PRIVILEGES ON `shop`.* TO 'repl'@'%'",
        ]);
        assert!(grants.missing_replication_slave().is_some());
    }

    #[test]
    fn nothing_is_certainly_missing_where_there_are_roles() {
        let grants = grants(&[
            "GRANT USAGE ON *.* TO `repl`@`%`",
            "GRANT `replicas`@`%` TO `repl`@`%`",
        ]);
        assert_eq!(grants.missing_replication_slave(), None);
    }
}
