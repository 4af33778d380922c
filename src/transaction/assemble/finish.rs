//! Ending a transaction.

use super::Assembler;
use super::open::Open;
use crate::binlog::{mariadb_gtid, query};
use crate::identity::{Fingerprint, Identity};
use crate::transaction::batch::{Half, Transaction};
use crate::transaction::boundary::Boundary;
use crate::transaction::error::TransactionError;

impl Assembler {
    /// Ends the transaction if the event was its last one.
    pub(super) fn end_event(&mut self, position_after: u64) -> Result<(), TransactionError> {
        if self.boundary != Boundary::Outside {
            return Ok(());
        }
        if let Some(open) = self.open.take() {
            self.finish(open, position_after)?;
        }
        // Only now: the position after a refused transaction must not count as reached.
        self.source_end.offset = position_after;
        Ok(())
    }

    fn finish(&mut self, mut open: Open, position_after: u64) -> Result<(), TransactionError> {
        if let (Some(expected), Identity::MySql(gtid)) = (open.transaction_length, open.identity)
            && expected != open.source_len
        {
            let (gtid, found) = (gtid.to_string(), open.source_len);
            return Err(TransactionError::Length {
                gtid,
                expected,
                found,
            });
        }
        let identity = match open.digested {
            true => Identity::Anonymous(self.fingerprint(&open)),
            false => open.identity,
        };
        if open.compressed && !self.options.filter.passes_all() {
            self.filter_payload(&mut open)?;
        }
        let ends_alter = matches!(open.half, Some(Half::AlterEnded { .. }));
        let emptied = self.trim.dropped_all() && !ends_alter;
        if emptied && open.is_xa {
            // MySQL replicas refuse an XA transaction without changes: error 3227.
            self.body
                .truncate(self.body.opener_len() as u64)
                .map_err(|cause| self.body_error(cause))?;
            open.grouped = false;
        }
        if emptied && !open.grouped {
            self.empty_out(&open)?;
        }
        if open.lacks_begin {
            self.append(&query::transaction_keyword(&open.header, "COMMIT"))?;
        }
        let finished = self.body.finish().map_err(|cause| self.body_error(cause))?;
        self.transactions.push(Transaction {
            identity,
            server_id: open.header.server_id,
            timestamp: open.header.timestamp,
            commit_time_us: open.evidence.commit_time_us,
            earliest: open.evidence.earliest,
            latest: open.evidence.latest,
            has_changes: open.evidence.has_changes,
            clock: open.clock,
            // The opener of an empty group has no commit id.
            commit_id: open.commit_id.filter(|_| !(emptied && open.standalone)),
            opener: finished.opener,
            rest: finished.rest,
            spill: finished.spill,
            is_verified: finished.is_verified,
            source_offset: position_after,
            emptied,
            altered: self.trim.has_altered(),
            half: open.half,
            temporary_tables: open.temporary_tables,
        });
        Ok(())
    }

    fn fingerprint(&mut self, open: &Open) -> Fingerprint {
        let found = self.digest.finish(open.grouped, &open.header);
        match self.format.is_checksummed() {
            true => found,
            // MySQL before 5.6 does not log which databases a statement changes.
            false => found.with_unknown_databases(),
        }
    }

    /// Rewrites a transaction whose only statement was dropped as an empty one, so that its GTID is
    /// kept.
    fn empty_out(&mut self, open: &Open) -> Result<(), TransactionError> {
        if open.standalone {
            let opener = self.body.opener();
            let opener = opener.map_err(|cause| self.body_error(cause))?;
            let opener = mariadb_gtid::empty_group(opener)?;
            self.body
                .replace_opener(&opener)
                .map_err(|cause| self.body_error(cause))?;
        } else {
            self.append(&query::transaction_keyword(&open.header, "BEGIN"))?;
        }
        self.append(&query::transaction_keyword(&open.header, "COMMIT"))
    }
}
