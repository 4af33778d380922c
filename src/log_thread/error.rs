//! Why a transaction is not appended.

use crate::merge::MergeError;
use crate::position::SourcePosition;
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
    /// Replicas would execute its statement with the temporary tables of another session.
    #[error(
        "{end}: the session with thread_id {thread_id} of server_id {origin} reuses the thread_id of a \
         session that ended when this server was killed. Its temporary tables are still open on the \
         replicas because sessions of other sources also have temporary tables; end those sessions or \
         drop their tables, then restart binrelay"
    )]
    EndedSession {
        /// The server_id of the session's server.
        origin: u32,
        /// The session's number.
        thread_id: u32,
        /// Where the transaction ends.
        end: SourcePosition,
    },
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
