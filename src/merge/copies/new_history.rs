//! MariaDB: new histories of servers, whose GTIDs are assigned again.

use super::{Copies, PathProgress};
use crate::gtid::BinlogState;
use crate::identity::{Executed, Identity};
use crate::transaction::{Transaction, TransactionBatch};

impl Copies {
    /// Forgets the transactions of a MariaDB server whose new history was accepted: its GTIDs are assigned
    /// again, after those of `before`.
    pub fn forget(&mut self, server_id: u32, before: &BinlogState) {
        self.renewed.insert(server_id, before.clone());
        self.recent.retain(|origin| !origin.is_server(server_id));
        self.windows
            .retain(|window| !window.origin.is_server(server_id));
        self.surveys
            .retain(|survey| !survey.is_of_server(server_id));
        // Their records are read: those of the new history have some.
        for before_log in [&mut self.before, &mut self.never_recorded] {
            if let Executed::MariaDb(before_log) = before_log {
                before_log.begin_again(server_id, before);
            }
        }
    }

    /// MariaDB: whether a transaction of a server's new history, which arrives from a peer, must arrive from that server
    /// first: the peer may have sent earlier ones before the new history was accepted, and these were dropped as copies of the
    /// former one's. So nothing of it is accepted from the peer's path until the server's own has delivered what that path has
    /// sent since then.
    pub fn is_ahead(
        &self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        path: &PathProgress<'_>,
        executed: &Executed,
    ) -> bool {
        let (Identity::MariaDb(gtid), Executed::MariaDb(executed)) =
            (&transaction.identity, executed)
        else {
            return false;
        };
        let is_of_peer = gtid.server_id != batch.source_server_id && !self.has_one_path;
        let Some(before) = self.renewed.get(&gtid.server_id).filter(|_| is_of_peer) else {
            return false;
        };
        // What precedes the new history shows nothing of how far the peer is in it.
        let before = before.highest(gtid.domain_id, gtid.server_id);
        let sent = path.highest_of(gtid);
        let sent = sent.filter(|sent| Some(*sent) > before);
        sent.is_none() || sent > executed.highest(gtid.domain_id, gtid.server_id)
    }
}
