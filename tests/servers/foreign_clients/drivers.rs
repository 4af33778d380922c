//! The packages that `tools/clients` gets.

use serde_json::{Value, json};

use super::packets::NOT_REPLACED;
use crate::support::foreign_clients::{
    Comparison, driver, lines_of, server, tables, without_comments,
};
use crate::support::same_binlog::{DATABASE, SameBinlog};

fn run_driver(client: &str, options: &Value) -> Vec<String> {
    let mut command = driver(client);
    command.arg(options.to_string());
    lines_of(command)
}

pub async fn drivers(binlog: &SameBinlog, table: &mut Comparison) {
    let is_mariadb = binlog.kind().is_mariadb();
    let first = binlog.file_names()[0].clone();
    let gtid = match binlog.kind().is_mysql() {
        true => {
            let uuid = binlog
                .source
                .value("SELECT @@server_uuid")
                .await
                .expect("a uuid");
            format!("{uuid}:1-20")
        }
        false => "0-1-20".to_owned(),
    };
    let schema = json!({ DATABASE: ["things"] });
    let by_file = json!({"file": first, "position": 4});
    let with_columns =
        json!({"file": first, "position": 4, "metadata": tables(binlog.source.port)});
    let by_gtid = json!({"gtid": gtid});
    let gtid_with_columns = json!({"gtid": gtid, "metadata": tables(binlog.source.port)});
    let mut cases = vec![
        ("mysql-replication", "GTID", &by_gtid),
        ("@vlasky/zongji", "file and position", &with_columns),
        ("@vlasky/zongji", "GTID", &gtid_with_columns),
        (
            "@powersync/mysql-zongji",
            "file and position",
            &with_columns,
        ),
    ];
    if !is_mariadb {
        // With is_mariadb the package always asks for the first file; without, for MySQL's way.
        cases.push(("mysql-replication", "file and position", &by_file));
        cases.push((
            "mysql-replication",
            "file and position, with column names",
            &with_columns,
        ));
    }
    for (client, what, options) in cases {
        let [relay, master] = binlog.ports().map(|port| {
            let mut options = options.clone();
            options["server"] = server(port);
            options["stop_file"] = json!(binlog.stop_file());
            options["mariadb"] = json!(is_mariadb);
            options["schema"] = schema.clone();
            // A MariaDB master that has come to the end resets the connection of mysql-replication,
            // whose dump request has a byte too many, and events are lost on the way.
            options["blocking"] = json!(is_mariadb);
            run_driver(client, &options)
        });
        let name = format!("{client}, {what}");
        match (client, is_mariadb) {
            ("mysql-replication", false) => {
                table.add_until_failure(&name, &relay, &master, "the client fails at a tag");
            }
            ("@powersync/mysql-zongji", true) => {
                let [relay, master] = [relay, master].map(|lines| without_comments(&lines));
                table.add_until_master_fails(&name, &relay, &master, NOT_REPLACED);
            }
            _ => table.add(&name, &relay, &master),
        }
    }
}
