//! Which module may import which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::files::{assert_none, root, rust_files};
use crate::imports::{SourceTree, module_path};
use crate::rust_text::{Token, tokens};

/// What the test code of a module may import beyond the module's own row: it builds transactions and
/// logs through the stages before.
const TESTS: &[(&str, &str)] = &[
    ("config", "data_file"),
    ("merge", "filter"),
    ("log_thread", "flavor config data_file filter"),
    ("sender", "filter log_thread"),
    ("inspect", "config filter log_thread"),
    ("adoption", "log_thread transaction"),
    ("conflicts", "gtid"),
    ("relay", "binlog flavor transaction"),
];

/// The layers: a module and what it may import, each line only from lines above it, so
/// that there can be no cycle. Receiver and sender never meet; only `relay` and the program's
/// `cli` see all stages.
const LAYERS: &[(&str, &str)] = &[
    ("flavor", ""),
    ("fault", ""),
    ("secret", ""),
    ("position", ""),
    ("data_file", ""),
    ("atomic_file", "data_file"),
    ("like", ""),
    ("one_line", ""),
    ("utc", ""),
    ("tls", "secret atomic_file"),
    ("config", "flavor secret tls position one_line atomic_file"),
    ("gtid", ""),
    ("protocol", "flavor secret gtid"),
    ("binlog", "gtid flavor protocol"),
    ("identity", "flavor gtid binlog"),
    ("filter", "flavor like binlog"),
    (
        "transaction",
        "flavor data_file gtid binlog identity position filter",
    ),
    (
        "merge",
        "flavor utc gtid binlog identity position transaction",
    ),
    // Of `config` only the sync policy, of `merge` what it carries over and decides.
    (
        "relay_log",
        "flavor fault utc config gtid binlog identity position data_file atomic_file transaction merge",
    ),
    (
        "log_thread",
        "fault gtid binlog identity position transaction merge relay_log",
    ),
    ("connection", "flavor secret tls protocol"),
    (
        "receiver",
        "flavor fault secret utc tls config gtid protocol binlog identity position data_file atomic_file filter \
         transaction merge relay_log log_thread connection",
    ),
    (
        "sender",
        "flavor fault secret tls config like utc gtid protocol binlog identity position transaction \
         relay_log connection",
    ),
    // Files only, no network: neither connection nor receiver nor sender.
    (
        "inspect",
        "flavor gtid binlog identity position transaction relay_log",
    ),
    // Reads the log, and asks sources beside their dumps.
    (
        "adoption",
        "flavor config one_line utc gtid binlog identity position relay_log receiver inspect",
    ),
    // Reads the log as a sender does, and asks sources beside their dumps.
    (
        "conflicts",
        "one_line utc config binlog identity position relay_log receiver inspect",
    ),
    (
        "status",
        "config one_line utc gtid identity position relay_log log_thread receiver sender conflicts",
    ),
    (
        "admin",
        "fault config gtid relay_log adoption receiver conflicts status",
    ),
    ("http", "fault secret relay_log sender status"),
    ("data_dir", "gtid data_file atomic_file"),
    (
        "relay",
        "fault secret tls config gtid protocol identity position relay_log log_thread receiver sender \
         adoption conflicts status admin http data_dir",
    ),
    // The program sees the whole library; of the stages it starts none itself but through `relay`.
    (
        "cli",
        "flavor secret tls one_line utc config gtid protocol binlog identity position filter transaction merge \
         relay_log log_thread connection receiver sender inspect adoption conflicts status admin http data_dir \
         relay",
    ),
    ("main", "cli"),
];

/// A row of the table.
fn row(name: &str) -> Option<Vec<&'static str>> {
    let row = LAYERS.iter().find(|row| row.0 == name)?;
    Some(row.1.split_whitespace().collect())
}

#[test]
fn table_has_no_cycle() {
    let mut above = BTreeSet::new();
    for (module, allowed) in LAYERS {
        for import in allowed.split_whitespace() {
            assert!(above.contains(&import), "{module}: {import} is below it");
        }
        assert!(above.insert(*module), "{module} is in the table twice");
    }
    let row = |name: &str| row(name).expect("a row");
    assert!(!row("receiver").contains(&"sender"));
    assert!(!row("sender").contains(&"receiver"));
    // Nor through a third: no module that the sender imports may import the receiver.
    for import in row("sender") {
        assert!(!row(import).contains(&"receiver"), "sender, {import}");
    }
}

#[test]
fn modules_import_only_what_is_above_them() {
    let known: BTreeSet<&str> = LAYERS.iter().map(|row| row.0).collect();
    let tests: BTreeMap<&str, &str> = TESTS.iter().copied().collect();
    let tree = SourceTree::read(&rust_files("src"));
    let mut findings = BTreeSet::new();
    for import in tree.imports() {
        let Some(module) = module_path(&import.from).into_iter().next() else {
            continue; // the library's root declares the modules; checked below
        };
        let Some(allowed) = row(&module) else {
            findings.insert(format!(
                "{}: {module} is not in the table",
                import.from.display()
            ));
            continue;
        };
        let top = import.top.as_str();
        let more = tests.get(module.as_str()).copied().unwrap_or_default();
        let in_tests = import.is_test && more.split_whitespace().any(|one| one == top);
        if top == module || allowed.contains(&top) || in_tests {
            continue;
        }
        if known.contains(top) || top == "*" {
            let (from, line) = (import.from.display(), import.line);
            let test = if import.is_test { " in test code" } else { "" };
            findings.insert(format!("{from}:{line}: {module} imports {top}{test}"));
        }
    }
    assert_none("against the import table", &Vec::from_iter(findings));
}

#[test]
fn top_level_modules_are_in_the_table() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let tokens = tokens(&lib);
    for pair in tokens.windows(2) {
        if let [Token::Ident(_, word), Token::Ident(line, name)] = pair
            && word == "mod"
        {
            assert!(
                row(name).is_some(),
                "src/lib.rs:{line}: module {name} is not in the import table of tests/tree/layers.rs"
            );
        }
    }
}
