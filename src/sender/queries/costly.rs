//! Statements that would cost much are refused early, and the ones after them are answered.

use std::sync::atomic::Ordering::Relaxed;

use super::tests::Asker;
use crate::flavor::Flavor;
use crate::sender::StatementLimits;

fn code(asker: &mut Asker, text: &str) -> u16 {
    let code = asker.ask(text).map_or_else(|error| error.code, |_| 0);
    assert!(asker.ask("SELECT 1").is_ok());
    code
}

#[test]
fn nested_calls_do_not_take_the_stack() {
    let mut asker = Asker::new(Flavor::MySql);
    for depth in [33, 8_000] {
        let calls = "a(".repeat(depth);
        assert_eq!(code(&mut asker, &format!("SELECT {calls}")), 1436);
        assert_eq!(code(&mut asker, &format!("SET @a = {calls}")), 1436);
    }
    // The function does not exist; its arguments are read first, as on servers.
    let nested = format!("SELECT {}1{}", "a(".repeat(30), ")".repeat(30));
    assert_eq!(code(&mut asker, &nested), 1305);
}

#[test]
fn values_of_a_statement_are_limited_together() {
    let mut asker = Asker::new(Flavor::MariaDb);
    let megabyte = "x".repeat(1_000_000);
    asker.ask(&format!("SET @a = '{megabyte}'")).unwrap();
    assert_eq!(
        code(&mut asker, &format!("SELECT {}@a", "@a, ".repeat(15))),
        0
    );
    let many = "@a, ".repeat(1000);
    assert_eq!(code(&mut asker, &format!("SELECT {many}@a")), 1162);
    assert_eq!(code(&mut asker, &format!("SELECT a({many}@a)")), 1162);
    let assignments = "@b = @a, ".repeat(1000);
    assert_eq!(code(&mut asker, &format!("SET {assignments}@c = 1")), 1162);
}

#[test]
fn configured_limits_hold() {
    let mut asker = Asker::new(Flavor::MySql);
    asker.limits = StatementLimits {
        statement_len: 2_000,
        result_len: 65_536,
    };
    let text = |len: usize| format!("SELECT '{}'", "x".repeat(len - 9));
    assert_eq!(code(&mut asker, &text(2_000)), 0);
    assert_eq!(code(&mut asker, &text(2_001)), 1153);
    asker
        .ask(&format!("SET @a = '{}'", "x".repeat(1_900)))
        .unwrap();
    // Each column has a value of 1,900 bytes, which costs 32 more, and its variable a name of one byte.
    let list = |columns: usize| vec!["@a b"; columns].join(",");
    assert_eq!(code(&mut asker, &format!("SELECT {}", list(33))), 0);
    assert_eq!(code(&mut asker, &format!("SELECT {}", list(34))), 1162);
    assert_eq!(code(&mut asker, "SHOW VARIABLES"), 0);
    asker.limits.result_len = 1_000;
    let error = asker.ask("SHOW VARIABLES").unwrap_err();
    assert_eq!(error.code, 1162);
    assert!(
        error.message.contains("1000 bytes (max_result_size)"),
        "{}",
        error.message
    );
}

#[test]
fn look_ups_in_the_log_are_limited() {
    let mut asker = Asker::new(Flavor::MariaDb);
    let look_up = "binlog_gtid_pos('relay-bin.000001',4)";
    let list = |count: usize| format!("SELECT {}1", format!("{look_up},").repeat(count));
    assert_eq!(code(&mut asker, &list(16)), 0);
    assert_eq!(code(&mut asker, &list(17)), 1235);
    assert_eq!(code(&mut asker, &list(1000)), 1235);
}

#[test]
fn long_statements_are_refused() {
    let mut asker = Asker::new(Flavor::MySql);
    let list = |columns: usize| format!("SELECT {}1", "1,".repeat(columns - 1));
    assert_eq!(code(&mut asker, &list(4096)), 0);
    assert_eq!(code(&mut asker, &list(4097)), 1117);
    assert_eq!(code(&mut asker, &list(100_000)), 1153);
    assert_eq!(
        code(&mut asker, &format!("SELECT '{}'", "x".repeat(1 << 20))),
        1153
    );
    let pattern = "%a".repeat(500_000);
    assert_eq!(
        code(&mut asker, &format!("SHOW VARIABLES LIKE '{pattern}'")),
        1235
    );
    assert_eq!(
        code(
            &mut asker,
            &format!("SHOW VARIABLES LIKE '{}'", "%a".repeat(500))
        ),
        0
    );
}

/// A table that is joined with another, and has rows.
const JOINED: &str =
    "information_schema.GLOBAL_VARIABLES a JOIN information_schema.GLOBAL_STATUS b";

#[test]
fn joined_rows_are_within_the_budget() {
    let mut asker = Asker::new(Flavor::MariaDb);
    for value in ["NULL", "''", "*"] {
        let list = vec![value; 4096 / if value == "*" { 4 } else { 1 }].join(",");
        let statement = format!("SELECT {list} FROM {JOINED} LIMIT 0");
        assert_eq!(code(&mut asker, &statement), 1162, "{value}");
    }
    // Without a WHERE that would select some.
    let twice = JOINED.replace("STATUS", "VARIABLES");
    assert_eq!(code(&mut asker, &format!("SELECT 1 FROM {twice}")), 1104);
    assert_eq!(
        code(
            &mut asker,
            &format!("SELECT {}1 FROM {twice}", "*,".repeat(4096))
        ),
        1117
    );
}

#[test]
fn conditions_are_within_the_budget() {
    let mut asker = Asker::new(Flavor::MariaDb);
    let select = |condition: &str| format!("SELECT 1 FROM {JOINED} WHERE {condition}");
    let free = vec!["NULL"; 500].join(" OR ");
    assert_eq!(code(&mut asker, &select(&free)), 1162);
    let unset = format!("@{}", "x".repeat(500_000));
    assert_eq!(code(&mut asker, &select(&unset)), 1162);
    let text = "x".repeat(500_000);
    asker.ask(&format!("SET @a = '{text}'")).unwrap();
    let list = vec!["1"; 100].join(",");
    assert_eq!(code(&mut asker, &format!("SELECT @a IN ({list})")), 1162);
    let pattern = "%x".repeat(50);
    assert_eq!(
        code(&mut asker, &format!("SELECT @a LIKE '{pattern}'")),
        1162
    );
    assert_eq!(asker.row("SELECT @a LIKE '%x%' AND @a IN (1, 2)"), "0");
}

#[test]
fn sources_are_read_once_for_a_condition() {
    let mut asker = Asker::new(Flavor::MariaDb);
    let mut reads = |condition: &str| {
        let before = asker.source_reads.load(Relaxed);
        asker.row(&format!("SELECT COUNT(*) FROM {JOINED} WHERE {condition}"));
        asker.source_reads.load(Relaxed) - before
    };
    let of_tables = reads("1");
    let named = "@@rpl_semi_sync_master_enabled AND @@rpl_semi_sync_slave_enabled AND @@server_id";
    assert_eq!(reads(named), of_tables + 1);
}
