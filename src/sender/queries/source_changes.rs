//! START, STOP, RESET and CHANGE in both dialects: what they ask for, and the errors of real servers.

use std::sync::{Arc, Mutex};

use super::tests::Asker;
use super::*;
use crate::flavor::Flavor;
use crate::sender::source_changes::{
    ChangedSources, SourceChange, SourceChangeError, SourceChanges,
};
use crate::sender::source_rows::SourceRow;
use crate::sender::variables::Warning;
use crate::tls::ClientTls;

type Asked = Arc<Mutex<Vec<String>>>;

/// With the privilege admin and sources of these names, whose changes have `outcome`.
fn asker(
    flavor: Flavor,
    names: &[&str],
    outcome: Result<ChangedSources, SourceChangeError>,
) -> (Asker, Asked) {
    let mut asker = Asker::new(flavor);
    asker.privileges.admin = true;
    let rows = names.iter().map(|name| SourceRow {
        name: (*name).to_owned(),
        host: format!("{name}.example"),
        port: 3306,
        position: Some(crate::position::SourcePosition::new("bin.000002", 777)),
        ..SourceRow::default()
    });
    asker.sources = rows.collect();
    let asked = Asked::default();
    let log = asked.clone();
    asker.changes = SourceChanges::new(move |change| {
        log.lock().unwrap().push(show(&change));
        outcome.clone()
    });
    (asker, asked)
}

fn show(change: &SourceChange) -> String {
    let (name, settings, position) = match change {
        SourceChange::Change {
            name,
            settings,
            position,
        } => (name, settings, position),
        other => return format!("{other:?}").replace('"', ""),
    };
    let mut text = format!("change {name}");
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {key}={value}"));
        }
    };
    add("host", settings.host.clone());
    add("port", settings.port.map(|port| port.to_string()));
    add("user", settings.user.clone());
    let password = settings.password.as_ref();
    add(
        "password",
        password.map(|password| password.expose().to_owned()),
    );
    add("at", position.as_ref().map(ToString::to_string));
    add("gtid", settings.auto_position.map(|on| on.to_string()));
    add(
        "retry",
        settings.connect_retry.map(|time| format!("{time:?}")),
    );
    add(
        "timeout",
        settings.read_timeout.map(|time| format!("{time:?}")),
    );
    let key = settings.get_source_public_key;
    add("get_key", key.map(|on| on.to_string()));
    let file = settings.source_public_key_file.as_ref();
    add("key_file", file.map(|path| path.display().to_string()));
    let tls = |tls: &ClientTls| {
        let paths = [&tls.ca, &tls.cert, &tls.key].into_iter().flatten();
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        format!("{}{paths:?}", tls.mode).replace('"', "")
    };
    add("tls", settings.tls.as_ref().map(tls));
    text
}

/// Asks each statement, and compares what it asks for; an error's code otherwise.
fn check(flavor: Flavor, names: &[&str], cases: &[(&str, &str)]) {
    for (statement, expected) in cases {
        let (mut asker, asked) = asker(flavor, names, Ok(ChangedSources::default()));
        let outcome = asker.ask(statement);
        let found = match outcome {
            Ok(_) => asked.lock().unwrap().join("; "),
            Err(error) => format!("error {}", error.code),
        };
        assert_eq!(found, *expected, "{statement}");
    }
}

#[test]
fn statements_of_mysql_name_channels() {
    let cases = [
        ("STOP SLAVE", "Stop([m1, m2])"),
        ("stop replica for channel 'm2';", "Stop([m2])"),
        ("STOP SLAVE IO_THREAD FOR CHANNEL m1", "Stop([m1])"),
        ("STOP SLAVE IO_THREAD, SQL_THREAD", "Stop([m1, m2])"),
        ("STOP SLAVE SQL_THREAD", "error 1235"),
        ("START REPLICA FOR CHANNEL \"m1\"", "Start([m1])"),
        ("START SLAVE UNTIL SQL_AFTER_MTS_GAPS", "error 1235"),
        ("START SLAVE USER='x' PASSWORD='y'", "error 1235"),
        ("START SLAVE 'm1'", "error 1064"),
        ("START ALL SLAVES", "error 1235"),
        ("RESET SLAVE FOR CHANNEL 'm1'", "Forget([m1])"),
        ("RESET REPLICA ALL FOR CHANNEL 'm1'", "Remove([m1])"),
        ("RESET REPLICA ALL", "Remove([m1, m2])"),
        // An empty name is that of the default channel, which does not exist here; never all sources.
        ("STOP REPLICA FOR CHANNEL ''", "error 3074"),
        ("START SLAVE FOR CHANNEL \"\"", "error 3074"),
        ("RESET SLAVE FOR CHANNEL ''", "error 3074"),
        ("RESET REPLICA ALL FOR CHANNEL ''", "error 3074"),
        (
            "CHANGE MASTER TO MASTER_PORT=7 FOR CHANNEL ''",
            "error 3074",
        ),
        ("RESET MASTER", "error 1235"),
        (
            "CHANGE MASTER TO MASTER_HOST='db3', MASTER_PORT=3307, MASTER_USER='u', MASTER_PASSWORD='p''w', \
             MASTER_LOG_FILE='bin.000004', MASTER_LOG_POS=2 FOR CHANNEL 'm1'",
            "change m1 host=db3 port=3307 user=u password=p'w at=bin.000004:4",
        ),
        (
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db3', SOURCE_USER='u', SOURCE_AUTO_POSITION = 1, \
             GET_SOURCE_PUBLIC_KEY=1, SOURCE_PUBLIC_KEY_PATH='/k', SOURCE_CONNECT_RETRY=10, SOURCE_DELAY=0, \
             SOURCE_HEARTBEAT_PERIOD=0.5, IGNORE_SERVER_IDS=(), SOURCE_SSL_CAPATH='' FOR CHANNEL 'm3'",
            "change m3 host=db3 user=u gtid=true retry=10s timeout=1.5s get_key=true key_file=/k",
        ),
        (
            "CHANGE MASTER TO MASTER_LOG_POS=500 FOR CHANNEL 'm1'",
            "change m1 at=bin.000002:500",
        ),
    ];
    check(Flavor::MySql, &["m1", "m2"], &cases);
    // Not the only source either.
    let cases = [
        ("STOP REPLICA FOR CHANNEL ''", "error 3074"),
        ("RESET REPLICA ALL FOR CHANNEL ''", "error 3074"),
        (
            "CHANGE MASTER TO MASTER_PORT=7 FOR CHANNEL ''",
            "error 3074",
        ),
        ("CHANGE MASTER TO MASTER_PORT=7", "change m1 port=7"),
    ];
    check(Flavor::MySql, &["m1"], &cases);
}

#[test]
fn impossible_changes_are_refused() {
    let cases = [
        ("CHANGE MASTER TO MASTER_PORT=1", "error 3079"),
        (
            "CHANGE MASTER TO MASTER_AUTO_POSITION=1, MASTER_LOG_FILE='b.1' FOR CHANNEL 'm1'",
            "error 1776",
        ),
        (
            "CHANGE MASTER TO MASTER_HOST='m2.example' FOR CHANNEL 'm1'",
            "error 3075",
        ),
        (
            "CHANGE MASTER TO MASTER_HOST='x' FOR CHANNEL 'm3'",
            "error 1210",
        ),
        (
            "CHANGE MASTER TO MASTER_HOST='x' FOR CHANNEL 'm 3'",
            "error 3076",
        ),
        (
            "CHANGE MASTER TO MASTER_HOST='' FOR CHANNEL 'm1'",
            "error 1210",
        ),
        (
            "CHANGE MASTER TO MASTER_PORT=0 FOR CHANNEL 'm1'",
            "error 1210",
        ),
        (
            "CHANGE MASTER TO MASTER_DELAY=60 FOR CHANNEL 'm1'",
            "error 1235",
        ),
        (
            "CHANGE MASTER TO MASTER_HOTS='x' FOR CHANNEL 'm1'",
            "error 1064",
        ),
        ("CHANGE MASTER TO MASTER_HOST 'x'", "error 1064"),
        ("CHANGE MASTER MASTER_HOST='x'", "error 1064"),
        ("CHANGE MASTER TO", "error 1064"),
        ("CHANGE MASTER 'm1' TO MASTER_HOST='x'", "error 1064"),
        (
            "CHANGE REPLICATION FILTER REPLICATE_DO_DB=(a)",
            "error 1235",
        ),
    ];
    check(Flavor::MySql, &["m1", "m2"], &cases);
}

#[test]
fn statements_of_mariadb_name_connections() {
    let cases = [
        ("STOP SLAVE 'm1'", "Stop([m1])"),
        ("STOP REPLICA 'm1' IO_THREAD", "Stop([m1])"),
        ("STOP ALL SLAVES", "Stop([m1, m2])"),
        ("START ALL REPLICAS", "Start([m1, m2])"),
        ("START SLAVE FOR CHANNEL 'm2'", "Start([m2])"),
        ("STOP SLAVE", "error 1617"),
        ("RESET SLAVE 'm1' ALL", "Remove([m1])"),
        ("RESET SLAVE 'm1'", "Forget([m1])"),
        (
            "CHANGE MASTER 'm1' TO MASTER_HOST='db3', MASTER_USE_GTID=slave_pos",
            "change m1 host=db3 gtid=true",
        ),
        (
            "CHANGE MASTER 'm1' TO MASTER_USE_GTID = no, MASTER_LOG_FILE='b.2', MASTER_LOG_POS=9",
            "change m1 at=b.2:9 gtid=false",
        ),
        (
            "CHANGE MASTER TO MASTER_PORT=1 FOR CHANNEL 'm1'",
            "change m1 port=1",
        ),
        ("CHANGE MASTER TO MASTER_PORT=1", "error 1617"),
        ("CHANGE MASTER 'm1' TO MASTER_USE_GTID=yes", "error 1210"),
        (
            "CHANGE MASTER 'm1' TO MASTER_HOST='m2.example'",
            "error 1934",
        ),
        (
            "CHANGE MASTER 'a b' TO MASTER_HOST='x', MASTER_USER='u'",
            "error 1210",
        ),
        ("CHANGE REPLICATION SOURCE TO SOURCE_PORT=1", "error 1235"),
    ];
    check(Flavor::MariaDb, &["m1", "m2"], &cases);
    // The only source needs no name.
    let cases = [
        ("STOP SLAVE", "Stop([m1])"),
        ("CHANGE MASTER TO MASTER_PASSWORD=''", "change m1 password="),
        ("CHANGE MASTER '' TO MASTER_PORT=7", "change m1 port=7"),
    ];
    check(Flavor::MariaDb, &["m1"], &cases);
}

#[test]
fn options_of_tls_are_those_of_a_server() {
    let change = |options: &str| format!("CHANGE MASTER TO {options} FOR CHANNEL 'm1'");
    for (options, expected) in [
        ("MASTER_SSL=0", "disabled[]"),
        ("MASTER_SSL=1", "required[]"),
        ("MASTER_SSL=1, MASTER_SSL_CA='/ca'", "verify_ca[/ca]"),
        (
            "MASTER_SSL_CA='/ca', MASTER_SSL_VERIFY_SERVER_CERT=1, MASTER_SSL_CERT='/c', MASTER_SSL_KEY='/k'",
            "verify_identity[/ca, /c, /k]",
        ),
    ] {
        let expected = format!("change m1 tls={expected}");
        check(Flavor::MySql, &["m1"], &[(&change(options), &expected)]);
    }
    for options in ["MASTER_SSL_VERIFY_SERVER_CERT=1", "MASTER_SSL_CERT='/c'"] {
        check(Flavor::MySql, &["m1"], &[(&change(options), "error 1210")]);
    }
}

#[test]
fn refusals_are_those_of_the_version() {
    let running = || Err(SourceChangeError::Running("m1".to_owned()));
    for (flavor, version, statement, code, part) in [
        (
            Flavor::MySql,
            "9.7.0",
            "CHANGE REPLICATION SOURCE TO SOURCE_PORT=7 FOR CHANNEL 'm1'",
            3021,
            "running replica io thread; run STOP REPLICA IO_THREAD FOR CHANNEL 'm1' first.",
        ),
        (
            Flavor::MySql,
            "5.7.23",
            "CHANGE MASTER TO MASTER_PORT=7",
            3021,
            "running slave io thread; run STOP SLAVE IO_THREAD FOR CHANNEL 'm1' first.",
        ),
        (
            Flavor::MySql,
            "5.6.51",
            "CHANGE MASTER TO MASTER_PORT=7",
            1198,
            "with a running slave; run STOP SLAVE first",
        ),
        (
            Flavor::MySql,
            "8.4.0",
            "RESET REPLICA ALL FOR CHANNEL 'm1'",
            3081,
            "running replication threads; run STOP REPLICA FOR CHANNEL 'm1' first",
        ),
        (
            Flavor::MariaDb,
            "10.11.6-MariaDB",
            "CHANGE MASTER 'm1' TO MASTER_PORT=7",
            1198,
            "you have a running slave 'm1'; run STOP SLAVE 'm1' first",
        ),
    ] {
        let (mut asker, _) = asker(flavor, &["m1"], running());
        asker.version = Some(version);
        let error = asker.ask(statement).unwrap_err();
        assert_eq!(error.code, code, "{version}: {}", error.message);
        assert!(
            error.message.ends_with(part),
            "{version}: {}",
            error.message
        );
    }
    let unknown = Err(SourceChangeError::Unknown("m9".to_owned()));
    let (mut asker, _) = asker(Flavor::MySql, &["m1"], unknown.clone());
    asker.version = Some("9.7.0");
    let error = asker.ask("STOP REPLICA FOR CHANNEL 'm9'").unwrap_err();
    let text = "Replica channel 'm9' does not exist.";
    assert_eq!((error.code, error.message.as_str()), (3074, text));
    let (mut asker, _) = self::asker(Flavor::MariaDb, &["m1"], unknown);
    let error = asker.ask("START SLAVE 'm9'").unwrap_err();
    let text = "There is no master connection 'm9'";
    assert_eq!((error.code, error.message.as_str()), (1617, text));
}

#[test]
fn privilege_admin_is_needed() {
    for (flavor, version, statement, privileges) in [
        (
            Flavor::MySql,
            "9.7.0",
            "STOP REPLICA",
            "SUPER or REPLICATION_SLAVE_ADMIN",
        ),
        (
            Flavor::MySql,
            "5.7.23",
            "CHANGE MASTER TO MASTER_PORT=7",
            "SUPER",
        ),
        (Flavor::MySql, "9.7.0", "RESET REPLICA", "RELOAD"),
        (
            Flavor::MariaDb,
            "10.5.29-MariaDB",
            "STOP ALL SLAVES",
            "SUPER, REPLICATION SLAVE ADMIN",
        ),
    ] {
        let (mut asker, asked) = asker(flavor, &["m1"], Ok(ChangedSources::default()));
        asker.privileges.admin = false;
        asker.version = Some(version);
        let error = asker.ask(statement).unwrap_err();
        let text = format!(
            "Access denied; you need (at least one of) the {privileges} privilege(s) for this operation; on \
             binrelay, privileges = [\"admin\"] of the [[user]]"
        );
        assert_eq!((error.code, error.message), (1227, text));
        assert!(asked.lock().unwrap().is_empty());
    }
}

#[test]
fn what_was_so_already_is_a_warning() {
    let outcome = ChangedSources {
        changed: vec!["m1".to_owned()],
        unchanged: vec!["m2".to_owned()],
        warnings: vec!["look".to_owned()],
    };
    let warnings = |flavor, version, statement: &str| -> Vec<(u16, String)> {
        let (mut asker, _) = asker(flavor, &["m1", "m2"], Ok(outcome.clone()));
        asker.version = Some(version);
        let Ok(Answer::Warned(warnings)) = asker.ask(statement) else {
            panic!("{statement}");
        };
        let pair = |warning: Warning| (warning.code, warning.message);
        warnings.into_iter().map(pair).collect()
    };
    let look = (1105, "look".to_owned());
    let channel = "Replication thread(s) for channel 'm2' are already";
    for (flavor, version, statement, code, text) in [
        (
            Flavor::MySql,
            "9.7.0",
            "STOP REPLICA",
            3084,
            format!("{channel} stopped."),
        ),
        (
            Flavor::MySql,
            "9.7.0",
            "START REPLICA",
            3083,
            format!("{channel} runnning."),
        ),
        (
            Flavor::MySql,
            "5.6.1",
            "STOP SLAVE",
            1255,
            "Slave already has been stopped".to_owned(),
        ),
        (
            Flavor::MariaDb,
            "10.11.1-MariaDB",
            "START SLAVE 'm2'",
            1254,
            "Slave is already running".to_owned(),
        ),
        (
            Flavor::MariaDb,
            "10.11.1-MariaDB",
            "STOP ALL SLAVES",
            1938,
            "SLAVE 'm1' stopped".to_owned(),
        ),
    ] {
        let expected = [(code, text), look.clone()];
        assert_eq!(
            warnings(flavor, version, statement),
            expected,
            "{statement}"
        );
    }
}
