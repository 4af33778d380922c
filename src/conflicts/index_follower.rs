//! Follows the commit indexes up to the published end: one transaction on one path after the other.

use super::window::{Arrival, Written};
use crate::position::RelayLogPosition;
use crate::relay_log::index_reader::IndexReader;
use crate::relay_log::index_record::{Record, Recorded, Step};
use crate::relay_log::{LogDir, LogError};

/// A step of the commit index.
#[derive(Debug)]
pub enum Followed {
    /// The binlog of this server is a path.
    Server {
        /// The path.
        path: usize,
        /// Its server_id.
        server_id: u32,
    },
    /// A transaction arrived.
    Arrival(Box<Arrival>),
    /// A new history of a server begins: GTIDs may occur again.
    NewHistory,
    /// There is nothing more yet.
    End,
}

/// The state of following.
#[derive(Debug)]
pub struct IndexFollower {
    log_dir: LogDir,
    file: u64,
    index: Option<IndexReader<'static>>,
    /// Where the next transaction of the file begins.
    offset: u32,
    /// By path: the source's name in the commit index.
    names: Vec<String>,
    /// The paths of the sources in this index, by their number there.
    paths: Vec<Option<usize>>,
    /// The step that [`Followed::Server`] was returned for.
    next: Option<Record>,
}

impl IndexFollower {
    /// Begins with log file `file`.
    pub fn new(log_dir: LogDir, file: u64) -> Self {
        Self {
            log_dir,
            file,
            index: None,
            offset: 0,
            names: Vec::new(),
            paths: Vec::new(),
            next: None,
        }
    }

    /// The source's name of a path.
    pub fn name(&self, path: usize) -> &str {
        self.names.get(path).map_or("", String::as_str)
    }

    /// Whether what was read ends more than `len` bytes before `end`, or in another file.
    pub fn is_behind(&self, end: RelayLogPosition, len: u64) -> bool {
        self.file != end.file || u64::from(self.offset).saturating_add(len) < end.offset
    }

    /// Continues after `end`.
    ///
    /// # Errors
    /// When the commit index cannot be read.
    pub fn skip_to(&mut self, end: RelayLogPosition) -> Result<(), LogError> {
        (self.index, self.next, self.file) = (None, None, end.file);
        while !matches!(self.next_step(end)?, Followed::End) {}
        Ok(())
    }

    /// The next step that is in the log up to `end`.
    ///
    /// # Errors
    /// When the commit index cannot be read, or was removed.
    pub fn next_step(&mut self, end: RelayLogPosition) -> Result<Followed, LogError> {
        if let Some(record) = self.next.take() {
            return self.arrival(&record);
        }
        loop {
            let Some(index) = &mut self.index else {
                self.open()?;
                continue;
            };
            let number = index.next_number();
            let in_head = number < u64::from(index.header().head_records);
            let Some(read) = index.next_record()? else {
                if self.file < end.file {
                    self.file += 1;
                    self.index = None;
                    continue;
                }
                // A part of a record may have been read.
                index.seek(number)?;
                return Ok(Followed::End);
            };
            if let Record::NewHistory { .. } = read.record {
                return Ok(Followed::NewHistory);
            }
            let Some(step) = read.record.step().copied() else {
                continue;
            };
            let is_published = self.file < end.file || u64::from(step.log_end) <= end.offset;
            if !is_published && !in_head {
                index.seek(number)?;
                return Ok(Followed::End);
            }
            let path = self.path(&step)?;
            if !in_head && read.record.transaction().is_some() {
                self.next = Some(read.record);
            }
            return Ok(Followed::Server {
                path,
                server_id: step.source_server_id,
            });
        }
    }

    fn open(&mut self) -> Result<(), LogError> {
        let index = IndexReader::open(&self.log_dir.index_path(self.file))?;
        self.offset = index.header().log_head_len;
        self.paths.clear();
        self.index = Some(index);
        Ok(())
    }

    fn path(&mut self, step: &Step) -> Result<usize, LogError> {
        let number = usize::from(step.source);
        if let Some(Some(path)) = self.paths.get(number) {
            return Ok(*path);
        }
        let Some(index) = &self.index else {
            return Ok(usize::MAX);
        };
        let name = index.name_of(step)?.to_string();
        let known = self.names.iter().position(|known| *known == name);
        let path = known.unwrap_or(self.names.len());
        if known.is_none() {
            self.names.push(name);
        }
        if self.paths.len() <= number {
            self.paths.resize(number + 1, None);
        }
        if let Some(slot) = self.paths.get_mut(number) {
            *slot = Some(path);
        }
        Ok(path)
    }

    fn arrival(&mut self, record: &Record) -> Result<Followed, LogError> {
        let (Some(step), Some(transaction)) = (record.step(), record.transaction()) else {
            return Ok(Followed::End);
        };
        let path = self.path(step)?;
        let Some(index) = &self.index else {
            return Ok(Followed::End);
        };
        let identity = index.identity(transaction)?;
        let mut arrival = Arrival {
            path,
            position: index.position(step)?,
            delivered: None,
            identity,
            server_id: transaction.server_id,
        };
        match record {
            Record::Copy { .. } => {}
            Record::Transaction {
                emptied,
                may_be_repetition,
                executed_again,
                ..
            } => {
                let begin = std::mem::replace(&mut self.offset, step.log_end);
                if *may_be_repetition || *executed_again {
                    // Nothing is known of its order among the other server's transactions.
                    arrival.server_id = 0;
                }
                arrival.delivered = Some(self.written(&arrival, transaction, begin, *emptied));
            }
            // It is not in the log, and no copy of it either.
            _ => arrival.server_id = 0,
        }
        Ok(Followed::Arrival(Box::new(arrival)))
    }

    fn written(
        &self,
        arrival: &Arrival,
        transaction: &Recorded,
        begin: u32,
        emptied: bool,
    ) -> Written {
        Written {
            identity: arrival.identity,
            server_id: transaction.server_id,
            file: self.file,
            begin,
            end: self.offset,
            delivered_by: arrival.path,
            emptied,
            commit_time_us: transaction.commit_time_us(),
            position: Default::default(),
        }
    }
}
