//! The end of a source's binlog, and whether the relay has reached it.

use std::time::Duration;

use crate::identity::Executed;
use crate::position::SourcePosition;

/// How often a source is asked for its end.
pub(super) const END_INTERVAL: Duration = Duration::from_secs(2);

/// The end of a source's binlog, as the source reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEnd {
    /// The end of the newest file; `None` when the user may not ask for it.
    pub position: Option<SourcePosition>,
    /// `gtid_executed` or `gtid_binlog_state`; `None` on a server without GTIDs.
    pub executed: Option<Executed>,
}

impl SourceEnd {
    /// Whether everything up to this end is durable: `position` is the source's durable position,
    /// `executed` holds all transactions of the relay log. One of the two is enough: a position
    /// also passes events without a GTID, and GTIDs are also those that came from other sources.
    pub fn is_reached(
        &self,
        position: Option<&SourcePosition>,
        executed: Option<&Executed>,
    ) -> bool {
        let is_position_reached = match (&self.position, position) {
            (Some(end), Some(here)) => end.file == here.file && here.offset >= end.offset,
            _ => false,
        };
        is_position_reached
            || match (&self.executed, executed) {
                (Some(Executed::MySql(end)), Some(Executed::MySql(here))) => end.is_subset_of(here),
                // The last GTID of each domain: earlier ones of other servers may precede the log.
                (Some(Executed::MariaDb(end)), Some(Executed::MariaDb(here))) => {
                    end.position().iter().all(|gtid| here.contains(&gtid))
                }
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, offset: u64) -> Option<SourcePosition> {
        Some(SourcePosition::new(file, offset))
    }

    fn mysql(set: &str) -> Option<Executed> {
        Some(Executed::MySql(set.parse().unwrap()))
    }

    fn mariadb(state: &str) -> Option<Executed> {
        Some(Executed::MariaDb(state.parse().unwrap()))
    }

    #[test]
    fn end_is_reached_by_position() {
        let end = SourceEnd {
            position: at("bin.000002", 500),
            executed: None,
        };
        assert!(end.is_reached(at("bin.000002", 500).as_ref(), None));
        assert!(end.is_reached(at("bin.000002", 600).as_ref(), None));
        assert!(!end.is_reached(at("bin.000002", 400).as_ref(), None));
        assert!(!end.is_reached(at("bin.000001", 900).as_ref(), None));
        assert!(!end.is_reached(None, None));
    }

    #[test]
    fn end_is_reached_by_gtid() {
        let uuid = "00000000-0000-0000-0000-000000000086";
        let end = SourceEnd {
            position: at("bin.000002", 500),
            executed: mysql(&format!("{uuid}:1-9")),
        };
        let here = at("bin.000001", 400);
        let is_reached = |set: &str| end.is_reached(here.as_ref(), mysql(set).as_ref());
        assert!(is_reached(&format!("{uuid}:1-12")));
        assert!(!is_reached(&format!("{uuid}:1-8")));
        assert!(!is_reached(""));
    }

    #[test]
    fn mariadb_end_is_the_last_gtid_of_each_domain() {
        let end = SourceEnd {
            position: None,
            executed: mariadb("0-18-3,0-86-9,1-18-5"),
        };
        assert!(end.is_reached(None, mariadb("0-86-9,1-18-5").as_ref()));
        assert!(!end.is_reached(None, mariadb("0-18-3,0-86-9").as_ref()));
        assert!(!end.is_reached(None, mariadb("0-86-8,1-18-5").as_ref()));
    }
}
