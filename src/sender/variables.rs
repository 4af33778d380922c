//! The system variables that clients and replicas read, and the variables that a session sets.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::relay_view::RelayView;
use super::semi_sync_values;
use super::value::Value;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::identity::Executed;
use crate::relay_log::RelayLog;

/// The most variables that one session can set.
const SESSION_VARIABLES_MAX: usize = 256;
/// The most bytes of their names and values together.
const SESSION_BYTES_MAX: usize = 2 << 20;

/// The variables that a session has set.
#[derive(Debug, Clone, Default)]
pub struct SessionVariables {
    user: BTreeMap<String, Value>,
    system: BTreeMap<String, Value>,
    /// The default database.
    pub database: Option<&'static str>,
    /// Those of the last statement, for SHOW WARNINGS.
    pub warnings: Vec<Warning>,
    /// The error with which the last statement ended, for SHOW WARNINGS and SHOW ERRORS.
    pub error: Option<Warning>,
}

/// A warning, or the error, of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its error number.
    pub code: u16,
    /// Its text.
    pub message: String,
}

/// A session has set too many variables; they have been reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyVariables;

impl SessionVariables {
    /// `@name`, ignoring case; NULL if it is not set.
    pub fn user(&self, name: &str) -> Value {
        let name = name.to_lowercase();
        self.user.get(&name).cloned().unwrap_or(Value::Null)
    }

    /// The text of `@name`; `None` when it is NULL.
    pub fn user_text(&self, name: &str) -> Option<String> {
        self.user(name).into_text()
    }

    /// The text of the first of these that is set: the names depend on the replica's version.
    pub fn first_text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.user_text(name))
    }

    /// The text of a session variable, if the session has set it. `name` is in lower case.
    pub fn system_text(&self, name: &str) -> Option<String> {
        self.system.get(name).cloned().and_then(Value::into_text)
    }

    /// Sets `@name`.
    ///
    /// # Errors
    /// Too many variables are set.
    pub fn set_user(&mut self, name: &str, value: Value) -> Result<(), TooManyVariables> {
        self.user.insert(name.to_lowercase(), value);
        self.check()
    }

    /// Sets a session variable.
    ///
    /// # Errors
    /// Too many variables are set.
    pub fn set_system(&mut self, name: &str, value: Value) -> Result<(), TooManyVariables> {
        self.system.insert(name.to_lowercase(), value);
        self.check()
    }

    /// Resets all variables. The default database stays, as on servers.
    pub fn clear(&mut self) {
        *self = Self {
            database: self.database,
            ..Self::default()
        };
    }

    fn check(&mut self) -> Result<(), TooManyVariables> {
        let all = || self.user.iter().chain(&self.system);
        let bytes: usize = all()
            .map(|(name, value)| name.len() + value.byte_len())
            .sum();
        if all().count() > SESSION_VARIABLES_MAX || bytes > SESSION_BYTES_MAX {
            self.clear();
            return Err(TooManyVariables);
        }
        Ok(())
    }
}

/// The scope of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Global only.
    Global,
    /// Global and session.
    Session,
}

/// One system variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its scope.
    pub scope: Scope,
    /// Its value.
    pub value: Value,
}

/// The value of `@@version_comment`.
pub const VERSION_COMMENT: &str = "binrelay, a binlog relay";

/// All system variables, with the session's values.
pub fn all(relay: &RelayView<'_>, session: &SessionVariables) -> Vec<Variable> {
    let mut variables = of_all_but_semi_sync(relay);
    variables.extend(of_semi_sync(relay));
    set_in_session(&mut variables, session);
    variables.sort_by_key(|variable| variable.name);
    variables
}

fn of_semi_sync(relay: &RelayView<'_>) -> Vec<Variable> {
    let semi_sync = semi_sync_values::variables(relay).into_iter();
    semi_sync.map(|(name, value)| global(name, value)).collect()
}

fn set_in_session(variables: &mut [Variable], session: &SessionVariables) {
    for variable in variables {
        if let Some(value) = session.system.get(variable.name) {
            variable.value = value.clone();
        }
    }
}

fn of_all_but_semi_sync(relay: &RelayView<'_>) -> Vec<Variable> {
    let mut variables = of_both_flavors(relay);
    variables.extend(of_host(relay));
    variables.extend(innodb_version(relay));
    match relay.flavor {
        Flavor::MySql => {
            variables.extend(mysql(relay));
            variables.extend(relay.log.into_iter().flat_map(mysql_gtids));
        }
        Flavor::MariaDb => {
            variables.extend(mariadb(relay));
            variables.extend(relay.log.into_iter().flat_map(mariadb_gtids));
        }
    }
    variables
}

/// The system variables that one statement reads. Each group is made once: a condition names them for each row, and a
/// statement may name many.
#[derive(Debug, Default)]
pub struct SystemVariables {
    all_but_semi_sync: OnceCell<Vec<Variable>>,
    /// The state of the sources takes longer to read than all others together.
    semi_sync: OnceCell<Vec<Variable>>,
}

impl SystemVariables {
    /// A system variable by its name, ignoring case.
    pub fn find(
        &self,
        relay: &RelayView<'_>,
        session: &SessionVariables,
        name: &str,
    ) -> Option<&Variable> {
        let name = name.to_ascii_lowercase();
        let (group, read): (_, fn(&RelayView<'_>) -> Vec<Variable>) =
            match name.starts_with("rpl_semi_sync_") {
                true => (&self.semi_sync, of_semi_sync),
                false => (&self.all_but_semi_sync, of_all_but_semi_sync),
            };
        let variables = group.get_or_init(|| {
            let mut variables = read(relay);
            set_in_session(&mut variables, session);
            variables
        });
        variables.iter().find(|variable| variable.name == name)
    }
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

fn number(value: impl ToString) -> Value {
    Value::Number(value.to_string())
}

fn global(name: &'static str, value: Value) -> Variable {
    let scope = Scope::Global;
    Variable { name, scope, value }
}

fn local(name: &'static str, value: Value) -> Variable {
    let scope = Scope::Session;
    Variable { name, scope, value }
}

fn of_both_flavors(relay: &RelayView<'_>) -> Vec<Variable> {
    vec![
        local("auto_increment_increment", number(1)),
        local("auto_increment_offset", number(1)),
        local("autocommit", number(1)),
        global("binlog_checksum", text("CRC32")),
        local("binlog_format", text(default_binlog_format(relay))),
        local("binlog_row_image", text("FULL")),
        local("character_set_client", text("utf8mb4")),
        local("character_set_connection", text("utf8mb4")),
        local("character_set_database", text("utf8mb4")),
        local("character_set_results", text("utf8mb4")),
        local("character_set_server", text("utf8mb4")),
        global("character_set_system", text(system_character_set(relay))),
        local("collation_connection", text("utf8mb4_general_ci")),
        local("collation_database", text("utf8mb4_general_ci")),
        local("collation_server", text("utf8mb4_general_ci")),
        local("group_concat_max_len", number(1024)),
        global("init_connect", text("")),
        local("interactive_timeout", number(28800)),
        global("license", text("Apache-2.0")),
        global("log_bin", number(1)),
        global("log_slave_updates", number(1)),
        global("lower_case_table_names", number(0)),
        local("max_allowed_packet", number(1 << 30)),
        local("net_buffer_length", number(16384)),
        local("net_write_timeout", number(relay.write_timeout.as_secs())),
        global("performance_schema", number(0)),
        global("read_only", number(1)),
        global("server_id", number(relay.server_id)),
        local("sql_auto_is_null", number(0)),
        local("sql_log_bin", number(1)),
        local("sql_mode", text("")),
        local("sql_quote_show_create", number(1)),
        local("sql_select_limit", number(u64::MAX)),
        global("system_time_zone", text("UTC")),
        local("time_zone", text("SYSTEM")),
        global("version", text(relay.version)),
        global("version_comment", text(VERSION_COMMENT)),
        global("version_compile_machine", text(std::env::consts::ARCH)),
        global("version_compile_os", text(std::env::consts::OS)),
        local("wait_timeout", number(28800)),
    ]
}

/// The character set of names, as servers of the version name it.
pub fn system_character_set(relay: &RelayView<'_>) -> &'static str {
    let numbers = version_numbers(relay.version);
    let since = match relay.flavor {
        Flavor::MySql => (8, 0, 30),
        Flavor::MariaDb => (10, 6, 0),
    };
    if numbers >= since { "utf8mb3" } else { "utf8" }
}

/// The default of the log's version. The sources decide which format they write.
fn default_binlog_format(relay: &RelayView<'_>) -> &'static str {
    let numbers = version_numbers(relay.version);
    match relay.flavor {
        Flavor::MySql if numbers >= (5, 7, 7) => "ROW",
        Flavor::MySql => "STATEMENT",
        Flavor::MariaDb => "MIXED",
    }
}

/// Tools read from it what they may expect of the server. The relay has no InnoDB, but what its clients receive was
/// written by a server of the log's version, whose number this is on servers. MariaDB removed it with MDEV-28554, and had
/// numbers of its own before 10.3.7.
fn innodb_version(relay: &RelayView<'_>) -> Option<Variable> {
    let numbers = version_numbers(relay.version);
    let has_it = match relay.flavor {
        Flavor::MySql => true,
        Flavor::MariaDb => ((10, 3, 7)..(10, 10, 0)).contains(&numbers),
    };
    let (major, minor, patch) = numbers;
    has_it.then(|| global("innodb_version", text(format!("{major}.{minor}.{patch}"))))
}

/// Names of the machine and of the files, as servers show them.
fn of_host(relay: &RelayView<'_>) -> Vec<Variable> {
    let host = relay.host;
    let mut variables = vec![
        global("basedir", text(&host.base_dir)),
        global("datadir", text(&host.data_dir)),
        global("hostname", text(&host.host_name)),
        global("max_binlog_size", number(host.max_log_size)),
        global("port", number(host.port)),
        // Failover managers ask: what was applied is not removed at once.
        global("relay_log_purge", number(0)),
        global("report_host", text(&host.report_host)),
        global("report_port", number(host.report_port)),
        // There is none for SQL clients.
        global("socket", text("")),
    ];
    if let Some(log) = relay.log {
        let path = log.log_dir().dir.join(&log.log_dir().basename);
        variables.push(global("log_bin_basename", text(path.to_string_lossy())));
    }
    variables
}

fn mysql(relay: &RelayView<'_>) -> Vec<Variable> {
    let numbers = version_numbers(relay.version);
    let mut variables = vec![global("server_uuid", text(relay.server_uuid.to_string()))];
    // One thread writes what all sources send.
    if numbers >= (5, 6, 3) {
        variables.push(global("slave_parallel_workers", number(0)));
        variables.push(global("innodb_read_only", number(1)));
    }
    if ((5, 6, 2)..(8, 3, 0)).contains(&numbers) {
        // Positions are in files of the data directory.
        variables.push(global("master_info_repository", text("FILE")));
    }
    if numbers >= (5, 7, 20) {
        variables.push(local("transaction_isolation", text("REPEATABLE-READ")));
        variables.push(local("transaction_read_only", number(0)));
    }
    if numbers >= (5, 7, 8) {
        variables.push(global("super_read_only", number(1)));
    }
    if numbers >= (8, 0, 1) {
        variables.push(global("binlog_row_metadata", text("MINIMAL")));
        variables.push(global("binlog_row_value_options", text("")));
    }
    if numbers >= (8, 0, 26) {
        variables.push(global("log_replica_updates", number(1)));
        variables.push(global("replica_parallel_workers", number(0)));
    }
    if numbers < (8, 0, 3) {
        variables.push(local("query_cache_size", number(0)));
        variables.push(local("query_cache_type", text("OFF")));
        variables.push(local("tx_isolation", text("REPEATABLE-READ")));
        variables.push(local("tx_read_only", number(0)));
    }
    variables
}

fn mysql_gtids(log: &RelayLog) -> Vec<Variable> {
    // The text can be long: the log's writer must not wait for it.
    let (executed, purged) = {
        let state = log.state();
        (state.executed.clone(), state.purged.clone())
    };
    let set = |set: &Executed| {
        let set = set.as_mysql().map(|set| set.to_mysql_string());
        text(set.unwrap_or_default())
    };
    let gtid_mode = match executed {
        Executed::Anonymous => "OFF",
        _ => "ON",
    };
    vec![
        global("enforce_gtid_consistency", text(gtid_mode)),
        global("gtid_executed", set(&executed)),
        global("gtid_mode", text(gtid_mode)),
        local("gtid_next", text("AUTOMATIC")),
        global("gtid_owned", text("")),
        global("gtid_purged", set(&purged)),
    ]
}

fn mariadb(relay: &RelayView<'_>) -> Vec<Variable> {
    let numbers = version_numbers(relay.version);
    let mut variables = vec![
        local("default_master_connection", text("")),
        local("gtid_domain_id", number(0)),
        // What arrives from several sources is in the log once.
        global("gtid_ignore_duplicates", number(1)),
        global("gtid_slave_pos", text("")),
        global("gtid_strict_mode", number(0)),
        global("innodb_read_only", number(1)),
        local("query_cache_size", number(0)),
        local("query_cache_type", text("OFF")),
        global("slave_parallel_threads", number(0)),
        global("slave_parallel_workers", number(0)),
        local("tx_isolation", text("REPEATABLE-READ")),
        local("tx_read_only", number(0)),
    ];
    if numbers >= (10, 5, 0) {
        variables.push(global("binlog_row_metadata", text("NO_LOG")));
    }
    if numbers >= (11, 1, 1) {
        variables.push(local("transaction_isolation", text("REPEATABLE-READ")));
        variables.push(local("transaction_read_only", number(0)));
    }
    variables
}

fn mariadb_gtids(log: &RelayLog) -> Vec<Variable> {
    let state = log.state().executed.as_mariadb().cloned();
    let state = state.unwrap_or_default();
    let position = state.position().to_string();
    vec![
        global("gtid_binlog_pos", text(position.clone())),
        global("gtid_binlog_state", text(state.to_string())),
        global("gtid_current_pos", text(position)),
    ]
}

/// Variables whose 1 or 0 SHOW VARIABLES displays as ON or OFF.
const SWITCHES: &[&str] = &[
    "autocommit",
    "gtid_ignore_duplicates",
    "gtid_strict_mode",
    "innodb_read_only",
    "log_bin",
    "log_replica_updates",
    "log_slave_updates",
    "performance_schema",
    "read_only",
    "relay_log_purge",
    "sql_auto_is_null",
    "sql_log_bin",
    "sql_quote_show_create",
    "super_read_only",
    "transaction_read_only",
    "tx_read_only",
];

fn is_switch(name: &str) -> bool {
    SWITCHES.contains(&name) || semi_sync_values::SWITCHES.contains(&name)
}

/// The value as SHOW VARIABLES displays it.
pub fn shown_value(variable: &Variable) -> String {
    let text = variable.value.clone().into_text().unwrap_or_default();
    match text.as_str() {
        "1" if is_switch(variable.name) => "ON".to_owned(),
        "0" if is_switch(variable.name) => "OFF".to_owned(),
        _ => text,
    }
}
