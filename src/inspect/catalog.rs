//! `binrelay list` and `binrelay search`: what is in the relay log, read from its commit indexes.
//!
//! The log itself is read only for the heads of its files, so this takes seconds for a log of any size. The newest file
//! may be growing: what is not written completely is not there yet.

use serde::Serialize;

use crate::identity::{Executed, Identity};
use crate::position::SourcePosition;
use crate::relay_log::index_reader::IndexReader;
use crate::relay_log::index_record::{Record, Recorded, Step};
use crate::relay_log::reader::FileHead;
use crate::relay_log::{LogDir, LogError};

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogFile {
    /// Its name, without a directory.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Transactions in it.
    pub transactions: u64,
    /// The earliest commit time, in microseconds since 1970 by the origins' clocks; `None` without transactions.
    pub first_commit_us: Option<u64>,
    /// The latest one.
    pub last_commit_us: Option<u64>,
    /// The GTIDs in it. MariaDB: the newest of each domain. Empty without GTIDs.
    pub gtids: String,
}

/// A transaction of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogTransaction {
    /// Its GTID, if it has one.
    pub gtid: Option<String>,
    /// The log file.
    pub file: String,
    /// Where it begins there.
    pub begin: u64,
    /// Where it ends.
    pub end: u64,
    /// When it committed, in microseconds since 1970 by its origin's clock.
    pub commit_us: u64,
    /// The server on which it began.
    pub server_id: u32,
    /// Whether the filter left only an empty transaction.
    pub emptied: bool,
    /// The source that delivered it, and where it ends in that source's binlog.
    pub delivered_by: SourcePlace,
    /// The same of the copies that were dropped, as far as the log shows them.
    pub copies: Vec<SourcePlace>,
}

/// A place in a source's binlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePlace {
    /// The source's name.
    pub source: String,
    /// The end of the transaction there.
    pub position: SourcePosition,
}

/// The transaction to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// With this GTID.
    Gtid(Identity),
    /// The first one in the log that committed at this time or later, in microseconds since 1970.
    CommittedFrom(u64),
}

impl Wanted {
    fn is(&self, identity: &Identity, recorded: &Recorded) -> bool {
        match self {
            Wanted::Gtid(gtid) => identity == gtid,
            Wanted::CommittedFrom(time) => recorded.commit_time_us() >= *time,
        }
    }
}

/// Each file of the log, oldest first.
///
/// # Errors
/// When a file cannot be read, or is damaged.
pub fn list(log_dir: &LogDir) -> Result<Vec<CatalogFile>, LogError> {
    let numbers = log_dir.read_list()?;
    let newest = numbers.last().copied();
    let files = numbers.iter().map(|number| {
        let path = log_dir.log_path(*number);
        let size = path.metadata().map(|found| found.len());
        let bytes = size.map_err(|cause| LogError::io("read", &path, cause))?;
        list_file(log_dir, *number, Some(*number) == newest, bytes)
    });
    files.collect()
}

fn list_file(
    log_dir: &LogDir,
    number: u64,
    is_newest: bool,
    bytes: u64,
) -> Result<CatalogFile, LogError> {
    let mut index = Records::open(log_dir, number, is_newest)?;
    let mut gtids = match index.reader.kind() {
        crate::identity::IdentityKind::Anonymous => Executed::Anonymous,
        kind => Executed::empty(kind.flavor()),
    };
    let mut file = CatalogFile {
        file: log_dir.file_name(number),
        bytes,
        transactions: 0,
        first_commit_us: None,
        last_commit_us: None,
        gtids: String::new(),
    };
    while let Some(record) = index.next()? {
        let Record::Transaction { transaction, .. } = record else {
            continue;
        };
        file.transactions += 1;
        let time = Some(transaction.commit_time_us());
        file.first_commit_us = match file.first_commit_us {
            Some(first) => Some(first).min(time),
            None => time,
        };
        file.last_commit_us = file.last_commit_us.max(time);
        gtids.deliver(&index.reader.identity(&transaction)?);
    }
    file.gtids = gtids.to_text();
    Ok(file)
}

/// Finds a transaction; `None` if the log does not have it.
///
/// # Errors
/// When a file cannot be read, or is damaged.
pub fn find(log_dir: &LogDir, wanted: &Wanted) -> Result<Option<CatalogTransaction>, LogError> {
    let numbers = log_dir.read_list()?;
    let newest = numbers.last().copied();
    let mut found: Option<(CatalogTransaction, Identity)> = None;
    for number in numbers {
        let mut index = Records::open(log_dir, number, Some(number) == newest)?;
        let mut begin = FileHead::read(&log_dir.log_path(number))?.end;
        while let Some(record) = index.next()? {
            match record {
                Record::Transaction {
                    step,
                    transaction,
                    emptied,
                    ..
                } => {
                    let identity = index.reader.identity(&transaction)?;
                    if found.is_none() && wanted.is(&identity, &transaction) {
                        let transaction = CatalogTransaction {
                            gtid: gtid_text(&identity),
                            file: log_dir.file_name(number),
                            begin,
                            end: u64::from(step.log_end),
                            commit_us: transaction.commit_time_us(),
                            server_id: transaction.server_id,
                            emptied,
                            delivered_by: index.place(&step)?,
                            copies: Vec::new(),
                        };
                        found = Some((transaction, identity));
                    }
                    begin = u64::from(step.log_end);
                }
                // Without GTIDs, fingerprints are not unique: they do not show which copy it is.
                Record::Copy { step, transaction } => {
                    if let Some((found, identity)) = &mut found
                        && found.gtid.is_some()
                        && index.reader.identity(&transaction)? == *identity
                    {
                        found.copies.push(index.place(&step)?);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(found.map(|(transaction, _)| transaction))
}

fn gtid_text(identity: &Identity) -> Option<String> {
    match identity {
        Identity::MySql(_) | Identity::MariaDb(_) => Some(identity.to_string()),
        Identity::Anonymous(_) => None,
    }
}

/// The records of one commit index after its head.
struct Records {
    reader: IndexReader<'static>,
    is_newest: bool,
}

impl Records {
    fn open(log_dir: &LogDir, number: u64, is_newest: bool) -> Result<Self, LogError> {
        let mut reader = IndexReader::open(&log_dir.index_path(number))?;
        reader.skip_head()?;
        Ok(Self { reader, is_newest })
    }

    /// The next record. A record of the newest file that cannot be read is being written.
    fn next(&mut self) -> Result<Option<Record>, LogError> {
        match self.reader.next_record() {
            Ok(read) => Ok(read.map(|read| read.record)),
            Err(LogError::Index { .. }) if self.is_newest => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn place(&self, step: &Step) -> Result<SourcePlace, LogError> {
        Ok(SourcePlace {
            source: self.reader.name_of(step)?.to_string(),
            position: self.reader.position(step)?,
        })
    }
}
