//! The durable mark: how much of the relay log is known to be on disk, in a file of its own.
//!
//! `relay-bin.durable` is one record of 64 bytes. It is overwritten after each sync, before the
//! synced transactions are published:
//!
//! ```text
//!  0       4         6        8        24            32           40        44       60      64
//!  | BRDM  | version | zeros  | log_id | file number | log offset | records | zeros  | CRC32 |
//! ```
//!
//! Without it, an older copy of the newest commit index could not be distinguished from one whose
//! tail was lost in a crash: recovery would truncate transactions that replicas have. The mark
//! itself is synced only at the start, with each new file and at a clean stop, so after a power
//! failure it may be older than the log: then it proves less, but it is never wrong. It may also have parts of two
//! records, if it was being written to the disk: then it is damaged, proves nothing, and is written again.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::error::LogError;
use super::files::{LogDir, sync_dir};
use crate::data_file::DataFile;
use crate::gtid::Uuid;

const LEN: usize = 64;
const COVERED_LEN: usize = LEN - 4;
const MAGIC: [u8; 4] = *b"BRDM";
const VERSION: u16 = 1;
/// How often a damaged mark is read before it is reported: `verify` may read it while a running
/// relay overwrites it.
const READ_ATTEMPTS: u32 = 3;
/// The pause between these attempts.
const READ_PAUSE: Duration = Duration::from_millis(2);

/// How much of the newest log file and its index is known to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durable {
    /// The relay log's identity, see [`super::index_record::IndexHeader::log_id`].
    pub(super) log_id: Uuid,
    /// The log file's number.
    pub(super) file: u64,
    /// Bytes of that file that are on disk.
    pub(super) log: u64,
    /// Records of its index that are on disk, the header included.
    pub(super) records: u32,
}

impl Durable {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let zeros = [0; 16];
        let parts: [&[u8]; 8] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &[0, 0],
            &self.log_id.0,
            &self.file.to_le_bytes(),
            &self.log.to_le_bytes(),
            &self.records.to_le_bytes(),
            &zeros,
        ];
        for (slot, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *slot = *byte;
        }
        let (covered, checksum) = bytes.split_at_mut(COVERED_LEN);
        checksum.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
        bytes
    }

    /// The record's version and content; `None` if it is damaged.
    fn decode(bytes: &[u8]) -> Option<(u16, Self)> {
        let (covered, checksum) = bytes.split_last_chunk::<4>()?;
        let is_whole = covered.len() == COVERED_LEN
            && crc32fast::hash(covered) == u32::from_le_bytes(*checksum);
        let (magic, rest) = covered.split_first_chunk::<4>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        if !is_whole || *magic != MAGIC {
            return None;
        }
        let (_, rest) = rest.split_first_chunk::<2>()?;
        let (log_id, rest) = rest.split_first_chunk::<16>()?;
        let (file, rest) = rest.split_first_chunk::<8>()?;
        let (log, rest) = rest.split_first_chunk::<8>()?;
        let (records, _) = rest.split_first_chunk::<4>()?;
        let durable = Self {
            log_id: Uuid(*log_id),
            file: u64::from_le_bytes(*file),
            log: u64::from_le_bytes(*log),
            records: u32::from_le_bytes(*records),
        };
        Some((u16::from_le_bytes(*version), durable))
    }

    /// Reads the mark of a log.
    ///
    /// # Errors
    /// When it cannot be read, or has another version.
    pub(super) fn read(log_dir: &LogDir) -> Result<FoundMark, LogError> {
        let found = |durable| FoundMark {
            durable,
            damage: None,
            is_missing: false,
        };
        let path = log_dir.durable_path();
        let mut attempts_left = READ_ATTEMPTS;
        loop {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let is_missing = true;
                    return Ok(FoundMark {
                        is_missing,
                        ..found(None)
                    });
                }
                Err(cause) => return Err(LogError::io("read", &path, cause)),
            };
            // Created, but not written before a crash. After a power failure the file can have its
            // length without its bytes.
            if bytes.iter().all(|byte| *byte == 0) {
                return Ok(found(None));
            }
            match Self::decode(&bytes) {
                Some((VERSION, durable)) => return Ok(found(Some(durable))),
                Some((version, _)) => {
                    return Err(LogError::DurableMark {
                        path,
                        found: format!("version {version}"),
                        expected: format!("version {VERSION}"),
                    });
                }
                None => {}
            }
            attempts_left -= 1;
            if attempts_left == 0 {
                let damage = format!(
                    "{}: {} bytes that are not a record of this format: it is damaged, or was being written when \
                     the machine stopped; it is not used",
                    path.display(),
                    bytes.len()
                );
                return Ok(FoundMark {
                    durable: None,
                    damage: Some(damage),
                    is_missing: false,
                });
            }
            std::thread::sleep(READ_PAUSE);
        }
    }
}

/// What is in the file.
#[derive(Debug)]
pub(super) struct FoundMark {
    /// `None` if the file is missing, was never written, or is damaged.
    pub(super) durable: Option<Durable>,
    /// If it is damaged: a message.
    pub(super) damage: Option<String>,
    /// There is no such file.
    pub(super) is_missing: bool,
}

/// The file, open for overwriting.
#[derive(Debug)]
pub(super) struct DurableMark {
    path: PathBuf,
    file: DataFile,
}

impl DurableMark {
    /// Opens the file, which is created if it is missing.
    pub(super) fn open(log_dir: &LogDir) -> Result<Self, LogError> {
        let path = log_dir.durable_path();
        let file = DataFile::open_or_create(&path, 0o640)
            .map_err(|cause| LogError::io("create", &path, cause))?;
        sync_dir(&log_dir.dir)?;
        Ok(Self { path, file })
    }

    /// Overwrites the record.
    pub(super) fn write(&self, durable: &Durable) -> Result<(), LogError> {
        self.file
            .write_all_at(&durable.encode(), 0)
            .map_err(|cause| LogError::io("write", &self.path, cause))
    }

    /// Removes the record, so that the mark proves nothing, and makes that durable.
    pub(super) fn empty(&self) -> Result<(), LogError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.sync_all());
        emptied.map_err(|cause| LogError::io("truncate", &self.path, cause))
    }

    /// Makes the written record durable.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file
            .sync_data()
            .map_err(|cause| LogError::io("sync", &self.path, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_round_trips_and_every_flipped_bit_is_found() {
        let durable = Durable {
            log_id: Uuid([7; 16]),
            file: 3,
            log: 1 << 31,
            records: 99,
        };
        let bytes = durable.encode();
        assert_eq!(Durable::decode(&bytes), Some((VERSION, durable)));
        for bit in 0..LEN * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Durable::decode(&damaged), None, "bit {bit}");
        }
        for len in 0..LEN {
            assert_eq!(Durable::decode(&bytes[..len]), None, "{len} bytes");
        }
    }
}
