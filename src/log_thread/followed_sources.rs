//! The sources that are followed: they come and go while the relay runs.
//!
//! A source has the number of its first path. A new one gets the next number, one that was removed its old one: its
//! path continues where it was, unless it was removed while it was still read up to its start. The receiver sends
//! nothing before the log thread knows the source, and the log thread forgets the source after the last batch of it.

use std::sync::Arc;

use super::LogThread;
use super::paths::{PathKind, has_one_live};
use super::queue::{FollowChange, SourceCounters};
use crate::relay_log::{LogError, SourceProgress};

/// The counters of the sources, by number.
#[derive(Debug, Default)]
pub(super) struct CounterTable(Vec<Option<Arc<SourceCounters>>>);

impl CounterTable {
    pub(super) fn new(counters: &[Arc<SourceCounters>]) -> Self {
        Self(counters.iter().cloned().map(Some).collect())
    }

    pub(super) fn get(&self, source: u16) -> Option<&Arc<SourceCounters>> {
        self.0.get(usize::from(source))?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<SourceCounters>> {
        self.0.iter().flatten()
    }

    fn set(&mut self, source: u16, counters: Option<Arc<SourceCounters>>) {
        let at = usize::from(source);
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        if let Some(slot) = self.0.get_mut(at) {
            *slot = counters;
        }
    }
}

impl LogThread {
    /// Carries out a change of the sources that are followed. When it is answered, everything that was appended
    /// before is published: a source that is added again resumes at its published position, and what is sent again
    /// from an older one would be new without GTIDs.
    pub(super) fn change_followed(
        &mut self,
        change: FollowChange,
        counters: &mut CounterTable,
    ) -> Result<(), LogError> {
        match &change.counters {
            Some(_) => self.followed.add(change.source, change.name.clone()),
            None => self.followed.remove(change.source),
        }
        if usize::from(change.source) >= self.sources.len() {
            self.add_paths()?;
        }
        let configured = self.followed.names();
        for source in &mut self.sources {
            source.kind = PathKind::of(source.name(), &configured);
        }
        let kinds = self.sources.iter().map(|source| source.kind);
        self.merge.set_one_path(has_one_live(kinds));
        if change.counters.is_none() {
            self.forget_read_back(change.source)?;
        }
        counters.set(change.source, change.counters);
        self.log.commit()?;
        self.followed.publish(self.log.log());
        // Whoever asked may have stopped waiting.
        let _ = change.done.send(());
        Ok(())
    }

    /// Without GTIDs: forgets where a removed source was if it was still read up to its start, because no one knows
    /// the start any more: if the source were followed from there, what precedes its start would be new.
    fn forget_read_back(&mut self, source: u16) -> Result<(), LogError> {
        let progress = self.log.progress(source);
        if !progress.is_ok_and(|progress| progress.reading_back) {
            return Ok(());
        }
        self.log
            .replace_progress(source, SourceProgress::default())?;
        // The newest index must not say any more that the source is read up to its start: with that, recovery
        // creates the log again, also once the other sources have begun it.
        self.start_file()
    }
}
