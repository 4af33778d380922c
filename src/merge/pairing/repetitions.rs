//! What a server that was killed while it replicated logs a second time.

use std::collections::VecDeque;

use super::arrival::Arrival;
use crate::identity::Fingerprint;

/// The most transactions remembered that may be logged again. MySQL 5.6 with
/// relay_log_info_repository=TABLE saves its position after each 10,000th transaction
/// (sync_relay_log_info), and was seen to go back no further.
pub(super) const AGAIN_MAX: usize = 10_000;

/// The transactions of one origin that a path sent last, and that may be logged again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repetitions {
    /// The newest transaction, and those before it that its server applies without saving its
    /// position in the same step; oldest first.
    pub newest: VecDeque<Fingerprint>,
    /// Transactions that the source may log again since its server was restarted.
    pub again: VecDeque<Fingerprint>,
}

/// Whether a replica does not apply it and save its position in one InnoDB transaction: nothing
/// was changed there, or it is DDL.
fn is_apart(fingerprint: &Fingerprint) -> bool {
    let traits = Fingerprint::ENDED_BY_STATEMENT | Fingerprint::LONE_STATEMENT;
    fingerprint.traits & traits != 0
}

impl Repetitions {
    /// Notes that the source's server was restarted.
    pub(super) fn note_restart(&mut self) {
        self.again.clone_from(&self.newest);
    }

    pub(super) fn may_come_again(&self, fingerprint: &Fingerprint) -> bool {
        // Repeated, a DELETE finds nothing, and so ends in another way.
        let mut again = self.again.iter();
        again.any(|one| one.same_content(fingerprint))
    }

    /// Notes that `arrival` came by this path and is not a repetition.
    pub(super) fn note(&mut self, arrival: &Arrival) {
        // A server logs its own transactions once.
        if arrival.is_direct() {
            return;
        }
        let fingerprint = &arrival.fingerprint;
        if !is_apart(fingerprint) {
            self.newest.clear();
            // Another one that looks alike may come before the repetition.
            if !self.may_come_again(fingerprint) {
                self.again.clear();
            }
        } else if self.newest.len() == AGAIN_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(*fingerprint);
    }

    /// Whether `arrival`, which was not found in the queue and is not certainly a repetition, may
    /// be one.
    pub(super) fn may_be(&self, arrival: &Arrival) -> bool {
        let fingerprint = &arrival.fingerprint;
        is_apart(fingerprint) && !arrival.is_direct() && self.may_come_again(fingerprint)
    }
}
