//! The newest delivered transactions, in memory.
//!
//! Each origin has a table with a slot for each of its last numbers. So neither recording nor finding a
//! transaction allocates or searches. All tables have the same number of slots: with more origins (tags; domains
//! and servers) it is halved, so that the memory stays the same.

use std::collections::HashMap;

use super::GtidOrigin;
use crate::identity::CopyEvidence;

/// The most slots of one table, 4 MiB. A power of two. The sources' binlogs of a pair, read from their beginnings, are
/// this far apart at times: what is not found here is read from the commit indexes.
const SLOTS_MAX: usize = 1 << 17;
/// The fewest. A power of two.
const SLOTS_MIN: usize = 1 << 6;
/// The most slots of all tables: 8 MiB.
const SLOTS_OF_ALL: usize = 1 << 18;
/// The most tables: those of which each has the fewest slots. The one that was used least recently is replaced.
const TABLES_MAX: usize = SLOTS_OF_ALL / SLOTS_MIN;

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
    /// The number of the first new transaction: all later ones were noted.
    first: Option<u64>,
}

impl Table {
    fn note(&mut self, slot: Slot) {
        let at = slot.number as usize & (self.slots.len() - 1);
        if let Some(place) = self.slots.get_mut(at) {
            *place = slot;
        }
    }

    /// Reduces the table to `len` slots: of two numbers that need the same one, the higher remains.
    fn shrink(&mut self, len: usize) {
        let before = std::mem::replace(&mut self.slots, vec![Slot::default(); len]);
        for slot in before {
            let at = slot.number as usize & (len - 1);
            match self.slots.get_mut(at) {
                Some(place) if place.number < slot.number => *place = slot,
                _ => {}
            }
        }
    }
}

/// The newest delivered transactions.
#[derive(Debug)]
pub(super) struct Recent {
    tables: Vec<Table>,
    /// Where each origin's table is.
    positions: HashMap<GtidOrigin, usize>,
    /// The table that was used last.
    newest: usize,
    uses: u64,
    /// Slots of each table.
    slots: usize,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self {
            tables: Vec::new(),
            positions: HashMap::new(),
            newest: 0,
            uses: 0,
            slots: SLOTS_MAX,
        }
    }

    /// `is_new`: it was not executed again.
    pub(super) fn note(
        &mut self,
        origin: &GtidOrigin,
        number: u64,
        evidence: CopyEvidence,
        is_new: bool,
    ) {
        let at = match self.position(origin) {
            Some(at) => at,
            None => self.begin(origin),
        };
        if let Some(table) = self.table(at) {
            if is_new {
                table.first.get_or_insert(number);
            }
            table.note(Slot { number, evidence });
        }
    }

    pub(super) fn find(&mut self, origin: &GtidOrigin, number: u64) -> Option<CopyEvidence> {
        let at = self.position(origin)?;
        let table = self.table(at)?;
        let slot = table.slots.get(number as usize & (table.slots.len() - 1))?;
        (slot.number == number && number != 0).then_some(slot.evidence)
    }

    /// The highest noted number between the two.
    pub(super) fn find_between(&mut self, origin: &GtidOrigin, low: u64, high: u64) -> Option<u64> {
        let at = self.position(origin)?;
        let slots = &self.table(at)?.slots;
        let is_noted = |number: &u64| {
            let slot = slots.get(*number as usize & (slots.len() - 1));
            slot.is_some_and(|slot| slot.number == *number)
        };
        // Lower ones would be in the same slots.
        let low = low.max(high.saturating_sub(slots.len() as u64 + 1));
        (low.saturating_add(1)..high).rev().find(is_noted)
    }

    /// Whether all transactions after `number` are noted: numbers of new ones ascend, and up to `highest` none needs
    /// the slot of a lower one.
    pub(super) fn has_all_after(&self, origin: &GtidOrigin, number: u64, highest: u64) -> bool {
        let table = self.position(origin).and_then(|at| self.tables.get(at));
        table.is_some_and(|table| {
            let has_begun = table
                .first
                .is_some_and(|first| first <= number.saturating_add(1));
            has_begun && highest.saturating_sub(number) <= table.slots.len() as u64
        })
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&GtidOrigin) -> bool) {
        self.tables.retain(|table| is_kept(&table.origin));
        self.newest = 0;
        let tables = self.tables.iter().enumerate();
        self.positions = tables.map(|(at, table)| (table.origin, at)).collect();
    }

    fn position(&self, origin: &GtidOrigin) -> Option<usize> {
        let newest = self.tables.get(self.newest);
        if newest.is_some_and(|table| table.origin == *origin) {
            return Some(self.newest);
        }
        self.positions.get(origin).copied()
    }

    fn table(&mut self, at: usize) -> Option<&mut Table> {
        let table = self.tables.get_mut(at)?;
        if at != self.newest {
            self.newest = at;
            self.uses += 1;
            table.used = self.uses;
        }
        Some(table)
    }

    /// Begins a table; returns its position.
    fn begin(&mut self, origin: &GtidOrigin) -> usize {
        self.uses += 1;
        let count = self.tables.len() + 1;
        while count * self.slots > SLOTS_OF_ALL && self.slots > SLOTS_MIN {
            self.slots /= 2;
            let len = self.slots;
            self.tables.iter_mut().for_each(|table| table.shrink(len));
        }
        let mut table = Table {
            origin: *origin,
            slots: Vec::new(),
            used: self.uses,
            first: None,
        };
        if count <= TABLES_MAX {
            table.slots.resize(self.slots, Slot::default());
            self.tables.push(table);
            self.positions.insert(*origin, count - 1);
            return count - 1;
        }
        let tables = self.tables.iter_mut().enumerate();
        let oldest = tables.min_by_key(|(_, table)| table.used);
        let Some((at, oldest)) = oldest else {
            return 0;
        };
        table.slots = std::mem::take(&mut oldest.slots);
        table.slots.fill(Slot::default());
        self.positions.remove(&oldest.origin);
        *oldest = table;
        self.positions.insert(*origin, at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: u64 = SLOTS_MAX as u64;

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
            recent.note(&origin(1), number, evidence(number), true);
            recent.note(&origin(2), number * 2, evidence(number + 7), true);
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
    fn other_origins_remain_when_one_is_forgotten() {
        let mut recent = Recent::new();
        recent.note(&origin(1), 7, evidence(5), true);
        recent.note(&origin(2), 7, evidence(6), true);
        recent.retain(|origin| !origin.is_server(1));
        assert_eq!(recent.find(&origin(1), 7), None);
        assert_eq!(recent.find(&origin(2), 7), Some(evidence(6)));
        recent.note(&origin(1), 7, evidence(8), true);
        assert_eq!(recent.find(&origin(1), 7), Some(evidence(8)));
    }

    #[test]
    fn memory_is_bounded_by_shorter_tables() {
        let mut recent = Recent::new();
        let count = 1000;
        for number in 1..=300 {
            for server in 0..count {
                recent.note(
                    &origin(server),
                    number,
                    evidence(number + u64::from(server)),
                    true,
                );
            }
        }
        let all: usize = recent.tables.iter().map(|table| table.slots.len()).sum();
        assert!(recent.tables.len() == 1000 && all <= SLOTS_OF_ALL);
        for server in 0..count {
            for number in [100, 300] {
                let expected = Some(evidence(number + u64::from(server)));
                assert_eq!(recent.find(&origin(server), number), expected);
            }
            assert_eq!(recent.find(&origin(server), 40), None);
        }
    }

    #[test]
    fn newest_remain_when_tables_become_shorter() {
        let mut recent = Recent::new();
        for number in 1..=SLOTS + 10 {
            recent.note(&origin(1), number, evidence(number), true);
        }
        let tables = SLOTS_OF_ALL as u32 / SLOTS_MAX as u32;
        for server in 2..=tables + 1 {
            recent.note(&origin(server), 1, evidence(5), true);
        }
        assert_eq!(recent.slots as u64, SLOTS / 2);
        let (first, last) = (SLOTS / 2 + 11, SLOTS + 10);
        for number in [first, last] {
            assert_eq!(recent.find(&origin(1), number), Some(evidence(number)));
        }
        assert_eq!(recent.find(&origin(1), first - 1), None);
    }

    #[test]
    fn tables_are_bounded_and_the_least_recently_used_is_replaced() {
        let mut recent = Recent::new();
        for server in 0..TABLES_MAX as u32 {
            recent.note(&origin(server), 1, evidence(5), true);
        }
        assert!(recent.find(&origin(0), 1).is_some());
        recent.note(&origin(999_999), 1, evidence(9), true);
        assert_eq!(recent.tables.len(), TABLES_MAX);
        assert!(recent.find(&origin(0), 1).is_some());
        assert!(recent.find(&origin(1), 1).is_none());
        assert_eq!(recent.find(&origin(999_999), 1), Some(evidence(9)));
        assert!(
            recent
                .find(&origin(999_999), 1 + SLOTS_MIN as u64)
                .is_none()
        );
    }
}
