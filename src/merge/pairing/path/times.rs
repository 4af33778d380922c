//! Commit times that one server logs and another does not.
//!
//! MySQL 8.0 and later log the commit time of each transaction, and keep it when they log another such server's
//! transactions. A server before 8.0 logs these without it, so such a copy has nothing in common with the original:
//! a commit time decides alone, and the content was not digested. It must not be delivered as new.

use super::Path;
use crate::identity::Fingerprint;
use crate::merge::pairing::arrival::{Arrival, Unaligned};
use crate::merge::pairing::delivered::Delivered;
use crate::merge::pairing::find::{is_lone, may_be_without_rows};
use crate::merge::pairing::second::second;

fn is_timed(fingerprint: &Fingerprint) -> bool {
    fingerprint.commit_timestamp != 0
}

impl Path {
    /// Checks that `arrival`, which was not found in the queue, is not a copy of an entry because only one of the two
    /// has a commit time. For `first_file` see [`Path::apply`].
    ///
    /// Order shows it, also while the origin is upgraded to 8.0: its transactions without commit times are before
    /// those with them, on every path. So if the entries that this path has not sent have commit times, what it
    /// sends has one, too; and if it sends one, it has sent all entries without.
    pub(super) fn check_times(
        &self,
        arrival: &Arrival,
        first_file: Option<u32>,
    ) -> Result<(), Unaligned> {
        let is_timed = is_timed(&arrival.fingerprint);
        let other = match is_timed {
            true => self.untimed_entry(arrival, first_file),
            // Its origin itself has no commit time for it, so the peers have none either.
            false if arrival.is_direct() => None,
            false => self.timed_entry(),
        };
        match other.map(|entry| second(&entry.fingerprint)) {
            None => Ok(()),
            Some(other) => Err(Unaligned::OneTimed { is_timed, other }),
        }
    }

    fn timed_entry(&self) -> Option<&Delivered> {
        let mut entries = self.window.iter();
        entries.find(|entry| is_timed(&entry.fingerprint))
    }

    /// An entry without commit time that this path should have sent before one with a commit time.
    fn untimed_entry(&self, arrival: &Arrival, first_file: Option<u32>) -> Option<&Delivered> {
        // An administrator has chosen a position after the entries. Those of the origin's own path are skipped then,
        // see [`crate::merge::pairing::Pairing::deliver`]; the others remain in the queue.
        let are_before_position = match arrival.is_direct() {
            true => self.is_beginning_again(),
            false => self.begins_again,
        };
        if are_before_position {
            return None;
        }
        // A peer that logs rows omits statements that changed none, and any server the dropping of temporary tables.
        let may_be_omitted = |fingerprint: &Fingerprint| {
            may_be_without_rows(fingerprint) && (is_lone(fingerprint) || !arrival.is_direct())
        };
        let mut entries = self.required(first_file);
        entries.find(|entry| {
            !is_timed(&entry.fingerprint)
                && !entry.may_be_repetition
                && !may_be_omitted(&entry.fingerprint)
        })
    }
}
