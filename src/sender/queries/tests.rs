//! The exact answers to the statements of replicas and clients.

use super::*;
use crate::relay_log::ReplicaWait;
use crate::sender::StatementLimits;
use crate::sender::environment::HostNames;
use crate::sender::login::Privileges;
use crate::sender::replicas::Replicas;
use crate::sender::source_changes::{ChangedSources, SourceChanges};
use crate::sender::source_rows::{SourceRow, SourceRows};
use crate::sender::tests::fixture::{
    RELAY_UUID, SERVER_ID, TestLog, UUID, WRITE_TIMEOUT, host_names,
};
use crate::sender::waits::Waits;

/// A session without a connection.
pub(super) struct Asker {
    log: TestLog,
    pub(super) flavor: Flavor,
    variables: SessionVariables,
    replicas: Replicas,
    pub(super) privileges: Privileges,
    host: HostNames,
    pub(super) sources: Vec<SourceRow>,
    pub(super) changes: SourceChanges,
    pub(super) replica_wait: ReplicaWait,
    /// Instead of the log's.
    pub(super) version: Option<&'static str>,
    pub(super) has_log: bool,
    pub(super) limits: StatementLimits,
    /// How often the state of the sources was read.
    pub(super) source_reads: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Asker {
    pub(super) fn new(flavor: Flavor) -> Asker {
        let mut log = TestLog::empty(flavor, 1 << 20);
        match flavor {
            Flavor::MySql => log.mysql(1, b"CREATE TABLE t (a INT)"),
            Flavor::MariaDb => log.mariadb("0-1-1", None).mariadb("3-2-9", None),
        };
        Asker {
            log,
            flavor,
            variables: SessionVariables::default(),
            replicas: Replicas::new(std::sync::Arc::default()),
            privileges: Privileges {
                replication: true,
                ..Privileges::default()
            },
            host: host_names(),
            sources: Vec::new(),
            changes: SourceChanges::new(|_| Ok(ChangedSources::default())),
            replica_wait: ReplicaWait::default(),
            version: None,
            has_log: true,
            limits: StatementLimits::default(),
            source_reads: std::sync::Arc::default(),
        }
    }

    /// The relay log is in this condition.
    pub(super) fn set_condition(&mut self, condition: crate::relay_log::Condition) {
        self.log.log().set_condition(condition);
    }

    pub(super) fn ask(&mut self, text: &str) -> Result<Answer, ServerError> {
        let log = self.log.log();
        let (sources, reads) = (self.sources.clone(), self.source_reads.clone());
        let waits = Waits::default();
        let relay = RelayView {
            log: self.has_log.then_some(&*log),
            version: self.version.unwrap_or(log.server_version()),
            host: &self.host,
            sources: &SourceRows::new(move || {
                reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                sources.clone()
            }),
            changes: &self.changes,
            flavor: self.flavor,
            server_id: SERVER_ID,
            server_uuid: RELAY_UUID.parse().unwrap(),
            replica_wait: self.replica_wait,
            write_timeout: WRITE_TIMEOUT,
        };
        let caller = Caller {
            replicas: &self.replicas,
            connection_id: 77,
            user: "repl",
            host: "10.0.0.9",
            privileges: self.privileges,
            waits: &waits,
            limits: self.limits,
        };
        answer(text, relay, &mut self.variables, caller)
    }

    /// The one row of an answer, `|` between values.
    pub(super) fn row(&mut self, text: &str) -> String {
        match self.ask(text) {
            Ok(Answer::Rows { rows, .. }) => {
                assert!(rows.len() < 2, "{text}: {rows:?}");
                let row = rows.into_iter().next().unwrap_or_default();
                let values = row
                    .into_iter()
                    .map(|v| v.unwrap_or_else(|| "NULL".to_owned()));
                values.collect::<Vec<_>>().join("|")
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    pub(super) fn names(&mut self, text: &str) -> Vec<String> {
        match self.ask(text) {
            Ok(Answer::Rows { columns, .. }) => columns.into_iter().map(|(name, _)| name).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    pub(super) fn error(&mut self, text: &str) -> (u16, String) {
        let error = self.ask(text).unwrap_err();
        (error.code, error.message)
    }

    pub(super) fn ok(&mut self, text: &str) {
        assert_eq!(self.ask(text), Ok(Answer::Ok), "{text}");
    }
}

#[test]
fn statements_of_mysql_replicas_are_answered() {
    let mut asker = Asker::new(Flavor::MySql);
    assert!(asker.row("SELECT UNIX_TIMESTAMP()").parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(asker.row("SELECT @@GLOBAL.SERVER_ID"), "900");
    assert_eq!(
        asker.row("SHOW VARIABLES LIKE 'SERVER_ID'"),
        "server_id|900"
    );
    asker.ok("SET @master_heartbeat_period = 30000001024, @source_heartbeat_period = 30000001024");
    assert_eq!(
        asker
            .variables
            .user_text("source_heartbeat_period")
            .unwrap(),
        "30000001024"
    );
    asker.ok(
        "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = \
         @@global.binlog_checksum",
    );
    assert_eq!(asker.row("SELECT @source_binlog_checksum"), "CRC32");
    assert_eq!(asker.row("SELECT @@GLOBAL.GTID_MODE"), "ON");
    assert_eq!(asker.row("SELECT @@GLOBAL.SERVER_UUID"), RELAY_UUID);
    assert_eq!(
        asker.row("SHOW VARIABLES LIKE 'SERVER_UUID'"),
        format!("server_uuid|{RELAY_UUID}")
    );
    asker.ok(&format!(
        "SET @slave_uuid = '{UUID}', @replica_uuid = '{UUID}'"
    ));
    assert_eq!(asker.variables.user_text("Replica_UUID").unwrap(), UUID);
    let unknown = |name: &str| (1193, format!("Unknown system variable '{name}'"));
    assert_eq!(
        asker.error("SELECT @@global.gtid_domain_id"),
        unknown("gtid_domain_id")
    );
    // The plug-ins before and since MySQL 8.0.26.
    for name in [
        "rpl_semi_sync_source_enabled",
        "rpl_semi_sync_master_enabled",
    ] {
        assert_eq!(asker.row(&format!("SELECT @@global.{name}")), "1");
    }
    asker.ok("SET @rpl_semi_sync_replica = 1, @rpl_semi_sync_slave = 1");
}

#[test]
fn statements_of_mariadb_replicas_are_answered() {
    let mut asker = Asker::new(Flavor::MariaDb);
    assert_eq!(
        asker.row("SHOW VARIABLES LIKE 'SERVER_ID'"),
        "server_id|900"
    );
    asker.ok("SET @master_heartbeat_period= 30000001024");
    asker.ok("SET @master_binlog_checksum= @@global.binlog_checksum");
    assert_eq!(asker.row("SELECT @master_binlog_checksum"), "CRC32");
    asker.ok("SET @mariadb_slave_capability=4");
    assert_eq!(asker.row("SELECT @@GLOBAL.gtid_domain_id"), "0");
    asker.ok("SET @slave_connect_state='0-1-1,3-2-9'");
    asker.ok("SET @slave_gtid_strict_mode=1");
    asker.ok("SET @slave_gtid_ignore_duplicates=0");
    assert_eq!(
        asker.variables.user_text("slave_connect_state").unwrap(),
        "0-1-1,3-2-9"
    );
    let end = asker.log.log().published().offset;
    let at = |at: u64| format!("SELECT binlog_gtid_pos('relay-bin.000001',{at})");
    assert_eq!(asker.row(&at(4)), "");
    assert_eq!(asker.row(&at(end)), "0-1-1,3-2-9");
    assert_eq!(asker.row(&at(end - 1)), "NULL");
    assert_eq!(asker.row(&at(end + 1)), "NULL");
    assert_eq!(
        asker.row("SELECT binlog_gtid_pos('relay-bin.000002',4)"),
        "NULL"
    );
    assert_eq!(
        asker.row("SELECT @@gtid_binlog_pos, @@gtid_binlog_state"),
        "0-1-1,3-2-9|0-1-1,3-2-9"
    );
    let semi_sync = "SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'";
    assert_eq!(asker.row(semi_sync), "rpl_semi_sync_master_enabled|ON");
    assert_eq!(
        asker.row("SELECT @@global.rpl_semi_sync_master_enabled"),
        "1"
    );
    let newer = "SELECT @@global.rpl_semi_sync_source_enabled";
    assert_eq!(asker.error(newer).0, 1193);
    asker.ok("SET @rpl_semi_sync_slave=1");
    assert_eq!(asker.error("SELECT @@server_uuid").0, 1193);
}

#[test]
fn statements_of_clients_at_login_are_answered() {
    let mut asker = Asker::new(Flavor::MySql);
    assert_eq!(
        asker.row("select @@version_comment limit 1"),
        "binrelay, a binlog relay"
    );
    assert_eq!(
        asker.names("select @@version_comment limit 1"),
        ["@@version_comment"]
    );
    let connector = "/* mysql-connector-j */SELECT  @@session.auto_increment_increment AS \
        auto_increment_increment, @@character_set_client AS cs, @@max_allowed_packet,@@nope";
    assert_eq!(
        asker.error(connector),
        (1193, "Unknown system variable 'nope'".to_owned())
    );
    let mysql_async = "SELECT @@max_allowed_packet,@@wait_timeout";
    assert_eq!(asker.row(mysql_async), "1073741824|28800");
    assert_eq!(
        asker.row("SELECT VERSION(), database(), CONNECTION_ID(), USER(), current_user"),
        "9.7.4|NULL|77|repl@10.0.0.9|repl@%"
    );
    assert_eq!(
        asker.names("SELECT  VERSION( ) , 'x' AS `y z`, 1"),
        ["VERSION( )", "y z", "1"]
    );
    assert_eq!(asker.row("SELECT 1 FROM DUAL;"), "1");
    asker.ok("/*!40101 SET NAMES utf8mb4 */");
    asker.ok("SET NAMES latin1 COLLATE latin1_bin");
    assert_eq!(asker.row("SELECT @@character_set_client"), "latin1");
    asker.ok("SET character_set_results = NULL, autocommit=1, @@session.sql_mode='X', time_zone = '+00:00'");
    assert_eq!(
        asker.row("SELECT @@session.sql_mode, @@time_zone"),
        "X|+00:00"
    );
    asker.ok("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    asker.ok("SET @x := 'it''s', @y = NULL");
    assert_eq!(asker.row("SELECT @X, @y, @never"), "it's|NULL|NULL");
    for harmless in ["COMMIT", "rollback", "START TRANSACTION", "BEGIN"] {
        asker.ok(harmless);
    }
}

#[test]
fn unsupported_statements_are_refused() {
    let mut asker = Asker::new(Flavor::MySql);
    for (text, code) in [
        ("SELECT @@session.server_id", 1238),
        ("SET server_id = 3", 1229),
        ("SET GLOBAL read_only = 0", 1227),
        ("SET nope = 1", 1193),
        ("SELECT nope()", 1305),
        ("SELECT * FROM mysql.user", 1146),
        ("INSERT INTO t VALUES (1)", 1235),
        ("SELECT 'open", 1235),
        ("SELECT", 1235),
        ("SHOW MASTER STATUS foo", 1235),
        ("USE test", 1049),
        ("", 1065),
        ("KILL 5", 1094),
    ] {
        assert_eq!(asker.error(text).0, code, "{text}");
    }
    assert!(asker.error("DROP TABLE t").1.contains("binrelay"));
    let long = "x".repeat(1_000_000);
    asker.ok(&format!("SET @x = '{long}'"));
    asker.ok(&format!("SET @y = '{long}'"));
    assert_eq!(asker.error(&format!("SET @z = '{long}'")).0, 1037);
    asker.ok("SET @x = 1");
    asker.privileges.replication = false;
    for text in ["SHOW MASTER STATUS", "SHOW BINARY LOGS", "SHOW REPLICAS"] {
        assert_eq!(asker.error(text).0, 1227, "{text}");
    }
}

#[test]
fn show_statements_are_answered() {
    let mut asker = Asker::new(Flavor::MySql);
    let end = asker.log.log().published().offset;
    for text in ["SHOW MASTER STATUS", "show  binary log status"] {
        assert_eq!(
            asker.row(text),
            format!("relay-bin.000001|{end}|||{UUID}:1")
        );
    }
    assert_eq!(asker.names("SHOW MASTER STATUS").len(), 5);
    for text in ["SHOW BINARY LOGS", "SHOW MASTER LOGS"] {
        assert_eq!(asker.row(text), format!("relay-bin.000001|{end}|No"));
    }
    assert_eq!(asker.row("SHOW SLAVE HOSTS"), "");
    let variables = "SHOW GLOBAL VARIABLES WHERE Variable_name = 'server_id'";
    assert_eq!(asker.row(variables), "server_id|900");
    assert_eq!(
        asker.row("SHOW VARIABLES WHERE variable_name IN ('log_bin')"),
        "log_bin|ON"
    );
    assert_eq!(asker.row("SHOW GLOBAL STATUS LIKE 'Uptime'"), "Uptime|0");
    let mut asker = Asker::new(Flavor::MariaDb);
    assert_eq!(asker.names("SHOW MASTER STATUS").len(), 4);
    assert_eq!(asker.names("SHOW BINARY LOGS").len(), 2);
    assert_eq!(
        asker.names("SHOW SLAVE HOSTS"),
        ["Server_id", "Host", "Port", "Master_id"]
    );
}

/// Clients ask for it (`mysql --show-warnings`), and must not be shown the warnings of an older statement.
#[test]
fn error_of_the_last_statement_is_shown() {
    use crate::sender::variables::Warning;
    let mut asker = Asker::new(Flavor::MySql);
    asker.variables.warnings = vec![Warning {
        code: 1867,
        message: "old".to_owned(),
    }];
    assert_eq!(asker.row("SHOW WARNINGS"), "Warning|1867|old");
    let (code, message) = asker.error("SELEC 1");
    let expected = format!("Error|{code}|{message}");
    for statement in ["SHOW WARNINGS", "/* x */ SHOW ERRORS", "show warnings"] {
        assert_eq!(asker.row(statement), expected);
    }
    for good in ["SELECT 1", "SET NAMES utf8", "SHOW DATABASES"] {
        asker.variables.warnings = vec![Warning {
            code: 1867,
            message: "old".to_owned(),
        }];
        asker.ask(good).unwrap();
        assert_eq!(asker.row("SHOW WARNINGS"), "", "{good}");
        asker.error("SELEC 1");
        asker.ask(good).unwrap();
        assert_eq!(asker.row("SHOW WARNINGS"), "", "{good}");
        assert_eq!(asker.row("SHOW ERRORS"), "", "{good}");
    }
}

/// No privilege would change it.
#[test]
fn administrator_is_told_where_global_variables_are_set() {
    let mut asker = Asker::new(Flavor::MySql);
    assert_eq!(asker.error("SET GLOBAL read_only = 0").0, 1227);
    asker.privileges.admin = true;
    for statement in ["SET GLOBAL read_only = 0", "SET @@global.read_only = 0"] {
        let (code, message) = asker.error(statement);
        assert_eq!(code, 1235, "{message}");
        assert!(message.contains("binrelay reload"), "{message}");
    }
}
