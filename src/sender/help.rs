//! HELP: what this server is, and which statements it answers.

use super::answer::Answer;
use crate::flavor::Flavor;
use crate::protocol::response::ColumnKind;

const TOPICS: &[(&str, &str)] = &[
    (
        "What this is",
        "binrelay, a binlog relay: it reads the binlogs of its sources, merges them into one, and serves that to \
         replicas. It holds no tables",
    ),
    (
        "State of the sources",
        "SHOW REPLICA STATUS, one row for each source; `binrelay status` on its machine shows more",
    ),
    (
        "Changing the sources",
        "START, STOP and RESET REPLICA … ALL, CHANGE … TO … FOR CHANNEL (or CHANGE MASTER 'name' TO …), with the \
         privilege admin; `binrelay help changes`",
    ),
    (
        "The relay log",
        "SHOW MASTER STATUS, SHOW BINARY LOGS, SHOW BINLOG EVENTS, PURGE BINARY LOGS, FLUSH BINARY LOGS; files: \
         `binrelay dump`, `binrelay verify`",
    ),
    (
        "Replicas and clients",
        "SHOW REPLICAS, SHOW PROCESSLIST, KILL; to attach a replica: `binrelay attach`",
    ),
    (
        "Settings and counters",
        "SHOW VARIABLES, SHOW STATUS, SHOW GRANTS, SHOW DATABASES, SHOW WARNINGS, SHOW ERRORS, SELECT of variables \
         and functions",
    ),
];

/// The answer to HELP, whatever the topic: as servers answer when they have found one topic. To more than one row, or
/// fewer columns, the clients' `help` command prints no descriptions.
pub fn answer(flavor: Flavor) -> Answer {
    let topics = TOPICS.iter().map(|(topic, text)| {
        let text = match flavor {
            Flavor::MySql => (*text).to_owned(),
            Flavor::MariaDb => text.replace("SHOW REPLICA STATUS", "SHOW ALL REPLICAS STATUS"),
        };
        format!("{topic}: {text}")
    });
    let description = topics.collect::<Vec<_>>().join("\n");
    let columns = [
        ("name", ColumnKind::Text),
        ("description", ColumnKind::Text),
        ("example", ColumnKind::Text),
    ];
    let row = vec![
        Some("binrelay".to_owned()),
        Some(description),
        Some(String::new()),
    ];
    Answer::rows(&columns, vec![row])
}
