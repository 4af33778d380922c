//! The conflicts that were found: counted, and the newest of them kept in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::messages::{Conflict, ConflictReport, NotCompared};
use super::text::utc;

/// How many conflicts are listed.
const LISTED_MAX: usize = 1000;

/// Shared by the thread that finds conflicts and those who ask for them.
#[derive(Debug)]
pub struct Conflicts {
    since: SystemTime,
    count: AtomicU64,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    listed: VecDeque<Conflict>,
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
            since: utc(self.since),
            count: self.count(),
            conflicts: found.listed.iter().cloned().collect(),
            not_compared: found.not_compared,
        }
    }

    /// Counts a conflict, and lists it if it could be described.
    pub(super) fn add(&self, conflict: Option<Conflict>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let Some(conflict) = conflict else {
            return;
        };
        let mut found = self.found();
        if found.listed.len() >= LISTED_MAX {
            found.listed.pop_front();
        }
        found.listed.push_back(conflict);
    }

    /// Records what was not compared.
    pub(super) fn note(&self, change: impl FnOnce(&mut NotCompared)) {
        change(&mut self.found().not_compared);
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
