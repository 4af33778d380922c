//! What the two masters of the run log, and how it gets into the relay log.

use super::super::anonymous::{insert, source};
use super::super::read_back::without_position;
use super::super::*;
use crate::binlog::event;
use crate::data_file::crash_states::Random;
use crate::gtid::Gtid;

/// How transactions are identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    MySql,
    MariaDb,
    Anonymous,
}

impl Kind {
    pub(super) fn flavor(self) -> Flavor {
        match self {
            Kind::MariaDb => Flavor::MariaDb,
            Kind::MySql | Kind::Anonymous => Flavor::MySql,
        }
    }
}

/// The error of an operation, whatever its type.
pub(super) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A transaction: the master on which it began, and its number there.
pub(super) type Key = (usize, u64);

/// What a master logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Transaction(Key),
    NextFile,
}

/// What the two masters log, each with copies of the other's transactions.
pub(super) struct Streams {
    pub(super) kind: Kind,
    pub(super) items: [Vec<Item>; 2],
    /// The position after each item.
    ends: [Vec<SourcePosition>; 2],
}

fn server_id(master: usize) -> u32 {
    80 + master as u32
}

/// The events of a transaction. Without GTIDs, two look alike.
fn events_of(kind: Kind, (master, number): Key) -> Vec<Vec<u8>> {
    let shape = match number % 7 {
        0 => Shape::Spilled,
        1 => Shape::Emptied,
        _ => Shape::Small,
    };
    if kind != Kind::Anonymous {
        let domain = if kind == Kind::MariaDb && master == 1 {
            "d"
        } else {
            ""
        };
        return group(kind.flavor(), server_id(master), number, domain, shape);
    }
    let mut group = insert(server_id(master), number as u32 / 2);
    for bytes in &mut group {
        let timestamp = 1_600_000_000 + number as u32 / 4;
        bytes[..4].copy_from_slice(&timestamp.to_le_bytes());
        event::write_checksum(bytes).unwrap();
    }
    group
}

/// What identifies the transaction in a log.
pub(super) fn name(kind: Kind, key: Key) -> String {
    let (master, number) = key;
    let identity = match kind {
        Kind::Anonymous => {
            let events = events_of(kind, key);
            let events: Vec<_> = events.iter().map(|event| without_position(event)).collect();
            return name_of(&events);
        }
        Kind::MySql => {
            let Gtid { sid, .. } = gtid((server_id(master) % 100) as u8, "", 1);
            Identity::MySql(Gtid { sid, gno: number })
        }
        Kind::MariaDb => Identity::MariaDb(crate::gtid::MariaDbGtid {
            domain_id: master as u32,
            server_id: server_id(master),
            seq_no: number,
        }),
    };
    format!("{identity:?}")
}

/// Without GTIDs: transactions with the same bytes have the same name.
pub(super) fn name_of(events: &[Vec<u8>]) -> String {
    format!("{:08x}", crc32fast::hash(&events.concat()))
}

impl Streams {
    pub(super) fn new(kind: Kind, count: usize, random: &mut Random) -> Self {
        let mut items = [Vec::new(), Vec::new()];
        let (mut committed, mut applied) = ([0; 2], [0; 2]);
        while items.iter().any(|items| items.len() < count) {
            let master = random.below(2);
            let item = match random.below(20) {
                0 => Item::NextFile,
                1..11 => {
                    committed[master] += 1;
                    Item::Transaction((master, committed[master]))
                }
                _ if applied[master] < committed[1 - master] => {
                    applied[master] += 1;
                    Item::Transaction((1 - master, applied[master]))
                }
                _ => continue,
            };
            items[master].push(item);
        }
        let ends = [0, 1].map(|master| {
            let mut source = feeder(kind, master, &SourcePosition::default());
            let end = |item: &Item| match item {
                Item::NextFile => source.next_file().source_end.clone(),
                Item::Transaction(key) => {
                    source.deliver(&[events_of(kind, *key)]).source_end.clone()
                }
            };
            items[master].iter().map(end).collect()
        });
        Self { kind, items, ends }
    }

    /// The number of items up to a position.
    pub(super) fn index_after(&self, source: usize, position: &SourcePosition) -> usize {
        if position.is_unknown() {
            return 0;
        }
        let found = self.ends[source].iter().position(|end| end == position);
        found.map_or_else(
            || panic!("no transaction of m{source} ends at {position:?}"),
            |at| at + 1,
        )
    }
}

/// The transactions of the items.
pub(super) fn keys(items: &[Item]) -> impl Iterator<Item = Key> {
    items.iter().filter_map(|item| match item {
        Item::Transaction(key) => Some(*key),
        Item::NextFile => None,
    })
}

/// A source that continues at a position.
pub(super) fn feeder(kind: Kind, number: usize, at: &SourcePosition) -> TestSource {
    let mut feeder = match kind {
        Kind::Anonymous => source(number as u16),
        Kind::MySql | Kind::MariaDb => TestSource::new(number as u16, kind.flavor()),
    };
    if !at.is_unknown() {
        feeder.file = at.file.strip_prefix("bin.").unwrap().parse().unwrap();
        feeder.position = at.offset;
        feeder.assembler.start_file(at.file.clone(), at.offset);
    }
    feeder
}

/// Appends the items, without a commit.
pub(super) fn send(
    kind: Kind,
    log_thread: &mut LogThread,
    feeder: &mut TestSource,
    items: &[Item],
) -> Outcome {
    for part in items.chunk_by(|one, other| *one != Item::NextFile && *other != Item::NextFile) {
        if part[0] == Item::NextFile {
            let batch = feeder.next_file();
            log_thread.move_source(&batch)?;
            continue;
        }
        let groups: Vec<_> = keys(part).map(|key| events_of(kind, key)).collect();
        let batch = feeder.deliver(&groups);
        for transaction in &batch.transactions {
            log_thread.append(&batch, transaction)?;
        }
        batch.recycle();
    }
    Ok(())
}
