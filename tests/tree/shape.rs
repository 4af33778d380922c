//! The shape of the tree: how long a file may be, how files are named, what is banned in code.
//!
//! Everything here is read as text, so that one run reports every finding of a whole branch without
//! building it. The length of functions is checked by Clippy (`too_many_lines`, threshold in
//! `.clippy.toml`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{assert_none, files_below, root, rust_files, text_files};
use crate::imports::module_path;
use crate::rust_text::{Token, code_lines, tokens};

/// Lines that a file may have.
const FILE_LINES_MAX: usize = 500;

/// Names that do not say what is inside.
const BANNED_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "managers", "common", "misc",
];

#[test]
fn files_fit_in_500_lines() {
    let scripts_and_code = ["src", "tests", "tools", ".ci"].map(files_below).concat();
    let mut findings = Vec::new();
    for path in scripts_and_code {
        // Lock files are generated.
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
    assert_none("files longer than 500 lines", &findings);
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
    assert_none("names that do not say what is inside", &findings);
}

/// The only reason for which a test may be ignored; `tools/test` includes it in that profile.
const LONG_ONLY: &str = "#[ignore = \"BINRELAY_PROFILE=long\"]";

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
            for banned in ["todo!", "unimplemented!", "dbg!", "#[allow(dead_code"] {
                if packed.contains(banned) {
                    findings.push(format!("{}:{line}: {banned}", path.display()));
                }
            }
            let raw = text.lines().nth(line - 1).unwrap_or_default();
            if packed.contains("#[ignore") && raw.trim() != LONG_ONLY {
                findings.push(format!("{}:{line}: #[ignore", path.display()));
            }
            // Each test program uses a part of the harness.
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
        let is_root = module.is_empty() || module == ["main"];
        let directory = match is_root {
            true => PathBuf::from("src"),
            false => path.with_extension(""),
        };
        if is_root && !text.starts_with("//!") {
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
            let file = directory.join(format!("{name}.rs"));
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
