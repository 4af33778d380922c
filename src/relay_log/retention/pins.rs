//! The files that connected readers are reading.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::policy::{Need, NeedKind};

/// All readers.
#[derive(Debug, Default)]
pub struct Pins {
    readers: Mutex<Readers>,
}

#[derive(Debug, Default)]
struct Readers {
    next_id: u64,
    by_id: BTreeMap<u64, (u64, String)>,
}

/// Keeps a log file and those after it while it exists.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    id: u64,
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `file` for `who`. The caller holds the lock of the log's state, so that the file is not being
    /// removed.
    pub(in crate::relay_log) fn pin(self: &Arc<Self>, file: u64, who: String) -> Pin {
        let mut readers = self.lock();
        readers.next_id += 1;
        let id = readers.next_id;
        readers.by_id.insert(id, (file, who));
        Pin {
            pins: self.clone(),
            id,
        }
    }

    pub(super) fn needs(&self) -> Vec<Need> {
        let readers = self.lock();
        let needs = readers.by_id.values().map(|(file, who)| Need {
            file: *file,
            kind: NeedKind::Reader,
            who: who.clone(),
        });
        needs.collect()
    }

    /// The oldest file that is being read, and how many readers there are of files before `number`.
    pub fn oldest_before(&self, number: u64) -> Option<(u64, usize)> {
        let readers = self.lock();
        let files = readers.by_id.values().map(|(file, _)| *file);
        let before = files.clone().filter(|file| *file < number);
        Some((before.clone().min()?, before.count()))
    }
}

impl Pin {
    /// The reader has finished the files before `file`.
    pub fn move_to(&self, file: u64) {
        if let Some((pinned, _)) = self.pins.lock().by_id.get_mut(&self.id) {
            *pinned = file;
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.lock().by_id.remove(&self.id);
    }
}
