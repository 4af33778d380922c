//! Answers to SQL.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::support::foreign_clients::Comparison;
use crate::support::raw_client::tcp_opts;
use crate::support::same_binlog::{DATABASE, SameBinlog};
use crate::support::servers::{REPL_PASSWORD, REPL_USER};

pub async fn connect(port: u16) -> Conn {
    let opts = tcp_opts("127.0.0.1", port, REPL_USER, REPL_PASSWORD);
    Conn::new(opts).await.expect("a client can connect")
}

/// Names and values, or the error.
async fn answer(conn: &mut Conn, query: &str) -> Vec<String> {
    match conn.query::<Row, _>(query).await {
        Ok(rows) => rows
            .iter()
            .map(|row| {
                let names = row.columns_ref().iter().map(|column| column.name_str());
                let values = (0..row.len()).map(|index| row[index].as_sql(true));
                let pairs = names
                    .zip(values)
                    .map(|(name, value)| format!("{name}={value}"));
                pairs.collect::<Vec<_>>().join(" ")
            })
            .collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// The queries of these clients before they dump whose answers describe the log.
pub async fn queries(binlog: &SameBinlog, table: &mut Comparison) {
    let both = [
        "select @@GLOBAL.binlog_checksum as checksum",
        "SHOW GLOBAL VARIABLES LIKE 'BINLOG_CHECKSUM'",
        "SHOW VARIABLES LIKE 'BINLOG_ROW_METADATA';",
        "SELECT VERSION() AS version",
        "SHOW BINARY LOGS",
        "SHOW VARIABLES LIKE 'SERVER_ID'",
    ];
    let mysql = ["SELECT @@GLOBAL.gtid_mode", "SELECT @@GLOBAL.gtid_purged"];
    let own: &[&str] = match binlog.kind().is_mysql() {
        true => &mysql,
        false => &["SELECT @@GLOBAL.gtid_domain_id", "SHOW MASTER LOGS"],
    };
    let mut answers = [Vec::new(), Vec::new()];
    for (port, answers) in binlog.ports().into_iter().zip(&mut answers) {
        let mut conn = connect(port).await;
        for query in both.iter().chain(own) {
            let mut rows = answer(&mut conn, query).await;
            if query.ends_with("LOGS") {
                // The newest file is not the same.
                rows.pop();
            }
            answers.push(format!("{query}: {rows:?}"));
        }
        let columns = format!(
            "SELECT COLUMN_NAME, COLLATION_NAME, CHARACTER_SET_NAME, COLUMN_COMMENT, COLUMN_TYPE \
             FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA='{DATABASE}' AND TABLE_NAME='things' \
             ORDER BY ORDINAL_POSITION"
        );
        answers.push(format!("columns: {:?}", answer(&mut conn, &columns).await));
        conn.disconnect().await.ok();
    }
    table.add("answers to what clients ask", &answers[0], &answers[1]);
}

/// SHOW BINLOG EVENTS.
pub async fn listings(binlog: &SameBinlog, table: &mut Comparison) {
    let names = binlog.file_names();
    let first = &names[0];
    let mut listed = [Vec::new(), Vec::new()];
    let mut special = [Vec::new(), Vec::new()];
    for (index, port) in binlog.ports().into_iter().enumerate() {
        let mut conn = connect(port).await;
        for name in &names {
            let rows = answer(&mut conn, &format!("SHOW BINLOG EVENTS IN '{name}'")).await;
            listed[index].extend(rows);
        }
        let start = format!("SHOW BINLOG EVENTS IN '{first}'");
        for query in [
            "SHOW BINLOG EVENTS LIMIT 3".to_owned(),
            format!("{start} LIMIT 2, 3"),
            format!("{start} LIMIT 3 OFFSET 1"),
            format!("{start} FROM 4 LIMIT 1"),
            format!("{start} LIMIT 0"),
            format!("{start} FROM 99999999"),
            format!("{start} FROM 130 LIMIT 2"),
            "SHOW BINLOG EVENTS IN 'nothing.000001'".to_owned(),
        ] {
            let rows = answer(&mut conn, &query).await;
            special[index].push(format!("{query}: {rows:#?}"));
        }
        conn.disconnect().await.ok();
    }
    // MySQL lists what is in a compressed transaction as well, where the position is its end.
    let is_inner = |row: &&String| {
        let value = |name: &str| row.split(name).nth(1)?.split('\'').nth(1);
        value(" Pos=") == value(" End_log_pos=")
    };
    let [relay, master] = listed;
    let (inner, outer): (Vec<_>, Vec<_>) = master.iter().partition(is_inner);
    table.add(
        "SHOW BINLOG EVENTS, all files",
        &relay.iter().collect::<Vec<_>>(),
        &outer,
    );
    if binlog.kind().is_mysql() {
        let why = "the relay does not list what is in a compressed transaction";
        table.add_different(
            "SHOW BINLOG EVENTS, in a compressed transaction",
            &[],
            &inner,
            why,
        );
    }
    table.add(
        "SHOW BINLOG EVENTS, its clauses and errors",
        &special[0],
        &special[1],
    );
}
