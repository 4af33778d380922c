//! The records of kind 9, 10, 16 and 17: the queues of paths, of sources without GTIDs.

use super::{Bytes, RECORD_LEN, get, put, seal};
use crate::identity::Fingerprint;
use crate::merge::pairing::{Delivered, LedgerPlace};

/// A record of kind 9, 10, 16 or 17: what is known of a path's transactions of one origin.
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
    },
    /// A transaction that the path passed over.
    Skipped(Delivered),
    /// One of the newest that came by the path.
    Newest(Fingerprint),
    /// One that the source may log again in the file that it has begun.
    Again(Fingerprint),
}

/// The kinds of such records.
pub(super) const KINDS: [u8; 4] = [BEGIN, SKIPPED, NEWEST, AGAIN];
const BEGIN: u8 = 9;
const SKIPPED: u8 = 10;
const NEWEST: u8 = 16;
const AGAIN: u8 = 17;

impl QueueRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Bytes {
        let mut record = [0; RECORD_LEN];
        put(&mut record, 2, &self.path.to_le_bytes());
        put(&mut record, 32, &self.origin.to_le_bytes());
        let (place, fingerprint) = match self.entry {
            QueueEntry::Begin { cursor, is_aligned } => {
                put(&mut record, 0, &[BEGIN, u8::from(is_aligned) << 2]);
                (cursor, Fingerprint::default())
            }
            QueueEntry::Skipped(delivered) => {
                put(&mut record, 0, &[SKIPPED]);
                put(&mut record, 4, &delivered.path.to_le_bytes());
                (delivered.place, delivered.fingerprint)
            }
            QueueEntry::Newest(fingerprint) => {
                put(&mut record, 0, &[NEWEST]);
                (LedgerPlace::default(), fingerprint)
            }
            QueueEntry::Again(fingerprint) => {
                put(&mut record, 0, &[AGAIN]);
                (LedgerPlace::default(), fingerprint)
            }
        };
        put(&mut record, 12, &fingerprint.traits.to_le_bytes());
        put(&mut record, 36, &fingerprint.timestamp.to_le_bytes());
        put(&mut record, 40, &fingerprint.commit_timestamp.to_le_bytes());
        put(&mut record, 48, &fingerprint.content.to_le_bytes());
        put(&mut record, 16, &place.file.to_le_bytes());
        put(&mut record, 24, &place.record.to_le_bytes());
        seal(record)
    }

    /// Reads a record of one of [`KINDS`] whose checksum is right.
    pub(super) fn decode(record: &Bytes, kind: u8, flags: u8) -> Self {
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
        let entry = match kind {
            SKIPPED => QueueEntry::Skipped(Delivered {
                place,
                fingerprint,
                path: u16::from_le_bytes(get(record, 4)),
                may_be_repetition: false,
            }),
            NEWEST => QueueEntry::Newest(fingerprint),
            AGAIN => QueueEntry::Again(fingerprint),
            _ => QueueEntry::Begin {
                cursor: place,
                is_aligned: flags & 4 != 0,
            },
        };
        Self {
            path: u16::from_le_bytes(get(record, 2)),
            origin: u32::from_le_bytes(get(record, 32)),
            entry,
        }
    }
}
