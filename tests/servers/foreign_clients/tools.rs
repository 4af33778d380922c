//! What `mysqlbinlog` and `mariadb-binlog` print and write.

use std::fs;
use std::process::Command;

use super::packets::middle_of;
use crate::support::foreign_clients::{Comparison, lines_of};
use crate::support::same_binlog::SameBinlog;
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, program};

pub fn tool(kind: Kind, port: u16, arguments: &[String]) -> Command {
    let mut command = program(kind, "binlog");
    if kind.is_mariadb() {
        // One GTID domain, but the workload's other one begins late.
        command.arg("--skip-gtid-strict-mode");
    }
    let is_by_gtid = |word: &String| word.starts_with("--read-from-remote-source");
    if !arguments.iter().any(is_by_gtid) {
        command.arg("--read-from-remote-server");
    }
    command.args([
        "--host=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--user={REPL_USER}"),
        format!("--password={REPL_PASSWORD}"),
    ]);
    command.args(arguments);
    command
}

async fn time(binlog: &SameBinlog, expression: &str) -> String {
    let query = format!("SELECT {expression}");
    binlog.source.value(&query).await.expect("a time")
}

pub async fn binlog_tool(binlog: &SameBinlog, table: &mut Comparison) {
    let kind = binlog.kind();
    let names = binlog.file_names();
    let middle = middle_of(&binlog.files[0]);
    let text = |arguments: &[&str]| {
        arguments
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let mut all = text(&["-vv", "--verify-binlog-checksum"]);
    all.extend(names.iter().cloned());
    let [now, later] = [
        time(binlog, "NOW() - INTERVAL 1 DAY").await,
        time(binlog, "NOW() + INTERVAL 1 DAY").await,
    ];
    let mut cases = vec![
        ("all files, -vv", all),
        (
            "--start-position",
            vec![format!("--start-position={middle}"), names[0].clone()],
        ),
        (
            "--stop-position",
            vec![format!("--stop-position={middle}"), names[0].clone()],
        ),
        (
            "--start-datetime --stop-datetime",
            vec![
                format!("--start-datetime={now}"),
                format!("--stop-datetime={later}"),
                names[1].clone(),
            ],
        ),
        (
            "--stop-datetime before all",
            vec![format!("--stop-datetime={now}"), names[0].clone()],
        ),
    ];
    if kind.is_mysql() {
        let uuid = binlog
            .source
            .value("SELECT @@server_uuid")
            .await
            .expect("a uuid");
        let mut arguments = vec![
            "--read-from-remote-source=BINLOG-DUMP-GTIDS".to_owned(),
            format!("--exclude-gtids={uuid}:1-20:30-33"),
        ];
        arguments.extend(names.iter().cloned());
        cases.push(("BINLOG-DUMP-GTIDS --exclude-gtids", arguments));
    }
    let files = tempfile::tempdir().expect("a temporary directory");
    for (what, mut arguments) in cases {
        arguments.insert(0, format!("--local-load={}", files.path().display()));
        let [relay, master] = binlog.ports().map(|port| {
            for file in fs::read_dir(files.path()).expect("a directory") {
                fs::remove_file(file.expect("a file").path()).expect("it goes");
            }
            lines_of(tool(kind, port, &arguments))
        });
        table.add(&format!("binlog tool {what}"), &relay, &master);
    }
    raw_files(binlog, table);
}

/// `--raw` writes the very bytes of the files.
fn raw_files(binlog: &SameBinlog, table: &mut Comparison) {
    let original: Vec<Vec<u8>> = binlog
        .files
        .iter()
        .map(|file| fs::read(file).expect("a file"))
        .collect();
    let [relay, master] = binlog.ports().map(|port| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut arguments = vec![
            "--raw".to_owned(),
            format!("--result-file={}/", directory.path().display()),
        ];
        arguments.extend(binlog.file_names());
        lines_of(tool(binlog.kind(), port, &arguments));
        let names = binlog.file_names();
        let read = names
            .iter()
            .map(|name| fs::read(directory.path().join(name)).expect("a file"));
        read.collect::<Vec<_>>()
    });
    table.add("binlog tool --raw, files byte for byte", &relay, &master);
    table.add(
        "binlog tool --raw, and the relay's own files",
        &relay,
        &original,
    );
}
