//! One path's queue of one origin's transactions.

use std::collections::VecDeque;

use super::arrival::{Arrival, Paired, Unaligned};
use super::delivered::{Delivered, Ledger};
use super::repetitions::Repetitions;
use crate::identity::Fingerprint;
use crate::position::RecordNumber;

/// How many entries of a queue are kept in memory.
pub const WINDOW_LEN: usize = 16 * 1024;
/// A file's first timestamp is when the statement began that had the file before it closed, and
/// what that file holds may be later, by this many seconds. (What lies in the file itself is not
/// lost: its origin's own path brings it.)
const BEGIN_MARGIN: u64 = 60;
/// How many entries that a path passed over are kept in mind.
const SKIPPED_MAX: usize = 4096;
/// In which form a transaction's changes are.
const FORM: u32 = Fingerprint::HAS_STATEMENTS | Fingerprint::HAS_ROWS;

/// What of one path's queue must survive a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    /// The path: a source's number.
    pub path: u16,
    /// The server_id of the transactions.
    pub origin: u32,
    /// Where in the ledger the queue begins.
    pub cursor: RecordNumber,
    /// Whether something of the origin has come by this path that lies behind the start.
    pub is_aligned: bool,
    /// What was passed over, oldest first.
    pub skipped: Vec<Delivered>,
    /// What may come again.
    pub repetitions: Repetitions,
}

/// Where a transaction stands in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    First {
        other_format: bool,
    },
    Later {
        index: usize,
        other_format: bool,
    },
    /// Behind what is in memory.
    Beyond(RecordNumber),
    Skipped(usize),
    /// A statement that may have changed no row, and rows that may be its copy or another one's.
    Uncertain,
    NotFound,
}

/// What other paths delivered of one origin and this one has not brought.
#[derive(Debug, Default)]
pub(super) struct Path {
    window: VecDeque<Delivered>,
    /// Where in the ledger the queue goes on behind the window; `None` when all is in it.
    rest: Option<RecordNumber>,
    skipped: VecDeque<Delivered>,
    pub(super) is_aligned: bool,
    /// The second of the newest transaction that was paired although one server logged it as
    /// statements and the other as rows.
    other_format_at: Option<u32>,
    /// The second of the newest transaction that was new on this path.
    new_at: Option<u32>,
    /// The second of the newest one for which [`Found::Uncertain`] was the answer.
    uncertain_at: Option<u32>,
    pub(super) repetitions: Repetitions,
}

/// Whether it is a statement that may have changed no row, so that a peer has no rows of it.
fn may_be_without_rows(fingerprint: &Fingerprint) -> bool {
    fingerprint.traits & Fingerprint::MAY_BE_WITHOUT_ROWS != 0
}

impl Path {
    /// A queue of which nothing was read yet, and that begins at `place`.
    pub(super) fn starting_at(place: RecordNumber) -> Self {
        Self {
            rest: Some(place),
            ..Self::default()
        }
    }

    pub(super) fn restored(state: PathState) -> Self {
        Self {
            rest: Some(state.cursor),
            skipped: state.skipped.into(),
            is_aligned: state.is_aligned,
            repetitions: state.repetitions,
            ..Self::default()
        }
    }

    pub(super) fn save(&self, path: u16, origin: u32, end: RecordNumber) -> PathState {
        let first = self.window.front().map(|first| first.record);
        PathState {
            path,
            origin,
            cursor: first.or(self.rest).unwrap_or(end),
            is_aligned: self.is_aligned,
            skipped: self.skipped.iter().copied().collect(),
            repetitions: self.repetitions.clone(),
        }
    }

    /// Whether nothing that other paths delivered is left.
    pub(super) fn is_empty(&self) -> bool {
        self.window.is_empty() && self.rest.is_none()
    }

    pub(super) fn push(&mut self, delivered: Delivered) {
        if self.rest.is_some() {
            return; // It is read when its turn comes.
        }
        if self.window.len() < WINDOW_LEN {
            self.window.push_back(delivered);
        } else {
            self.rest = Some(delivered.record);
        }
    }

    /// Passes all: none should come any more. What does was delivered nevertheless, if this path
    /// cannot have left it out because of its format.
    pub(super) fn skip_all(&mut self) {
        while let Some(entry) = self.window.pop_front() {
            let fingerprint = &entry.fingerprint;
            if fingerprint.commit_timestamp != 0 || !may_be_without_rows(fingerprint) {
                self.remember_skipped(entry);
            }
        }
        self.rest = None;
    }

    /// Reads on when the window is empty.
    pub(super) fn fill(
        &mut self,
        path: u16,
        origin: u32,
        ledger: &impl Ledger,
    ) -> Result<(), Unaligned> {
        if let (true, Some(rest)) = (self.window.is_empty(), self.rest) {
            let window = &mut self.window;
            let mut take = |delivered: Delivered| {
                if delivered.path != path {
                    window.push_back(delivered);
                }
                window.len() < WINDOW_LEN
            };
            let read = ledger.read(rest, origin, &mut take);
            self.rest = read.map_err(Unaligned::Ledger)?;
        }
        Ok(())
    }

    pub(super) fn find(
        &self,
        fingerprint: &Fingerprint,
        path: u16,
        origin: u32,
        ledger: &impl Ledger,
    ) -> Result<Found, Unaligned> {
        let same = |entry: &Delivered| entry.fingerprint.same_content(fingerprint);
        if self.window.front().is_some_and(same) {
            return Ok(Found::First {
                other_format: false,
            });
        }
        if let Some(index) = self.skipped.iter().position(same) {
            return Ok(Found::Skipped(index));
        }
        if let Some(index) = self.window.iter().position(same) {
            return Ok(Found::Later {
                index,
                other_format: false,
            });
        }
        let similar = |entry: &Delivered| entry.fingerprint.may_be_other_format(fingerprint);
        let sure = |entry: &Delivered| similar(entry) && !may_be_without_rows(&entry.fingerprint);
        let mut in_window = self.window.iter();
        let candidate = in_window.position(sure);
        match candidate.or_else(|| self.window.iter().position(similar)) {
            Some(_) if may_be_without_rows(fingerprint) => return Ok(Found::Uncertain),
            Some(0) => return Ok(Found::First { other_format: true }),
            Some(index) => {
                return Ok(Found::Later {
                    index,
                    other_format: true,
                });
            }
            None => {}
        }
        if let Some(index) = self.skipped.iter().position(similar) {
            return Ok(Found::Skipped(index));
        }
        let Some(rest) = self.rest else {
            return Ok(Found::NotFound);
        };
        let mut found = Found::NotFound;
        let mut take = |entry: Delivered| {
            if entry.path != path && (same(&entry) || similar(&entry)) {
                found = Found::Beyond(entry.record);
            }
            found == Found::NotFound
        };
        let read = ledger.read(rest, origin, &mut take);
        read.map_err(Unaligned::Ledger)?;
        Ok(found)
    }

    /// Takes in `arrival`, which is `found`. `began` is when the first file that was read of its
    /// origin was begun, if files before it are lost, else 0.
    pub(super) fn take(
        &mut self,
        found: Found,
        arrival: &Arrival,
        began: u32,
        ledger: &impl Ledger,
    ) -> Result<Paired, Unaligned> {
        let fingerprint = &arrival.fingerprint;
        // What its origin's own first file does not hold any more can only be passed over.
        let may_have_lost = began != 0 && !self.is_aligned;
        match found {
            Found::First { other_format } => self.pair_first(other_format, fingerprint),
            Found::Skipped(index) => self.forget_skipped(index),
            Found::Later {
                index,
                other_format,
            } => {
                if !may_have_lost {
                    self.check_skipping(index, arrival)?;
                }
                self.skip_to(index, other_format, fingerprint);
            }
            Found::Beyond(place) => {
                if !may_have_lost {
                    self.check_skipping(usize::MAX, arrival)?;
                }
                self.jump_to(place, arrival.path, arrival.origin, ledger)?;
            }
            // If it changed no row, nothing is missed without it. If it did, its rows are there.
            Found::Uncertain => self.uncertain_at = Some(fingerprint.timestamp),
            Found::NotFound => {
                let is_before = arrival.seconds() <= u64::from(began) + BEGIN_MARGIN;
                if may_have_lost && is_before && !arrival.is_direct() {
                    return Ok(Paired::Before);
                }
                self.check_new(arrival)?;
                return Ok(match self.repetitions.may_be(arrival) {
                    true => Paired::NewOrRepeated,
                    false => Paired::New,
                });
            }
        }
        Ok(Paired::Copy)
    }

    fn pair_first(&mut self, other_format: bool, fingerprint: &Fingerprint) {
        self.window.pop_front();
        self.note_pairing(other_format, fingerprint);
    }

    /// Passes all up to the one at `index`, which was paired.
    fn skip_to(&mut self, index: usize, other_format: bool, paired: &Fingerprint) {
        for _ in 0..index {
            if let Some(entry) = self.window.pop_front() {
                self.remember_skipped(entry);
            }
        }
        self.pair_first(other_format, paired);
    }

    /// Passes all up to the one at `place`, which was paired and is not in the window.
    fn jump_to(
        &mut self,
        place: RecordNumber,
        path: u16,
        origin: u32,
        ledger: &impl Ledger,
    ) -> Result<(), Unaligned> {
        while let Some(entry) = self.window.pop_front() {
            self.remember_skipped(entry);
        }
        let Some(rest) = self.rest else {
            return Ok(());
        };
        let mut take = |entry: Delivered| {
            let is_before = entry.record < place;
            if is_before && entry.path != path {
                self.remember_skipped(entry);
            }
            is_before
        };
        let read = ledger.read(rest, origin, &mut take);
        self.rest = read.map_err(Unaligned::Ledger)?;
        self.is_aligned = true;
        Ok(())
    }

    fn forget_skipped(&mut self, index: usize) {
        self.skipped.remove(index);
        self.is_aligned = true;
    }

    fn remember_skipped(&mut self, entry: Delivered) {
        if entry.may_be_repetition {
            return;
        }
        if self.skipped.len() == SKIPPED_MAX {
            self.skipped.pop_front();
        }
        self.skipped.push_back(entry);
    }

    fn note_pairing(&mut self, other_format: bool, fingerprint: &Fingerprint) {
        self.is_aligned = true;
        self.other_format_at = other_format.then_some(fingerprint.timestamp);
    }

    /// Whether `arrival`, which is `found` in the queue, is what the source, a peer of the origin,
    /// has sent before.
    pub(super) fn is_repetition(&self, arrival: &Arrival, found: &Found) -> bool {
        let fingerprint = &arrival.fingerprint;
        let next = Found::First {
            other_format: false,
        };
        // The next one in the queue is counted first, since several may look alike.
        if arrival.is_direct() || *found == next {
            return false;
        }
        // When there is nothing else to come, it may be new.
        let is_old = fingerprint.commit_timestamp != 0 || !self.is_empty();
        is_old && self.repetitions.may_come_again(fingerprint)
    }

    /// Drops repetitions from the queue before `next` is paired. A transaction that was delivered
    /// although it may be a repetition follows the one that it would repeat, with only others of
    /// this kind between them: when something else comes by the origin's own path, they were
    /// repetitions.
    pub(super) fn drop_repetitions(&mut self, next: &Fingerprint) {
        while let Some(first) = self.window.front()
            && first.may_be_repetition
            && !first.fingerprint.same_content(next)
        {
            self.window.pop_front();
        }
    }

    pub(super) fn note_new(&mut self, fingerprint: &Fingerprint) {
        self.new_at = Some(fingerprint.timestamp);
    }

    /// Whether the entries before the one at `index` may have been left out by this path.
    fn check_skipping(&self, index: usize, arrival: &Arrival) -> Result<(), Unaligned> {
        if arrival.fingerprint.commit_timestamp != 0 {
            return Ok(()); // Every pairing is certain.
        }
        if arrival.is_direct() {
            return self.check_direct_skipping(index);
        }
        let is_ambiguous = |entry: &Delivered| {
            Some(entry.fingerprint.timestamp) == self.new_at
                && !may_be_without_rows(&entry.fingerprint)
                && entry.fingerprint.traits & FORM != arrival.fingerprint.traits & FORM
        };
        let mut skipped = self.window.iter().take(index);
        match skipped.find(|entry| is_ambiguous(entry)) {
            Some(entry) => Err(Unaligned::Ambiguous {
                timestamp: entry.fingerprint.timestamp,
            }),
            None => Ok(()),
        }
    }

    /// An origin's own path leaves nothing out.
    fn check_direct_skipping(&self, index: usize) -> Result<(), Unaligned> {
        // Rows of a statement of which it was unsure may stand in the queue still.
        let left_over = |entry: &&Delivered| Some(entry.fingerprint.timestamp) == self.uncertain_at;
        let skipped = self.window.iter().take(index);
        let Some(missing) = skipped.clone().find(|entry| !left_over(entry)) else {
            return Ok(());
        };
        // Entries of several paths need not be in their origin's order.
        let mut passed = self.window.iter().take(index.saturating_add(1));
        match passed.all(|entry| entry.path == missing.path) {
            true => Err(Unaligned::Missing {
                missing_timestamp: missing.fingerprint.timestamp,
            }),
            false => Ok(()),
        }
    }

    /// Whether what was found nowhere is surely new.
    fn check_new(&self, arrival: &Arrival) -> Result<(), Unaligned> {
        let timestamp = arrival.fingerprint.timestamp;
        let others_continued = !self.window.is_empty();
        let has_rows = !may_be_without_rows(&arrival.fingerprint);
        let is_other = self.other_format_at == Some(timestamp);
        if arrival.is_direct() && others_continued && is_other && has_rows {
            return Err(Unaligned::Ambiguous { timestamp });
        }
        Ok(())
    }
}
