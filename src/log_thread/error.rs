//! Why a transaction is not appended.

use crate::merge::MergeError;
use crate::relay_log::{LogError, WriteError};

/// Why a transaction was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The source must stop; the others continue.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log itself failed, and must no longer be written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why a source must stop.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its transaction cannot be merged.
    #[error(transparent)]
    Merge(MergeError),
    /// Its transaction does not fit into this log.
    #[error(transparent)]
    Write(WriteError),
}

impl From<MergeError> for AppendError {
    fn from(error: MergeError) -> Self {
        AppendError::Refused(Refusal::Merge(error))
    }
}

impl From<WriteError> for AppendError {
    fn from(error: WriteError) -> Self {
        AppendError::Refused(Refusal::Write(error))
    }
}
