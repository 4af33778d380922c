//! The records of kind 9 and 10: the queues of paths, of sources without GTIDs.

use super::{Bytes, RECORD_LEN, get, put, seal};
use crate::merge::pairing::{Delivered, LedgerPlace, Newest};
use crate::transaction::Fingerprint;

/// A record of kind 9 or 10: what is known of a path's transactions of one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRecord {
    /// The path: a source's number in this file.
    pub path: u16,
    /// The transactions' server_id.
    pub origin: u32,
    /// What it says.
    pub entry: QueueEntry,
}

/// What a [`QueueRecord`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEntry {
    /// Where the queue begins.
    Begin {
        /// The first record that is looked at.
        cursor: LedgerPlace,
        /// Whether something that lies behind the start has come by this path.
        is_aligned: bool,
        /// The newest transaction of the origin that came by this path.
        newest: Option<Newest>,
    },
    /// A transaction that the path passed over.
    Skipped(Delivered),
}

impl QueueRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Bytes {
        let mut record = [0; RECORD_LEN];
        put(&mut record, 2, &self.path.to_le_bytes());
        put(&mut record, 32, &self.origin.to_le_bytes());
        let place = match self.entry {
            QueueEntry::Begin {
                cursor,
                is_aligned,
                newest,
            } => {
                let mut flags = u8::from(is_aligned) << 2;
                if let Some(newest) = newest {
                    flags |= 1 << 3
                        | u8::from(newest.in_next_file) << 4
                        | u8::from(newest.is_owed) << 5
                        | u8::from(newest.may_be_left) << 6;
                    put_fingerprint(&mut record, &newest.fingerprint);
                }
                put(&mut record, 0, &[9, flags]);
                cursor
            }
            QueueEntry::Skipped(Delivered {
                place,
                fingerprint,
                path,
                ..
            }) => {
                put(&mut record, 0, &[10]);
                put(&mut record, 4, &path.to_le_bytes());
                put_fingerprint(&mut record, &fingerprint);
                place
            }
        };
        put(&mut record, 16, &place.file.to_le_bytes());
        put(&mut record, 24, &place.record.to_le_bytes());
        seal(record)
    }

    /// Reads a record of kind 9 or 10 whose checksum is right.
    pub(super) fn decode(record: &Bytes, is_begin: bool, flags: u8) -> Self {
        let place = LedgerPlace {
            file: u64::from_le_bytes(get(record, 16)),
            record: u64::from_le_bytes(get(record, 24)),
        };
        let fingerprint = Fingerprint {
            traits: u32::from_le_bytes(get(record, 12)),
            timestamp: u32::from_le_bytes(get(record, 36)),
            commit_timestamp: u64::from_le_bytes(get(record, 40)),
            content: u64::from_le_bytes(get(record, 48)),
        };
        let entry = match is_begin {
            true => QueueEntry::Begin {
                cursor: place,
                is_aligned: flags & 4 != 0,
                newest: (flags & 8 != 0).then_some(Newest {
                    fingerprint,
                    in_next_file: flags & 16 != 0,
                    is_owed: flags & 32 != 0,
                    may_be_left: flags & 64 != 0,
                }),
            },
            false => QueueEntry::Skipped(Delivered {
                place,
                fingerprint,
                path: u16::from_le_bytes(get(record, 4)),
                may_be_repetition: false,
            }),
        };
        Self {
            path: u16::from_le_bytes(get(record, 2)),
            origin: u32::from_le_bytes(get(record, 32)),
            entry,
        }
    }
}

fn put_fingerprint(record: &mut Bytes, fingerprint: &Fingerprint) {
    put(record, 12, &fingerprint.traits.to_le_bytes());
    put(record, 36, &fingerprint.timestamp.to_le_bytes());
    put(record, 40, &fingerprint.commit_timestamp.to_le_bytes());
    put(record, 48, &fingerprint.content.to_le_bytes());
}
