//! Broken configurations and wrong usage of the real program: one line on stderr that names file, line,
//! key and what was expected, and exit status 2.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const RELAY: &str = "[relay]\nserver_id = 900\ndata_dir = \"data\"\n";
const SOURCE: &str = "[[source]]\nname = \"m1\"\nhost = \"db1\"\nuser = \"repl\"\n";
const USER: &str = "[[user]]\nname = \"u\"\npassword = \"p\"\n";

fn binrelay(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_binrelay"))
        .current_dir(directory)
        .env_remove("BINRELAY_LOG")
        .env_remove("BINRELAY_TEST_UNSET")
        .args(args)
        .output()
        .expect("the program starts")
}

/// The only line on stderr, after checking the exit status and that stdout is empty.
fn only_line(output: &Output, status: i32, case: &str) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(
        output.status.code(),
        Some(status),
        "{case}\nstderr: {stderr}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{case}");
    assert_eq!(stderr.lines().count(), 1, "{case}\nstderr: {stderr}");
    assert!(stderr.ends_with('\n'), "{case}");
    let line = stderr.trim_end_matches('\n');
    line.strip_prefix("binrelay: error: ")
        .unwrap_or_else(|| panic!("{case}: {line}"))
        .to_owned()
}

/// Runs `run` and `check` with a file of this text and expects the same line from both.
fn refused(text: &str, expected: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("config.toml"), text).expect("written");
    for command in ["run", "check"] {
        let output = binrelay(directory.path(), &[command, "--config", "config.toml"]);
        assert_eq!(only_line(&output, 2, text), expected, "{command}\n{text}");
    }
    assert!(
        !directory.path().join("data").exists(),
        "nothing is made for a broken file"
    );
}

#[test]
fn faults_in_the_relay_section_are_named() {
    let with = |line: &str| format!("{RELAY}{line}\n{SOURCE}{USER}");
    refused(
        &format!("[relay]\ndata_dir = \"data\"\n{SOURCE}{USER}"),
        "config.toml:1: [relay] server_id: is required: expected a number from 1 to 4294967295, \
         unique in the topology",
    );
    refused(
        &format!("[relay]\nserver_id = 4294967296\ndata_dir = \"data\"\n{SOURCE}{USER}"),
        "config.toml:2: [relay] server_id: expected a number from 1 to 4294967295, found 4294967296",
    );
    refused(
        &format!("[relay]\nserver_id = 900\n{SOURCE}{USER}"),
        "config.toml:1: [relay] data_dir: is required: expected the path of a directory for the \
         relay's files",
    );
    refused(
        &with("listen = \"0.0.0.0\""),
        "config.toml:4: [relay] listen: expected HOST:PORT, such as \"0.0.0.0:3306\", found \
         \"0.0.0.0\"",
    );
    refused(
        &with("flavor = \"oracle\""),
        "config.toml:4: [relay] flavor: expected one of \"auto\", \"mysql\", \"mariadb\", found \
         \"oracle\"",
    );
    refused(
        &with("server_uuid = \"abc\""),
        "config.toml:4: [relay] server_uuid: expected a UUID such as \
         \"3e11fa47-71ca-11e1-9e33-c80aa9429562\", found \"abc\"",
    );
    refused(
        &with("max_connections = 0"),
        "config.toml:4: [relay] max_connections: expected a number from 1 to 100000, found 0",
    );
    refused(
        &with("sever_uuid = \"abc\""),
        "config.toml:4: [relay] sever_uuid: unknown key; did you mean server_uuid?",
    );
}

#[test]
fn faults_in_the_log_section_are_named() {
    let with = |line: &str| format!("{RELAY}{SOURCE}{USER}[log]\n{line}\n");
    refused(
        &with("max_size = \"4GiB\""),
        "config.toml:12: [log] max_size: expected a size such as \"64MiB\", from \"4KiB\" to \
         \"4294967295B\", found \"4GiB\"",
    );
    refused(
        &with("max_size = \"1GB\""),
        "config.toml:12: [log] max_size: expected a size such as \"64MiB\", from \"4KiB\" to \
         \"4294967295B\", found \"1GB\"",
    );
    refused(
        &with("max_sise = \"1GiB\""),
        "config.toml:12: [log] max_sise: unknown key; did you mean max_size?",
    );
    refused(
        &with("sync = true"),
        "config.toml:12: [log] sync: expected \"commit\", \"never\", or a duration from \"1ms\" \
         to \"1h\" such as \"100ms\", found true",
    );
    refused(
        &with("expire_after = \"7 weeks\""),
        "config.toml:12: [log] expire_after: expected a duration such as \"30s\", from \"0\" to \
         \"36500d\", found \"7 weeks\"",
    );
    refused(
        &with("max_total_size = \"1MiB\""),
        "config.toml:12: [log] max_total_size: expected no less than max_size (1GiB), found \
         \"1MiB\"",
    );
    refused(
        &with("basename = \"../up\""),
        "config.toml:12: [log] basename: expected a file name of 1 to 64 letters, digits, \"_\", \
         \"-\" or \".\" that begins with none of the last two, found \"../up\"",
    );
    refused(
        &with("spill_size = \"65MiB\""),
        "config.toml:12: [log] spill_size: expected a size such as \"64MiB\", from \"64KiB\" to \
         \"64MiB\", found \"65MiB\"",
    );
}

#[test]
fn faults_in_the_source_section_are_named() {
    let with = |line: &str| format!("{RELAY}{USER}{SOURCE}{line}\n");
    refused(
        &format!("{RELAY}{USER}"),
        "config.toml: [[source]]: is required: expected at least one server to follow",
    );
    refused(
        &format!("{RELAY}{USER}[source]\nname = \"m1\"\n"),
        "config.toml:7: source: expected [[source]] with double brackets, found [source]",
    );
    refused(
        &with("port = \"abc\""),
        "config.toml:11: [source \"m1\"] port: expected a number from 1 to 65535, found \"abc\"",
    );
    refused(
        &with("port = 65536"),
        "config.toml:11: [source \"m1\"] port: expected a number from 1 to 65535, found 65536",
    );
    refused(
        &with(SOURCE),
        "config.toml:12: [source #2] name: expected a unique name, found \"m1\" again",
    );
    refused(
        &with(&SOURCE.replace("m1", "M1")),
        "config.toml:12: [source #2] name: expected a unique name, found \"M1\" again",
    );
    refused(
        &with("semi_sync = \"yes\""),
        "config.toml:11: [source \"m1\"] semi_sync: expected true or false, found \"yes\"",
    );
    refused(
        &with("connect_retry = \"2m\""),
        "config.toml:11: [source \"m1\"] connect_retry: expected no more than connect_retry_max \
         (default \"60s\"), found \"2m\"",
    );
    refused(
        &with("read_timeout = \"10ms\""),
        "config.toml:11: [source \"m1\"] read_timeout: expected a duration such as \"30s\", from \
         \"1s\" to \"1d\", found \"10ms\"",
    );
    refused(
        &with("start = \"mysql-bin.000010:0\""),
        "config.toml:11: [source \"m1\"] start: expected \"earliest\", \"latest\", \
         \"FILE:POSITION\" with a position from 4 (the beginning of the file) to 4294967295, or \
         \"gtid:SET\", found \"mysql-bin.000010:0\"",
    );
    refused(
        &format!("{RELAY}{USER}[[source]]\nname = \"a b\"\nhost = \"h\"\nuser = \"u\"\n"),
        "config.toml:8: [source #1] name: expected a name of 1 to 64 letters, digits, \"_\", \
         \".\" or \"-\", found \"a b\"",
    );
    refused(
        &format!("{RELAY}{USER}[[source]]\nname = \"m1\"\nhost = \"h:3306\"\nuser = \"u\"\n"),
        "config.toml:9: [source \"m1\"] host: expected a host name or address, found \"h:3306\"",
    );
}

#[test]
fn faults_in_secrets_and_files_of_sources_are_named() {
    let with = |line: &str| format!("{RELAY}{USER}{SOURCE}{line}\n");
    refused(
        &with("password = \"x\"\npassword_env = \"PATH\""),
        "config.toml:12: [source \"m1\"] password_env: expected only one of password, \
         password_file, password_env, found password, password_env",
    );
    refused(
        &with("password = 12345"),
        "config.toml:11: [source \"m1\"] password: expected a string, found an integer",
    );
    refused(
        &with("password_file = \"/nowhere/secret\""),
        "config.toml:11: [source \"m1\"] password_file: cannot read /nowhere/secret: No such file \
         or directory (os error 2)",
    );
    refused(
        &with("password_env = \"BINRELAY_TEST_UNSET\""),
        "config.toml:11: [source \"m1\"] password_env: expected an environment variable that is \
         set, found BINRELAY_TEST_UNSET, which is not set",
    );
    refused(
        &with("[source.tls]\nmode = \"verify_ca\""),
        "config.toml:11: [source.tls \"m1\"] ca: is required: expected the path of a PEM file, \
         since mode verifies the certificate",
    );
    refused(
        &with("[source.tls]\nmode = \"verify\""),
        "config.toml:12: [source.tls \"m1\"] mode: expected one of \"disabled\", \"preferred\", \
         \"required\", \"verify_ca\", \"verify_identity\", found \"verify\"",
    );
    refused(
        &with("[source.tls]\nca = \"/nowhere/ca.pem\""),
        "config.toml:12: [source.tls \"m1\"] ca: /nowhere/ca.pem: No such file or directory (os \
         error 2)",
    );
    refused(
        &with("[source.filter]\nreplicate_do_db = \"test\""),
        "config.toml:12: [source.filter \"m1\"] replicate_do_db: expected a list of database \
         names, found \"test\"",
    );
}

#[test]
fn faults_in_other_sections_are_named() {
    let with = |lines: &str| format!("{RELAY}{SOURCE}{lines}\n");
    let user = "[[user]]\nname = \"u\"\n";
    refused(
        &with(&format!("{user}password = \"p\"\nprivileges = [\"super\"]")),
        "config.toml:11: [user \"u\"] privileges: expected a list of \"replication\", \
         \"admin\" and \"monitor\", which may be empty, found \"super\" in it",
    );
    refused(
        &with(&format!("{user}password_hash = \"*0123\"")),
        "config.toml:10: [user \"u\"] password_hash: expected * and 40 hex digits \
         (mysql_native_password), found another string of 5 characters",
    );
    refused(
        &with(&format!("{user}password_hash = [\"hunter2\"]")),
        "config.toml:10: [user \"u\"] password_hash: expected * and 40 hex digits \
         (mysql_native_password), 43 base64 characters of a public key (ed25519), or $A$005$… or \
         its hex form 0x… (caching_sha2_password), found another string of 7 characters",
    );
    refused(
        &with(&format!("{user}password_hash = [12345]")),
        "config.toml:10: [user \"u\"] password_hash: expected a password's hash as a server \
         stores it, or a list of such hashes, found an integer in it",
    );
    refused(
        &with(&format!(
            "{user}password = \"p\"\npassword_hash = \"*0123\""
        )),
        "config.toml:11: [user \"u\"] password_hash: expected only one of password, \
         password_file, password_env, password_hash, found password, password_hash",
    );
    refused(
        &with(&format!("{USER}{USER}")),
        "config.toml:12: [user #2] name: expected a unique name, found \"u\" again",
    );
    refused(
        &with(&format!("{USER}[tls]\ncert = \"config.toml\"")),
        "config.toml:11: [tls] key: is required with cert: expected a PEM file",
    );
    refused(
        &with(&format!("{USER}[admin]\nhttp = \"9104\"")),
        "config.toml:12: [admin] http: expected ADDRESS:PORT, such as \"127.0.0.1:9105\", found \
         \"9104\"",
    );
    refused(
        &with(&format!("{USER}[admin]\nhttp_token = 8472634001")),
        "config.toml:12: [admin] http_token: expected a string, found an integer",
    );
    refused(
        &with(&format!(
            "{USER}[filter]\nreplicate_wild_do_table = [\"a.b\", \"ab\"]"
        )),
        "config.toml:12: [filter] replicate_wild_do_table: expected a list of \"database.table\", \
         found \"ab\" in it",
    );
    refused(
        &with(&format!(
            "{USER}[filter]\nreplicate_rewrite_db = [\"a-> \"]"
        )),
        "config.toml:12: [filter] replicate_rewrite_db: expected a list of \"from->to\" with two \
         database names of 1 to 64 characters, found \"a-> \" in it",
    );
    refused(
        &with(&format!("{USER}[filter]\nreplicate_do_db = [\"a\", 1]")),
        "config.toml:12: [filter] replicate_do_db: expected a list of database names, found 1 in it",
    );
    refused(
        &with(&format!("{USER}[fliter]")),
        "config.toml:11: fliter: unknown key; did you mean filter?",
    );
}

#[test]
fn files_that_are_not_configurations_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = ["run", "--config", "config.toml"];
    let line = only_line(&binrelay(directory.path(), &run), 2, "absent");
    let absent = "No such file or directory (os error 2)";
    assert_eq!(
        line,
        format!("config.toml: cannot read the configuration: {absent}")
    );
    fs::write(directory.path().join("config.toml"), b"[relay]\n# \xff\n").expect("written");
    let line = only_line(&binrelay(directory.path(), &run), 2, "not UTF-8");
    assert_eq!(
        line,
        "config.toml:2:3: expected UTF-8 text, found other bytes"
    );
    fs::write(
        directory.path().join("config.toml"),
        "[relay]\nserver_id = \n",
    )
    .expect("written");
    let line = only_line(&binrelay(directory.path(), &run), 2, "not TOML");
    assert!(
        line.starts_with("config.toml:2:13: not valid TOML: "),
        "{line}"
    );
    let line = only_line(
        &binrelay(directory.path(), &["run", "--config", "."]),
        2,
        "directory",
    );
    assert_eq!(
        line,
        ".: cannot read the configuration: Is a directory (os error 21)"
    );
}

#[test]
fn wrong_usage_is_reported_in_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(
        directory.path().join("config.toml"),
        format!("{RELAY}{SOURCE}{USER}"),
    )
    .expect("written");
    for (args, expected) in [
        (&[][..], "requires a subcommand"),
        (&["run", "--confg", "x"], "'--config'"),
        (&["restart"], "'restart'"),
        (&["search"], "--gtid <GTID>|--datetime <TIME>"),
        (
            &["search", "--config", "config.toml", "--gtid", "7"],
            "expected one GTID",
        ),
        (
            &["status", "--config", "a", "--socket", "b"],
            "cannot be used with",
        ),
        (&["dump"], "<FILE>"),
        (&["dump", "f", "--start-position", "x"], "'x'"),
        (
            &["dump", "f", "--start-position", "9", "--stop-position", "5"],
            "--stop-position 5",
        ),
        (
            &["dump", "f", "--start-datetime", "noon"],
            "expected YYYY-MM-DD",
        ),
        (&["verify"], "<DATA_DIR>"),
        (&["run", "--config", "x", "--log-level", "loud"], "'loud'"),
        (
            &["position", "--config", "config.toml", "m9", "f:4"],
            "expected a source (m1)",
        ),
        (
            &[
                "attach",
                "--config",
                "config.toml",
                "m1",
                "f:4",
                "m9",
                "f:4",
            ],
            "expected a source (m1)",
        ),
        (&["attach", "--config", "config.toml", "m1"], "after \"m1\""),
        (
            &["attach", "--config", "config.toml"],
            "<SOURCE FILE:POS|GTIDSET>",
        ),
        (
            &[
                "attach",
                "--config",
                "c",
                "--last-of",
                "f",
                "--json",
                "m1",
                "f:4",
            ],
            "cannot be used with",
        ),
    ] {
        let line = only_line(&binrelay(directory.path(), args), 2, &format!("{args:?}"));
        assert!(line.contains(expected), "{args:?}: {line}");
        assert!(!line.contains("Usage"), "{args:?}: {line}");
    }
}

#[test]
fn a_bad_level_in_the_environment_is_wrong_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_binrelay"))
        .env("BINRELAY_LOG", "a=b=c")
        .args(["verify", "/nowhere"])
        .output()
        .expect("the program starts");
    let line = only_line(&output, 2, "BINRELAY_LOG");
    assert!(line.starts_with("BINRELAY_LOG: expected a level"), "{line}");
}

#[test]
fn several_problems_are_reported_one_a_line() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(
        directory.path().join("config.toml"),
        "[relay]\nserver_id = 0\n",
    )
    .expect("written");
    let output = binrelay(directory.path(), &["check", "--config", "config.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    assert!(
        stderr
            .lines()
            .all(|line| line.starts_with("binrelay: error: config.toml")),
        "{stderr}"
    );
}

#[test]
fn a_good_file_is_reported_with_its_warnings() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(
        directory.path().join("config.toml"),
        format!("{RELAY}{SOURCE}"),
    )
    .expect("written");
    let output = binrelay(directory.path(), &["check", "--config", "config.toml"]);
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines = stdout.lines();
    assert_eq!(
        lines.next(),
        Some("config.toml: the configuration is valid; sources: 1")
    );
    let warning = lines.next().expect("a warning");
    assert!(
        warning.starts_with("config.toml: warning: [[user]]: no account is configured"),
        "{warning}"
    );
}

#[test]
fn version_and_help_survive_a_closed_stdout() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = binrelay(directory.path(), &["--version"]);
    let expected = format!("binrelay {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(0));
    // The reading end is closed before the program starts, so that its first write fails.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_binrelay"))
        .arg("--help")
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
