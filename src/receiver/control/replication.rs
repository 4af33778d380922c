//! What a source has replicated itself, as a replica of other servers.

use std::collections::HashMap;

use super::connection::{
    ControlConnection, ControlError, DENIED, Row, ServerSettings, server_code, text_at, unreadable,
};
use crate::flavor::Flavor;
use crate::gtid::GtidPosition;
use crate::position::SourcePosition;
use crate::protocol::response::TextResult;

/// A source as a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// Whether it logs what it replicates: `log_slave_updates`, `log_replica_updates`.
    pub logs_updates: bool,
    /// Whether several threads apply what one connection receives.
    pub is_parallel: bool,
    /// MariaDB: `gtid_slave_pos`.
    pub slave_pos: Option<GtidPosition>,
    /// Its connections to other servers; `None` if the account may not see them.
    pub connections: Option<Vec<ReplicaConnection>>,
}

impl Replication {
    /// The server_ids of the servers of which it logs what it replicates; `None` if the account may not see them.
    pub fn logs_of(&self) -> Option<Vec<u32>> {
        if !self.logs_updates {
            return Some(Vec::new());
        }
        let connections = self.connections.as_ref()?.iter();
        Some(connections.map(|connection| connection.server_id).collect())
    }

    /// The rules with which it logs what it replicates: of each server_id, if there are any.
    pub fn rules_of(&self) -> Vec<(u32, Vec<(String, String)>)> {
        let connections = self.connections.iter().flatten();
        connections
            .filter(|connection| self.logs_updates && !connection.rules.is_empty())
            .map(|connection| (connection.server_id, connection.rules.clone()))
            .collect()
    }
}

/// A replication connection of a source to another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaConnection {
    /// `HOST:PORT` of the other server.
    pub from: String,
    /// The other server's server_id; 0 if it was never connected.
    pub server_id: u32,
    /// Whether it receives, or tries to.
    pub is_receiving: bool,
    /// Whether its applier waits because it has applied everything whole that was received.
    pub is_waiting: bool,
    /// Up to where the other server's binlog was received.
    pub received: SourcePosition,
    /// Up to where it was applied.
    pub applied: SourcePosition,
    /// Its rules: the names and values of the columns that are not empty, as `Replicate_Do_DB`.
    pub rules: Vec<(String, String)>,
}

impl ControlConnection {
    /// Asks what the server has replicated. `settings` are those of this connection's server.
    ///
    /// # Errors
    /// When the connection fails, or an answer cannot be read. A missing privilege is not an error.
    pub async fn replication(
        &mut self,
        settings: &ServerSettings,
    ) -> Result<Replication, ControlError> {
        let rows = self
            .query(
                "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_slave_updates', \
                 'log_replica_updates', 'slave_parallel_workers', 'replica_parallel_workers', \
                 'slave_parallel_threads', 'gtid_slave_pos')",
            )
            .await?;
        let variables: HashMap<String, String> = rows
            .iter()
            .filter_map(|row| Some((text_at(row, 0)?.to_ascii_lowercase(), text_at(row, 1)?)))
            .collect();
        let first = |names: &[&str]| names.iter().find_map(|name| variables.get(*name)).cloned();
        let logs_updates = first(&["log_replica_updates", "log_slave_updates"]);
        let workers = first(&[
            "replica_parallel_workers",
            "slave_parallel_workers",
            "slave_parallel_threads",
        ]);
        let slave_pos = match (settings.flavor, variables.get("gtid_slave_pos")) {
            (Flavor::MariaDb, Some(text)) => {
                let parsed = text.parse::<GtidPosition>();
                Some(parsed.map_err(|_| unreadable("gtid_slave_pos", text))?)
            }
            _ => None,
        };
        Ok(Replication {
            logs_updates: logs_updates.is_some_and(|value| !matches!(&*value, "OFF" | "0")),
            is_parallel: workers.is_some_and(|count| count != "0"),
            slave_pos,
            connections: self.connections(settings).await?,
        })
    }

    async fn connections(
        &mut self,
        settings: &ServerSettings,
    ) -> Result<Option<Vec<ReplicaConnection>>, ControlError> {
        let statement = match settings.flavor {
            Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
            Flavor::MySql if settings.version_numbers() >= (8, 0, 22) => "SHOW REPLICA STATUS",
            Flavor::MySql => "SHOW SLAVE STATUS",
        };
        let is_denied =
            |error: &ControlError| server_code(error).is_some_and(|code| DENIED.contains(&code));
        match self.query_result(statement).await {
            Err(error) if is_denied(&error) => Ok(None),
            answer => {
                let TextResult { columns, rows } = answer?;
                let connections = rows.iter().map(|row| connection(&columns, row));
                Ok(Some(connections.collect()))
            }
        }
    }
}

/// The rules, except for those that end loops between several masters.
fn rules(columns: &[String], row: &Row) -> Vec<(String, String)> {
    let named = columns.iter().enumerate().filter(|(_, name)| {
        name.starts_with("Replicate_") && *name != "Replicate_Ignore_Server_Ids"
    });
    let values = named.filter_map(|(at, name)| Some((name.clone(), text_at(row, at)?)));
    values.filter(|(_, value)| !value.is_empty()).collect()
}

fn connection(columns: &[String], row: &Row) -> ReplicaConnection {
    let column = |name: &str| {
        let found = columns.iter().position(|column| column == name);
        found.and_then(|at| text_at(row, at))
    };
    let value = |names: [&str; 2]| {
        let mut names = names.into_iter();
        names.find_map(column).unwrap_or_default()
    };
    let position = |file: [&str; 2], offset: [&str; 2]| {
        SourcePosition::new(value(file), value(offset).parse().unwrap_or(0))
    };
    let io = value(["Replica_IO_Running", "Slave_IO_Running"]);
    let state = value(["Replica_SQL_Running_State", "Slave_SQL_Running_State"]);
    let port = value(["Source_Port", "Master_Port"]);
    ReplicaConnection {
        from: format!("{}:{port}", value(["Source_Host", "Master_Host"])),
        server_id: value(["Source_Server_Id", "Master_Server_Id"])
            .parse()
            .unwrap_or(0),
        is_receiving: io != "No",
        is_waiting: state.contains("has read all relay log"),
        received: position(
            ["Source_Log_File", "Master_Log_File"],
            ["Read_Source_Log_Pos", "Read_Master_Log_Pos"],
        ),
        applied: position(
            ["Relay_Source_Log_File", "Relay_Master_Log_File"],
            ["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"],
        ),
        rules: rules(columns, row),
    }
}
