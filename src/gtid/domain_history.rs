//! MariaDB: servers that no longer write to a domain.
//!
//! A binlog's state has every pair of domain and server that ever wrote. A position has only the last transaction of
//! the domain, and so has a server that was built from a dump: it stands for all before it. So a pair that is missing
//! there is not necessarily a transaction that is missing.

use super::{BinlogState, MariaDbGtid};

/// What a log knows of the domains.
#[derive(Debug, Clone)]
pub struct DomainHistory<'a> {
    /// All transactions before its first file.
    pub before: &'a BinlogState,
    /// Those, and all in it.
    pub executed: &'a BinlogState,
    /// The servers that it follows, or has followed.
    pub sources: Vec<u32>,
    /// Whether its first file is the one with which it began, so that `before` is what was before the log.
    pub has_beginning: bool,
}

impl DomainHistory<'_> {
    /// Whether the server of `gtid` has written nothing to its domain since the log began, and is not followed.
    fn is_retired(&self, gtid: &MariaDbGtid) -> bool {
        let of = |state: &BinlogState| state.highest(gtid.domain_id, gtid.server_id);
        !self.sources.contains(&gtid.server_id) && of(self.executed) == of(self.before)
    }

    /// What is before the log and lost for a server that has `held`. What was first executed on the server `own`
    /// itself shows nothing of what it has from others.
    pub fn lost(&self, held: &BinlogState, own: Option<u32>) -> Vec<MariaDbGtid> {
        let lacking = self.before.iter().filter(|gtid| {
            let stands_for_it = || self.is_retired(gtid) && self.reaches(held, own, gtid.domain_id);
            !held.contains(gtid) && !stands_for_it()
        });
        lacking.collect()
    }

    /// Whether `held` has the last transaction of a domain before the log, or one in the log.
    fn reaches(&self, held: &BinlogState, own: Option<u32>, domain_id: u32) -> bool {
        let is_proof = |gtid: &MariaDbGtid| own != Some(gtid.server_id);
        let last = self.before.last_in_domain(domain_id).filter(is_proof);
        let in_log = |gtid: MariaDbGtid| {
            gtid.domain_id == domain_id
                && self.executed.contains(&gtid)
                && !self.before.contains(&gtid)
        };
        last.is_some_and(|last| held.contains(&last)) || held.iter().filter(is_proof).any(in_log)
    }

    /// What the log never had of the transactions `others` of the server `own`: those that are missing, and those that
    /// were before the log, because it knows nothing of their server in that domain, and their number is lower than that of the
    /// last transaction there.
    pub fn never_had(
        &self,
        others: &BinlogState,
        own: u32,
    ) -> (Vec<MariaDbGtid>, Vec<MariaDbGtid>) {
        let is_missing = |gtid: &MariaDbGtid| {
            let last = self.before.last_in_domain(gtid.domain_id);
            let is_before = self.has_beginning
                && gtid.server_id != own
                && !self.sources.contains(&gtid.server_id)
                && self
                    .executed
                    .highest(gtid.domain_id, gtid.server_id)
                    .is_none()
                && last.is_some_and(|last| gtid.seq_no < last.seq_no);
            !is_before
        };
        let absent = others.iter().filter(|gtid| !self.executed.contains(gtid));
        absent.partition(is_missing)
    }
}

/// GTIDs of servers, each of which stands for those before it, as text; `None` if there are none.
pub fn up_to(gtids: &[MariaDbGtid]) -> Option<String> {
    let texts: Vec<String> = gtids.iter().map(|gtid| format!("up to {gtid}")).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const M1: u32 = 1;
    const M2: u32 = 2;

    fn state(text: &str) -> BinlogState {
        text.parse().unwrap()
    }

    fn text(gtids: &[MariaDbGtid]) -> String {
        up_to(gtids).unwrap_or_default()
    }

    /// Server 3 was replaced by M1 before the log began.
    #[test]
    fn position_in_the_log_stands_for_what_was_before_it() {
        let (before, executed) = (state("0-3-77,0-1-90"), state("0-3-77,0-1-95"));
        let history = DomainHistory {
            before: &before,
            executed: &executed,
            sources: vec![M1, M2],
            has_beginning: true,
        };
        let lost = |held: &str, own| text(&history.lost(&state(held), own));
        assert_eq!(lost("0-1-90", None), "");
        assert_eq!(lost("0-1-93", Some(M2)), "");
        assert_eq!(lost("0-1-80", None), "up to 0-3-77, up to 0-1-90");
        assert_eq!(lost("1-1-93", None), "up to 0-3-77, up to 0-1-90");
        // Its own transactions do not show that it has those of others.
        assert_eq!(lost("0-1-93", Some(M1)), "up to 0-3-77");
        // This one is not in the log.
        assert_eq!(lost("0-1-96", None), "");
        assert_eq!(lost("0-9-99", None), "up to 0-3-77, up to 0-1-90");
    }

    #[test]
    fn servers_that_still_write_or_are_followed_must_be_held_themselves() {
        let before = state("0-3-77,0-2-80,0-1-90");
        let executed = state("0-2-80,0-3-91,0-1-95");
        let history = DomainHistory {
            before: &before,
            executed: &executed,
            sources: vec![M1, M2],
            has_beginning: true,
        };
        let lost = text(&history.lost(&state("0-1-93"), None));
        assert_eq!(lost, "up to 0-2-80, up to 0-3-77");
    }

    #[test]
    fn joining_server_may_know_servers_from_before_the_log() {
        let (before, executed) = (state("0-1-100"), state("0-1-150"));
        let mut history = DomainHistory {
            before: &before,
            executed: &executed,
            sources: vec![M1],
            has_beginning: true,
        };
        let never = |history: &DomainHistory<'_>, own| {
            let (missing, before) = history.never_had(&state("0-3-77,1-3-5,0-4-120,0-1-150"), own);
            (text(&missing), text(&before))
        };
        let missing = "up to 0-4-120, up to 1-3-5".to_owned();
        assert_eq!(never(&history, M2), (missing, "up to 0-3-77".to_owned()));
        // Of its own transactions no other server may have known.
        let all = "up to 0-3-77, up to 0-4-120, up to 1-3-5".to_owned();
        assert_eq!(never(&history, 3), (all.clone(), String::new()));
        // It was known up to 50: the others are missing.
        let (former, known) = (state("0-3-50,0-1-100"), state("0-3-50,0-1-150"));
        let history_of_3 = DomainHistory {
            before: &former,
            executed: &known,
            ..history.clone()
        };
        let (missing, before) = history_of_3.never_had(&state("0-3-77,0-1-150"), M2);
        assert_eq!(
            (text(&missing), before),
            ("up to 0-3-77".to_owned(), Vec::new())
        );
        // After a removal, `before` may have transactions that were in the log.
        history.has_beginning = false;
        assert_eq!(never(&history, M2), (all, String::new()));
    }
}
