//! The answer to `binrelay conflicts`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::one_line::escaped;

/// The answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConflictReport {
    /// Whether conflicts are detected at all.
    pub detected: bool,
    /// Since when, in UTC: the start of the relay.
    pub since: String,
    /// How many were found since.
    pub count: u64,
    /// The newest ones, in the order in which they were found.
    pub conflicts: Vec<Conflict>,
    /// What was not compared.
    pub not_compared: NotCompared,
}

/// What was not compared, since the start of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotCompared {
    /// Transactions that were forgotten before each other source had sent them, because there were too many.
    pub transactions: u64,
    /// Rows events that could not be read, or are too large, and parts of transactions with too many rows.
    pub events: u64,
    /// Pairs of transactions that may be in conflict, but a source does not log what it replicates
    /// (`log_slave_updates`), or could not be asked.
    pub uncertain: u64,
    /// Log files that were removed before they were read.
    pub files: u64,
}

/// A key that was changed on two masters, by transactions of which neither master had seen the other's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// When it was found, in UTC.
    pub at: String,
    /// The table's database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The values of the primary key; null where the table has none, or none is known: then the whole rows are equal.
    pub key: Option<Vec<Value>>,
    /// The two transactions.
    pub writes: [ConflictingWrite; 2],
}

/// One of the two transactions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictingWrite {
    /// The source on which it was executed.
    pub source: String,
    /// Its server_id.
    pub server_id: u32,
    /// Its GTID; null without GTIDs.
    pub gtid: Option<String>,
    /// Where it ends in the source's binlog: the file.
    pub file: String,
    /// The position.
    pub position: u64,
    /// Where it begins in the relay log: the file.
    pub relay_file: String,
    /// The position.
    pub relay_position: u64,
    /// When it was committed, in UTC; null if unknown.
    pub time: Option<String>,
    /// `insert`, `update` or `delete`.
    pub action: String,
    /// The row before, as in `binrelay dump --rows --json`; null in an insert. Long values are truncated.
    pub before: Option<Vec<Value>>,
    /// The row after; null in a delete.
    pub after: Option<Vec<Value>>,
}

impl Conflict {
    /// Table, key and coordinates on one line.
    pub fn to_line(&self) -> String {
        let key = match &self.key {
            Some(key) => format!("key {}", list(key)),
            None => "a row without primary key".to_owned(),
        };
        let [first, second] = self.writes.each_ref().map(ConflictingWrite::coordinates);
        let table = format!("{}.{}", self.database, self.table);
        format!(
            "{}, {}: {first} and {second}",
            escaped(&table),
            escaped(&key)
        )
    }
}

impl ConflictingWrite {
    /// The source and its coordinates.
    pub fn coordinates(&self) -> String {
        let gtid = self
            .gtid
            .as_deref()
            .map_or(String::new(), |gtid| format!(" ({gtid})"));
        format!("{} at {}:{}{gtid}", self.source, self.file, self.position)
    }
}

/// The values, with commas between them.
pub fn list(values: &[Value]) -> String {
    let values: Vec<String> = values.iter().map(Value::to_string).collect();
    values.join(", ")
}
