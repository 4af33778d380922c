//! What the positions of paths show of the transactions that began on one server.
//!
//! A server logs the transactions of another one in their order, apart from those that parallel workers exchange.
//! So one that the path of a source has not sent, although it has sent a later one of the same server, may have been
//! executed there without being logged: with `log_slave_updates=OFF` for a while, or a filter.

use std::sync::Arc;

use crate::identity::Identity;

/// The transactions in the log that began on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Their number.
    pub count: u64,
    /// How many of them the replica has.
    pub held: u64,
    /// Without GTIDs: those of which the positions do not show whether the replica has them.
    pub unknown: u64,
    /// The path that has delivered the first one of `unknown`, or else the first one of all.
    pub delivered_by: Arc<str>,
    pub(super) first: Identity,
    /// Those that no path has sent that was asked about, since the last one of which it is known what they are.
    unsent: u64,
    unsent_by: Option<Arc<str>>,
    is_sent_later: bool,
}

impl Origin {
    pub(super) fn new(first: Identity, delivered_by: Arc<str>) -> Self {
        Self {
            count: 0,
            held: 0,
            unknown: 0,
            delivered_by,
            first,
            unsent: 0,
            unsent_by: None,
            is_sent_later: false,
        }
    }

    /// The replica has the next transaction.
    pub(super) fn note_held(&mut self) {
        self.held += 1;
        self.note_unknown();
    }

    /// A path has sent the next transaction after its position: the replica lacks it. What follows the first one
    /// of these was executed later, too.
    pub(super) fn note_sent_later(&mut self) {
        if !self.is_sent_later {
            self.note_unknown();
        }
        self.is_sent_later = true;
    }

    /// No path has sent the next transaction, which `path` has delivered.
    pub(super) fn note_unsent(&mut self, path: Arc<str>) {
        self.unsent += 1;
        self.unsent_by.get_or_insert(path);
    }

    fn note_unknown(&mut self) {
        if self.unsent > 0
            && self.unknown == 0
            && let Some(path) = self.unsent_by.take()
        {
            self.delivered_by = path;
        }
        self.unknown += std::mem::take(&mut self.unsent);
        self.unsent_by = None;
    }
}
