//! What a server that was killed while it replicated logs a second time.

use std::collections::VecDeque;

use super::Arrival;
use super::path::{Found, Path};
use crate::identity::Fingerprint;

/// How many transactions are kept of those that may come again: MySQL 5.6 with
/// relay_log_info_repository=TABLE notes the position after each 10,000th of them
/// (sync_relay_log_info), and goes back no further (seen).
pub(super) const AGAIN_MAX: usize = 10_000;

/// What came by a path last, of one origin, and may come again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repetitions {
    /// The newest one, and those before it that its server applies without noting its position in
    /// the same step; oldest first.
    pub newest: VecDeque<Fingerprint>,
    /// What the source may log again since its server was started again.
    pub again: VecDeque<Fingerprint>,
}

/// Whether a replica does not apply it and note its position in one transaction of InnoDB: nothing
/// was changed there, or it is DDL.
fn is_apart(fingerprint: &Fingerprint) -> bool {
    let traits = Fingerprint::ENDED_BY_STATEMENT | Fingerprint::LONE_STATEMENT;
    fingerprint.traits & traits != 0
}

impl Repetitions {
    /// The source's server was started again.
    pub(super) fn note_start(&mut self) {
        self.again.clone_from(&self.newest);
    }

    fn may_come_again(&self, fingerprint: &Fingerprint) -> bool {
        // Repeated, a DELETE finds nothing, and so ends in another way.
        let mut again = self.again.iter();
        again.any(|one| one.same_content(fingerprint))
    }

    pub(super) fn note(&mut self, fingerprint: &Fingerprint) {
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
}

impl Path {
    /// Takes in what has come by this path, and is no repetition.
    pub(super) fn note_brought(&mut self, arrival: &Arrival) {
        // A server logs its own transactions once.
        if !arrival.is_direct() {
            self.repetitions.note(&arrival.fingerprint);
        }
    }

    /// Whether `arrival`, which is `found` in the queue, is what the source, a peer of the origin,
    /// has brought before.
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

    /// Whether what was found nowhere, and is no repetition for certain, may be one.
    pub(super) fn may_be_repetition(&self, arrival: &Arrival) -> bool {
        let fingerprint = &arrival.fingerprint;
        is_apart(fingerprint)
            && !arrival.is_direct()
            && self.repetitions.may_come_again(fingerprint)
    }

    /// What was delivered although it may be a repetition stands behind what it would repeat, with
    /// nothing between but others of this kind: when something else comes by the origin's own path,
    /// they were repetitions.
    pub(super) fn drop_repetitions(&mut self, next: &Fingerprint) {
        while let Some(first) = self.window.front()
            && first.may_be_repetition
            && !first.fingerprint.same_content(next)
        {
            self.window.pop_front();
        }
    }
}
