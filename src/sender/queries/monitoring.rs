//! The answers to monitoring tools that need no server to compare with; tests/servers/statements.rs has the others.

use super::tests::Asker;
use crate::flavor::Flavor;
use crate::position::SourcePosition;
use crate::sender::answer::Answer;
use crate::sender::login::Privileges;
use crate::sender::source_rows::{SourceRow, SourceRowError, SourceRowState};
use crate::sender::value::Value;
use crate::sender::waits::Condition;
use std::time::{Duration, UNIX_EPOCH};

fn source(name: &str) -> SourceRow {
    SourceRow {
        name: name.to_owned(),
        host: format!("{name}.example"),
        port: 3306,
        state: SourceRowState::Streaming,
        position: Some(SourcePosition::new("bin.000002", 777)),
        seconds_behind: Some(3),
        server_id: Some(86),
        ..SourceRow::default()
    }
}

fn asker(flavor: Flavor) -> Asker {
    let mut asker = Asker::new(flavor);
    asker.sources = vec![source("m1"), source("m2")];
    asker
}

/// The values of a column, one for each row.
fn column(asker: &mut Asker, statement: &str, name: &str) -> Vec<String> {
    let Ok(Answer::Rows { columns, rows }) = asker.ask(statement) else {
        panic!("{statement}");
    };
    let found = columns.iter().position(|(column, _)| column == name);
    let index = found.unwrap_or_else(|| panic!("{statement}: no {name}"));
    let values = rows.into_iter().map(|row| row[index].clone());
    values
        .map(|value| value.unwrap_or_else(|| "NULL".to_owned()))
        .collect()
}

#[test]
fn each_source_is_a_row() {
    let mut asker = asker(Flavor::MySql);
    for (statement, names) in [
        ("SHOW REPLICA STATUS", vec!["m1", "m2"]),
        ("SHOW SLAVE STATUS", vec!["m1", "m2"]),
        ("SHOW REPLICA STATUS FOR CHANNEL 'm2'", vec!["m2"]),
        ("SHOW REPLICA STATUS FOR CHANNEL 'M2'", vec!["m2"]),
    ] {
        assert_eq!(column(&mut asker, statement, "Channel_Name"), names);
    }
    assert_eq!(asker.error("SHOW REPLICA STATUS FOR CHANNEL 'm3'").0, 3074);
    assert_eq!(asker.error("SHOW ALL SLAVES STATUS").0, 1064);
    assert_eq!(asker.error("SHOW SLAVE STATUS NONBLOCKING").0, 1064);
    let mut asker = self::asker(Flavor::MariaDb);
    for (statement, hosts) in [
        ("SHOW ALL SLAVES STATUS", vec!["m1.example", "m2.example"]),
        ("SHOW SLAVE STATUS", vec!["m1.example", "m2.example"]),
        ("SHOW SLAVE 'm2' STATUS", vec!["m2.example"]),
        ("SHOW SLAVE 'M2' STATUS", vec!["m2.example"]),
        ("SHOW REPLICA 'm2' STATUS", vec!["m2.example"]),
    ] {
        assert_eq!(column(&mut asker, statement, "Master_Host"), hosts);
    }
    let names = column(&mut asker, "SHOW ALL REPLICAS STATUS", "Connection_name");
    assert_eq!(names, ["m1", "m2"]);
    assert_eq!(asker.error("SHOW SLAVE 'm3' STATUS").0, 1617);
    asker.sources.clear();
    assert!(column(&mut asker, "SHOW SLAVE STATUS", "Master_Host").is_empty());
}

#[test]
fn the_columns_are_those_of_the_mysql_version() {
    let mut asker = asker(Flavor::MySql);
    for (version, statement, count, first, last) in [
        (
            "5.6.24",
            "SHOW SLAVE STATUS",
            54,
            "Slave_IO_State",
            "Auto_Position",
        ),
        (
            "5.7.23",
            "SHOW SLAVE STATUS",
            57,
            "Slave_IO_State",
            "Master_TLS_Version",
        ),
        (
            "8.0.36",
            "SHOW SLAVE STATUS",
            60,
            "Slave_IO_State",
            "Network_Namespace",
        ),
        (
            "8.4.2",
            "SHOW REPLICA STATUS",
            60,
            "Replica_IO_State",
            "Network_Namespace",
        ),
    ] {
        asker.version = Some(version);
        let names = asker.names(statement);
        let ends = (
            names.len(),
            names[0].as_str(),
            names[names.len() - 1].as_str(),
        );
        assert_eq!(ends, (count, first, last), "{version}");
    }
}

#[test]
fn the_columns_are_those_of_the_mariadb_version() {
    let mut asker = self::asker(Flavor::MariaDb);
    for (version, statement, count, last) in [
        (
            "10.5.29-MariaDB",
            "SHOW SLAVE STATUS",
            53,
            "Slave_Transactional_Groups",
        ),
        (
            "10.11.19-MariaDB",
            "SHOW SLAVE STATUS",
            54,
            "Replicate_Rewrite_DB",
        ),
        (
            "10.5.29-MariaDB",
            "SHOW ALL SLAVES STATUS",
            61,
            "Gtid_Slave_Pos",
        ),
        (
            "11.8.3-MariaDB",
            "SHOW ALL SLAVES STATUS",
            65,
            "Master_Slave_time_diff",
        ),
    ] {
        asker.version = Some(version);
        let names = asker.names(statement);
        let ends = (names.len(), names[names.len() - 1].as_str());
        assert_eq!(ends, (count, last), "{version}");
    }
}

/// As on a server whose I/O thread has ended with an error: nothing has stopped the SQL thread.
#[test]
fn a_failed_source_shows_its_error() {
    let mut asker = asker(Flavor::MySql);
    asker.sources = vec![SourceRow {
        state: SourceRowState::Failed,
        seconds_behind: None,
        error: Some(SourceRowError {
            code: 0,
            message: "its binlog is another one".to_owned(),
            at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }),
        ..source("m1")
    }];
    let mut shown = |name: &str| column(&mut asker, "SHOW REPLICA STATUS", name).remove(0);
    assert_eq!(shown("Replica_IO_Running"), "No");
    assert_eq!(shown("Replica_SQL_Running"), "Yes");
    assert_eq!(shown("Last_SQL_Errno"), "0");
    assert_eq!(shown("Replica_IO_State"), "");
    let sql_state = "Replica has read all relay log; waiting for more updates";
    assert_eq!(shown("Replica_SQL_Running_State"), sql_state);
    assert_eq!(shown("Seconds_Behind_Source"), "NULL");
    assert_eq!(shown("Last_IO_Errno"), "1593");
    assert_eq!(shown("Last_IO_Error"), "its binlog is another one");
    assert_eq!(shown("Last_IO_Error_Timestamp"), "231114 22:13:20");
    assert_eq!(shown("Exec_Source_Log_Pos"), "777");
    // The relay log cannot be written either.
    asker.set_condition(crate::relay_log::Condition::Failed("I/O error".to_owned()));
    let mut shown = |name: &str| column(&mut asker, "SHOW REPLICA STATUS", name).remove(0);
    assert_eq!(shown("Replica_SQL_Running"), "No");
    assert_eq!(shown("Last_SQL_Errno"), "1595");
}

#[test]
fn both_threads_of_a_source_that_a_statement_stopped_are_stopped() {
    let mut asker = asker(Flavor::MariaDb);
    asker.sources = vec![SourceRow {
        state: SourceRowState::Stopped,
        seconds_behind: None,
        ..source("m1")
    }];
    let mut shown = |name: &str| column(&mut asker, "SHOW SLAVE STATUS", name).remove(0);
    for (name, expected) in [
        ("Slave_IO_Running", "No"),
        ("Slave_SQL_Running", "No"),
        ("Last_IO_Errno", "0"),
        ("Last_SQL_Errno", "0"),
        ("Slave_SQL_Running_State", ""),
    ] {
        assert_eq!(shown(name), expected, "{name}");
    }
}

/// Monitoring tools read the two columns and not the errors.
#[test]
fn log_that_is_not_written_is_a_stopped_applier() {
    use crate::relay_log::Condition as LogCondition;
    for (condition, runs, code) in [
        (LogCondition::Running, "Yes", "0"),
        (LogCondition::DiskFull("no space".to_owned()), "No", "1595"),
        (LogCondition::Failed("I/O error".to_owned()), "No", "1595"),
    ] {
        let mut asker = asker(Flavor::MySql);
        asker.set_condition(condition);
        let statement = "SHOW REPLICA STATUS FOR CHANNEL 'm1'";
        let mut shown = |name: &str| column(&mut asker, statement, name).remove(0);
        assert_eq!(shown("Replica_SQL_Running"), runs);
        assert_eq!(shown("Last_SQL_Errno"), code);
    }
}

#[test]
fn status_is_for_accounts_with_a_privilege() {
    let statements = [
        "SHOW REPLICA STATUS",
        "SHOW MASTER STATUS",
        "SHOW BINARY LOGS",
        "SHOW REPLICAS",
    ];
    let mut asker = asker(Flavor::MySql);
    asker.privileges = Privileges::default();
    for statement in statements {
        assert_eq!(asker.error(statement).0, 1227, "{statement}");
    }
    assert_eq!(asker.row("SELECT 1"), "1");
    let grants = |asker: &mut Asker| asker.row("SHOW GRANTS FOR CURRENT_USER()");
    assert_eq!(grants(&mut asker), "GRANT USAGE ON *.* TO `repl`@`%`");
    asker.privileges.monitor = true;
    for statement in statements {
        assert!(asker.ask(statement).is_ok(), "{statement}");
    }
    let expected = "GRANT PROCESS, REPLICATION CLIENT ON *.* TO `repl`@`%`";
    assert_eq!(grants(&mut asker), expected);
    // What is in the transactions is for replicas.
    assert_eq!(asker.error("SHOW BINLOG EVENTS").0, 1227);
    let mut asker = self::asker(Flavor::MariaDb);
    let expected =
        "GRANT PROCESS, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.* TO `repl`@`%`";
    assert_eq!(grants(&mut asker), expected);
}

#[test]
fn functions_that_wait_leave_the_waiting_to_the_session() {
    let mut asker = asker(Flavor::MySql);
    let Ok(Answer::Wait(wait)) = asker.ask("SELECT MASTER_POS_WAIT('bin.000002', 778, 2.5, 'm2')")
    else {
        panic!("it waits");
    };
    let position = SourcePosition::new("bin.000002", 778);
    assert_eq!(
        wait.condition,
        Condition::SourcePosition("m2".to_owned(), position)
    );
    assert_eq!(wait.timeout, Some(Duration::from_millis(2500)));
    assert_eq!(wait.timed_out, Value::Number("-1".to_owned()));
    // Without a name, two sources; a source that is not there.
    assert_eq!(
        asker.error("SELECT MASTER_POS_WAIT('bin.000002', 778)").0,
        3079
    );
    assert_eq!(
        asker.row("SELECT MASTER_POS_WAIT('bin.000002', 778, 1, 'm3')"),
        "NULL"
    );
    assert_eq!(
        asker.error("SELECT WAIT_FOR_EXECUTED_GTID_SET('x')").0,
        1772
    );
    assert_eq!(
        asker.error("SELECT WAIT_FOR_EXECUTED_GTID_SET('', -1)").0,
        1210
    );
    assert_eq!(asker.error("SELECT MASTER_GTID_WAIT('0-1-1')").0, 1305);
    let many = ["WAIT_FOR_EXECUTED_GTID_SET('')"; 17].join(", ");
    assert_eq!(asker.error(&format!("SELECT {many}")).0, 1235);
    // A variable is not set before the wait is over.
    let set = asker.ask("SET @a = WAIT_FOR_EXECUTED_GTID_SET('', 1)");
    assert!(matches!(set, Ok(Answer::Wait(_))), "{set:?}");
    assert_eq!(asker.row("SELECT @a"), "NULL");
}

#[test]
fn without_a_log_only_the_relay_itself_is_shown() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let mut asker = asker(flavor);
        asker.has_log = false;
        for answered in [
            "SELECT 1",
            "SELECT @@server_id, @@version, VERSION()",
            "SHOW SLAVE STATUS",
            "SHOW VARIABLES",
            "SHOW STATUS",
            "SHOW PROCESSLIST",
            "SET NAMES utf8mb4",
        ] {
            assert!(asker.ask(answered).is_ok(), "{answered}");
        }
        for refused in [
            "SHOW MASTER STATUS",
            "SHOW BINARY LOGS",
            "SELECT @@gtid_mode",
            "SELECT @@gtid_binlog_state",
            "SET @master_heartbeat_period = 1",
            "SHOW BINLOG EVENTS IN 'relay-bin.000001'",
        ] {
            assert_eq!(asker.error(refused).0, 1040, "{refused}");
        }
    }
}

#[test]
fn deep_operators_do_not_take_the_stack() {
    let mut asker = asker(Flavor::MySql);
    for nested in [
        "(".repeat(10_000),
        "1 = (".repeat(4_000),
        "1 IN (".repeat(4_000),
    ] {
        assert_eq!(asker.error(&format!("SELECT {nested}1")).0, 1436);
    }
    let chain = ["1"; 8_000].join("|");
    assert_eq!(asker.row(&format!("SELECT {chain}")), "1");
    let chain = ["1"; 8_000].join(" = ");
    assert_eq!(asker.row(&format!("SELECT {chain}")), "1");
    let digits = format!("9{}", "e".repeat(200_000));
    assert_eq!(asker.row(&format!("SELECT '{digits}' = 9")), "1");
}

#[test]
fn help_is_one_topic_in_the_form_in_which_clients_print_descriptions() {
    for (flavor, sources) in [
        (Flavor::MySql, "SHOW REPLICA STATUS"),
        (Flavor::MariaDb, "SHOW ALL REPLICAS STATUS"),
    ] {
        let mut asker = asker(flavor);
        for statement in ["HELP", "help 'contents'", "help contents", "HELP 'SHOW';"] {
            let Ok(Answer::Rows { columns, rows }) = asker.ask(statement) else {
                panic!("{statement}");
            };
            let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["name", "description", "example"], "{statement}");
            let [row] = rows.as_slice() else {
                panic!("{statement}: {rows:?}");
            };
            assert_eq!(row[0].as_deref(), Some("binrelay"));
            let description = row[1].as_deref().unwrap_or_default();
            assert_eq!(description.lines().count(), 6, "{description}");
            assert!(description.contains(sources), "{description}");
            assert_eq!(row[2].as_deref(), Some(""));
        }
    }
}

#[test]
fn functions_that_servers_removed_are_removed() {
    let mut asker = asker(Flavor::MySql);
    asker.sources.truncate(1);
    let statement = "SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(NULL, 0) AS Result";
    for version in ["5.6.24", "8.0.36"] {
        asker.version = Some(version);
        assert_eq!(asker.row(statement), "NULL", "{version}");
    }
    asker.version = Some("8.4.0");
    assert_eq!(asker.error(statement).0, 1305);
}
