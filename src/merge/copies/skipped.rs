//! MariaDB: whether a server's own path has skipped transactions of that server that another path has delivered.
//!
//! A server that was restored from an older copy, or lost its newest transactions in a crash, gets their GTIDs back
//! from its peer, but not their changes: it ignores events with its own server_id, and continues with the number
//! after theirs. Then its `gtid_binlog_state` shows nothing. But a binlog has the transactions of its own server in
//! the order of their numbers. So a path that has sent one of them, and then sends a higher one, cannot have omitted
//! any between the two that exists.

use super::{Copies, DeliveredGtids, GtidOrigin, PathProgress, SentRecord};
use crate::gtid::{BinlogState, MariaDbGtid};
use crate::identity::Identity;

impl Copies {
    /// A delivered transaction between the newest one of its own server that path number `source` has sent, and
    /// `gtid`, the next one. `executed` are all delivered ones. `None` if there is none, or if the path is not the
    /// server's own.
    ///
    /// # Errors
    /// A message, when the delivered transactions cannot be read.
    pub fn skipped(
        &mut self,
        source: u16,
        gtid: &MariaDbGtid,
        path: &PathProgress<'_>,
        executed: &BinlogState,
        ledger: &impl DeliveredGtids,
    ) -> Result<Option<MariaDbGtid>, String> {
        if gtid.server_id != path.server_id {
            return Ok(None);
        }
        let Some(sent) = path.sent.highest(gtid.domain_id, gtid.server_id) else {
            return Ok(None);
        };
        if gtid.seq_no <= sent.saturating_add(1) {
            return Ok(None);
        }
        let highest = executed
            .highest(gtid.domain_id, gtid.server_id)
            .unwrap_or(0);
        let sent = MariaDbGtid {
            seq_no: sent,
            ..*gtid
        };
        let number = match highest {
            _ if highest <= sent.seq_no => None,
            _ if highest < gtid.seq_no => Some(highest),
            // Another path has delivered it, or a higher one.
            _ => self.delivered_between(source, &sent, gtid, highest, ledger)?,
        };
        let skipped = number.map(|seq_no| MariaDbGtid { seq_no, ..*gtid });
        // Not before: records are read.
        if skipped.is_some() && was_sent_by_another(source, &sent, ledger)? {
            return Ok(None);
        }
        Ok(skipped)
    }

    /// The number of a delivered transaction between `sent` and `next`; `highest` is the highest delivered number.
    fn delivered_between(
        &mut self,
        path: u16,
        sent: &MariaDbGtid,
        next: &MariaDbGtid,
        highest: u64,
        ledger: &impl DeliveredGtids,
    ) -> Result<Option<u64>, String> {
        let identity = Identity::MariaDb(*sent);
        let Some((origin, number)) = GtidOrigin::split(&identity) else {
            return Ok(None);
        };
        if let Some(found) = self.recent.find_between(&origin, number, next.seq_no) {
            return Ok(Some(found));
        }
        if self.recent.has_all_after(&origin, number, highest) {
            return Ok(None);
        }
        // The records of a former history do not count, and there are none of what is before the log.
        if self.renewed.contains_key(&sent.server_id) || self.before.contains(&identity) {
            return Ok(None);
        }
        let Some(window) = self.window(path, origin) else {
            return Ok(None);
        };
        if window.find(&identity, number, ledger)?.is_none() {
            return Ok(None);
        }
        Ok(window.find_between(number, next.seq_no))
    }
}

/// Whether another server than its own has sent `sent` on path number `source`: one that answered at the address
/// before. The dump of its own server began later, and what is between the two does not precede anything on this path.
fn was_sent_by_another(
    source: u16,
    sent: &MariaDbGtid,
    ledger: &impl DeliveredGtids,
) -> Result<bool, String> {
    let identity = Identity::MariaDb(*sent);
    let Some((origin, wanted)) = GtidOrigin::split(&identity) else {
        return Ok(false);
    };
    let from = ledger.locate(&identity)?.map(|record| record.file);
    let mut sender = sent.server_id;
    ledger.read_sent(from, &origin, &mut |record| {
        if let SentRecord::Transaction {
            path,
            server_id,
            number,
            ..
        } = record
            && path == source
            && number == wanted
        {
            sender = server_id;
        }
    })?;
    Ok(sender != sent.server_id)
}
