//! How many transactions only one source has: those that would be lost with it.

use crate::gtid::{BinlogState, GtidSet};
use crate::identity::Executed;

/// The transactions of the relay log that none of the `others` has: `executed` minus their
/// `gtid_executed`. They can only have come from the remaining source. `None` if there are no others,
/// or one has not reported.
pub(super) fn mysql<'a>(
    executed: &GtidSet,
    others: impl IntoIterator<Item = Option<&'a Executed>>,
) -> Option<u64> {
    let mut rest = None;
    for other in others {
        let other = other?.as_mysql()?;
        rest.get_or_insert_with(|| executed.clone()).subtract(other);
    }
    rest.map(|rest| u64::try_from(rest.count()).unwrap_or(u64::MAX))
}

/// The same for MariaDB: `executed` has the highest numbers in the relay log, `others` those that the
/// other sources have sent. Each counts up to the highest number that one of the others has sent;
/// `server_id` is the remaining source's. `None` also if no other has ever sent a transaction of that
/// source: perhaps it never will.
pub(super) fn mariadb<'a>(
    executed: &BinlogState,
    server_id: u32,
    others: impl Iterator<Item = (u32, &'a BinlogState)> + Clone,
) -> Option<u64> {
    let others_own = |server: u32| others.clone().any(|(own, _)| own == server);
    let mut count = 0;
    let mut is_known = true;
    for newest in executed.iter() {
        // What another source has executed first is not only here.
        if others_own(newest.server_id) {
            continue;
        }
        let sent = others
            .clone()
            .filter_map(|(_, sent)| sent.highest(newest.domain_id, newest.server_id))
            .max();
        match sent {
            Some(sent) => count += newest.seq_no.saturating_sub(sent),
            None => is_known &= newest.server_id != server_id,
        }
    }
    (is_known && others.count() > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00000000-0000-0000-0000-000000000086";
    const B: &str = "00000000-0000-0000-0000-000000000018";

    fn set(text: &str) -> GtidSet {
        text.parse().unwrap()
    }

    fn state(text: &str) -> BinlogState {
        text.parse().unwrap()
    }

    #[test]
    fn mysql_counts_what_no_other_source_has() {
        let executed = set(&format!("{A}:1-100,{B}:1-50"));
        let of = |text: &str| Executed::MySql(set(text));
        let peer = of(&format!("{A}:1-90,{B}:1-50"));
        assert_eq!(mysql(&executed, [Some(&peer)]), Some(10));
        let third = of(&format!("{A}:1-95,{B}:1-20"));
        assert_eq!(mysql(&executed, [Some(&peer), Some(&third)]), Some(5));
        assert_eq!(mysql(&executed, [Some(&peer), None]), None);
        assert_eq!(mysql(&executed, []), None);
        // It may have more than has been received.
        let ahead = of(&format!("{A}:1-200,{B}:1-60"));
        assert_eq!(mysql(&executed, [Some(&ahead)]), Some(0));
    }

    #[test]
    fn mariadb_counts_up_to_what_another_source_has_sent() {
        let executed = state("86-86-100,18-18-50");
        let count = |sent: &str| {
            let sent = state(sent);
            mariadb(&executed, 86, [(18, &sent)].into_iter())
        };
        assert_eq!(count("86-86-93,18-18-50"), Some(7));
        assert_eq!(count("86-86-100,18-18-50"), Some(0));
        assert_eq!(count("18-18-50"), None, "log_slave_updates=OFF");
        assert_eq!(mariadb(&executed, 86, [].into_iter()), None);
    }

    #[test]
    fn mariadb_with_three_sources() {
        let executed = state("0-86-100,0-18-90,0-19-95");
        let (second, third) = (state("0-86-98,0-18-90"), state("0-86-99,0-19-95"));
        let others = [(18, &second), (19, &third)].into_iter();
        assert_eq!(mariadb(&executed, 86, others), Some(1));
    }
}
