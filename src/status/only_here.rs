//! How many transactions only one source has: those that would be lost with it.

use crate::gtid::{BinlogState, GtidSet, Uuid};
use crate::identity::Executed;

/// The transactions of the relay log that none of the `others` has: `executed` minus their
/// `gtid_executed`. They can only have come from the remaining source. `None` if there are no others,
/// or one has not reported. What another source has executed first is there even if it has not reported it yet:
/// `others` also has their UUIDs.
pub(super) fn mysql<'a>(
    executed: &GtidSet,
    others: impl IntoIterator<Item = (Option<Uuid>, Option<&'a Executed>)>,
) -> Option<u64> {
    let mut rest: Option<GtidSet> = None;
    for (uuid, other) in others {
        let other = other?.as_mysql()?;
        let rest = rest.get_or_insert_with(|| executed.clone());
        rest.subtract(other);
        let own = rest
            .iter_intervals()
            .filter(|(sid, ..)| Some(sid.uuid) == uuid);
        let own: Vec<_> = own.collect();
        for (sid, first, last) in own {
            let mut interval = GtidSet::new();
            interval.insert_interval(sid, first, last);
            rest.subtract(&interval);
        }
    }
    rest.map(|rest| u64::try_from(rest.count()).unwrap_or(u64::MAX))
}

/// The same for MariaDB, from the highest numbers that each source has sent: `own` are those of the source
/// itself, `others` the server_ids and the numbers of the other ones. Only what the source has sent can be
/// only there: the log may also have transactions of sources that are no longer configured.
///
/// `None` if there are no others, or none of them has ever sent a transaction of the source's server (perhaps it
/// never will), or where several servers write to a domain in turn, so that numbers do not show how many
/// transactions there are.
pub(super) fn mariadb<'a>(
    server_id: u32,
    own: &BinlogState,
    others: impl Iterator<Item = (u32, &'a BinlogState)> + Clone,
) -> Option<u64> {
    others.clone().next()?;
    let mut count = 0;
    for newest in own.iter() {
        // What another source has executed first is not only here.
        if others.clone().any(|(server, _)| server == newest.server_id) {
            continue;
        }
        let sent = others
            .clone()
            .filter_map(|(_, sent)| sent.highest(newest.domain_id, newest.server_id))
            .max();
        let Some(sent) = sent else {
            if newest.server_id == server_id {
                return None;
            }
            continue;
        };
        let more = newest.seq_no.saturating_sub(sent);
        if more > 1
            && is_mixed(
                newest.domain_id,
                newest.server_id,
                sent,
                own,
                others.clone(),
            )
        {
            return None;
        }
        count += more;
    }
    Some(count)
}

/// Whether another server than `server_id` has written to the domain after `sent`.
fn is_mixed<'a>(
    domain_id: u32,
    server_id: u32,
    sent: u64,
    own: &BinlogState,
    others: impl Iterator<Item = (u32, &'a BinlogState)>,
) -> bool {
    let states = others.map(|(_, state)| state).chain([own]);
    let mut gtids = states.flat_map(BinlogState::iter);
    gtids.any(|gtid| {
        (
            gtid.domain_id,
            gtid.server_id != server_id,
            gtid.seq_no > sent,
        ) == (domain_id, true, true)
    })
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
        assert_eq!(mysql(&executed, [(None, Some(&peer))]), Some(10));
        let third = of(&format!("{A}:1-95,{B}:1-20"));
        let both = [(None, Some(&peer)), (None, Some(&third))];
        assert_eq!(mysql(&executed, both), Some(5));
        assert_eq!(mysql(&executed, [(None, Some(&peer)), (None, None)]), None);
        assert_eq!(mysql(&executed, []), None);
        // It may have more than has been received.
        let ahead = of(&format!("{A}:1-200,{B}:1-60"));
        assert_eq!(mysql(&executed, [(None, Some(&ahead))]), Some(0));
        // Its newest ones have arrived since it has reported.
        let before = of(&format!("{A}:1-90,{B}:1-45"));
        let uuid = B.parse().ok();
        assert_eq!(mysql(&executed, [(uuid, Some(&before))]), Some(10));
    }

    #[test]
    fn mariadb_counts_up_to_what_another_source_has_sent() {
        let own = state("86-86-100,18-18-50");
        let count = |sent: &str| {
            let sent = state(sent);
            mariadb(86, &own, [(18, &sent)].into_iter())
        };
        assert_eq!(count("86-86-93,18-18-50"), Some(7));
        assert_eq!(count("86-86-100,18-18-50"), Some(0));
        assert_eq!(count("18-18-50"), None, "log_slave_updates=OFF");
        assert_eq!(mariadb(86, &own, [].into_iter()), None);
    }

    #[test]
    fn mariadb_with_three_sources() {
        let own = state("0-19-95,0-18-90,0-86-98");
        let (second, third) = (state("0-18-90,0-86-97"), state("0-86-96,0-19-95"));
        let others = [(18, &second), (19, &third)].into_iter();
        assert_eq!(mariadb(86, &own, others), Some(1));
    }

    #[test]
    fn transactions_of_a_removed_source_count_only_where_they_were_sent() {
        // Server 19 is no longer a source; the log has up to 1-19-95, from itself.
        let (own, other) = (state("0-86-100,1-19-92"), state("0-86-100,1-19-90"));
        assert_eq!(mariadb(86, &own, [(18, &other)].into_iter()), Some(2));
    }

    #[test]
    fn numbers_that_two_servers_use_in_turn_do_not_count_transactions() {
        let own = state("0-18-99,0-86-100");
        let count = |sent: &str| {
            let sent = state(sent);
            mariadb(86, &own, [(18, &sent)].into_iter())
        };
        assert_eq!(count("0-18-99,0-86-90"), None);
        assert_eq!(count("0-18-99,0-86-99"), Some(1));
        // Since then only server 86 has written.
        let own = state("0-18-80,0-86-100");
        let sent = state("0-18-80,0-86-90");
        assert_eq!(mariadb(86, &own, [(18, &sent)].into_iter()), Some(10));
    }
}
