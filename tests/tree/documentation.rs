//! Every environment variable and every module of the tests is documented.

use std::collections::BTreeSet;
use std::path::Path;

use crate::files::{assert_none, rust_files, text_files};

const PREFIX: &str = "BINRELAY_";
/// Where variables are documented: those of the program in the first, those of tests and tools in the
/// second.
const DOCUMENTS: [&str; 2] = ["README.md", "tests/README.md"];

/// The names of variables in a text.
fn variables(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_part(c));
    let names = words.filter(|word| word.len() > PREFIX.len() && word.starts_with(PREFIX));
    names.map(str::to_owned).collect()
}

#[test]
fn environment_variables_are_documented() {
    let mut documented = BTreeSet::new();
    let mut used = BTreeSet::new();
    let mut findings = Vec::new();
    let files = text_files();
    let is_document = |path: &Path| DOCUMENTS.iter().any(|document| path == Path::new(document));
    for (path, text) in &files {
        match is_document(path) {
            true => documented.extend(variables(text)),
            false => used.extend(variables(text)),
        }
    }
    for (path, text) in files.iter().filter(|(path, _)| !is_document(path)) {
        for name in variables(text).difference(&documented) {
            findings.push(format!("{}: {name} is not documented", path.display()));
        }
    }
    for name in documented.difference(&used) {
        findings.push(format!("{name} is documented, but not used"));
    }
    assert_none("environment variables", &findings);
}

#[test]
fn modules_with_tests_are_documented() {
    let document = include_str!("../README.md");
    let mut findings = Vec::new();
    for (path, text) in rust_files("tests") {
        let Some(name) = path.file_stem().map(|name| name.to_string_lossy()) else {
            continue;
        };
        let has_tests = ["#[test]", "#[tokio::test"]
            .iter()
            .any(|mark| text.lines().any(|line| line.starts_with(mark)));
        if has_tests && name != "main" && !document.contains(&format!("`{name}`")) {
            findings.push(format!("{} is not in tests/README.md", path.display()));
        }
    }
    assert_none("modules of the tests", &findings);
}

#[test]
fn variables_are_found_by_their_prefix() {
    let text = [
        "export ", PREFIX, "A_1=2 ${", PREFIX, "B:-} X", PREFIX, "C ", PREFIX,
    ]
    .concat();
    let names = [[PREFIX, "A_1"].concat(), [PREFIX, "B"].concat()];
    assert_eq!(variables(&text), BTreeSet::from(names));
}
