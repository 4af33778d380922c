//! `binrelay dump` with times and offsets lists the events that the servers' own tools list.
//!
//! The recorded files are read. Format descriptions are left out of the comparison: the tools print
//! that of the file before any start, since their output must be executable.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use crate::support::binlog_text::parse;
use crate::support::kind::Kind;
use crate::support::programs::binlog_tool;
use crate::support::relay::run_binrelay;

/// The part of a file that is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    start_time: Option<i64>,
    stop_time: Option<i64>,
    start: Option<u64>,
    stop: Option<u64>,
}

fn fixture(kind: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-fixtures");
    root.join(kind).join("basic.binlog")
}

/// Offsets and times of the events of a file.
fn events(file: &Path, part: Part) -> Vec<(u64, i64)> {
    let mut words = vec!["dump".to_owned(), "--json".to_owned()];
    let time = |time: i64| Timestamp::from_second(time).expect("a time").to_string();
    words.extend(
        part.start_time
            .map(|at| format!("--start-datetime={}", time(at))),
    );
    words.extend(
        part.stop_time
            .map(|at| format!("--stop-datetime={}", time(at))),
    );
    words.extend(part.start.map(|at| format!("--start-position={at}")));
    words.extend(part.stop.map(|at| format!("--stop-position={at}")));
    words.push(file.display().to_string());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = run_binrelay(&words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {stderr}");
    let text = String::from_utf8(output.stdout).expect("dump prints UTF-8");
    let lines = text.lines();
    let values = lines.map(|line| serde_json::from_str::<Value>(line).expect(line));
    let numbers = |line: Value| {
        let number = |name: &str| line[name].as_i64().expect("a number");
        (number("position") as u64, number("timestamp"))
    };
    values.map(numbers).collect()
}

fn tool_offsets(kind: Kind, file: &Path, part: Part) -> Vec<u64> {
    let files = tempfile::tempdir().expect("a temporary directory");
    let mut command = binlog_tool(kind, files.path());
    let time = |time: i64| {
        let time = Timestamp::from_second(time).expect("a time");
        time.strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    command.args(
        part.start_time
            .map(|at| format!("--start-datetime={}", time(at))),
    );
    command.args(
        part.stop_time
            .map(|at| format!("--stop-datetime={}", time(at))),
    );
    command.args(part.start.map(|at| format!("--start-position={at}")));
    command.args(part.stop.map(|at| format!("--stop-position={at}")));
    // MariaDB 10.5 does not have the option.
    if kind.is_mariadb() && kind.name() != "mariadb-10.5" {
        command.arg("--skip-gtid-strict-mode");
    }
    // A range that ends inside a transaction is an error of the tools, after they have printed it.
    let output = command.env("TZ", "UTC").arg(file).output();
    let stdout = output.expect("the binlog tool can be run").stdout;
    let mut offsets = parse(&String::from_utf8_lossy(&stdout)).positions;
    // The events inside a compressed transaction have its offset. mysqlbinlog prints the format
    // description before the start, with the offset of another event.
    offsets.dedup();
    offsets.retain(|offset| part.start.is_none_or(|start| *offset >= start));
    offsets
}

/// All pairs of a start and a stop: times of events and a second around them, and offsets of events.
fn parts(all: &[(u64, i64)]) -> Vec<Part> {
    let times: BTreeSet<i64> = all.iter().map(|(_, time)| *time).collect();
    let (least, most) = (*times.first().unwrap(), *times.last().unwrap());
    let middle = *times.iter().nth(times.len() / 2).unwrap();
    let times = [least - 1, least, middle, most, most + 1].map(Some);
    let times = [&[None], &times[..]].concat();
    let offset = |number: usize| Some(all[number].0);
    let offsets = [
        None,
        offset(1),
        offset(all.len() / 2),
        offset(all.len() - 1),
    ];
    let mut parts = Vec::new();
    let mut add = |start_time, stop_time, start, stop| {
        parts.push(Part {
            start_time,
            stop_time,
            start,
            stop,
        });
    };
    for time in &times {
        times.iter().for_each(|stop| add(*time, *stop, None, None));
        offsets
            .iter()
            .for_each(|start| add(*time, None, *start, None));
        offsets
            .iter()
            .for_each(|stop| add(None, *time, None, *stop));
    }
    for (number, stop) in offsets.iter().enumerate().skip(1) {
        let starts = &offsets[..=number];
        starts
            .iter()
            .for_each(|start| add(None, None, *start, *stop));
    }
    parts
}

fn compare(kind: &str, tool: &str) {
    let tool = Kind::named(tool).expect("a kind of server");
    let file = fixture(kind);
    let all = events(&file, Part::default());
    let first = all[0].0;
    let without_first = |offsets: Vec<u64>| -> Vec<u64> {
        let others = offsets.into_iter().filter(|offset| *offset != first);
        others.collect()
    };
    let mut listed = 0;
    for part in parts(&all) {
        let found = events(&file, part).into_iter().map(|(offset, _)| offset);
        let found = without_first(found.collect());
        listed += found.len();
        let expected = without_first(tool_offsets(tool, &file, part));
        assert_eq!(found, expected, "{kind}: {part:?}");
    }
    assert!(listed > 10 * all.len(), "{kind}: {listed} events listed");
}

#[test]
fn parts_of_mysql_files_are_those_of_its_tool() {
    compare("mysql-9.7", "mysql-9.7");
    compare("mysql-5.6", "mysql-9.7");
}

#[test]
fn parts_of_mariadb_files_are_those_of_its_tool() {
    compare("mariadb-10.5", "mariadb-10.5");
    compare("mariadb-10.11", "mariadb-10.11");
    compare("mariadb-11.8", "mariadb-11.8");
}
