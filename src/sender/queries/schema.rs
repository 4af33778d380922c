//! `information_schema`, conditions of SHOW, and variables that depend on sources and settings;
//! tests/servers/statements compares the others with servers.

use super::tests::Asker;
use crate::flavor::Flavor;
use crate::relay_log::ReplicaWait;
use crate::sender::StatementLimits;
use crate::sender::answer::Answer;
use crate::sender::source_rows::SourceRow;
use std::time::Duration;

/// The values of an answer, `|` between columns.
fn rows(asker: &mut Asker, statement: &str) -> Vec<String> {
    let Ok(Answer::Rows { rows, .. }) = asker.ask(statement) else {
        panic!("{statement}: {:?}", asker.ask(statement));
    };
    let texts = rows.into_iter().map(|row| {
        let values = row.into_iter().map(|value| value.unwrap_or("NULL".into()));
        values.collect::<Vec<_>>().join("|")
    });
    texts.collect()
}

#[test]
fn conditions_of_show_read_both_columns() {
    let mut asker = Asker::new(Flavor::MySql);
    for (condition, expected) in [
        ("Value = '900'", vec!["server_id|900"]),
        (
            "`Variable_name` LIKE 'log\\_bin%' AND NOT Value LIKE '/%'",
            vec!["log_bin|ON"],
        ),
        (
            "Variable_name = 'server_id' AND value > 899 OR variable_name = 'log_bin' AND value = 'on'",
            vec!["log_bin|ON", "server_id|900"],
        ),
        (
            "Variable_name NOT LIKE '%a%' AND Value BETWEEN 800 AND 900",
            vec!["server_id|900"],
        ),
        ("Value IS NULL", vec![]),
        (
            "Variable_name = 'server_id' AND Value & 4",
            vec!["server_id|900"],
        ),
    ] {
        let statement = format!("SHOW VARIABLES WHERE {condition}");
        assert_eq!(rows(&mut asker, &statement), expected, "{condition}");
    }
    let (code, message) = asker.error("SHOW VARIABLES WHERE a.Value = 1");
    assert_eq!((code, message.contains("Value")), (1054, true), "{message}");
    for refused in [
        "SHOW VARIABLES WHERE",
        "SHOW VARIABLES WHERE Value = 1 ORDER BY 1",
        "SHOW VARIABLES WHERE Value REGEXP '.'",
        "SHOW STATUS WHERE Value BETWEEN 1",
        "SHOW STATUS LIKE 5",
    ] {
        assert_eq!(asker.error(refused).0, 1235, "{refused}");
    }
    let shown = rows(&mut asker, "SHOW DATABASES WHERE `Database` <> 'x'");
    assert_eq!(shown, ["information_schema"]);
}

#[test]
fn conditions_of_show_have_a_budget() {
    let mut asker = Asker::new(Flavor::MySql);
    asker.limits = StatementLimits {
        statement_len: 1 << 20,
        result_len: 64 << 10,
    };
    let condition = vec!["Variable_name = 'a'"; 500].join(" OR ");
    let error = asker.error(&format!("SHOW VARIABLES WHERE {condition}"));
    assert_eq!(error.0, 1162, "{}", error.1);
    let nested = "NOT ".repeat(40);
    let error = asker.error(&format!("SHOW VARIABLES WHERE {nested} Value"));
    assert_eq!(error.0, 1436, "{}", error.1);
}

#[test]
fn database_is_chosen_and_kept() {
    let mut asker = Asker::new(Flavor::MariaDb);
    assert_eq!(asker.row("SELECT DATABASE()"), "NULL");
    assert_eq!(asker.error("SELECT 1 FROM processlist").0, 1046);
    assert_eq!(asker.error("USE test").0, 1049);
    asker.ok("USE `Information_Schema`");
    assert_eq!(asker.row("SELECT DATABASE()"), "information_schema");
    assert_eq!(asker.row("SELECT COUNT(*) FROM processlist"), "0");
    assert_eq!(asker.error("USE test").0, 1049);
    assert_eq!(asker.error("SELECT 1 FROM nosuch").0, 1109);
    let shown = rows(&mut asker, "SHOW TABLES LIKE 's%'");
    let expected = [
        "SCHEMATA",
        "SESSION_STATUS",
        "SESSION_VARIABLES",
        "STATISTICS",
    ];
    assert_eq!(shown, expected);
    let described = rows(&mut asker, "DESC processlist");
    assert_eq!(described.len(), 8);
    assert_eq!(described[0], "ID|bigint unsigned|NO||NULL|");
    for refused in ["SHOW TABLE STATUS", "SHOW INDEX FROM processlist"] {
        assert_eq!(asker.error(refused).0, 1235, "{refused}");
    }
}

#[test]
fn rows_of_two_tables_are_joined() {
    let mut asker = Asker::new(Flavor::MariaDb);
    asker.replica_wait.replicas = 1;
    let join = |condition: &str| {
        format!(
            "SELECT c.VARIABLE_VALUE, s.VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES c JOIN \
             information_schema.GLOBAL_STATUS AS s ON({condition})"
        )
    };
    let wanted = "c.VARIABLE_NAME = 'rpl_semi_sync_master_enabled' AND s.VARIABLE_NAME = \
                  'rpl_semi_sync_master_status'";
    assert_eq!(rows(&mut asker, &join(wanted)), ["ON|ON"]);
    assert_eq!(asker.error(&join("VARIABLE_NAME = 'x'")).0, 1052);
    assert_eq!(asker.error(&join("t.VARIABLE_NAME = 'x'")).0, 1054);
    asker.limits.result_len = 16 << 10;
    assert_eq!(asker.error(&join("c.VARIABLE_NAME = 'x'")).0, 1162);
    asker.limits = StatementLimits::default();
    asker.version = Some("8.0.36");
    asker.flavor = Flavor::MySql;
    assert_eq!(asker.error(&join(wanted)).0, 1109);
    asker.version = Some("5.7.23");
    assert_eq!(asker.error(&join(wanted)).0, 3167);
}

#[test]
fn other_joins_and_unions_are_refused() {
    let mut asker = Asker::new(Flavor::MariaDb);
    let (one, other) = (
        "information_schema.PROCESSLIST",
        "information_schema.SCHEMATA",
    );
    for join in [
        "RIGHT JOIN",
        "LEFT JOIN",
        "LEFT OUTER JOIN",
        "NATURAL JOIN",
        "STRAIGHT_JOIN",
        "INNER",
        "CROSS",
        "UNION SELECT 1 FROM",
    ] {
        for statement in [
            format!("SELECT 1 FROM {one} {join} {other}"),
            format!("SELECT 1 FROM {one} a {join} {other} b ON 1"),
        ] {
            assert_eq!(asker.error(&statement).0, 1235, "{statement}");
        }
    }
    let using = format!("SELECT 1 FROM {one} JOIN {other} USING (ID)");
    assert_eq!(asker.error(&using).0, 1235);
    for join in ["JOIN", "INNER JOIN", "CROSS JOIN", ",", "`right`,"] {
        let statement = format!("SELECT COUNT(*) FROM {one} {join} {other}");
        assert_eq!(asker.row(&statement), "0", "{statement}");
    }
}

#[test]
fn rows_are_grouped_by_the_terms() {
    let mut asker = Asker::new(Flavor::MariaDb);
    let select = |list: &str, terms: &str| {
        format!(
            "SELECT {list} FROM information_schema.GLOBAL_STATUS s WHERE VARIABLE_NAME IN ('Aborted_connects', \
             'Connections') GROUP BY {terms}"
        )
    };
    for (list, terms, expected) in [
        ("VARIABLE_VALUE, COUNT(*)", "variable_value", vec!["0|2"]),
        ("VARIABLE_VALUE, COUNT(*)", "s.VARIABLE_VALUE", vec!["0|2"]),
        (
            "s.VARIABLE_VALUE AS v, COUNT(*)",
            "VARIABLE_VALUE",
            vec!["0|2"],
        ),
        ("VARIABLE_VALUE AS v, COUNT(*)", "v", vec!["0|2"]),
        ("VARIABLE_VALUE, COUNT(*)", "1", vec!["0|2"]),
        ("COUNT(*)", "VARIABLE_VALUE = 0", vec!["2"]),
        ("COUNT(*)", "VARIABLE_VALUE, VARIABLE_NAME", vec!["1", "1"]),
        // The name of a column, not that of the list.
        (
            "1 AS VARIABLE_NAME, COUNT(*)",
            "VARIABLE_NAME",
            vec!["1|1", "1|1"],
        ),
        (
            "COALESCE(VARIABLE_VALUE, ''), COUNT(*)",
            "VARIABLE_VALUE",
            vec!["0|2"],
        ),
    ] {
        let found = rows(&mut asker, &select(list, terms));
        assert_eq!(found, expected, "{list} {terms}");
    }
    for (list, terms) in [
        ("COUNT(*)", "1"),
        ("COUNT(*) AS n", "n"),
        ("VARIABLE_VALUE, COUNT(*)", "2"),
        ("VARIABLE_VALUE, COUNT(*)", "3"),
        ("VARIABLE_VALUE", "VARIABLE_VALUE HAVING 1"),
    ] {
        let refused = select(list, terms);
        assert_eq!(asker.error(&refused).0, 1235, "{refused}");
    }
    assert_eq!(asker.error(&select("1", "nosuch")).0, 1054);
}

#[test]
fn sums_are_numbers() {
    let mut asker = Asker::new(Flavor::MariaDb);
    let select = |sum: &str| format!("SELECT SUM({sum}) FROM information_schema.SCHEMATA");
    for (sum, expected) in [
        ("SCHEMA_NAME", "0"),
        ("NULL", "NULL"),
        ("'12 apples'", "12"),
        ("-3", "-3"),
    ] {
        assert_eq!(asker.row(&select(sum)), expected, "{sum}");
    }
    assert_eq!(asker.error(&select("1.5")).0, 1235);
}

#[test]
fn a_name_in_backquotes_is_a_column() {
    let mut asker = Asker::new(Flavor::MariaDb);
    asker.ok("USE information_schema");
    let shown = rows(
        &mut asker,
        "SHOW COLUMNS FROM PROCESSLIST WHERE `Null` = 'YES'",
    );
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert_eq!(
        rows(&mut asker, "SHOW COLUMNS FROM PROCESSLIST WHERE Null"),
        [""; 0]
    );
    assert_eq!(
        asker.error("SHOW COLUMNS FROM PROCESSLIST WHERE `true`").0,
        1054
    );
}

#[test]
fn rows_are_ordered() {
    let mut asker = Asker::new(Flavor::MariaDb);
    let select = |rest: &str| {
        format!(
            "SELECT VARIABLE_NAME AS n, VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME \
             IN ('server_id', 'LOG_BIN', 'port') {rest}"
        )
    };
    let names = |asker: &mut Asker, rest: &str| -> Vec<String> {
        let rows = rows(asker, &select(rest));
        let names = rows.iter().filter_map(|row| row.split('|').next());
        names.map(str::to_owned).collect()
    };
    for order in [
        "n DESC",
        "1 DESC",
        "VARIABLE_NAME DESC",
        "VARIABLE_VALUE = 'ON', n desc",
    ] {
        let found = names(&mut asker, &format!("ORDER BY {order}"));
        assert_eq!(found, ["SERVER_ID", "PORT", "LOG_BIN"], "{order}");
    }
    assert_eq!(names(&mut asker, "ORDER BY n LIMIT 1"), ["LOG_BIN"]);
    assert_eq!(asker.error(&select("ORDER BY nosuch")).0, 1054);
    assert_eq!(
        asker.error(&select("GROUP BY VARIABLE_NAME ORDER BY n")).0,
        1235
    );
}

#[test]
fn semi_sync_is_shown_as_it_is_set() {
    let variables = "SHOW VARIABLES LIKE 'rpl_semi_sync%'";
    let status = "SHOW STATUS LIKE 'rpl_semi_sync%'";
    let mut asker = Asker::new(Flavor::MySql);
    asker.replica_wait = ReplicaWait {
        replicas: 2,
        timeout: Duration::from_millis(2500),
    };
    asker.sources = vec![
        SourceRow::default(),
        SourceRow {
            semi_sync: true,
            is_semi_sync_active: true,
            acknowledgements: 7,
            ..SourceRow::default()
        },
    ];
    let expected = [
        "rpl_semi_sync_master_enabled|ON",
        "rpl_semi_sync_replica_enabled|ON",
        "rpl_semi_sync_source_enabled|ON",
        "rpl_semi_sync_source_timeout|2500",
        "rpl_semi_sync_source_wait_for_replica_count|2",
        "rpl_semi_sync_source_wait_no_replica|ON",
    ];
    assert_eq!(rows(&mut asker, variables), expected);
    let expected = [
        "Rpl_semi_sync_replica_status|ON",
        "Rpl_semi_sync_source_clients|0",
        "Rpl_semi_sync_source_status|ON",
    ];
    assert_eq!(rows(&mut asker, status), expected);
    asker.version = Some("5.7.23");
    let expected = [
        "rpl_semi_sync_master_enabled|ON",
        "rpl_semi_sync_master_timeout|2500",
        "rpl_semi_sync_master_wait_for_slave_count|2",
        "rpl_semi_sync_master_wait_no_slave|ON",
        "rpl_semi_sync_slave_enabled|ON",
    ];
    assert_eq!(rows(&mut asker, variables), expected);
    let mut asker = Asker::new(Flavor::MariaDb);
    asker.sources = vec![SourceRow::default()];
    let shown = rows(&mut asker, "SHOW VARIABLES LIKE 'rpl_semi_sync_slave%'");
    assert_eq!(shown, ["rpl_semi_sync_slave_enabled|OFF"]);
    let status_of_master = "SHOW STATUS LIKE 'rpl_semi_sync_master_status'";
    let variables_of_master = "SHOW VARIABLES LIKE 'rpl_semi_sync_master%'";
    let shown = rows(&mut asker, variables_of_master);
    assert_eq!(shown, ["rpl_semi_sync_master_enabled|ON"]);
    let shown = rows(&mut asker, status_of_master);
    assert_eq!(shown, ["Rpl_semi_sync_master_status|OFF"]);
    asker.replica_wait.replicas = 1;
    let shown = rows(&mut asker, variables_of_master);
    let expected = [
        "rpl_semi_sync_master_enabled|ON",
        "rpl_semi_sync_master_timeout|0",
        "rpl_semi_sync_master_wait_no_slave|ON",
    ];
    assert_eq!(shown, expected);
    let shown = rows(&mut asker, status_of_master);
    assert_eq!(shown, ["Rpl_semi_sync_master_status|ON"]);
    let shown = rows(&mut asker, "SHOW STATUS LIKE 'rpl_semi_sync_slave%'");
    let expected = [
        "Rpl_semi_sync_slave_send_ack|0",
        "Rpl_semi_sync_slave_status|OFF",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn innodb_version_is_that_of_the_log() {
    for (flavor, version, expected) in [
        (Flavor::MySql, "9.7.4-2", vec!["innodb_version|9.7.4"]),
        (Flavor::MySql, "5.6.24-log", vec!["innodb_version|5.6.24"]),
        (
            Flavor::MariaDb,
            "10.5.29-MariaDB",
            vec!["innodb_version|10.5.29"],
        ),
        (Flavor::MariaDb, "10.11.19-MariaDB", vec![]),
    ] {
        let mut asker = Asker::new(flavor);
        asker.version = Some(version);
        let shown = rows(&mut asker, "SHOW VARIABLES LIKE 'innodb_version'");
        assert_eq!(shown, expected, "{version}");
    }
}
