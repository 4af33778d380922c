//! A piece of the delivered transactions of one origin, where a path reads copies.

use std::collections::VecDeque;

use super::{DeliveredGtid, DeliveredGtids, GtidCursor, GtidOrigin};
use crate::identity::Identity;

/// The most transactions of a window.
pub const WINDOW_LEN: usize = 2048;
/// Once so many with higher numbers were read, the wanted one is absent.
const BEYOND: usize = WINDOW_LEN / 2;
/// Numbers ascend, but for those that a server executed in parallel: they differ at most by this.
const DISPLACED_MAX: u64 = 256;

/// The window of a path and origin.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) path: u16,
    pub(super) origin: GtidOrigin,
    /// The most entries.
    len: usize,
    /// In the order of the log, without omissions.
    entries: VecDeque<DeliveredGtid>,
    /// Where the next transaction is probably found.
    hint: usize,
    /// The highest number read.
    highest: u64,
    /// The end of the window; `None` before the first look-up.
    cursor: Option<GtidCursor>,
}

impl Window {
    pub(super) fn new(path: u16, origin: GtidOrigin) -> Self {
        Self {
            path,
            origin,
            len: WINDOW_LEN,
            entries: VecDeque::new(),
            hint: 0,
            highest: 0,
            cursor: None,
        }
    }

    /// Limits the window to `len` transactions, or [`WINDOW_LEN`].
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(WINDOW_LEN);
        let excess = self.entries.len().saturating_sub(self.len);
        if excess > 0 {
            self.entries.drain(..excess);
            self.entries.shrink_to(self.len);
            self.hint = self.hint.saturating_sub(excess);
        }
    }

    /// Finds a delivered transaction; `number` is that of `identity`. `None` when it has no record.
    pub(super) fn find(
        &mut self,
        identity: &Identity,
        number: u64,
        ledger: &impl DeliveredGtids,
    ) -> Result<Option<DeliveredGtid>, String> {
        if let Some(found) = self.search(number) {
            return Ok(Some(found));
        }
        let first = self.entries.front().map(|entry| entry.number);
        if first.is_some_and(|first| first.saturating_add(DISPLACED_MAX) < number) {
            if number.saturating_add(DISPLACED_MAX) < self.highest {
                return Ok(None);
            }
            if let Some(found) = self.read_on(number, ledger)? {
                return Ok(Some(found));
            }
            // There is nothing higher: it is not in a later part of the log either.
            if self.highest < number {
                return Ok(None);
            }
        }
        let Some(next) = ledger.locate(identity)? else {
            return Ok(None);
        };
        *self = Self {
            cursor: Some(GtidCursor {
                next,
                origin_number: None,
            }),
            len: self.len,
            ..Self::new(self.path, self.origin)
        };
        self.read_on(number, ledger)
    }

    /// The highest number of the window between the two.
    pub(super) fn find_between(&self, low: u64, high: u64) -> Option<u64> {
        let numbers = self.entries.iter().map(|entry| entry.number);
        numbers
            .filter(|number| low < *number && *number < high)
            .max()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn search(&mut self, number: u64) -> Option<DeliveredGtid> {
        let is_wanted = |entry: &&DeliveredGtid| entry.number == number;
        if let Some(found) = self.entries.get(self.hint).filter(is_wanted) {
            self.hint += 1;
            return Some(*found);
        }
        let at = self
            .entries
            .iter()
            .position(|entry| entry.number == number)?;
        self.hint = at + 1;
        self.entries.get(at).copied()
    }

    /// Reads on until the transaction was found and as many others after it as fill half of the window, those that
    /// are probably next; or it is certainly absent.
    fn read_on(
        &mut self,
        number: u64,
        ledger: &impl DeliveredGtids,
    ) -> Result<Option<DeliveredGtid>, String> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(None);
        };
        let (entries, highest, len) = (&mut self.entries, &mut self.highest, self.len);
        let mut found = None;
        let (mut ahead, mut beyond) = (0, 0);
        ledger.read_gtids(cursor, &self.origin, &mut |entry| {
            if entries.len() >= len {
                entries.pop_front();
            }
            entries.push_back(entry);
            *highest = entry.number.max(*highest);
            ahead += usize::from(found.is_some());
            beyond += usize::from(entry.number > number);
            if entry.number == number {
                found.get_or_insert(entry);
            }
            ahead < len / 2 && (found.is_some() || beyond < BEYOND)
        })?;
        if found.is_some() {
            self.search(number);
        }
        Ok(found)
    }
}
