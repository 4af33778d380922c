//! Changes of the sources, as statements ask for them. `relay` carries them out: a sender sees no receiver.

use std::fmt;
use std::sync::Arc;

use super::source_rows::SourceRows;
use crate::config::ChangedSettings;
use crate::position::SourcePosition;

/// A change of the sources. Names are as they were written: case does not matter.
#[derive(Debug, Clone)]
pub enum SourceChange {
    /// START: these are followed.
    Start(Vec<String>),
    /// STOP: these are not followed until START.
    Stop(Vec<String>),
    /// RESET without ALL: their errors are forgotten. They keep their positions.
    Forget(Vec<String>),
    /// RESET … ALL: they are removed.
    Remove(Vec<String>),
    /// CHANGE: one gets other settings, or is added.
    Change {
        /// Its name.
        name: String,
        /// The settings that change.
        settings: Box<ChangedSettings>,
        /// The position at which it continues.
        position: Option<SourcePosition>,
    },
}

/// A change that was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedSources {
    /// The names of those that were changed.
    pub changed: Vec<String>,
    /// The names of those that were as wanted already.
    pub unchanged: Vec<String>,
    /// What an administrator must know of it.
    pub warnings: Vec<String>,
}

/// Why a change was not carried out. Nothing has changed then, unless the text says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceChangeError {
    /// There is no source of this name.
    Unknown(String),
    /// The source of this name must be stopped first.
    Running(String),
    /// Another reason, and what to do.
    Refused(String),
}

/// Carries out changes. It blocks.
#[derive(Clone)]
pub struct SourceChanges(
    Arc<dyn Fn(SourceChange) -> Result<ChangedSources, SourceChangeError> + Send + Sync>,
);

impl SourceChanges {
    /// By this function, which may block.
    pub fn new(
        apply: impl Fn(SourceChange) -> Result<ChangedSources, SourceChangeError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(apply))
    }

    /// Carries out a change.
    ///
    /// # Errors
    /// See [`SourceChangeError`].
    pub fn apply(&self, change: SourceChange) -> Result<ChangedSources, SourceChangeError> {
        (self.0)(change)
    }
}

impl fmt::Debug for SourceChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceChanges(…)")
    }
}

/// The sources, as sessions see and change them.
#[derive(Debug, Clone)]
pub struct SourceAccess {
    /// Reads them.
    pub rows: SourceRows,
    /// Changes them.
    pub changes: SourceChanges,
}
