//! Operations that consist of two transactions: XA PREPARE and XA COMMIT or ROLLBACK; START ALTER
//! and COMMIT or ROLLBACK ALTER.
//!
//! The second half may arrive much later, from a source with other filter rules, or after a restart
//! with other rules. It must be kept or emptied as the first half was: a replica refuses the end of
//! an XA transaction that it does not know, and waits forever for the end of an ALTER that it has
//! started.

use std::collections::{BTreeMap, BTreeSet};

use crate::gtid::MariaDbGtid;
use crate::identity::Identity;
use crate::transaction::{Half, Transaction};

/// The first halves whose second half has not arrived.
///
/// Bounded by the number of such operations that are open on the masters at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenHalves {
    /// The xids of MySQL's prepared XA transactions that the filter emptied. Others need not be
    /// remembered.
    emptied_xas: BTreeSet<Vec<u8>>,
    /// MariaDB's START ALTERs, and whether the filter kept them.
    alters: BTreeMap<(u32, u32, u64), bool>,
}

/// How a transaction changes [`OpenHalves`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HalfChange {
    /// An XA transaction was prepared, and the filter emptied it.
    EmptiedXa(Vec<u8>),
    /// An emptied XA transaction was committed or rolled back.
    EndedXa(Vec<u8>),
    /// An ALTER was started.
    StartedAlter {
        /// The GTID of the first half.
        start: MariaDbGtid,
        /// Whether the filter kept it.
        kept: bool,
    },
    /// An ALTER was committed or rolled back.
    EndedAlter(MariaDbGtid),
}

impl OpenHalves {
    /// How a new transaction changes the open halves, and whether it must be emptied.
    pub(super) fn classify(&self, transaction: &Transaction) -> (Option<HalfChange>, bool) {
        let emptied = transaction.emptied;
        match (&transaction.half, transaction.identity) {
            (Some(Half::XaPrepared(xid)), _) if emptied => {
                (Some(HalfChange::EmptiedXa(xid.clone())), false)
            }
            // It is kept, and may reuse the xid of an emptied one whose end was lost.
            (Some(Half::XaPrepared(xid)), _) => (self.ended_xa(xid), false),
            (Some(Half::XaEnded(xid)), _) => {
                let change = self.ended_xa(xid);
                let empties = change.is_some();
                (change, empties)
            }
            (Some(Half::AlterStarted), Identity::MariaDb(start)) => {
                let kept = !emptied;
                (Some(HalfChange::StartedAlter { start, kept }), false)
            }
            (
                Some(Half::AlterEnded {
                    start_seq_no,
                    wanted,
                }),
                Identity::MariaDb(end),
            ) => {
                let start = MariaDbGtid {
                    seq_no: *start_seq_no,
                    ..end
                };
                match self.alters.get(&key(start)) {
                    Some(kept) => (Some(HalfChange::EndedAlter(start)), !kept),
                    None => (None, !wanted),
                }
            }
            _ => (None, false),
        }
    }

    /// Applies a change.
    pub fn apply(&mut self, change: HalfChange) {
        match change {
            HalfChange::EmptiedXa(xid) => {
                self.emptied_xas.insert(xid);
            }
            HalfChange::EndedXa(xid) => {
                self.emptied_xas.remove(&xid);
            }
            HalfChange::StartedAlter { start, kept } => {
                self.alters.insert(key(start), kept);
            }
            HalfChange::EndedAlter(start) => {
                self.alters.remove(&key(start));
            }
        }
    }

    /// The changes that lead from no open halves to these.
    pub fn changes(&self) -> impl Iterator<Item = HalfChange> {
        let xas = self.emptied_xas.iter().cloned();
        let alters = self.alters.iter();
        xas.map(HalfChange::EmptiedXa).chain(alters.map(
            |(&(domain_id, server_id, seq_no), &kept)| {
                let start = MariaDbGtid {
                    domain_id,
                    server_id,
                    seq_no,
                };
                HalfChange::StartedAlter { start, kept }
            },
        ))
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.emptied_xas.is_empty() && self.alters.is_empty()
    }

    fn ended_xa(&self, xid: &[u8]) -> Option<HalfChange> {
        let known = self.emptied_xas.get(xid);
        known.map(|xid| HalfChange::EndedXa(xid.clone()))
    }
}

fn key(gtid: MariaDbGtid) -> (u32, u32, u64) {
    (gtid.domain_id, gtid.server_id, gtid.seq_no)
}
