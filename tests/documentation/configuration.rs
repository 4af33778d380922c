//! Every configuration key is in `src/config/options.md`.

use std::fs;
use std::path::Path;

use crate::{assert_none, binrelay, read};

/// A key that does not resemble any other, so that the program lists all the known ones.
const UNKNOWN: &str = "qqqqqqqqqqqqqqqqqqqqqqqq";

/// The keys that the program knows in the section that `header` opens; `None` if it is not one.
fn known_keys(header: &str) -> Option<Vec<String>> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("relay.toml");
    fs::write(&path, format!("{header}\n{UNKNOWN} = 1\n")).expect("a file");
    let path = path.to_str().expect("UTF-8");
    let output = binrelay(&["status", "--config", path]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = errors.lines().find(|line| line.contains(UNKNOWN))?;
    let (_, keys) = line.split_once("expected one of: ")?;
    Some(keys.split(", ").map(str::to_owned).collect())
}

/// Every section as the documentation names it, with its keys.
fn known_sections() -> Vec<(String, Vec<String>)> {
    let mut sections = Vec::new();
    for name in known_keys("").expect("the list of sections") {
        let single = known_keys(&format!("[{name}]"));
        let (heading, header) = match single {
            Some(_) => (format!("`[{name}]`"), format!("[{name}]")),
            None => (format!("`[[{name}]]`"), format!("[[{name}]]")),
        };
        let keys = known_keys(&header).unwrap_or_else(|| panic!("no keys of {header}"));
        for key in &keys {
            let inner = format!("[{name}.{key}]");
            // A section of its own inside of this one, such as [source.tls].
            if let Some(inner_keys) = known_keys(&format!("{header}\n{inner}")) {
                sections.push((format!("`{inner}`"), inner_keys));
            }
        }
        sections.push((heading, keys));
    }
    sections
}

/// The keys in the first column of the table under the heading that names `section`.
fn documented_keys(options: &str, section: &str) -> Option<Vec<String>> {
    let text = options
        .split("\n## ")
        .find(|text| text.lines().next().unwrap_or_default().contains(section))?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    Some(
        rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
            .collect(),
    )
}

#[test]
fn every_configuration_key_is_documented_and_no_other() {
    let options = read("src/config/options.md");
    let sections = known_sections();
    assert!(sections.len() >= 9, "{sections:?}");
    let mut findings = Vec::new();
    for (section, keys) in sections {
        let Some(documented) = documented_keys(&options, &section) else {
            findings.push(format!("no heading {section}"));
            continue;
        };
        let missing = keys.iter().filter(|key| !documented.contains(key));
        findings.extend(missing.map(|key| format!("{section}: {key} is missing")));
        let unknown = documented.iter().filter(|key| !keys.contains(key));
        findings.extend(unknown.map(|key| format!("{section}: {key} does not exist")));
    }
    assert_none("src/config/options.md", &findings);
}

#[test]
fn configurations_in_the_documentation_are_accepted() {
    for path in ["README.md", "src/config/options.md"] {
        let text = read(path);
        let mut blocks = text.split("```toml\n").skip(1);
        let block = blocks.next().unwrap_or_else(|| panic!("{path}: no TOML"));
        let block = block.split("```").next().unwrap_or_default();
        let lines: Vec<&str> = block.lines().map(str::trim).collect();
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("relay.toml");
        fs::write(&file, lines.join("\n")).expect("a file");
        // No relay answers; a configuration that is refused would be exit status 2.
        let output = binrelay(&["status", "--config", file.to_str().expect("UTF-8")]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{path}: {errors}");
    }
}

#[test]
fn configurations_of_the_package_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/package.d");
    let examples = fs::read_dir(root.join("examples")).expect("a directory");
    let examples = examples.map(|entry| entry.expect("an entry").path());
    let mut checked = 0;
    for path in examples.chain([root.join("binrelay.toml")]) {
        let output = binrelay(&["status", "--config", path.to_str().expect("UTF-8")]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{}: {errors}",
            path.display()
        );
        assert!(
            errors.contains("no relay answers"),
            "{}: {errors}",
            path.display()
        );
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}
