//! What a queue loses with the files that are removed.

use std::collections::BTreeMap;

use super::arrival::Unaligned;
use super::delivered::{Delivered, Ledger};
use super::path::Path;
use super::second::second;
use crate::position::RecordNumber;

/// The entries that a queue loses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// Their number at the beginning of the window.
    entries: usize,
    /// See [`Path::rest`].
    rest: Option<RecordNumber>,
    /// See [`Path::lost_until`].
    lost_until: u32,
}

/// What a queue of `origin` has lost that begins with the log's first file, where `removed_until` has the second of
/// the newest removed transaction of each origin.
pub(super) fn lost_until(removed_until: &BTreeMap<u32, u32>, origin: u32) -> u32 {
    removed_until
        .get(&origin)
        .map_or(0, |second| (*second).max(1))
}

impl Path {
    /// The loss of the entries before record `first` of the ledger, whose files are being removed.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(super) fn loss_before(
        &self,
        path: u16,
        origin: u32,
        first: RecordNumber,
        ledger: &impl Ledger,
    ) -> Result<Loss, Unaligned> {
        let mut until = self.lost_until;
        let mut lose = |entry: &Delivered| until = until.max(second(&entry.fingerprint)).max(1);
        let mut entries = 0;
        for entry in self.window.iter().take_while(|entry| entry.record < first) {
            lose(entry);
            entries += 1;
        }
        let mut rest = self.rest;
        if let Some(from) = self.rest.filter(|rest| *rest < first) {
            let mut next = None;
            let mut accept = |entry: Delivered| {
                if entry.path == path && entry.record >= self.own_until {
                    return true;
                }
                match entry.record < first {
                    true => lose(&entry),
                    false => next = Some(entry.record),
                }
                next.is_none()
            };
            let read = ledger.read(from, origin, &mut accept);
            read.map_err(Unaligned::Ledger)?;
            rest = next;
        }
        Ok(Loss {
            entries,
            rest,
            lost_until: until,
        })
    }

    /// Removes the entries.
    pub(super) fn lose(&mut self, loss: Loss) {
        self.window.drain(..loss.entries.min(self.window.len()));
        (self.rest, self.lost_until) = (loss.rest, loss.lost_until);
    }
}
