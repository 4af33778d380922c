//! Pairing: how copies of transactions without GTIDs are recognised.
//!
//! A *path* is the stream of transactions from one source. It has the transactions of the source's
//! own server, and those of other origins that this server has replicated and logged again. Without
//! a GTID, a transaction is identified by its origin (the server_id in its header) and a
//! [`crate::identity::Fingerprint`] of the fields that re-logging on another server preserves. Each path has the
//! transactions of one origin in their commit order there, so copies are paired in that order: for
//! each path and origin there is a queue of the transactions that *other* paths have delivered and
//! this path has not sent yet.
//!
//! | the next transaction of the origin on this path | classification |
//! |---|---|
//! | equals the first entry of the queue | a copy |
//! | equals a later entry | a copy; this path omits the entries before it (its server filters), and they are remembered in case they still arrive |
//! | does not equal the first entry, but one of the last transactions that the path sent before its server's restart | a repetition: dropped |
//! | equals no entry | new: it is appended to the queues of the other paths |
//! | equals no entry, and is a statement that changed no row or whose rows an entry has | a copy, or without effect: dropped |
//! | equals no entry, but cannot be distinguished from one that was paired | not alignable: its source stops |
//!
//! A path is *direct* for the origin that is its own server: it omits nothing. So when a direct
//! path skips a transaction that another path delivered, the two binlogs contradict each other,
//! unless commit timestamps make every pairing certain.
//!
//! # Different formats
//! If one server logs statements and another their rows, only the second, the databases, the kinds
//! of changes and the event that ends the transaction can be compared, so order decides more. An
//! entry that a path has passed is no longer compared in this way. The rows of a statement precede
//! later rows on every path: if they do not, the source stops. A statement that changed no row is
//! dropped if later changes in its database were delivered: the peer has no copy of it, and executed
//! after these changes it might change them. Whether an origin has different formats is known once
//! the first statement was paired with rows.
//!
//! # Repetitions
//! A MySQL 5.6 replica applies and logs a transaction, and saves its replication position. With
//! relay_log_info_repository=TABLE both are one InnoDB commit if the transaction changes InnoDB
//! tables; otherwise, and always with FILE, the position is saved later. A master that is killed in
//! between logs its last replicated transactions again, at the beginning of its next binlog file.
//!
//! So after a restart, a transaction that equals one of the last on this path is a repetition,
//! unless it equals the first entry of the queue. If the queue is empty it may also be new. Then it
//! is delivered, because that master has executed it twice as well, and the origin's own path need
//! not have a second copy of it. With commit timestamps, repetitions are certain.
//!
//! # Before the start
//! When a relay log is created, each source already has a history. The transactions before the
//! start of a path count as delivered ([`Pairing::count_before`]). So do those that precede another
//! path's first file, where files before it were purged: their number on each path is found by order
//! ([`anchor`]) before the log begins ([`Pairing::begin_after`]).
//!
//! # Memory
//! A queue keeps its first [`WINDOW_LEN`] entries in memory. The others are read when they are
//! needed from the [`Ledger`], the relay log's commit indexes, which contain all delivered
//! transactions in order.

pub mod anchor;
mod arrival;
mod delivered;
mod find;
mod loss;
mod path;
mod repetitions;
mod second;

pub use arrival::{Arrival, Paired, Unaligned};
pub use delivered::{Delivered, Ledger};
pub use path::{PathState, WINDOW_LEN};
pub use repetitions::Repetitions;
pub use second::second;

use std::collections::{BTreeMap, HashMap, HashSet};

use self::loss::lost_until;
use self::path::Path;
use crate::position::RecordNumber;

/// The queues of all paths and origins.
#[derive(Debug)]
pub struct Pairing {
    sources: Vec<Source>,
    paths: HashMap<(u16, u32), Path>,
    /// The first record of the newest index.
    file_begin: RecordNumber,
    /// The server_ids of the sources of which files before the first one that was read are lost, and when that
    /// one was created, in seconds since 1970.
    purged: HashMap<u32, u32>,
}

/// The state of one path as a whole.
#[derive(Debug, Clone, Copy, Default)]
struct Source {
    /// Its server_id; 0 until it has sent a transaction.
    server_id: u32,
    /// Where in the ledger the path's queue for another origin would begin.
    unseen_from: RecordNumber,
    /// Whether a transaction of it counts as delivered since the newest index began.
    has_delivered: bool,
}

impl Pairing {
    /// Empty queues for as many sources as `unseen_from` has entries. Each entry is the record of
    /// the ledger where that path's queues begin: the first record for a source that the ledger
    /// does not know, otherwise the next one to be written.
    pub fn new(unseen_from: impl IntoIterator<Item = RecordNumber>) -> Self {
        let source = |unseen_from| Source {
            server_id: 0,
            unseen_from,
            has_delivered: false,
        };
        Self {
            sources: unseen_from.into_iter().map(source).collect(),
            paths: HashMap::new(),
            file_begin: RecordNumber::default(),
            purged: HashMap::new(),
        }
    }

    /// Begins with the index whose first record is `begin`; `server_ids` are those of the paths, by number, as far
    /// as they are known. All else that decides is in the states, or follows from the records of this index: so a
    /// restart of the relay decides in the same way.
    pub fn start_file(&mut self, begin: RecordNumber, server_ids: impl IntoIterator<Item = u32>) {
        self.file_begin = begin;
        // All paths have a queue of each origin that was seen before.
        for source in &mut self.sources {
            source.unseen_from = source.unseen_from.max(begin);
        }
        for (source, server_id) in self.sources.iter_mut().zip(server_ids) {
            source.has_delivered = false;
            source.server_id = server_id;
        }
    }

    fn path(&mut self, path: u16, origin: u32) -> &mut Path {
        let unseen_from = self.unseen_from(path);
        self.paths
            .entry((path, origin))
            .or_insert_with(|| Path::starting_at(unseen_from, false, 0))
    }

    /// Adds a path whose queues begin at record `unseen_from` of the ledger, and returns its number. For
    /// `removed_until` see [`Pairing::begin_queues`].
    pub fn add_path(
        &mut self,
        unseen_from: RecordNumber,
        removed_until: &BTreeMap<u32, u32>,
    ) -> u16 {
        self.sources.push(Source {
            server_id: 0,
            unseen_from,
            has_delivered: false,
        });
        let path = (self.sources.len() - 1) as u16;
        self.begin_queues(path, removed_until);
        path
    }

    /// Begins the queues of a new path. Their states must be stored, because those of the next index are not at
    /// its beginning. `removed_until` has the [`second()`] of the newest transaction of each origin that was removed
    /// with the log's oldest files: the path's source may send copies of them.
    pub fn begin_queues(&mut self, path: u16, removed_until: &BTreeMap<u32, u32>) {
        let origins: HashSet<u32> = self.paths.keys().map(|(_, origin)| *origin).collect();
        let unseen_from = self.unseen_from(path);
        for origin in origins {
            let mut of_origin = self.paths.iter().filter(|((_, one), _)| *one == origin);
            let formats_differ = of_origin.any(|(_, path)| path.formats_differ);
            let lost_until = lost_until(removed_until, origin);
            self.paths
                .entry((path, origin))
                .or_insert_with(|| Path::starting_at(unseen_from, formats_differ, lost_until));
        }
    }

    fn unseen_from(&self, path: u16) -> RecordNumber {
        let source = self.sources.get(usize::from(path));
        source.map(|source| source.unseen_from).unwrap_or_default()
    }

    /// Records a restart of the path's server, which may have been killed.
    pub fn note_restart(&mut self, path: u16) {
        let of_path = self.paths.iter_mut().filter(|((of, _), _)| *of == path);
        for (_, path) in of_path {
            path.repetitions.note_restart();
        }
    }

    /// Records that the path continues at another position of its source's binlog, by decision of an
    /// administrator: transactions before it count as delivered, so it may have skipped any entries.
    ///
    /// With `new_history` the binlog there is not the one that was received, so it may repeat transactions of other
    /// origins that its server had received before: their queues have everything from the first record of
    /// `new_history` up to its second, the next record of the ledger. `removed_until` has the [`second()`] of the newest
    /// transaction of each origin before the first record. What the server `own` itself commits is new; `None` if the
    /// path had another server's binlog, which may have the server's transactions, too.
    pub fn begin_again(
        &mut self,
        path: u16,
        own: Option<u32>,
        new_history: Option<(RecordNumber, RecordNumber)>,
        removed_until: &BTreeMap<u32, u32>,
    ) {
        let of_path = self.paths.iter_mut().filter(|((of, _), _)| *of == path);
        for ((_, origin), path) in of_path {
            match new_history {
                Some((first, end)) if Some(*origin) != own => {
                    path.begin_history(first, end, lost_until(removed_until, *origin));
                }
                _ => path.begin_again(),
            }
        }
    }

    /// The record of the first transaction of the path's own server, `origin`, that another path has delivered and
    /// this one has not sent; `None` also where it need not send it.
    pub fn own_unsent(
        &mut self,
        path: u16,
        origin: u32,
        ledger: &impl Ledger,
    ) -> Option<RecordNumber> {
        let first_file = self.first_file(origin);
        let queue = self.paths.get_mut(&(path, origin))?;
        queue.fill(path, origin, ledger).ok()?;
        queue.unsent(first_file)
    }

    /// Makes [`Pairing::own_unsent`] not return the record any more if a transaction that looks alike was delivered
    /// shortly before it: a peer that was killed has logged it twice, and a third server has logged both. Returns
    /// whether there is one. A relay that is started again asks again.
    pub fn excuse_repeated(
        &mut self,
        path: u16,
        origin: u32,
        record: RecordNumber,
        ledger: &impl Ledger,
    ) -> bool {
        let Some(queue) = self.paths.get_mut(&(path, origin)) else {
            return false;
        };
        let is_repeated = queue.is_repeated(origin, record, ledger);
        if is_repeated {
            let mut next = record;
            next.record += 1;
            queue.excuse_before(next);
        }
        is_repeated
    }

    /// Makes [`Pairing::own_unsent`] not return records before `end` any more, by decision of an administrator.
    /// The queue is unchanged: if they arrive after all, they are copies.
    pub fn excuse_own(&mut self, path: u16, origin: u32, end: RecordNumber) {
        if let Some(queue) = self.paths.get_mut(&(path, origin)) {
            queue.excuse_before(end);
        }
    }

    /// When the first file that was read from the server was created, if those before it are lost.
    fn first_file(&self, server_id: u32) -> Option<u32> {
        self.purged.get(&server_id).copied()
    }

    /// Whether only the origin's own paths can have delivered the entries of the arrival's queue. A path that has
    /// delivered nothing for so long, for example because its source was removed, has not.
    fn others_are_direct(&self, arrival: &Arrival) -> bool {
        let queue = self.paths.get(&(arrival.path, arrival.origin));
        let first = queue.and_then(Path::first_record);
        let is_of_file = first.is_none_or(|first| first >= self.file_begin);
        let others = (0u16..).zip(&self.sources);
        let mut others = others.filter(|(path, _)| *path != arrival.path);
        others.all(|(_, source)| {
            source.server_id == arrival.origin || is_of_file && !source.has_delivered
        })
    }

    /// Records when the first file that was read from the source with `server_id` was created, in seconds
    /// since 1970, if files before it are lost, else 0.
    pub fn begin_origin(&mut self, server_id: u32, first_timestamp: u32) {
        if first_timestamp != 0 {
            let first_file = self.purged.entry(server_id).or_default();
            *first_file = first_timestamp.max(*first_file);
        }
    }

    /// Records that the first `count` transactions of `origin` that arrive on the path precede the
    /// first file of another path: they count as delivered.
    pub fn begin_after(&mut self, path: u16, origin: u32, count: u64) {
        self.path(path, origin).before = count;
    }

    /// Records that a transaction of `origin` arrives, which may be one that precedes another
    /// path's first file. Returns whether it was. It begins no queue: no one else may have delivered any of the
    /// origin, as of the relay's own server_id, and a queue that is never read keeps all later files.
    pub fn pass_before(&mut self, path: u16, origin: u32) -> bool {
        let Some(path) = self.paths.get_mut(&(path, origin)) else {
            return false;
        };
        let is_before = path.before > 0;
        path.before = path.before.saturating_sub(1);
        is_before
    }

    fn note_server(&mut self, arrival: &Arrival) {
        if let Some(source) = self.sources.get_mut(usize::from(arrival.path)) {
            source.server_id = arrival.path_server_id;
        }
    }

    /// Reads as much of the queue as the classification of `arrival` needs. [`Pairing::pair`]
    /// begins with this.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn advance(&mut self, arrival: &Arrival, ledger: &impl Ledger) -> Result<(), Unaligned> {
        self.note_server(arrival);
        let path = self.path(arrival.path, arrival.origin);
        path.fill(arrival.path, arrival.origin, ledger)?;
        if arrival.is_direct() {
            path.drop_repetitions(&arrival.fingerprint);
            path.fill(arrival.path, arrival.origin, ledger)?;
        }
        Ok(())
    }

    /// Classifies `arrival`. If it is delivered, [`Pairing::deliver`] must follow.
    ///
    /// # Errors
    /// When it cannot be classified. The next attempt has the same result.
    pub fn pair(&mut self, arrival: &Arrival, ledger: &impl Ledger) -> Result<Paired, Unaligned> {
        self.note_server(arrival);
        if self.pass_before(arrival.path, arrival.origin) {
            return Ok(Paired::Before);
        }
        self.advance(arrival, ledger)?;
        let first_file = self.first_file(arrival.origin);
        let has_order = arrival.is_direct() || self.others_are_direct(arrival);
        let path = self.path(arrival.path, arrival.origin);
        let formats_differed = path.formats_differ;
        let found = path.find(arrival, has_order, ledger)?;
        if path.is_repetition(arrival, &found) {
            return Ok(Paired::Repeated);
        }
        let paired = path.apply(found, arrival, first_file, ledger)?;
        if paired == Paired::Copy {
            path.repetitions.note(arrival);
        }
        if path.formats_differ && !formats_differed {
            self.note_formats(arrival.origin);
        }
        Ok(paired)
    }

    /// The record of the transaction that the newest copy of `origin` on `path` was paired with;
    /// `None` if that copy had no effect. Only valid after [`Paired::Copy`].
    pub fn paired_with(&self, path: u16, origin: u32) -> Option<RecordNumber> {
        self.paths.get(&(path, origin))?.paired_with
    }

    /// Records that a server has logged statements of `origin` as rows.
    fn note_formats(&mut self, origin: u32) {
        for path in 0..self.sources.len() as u16 {
            self.path(path, origin).formats_differ = true;
        }
    }

    /// Records that `arrival` was delivered as a new transaction. `record` is its record in the
    /// ledger, `may_be_repetition` whether it is [`Paired::NewOrRepeated`]. [`Pairing::pair`], or
    /// at least [`Pairing::advance`], must have been called before.
    pub fn deliver(&mut self, arrival: &Arrival, record: RecordNumber, may_be_repetition: bool) {
        let passes_all = !arrival.is_direct() && self.others_are_direct(arrival);
        let path = self.path(arrival.path, arrival.origin);
        let is_after_all = arrival.is_direct() && path.is_beginning_again();
        path.is_aligned = true;
        path.note_new(&arrival.fingerprint);
        path.repetitions.note(arrival);
        if passes_all || is_after_all {
            // The origin's own path omits nothing, and both paths have the origin's order: its
            // entries all precede this transaction, and this path has omitted them.
            path.skip_all();
        }
        self.push_to_others(arrival, record, may_be_repetition);
    }

    /// Records that `arrival`, which is before its path's start, counts as delivered.
    pub fn count_before(&mut self, arrival: &Arrival, record: RecordNumber) {
        let path = self.path(arrival.path, arrival.origin);
        path.repetitions.note(arrival);
        self.push_to_others(arrival, record, false);
    }

    fn push_to_others(&mut self, arrival: &Arrival, record: RecordNumber, may_be_repetition: bool) {
        let delivered = Delivered {
            record,
            fingerprint: arrival.fingerprint,
            path: arrival.path,
            may_be_repetition,
        };
        if let Some(source) = self.sources.get_mut(usize::from(arrival.path)) {
            source.has_delivered = true;
        }
        let count = self.sources.len() as u16;
        for other in (0..count).filter(|other| *other != arrival.path) {
            self.path(other, arrival.origin).push(delivered);
        }
    }

    /// Makes all paths do without the entries of their queues before record `first` of the ledger, which are
    /// being removed: a transaction that may be a copy of one of them is not aligned any more.
    ///
    /// # Errors
    /// When the ledger cannot be read. Then nothing has changed.
    pub fn lose_before(
        &mut self,
        first: RecordNumber,
        ledger: &impl Ledger,
    ) -> Result<(), Unaligned> {
        let mut losses = Vec::with_capacity(self.paths.len());
        for (&(number, origin), path) in &self.paths {
            let loss = path.loss_before(number, origin, first, ledger)?;
            losses.push(((number, origin), loss));
        }
        for (key, loss) in losses {
            if let Some(path) = self.paths.get_mut(&key) {
                path.lose(loss);
            }
        }
        for source in &mut self.sources {
            source.unseen_from = source.unseen_from.max(first);
        }
        Ok(())
    }

    /// Each path's state for each origin, to be stored in the log, see [`Pairing::restore`]. `end`
    /// is the next record of the ledger.
    pub fn states(&self, end: RecordNumber) -> impl Iterator<Item = PathState> + '_ {
        self.paths
            .iter()
            .map(move |(&(path, origin), state)| state.save(path, origin, end))
    }

    /// Restores a state from [`Pairing::states`].
    pub fn restore(&mut self, state: PathState) {
        let key = (state.path, state.origin);
        self.paths.insert(key, Path::restored(state));
    }
}

#[cfg(test)]
mod tests;
