//! `binrelay dump --rows` shows the rows that the servers' own tools show, line by line.
//!
//! Differences that are removed first: bytes that are not UTF-8, and control characters that the tools
//! print as they are, become `\xNN`, since a listing of binrelay is text. Tables with a GEOMETRY
//! are compared in MariaDB's files only: mysqlbinlog prints "Don't know how to handle column
//! type=255" for one and leaves out the rest of its event. Files of MySQL 5.6 are read by the
//! mysqlbinlog of 9.7.

mod random;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support;
use crate::support::kind::Kind;
use crate::support::programs::{binlog_tool, program};
use crate::support::relay::run_binrelay;
use crate::support::servers::{free_port, numbered_files, signal};
use crate::support::{Deadline, SeedNote, seed};
use rand::SeedableRng;
use rand::rngs::StdRng;
use random::random_statements;
use serde_json::{Value, json};
use tempfile::TempDir;

const COMMON: &str = include_str!("dump_rows/every_server.sql");
const MYSQL: &str = include_str!("dump_rows/mysql.sql");
const MARIADB: &str = include_str!("dump_rows/mariadb.sql");

fn kind_of(name: &str) -> Kind {
    Kind::named(name).expect("a kind of server")
}

/// A server whose binlog is made by SQL text alone.
struct Database {
    kind: &'static str,
    child: Child,
    directory: TempDir,
}

impl Database {
    fn start(kind: &'static str) -> Database {
        let directory = tempfile::Builder::new()
            .prefix("br-")
            .tempdir_in("/tmp")
            .unwrap();
        let data = directory.path().join("data");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/server");
        let status = Command::new(script)
            .args(["init", kind])
            .arg(&data)
            .status();
        assert!(status.unwrap().success(), "{kind}: tools/server init");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let child = program(kind_of(kind), "server")
            .args([
                format!("--datadir={}", at("data")),
                format!("--socket={}", at("s")),
            ])
            .args([
                format!("--pid-file={}", at("pid")),
                format!("--port={}", free_port()),
            ])
            .args([
                "--server-id=1",
                "--log-bin=mysql-bin",
                "--binlog-format=ROW",
            ])
            .args(["--skip-name-resolve", "--innodb-buffer-pool-size=64M"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(at("error.log")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let database = Database {
            kind,
            child,
            directory,
        };
        let deadline = Deadline::after_secs(120);
        while database.try_sql("SELECT 1").is_err() {
            assert!(!deadline.passed(), "{kind}: no answer in 120 s");
            std::thread::sleep(Duration::from_millis(100));
        }
        database.sql("CREATE DATABASE d");
        database
    }

    fn try_sql(&self, text: &str) -> Result<String, String> {
        let mut child = program(kind_of(self.kind), "client")
            .arg(format!(
                "--socket={}",
                self.directory.path().join("s").display()
            ))
            .args([
                "-uroot",
                "--default-character-set=utf8mb4",
                "--skip-column-names",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A client that has already failed reads no more; its stderr has the reason.
        child.stdin.take().unwrap().write_all(text.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn sql(&self, text: &str) -> String {
        let result = self.try_sql(text);
        result.unwrap_or_else(|error| panic!("{}: {error}", self.kind))
    }

    /// Runs `statements` in a binlog file of their own, and returns that.
    fn log_of(&self, statements: &str) -> PathBuf {
        self.sql("FLUSH LOGS");
        let files = || numbered_files(&self.directory.path().join("data"), "mysql-bin");
        let file = files().pop().expect("a binlog");
        // The client's own --default-character-set is not known to MySQL 5.6.
        let begin = "USE d;\nSET NAMES utf8mb4;\nSET sql_mode='';\n";
        self.sql(&format!("{begin}{statements}\nFLUSH LOGS;\n"));
        assert!(files().last() != Some(&file));
        file
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        signal(&self.child, rustix::process::Signal::KILL);
        self.child.wait().ok();
    }
}

/// The lines of rows that the flavor's own tool prints.
fn tool_rows(kind: &str, file: &Path) -> Vec<String> {
    let files = tempfile::tempdir().unwrap();
    let output = binlog_tool(kind_of(kind), files.path())
        .args(["--base64-output=DECODE-ROWS", "-vv"])
        .arg(file)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{kind}: {}: {stderr}",
        file.display()
    );
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"###"))
        .map(as_text)
        .collect()
}

fn as_text(line: &[u8]) -> String {
    let mut text = String::new();
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            write!(text, "\\x{byte:02x}").unwrap();
        }
    };
    for chunk in line.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}') {
                true => escape(&mut text, letter.encode_utf8(&mut [0; 4]).as_bytes()),
                false => text.push(letter),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

fn dump(arguments: &[&str], file: &Path) -> String {
    let words = [&["dump"], arguments, &[file.to_str().unwrap()]].concat();
    let output = run_binrelay(&words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{words:?}: {stderr}"
    );
    String::from_utf8(output.stdout).expect("dump prints UTF-8")
}

/// The events of rows in `dump --rows --json`, those in payloads too.
fn json_events(file: &Path) -> Vec<Value> {
    let text = dump(&["--rows", "--json"], file);
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter(|event| event.get("rows").is_some()).collect()
}

/// The rows of a table: what every event did to it.
fn json_rows(events: &[Value], table: &str) -> Vec<Value> {
    let of_table = events.iter().filter(|event| event["table"] == table);
    of_table
        .flat_map(|event| event["rows"].as_array().expect("rows").clone())
        .collect()
}

fn assert_same_rows(database: &Database, statements: &str, least: usize) -> PathBuf {
    let kind = database.kind;
    let file = database.log_of(statements);
    let expected = tool_rows(kind, &file);
    let text = dump(&["--rows"], &file);
    let found: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("###"))
        .collect();
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "{kind}: line {number} of the rows");
    }
    assert_eq!(found.len(), expected.len(), "{kind}: lines of rows");
    assert!(
        found.len() >= least,
        "{kind}: {} lines of rows",
        found.len()
    );
    // As many rows in JSON as in text.
    let begins = |line: &&&str| {
        ["### INSERT", "### UPDATE", "### DELETE"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    let events = json_events(&file);
    let rows = events
        .iter()
        .map(|event| event["rows"].as_array().expect("rows").len());
    assert_eq!(
        rows.sum::<usize>(),
        found.iter().filter(begins).count(),
        "{kind}"
    );
    assert!(!text.contains("damaged"), "{kind}");
    file
}

/// Edge and random values of all common types; then those of one flavor.
fn compare(kind: &'static str, own: &str) -> (Database, PathBuf) {
    let seed = seed();
    let _note = SeedNote(seed);
    let database = Database::start(kind);
    let file = assert_same_rows(&database, COMMON, 400);
    check_common_json(&json_events(&file));
    let mut rng = StdRng::seed_from_u64(seed);
    assert_same_rows(&database, &random_statements(&mut rng), 2000);
    let file = match own {
        "" => file,
        own => assert_same_rows(&database, own, 60),
    };
    (database, file)
}

fn check_common_json(events: &[Value]) {
    let ints = json_rows(events, "ints");
    assert_eq!(
        ints[2]["after"],
        json!([
            3, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
            null, null
        ])
    );
    assert_eq!(ints[0]["after"][1], json!(-128));
    assert_eq!(ints[0]["after"][12], json!(0b1010_1010_1010));
    assert!(ints[0].get("before").is_none() && ints[0].get("after_columns").is_none());
    let minimal = &ints[6];
    let expected =
        json!({"before": [1], "before_columns": [1], "after": [6], "after_columns": [2]});
    assert_eq!(*minimal, expected);
    // MySQL logs none of the columns that a statement does not name, MariaDB all of them.
    let nothing = &json_rows(events, "nothing")[0];
    let images = [
        json!({"after": [], "after_columns": []}),
        json!({"after": [7, "x"]}),
    ];
    assert!(images.contains(nothing), "{nothing}");
    let nums = json_rows(events, "nums");
    assert_eq!(nums[1]["after"][1], json!(-0.1));
    assert_eq!(nums[1]["after"][4], json!("-0.01"));
    let times = json_rows(events, "times");
    assert_eq!(times[0]["after"][11], json!("0000-00-00 00:00:00"));
    assert_eq!(times[2]["after"][15], json!("2038-01-19 03:14:07.123456"));
    assert_eq!(times[1]["after"][6], json!("-00:00:00.000001"));
    let strs = json_rows(events, "strs");
    assert_eq!(strs[0]["after"][8], json!("0x0001020304ff"));
    assert_eq!(
        strs[0]["after"][18],
        json!("text ü 😀 \n\r\t\u{8}\u{1a}\0\"'\\")
    );
    assert_eq!(strs[0]["after"][12], json!(0b10_0000_0001));
}

#[test]
fn mysql_9_7_rows_are_listed_as_by_its_tool() {
    let _turn = support::turn();
    let (database, file) = compare("mysql-9.7", MYSQL);
    let events = json_events(&file);
    let partial = json_rows(&events, "j2");
    let change = "JSON_REPLACE(@2, '$.a', 2)";
    assert!(
        partial.iter().any(|row| row["after"][1] == change),
        "{change}"
    );
    let vectors = json_rows(&events, "vec");
    assert_eq!(vectors[0]["after"][1], json!([1.0, 2.5, -3e10]));
    let full = json_rows(&events, "fm");
    let expected = json!([
        4_294_967_295_u32,
        2,
        3,
        "abc",
        u64::MAX,
        "zz",
        2001,
        [1.0, -1.0]
    ]);
    assert_eq!(full[0]["after"], expected);
    let in_payload = json_rows(&events, "ints");
    assert!(
        in_payload.iter().any(|row| row["after"][1] == 99),
        "{in_payload:?}"
    );
    let file = database.log_of(
        "CREATE TABLE g(id INT, g GEOMETRY, p POINT); \
         INSERT INTO g VALUES (1, ST_GeomFromText('LINESTRING(0 0,1 1)'), NULL), (2, NULL, POINT(1, 2));",
    );
    let geometry = database.sql("SELECT CONCAT('0x', LOWER(HEX(g))) FROM d.g WHERE id=1");
    let rows = json_rows(&json_events(&file), "g");
    assert_eq!(rows[0]["after"], json!([1, geometry.trim(), null]));
    assert!(dump(&["--rows"], &file).contains("/* GEOMETRY meta=4 nullable=1 is_null=0 */"));
}

#[test]
fn mysql_5_6_rows_are_listed_as_by_its_tool() {
    let _turn = support::turn();
    compare("mysql-5.6", "");
}

#[test]
fn mariadb_10_11_rows_are_listed_as_by_its_tool() {
    let _turn = support::turn();
    let (database, file) = compare("mariadb-10.11", MARIADB);
    check_mariadb(&database, &file);
    assert_same_rows(
        &database,
        "CREATE TABLE m10(id INT PRIMARY KEY, i4 INET4, u UUID); INSERT INTO m10 VALUES \
         (1,'1.2.3.4','123e4567-e89b-12d3-a456-426614174000'),(2,NULL,NULL),(3,'0.0.0.0',\
         '00000000-0000-0000-0000-000000000000'); UPDATE m10 SET i4='9.9.9.9'; DELETE FROM m10;",
        40,
    );
}

#[test]
fn mariadb_10_5_rows_are_listed_as_by_its_tool() {
    let _turn = support::turn();
    let (database, file) = compare("mariadb-10.5", MARIADB);
    check_mariadb(&database, &file);
}

#[test]
fn mariadb_11_8_rows_are_listed_as_by_its_tool() {
    let _turn = support::turn();
    let (database, file) = compare("mariadb-11.8", MARIADB);
    check_mariadb(&database, &file);
    let file = assert_same_rows(
        &database,
        "CREATE TABLE m11(id INT PRIMARY KEY, v VECTOR(3)); \
         INSERT INTO m11 VALUES (1,VEC_FromText('[1,2.5,-3e10]')),(2,NULL); DELETE FROM m11;",
        12,
    );
    let rows = json_rows(&json_events(&file), "m11");
    assert_eq!(rows[0]["after"], json!([1, "0x0000803f000020407684dfd0"]));
}

fn check_mariadb(database: &Database, file: &Path) {
    let events = json_events(file);
    let compressed = json_rows(&events, "mc");
    let expected = json!([
        1,
        "{\"a\": 1}",
        "b".repeat(1000),
        "t".repeat(1000),
        "short",
        "v".repeat(400),
        "vs",
        "x".repeat(250)
    ]);
    let found = compressed[0]["after"].as_array().unwrap();
    assert_eq!(found[..8], expected.as_array().unwrap()[..]);
    let full = json_rows(&events, "fm");
    assert_eq!(full[0]["after"][0], json!(u32::MAX));
    assert_eq!(full[0]["after"][5], json!(u64::MAX));
    assert_eq!(
        full[0]["after"].as_array().unwrap()[7..],
        [json!(2001), json!(-1)]
    );
    // These rows cannot be told apart; mariadb-binlog fails at them.
    let file = database.log_of(
        "SET GLOBAL mysql56_temporal_format=OFF; CREATE TABLE old(t TIME(3), d DATETIME(6)); \
         INSERT INTO old VALUES ('01:02:03.4', '2020-01-02 03:04:05.6'); \
         SET GLOBAL mysql56_temporal_format=ON;",
    );
    assert!(dump(&["--rows"], &file).contains("### (the rows cannot be read)\n"));
    assert_eq!(json_events(&file)[0]["rows"], Value::Null);
}
