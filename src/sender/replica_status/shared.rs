//! The part of the columns that both flavors have.

use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::response::ColumnKind;
use crate::relay_log::{Condition, coordinates};
use crate::sender::source_rows::{SourceRow, SourceRowState};
use crate::sender::statement_context::StatementContext;
use crate::tls::TlsMode;

/// "Fatal error": a source's error that is not a server's.
const ER_SLAVE_FATAL_ERROR: u16 = 1593;
/// "Can't connect to MySQL server".
const CR_CONN_HOST_ERROR: u16 = 2003;
/// "Relay log write failure".
const ER_SLAVE_RELAY_LOG_WRITE_FAILURE: u16 = 1595;

/// A column and its value.
pub struct Cell {
    /// The column's name.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// The value.
    pub value: Option<String>,
}

/// A column of texts.
pub fn text(name: &str, value: impl Into<String>) -> Cell {
    Cell {
        name: name.to_owned(),
        kind: ColumnKind::Text,
        value: Some(value.into()),
    }
}

/// A column of integers.
pub fn number(name: &str, value: impl ToString) -> Cell {
    Cell {
        name: name.to_owned(),
        kind: ColumnKind::Integer,
        value: Some(value.to_string()),
    }
}

/// A column of integers that is NULL.
pub fn null(name: &str) -> Cell {
    Cell {
        name: name.to_owned(),
        kind: ColumnKind::Integer,
        value: None,
    }
}

/// What is the same for all sources.
pub struct RelayPart {
    flavor: Flavor,
    version: (u32, u32, u32),
    file: String,
    position: u64,
    bytes: u64,
    /// The GTIDs of the relay log: MySQL's `gtid_executed`, MariaDB's `gtid_current_pos`.
    pub executed: String,
    /// A file is rotated once it has this many bytes.
    pub max_log_size: u64,
    /// Why the relay log cannot be written.
    pub error: Option<String>,
    is_stopped: bool,
}

impl RelayPart {
    /// Reads it.
    pub fn of(context: &StatementContext<'_>) -> Self {
        let mut part = Self {
            flavor: context.relay.flavor,
            version: version_numbers(context.relay.version),
            file: String::new(),
            position: 0,
            bytes: 0,
            executed: String::new(),
            max_log_size: context.relay.host.max_log_size,
            error: None,
            is_stopped: false,
        };
        let Some(log) = context.relay.log else {
            return part;
        };
        let (executed, files, end) = {
            let state = log.state();
            // The published end belongs to the state while it is locked.
            (state.executed.clone(), state.files.clone(), log.published())
        };
        part.file = log.log_dir().file_name(end.file);
        part.position = end.offset;
        part.executed = match (executed.as_mysql(), executed.as_mariadb()) {
            (Some(set), _) => set.to_mysql_string(),
            (None, Some(state)) => state.position().to_string(),
            (None, None) => String::new(),
        };
        let sizes = files
            .into_iter()
            .map(|file| coordinates::readable_end(log, file));
        part.bytes = sizes.filter_map(|size| size.ok().flatten()).sum();
        (part.error, part.is_stopped) = match log.condition() {
            Condition::Running => (None, false),
            Condition::DiskFull(message) | Condition::Failed(message) => (Some(message), true),
        };
        part
    }

    /// Whether the relay log is written: what the SQL thread of a server does. It continues where the I/O thread has
    /// ended with an error.
    fn writes(&self, row: &SourceRow) -> bool {
        !self.is_stopped && row.state != SourceRowState::Stopped
    }

    /// Before MySQL 8.0.26, and on MariaDB.
    fn says_master(&self) -> bool {
        self.flavor == Flavor::MariaDb || self.version < (8, 0, 26)
    }

    /// The state of the connection, in the words of servers.
    fn io_state(&self, row: &SourceRow) -> &'static str {
        match (row.state, self.says_master()) {
            (SourceRowState::Streaming, true) => "Waiting for master to send event",
            (SourceRowState::Streaming, false) => "Waiting for source to send event",
            (SourceRowState::Connecting, true) => "Connecting to master",
            (SourceRowState::Connecting, false) => "Connecting to source",
            (SourceRowState::Stopped | SourceRowState::Failed, _) => "",
        }
    }

    /// The state of the relay log, in the words of servers.
    pub fn sql_state(&self, row: &SourceRow) -> &'static str {
        if !self.writes(row) {
            return "";
        }
        match (self.flavor, self.says_master()) {
            (Flavor::MySql, true) if self.version < (5, 7, 0) => {
                "Slave has read all relay log; waiting for the slave I/O thread to update it"
            }
            (_, true) => "Slave has read all relay log; waiting for more updates",
            (_, false) => "Replica has read all relay log; waiting for more updates",
        }
    }

    /// The columns up to Master_Server_Id, without MariaDB's Connection_name and Slave_SQL_State.
    pub fn cells(&self, row: &SourceRow) -> Vec<Cell> {
        let (file, offset) = match &row.position {
            Some(position) => (position.file.to_string(), position.offset),
            None => (String::new(), 4),
        };
        let mut cells = vec![
            text("Slave_IO_State", self.io_state(row)),
            text("Master_Host", &row.host),
            text("Master_User", &row.user),
            number("Master_Port", row.port),
            // As on servers, whole seconds and not 0.
            number("Connect_Retry", row.connect_retry.as_secs().max(1)),
            text("Master_Log_File", &file),
            number("Read_Master_Log_Pos", offset),
            text("Relay_Log_File", &self.file),
            number("Relay_Log_Pos", self.position),
            text("Relay_Master_Log_File", &file),
            text("Slave_IO_Running", io_running(row)),
            text("Slave_SQL_Running", yes_or_no(self.writes(row))),
        ];
        cells.extend(filter(row));
        let (errno, error) = self.sql_error();
        cells.extend([
            number("Last_Errno", errno),
            text("Last_Error", &error),
            number("Skip_Counter", 0),
            number("Exec_Master_Log_Pos", offset),
            number("Relay_Log_Space", self.bytes),
            text("Until_Condition", "None"),
            text("Until_Log_File", ""),
            number("Until_Log_Pos", 0),
        ]);
        cells.extend(tls(row));
        cells.push(match row.seconds_behind {
            Some(seconds) => number("Seconds_Behind_Master", seconds),
            None => null("Seconds_Behind_Master"),
        });
        let verifies = row.tls.mode == TlsMode::VerifyIdentity;
        let (io_errno, io_error) = io_error(row);
        cells.extend([
            text("Master_SSL_Verify_Server_Cert", yes_or_no(verifies)),
            number("Last_IO_Errno", io_errno),
            text("Last_IO_Error", io_error),
            number("Last_SQL_Errno", errno),
            text("Last_SQL_Error", error),
            text("Replicate_Ignore_Server_Ids", ""),
            number("Master_Server_Id", row.server_id.unwrap_or_default()),
        ]);
        cells
    }

    /// A relay log that cannot be written is what an error of the SQL thread is on a server.
    pub fn sql_error(&self) -> (u16, String) {
        match &self.error {
            Some(message) => (ER_SLAVE_RELAY_LOG_WRITE_FAILURE, message.clone()),
            None => (0, String::new()),
        }
    }
}

/// `Yes` or `No`.
pub fn yes_or_no(yes: bool) -> &'static str {
    if yes { "Yes" } else { "No" }
}

fn io_running(row: &SourceRow) -> &'static str {
    match row.state {
        SourceRowState::Streaming => "Yes",
        SourceRowState::Connecting => "Connecting",
        SourceRowState::Stopped | SourceRowState::Failed => "No",
    }
}

fn io_error(row: &SourceRow) -> (u16, &str) {
    match &row.error {
        None => (0, ""),
        Some(error) => match (error.code, row.state) {
            (0, SourceRowState::Stopped | SourceRowState::Failed) => {
                (ER_SLAVE_FATAL_ERROR, &error.message)
            }
            (0, _) => (CR_CONN_HOST_ERROR, &error.message),
            (code, _) => (code, &error.message),
        },
    }
}

fn filter(row: &SourceRow) -> [Cell; 6] {
    let filter = &row.filter;
    let list = |name, values: &[String]| text(name, values.join(","));
    [
        list("Replicate_Do_DB", &filter.replicate_do_db),
        list("Replicate_Ignore_DB", &filter.replicate_ignore_db),
        list("Replicate_Do_Table", &filter.replicate_do_table),
        list("Replicate_Ignore_Table", &filter.replicate_ignore_table),
        list("Replicate_Wild_Do_Table", &filter.replicate_wild_do_table),
        list(
            "Replicate_Wild_Ignore_Table",
            &filter.replicate_wild_ignore_table,
        ),
    ]
}

/// As `(old,new),(old,new)`; MariaDB has `old->new,old->new`.
pub fn rewrites(row: &SourceRow, show: fn(&str, &str) -> String) -> Cell {
    let rewrites = row.filter.replicate_rewrite_db.iter();
    let shown: Vec<String> = rewrites.map(|(old, new)| show(old, new)).collect();
    text("Replicate_Rewrite_DB", shown.join(","))
}

fn tls(row: &SourceRow) -> [Cell; 6] {
    let path = |name, path: &Option<std::path::PathBuf>| {
        let path = path
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned());
        text(name, path.unwrap_or_default())
    };
    let allowed = row.tls.mode != TlsMode::Disabled;
    [
        text("Master_SSL_Allowed", yes_or_no(allowed)),
        path("Master_SSL_CA_File", &row.tls.ca),
        text("Master_SSL_CA_Path", ""),
        path("Master_SSL_Cert", &row.tls.cert),
        text("Master_SSL_Cipher", ""),
        path("Master_SSL_Key", &row.tls.key),
    ]
}
