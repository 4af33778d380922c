//! The sources that are followed now: the list changes while the relay runs.

use std::sync::{Arc, Mutex, PoisonError};

use super::SourceParts;

/// The sources that are followed now.
#[derive(Debug, Default)]
pub struct SourceList(Mutex<Arc<Vec<SourceParts>>>);

impl SourceList {
    /// These sources.
    pub fn new(sources: Vec<SourceParts>) -> Self {
        Self(Mutex::new(Arc::new(sources)))
    }

    /// The list as it is now, in the order in which it is shown.
    pub fn now(&self) -> Arc<Vec<SourceParts>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the list.
    pub fn replace(&self, sources: Vec<SourceParts>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(sources);
    }
}
