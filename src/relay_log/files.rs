//! The relay log's files and their list, `relay-bin.index`, as mysqld keeps it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::LogError;
use crate::{atomic_file, data_file};

/// The list holds only names, but no other user needs it.
const LIST_MODE: u32 = 0o640;

/// Where the files of one relay log are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// `data_dir`.
    pub dir: PathBuf,
    /// The part of the file names before the dot: `relay-bin`.
    pub basename: String,
}

impl LogDir {
    /// The log file's name with this number, without directory: `relay-bin.000001`.
    pub fn file_name(&self, number: u64) -> String {
        format!("{}.{number:06}", self.basename)
    }

    /// The number in a log file's name; `None` when it is not a name of this log.
    pub fn file_number(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.basename)?.strip_prefix('.')?;
        let number = u64::from(digits.parse::<u32>().ok()?);
        (self.file_name(number) == name).then_some(number)
    }

    /// The numbers of the files in the directory that are not in `list` and not older than it.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn unlisted(&self, list: &[u64]) -> Result<Vec<u64>, LogError> {
        let io = |cause| LogError::io("read", &self.dir, cause);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let number = name.to_str().and_then(|name| self.file_number(name));
            numbers.extend(number.filter(|number| list.last().is_none_or(|last| last < number)));
        }
        Ok(numbers)
    }

    /// The log file's path.
    pub fn log_path(&self, number: u64) -> PathBuf {
        self.dir.join(self.file_name(number))
    }

    /// The path of the commit index beside the log file.
    pub fn index_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{}.idx", self.file_name(number)))
    }

    /// The path of the file that lists the log files.
    pub fn list_path(&self) -> PathBuf {
        self.dir.join(format!("{}.index", self.basename))
    }

    /// The path of the durable mark, see `durable_mark`.
    pub fn durable_path(&self) -> PathBuf {
        self.dir.join(format!("{}.durable", self.basename))
    }

    /// The path of the known replicas, see [`super::retention::known_replicas`].
    pub fn replicas_path(&self) -> PathBuf {
        self.dir.join(format!("{}.replicas", self.basename))
    }

    /// The path of the times of removed transactions, see [`super::removed_until`].
    pub fn removed_path(&self) -> PathBuf {
        self.dir.join(format!("{}.removed", self.basename))
    }

    /// The path of the reserve, see `reserve`.
    pub fn reserve_path(&self) -> PathBuf {
        self.dir.join(format!("{}.reserve", self.basename))
    }

    /// The directory of large transactions being assembled.
    pub fn spool_path(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// The numbers of the log files, in order; empty when there is no list yet.
    ///
    /// # Errors
    /// When the list cannot be read, a line is not a file name of this log, or the numbers are not
    /// consecutive.
    pub fn read_list(&self) -> Result<Vec<u64>, LogError> {
        let path = self.list_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(LogError::io("read", &path, cause)),
        };
        let mut numbers = Vec::new();
        for (line, entry) in text.lines().enumerate() {
            let name = entry.strip_prefix("./").unwrap_or(entry);
            let number = self
                .file_number(name)
                .filter(|number| numbers.last().is_none_or(|last| last + 1 == *number));
            let Some(number) = number else {
                let expected = match numbers.last() {
                    Some(last) => self.file_name(last + 1),
                    None => format!("{}.NNNNNN", self.basename),
                };
                return Err(LogError::List {
                    path,
                    line: line + 1,
                    found: entry.chars().take(80).collect(),
                    expected,
                });
            };
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Replaces the list in one step, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_list(&self, numbers: &[u64]) -> Result<(), LogError> {
        let text: String = numbers
            .iter()
            .map(|number| format!("./{}\n", self.file_name(*number)))
            .collect();
        atomic_file::replace(&self.list_path(), text.as_bytes(), LIST_MODE).map_err(|error| {
            LogError::Io {
                action: error.operation,
                path: error.path,
                cause: error.cause,
            }
        })
    }
}

/// Makes the creation and renaming of files in `dir` durable.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> Result<(), LogError> {
    data_file::sync_dir(dir).map_err(|cause| LogError::io("sync", dir, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_dir(dir: &Path) -> LogDir {
        LogDir {
            dir: dir.to_owned(),
            basename: "relay-bin".to_owned(),
        }
    }

    #[test]
    fn names_and_numbers_of_log_files_agree() {
        let log = log_dir(Path::new("/x"));
        assert_eq!(log.file_name(7), "relay-bin.000007");
        assert_eq!(log.file_number("relay-bin.000007"), Some(7));
        assert_eq!(log.file_number("relay-bin.1234567"), Some(1_234_567));
        for other in [
            "relay-bin.7",
            "relay-bin.",
            "relay-bin.000007.idx",
            "mysql-bin.000007",
            "",
        ] {
            assert_eq!(log.file_number(other), None, "{other}");
        }
    }

    #[test]
    fn list_round_trips_and_foreign_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let log = log_dir(dir.path());
        assert_eq!(log.read_list().unwrap(), Vec::<u64>::new());
        log.write_list(&[3, 4, 5]).unwrap();
        assert_eq!(log.read_list().unwrap(), [3, 4, 5]);
        for bad in [
            "./relay-bin.000001\n./relay-bin.000003\n",
            "../../etc/passwd\n",
            "\n",
        ] {
            fs::write(log.list_path(), bad).unwrap();
            assert!(
                log.read_list().unwrap_err().to_string().contains("line"),
                "{bad:?}"
            );
        }
    }
}
