//! What the window remembers of paths and transactions.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::transactions::{Key, Written};

/// The number of a transaction that has not arrived on its own path.
pub(super) const NOT_YET: u64 = u64::MAX;
/// The number of a transaction that was forgotten before it arrived on its own path.
pub(super) const FORGOTTEN: u64 = 0;

/// The number of a transaction, for which others may wait.
#[derive(Debug)]
pub(super) enum Number {
    /// Nothing waits for it.
    Own(u64),
    /// Paths that have seen the transaction wait for it.
    Shared(Rc<Cell<u64>>),
}

impl Number {
    pub(super) fn get(&self) -> u64 {
        match self {
            Number::Own(number) => *number,
            Number::Shared(number) => number.get(),
        }
    }

    pub(super) fn set(&mut self, new: u64) {
        match self {
            Number::Own(number) => *number = new,
            Number::Shared(number) => number.set(new),
        }
    }

    pub(super) fn share(&mut self) -> Rc<Cell<u64>> {
        let number = match self {
            Number::Own(number) => Rc::new(Cell::new(*number)),
            Number::Shared(number) => return number.clone(),
        };
        *self = Number::Shared(number.clone());
        number
    }
}

/// Paths whose arrivals are kept in the entry itself.
const PATHS_INLINE: usize = 4;

/// By path: when a transaction arrived there; 0 before that.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    first: [u64; PATHS_INLINE],
    more: Vec<u64>,
}

impl Arrivals {
    pub(super) fn on(&self, path: usize) -> u64 {
        let found = match path.checked_sub(PATHS_INLINE) {
            None => self.first.get(path),
            Some(path) => self.more.get(path),
        };
        found.copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, path: usize, arrived: u64) {
        let slot = match path.checked_sub(PATHS_INLINE) {
            None => self.first.get_mut(path),
            Some(path) => {
                if self.more.len() <= path {
                    self.more.resize(path + 1, 0);
                }
                self.more.get_mut(path)
            }
        };
        if let Some(slot) = slot {
            *slot = arrived;
        }
    }
}

/// A path, and the transactions of its server.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// 0 until it is known.
    pub(super) server_id: u32,
    /// The number of the newest transaction of its server.
    pub(super) newest: u64,
    /// By path: what this server has seen of the other's.
    pub(super) seen: Vec<Seen>,
    /// The same, shared by the transactions that began with it.
    pub(super) snapshot: Option<Rc<[Seen]>>,
    /// The transactions of its server that not all other paths have passed, in order.
    pub(super) open: VecDeque<u64>,
    /// Those of them whose keys were not read.
    pub(super) unread: VecDeque<u64>,
    /// The transactions of its server that other paths have delivered, but not this one, in order.
    pub(super) pending: VecDeque<u64>,
}

/// How far one server has seen another's transactions.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) newest: u64,
    /// The newest one that had not arrived on its own path: it comes after all that had.
    pub(super) pending: Option<Rc<Cell<u64>>>,
}

impl Seen {
    /// Whether the transaction with this number was seen.
    pub(super) fn covers(&self, number: u64) -> bool {
        let pending = self.pending.as_ref();
        self.newest >= number || pending.is_some_and(|pending| pending.get() >= number)
    }
}

/// A transaction that is remembered.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) written: Written,
    /// Its server's path.
    pub(super) own_path: usize,
    pub(super) number: Number,
    pub(super) arrived: Arrivals,
    /// By path: what its server had seen when it was executed.
    pub(super) seen: Option<Rc<[Seen]>>,
    pub(super) keys: Option<Vec<Key>>,
}

impl Entry {
    /// When it arrived on a path; 0 before that.
    pub(super) fn arrived_on(&self, path: usize) -> u64 {
        self.arrived.on(path)
    }

    /// Whether the server of this transaction had seen `other` when it executed it. Both have
    /// arrived on their own paths.
    pub(super) fn had_seen(&self, other: &Entry) -> bool {
        let there = other.arrived_on(self.own_path);
        let seen = self.seen.as_ref().and_then(|seen| seen.get(other.own_path));
        (there != 0 && there < self.arrived_on(self.own_path))
            || seen.is_some_and(|seen| seen.covers(other.number.get()))
    }
}
