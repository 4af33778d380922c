//! The answers of a scripted source.

use std::time::{SystemTime, UNIX_EPOCH};

use super::binlog::{Binlog, set_of, state_of};
use crate::flavor::Flavor;
use crate::gtid::GtidSet;

/// What a source knows about itself.
pub(super) struct Server<'a> {
    pub(super) binlog: &'a Binlog,
    pub(super) purged: &'a GtidSet,
    pub(super) waiting: usize,
    pub(super) uuid: Option<&'a str>,
    pub(super) gtid_mode: &'a str,
    pub(super) binlog_engine: Option<&'a str>,
    /// Seconds since 1970.
    pub(super) clock: Option<u64>,
}

/// The rows of its answer to SHOW GLOBAL VARIABLES for the server's settings; empty for other statements.
pub(super) fn variables(server: &Server<'_>, sql: &str) -> Vec<(&'static str, String)> {
    if !sql.starts_with("SHOW GLOBAL VARIABLES") || !sql.contains("'server_id'") {
        return Vec::new();
    }
    let version = match server.binlog.flavor {
        Flavor::MySql => "9.7.0",
        Flavor::MariaDb => "10.11.6-MariaDB",
    };
    // As a SELECT that names all of them.
    let mut rows = values(server, "server_id, server_uuid, gtid_mode");
    rows.push(("version", version.to_owned()));
    rows
}

/// The one row of its answer to a statement: the columns' names and values.
pub(super) fn values(server: &Server<'_>, sql: &str) -> Vec<(&'static str, String)> {
    let binlog = server.binlog;
    if sql.contains("server_id") {
        let mut row = vec![
            ("server_id", binlog.server_id.to_string()),
            ("log_bin", "1".to_owned()),
            ("lower_case_table_names", "0".to_owned()),
        ];
        match binlog.flavor {
            Flavor::MySql if !sql.contains("server_uuid") => {}
            Flavor::MySql => {
                let uuid = format!("01010101-0101-0101-0101-{:012}", binlog.server_id);
                row.push(("server_uuid", server.uuid.map_or(uuid, str::to_owned)));
                if sql.contains("gtid_mode") {
                    row.push(("gtid_mode", server.gtid_mode.to_owned()));
                }
            }
            Flavor::MariaDb => {
                row.push(("gtid_domain_id", "0".to_owned()));
                row.push(("read_only", "0".to_owned()));
            }
        }
        return row;
    }
    if sql.contains("binlog_storage_engine") {
        let engine = server.binlog_engine.unwrap_or_default();
        return vec![("binlog_storage_engine", engine.to_owned())];
    }
    if sql.contains("gtid_purged") {
        return vec![("gtid_purged", server.purged.to_string())];
    }
    if sql.contains("gtid_executed") {
        let logged = binlog.executed();
        let (executed, _) = logged.split_at(logged.len() - server.waiting);
        return vec![("gtid_executed", set_of(executed).to_string())];
    }
    if sql.contains("gtid_binlog_state") {
        let state = state_of(binlog.executed());
        let entries: Vec<_> = state.iter().map(|gtid| gtid.to_string()).collect();
        return vec![("gtid_binlog_state", entries.join(","))];
    }
    if sql.starts_with("SHOW ") {
        let end = binlog.end();
        return vec![
            ("File", end.file.to_string()),
            ("Position", end.offset.to_string()),
        ];
    }
    if sql == "SELECT UNIX_TIMESTAMP()" {
        let clock = server.clock.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.unwrap().as_secs()
        });
        return vec![("UNIX_TIMESTAMP()", clock.to_string())];
    }
    panic!("a replica asked {sql}");
}
