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
//! failure it may be older than the log: then it proves less, but it is never wrong.

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

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, checksum) = bytes.split_last_chunk::<4>()?;
        let is_whole = covered.len() == COVERED_LEN
            && crc32fast::hash(covered) == u32::from_le_bytes(*checksum);
        let (magic, rest) = covered.split_first_chunk::<4>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        if !is_whole || *magic != MAGIC || u16::from_le_bytes(*version) != VERSION {
            return None;
        }
        let (_, rest) = rest.split_first_chunk::<2>()?;
        let (log_id, rest) = rest.split_first_chunk::<16>()?;
        let (file, rest) = rest.split_first_chunk::<8>()?;
        let (log, rest) = rest.split_first_chunk::<8>()?;
        let (records, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            log_id: Uuid(*log_id),
            file: u64::from_le_bytes(*file),
            log: u64::from_le_bytes(*log),
            records: u32::from_le_bytes(*records),
        })
    }

    /// Reads the mark of a log; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub(super) fn read(log_dir: &LogDir) -> Result<Option<Self>, LogError> {
        let path = log_dir.durable_path();
        let mut attempts_left = READ_ATTEMPTS;
        loop {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(cause) => return Err(LogError::io("read", &path, cause)),
            };
            // Created, but not written before a crash. After a power failure the file can have its
            // length without its bytes.
            if bytes.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            if let Some(durable) = Self::decode(&bytes) {
                return Ok(Some(durable));
            }
            attempts_left -= 1;
            if attempts_left == 0 {
                return Err(LogError::DurableMark {
                    path,
                    found: format!("{} bytes that are not a record of this format", bytes.len()),
                    expected: "a record of 64 bytes with its checksum".to_owned(),
                });
            }
            std::thread::sleep(READ_PAUSE);
        }
    }
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
        assert_eq!(Durable::decode(&bytes), Some(durable));
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
