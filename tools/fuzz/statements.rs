//! The targets of SQL: statements of clients, and LIKE.

use std::sync::OnceLock;
use std::time::Duration;

use binrelay::binlog::format_description::{Checksum, FormatDescription};
use binrelay::config::SyncPolicy;
use binrelay::flavor::Flavor;
use binrelay::gtid::Uuid;
use binrelay::identity::Executed;
use binrelay::log_thread::LogThread;
use binrelay::protocol::ServerError;
use binrelay::relay_log::{LogDir, LogOptions, ReplicaWait};
use binrelay::sender::login::Privileges;
use binrelay::sender::{
    Answer, Caller, ChangedSources, HostNames, RelayView, Replicas, SessionVariables,
    SourceChanges, SourceRow, SourceRows, StatementLimits, Waits, answer_statement,
};

use super::scratch;

/// The most columns of an answer.
const COLUMNS_MAX: usize = 4096;
/// The most bytes of an answer: the values that a statement has itself, and the lists that the relay makes.
const ANSWER_LEN_MAX: usize = 20 << 20;

/// An empty relay log of each flavor.
fn log_of(flavor: Flavor) -> &'static LogThread {
    static LOGS: [OnceLock<LogThread>; 2] = [const { OnceLock::new() }; 2];
    let [mysql, mariadb] = &LOGS;
    let (log, version) = match flavor {
        Flavor::MySql => (mysql, "9.7.4"),
        Flavor::MariaDb => (mariadb, "11.8.6-MariaDB-log"),
    };
    log.get_or_init(|| {
        let dir = scratch().join(format!("log-{}", flavor.name()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        let options = LogOptions {
            log_dir: LogDir {
                dir,
                basename: "relay-bin".to_owned(),
            },
            server_id: 900,
            max_size: 1 << 20,
            sync: SyncPolicy::Never,
            source_names: vec!["m1".into()],
            stopping: Default::default(),
            retention: Default::default(),
            reserve: 0,
            hand_over_min: std::time::Duration::ZERO,
        };
        let format = FormatDescription {
            server_version: version.to_owned(),
            created: 0,
            post_header_lengths: vec![13; 171],
            checksum: Checksum::Crc32,
        };
        LogThread::create(options, &format, Executed::empty(flavor), Vec::new()).expect("a log")
    })
}

/// The input's lines as the statements of one session, on a relay of each flavor.
pub fn fuzz_sql(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let log = log_of(flavor).log();
        let replicas = Replicas::new(Default::default());
        let mut variables = SessionVariables::default();
        let sources = SourceRows::new(|| vec![SourceRow::default()]);
        let changes = SourceChanges::new(|_| Ok(ChangedSources::default()));
        let host = HostNames::default();
        for statement in text.split('\n') {
            let relay = RelayView {
                log: Some(log),
                version: log.server_version(),
                flavor,
                server_id: 900,
                server_uuid: Uuid([9; 16]),
                replica_wait: ReplicaWait::default(),
                write_timeout: Duration::from_secs(60),
                host: &host,
                sources: &sources,
                changes: &changes,
            };
            let waits = Waits::default();
            let caller = Caller {
                replicas: &replicas,
                connection_id: 77,
                user: "repl",
                host: "10.0.0.9",
                privileges: Privileges {
                    replication: true,
                    monitor: false,
                    admin: data.len().is_multiple_of(2),
                },
                waits: &waits,
                limits: StatementLimits::default(),
            };
            check(
                statement,
                answer_statement(statement, relay, &mut variables, caller),
            );
        }
    }
}

/// An answer can be sent, and is of a bounded size; an error is of one line.
fn check(statement: &str, answer: Result<Answer, ServerError>) {
    match answer {
        Ok(Answer::Rows { columns, rows }) => {
            assert!(columns.len() <= COLUMNS_MAX);
            assert!(rows.iter().all(|row| row.len() == columns.len()));
            let names: usize = columns.iter().map(|(name, _)| name.len()).sum();
            let values = rows.iter().flatten().flatten().map(String::len);
            assert!(names <= statement.len().max(1 << 20));
            assert!(values.sum::<usize>() <= ANSWER_LEN_MAX);
        }
        Ok(Answer::Ok | Answer::Warned(_) | Answer::Events(_) | Answer::Wait(_)) => {}
        Err(error) => {
            assert_ne!(error.code, 0);
            // A part of the statement at most.
            assert!(error.message.len() <= 2048, "{}", error.message.len());
        }
    }
}

/// The pattern before the first NUL, and what it is compared with after it, as the definition says.
pub fn fuzz_like(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, name) = text.split_once('\0').unwrap_or((&text, "server_id"));
    let pattern: Vec<char> = pattern.chars().take(40).collect();
    let name: Vec<char> = name.chars().take(60).collect();
    let found =
        binrelay::like::matches(pattern.iter().copied(), name.iter().copied(), |a, b| a == b);
    assert_eq!(found, by_definition(&pattern, &name), "{text:?}");
}

/// Whether each suffix of the pattern matches each suffix of the text.
fn by_definition(pattern: &[char], text: &[char]) -> bool {
    // One row for each suffix of the pattern, from its end; the column is the suffix of the text.
    let mut after = vec![false; text.len() + 1];
    after[text.len()] = true;
    let (mut units, mut at) = (Vec::new(), 0);
    while at < pattern.len() {
        let escapes = pattern[at] == '\\' && at + 1 < pattern.len();
        units.push((
            pattern[at + usize::from(escapes)],
            escapes || pattern[at] == '\\',
        ));
        at += 1 + usize::from(escapes);
    }
    for (letter, is_literal) in units.into_iter().rev() {
        let mut here = vec![false; text.len() + 1];
        for from in (0..=text.len()).rev() {
            here[from] = match letter {
                '%' if !is_literal => after[from] || (from < text.len() && here[from + 1]),
                '_' if !is_literal => from < text.len() && after[from + 1],
                _ => from < text.len() && text[from] == letter && after[from + 1],
            };
        }
        after = here;
    }
    after[0]
}
