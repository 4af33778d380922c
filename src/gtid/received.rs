//! A GTID set that a replica has sent, in as little memory as it took on the wire, or nearly.

use std::collections::VecDeque;

use super::error::GtidError;
use super::intervals::{Interval, Intervals};
use super::mysql::{Gtid, GtidSet, Sid};
use super::mysql_wire::{for_each_interval, for_each_source};

/// The transactions that a replica has.
///
/// A [`GtidSet`] of many sources with few transactions each takes four times the memory of its
/// encoding, and one of many intervals twice while it is read: 15 MiB on the wire are legal, from any
/// replica. This set is read in two passes, and takes less than twice the memory of its encoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceivedGtidSet {
    /// In order. Invariant: every range is within `intervals` and not empty.
    sources: Vec<Source>,
    /// The intervals of each source, in order, with a gap between neighbours.
    intervals: Vec<Interval>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    sid: Sid,
    /// Its first interval.
    start: u32,
    /// The number of its intervals.
    count: u32,
}

impl ReceivedGtidSet {
    /// Reads an encoding that fills `bytes`, as [`GtidSet::decode`] does.
    ///
    /// # Errors
    /// As [`GtidSet::decode`].
    pub fn decode(bytes: &[u8]) -> Result<ReceivedGtidSet, GtidError> {
        let (mut sources, mut intervals) = (0, 0);
        for_each_source(bytes, |scanner, _, _| {
            let before = intervals;
            for_each_interval(scanner, |_| intervals += 1)?;
            sources += usize::from(intervals > before);
            Ok(())
        })?;
        let mut set = ReceivedGtidSet {
            sources: Vec::with_capacity(sources),
            intervals: Vec::with_capacity(intervals),
        };
        for_each_source(bytes, |scanner, sid, at| {
            let start = set.intervals.len();
            for_each_interval(scanner, |interval| set.intervals.push(interval))?;
            let too_many = |_| scanner.error("fewer intervals", at, "2^32 or more".to_owned());
            let count = u32::try_from(set.intervals.len() - start).map_err(too_many)?;
            let start = u32::try_from(start).map_err(too_many)?;
            if count > 0 {
                set.sources.push(Source { sid, start, count });
            }
            Ok(())
        })?;
        set.sources.sort_unstable_by_key(|source| source.sid);
        let mut pairs = set.sources.windows(2);
        let repeated = pairs.find_map(|pair| match pair {
            [one, other] if one.sid == other.sid => Some(one.sid),
            _ => None,
        });
        match repeated {
            Some(sid) => Err(GtidError::repeated_source(&sid)),
            None => Ok(set),
        }
    }

    /// Whether no transaction is in the set.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    fn of_source(&self, sid: &Sid) -> &[Interval] {
        let found = self.sources.binary_search_by_key(sid, |source| source.sid);
        let source = found.ok().and_then(|index| self.sources.get(index));
        source.map_or(&[], |source| self.range(source))
    }

    fn range(&self, source: &Source) -> &[Interval] {
        let start = source.start as usize;
        let range = start..start + source.count as usize;
        self.intervals.get(range).unwrap_or_default()
    }

    /// Whether the transaction is in the set.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        let intervals = self.of_source(&gtid.sid);
        let index = intervals.partition_point(|interval| interval.end < gtid.gno);
        intervals
            .get(index)
            .is_some_and(|interval| interval.start <= gtid.gno)
    }

    /// Whether every transaction of `other` is in the set.
    pub fn contains_all(&self, other: &GtidSet) -> bool {
        other.iter_intervals().all(|(sid, first, last)| {
            let intervals = self.of_source(&sid);
            let index = intervals.partition_point(|interval| interval.end < first);
            intervals
                .get(index)
                .is_some_and(|interval| interval.start <= first && last <= interval.end)
        })
    }

    /// The transactions of `other` that are not in the set.
    pub fn missing_of(&self, other: &GtidSet) -> GtidSet {
        let mut missing = GtidSet::new();
        for (sid, intervals) in &other.sources {
            let mut left = intervals.clone();
            left.subtract_sorted(self.of_source(sid));
            if !left.is_empty() {
                missing.sources.insert(*sid, left);
            }
        }
        missing
    }

    /// Whether `other` has every transaction of the sources that `is_wanted` selects.
    pub fn is_subset_of(&self, other: &GtidSet, is_wanted: impl Fn(&Sid) -> bool) -> bool {
        let wanted = self.sources.iter().filter(|source| is_wanted(&source.sid));
        wanted.into_iter().all(|source| {
            let there = other.sources.get(&source.sid);
            let mut intervals = self.range(source).iter();
            intervals.all(|one| there.is_some_and(|there| there.contains_interval(*one)))
        })
    }

    /// Removes the transactions that `other` has, and frees their memory. The rest stays where it is: a copy of it could
    /// be as large as the set.
    pub fn remove(&mut self, other: &GtidSet) {
        let mut kept = Kept::default();
        let mut sources = std::mem::take(&mut self.sources);
        // In the order of their intervals, which need not be that of the sources.
        sources.sort_unstable_by_key(|source| source.start);
        for source in &mut sources {
            let start = source.start as usize;
            let end = start + source.count as usize;
            let first = kept.count();
            let removed = other.sources.get(&source.sid);
            if removed.is_none() && first == start && kept.waiting.is_empty() {
                kept.written = end;
                continue;
            }
            for index in start..end {
                let Some(interval) = self.intervals.get(index).copied() else {
                    break;
                };
                match removed {
                    None => kept.waiting.push_back(interval),
                    Some(removed) => {
                        removed.holes_in(interval, |piece| kept.waiting.push_back(piece));
                    }
                }
                kept.write(&mut self.intervals, index + 1);
            }
            // As many as there were, and one more for each interval of `other` at most.
            source.start = first as u32;
            source.count = (kept.count() - first) as u32;
        }
        self.intervals.truncate(kept.written);
        self.intervals.extend(kept.waiting);
        sources.retain(|source| source.count > 0);
        sources.sort_unstable_by_key(|source| source.sid);
        self.sources = sources;
        shrink(&mut self.intervals);
        shrink(&mut self.sources);
    }

    /// As the set that [`GtidSet::decode`] would have read, for a message; `None` if it has more intervals than
    /// `intervals_max`.
    pub fn to_small_set(&self, intervals_max: usize) -> Option<GtidSet> {
        (self.intervals.len() <= intervals_max).then(|| self.to_set())
    }

    fn to_set(&self) -> GtidSet {
        let mut set = GtidSet::new();
        for source in &self.sources {
            let intervals = Intervals::from_unsorted(self.range(source).to_vec());
            set.sources.insert(source.sid, intervals);
        }
        set
    }
}

/// Frees unused memory if it is worth a copy.
fn shrink<T>(vector: &mut Vec<T>) {
    if vector.len() <= vector.capacity() / 2 {
        vector.shrink_to_fit();
    }
}

/// The intervals that [`ReceivedGtidSet::remove`] keeps.
#[derive(Default)]
struct Kept {
    /// How many are back in their vector, at its beginning.
    written: usize,
    /// Those after them, while the vector has no space that was read: more come out of an interval than went in where
    /// the middle of it was removed.
    waiting: VecDeque<Interval>,
}

impl Kept {
    fn count(&self) -> usize {
        self.written + self.waiting.len()
    }

    /// Writes to the beginning of `intervals`, of which `read` were read.
    fn write(&mut self, intervals: &mut [Interval], read: usize) {
        let free = intervals.get_mut(self.written..read).unwrap_or_default();
        for place in free {
            let Some(next) = self.waiting.pop_front() else {
                break;
            };
            *place = next;
            self.written += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn received(set: &GtidSet) -> ReceivedGtidSet {
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        ReceivedGtidSet::decode(&bytes).unwrap()
    }

    fn sets() -> impl Strategy<Value = GtidSet> {
        let interval = (0u8..4, 1u64..60, 0u64..8);
        proptest::collection::vec(interval, 0..20).prop_map(|intervals| {
            let mut set = GtidSet::new();
            for (uuid, start, len) in intervals {
                let sid = Sid {
                    uuid: crate::gtid::Uuid([uuid; 16]),
                    tag: crate::gtid::Tag::NONE,
                };
                set.insert_interval(sid, start, start + len);
            }
            set
        })
    }

    proptest! {
        #[test]
        fn answers_are_those_of_the_ordinary_set(one in sets(), other in sets()) {
            let set = received(&one);
            prop_assert_eq!(set.to_set(), one.clone());
            prop_assert_eq!(set.is_empty(), one.is_empty());
            prop_assert_eq!(set.contains_all(&other), other.is_subset_of(&one));
            prop_assert_eq!(set.is_subset_of(&other, |_| true), one.is_subset_of(&other));
            let mut missing = other.clone();
            missing.subtract(&one);
            prop_assert_eq!(set.missing_of(&other), missing);
            for (sid, first, last) in other.iter_intervals() {
                for gno in first..=last {
                    let gtid = Gtid { sid, gno };
                    prop_assert_eq!(set.contains(&gtid), one.contains(&gtid));
                }
            }
            let mut rest = set;
            rest.remove(&other);
            let mut expected = one;
            expected.subtract(&other);
            prop_assert_eq!(rest.to_set(), expected);
        }

        #[test]
        fn invalid_encodings_are_refused_as_by_the_ordinary_set(
            set in sets(), at in 0usize..200, byte in any::<u8>(), cut in 0usize..400
        ) {
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
            bytes.truncate(cut);
            let (one, other) = (ReceivedGtidSet::decode(&bytes), GtidSet::decode(&bytes));
            prop_assert_eq!(one.is_ok(), other.is_ok());
            if let (Ok(one), Ok(other)) = (one, other) {
                prop_assert_eq!(one.to_set(), other);
            }
        }
    }

    #[test]
    fn source_that_appears_twice_is_refused() {
        let set: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().unwrap();
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        let source = bytes[8..].to_vec();
        bytes[0] = 2;
        bytes.extend_from_slice(&source);
        assert!(ReceivedGtidSet::decode(&bytes).is_err());
        assert!(GtidSet::decode(&bytes).is_err());
    }
}
