//! Every environment variable of the project is documented.

use std::collections::BTreeSet;
use std::path::Path;

use crate::files::{assert_none, text_files};

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
fn variables_are_found_by_their_prefix() {
    let text = [
        "export ", PREFIX, "A_1=2 ${", PREFIX, "B:-} X", PREFIX, "C ", PREFIX,
    ]
    .concat();
    let names = [[PREFIX, "A_1"].concat(), [PREFIX, "B"].concat()];
    assert_eq!(variables(&text), BTreeSet::from(names));
}
