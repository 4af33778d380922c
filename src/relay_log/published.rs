//! The published part of the relay log, which other stages use.

use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use super::error::LogError;
use super::files::LogDir;
use super::index_record::SourceHistory;
use super::purged_before::{purged_again, purged_before};
use super::reader::{FIRST_EVENT, FileHead};
use super::reserve::Reserve;
use super::retention::Retention;
use super::retention::pins::Pin;
use super::timings::Timings;
use crate::gtid::domain_history::DomainHistory;
use crate::gtid::{BinlogState, GtidPosition, MariaDbGtid};
use crate::identity::{Executed, HistoryDigest, IdentityKind};
use crate::merge::PathProgress;
use crate::position::{RecordNumber, RelayLogPosition, SourcePosition};

/// The number of the first file of a log.
pub(super) const FIRST_FILE: u64 = 1;

/// How far one source has been received: everything up to here is durable under the `sync` policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceProgress {
    /// The source's own position; unknown if it never sent anything.
    pub position: SourcePosition,
    /// The source's server_id at that position; 0 if unknown.
    pub server_id: u32,
    /// MariaDB: the newest GTID of each domain that this source sent.
    pub gtid_position: GtidPosition,
    /// MariaDB: the highest GTID of each domain and server that this source sent.
    pub sent: BinlogState,
    /// MySQL without GTIDs: when the source's first file that was read was created, in seconds
    /// since 1970 by its clock, if files before it are lost, else 0.
    pub first_timestamp: u32,
    /// MySQL without GTIDs: whether the binlog before the source's start is still being read, so
    /// that the log has not begun.
    pub reading_back: bool,
    /// The newest transaction that the source sent; `None` before its first one.
    pub last: Option<LastReceived>,
}

/// The newest transaction that a source sent. When the source is resumed, it shows whether its
/// binlog is still the one that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReceived {
    /// The source's file.
    pub file: Arc<str>,
    /// Where the transaction before it ended in this file, or 4. It begins there, unless the source
    /// did not send transactions that are between the two.
    pub begin: u64,
    /// Where it ends.
    pub end: u64,
    /// By which it is recognised.
    pub digest: HistoryDigest,
}

impl SourceProgress {
    /// The history, as the commit index stores it.
    pub(super) fn history(&self) -> SourceHistory {
        SourceHistory {
            first_timestamp: self.first_timestamp,
            reading_back: self.reading_back,
        }
    }

    pub(super) fn set_history(&mut self, history: &SourceHistory) {
        self.first_timestamp = history.first_timestamp;
        self.reading_back = history.reading_back;
    }

    /// Records that the newest transaction ends at `end` of `file`. The position must not have been
    /// set to that yet.
    pub(super) fn note_last(&mut self, file: &Arc<str>, end: u64, digest: HistoryDigest) {
        let is_same_file = Arc::ptr_eq(&self.position.file, file) || self.position.file == *file;
        let begin = match is_same_file {
            true => self.position.offset,
            false => FIRST_EVENT,
        };
        match &mut self.last {
            Some(last) if Arc::ptr_eq(&last.file, file) => {
                (last.begin, last.end, last.digest) = (begin, end, digest);
            }
            last => {
                *last = Some(LastReceived {
                    file: file.clone(),
                    begin,
                    end,
                    digest,
                });
            }
        }
    }

    /// Whether another server's binlog was received than that of the one with this server_id.
    pub fn is_of_another(&self, server_id: u32) -> bool {
        self.server_id != 0 && self.server_id != server_id
    }

    /// Records which server answers at the source, before the position becomes one of its own. By GTID, coordinates of
    /// the former server mean nothing in the binlog of another one. MariaDB: nor does what the former one has sent, except
    /// for what precedes the GTIDs after which the dump begins. `kind` is that of the log.
    pub(super) fn set_server(&mut self, server_id: u32, kind: IdentityKind) {
        let is_by_gtid = kind == IdentityKind::MySql || !self.gtid_position.is_empty();
        if self.is_of_another(server_id) && is_by_gtid {
            self.sent = self.sent_before(server_id);
            self.last = None;
            self.position = SourcePosition::default();
        }
        self.server_id = server_id;
    }

    /// MariaDB, by GTID: what certainly precedes the position in the binlog of another server. Of each domain that is the
    /// newest GTID, and those that its server assigned before. If the former server has assigned it itself, it had
    /// those of the other server by then; unless it has executed it again since.
    fn sent_before(&self, server_id: u32) -> BinlogState {
        let mut before = BinlogState::new();
        for newest in self.gtid_position.iter() {
            let domain_id = newest.domain_id;
            let highest = self.sent.highest(domain_id, newest.server_id);
            let is_first = highest == Some(newest.seq_no);
            let of_other = self.sent.highest(domain_id, server_id);
            if let Some(seq_no) =
                of_other.filter(|_| is_first && newest.server_id == self.server_id)
            {
                before.record(MariaDbGtid {
                    domain_id,
                    server_id,
                    seq_no,
                });
            }
            before.record(newest);
        }
        before
    }

    /// The progress as [`SourceProgress::set_server`] makes it; `None` where that changes nothing but the server_id.
    pub fn moved_to(&self, server_id: u32, kind: IdentityKind) -> Option<Self> {
        self.is_of_another(server_id).then(|| {
            let mut moved = self.clone();
            moved.set_server(server_id, kind);
            moved
        })
    }

    /// MariaDB: records that the server has sent this GTID.
    pub(super) fn note_gtid(&mut self, gtid: MariaDbGtid) {
        self.gtid_position.set(gtid);
        self.sent.record_again(gtid);
    }

    /// The progress, as the merge needs it.
    pub fn path(&self) -> PathProgress<'_> {
        PathProgress {
            server_id: self.server_id,
            last: self.last.as_ref().map(|last| (&last.file, last.end)),
            sent: &self.sent,
        }
    }
}

/// The published state of the relay log.
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

impl LogState {
    /// MariaDB: what is known of the domains.
    pub fn domain_history(&self) -> Option<DomainHistory<'_>> {
        Some(DomainHistory {
            before: self.purged.as_mariadb()?,
            executed: self.executed.as_mariadb()?,
            sources: self.sources.iter().map(|source| source.server_id).collect(),
            has_beginning: self.files.first() == Some(&FIRST_FILE),
        })
    }
}

/// Whether the log can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The log can be written.
    Running,
    /// The disk is full: the sources are paused until space is free. The text names the file.
    DiskFull(String),
    /// A write or a sync failed: nothing more is appended, transactions already on disk are still
    /// served. The text has the error.
    Failed(String),
}

/// The published relay log, as senders, receivers and status see it.
///
/// Invariant: the published end never decreases, and the bytes before it never change.
#[derive(Debug)]
pub struct RelayLog {
    log_dir: LogDir,
    server_version: String,
    state: Mutex<LogState>,
    published: watch::Sender<RelayLogPosition>,
    /// An end up to which everything is on disk, once it is known.
    durable: watch::Sender<Option<RelayLogPosition>>,
    condition: watch::Sender<Condition>,
    /// Since when it is so.
    condition_since: Mutex<SystemTime>,
    retention: Retention,
    reserve: Reserve,
    timings: Timings,
    /// Held while the list of files is replaced. The file that is being added to it: it is in the list on disk,
    /// and not in the state yet.
    list: Mutex<Option<u64>>,
}

impl RelayLog {
    /// The log whose state is `state` and whose published end is `end`. `server_version` is that of
    /// its format descriptions.
    pub(super) fn new(
        log_dir: LogDir,
        server_version: String,
        state: LogState,
        end: RelayLogPosition,
        (retention, reserve): (Retention, Reserve),
    ) -> Arc<Self> {
        let published = watch::Sender::new(end);
        let condition = watch::Sender::new(Condition::Running);
        Arc::new(Self {
            log_dir,
            server_version,
            state: Mutex::new(state),
            published,
            durable: watch::Sender::new(None),
            condition,
            condition_since: Mutex::new(SystemTime::now()),
            retention,
            reserve,
            timings: Timings::default(),
            list: Mutex::default(),
        })
    }

    /// The directory and names of its files.
    pub fn log_dir(&self) -> &LogDir {
        &self.log_dir
    }

    /// What needs which files, and the limits.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// The bytes reserved for a full disk.
    pub(super) fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    /// How long syncs and publications take.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// Keeps all files of the log while the result exists; [`Pin::move_to`] releases the older ones. `who` is
    /// described to an administrator.
    pub fn pin(&self, who: String) -> Pin {
        let state = self.state();
        let first = state.files.first().copied().unwrap_or_default();
        self.retention.pins.pin(first, who)
    }

    /// The first record of the oldest index, where the queues of a path begin. No file is removed, whatever forces
    /// it, before [`Retention::set_paths`] says what the path needs.
    pub fn keep_for_path(&self) -> RecordNumber {
        let state = self.state();
        let file = state.files.first().copied().unwrap_or(FIRST_FILE);
        self.retention.begin_path(file);
        RecordNumber { file, record: 0 }
    }

    /// Whether files at the beginning of the log were removed.
    pub fn begins_later(&self) -> bool {
        self.state()
            .files
            .first()
            .is_some_and(|first| *first > FIRST_FILE)
    }

    /// Locks the list of files.
    fn lock_list(&self) -> MutexGuard<'_, Option<u64>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds file `number` to the list on disk. It is added to the state with the next [`RelayLog::publish`].
    pub(super) fn list_file(&self, number: u64) -> Result<(), LogError> {
        let mut adding = self.lock_list();
        let mut files = self.state().files.clone();
        files.push(number);
        self.log_dir.write_list(&files)?;
        *adding = Some(number);
        Ok(())
    }

    /// Removes the files before `keep_from` from the state and from the list on disk, and returns them. Those are
    /// kept that a path without GTIDs needs, and, unless it `is_forced`, that a reader has begun to read meanwhile.
    pub(super) fn remove_files(
        &self,
        keep_from: u64,
        is_forced: bool,
    ) -> Result<Vec<u64>, LogError> {
        let adding = self.lock_list();
        let (removed, before) = loop {
            let first = self.first_kept(&self.state(), keep_from, is_forced);
            let Some(first) = first else {
                return Ok(Vec::new());
            };
            // Not while the state is locked: the disk may be slow.
            let head = FileHead::read(&self.log_dir.log_path(first))?;
            let mut state = self.state();
            if self.first_kept(&state, keep_from, is_forced) != Some(first) {
                continue;
            }
            let kept = state.files.iter().copied().filter(|file| *file >= first);
            let kept: Vec<u64> = kept.collect();
            let purged = purged_before(head.previous, &state.purged);
            let removed = state.files.iter().copied().filter(|file| *file < first);
            let removed: Vec<u64> = removed.collect();
            let before = (
                std::mem::replace(&mut state.files, kept),
                std::mem::replace(&mut state.purged, purged.clone()),
                purged,
            );
            break (removed, before);
        };
        let mut listed = self.state().files.clone();
        listed.extend(adding.filter(|number| listed.last() < Some(number)));
        if let Err(error) = self.log_dir.write_list(&listed) {
            // Nothing was removed.
            let mut state = self.state();
            let (mut files, purged, purged_meanwhile) = before;
            let newer = files.last().copied().unwrap_or_default();
            files.extend(state.files.iter().filter(|file| **file > newer).copied());
            state.files = files;
            state.purged = purged_again(purged, &purged_meanwhile, &state.purged);
            return Err(error);
        }
        Ok(removed)
    }

    /// The first file that is left if the files before `keep_from` are removed; `None` if none can be.
    fn first_kept(&self, state: &LogState, keep_from: u64, is_forced: bool) -> Option<u64> {
        let oldest_read = match is_forced {
            true => None,
            false => self.retention.pins.oldest_before(keep_from),
        };
        let keep_from = oldest_read.map_or(keep_from, |(file, _)| file);
        // A path may have begun since the removal was decided.
        let for_paths = self.retention.oldest_of_paths();
        let keep_from = keep_from.min(for_paths.unwrap_or(u64::MAX));
        let first = state.files.iter().find(|file| **file >= keep_from);
        first
            .copied()
            .filter(|first| state.files.first() != Some(first))
    }

    /// The version in the format description with which the log began or was reopened: that of a
    /// source, or, for events of MySQL before 5.6, `5.6.5-binrelay`.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// The log's state. Keep the guard only while reading from it: the writer needs it once per
    /// group of transactions.
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

    /// Everything that is published now is on disk.
    pub fn note_durable(&self) {
        let end = self.published();
        self.durable.send_if_modified(|durable| {
            let is_new = *durable != Some(end);
            *durable = Some(end);
            is_new
        });
    }

    /// Waits until everything before `end` is on disk.
    pub async fn until_durable(&self, end: RelayLogPosition) {
        let mut durable = self.durable.subscribe();
        // It cannot be closed while `self` exists.
        let _ = durable
            .wait_for(|durable| durable.is_some_and(|durable| end <= durable))
            .await;
    }

    /// Whether the log can be written.
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Follows whether the log can be written.
    pub fn follow_condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Since when [`RelayLog::condition`] is of this kind.
    pub fn condition_since(&self) -> SystemTime {
        *self.lock_condition_since()
    }

    fn lock_condition_since(&self) -> MutexGuard<'_, SystemTime> {
        let since = self.condition_since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports whether the log can be written.
    pub fn set_condition(&self, condition: Condition) {
        let mut since = self.lock_condition_since();
        let before = self.condition.send_replace(condition.clone());
        if discriminant(&before) != discriminant(&condition) {
            *since = SystemTime::now();
        }
    }

    pub(super) fn publish(&self, end: RelayLogPosition, change: impl FnOnce(&mut LogState)) {
        // Under one lock: with it, a reader sees a state and the end that belongs to it.
        let mut state = self.state();
        change(&mut state);
        self.published.send_replace(end);
        self.timings.note_published(end);
    }
}
