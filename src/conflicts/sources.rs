//! What the sources are asked: the primary keys of tables, and whether they log what they replicate.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::row_keys::ShownKey;
use crate::binlog::rows::TableMap;
use crate::config::SourceConfig;
use crate::receiver::control::ControlConnection;
use crate::receiver::{SourceState, SourceStatus};

/// Time limit for one answer, a new connection included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the list of sources is read again.
pub(super) const REFRESH: Duration = Duration::from_millis(500);
/// How long a source is not asked after it gave no answer.
const PAUSE: Duration = Duration::from_secs(30);

/// Whether a source logs what it replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogsReplicated {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It has not said so since.
    Unknown,
}

/// Reads the sources that are followed now.
pub type ReadSources = Box<dyn Fn() -> Vec<(SourceConfig, Arc<SourceStatus>)> + Send>;

/// The sources, asked on the thread that finds conflicts.
pub struct Sources {
    read: ReadSources,
    /// As they were read last.
    sources: Vec<(SourceConfig, Arc<SourceStatus>)>,
    runtime: Handle,
    shutdown: watch::Receiver<bool>,
    /// By number.
    open: HashMap<usize, ControlConnection>,
    /// By number: when it may be asked again.
    pauses: HashMap<usize, Instant>,
    /// Whether it was logged that a key is hidden.
    has_warned: bool,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    /// Those that `read` reads.
    pub fn new(read: ReadSources, runtime: Handle, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            sources: read(),
            read,
            runtime,
            shutdown,
            open: HashMap::new(),
            pauses: HashMap::new(),
            has_warned: false,
        }
    }

    /// Reads the sources again.
    pub(super) fn refresh(&mut self) {
        let sources = (self.read)();
        let address = |(config, _): &(SourceConfig, Arc<SourceStatus>)| {
            (config.name.clone(), config.host.clone(), config.port)
        };
        let is_same = sources
            .iter()
            .map(address)
            .eq(self.sources.iter().map(address));
        if !is_same {
            // Their numbers are others.
            self.open.clear();
            self.pauses.clear();
        }
        self.sources = sources;
    }

    /// Waits until there is more than one, or the relay is to stop. It blocks.
    pub fn wait_for_two(&mut self) {
        while self.sources.len() < 2 && !self.is_stopping() {
            std::thread::sleep(REFRESH);
            self.refresh();
        }
    }

    /// Whether the relay is to stop.
    pub(super) fn is_stopping(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Whether the server logged what it replicated at the time `found`.
    pub(super) fn logs_replicated(&self, server_id: u32, found: Instant) -> LogsReplicated {
        let Some(status) = self.status(server_id) else {
            return LogsReplicated::Unknown;
        };
        match status.logs_replicated() {
            Some((false, _)) => LogsReplicated::No,
            // The server may have been restarted since it was asked.
            Some((true, at)) if at >= found || status.state() != SourceState::Streaming => {
                LogsReplicated::Yes
            }
            _ => LogsReplicated::Unknown,
        }
    }

    fn status(&self, server_id: u32) -> Option<&SourceStatus> {
        let mut sources = self.sources.iter();
        let found = sources.find(|(_, status)| answers(status, server_id));
        found.map(|(_, status)| status.as_ref())
    }

    /// Asks for a table's primary key: the server `server_id`, or another source if that one does not answer.
    pub(super) fn ask_key(&mut self, server_id: u32, map: &TableMap<'_>) -> Option<ShownKey> {
        let table = String::from_utf8_lossy(map.table).into_owned();
        let database = String::from_utf8_lossy(map.database).into_owned();
        let mut numbers: Vec<usize> = (0..self.sources.len()).collect();
        numbers.sort_by_key(|number| {
            let source = self.sources.get(*number);
            !source.is_some_and(|(_, status)| answers(status, server_id))
        });
        let mut is_hidden = false;
        for number in numbers {
            if self.sources.get(number)?.1.state() != SourceState::Streaming {
                continue;
            }
            for name in self.former_names(number, &database) {
                match self.ask(number, &name, &table) {
                    Some(Some(columns)) => return Some(shown(&columns)),
                    Some(None) => is_hidden = true,
                    None => {}
                }
            }
        }
        if is_hidden && !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!(
                "no source shows the primary key of `{}`.`{}`: conflicts are detected by whole rows; GRANT SELECT \
                 ON *.* to the relay's user on the sources, or set binlog_row_metadata=FULL there",
                crate::one_line::escaped(&database),
                crate::one_line::escaped(&table)
            );
        }
        None
    }

    /// The name of a database, and those that are renamed to it.
    fn former_names(&self, number: usize, database: &str) -> Vec<String> {
        let source = self.sources.get(number);
        let rules = source.map(|(config, _)| config.filter.current());
        let rules = rules.unwrap_or_default();
        let renamed = rules.replicate_rewrite_db.iter();
        let renamed = renamed.filter(|(_, to)| to == database);
        let former = renamed.map(|(from, _)| from.clone());
        former.chain([database.to_owned()]).collect()
    }

    /// `None` if there is no answer, `Some(None)` if the source does not show the table.
    fn ask(&mut self, number: usize, database: &str, table: &str) -> Option<Option<Vec<bool>>> {
        let is_paused = |until: &Instant| Instant::now() < *until;
        if self.is_stopping() || self.pauses.get(&number).is_some_and(is_paused) {
            return None;
        }
        let (config, _) = self.sources.get(number)?;
        let known = self.open.remove(&number);
        let asking = async {
            let mut connection = match known {
                Some(connection) => connection,
                None => ControlConnection::open(config).await?,
            };
            let columns = connection.key_columns(database, table).await?;
            Ok::<_, crate::receiver::control::ControlError>((connection, columns))
        };
        let mut shutdown = self.shutdown.clone();
        let answer = self.runtime.block_on(async {
            tokio::select! {
                answer = timeout(ANSWER_TIMEOUT, asking) => Some(answer),
                _ = shutdown.wait_for(|stop| *stop) => None,
            }
        })?;
        match answer {
            Ok(Ok((connection, columns))) => {
                self.open.insert(number, connection);
                Some(columns)
            }
            Ok(Err(error)) => {
                let source = config.name.as_str();
                tracing::debug!(source, "asking for a primary key: {error}");
                self.pauses.insert(number, Instant::now() + PAUSE);
                None
            }
            Err(_) => {
                self.pauses.insert(number, Instant::now() + PAUSE);
                None
            }
        }
    }
}

fn answers(status: &SourceStatus, server_id: u32) -> bool {
    let facts = status.facts();
    facts.is_some_and(|facts| facts.server_id == server_id)
}

fn shown(columns: &[bool]) -> ShownKey {
    let numbered = columns.iter().enumerate();
    ShownKey {
        columns: columns.len(),
        key: numbered
            .filter(|(_, is_in_key)| **is_in_key)
            .map(|(number, _)| number)
            .collect(),
    }
}
