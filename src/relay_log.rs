//! Stage 5: the relay's own binlog: append, make durable, publish, recover, read.
//!
//! # On disk
//! ```text
//! data_dir/
//!   relay-bin.index        the list of log files, as mysqld keeps it
//!   relay-bin.000001       binlog v4, readable by mysqlbinlog and mariadb-binlog
//!   relay-bin.000001.idx   commit index: fixed-size records, see `index_record`
//!   spool/                 large transactions on their way
//! ```
//! Each log file begins with a format description of the relay's own and PREVIOUS_GTIDS (MySQL)
//! or GTID_LIST (MariaDB): all transactions of the files before. Then come whole transactions, and
//! at the end a ROTATE, unless the relay was killed. Every event has a CRC32. Files stay under
//! 4 GiB.
//!
//! # Durability
//! The writer appends a group of transactions to the log and one record for each to the index,
//! syncs both, and only then publishes the new end. Senders read up to the published end and no
//! further, so a (file, position) once served never means other bytes. The index is what makes
//! the sources' positions exact: a transaction and its source's position become durable together,
//! and a dropped second copy leaves a record too, because it moves its source's position.
//!
//! # Recovery
//! Only the newest file can be unfinished. The index's valid records say how far the log goes:
//!
//! | log | index | what is done |
//! |---|---|---|
//! | longer than the last record says | – | cut to it: what is behind was never served |
//! | shorter than the last record says | – | records are cut back to what the log holds |
//! | does not verify behind *durable to* | – | log and records are cut back to what verifies |
//! | – | last record torn or damaged | cut off |
//! | a file that the list does not name, without transactions | – | made anew: its creation was cut off |
//! | a file that the list does not name, with transactions | – | refused: that was served |
//! | damaged before *durable to* | – | refused, with the place: that was served |
//!
//! A clean stop leaves a record that all is durable, so that afterwards any damage is refused. What
//! was not known to be durable is written again before it is synced: a sync that failed before a
//! restart must not be believed. Each start begins a new file, as mysqld does.
#![doc = include_str!("relay_log/format.md")]

pub mod appender;
pub mod coordinates;
pub mod files;
mod half_record;
pub mod index_file;
pub mod index_record;
pub mod ledger;
mod names;
pub mod reader;
pub mod recover;
mod replay_pairing;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use crate::position::{RelayLogPosition, SourcePosition};
pub use files::LogDir;
pub use writer::{AppendError, LogOptions, Writer};

use crate::binlog::EventError;
use crate::gtid::{GtidPosition, MariaDbGtid};
use crate::identity::Executed;
use crate::identity::Identity;
use index_record::RecordError;

/// What can go wrong with the relay log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Its answer.
        #[source]
        cause: io::Error,
    },
    /// The list of log files holds something else.
    #[error(
        "{}, line {line}: {found:?} is not the next file of the log {basename:?}; restore the list",
        path.display()
    )]
    List {
        /// The list.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// The configured base name.
        basename: String,
    },
    /// A commit index is damaged.
    #[error("{}, offset {offset}: {cause}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        #[source]
        cause: RecordError,
    },
    /// A log file is damaged.
    #[error("{}, offset {offset}: {cause}", path.display())]
    Event {
        /// The log file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        #[source]
        cause: EventError,
    },
    /// A log file is not what it must be.
    #[error("{}, offset {offset}: {found}, expected {expected}", path.display())]
    Unexpected {
        /// The log file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is there.
        found: String,
        /// What must be there.
        expected: &'static str,
    },
    /// A log file with transactions is not in the list.
    #[error(
        "{} holds transactions, but is not in {}; restore the list (one file name a line), or \
         move data_dir away and seed the replicas anew",
        path.display(),
        list.display()
    )]
    Unlisted {
        /// The log file.
        path: PathBuf,
        /// The list.
        list: PathBuf,
    },
}

impl LogError {
    /// An error of the operating system.
    pub fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        LogError::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }
}

/// How far one source has been taken in: everything up to here is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceProgress {
    /// The source's own position; unknown when it never sent anything.
    pub position: SourcePosition,
    /// The source's server_id when it was there; 0 when unknown.
    pub server_id: u32,
    /// MariaDB: the newest GTID of each domain that came by this source.
    pub gtid_position: GtidPosition,
    /// MySQL without GTIDs: when the first file that was read of the source was begun, in seconds
    /// since 1970 by its clock, if files before it are lost, else 0.
    pub first_timestamp: u32,
    /// MySQL without GTIDs: whether what lies before the source's start is still being read, so
    /// that the log has not begun.
    pub reading_back: bool,
}

impl SourceProgress {
    /// The GTID, where one of the same server that is not lower has come by this source before.
    pub fn goes_back_to(&self, identity: Identity) -> Option<MariaDbGtid> {
        let Identity::MariaDb(gtid) = identity else {
            return None;
        };
        let newest = self.gtid_position.get(gtid.domain_id)?;
        (newest.server_id == gtid.server_id && gtid.seq_no <= newest.seq_no).then_some(gtid)
    }
}

/// What the relay log holds, as published.
#[derive(Debug, Clone)]
pub struct LogState {
    /// All transactions in the log or before its first file.
    pub executed: Executed,
    /// All transactions before its first file.
    pub purged: Executed,
    /// The numbers of the log files, in order.
    pub files: Vec<u64>,
    /// Each configured source's progress, by its number.
    pub sources: Vec<SourceProgress>,
}

/// Whether the log can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    Running,
    /// The disk is full: the sources wait, and go on when there is room. The text says where.
    DiskFull(String),
    /// A write or a sync failed: nothing more is appended, what is durable is still served.
    Failed(String),
}

/// What senders, receivers and status see of the relay log: what is published.
#[derive(Debug)]
pub struct RelayLog {
    log_dir: LogDir,
    server_version: String,
    state: Mutex<LogState>,
    published: watch::Sender<RelayLogPosition>,
    condition: watch::Sender<Condition>,
}

impl RelayLog {
    /// The log whose state is `state` and whose published end is `end`. `server_version` is what
    /// its format descriptions say.
    fn new(
        log_dir: LogDir,
        server_version: String,
        state: LogState,
        end: RelayLogPosition,
    ) -> Arc<Self> {
        let published = watch::Sender::new(end);
        let condition = watch::Sender::new(Condition::Running);
        Arc::new(Self {
            log_dir,
            server_version,
            state: Mutex::new(state),
            published,
            condition,
        })
    }

    /// Where its files are.
    pub fn log_dir(&self) -> &LogDir {
        &self.log_dir
    }

    /// The version of the server whose events the log holds.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// What the log holds. Keep the guard only for as long as it takes to read from it: the
    /// writer waits for it once per group of transactions.
    pub fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end up to which everything may be served.
    pub fn published(&self) -> RelayLogPosition {
        *self.published.borrow()
    }

    /// Follows the published end.
    pub fn follow(&self) -> watch::Receiver<RelayLogPosition> {
        self.published.subscribe()
    }

    /// Whether the log can be written.
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Follows whether the log can be written.
    pub fn follow_condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    fn set_condition(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }

    fn publish(&self, end: RelayLogPosition, change: impl FnOnce(&mut LogState)) {
        change(&mut self.state());
        self.published.send_replace(end);
    }
}
