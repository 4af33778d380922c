//! Writes the data directory of a relay that has run for a long time: as the relay writes it, but sparse.
//!
//! In each log file half of the small transactions come first, then one large transaction whose row event is a hole,
//! then the other half. The events are those of a recorded binlog, with other GTIDs. Two masters that replicate from
//! each other have written them in turn, so that each transaction also has the record of a copy.

use std::path::PathBuf;

use binrelay::binlog::event::{self, EventHeader, MAGIC};
use binrelay::binlog::{EventType, rotate};
use binrelay::gtid::Uuid;
use binrelay::identity::{Executed, Identity};
use binrelay::relay_log::LogDir;
use binrelay::relay_log::index_reader::IndexReader;

use super::index_file::IndexFile;
use super::log_file::{LogFile, ROWS_HEAD_LEN, Templates, ZEROS_LEN};
use super::numbering::{COMMITTED, Numbering};
use crate::support::relay::RELAY_SERVER_ID;
use crate::support::servers::Kind;

/// Offsets in GTID events: MySQL's UUID, number, and last_committed; MariaDB's number.
const UUID_AT: usize = 20;
const GNO_AT: usize = 36;
const CLOCK_AT: usize = 45;
const SEQ_NO_AT: usize = 19;

/// How large everything is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub files: u64,
    pub file_len: u64,
    /// Small transactions in each file; an even number.
    pub transactions: u64,
}

impl Size {
    /// With the large transactions.
    pub fn all_transactions(&self) -> u64 {
        self.files * (self.transactions + 1)
    }
}

/// Writes the log.
pub struct Generator {
    log_dir: LogDir,
    size: Size,
    numbering: Numbering,
    templates: Templates,
    log_id: Uuid,
    /// Checksum of [`ZEROS_LEN`] zeros.
    zeros: crc32fast::Hasher,
}

impl Generator {
    pub fn new(kind: Kind, dir: PathBuf, size: Size) -> Generator {
        let mut zeros = crc32fast::Hasher::new();
        zeros.update(&vec![0; ZEROS_LEN as usize]);
        Generator {
            log_dir: LogDir {
                dir,
                basename: "relay-bin".to_owned(),
            },
            size,
            numbering: Numbering {
                is_mysql: kind.is_mysql(),
            },
            templates: Templates::read(kind),
            log_id: Uuid::random(),
            zeros,
        }
    }

    /// Bytes of a small transaction.
    pub fn small_len(kind: Kind) -> u64 {
        let small = Templates::read(kind).small;
        small.iter().map(|event| event.len() as u64).sum()
    }

    pub fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// Where the transaction number `count` of file `number` ends; it is one of the small ones before the large one.
    pub fn end_of(&self, number: u64, count: u64) -> u64 {
        let index = IndexReader::open(&self.log_dir.index_path(number)).expect("an index");
        let small: usize = self.templates.small.iter().map(Vec::len).sum();
        u64::from(index.header().log_head_len) + count * small as u64
    }

    /// All files.
    pub fn write_all(&self) {
        for number in 1..=self.size.files {
            self.write_file(number);
        }
        self.write_list();
    }

    /// Removes what the relay has added since, so that the newest file is a large one again.
    pub fn restore(&self) {
        let newer = self.log_dir.unlisted(&[self.size.files]).expect("a list");
        for number in newer {
            std::fs::remove_file(self.log_dir.log_path(number)).expect("it is removed");
            std::fs::remove_file(self.log_dir.index_path(number)).expect("it is removed");
        }
        let _ = std::fs::remove_file(self.log_dir.durable_path());
        self.write_file(self.size.files);
        self.write_list();
    }

    fn write_list(&self) {
        let numbers: Vec<u64> = (1..=self.size.files).collect();
        self.log_dir.write_list(&numbers).expect("a list");
    }

    fn write_file(&self, number: u64) {
        let first = (number - 1) * (self.size.transactions + 1);
        let previous = self.numbering.before(first);
        let mut log = LogFile::create(&self.log_dir.log_path(number));
        log.put(&MAGIC);
        let mut format = self
            .templates
            .format
            .encode(COMMITTED, RELAY_SERVER_ID, 0, 0);
        log.event(&mut format);
        log.event(&mut previous_event(&previous));
        let head = std::fs::read(self.log_dir.log_path(number)).expect("the head");
        let mut index = IndexFile::begin(self.log_id, number, &previous, &head);
        let half = self.size.transactions / 2;
        for at in 0..=self.size.transactions {
            match at == half {
                true => self.large(&mut log, first + at, at + 1),
                false => self.small(&mut log, first + at, at + 1),
            }
            index.transaction(self.numbering, first + at, log.end);
        }
        let is_newest = number == self.size.files;
        if is_newest {
            index.clean_stop(log.end);
        } else {
            let next = self.log_dir.file_name(number + 1);
            log.event(&mut rotate::closing(COMMITTED, RELAY_SERVER_ID, 0, &next));
        }
        log.finish();
        index.finish(&self.log_dir.index_path(number));
    }

    fn small(&self, log: &mut LogFile, transaction: u64, sequence: u64) {
        for (at, template) in self.templates.small.iter().enumerate() {
            log.scratch.clear();
            log.scratch.extend_from_slice(template);
            if at == 0 {
                self.number(&mut log.scratch, transaction, sequence);
            }
            log.event_of_scratch();
        }
    }

    /// So large that the file gets its length.
    fn large(&self, log: &mut LogFile, transaction: u64, sequence: u64) {
        let (rows, before) = self.templates.large.split_last().expect("events");
        for (at, template) in before.iter().enumerate() {
            let mut event = template.clone();
            if at == 0 {
                self.number(&mut event, transaction, sequence);
            }
            log.event(&mut event);
        }
        let small: usize = self.templates.small.iter().map(Vec::len).sum();
        let rest = small as u64 * (self.size.transactions / 2 + 1) + 1024;
        let len = self.size.file_len.saturating_sub(log.end + rest) / ZEROS_LEN * ZEROS_LEN;
        log.event_with_hole(&rows[..ROWS_HEAD_LEN], len, &self.zeros);
        log.event(&mut self.templates.commit.clone());
    }

    fn number(&self, event: &mut [u8], transaction: u64, sequence: u64) {
        match self.numbering.identity(transaction) {
            Identity::MySql(gtid) => {
                event[UUID_AT..GNO_AT].copy_from_slice(&gtid.sid.uuid.0);
                event[GNO_AT..GNO_AT + 8].copy_from_slice(&gtid.gno.to_le_bytes());
                let clock = CLOCK_AT..CLOCK_AT + 16;
                let [committed, own] = [sequence - 1, sequence].map(u64::to_le_bytes);
                event[clock].copy_from_slice(&[committed, own].concat());
            }
            Identity::MariaDb(gtid) => {
                event[5..9].copy_from_slice(&gtid.server_id.to_le_bytes());
                event[SEQ_NO_AT..SEQ_NO_AT + 8].copy_from_slice(&gtid.seq_no.to_le_bytes());
                let domain = SEQ_NO_AT + 8..SEQ_NO_AT + 12;
                event[domain].copy_from_slice(&gtid.domain_id.to_le_bytes());
            }
            Identity::Anonymous(_) => {}
        }
    }
}

fn previous_event(previous: &Executed) -> Vec<u8> {
    let mut body = Vec::new();
    let (event_type, flags) = match previous {
        Executed::MySql(set) => {
            set.encode(&mut body);
            (EventType::PREVIOUS_GTIDS, event::FLAG_IGNORABLE)
        }
        Executed::MariaDb(state) => {
            state.encode_gtid_list(&mut body);
            (EventType::GTID_LIST, 0)
        }
        Executed::Anonymous => panic!("with GTIDs"),
    };
    let header = EventHeader {
        timestamp: COMMITTED,
        event_type,
        server_id: RELAY_SERVER_ID,
        event_size: 0,
        log_pos: 0,
        flags,
    };
    event::build(header, &body)
}
