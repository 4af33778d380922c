//! Recognising copies of transactions that have no GTID.
//!
//! Such a transaction is known by its origin (the server_id in its header) and a [`Fingerprint`]
//! of what logging it again on another server preserves. Each path carries one origin's
//! transactions in the order in which they committed there, so copies are paired in that order:
//! for each path and origin there is a queue of what *other* paths delivered and this one has not
//! brought yet.
//!
//! | the next transaction of the origin on this path | it is |
//! |---|---|
//! | equals the first in the queue | a copy |
//! | equals one behind it | a copy; what stands before it this path left out (its peer filters), and is kept in mind in case it still comes |
//! | is not the first, but equals one of the last that the path brought before its source was started again | a repetition: dropped |
//! | equals none | new: it goes to the queues of the other paths |
//! | is a statement that may have changed no row, and equals none, but another's rows are of its kind | a copy, or without effect: dropped, and the queue stays as it is |
//! | equals none, but cannot be told from one that was paired | not alignable: its source stops |
//!
//! A path is *direct* for the origin that is its own server: it leaves nothing out. So, when a
//! direct path passes something over that another path delivered, the two do not fit together,
//! unless commit timestamps make every pairing certain.
//!
//! # Repetitions
//! A replica of MySQL 5.6 logs a transaction, and notes that it was applied. With
//! relay_log_info_repository=TABLE it does so in one step when InnoDB commits, and otherwise later;
//! with FILE, always later. A master that is killed in between logs again what it replicated last,
//! at the beginning of its next file. So what is among the last ones that the path brought is no
//! copy of another that looks alike, unless it is the next in the queue. When the queue is empty it
//! may be new: it is delivered, for that master has done it twice, too, and the origin's own path
//! may do without it. Commit timestamps tell repetitions for certain.
//!
//! # Before the start
//! Where a relay log begins, each source has a history. What lies before the start of one path
//! counts as delivered ([`Pairing::count_before`]). What an origin committed before the first file
//! that was read of it is not new either when a peer's copy of it comes ([`Pairing::begin_origin`]).
//!
//! # Memory
//! A queue keeps its first [`WINDOW_LEN`] entries in memory; the others are read from the
//! [`Ledger`] when they are needed: the relay log's commit index, which holds every delivered
//! transaction in order.

mod arrival;
mod delivered;
mod path;
mod repetitions;

pub use arrival::{Arrival, Paired, Unaligned};
pub use delivered::{Delivered, Ledger};
pub use path::{PathState, WINDOW_LEN};
pub use repetitions::Repetitions;

use std::collections::HashMap;

use self::path::Path;
use crate::position::RecordNumber;

/// The queues of all paths and origins.
#[derive(Debug)]
pub struct Pairing {
    sources: Vec<Source>,
    paths: HashMap<(u16, u32), Path>,
    /// By server_id: when the first file that was read of that server was begun.
    begins: HashMap<u32, u32>,
}

/// What is known of one path as a whole.
#[derive(Debug, Clone, Copy, Default)]
struct Source {
    /// 0 until it has sent something.
    server_id: u32,
    /// Where the queue of an origin begins that the path has none for yet.
    unseen_from: RecordNumber,
}

impl Pairing {
    /// For as many sources as `unseen_from` has entries. Each entry is the place in the ledger
    /// before which that path's queues are known: the ledger's beginning for a path that it knows
    /// nothing of, else the place from which on it is written now.
    pub fn new(unseen_from: impl IntoIterator<Item = RecordNumber>) -> Self {
        let source = |unseen_from| Source {
            server_id: 0,
            unseen_from,
        };
        Self {
            sources: unseen_from.into_iter().map(source).collect(),
            paths: HashMap::new(),
            begins: HashMap::new(),
        }
    }

    fn path(&mut self, path: u16, origin: u32) -> &mut Path {
        let source = self.sources.get(usize::from(path));
        let unseen_from = source.map(|source| source.unseen_from).unwrap_or_default();
        self.paths
            .entry((path, origin))
            .or_insert_with(|| Path::starting_at(unseen_from))
    }

    /// The server of the source of number `path` was started again. It may have been killed.
    pub fn note_restart(&mut self, path: u16) {
        let of_path = self.paths.iter_mut().filter(|((of, _), _)| *of == path);
        for (_, path) in of_path {
            path.repetitions.note_restart();
        }
    }

    /// Whether only the origin's own path and the arrival's can have delivered what is in the
    /// arrival's queue.
    fn others_are_direct(&self, arrival: &Arrival) -> bool {
        let others = (0u16..).zip(&self.sources);
        others
            .filter(|(path, _)| *path != arrival.path)
            .all(|(_, source)| source.server_id == arrival.origin)
    }

    /// The server `server_id` is a source, and the first file read of it, which has lost
    /// predecessors, was begun at `timestamp`, in seconds since 1970 by its own clock. 0 says that
    /// nothing was lost.
    pub fn begin_origin(&mut self, server_id: u32, timestamp: u32) {
        if timestamp != 0 {
            self.begins.entry(server_id).or_insert(timestamp);
        }
    }

    /// Reads the queue of `arrival` up to where it can be told what that is. [`Pairing::pair`]
    /// begins with it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn advance(&mut self, arrival: &Arrival, ledger: &impl Ledger) -> Result<(), Unaligned> {
        if let Some(source) = self.sources.get_mut(usize::from(arrival.path)) {
            source.server_id = arrival.path_server_id;
        }
        let path = self.path(arrival.path, arrival.origin);
        path.fill(arrival.path, arrival.origin, ledger)?;
        if arrival.is_direct() {
            path.drop_repetitions(&arrival.fingerprint);
            path.fill(arrival.path, arrival.origin, ledger)?;
        }
        Ok(())
    }

    /// Decides what `arrival` is. When it may be new, [`Pairing::deliver`] must follow.
    ///
    /// # Errors
    /// When it cannot be decided. The next attempt has the same result.
    pub fn pair(&mut self, arrival: &Arrival, ledger: &impl Ledger) -> Result<Paired, Unaligned> {
        self.advance(arrival, ledger)?;
        let began = self.begins.get(&arrival.origin).copied().unwrap_or(0);
        let fingerprint = &arrival.fingerprint;
        let path = self.path(arrival.path, arrival.origin);
        let found = path.find(fingerprint, arrival.path, arrival.origin, ledger)?;
        if path.is_repetition(arrival, &found) {
            return Ok(Paired::Repeated);
        }
        let paired = path.take(found, arrival, began, ledger)?;
        if paired == Paired::Copy {
            path.repetitions.note(arrival);
        }
        Ok(paired)
    }

    /// Takes in that `arrival` was delivered as a new transaction, and where the ledger has it;
    /// `may_be_repetition` when [`Paired::NewOrRepeated`] was the answer. [`Pairing::pair`], or at
    /// least [`Pairing::advance`], must have been called.
    pub fn deliver(&mut self, arrival: &Arrival, record: RecordNumber, may_be_repetition: bool) {
        let passes_all = !arrival.is_direct() && self.others_are_direct(arrival);
        let path = self.path(arrival.path, arrival.origin);
        path.is_aligned = true;
        path.note_new(&arrival.fingerprint);
        path.repetitions.note(arrival);
        if passes_all {
            // What this path carries is in its origin's order, and the origin's own path leaves
            // nothing out: all that it has delivered lies before.
            path.skip_all();
        }
        self.push_to_others(arrival, record, may_be_repetition);
    }

    /// Takes in that `arrival`, which lies before its path's start, counts as delivered.
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
        let count = self.sources.len() as u16;
        for other in (0..count).filter(|other| *other != arrival.path) {
            self.path(other, arrival.origin).push(delivered);
        }
    }

    /// Each path's state for each origin, to be kept in the log: see [`Pairing::restore`]. `end`
    /// is the place where the ledger goes on.
    pub fn states(&self, end: RecordNumber) -> impl Iterator<Item = PathState> + '_ {
        self.paths
            .iter()
            .map(move |(&(path, origin), state)| state.save(path, origin, end))
    }

    /// Takes over a state from [`Pairing::states`].
    pub fn restore(&mut self, state: PathState) {
        let key = (state.path, state.origin);
        self.paths.insert(key, Path::restored(state));
    }
}

#[cfg(test)]
mod tests;
