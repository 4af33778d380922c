//! Whole configurations; the program itself is tested with invalid ones in `tests/program/config_errors.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::flavor::Flavor;
use crate::position::SourcePosition;
use crate::tls::TlsMode;

const RELAY: &str = "[relay]\nserver_id = 900\ndata_dir = \"data\"\n";
const SOURCE: &str = "[[source]]\nname = \"m1\"\nhost = \"db1\"\nuser = \"repl\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/binrelay/config.toml"))
}

/// The result for the smallest valid file with a few lines added to its source.
fn parse_with(lines: &str) -> Result<Config, ConfigError> {
    parse(&format!("{RELAY}{SOURCE}{lines}"))
}

fn refusal(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn smallest_file_gets_the_defaults() {
    let config = parse_with("").unwrap();
    assert_eq!(config.relay.server_id, 900);
    assert_eq!(config.relay.semi_sync_wait_for_replicas, 0);
    assert_eq!(config.relay.semi_sync_timeout, Duration::from_secs(10));
    assert_eq!(config.relay.data_dir, Path::new("/etc/binrelay/data"));
    assert_eq!(config.relay.listen, "0.0.0.0:3306");
    assert_eq!(config.relay.flavor, FlavorChoice::Auto);
    assert_eq!(config.relay.server_uuid, None);
    assert_eq!(config.relay.replica_write_timeout, Duration::from_secs(60));
    let limits = config.limits;
    assert_eq!(limits.max_connections, 200);
    assert_eq!(limits.max_connections_per_address, 50);
    assert_eq!(limits.reserved_connections, 10);
    assert_eq!(limits.login_timeout, Duration::from_secs(10));
    assert_eq!(limits.max_statement_size, 1 << 20);
    assert_eq!(limits.max_result_size, 16 << 20);
    assert_eq!(limits.max_transaction_size, 4 << 30);
    assert_eq!(config.relay.compression, CompressionChoice::Auto);
    assert_eq!(config.log.basename, "relay-bin");
    assert_eq!(config.log.max_size, 1 << 30);
    assert_eq!(config.log.sync, SyncPolicy::Commit);
    assert_eq!(config.log.expire_after, Some(Duration::from_secs(604_800)));
    assert_eq!(config.log.max_total_size, None);
    assert_eq!(config.log.keep_for_replicas, Duration::from_secs(86_400));
    assert_eq!(config.log.spill_size, 4 << 20);
    assert_eq!(config.filter, FilterConfig::default());
    let source = &config.sources[0];
    assert_eq!((source.host.as_str(), source.port), ("db1", 3306));
    assert_eq!(source.start, SourceStart::Earliest);
    assert_eq!((source.auto_position, source.semi_sync), (None, false));
    assert_eq!(source.connect_retry, Duration::from_secs(1));
    assert_eq!(source.connect_retry_max, Duration::from_secs(60));
    assert_eq!(source.read_timeout, Duration::from_secs(30));
    assert_eq!(source.tls.mode, TlsMode::Preferred);
    assert_eq!(source.compression, SourceCompression::Off);
    assert!(source.password.is_empty());
    assert!(!config.tls.required && config.tls.cert.is_none());
    assert_eq!(
        config.admin.socket,
        Path::new("/etc/binrelay/data/binrelay.sock")
    );
    assert_eq!(config.admin.http, None);
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].starts_with("[[user]]: no account is configured"));
}

/// Every key, none with its default.
const EVERYTHING: &str = r#"
[relay]
server_id = 4294967295
data_dir  = "/var/lib/binrelay"
listen    = "[::]:3307"
flavor    = "mariadb"
server_uuid = "3E11FA47-71CA-11E1-9E33-C80AA9429562"
replica_write_timeout = "2m"
compression = "on"
semi_sync_wait_for_replicas = 2
semi_sync_timeout = "500ms"
[log]
basename = "merged.bin"
max_size = 4096
sync = "100ms"
expire_after = 0
max_total_size = "100GiB"
keep_for_replicas = "2d"
spill_size = "64KiB"
[filter]
replicate_do_db = ["test", "ss-vps1"]
replicate_do_table = []
replicate_ignore_table = ["test.t.u"]
replicate_wild_do_table = ["test%.%"]
replicate_wild_ignore_table = ["%.tmp\\_%"]
replicate_rewrite_db = ["old -> test", "a->b"]
[[source]]
name = "m1"
host = "::1"
port = 3310
user = "repl"
password = "se\"cret"
start = "mysql-bin.000010:154"
semi_sync = true
auto_position = false
connect_retry = "500ms"
connect_retry_max = "500ms"
read_timeout = "1s"
compression = "zstd"
[source.tls]
mode = "required"
[source.filter]
replicate_ignore_db = ["scratch"]
[[source]]
name = "m2"
host = "db2.example.org"
user = "repl"
start = "gtid:0-1-100,1-2-7"
[[user]]
name = "repl"
password = "p"
[[user]]
name = "dba"
password = "q"
privileges = ["admin", "replication", "admin"]
[limits]
max_connections = 10
max_connections_per_address = 5
reserved_connections = 0
login_timeout = "1m"
max_statement_size = "2KiB"
max_result_size = "1MiB"
max_transaction_size = "3MiB"
[tls]
required = true
[admin]
socket = "/run/binrelay.sock"
http = "127.0.0.1:9104"
"#;

#[test]
fn max_connections_is_also_read_at_its_former_place() {
    let relay = "max_connections = 10\n";
    let former = EVERYTHING.replacen("max_connections = 10\n", "", 1);
    let former = former.replacen(
        "compression = \"on\"\n",
        &format!("compression = \"on\"\n{relay}"),
        1,
    );
    assert_eq!(parse(&former).unwrap().limits.max_connections, 10);
    let both = former.replacen("[limits]\n", "[limits]\nmax_connections = 11\n", 1);
    let refused = parse(&both).unwrap_err().to_string();
    assert!(
        refused.contains("[limits] max_connections: [relay] has the same key"),
        "{refused}"
    );
}

#[test]
fn all_settings_are_read() {
    let config = parse(EVERYTHING).unwrap();
    assert_eq!(config.relay.server_id, u32::MAX);
    assert_eq!(config.relay.data_dir, Path::new("/var/lib/binrelay"));
    assert_eq!(config.relay.flavor, FlavorChoice::Fixed(Flavor::MariaDb));
    let uuid = config.relay.server_uuid.as_deref();
    assert_eq!(uuid, Some("3e11fa47-71ca-11e1-9e33-c80aa9429562"));
    assert_eq!(
        config.log.sync,
        SyncPolicy::Interval(Duration::from_millis(100))
    );
    assert_eq!(config.log.expire_after, None);
    assert_eq!(config.log.max_total_size, Some(100 << 30));
    assert_eq!(config.log.keep_for_replicas, Duration::from_secs(172_800));
    let limits = config.limits;
    assert_eq!(limits.max_connections, 10);
    assert_eq!(limits.max_connections_per_address, 5);
    assert_eq!(limits.reserved_connections, 0);
    assert_eq!(limits.login_timeout, Duration::from_secs(60));
    assert_eq!(limits.max_statement_size, 2 << 10);
    assert_eq!(limits.max_result_size, 1 << 20);
    assert_eq!(limits.max_transaction_size, 3 << 20);
    let [m1, m2] = config.sources.as_slice() else {
        panic!("two sources")
    };
    let start = SourceStart::FilePosition(SourcePosition::new("mysql-bin.000010", 154));
    assert_eq!(m1.start, start);
    assert_eq!(m1.password.expose(), "se\"cret");
    assert_eq!(m1.tls.mode, TlsMode::Required);
    assert_eq!(m1.compression, SourceCompression::Zstd);
    assert_eq!(config.relay.compression, CompressionChoice::On);
    assert!(
        m1.filter.current().replicate_do_db.is_empty(),
        "its own filter replaces the global one"
    );
    assert_eq!(m1.filter.current().replicate_ignore_db, ["scratch"]);
    assert_eq!(*m2.filter.current(), config.filter);
    assert_eq!(m2.filter.current().replicate_do_db, ["test", "ss-vps1"]);
    assert_eq!(m2.filter.current().replicate_ignore_table, ["test.t.u"]);
    let pairs = [("old", "test"), ("a", "b")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(m2.filter.current().replicate_rewrite_db, pairs);
    assert_eq!(
        m2.filter.current().to_string(),
        "replicate_do_db = [\"test\", \"ss-vps1\"], replicate_ignore_table = [\"test.t.u\"], \
         replicate_wild_do_table = [\"test%.%\"], replicate_wild_ignore_table = \
         [\"%.tmp\\\\_%\"], replicate_rewrite_db = [\"old->test\", \"a->b\"]"
    );
    assert_eq!(
        FilterConfig::default().to_string(),
        "none, everything is kept"
    );
    assert_eq!(m2.start, SourceStart::Gtid("0-1-100,1-2-7".to_owned()));
    assert_eq!(config.users[0].privileges, [Privilege::Replication]);
    assert_eq!(
        config.users[1].privileges,
        [Privilege::Admin, Privilege::Replication]
    );
    assert_eq!(
        config.warnings,
        [
            "[source \"m1\"] semi_sync: [log] sync is a duration, so each acknowledgement waits for the next \
             sync",
        ]
    );
}

#[test]
fn semi_sync_needs_a_log_that_is_synced() {
    let source = format!("{SOURCE}semi_sync = true\n");
    let with = |sync: &str| format!("{RELAY}[log]\nsync = \"{sync}\"\n{source}");
    for sync in ["commit", "100ms"] {
        assert!(parse(&with(sync)).unwrap().sources[0].semi_sync, "{sync}");
    }
    let refused = refusal(&with("never"));
    assert!(
        refused.contains("semi_sync: expected false with [log] sync = \"never\""),
        "{refused}"
    );
    let relay = |line: &str| format!("{RELAY}{line}\n{SOURCE}");
    for line in [
        "semi_sync_wait_for_replicas = 1001",
        "semi_sync_timeout = \"10ms\"",
    ] {
        let key = line.split(' ').next().unwrap();
        assert!(refusal(&relay(line)).contains(key), "{line}");
    }
}

#[test]
fn authorities_that_are_not_used_are_warned_of() {
    for (mode, is_warned) in [
        ("", true),
        ("mode = \"disabled\"", true),
        ("mode = \"preferred\"", true),
        ("mode = \"required\"", true),
        ("mode = \"verify_ca\"", false),
        ("mode = \"verify_identity\"", false),
    ] {
        let lines = format!("[source.tls]\nca = \"/dev/null\"\n{mode}\n");
        let warnings = parse_with(&lines).unwrap().warnings;
        let expected = "[source.tls \"m1\"] ca: is not used with mode ";
        let found = warnings.iter().any(|text| text.starts_with(expected));
        assert_eq!(found, is_warned, "{mode}: {warnings:?}");
    }
}

#[test]
fn only_accounts_that_read_the_log_need_a_password() {
    let warned = |privileges: &str| {
        let user = format!("[[user]]\nname = \"u\"\nprivileges = {privileges}\n");
        let config = parse_with(&user).unwrap();
        (config.users[0].privileges.len(), config.warnings.len())
    };
    assert_eq!(warned("[]"), (0, 0));
    assert_eq!(warned("[\"monitor\"]"), (1, 0));
    assert_eq!(warned("[\"monitor\", \"replication\"]"), (2, 1));
    assert_eq!(warned("[\"admin\"]"), (1, 1));
}

#[test]
fn starts_of_all_forms_are_read() {
    let start = |text: &str| {
        parse_with(&format!("start = \"{text}\"")).map(|mut config| config.sources.remove(0).start)
    };
    assert_eq!(start("latest").unwrap(), SourceStart::Latest);
    let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:1-5";
    assert_eq!(
        start(&format!("gtid:{set}")).unwrap(),
        SourceStart::Gtid(set.to_owned())
    );
    let position = SourceStart::FilePosition(SourcePosition::new("b.1", u32::MAX.into()));
    assert_eq!(start("b.1:4294967295").unwrap(), position);
    for bad in [
        "",
        "newest",
        "b.1:3",
        "b.1:4294967296",
        "b.1:+5",
        "b.1:",
        ":4",
        "b.1",
        "a/b:4",
        "gtid:",
        "gtid: ,",
        "gtid:a;b",
    ] {
        assert!(
            start(bad)
                .unwrap_err()
                .to_string()
                .contains("m1\"] start: expected"),
            "{bad}"
        );
    }
}

#[test]
fn auto_position_may_not_contradict_start() {
    for (lines, refused) in [
        ("start = \"b.1:4\"\nauto_position = true", true),
        ("start = \"b.1:4\"\nauto_position = false", false),
        ("start = \"gtid:0-1-1\"\nauto_position = false", true),
        ("start = \"gtid:0-1-1\"\nauto_position = true", false),
        ("auto_position = true", false),
    ] {
        assert_eq!(parse_with(lines).is_err(), refused, "{lines}");
    }
}

#[test]
fn all_problems_are_found_in_the_order_of_the_file() {
    let text = "[relay]\nserver_id = 0\n[log]\nsinc = 1\n[[source]]\nport = \"abc\"\n";
    let lines: Vec<String> = refusal(text).lines().map(str::to_owned).collect();
    let file = "/etc/binrelay/config.toml";
    assert_eq!(
        lines,
        [
            format!(
                "{file}:1: [relay] data_dir: is required: expected the path of a directory \
                     for the relay's files"
            ),
            format!("{file}:2: [relay] server_id: expected a number from 1 to 4294967295, found 0"),
            format!("{file}:4: [log] sinc: unknown key; did you mean sync?"),
            format!(
                "{file}:5: [source #1] name: is required: expected a name of 1 to 64 letters, \
                     digits, \"_\", \".\" or \"-\""
            ),
            format!("{file}:5: [source #1] host: is required: expected a host name or address"),
            format!(
                "{file}:5: [source #1] user: is required: expected the name of an account on \
                     the source"
            ),
            format!("{file}:6: [source #1] port: expected a number from 1 to 65535, found \"abc\""),
        ]
    );
}

#[test]
fn passwords_are_never_shown() {
    let config = parse_with("password = \"hunter2\"").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for lines in [
        "password = [\"hunter2\"]",
        "password = { hunter2 = 1 }",
        "password_env = \"hunter2!\"",
        "password = \"hunter2\"\npassword_env = \"HOME\"",
        "passwort = \"hunter2\"",
        "password = \"hunter2",
    ] {
        let refused = parse_with(lines).expect_err(lines);
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
        assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
    }
}

#[test]
fn password_file_loses_one_newline_and_warns_when_world_readable() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    let config_path = directory.path().join("config.toml");
    let text = format!("{RELAY}{SOURCE}password_file = \"secret\"\n");
    for (content, password) in [
        ("s\n", "s"),
        ("s", "s"),
        ("s\r\n", "s"),
        ("s\n\n", "s\n"),
        (" s ", " s "),
        ("", ""),
    ] {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let config = Config::parse(&text, &config_path).unwrap();
        assert_eq!(config.sources[0].password.expose(), password, "{content:?}");
        assert_eq!(config.warnings.len(), 1, "only that there is no user");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let config = Config::parse(&text, &config_path).unwrap();
    let warnings = config.warnings.join("\n");
    assert!(
        warnings.contains("[source \"m1\"] password_file: "),
        "{warnings}"
    );
    fs::write(&config_path, &text).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(Config::load(&config_path).is_err());
    let config = Config::load_without_secrets(&config_path).unwrap();
    assert!(config.sources[0].password.is_empty());
}

#[test]
fn password_is_read_from_the_environment() {
    // A variable that every test process has; nothing is set, for that would be unsafe code.
    let config = parse_with("password_env = \"PATH\"").unwrap();
    assert_eq!(
        config.sources[0].password.expose(),
        std::env::var("PATH").unwrap()
    );
}

#[test]
fn control_character_does_not_break_the_line() {
    let said = refusal(&format!(
        "{RELAY}{SOURCE}start = \"a\\nb\"\n\"x\\ny\" = 1\n"
    ));
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("found \"a\\nb\""), "{said}");
}

#[test]
fn file_truncated_anywhere_is_read_or_refused_without_a_panic() {
    let text = format!("{RELAY}{SOURCE}start = \"é.1:4\"\n[source.tls]\nmode = \"required\"\n");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        if let Err(error) = parse(&text[..end]) {
            assert!(
                error
                    .to_string()
                    .lines()
                    .all(|line| line.starts_with("/etc/")),
                "{error}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]a-z_=\"'.0-9,{}#\\n\\\\é ]{0,120}") {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_value_of_any_key_is_read_or_refused(
        key in prop::sample::select(vec!["name", "host", "port", "user", "start", "read_timeout",
            "tls", "filter", "password_env"]),
        value in prop::sample::select(vec!["1", "-1", "1.5", "inf", "true", "[]", "[[]]", "{}",
            "{mode=1}", "\"\"", "\"\\u0000\"", "1979-05-27", "99999999999999999999", "0xff"]),
    ) {
        let text = format!("{RELAY}[[source]]\n{key} = {value}\n");
        prop_assert!(parse(&text).is_err(), "at least two required keys are absent");
    }
}
