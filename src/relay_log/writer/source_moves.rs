//! Records of what is new about a source without a transaction.

use std::time::Instant;

use super::Writer;
use crate::position::RelayLogPosition;
use crate::relay_log::error::LogError;
use crate::relay_log::index_record::Record;
use crate::transaction::TransactionBatch;

impl Writer {
    /// What was appended last was received at this time.
    pub fn note_received(&self, at: Instant) {
        let end = RelayLogPosition {
            file: self.number,
            offset: self.tail.end(),
        };
        self.log.timings().follow(end, at);
    }

    /// Records when the first file that was read of `batch`'s source was begun, if that was not
    /// known. Returns whether it was not. It must precede the source's first transaction, because
    /// replay classifies that one with it.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn record_first_timestamp(&mut self, batch: &TransactionBatch) -> Result<bool, LogError> {
        let is_news = self.sources.note_first_timestamp(batch)?;
        if is_news {
            self.record_position(batch.source)?;
        }
        Ok(is_news)
    }

    /// Records the position of `batch`'s source, which moved without a transaction.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn move_source(&mut self, batch: &TransactionBatch) -> Result<(), LogError> {
        self.sources.move_to(batch, batch.source_end.offset)?;
        self.record_position(batch.source)
    }

    /// Records that a source's server was restarted. Its position does not change.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn record_restart(&mut self, source: u16) -> Result<(), LogError> {
        let history = self.sources.get(source)?.history();
        self.stage_step(source, |step, _, _| Record::SourceRestarted {
            step,
            history,
        })?;
        Ok(())
    }

    pub(super) fn record_position(&mut self, source: u16) -> Result<(), LogError> {
        let history = self.sources.get(source)?.history();
        self.stage_step(source, |step, _, _| Record::SourceMoved {
            step,
            history,
            last: None,
        })?;
        Ok(())
    }
}
