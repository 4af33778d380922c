//! What the origin's own path has not sent, although other paths have delivered it.

use super::Path;
use crate::merge::pairing::delivered::{Delivered, Ledger};
use crate::merge::pairing::find::{is_lone, may_be_without_rows};
use crate::merge::pairing::second::may_be_lost;
use crate::position::RecordNumber;

impl Path {
    /// The first entry that the origin's own path, which this is, must send. That is not certain of possible
    /// repetitions, of DDL and statements that may have changed no row, and of entries that were committed before the
    /// first file: these, and those that are excused, are passed over. Nothing is certain of what precedes the path's
    /// start, and where one server logs statements and another rows. For `first_file` see [`Path::apply`].
    pub(in crate::merge::pairing) fn unsent(
        &self,
        first_file: Option<u32>,
    ) -> Option<RecordNumber> {
        if self.may_have_lost(first_file) || self.before > 0 || self.formats_differ {
            return None;
        }
        let must_send = |entry: &&Delivered| {
            !entry.may_be_repetition
                && !may_be_without_rows(&entry.fingerprint)
                && !is_lone(&entry.fingerprint)
        };
        let mut required = self.required(first_file);
        required.find(must_send).map(|entry| entry.record)
    }

    /// The entries but those that were committed before the first file, or are excused.
    pub(super) fn required(&self, first_file: Option<u32>) -> impl Iterator<Item = &Delivered> {
        self.window.iter().filter(move |entry| {
            entry.record >= self.excused_until && !may_be_lost(&entry.fingerprint, first_file)
        })
    }

    /// See [`crate::merge::pairing::Pairing::excuse_own`].
    pub(in crate::merge::pairing) fn excuse_before(&mut self, end: RecordNumber) {
        self.excused_until = self.excused_until.max(end);
    }

    /// Whether a transaction that looks like the entry `record` was delivered before it, in the same file of the
    /// ledger or the one before it.
    pub(in crate::merge::pairing) fn is_repeated(
        &self,
        origin: u32,
        record: RecordNumber,
        ledger: &impl Ledger,
    ) -> bool {
        let mut entries = self.window.iter();
        let Some(entry) = entries.find(|entry| entry.record == record) else {
            return false;
        };
        let is_repeated_since = |file| {
            let mut is_repeated = false;
            let mut accept = |before: Delivered| {
                let is_before = before.record < record;
                is_repeated = is_before && before.fingerprint.same_content(&entry.fingerprint);
                is_before && !is_repeated
            };
            let read = ledger.read(RecordNumber { file, record: 0 }, origin, &mut accept);
            read.map(|_| is_repeated)
        };
        // There need not be a file before it: it is the first one, or that was removed.
        is_repeated_since(record.file.saturating_sub(1))
            .or_else(|_| is_repeated_since(record.file))
            .unwrap_or(false)
    }

    /// Whether the origin's own path need not have the entries of the queue.
    pub(super) fn may_have_lost(&self, first_file: Option<u32>) -> bool {
        first_file.is_some() && !self.is_aligned || self.is_beginning_again()
    }
}
