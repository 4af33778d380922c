//! MariaDB's `START SLAVE UNTIL` a GTID position: not the replica but its master ends the stream.
//!
//! The replica names a GTID for each domain before a dump by GTID. A domain ends with that GTID, or,
//! with `SQL_BEFORE_GTIDS` (MariaDB 11.3 and later), before it. After that, and in domains that are not
//! named, transactions are skipped. When no domain is left, a GTID list whose flag says so ends the
//! dump. As in MariaDB's `sql/sql_repl.cc`.

use std::collections::BTreeMap;

use super::refusals::Wording;
use super::variables::SessionVariables;
use crate::gtid::{BinlogState, GtidPosition, MariaDbGtid};
use crate::protocol::ServerError;

/// The flag of the GTID list that ends such a dump.
pub const FLAG_UNTIL_REACHED: u32 = 1 << 28;

/// Where the stream of one replica ends.
#[derive(Debug, Clone)]
pub struct Until {
    /// The domains that have not ended, and the GTID with which each ends.
    domains: BTreeMap<u32, MariaDbGtid>,
    /// Whether they end before these GTIDs.
    is_before: bool,
    /// The state of the log up to the current transaction.
    pub seen: BinlogState,
}

impl Until {
    /// The end that the session's variables name, if they do. `before` is the state of the log where
    /// the stream starts: a domain whose end is in it has ended.
    ///
    /// # Errors
    /// The position cannot be parsed.
    pub fn of_session(
        variables: &SessionVariables,
        before: &BinlogState,
        wording: Wording,
    ) -> Result<Option<Self>, ServerError> {
        let Some(text) = variables.user_text("slave_until_gtid") else {
            return Ok(None);
        };
        let end: GtidPosition = text.parse().map_err(|_| wording.bad_until_position())?;
        let is_passed = |gtid: &MariaDbGtid| {
            let highest = before.highest(gtid.domain_id, gtid.server_id);
            highest.is_some_and(|highest| gtid.seq_no <= highest)
        };
        let is_before = variables.user_text("slave_gtid_until_before_gtids");
        Ok(Some(Self {
            domains: end
                .iter()
                .filter(|gtid| !is_passed(gtid))
                .map(|gtid| (gtid.domain_id, gtid))
                .collect(),
            is_before: is_before.is_some_and(|value| value != "0"),
            seen: before.clone(),
        }))
    }

    /// Records the next transaction, and returns whether it is after the end of its domain.
    pub fn passes_end(&mut self, gtid: MariaDbGtid) -> bool {
        self.seen.record(gtid);
        let Some(end) = self.domains.get(&gtid.domain_id).copied() else {
            return true;
        };
        if gtid.server_id != end.server_id || gtid.seq_no < end.seq_no {
            return false;
        }
        self.domains.remove(&gtid.domain_id);
        self.is_before || gtid.seq_no > end.seq_no
    }

    /// Whether every domain has ended, the last one with the current transaction.
    pub fn is_reached(&self) -> bool {
        self.domains.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender::value::Value;

    fn until(end: &str, is_before: bool, before: &str) -> Until {
        let mut variables = SessionVariables::default();
        let mut set = |name, text: &str| variables.set_user(name, Value::Text(text.to_owned()));
        set("slave_until_gtid", end).unwrap();
        set(
            "slave_gtid_until_before_gtids",
            if is_before { "1" } else { "0" },
        )
        .unwrap();
        let wording = Wording::of_version("11.8.6-MariaDB");
        let found = Until::of_session(&variables, &before.parse().unwrap(), wording);
        found.unwrap().unwrap()
    }

    /// The transactions that are sent, and whether the end is reached.
    fn sent(mut until: Until, gtids: &[&str]) -> (Vec<String>, bool) {
        let mut sent = Vec::new();
        for gtid in gtids {
            if until.is_reached() {
                break;
            }
            if !until.passes_end(gtid.parse().unwrap()) {
                sent.push((*gtid).to_owned());
            }
        }
        (sent, until.is_reached())
    }

    #[test]
    fn each_domain_ends_with_its_gtid_or_before_it() {
        let log = [
            "0-1-1", "1-1-1", "2-1-1", "0-1-2", "0-1-3", "1-1-2", "1-1-3",
        ];
        for (end, is_before, expected, is_reached) in [
            ("0-1-2", false, vec!["0-1-1", "0-1-2"], true),
            ("0-1-2", true, vec!["0-1-1"], true),
            (
                "0-1-2,1-1-2",
                false,
                vec!["0-1-1", "1-1-1", "0-1-2", "1-1-2"],
                true,
            ),
            ("0-1-2,1-1-2", true, vec!["0-1-1", "1-1-1"], true),
            // Another server's number is not the end.
            ("0-9-2", false, vec!["0-1-1", "0-1-2", "0-1-3"], false),
            ("0-1-9", false, vec!["0-1-1", "0-1-2", "0-1-3"], false),
        ] {
            assert_eq!(sent(until(end, is_before, ""), &log).0, expected, "{end}");
            assert_eq!(sent(until(end, is_before, ""), &log).1, is_reached, "{end}");
        }
    }

    #[test]
    fn a_gtid_that_the_log_lacks_ends_its_domain_before_the_next_one() {
        let log = ["0-1-1", "0-1-5", "0-1-6"];
        let (found, is_reached) = sent(until("0-1-3", false, ""), &log);
        assert_eq!((found, is_reached), (vec!["0-1-1".to_owned()], true));
    }

    #[test]
    fn an_end_before_the_start_is_reached_at_once() {
        assert!(until("0-1-3,1-1-1", false, "0-1-3,1-1-7").is_reached());
        assert!(until("", false, "0-1-3").is_reached());
        assert!(!until("0-1-3", false, "0-1-2").is_reached());
        assert!(
            !until("0-1-3", false, "0-2-9").is_reached(),
            "another server's"
        );
    }

    #[test]
    fn a_malformed_end_is_refused_as_by_mariadb() {
        let mut variables = SessionVariables::default();
        let wording = Wording::of_version("11.8.6-MariaDB");
        let before = BinlogState::new();
        let none = Until::of_session(&variables, &before, wording).unwrap();
        assert!(none.is_none());
        let text = Value::Text("0-1".to_owned());
        variables.set_user("slave_until_gtid", text).unwrap();
        let error = Until::of_session(&variables, &before, wording).unwrap_err();
        assert_eq!(error.code, 1105);
    }
}
