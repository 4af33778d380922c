//! The transactions of the generated log.

use binrelay::gtid::{BinlogState, Gtid, GtidSet, MariaDbGtid, Sid, Tag, Uuid};
use binrelay::identity::{Executed, Identity};

/// The names and server_ids of the sources.
pub const SOURCES: [(&str, u32); 2] = [("m1", 86), ("m2", 18)];
/// When everything was committed: seconds since 1970.
pub const COMMITTED: u32 = 1_790_000_000;

/// The transactions, by their number: 0 is the first one of the log.
#[derive(Clone, Copy, Debug)]
pub struct Numbering {
    pub is_mysql: bool,
}

impl Numbering {
    /// The number of its source.
    pub fn source(self, transaction: u64) -> usize {
        (transaction % 2) as usize
    }

    pub fn identity(self, transaction: u64) -> Identity {
        let (source, number) = (self.source(transaction), transaction / 2 + 1);
        match self.is_mysql {
            true => Identity::MySql(Gtid {
                sid: sid(source),
                gno: number,
            }),
            false => Identity::MariaDb(MariaDbGtid {
                domain_id: source as u32,
                server_id: SOURCES[source].1,
                seq_no: number,
            }),
        }
    }

    /// All transactions before number `end`.
    pub fn before(self, end: u64) -> Executed {
        let newest = (0..2).filter_map(|source: u64| {
            let count = (end + 1 - source) / 2;
            let newest = (count * 2 + source).checked_sub(2)?;
            Some((newest, self.identity(newest)))
        });
        match self.is_mysql {
            true => {
                let mut set = GtidSet::new();
                for (_, identity) in newest {
                    if let Identity::MySql(gtid) = identity {
                        set.insert_interval(gtid.sid, 1, gtid.gno);
                    }
                }
                Executed::MySql(set)
            }
            false => {
                let mut state = BinlogState::new();
                for (_, identity) in newest {
                    if let Identity::MariaDb(gtid) = identity {
                        state.record(gtid);
                    }
                }
                Executed::MariaDb(state)
            }
        }
    }
}

pub fn sid(source: usize) -> Sid {
    Sid {
        uuid: Uuid([0x10 + source as u8; 16]),
        tag: Tag::NONE,
    }
}

/// The binlog file of a source from which relay log file `number` came.
pub fn source_file(number: u64) -> String {
    format!("mysql-bin.{number:06}")
}
