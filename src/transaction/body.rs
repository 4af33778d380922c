//! Where a transaction's bytes are gathered: memory, and from a set size on, a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::binlog::rows;

/// Bytes gathered before they are written to a spill file.
const WRITE_BUFFER_LEN: usize = 256 * 1024;
/// How far into an event its flags may lie, for setting STMT_END_F.
const ROWS_HEAD_LEN: usize = 27;

static NEXT_SPILL: AtomicU64 = AtomicU64::new(1);

/// A file in `data_dir/spool` that holds the events of one large transaction, the opener left
/// out. It is removed when the last owner drops it.
#[derive(Debug, Clone)]
pub struct SpillFile {
    inner: Arc<SpillInner>,
    len: u64,
}

#[derive(Debug)]
struct SpillInner {
    file: File,
    path: PathBuf,
}

impl Drop for SpillInner {
    fn drop(&mut self) {
        // A file that stays behind is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl SpillFile {
    /// How many bytes it holds.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads exactly `buffer.len()` bytes from `offset`.
    ///
    /// # Errors
    /// What reading the file gives.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.file.read_exact_at(buffer, offset)
    }
}

/// A spill file that is being written.
#[derive(Debug)]
struct Spilling {
    file: SpillFile,
    unwritten: Vec<u8>,
}

impl Spilling {
    fn create(dir: &Path) -> io::Result<Self> {
        let number = NEXT_SPILL.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("transaction-{number:06}"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let file = SpillFile {
            inner: Arc::new(SpillInner { file, path }),
            len: 0,
        };
        Ok(Self {
            file,
            unwritten: Vec::with_capacity(WRITE_BUFFER_LEN),
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.len += bytes.len() as u64;
        if self.unwritten.len() + bytes.len() <= WRITE_BUFFER_LEN {
            self.unwritten.extend_from_slice(bytes);
            return Ok(());
        }
        let start = self.file.len - bytes.len() as u64;
        self.flush_up_to(start)?;
        self.inner_file().write_all_at(bytes, start)
    }

    fn inner_file(&self) -> &File {
        &self.file.inner.file
    }

    /// Writes what is gathered, which ends at `end`.
    fn flush_up_to(&mut self, end: u64) -> io::Result<()> {
        let start = end - self.unwritten.len() as u64;
        self.inner_file().write_all_at(&self.unwritten, start)?;
        self.unwritten.clear();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.flush_up_to(self.file.len)?;
        self.inner_file().set_len(len)?;
        self.file.len = len;
        Ok(())
    }

    fn patch(&mut self, offset: u64, edit: fn(&mut [u8])) -> io::Result<()> {
        self.flush_up_to(self.file.len)?;
        let mut head = [0; ROWS_HEAD_LEN];
        self.inner_file().read_exact_at(&mut head, offset)?;
        edit(&mut head);
        self.inner_file().write_all_at(&head, offset)
    }
}

/// The open transaction's events after the opener, taken out of [`Body`] to be looked through.
#[derive(Debug)]
pub(super) enum TakenBytes {
    Memory(Vec<u8>),
    Spilled(SpillFile),
}

impl TakenBytes {
    /// How many bytes there are.
    pub(super) fn len(&self) -> u64 {
        match self {
            TakenBytes::Memory(bytes) => bytes.len() as u64,
            TakenBytes::Spilled(file) => file.len(),
        }
    }

    /// Reads from `start` to `end`, both offsets into these bytes.
    pub(super) fn read_from(&self, start: u64, end: u64) -> TakenReader<'_> {
        TakenReader {
            bytes: self,
            offset: start,
            end: end.min(self.len()),
        }
    }
}

/// Reads a part of [`TakenBytes`].
#[derive(Debug)]
pub(super) struct TakenReader<'a> {
    bytes: &'a TakenBytes,
    offset: u64,
    end: u64,
}

impl io::Read for TakenReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let slot = buffer.get_mut(..count).unwrap_or(&mut []);
        match self.bytes {
            TakenBytes::Memory(bytes) => {
                let from = self.offset as usize;
                slot.copy_from_slice(bytes.get(from..from + count).unwrap_or(&[]));
            }
            TakenBytes::Spilled(file) => file.read_exact_at(slot, self.offset)?,
        }
        self.offset += count as u64;
        Ok(count)
    }
}

/// The bytes of the transactions that are being gathered: finished ones, and the open one.
#[derive(Debug)]
pub(super) struct Body {
    /// Finished transactions, then the open one's opener and its other events.
    memory: Vec<u8>,
    /// Where the open transaction begins in `memory`.
    start: usize,
    /// Bytes of the open transaction's opener, once it is there; 0 when it has none.
    opener_len: usize,
    opener_ended: bool,
    spilling: Option<Spilling>,
    spill_dir: PathBuf,
    spill_size: usize,
}

impl Body {
    pub(super) fn new(spill_dir: PathBuf, spill_size: usize) -> Self {
        let memory = Vec::new();
        Self {
            memory,
            start: 0,
            opener_len: 0,
            opener_ended: false,
            spilling: None,
            spill_dir,
            spill_size,
        }
    }

    /// Bytes of the open transaction so far.
    pub(super) fn len(&self) -> u64 {
        let spilled = self
            .spilling
            .as_ref()
            .map_or(0, |spilling| spilling.file.len);
        (self.memory.len() - self.start) as u64 + spilled
    }

    /// Bytes in memory, finished transactions included.
    pub(super) fn memory_len(&self) -> usize {
        self.memory.len()
    }

    /// Says that all bytes so far are the opener. It stays in memory, to be rewritten.
    pub(super) fn end_opener(&mut self) {
        self.opener_len = self.memory.len() - self.start;
        self.opener_ended = true;
    }

    /// Replaces the opener, the only event so far.
    pub(super) fn replace_opener(&mut self, opener: &[u8]) {
        self.memory.truncate(self.start);
        self.memory.extend_from_slice(opener);
        self.end_opener();
    }

    pub(super) fn opener(&self) -> &[u8] {
        self.memory
            .get(self.start..self.start + self.opener_len)
            .unwrap_or(&[])
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(spilling) = &mut self.spilling {
            return spilling.append(bytes);
        }
        let open_len = self.memory.len() - self.start;
        if self.opener_ended && open_len + bytes.len() > self.spill_size {
            let mut spilling = Spilling::create(&self.spill_dir)?;
            let rest_start = self.start + self.opener_len;
            spilling.append(self.memory.get(rest_start..).unwrap_or(&[]))?;
            spilling.append(bytes)?;
            self.memory.truncate(rest_start);
            self.spilling = Some(spilling);
            return Ok(());
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes back everything from `offset` (into the open transaction) on.
    pub(super) fn truncate(&mut self, offset: u64) -> io::Result<()> {
        match &mut self.spilling {
            Some(spilling) => spilling.truncate(offset.saturating_sub(self.opener_len as u64)),
            None => {
                self.memory.truncate(self.start + offset as usize);
                Ok(())
            }
        }
    }

    /// Takes out all events behind the opener.
    pub(super) fn take_rest(&mut self) -> io::Result<TakenBytes> {
        match self.spilling.take() {
            Some(mut spilling) => {
                spilling.flush_up_to(spilling.file.len)?;
                Ok(TakenBytes::Spilled(spilling.file))
            }
            None => {
                let rest = self.memory.split_off(self.start + self.opener_len);
                Ok(TakenBytes::Memory(rest))
            }
        }
    }

    /// Puts back what was taken out, when nothing was appended since.
    pub(super) fn put_back(&mut self, taken: TakenBytes) {
        match taken {
            TakenBytes::Memory(bytes) => self.memory.extend_from_slice(&bytes),
            TakenBytes::Spilled(file) => {
                let unwritten = Vec::new();
                self.spilling = Some(Spilling { file, unwritten });
            }
        }
    }

    /// Sets STMT_END_F in the rows event at `offset` (into the open transaction).
    pub(super) fn end_statement_at(&mut self, offset: u64) -> io::Result<()> {
        match &mut self.spilling {
            Some(spilling) => {
                let in_file = offset.saturating_sub(self.opener_len as u64);
                spilling.patch(in_file, rows::set_statement_end)
            }
            None => {
                if let Some(event) = self.memory.get_mut(self.start + offset as usize..) {
                    rows::set_statement_end(event);
                }
                Ok(())
            }
        }
    }

    /// Ends the open transaction: where its opener and its other events stand, and the file.
    pub(super) fn finish(&mut self) -> io::Result<(usize, usize, usize, Option<SpillFile>)> {
        let opener_end = self.start + self.opener_len;
        let spill = match self.spilling.take() {
            Some(mut spilling) => {
                spilling.flush_up_to(spilling.file.len)?;
                Some(spilling.file)
            }
            None => None,
        };
        let range = (self.start, opener_end, self.memory.len(), spill);
        self.start = self.memory.len();
        self.opener_len = 0;
        self.opener_ended = false;
        Ok(range)
    }

    /// Drops the open transaction.
    pub(super) fn abandon(&mut self) {
        self.memory.truncate(self.start);
        self.opener_len = 0;
        self.opener_ended = false;
        self.spilling = None;
    }

    /// Takes the finished transactions' bytes; the open one stays, at the start of `empty`.
    pub(super) fn take_finished(&mut self, mut empty: Vec<u8>) -> Vec<u8> {
        empty.clear();
        empty.extend_from_slice(self.memory.get(self.start..).unwrap_or(&[]));
        self.memory.truncate(self.start);
        self.start = 0;
        std::mem::replace(&mut self.memory, empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(spill_size: usize) -> (tempfile::TempDir, Body) {
        let dir = tempfile::tempdir().unwrap();
        let body = Body::new(dir.path().to_owned(), spill_size);
        (dir, body)
    }

    fn whole(body: &mut Body) -> Vec<u8> {
        let (start, _, end, spill) = body.finish().unwrap();
        let mut bytes = body.memory[start..end].to_vec();
        if let Some(spill) = spill {
            let mut rest = vec![0; spill.len() as usize];
            spill.read_exact_at(&mut rest, 0).unwrap();
            bytes.extend(rest);
        }
        bytes
    }

    /// The same calls give the same bytes in memory and in a file.
    #[test]
    fn memory_and_file_agree() {
        for spill_size in [30, 60, 1000, 400_000, usize::MAX] {
            let (_dir, mut body) = body(spill_size);
            body.append(&[1; 20]).unwrap();
            body.end_opener();
            let mut model = vec![1; 20];
            for (byte, count) in [(2, 100), (3, 300_000), (4, 7), (5, 300_000), (6, 50)] {
                let at = body.len();
                assert_eq!(at, model.len() as u64);
                let event = vec![byte; count];
                body.append(&event).unwrap();
                model.extend(&event);
                if count > 27 {
                    body.end_statement_at(at).unwrap();
                    rows::set_statement_end(&mut model[at as usize..]);
                }
                if byte == 4 {
                    body.truncate(at).unwrap();
                    model.truncate(at as usize);
                }
            }
            assert_eq!(whole(&mut body), model, "spill size {spill_size}");
        }
    }

    /// What is taken out reads as it was gathered, and is there again when it is put back.
    #[test]
    fn the_rest_can_be_taken_out_and_put_back() {
        for spill_size in [30, 1000] {
            let (_dir, mut body) = body(spill_size);
            body.append(&[1; 20]).unwrap();
            body.finish().unwrap();
            body.append(&[2; 20]).unwrap();
            body.end_opener();
            body.append(&[3; 40]).unwrap();
            body.append(&[4; 40]).unwrap();
            let taken = body.take_rest().unwrap();
            assert_eq!((body.len(), taken.len()), (20, 80));
            let mut read = Vec::new();
            io::Read::read_to_end(&mut taken.read_from(39, 42), &mut read).unwrap();
            assert_eq!(read, [3, 4, 4]);
            body.put_back(taken);
            body.append(&[5; 1]).unwrap();
            let expected = [&[2; 20][..], &[3; 40], &[4; 40], &[5]].concat();
            assert_eq!(whole(&mut body), expected, "spill size {spill_size}");
        }
    }

    #[test]
    fn a_transaction_without_opener_goes_to_a_file_too() {
        let (dir, mut body) = body(10);
        body.end_opener();
        body.append(&[2; 20]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(whole(&mut body), [2; 20]);
    }

    #[test]
    fn spill_files_go_with_their_transaction() {
        let (dir, mut body) = body(10);
        body.append(&[1; 20]).unwrap();
        body.end_opener();
        body.append(&[2; 20]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        body.abandon();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(body.len(), 0);
    }

    #[test]
    fn the_open_transaction_stays_when_the_finished_ones_leave() {
        let (_dir, mut body) = body(1000);
        body.append(&[1; 20]).unwrap();
        body.finish().unwrap();
        body.append(&[2; 5]).unwrap();
        assert_eq!(body.take_finished(Vec::new()), [1; 20]);
        assert_eq!(body.len(), 5);
        assert_eq!(whole(&mut body), [2; 5]);
    }
}
