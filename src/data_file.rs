//! Operations that change files in the data directory: creation, writing, syncing, truncation, renaming
//! and removal.
//!
//! All of them are here, so that tests can record them, compute every state that a crash could leave, and
//! let each of them fail (`recorder`, in tests only). Whoever creates or truncates a file refuses a symbolic
//! link instead of following it: someone else may have put it there.

#[cfg(test)]
pub(crate) mod crash_states;
#[cfg(test)]
pub(crate) mod recorder;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The flag for `custom_flags` with which a symbolic link is refused.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// A file of the data directory, open for reading and writing.
#[derive(Debug)]
pub struct DataFile {
    file: File,
    #[cfg(test)]
    watched: recorder::Watched,
}

impl DataFile {
    /// Creates a file with the permission bits `mode`, or truncates the one that exists.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        Self::open_with(Self::creating(mode).create(true).truncate(true), path)
    }

    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create_new(path: &Path, mode: u32) -> io::Result<Self> {
        Self::open_with(Self::creating(mode).create_new(true), path)
    }

    /// Opens a file, which is created if it is missing. Its bytes are kept.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open_or_create(path: &Path, mode: u32) -> io::Result<Self> {
        Self::open_with(Self::creating(mode).create(true), path)
    }

    /// Opens a file that exists.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(&mut OpenOptions::new(), path)
    }

    fn creating(mode: u32) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.mode(mode).custom_flags(NO_FOLLOW);
        options
    }

    fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<Self> {
        options.read(true).write(true);
        #[cfg(test)]
        recorder::may_open(path)?;
        let file = options.open(path)?;
        Ok(Self {
            #[cfg(test)]
            watched: recorder::opened(path, &file)?,
            file,
        })
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The operating system's. Then any part of the bytes may have been written.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        self.watched.may_write(&self.file, bytes, offset)?;
        self.file.write_all_at(bytes, offset)?;
        #[cfg(test)]
        self.watched.wrote(bytes, offset);
        Ok(())
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// The operating system's, or that the file ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// The length of the file in bytes.
    ///
    /// # Errors
    /// The operating system's.
    pub fn file_len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Truncates the file, or extends it with zeros.
    ///
    /// # Errors
    /// The operating system's.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.watched.may_call()?;
        self.file.set_len(len)?;
        #[cfg(test)]
        self.watched.set_len(len);
        Ok(())
    }

    /// Sets the permission bits, whatever the process's umask.
    ///
    /// # Errors
    /// The operating system's.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        #[cfg(test)]
        self.watched.may_call()?;
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Makes what was written before the call durable, with the length, without times.
    ///
    /// # Errors
    /// The operating system's. Then the state of the file on disk is unknown.
    pub fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        let sync = self.watched.may_sync()?;
        self.file.sync_data()?;
        #[cfg(test)]
        self.watched.synced(sync);
        Ok(())
    }

    /// As [`DataFile::sync_data`], with times and permissions.
    ///
    /// # Errors
    /// As [`DataFile::sync_data`].
    pub fn sync_all(&self) -> io::Result<()> {
        #[cfg(test)]
        let sync = self.watched.may_sync()?;
        self.file.sync_all()?;
        #[cfg(test)]
        self.watched.synced(sync);
        Ok(())
    }
}

impl AsFd for DataFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A file outside of the data directory, for tests of failing writes.
#[cfg(test)]
impl From<File> for DataFile {
    fn from(file: File) -> Self {
        let watched = recorder::Watched::default();
        Self { file, watched }
    }
}

/// Opens a file for reading.
///
/// # Errors
/// The operating system's.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    recorder::may_open(path)?;
    File::open(path)
}

/// Renames a file, and replaces the one that has the new name.
///
/// # Errors
/// The operating system's.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    recorder::may_change(to)?;
    fs::rename(from, to)?;
    #[cfg(test)]
    recorder::renamed(from, to);
    Ok(())
}

/// Removes a file.
///
/// # Errors
/// The operating system's.
pub fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    recorder::may_change(path)?;
    fs::remove_file(path)?;
    #[cfg(test)]
    recorder::removed(path);
    Ok(())
}

/// Creates a directory with the permission bits `mode`, and those above it, if it is missing.
///
/// # Errors
/// The operating system's.
pub fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(test)]
    recorder::may_change(path)?;
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes the creation, renaming and removal of files in `dir` durable.
///
/// # Errors
/// The operating system's.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(test)]
    let sync = recorder::may_sync_dir(dir)?;
    File::open(dir)?.sync_all()?;
    #[cfg(test)]
    recorder::synced_dir(dir, sync);
    Ok(())
}
