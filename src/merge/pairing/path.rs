//! One path's queue of one origin's transactions.

mod times;
mod unsent;

use std::collections::VecDeque;

use super::arrival::{Arrival, Paired, Unaligned};
use super::delivered::{Delivered, Ledger};
use super::find::{Found, Queue, is_lone, may_be_without_rows};
use super::repetitions::Repetitions;
use super::second::{may_be_lost, second};
use crate::identity::Fingerprint;
use crate::position::RecordNumber;

/// The most entries of a queue that are kept in memory.
pub const WINDOW_LEN: usize = 16 * 1024;
/// The most skipped entries remembered per path.
const SKIPPED_MAX: usize = 4096;
/// The traits for the binlog format of a transaction's changes.
const FORM: u32 = Fingerprint::HAS_STATEMENTS | Fingerprint::HAS_ROWS;

/// The part of a queue's state that must survive a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    /// The path: a source's number.
    pub path: u16,
    /// The server_id of the transactions.
    pub origin: u32,
    /// The record of the ledger where the queue begins.
    pub cursor: RecordNumber,
    /// See [`super::Pairing::begin_after`]: how many such transactions have not arrived yet.
    pub before: u64,
    /// Whether a transaction of the origin after the start has arrived on this path.
    pub is_aligned: bool,
    /// Whether a server has logged statements of the origin as rows, on any path.
    pub formats_differ: bool,
    /// Whether the path began again at a position that an administrator chose.
    pub begins_again: bool,
    /// The queue also has what the path itself delivered before this record of the ledger: with a changed
    /// history, its source may send it again. The first record, where it has not changed.
    pub own_until: RecordNumber,
    /// Entries of the queue were removed with their files: the [`second`] of the newest one; 0 if none were. A
    /// transaction that is not later and not in the queue may be a copy of one of them.
    pub lost_until: u32,
    /// The skipped entries, oldest first.
    pub skipped: Vec<Delivered>,
    /// Transactions that may be logged again.
    pub repetitions: Repetitions,
}

/// A queue: the transactions of one origin that other paths delivered and this one has not sent.
#[derive(Debug, Default)]
pub(super) struct Path {
    pub(super) window: VecDeque<Delivered>,
    /// The record of the ledger where the queue continues after the window; `None` if the window
    /// has the whole queue.
    pub(super) rest: Option<RecordNumber>,
    skipped: VecDeque<Delivered>,
    /// See [`PathState::before`].
    pub(super) before: u64,
    pub(super) is_aligned: bool,
    /// Whether a server has logged statements of the origin as rows, on any path.
    pub(super) formats_differ: bool,
    /// Whether the path began again at a position that an administrator chose: until it is aligned, its source
    /// need not have the entries of the queue.
    begins_again: bool,
    /// See [`PathState::own_until`].
    pub(super) own_until: RecordNumber,
    /// See [`PathState::lost_until`].
    pub(super) lost_until: u32,
    /// The timestamp of the newest transaction that was paired although one server logged it as
    /// statements and the other as rows.
    other_format_at: Option<u32>,
    /// The timestamp of the newest transaction that was new on this path.
    new_at: Option<u32>,
    /// The timestamp of the newest statement that may have changed no row, but was paired.
    uncertain_at: Option<u32>,
    /// The entry that the newest copy was paired with; `None` if it was without effect.
    pub(super) paired_with: Option<RecordNumber>,
    pub(super) repetitions: Repetitions,
    /// [`Path::unsent`] does not return entries before this record of the ledger. It decides about no arrival.
    excused_until: RecordNumber,
}

impl Path {
    /// A queue that begins at record `first` of the ledger, and was not read yet. For `formats_differ` and
    /// `lost_until` see [`PathState`].
    pub(super) fn starting_at(first: RecordNumber, formats_differ: bool, lost_until: u32) -> Self {
        Self {
            rest: Some(first),
            formats_differ,
            lost_until,
            ..Self::default()
        }
    }

    pub(super) fn restored(state: PathState) -> Self {
        Self {
            rest: Some(state.cursor),
            skipped: state.skipped.into(),
            before: state.before,
            is_aligned: state.is_aligned,
            formats_differ: state.formats_differ,
            begins_again: state.begins_again,
            own_until: state.own_until,
            lost_until: state.lost_until,
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
            before: self.before,
            is_aligned: self.is_aligned,
            formats_differ: self.formats_differ,
            begins_again: self.begins_again,
            own_until: self.own_until,
            lost_until: self.lost_until,
            skipped: self.skipped.iter().copied().collect(),
            repetitions: self.repetitions.clone(),
        }
    }

    /// Begins again at another position of the source's binlog. What the queue has lost remains lost: the source
    /// may have copies of it after that position, too.
    pub(super) fn begin_again(&mut self) {
        self.is_aligned = false;
        self.begins_again = true;
        self.before = 0;
        self.repetitions = Repetitions::default();
        (self.other_format_at, self.new_at, self.uncertain_at) = (None, None, None);
    }

    /// Begins again with another history, which may repeat anything from record `first` up to `end`, and what
    /// was removed before: its newest transaction is of the second `lost_until`.
    pub(super) fn begin_history(
        &mut self,
        first: RecordNumber,
        end: RecordNumber,
        lost_until: u32,
    ) {
        *self = Self {
            begins_again: true,
            own_until: end,
            ..Self::starting_at(first, self.formats_differ, lost_until)
        };
    }

    /// Whether the position at which it began again has not been aligned with the queue yet.
    pub(super) fn is_beginning_again(&self) -> bool {
        self.begins_again && !self.is_aligned
    }

    /// The record of the first entry, or one before it; `None` if there are no entries.
    pub(super) fn first_record(&self) -> Option<RecordNumber> {
        let first = self.window.front().map(|first| first.record);
        first.or(self.rest)
    }

    /// Whether the queue has no entries.
    pub(super) fn is_empty(&self) -> bool {
        self.window.is_empty() && self.rest.is_none()
    }

    pub(super) fn push(&mut self, delivered: Delivered) {
        if self.rest.is_some() {
            return; // It is read from the ledger when it is needed.
        }
        if self.window.len() < WINDOW_LEN {
            self.window.push_back(delivered);
        } else {
            self.rest = Some(delivered.record);
        }
    }

    /// Skips all entries: this path should not send them any more. They are remembered in case it
    /// does, except those that it may have omitted because it logs rows.
    pub(super) fn skip_all(&mut self) {
        while let Some(entry) = self.window.pop_front() {
            let fingerprint = &entry.fingerprint;
            if fingerprint.commit_timestamp != 0 || !may_be_without_rows(fingerprint) {
                self.remember_skipped(entry, true);
            }
        }
        self.rest = None;
    }

    /// Reads from the ledger if the window is empty.
    pub(super) fn fill(
        &mut self,
        path: u16,
        origin: u32,
        ledger: &impl Ledger,
    ) -> Result<(), Unaligned> {
        if let (true, Some(rest)) = (self.window.is_empty(), self.rest) {
            let (window, own_until) = (&mut self.window, self.own_until);
            let mut accept = |delivered: Delivered| {
                if delivered.path != path || delivered.record < own_until {
                    window.push_back(delivered);
                }
                window.len() < WINDOW_LEN
            };
            let read = ledger.read(rest, origin, &mut accept);
            self.rest = read.map_err(Unaligned::Ledger)?;
        }
        Ok(())
    }

    /// Where `arrival` is in the queue. `has_order`: the origin's own path has sent it, or all entries.
    pub(super) fn find(
        &self,
        arrival: &Arrival,
        has_order: bool,
        ledger: &impl Ledger,
    ) -> Result<Found, Unaligned> {
        let queue = Queue {
            window: &self.window,
            rest: self.rest,
            own_until: self.own_until,
            skipped: &self.skipped,
            formats_differ: has_order && self.is_aligned && self.formats_differ,
        };
        queue.find(arrival, ledger)
    }

    /// Classifies `arrival`, which was `found` in the queue, and advances the queue. `first_file`: when the
    /// first file that was read from its origin was created, if those before it are lost.
    pub(super) fn apply(
        &mut self,
        found: Found,
        arrival: &Arrival,
        first_file: Option<u32>,
        ledger: &impl Ledger,
    ) -> Result<Paired, Unaligned> {
        let fingerprint = &arrival.fingerprint;
        // Transactions that are lost on their origin itself can only be skipped.
        let may_have_lost = self.may_have_lost(first_file);
        self.paired_with = None;
        match found {
            Found::First { other_format } => self.pair_first(other_format, fingerprint),
            Found::Skipped(index) => self.forget_skipped(index),
            Found::Later {
                index,
                other_format,
            } => {
                if !may_have_lost {
                    self.check_skipping(index, arrival, first_file)?;
                }
                self.skip_to(index, other_format, fingerprint);
            }
            Found::Beyond { record, path } => {
                if !may_have_lost {
                    self.check_skipping(usize::MAX, arrival, first_file)?;
                }
                self.jump_to(record, path, arrival, ledger)?;
            }
            Found::WithoutEffect => {}
            Found::Omitted => {
                let timestamp = fingerprint.timestamp;
                return Err(Unaligned::Ambiguous { timestamp });
            }
            Found::Absent => {
                self.check_new(arrival)?;
                self.check_times(arrival, first_file)?;
                return Ok(match self.repetitions.may_be(arrival) {
                    true => Paired::NewOrRepeated,
                    false => Paired::New,
                });
            }
        }
        Ok(Paired::Copy)
    }

    fn pair_first(&mut self, other_format: bool, fingerprint: &Fingerprint) {
        let first = self.window.pop_front();
        self.paired_with = first.map(|first| first.record);
        let traits = first.map_or(0, |first| first.fingerprint.traits);
        if other_format && (traits ^ fingerprint.traits) & Fingerprint::HAS_STATEMENTS != 0 {
            self.formats_differ = true;
        }
        if may_be_without_rows(fingerprint) {
            self.uncertain_at = other_format.then_some(fingerprint.timestamp);
        }
        self.note_pairing(other_format, fingerprint);
    }

    /// Skips the entries before the one at `index`, and removes that one, which was paired.
    fn skip_to(&mut self, index: usize, other_format: bool, paired: &Fingerprint) {
        let by = self.window.get(index).map(|paired| paired.path);
        for _ in 0..index {
            if let Some(entry) = self.window.pop_front() {
                self.remember_skipped(entry, Some(entry.path) == by);
            }
        }
        self.pair_first(other_format, paired);
    }

    /// Skips the entries before that of `record`, which path `by` delivered, and removes that one,
    /// which was paired with `arrival` and is not in the window.
    fn jump_to(
        &mut self,
        record: RecordNumber,
        by: u16,
        arrival: &Arrival,
        ledger: &impl Ledger,
    ) -> Result<(), Unaligned> {
        self.paired_with = Some(record);
        while let Some(entry) = self.window.pop_front() {
            self.remember_skipped(entry, entry.path == by);
        }
        let Some(rest) = self.rest else {
            return Ok(());
        };
        let own_until = self.own_until;
        let mut accept = |entry: Delivered| {
            let is_before = entry.record < record;
            let is_of_queue = entry.path != arrival.path || entry.record < own_until;
            if is_before && is_of_queue {
                self.remember_skipped(entry, entry.path == by);
            }
            is_before
        };
        let read = ledger.read(rest, arrival.origin, &mut accept);
        self.rest = read.map_err(Unaligned::Ledger)?;
        self.is_aligned = true;
        Ok(())
    }

    fn forget_skipped(&mut self, index: usize) {
        let removed = self.skipped.remove(index);
        self.paired_with = removed.map(|removed| removed.record);
        self.is_aligned = true;
    }

    /// `is_omitted`: the path that delivered the entry has then sent one that this path has, too,
    /// so both paths' order proves that this path has no copy of the entry. It is remembered in
    /// case its server does not keep the order (parallel workers), but a transaction that merely
    /// resembles it is another one.
    fn remember_skipped(&mut self, mut entry: Delivered, is_omitted: bool) {
        if entry.may_be_repetition {
            return;
        }
        if is_omitted {
            entry.fingerprint.traits = 0;
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

    /// Whether the source, a peer of the origin, has sent `arrival`, which was `found` in the
    /// queue, before.
    pub(super) fn is_repetition(&self, arrival: &Arrival, found: &Found) -> bool {
        let fingerprint = &arrival.fingerprint;
        let next = Found::First {
            other_format: false,
        };
        // Several may look alike: the first entry of the queue has precedence.
        if arrival.is_direct() || *found == next {
            return false;
        }
        // With an empty queue it may be new.
        let is_old = fingerprint.commit_timestamp != 0 || !self.is_empty();
        is_old && self.repetitions.may_come_again(fingerprint)
    }

    /// Drops repetitions from the queue before `next` is paired. A possible repetition that was
    /// delivered follows the transaction that it would repeat, with only other possible repetitions
    /// between them. If the origin's own path now sends another transaction, they were repetitions.
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

    /// Checks that this path may have omitted the entries before the one at `index`.
    fn check_skipping(
        &self,
        index: usize,
        arrival: &Arrival,
        first_file: Option<u32>,
    ) -> Result<(), Unaligned> {
        if arrival.fingerprint.commit_timestamp != 0 {
            return Ok(()); // Every pairing is certain.
        }
        if arrival.is_direct() {
            return self.check_direct_skipping(index, first_file);
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

    /// As [`Path::check_skipping`] for the origin's own path, which omits nothing.
    fn check_direct_skipping(
        &self,
        index: usize,
        first_file: Option<u32>,
    ) -> Result<(), Unaligned> {
        // A dropped temporary table: its pairing leaves the queue unchanged.
        let without_effect = |entry: &&Delivered| {
            may_be_without_rows(&entry.fingerprint) && is_lone(&entry.fingerprint)
        };
        let may_lack = |entry: &&Delivered| {
            without_effect(entry) || may_be_lost(&entry.fingerprint, first_file)
        };
        let mut skipped = self.window.iter().take(index);
        let Some(missing) = skipped.find(|entry| !may_lack(entry)) else {
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

    /// Checks that a transaction that was not found is certainly new.
    fn check_new(&self, arrival: &Arrival) -> Result<(), Unaligned> {
        let timestamp = arrival.fingerprint.timestamp;
        // A copy in another format may be of a later second.
        let has_lost = self.lost_until > 0;
        if has_lost && (self.formats_differ || second(&arrival.fingerprint) <= self.lost_until) {
            return Err(Unaligned::Removed);
        }
        let others_continued = !self.window.is_empty();
        let has_rows = !may_be_without_rows(&arrival.fingerprint);
        let is_other = self.other_format_at == Some(timestamp);
        // The one that was paired, or this one, may have changed no row.
        let is_lone = is_lone(&arrival.fingerprint);
        let is_uncertain = !has_rows && !is_lone && self.uncertain_at == Some(timestamp);
        if arrival.is_direct() && (others_continued && is_other && has_rows || is_uncertain) {
            return Err(Unaligned::Ambiguous { timestamp });
        }
        Ok(())
    }
}
