//! The rules of a source, which a reload may change during its dump.

use std::sync::Arc;

use tokio::sync::watch;

use super::facts::SourceFacts;
use crate::config::FilterConfig;
use crate::filter::Filter;

/// The rules, and whether others are to be applied from the next transaction on.
pub(super) struct ChangingFilter {
    rules: watch::Receiver<Arc<FilterConfig>>,
    facts: SourceFacts,
    /// Whether the rules differ from those that were taken last, as far as it was noticed.
    pub(super) has_changed: bool,
}

impl ChangingFilter {
    /// The rules of the source with these `facts`.
    pub(super) fn new(rules: watch::Receiver<Arc<FilterConfig>>, facts: SourceFacts) -> Self {
        Self {
            rules,
            facts,
            has_changed: false,
        }
    }

    /// Notices a change; once for what was read together, so that events cost nothing.
    pub(super) fn notice(&mut self) {
        self.has_changed |= self.rules.has_changed().unwrap_or(false);
    }

    /// The present rules.
    pub(super) fn take(&mut self) -> Filter {
        self.has_changed = false;
        let rules = self.rules.borrow_and_update().clone();
        self.facts.filter(&rules)
    }
}
