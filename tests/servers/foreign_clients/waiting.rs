//! Clients that wait at the end of the log.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::tools::tool;
use crate::support::Deadline;
use crate::support::foreign_clients::{Comparison, Waiting, driver, server, tables};
use crate::support::same_binlog::{DATABASE, SameBinlog};

const DRIVERS: [&str; 3] = [
    "mysql-replication",
    "@vlasky/zongji",
    "@powersync/mysql-zongji",
];

/// Why a client cannot be asked for this.
fn differs_on_mysql(client: &str) -> Option<&'static str> {
    match client {
        "mysql-replication" => Some("it cannot read a file behind a GTID with a tag"),
        _ => None,
    }
}

/// Clients that wait at the end receive what is written next.
pub async fn waiting(binlog: &SameBinlog, table: &mut Comparison) {
    let kind = binlog.kind();
    let newest = binlog.stop_file();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let raw = format!("--result-file={}/raw-", directory.path().display());
    let arguments = [
        "--raw".to_owned(),
        "--stop-never".to_owned(),
        raw,
        newest.clone(),
    ];
    let options = json!({
        "server": server(binlog.relay.port), "file": newest, "position": 4, "blocking": true,
        "gtid": if kind.is_mariadb() { json!("") } else { Value::Null },
        "mariadb": kind.is_mariadb(), "metadata": tables(binlog.source.port), "schema": {DATABASE: ["things"]},
    });
    let mut clients = vec![(
        "binlog tool --raw --stop-never",
        tool(kind, binlog.relay.port, &arguments),
    )];
    for (index, client) in DRIVERS.into_iter().enumerate() {
        if kind.is_mysql()
            && let Some(why) = differs_on_mysql(client)
        {
            table.add_different::<&str>(&format!("{client}, waiting"), &[], &[], why);
            continue;
        }
        let mut command = driver(client);
        let mut options = options.clone();
        // Two with one server_id would drive each other away.
        options["server_id"] = json!(81 + index);
        if client != "mysql-replication" {
            options["gtid"] = Value::Null;
        }
        command.arg(options.to_string());
        clients.push((client, command));
    }
    let clients: Vec<_> = clients
        .into_iter()
        .map(|(name, command)| (name, Waiting::start(command)))
        .collect();
    let written = "written while they wait";
    tokio::time::sleep(Duration::from_millis(500)).await;
    let insert = format!("INSERT INTO {DATABASE}.things (name) VALUES ('{written}')");
    binlog.source.sql(&insert).await;
    let deadline = Deadline::after_secs(60);
    for (name, client) in &clients {
        let received = || {
            let mut bytes = client.printed();
            if name.contains("--raw") {
                let file = directory.path().join(format!("raw-{newest}"));
                bytes = fs::read(file).unwrap_or_default();
            }
            bytes
                .windows(written.len())
                .any(|part| part == written.as_bytes())
        };
        while !received() {
            assert!(
                !deadline.passed(),
                "{name}: nothing has come in {} s",
                deadline.limit_secs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        table.add(&format!("{name}, waiting"), &[written], &[written]);
    }
}
