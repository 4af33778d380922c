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

/// The answer to HELP, whatever the topic.
pub fn answer(flavor: Flavor) -> Answer {
    let row = |(topic, text): &(&str, &str)| {
        let text = match flavor {
            Flavor::MySql => (*text).to_owned(),
            Flavor::MariaDb => text.replace("SHOW REPLICA STATUS", "SHOW ALL REPLICAS STATUS"),
        };
        vec![Some((*topic).to_owned()), Some(text)]
    };
    let columns = [
        ("name", ColumnKind::Text),
        ("description", ColumnKind::Text),
    ];
    Answer::rows(&columns, TOPICS.iter().map(row).collect())
}
