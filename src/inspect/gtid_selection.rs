//! The transactions that `dump --gtid` shows.

use std::str::FromStr;

use crate::gtid::{GtidError, GtidSet, MariaDbGtid};
use crate::identity::Identity;

/// One GTID or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GtidSelection {
    /// MySQL: a GTID set.
    MySql(GtidSet),
    /// MariaDB: GTIDs, separated by commas.
    MariaDb(Vec<MariaDbGtid>),
}

impl GtidSelection {
    /// Whether a transaction is among them.
    pub fn contains(&self, identity: &Identity) -> bool {
        match (self, identity) {
            (GtidSelection::MySql(set), Identity::MySql(gtid)) => set.contains(gtid),
            (GtidSelection::MariaDb(gtids), Identity::MariaDb(gtid)) => gtids.contains(gtid),
            _ => false,
        }
    }
}

impl FromStr for GtidSelection {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        if text.contains(':') {
            return Ok(GtidSelection::MySql(text.parse()?));
        }
        let gtids = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(GtidSelection::MariaDb(gtids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_holds_gtids_of_both_flavors() {
        let mysql: GtidSelection = "00000000-0000-0000-0000-000000000001:2-4".parse().unwrap();
        let gtid = "00000000-0000-0000-0000-000000000001:3".parse().unwrap();
        assert!(mysql.contains(&Identity::MySql(gtid)));
        let mariadb: GtidSelection = "3-86-5, 0-1-2".parse().unwrap();
        let identity = |text: &str| Identity::MariaDb(text.parse().unwrap());
        assert!(mariadb.contains(&identity("0-1-2")));
        assert!(!mariadb.contains(&identity("3-86-4")));
        assert!(!mariadb.contains(&Identity::Anonymous(crate::identity::Fingerprint::default())));
        assert!("".parse::<GtidSelection>().is_err());
        assert!("x:1".parse::<GtidSelection>().is_err());
    }
}
