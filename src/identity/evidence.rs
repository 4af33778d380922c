//! How a copy of a transaction with a GTID is distinguished from another transaction with the same GTID.

/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;

/// The properties by which two transactions with one GTID are compared; see [`crate::merge`] for
/// what re-logging preserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyEvidence {
    /// See [`crate::transaction::Transaction::commit_time_us`].
    pub commit_time_us: u64,
    /// The earliest timestamp in the headers of its events, in seconds since 1970; 0 when unknown.
    pub earliest: u32,
    /// The latest one.
    pub latest: u32,
    /// Whether its source has logged a change in it, not only its GTID.
    pub has_changes: bool,
}

impl CopyEvidence {
    /// Whether the commit time is MySQL's original_commit_timestamp. (One in a million of those is a
    /// whole second, and counts as a timestamp of a header.)
    pub fn is_exact(&self) -> bool {
        !self.commit_time_us.is_multiple_of(SECOND_US)
    }

    /// Whether the two are certainly not copies of one transaction.
    ///
    /// A transaction without changes contradicts none that was delivered: if it is dropped, nothing
    /// is lost. It has no reliable time either, because a replica that has filtered everything may
    /// log it with the time of the transaction before it.
    pub fn contradicts(&self, delivered: &CopyEvidence) -> bool {
        if !self.has_changes {
            return false;
        }
        if self.is_exact() && delivered.is_exact() {
            return self.commit_time_us != delivered.commit_time_us;
        }
        let are_known = self.earliest != 0 && delivered.earliest != 0 && delivered.has_changes;
        are_known && (self.latest < delivered.earliest || delivered.latest < self.earliest)
    }

    /// Adds the timestamp in the header of an event; 0 is none.
    pub fn note_event(&mut self, timestamp: u32) {
        if timestamp == 0 {
            return;
        }
        self.latest = self.latest.max(timestamp);
        self.earliest = match self.earliest {
            0 => timestamp,
            earliest => earliest.min(timestamp),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(earliest: u32, latest: u32) -> CopyEvidence {
        CopyEvidence {
            commit_time_us: u64::from(latest) * SECOND_US,
            earliest,
            latest,
            has_changes: true,
        }
    }

    fn exact(commit_time_us: u64) -> CopyEvidence {
        CopyEvidence {
            commit_time_us,
            ..seconds(5, 5)
        }
    }

    #[test]
    fn microseconds_decide_alone() {
        assert!(!exact(5_000_001).contradicts(&exact(5_000_001)));
        assert!(exact(5_000_001).contradicts(&exact(5_000_002)));
        let later = CopyEvidence {
            earliest: 9,
            latest: 9,
            ..exact(5_000_001)
        };
        assert!(!later.contradicts(&exact(5_000_001)));
    }

    #[test]
    fn seconds_of_a_copy_overlap_those_of_its_original() {
        let original = seconds(5, 9);
        for copy in [seconds(5, 7), seconds(7, 7), seconds(9, 9), seconds(4, 5)] {
            assert!(!copy.contradicts(&original), "{copy:?}");
            assert!(!original.contradicts(&copy), "{copy:?}");
        }
        assert!(seconds(10, 12).contradicts(&original));
        assert!(seconds(1, 4).contradicts(&original));
    }

    #[test]
    fn exact_time_and_seconds_are_compared_by_seconds() {
        assert!(!exact(5_000_001).contradicts(&seconds(4, 5)));
        assert!(exact(5_000_001).contradicts(&seconds(6, 7)));
    }

    #[test]
    fn unknown_times_and_empty_transactions_contradict_nothing() {
        assert!(!seconds(0, 0).contradicts(&seconds(5, 5)));
        assert!(!seconds(5, 5).contradicts(&seconds(0, 0)));
        let empty = |of: CopyEvidence| CopyEvidence {
            has_changes: false,
            ..of
        };
        assert!(!empty(seconds(1, 1)).contradicts(&seconds(5, 5)));
        assert!(!empty(exact(1)).contradicts(&exact(2)));
        // A peer has filtered it: its time may be wrong, unless it is exact.
        assert!(!seconds(5, 5).contradicts(&empty(seconds(1, 1))));
        assert!(exact(2).contradicts(&empty(exact(1))));
    }

    #[test]
    fn events_widen_the_interval() {
        let mut evidence = CopyEvidence::default();
        for timestamp in [0, 7, 0, 5, 9] {
            evidence.note_event(timestamp);
        }
        assert_eq!((evidence.earliest, evidence.latest), (5, 9));
    }
}
