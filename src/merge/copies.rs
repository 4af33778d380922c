//! Copies of transactions with GTIDs: whether a transaction whose GTID was delivered is the one that
//! was delivered.
//!
//! The newest delivered transactions of each origin are in memory ([`recent`]). Older ones are read
//! from the commit indexes ([`DeliveredGtids`]) into a window for each path and origin ([`window`]),
//! which moves through the indexes as the path does.

mod changes;
mod executed_again;
mod new_history;
mod origin;
mod recent;
mod skipped;
#[cfg(test)]
mod tests;
mod window;

pub use changes::brings_changes;
pub use executed_again::SentRecord;
pub use origin::GtidOrigin;
pub use window::WINDOW_LEN;

use std::collections::HashMap;
use std::sync::Arc;

use self::executed_again::Survey;
use self::recent::Recent;
use self::window::Window;
use crate::gtid::{BinlogState, GtidSet, MariaDbGtid};
use crate::identity::{CopyEvidence, Executed, Identity};
use crate::position::RecordNumber;
use crate::transaction::{Transaction, TransactionBatch};
use crate::utc;

/// The most windows. The window that was used least recently is replaced.
const WINDOWS_MAX: usize = 128;
/// The most transactions of all windows: 3 MiB. Each window has an equal part.
const WINDOWS_LEN: usize = 1 << 16;

/// The progress of a path: what its source has sent so far.
#[derive(Debug, Clone, Copy)]
pub struct PathProgress<'a> {
    /// The server that sent it; 0 if unknown.
    pub server_id: u32,
    /// File and end offset of the newest transaction.
    pub last: Option<(&'a Arc<str>, u64)>,
    /// MariaDB: the highest GTID of each domain and server.
    pub sent: &'a BinlogState,
}

impl PathProgress<'_> {
    /// The highest number that the source has sent of the server and domain of `gtid`.
    fn highest_of(&self, gtid: &MariaDbGtid) -> Option<u64> {
        self.sent.highest(gtid.domain_id, gtid.server_id)
    }
}

/// A delivered transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveredGtid {
    /// Its number in its origin.
    pub number: u64,
    /// What a copy is compared with.
    pub evidence: CopyEvidence,
    /// Its record.
    pub record: RecordNumber,
}

/// How far the commit indexes were read for one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GtidCursor {
    /// The first record that was not read.
    pub next: RecordNumber,
    /// MySQL: the number of the origin in that index, once its definition was read.
    pub origin_number: Option<u32>,
}

/// All delivered transactions with GTIDs, in order.
pub trait DeliveredGtids {
    /// The beginning of the index that has the record of the transaction's first delivery; `None`
    /// when none has.
    ///
    /// # Errors
    /// A message, when the log cannot be read.
    fn locate(&self, identity: &Identity) -> Result<Option<RecordNumber>, String>;

    /// Passes the delivered transactions of `origin` from `cursor` on to `accept`, in order, until it
    /// returns false or there are no more, and moves `cursor` past them.
    ///
    /// # Errors
    /// A message, when the log cannot be read.
    fn read_gtids(
        &self,
        cursor: &mut GtidCursor,
        origin: &GtidOrigin,
        accept: &mut dyn FnMut(DeliveredGtid) -> bool,
    ) -> Result<(), String>;

    /// Passes on to `accept`, in order, what the paths have sent of the transactions of `origin`, from the beginning of
    /// the index of file `from`, or of the oldest one.
    ///
    /// # Errors
    /// A message, when the log cannot be read.
    fn read_sent(
        &self,
        from: Option<u64>,
        origin: &GtidOrigin,
        accept: &mut dyn FnMut(SentRecord),
    ) -> Result<(), String>;

    /// Source, source position and relay log position of a delivered transaction, as text.
    ///
    /// # Errors
    /// A message, when the log cannot be read.
    fn describe(&self, record: RecordNumber) -> Result<String, String>;
}

/// The classification of a transaction whose GTID was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A copy of the delivered one, which its path sends for the first time.
    Copy,
    /// The path sends again what it has sent from the same position: it was resumed before that.
    Resent,
    /// The path has another copy of it, at a later position: the source, a peer of the origin, has
    /// executed it twice.
    Repeated,
    /// The origin itself has executed it again, under the same GTID; or the only source has.
    ExecutedAgain,
    /// Another transaction with the same GTID.
    Contradiction(CopyEvidence),
    /// It has changes, and the delivered one, which a peer of its server has sent, has none.
    WithoutChanges(CopyEvidence),
    /// MariaDB: it was not delivered, but a later one of its server was: another path has omitted it.
    Omitted,
    /// It counts as a copy, although the record that it would be compared with was removed. Another path may have
    /// omitted its changes.
    Unverified,
}

/// What is known of the delivered transactions.
#[derive(Debug)]
pub struct Copies {
    recent: Recent,
    /// The one that was used last is the last.
    windows: Vec<Window>,
    /// The transactions before the log, of which there are no records.
    before: Executed,
    /// Those of them that never had records, as far as it is known: the others' were removed.
    never_recorded: Executed,
    /// By source: what was delivered when its path began. The path counts from there on.
    begun: HashMap<u16, Executed>,
    /// Whether there is only one path, so that no copy can arrive by another.
    has_one_path: bool,
    /// MariaDB: the servers whose new history was accepted, and what precedes it.
    renewed: HashMap<u32, BinlogState>,
    /// MariaDB: those up to which an administrator has counted what was missing as delivered.
    skipped: BinlogState,
    /// The one that was used last is the last.
    surveys: Vec<Survey>,
    /// The path and the zone of the transaction that was classified last, if it is delivered again.
    again: Option<(u16, u64)>,
}

impl Copies {
    /// Nothing but that the transactions of `before` have no records.
    pub fn new(before: Executed) -> Self {
        Self {
            recent: Recent::new(),
            windows: Vec::new(),
            never_recorded: before.clone(),
            begun: HashMap::new(),
            before,
            has_one_path: false,
            renewed: HashMap::new(),
            skipped: BinlogState::new(),
            surveys: Vec::new(),
            again: None,
        }
    }

    /// Says whether there is only one path.
    pub fn set_one_path(&mut self, has_one_path: bool) {
        self.has_one_path = has_one_path;
    }

    /// Records of transactions before the log were removed: which ones never had records is not known, except for
    /// `counted`.
    pub fn forget_beginning(&mut self, counted: &GtidSet) {
        self.never_recorded = match &self.before {
            Executed::MySql(_) => Executed::MySql(counted.clone()),
            Executed::MariaDb(_) => Executed::MariaDb(BinlogState::new()),
            Executed::Anonymous => Executed::Anonymous,
        };
    }

    /// MySQL: these GTIDs count as delivered, and have no records.
    pub fn count_before(&mut self, gtids: &GtidSet) {
        for counted in [&mut self.before, &mut self.never_recorded] {
            if let Executed::MySql(counted) = counted {
                counted.union_with(gtids);
            }
        }
    }

    /// The records of these transactions were removed.
    pub fn note_removed(&mut self, removed: &Executed) {
        match (&mut self.before, removed) {
            (Executed::MySql(before), Executed::MySql(removed)) => before.union_with(removed),
            (Executed::MariaDb(before), Executed::MariaDb(removed)) => {
                let removed = removed.iter();
                // A new history of a server uses their numbers again.
                for gtid in removed.filter(|gtid| !self.renewed.contains_key(&gtid.server_id)) {
                    before.record(gtid);
                }
            }
            _ => {}
        }
    }

    /// MariaDB: those of their servers up to these count as delivered, and may have no records.
    pub fn count_skipped(&mut self, gtids: &[MariaDbGtid]) {
        for gtid in gtids {
            self.skipped.record(*gtid);
        }
    }

    /// Records a transaction as delivered; `is_new` unless it was executed again.
    pub fn note(&mut self, identity: &Identity, evidence: CopyEvidence, is_new: bool) {
        if let Some((origin, number)) = GtidOrigin::split(identity) {
            self.recent.note(&origin, number, evidence, is_new);
            if !is_new {
                self.note_again(&origin, number);
            }
        }
    }

    /// The path begins at another position.
    pub fn begin_path(&mut self, path: u16) {
        self.surveys.retain(|survey| !survey.is_of(path));
    }

    /// Classifies a transaction whose GTID was delivered.
    ///
    /// # Errors
    /// A message, when the delivered transactions cannot be read.
    pub fn classify(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        path: &PathProgress<'_>,
        executed: &Executed,
        ledger: &impl DeliveredGtids,
    ) -> Result<Known, String> {
        let identity = &transaction.identity;
        let noted = self.noted(identity);
        let is_noted_absent = noted.is_none() && self.has_all_noted(identity, executed);
        let delivered = match noted {
            None if !is_noted_absent => self.find_recorded(batch.source, identity, ledger)?,
            noted => noted,
        };
        if let Some(delivered) = delivered {
            if !delivered.has_changes && brings_changes(batch, transaction) {
                return Ok(Known::WithoutChanges(delivered));
            }
            if transaction.evidence().contradicts(&delivered) {
                return Ok(Known::Contradiction(delivered));
            }
        }
        if path.last.is_none() {
            self.begun.insert(batch.source, executed.clone());
        }
        let is_direct = transaction.server_id == batch.source_server_id;
        let lacks_record = delivered.is_none()
            && !self.never_recorded.contains(identity)
            && brings_changes(batch, transaction);
        let is_begun_after = |begun: &Executed| begun.contains(identity);
        let of_copy = match lacks_record
            && is_direct
            && !self.begun.get(&batch.source).is_some_and(is_begun_after)
        {
            true => Known::Unverified,
            false => Known::Copy,
        };
        // A MySQL server executes no GTID twice.
        let Identity::MariaDb(gtid) = transaction.identity else {
            return Ok(of_copy);
        };
        // What another server at the same address has sent, and its positions, cannot be compared.
        let is_sent = path.server_id == batch.source_server_id && path.sent.contains(&gtid);
        if !is_sent {
            if !lacks_record || self.skipped.contains(&gtid) {
                return Ok(Known::Copy);
            }
            let is_absent = !self.renewed.contains_key(&gtid.server_id)
                && (is_noted_absent
                    || !self.before.contains(identity) && self.is_absent(&gtid, ledger)?);
            return Ok(if is_absent { Known::Omitted } else { of_copy });
        }
        self.classify_sent(batch, transaction, gtid, path, executed, ledger)
    }

    /// What copies of a delivered transaction are compared with; `None` when it has no record. `path` is the one
    /// that looks it up.
    ///
    /// # Errors
    /// A message, when the delivered transactions cannot be read.
    pub fn find(
        &mut self,
        path: u16,
        identity: &Identity,
        ledger: &impl DeliveredGtids,
    ) -> Result<Option<CopyEvidence>, String> {
        match self.noted(identity) {
            None => self.find_recorded(path, identity, ledger),
            noted => Ok(noted),
        }
    }

    /// As [`Copies::find`], in memory only.
    fn noted(&mut self, identity: &Identity) -> Option<CopyEvidence> {
        let (origin, number) = GtidOrigin::split(identity)?;
        self.recent.find(&origin, number)
    }

    /// As [`Copies::find`], in the indexes only.
    fn find_recorded(
        &mut self,
        path: u16,
        identity: &Identity,
        ledger: &impl DeliveredGtids,
    ) -> Result<Option<CopyEvidence>, String> {
        let Some((origin, number)) = GtidOrigin::split(identity) else {
            return Ok(None);
        };
        if self.before.contains(identity) {
            return Ok(None);
        }
        let Some(window) = self.window(path, origin) else {
            return Ok(None);
        };
        let found = window.find(identity, number, ledger)?;
        Ok(found.map(|delivered| delivered.evidence))
    }

    /// MariaDB: whether the transactions in memory are all that were delivered from this number on. Then the indexes need
    /// not be read.
    fn has_all_noted(&self, identity: &Identity, executed: &Executed) -> bool {
        let (Identity::MariaDb(gtid), Executed::MariaDb(executed)) = (identity, executed) else {
            return false;
        };
        let Some((origin, number)) = GtidOrigin::split(identity) else {
            return false;
        };
        let highest = executed.highest(gtid.domain_id, gtid.server_id);
        let before = number.saturating_sub(1);
        highest.is_some_and(|highest| self.recent.has_all_after(&origin, before, highest))
    }

    /// MariaDB: whether a transaction that has no record was certainly not delivered, although a later one of its server
    /// was.
    fn is_absent(&self, gtid: &MariaDbGtid, ledger: &impl DeliveredGtids) -> Result<bool, String> {
        let identity = Identity::MariaDb(*gtid);
        let Some((origin, number)) = GtidOrigin::split(&identity) else {
            return Ok(false);
        };
        // The records may have been removed.
        if ledger.locate(&identity)?.is_none() {
            return Ok(false);
        }
        let found = Window::new(0, origin).find(&identity, number, ledger)?;
        Ok(found.is_none())
    }

    /// The window of the path and origin.
    fn window(&mut self, path: u16, origin: GtidOrigin) -> Option<&mut Window> {
        self.use_window(path, origin);
        let len = WINDOWS_LEN / self.windows.len().next_power_of_two();
        let window = self.windows.last_mut()?;
        window.set_len(len);
        Some(window)
    }

    /// Makes the window of the path and origin the last.
    fn use_window(&mut self, path: u16, origin: GtidOrigin) {
        let is_it = |window: &Window| window.path == path && window.origin == origin;
        if self.windows.last().is_some_and(is_it) {
            return;
        }
        let window = match self.windows.iter().position(is_it) {
            Some(at) => self.windows.remove(at),
            None => {
                if self.windows.len() == WINDOWS_MAX {
                    self.windows.remove(0);
                }
                let len = WINDOWS_LEN / (self.windows.len() + 1).next_power_of_two();
                self.windows
                    .iter_mut()
                    .for_each(|window| window.set_len(len));
                Window::new(path, origin)
            }
        };
        self.windows.push(window);
    }
}

/// Source, source position, relay log position and times of the delivered transaction; a message
/// instead, if its record cannot be read.
pub(super) fn describe_delivered(
    identity: &Identity,
    evidence: &CopyEvidence,
    ledger: &impl DeliveredGtids,
) -> String {
    let find = || -> Result<Option<String>, String> {
        let Some((origin, number)) = GtidOrigin::split(identity) else {
            return Ok(None);
        };
        let found = Window::new(0, origin).find(identity, number, ledger)?;
        found.map(|found| ledger.describe(found.record)).transpose()
    };
    let coordinates = match find() {
        Ok(Some(coordinates)) => coordinates,
        Ok(None) => "its position is no longer recorded".to_owned(),
        Err(error) => format!("its position cannot be read: {error}"),
    };
    format!("{coordinates}, {}", times(evidence))
}

/// The time of a transaction, as text.
pub(super) fn times(evidence: &CopyEvidence) -> String {
    if evidence.is_exact() {
        let time = utc::microseconds(evidence.commit_time_us).unwrap_or_default();
        return format!("committed at {time}");
    }
    let (earliest, latest) = (
        utc::unix_seconds(evidence.earliest),
        utc::unix_seconds(evidence.latest),
    );
    match earliest == latest {
        true => format!("logged at {latest}"),
        false => format!("logged from {earliest} to {latest}"),
    }
}
