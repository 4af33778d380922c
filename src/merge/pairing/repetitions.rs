//! What a server that was killed while it replicated logs a second time.

use super::path::{Found, Path};
use super::{Arrival, Delivered};
use crate::transaction::Fingerprint;

/// The newest transaction of one origin that came by a path, and what may look like it next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// By which it is known.
    pub fingerprint: Fingerprint,
    /// The source has begun another binlog file since: it may log it again.
    pub in_next_file: bool,
    /// It was delivered although it may be a repetition, and was none: another path has brought
    /// it. If this path brought it twice, one more is to come.
    pub is_owed: bool,
    /// It was paired with what may be a repetition. If it was one, the queue has one more.
    pub may_be_left: bool,
}

/// Whether a replica does not apply it and note its position in one transaction of InnoDB: it has
/// changed nothing there, or is DDL.
fn may_be_logged_twice(fingerprint: &Fingerprint) -> bool {
    let traits = Fingerprint::MAY_BE_WITHOUT_ROWS | Fingerprint::LONE_STATEMENT;
    fingerprint.traits & traits != 0
}

impl Path {
    /// The source begins another binlog file.
    pub(super) fn begin_file(&mut self) {
        if let Some(newest) = &mut self.newest {
            newest.in_next_file = true;
        }
    }

    /// Takes in what has come by this path.
    pub(super) fn note_newest(&mut self, fingerprint: &Fingerprint) {
        let goes_on = self
            .newest
            .is_none_or(|newest| match fingerprint.commit_timestamp {
                0 => newest.fingerprint != *fingerprint,
                committed => committed > newest.fingerprint.commit_timestamp,
            });
        if goes_on {
            self.newest = Some(Newest {
                fingerprint: *fingerprint,
                in_next_file: false,
                is_owed: false,
                may_be_left: false,
            });
        }
    }

    /// Whether the source, which must be a peer of the origin, logs something a second time: see
    /// [`super::Paired::Repeated`].
    pub(super) fn looks_repeated(&self, arrival: &Arrival) -> bool {
        let fingerprint = &arrival.fingerprint;
        let newest = self.newest.filter(|newest| newest.in_next_file);
        newest.is_some_and(|newest| match fingerprint.commit_timestamp {
            0 => newest.fingerprint == *fingerprint && may_be_logged_twice(fingerprint),
            committed => committed <= newest.fingerprint.commit_timestamp,
        }) && !arrival.is_direct()
    }

    /// Whether it is one that was delivered. `found` is what the queue says.
    pub(super) fn is_repetition(&self, arrival: &Arrival, found: &Found) -> bool {
        let next = Found::First {
            other_format: false,
        };
        self.looks_repeated(arrival)
            && match arrival.fingerprint.commit_timestamp {
                // The next one in the queue is counted first: several may look alike. And when
                // there is none, it may be new.
                0 => *found != next && !self.is_empty(),
                _ => *found == Found::Nowhere,
            }
    }

    /// A killed server repeats one at most, if commit timestamps do not tell.
    pub(super) fn end_repetitions(&mut self, arrival: &Arrival) {
        if let (Some(newest), 0) = (&mut self.newest, arrival.fingerprint.commit_timestamp) {
            newest.in_next_file = false;
        }
        self.note_newest(&arrival.fingerprint);
    }

    /// What was delivered although it may be a repetition stands directly behind the one that it
    /// would repeat: when something else comes by the origin's own path, it was one.
    pub(super) fn drop_repetitions(&mut self, fingerprint: &Fingerprint) {
        let newest = self.newest.filter(|newest| newest.may_be_left);
        while let Some(first) = self.window.front()
            && first.fingerprint != *fingerprint
            && (first.may_be_repetition
                || newest.is_some_and(|newest| newest.fingerprint == first.fingerprint))
        {
            self.window.pop_front();
        }
    }

    /// What is `found`, if it was delivered although it may be a repetition.
    pub(super) fn doubtful(&self, found: &Found) -> Option<Delivered> {
        let entry = match found {
            Found::First { .. } => self.window.front(),
            Found::Behind { index, .. } => self.window.get(*index),
            _ => None,
        };
        entry.filter(|entry| entry.may_be_repetition).copied()
    }

    /// The origin has brought what this path delivered although it may be a repetition.
    pub(super) fn owe(&mut self, fingerprint: &Fingerprint) {
        if let Some(newest) = &mut self.newest
            && newest.fingerprint == *fingerprint
        {
            newest.is_owed = true;
        }
    }

    /// The newest one was paired with what may be a repetition.
    pub(super) fn note_doubt(&mut self) {
        if let Some(newest) = &mut self.newest {
            newest.may_be_left = true;
        }
    }

    /// Whether it is the one that [`Path::owe`] speaks of.
    pub(super) fn take_owed(&mut self, fingerprint: &Fingerprint) -> bool {
        match &mut self.newest {
            Some(newest) if newest.fingerprint == *fingerprint => {
                std::mem::take(&mut newest.is_owed)
            }
            _ => false,
        }
    }
}
