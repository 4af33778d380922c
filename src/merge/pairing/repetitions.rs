//! The transactions that a server logs a second time after it was killed while replicating.

use std::collections::VecDeque;

use super::arrival::Arrival;
use crate::identity::Fingerprint;

/// The most transactions remembered that may be logged again. MySQL 5.6 with
/// relay_log_info_repository=TABLE saves its position at the latest after 10,000 transactions
/// (sync_relay_log_info), and was never observed to go back further.
pub(super) const AGAIN_MAX: usize = 10_000;

/// The last transactions of one origin on a path, which its server may log again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repetitions {
    /// The newest transactions, oldest first: from the last one on with which the path's server
    /// saves its position.
    pub newest: VecDeque<Fingerprint>,
    /// Transactions that the path's server may log again after its last restart.
    pub again: VecDeque<Fingerprint>,
}

/// Whether a replica does not save its position in the same InnoDB transaction: it changes no
/// InnoDB table, or is DDL.
fn has_no_saved_position(fingerprint: &Fingerprint) -> bool {
    let traits = Fingerprint::ENDED_BY_STATEMENT | Fingerprint::LONE_STATEMENT;
    fingerprint.traits & traits != 0
}

impl Repetitions {
    /// Records a restart of the path's server.
    pub(super) fn note_restart(&mut self) {
        self.again.clone_from(&self.newest);
    }

    pub(super) fn may_come_again(&self, fingerprint: &Fingerprint) -> bool {
        // The repetition of a DELETE finds no rows, so it ends differently; its content is the
        // same.
        let mut again = self.again.iter();
        again.any(|one| one.same_content(fingerprint))
    }

    /// Records that `arrival` arrived on this path and is not a repetition.
    pub(super) fn note(&mut self, arrival: &Arrival) {
        // A server logs its own transactions once.
        if arrival.is_direct() {
            return;
        }
        let fingerprint = &arrival.fingerprint;
        if !has_no_saved_position(fingerprint) {
            self.newest.clear();
            // An identical-looking one may arrive before the repetition.
            if !self.may_come_again(fingerprint) {
                self.again.clear();
            }
        } else if self.newest.len() == AGAIN_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(*fingerprint);
    }

    /// Whether `arrival`, which was not found in the queue, may be a repetition.
    pub(super) fn may_be(&self, arrival: &Arrival) -> bool {
        let fingerprint = &arrival.fingerprint;
        has_no_saved_position(fingerprint)
            && !arrival.is_direct()
            && self.may_come_again(fingerprint)
    }
}
