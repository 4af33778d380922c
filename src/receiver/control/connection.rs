//! The connection itself and the statements sent on it.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use super::grants::Grants;
use crate::binlog::format_description::version_numbers;
use crate::config::SourceConfig;
use crate::connection::{Connection, ConnectionError};
use crate::flavor::Flavor;
use crate::identity::Executed;
use crate::position::SourcePosition;
use crate::protocol::command::COM_QUIT;
use crate::protocol::response::TextResult;
use crate::receiver::auto_increment::AutoIncrement;
use crate::receiver::connect::log_in;
use crate::receiver::gtid_mode::GtidMode;
use crate::receiver::source_end::SourceEnd;
use crate::receiver::source_queries::source_end_statement;
use crate::receiver::source_retention::SourceRetention;
use crate::tls::install_crypto_provider;

/// The connection's read buffer, in bytes: answers are small, but for a GTID set with many gaps.
const READ_BUFFER_LEN: usize = 16 << 10;

/// A row of an answer; `None` is NULL.
pub(super) type Row = Vec<Option<Vec<u8>>>;

/// Time limit for closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The column `Key` in the answer to SHOW COLUMNS.
const KEY_COLUMN: usize = 3;

pub(super) const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
/// Error codes of a statement that the user may not execute: ER_TABLEACCESS_DENIED_ERROR and
/// ER_SPECIFIC_ACCESS_DENIED_ERROR.
pub(super) const DENIED: [u16; 2] = [1142, 1227];

/// Why a control connection is not available.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The connection's error, with the server's error if there is one.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// No answer in time.
    #[error("timed out after {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// An answer without the expected value.
    #[error("{question}: the answer cannot be read: {answer:?}")]
    Answer {
        /// The statement, or the value in its answer.
        question: &'static str,
        /// The answer, shortened.
        answer: String,
    },
    /// The connection reached another server than the dump.
    #[error(
        "the control connection reached server_id {found}, the dump comes from server_id \
         {expected}: several servers share the source's address"
    )]
    OtherServer {
        /// The dump's server.
        expected: u32,
        /// The control connection's server.
        found: u32,
    },
}

/// A server's settings. `None` where the server does not have the variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// `version`.
    pub version: String,
    /// `server_id`.
    pub server_id: u32,
    /// `server_uuid`: MySQL since 5.6.
    pub server_uuid: Option<String>,
    /// `log_bin`.
    pub log_bin: bool,
    /// `lower_case_table_names`.
    pub lower_case_table_names: u32,
    /// `gtid_mode`: MySQL since 5.6.
    pub gtid_mode: Option<GtidMode>,
    /// `gtid_domain_id`: MariaDB.
    pub gtid_domain_id: Option<u32>,
    /// `read_only`; MariaDB 12 has more values than ON and OFF.
    pub read_only: bool,
    /// Semi-sync replication.
    pub semi_sync: SemiSync,
    /// `log_slave_updates` or `log_replica_updates`.
    pub logs_replicated: bool,
    /// How AUTO_INCREMENT values are generated.
    pub auto_increment: AutoIncrement,
}

/// The source's side of semi-sync replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SemiSync {
    /// The plugin is not installed.
    NotLoaded,
    /// `rpl_semi_sync_source_enabled` or `rpl_semi_sync_master_enabled` is OFF.
    Off,
    /// It is ON, but the source does not wait at present (`Rpl_semi_sync_source_status` is OFF): acknowledgements did not
    /// arrive in time, or no replica was connected.
    Paused,
    /// It is ON, and the source waits.
    On,
}

/// A connection to a source beside its dump.
pub struct ControlConnection {
    connection: Connection,
    /// Its id on the server.
    id: u32,
    /// Its protection, as [`crate::receiver::SourceFacts`] describes that of the dump.
    tls: String,
    /// Time limit for each answer.
    read_timeout: Duration,
}

impl fmt::Debug for ControlConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlConnection")
            .field("id", &self.id)
            .field("read_timeout", &self.read_timeout)
            .finish_non_exhaustive()
    }
}

impl ControlConnection {
    /// Connects and logs in, by the rules of the source's dump connection.
    ///
    /// # Errors
    /// When that fails, or takes more than 10 seconds.
    pub async fn open(config: &SourceConfig) -> Result<Self, ControlError> {
        install_crypto_provider();
        let (connection, greeting) = log_in(config, None, READ_BUFFER_LEN).await?;
        Ok(Self {
            connection,
            id: greeting.connection_id,
            tls: greeting.tls,
            read_timeout: config.read_timeout,
        })
    }

    /// The connection's protection: TLS version, cipher and verification, or `none`.
    pub fn tls(&self) -> &str {
        &self.tls
    }

    /// Asks for the server's settings.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn settings(&mut self) -> Result<ServerSettings, ControlError> {
        let rows = self
            .query(
                "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'server_id', \
                 'server_uuid', 'log_bin', 'lower_case_table_names', 'gtid_mode', \
                 'gtid_domain_id', 'read_only', 'rpl_semi_sync_master_enabled', \
                 'rpl_semi_sync_source_enabled', 'log_slave_updates', 'log_replica_updates', \
                 'auto_increment_increment', 'auto_increment_offset')",
            )
            .await?;
        let variables: HashMap<String, String> = rows
            .iter()
            .filter_map(|row| Some((text_at(row, 0)?.to_ascii_lowercase(), text_at(row, 1)?)))
            .collect();
        let is_on = |name: &str| {
            let value = variables.get(name)?;
            Some(!matches!(value.as_str(), "OFF" | "0"))
        };
        let number = |name: &str| variables.get(name)?.parse().ok();
        let counted = |name: &str| {
            variables
                .get(name)
                .and_then(|v| v.parse().ok())
                .unwrap_or(1)
        };
        let version = variables.get("version").cloned().unwrap_or_default();
        Ok(ServerSettings {
            flavor: Flavor::of_version(&version),
            version,
            server_id: number("server_id").unwrap_or(0),
            server_uuid: variables.get("server_uuid").cloned(),
            log_bin: is_on("log_bin").unwrap_or(false),
            lower_case_table_names: number("lower_case_table_names").unwrap_or(0),
            gtid_mode: variables
                .get("gtid_mode")
                .and_then(|mode| GtidMode::parse(mode)),
            gtid_domain_id: number("gtid_domain_id"),
            read_only: is_on("read_only").unwrap_or(false),
            logs_replicated: is_on("log_replica_updates")
                .or_else(|| is_on("log_slave_updates"))
                .unwrap_or(false),
            auto_increment: AutoIncrement {
                increment: counted("auto_increment_increment"),
                offset: counted("auto_increment_offset"),
            },
            semi_sync: semi_sync(
                is_on("rpl_semi_sync_source_enabled")
                    .or_else(|| is_on("rpl_semi_sync_master_enabled")),
            ),
        })
    }

    /// Asks for the privileges of the connection's account.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn grants(&mut self) -> Result<Grants, ControlError> {
        let account = self.query("SELECT CURRENT_USER()").await?;
        let account = account.first().and_then(|row| text_at(row, 0));
        let rows = self.query("SHOW GRANTS FOR CURRENT_USER").await?;
        let rows: Vec<String> = rows.iter().filter_map(|row| text_at(row, 0)).collect();
        Ok(Grants::parse(&account.unwrap_or_default(), &rows))
    }

    /// Asks for the end of the binlog. `settings` are those of this connection's server.
    ///
    /// # Errors
    /// When the connection fails, or an answer cannot be read. A missing privilege is not an error.
    pub async fn source_end(
        &mut self,
        settings: &ServerSettings,
    ) -> Result<SourceEnd, ControlError> {
        Ok(SourceEnd {
            position: self.position(settings).await?,
            executed: self.executed(settings.flavor).await?,
        })
    }

    async fn position(
        &mut self,
        settings: &ServerSettings,
    ) -> Result<Option<SourcePosition>, ControlError> {
        let statement = source_end_statement(settings.flavor, &settings.version);
        let rows = match self.query(statement).await {
            Err(error) if server_code(&error).is_some_and(|code| DENIED.contains(&code)) => {
                return Ok(None);
            }
            answer => answer?,
        };
        // The first two columns are File and Position on every server; without a binlog there is
        // no row.
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let (file, offset) = (text_at(row, 0), text_at(row, 1));
        match (&file, offset.as_ref().and_then(|text| text.parse().ok())) {
            (Some(file), Some(offset)) => Ok(Some(SourcePosition::new(file.as_str(), offset))),
            _ => Err(unreadable(statement, &format!("{file:?} {offset:?}"))),
        }
    }

    async fn executed(&mut self, flavor: Flavor) -> Result<Option<Executed>, ControlError> {
        let question = match flavor {
            Flavor::MySql => "SELECT @@GLOBAL.gtid_executed",
            Flavor::MariaDb => "SELECT @@GLOBAL.gtid_binlog_state",
        };
        let rows = match self.query(question).await {
            Err(error) if server_code(&error) == Some(ER_UNKNOWN_SYSTEM_VARIABLE) => {
                return Ok(None);
            }
            answer => answer?,
        };
        let text = rows.first().and_then(|row| text_at(row, 0));
        let text = text.unwrap_or_default();
        let parsed = match flavor {
            Flavor::MySql => text.parse().map(Executed::MySql),
            Flavor::MariaDb => text.parse().map(Executed::MariaDb),
        };
        match parsed {
            // A server without GTIDs has an empty set, which does not show the end.
            Ok(Executed::MySql(set)) if set.is_empty() => Ok(None),
            Ok(executed) => Ok(Some(executed)),
            Err(_) => Err(unreadable(question, &text)),
        }
    }

    /// Asks how long the server keeps its binlogs. What it does not say is not an error.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn retention(&mut self) -> Result<SourceRetention, ControlError> {
        let rows = self.query_if_allowed(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_expire_logs_seconds', \
             'expire_logs_days', 'binlog_expire_logs_auto_purge', 'log_slave_updates', \
             'log_replica_updates')",
        );
        let rows = rows.await?;
        let value = |name: &str| {
            let mut rows = rows.iter();
            let is_it =
                |row: &&Row| text_at(row, 0).is_some_and(|found| found.eq_ignore_ascii_case(name));
            rows.find(is_it).and_then(|row| text_at(row, 1))
        };
        let number = |name: &str| -> Option<f64> { value(name)?.parse().ok() };
        let is_off = |text: String| matches!(text.as_str(), "OFF" | "0");
        let seconds = number("binlog_expire_logs_seconds").filter(|seconds| *seconds > 0.0);
        let days = number("expire_logs_days").filter(|days| *days > 0.0);
        let (expires_after, variable) = match (seconds, days) {
            _ if value("binlog_expire_logs_auto_purge").is_some_and(is_off) => (None, ""),
            (Some(seconds), _) => (Some(seconds), "binlog_expire_logs_seconds"),
            (None, Some(days)) => (Some(days * 86_400.0), "expire_logs_days"),
            (None, None) => (None, ""),
        };
        let updates = value("log_replica_updates").or_else(|| value("log_slave_updates"));
        let files = self.query_if_allowed("SHOW BINARY LOGS").await?;
        Ok(SourceRetention {
            expires_after: expires_after
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            variable,
            oldest: files.first().and_then(|row| text_at(row, 0)),
            logs_updates: updates.map(|text| !is_off(text)),
        })
    }

    /// No rows where the server refuses the statement.
    pub(super) async fn query_if_allowed(
        &mut self,
        statement: &str,
    ) -> Result<Vec<Row>, ControlError> {
        match self.query(statement).await {
            Err(error) if server_code(&error).is_some() => Ok(Vec::new()),
            answer => answer,
        }
    }

    /// Asks for the state of semi-sync replication, and for the number of commits that were not acknowledged
    /// (`Rpl_semi_sync_source_no_tx`; 0 where semi-sync replication is off, or the server does not show it).
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn semi_sync(&mut self) -> Result<(SemiSync, u64), ControlError> {
        let rows = self
            .query(
                "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('rpl_semi_sync_master_enabled', \
                 'rpl_semi_sync_source_enabled')",
            )
            .await?;
        let values = rows.iter().filter_map(|row| text_at(row, 1));
        let state = semi_sync(
            values
                .map(|value| !matches!(value.as_str(), "OFF" | "0"))
                .reduce(|one, other| one || other),
        );
        if state != SemiSync::On {
            return Ok((state, 0));
        }
        let rows = self
            .query_if_allowed(
                "SHOW GLOBAL STATUS WHERE Variable_name IN ('Rpl_semi_sync_master_status', \
                 'Rpl_semi_sync_source_status', 'Rpl_semi_sync_master_no_tx', \
                 'Rpl_semi_sync_source_no_tx')",
            )
            .await?;
        Ok(semi_sync_now(&rows))
    }

    /// Asks for the columns of a table: for each, whether it is in the primary key. `None` if the server
    /// does not show the table to this user.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn key_columns(
        &mut self,
        database: &str,
        table: &str,
    ) -> Result<Option<Vec<bool>>, ControlError> {
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        let statement = format!(
            "SHOW COLUMNS FROM {} FROM {}",
            quoted(table),
            quoted(database)
        );
        let rows = match self.query(&statement).await {
            Err(error) if server_code(&error).is_some() => return Ok(None),
            answer => answer?,
        };
        let is_in_key = |row: &Row| text_at(row, KEY_COLUMN).as_deref() == Some("PRI");
        let columns: Vec<bool> = rows.iter().map(is_in_key).collect();
        Ok((!columns.is_empty()).then_some(columns))
    }

    /// Closes the connection with COM_QUIT, so that the server does not log it as aborted.
    pub async fn close(mut self) {
        let _ = timeout(CLOSE_TIMEOUT, self.connection.write_command(&[COM_QUIT])).await;
    }

    pub(super) async fn query(&mut self, statement: &str) -> Result<Vec<Row>, ControlError> {
        Ok(self.query_result(statement).await?.rows)
    }

    /// As [`ControlConnection::query`], with the names of the columns.
    pub(super) async fn query_result(
        &mut self,
        statement: &str,
    ) -> Result<TextResult, ControlError> {
        match timeout(self.read_timeout, self.connection.query(statement)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(ControlError::TimedOut(self.read_timeout)),
        }
    }
}

impl ServerSettings {
    /// The version's numbers: (10, 11, 6).
    pub fn version_numbers(&self) -> (u32, u32, u32) {
        version_numbers(&self.version)
    }
}

fn semi_sync(is_enabled: Option<bool>) -> SemiSync {
    match is_enabled {
        None => SemiSync::NotLoaded,
        Some(false) => SemiSync::Off,
        Some(true) => SemiSync::On,
    }
}

/// Of a source whose semi-sync replication is on: whether it waits, and the number of commits that were not acknowledged.
/// `rows`: of SHOW GLOBAL STATUS; a server that has both names has both rows.
fn semi_sync_now(rows: &[Row]) -> (SemiSync, u64) {
    let values = || rows.iter().filter_map(|row| text_at(row, 1));
    let state = match values().any(|value| value == "OFF") {
        true => SemiSync::Paused,
        false => SemiSync::On,
    };
    let unacknowledged = values().filter_map(|value| value.parse().ok()).max();
    (state, unacknowledged.unwrap_or(0))
}

pub(super) fn text_at(row: &Row, column: usize) -> Option<String> {
    let bytes = row.get(column)?.as_deref()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The code of the server's error, if it is one.
pub(super) fn server_code(error: &ControlError) -> Option<u16> {
    match error {
        ControlError::Connection(error) => Some(error.server_error()?.code),
        _ => None,
    }
}

pub(super) fn unreadable(question: &'static str, answer: &str) -> ControlError {
    ControlError::Answer {
        question,
        answer: answer.chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unacknowledged_commits_are_read_under_either_name() {
        let row = |name: &str, value: &str| vec![Some(name.into()), Some(value.into())];
        let now = |rows: &[(&str, &str)]| {
            let rows: Vec<Row> = rows.iter().map(|(name, value)| row(name, value)).collect();
            semi_sync_now(&rows)
        };
        let paused = [
            ("Rpl_semi_sync_master_no_tx", "17"),
            ("Rpl_semi_sync_master_status", "OFF"),
        ];
        assert_eq!(now(&paused), (SemiSync::Paused, 17));
        let on = [
            ("Rpl_semi_sync_source_no_tx", "3"),
            ("Rpl_semi_sync_source_status", "ON"),
        ];
        assert_eq!(now(&on), (SemiSync::On, 3));
        // The server does not show its status.
        assert_eq!(now(&[]), (SemiSync::On, 0));
    }
}
