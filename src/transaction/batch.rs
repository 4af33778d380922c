//! The result of this stage: whole transactions, in batches.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::spill::SpillFile;
use super::temporary_tables::TemporaryTableStatement;
use crate::binlog::FormatDescription;
use crate::binlog::mysql_gtid::LogicalClock;
use crate::identity::{CopyEvidence, HistoryDigest, Identity};
use crate::position::SourcePosition;

/// Which part of a two-part operation (XA, two-phase ALTER) a transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Half {
    /// MySQL: it prepares the XA transaction with this XID.
    XaPrepared(Vec<u8>),
    /// MySQL: it only commits or rolls back the prepared XA transaction with this XID.
    XaEnded(Vec<u8>),
    /// MariaDB: it is the START of an ALTER.
    AlterStarted,
    /// MariaDB: it is the COMMIT or ROLLBACK of an ALTER that began in the same domain on the same
    /// server. All its events are here, even if the filter drops them.
    AlterEnded {
        /// The seq_no of the START.
        start_seq_no: u64,
        /// Whether the filter keeps it.
        wanted: bool,
    },
}

/// One transaction of a batch.
#[derive(Debug)]
pub struct Transaction {
    /// What makes two copies of it the same.
    pub identity: Identity,
    /// The server that executed it first (the opener's header).
    pub server_id: u32,
    /// The timestamp in the opener's header, in seconds since 1970.
    pub timestamp: u32,
    /// When it committed on its origin, in microseconds since 1970: MySQL's
    /// original_commit_timestamp; where the source writes none (MariaDB, MySQL before 8.0), the
    /// timestamp in the opener's header, which has whole seconds. Re-logging preserves only
    /// original_commit_timestamp.
    pub commit_time_us: u64,
    /// The earliest timestamp in the headers of its events, in seconds since 1970, events that the
    /// filter dropped included; 0 when unknown.
    pub earliest: u32,
    /// The latest one.
    pub latest: u32,
    /// Whether its source has logged a change in it, not only its GTID.
    pub has_changes: bool,
    /// MySQL: the source's logical clock for it; `None` from MySQL 5.6 and MariaDB.
    pub clock: Option<LogicalClock>,
    /// MariaDB: the source's group commit id, if it has one.
    pub commit_id: Option<u64>,
    /// The opener (the GTID event), as a range of the batch's bytes; `None` for a transaction that
    /// has none (MySQL 5.6 without GTIDs). Invariant: not empty, and inside the batch's bytes.
    pub opener: Option<Range<usize>>,
    /// The other events, as a range of the batch's bytes. Invariant: inside the batch's bytes, whole
    /// events, and empty when `spill` is set.
    pub rest: Range<usize>,
    /// The other events of a large transaction.
    pub spill: Option<SpillFile>,
    /// Whether the events after the opener are as the source has sent them, with checksums that were verified.
    pub is_verified: bool,
    /// The offset of its end in the source's file, see [`TransactionBatch::source_end`].
    pub source_offset: u64,
    /// Whether the filter dropped every change, so that only an empty transaction remains.
    pub emptied: bool,
    /// Whether the filter dropped or rewrote a part of it, so that it is not what its origin executed.
    pub altered: bool,
    /// Which half of a two-part transaction it is. Not recorded for MariaDB's XA transactions:
    /// MariaDB replicas handle them without help.
    pub half: Option<Half>,
    /// Its kept statements that change temporary tables, in order.
    pub temporary_tables: Vec<TemporaryTableStatement>,
}

impl Transaction {
    /// Bytes of all events after the opener.
    pub fn rest_len(&self) -> u64 {
        self.spill
            .as_ref()
            .map_or(self.rest.len() as u64, SpillFile::len)
    }

    /// Bytes of the whole transaction, after the filter.
    pub fn len(&self) -> u64 {
        self.opener.as_ref().map_or(0, Range::len) as u64 + self.rest_len()
    }

    /// By which it is recognised in its source's binlog.
    pub fn history_digest(&self) -> HistoryDigest {
        HistoryDigest::Of {
            identity: self.identity,
            server_id: self.server_id,
            commit_time_us: self.commit_time_us,
        }
    }

    /// The properties by which a copy of it is recognised, if it has a GTID.
    pub fn evidence(&self) -> CopyEvidence {
        CopyEvidence {
            commit_time_us: self.commit_time_us,
            earliest: self.earliest,
            latest: self.latest,
            has_changes: self.has_changes,
        }
    }

    /// Whether it is empty; never true for a transaction from the assembler.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Finished transactions of one source, from one of its files, in their order.
#[derive(Debug)]
pub struct TransactionBatch {
    /// Which source: its number in the configuration, from 0.
    pub source: u16,
    /// The source's own server_id.
    pub source_server_id: u32,
    /// See [`crate::relay_log::SourceProgress::first_timestamp`].
    pub source_first_timestamp: u32,
    /// Whether its transactions are before the source's start: then they only serve to recognise
    /// copies.
    pub before_start: bool,
    /// Incremented whenever the source's logical clock starts again (another file, another
    /// connection): clocks of different runs cannot be compared.
    pub run: u64,
    /// The source's position after the last event of the batch that is outside any transaction. It
    /// is durable here once all transactions of the batch are.
    pub source_end: SourcePosition,
    /// The format of the events. They always have a checksum here, whatever the source's setting.
    pub format: Arc<FormatDescription>,
    /// The events, each with four bytes for its checksum; the relay log computes the checksums,
    /// since it changes the headers. Only where [`Transaction::is_verified`] says so, the four bytes are one.
    pub bytes: Vec<u8>,
    /// The transactions, in order.
    pub transactions: Vec<Transaction>,
    pub(super) pool: BufferPool,
}

impl TransactionBatch {
    /// Returns the batch's memory for the next one.
    pub fn recycle(mut self) {
        let memory_len = self.memory_len();
        self.transactions.clear();
        self.pool.give((self.bytes, self.transactions), memory_len);
    }

    /// Bytes of the transactions, spilled ones included.
    pub fn len(&self) -> u64 {
        self.transactions.iter().map(Transaction::len).sum()
    }

    /// Bytes of memory that it keeps allocated, whatever part of it is used.
    pub fn memory_len(&self) -> usize {
        self.bytes.capacity() + self.transactions.capacity() * size_of::<Transaction>()
    }

    /// Whether it holds no transaction: then it only moves the source's position.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }
}

/// The memory of batches, returned by the relay log to the assembler that filled them.
#[derive(Debug, Clone, Default)]
pub(super) struct BufferPool {
    buffers: Arc<Mutex<Vec<BatchBuffers>>>,
}

type BatchBuffers = (Vec<u8>, Vec<Transaction>);

impl BufferPool {
    /// The most batches whose memory is kept.
    const KEPT: usize = 2;
    /// The largest memory of a batch that is kept, in bytes: twice as much as a batch has before it is passed on, and
    /// the transactions of as many bytes.
    const KEPT_LEN: usize = 6 * 1024 * 1024;

    pub(super) fn take(&self) -> BatchBuffers {
        self.buffers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    fn give(&self, buffers: BatchBuffers, memory_len: usize) {
        let mut kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT && memory_len <= Self::KEPT_LEN {
            kept.push(buffers);
        }
    }
}
