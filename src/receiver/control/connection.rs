//! The connection itself and the statements sent on it.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder, Row, SslOpts, Value};
use tokio::time::timeout;

use super::grants::Grants;
use super::tls::ssl_opts;
use crate::binlog::format_description::version_numbers;
use crate::config::SourceConfig;
use crate::flavor::Flavor;
use crate::identity::Executed;
use crate::position::SourcePosition;
use crate::receiver::auto_increment::AutoIncrement;
use crate::receiver::connect::CONNECT_TIMEOUT;
use crate::receiver::gtid_mode::GtidMode;
use crate::receiver::source_end::SourceEnd;
use crate::receiver::source_queries::source_end_statement;
use crate::tls::{TlsMode, install_crypto_provider};

/// The largest answer that is accepted, in bytes: a GTID set with many gaps is long.
const ANSWER_LEN_MAX: usize = 16 * 1024 * 1024;
/// `wait_timeout` of the session, in seconds: the servers' default.
const WAIT_TIMEOUT: usize = 28_800;

/// Time limit for closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The column `Key` in the answer to SHOW COLUMNS.
const KEY_COLUMN: usize = 3;

const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
/// Error codes of a statement that the user may not execute: ER_TABLEACCESS_DENIED_ERROR and
/// ER_SPECIFIC_ACCESS_DENIED_ERROR.
const DENIED: [u16; 2] = [1142, 1227];

/// Why a control connection is not available.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// mysql_async's error, with the server's error if there is one.
    #[error("{0}")]
    Driver(#[from] Error),
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
    /// It is ON.
    On,
}

/// A connection to a source beside its dump.
pub struct ControlConnection {
    connection: Conn,
    /// Time limit for each answer.
    read_timeout: Duration,
}

impl fmt::Debug for ControlConnection {
    /// Without mysql_async's fields, which show the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlConnection")
            .field("id", &self.connection.id())
            .field("read_timeout", &self.read_timeout)
            .finish_non_exhaustive()
    }
}

impl ControlConnection {
    /// Connects and logs in, with the TLS mode and the password of the source's dump connection.
    /// `offers_tls`: whether the server offered TLS to the dump connection. Mode preferred depends
    /// on it, and an unnecessary attempt would log an aborted connection in the server's error log.
    ///
    /// # Errors
    /// When that fails, or takes more than 10 seconds.
    pub async fn open(config: &SourceConfig, offers_tls: bool) -> Result<Self, ControlError> {
        install_crypto_provider();
        let is_plain = config.tls.mode == TlsMode::Preferred && !offers_tls;
        let tls = ssl_opts(&config.tls).filter(|_| !is_plain);
        let connecting = Conn::new(opts(config, tls));
        Ok(Self {
            connection: within(CONNECT_TIMEOUT, connecting).await?,
            read_timeout: config.read_timeout,
        })
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
        let enabled =
            is_on("rpl_semi_sync_source_enabled").or_else(|| is_on("rpl_semi_sync_master_enabled"));
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
            semi_sync: match enabled {
                None => SemiSync::NotLoaded,
                Some(false) => SemiSync::Off,
                Some(true) => SemiSync::On,
            },
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
            Err(ControlError::Driver(Error::Server(error))) if DENIED.contains(&error.code) => {
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
            Err(ControlError::Driver(Error::Server(error)))
                if error.code == ER_UNKNOWN_SYSTEM_VARIABLE =>
            {
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
        let asked = self.connection.query(statement);
        let rows: Vec<Row> = match within(self.read_timeout, asked).await {
            Err(ControlError::Driver(Error::Server(_))) => return Ok(None),
            answer => answer?,
        };
        let is_in_key = |row: &Row| text_at(row, KEY_COLUMN).as_deref() == Some("PRI");
        let columns: Vec<bool> = rows.iter().map(is_in_key).collect();
        Ok((!columns.is_empty()).then_some(columns))
    }

    /// Closes the connection with COM_QUIT, so that the server does not log it as aborted.
    pub async fn close(self) {
        let _ = within(CLOSE_TIMEOUT, self.connection.disconnect()).await;
    }

    async fn query(&mut self, statement: &'static str) -> Result<Vec<Row>, ControlError> {
        within(self.read_timeout, self.connection.query(statement)).await
    }
}

impl ServerSettings {
    /// The version's numbers: (10, 11, 6).
    pub fn version_numbers(&self) -> (u32, u32, u32) {
        version_numbers(&self.version)
    }
}

fn opts(config: &SourceConfig, tls: Option<SslOpts>) -> Opts {
    let builder = OptsBuilder::default()
        .ip_or_hostname(config.host.as_str())
        .tcp_port(config.port)
        .user(Some(config.user.as_str()))
        .pass(Some(config.password.expose()))
        // The dump connection sends a password in clear text over TLS only.
        .enable_cleartext_plugin(tls.is_some())
        .ssl_opts(tls)
        .prefer_socket(false)
        .stmt_cache_size(0)
        // mysql_async queries the server for both unless they are set.
        .max_allowed_packet(Some(ANSWER_LEN_MAX))
        .wait_timeout(Some(WAIT_TIMEOUT))
        .connect_attribute("program_name", "binrelay");
    builder.into()
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, ControlError> {
    match timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ControlError::TimedOut(limit)),
    }
}

fn text_at(row: &Row, column: usize) -> Option<String> {
    match row.as_ref(column)? {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

fn unreadable(question: &'static str, answer: &str) -> ControlError {
    ControlError::Answer {
        question,
        answer: answer.chars().take(80).collect(),
    }
}
