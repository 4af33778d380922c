//! Sorted transaction numbers of one source, stored as intervals.

/// The transactions `start..=end`, both at least 1 and below `i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Interval {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Intervals in ascending order with at least one missing number between neighbours, so equal
/// sets have equal representations.
///
/// A vector rather than a tree: nearly every set is one interval that grows at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Intervals(Vec<Interval>);

impl Intervals {
    /// From intervals in any order, overlapping or not.
    pub(super) fn from_unsorted(intervals: Vec<Interval>) -> Intervals {
        let mut set = Intervals(intervals);
        set.normalise();
        set
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Interval> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> u128 {
        self.0.iter().map(|i| u128::from(i.end - i.start) + 1).sum()
    }

    /// The position of the first interval that ends at or after `gno`.
    fn position(&self, gno: u64) -> usize {
        match self.0.last() {
            Some(last) if last.start <= gno && gno <= last.end => self.0.len() - 1,
            Some(last) if last.end < gno => self.0.len(),
            _ => self.0.partition_point(|i| i.end < gno),
        }
    }

    pub(super) fn contains(&self, gno: u64) -> bool {
        self.0
            .get(self.position(gno))
            .is_some_and(|i| i.start <= gno)
    }

    /// Adds one number; true when it was missing.
    pub(super) fn insert(&mut self, gno: u64) -> bool {
        if let Some(last) = self.0.last_mut()
            && last.end + 1 == gno
        {
            last.end = gno;
            return true;
        }
        if self.contains(gno) {
            return false;
        }
        self.insert_interval(Interval {
            start: gno,
            end: gno,
        });
        true
    }

    pub(super) fn insert_interval(&mut self, new: Interval) {
        // The intervals from `first` up to `after` overlap the new one or touch it.
        let first = self.0.partition_point(|i| i.end + 1 < new.start);
        let after = self.0.partition_point(|i| i.start <= new.end + 1);
        let end = match after.checked_sub(1).and_then(|last| self.0.get(last)) {
            Some(last) if first < after => last.end.max(new.end),
            _ => return self.0.insert(first, new),
        };
        if let Some(merged) = self.0.get_mut(first) {
            merged.start = merged.start.min(new.start);
            merged.end = end;
        }
        self.0.drain(first + 1..after);
    }

    pub(super) fn union_with(&mut self, other: &Intervals) {
        self.0.extend_from_slice(&other.0);
        self.normalise();
    }

    /// Sorts and merges. The sort finds existing runs, so two sorted halves merge in linear time.
    fn normalise(&mut self) {
        self.0.sort();
        self.0.dedup_by(|next, kept| {
            let joins = next.start <= kept.end + 1;
            if joins {
                kept.end = kept.end.max(next.end);
            }
            joins
        });
    }

    pub(super) fn subtract(&mut self, other: &Intervals) {
        self.subtract_sorted(&other.0);
    }

    /// Removes intervals that are in order, with a gap between neighbours.
    pub(super) fn subtract_sorted(&mut self, other: &[Interval]) {
        let mut left = Vec::with_capacity(self.0.len());
        for rest in self.0.drain(..) {
            subtract_from(rest, other, |piece| left.push(piece));
        }
        self.0 = left;
    }

    /// The parts of `interval` that are not in this set, in order.
    pub(super) fn holes_in(&self, interval: Interval, keep: impl FnMut(Interval)) {
        subtract_from(interval, &self.0, keep);
    }

    pub(super) fn is_subset_of(&self, other: &Intervals) -> bool {
        self.0.iter().all(|i| other.contains_interval(*i))
    }

    pub(super) fn contains_interval(&self, wanted: Interval) -> bool {
        let candidate = self.0.get(self.position(wanted.start));
        candidate.is_some_and(|i| i.start <= wanted.start && wanted.end <= i.end)
    }

    pub(super) fn intersects(&self, other: &Intervals) -> bool {
        let (few, many) = if self.0.len() <= other.0.len() {
            (self, other)
        } else {
            (other, self)
        };
        few.0.iter().any(|i| {
            many.0
                .get(many.position(i.start))
                .is_some_and(|m| m.start <= i.end)
        })
    }
}

/// The parts of `rest` that are in none of `holes`, in order; the holes are in order, with a gap between neighbours.
fn subtract_from(mut rest: Interval, holes: &[Interval], mut keep: impl FnMut(Interval)) {
    let first = holes.partition_point(|hole| hole.end < rest.start);
    for hole in holes.iter().skip(first) {
        if hole.start > rest.end {
            break;
        }
        if rest.start < hole.start {
            keep(Interval {
                start: rest.start,
                end: hole.start - 1,
            });
        }
        rest.start = hole.end + 1;
        if rest.start > rest.end {
            return;
        }
    }
    keep(rest);
}
