//! The shape of the tree: which module may import which, how long a file may grow, what is banned.
//!
//! Everything here is read as text, so that one run names every finding of a whole branch without
//! building it. Function length is Clippy's (`too_many_lines`, threshold in `.clippy.toml`).

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod rust_text;

use rust_text::{Token, code_lines, imports, tokens};

/// Lines that a file may have.
const FILE_LINES_MAX: usize = 500;

/// The one-way street: a module and what it may import, each line only from lines above it, so
/// that there can be no cycle. Receiver and sender never meet; only `relay` and the program's
/// `cli` see all stages. Test code inside `src` keeps to the same table.
const STREET: &[(&str, &[&str])] = &[
    ("flavor", &[]),
    ("fault", &[]),
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
            "fault",
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
            "fault",
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
            "fault",
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
    ("admin", &["fault", "config", "status"]),
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

/// Names that say nothing about what is inside.
const BANNED_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "managers", "common", "misc",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir`, as paths from the project's root, without `target` and hidden folders.
fn files_below(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a folder's entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir() {
                if !matches!(&*name, "target" | "__pycache__") && !name.starts_with('.') {
                    open.push(path);
                }
            } else {
                found.push(path.strip_prefix(root()).expect("below it").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The project's own text files, fixtures and the licence left out.
fn text_files() -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> = ["src", "tests", "tools", ".ci"]
        .iter()
        .flat_map(|dir| files_below(dir))
        .collect();
    files.extend(["Cargo.toml", "README.md"].map(PathBuf::from));
    files
        .into_iter()
        .filter_map(|path| Some((path.clone(), fs::read_to_string(root().join(path)).ok()?)))
        .collect()
}

fn rust_files(dir: &str) -> Vec<(PathBuf, String)> {
    files_below(dir)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(root().join(&path)).expect("Rust source is UTF-8");
            (path, text)
        })
        .collect()
}

fn assert_none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

/// The module path of a file of `src`: `src/binlog/event.rs` is `binlog`, `event`.
fn module_path(path: &Path) -> Vec<String> {
    path.strip_prefix("src")
        .expect("in src")
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn street_has_no_way_back() {
    let mut above = BTreeSet::new();
    for (module, allowed) in STREET {
        for import in *allowed {
            assert!(above.contains(import), "{module}: {import} stands below it");
        }
        assert!(above.insert(module), "{module} stands in the table twice");
    }
    let row = |name: &str| STREET.iter().find(|row| row.0 == name).expect(name).1;
    assert!(!row("receiver").contains(&"sender"));
    assert!(!row("sender").contains(&"receiver"));
    // Nor through a third: nobody that the sender imports may know the receiver.
    for import in row("sender") {
        assert!(!row(import).contains(&"receiver"), "sender, {import}");
    }
}

#[test]
fn modules_import_only_what_stands_above_them() {
    let known: BTreeSet<&str> = STREET.iter().map(|row| row.0).collect();
    let mut findings = BTreeSet::new();
    for (path, text) in rust_files("src") {
        let module = module_path(&path);
        let top = module[0].as_str();
        if top == "lib" {
            continue; // declares the modules; checked below
        }
        let Some((_, allowed)) = STREET.iter().find(|row| row.0 == top) else {
            findings.insert(format!("{}: {top} is not in the table", path.display()));
            continue;
        };
        for (line, import) in imports(&text, &module) {
            // `main` and `cli` are one crate, the program; everything else is the library.
            if import == top || (top == "main" && import == "binrelay") {
                continue;
            }
            if known.contains(import.as_str()) && !allowed.contains(&import.as_str()) {
                findings.insert(format!("{}:{line}: {top} imports {import}", path.display()));
            } else if import == "*" {
                findings.insert(format!(
                    "{}:{line}: glob of the crate's root",
                    path.display()
                ));
            }
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
                "src/lib.rs:{line}: module {name} is not in the import table of tests/tidy.rs"
            );
        }
    }
}

#[test]
fn files_fit_in_500_lines() {
    let scripts_and_code = ["src", "tests", "tools", ".ci"].map(files_below).concat();
    let mut findings = Vec::new();
    for path in scripts_and_code {
        // A lock file and a fuzzer's corpus are nobody's prose.
        if path
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            continue;
        };
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert_none("longer than 500 lines", &findings);
}

#[test]
fn names_say_what_is_inside() {
    let mut findings = Vec::new();
    for path in ["src", "tests", "tools"].map(files_below).concat() {
        for part in path.with_extension("").iter() {
            let part = part.to_string_lossy();
            if part
                .split(['_', '-'])
                .any(|word| BANNED_NAMES.contains(&word))
            {
                findings.push(format!("{}: called {part}", path.display()));
            }
        }
    }
    for (path, text) in ["src", "tests", "tools"].map(rust_files).concat() {
        for pair in tokens(&text).windows(2) {
            if let [Token::Ident(_, word), Token::Ident(line, name)] = pair
                && word == "mod"
                && name.split('_').any(|word| BANNED_NAMES.contains(&word))
            {
                findings.push(format!("{}:{line}: mod {name}", path.display()));
            }
        }
    }
    assert_none("names that say nothing", &findings);
}

#[test]
fn nothing_unfinished_or_unsafe_in_the_code() {
    let mut findings = Vec::new();
    for (path, text) in ["src", "tests", "tools"].map(rust_files).concat() {
        let in_src = path.starts_with("src");
        for (line, code) in code_lines(&text) {
            let packed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
            let word = |word: &str| {
                code.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|found| found == word)
            };
            for banned in [
                "todo!",
                "unimplemented!",
                "dbg!",
                "#[ignore",
                "#[allow(dead_code",
            ] {
                if packed.contains(banned) {
                    findings.push(format!("{}:{line}: {banned}", path.display()));
                }
            }
            // Support code of tests is compiled once a test file, each of which uses a part.
            if in_src && word("dead_code") {
                findings.push(format!("{}:{line}: dead_code", path.display()));
            }
            if word("unsafe") {
                findings.push(format!("{}:{line}: unsafe", path.display()));
            }
        }
    }
    assert_none("banned in Rust code", &findings);
}

#[test]
fn text_names_nothing_outside_the_project() {
    // In two parts, since this file is searched as well.
    let banned = [
        ["..", "/shared"].concat(),
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/."].concat(),
        ["RULES", ".md"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X:"].concat(),
    ];
    let mut findings = Vec::new();
    for (path, text) in text_files() {
        for (number, line) in text.lines().enumerate() {
            for banned in &banned {
                if line.contains(banned.as_str()) {
                    findings.push(format!("{}:{}: {banned}", path.display(), number + 1));
                }
            }
        }
    }
    assert_none("banned in the project's text", &findings);
}

#[test]
fn top_level_is_fixed() {
    let mut findings = Vec::new();
    for entry in fs::read_dir(root()).expect("the project's root") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_string_lossy();
        let fixed = matches!(
            &*name,
            "Cargo.toml"
                | "Cargo.lock"
                | "src"
                | "proto-fixtures"
                | "tests"
                | "tools"
                | "README.md"
        );
        // `target` is Cargo's own and not committed.
        if !fixed && name != "target" && !name.starts_with("LICENSE") && !name.starts_with('.') {
            findings.push(name.into_owned());
        }
    }
    assert_none("not of the fixed top level", &findings);
}

#[test]
fn public_modules_begin_with_their_documentation() {
    let mut findings = Vec::new();
    for (path, text) in rust_files("src") {
        let module = module_path(&path);
        let folder = match module.as_slice() {
            [only] if only == "lib" || only == "main" => PathBuf::from("src"),
            _ => path.with_extension(""),
        };
        if matches!(module.as_slice(), [only] if only == "lib" || only == "main")
            && !text.starts_with("//!")
        {
            findings.push(path.display().to_string());
        }
        for window in tokens(&text).windows(4) {
            let [
                Token::Ident(_, public),
                Token::Ident(_, word),
                Token::Ident(line, name),
                Token::Mark(';'),
            ] = window
            else {
                continue;
            };
            if public != "pub" || word != "mod" {
                continue;
            }
            let file = folder.join(format!("{name}.rs"));
            let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
            // A module may be documented where it is declared, instead.
            let declared_with_docs = declaration_is_documented(&path, *line);
            if !text.starts_with("//!") && !declared_with_docs {
                findings.push(format!("{} does not begin with //!", file.display()));
            }
        }
    }
    assert_none("public modules without documentation", &findings);
}

fn declaration_is_documented(path: &Path, line: usize) -> bool {
    let text = fs::read_to_string(root().join(path)).expect("it was read before");
    let before = line
        .checked_sub(2)
        .and_then(|index| text.lines().nth(index));
    before.is_some_and(|before| before.trim_start().starts_with("///"))
}
