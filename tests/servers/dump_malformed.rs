//! Events with a right checksum and a field that no server writes: `binrelay dump` refuses what the
//! servers' own tools refuse.
//!
//! Each event is the first one of its type in a recorded file, or given here. It is put after the
//! file's format description (rows after their table map), changed, and sealed with a right checksum and
//! log_pos. The tool of the file's flavor must accept it unchanged; what the tool does with each
//! change is observed, not assumed.

mod cases;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use crate::support::kind::Kind;
use crate::support::programs::binlog_tool;
use crate::support::relay::run_binrelay;
use cases::{Case, Change, Expected, GIVEN, MARIADB, MYSQL};

const TYPE_AT: usize = 4;
const HEADER_LEN: usize = 19;
const TABLE_MAP: u8 = 19;
const CHECKSUM_LEN: usize = 4;

/// A recorded file, or the events that are put into one.
struct Recorded {
    format: Vec<u8>,
    events: Vec<Vec<u8>>,
}

impl Recorded {
    fn read(kind: &str) -> Recorded {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-fixtures");
        let file = std::fs::read(root.join(kind).join("basic.binlog")).expect("a recorded binlog");
        let mut rest = &file[4..];
        let mut events = Vec::new();
        while rest.len() > HEADER_LEN {
            let size = u32::from_le_bytes(rest[9..13].try_into().expect("4 bytes"));
            let (event, tail) = rest.split_at(size as usize);
            events.push(event.to_vec());
            rest = tail;
        }
        Recorded {
            format: events.remove(0),
            events,
        }
    }

    /// The first event of a type without its checksum, and the table map that it needs.
    fn first(&self, event_type: u8) -> (Option<Vec<u8>>, Vec<u8>) {
        if let Some((_, body)) = GIVEN.iter().find(|(given, _)| *given == event_type) {
            let mut event = vec![0; HEADER_LEN];
            event[TYPE_AT] = event_type;
            event[5] = 1; // server_id
            event.extend_from_slice(body);
            return (None, event);
        }
        let has_type = |event: &&Vec<u8>| event[TYPE_AT] == event_type;
        let found = self.events.iter().position(|event| has_type(&event));
        let found = found.unwrap_or_else(|| panic!("no event of type {event_type} is recorded"));
        let event = without_checksum(&self.events[found]);
        let is_rows = matches!(event_type, 23..=25 | 30..=32 | 39 | 166..=171);
        let of_table = |map: &&Vec<u8>| {
            map[TYPE_AT] == TABLE_MAP
                && map[HEADER_LEN..HEADER_LEN + 6] == event[HEADER_LEN..HEADER_LEN + 6]
        };
        let map = self.events[..found]
            .iter()
            .rfind(of_table)
            .filter(|_| is_rows);
        (map.map(|map| without_checksum(map)), event)
    }
}

fn without_checksum(event: &[u8]) -> Vec<u8> {
    event[..event.len() - CHECKSUM_LEN].to_vec()
}

/// Appends the event with its size, its position and its checksum.
fn append(file: &mut Vec<u8>, event: &[u8]) {
    let mut event = event.to_vec();
    let size = event.len() + CHECKSUM_LEN;
    let end = file.len() + size;
    event[9..13].copy_from_slice(&(size as u32).to_le_bytes());
    event[13..17].copy_from_slice(&(end as u32).to_le_bytes());
    let checksum = crc32fast::hash(&event);
    file.extend_from_slice(&event);
    file.extend_from_slice(&checksum.to_le_bytes());
}

fn changed(event: &[u8], change: Change) -> Vec<u8> {
    let mut event = event.to_vec();
    match change {
        Change::None => {}
        Change::Set(at, bytes) => event[at..at + bytes.len()].copy_from_slice(bytes),
        Change::Cut(len) => event.truncate(len),
        Change::Add(bytes) => event.extend_from_slice(bytes),
    }
    event
}

fn file(recorded: &Recorded, case: &Case) -> Vec<u8> {
    let mut file = b"\xfebin".to_vec();
    if case.event_type == 15 {
        let format = changed(&without_checksum(&recorded.format), case.change);
        append(&mut file, &format);
        let (_, event) = recorded.first(2);
        append(&mut file, &event);
        return file;
    }
    append(&mut file, &without_checksum(&recorded.format));
    let (map, event) = recorded.first(case.event_type);
    if let Some(map) = map {
        append(&mut file, &map);
    }
    append(&mut file, &changed(&event, case.change));
    file
}

/// Whether the flavor's own tool reads the file to its end.
fn tool_accepts(kind: Kind, path: &Path) -> bool {
    let files = tempfile::tempdir().expect("a temporary directory");
    let mut command = binlog_tool(kind, files.path());
    command.args([
        "--verify-binlog-checksum",
        "--base64-output=DECODE-ROWS",
        "-vv",
    ]);
    if kind.is_mariadb() {
        command.arg("--skip-gtid-strict-mode");
    }
    let status = command
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("the binlog tool can be run").success()
}

fn check(name: &str, cases: &[Case]) {
    let kind = Kind::named(name).expect("a kind of server");
    let recorded = Recorded::read(name);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("binlog.000001");
    let text = path.to_str().expect("UTF-8");
    let types: BTreeSet<u8> = cases.iter().map(|case| case.event_type).collect();
    let unchanged = |event_type: &u8| Case {
        event_type: *event_type,
        field: "nothing",
        change: Change::None,
        expected: Expected::AsTheTool,
    };
    let mut wrong = Vec::new();
    let mut refused = 0;
    for case in types.iter().map(unchanged).chain(cases.iter().copied()) {
        std::fs::write(&path, file(&recorded, &case)).expect("the file is written");
        let tool = tool_accepts(kind, &path);
        let output = run_binrelay(&["dump", "--verify", text]);
        let ours = output.status.success();
        let stderr = String::from_utf8_lossy(&output.stderr);
        refused += u32::from(!ours);
        let (should_accept, tool_should_accept) = match case.expected {
            Expected::AsTheTool => (tool, tool),
            Expected::Stricter(_) => (false, true),
        };
        let is_case = case.change != Change::None;
        let is_right = ours == should_accept
            && tool == tool_should_accept
            && ours != is_case
            && run_binrelay(&["dump", "--rows", text]).status.success() == ours;
        if !is_right {
            let field = case.field;
            wrong.push(format!(
                "{field}, {case:?}: tool {tool}, dump {ours}: {stderr}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    assert_eq!(refused as usize, cases.len(), "{name}");
}

#[test]
fn mysql_events_are_refused_as_by_its_tool() {
    check("mysql-9.7", MYSQL);
}

#[test]
fn mariadb_events_are_refused_as_by_its_tool() {
    check("mariadb-10.11", MARIADB);
}
