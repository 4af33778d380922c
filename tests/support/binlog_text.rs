//! mysqlbinlog and mariadb-binlog, and the events in what they print.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::programs::binlog_tool;
use super::servers::Kind;

/// One event as the servers' own tool shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextEvent {
    pub end_position: u64,
    pub server_id: u32,
    /// The type as printed, such as `Write_rows` or `Gtid list`.
    pub type_name: String,
    pub gtid: Option<String>,
    /// The header line without time and checksum, and all lines that follow it.
    pub body: String,
}

/// What the tool printed for one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BinlogText {
    /// The `# at N` lines.
    pub positions: Vec<u64>,
    pub events: Vec<TextEvent>,
}

impl BinlogText {
    /// Each event begins where the one before it ends.
    pub fn assert_positions_follow(&self, name: &str) {
        let ends = self.events.iter().map(|event| event.end_position);
        let mut expected: Vec<u64> = std::iter::once(4).chain(ends).collect();
        expected.pop();
        assert_eq!(
            self.positions, expected,
            "{name}: where events begin and others end"
        );
    }
}

/// The flavor's tool, not objecting to what two masters in one GTID domain make: sequence numbers
/// of one domain that do not rise. mariadb-binlog would refuse those masters' own files for that.
/// MySQL 5.5's does not know the checksums of the relay's files, and 9.7's does not know the rows of 5.5:
/// MariaDB's reads both.
fn tool(kind: Kind, files: &Path) -> Command {
    let kind = match kind {
        Kind::MySql55 => Kind::MariaDb,
        other => other,
    };
    let mut command = binlog_tool(kind, files);
    if kind.is_mariadb() {
        command.arg("--skip-gtid-strict-mode");
    }
    command
}

/// Runs the flavor's tool with these arguments; fails when it fails, warns or prints anything to
/// stderr.
pub fn run_binlog_tool(kind: Kind, arguments: &[String]) -> String {
    let files = tempfile::tempdir().expect("a temporary directory");
    let output: Output = tool(kind, files.path())
        .args(["--verify-binlog-checksum"])
        .args(arguments)
        .output()
        .expect("the binlog tool can be run");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = stdout
        .lines()
        .filter(|line| line.starts_with("# Warning") || line.starts_with("ERROR"))
        .chain(
            stderr
                .lines()
                .filter(|line| !line.contains("password on the command line")),
        )
        .collect();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{kind} binlog tool {arguments:?}: {}\n{}",
        output.status,
        complaints.join("\n")
    );
    stdout
}

/// The events of a file.
pub fn read_file(kind: Kind, file: &Path) -> BinlogText {
    parse(&run_binlog_tool(kind, &[file.display().to_string()]))
}

/// As `read_file`, for a file a server is writing: the tool's remark about that is accepted.
pub fn read_open_file(kind: Kind, file: &Path) -> BinlogText {
    let files = tempfile::tempdir().expect("a temporary directory");
    let output = tool(kind, files.path())
        .arg(file)
        .output()
        .expect("the binlog tool can be run");
    assert!(
        output.status.success(),
        "{}: {}",
        file.display(),
        output.status
    );
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// The events of a server's or relay's file, read over its port.
pub fn read_remote(
    kind: Kind,
    host: &str,
    port: u16,
    user: &str,
    password: &str,
    file: &str,
) -> BinlogText {
    let arguments = [
        "--read-from-remote-server".to_owned(),
        format!("--host={host}"),
        format!("--port={port}"),
        format!("--user={user}"),
        format!("--password={password}"),
        file.to_owned(),
    ];
    parse(&run_binlog_tool(kind, &arguments))
}

/// How often each GTID is in the files.
pub fn count_gtids(kind: Kind, files: &[PathBuf]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for file in files {
        for event in read_open_file(kind, file).events {
            if let Some(gtid) = event.gtid {
                *counts.entry(gtid).or_insert(0) += 1;
            }
        }
    }
    counts
}

/// Reads the tool's text.
pub fn parse(text: &str) -> BinlogText {
    let mut parsed = BinlogText::default();
    for line in text.lines() {
        if let Some(position) = line
            .strip_prefix("# at ")
            .and_then(|rest| rest.parse().ok())
        {
            parsed.positions.push(position);
        } else if let Some(event) = header_line(line) {
            parsed.events.push(event);
        } else if let Some(event) = parsed.events.last_mut() {
            if let Some(gtid) = mysql_gtid(line) {
                event.gtid.get_or_insert(gtid);
            }
            event.body.push('\n');
            event.body.push_str(line);
        }
    }
    parsed
}

/// `#YYMMDD hh:mm:ss server id N  end_log_pos N CRC32 0x… \tType …`
fn header_line(line: &str) -> Option<TextEvent> {
    let date = line.strip_prefix('#')?.get(..6)?;
    if !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (_, rest) = line.split_once(" server id ")?;
    let (server_id, rest) = rest.split_once(' ')?;
    let (_, rest) = rest.split_once("end_log_pos ")?;
    let (end_position, rest) = rest.split_once([' ', '\t'])?;
    let rest = match rest.trim_start().strip_prefix("CRC32 0x") {
        Some(rest) => rest.get(8..)?,
        None => rest,
    };
    let description = rest.trim();
    let type_name = type_of(description);
    let gtid = (type_name == "GTID")
        .then(|| description.split_whitespace().nth(1))
        .flatten()
        .filter(|gtid| gtid.split('-').count() == 3)
        .map(str::to_owned);
    Some(TextEvent {
        end_position: end_position.trim().parse().ok()?,
        server_id: server_id.parse().ok()?,
        type_name,
        gtid,
        body: description.to_owned(),
    })
}

/// The words before the first of the things that follow a type.
fn type_of(description: &str) -> String {
    let (words, _) = description
        .split_once([':', '\t', '=', '['])
        .unwrap_or((description, ""));
    let known = [
        "Start",
        "Previous-GTIDs",
        "Gtid list",
        "Binlog checkpoint",
        "Rotate to",
        "GTID",
    ];
    let name = known.iter().find(|name| words.starts_with(**name)).copied();
    name.unwrap_or_else(|| words.trim()).to_owned()
}

/// `SET @@SESSION.GTID_NEXT= 'UUID:N'/*!*/;`
fn mysql_gtid(line: &str) -> Option<String> {
    let (gtid, _) = line
        .strip_prefix("SET @@SESSION.GTID_NEXT= '")?
        .split_once('\'')?;
    gtid.contains(':').then(|| gtid.to_owned())
}

/// The name that both the tool's text and `binrelay dump` can be brought to.
pub fn canonical_type(name: &str) -> String {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let letters = letters.to_ascii_lowercase();
    let name = letters.strip_suffix("event").unwrap_or(&letters);
    // MariaDB's tool prints neither version nor compression of rows events.
    let name = name.strip_suffix("compressedv1").unwrap_or(name);
    let name = name
        .strip_suffix("v1")
        .or(name.strip_suffix("v2"))
        .unwrap_or(name);
    match name {
        "start" | "formatdesc" | "formatdescription" => "formatdescription",
        "rotateto" | "rotate" => "rotate",
        "anonymousgtid" | "anonymousgtidlog" => "anonymousgtid",
        "gtid" | "gtidlog" | "gtidtagged" | "gtidtaggedlog" => "gtid",
        "previousgtids" | "previousgtidslog" => "previousgtids",
        "querycompressed" | "query" => "query",
        "rowsquery" | "rowsquerylog" => "rowsquery",
        "annotaterows" | "annotate" => "annotaterows",
        "binlogcheckpoint" | "checkpoint" => "binlogcheckpoint",
        other => other,
    }
    .to_owned()
}

/// Fails where a file's events and those from the network differ.
pub fn assert_same_events(name: &str, local: &BinlogText, remote: &BinlogText) {
    let (local, remote) = (comparable(local), comparable(remote));
    for (index, (local, remote)) in local.iter().zip(&remote).enumerate() {
        assert_eq!(
            local, remote,
            "{name}: event {index} of the file and from the network"
        );
    }
    assert_eq!(
        local.len(),
        remote.len(),
        "{name}: events of the file and from the network"
    );
}

/// End position and text of all events except those that each stream generates itself.
fn comparable(text: &BinlogText) -> Vec<(u64, String)> {
    let events = text.events.iter();
    let own = |name: &str| matches!(name, "Start" | "Rotate to");
    let events = events.filter(|event| !own(&event.type_name));
    events
        .map(|event| (event.end_position, without_frame(&event.body)))
        .collect()
}

/// Without the lines that the tool puts around the events.
fn without_frame(body: &str) -> String {
    let frame = [
        "DELIMITER",
        "# End of log",
        "ROLLBACK /* added",
        "/*!50003",
        "/*!50530",
        "/*!50700",
    ];
    let automatic = "SET @@SESSION.GTID_NEXT= 'AUTOMATIC'";
    let lines = body.lines().filter(|line| {
        !frame.iter().any(|start| line.starts_with(start)) && !line.starts_with(automatic)
    });
    lines.collect::<Vec<_>>().join("\n")
}
