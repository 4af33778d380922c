//! The rules of a source, which a reload may change while it is followed.

use std::sync::Arc;

use tokio::sync::watch;

use super::settings::FilterConfig;

/// The rules of one source, shared by all copies of its configuration: a change is seen by all.
#[derive(Debug, Clone)]
pub struct SharedFilter(Arc<watch::Sender<Arc<FilterConfig>>>);

impl SharedFilter {
    /// Begins with `rules`.
    pub fn new(rules: FilterConfig) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(rules))))
    }

    /// The present rules.
    pub fn current(&self) -> Arc<FilterConfig> {
        self.0.borrow().clone()
    }

    /// Follows the rules.
    pub fn follow(&self) -> watch::Receiver<Arc<FilterConfig>> {
        self.0.subscribe()
    }

    /// Replaces the rules. Those who follow them are woken only if they differ.
    pub fn replace(&self, rules: Arc<FilterConfig>) {
        self.0.send_if_modified(|current| {
            let differs = **current != *rules;
            *current = rules;
            differs
        });
    }
}

impl Default for SharedFilter {
    fn default() -> Self {
        Self::new(FilterConfig::default())
    }
}
