//! Stage 4: identity, first copy wins, and the place in the merged order.
//!
//! In a dual-master loop each transaction can come twice: from its origin, and from the peer that
//! logged it again. Whichever path brings it first delivers it. Since each path is causally
//! ordered, so is what is merged from them; each path's own order is kept.
//!
//! [`Merge`] decides, and says what depends on the place: the logical clock (MySQL) and the group
//! commit id (MariaDB) by which replicas run transactions in parallel.

mod clock;

pub use clock::ClockMap;

use crate::binlog::mysql_gtid::LogicalClock;
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidSet};
use crate::transaction::{Identity, Transaction, TransactionBatch};

/// All transactions that the relay log holds or has held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// As `gtid_executed`.
    MySql(GtidSet),
    /// As `gtid_binlog_state`.
    MariaDb(BinlogState),
}

impl Executed {
    /// Nothing yet.
    pub fn empty(flavor: Flavor) -> Self {
        match flavor {
            Flavor::MySql => Executed::MySql(GtidSet::new()),
            Flavor::MariaDb => Executed::MariaDb(BinlogState::new()),
        }
    }

    /// Which flavor's identities it holds.
    pub fn flavor(&self) -> Flavor {
        match self {
            Executed::MySql(_) => Flavor::MySql,
            Executed::MariaDb(_) => Flavor::MariaDb,
        }
    }

    /// Adds a transaction; false when it was there, or is of the other flavor.
    pub fn record(&mut self, identity: &Identity) -> bool {
        match (self, identity) {
            (Executed::MySql(set), Identity::MySql(gtid)) => set.insert(*gtid),
            (Executed::MariaDb(state), Identity::MariaDb(gtid)) => state.record(*gtid),
            _ => false,
        }
    }

    /// The MySQL set, if it is one.
    pub fn as_mysql(&self) -> Option<&GtidSet> {
        match self {
            Executed::MySql(set) => Some(set),
            Executed::MariaDb(_) => None,
        }
    }

    /// The MariaDB state, if it is one.
    pub fn as_mariadb(&self) -> Option<&BinlogState> {
        match self {
            Executed::MySql(_) => None,
            Executed::MariaDb(state) => Some(state),
        }
    }

    /// As the server shows it: `gtid_executed`, or `gtid_binlog_pos` (the last GTID of each
    /// domain).
    pub fn to_text(&self) -> String {
        match self {
            Executed::MySql(set) => set.to_string(),
            Executed::MariaDb(state) => state.position().to_string(),
        }
    }
}

/// What is to become of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is new: append it.
    New(Place),
    /// A copy of it was delivered before, by another path or an earlier connection.
    Duplicate,
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
    /// Without GTIDs copies cannot be told apart yet.
    #[error(
        "the source sends transactions without GTID (ANONYMOUS_GTID events), which this version \
         cannot de-duplicate; set gtid_mode=ON on the source"
    )]
    Anonymous,
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
    clock: ClockMap,
    group: Option<Group>,
}

impl Merge {
    /// Starts from what the relay log holds.
    pub fn new(own_server_id: u32, executed: Executed) -> Self {
        Self {
            own_server_id,
            executed,
            clock: ClockMap::new(),
            group: None,
        }
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

    /// Decides about the next transaction of `batch`, and, when it is new, records it as
    /// delivered.
    ///
    /// # Errors
    /// When it is not of this log's flavor, or has no identity. Nothing is recorded then.
    pub fn place(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Result<Decision, MergeError> {
        match (&self.executed, transaction.identity) {
            (_, Identity::Anonymous(_)) => return Err(MergeError::Anonymous),
            (Executed::MySql(_), Identity::MariaDb(_)) => {
                let (expected, found) = (Flavor::MySql, Flavor::MariaDb);
                return Err(MergeError::Flavor { expected, found });
            }
            (Executed::MariaDb(_), Identity::MySql(_)) => {
                let (expected, found) = (Flavor::MariaDb, Flavor::MySql);
                return Err(MergeError::Flavor { expected, found });
            }
            _ => {}
        }
        let group = transaction.commit_id.map(|commit_id| Group {
            source: batch.source,
            run: batch.run,
            commit_id,
        });
        let own = transaction.server_id == self.own_server_id;
        if own || !self.executed.record(&transaction.identity) {
            // A group ends on its source where another one is, even if that is dropped here.
            if self
                .group
                .is_some_and(|newest| newest.source == batch.source)
                && group != self.group
            {
                self.group = None;
            }
            return Ok(match own {
                true => Decision::Own,
                false => Decision::Duplicate,
            });
        }
        let clock = self
            .clock
            .place((batch.source, batch.run), transaction.clock);
        let joins_group = group.is_some() && group == self.group;
        self.group = group;
        Ok(Decision::New(Place { clock, joins_group }))
    }
}

#[cfg(test)]
mod tests;
