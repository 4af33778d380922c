//! Which entries look alike.

use std::collections::VecDeque;

/// The numbers of entries, in order. Only transactions without GTIDs may look alike.
#[derive(Debug)]
pub(super) enum Entries {
    One(u64),
    Many(VecDeque<u64>),
}

impl Entries {
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let (one, many) = match self {
            Entries::One(id) => (Some(*id), None),
            Entries::Many(ids) => (None, Some(ids.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Adds one that is after all others.
    pub(super) fn push(&mut self, id: u64) {
        match self {
            Entries::One(first) => *self = Entries::Many(VecDeque::from([*first, id])),
            Entries::Many(ids) => ids.push_back(id),
        }
    }

    /// Returns whether it was the last one.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        match self {
            Entries::One(one) => *one == id,
            Entries::Many(ids) if ids.front() == Some(&id) => {
                ids.pop_front();
                ids.is_empty()
            }
            Entries::Many(ids) => {
                ids.retain(|known| *known != id);
                ids.is_empty()
            }
        }
    }
}
