//! The thread that finds conflicts: it reads what is published, as a sender does, so that neither the receivers nor the
//! log thread do anything for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::describe::{Describer, KeyRead};
use super::index_follower::{Followed, IndexFollower};
use super::messages::Conflict;
use super::registry::Conflicts;
use super::sources::{LogsReplicated, Sources};
use super::window::{Limits, Pair, Window};
use crate::relay_log::{LogError, RelayLog};

/// How much is remembered: about 100 MB.
const LIMITS: Limits = Limits {
    transactions: 200_000,
    keys: 400_000,
};
/// The pause between two readings: transactions that arrive meanwhile are read together.
const PAUSE: Duration = Duration::from_millis(100);
/// How many steps are read before the thread looks whether the relay stops.
const STEPS_MAX: usize = 10_000;
/// How many conflicts of one reading are described.
const DESCRIBED_MAX: usize = 50;
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
    waiting: VecDeque<Waiting>,
    /// Conflicts that no message in the log has counted, and the newest of them.
    unreported: (u64, Option<Conflict>),
    warned: Option<Instant>,
    was_full: bool,
}

/// A conflict that is not certain yet.
#[derive(Debug)]
struct Waiting {
    servers: [u32; 2],
    found: Instant,
    conflict: Option<Conflict>,
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
            waiting: VecDeque::new(),
            unreported: (0, None),
            warned: None,
            was_full: false,
        }
    }

    /// Runs until the relay stops. It blocks: run it in a thread of its own.
    pub fn run(mut self) {
        while !self.sources.is_stopping() {
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
            if !more {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Reads what is published. Returns whether there is more.
    fn read_published(&mut self) -> Result<bool, LogError> {
        let end = self.log.published();
        self.describer.set_end(end);
        let mut described = 0;
        for _ in 0..STEPS_MAX {
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
                        described += 1;
                        self.found(&pair, described <= DESCRIBED_MAX);
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
                "conflicts are detected among the newest {} transactions only: a source has not sent older ones of \
                 the others; see that the masters replicate from each other",
                LIMITS.transactions
            );
        }
    }

    fn found(&mut self, pair: &Pair, is_described: bool) {
        if self.waiting.len() >= WAITING_MAX {
            self.conflicts.note(|not| not.uncertain += 1);
            return;
        }
        let conflict = match is_described {
            true => self
                .describer
                .conflict(pair, &self.follower, &mut self.sources),
            false => None,
        };
        self.waiting.push_back(Waiting {
            servers: pair.writes.each_ref().map(|write| write.server_id),
            found: Instant::now(),
            conflict,
        });
    }

    /// Reports the conflicts that are certain.
    fn confirm(&mut self) {
        while let Some(first) = self.waiting.front() {
            let found = first.found;
            let logs = first
                .servers
                .map(|server_id| self.sources.logs_replicated(server_id, found));
            let is_certain = logs == [LogsReplicated::Yes; 2];
            let is_over = logs.contains(&LogsReplicated::No) || found.elapsed() > WAIT_MAX;
            if !is_certain && !is_over {
                return;
            }
            let Some(first) = self.waiting.pop_front() else {
                return;
            };
            if is_certain {
                self.unreported.0 += 1;
                if first.conflict.is_some() {
                    self.unreported.1.clone_from(&first.conflict);
                }
                self.conflicts.add(first.conflict);
            } else {
                self.conflicts.note(|not| not.uncertain += 1);
            }
        }
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
