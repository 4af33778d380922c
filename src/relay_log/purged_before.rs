//! What is before the log once files at its beginning were removed.

use crate::identity::Executed;

/// The transactions before a file whose head says that `previous` are before it, once the files before it are
/// removed. `purged` are those before the log now.
pub(super) fn purged_before(previous: Executed, purged: &Executed) -> Executed {
    match (purged, previous) {
        (Executed::Anonymous, _) => Executed::Anonymous,
        (Executed::MySql(before), Executed::MySql(mut now)) => {
            now.union_with(before);
            Executed::MySql(now)
        }
        (_, now) => now,
    }
}
