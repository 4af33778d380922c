//! The progress of each source.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::gtid::BinlogState;
use crate::identity::{Identity, IdentityKind};
use crate::relay_log::error::LogError;
use crate::relay_log::published::SourceProgress;
use crate::transaction::{Transaction, TransactionBatch};

/// The progress of each source, by number. The next commit publishes it.
#[derive(Debug)]
pub(super) struct Sources {
    progress: Vec<SourceProgress>,
    /// How the log's transactions are identified.
    kind: IdentityKind,
    /// The log's list of files, for messages.
    log: PathBuf,
}

impl Sources {
    pub(super) fn new(progress: Vec<SourceProgress>, kind: IdentityKind, log: PathBuf) -> Self {
        Self {
            progress,
            kind,
            log,
        }
    }

    /// Adds a source that has sent nothing, with the next number.
    pub(super) fn add(&mut self) {
        self.progress.push(SourceProgress::default());
    }

    pub(super) fn as_slice(&self) -> &[SourceProgress] {
        &self.progress
    }

    /// Overwrites `published`, and reuses its allocations.
    pub(super) fn clone_to(&self, published: &mut Vec<SourceProgress>) {
        published.clone_from(&self.progress);
    }

    pub(super) fn get(&self, source: u16) -> Result<&SourceProgress, LogError> {
        let progress = self.progress.get(usize::from(source));
        progress.ok_or_else(|| unknown(source, &self.log))
    }

    fn get_mut(&mut self, source: u16) -> Result<&mut SourceProgress, LogError> {
        let progress = self.progress.get_mut(usize::from(source));
        progress.ok_or_else(|| unknown(source, &self.log))
    }

    /// Replaces the progress of a source.
    pub(super) fn replace(
        &mut self,
        source: u16,
        progress: SourceProgress,
    ) -> Result<(), LogError> {
        *self.get_mut(source)? = progress;
        Ok(())
    }

    /// MariaDB: removes from what the sources have sent the transactions of the server that follow `before`.
    pub(super) fn forget_sent(&mut self, server_id: u32, before: &BinlogState) {
        for progress in &mut self.progress {
            progress.sent.begin_again(server_id, before);
        }
    }

    /// The first source whose position is known.
    pub(super) fn first_known(&self) -> Option<u16> {
        let mut known = (0u16..).zip(&self.progress);
        let first = known.find(|(_, progress)| !progress.position.is_unknown());
        first.map(|(source, _)| source)
    }

    /// Ends the phase in which sources are read up to their starts. Returns whether it had not
    /// ended yet.
    pub(super) fn end_reading_back(&mut self) -> bool {
        let mut was_reading = false;
        for progress in &mut self.progress {
            was_reading |= std::mem::take(&mut progress.reading_back);
        }
        was_reading
    }

    /// Sets the position of `batch`'s source to the end of `transaction`.
    pub(super) fn note(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Result<(), LogError> {
        let kind = self.kind;
        let progress = self.get_mut(batch.source)?;
        let (file, end) = (&batch.source_end.file, transaction.source_offset);
        progress.set_server(batch.source_server_id, kind);
        progress.note_last(file, end, transaction.history_digest());
        if let Identity::MariaDb(gtid) = transaction.identity {
            progress.note_gtid(gtid);
        }
        self.move_to(batch, end)
    }

    /// Sets the position of `batch`'s source to `offset` of its file.
    pub(super) fn move_to(
        &mut self,
        batch: &TransactionBatch,
        offset: u64,
    ) -> Result<(), LogError> {
        let kind = self.kind;
        let progress = self.get_mut(batch.source)?;
        progress.set_server(batch.source_server_id, kind);
        if !Arc::ptr_eq(&progress.position.file, &batch.source_end.file) {
            progress.position.file = batch.source_end.file.clone();
        }
        progress.position.offset = offset;
        Ok(())
    }

    /// Sets the creation time of the source's first file that was read. Returns whether it was
    /// unknown.
    pub(super) fn note_first_timestamp(
        &mut self,
        batch: &TransactionBatch,
    ) -> Result<bool, LogError> {
        let progress = self.get_mut(batch.source)?;
        let is_news = batch.source_first_timestamp != 0 && progress.first_timestamp == 0;
        if is_news {
            progress.first_timestamp = batch.source_first_timestamp;
            progress.server_id = batch.source_server_id;
        }
        Ok(is_news)
    }
}

fn unknown(source: u16, log: &Path) -> LogError {
    LogError::Internal {
        path: log.to_owned(),
        what: format!("source number {source} is not configured"),
    }
}
