//! Answers of 5.5.59 and 5.7.23 to statements: exactly the recorded packets for recorded
//! statements, and for others what these versions say.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::binlog::Binlog;
use super::version::Version;
use super::wire::{ErrorPacket, put_text};

/// A column's definition, in the few forms that occur.
#[derive(Clone, Debug)]
struct Column {
    schema: &'static str,
    table: &'static str,
    name: String,
    original_name: &'static str,
    charset: u16,
    length: u32,
    kind: u8,
    flags: u16,
    decimals: u8,
}

/// The answer to a statement.
#[derive(Debug)]
pub enum Answer {
    Ok,
    Error(ErrorPacket),
    Rows(ResultSet),
}

#[derive(Debug)]
pub struct ResultSet {
    columns: Vec<Column>,
    rows: Vec<Vec<Option<String>>>,
    /// The server's status flags after it.
    status: u16,
}

/// A system variable's value, and how `SELECT` and `SHOW` print it.
#[derive(Clone, Debug)]
enum Value {
    /// `1` and `ON`.
    Switch(bool),
    Number(u64),
    Text(String),
}

impl Value {
    fn selected(&self) -> String {
        match self {
            Value::Switch(on) => u8::from(*on).to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.clone(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Value::Switch(true) => "ON".to_owned(),
            Value::Switch(false) => "OFF".to_owned(),
            other => other.selected(),
        }
    }
}

/// User variables of a session, by name in lower case.
pub type UserVariables = HashMap<String, String>;

const AUTO_COMMIT: u16 = 2;
/// No index was used: set by SHOW VARIABLES.
const NO_INDEX_USED: u16 = 0x20;

/// The columns of SHOW MASTER STATUS; 5.5 lacks the last.
const MASTER_STATUS: [&str; 5] = [
    "File",
    "Position",
    "Binlog_Do_DB",
    "Binlog_Ignore_DB",
    "Executed_Gtid_Set",
];

/// The system variables that replicas and tools ask for, by version.
fn variables(binlog: &Binlog) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut all = vec![
        ("auto_increment_increment", Value::Number(1)),
        ("auto_increment_offset", Value::Number(1)),
        ("binlog_format", text("MIXED")),
        ("character_set_server", text("latin1")),
        ("collation_server", text("latin1_swedish_ci")),
        ("expire_logs_days", Value::Number(0)),
        ("log_bin", Value::Switch(true)),
        ("log_slave_updates", Value::Switch(true)),
        ("lower_case_table_names", Value::Number(0)),
        ("max_allowed_packet", Value::Number(1 << 20)),
        ("read_only", Value::Switch(false)),
        ("server_id", Value::Number(binlog.server_id.into())),
        ("sync_binlog", Value::Number(0)),
        ("time_zone", text("SYSTEM")),
        ("tx_isolation", text("REPEATABLE-READ")),
        ("version", text(binlog.version.name())),
        ("version_comment", text("Source distribution")),
        ("wait_timeout", Value::Number(28_800)),
    ];
    if binlog.version != Version::V55 {
        let mode = if binlog.gtids { "ON" } else { "OFF" };
        let executed = binlog.executed().to_string();
        let uuid = binlog.uuid.expect("it has one").to_string();
        let checksum = if binlog.version.is_checksummed() {
            "CRC32"
        } else {
            "NONE"
        };
        all.extend([
            ("binlog_checksum", text(checksum)),
            ("binlog_row_image", text("FULL")),
            ("enforce_gtid_consistency", text(mode)),
            ("gtid_executed", Value::Text(executed)),
            ("gtid_mode", text(mode)),
            ("gtid_purged", text("")),
            ("server_uuid", Value::Text(uuid)),
        ]);
    }
    all
}

/// Answers a statement of a session with these user variables.
pub fn answer(sql: &str, user: &mut UserVariables, binlog: &Binlog) -> Answer {
    let sql = sql.trim().trim_end_matches(';');
    let answered = match sql
        .split_once(' ')
        .map(|(word, rest)| (word.to_uppercase(), rest))
    {
        Some((word, rest)) if word == "SELECT" => select(rest, user, binlog),
        Some((word, rest)) if word == "SET" => set(rest, user, binlog),
        Some((word, rest)) if word == "SHOW" => show(rest, binlog),
        _ => Err(syntax_error(sql)),
    };
    answered.unwrap_or_else(Answer::Error)
}

/// Whether the answer is the one to a statement that the version does not know.
pub fn is_syntax_error(answer: &Answer) -> bool {
    matches!(answer, Answer::Error(error) if error.code == 1064)
}

fn syntax_error(near: &str) -> ErrorPacket {
    ErrorPacket::new(
        1064,
        "42000",
        format!(
            "You have an error in your SQL syntax; check the manual that corresponds to your MySQL \
             server version for the right syntax to use near '{near}' at line 1"
        ),
    )
}

fn unknown_variable(name: &str) -> ErrorPacket {
    ErrorPacket::new(1193, "HY000", format!("Unknown system variable '{name}'"))
}

/// `@@x`, `@@GLOBAL.x` or `@@SESSION.x`: the name as it was written, and the value.
fn system_variable(expression: &str, binlog: &Binlog) -> Option<Result<Value, ErrorPacket>> {
    let name = expression.strip_prefix("@@")?;
    let name = match name.split_once('.') {
        Some((_, name)) => name,
        None => name,
    };
    let found = variables(binlog)
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    Some(
        found
            .map(|(_, value)| value)
            .ok_or_else(|| unknown_variable(name)),
    )
}

fn select(list: &str, user: &UserVariables, binlog: &Binlog) -> Result<Answer, ErrorPacket> {
    let (mut columns, mut row) = (Vec::new(), Vec::new());
    for expression in list.split(',').map(str::trim) {
        let (column, value) = selected(expression, user, binlog)?;
        columns.push(column);
        row.push(value);
    }
    Ok(Answer::Rows(ResultSet {
        columns,
        rows: vec![row],
        status: AUTO_COMMIT,
    }))
}

fn selected(
    expression: &str,
    user: &UserVariables,
    binlog: &Binlog,
) -> Result<(Column, Option<String>), ErrorPacket> {
    let name = expression.to_owned();
    if let Some(value) = system_variable(expression, binlog) {
        let value = value?;
        let column = match &value {
            Value::Number(_) => Column::number(name, 21, 0xA0),
            Value::Switch(_) => Column::number(name, 1, 0x80),
            Value::Text(text) => Column::text(name, text.len() as u32, 0xFD, 31),
        };
        return Ok((column, Some(value.selected())));
    }
    if let Some(variable) = expression.strip_prefix('@') {
        let value = user.get(&variable.to_lowercase()).cloned();
        return Ok((Column::text(name, 0xFF_FFFF, 0xFA, 31), value));
    }
    let is_55 = binlog.version == Version::V55;
    match expression.to_uppercase().as_str() {
        "UNIX_TIMESTAMP()" => {
            let elapsed = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("a clock");
            let length = if is_55 { 10 } else { 11 };
            let column = Column::number(name, length, 0x81);
            Ok((column, Some(elapsed.as_secs().to_string())))
        }
        "VERSION()" => {
            let version = binlog.version.name().to_owned();
            Ok((
                Column::text(name, version.len() as u32, 0xFD, 31),
                Some(version),
            ))
        }
        "CURRENT_USER()" => Ok((Column::text(name, 77, 0xFD, 31), Some("repl@%".to_owned()))),
        "1" => Ok((Column::number(name, 1, 0x81), Some("1".to_owned()))),
        _ => Err(syntax_error(expression)),
    }
}

/// Assignments that session setup makes: to user variables, and `SET NAMES`.
fn set(list: &str, user: &mut UserVariables, binlog: &Binlog) -> Result<Answer, ErrorPacket> {
    if list.to_uppercase().starts_with("NAMES ") {
        return Ok(Answer::Ok);
    }
    for assignment in list.split(',') {
        let (name, value) = assignment
            .split_once('=')
            .ok_or_else(|| syntax_error(list))?;
        let value = value.trim();
        let value = match system_variable(value, binlog) {
            Some(variable) => variable?.selected(),
            None => value.trim_matches('\'').to_owned(),
        };
        let name = name.trim().trim_end_matches(':');
        match name.strip_prefix("@@") {
            Some(_) => {
                system_variable(name, binlog).expect("it begins with @@")?;
            }
            None => {
                let variable = name
                    .strip_prefix('@')
                    .ok_or_else(|| unknown_variable(name))?;
                user.insert(variable.to_lowercase(), value);
            }
        }
    }
    Ok(Answer::Ok)
}

fn show(rest: &str, binlog: &Binlog) -> Result<Answer, ErrorPacket> {
    let upper = rest.to_uppercase();
    let of_variables = upper
        .strip_prefix("GLOBAL ")
        .or_else(|| upper.strip_prefix("SESSION "))
        .unwrap_or(&upper);
    if let Some(condition) = of_variables.strip_prefix("VARIABLES ") {
        // Names have no upper-case letters, so the statement's case does not matter.
        let condition = condition.to_lowercase();
        let names: Vec<&str> = condition.split('\'').skip(1).step_by(2).collect();
        let is_list = condition.starts_with("where variable_name in (");
        if names.is_empty() || !(is_list || condition.starts_with("like '")) {
            return Err(syntax_error(rest));
        }
        let found = variables(binlog)
            .into_iter()
            .filter(|(name, _)| names.contains(name));
        let rows = found.map(|(name, value)| vec![Some(name.to_owned()), Some(value.shown())]);
        return Ok(Answer::Rows(shown_variables(
            binlog.version,
            rows.collect(),
        )));
    }
    if let Some(of_table) = upper.strip_prefix("COLUMNS FROM ") {
        // The account has no privilege on tables.
        let table = of_table
            .split('`')
            .nth(1)
            .unwrap_or_default()
            .to_lowercase();
        let denied =
            format!("SELECT command denied to user 'repl'@'localhost' for table '{table}'");
        return Err(ErrorPacket::new(1142, "42000", denied));
    }
    if upper == "BINARY LOGS" {
        let files = binlog.files.iter();
        let rows = files.map(|file| vec![Some(file.name.clone()), Some(file.len().to_string())]);
        return Ok(Answer::Rows(ResultSet {
            columns: vec![
                Column::text("Log_name".to_owned(), 255, 0xFD, 31),
                Column::number("File_size".to_owned(), 20, 0x81),
            ],
            rows: rows.collect(),
            status: AUTO_COMMIT,
        }));
    }
    let newest = binlog.newest();
    let (names, row): (&[&str], Vec<String>) = match upper.as_str() {
        "MASTER STATUS" => {
            let position = newest.len().to_string();
            let mut row = vec![newest.name.clone(), position, String::new(), String::new()];
            if binlog.version != Version::V55 {
                row.push(binlog.executed().to_string());
            }
            (&MASTER_STATUS[..row.len()], row)
        }
        "GRANTS FOR CURRENT_USER" | "GRANTS FOR CURRENT_USER()" => {
            let grant = "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'repl'@'%'";
            (&["Grants for repl@%"], vec![grant.to_owned()])
        }
        _ => return Err(syntax_error(rest)),
    };
    let columns = names
        .iter()
        .map(|name| Column::text((*name).to_owned(), 255, 0xFD, 31));
    Ok(Answer::Rows(ResultSet {
        columns: columns.collect(),
        rows: vec![row.into_iter().map(Some).collect()],
        status: AUTO_COMMIT,
    }))
}

fn shown_variables(version: Version, rows: Vec<Vec<Option<String>>>) -> ResultSet {
    let column = |name: &str, original_name, length, flags| Column {
        schema: "information_schema",
        table: "VARIABLES",
        original_name,
        flags,
        decimals: 0,
        ..Column::text(name.to_owned(), length, 0xFD, 0)
    };
    // 5.7 reads them from performance_schema, whose columns are narrower; no client looks at that.
    let columns = vec![
        column("Variable_name", "VARIABLE_NAME", 64, 1),
        column("Value", "VARIABLE_VALUE", 1024, 0),
    ];
    ResultSet {
        columns,
        rows,
        status: match version {
            Version::V57 => AUTO_COMMIT,
            Version::V55 | Version::V56 => AUTO_COMMIT | NO_INDEX_USED,
        },
    }
}

impl Column {
    fn number(name: String, length: u32, flags: u16) -> Column {
        Column {
            charset: 63,
            kind: 8,
            flags,
            ..Column::text(name, length, 8, 0)
        }
    }

    fn text(name: String, length: u32, kind: u8, decimals: u8) -> Column {
        Column {
            schema: "",
            table: "",
            name,
            original_name: "",
            charset: 8,
            length,
            kind,
            flags: 0,
            decimals,
        }
    }

    fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for text in [
            "def",
            self.schema,
            self.table,
            self.table,
            &self.name,
            self.original_name,
        ] {
            put_text(&mut out, text.as_bytes());
        }
        out.push(12);
        out.extend(self.charset.to_le_bytes());
        out.extend(self.length.to_le_bytes());
        out.push(self.kind);
        out.extend(self.flags.to_le_bytes());
        out.extend([self.decimals, 0, 0]);
        out
    }
}

impl Answer {
    /// The packets' payloads; `short_end`: the client announced CLIENT_DEPRECATE_EOF.
    pub fn payloads(&self, short_end: bool) -> Vec<Vec<u8>> {
        let result = match self {
            Answer::Ok => return vec![OK.to_vec()],
            Answer::Error(error) => return vec![error.payload()],
            Answer::Rows(result) => result,
        };
        let status = result.status.to_le_bytes();
        let eof = vec![0xFE, 0, 0, status[0], status[1]];
        let mut payloads = vec![vec![result.columns.len() as u8]];
        payloads.extend(result.columns.iter().map(Column::payload));
        if !short_end {
            payloads.push(eof.clone());
        }
        for row in &result.rows {
            let mut payload = Vec::new();
            for value in row {
                match value {
                    Some(text) => put_text(&mut payload, text.as_bytes()),
                    None => payload.push(0xFB),
                }
            }
            payloads.push(payload);
        }
        payloads.push(match short_end {
            true => vec![0xFE, 0, 0, status[0], status[1], 0, 0],
            false => eof,
        });
        payloads
    }
}

/// An OK packet without anything to report.
pub const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
