//! The tables of two servers, and how they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use mysql_async::Row;

use super::servers::Server;

/// A table's contents as CHECKSUM TABLE … EXTENDED and its definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableState {
    pub checksum: Option<u64>,
    pub rows: u64,
    pub definition: String,
}

/// Every table of a database; an unknown database has none.
pub async fn checksum_tables(server: &Server, database: &str) -> BTreeMap<String, TableState> {
    let names: Vec<String> = server
        .rows(&format!(
            "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
             WHERE table_schema = '{database}' AND table_type = 'BASE TABLE'"
        ))
        .await;
    let mut tables = BTreeMap::new();
    for name in names {
        let table = format!("`{database}`.`{name}`");
        let checksum = server
            .rows::<Row>(&format!("CHECKSUM TABLE {table} EXTENDED"))
            .await;
        let checksum = checksum
            .first()
            .and_then(|row| row.get::<Option<u64>, usize>(1)?);
        let rows = server
            .rows::<u64>(&format!("SELECT COUNT(*) FROM {table}"))
            .await;
        let create = server
            .rows::<Row>(&format!("SHOW CREATE TABLE {table}"))
            .await;
        let create = create.first().and_then(|row| row.get::<String, usize>(1));
        let state = TableState {
            checksum,
            rows: rows.first().copied().unwrap_or(0),
            definition: without_counter(&create.unwrap_or_default()),
        };
        tables.insert(name, state);
    }
    tables
}

/// AUTO_INCREMENT=… is not replicated exactly: rolled-back inserts move it on the master only.
fn without_counter(definition: &str) -> String {
    let words = definition
        .split(' ')
        .filter(|word| !word.starts_with("AUTO_INCREMENT="));
    words.collect::<Vec<_>>().join(" ")
}

/// Readable lines, none when both are equal.
pub fn differences(
    expected: &BTreeMap<String, TableState>,
    found: &BTreeMap<String, TableState>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, state) in expected {
        match found.get(name) {
            None => lines.push(format!("{name}: missing, expected {} rows", state.rows)),
            Some(other) if other.definition != state.definition => lines.push(format!(
                "{name}: defined as {}, expected {}",
                other.definition, state.definition
            )),
            Some(other) if other != state => lines.push(format!(
                "{name}: {} rows with checksum {:?}, expected {} rows with {:?}",
                other.rows, other.checksum, state.rows, state.checksum
            )),
            Some(_) => {}
        }
    }
    let surplus = found.keys().filter(|name| !expected.contains_key(*name));
    lines.extend(surplus.map(|name| format!("{name}: not expected")));
    lines
}

/// Fails when the tables of `database` on `found` are not those on `expected`.
pub async fn assert_same_tables(expected: &Server, found: &Server, database: &str) {
    assert_same_tables_where(expected, found, database, |_| true).await;
}

/// As `assert_same_tables`, for the tables whose names `chosen` accepts.
pub async fn assert_same_tables_where(
    expected: &Server,
    found: &Server,
    database: &str,
    chosen: impl Fn(&str) -> bool,
) {
    let mut wanted = checksum_tables(expected, database).await;
    let mut there = checksum_tables(found, database).await;
    wanted.retain(|name, _| chosen(name));
    there.retain(|name, _| chosen(name));
    assert!(
        !wanted.is_empty(),
        "{expected} has no tables in {database}: nothing was compared"
    );
    let lines = differences(&wanted, &there);
    if lines.is_empty() {
        return;
    }
    let mut message = format!("{found} does not hold what {expected} holds:\n");
    for line in &lines {
        writeln!(message, "  {line}").expect("writing to a string");
    }
    for name in wanted
        .keys()
        .filter(|name| wanted.get(*name) != there.get(*name))
    {
        message.push_str(&differing_rows(expected, found, database, name).await);
    }
    panic!("{message}");
}

/// As `assert_same_tables`, for servers of different kinds: the rows are compared as text, since
/// checksums and definitions are each kind's own.
pub async fn assert_same_rows(expected: &Server, found: &Server, database: &str) {
    let wanted = checksum_tables(expected, database).await;
    let there = checksum_tables(found, database).await;
    assert!(
        !wanted.is_empty(),
        "{expected} has no tables in {database}: nothing was compared"
    );
    let (wanted, there): (Vec<_>, Vec<_>) = (wanted.keys().collect(), there.keys().collect());
    assert_eq!(wanted, there, "the tables of {expected} and of {found}");
    for name in wanted {
        let differing = differing_rows(expected, found, database, name).await;
        assert!(
            differing.is_empty(),
            "{found} does not hold what {expected} holds: {differing}"
        );
    }
}

/// The first few rows that only one of the two has.
async fn differing_rows(expected: &Server, found: &Server, database: &str, name: &str) -> String {
    let mut message = String::new();
    let wanted = row_texts(expected, database, name).await;
    let there = row_texts(found, database, name).await;
    for (word, rows) in [
        ("missing", wanted.difference(&there)),
        ("surplus", there.difference(&wanted)),
    ] {
        for row in rows.take(5) {
            let row: String = row.chars().take(300).collect();
            writeln!(message, "  {name} {word}: {row}").expect("writing to a string");
        }
    }
    message
}

async fn row_texts(server: &Server, database: &str, name: &str) -> BTreeSet<String> {
    let table = format!("SHOW TABLES FROM `{database}` LIKE '{name}'");
    if server.value(&table).await.is_none() {
        return BTreeSet::new();
    }
    let rows: Vec<Row> = server
        .rows(&format!("SELECT * FROM `{database}`.`{name}` LIMIT 20000"))
        .await;
    rows.into_iter()
        .map(|row| format!("{:?}", row.unwrap()))
        .collect()
}

/// Fails when the server has the database.
pub async fn assert_no_database(server: &Server, database: &str) {
    let found = server
        .value(&format!(
            "SELECT schema_name FROM information_schema.schemata WHERE schema_name = '{database}'"
        ))
        .await;
    assert!(
        found.is_none(),
        "{server} has the database {database}, which is filtered out"
    );
}
