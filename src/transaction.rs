//! Stage 3: events become whole transactions.
//!
//! A [`Transaction`] is one GTID group as raw bytes, plus the few facts that later stages need.
//! [`Assembler`] finds the groups' borders, applies the filter, and gathers finished transactions
//! into a [`TransactionBatch`], the unit that travels to the relay log, so that a small
//! transaction costs neither an allocation nor a hand-over of its own. A transaction that is
//! larger than `spill_size` goes to a file in `data_dir/spool` instead of memory.
//!
//! Nothing of a transaction leaves this stage before its end has been seen.

mod assemble;
mod body;
pub(crate) mod boundary;
mod digest;
mod error;
mod large;
#[cfg(test)]
pub(crate) mod test_events;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

pub use assemble::{Assembler, AssemblerOptions};
pub use body::SpillFile;
pub use error::{PayloadError, TransactionError};

use crate::binlog::FormatDescription;
use crate::binlog::mysql_gtid::LogicalClock;
use crate::identity::Identity;
use crate::position::SourcePosition;

/// Which half of a whole a transaction is, where what its client did comes in two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Half {
    /// MySQL: it prepares the XA transaction with this xid.
    XaPrepared(Vec<u8>),
    /// MySQL: it commits it or rolls it back, and is nothing else.
    XaEnded(Vec<u8>),
    /// MariaDB: it is the START of an ALTER.
    AlterStarted,
    /// MariaDB: it is the COMMIT or ROLLBACK of an ALTER that began in the same domain on the same
    /// server. It is complete here whatever the filter said of it.
    AlterEnded {
        /// The seq_no of the START.
        start_seq_no: u64,
        /// Whether the filter would keep it.
        wanted: bool,
    },
}

/// One transaction of a batch.
#[derive(Debug)]
pub struct Transaction {
    /// What makes it unique.
    pub identity: Identity,
    /// The server on which it began (the opener's header).
    pub server_id: u32,
    /// When it began, in seconds since 1970 (the opener's header).
    pub timestamp: u32,
    /// When it committed on its origin, in microseconds since 1970: MySQL's
    /// original_commit_timestamp, and where the source writes none (MariaDB, MySQL before 8.0) the
    /// time in the opener's header, which has whole seconds. Re-logging preserves both.
    pub commit_time_us: u64,
    /// MySQL: the source's logical clock for it; `None` from MySQL 5.6 and MariaDB.
    pub clock: Option<LogicalClock>,
    /// MariaDB: the source's group commit id, if it has one.
    pub commit_id: Option<u64>,
    /// Where the opener (the GTID event) stands in the batch's bytes.
    pub opener: Range<usize>,
    /// Where the rest of the events stands in the batch's bytes, if they are not in `spill`.
    pub rest: Range<usize>,
    /// The rest of the events, of a large transaction.
    pub spill: Option<SpillFile>,
    /// The offset after it in the source's file, see [`TransactionBatch::source_end`].
    pub source_offset: u64,
    /// Whether the filter dropped every change, so that only the empty transaction is left.
    pub emptied: bool,
    /// Which half of a whole it is. Not noted of MariaDB's XA transactions: its replicas need no
    /// help there.
    pub half: Option<Half>,
}

impl Transaction {
    /// Bytes of all events after the opener.
    pub fn rest_len(&self) -> u64 {
        self.spill
            .as_ref()
            .map_or(self.rest.len() as u64, SpillFile::len)
    }

    /// Bytes of the whole transaction as it came from the filter.
    pub fn len(&self) -> u64 {
        self.opener.len() as u64 + self.rest_len()
    }

    /// Whether there is not one byte; never true of a transaction from the assembler.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Finished transactions of one source, out of one of its files, in their order.
#[derive(Debug)]
pub struct TransactionBatch {
    /// Which source: its number in the configuration, from 0.
    pub source: u16,
    /// The source's own server_id.
    pub source_server_id: u32,
    /// See [`crate::relay_log::SourceProgress::first_timestamp`].
    pub source_first_timestamp: u32,
    /// Whether it lies before the source's start: then it is read to recognise copies only.
    pub before_start: bool,
    /// Counts up whenever the source's logical clock starts anew (another file, another
    /// connection): clocks of different runs cannot be compared.
    pub run: u64,
    /// The source's position after the last event of the batch that is outside any transaction. It
    /// is durable here once all transactions of the batch are.
    pub source_end: SourcePosition,
    /// What the events look like. They are always checksummed here, whatever the source does.
    pub format: Arc<FormatDescription>,
    /// The events, each with room for its checksum; the checksums are written by the relay log,
    /// which changes the headers.
    pub bytes: Vec<u8>,
    /// The transactions, in order.
    pub transactions: Vec<Transaction>,
    pool: BufferPool,
}

impl TransactionBatch {
    /// Gives the batch's memory back for the next one.
    pub fn recycle(mut self) {
        self.transactions.clear();
        self.pool.give((self.bytes, self.transactions));
    }

    /// Bytes of the transactions, spilled ones included.
    pub fn len(&self) -> u64 {
        self.transactions.iter().map(Transaction::len).sum()
    }

    /// Whether there is no transaction in it: it only moves the source's position.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }
}

/// The memory of batches, handed from the relay log back to the assembler that filled them.
#[derive(Debug, Clone, Default)]
struct BufferPool {
    buffers: Arc<Mutex<Vec<BatchBuffers>>>,
}

type BatchBuffers = (Vec<u8>, Vec<Transaction>);

impl BufferPool {
    /// How many batches' memory is kept, and up to which size of one.
    const KEPT: usize = 4;
    const KEPT_LEN: usize = 2 * 1024 * 1024;

    fn take(&self) -> BatchBuffers {
        self.buffers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    fn give(&self, buffers: BatchBuffers) {
        let mut kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT && buffers.0.capacity() <= Self::KEPT_LEN {
            kept.push(buffers);
        }
    }
}
