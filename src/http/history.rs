//! The last hour in samples, for the graphs of the page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::reports::Reports;
use crate::status::Report;

/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(10);
/// An hour of them.
const SAMPLES_MAX: usize = 360;

/// The samples of the last hour.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: Mutex<VecDeque<Sample>>,
}

/// The relay at one time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// In seconds since 1970.
    at: u64,
    sources: Vec<SourceSample>,
    replicas: Vec<ReplicaSample>,
}

#[derive(Debug, Clone, Serialize)]
struct SourceSample {
    name: String,
    /// Since the relay's start.
    received: u64,
    /// In seconds; null when it is not known.
    behind: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
struct ReplicaSample {
    server_id: u32,
    behind: Option<u64>,
}

impl Sample {
    fn of(report: &Report, at: u64) -> Self {
        let sources = report.sources.iter().map(|source| SourceSample {
            name: source.name.clone(),
            received: source.transactions.received,
            behind: source.seconds_behind,
        });
        let replicas = report.replicas.iter().map(|replica| ReplicaSample {
            server_id: replica.server_id,
            behind: replica.seconds_behind,
        });
        Self {
            at,
            sources: sources.collect(),
            replicas: replicas.collect(),
        }
    }
}

impl History {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.lock();
        if samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The samples, oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.lock().iter().cloned().collect()
    }
}

/// Adds a sample at each interval; it does not return.
pub(super) async fn sample(history: Arc<History>, reports: Arc<Reports>) {
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        interval.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let at = now.map_or(0, |now| now.as_secs());
        if let Some(report) = reports.newest().await {
            history.add(Sample::of(&report, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{RelayReport, SourceReport};

    #[test]
    fn oldest_sample_is_dropped_after_an_hour() {
        let history = History::default();
        let report = Report {
            relay: RelayReport::default(),
            sources: vec![SourceReport::default()],
            replicas: Vec::new(),
        };
        for at in 0..=SAMPLES_MAX as u64 {
            history.add(Sample::of(&report, at));
        }
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES_MAX);
        assert_eq!(samples.first().unwrap().at, 1);
        assert_eq!(samples.last().unwrap().at, SAMPLES_MAX as u64);
    }
}
