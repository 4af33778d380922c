//! The thread that finds conflicts: it reads what is published, as a sender does, so that neither the receivers nor the
//! log thread do anything for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::describe::{Describer, KeyRead};
use super::index_follower::{Followed, IndexFollower};
use super::messages::Conflict;
use super::registry::Conflicts;
use super::sources::{LogsReplicated, REFRESH, Sources};
use super::window::{Limits, Pair, Window};
use crate::position::RelayLogPosition;
use crate::relay_log::{LogError, RelayLog};

/// How much is remembered: about 100 MB.
const LIMITS: Limits = Limits {
    transactions: 200_000,
    keys: 400_000,
};
/// The pause between two readings: transactions that arrive meanwhile are read together.
const PAUSE: Duration = Duration::from_millis(100);
/// How many steps are read before conflicts are reported.
const STEPS_MAX: usize = 2000;
/// While the log grows faster than it is read, as when sources are caught up with, the thread pauses so many times as long as
/// it has read, for the threads that receive and write.
const PAUSE_FACTOR: u32 = 7;
/// How far it stays behind for that at most, in bytes of the log.
const BEHIND_MAX: u64 = 256 * 1024 * 1024;
/// How many steps are read before the thread looks whether the relay stops. One may have many rows.
const STEPS_UNTIL_STOP_MAX: usize = 32;
/// How many conflicts of one reading are described: both transactions are read again.
const DESCRIBED_MAX: usize = 50;
/// How many of the waiting ones are kept with what is needed to describe them.
const WAITING_PAIRS_MAX: usize = 1000;
/// How many conflicts wait until it is certain that the sources log what they replicate.
const WAITING_MAX: usize = 100_000;
/// How long they wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The pause between two messages in the log.
const WARN_PAUSE: Duration = Duration::from_secs(10);

/// Finds conflicts.
#[derive(Debug)]
pub struct Finder {
    log: Arc<RelayLog>,
    conflicts: Arc<Conflicts>,
    window: Window,
    follower: IndexFollower,
    describer: Describer,
    sources: Sources,
    waiting: Queue,
    /// Conflicts that no message in the log has counted, and the newest of them.
    unreported: (u64, Option<Conflict>),
    warned: Option<Instant>,
    was_full: bool,
    /// The published end after the newest reading.
    end: RelayLogPosition,
}

/// A conflict that is not certain yet.
#[derive(Debug)]
struct Waiting {
    servers: [u32; 2],
    found: Instant,
    /// What is described when it is certain. The rows stay in the log until then: they may be large.
    pair: Option<Box<Pair>>,
}

/// The conflicts that are not certain yet, in the order in which they were found.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Those with their pair.
    pairs: usize,
}

impl Queue {
    /// Adds one, without its pair where too many are kept. Returns false if there is no place.
    fn push(&mut self, pair: Pair, found: Instant) -> bool {
        if self.waiting.len() >= WAITING_MAX {
            return false;
        }
        let servers = pair.writes.each_ref().map(|write| write.server_id);
        let is_kept = self.pairs < WAITING_PAIRS_MAX;
        self.pairs += usize::from(is_kept);
        self.waiting.push_back(Waiting {
            servers,
            found,
            pair: is_kept.then(|| Box::new(pair)),
        });
        true
    }

    fn pop(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.pairs -= usize::from(first.pair.is_some());
        Some(first)
    }
}

impl Finder {
    /// Begins with the newest file of the log.
    pub fn new(log: Arc<RelayLog>, conflicts: Arc<Conflicts>, sources: Sources) -> Self {
        let (log_dir, end) = (log.log_dir().clone(), log.published());
        Self {
            window: Window::new(LIMITS),
            follower: IndexFollower::new(log_dir.clone(), end.file),
            describer: Describer::new(log_dir, end),
            log,
            conflicts,
            sources,
            waiting: Queue::default(),
            unreported: (0, None),
            warned: None,
            was_full: false,
            end,
        }
    }

    /// Runs until the relay stops. It blocks: run it in a thread of its own.
    pub fn run(mut self) {
        let mut refreshed = Instant::now();
        while !self.sources.is_stopping() {
            if refreshed.elapsed() > REFRESH {
                self.sources.refresh();
                refreshed = Instant::now();
            }
            let began = Instant::now();
            let more = match self.read_published() {
                Ok(more) => more,
                Err(error) => {
                    self.begin_again(&error);
                    false
                }
            };
            self.note_forgotten();
            self.confirm();
            self.warn();
            let pause = match more {
                true => self.pause_after(began.elapsed()),
                false => PAUSE,
            };
            std::thread::sleep(pause);
        }
    }

    /// How long to pause after a reading that took so long and has left something to read.
    fn pause_after(&mut self, took: Duration) -> Duration {
        let end = self.log.published();
        let grows = std::mem::replace(&mut self.end, end) != end;
        match grows && !self.follower.is_behind(end, BEHIND_MAX) {
            true => (took * PAUSE_FACTOR).min(PAUSE),
            false => Duration::ZERO,
        }
    }

    /// Reads what is published. Returns whether there is more.
    fn read_published(&mut self) -> Result<bool, LogError> {
        let end = self.log.published();
        self.describer.set_end(end);
        for step in 0..STEPS_MAX {
            if step % STEPS_UNTIL_STOP_MAX == 0 && self.sources.is_stopping() {
                return Ok(false);
            }
            match self.follower.next_step(end)? {
                Followed::End => return Ok(false),
                Followed::NewHistory => self.window.clear(),
                Followed::Server { path, server_id } => self.window.set_server(path, server_id),
                Followed::Arrival(arrival) => {
                    let (describer, sources) = (&mut self.describer, &mut self.sources);
                    let mut unread = 0;
                    let pairs = self.window.arrive(*arrival, &mut |written| {
                        let KeyRead { keys, unreadable } = describer.keys(written, sources);
                        unread += unreadable;
                        keys
                    });
                    if unread > 0 {
                        self.conflicts.note(|not| not.events += unread);
                    }
                    for pair in pairs {
                        if !self.waiting.push(pair, Instant::now()) {
                            self.conflicts.note(|not| not.uncertain += 1);
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    /// Files were removed before they were read, or cannot be read.
    fn begin_again(&mut self, error: &LogError) {
        tracing::warn!(
            "conflicts are not detected up to the present end of the relay log: {error}"
        );
        self.conflicts.note(|not| not.files += 1);
        self.window.clear();
        if self.follower.skip_to(self.log.published()).is_err() {
            std::thread::sleep(WARN_PAUSE);
        }
    }

    fn note_forgotten(&mut self) {
        let forgotten = self.window.forgotten();
        self.conflicts.note(|not| not.transactions = forgotten);
        if forgotten > 0 && !std::mem::replace(&mut self.was_full, true) {
            tracing::warn!(
                "conflicts are detected among the newest {} transactions only, because a source has not yet logged \
                 older transactions of the other masters; make sure that the masters replicate from each other",
                LIMITS.transactions
            );
        }
    }

    /// Reports the conflicts that are certain; more of them after the next reading if many must be described.
    fn confirm(&mut self) {
        let mut described = 0;
        while let Some(first) = self.waiting.waiting.front()
            && described < DESCRIBED_MAX
        {
            let found = first.found;
            let logs = first
                .servers
                .map(|server_id| self.sources.logs_replicated(server_id, found));
            let is_certain = logs == [LogsReplicated::Yes; 2];
            let is_over = logs.contains(&LogsReplicated::No) || found.elapsed() > WAIT_MAX;
            if !is_certain && !is_over {
                return;
            }
            let Some(first) = self.waiting.pop() else {
                return;
            };
            if is_certain {
                described += usize::from(first.pair.is_some());
                self.report(first);
            } else {
                self.conflicts.note(|not| not.uncertain += 1);
            }
        }
    }

    fn report(&mut self, certain: Waiting) {
        let conflict = certain.pair.and_then(|pair| {
            let at = SystemTime::now().checked_sub(certain.found.elapsed());
            let at = at.unwrap_or(SystemTime::UNIX_EPOCH);
            let (describer, sources) = (&mut self.describer, &mut self.sources);
            describer.conflict(&pair, at, &self.follower, sources)
        });
        self.unreported.0 += 1;
        if conflict.is_some() {
            self.unreported.1.clone_from(&conflict);
        }
        self.conflicts.add(conflict);
    }

    /// Logs the conflicts since the last message.
    fn warn(&mut self) {
        let is_too_early = self.warned.is_some_and(|at| at.elapsed() < WARN_PAUSE);
        if self.unreported.0 == 0 || is_too_early {
            return;
        }
        let (count, newest) = std::mem::take(&mut self.unreported);
        self.warned = Some(Instant::now());
        let described = newest.map_or("too many to be described".to_owned(), |newest| {
            newest.to_line()
        });
        tracing::warn!(
            "conflict: two masters have changed the same key, and neither had the other's change: {described}; new \
             conflicts: {count}; run binrelay conflicts"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflicts::window::Written;
    use crate::identity::{Fingerprint, Identity};

    #[test]
    fn waiting_conflicts_are_bounded() {
        let written = Written {
            identity: Identity::Anonymous(Fingerprint::default()),
            server_id: 80,
            file: 1,
            begin: 4,
            end: 5,
            delivered_by: 0,
            emptied: false,
            commit_time_us: 0,
            position: Default::default(),
        };
        let pair = || Pair {
            writes: [written.clone(), written.clone()],
            paths: [0, 1],
            key: 7,
        };
        let mut queue = Queue::default();
        for _ in 0..WAITING_MAX {
            assert!(queue.push(pair(), Instant::now()));
        }
        assert!(!queue.push(pair(), Instant::now()));
        assert_eq!(queue.pairs, WAITING_PAIRS_MAX);
        assert!(queue.pop().unwrap().pair.is_some());
        assert!(queue.push(pair(), Instant::now()));
        assert!(queue.waiting.back().unwrap().pair.is_some());
    }
}
