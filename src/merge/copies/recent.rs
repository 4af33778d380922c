//! The newest delivered transactions, in memory.
//!
//! Each origin has a table with a slot for each of its last [`SLOTS`] numbers. So neither recording nor
//! finding a transaction allocates or searches.

use super::GtidOrigin;
use crate::identity::CopyEvidence;

/// Slots of one table. A power of two.
const SLOTS: u64 = 1 << 14;
/// The most tables: 8 MiB. The table that was used least recently is replaced.
const TABLES_MAX: usize = 16;

/// A transaction; number 0 is none.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    number: u64,
    evidence: CopyEvidence,
}

#[derive(Debug)]
struct Table {
    origin: GtidOrigin,
    slots: Vec<Slot>,
    /// When it was used last, by [`Recent::uses`].
    used: u64,
}

/// The newest delivered transactions.
#[derive(Debug)]
pub(super) struct Recent {
    tables: Vec<Table>,
    /// The table that was used last.
    newest: usize,
    uses: u64,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self {
            tables: Vec::new(),
            newest: 0,
            uses: 0,
        }
    }

    pub(super) fn note(&mut self, origin: &GtidOrigin, number: u64, evidence: CopyEvidence) {
        let at = match self.position(origin) {
            Some(at) => at,
            None => self.begin(origin),
        };
        if let Some(slot) = self.slot(at, number) {
            *slot = Slot { number, evidence };
        }
    }

    pub(super) fn find(&mut self, origin: &GtidOrigin, number: u64) -> Option<CopyEvidence> {
        let at = self.position(origin)?;
        let slot = self.slot(at, number)?;
        (slot.number == number && number != 0).then_some(slot.evidence)
    }

    fn position(&self, origin: &GtidOrigin) -> Option<usize> {
        let is_it = |table: &Table| table.origin == *origin;
        if self.tables.get(self.newest).is_some_and(is_it) {
            return Some(self.newest);
        }
        self.tables.iter().position(is_it)
    }

    fn slot(&mut self, at: usize, number: u64) -> Option<&mut Slot> {
        let table = self.tables.get_mut(at)?;
        if at != self.newest {
            self.newest = at;
            self.uses += 1;
            table.used = self.uses;
        }
        table.slots.get_mut((number % SLOTS) as usize)
    }

    /// Begins a table; returns its position.
    fn begin(&mut self, origin: &GtidOrigin) -> usize {
        self.uses += 1;
        let mut table = Table {
            origin: *origin,
            slots: Vec::new(),
            used: self.uses,
        };
        if self.tables.len() < TABLES_MAX {
            table.slots.resize(SLOTS as usize, Slot::default());
            self.tables.push(table);
            return self.tables.len() - 1;
        }
        let mut oldest = 0;
        for (at, one) in self.tables.iter().enumerate() {
            let is_older = |other: &Table| one.used < other.used;
            if self.tables.get(oldest).is_some_and(is_older) {
                oldest = at;
            }
        }
        if let Some(replaced) = self.tables.get_mut(oldest) {
            table.slots = std::mem::take(&mut replaced.slots);
            table.slots.fill(Slot::default());
            *replaced = table;
        }
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(server_id: u32) -> GtidOrigin {
        GtidOrigin::MariaDb {
            domain_id: 0,
            server_id,
        }
    }

    fn evidence(commit_time_us: u64) -> CopyEvidence {
        CopyEvidence {
            commit_time_us,
            ..CopyEvidence::default()
        }
    }

    #[test]
    fn last_transactions_of_each_origin_are_found() {
        let mut recent = Recent::new();
        for number in 1..=SLOTS + 10 {
            recent.note(&origin(1), number, evidence(number));
            recent.note(&origin(2), number * 2, evidence(number + 7));
        }
        assert_eq!(recent.find(&origin(1), 10), None);
        assert_eq!(recent.find(&origin(1), 11), Some(evidence(11)));
        assert_eq!(recent.find(&origin(1), SLOTS + 11), None);
        assert_eq!(
            recent.find(&origin(2), 2 * SLOTS),
            Some(evidence(SLOTS + 7))
        );
        assert_eq!(recent.find(&origin(2), 2 * SLOTS + 1), None);
        assert_eq!(recent.find(&origin(3), 1), None);
        assert_eq!(recent.find(&origin(1), 0), None);
    }

    #[test]
    fn tables_are_bounded_and_the_least_recently_used_is_replaced() {
        let mut recent = Recent::new();
        for server in 0..TABLES_MAX as u32 {
            recent.note(&origin(server), 1, evidence(5));
        }
        assert!(recent.find(&origin(0), 1).is_some());
        recent.note(&origin(99), 1, evidence(9));
        assert_eq!(recent.tables.len(), TABLES_MAX);
        assert!(recent.find(&origin(0), 1).is_some());
        assert!(recent.find(&origin(1), 1).is_none());
        assert_eq!(recent.find(&origin(99), 1), Some(evidence(9)));
        assert!(recent.find(&origin(99), 1 + SLOTS).is_none());
    }
}
