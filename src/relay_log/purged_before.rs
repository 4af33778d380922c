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

/// The transactions before the log, once files that were removed are in it again: those `before` the removal, and what
/// an administrator has counted as delivered since it made them `removed`. They are `now`.
pub(super) fn purged_again(before: Executed, removed: &Executed, now: &Executed) -> Executed {
    match (before, removed, now) {
        (Executed::MySql(mut before), Executed::MySql(removed), Executed::MySql(now)) => {
            let mut counted = now.clone();
            counted.subtract(removed);
            before.union_with(&counted);
            Executed::MySql(before)
        }
        (before, ..) => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(intervals: &str) -> Executed {
        let text = format!("01010101-0101-0101-0101-010101010101:{intervals}");
        Executed::MySql(text.parse().unwrap())
    }

    #[test]
    fn transactions_that_were_counted_during_a_removal_that_failed_remain() {
        let before = set("1-5");
        let removed = purged_before(set("1-8"), &before);
        assert_eq!(purged_again(before.clone(), &removed, &removed), before);
        let counted = set("1-8:20-22");
        assert_eq!(purged_again(before, &removed, &counted), set("1-5:20-22"));
    }
}
