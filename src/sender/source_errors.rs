//! The errors and warnings of statements that change sources, with the texts of real servers (MySQL 5.6, 5.7 and 9.7,
//! MariaDB 10.11).

use super::source_changes::SourceChangeError;
use super::sql_errors::{missing_user_privilege, shortened};
use super::statement_context::StatementContext;
use super::variables::Warning;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_UNKNOWN_ERROR;

/// A statement about sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// START.
    Start,
    /// STOP.
    Stop,
    /// RESET.
    Reset,
    /// CHANGE.
    Change,
}

const ER_SLAVE_MUST_STOP: u16 = 1198;
const ER_WRONG_ARGUMENTS: u16 = 1210;
const ER_SLAVE_WAS_RUNNING: u16 = 1254;
const ER_SLAVE_WAS_NOT_RUNNING: u16 = 1255;
const WARN_NO_MASTER_INFO: u16 = 1617;
const ER_BAD_SLAVE_AUTO_POSITION: u16 = 1776;
/// MariaDB.
const ER_CONNECTION_ALREADY_EXISTS: u16 = 1934;
/// MariaDB.
const ER_SLAVE_STARTED: u16 = 1937;
/// MariaDB.
const ER_SLAVE_STOPPED: u16 = 1938;
const ER_SLAVE_CHANNEL_IO_THREAD_MUST_STOP: u16 = 3021;
const ER_SLAVE_CHANNEL_DOES_NOT_EXIST: u16 = 3074;
const ER_SLAVE_MULTIPLE_CHANNELS_HOST_PORT: u16 = 3075;
const ER_SLAVE_CHANNEL_NAME_INVALID_OR_TOO_LONG: u16 = 3076;
const ER_SLAVE_MULTIPLE_CHANNELS_CMD: u16 = 3079;
const ER_SLAVE_CHANNEL_MUST_STOP: u16 = 3081;
const ER_SLAVE_CHANNEL_WAS_RUNNING: u16 = 3083;
const ER_SLAVE_CHANNEL_WAS_NOT_RUNNING: u16 = 3084;

/// The wording by flavor and version.
#[derive(Debug, Clone, Copy)]
pub struct SourceWords {
    flavor: Flavor,
    version: (u32, u32, u32),
}

impl SourceWords {
    /// The wording of the relay's flavor and version.
    pub fn of(context: &StatementContext<'_>) -> Self {
        Self {
            flavor: context.relay.flavor,
            version: version_numbers(context.relay.version),
        }
    }

    /// The flavor.
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Whether SOURCE and REPLICA replace MASTER and SLAVE.
    fn is_new(&self) -> bool {
        self.flavor == Flavor::MySql && self.version >= (8, 0, 26)
    }

    /// Whether a server of this version knows channels.
    fn has_channels(&self) -> bool {
        self.flavor == Flavor::MySql && self.version >= (5, 7, 0)
    }

    /// `slave` or `replica`.
    fn replica(&self) -> &'static str {
        if self.is_new() { "replica" } else { "slave" }
    }

    /// `SLAVE` or `REPLICA`.
    fn keyword(&self) -> &'static str {
        if self.is_new() { "REPLICA" } else { "SLAVE" }
    }

    /// `Slave` or `Replica`.
    fn capital(&self) -> &'static str {
        if self.is_new() { "Replica" } else { "Slave" }
    }

    /// `MASTER` or `SOURCE`.
    pub fn source(&self) -> &'static str {
        if self.is_new() { "SOURCE" } else { "MASTER" }
    }

    /// Refuses a statement of a client without the privilege admin.
    ///
    /// # Errors
    /// Error 1227, with the privileges that the statement needs on a server.
    pub fn check_privilege(
        &self,
        statement: Statement,
        context: &StatementContext<'_>,
    ) -> Result<(), ServerError> {
        if context.caller.privileges.admin {
            return Ok(());
        }
        let on_servers = match (self.flavor, statement) {
            (_, Statement::Reset) => "RELOAD",
            (Flavor::MySql, _) if self.version >= (8, 0, 0) => "SUPER or REPLICATION_SLAVE_ADMIN",
            (Flavor::MySql, _) => "SUPER",
            (Flavor::MariaDb, _) if self.version >= (11, 0, 1) => "REPLICATION SLAVE ADMIN",
            (Flavor::MariaDb, _) if self.version >= (10, 5, 2) => "SUPER, REPLICATION SLAVE ADMIN",
            (Flavor::MariaDb, _) => "SUPER",
        };
        Err(missing_user_privilege(on_servers, "admin"))
    }

    /// There is no source of this name.
    pub fn no_such_channel(&self, name: &str) -> ServerError {
        let name = shortened(name);
        match self.flavor {
            Flavor::MariaDb => {
                let text = format!("There is no master connection '{name}'");
                ServerError::new(WARN_NO_MASTER_INFO, text)
            }
            Flavor::MySql => {
                let text = format!("{} channel '{name}' does not exist.", self.capital());
                ServerError::new(ER_SLAVE_CHANNEL_DOES_NOT_EXIST, text)
            }
        }
    }

    /// Why a change was not carried out.
    pub fn refusal(&self, error: SourceChangeError, statement: Statement) -> ServerError {
        match error {
            SourceChangeError::Unknown(name) => self.no_such_channel(&name),
            SourceChangeError::Running(name) => self.must_stop(&name, statement),
            SourceChangeError::Refused(text) => ServerError::new(ER_UNKNOWN_ERROR, text),
        }
    }

    fn must_stop(&self, name: &str, statement: Statement) -> ServerError {
        let (replica, keyword) = (self.replica(), self.keyword());
        if self.flavor == Flavor::MariaDb {
            let text = format!(
                "This operation cannot be performed as you have a running slave '{name}'; run STOP SLAVE '{name}' \
                 first"
            );
            return ServerError::new(ER_SLAVE_MUST_STOP, text);
        }
        if !self.has_channels() {
            let text =
                "This operation cannot be performed with a running slave; run STOP SLAVE first";
            return ServerError::new(ER_SLAVE_MUST_STOP, text);
        }
        if statement == Statement::Change {
            let text = format!(
                "This operation cannot be performed with a running {replica} io thread; run STOP {keyword} \
                 IO_THREAD FOR CHANNEL '{name}' first."
            );
            return ServerError::new(ER_SLAVE_CHANNEL_IO_THREAD_MUST_STOP, text);
        }
        let text = format!(
            "This operation cannot be performed with running replication threads; run STOP {keyword} FOR CHANNEL \
             '{name}' first"
        );
        ServerError::new(ER_SLAVE_CHANNEL_MUST_STOP, text)
    }

    /// A source was started or stopped already.
    pub fn was_so(&self, statement: Statement, name: &str) -> Warning {
        let is_start = statement == Statement::Start;
        let (code, message) = match (self.has_channels(), is_start) {
            // Spelt as the servers do.
            (true, true) => (
                ER_SLAVE_CHANNEL_WAS_RUNNING,
                format!("Replication thread(s) for channel '{name}' are already runnning."),
            ),
            (true, false) => (
                ER_SLAVE_CHANNEL_WAS_NOT_RUNNING,
                format!("Replication thread(s) for channel '{name}' are already stopped."),
            ),
            (false, true) => (ER_SLAVE_WAS_RUNNING, "Slave is already running".to_owned()),
            (false, false) => (
                ER_SLAVE_WAS_NOT_RUNNING,
                "Slave already has been stopped".to_owned(),
            ),
        };
        Warning { code, message }
    }

    /// MariaDB: what ALL SLAVES did.
    pub fn was_changed(&self, statement: Statement, name: &str) -> Warning {
        let (code, done) = match statement {
            Statement::Start => (ER_SLAVE_STARTED, "started"),
            _ => (ER_SLAVE_STOPPED, "stopped"),
        };
        Warning {
            code,
            message: format!("SLAVE '{name}' {done}"),
        }
    }

    /// A name that no source can have.
    pub fn invalid_name(&self) -> ServerError {
        match self.flavor {
            Flavor::MySql => ServerError::new(
                ER_SLAVE_CHANNEL_NAME_INVALID_OR_TOO_LONG,
                "Couldn't create channel: Channel name is either invalid or too long.",
            ),
            Flavor::MariaDb => self.wrong_arguments("MASTER_CONNECTION_NAME"),
        }
    }

    /// CHANGE without a name, and there is not exactly one source.
    pub fn needs_name(&self) -> ServerError {
        match self.flavor {
            Flavor::MySql => {
                let text = format!(
                    "Multiple channels exist on the {}. Please provide channel name as an argument.",
                    self.replica()
                );
                ServerError::new(ER_SLAVE_MULTIPLE_CHANNELS_CMD, text)
            }
            Flavor::MariaDb => self.no_such_channel(""),
        }
    }

    /// Another source has this address.
    pub fn same_address(&self, name: &str, other: &str) -> ServerError {
        match self.flavor {
            Flavor::MySql => {
                let text = format!(
                    "A {} channel '{other}' already exists for the given host and port combination.",
                    self.replica()
                );
                ServerError::new(ER_SLAVE_MULTIPLE_CHANNELS_HOST_PORT, text)
            }
            Flavor::MariaDb => {
                let text =
                    format!("Connection '{name}' conflicts with existing connection '{other}'");
                ServerError::new(ER_CONNECTION_ALREADY_EXISTS, text)
            }
        }
    }

    /// A position together with auto-position.
    pub fn position_with_auto_position(&self) -> ServerError {
        let source = self.source();
        let text = format!(
            "Parameters {source}_LOG_FILE, {source}_LOG_POS, RELAY_LOG_FILE and RELAY_LOG_POS cannot be set when \
             {source}_AUTO_POSITION is active."
        );
        ServerError::new(ER_BAD_SLAVE_AUTO_POSITION, text)
    }

    /// An option has an impossible value.
    pub fn wrong_arguments(&self, option: &str) -> ServerError {
        let text = format!("Incorrect arguments to {option}");
        ServerError::new(ER_WRONG_ARGUMENTS, text)
    }
}
