//! The documentation matches the program: every configuration key is in `src/config/options.md`,
//! every message is in `src/cli/messages.md`, every action that a message advises is explained,
//! and `binrelay help` prints all of it. (Commands and options: the unit tests of `src/cli/help.rs`.)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod rust_literals;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rust_literals::{Source, sources};

/// Messages with fewer letters than this consist of placeholders: their parts are documented.
const LETTERS_MIN: usize = 8;

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

// ---------------------------------------------------------------- configuration keys

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

// ---------------------------------------------------------------- messages

/// A message of the program: its text with `…` for each placeholder.
struct Message {
    text: String,
    path: PathBuf,
}

/// What messages are made with. Of `#[error(…)]` the first literal is the message; of `setup(…)`, too:
/// the second is the remedy, see [`every_advised_action_is_documented`].
const OPENERS: [&str; 11] = [
    "#[error(",
    "setup(",
    "fatal(",
    "ServerError::new(",
    "WrongUsage(",
    "tracing::warn!(",
    "tracing::error!(",
    "repairs.push(",
    "bail!(",
    ".context(",
    "warnings.push(",
];

fn messages(sources: &[Source]) -> Vec<Message> {
    let mut messages = Vec::new();
    for source in sources {
        for opener in OPENERS {
            for literals in source.literals_in(opener) {
                let count = match opener {
                    "#[error(" | "setup(" => 1,
                    _ => literals.len(),
                };
                for literal in literals.into_iter().take(count) {
                    let text = without_placeholders(literal);
                    if letters(&text) >= LETTERS_MIN && text.contains(' ') {
                        let path = source.path.clone();
                        messages.push(Message { text, path });
                    }
                }
            }
        }
    }
    messages
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphabetic()).count()
}

/// A format string with `…` for each placeholder.
fn without_placeholders(format: &str) -> String {
    let format = format.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut text = String::new();
    let mut rest = format.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        text.push('…');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text.replace('\u{1}', "{").replace('\u{2}', "}")
}

/// The messages in the first columns of the tables of `messages.md`.
fn documented_messages(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect()
}

/// Whether all parts of `pattern` between its `…` occur in `text`, in this order.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    letters(pattern) >= LETTERS_MIN
        && pattern.split('…').map(str::trim).all(|part| {
            rest.split_once(part).is_some_and(|(_, after)| {
                rest = after;
                true
            })
        })
}

#[test]
fn every_message_has_a_row() {
    let documented = documented_messages(&read("src/cli/messages.md"));
    let sources = sources();
    let messages = messages(&sources);
    assert!(
        messages.len() > 80,
        "only {} messages found",
        messages.len()
    );
    let undocumented = messages.iter().filter(|message| {
        !documented
            .iter()
            .any(|pattern| matches(pattern, &message.text))
    });
    let findings: Vec<String> = undocumented
        .map(|message| format!("{}: {:?}", message.path.display(), message.text))
        .collect();
    assert_none(
        "src/cli/messages.md has no row for these messages",
        &findings,
    );
}

#[test]
fn every_row_is_a_message_of_the_program() {
    let sources = sources();
    let literals = sources.iter().flat_map(|source| &source.literals);
    let texts: Vec<String> = literals
        .map(|(_, text)| without_placeholders(text))
        .collect();
    let documented = documented_messages(&read("src/cli/messages.md"));
    assert!(documented.len() > 80, "only {} rows", documented.len());
    let gone = documented.iter().filter(|pattern| {
        letters(pattern) >= LETTERS_MIN && !texts.iter().any(|text| matches(pattern, text))
    });
    let findings: Vec<String> = gone.cloned().collect();
    assert_none("src/cli/messages.md: no such message in src", &findings);
}

/// What a message names that an administrator may have to look up: `--options`, keys and variables
/// with underscores, SQL of two or more words in capitals.
fn advised(message: &str) -> BTreeSet<String> {
    // An equals sign ends a run of words.
    let message = message.replace('=', " , ");
    let words: Vec<&str> = message
        .split(|c: char| !(c.is_ascii_alphanumeric() || "_-*.".contains(c)))
        .collect();
    let mut advised = BTreeSet::new();
    for word in &words {
        let word = word.trim_end_matches(['.', '-', '*']);
        let is_key = word.contains('_') && !word.contains(char::is_uppercase);
        if word.starts_with("--") || is_key {
            advised.insert(word.to_owned());
        }
    }
    let is_sql = |word: &&str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
    for run in words
        .split(|word| !is_sql(word))
        .filter(|run| run.len() > 1)
    {
        advised.insert(run.join(" "));
    }
    advised
}

#[test]
fn every_advised_action_is_documented() {
    let documents = [
        "src/cli/messages.md",
        "src/config/options.md",
        "src/cli/operation.md",
    ];
    let documentation: String = documents.map(read).concat();
    let sources = sources();
    let mut texts = messages(&sources);
    for source in &sources {
        // Remedies, and the advice by error code in src/receiver/error.rs.
        let remedies = ["setup(", "Some("].map(|opener| source.literals_in(opener).concat());
        for literal in remedies.concat() {
            let (text, path) = (without_placeholders(literal), source.path.clone());
            if text.contains(' ') {
                texts.push(Message { text, path });
            }
        }
    }
    let mut findings = Vec::new();
    for message in texts {
        for action in advised(&message.text) {
            if !documentation.contains(&action) {
                findings.push(format!("{action} ({})", message.path.display()));
            }
        }
    }
    assert_none("named by messages, but not documented", &findings);
}

// ---------------------------------------------------------------- binrelay help

#[test]
fn help_prints_topics_and_commands() {
    let output = binrelay(&["help"]);
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    for (topic, file) in [
        ("options", "src/config/options.md"),
        ("operation", "src/cli/operation.md"),
        ("messages", "src/cli/messages.md"),
        ("filters", "src/filter/filters.md"),
        ("without-gtids", "src/merge/without_gtids.md"),
        ("format", "src/relay_log/format.md"),
        ("architecture", "src/architecture.md"),
    ] {
        assert!(list.contains(&format!("  {topic} ")), "{topic}: {list}");
        let output = binrelay(&["help", topic]);
        assert_eq!(output.status.code(), Some(0), "{topic}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), read(file));
    }
    for command in [
        "run", "check", "status", "dump", "verify", "position", "help",
    ] {
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

#[test]
fn unknown_topic_is_wrong_usage_and_the_nearest_is_named() {
    let output = binrelay(&["help", "optins"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("'options'"), "{error}");
}

// ---------------------------------------------------------------- these tests themselves

#[test]
fn messages_match_their_rows() {
    assert_eq!(without_placeholders("a {b} {{c}}"), "a … {c}");
    assert!(matches("cannot … the file", "cannot read … the file: …"));
    assert!(!matches("cannot … the file", "the file cannot be read"));
    assert!(
        !matches("… the …", "cannot read … the file: …"),
        "too few letters"
    );
    assert!(advised("run FLUSH BINARY LOGS or set gtid_mode").contains("FLUSH BINARY LOGS"));
    assert!(advised("run FLUSH BINARY LOGS or set gtid_mode").contains("gtid_mode"));
}
