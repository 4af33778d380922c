//! The contents of a replica, as text that can be compared. An object that cannot be read is replaced by the error.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::support::servers::Server;

/// Texts by the names of objects.
pub type Snapshot = BTreeMap<String, String>;

/// The server's own databases; `mtr` holds the suites' notes about expected warnings.
const OWN: &str = "('mysql','sys','performance_schema','information_schema','mtr')";

const OBJECTS: &[(&str, &str)] = &[
    (
        "database",
        "SELECT schema_name, CONCAT_WS(' ', default_character_set_name, default_collation_name, schema_comment) \
         FROM information_schema.schemata WHERE schema_name NOT IN {own}",
    ),
    (
        "routine",
        "SELECT CONCAT_WS('.', routine_schema, routine_type, routine_name), \
         CONCAT_WS(' | ', routine_definition, dtd_identifier, sql_mode, definer, sql_data_access, security_type, \
         character_set_client, collation_connection) \
         FROM information_schema.routines WHERE routine_schema NOT IN {own}",
    ),
    (
        "trigger",
        "SELECT CONCAT_WS('.', trigger_schema, trigger_name), \
         CONCAT_WS(' | ', event_manipulation, event_object_table, action_timing, action_order, action_statement, \
         sql_mode, definer, character_set_client, collation_connection) \
         FROM information_schema.triggers WHERE trigger_schema NOT IN {own}",
    ),
    (
        "event",
        "SELECT CONCAT_WS('.', event_schema, event_name), \
         CONCAT_WS(' | ', event_definition, event_type, execute_at, interval_value, interval_field, starts, ends, \
         status, on_completion, sql_mode, definer, time_zone, originator) \
         FROM information_schema.events WHERE event_schema NOT IN {own}",
    ),
    (
        "account",
        "SELECT CONCAT_WS('@', user, host), JSON_REMOVE(priv, '$.password_last_changed') FROM mysql.global_priv",
    ),
    (
        "privileges on a database",
        "SELECT CONCAT_WS(' ', user, host, db), 'granted' FROM mysql.db",
    ),
    (
        "variable",
        "SELECT 'gtid_slave_pos', @@GLOBAL.gtid_slave_pos",
    ),
    (
        "errors",
        "SELECT variable_name, variable_value FROM information_schema.global_status \
         WHERE variable_name = 'SLAVE_SKIPPED_ERRORS'",
    ),
];

pub async fn snapshot(server: &Server) -> Snapshot {
    let mut conn = server.connect().await;
    let mut found = Snapshot::new();
    for (kind, query) in OBJECTS {
        let query = query.replace("{own}", OWN);
        for row in rows(&mut conn, &query).await {
            let (name, text) = row.unwrap_or_else(|error| (query.clone(), error));
            // A GTID position has no order.
            let mut words: Vec<&str> = text.split(',').collect();
            if *kind == "variable" {
                words.sort_unstable();
            }
            let text = words.join(",");
            found.insert(format!("{kind} {name}"), text);
        }
    }
    let tables = format!(
        "SELECT CONCAT('`', REPLACE(table_schema, '`', '``'), '`.`', REPLACE(table_name, '`', '``'), '`'), \
         table_type FROM information_schema.tables WHERE table_schema NOT IN {OWN}"
    );
    for table in rows(&mut conn, &tables).await {
        let (name, kind) = table.expect("the tables can be listed");
        let mut text = kind.clone();
        for query in table_queries(&kind) {
            for row in rows(&mut conn, &query.replace("{name}", &name)).await {
                let value = row.map_or_else(|error| error, |(_, value)| value);
                text.push_str(" | ");
                text.push_str(&value);
            }
        }
        found.insert(format!("table {name}"), text);
    }
    for row in rows(&mut conn, "XA RECOVER FORMAT='SQL'").await {
        let (_, name) = row.unwrap_or_else(|error| (String::new(), error));
        found.insert(format!("prepared transaction {name}"), String::new());
    }
    conn.disconnect().await.ok();
    found
}

/// Queries for one table, whose second column is compared.
fn table_queries(kind: &str) -> &'static [&'static str] {
    match kind {
        "BASE TABLE" | "SYSTEM VERSIONED" => &[
            "SHOW CREATE TABLE {name}",
            "CHECKSUM TABLE {name} EXTENDED",
            "SELECT 'rows', COUNT(*) FROM {name}",
        ],
        "SEQUENCE" => &[
            "SHOW CREATE TABLE {name}",
            "SELECT 'next', CONCAT_WS(' ', next_not_cached_value, cycle_count) FROM {name}",
        ],
        _ => &["SHOW CREATE TABLE {name}"],
    }
}

/// The first two columns of each row, or for a prepared transaction the last.
async fn rows(conn: &mut Conn, query: &str) -> Vec<Result<(String, String), String>> {
    let rows: Result<Vec<Row>, _> = conn.query(query).await;
    let text = |row: &Row, column: usize| match row.as_ref(column) {
        None => String::new(),
        Some(mysql_async::Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(value) => format!("{value:?}"),
    };
    match rows {
        Ok(rows) => rows
            .iter()
            .map(|row| {
                let second = if query.starts_with("XA") {
                    row.len() - 1
                } else {
                    1
                };
                Ok((text(row, 0), text(row, second)))
            })
            .collect(),
        Err(error) => vec![Err(error.to_string())],
    }
}
