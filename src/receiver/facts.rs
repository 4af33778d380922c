//! A source's own settings, and whether it can be followed.

use super::error::ReceiverError;
use super::gtid_mode::GtidMode;
use super::old_servers::{first_known, is_unknown_variable};
use crate::config::{FilterConfig, SourceConfig, SourceStart};
use crate::connection::Connection;
use crate::connection::client::ServerGreeting;
use crate::filter::{Filter, RuleLists};
use crate::flavor::Flavor;
use crate::identity::IdentityKind;

/// A source's answers to the first questions, on the connection that its dump then uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// `SELECT VERSION()`.
    pub version: String,
    /// `server_id`.
    pub server_id: u32,
    /// `server_uuid`; MariaDB and MySQL 5.5 have none.
    pub server_uuid: Option<String>,
    /// MySQL: whether `gtid_mode` is ON. MariaDB transactions have GTIDs (since 10.0).
    pub has_gtids: bool,
    /// The protection of the connection: version and cipher of TLS and the verification of the
    /// certificate, or `none`.
    pub tls: String,
    /// Whether names of databases and tables are case-insensitive.
    pub folds_case: bool,
    /// MariaDB: `gtid_domain_id`, where `read_only` does not keep clients from writing to it.
    pub writes_to_domain: Option<u32>,
}

impl SourceFacts {
    /// Identifies the server: its server_uuid, or else its server_id.
    pub(super) fn server_key(&self) -> String {
        match &self.server_uuid {
            Some(uuid) => uuid.clone(),
            None => self.server_id.to_string(),
        }
    }

    /// Fails if it is not the server `expected`: the address was moved meanwhile.
    pub(super) fn check_server(&self, expected: &SourceFacts) -> Result<(), ReceiverError> {
        if self.server_id == expected.server_id && self.server_uuid == expected.server_uuid {
            return Ok(());
        }
        Err(ReceiverError::Elsewhere(format!(
            "server_id {} answers at the address, but a moment ago it was {}",
            self.server_id, expected.server_id
        )))
    }

    /// How the source's transactions are identified.
    pub fn identity_kind(&self) -> IdentityKind {
        match (self.flavor, self.has_gtids) {
            (Flavor::MariaDb, _) => IdentityKind::MariaDb,
            (Flavor::MySql, true) => IdentityKind::MySql,
            (Flavor::MySql, false) => IdentityKind::Anonymous,
        }
    }

    /// Whether the source is followed by GTID.
    pub fn follows_by_gtid(&self, config: &SourceConfig) -> bool {
        match (self.flavor, config.auto_position) {
            (_, Some(chosen)) => chosen && self.has_gtids,
            (_, None) if matches!(config.start, SourceStart::FilePosition(_)) => false,
            (Flavor::MySql, None) => self.has_gtids,
            (Flavor::MariaDb, None) => matches!(config.start, SourceStart::Gtid(_)),
        }
    }

    /// Asks the source.
    ///
    /// # Errors
    /// When the connection fails, or the source cannot be followed as it is set up.
    pub async fn ask(
        connection: &mut Connection,
        greeting: &ServerGreeting,
    ) -> Result<Self, ReceiverError> {
        let flavor = greeting.flavor;
        let statements: &[&str] = match flavor {
            Flavor::MySql => &[
                "SELECT @@GLOBAL.server_id, @@GLOBAL.log_bin, @@GLOBAL.lower_case_table_names, \
                 @@GLOBAL.server_uuid, @@GLOBAL.gtid_mode",
                // MySQL 5.6.0 to 5.6.4 has no GTIDs; 5.5 has no UUID either.
                "SELECT @@GLOBAL.server_id, @@GLOBAL.log_bin, @@GLOBAL.lower_case_table_names, \
                 @@GLOBAL.server_uuid",
                "SELECT @@GLOBAL.server_id, @@GLOBAL.log_bin, @@GLOBAL.lower_case_table_names",
            ],
            Flavor::MariaDb => &[
                "SELECT @@GLOBAL.server_id, @@GLOBAL.log_bin, @@GLOBAL.lower_case_table_names, \
                 @@GLOBAL.gtid_domain_id, @@GLOBAL.read_only",
            ],
        };
        let row = match first_known(connection, statements).await {
            Err(ReceiverError::Connection(error))
                if flavor == Flavor::MariaDb && is_unknown_variable(&error) =>
            {
                return Err(ReceiverError::setup(
                    format!(
                        "the source is version {}, which has no GTIDs",
                        greeting.version
                    ),
                    "upgrade it to MariaDB 10.0 or later",
                ));
            }
            row => row?,
        };
        let text = |index: usize| {
            row.get(index)
                .and_then(Option::as_deref)
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                .unwrap_or_default()
        };
        if text(1) != "1" {
            return Err(ReceiverError::setup(
                "binary logging is off on the source (log_bin=OFF)",
                "restart it with log_bin enabled",
            ));
        }
        let server_id = text(0).parse().unwrap_or(0);
        if server_id == 0 {
            return Err(ReceiverError::setup(
                "the source has server_id 0, so it does not send its binlog to replicas",
                "set a unique server_id on the source (SET GLOBAL server_id, and in its \
                 configuration file)",
            ));
        }
        // Newer servers report OFF.
        let is_writable = matches!(text(4).as_str(), "0" | "OFF");
        let (server_uuid, has_gtids, writes_to_domain) = match flavor {
            // MySQL 5.5 has no such variable, and no GTIDs.
            Flavor::MySql => {
                let mode = GtidMode::parse(&text(4)).unwrap_or(GtidMode::Off);
                (Some(text(3)), mode.has_gtids()?, None)
            }
            Flavor::MariaDb => (None, true, text(3).parse().ok().filter(|_| is_writable)),
        };
        Ok(Self {
            flavor,
            version: greeting.version.clone(),
            server_id,
            server_uuid: server_uuid.filter(|uuid| !uuid.is_empty()),
            has_gtids,
            tls: greeting.tls.clone(),
            folds_case: text(2) != "0",
            writes_to_domain,
        })
    }

    /// The configured rules, as they apply to this source.
    pub fn filter(&self, config: &FilterConfig) -> Filter {
        let lists = RuleLists {
            do_db: config.replicate_do_db.clone(),
            ignore_db: config.replicate_ignore_db.clone(),
            do_table: config.replicate_do_table.clone(),
            ignore_table: config.replicate_ignore_table.clone(),
            wild_do_table: config.replicate_wild_do_table.clone(),
            wild_ignore_table: config.replicate_wild_ignore_table.clone(),
            rewrite_db: config.replicate_rewrite_db.clone(),
        };
        match self.is_mysql_55() {
            true => Filter::for_mysql_55(lists),
            false => Filter::new(lists, self.flavor, self.folds_case),
        }
    }

    /// Whether it is a MySQL 5.5 or older, which alone has no `server_uuid`.
    fn is_mysql_55(&self) -> bool {
        self.flavor == Flavor::MySql && self.server_uuid.is_none()
    }

    /// A warning about rules that can never match, with their correction.
    pub fn useless_rules(&self, config: &FilterConfig) -> Option<String> {
        if self.flavor != Flavor::MariaDb || !self.folds_case {
            return None;
        }
        let rewritten = config.replicate_rewrite_db.iter().map(|(from, _)| from);
        let databases = config.replicate_do_db.iter();
        let databases = databases
            .chain(&config.replicate_ignore_db)
            .chain(rewritten);
        let useless: Vec<&str> = databases
            .filter(|name| name.chars().any(char::is_uppercase))
            .map(String::as_str)
            .collect();
        if useless.is_empty() {
            return None;
        }
        Some(format!(
            "rules for the databases {useless:?} never match: the source stores names in lowercase \
             (lower_case_table_names is not 0), and MariaDB compares database names byte by byte; \
             write them in lowercase"
        ))
    }
}
