//! Transactions whose GTID was delivered, and those that a server's own path has skipped: see `with_gtids.md`.

use super::copies::{self, DeliveredGtids, Known, PathProgress};
use super::{Classified, Decision, Merge, MergeError};
use crate::gtid::MariaDbGtid;
use crate::identity::{Executed, Identity};
use crate::position::SourcePosition;
use crate::transaction::{Transaction, TransactionBatch};

impl Merge {
    /// MariaDB: refuses a transaction of a server whose own path has skipped delivered ones before it.
    pub(super) fn check_own_order(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        path: &PathProgress<'_>,
        ledger: &impl DeliveredGtids,
    ) -> Result<(), MergeError> {
        let (Identity::MariaDb(gtid), Executed::MariaDb(executed)) =
            (&transaction.identity, &self.executed)
        else {
            return Ok(());
        };
        // Another server may answer from this transaction on.
        if path.server_id != batch.source_server_id {
            return Ok(());
        }
        let end = || SourcePosition::new(batch.source_end.file.clone(), transaction.source_offset);
        let copies = &mut self.copies;
        let skipped = copies.skipped(batch.source, gtid, path, executed, ledger);
        match skipped.map_err(|cause| MergeError::Unreadable { end: end(), cause })? {
            None => Ok(()),
            Some(skipped) => Err(MergeError::Skipped {
                gtid: gtid.to_string(),
                skipped: skipped.to_string(),
                end: end(),
            }),
        }
    }

    /// MariaDB: the newest delivered transaction of the same domain and server, as text.
    fn highest_of(&self, identity: &Identity) -> String {
        match (identity, &self.executed) {
            (Identity::MariaDb(gtid), Executed::MariaDb(executed)) => {
                let highest = executed.highest(gtid.domain_id, gtid.server_id);
                let seq_no = highest.unwrap_or(gtid.seq_no);
                MariaDbGtid { seq_no, ..*gtid }.to_string()
            }
            _ => identity.to_string(),
        }
    }

    /// Classifies a transaction whose GTID was delivered.
    pub(super) fn classify_known(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        path: &PathProgress<'_>,
        ledger: &impl DeliveredGtids,
    ) -> Result<Classified, MergeError> {
        let end = || SourcePosition::new(batch.source_end.file.clone(), transaction.source_offset);
        let identity = &transaction.identity;
        let known = self
            .copies
            .classify(batch, transaction, path, &self.executed, ledger);
        let known = known.map_err(|cause| MergeError::Unreadable { end: end(), cause })?;
        Ok(match known {
            Known::Copy => Classified::Known(Decision::Duplicate),
            Known::Unverified => Classified::Known(Decision::Unverified),
            Known::Resent => Classified::Known(Decision::Resent),
            Known::Repeated => Classified::Known(Decision::Repeated),
            Known::ExecutedAgain => Classified::ExecutedAgain,
            Known::WithoutChanges(delivered) => {
                return Err(MergeError::WithoutChanges {
                    gtid: identity.to_string(),
                    delivered: copies::describe_delivered(identity, &delivered, ledger),
                    end: end(),
                });
            }
            Known::Omitted => {
                return Err(MergeError::Omitted {
                    gtid: identity.to_string(),
                    highest: self.highest_of(identity),
                    end: end(),
                });
            }
            Known::Contradiction(delivered) => {
                return Err(MergeError::Reused {
                    gtid: identity.to_string(),
                    delivered: copies::describe_delivered(identity, &delivered, ledger),
                    end: end(),
                    times: copies::times(&transaction.evidence()),
                });
            }
        })
    }
}
