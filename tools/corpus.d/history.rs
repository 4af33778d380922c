//! The collected binlogs: on disk `collection/SEGMENT/HISTORY/` with binlog files and a file `tests`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::events::{self, MAGIC, START_ENCRYPTION};

/// In the header's flags: the file was not closed.
const IN_USE: u8 = 1;

/// The histories of servers that began with the same fresh data directory.
pub struct Segment {
    pub histories: Vec<History>,
}

/// Binlog files that follow each other, from a `RESET MASTER` to the next.
pub struct History {
    pub directory: PathBuf,
    /// File names, in order.
    pub files: Vec<String>,
    /// The tests that wrote into them, as `suite.name`.
    pub tests: BTreeSet<String>,
}

/// What a look at the files of a history tells.
#[derive(Default)]
pub struct Contents {
    pub transactions: u64,
    pub encrypted: bool,
    /// Whether a GTID is not above those of the same server and domain before it.
    pub goes_back: bool,
}

impl Segment {
    pub fn load(directory: &Path) -> Segment {
        let histories = sorted_directories(directory).into_iter().map(History::load);
        Segment {
            histories: histories.collect(),
        }
    }
}

impl History {
    fn load(directory: PathBuf) -> History {
        let mut files: Vec<String> = std::fs::read_dir(&directory)
            .expect("a history can be listed")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name != "tests")
            .collect();
        files.sort();
        let tests = std::fs::read_to_string(directory.join("tests")).unwrap_or_default();
        History {
            directory,
            files,
            tests: tests.lines().map(str::to_owned).collect(),
        }
    }

    /// `SEGMENT/HISTORY`.
    pub fn name(&self) -> String {
        let parts: Vec<_> = self.directory.iter().rev().take(2).collect();
        let parts = parts.iter().rev().map(|part| part.to_string_lossy());
        parts.collect::<Vec<_>>().join("/")
    }

    /// The part of the file names before the dot.
    pub fn basename(&self) -> &str {
        let first = self.files.first().map_or("", String::as_str);
        first.rsplit_once('.').map_or(first, |(base, _)| base)
    }

    pub fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        let mut highest: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for name in &self.files {
            let bytes = std::fs::read(self.directory.join(name)).unwrap_or_default();
            for event in events::raw(&bytes) {
                if let Some((origin, number)) = events::gtid(event) {
                    contents.transactions += 1;
                    let before = highest.insert(origin, number);
                    contents.goes_back |= before.is_some_and(|before| before >= number);
                }
                if event[4] == START_ENCRYPTION {
                    contents.encrypted = true;
                    return contents;
                }
            }
        }
        contents
    }

    /// Copies the files into a server's data directory, as if that server had written and closed them.
    pub fn install(&self, data: &Path) {
        let mut index = String::new();
        for name in &self.files {
            let mut bytes =
                std::fs::read(self.directory.join(name)).expect("a binlog file is read");
            // With the flag set the server would take its own start for one after a crash.
            if let Some(flags) = bytes.get_mut(MAGIC.len() + 17) {
                *flags &= !IN_USE;
            }
            std::fs::write(data.join(name), bytes).expect("a binlog file is written");
            index.push_str(&format!("./{name}\n"));
        }
        let index_file = format!("{}.index", self.basename());
        std::fs::write(data.join(index_file), index).expect("the binlog index is written");
    }
}

/// The directories in a directory, in the order of their names.
pub fn sorted_directories(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}
