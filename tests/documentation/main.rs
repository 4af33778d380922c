//! The documentation matches the program: every configuration key is in `src/config/options.md`,
//! every message is in `src/cli/messages.md`, every action that a message advises is explained,
//! and `binrelay help` prints all of it. The unit tests of `src/cli/help.rs` check commands and
//! options.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod advice;
mod configuration;
mod messages;
mod monitoring;
mod package;
mod rust_literals;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// What administrators read, without the explanations of messages.
const ADMINISTRATORS_DOCUMENTS: [&str; 11] = [
    "README.md",
    "src/cli/operation.md",
    "src/cli/changes.md",
    "src/cli/monitoring.md",
    "src/config/options.md",
    "src/adoption/adoption.md",
    "src/adoption/rescue.md",
    "src/conflicts/conflicts.md",
    "src/filter/filters.md",
    "src/merge/with_gtids.md",
    "src/merge/without_gtids.md",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn assert_none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

fn binrelay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_binrelay"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn help_prints_topics_and_commands() {
    let output = binrelay(&["help"]);
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    let topics: [(&str, &[&str]); 12] = [
        ("options", &["src/config/options.md"]),
        ("operation", &["src/cli/operation.md"]),
        ("changes", &["src/cli/changes.md"]),
        ("monitoring", &["src/cli/monitoring.md"]),
        ("adoption", &["src/adoption/adoption.md"]),
        ("rescue", &["src/adoption/rescue.md"]),
        ("write-conflicts", &["src/conflicts/conflicts.md"]),
        ("messages", &["src/cli/messages.md"]),
        ("filters", &["src/filter/filters.md"]),
        ("without-gtids", &["src/merge/without_gtids.md"]),
        (
            "format",
            &["src/relay_log/format.md", "src/relay_log/commit_index.md"],
        ),
        ("architecture", &["src/architecture.md"]),
    ];
    let (commands, listed) = listed(&list);
    let mut expected: Vec<&str> = topics.iter().map(|(topic, _)| *topic).collect();
    let mut found: Vec<&str> = listed.iter().map(String::as_str).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    for (topic, files) in topics {
        let output = binrelay(&["help", topic]);
        assert_eq!(output.status.code(), Some(0), "{topic}");
        let texts: Vec<String> = files.iter().map(|file| read(file)).collect();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(printed, texts.join("\n"), "{topic}");
    }
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands.iter().map(String::as_str) {
        let output = binrelay(&["help", command]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains(&format!("Usage: binrelay {command}")),
            "{text}"
        );
        let option = binrelay(&[command, "--help"]);
        assert_eq!(text, String::from_utf8_lossy(&option.stdout));
    }
}

/// The commands and the topics that `binrelay help` lists.
fn listed(help: &str) -> (Vec<String>, Vec<String>) {
    let names = |heading: &str| -> Vec<String> {
        let lines = help.lines().skip_while(|line| !line.starts_with(heading));
        let entries = lines.skip(1).take_while(|line| line.starts_with("  "));
        let words = entries.filter_map(|line| line.split_whitespace().next());
        words.map(str::to_owned).collect()
    };
    (names("Commands:"), names("Topics"))
}

#[test]
fn unknown_topic_is_wrong_usage_and_the_nearest_is_named() {
    let output = binrelay(&["help", "optins"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("'options'"), "{error}");
}

#[test]
fn links_of_the_readme_lead_to_files() {
    let readme = read("README.md");
    let links = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let links: Vec<&str> = links.collect();
    assert!(links.len() >= 7, "{links:?}");
    for link in links {
        assert!(!read(link).is_empty(), "{link}");
    }
}

/// The files of the walk in `architecture.md`, each with the text about it.
fn walk(architecture: &str) -> Vec<(&str, &str)> {
    let (_, text) = architecture.split_once("## The walk").expect("the walk");
    let text = text.split("\n## ").next().unwrap_or(text);
    let steps = text.split(". `src/").skip(1);
    steps.filter_map(|step| step.split_once('`')).collect()
}

#[test]
fn functions_of_the_walk_exist_in_at_most_eight_files() {
    let architecture = read("src/architecture.md");
    let steps = walk(&architecture);
    assert!((5..=8).contains(&steps.len()), "{} files", steps.len());
    let mut findings = Vec::new();
    for (file, about) in steps {
        let code = read(&format!("src/{file}"));
        let named = about.split('`').skip(1).step_by(2);
        for function in named.filter(|name| !name.contains('.')) {
            if !code.contains(&format!("fn {function}("))
                && !code.contains(&format!("fn {function}<"))
            {
                findings.push(format!("src/{file}: {function}"));
            }
        }
    }
    assert_none(
        "src/architecture.md names functions that do not exist",
        &findings,
    );
}
