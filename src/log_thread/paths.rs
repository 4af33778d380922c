//! The names of all paths, and those that are added while the relay runs.
//!
//! A path is the binlog of one server. Most sources have one. Where another server answers at a source's
//! address (a virtual IP that was moved), and positions of one are not valid on the other, its binlog is a
//! path of its own, named `SOURCE@SERVER`. It is added to the log with its first batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why the log knows a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// It is the first path of a configured source.
    Configured,
    /// Another server has answered at the address of a configured source.
    Moved,
    /// Its source was removed from the configuration: nothing arrives on it.
    Removed,
}

impl PathKind {
    /// The kind of the path with this name; `configured` are the names of the sources.
    pub(super) fn of(name: &str, configured: &[Arc<str>]) -> Self {
        if configured.iter().any(|source| **source == *name) {
            return PathKind::Configured;
        }
        let source = name.rsplit_once('@').map(|(source, _)| source);
        match configured.iter().any(|one| Some(&**one) == source) {
            true => PathKind::Moved,
            false => PathKind::Removed,
        }
    }
}

/// Whether all transactions come by one path at a time; `kinds` are those of all paths. The paths of other servers at
/// a source's address do not count: only the one of the server that answers is received.
pub(super) fn has_one_live(kinds: impl Iterator<Item = PathKind>) -> bool {
    kinds.filter(|kind| *kind == PathKind::Configured).count() == 1
}

/// The paths of a log, by number.
#[derive(Debug)]
pub struct Paths {
    paths: Mutex<Vec<NewPath>>,
}

/// A path, as it is added to the log.
#[derive(Debug, Clone)]
pub struct NewPath {
    /// Its name.
    pub name: Arc<str>,
    /// Without GTIDs: the origins of the first transactions on the path that were delivered before the
    /// log's first record, and how many they are.
    pub before: Vec<(u32, u64)>,
}

impl Paths {
    /// Those of a log that was opened.
    pub(super) fn new(names: &[Arc<str>]) -> Self {
        let known = |name: &Arc<str>| NewPath {
            name: name.clone(),
            before: Vec::new(),
        };
        Self {
            paths: Mutex::new(names.iter().map(known).collect()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<NewPath>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the path with this name.
    pub fn number_of(&self, name: &str) -> Option<u16> {
        let paths = self.lock();
        let mut numbered = (0u16..).zip(paths.iter());
        numbered.find_map(|(number, path)| (*path.name == *name).then_some(number))
    }

    /// Adds a path, and returns its number. It is in the log once a batch of it is.
    pub fn add(&self, path: NewPath) -> u16 {
        let mut paths = self.lock();
        paths.push(path);
        (paths.len() - 1) as u16
    }

    /// Replaces what precedes the log on a path of which no batch is in the log yet.
    pub fn align(&self, number: u16, before: Vec<(u32, u64)>) {
        if let Some(path) = self.lock().get_mut(usize::from(number)) {
            path.before = before;
        }
    }

    /// The names, by number.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.lock().iter().map(|path| path.name.clone()).collect()
    }

    /// The paths from this number on.
    pub(super) fn from(&self, number: usize) -> Vec<NewPath> {
        self.lock().get(number..).unwrap_or_default().to_vec()
    }
}
