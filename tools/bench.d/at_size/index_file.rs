//! The commit indexes.

use std::path::Path;

use binrelay::gtid::Uuid;
use binrelay::identity::{CopyEvidence, Executed, Identity};
use binrelay::relay_log::index_record::{
    IndexHeader, RECORD_LEN, Record, Recorded, RecordedIdentity, SourceHistory, Step, TextPart,
};

use super::numbering::{COMMITTED, Numbering, SOURCES, sid, source_file};

/// A commit index that is being made.
pub struct IndexFile {
    bytes: Vec<u8>,
    /// The end of the log when the record before was made, and the records then: what is on disk.
    durable: (u32, u32),
}

impl IndexFile {
    pub fn begin(log_id: Uuid, number: u64, previous: &Executed, head: &[u8]) -> IndexFile {
        let mut index = IndexFile {
            bytes: vec![0; RECORD_LEN],
            durable: (head.len() as u32, 0),
        };
        for (source, (name, server_id)) in (0u16..).zip(SOURCES) {
            index.define(name.as_bytes(), |text| Record::SourceName { source, text });
            let mut step = index.step(source, 1, 4, head.len() as u64);
            index.define_file(source, 1, number);
            if number == 1 {
                continue;
            }
            step.source_server_id = server_id;
            for gtid in previous.as_mariadb().iter().flat_map(|state| state.iter()) {
                for is_highest in [false, true] {
                    index.put(&Record::SourceGtid {
                        step,
                        gtid,
                        is_highest,
                    });
                }
            }
            index.put(&Record::SourceMoved {
                step,
                history: SourceHistory::default(),
                last: None,
            });
        }
        let header = IndexHeader {
            kind: previous.kind(),
            log_id,
            file_number: number,
            log_head_len: head.len() as u32,
            log_head_crc: crc32fast::hash(head),
            head_records: index.records(),
        };
        index.bytes[..RECORD_LEN].copy_from_slice(&header.encode());
        if matches!(previous, Executed::MySql(_)) {
            for origin in 0..2u32 {
                let uuid = sid(origin as usize).uuid;
                index.define(&uuid.0, |text| Record::Origin {
                    number: origin,
                    text,
                });
            }
        }
        index
    }

    fn records(&self) -> u32 {
        (self.bytes.len() / RECORD_LEN) as u32
    }

    fn put(&mut self, record: &Record) {
        self.bytes.extend_from_slice(&record.encode());
    }

    fn define(&mut self, text: &[u8], make: impl Fn(TextPart) -> Record) {
        for text in TextPart::parts(text) {
            self.put(&make(text));
        }
    }

    fn define_file(&mut self, source: u16, number: u32, file: u64) {
        self.define(source_file(file).as_bytes(), |text| Record::SourceFile {
            source,
            number,
            text,
        });
    }

    fn step(&self, source: u16, source_file: u32, source_offset: u64, log_end: u64) -> Step {
        Step {
            source,
            log_end: log_end as u32,
            source_file,
            source_offset,
            source_server_id: SOURCES[usize::from(source)].1,
            durable_to: self.durable.0,
            durable_records: self.durable.1,
        }
    }

    /// The transaction from its own source, and the copy from the other one. Both have it at the same offset.
    pub fn transaction(&mut self, numbering: Numbering, transaction: u64, log_end: u64) {
        let source = numbering.source(transaction) as u16;
        let evidence = CopyEvidence {
            commit_time_us: u64::from(COMMITTED) * 1_000_000,
            ..CopyEvidence::default()
        };
        let identity = match numbering.identity(transaction) {
            Identity::MySql(gtid) => RecordedIdentity::MySql {
                origin: u32::from(source),
                gno: gtid.gno,
                evidence,
            },
            Identity::MariaDb(gtid) => RecordedIdentity::MariaDb {
                domain_id: gtid.domain_id,
                seq_no: gtid.seq_no,
                evidence,
            },
            Identity::Anonymous(_) => panic!("with GTIDs"),
        };
        let recorded = Recorded {
            identity,
            server_id: SOURCES[usize::from(source)].1,
        };
        let step = self.step(source, 1, log_end, log_end);
        let durable = (log_end as u32, self.records() + 1);
        self.put(&Record::Transaction {
            step,
            transaction: recorded,
            emptied: false,
            altered: false,
            may_be_repetition: false,
            executed_again: false,
        });
        let step = self.step(1 - source, 1, log_end, log_end);
        self.put(&Record::Copy {
            step,
            transaction: recorded,
        });
        self.durable = durable;
    }

    pub fn clean_stop(&mut self, log_end: u64) {
        for source in 0..2 {
            self.durable = (log_end as u32, self.records());
            let step = self.step(source, 1, log_end, log_end);
            self.put(&Record::SourceMoved {
                step,
                history: SourceHistory::default(),
                last: None,
            });
        }
    }

    pub fn finish(self, path: &Path) {
        std::fs::write(path, self.bytes).expect("an index");
    }
}
