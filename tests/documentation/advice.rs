//! The commands, topics and keys that texts advise exist.

use std::collections::{BTreeMap, BTreeSet};

use crate::rust_literals::sources;
use crate::{ADMINISTRATORS_DOCUMENTS, assert_none, binrelay, read};

/// What may follow the program's name in a sentence. Documents mark commands, or begin lines with them.
const PROSE: [&str; 10] = [
    "answers",
    "does",
    "has",
    "is",
    "process",
    "reads",
    "running",
    "self-signed",
    "supports",
    "waits",
];

/// The names in the first column of a list of `binrelay help`.
fn names_of_help() -> BTreeSet<String> {
    let help = binrelay(&["help"]);
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let rows = help.lines().filter_map(|line| line.strip_prefix("  "));
    let names = rows.filter_map(|row| row.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// The text's words, with what follows them; punctuation at the end of a word ends a sentence.
fn after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let rests = text.split(word).skip(1);
    rests.filter_map(|rest| rest.strip_prefix(' ')).map(|rest| {
        rest.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)))
            .next()
            .unwrap_or_default()
    })
}

/// The options of each command, from its help.
fn options_of_commands() -> BTreeMap<String, String> {
    let list = binrelay(&["help"]);
    let list = String::from_utf8(list.stdout).expect("UTF-8");
    let (_, commands) = list.split_once("\nCommands:\n").expect("the commands");
    let commands = commands.split("\n\n").next().unwrap_or_default();
    let names = commands
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let help = |name: &str| {
        let help = binrelay(&[name, "--help"]);
        let help = String::from_utf8(help.stdout).expect("UTF-8");
        (name.to_owned(), help)
    };
    names.map(help).collect()
}

/// The commands that a text names, each with the options after it, up to the end of the sentence or of the quotation.
fn commands_with_options(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    for rest in text.split("binrelay ").skip(1) {
        let ends = ["`", "\n\n", ". ", ", ", "; ", "\n#", " | head"];
        let ends = ends.iter().filter_map(|end| rest.find(end));
        let span = rest
            .get(..ends.min().unwrap_or(rest.len()))
            .unwrap_or_default();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let mut words = span.split(|c: char| !is_part(c));
        let Some(command) = words.next() else {
            continue;
        };
        let options = words.filter(|word| word.starts_with("--") && word.len() > 2);
        found.push((command, options.collect()));
    }
    found
}

/// All texts that can advise: string literals of the program, its documentation, and the alerts.
fn texts() -> Vec<(String, String)> {
    let sources = sources();
    let mut texts: Vec<(String, String)> = sources
        .iter()
        .flat_map(|source| {
            let path = source.path.display().to_string();
            source
                .literals
                .iter()
                .map(move |(_, text)| (path.clone(), text.clone()))
        })
        .collect();
    let others = [
        "src/cli/messages.md",
        "src/relay_log/format.md",
        "tools/monitoring/prometheus-rules.yml",
        "tools/monitoring/grafana-dashboard.json",
    ];
    let documents = ADMINISTRATORS_DOCUMENTS.into_iter().chain(others);
    texts.extend(documents.map(|path| (path.to_owned(), read(path))));
    texts
}

#[test]
fn commands_and_topics_that_texts_name_exist() {
    let names = names_of_help();
    for name in ["status", "messages", "write-conflicts"] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
    let mut findings = BTreeSet::new();
    for (path, text) in texts() {
        for word in after(&text, "binrelay help") {
            let is_argument = word.is_empty() || word.contains(char::is_uppercase);
            if !is_argument && !names.contains(word) {
                findings.insert(format!("{path}: binrelay help {word}"));
            }
        }
        let begins: &[&str] = match path.ends_with(".md") {
            true => &["`binrelay", "\nbinrelay", "$ binrelay"],
            false => &["binrelay"],
        };
        for word in begins.iter().flat_map(|begin| after(&text, begin)) {
            let is_command = word.starts_with(|c: char| c.is_ascii_lowercase());
            if is_command && !names.contains(word) && !PROSE.contains(&word) {
                findings.insert(format!("{path}: binrelay {word}"));
            }
        }
    }
    let findings: Vec<String> = findings.into_iter().collect();
    assert_none("no such command or topic", &findings);
}

#[test]
fn options_that_texts_name_with_their_command_exist() {
    assert_eq!(
        commands_with_options("run `binrelay dump F --rows [--json]`, --no, binrelay list."),
        [("dump", vec!["--rows", "--json"]), ("list", vec![])]
    );
    let options = options_of_commands();
    assert!(options.len() > 10, "{:?}", options.keys());
    let (mut findings, mut found) = (BTreeSet::new(), 0);
    for (path, text) in texts() {
        for (command, named) in commands_with_options(&text) {
            let Some(help) = options.get(command) else {
                continue;
            };
            for option in named {
                found += 1;
                let is_option = |word: &str| word.trim_end_matches([',', ']', '=']) == option;
                if !help.split(&[' ', '\n', '['][..]).any(is_option) {
                    findings.insert(format!("{path}: binrelay {command} {option}"));
                }
            }
        }
    }
    assert!(found > 50, "{found}");
    let findings: Vec<String> = findings.into_iter().collect();
    assert_none("no such option of the command", &findings);
}

#[test]
fn keys_that_texts_name_with_their_section_exist() {
    let options = read("src/config/options.md");
    let sections = [
        "relay", "log", "filter", "source", "user", "limits", "alert", "tls", "admin",
    ];
    let mut findings = BTreeSet::new();
    let mut found = 0;
    for (path, text) in texts() {
        let text = text.replace('`', "");
        for section in sections {
            for heading in [format!("[{section}]"), format!("[[{section}]]")] {
                for word in after(&text, &heading) {
                    // A key, not the next word of a sentence.
                    if word.contains('_') || word == "listen" || word == "http" {
                        found += 1;
                        if !options.contains(&format!("`{word}`")) {
                            findings.insert(format!("{path}: {heading} {word}"));
                        }
                    }
                }
            }
        }
    }
    assert!(found > 5, "{found}");
    let findings: Vec<String> = findings.into_iter().collect();
    assert_none("no such key", &findings);
}
