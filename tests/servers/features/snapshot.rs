//! The whole contents of a server, as text that can be compared.

use std::collections::BTreeMap;

use mysql_async::Row;

use crate::support::servers::{Kind, Server};

/// The contents, by name: databases, tables, views, routines, triggers, events, users, prepared
/// transactions.
pub type Snapshot = BTreeMap<String, String>;

const OWN: &str = "('mysql','sys','performance_schema','information_schema')";

/// Everything but the server's own databases and the accounts that all servers have.
pub async fn snapshot(server: &Server) -> Snapshot {
    let mut found = tables(server).await;
    let accounts = ACCOUNTS.map(|(kind, query)| (kind, query.to_owned()));
    for (kind, query) in object_queries().into_iter().chain(accounts) {
        for (name, text) in server.rows::<(String, String)>(&query).await {
            found.insert(format!("{kind} {name}"), text);
        }
    }
    for row in server.rows::<Row>("XA RECOVER").await {
        found.insert(format!("prepared {row:?}"), String::new());
    }
    found
}

/// Tables and views, with checksums of their rows.
pub async fn tables(server: &Server) -> Snapshot {
    let mut found = Snapshot::new();
    let tables = server
        .rows::<(String, String, String)>(&format!(
            "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), \
             CAST(table_type AS CHAR) FROM information_schema.tables \
             WHERE table_schema NOT IN {OWN}"
        ))
        .await;
    let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
    for (database, table, kind) in tables {
        let name = format!("{}.{}", quote(&database), quote(&table));
        let create: Vec<Row> = server.rows(&format!("SHOW CREATE TABLE {name}")).await;
        let create: String = create[0].get(1).expect("SHOW CREATE TABLE has two columns");
        let definition = create
            .split(' ')
            .filter(|word| !word.starts_with("AUTO_INCREMENT="));
        let mut text = definition.collect::<Vec<_>>().join(" ");
        if server.kind == Kind::MySql57 && text.contains(" json") {
            // Its CHECKSUM TABLE differs between equal tables with JSON columns.
            let rows: Vec<Row> = server.rows(&format!("SELECT * FROM {name}")).await;
            let mut rows: Vec<_> = rows.into_iter().map(Row::unwrap).collect();
            rows.sort_by_key(|row| format!("{row:?}"));
            text.push_str(&format!(" — {rows:?}"));
        } else if kind == "BASE TABLE" {
            let checksum: Vec<Row> = server
                .rows(&format!("CHECKSUM TABLE {name} EXTENDED"))
                .await;
            let checksum: Option<u64> = checksum[0].get(1).expect("CHECKSUM TABLE has two columns");
            let rows = server.value(&format!("SELECT COUNT(*) FROM {name}")).await;
            text.push_str(&format!(" — {rows:?} rows, checksum {checksum:?}"));
        }
        found.insert(format!("table {name}"), text);
    }
    found
}

/// Queries of accounts, as the others of names and texts.
const ACCOUNTS: [(&str, &str); 3] = [
    (
        "user",
        "SELECT CAST(user AS CHAR), CAST(host AS CHAR) FROM mysql.user \
         WHERE user LIKE 'feat%'",
    ),
    (
        "grant",
        "SELECT CONCAT_WS(' ', CAST(user AS CHAR), CAST(host AS CHAR), CAST(db AS CHAR)), \
         CONCAT_WS(' ', Select_priv, Insert_priv, Delete_priv, Execute_priv, Grant_priv) \
         FROM mysql.db WHERE user LIKE 'feat%'",
    ),
    (
        "grant",
        "SELECT CONCAT_WS(' ', CAST(user AS CHAR), CAST(host AS CHAR), CAST(db AS CHAR), \
         CAST(table_name AS CHAR), CAST(column_name AS CHAR)), CAST(column_priv AS CHAR) \
         FROM mysql.columns_priv WHERE user LIKE 'feat%'",
    ),
];

/// Queries of names and texts, each with the word for what it finds.
fn object_queries() -> Vec<(&'static str, String)> {
    let text = |columns: &[&str]| {
        let columns: Vec<String> = columns
            .iter()
            .map(|column| format!("COALESCE(CAST({column} AS CHAR), '-')"))
            .collect();
        format!("CONCAT_WS(' | ', {})", columns.join(", "))
    };
    let of = |table: &str, name: &[&str], columns: &[&str], schema: &str| {
        format!(
            "SELECT {}, {} FROM information_schema.{table} WHERE {schema} NOT IN {OWN}",
            text(name),
            text(columns)
        )
    };
    vec![
        (
            "database",
            of(
                "schemata",
                &["schema_name"],
                &["default_character_set_name", "default_collation_name"],
                "schema_name",
            ),
        ),
        (
            "routine",
            of(
                "routines",
                &["routine_schema", "routine_name"],
                &["routine_type", "routine_definition", "sql_mode", "definer"],
                "routine_schema",
            ),
        ),
        (
            "trigger",
            of(
                "triggers",
                &["trigger_schema", "trigger_name"],
                &["event_manipulation", "action_statement", "sql_mode"],
                "trigger_schema",
            ),
        ),
        (
            // A replica's events are disabled, so the status is not included.
            "event",
            of(
                "events",
                &["event_schema", "event_name"],
                &["event_definition", "interval_value", "interval_field"],
                "event_schema",
            ),
        ),
    ]
}

/// The differences as lines, none when there is none.
pub fn differences(expected: &Snapshot, found: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, text) in expected {
        match found.get(name) {
            None => lines.push(format!("missing: {name}")),
            Some(other) if other != text => {
                lines.push(format!("{name}: {other}; expected: {text}"));
            }
            Some(_) => {}
        }
    }
    let surplus = found.keys().filter(|name| !expected.contains_key(*name));
    lines.extend(surplus.map(|name| format!("not expected: {name}")));
    lines
}
