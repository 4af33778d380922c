//! Stage 4: identity, first copy wins, and the place in the merged order.
//!
//! In a dual-master loop each transaction can come twice: from its origin, and from the peer that
//! logged it again. Whichever path brings it first delivers it. Since each path is causally
//! ordered, so is what is merged from them; each path's own order is kept.
//!
//! [`Merge`] decides, and says what depends on the place: the logical clock (MySQL) and the group
//! commit id (MariaDB) by which replicas run transactions in parallel. By what copies are known:
//! GTIDs, against all that were delivered ([`Executed`]); without GTIDs, see [`pairing`].
#![doc = include_str!("merge/without_gtids.md")]

mod clock;
pub mod halves;
pub mod pairing;

pub use clock::ClockMap;

use self::halves::{HalfChange, OpenHalves};
use self::pairing::{Arrival, Ledger, LedgerPlace, Paired, Pairing, Unaligned};

use crate::binlog::mysql_gtid::LogicalClock;
use crate::flavor::Flavor;
use crate::identity::{Executed, Identity};
use crate::transaction::{Transaction, TransactionBatch};

/// What is to become of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is new: append it.
    New(Place),
    /// A copy of it was delivered before, by another path or an earlier connection.
    Duplicate,
    /// A copy of it that the same source has logged before, and logs again.
    Repeated,
    /// It lies before its source's start and counts as delivered: a copy of it will not be new.
    BeforeStart,
    /// It lies before the first file that was read of its origin itself.
    BeforeOrigin,
    /// It bears the relay's own server_id.
    Own,
}

/// What depends on a transaction's place in the merged order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// MySQL: the logical clock in the relay's own file.
    pub clock: LogicalClock,
    /// MariaDB: whether it committed in one group with the transaction before it in the relay
    /// log.
    pub joins_group: bool,
    /// Whether it is the second half of something of whose first half the filter left nothing, so
    /// that it must become an empty transaction too.
    pub emptied: bool,
}

/// Why a transaction cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A source of the other flavor.
    #[error("the source sends {found} transactions, this relay log holds {expected} ones")]
    Flavor {
        /// The log's flavor.
        expected: Flavor,
        /// The source's.
        found: Flavor,
    },
    /// One source has GTIDs, another has not.
    #[error(
        "the source sends a transaction {} GTID, and this relay log holds transactions {}; set \
         gtid_mode alike (ON or OFF) on all sources; to change it, begin with an empty data_dir \
         and seed the replicas anew",
        if *.has_gtid { "with" } else { "without" },
        if *.has_gtid { "without" } else { "with GTIDs" },
    )]
    Mixed {
        /// Whether the source's transaction has one.
        has_gtid: bool,
    },
    /// A transaction without GTID cannot be told to be new or a copy.
    #[error(
        "cannot tell whether the transaction of server_id {origin} that ends at \
         {file}:{position} and began at {timestamp} (seconds since 1970) was delivered before: \
         {cause}; compare the masters' data and see that all log alike (binlog_format, \
         binlog_row_image, no reset of a binlog), then begin with an empty data_dir and seed the \
         replicas anew, or take this source out"
    )]
    Unaligned {
        /// The server_id of its origin.
        origin: u32,
        /// When it began there.
        timestamp: u32,
        /// The source's file.
        file: String,
        /// The source's position behind it.
        position: u64,
        /// What was seen.
        cause: Unaligned,
    },
}

/// The group that the newest transaction in the log belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    source: u16,
    run: u64,
    commit_id: u64,
}

/// The merge's state: what was delivered, and what the newest transaction was.
#[derive(Debug)]
pub struct Merge {
    own_server_id: u32,
    executed: Executed,
    pairing: Pairing,
    clock: ClockMap,
    group: Option<Group>,
    halves: OpenHalves,
    half_change: Option<HalfChange>,
    may_be_repetition: bool,
}

impl Merge {
    /// Starts from what the relay log holds. `pairing` is of use for transactions without GTIDs
    /// only.
    pub fn new(own_server_id: u32, executed: Executed, pairing: Pairing) -> Self {
        Self {
            own_server_id,
            executed,
            pairing,
            clock: ClockMap::new(),
            group: None,
            halves: OpenHalves::default(),
            half_change: None,
            may_be_repetition: false,
        }
    }

    /// Goes on with what was open before a restart.
    pub fn with_halves(self, halves: OpenHalves) -> Self {
        Self { halves, ..self }
    }

    /// The first halves whose second has not come.
    pub fn halves(&self) -> &OpenHalves {
        &self.halves
    }

    /// What the transaction that was decided on last has changed in [`Merge::halves`].
    pub fn take_half_change(&mut self) -> Option<HalfChange> {
        self.half_change.take()
    }

    /// All transactions delivered so far.
    pub fn executed(&self) -> &Executed {
        &self.executed
    }

    /// The relay log begins a new file: logical clocks start at 1 again.
    pub fn start_file(&mut self) {
        self.clock = ClockMap::new();
        self.group = None;
    }

    /// What is known of transactions without GTIDs.
    pub fn pairing(&self) -> &Pairing {
        &self.pairing
    }

    /// As [`Pairing::begin_origin`].
    pub fn begin_origin(&mut self, server_id: u32, timestamp: u32) {
        self.pairing.begin_origin(server_id, timestamp);
    }

    /// As [`Pairing::note_source_start`].
    pub fn note_source_start(&mut self, source: u16) {
        self.pairing.note_source_start(source);
    }

    /// Decides about the next transaction of `batch`, and, when it is new, records it as
    /// delivered; one without GTID only when [`Merge::note_place`] follows.
    ///
    /// # Errors
    /// When it is not of this log's flavor, or cannot be told to be new. Nothing is recorded then.
    pub fn place(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        ledger: &impl Ledger,
    ) -> Result<Decision, MergeError> {
        self.check_kind(&transaction.identity)?;
        let group = transaction.commit_id.map(|commit_id| Group {
            source: batch.source,
            run: batch.run,
            commit_id,
        });
        let decision = match transaction.server_id == self.own_server_id {
            true => Some(Decision::Own),
            false => self.known(batch, transaction, ledger)?,
        };
        if let Some(decision) = decision {
            // A group ends on its source where another one is, even if that is dropped here.
            if self
                .group
                .is_some_and(|newest| newest.source == batch.source)
                && group != self.group
            {
                self.group = None;
            }
            return Ok(decision);
        }
        let clock = self
            .clock
            .place((batch.source, batch.run), transaction.clock);
        let joins_group = group.is_some() && group == self.group;
        self.group = group;
        Ok(Decision::New(Place {
            clock,
            joins_group,
            emptied: self.follow_halves(transaction),
        }))
    }

    /// Follows what comes in two halves; true when the first was emptied, and this is the second.
    fn follow_halves(&mut self, transaction: &Transaction) -> bool {
        let (change, empties) = self.halves.judge(transaction);
        if let Some(change) = &change {
            self.halves.apply(change.clone());
        }
        self.half_change = change;
        empties
    }

    /// Of the transaction that was decided on last: see [`pairing::Delivered::may_be_repetition`].
    pub fn may_be_repetition(&self) -> bool {
        self.may_be_repetition
    }

    /// Takes in where the commit index has the transaction that was decided on last, which the
    /// pairing of copies needs.
    pub fn note_place(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        decision: Decision,
        place: LedgerPlace,
    ) {
        let Some(arrival) = arrival(batch, transaction) else {
            return;
        };
        match decision {
            Decision::New(_) => {
                let pairing = &mut self.pairing;
                pairing.deliver(&arrival, place, self.may_be_repetition);
            }
            Decision::BeforeStart => self.pairing.count_before(&arrival, place),
            Decision::Duplicate | Decision::Repeated | Decision::BeforeOrigin | Decision::Own => {}
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

    /// What becomes of a transaction that is not new; `None` when it is.
    fn known(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        ledger: &impl Ledger,
    ) -> Result<Option<Decision>, MergeError> {
        let Some(arrival) = arrival(batch, transaction) else {
            let is_new = self.executed.record(&transaction.identity);
            return Ok((!is_new).then_some(Decision::Duplicate));
        };
        let paired = self.pairing.pair(&arrival, ledger);
        self.may_be_repetition = paired == Ok(Paired::NewOrRepeated);
        match paired {
            Ok(Paired::New | Paired::NewOrRepeated) if batch.before_start => {
                Ok(Some(Decision::BeforeStart))
            }
            Ok(Paired::New | Paired::NewOrRepeated) => Ok(None),
            Ok(Paired::Copy) => Ok(Some(Decision::Duplicate)),
            Ok(Paired::Repeated) => Ok(Some(Decision::Repeated)),
            Ok(Paired::Before) => Ok(Some(Decision::BeforeOrigin)),
            Err(cause) => Err(MergeError::Unaligned {
                origin: transaction.server_id,
                timestamp: transaction.timestamp,
                file: batch.source_end.file.to_string(),
                position: transaction.source_offset,
                cause,
            }),
        }
    }
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
