//! The conflicts that were found: counted, and the newest of them kept in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::messages::{Conflict, ConflictReport, NotCompared};
use crate::utc;

/// How many conflicts are listed.
const LISTED_MAX: usize = 1000;
/// The most bytes that they have as text: rows may have thousands of columns.
const LISTED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Shared by the thread that finds conflicts and those who ask for them.
#[derive(Debug)]
pub struct Conflicts {
    since: SystemTime,
    count: AtomicU64,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// With their lengths as text.
    listed: VecDeque<(usize, Conflict)>,
    bytes: usize,
    not_compared: NotCompared,
}

impl Default for Conflicts {
    fn default() -> Self {
        Self {
            since: SystemTime::now(),
            count: AtomicU64::new(0),
            found: Mutex::default(),
        }
    }
}

impl Conflicts {
    /// How many were found since the start of the relay.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The answer to `binrelay conflicts`.
    pub fn report(&self) -> ConflictReport {
        let found = self.found();
        ConflictReport {
            detected: true,
            since: utc::seconds(self.since),
            count: self.count(),
            conflicts: found.listed.iter().map(|(_, one)| one.clone()).collect(),
            not_compared: found.not_compared,
        }
    }

    /// Counts a conflict, and lists it if it could be described.
    pub(crate) fn add(&self, conflict: Option<Conflict>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let Some(conflict) = conflict else {
            return;
        };
        let len = serde_json::to_string(&conflict).map_or(0, |text| text.len());
        let mut found = self.found();
        while found.listed.len() >= LISTED_MAX || found.bytes + len > LISTED_BYTES_MAX {
            let Some((removed, _)) = found.listed.pop_front() else {
                break;
            };
            found.bytes -= removed;
        }
        found.bytes += len;
        found.listed.push_back((len, conflict));
    }

    /// Records what was not compared.
    pub(super) fn note(&self, change: impl FnOnce(&mut NotCompared)) {
        change(&mut self.found().not_compared);
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::conflicts::messages::ConflictingWrite;

    #[test]
    fn listed_conflicts_are_bounded_in_bytes() {
        let write = ConflictingWrite {
            source: "m1".to_owned(),
            server_id: 80,
            gtid: None,
            file: "bin.000001".to_owned(),
            position: 4,
            relay_file: "relay-bin.000001".to_owned(),
            relay_position: 4,
            time: None,
            action: "insert".to_owned(),
            before: None,
            after: Some(vec![Value::from("x".repeat(200)); 4096]),
        };
        let conflicts = Conflicts::default();
        for number in 0..50 {
            conflicts.add(Some(Conflict {
                at: number.to_string(),
                database: "d".to_owned(),
                table: "t".to_owned(),
                key: None,
                writes: [write.clone(), write.clone()],
            }));
        }
        let report = conflicts.report();
        assert_eq!(report.count, 50);
        assert!((15..25).contains(&report.conflicts.len()));
        assert_eq!(report.conflicts.last().unwrap().at, "49");
    }
}
