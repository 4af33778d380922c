//! Which transactions of the window changed a key.

use std::collections::hash_map;

use foldhash::HashMap;

use super::transactions::Key;
use super::writers::{Writer, Writers};

/// The keys of all transactions, each with the path of the transaction's server.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    writers: HashMap<(Key, usize), Writers>,
    /// Keys, counted once per transaction that changed them.
    len: usize,
}

impl KeyIndex {
    /// How many keys all transactions have together.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && self.writers.is_empty()
    }

    /// The transactions of a server that changed a key.
    pub(super) fn writers(&self, key: Key, path: usize) -> Option<&Writers> {
        self.writers.get(&(key, path))
    }

    /// Adds a key of a transaction.
    pub(super) fn add(&mut self, key: Key, path: usize, writer: Writer) {
        self.len += 1;
        self.writers
            .entry((key, path))
            .and_modify(|writers| writers.add(writer))
            .or_insert(Writers::One(writer));
    }

    /// Removes a key of the transaction with this number.
    pub(super) fn remove(&mut self, key: Key, path: usize, number: u64) {
        self.len -= 1;
        if let hash_map::Entry::Occupied(mut writers) = self.writers.entry((key, path))
            && writers.get_mut().remove(number)
        {
            writers.remove();
        }
    }
}
