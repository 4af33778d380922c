//! What an administrator must know after a decision on a source.

use super::resume;
use crate::identity::{Executed, IdentityKind};
use crate::relay_log::LogState;

/// After a new history of a MariaDB server.
pub(super) const MARIADB_NEW_HISTORY: &str = "warning: a replica that follows the relay by GTID can skip transactions of the new history; let such \
     replicas follow by file and position (MASTER_USE_GTID=no). Changes that the source has lost remain on \
     the replicas: compare their tables with the source's (CHECKSUM TABLE)";

/// The consequences of counting the transactions `before` a position of the server `own` as delivered, of which the log
/// never had some.
pub(super) fn missing_text(before: &Executed, log: &LogState, own: u32) -> Option<String> {
    let missing = resume::missing(before, log, own)?;
    Some(match log.executed.kind() {
        IdentityKind::MySql | IdentityKind::Anonymous => format!(
            "warning: the relay log never had {missing}; they count as delivered now and are in the relay's \
             gtid_purged, so replicas that lack them are refused (error 1236). On each replica that has \
             their changes, or does not need them: SET GLOBAL gtid_purged = '+{missing}' (before MySQL 8.0 \
             commit an empty transaction for each: SET gtid_next); seed the others again"
        ),
        IdentityKind::MariaDb => format!(
            "warning: the relay log never had transactions of this position: {missing}; replicas never receive \
             them, also if another source sends them later. Execute their changes on each replica that lacks \
             them, and compare its tables with the source's (CHECKSUM TABLE). On each replica that follows by GTID \
             and has no later transaction of these domains, execute STOP SLAVE; SET GLOBAL gtid_slave_pos = its \
             value, in which these GTIDs replace those of their domains; START SLAVE, before the log files up to \
             now are removed; otherwise it is refused (error 1236)"
        ),
    })
}
