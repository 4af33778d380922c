//! Logical clocks: translates a source's numbers to the relay's.
//!
//! A replica may start a transaction when all transactions with a sequence number up to its
//! `last_committed` have committed. The relay numbers transactions 1, 2, 3 … in each of its files,
//! so the sources' numbers must be translated: two transactions may run in parallel on the relay's
//! replicas only if they could on their own source's. Numbers of different sources, files or
//! connections are not comparable, so a change of any of them is a barrier: all transactions before
//! it must commit first.

use std::collections::VecDeque;

use crate::binlog::mysql_gtid::LogicalClock;

/// The most ranges remembered. If more are needed, the translation allows less parallelism, never
/// more.
const RANGES_MAX: usize = 1024;

/// Consecutive source numbers that became consecutive relay numbers.
#[derive(Debug, Clone, Copy)]
struct Range {
    source_first: i64,
    source_last: i64,
    relay_first: i64,
}

impl Range {
    fn relay_last(&self) -> i64 {
        self.relay_first + (self.source_last - self.source_first)
    }
}

/// Translates the clocks of one relay log file's transactions.
#[derive(Debug, Default)]
pub struct ClockMap {
    /// The source, and its run (see `TransactionBatch::run`), of the newest transaction.
    origin: Option<(u16, u64)>,
    /// The newest relay number that every transaction of the current origin must wait for.
    barrier: i64,
    /// The newest relay number.
    sequence: i64,
    ranges: VecDeque<Range>,
}

impl ClockMap {
    /// For an empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Assigns the clock of the next transaction in the relay's file. It came from `origin` with
    /// the clock `source` (`None`: it has none, and runs alone).
    pub fn assign(&mut self, origin: (u16, u64), source: Option<LogicalClock>) -> LogicalClock {
        let before = self.sequence;
        self.sequence += 1;
        let newest = self
            .ranges
            .back()
            .map_or(i64::MIN, |range| range.source_last);
        // 0 means "unknown" in both fields.
        let usable = source.filter(|clock| {
            clock.sequence_number > 0 && clock.last_committed < clock.sequence_number
        });
        let continues = self.origin == Some(origin)
            && usable.is_some_and(|clock| clock.sequence_number > newest);
        if !continues {
            self.origin = Some(origin);
            self.barrier = before;
            self.ranges.clear();
        }
        let last_committed = match usable {
            Some(clock) if continues => self.translate(clock.last_committed),
            _ => before,
        };
        match usable {
            Some(clock) => self.remember(clock.sequence_number),
            None => self.origin = None,
        }
        LogicalClock {
            last_committed,
            sequence_number: self.sequence,
        }
    }

    /// The newest relay number among the transactions that `source_number` covers.
    fn translate(&self, source_number: i64) -> i64 {
        for (index, range) in self.ranges.iter().enumerate().rev() {
            if source_number >= range.source_last {
                return range.relay_last();
            }
            if source_number >= range.source_first {
                return range.relay_first + (source_number - range.source_first);
            }
            if index == 0 {
                // Older than the remembered ranges, or than the barrier.
                return self.barrier;
            }
        }
        self.barrier
    }

    fn remember(&mut self, source_number: i64) {
        match self.ranges.back_mut() {
            Some(range) if range.source_last + 1 == source_number => {
                range.source_last = source_number;
            }
            _ => {
                if self.ranges.len() == RANGES_MAX
                    && let Some(oldest) = self.ranges.pop_front()
                {
                    // Parallelism that needs the forgotten range is no longer allowed.
                    self.barrier = self.barrier.max(oldest.relay_last());
                }
                self.ranges.push_back(Range {
                    source_first: source_number,
                    source_last: source_number,
                    relay_first: self.sequence,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const M1: (u16, u64) = (0, 1);
    const M2: (u16, u64) = (1, 1);

    fn clock(last_committed: i64, sequence_number: i64) -> Option<LogicalClock> {
        Some(LogicalClock {
            last_committed,
            sequence_number,
        })
    }

    fn pair(clock: LogicalClock) -> (i64, i64) {
        (clock.last_committed, clock.sequence_number)
    }

    #[test]
    fn one_source_keeps_its_parallelism() {
        let mut map = ClockMap::new();
        assert_eq!(pair(map.assign(M1, clock(6, 7))), (0, 1));
        assert_eq!(
            pair(map.assign(M1, clock(6, 8))),
            (0, 2),
            "older than the run: its barrier"
        );
        assert_eq!(pair(map.assign(M1, clock(7, 9))), (1, 3));
        assert_eq!(pair(map.assign(M1, clock(8, 10))), (2, 4));
        assert_eq!(pair(map.assign(M1, clock(8, 11))), (2, 5));
    }

    #[test]
    fn another_source_is_a_barrier_even_if_its_numbers_continue() {
        let mut map = ClockMap::new();
        map.assign(M1, clock(4, 5));
        assert_eq!(pair(map.assign(M2, clock(4, 6))), (1, 2));
        assert_eq!(pair(map.assign(M2, clock(4, 7))), (1, 3));
        assert_eq!(pair(map.assign(M1, clock(4, 6))), (3, 4));
        assert_eq!(
            pair(map.assign((0, 2), clock(4, 7))),
            (4, 5),
            "another run of one source"
        );
    }

    #[test]
    fn transaction_without_a_clock_runs_alone() {
        let mut map = ClockMap::new();
        map.assign(M1, clock(4, 5));
        assert_eq!(pair(map.assign(M1, None)), (1, 2));
        assert_eq!(pair(map.assign(M1, clock(4, 6))), (2, 3));
        assert_eq!(pair(map.assign(M1, clock(0, 0))), (3, 4));
    }

    #[test]
    fn gaps_of_dropped_transactions_map_to_the_transaction_before() {
        let mut map = ClockMap::new();
        map.assign(M1, clock(0, 1)); // relay 1
        map.assign(M1, clock(0, 4)); // relay 2; 2 and 3 were dropped
        assert_eq!(pair(map.assign(M1, clock(3, 5))), (1, 3));
        assert_eq!(pair(map.assign(M1, clock(4, 6))), (2, 4));
    }

    proptest! {
        /// For any input, two transactions may overlap in the relay's file only if they could on
        /// their source.
        #[test]
        fn never_more_parallel_than_the_source(
            steps in prop::collection::vec((0u16..2, 1i64..4, 0i64..6, 0u8..30), 1..400)
        ) {
            let mut map = ClockMap::new();
            let mut next = [0i64; 2];
            let mut runs = [0u64; 2];
            let mut assigned: Vec<((u16, u64), i64, i64, i64)> = Vec::new();
            for (source, step, back, restart) in steps {
                let slot = usize::from(source);
                if restart == 0 {
                    runs[slot] += 1;
                    next[slot] = 0;
                }
                next[slot] += step;
                let sequence = next[slot];
                let last = (sequence - 1 - back).max(0);
                let origin = (source, runs[slot]);
                let clock = map.assign(origin, clock(last, sequence));
                prop_assert_eq!(clock.sequence_number, assigned.len() as i64 + 1);
                prop_assert!(clock.last_committed < clock.sequence_number);
                for (other, _, other_sequence, relay_sequence) in &assigned {
                    let overlaps = *relay_sequence > clock.last_committed;
                    let allowed = *other == origin && *other_sequence > last;
                    prop_assert!(!overlaps || allowed);
                }
                assigned.push((origin, last, sequence, clock.sequence_number));
            }
        }
    }
}
