//! Every message is in `src/cli/messages.md`, and every action that it advises is documented.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::rust_literals::{Source, sources};
use crate::{ADMINISTRATORS_DOCUMENTS, assert_none, read};

/// Messages with fewer letters than this consist of placeholders: their parts are documented.
const LETTERS_MIN: usize = 8;

/// A message of the program: its text with `…` for each placeholder.
struct Message {
    text: String,
    path: PathBuf,
}

/// The calls that create messages. Of `#[error(…)]` the first literal is the message; of `setup(…)`, too:
/// the second is the remedy, see [`every_advised_action_is_documented`].
const OPENERS: [&str; 14] = [
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
    "notes.push(",
    "problems.push(",
    "reasons.push(",
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
    let readme = read("README.md");
    let (_, often) = readme.split_once("## Messages").expect("the heading");
    let often = documented_messages(often.split("\n## ").next().unwrap_or(often));
    assert!(often.len() > 5, "{often:?}");
    let gone = documented.iter().chain(&often).filter(|pattern| {
        letters(pattern) >= LETTERS_MIN && !texts.iter().any(|text| matches(pattern, text))
    });
    let findings: Vec<String> = gone.cloned().collect();
    assert_none(
        "messages.md or README.md: no such message in src",
        &findings,
    );
}

/// The words of a message that an administrator may have to look up: `--options`, keys and variables
/// with underscores, SQL of two or more words in capitals.
fn advised(message: &str) -> BTreeSet<String> {
    // An equals sign ends a statement, and FILE:POS is an argument.
    let message = message.replace('=', " , ").replace("FILE:POS", "…");
    let parts: Vec<&str> = message
        .split(|c: char| !(c.is_ascii_alphanumeric() || "_-*.".contains(c)))
        .collect();
    let mut advised = BTreeSet::new();
    for part in &parts {
        let word = part.trim_end_matches(['.', '-', '*']);
        let is_key = word.contains('_') && !word.contains(char::is_uppercase);
        if word.starts_with("--") || is_key {
            advised.insert(word.to_owned());
        }
    }
    advised.extend(capitals(&parts));
    advised
}

/// SQL of two or more words in capitals.
fn capitals(parts: &[&str]) -> BTreeSet<String> {
    let is_sql = |word: &&str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
    let runs = parts
        .split(|word| !is_sql(word))
        .filter(|run| run.len() > 1);
    runs.map(|run| run.join(" ")).collect()
}

/// The statements that a message advises: words in capitals that begin with a verb.
fn statements(message: &str) -> BTreeSet<String> {
    let parts: Vec<&str> = message
        .split(|c: char| !(c.is_ascii_alphanumeric() || "_-*.".contains(c)))
        .collect();
    let mut found = capitals(&parts);
    found.retain(|words| VERBS.iter().any(|verb| words.starts_with(verb)));
    found
}

/// How statements begin.
const VERBS: [&str; 17] = [
    "ALTER ", "CHANGE ", "CREATE ", "DELETE ", "DROP ", "FLUSH ", "GRANT ", "INSERT ", "INSTALL ",
    "KILL ", "PURGE ", "RESET ", "SELECT ", "SET ", "SHOW ", "START ", "STOP ",
];

/// Statements that messages advise for a server, and that the documents need not explain: its manual does.
const SERVER_STATEMENTS: [&str; 3] = [
    "ALTER USER",
    "GRANT REPLICATION CLIENT",
    "GRANT REPLICATION CLIENT ON",
];

/// A message's own row does not explain how a statement is used.
#[test]
fn every_advised_statement_is_documented_elsewhere() {
    let documentation = ADMINISTRATORS_DOCUMENTS.map(read).concat();
    let sources = sources();
    let (mut named, mut findings) = (BTreeSet::new(), BTreeSet::new());
    for (text, path) in advising(&sources) {
        for statement in statements(&text) {
            if SERVER_STATEMENTS.contains(&statement.as_str()) {
                named.insert(statement);
            } else if !documentation.contains(&statement) {
                findings.insert(format!("{statement} ({})", path.display()));
            }
        }
    }
    let findings: Vec<String> = findings.into_iter().collect();
    assert_none(
        "advised by messages, but documented nowhere else",
        &findings,
    );
    let unused = SERVER_STATEMENTS
        .iter()
        .filter(|known| !named.contains(**known));
    let unused: Vec<String> = unused.map(|known| (*known).to_owned()).collect();
    assert_none("no message advises these any more", &unused);
}

/// The texts that advise something: messages, remedies, and the advice by error code in src/receiver/error.rs.
fn advising(sources: &[Source]) -> Vec<(String, PathBuf)> {
    let messages = messages(sources).into_iter();
    let mut texts: Vec<_> = messages
        .map(|message| (message.text, message.path))
        .collect();
    for source in sources {
        let remedies = ["setup(", "Some("].map(|opener| source.literals_in(opener).concat());
        for literal in remedies.concat() {
            let text = without_placeholders(literal);
            if text.contains(' ') {
                texts.push((text, source.path.clone()));
            }
        }
    }
    texts
}

#[test]
fn every_advised_action_is_documented() {
    let documents = [
        "src/cli/messages.md",
        "src/config/options.md",
        "src/cli/operation.md",
        "src/cli/changes.md",
        "src/cli/monitoring.md",
    ];
    let documentation: String = documents.map(read).concat();
    let sources = sources();
    let mut findings = Vec::new();
    for (text, path) in advising(&sources) {
        for action in advised(&text) {
            if !documentation.contains(&action) {
                findings.push(format!("{action} ({})", path.display()));
            }
        }
    }
    assert_none("named by messages, but not documented", &findings);
}

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
    assert_eq!(statements("a GTID, a BINLOG; STOP REPLICA").len(), 1);
}
