//! Stage 3: the first copy wins, and the order of the merged log.
//!
//! In a dual-master loop each transaction can arrive twice: from its origin, and from the peer that
//! logged it again. Whichever path delivers it first wins. Since each path is causally ordered, the
//! merged log is, too; each path's own order is kept.
//!
//! The log thread asks [`Merge::decide`] before it writes a transaction and calls [`Merge::settle`]
//! afterwards. A decision also has the values that depend on a new transaction's position in the
//! merged order: the logical clock (MySQL) and the group commit id (MariaDB) that let replicas
//! apply transactions in parallel. A transaction with a GTID is a copy if its GTID was delivered
//! before ([`Executed`]), and it does not contradict the delivered one ([`copies`]); without GTIDs,
//! see [`pairing`].
#![doc = include_str!("merge/with_gtids.md")]
#![doc = include_str!("merge/without_gtids.md")]

mod clock;
pub mod copies;
mod decision;
mod error;
pub mod halves;
mod known;
pub mod pairing;
pub mod temporary_tables;

pub use clock::ClockMap;
pub use copies::{DeliveredGtids, PathProgress};
pub use decision::{Decision, Placement};
pub use error::{MergeError, SettleError};

use self::copies::Copies;
use self::halves::OpenHalves;
use self::pairing::{Arrival, Ledger, Paired, Pairing, Unaligned};

use std::collections::BTreeMap;

use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidSet, MariaDbGtid};
use crate::identity::{Executed, Identity};
use crate::position::{RecordNumber, SourcePosition};
use crate::transaction::{Transaction, TransactionBatch};

/// The group that the newest transaction in the log belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    source: u16,
    run: u64,
    commit_id: u64,
}

/// The merge's state: the delivered transactions, and the clock and group of the newest one.
#[derive(Debug)]
pub struct Merge {
    own_server_id: u32,
    /// Invariant: exactly the identities that were settled as new, and those before the log.
    executed: Executed,
    copies: Copies,
    pairing: Pairing,
    clock: ClockMap,
    group: Option<Group>,
    halves: OpenHalves,
}

impl Merge {
    /// A merge that continues after the transactions of `executed`; those of `before` are before the
    /// log. `pairing` is only used for transactions without GTIDs; `halves` are the two-part
    /// operations that were open before a restart.
    pub fn new(
        own_server_id: u32,
        executed: Executed,
        before: Executed,
        pairing: Pairing,
        halves: OpenHalves,
    ) -> Self {
        Self {
            own_server_id,
            executed,
            copies: Copies::new(before),
            pairing,
            clock: ClockMap::new(),
            group: None,
            halves,
        }
    }

    /// As [`Copies::forget_beginning`].
    pub fn forget_beginning(&mut self, counted: &GtidSet) {
        self.copies.forget_beginning(counted);
    }

    /// As [`Copies::note_removed`].
    pub fn note_removed(&mut self, removed: &Executed) {
        self.copies.note_removed(removed);
    }

    /// Says whether all transactions come by one path.
    pub fn set_one_path(&mut self, has_one_path: bool) {
        self.copies.set_one_path(has_one_path);
    }

    /// All transactions delivered so far.
    pub fn executed(&self) -> &Executed {
        &self.executed
    }

    /// The two-part operations whose second part has not arrived.
    pub fn halves(&self) -> &OpenHalves {
        &self.halves
    }

    /// The queues of transactions without GTIDs.
    pub fn pairing(&self) -> &Pairing {
        &self.pairing
    }

    /// To be called when the relay log begins file `number`: logical clocks start at 1 again. For `server_ids` see
    /// [`Pairing::start_file`].
    pub fn start_file(&mut self, number: u64, server_ids: impl IntoIterator<Item = u32>) {
        self.clock = ClockMap::new();
        self.group = None;
        let begin = RecordNumber {
            file: number,
            record: 0,
        };
        self.pairing.start_file(begin, server_ids);
    }

    /// As [`Pairing::begin_origin`].
    pub fn begin_origin(&mut self, server_id: u32, first_timestamp: u32) {
        self.pairing.begin_origin(server_id, first_timestamp);
    }

    /// As [`Pairing::pass_before`]: each transaction that is dropped without a copy counts.
    pub fn pass_before(&mut self, source: u16, origin: u32) {
        self.pairing.pass_before(source, origin);
    }

    /// Adds the next path. `first` is the log's first record, `before` how many transactions of which
    /// origin precede it on the path. For `removed_until` see [`Pairing::begin_queues`].
    pub fn add_path(
        &mut self,
        first: RecordNumber,
        before: &[(u32, u64)],
        removed_until: &BTreeMap<u32, u32>,
    ) {
        let path = self.pairing.add_path(first, removed_until);
        for (origin, count) in before {
            self.pairing.begin_after(path, *origin, *count);
        }
    }

    /// Counts GTIDs of MySQL as delivered, by decision of an administrator. Returns those that were not.
    pub fn count_delivered(&mut self, gtids: &GtidSet) -> GtidSet {
        let mut counted = GtidSet::new();
        if let Executed::MySql(executed) = &mut self.executed {
            counted.union_with(gtids);
            counted.subtract(executed);
            executed.union_with(&counted);
            self.copies.count_before(&counted);
        }
        counted
    }

    /// MariaDB: the same for these, and for those of their servers before them. If a source sends one later, it is a copy.
    pub fn count_skipped(&mut self, gtids: &[MariaDbGtid]) -> Vec<MariaDbGtid> {
        let Executed::MariaDb(executed) = &mut self.executed else {
            return Vec::new();
        };
        let mut skipped = gtids.to_vec();
        skipped.retain(|gtid| executed.count(*gtid));
        self.restore_skipped(&skipped);
        skipped
    }

    /// MariaDB: what [`Merge::count_skipped`] had returned when the log was recovered.
    pub fn restore_skipped(&mut self, gtids: &[MariaDbGtid]) {
        self.copies.count_skipped(gtids);
    }

    /// MariaDB: as [`BinlogState::begin_again`].
    pub fn begin_history(&mut self, server_id: u32, before: &BinlogState) {
        if let Executed::MariaDb(executed) = &mut self.executed {
            executed.begin_again(server_id, before);
            self.copies.forget(server_id, before);
        }
    }

    /// MariaDB: a new history of a server had begun after `before` when the log was recovered.
    pub fn restore_history(&mut self, server_id: u32, before: &BinlogState) {
        self.copies.forget(server_id, before);
    }

    /// As [`Pairing::begin_again`].
    pub fn begin_path(
        &mut self,
        source: u16,
        own: Option<u32>,
        new_history: Option<(RecordNumber, RecordNumber)>,
        removed_until: &BTreeMap<u32, u32>,
    ) {
        self.copies.begin_path(source);
        self.pairing
            .begin_again(source, own, new_history, removed_until);
    }

    /// As [`Pairing::lose_before`].
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn lose_before(
        &mut self,
        first: RecordNumber,
        ledger: &impl Ledger,
    ) -> Result<(), Unaligned> {
        self.pairing.lose_before(first, ledger)
    }

    /// As [`Pairing::own_unsent`].
    pub fn own_unsent(
        &mut self,
        path: u16,
        server_id: u32,
        ledger: &impl Ledger,
    ) -> Option<RecordNumber> {
        self.pairing.own_unsent(path, server_id, ledger)
    }

    /// As [`Pairing::excuse_repeated`].
    pub fn excuse_repeated(
        &mut self,
        path: u16,
        server_id: u32,
        record: RecordNumber,
        ledger: &impl Ledger,
    ) -> bool {
        self.pairing
            .excuse_repeated(path, server_id, record, ledger)
    }

    /// As [`Pairing::excuse_own`].
    pub fn excuse_own(&mut self, path: u16, server_id: u32, end: RecordNumber) {
        self.pairing.excuse_own(path, server_id, end);
    }

    /// As [`Pairing::note_restart`].
    pub fn note_restart(&mut self, source: u16) {
        self.pairing.note_restart(source);
    }

    /// Decides about the next transaction of `batch`. [`Merge::settle`] must follow once it is
    /// written: the queues, the clock and the group have already moved past it. `path` is what its
    /// source has sent before it.
    ///
    /// # Errors
    /// When it is of another kind than this log, or it cannot be determined whether it is new.
    /// Nothing has changed then, and the source must stop.
    pub fn decide(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        path: &PathProgress<'_>,
        ledger: &(impl Ledger + DeliveredGtids),
    ) -> Result<Decision, MergeError> {
        self.check_kind(&transaction.identity)?;
        let group = transaction.commit_id.map(|commit_id| Group {
            source: batch.source,
            run: batch.run,
            commit_id,
        });
        let (may_be_repetition, executed_again) =
            match self.classify(batch, transaction, path, ledger)? {
                Classified::New { may_be_repetition } => (may_be_repetition, false),
                Classified::ExecutedAgain => (false, true),
                Classified::Known(decision) => {
                    self.leave_group(batch.source, group);
                    return Ok(decision);
                }
            };
        let clock = self
            .clock
            .assign((batch.source, batch.run), transaction.clock);
        let joins_group = group.is_some() && group == self.group;
        self.group = group;
        let (half_change, empties) = self.halves.classify(transaction);
        Ok(Decision::New(Placement {
            clock,
            joins_group,
            empties,
            half_change,
            may_be_repetition,
            executed_again,
        }))
    }

    /// Records a transaction that was decided on and written; `record` is its record in the commit
    /// index.
    ///
    /// # Errors
    /// When a transaction that was decided to be new is already recorded: the log must stop.
    pub fn settle(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        decision: &Decision,
        record: RecordNumber,
    ) -> Result<(), SettleError> {
        let arrival = arrival(batch, transaction);
        match decision {
            Decision::New(placement) => {
                match &arrival {
                    Some(arrival) => {
                        self.pairing
                            .deliver(arrival, record, placement.may_be_repetition);
                    }
                    None => {
                        let identity = &transaction.identity;
                        let is_new = self.executed.deliver(identity);
                        if !is_new && !placement.executed_again {
                            let identity = identity.to_string();
                            return Err(SettleError { identity });
                        }
                        self.copies.note(identity, transaction.evidence(), is_new);
                    }
                }
                if let Some(change) = &placement.half_change {
                    self.halves.apply(change.clone());
                }
            }
            Decision::BeforeStart => {
                if let Some(arrival) = &arrival {
                    self.pairing.count_before(arrival, record);
                }
            }
            Decision::Duplicate
            | Decision::Unverified
            | Decision::Repeated
            | Decision::Resent
            | Decision::BeforeOrigin
            | Decision::Own
            | Decision::Cleanup => {}
        }
        Ok(())
    }

    /// A group ends when another one begins on its source, even if that one is dropped here.
    fn leave_group(&mut self, source: u16, group: Option<Group>) {
        let is_same_source = self.group.is_some_and(|newest| newest.source == source);
        if is_same_source && group != self.group {
            self.group = None;
        }
    }

    fn check_kind(&self, identity: &Identity) -> Result<(), MergeError> {
        let (expected, found) = match (&self.executed, identity) {
            (Executed::MySql(_), Identity::MySql(_))
            | (Executed::MariaDb(_), Identity::MariaDb(_))
            | (Executed::Anonymous, Identity::Anonymous(_)) => return Ok(()),
            (Executed::MySql(_), Identity::Anonymous(_)) => {
                return Err(MergeError::Mixed { has_gtid: false });
            }
            (Executed::Anonymous, Identity::MySql(_)) => {
                return Err(MergeError::Mixed { has_gtid: true });
            }
            (Executed::MariaDb(_), _) => (Flavor::MariaDb, Flavor::MySql),
            (_, Identity::MariaDb(_)) => (Flavor::MySql, Flavor::MariaDb),
        };
        Err(MergeError::Flavor { expected, found })
    }

    fn classify(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        path: &PathProgress<'_>,
        ledger: &(impl Ledger + DeliveredGtids),
    ) -> Result<Classified, MergeError> {
        if transaction.server_id == self.own_server_id {
            return Ok(Classified::Known(Decision::Own));
        }
        let Some(arrival) = arrival(batch, transaction) else {
            self.check_own_order(batch, transaction, path, ledger)?;
            if self.executed.contains(&transaction.identity) {
                return self.classify_known(batch, transaction, path, ledger);
            }
            if self
                .copies
                .is_ahead(batch, transaction, path, &self.executed)
            {
                return Ok(Classified::Known(Decision::Repeated));
            }
            return Ok(Classified::New {
                may_be_repetition: false,
            });
        };
        let paired = self.pairing.pair(&arrival, ledger).map_err(|cause| {
            let file = batch.source_end.file.clone();
            MergeError::Unaligned {
                origin: transaction.server_id,
                timestamp: transaction.timestamp,
                end: SourcePosition::new(file, transaction.source_offset),
                cause,
            }
        })?;
        Ok(match paired {
            Paired::New | Paired::NewOrRepeated if batch.before_start => {
                Classified::Known(Decision::BeforeStart)
            }
            Paired::New => Classified::New {
                may_be_repetition: false,
            },
            Paired::NewOrRepeated => Classified::New {
                may_be_repetition: true,
            },
            Paired::Copy => Classified::Known(Decision::Duplicate),
            Paired::Repeated => Classified::Known(Decision::Repeated),
            Paired::Before => Classified::Known(Decision::BeforeOrigin),
        })
    }
}

/// Whether a transaction is new.
enum Classified {
    New {
        may_be_repetition: bool,
    },
    /// Its origin has executed it again under the same GTID.
    ExecutedAgain,
    Known(Decision),
}

/// The transaction as the pairing sees it, if it has no GTID.
fn arrival(batch: &TransactionBatch, transaction: &Transaction) -> Option<Arrival> {
    let Identity::Anonymous(fingerprint) = transaction.identity else {
        return None;
    };
    Some(Arrival {
        path: batch.source,
        path_server_id: batch.source_server_id,
        origin: transaction.server_id,
        fingerprint,
    })
}

#[cfg(test)]
mod tests;
