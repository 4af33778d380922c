//! The log thread's part in the removal of old files.
//!
//! Without GTIDs, the queues of all paths begin in files that must be kept; how far back, is in the head of the
//! newest index. If a file is removed all the same, the paths must be able to do without it first: a new file
//! begins, whose head says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::LogThread;
use crate::merge::pairing::PathState;
use crate::position::RecordNumber;
use crate::relay_log::retention::{LogRequests, PathNeed};
use crate::relay_log::{Condition, LogError, RelayLog, Writer};

/// Which path each configured source sends.
#[derive(Debug)]
pub(super) struct FollowedPaths {
    /// The names of the sources that are followed, by number; empty for others.
    configured: Vec<Arc<str>>,
    /// The path of each source's newest batch; `None` before its first one.
    current: Vec<Option<u16>>,
    /// What each path needs, as it is in the head of the newest index.
    needs: BTreeMap<u16, PathNeed>,
    /// Why the paths could not do without old files: it was logged.
    warned: String,
}

impl FollowedPaths {
    pub(super) fn new(configured: Vec<Arc<str>>) -> Self {
        let current = vec![None; configured.len()];
        Self {
            configured,
            current,
            needs: BTreeMap::new(),
            warned: String::new(),
        }
    }

    /// Warns once that the paths cannot do without old files: the removal is requested again and again.
    fn warn(&mut self, cause: String) {
        if self.warned != cause {
            tracing::warn!(
                "old log files cannot be removed, although the limits require it: what the sources without GTIDs \
                 need of them cannot be determined: {cause}; run binrelay verify"
            );
            self.warned = cause;
        }
    }

    /// A source is followed from now on.
    pub(super) fn add(&mut self, source: u16, name: Arc<str>) {
        let at = usize::from(source);
        if self.configured.len() <= at {
            self.configured.resize(at + 1, Arc::from(""));
            self.current.resize(at + 1, None);
        }
        if let (Some(known), Some(current)) =
            (self.configured.get_mut(at), self.current.get_mut(at))
        {
            (*known, *current) = (name, None);
        }
    }

    /// A source is no longer followed.
    pub(super) fn remove(&mut self, source: u16) {
        self.add(source, Arc::from(""));
    }

    /// The names of the sources that are followed.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let names = self.configured.iter();
        names.filter(|name| !name.is_empty()).cloned().collect()
    }

    /// A batch of a source has arrived on `path`. Returns whether that is another one than before.
    pub(super) fn note(&mut self, source: u16, path: u16) -> bool {
        let current = self.current.get_mut(usize::from(source));
        current.is_some_and(|current| current.replace(path) != Some(path))
    }

    /// Whether the path with this number and name is the one that a configured source sends, as far as that is
    /// known.
    fn is_followed(&self, number: u16, name: &str) -> bool {
        let source = name.split('@').next().unwrap_or(name);
        let of_source = self.configured.iter().zip(&self.current);
        let mut found = of_source.filter(|(configured, _)| ***configured == *source);
        let current = found.next().map(|(_, current)| *current);
        current.is_some_and(|current| current.is_none_or(|path| path == number))
    }

    /// Publishes the oldest files that the paths need, as they are in the head of the newest index. Transactions
    /// with the relay's own server_id are dropped before they are paired, so that no path needs theirs.
    pub(super) fn report(&mut self, log: &Writer, states: &[PathState]) {
        let mut needs: BTreeMap<u16, PathNeed> = BTreeMap::new();
        let paired = states.iter();
        for state in paired.filter(|state| state.origin != log.server_id()) {
            let Some(name) = log.source_name(state.path) else {
                continue;
            };
            let file = state.cursor.file;
            let server_id = log.progress(state.path).map_or(0, |path| path.server_id);
            let own_file = if server_id == state.origin {
                file
            } else {
                u64::MAX
            };
            let need = needs.entry(state.path).or_insert_with(|| PathNeed {
                name: name.clone(),
                file,
                own_file,
                is_followed: false,
            });
            need.file = need.file.min(file);
            need.own_file = need.own_file.min(own_file);
        }
        self.needs = needs;
        self.publish(log.log());
    }

    /// Publishes what was reported last, with the sources that are followed now.
    pub(super) fn publish(&self, log: &RelayLog) {
        let needs = self.needs.iter();
        let needs = needs.map(|(path, need)| PathNeed {
            is_followed: self.is_followed(*path, &need.name),
            ..need.clone()
        });
        log.retention().set_paths(needs.collect());
    }
}

impl LogThread {
    /// Does what was requested since the last group.
    pub(super) fn serve_requests(&mut self) -> Result<(), LogError> {
        self.note_removed_files();
        match self.log().retention().take_requests() {
            None => Ok(()),
            Some(requests) => self.serve(requests),
        }
    }

    /// What has no records any more is not searched for.
    fn note_removed_files(&mut self) {
        let removed = {
            let state = self.log.log().state();
            let first = state.files.first().copied();
            let is_known = std::mem::replace(&mut self.first_file, first) == first;
            (!is_known).then(|| state.purged.clone())
        };
        if let Some(removed) = removed {
            self.merge.note_removed(&removed);
        }
    }

    fn serve(&mut self, requests: LogRequests) -> Result<(), LogError> {
        if let Some(max_size) = requests.max_size {
            self.log.set_max_size(max_size);
        }
        if self.log().condition() != Condition::Running {
            return Ok(());
        }
        let mut has_lost = false;
        if let Some(number) = requests.lose_before {
            let first = RecordNumber {
                file: number,
                record: 0,
            };
            match self.merge.lose_before(first, &self.log.ledger()) {
                Ok(()) => has_lost = true,
                // Nothing has changed: the files are kept, and the log continues.
                Err(cause) => self.followed.warn(cause.to_string()),
            }
        }
        if has_lost || requests.rotate {
            self.start_file()?;
        }
        Ok(())
    }
}
