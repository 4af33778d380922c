//! How much of the relay log its replicas have acknowledged (semi-sync), for the acknowledgements to the
//! sources that wait for them (`semi_sync_wait_for_replicas`).
//!
//! As a server does after its timeout: when too few replicas have acknowledged a position in time, nothing
//! waits for them any more, until they have acknowledged everything that was in the log then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::position::RelayLogPosition;

/// For how many replicas acknowledgements to the sources wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaWait {
    /// `semi_sync_wait_for_replicas`; 0: for none.
    pub replicas: usize,
    /// `semi_sync_timeout`.
    pub timeout: Duration,
}

/// What acknowledgements to the sources may cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Satisfied {
    /// Enough replicas have acknowledged everything before it; `None` before the first time.
    up_to: Option<RelayLogPosition>,
    /// Whether acknowledgements wait for replicas at all.
    is_waiting: bool,
}

impl Satisfied {
    /// Whether what is before `end` may be acknowledged to the sources.
    pub fn covers(&self, end: RelayLogPosition) -> bool {
        !self.is_waiting || self.up_to.is_some_and(|up_to| end <= up_to)
    }
}

/// The acknowledgements of all replicas.
#[derive(Debug)]
pub struct ReplicaAcknowledgements {
    wait: ReplicaWait,
    state: Mutex<State>,
    satisfied: watch::Sender<Satisfied>,
}

#[derive(Debug, Default)]
struct State {
    /// By connection id: everything before it was acknowledged.
    replicas: BTreeMap<u32, RelayLogPosition>,
    /// Connections whose replica has another one now, until their dumps end.
    replaced: BTreeSet<u32>,
    /// After a timeout: what replicas must acknowledge before they are waited for again.
    catch_up_to: Option<RelayLogPosition>,
}

impl Default for ReplicaAcknowledgements {
    /// Nothing waits for them.
    fn default() -> Self {
        Self::new(ReplicaWait::default())
    }
}

impl ReplicaAcknowledgements {
    /// No replica has acknowledged anything.
    pub fn new(wait: ReplicaWait) -> Self {
        Self {
            wait,
            state: Mutex::default(),
            satisfied: watch::Sender::new(Satisfied {
                up_to: None,
                is_waiting: wait.replicas > 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether acknowledgements to the sources wait for replicas, unless they time out.
    pub fn are_waited_for(&self) -> bool {
        self.wait.replicas > 0
    }

    /// Whether the replicas that are waited for did not acknowledge in time, and have not caught up since.
    pub fn have_timed_out(&self) -> bool {
        self.lock().catch_up_to.is_some()
    }

    /// How long to wait.
    pub fn timeout(&self) -> Duration {
        self.wait.timeout
    }

    /// Follows what may be acknowledged to the sources.
    pub fn follow(&self) -> watch::Receiver<Satisfied> {
        self.satisfied.subscribe()
    }

    /// The replica of the connection `id` has everything before `end`.
    pub fn acknowledge(&self, id: u32, end: RelayLogPosition) {
        let mut state = self.lock();
        if state.replaced.contains(&id) {
            return;
        }
        let known = state.replicas.entry(id).or_insert(end);
        *known = end.max(*known);
        if !self.are_waited_for() {
            return;
        }
        let mut ends: Vec<_> = state.replicas.values().copied().collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        let Some(up_to) = ends.get(self.wait.replicas - 1).copied() else {
            return;
        };
        if state.catch_up_to.is_some_and(|target| target <= up_to) {
            state.catch_up_to = None;
            tracing::info!(
                "semi-sync: replicas have caught up; acknowledgements to the sources wait for {} of them \
                 again",
                self.wait.replicas
            );
        }
        let is_waiting = state.catch_up_to.is_none();
        self.satisfied.send_if_modified(|satisfied| {
            let before = *satisfied;
            satisfied.up_to = satisfied.up_to.max(Some(up_to));
            satisfied.is_waiting = is_waiting;
            *satisfied != before
        });
    }

    /// The dump of a connection has ended. What it has acknowledged stays acknowledged.
    pub fn forget(&self, id: u32) {
        let mut state = self.lock();
        state.replicas.remove(&id);
        state.replaced.remove(&id);
    }

    /// The replica of the connection `id` has another one: it is counted only there.
    pub fn replace(&self, id: u32) {
        let mut state = self.lock();
        state.replicas.remove(&id);
        state.replaced.insert(id);
    }

    /// Too few replicas have acknowledged a position in time; `end` is the log's end now.
    pub fn time_out(&self, end: RelayLogPosition) {
        let mut state = self.lock();
        if state.catch_up_to.is_some() {
            return;
        }
        state.catch_up_to = Some(end);
        tracing::warn!(
            "semi-sync: fewer than {} replicas (semi_sync_wait_for_replicas) acknowledged in time \
             (semi_sync_timeout, {:?}); transactions are acknowledged to the sources without them until \
             they have caught up",
            self.wait.replicas,
            self.wait.timeout
        );
        self.satisfied
            .send_modify(|satisfied| satisfied.is_waiting = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: u64, offset: u64) -> RelayLogPosition {
        RelayLogPosition { file, offset }
    }

    fn waiting_for(replicas: usize) -> ReplicaAcknowledgements {
        ReplicaAcknowledgements::new(ReplicaWait {
            replicas,
            timeout: Duration::from_secs(10),
        })
    }

    fn covers(replicas: &ReplicaAcknowledgements, end: RelayLogPosition) -> bool {
        replicas.follow().borrow().covers(end)
    }

    #[test]
    fn without_the_option_nothing_is_waited_for() {
        let replicas = waiting_for(0);
        assert!(covers(&replicas, at(9, 9)));
        replicas.acknowledge(1, at(1, 4));
        assert!(covers(&replicas, at(9, 9)));
    }

    #[test]
    fn a_position_is_covered_once_enough_replicas_have_acknowledged_it() {
        let replicas = waiting_for(2);
        assert!(!covers(&replicas, at(1, 4)));
        replicas.acknowledge(1, at(2, 4));
        assert!(!covers(&replicas, at(1, 4)));
        replicas.acknowledge(2, at(1, 900));
        assert!(covers(&replicas, at(1, 900)));
        assert!(!covers(&replicas, at(1, 901)));
        // An older acknowledgement takes nothing back, nor does a replica that leaves.
        replicas.acknowledge(2, at(1, 100));
        replicas.forget(1);
        replicas.acknowledge(3, at(1, 4));
        assert!(covers(&replicas, at(1, 900)));
        replicas.acknowledge(3, at(3, 4));
        assert!(!covers(&replicas, at(1, 901)));
    }

    #[test]
    fn a_replica_that_has_connected_again_counts_once() {
        let replicas = waiting_for(2);
        replicas.acknowledge(1, at(1, 100));
        replicas.replace(1);
        replicas.acknowledge(1, at(1, 500));
        replicas.acknowledge(2, at(1, 500));
        assert!(!covers(&replicas, at(1, 4)));
        replicas.acknowledge(3, at(1, 300));
        assert!(covers(&replicas, at(1, 300)));
        assert!(!covers(&replicas, at(1, 301)));
        replicas.forget(1);
        assert!(replicas.lock().replaced.is_empty());
    }

    #[test]
    fn after_a_timeout_nothing_waits_until_the_replicas_have_caught_up() {
        let replicas = waiting_for(1);
        replicas.acknowledge(1, at(1, 100));
        replicas.time_out(at(1, 500));
        assert!(replicas.have_timed_out());
        assert!(covers(&replicas, at(7, 4)));
        replicas.acknowledge(1, at(1, 499));
        assert!(covers(&replicas, at(7, 4)));
        replicas.acknowledge(1, at(1, 500));
        assert!(!replicas.have_timed_out());
        assert!(!covers(&replicas, at(7, 4)));
        assert!(covers(&replicas, at(1, 500)));
    }
}
