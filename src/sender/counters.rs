//! The counters of SHOW STATUS, since the relay's start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::connection::Traffic;

/// Counters of the listener. They only grow.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: AtomicU64,
    /// Connections that ended before their login was complete.
    pub aborted_connects: AtomicU64,
    /// Logins that failed, by a wrong password for example. Connections that ended before a login do not count.
    pub login_failures: AtomicU64,
    /// The most clients that were logged in at the same time.
    max_used_connections: AtomicU64,
    /// Statements.
    pub questions: AtomicU64,
    /// Commands that asked for a dump.
    pub dumps: AtomicU64,
    /// Replicas that registered.
    pub registrations: AtomicU64,
    /// Of connections that have ended.
    ended: Traffic,
}

impl Counters {
    /// Counts one more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// `clients` are logged in.
    pub fn note_clients(&self, clients: usize) {
        self.max_used_connections.fetch_max(clients as u64, Relaxed);
    }

    /// The most clients that were logged in at the same time.
    pub fn max_used_connections(&self) -> u64 {
        self.max_used_connections.load(Relaxed)
    }

    /// A connection has ended.
    pub fn note_end(&self, traffic: &Traffic) {
        let Traffic { received, sent } = traffic;
        self.ended
            .received
            .fetch_add(received.load(Relaxed), Relaxed);
        self.ended.sent.fetch_add(sent.load(Relaxed), Relaxed);
    }

    /// The bytes received and sent: of connections that have ended, and of `open` ones.
    pub fn bytes<'a>(&'a self, open: impl Iterator<Item = &'a Traffic>) -> (u64, u64) {
        let all = open.chain([&self.ended]);
        all.fold((0, 0), |(received, sent), traffic| {
            (
                received + traffic.received.load(Relaxed),
                sent + traffic.sent.load(Relaxed),
            )
        })
    }
}
