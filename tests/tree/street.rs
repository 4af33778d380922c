//! Which module may import which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::files::{assert_none, root, rust_files};
use crate::imports::{SourceTree, module_path};
use crate::rust_text::{Token, tokens};

/// What the test code of a module may import beyond the module's own row: it builds transactions and
/// logs through the stages before.
const TESTS: &[(&str, &[&str])] = &[
    ("merge", &["filter"]),
    ("relay_log", &["filter"]),
    ("sender", &["filter"]),
];

/// The one-way street: a module and what it may import, each line only from lines above it, so
/// that there can be no circle. Receiver and sender never meet; only `relay` and the program's
/// `cli` see all stages.
const STREET: &[(&str, &[&str])] = &[
    ("flavor", &[]),
    ("secret", &[]),
    ("tls", &["secret"]),
    ("config", &["flavor", "secret", "tls"]),
    ("gtid", &[]),
    ("protocol", &["flavor", "secret", "gtid"]),
    ("binlog", &["gtid", "flavor"]),
    ("identity", &["flavor", "gtid", "binlog"]),
    ("position", &[]),
    ("filter", &["flavor", "binlog"]),
    (
        "transaction",
        &["flavor", "gtid", "binlog", "identity", "position", "filter"],
    ),
    // Of `filter`, merge and relay log only tests that assemble their transactions from events.
    (
        "merge",
        &[
            "flavor",
            "gtid",
            "binlog",
            "identity",
            "position",
            "filter",
            "transaction",
        ],
    ),
    // Of `config` only the sync policy.
    (
        "relay_log",
        &[
            "flavor",
            "config",
            "gtid",
            "binlog",
            "identity",
            "position",
            "filter",
            "transaction",
            "merge",
        ],
    ),
    ("connection", &["flavor", "secret", "tls", "protocol"]),
    (
        "receiver",
        &[
            "flavor",
            "secret",
            "tls",
            "config",
            "gtid",
            "protocol",
            "binlog",
            "identity",
            "position",
            "filter",
            "transaction",
            "merge",
            "relay_log",
            "connection",
        ],
    ),
    (
        "sender",
        &[
            "flavor",
            "secret",
            "tls",
            "config",
            "gtid",
            "protocol",
            "binlog",
            "identity",
            "position",
            "filter", // Its tests build a log through the stages before.
            "transaction",
            "merge",
            "relay_log",
            "connection",
        ],
    ),
    // Files only, no network: neither connection nor receiver nor sender.
    (
        "inspect",
        &[
            "flavor",
            "config",
            "gtid",
            "binlog",
            "identity",
            "position",
            "filter",
            "transaction",
            "merge",
            "relay_log",
        ],
    ),
    (
        "status",
        &[
            "flavor",
            "config",
            "gtid",
            "identity",
            "position",
            "merge",
            "relay_log",
            "receiver",
            "sender",
        ],
    ),
    ("admin", &["config", "status"]),
    ("data_dir", &["gtid"]),
    (
        "relay",
        &[
            "flavor",
            "secret",
            "tls",
            "config",
            "gtid",
            "protocol",
            "binlog",
            "identity",
            "position",
            "filter",
            "transaction",
            "merge",
            "relay_log",
            "connection",
            "receiver",
            "sender",
            "status",
            "admin",
            "data_dir",
        ],
    ),
    // The program sees the whole library; of the stages it starts none itself but through `relay`.
    (
        "cli",
        &[
            "flavor",
            "secret",
            "tls",
            "config",
            "gtid",
            "protocol",
            "binlog",
            "identity",
            "position",
            "filter",
            "transaction",
            "merge",
            "relay_log",
            "connection",
            "receiver",
            "sender",
            "inspect",
            "status",
            "admin",
            "data_dir",
            "relay",
        ],
    ),
    ("main", &["cli"]),
];

#[test]
fn street_has_no_way_back() {
    let mut above = BTreeSet::new();
    for (module, allowed) in STREET {
        for import in *allowed {
            assert!(above.contains(import), "{module}: {import} is below it");
        }
        assert!(above.insert(module), "{module} is in the table twice");
    }
    let row = |name: &str| STREET.iter().find(|row| row.0 == name).expect(name).1;
    assert!(!row("receiver").contains(&"sender"));
    assert!(!row("sender").contains(&"receiver"));
    // Nor through a third: no module that the sender imports may import the receiver.
    for import in row("sender") {
        assert!(!row(import).contains(&"receiver"), "sender, {import}");
    }
}

#[test]
fn modules_import_only_what_is_above_them() {
    let known: BTreeSet<&str> = STREET.iter().map(|row| row.0).collect();
    let tests: BTreeMap<&str, &[&str]> = TESTS.iter().copied().collect();
    let tree = SourceTree::read(&rust_files("src"));
    let mut findings = BTreeSet::new();
    for import in tree.imports() {
        let Some(module) = module_path(&import.from).into_iter().next() else {
            continue; // the library's root declares the modules; checked below
        };
        let Some((name, allowed)) = STREET.iter().find(|row| row.0 == module) else {
            findings.insert(format!(
                "{}: {module} is not in the table",
                import.from.display()
            ));
            continue;
        };
        let top = import.top.as_str();
        let in_tests = import.is_test && tests.get(name).is_some_and(|more| more.contains(&top));
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
                STREET.iter().any(|row| row.0 == name),
                "src/lib.rs:{line}: module {name} is not in the import table of tests/tree/street.rs"
            );
        }
    }
}
