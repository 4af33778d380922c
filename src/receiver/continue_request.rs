//! What an administrator asks of a source that is to continue; [`super::continuing`] carries it out.

use tokio::sync::oneshot;

use super::withdrawal::Wanted;
use crate::config::SourceStart;

/// Where a source continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContinueFrom {
    /// The position; `None` is where it was.
    pub at: Option<SourceStart>,
    /// Whether its changed history is accepted.
    pub new_history: bool,
    /// MySQL: whether GTIDs before the position that the log lacks count as delivered; it is refused otherwise.
    pub counts_missing: bool,
    /// MariaDB: whether transactions before the position that the log lacks are skipped; it is refused otherwise.
    pub skips_missing: bool,
}

/// A decision, and where its result is awaited.
#[derive(Debug)]
pub struct ContinueRequest {
    /// Where to continue.
    pub from: ContinueFrom,
    /// Used once GTIDs count as delivered that the log lacks; else dropped. That happens also when no one waits for
    /// the result any more, or when the decision fails afterwards. Replicas are only refused for lack of these GTIDs
    /// when they connect: those that are connected must do it again.
    pub counted: oneshot::Sender<()>,
    /// Whether the decision ends, while it is verified, when no one waits for `answer` any more.
    pub wanted: Wanted,
    /// The result, as text: what was decided, or why it is refused.
    pub answer: oneshot::Sender<Result<String, String>>,
}
