//! The rules of a source, which a reload may change while the source is followed.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// `[filter]` or `[source.filter]`. All lists empty = everything is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterConfig {
    /// Only these databases are kept, unless the list is empty.
    pub replicate_do_db: Vec<String>,
    /// These databases are dropped.
    pub replicate_ignore_db: Vec<String>,
    /// These tables are kept; others only if another rule keeps them: `database.table`.
    pub replicate_do_table: Vec<String>,
    /// These tables are dropped: `database.table`.
    pub replicate_ignore_table: Vec<String>,
    /// As `replicate_do_table`, with `%` and `_` as in LIKE.
    pub replicate_wild_do_table: Vec<String>,
    /// As `replicate_ignore_table`, with `%` and `_` as in LIKE.
    pub replicate_wild_ignore_table: Vec<String>,
    /// Databases that are renamed before the other rules apply: old and new name.
    pub replicate_rewrite_db: Vec<(String, String)>,
}

impl fmt::Display for FilterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rewrites = self.replicate_rewrite_db.iter();
        let rewrites: Vec<String> = rewrites.map(|(a, b)| format!("{a}->{b}")).collect();
        let lists = [
            ("replicate_do_db", &self.replicate_do_db),
            ("replicate_ignore_db", &self.replicate_ignore_db),
            ("replicate_do_table", &self.replicate_do_table),
            ("replicate_ignore_table", &self.replicate_ignore_table),
            ("replicate_wild_do_table", &self.replicate_wild_do_table),
            (
                "replicate_wild_ignore_table",
                &self.replicate_wild_ignore_table,
            ),
            ("replicate_rewrite_db", &rewrites),
        ];
        let mut separator = "";
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            write!(f, "{separator}{key} = {list:?}")?;
            separator = ", ";
        }
        match separator {
            "" => f.write_str("none, everything is kept"),
            _ => Ok(()),
        }
    }
}

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

    /// Whether both are the rules of the same source, or of sources that share them: a change of one is seen by the
    /// other.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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
