//! How long syncs take, and how long what is received waits until it may be served.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::position::RelayLogPosition;

/// The upper bounds of the classes, in microseconds; one more class has no bound.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Durations, counted in classes.
#[derive(Debug, Default)]
pub struct Durations {
    classes: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

/// [`Durations`] at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurationReport {
    /// How many there were since the relay's start.
    pub count: u64,
    /// Their sum, in microseconds.
    pub sum_us: u64,
    /// Upper bound in microseconds, and how many were above the bound before it and not above this one. The last bound
    /// is null: there is none.
    pub classes: Vec<(Option<u64>, u64)>,
}

impl Durations {
    /// Counts one.
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS.partition_point(|bound| *bound < us);
        if let Some(count) = self.classes.get(class) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// The counts now.
    pub fn report(&self) -> DurationReport {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        let counts = self.classes.iter().map(|count| count.load(Relaxed));
        let classes: Vec<(Option<u64>, u64)> = bounds.zip(counts).collect();
        DurationReport {
            count: classes.iter().map(|(_, count)| count).sum(),
            sum_us: self.sum_us.load(Relaxed),
            classes,
        }
    }
}

/// The durations of the log.
#[derive(Debug, Default)]
pub struct Timings {
    /// Syncs of a group: the log file and its index.
    pub commit_sync: Durations,
    /// From the time at which a batch was received to its publication. While one batch is followed, others are not
    /// measured, so that a batch costs one atomic operation.
    pub publish_latency: Durations,
    is_following: AtomicBool,
    /// The end of the log with the batch that is followed, and when it was received.
    followed: Mutex<Option<(RelayLogPosition, Instant)>>,
}

impl Timings {
    /// The log ends at `end` with a batch that was received at `received_at`.
    pub fn follow(&self, end: RelayLogPosition, received_at: Instant) {
        if self.is_following.load(Relaxed) {
            return;
        }
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        *followed = Some((end, received_at));
        self.is_following.store(true, Relaxed);
    }

    /// Everything before `end` is published.
    pub fn note_published(&self, end: RelayLogPosition) {
        if !self.is_following.load(Relaxed) {
            return;
        }
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, received_at)) = followed.take_if(|(followed, _)| *followed <= end) {
            self.publish_latency.record(received_at.elapsed());
            self.is_following.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bounds() {
        let durations = Durations::default();
        for us in [0, 100, 101, 1_000_000, 60_000_000] {
            durations.record(Duration::from_micros(us));
        }
        let report = durations.report();
        assert_eq!((report.count, report.sum_us), (5, 61_000_201));
        let of = |bound| report.classes.iter().find(|(upper, _)| *upper == bound);
        let counts =
            [Some(100), Some(250), Some(1_000_000), None].map(|bound| of(bound).unwrap().1);
        assert_eq!(counts, [2, 1, 1, 1]);
    }

    #[test]
    fn batch_is_followed_to_its_own_publication() {
        let timings = Timings::default();
        let at = |offset| RelayLogPosition { file: 1, offset };
        timings.follow(at(200), Instant::now());
        timings.follow(at(100), Instant::now());
        timings.note_published(at(150));
        assert_eq!(timings.publish_latency.report().count, 0);
        timings.note_published(at(250));
        timings.note_published(at(300));
        assert_eq!(timings.publish_latency.report().count, 1);
    }
}
