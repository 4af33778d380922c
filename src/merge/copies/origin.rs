//! A stream of GTIDs whose numbers ascend.

use crate::gtid::Sid;
use crate::identity::Identity;

/// The part of a GTID that is not its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GtidOrigin {
    /// MySQL: UUID and tag.
    MySql(Sid),
    /// MariaDB.
    MariaDb {
        /// The domain.
        domain_id: u32,
        /// The server.
        server_id: u32,
    },
}

impl GtidOrigin {
    /// Whether it is this server of MariaDB, in any domain.
    pub(super) fn is_server(&self, id: u32) -> bool {
        matches!(self, GtidOrigin::MariaDb { server_id, .. } if *server_id == id)
    }

    /// The origin and the number of a GTID.
    pub fn split(identity: &Identity) -> Option<(Self, u64)> {
        match identity {
            Identity::MySql(gtid) => Some((GtidOrigin::MySql(gtid.sid), gtid.gno)),
            Identity::MariaDb(gtid) => Some((
                GtidOrigin::MariaDb {
                    domain_id: gtid.domain_id,
                    server_id: gtid.server_id,
                },
                gtid.seq_no,
            )),
            Identity::Anonymous(_) => None,
        }
    }
}
