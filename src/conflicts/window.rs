//! Which transactions changed the same key before either server had the other's: decided by the order on the
//! paths alone, without files, clocks or servers.
//!
//! *Its own path* is the path of the server on which a transaction was executed. There each transaction gets a
//! number, 1, 2, …; transactions of servers that are not sources have none and are never reported. A server has
//! *seen* another's transaction if that, or a later one of the same server, is before in its binlog: a peer may
//! log nothing of a transaction that changed nothing there. So two transactions are *concurrent* if on the own path of
//! each the other is not before it. That is certain as soon as both have arrived on their own paths.
//!
//! A transaction is remembered until all other paths have passed it, or until there are more than
//! [`Limits`] allow. Its keys are only asked for if there is a concurrent transaction of another server.
//!
//! The window may begin to read at any step, and reports nothing that is not concurrent: it uses a transaction only if it has
//! seen its first delivery, and each copy of that comes later.

mod entries;
mod entry;
mod keys;
#[cfg(test)]
mod tests;
mod transactions;
mod writers;

pub use transactions::{Arrival, Key, Pair, Written};

use std::collections::{VecDeque, hash_map};
use std::hash::BuildHasher as _;
use std::rc::Rc;

use foldhash::HashMap;
use foldhash::fast::RandomState;

use self::entries::Entries;
use self::entry::{Arrivals, Entry, FORGOTTEN, NOT_YET, Number, Path, Seen};
use self::keys::KeyIndex;
use self::writers::{Writer, Writers};
use crate::identity::Identity;
use crate::position::SourcePosition;

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Transactions.
    pub transactions: usize,
    /// Keys, of all transactions together.
    pub keys: usize,
}

/// The transactions that can still be concurrent with one that arrives, and their keys.
#[derive(Debug)]
pub struct Window {
    limits: Limits,
    paths: Vec<Path>,
    /// The number of the first entry.
    first: u64,
    /// In the order of delivery; `None` if it is no longer needed.
    entries: VecDeque<Option<Entry>>,
    /// By hash of what identifies them.
    by_identity: HashMap<u64, Entries>,
    hasher: RandomState,
    keys: KeyIndex,
    /// Counts arrivals.
    clock: u64,
    forgotten: u64,
}

impl Window {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            paths: Vec::new(),
            first: 0,
            entries: VecDeque::new(),
            by_identity: HashMap::default(),
            hasher: RandomState::default(),
            keys: KeyIndex::default(),
            clock: 0,
            forgotten: 0,
        }
    }

    /// Forgets everything, as if the window began with the next arrival.
    pub fn clear(&mut self) {
        *self = Self {
            forgotten: self.forgotten,
            ..Self::new(self.limits)
        };
    }

    /// How many transactions were forgotten before all other paths had passed them.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Records which server's binlog a path is. If it is another one than before, everything is forgotten.
    pub fn set_server(&mut self, path: usize, server_id: u32) {
        let known = self.paths.get(path).map_or(0, |path| path.server_id);
        if server_id == 0 || known == server_id {
            return;
        }
        if known != 0 {
            self.clear();
        }
        // A server that is followed on another path now.
        let mut paths = self.paths.iter_mut();
        if let Some(former) = paths.find(|path| path.server_id == server_id) {
            former.server_id = 0;
        }
        if self.paths.len() <= path {
            self.paths.resize_with(path + 1, Path::default);
        }
        let all = self.paths.len();
        for known in &mut self.paths {
            known.seen.resize_with(all, Seen::default);
            known.snapshot = None;
        }
        if let Some(found) = self.paths.get_mut(path) {
            found.server_id = server_id;
        }
    }

    /// Records an arrival. Returns the pairs that it completes: for each key and each other server, the newest concurrent
    /// transaction. `read` reads the keys of a transaction.
    pub fn arrive(
        &mut self,
        arrival: Arrival,
        read: &mut dyn FnMut(&Written) -> Vec<Key>,
    ) -> Vec<Pair> {
        self.clock += 1;
        let path = arrival.path;
        let mut paths = self.paths.iter();
        let own_path = paths.position(|known| known.server_id == arrival.server_id);
        let is_known = arrival.server_id != 0 && path < self.paths.len();
        let Some(own_path) = own_path.filter(|_| is_known) else {
            return Vec::new();
        };
        let Some(id) = self.find_or_add(arrival.delivered, &arrival.identity, own_path, path)
        else {
            self.note_unknown(&arrival.identity, own_path, path);
            return Vec::new();
        };
        let clock = self.clock;
        if let Some(entry) = self.entry_mut(id) {
            entry.arrived.set(path, clock);
        }
        let pairs = match path == own_path {
            true => self.arrive_on_own(id, own_path, arrival.position, read),
            false => {
                self.note_seen(id, own_path, path);
                Vec::new()
            }
        };
        self.drop_passed(own_path);
        self.drop_arrived(own_path);
        self.limit();
        pairs
    }

    /// The entry of an arrival, which is a new one or has not arrived on this path.
    fn find_or_add(
        &mut self,
        delivered: Option<Written>,
        identity: &Identity,
        own_path: usize,
        path: usize,
    ) -> Option<u64> {
        let server_id = self.paths.get(own_path)?.server_id;
        let identity = distinguishing(identity);
        let hash = self.hasher.hash_one((identity, server_id));
        let found = {
            let same = self.by_identity.get(&hash);
            let same = same.into_iter().flat_map(Entries::iter);
            let mut same = same.filter_map(|id| Some((id, self.entry(id)?)));
            let found = same.find(|(_, entry)| {
                let known = &entry.written;
                known.server_id == server_id
                    && distinguishing(&known.identity) == identity
                    && (delivered.is_some() || entry.arrived_on(path) == 0)
            });
            found.map(|(id, _)| id)
        };
        let Some(written) = delivered else {
            return found;
        };
        if !matches!(identity, Identity::Anonymous(_))
            && let Some(former) = found
        {
            // Of a former history.
            self.remove(former);
        }
        let id = self.first + self.entries.len() as u64;
        self.by_identity
            .entry(hash)
            .and_modify(|same| same.push(id))
            .or_insert(Entries::One(id));
        if path != own_path {
            self.paths.get_mut(own_path)?.pending.push_back(id);
        }
        self.entries.push_back(Some(Entry {
            written,
            own_path,
            number: Number::Own(NOT_YET),
            arrived: Arrivals::default(),
            seen: None,
            keys: None,
        }));
        Some(id)
    }

    /// A copy of an unknown transaction. With GTIDs it is older than all that are remembered. Without, it may
    /// be the copy of a statement as rows, or of partial row images: the server then counts as having seen everything. On its
    /// own path it may be the oldest that has not arrived there, which is forgotten.
    fn note_unknown(&mut self, identity: &Identity, own_path: usize, path: usize) {
        if !matches!(identity, Identity::Anonymous(_)) {
            return;
        }
        if path == own_path {
            let pending = self.paths.get_mut(path).map(|path| &mut path.pending);
            if let Some(id) = pending.and_then(VecDeque::pop_front) {
                self.remove(id);
            }
            self.drop_passed(own_path);
            return;
        }
        let newest = self.paths.get(own_path).map_or(0, |own| own.newest);
        if let Some(path) = self.paths.get_mut(path)
            && let Some(seen) = path.seen.get_mut(own_path)
        {
            seen.newest = newest;
            seen.pending = None;
            path.snapshot = None;
        }
        self.drop_passed(own_path);
    }

    fn note_seen(&mut self, id: u64, own_path: usize, path: usize) {
        let Some(number) = self.entry_mut(id).map(|entry| match entry.number.get() {
            NOT_YET => Number::Shared(entry.number.share()),
            number => Number::Own(number),
        }) else {
            return;
        };
        let Some(path) = self.paths.get_mut(path) else {
            return;
        };
        path.snapshot = None;
        let Some(seen) = path.seen.get_mut(own_path) else {
            return;
        };
        match number {
            Number::Shared(number) => seen.pending = Some(number),
            Number::Own(number) => {
                seen.newest = seen.newest.max(number);
                // What was pending is before this one, so it would have arrived on its own path, too. Without
                // GTIDs it was a changed copy of another one.
                seen.pending = None;
            }
        }
    }

    fn arrive_on_own(
        &mut self,
        id: u64,
        own_path: usize,
        position: SourcePosition,
        read: &mut dyn FnMut(&Written) -> Vec<Key>,
    ) -> Vec<Pair> {
        let Some(path) = self.paths.get_mut(own_path) else {
            return Vec::new();
        };
        path.newest += 1;
        path.open.push_back(id);
        let number = path.newest;
        let seen: &Rc<[Seen]> = path
            .snapshot
            .get_or_insert_with(|| path.seen.as_slice().into());
        let seen = seen.clone();
        if let Some(entry) = self.entry_mut(id) {
            entry.number.set(number);
            entry.seen = Some(seen.clone());
            entry.written.position = position;
        }
        if !self.read_concurrent(own_path, &seen, read) {
            if let Some(path) = self.paths.get_mut(own_path) {
                path.unread.push_back(id);
            }
            return Vec::new();
        }
        self.read_keys(id, read);
        self.compare(id)
    }

    /// Reads the keys of the other servers' transactions that the server of a transaction had not
    /// seen. Returns whether there are any.
    fn read_concurrent(
        &mut self,
        own_path: usize,
        seen: &[Seen],
        read: &mut dyn FnMut(&Written) -> Vec<Key>,
    ) -> bool {
        let mut found = false;
        for (other, seen) in seen.iter().enumerate() {
            if other == own_path {
                continue;
            }
            let is_after = |window: &Self, id: &u64| {
                let entry = window.entry(*id);
                entry.map(|entry| !seen.covers(entry.number.get()))
            };
            let Some(path) = self.paths.get(other) else {
                continue;
            };
            let newest = path.open.back();
            found |= newest.is_some_and(|id| is_after(self, id) == Some(true));
            let unread = path.unread.iter().rev();
            let count = unread
                .take_while(|id| is_after(self, id) != Some(false))
                .count();
            let first = path.unread.len() - count;
            if count > 0
                && let Some(path) = self.paths.get_mut(other)
            {
                // In the order of the log, which is read in blocks: backwards, each one would take a block of its own.
                let unread = path.unread.split_off(first);
                unread.into_iter().for_each(|id| self.read_keys(id, read));
            }
        }
        found
    }

    fn read_keys(&mut self, id: u64, read: &mut dyn FnMut(&Written) -> Vec<Key>) {
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        let (own_path, number) = (entry.own_path, entry.number.get());
        let keys = read(&entry.written);
        let writer = Writer { number, id };
        keys.iter()
            .for_each(|key| self.keys.add(*key, own_path, writer));
        if let Some(entry) = self.entry_mut(id) {
            entry.keys = Some(keys);
        }
    }

    fn compare(&self, id: u64) -> Vec<Pair> {
        let mut pairs = Vec::new();
        let Some(entry) = self.entry(id) else {
            return pairs;
        };
        for key in entry.keys.iter().flatten() {
            let others = (0..self.paths.len()).filter(|path| *path != entry.own_path);
            let writers = others.filter_map(|path| self.keys.writers(*key, path));
            let newest = writers.filter_map(|writers| self.newest_concurrent(entry, writers));
            pairs.extend(newest.map(|other| Pair {
                writes: [other.written.clone(), entry.written.clone()],
                paths: [other.own_path, entry.own_path],
                key: *key,
            }));
        }
        pairs
    }

    fn newest_concurrent(&self, entry: &Entry, writers: &Writers) -> Option<&Entry> {
        let newest_first = writers.as_slices().into_iter().rev();
        let newest_first = newest_first.flat_map(|writers| writers.iter().rev());
        let others = newest_first.filter_map(|writer| self.entry(writer.id));
        // Peers apply each server's transactions in their order: what is before one that was seen, was seen too.
        let mut unseen = others.take_while(|other| !entry.had_seen(other));
        unseen.find(|other| !other.had_seen(entry))
    }

    /// Forgets the transactions of a server that all other servers have seen.
    fn drop_passed(&mut self, own_path: usize) {
        let newest = self.paths.get(own_path).map_or(0, |own| own.newest);
        let mut passed = newest;
        for (number, path) in self.paths.iter_mut().enumerate() {
            let is_source = path.server_id != 0 && number != own_path;
            let Some(seen) = path.seen.get_mut(own_path).filter(|_| is_source) else {
                continue;
            };
            match seen.pending.as_ref().map(|pending| pending.get()) {
                Some(NOT_YET) => continue,
                Some(number) => {
                    seen.newest = seen.newest.max(number);
                    seen.pending = None;
                    path.snapshot = None;
                }
                None => {}
            }
            passed = passed.min(seen.newest);
        }
        while let Some(path) = self.paths.get_mut(own_path)
            && let Some(id) = path.open.pop_front()
        {
            match self.entry(id).map(|entry| entry.number.get()) {
                Some(number) if number > passed => {
                    if let Some(path) = self.paths.get_mut(own_path) {
                        path.open.push_front(id);
                    }
                    break;
                }
                _ => self.remove(id),
            }
        }
        while let Some(path) = self.paths.get_mut(own_path)
            && let Some(id) = path.unread.pop_front()
        {
            if self.entry(id).is_some() {
                if let Some(path) = self.paths.get_mut(own_path) {
                    path.unread.push_front(id);
                }
                break;
            }
        }
    }

    /// Drops from the pending ones those that have arrived on their own path.
    fn drop_arrived(&mut self, own_path: usize) {
        let is_pending = |entry: &Entry| entry.number.get() == NOT_YET;
        while let Some(path) = self.paths.get(own_path)
            && let Some(id) = path.pending.front()
            && !self.entry(*id).is_some_and(is_pending)
        {
            if let Some(path) = self.paths.get_mut(own_path) {
                path.pending.pop_front();
            }
        }
    }

    /// Forgets the oldest transactions where there are too many.
    fn limit(&mut self) {
        while self.entries.len() > self.limits.transactions || self.keys.len() > self.limits.keys {
            match self.entries.front() {
                None => return,
                Some(None) => {
                    self.entries.pop_front();
                    self.first += 1;
                }
                Some(Some(_)) => {
                    self.forgotten += 1;
                    self.remove(self.first);
                }
            }
        }
    }

    fn entry(&self, id: u64) -> Option<&Entry> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.entries.get(at)?.as_ref()
    }

    fn entry_mut(&mut self, id: u64) -> Option<&mut Entry> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(at)?.as_mut()
    }

    fn remove(&mut self, id: u64) {
        let Some(at) = id
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok())
        else {
            return;
        };
        let Some(mut entry) = self.entries.get_mut(at).and_then(Option::take) else {
            return;
        };
        if entry.number.get() == NOT_YET {
            entry.number.set(FORGOTTEN);
        }
        let identity = distinguishing(&entry.written.identity);
        let hash = self.hasher.hash_one((identity, entry.written.server_id));
        if let hash_map::Entry::Occupied(mut same) = self.by_identity.entry(hash)
            && same.get_mut().remove(id)
        {
            same.remove();
        }
        let (own_path, number) = (entry.own_path, entry.number.get());
        for key in entry.keys.into_iter().flatten() {
            self.keys.remove(key, own_path, number);
        }
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

/// The part of an identity that copies have in common.
fn distinguishing(identity: &Identity) -> Identity {
    match identity {
        Identity::Anonymous(fingerprint) if fingerprint.commit_timestamp != 0 => {
            Identity::Anonymous(crate::identity::Fingerprint {
                commit_timestamp: fingerprint.commit_timestamp,
                ..Default::default()
            })
        }
        identity => *identity,
    }
}
