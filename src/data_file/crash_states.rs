//! Computes the states that a crash after some of the recorded operations can leave. In tests only.
//!
//! What was synced is there. Of everything else, each change may be there or not, whatever the order: a write
//! may be there in part, or the file may have the write's length and zeros instead of its bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::recorder::{Operation, Recorder, Step};

/// The files of a directory, by their paths below it.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What became of a change that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Lost,
    /// Only the first bytes of a write are there.
    First(usize),
    /// Only what follows the first bytes.
    After(usize),
    /// The file has the length, but not the bytes.
    Zeros,
}

#[derive(Debug, Clone)]
enum Change {
    Write {
        offset: usize,
        bytes: Vec<u8>,
    },
    SetLen(usize),
    Link {
        path: PathBuf,
        inode: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: usize,
    },
    Unlink {
        path: PathBuf,
    },
}

/// A change, with its number among all.
type Numbered = (usize, Change);

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Numbered>,
    /// The length now, everything done.
    len: usize,
}

/// What is on the disk, and what the operating system has not written yet.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    durable: BTreeMap<PathBuf, usize>,
    pending: Vec<Numbered>,
    /// The directory now, everything done.
    current: BTreeMap<PathBuf, usize>,
    /// By the number of an opening: its inode.
    opened: HashMap<u64, usize>,
    /// By the number of a sync: its inode, if it is not the directory's; and the number of the first change that it
    /// does not cover.
    syncs: HashMap<u64, (Option<usize>, usize)>,
    changes: usize,
}

impl Disk {
    /// Takes the next step.
    pub(crate) fn apply(&mut self, step: &Step) {
        match step.operation.clone() {
            Operation::Opened { file, path, len } => self.open(file, path, len as usize),
            Operation::Wrote {
                file,
                offset,
                bytes,
            } => {
                let offset = offset as usize;
                let len = offset + bytes.len();
                self.change(file, Change::Write { offset, bytes }, |now| now.max(len));
            }
            Operation::SetLen { file, len } => {
                let len = len as usize;
                self.change(file, Change::SetLen(len), |_| len);
            }
            Operation::SyncBegan { sync, file } => {
                self.syncs
                    .insert(sync, (Some(self.opened[&file]), self.changes));
            }
            Operation::DirSyncBegan { sync } => {
                self.syncs.insert(sync, (None, self.changes));
            }
            Operation::Synced { sync } => self.sync(sync),
            Operation::Renamed { from, to } => {
                let inode = self.current.remove(&from).expect("a renamed file exists");
                self.current.insert(to.clone(), inode);
                self.change_directory(Change::Rename { from, to, inode });
            }
            Operation::Removed { path } => {
                self.current.remove(&path);
                self.change_directory(Change::Unlink { path });
            }
        }
    }

    fn open(&mut self, file: u64, path: PathBuf, len: usize) {
        if let Some(inode) = self.current.get(&path).copied() {
            self.opened.insert(file, inode);
            if len < self.inodes[inode].len {
                self.change(file, Change::SetLen(len), |_| len);
            }
            return;
        }
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.opened.insert(file, inode);
        self.current.insert(path.clone(), inode);
        self.change_directory(Change::Link { path, inode });
    }

    fn change(&mut self, file: u64, change: Change, len: impl FnOnce(usize) -> usize) {
        let inode = &mut self.inodes[self.opened[&file]];
        inode.len = len(inode.len);
        inode.pending.push((self.changes, change));
        self.changes += 1;
    }

    fn change_directory(&mut self, change: Change) {
        self.pending.push((self.changes, change));
        self.changes += 1;
    }

    fn sync(&mut self, sync: u64) {
        let (inode, end) = self.syncs.remove(&sync).expect("a sync that began");
        match inode {
            None => {
                let covered = self.pending.partition_point(|(number, _)| *number < end);
                for (_, change) in self.pending.drain(..covered) {
                    change_names(&mut self.durable, &change);
                }
            }
            Some(inode) => {
                let Inode {
                    durable, pending, ..
                } = &mut self.inodes[inode];
                let covered = pending.partition_point(|(number, _)| *number < end);
                for (_, change) in pending.drain(..covered) {
                    change_bytes(durable, &change, Fate::Done);
                }
            }
        }
    }

    /// The changes that are not on disk: their numbers, and of a write its length.
    pub(crate) fn pending(&self) -> Vec<(usize, Option<usize>)> {
        let of_files = self.inodes.iter().flat_map(|inode| &inode.pending);
        let all = self.pending.iter().chain(of_files);
        let mut found: Vec<_> = all
            .map(|(number, change)| match change {
                Change::Write { bytes, .. } => (*number, Some(bytes.len())),
                _ => (*number, None),
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// The files after a crash, depending on how each pending change ended.
    pub(crate) fn state(&self, fate: &dyn Fn(usize) -> Fate) -> Files {
        let mut names = self.durable.clone();
        for (number, change) in &self.pending {
            if fate(*number) != Fate::Lost {
                change_names(&mut names, change);
            }
        }
        let content = |inode: usize| {
            let Inode {
                durable, pending, ..
            } = &self.inodes[inode];
            let mut bytes = durable.clone();
            for (number, change) in pending {
                change_bytes(&mut bytes, change, fate(*number));
            }
            bytes
        };
        names
            .into_iter()
            .map(|(path, inode)| (path, content(inode)))
            .collect()
    }
}

fn change_names(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Link { path, inode } => {
            names.insert(path.clone(), *inode);
        }
        Change::Rename { from, to, inode } => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        Change::Unlink { path } => {
            names.remove(path);
        }
        Change::Write { .. } | Change::SetLen(_) => unreachable!("not a change of names"),
    }
}

fn change_bytes(content: &mut Vec<u8>, change: &Change, fate: Fate) {
    let (offset, bytes) = match change {
        Change::SetLen(len) => {
            if fate != Fate::Lost {
                content.resize(*len, 0);
            }
            return;
        }
        Change::Write { offset, bytes } => (*offset, bytes),
        _ => unreachable!("a change of names"),
    };
    let (from, to) = match fate {
        Fate::Lost => return,
        Fate::Done => (0, bytes.len()),
        Fate::First(len) => (0, len),
        Fate::After(len) => (len, bytes.len()),
        Fate::Zeros => (bytes.len(), bytes.len()),
    };
    if content.len() < offset + to {
        content.resize(offset + to, 0);
    }
    content[offset + from..offset + to].copy_from_slice(&bytes[from..to]);
}

/// How many states of each prefix are computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variety {
    /// Places at which the newest write is torn; all, if it has no more bytes.
    pub(crate) tears: usize,
    /// States with random fates.
    pub(crate) random: usize,
    /// Whether each pending change is once the only one that is there, and once the only one that is not.
    pub(crate) single: bool,
}

/// Pseudorandom numbers, the same for a seed everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// What became of the pending changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The first fate for one change, the second for all others.
    One(usize, Fate, Fate),
    /// By the change's number.
    Each(BTreeMap<usize, Fate>),
}

impl Crash {
    /// The files after the crash.
    pub(crate) fn files(&self, disk: &Disk) -> Files {
        disk.state(&|number| match self {
            Crash::One(one, fate, _) if *one == number => *fate,
            Crash::One(_, _, others) => *others,
            Crash::Each(fates) => fates.get(&number).copied().unwrap_or(Fate::Done),
        })
    }
}

/// Crashes after the applied steps. The first is the end of the process alone, with everything done.
pub(crate) fn crashes(disk: &Disk, variety: Variety, random: &mut Random) -> Vec<Crash> {
    let pending = disk.pending();
    let all = |fate| Crash::One(usize::MAX, fate, fate);
    let mut found = vec![all(Fate::Done), all(Fate::Lost)];
    if variety.single && pending.len() > 1 {
        for (one, _) in &pending {
            found.push(Crash::One(*one, Fate::Lost, Fate::Done));
            found.push(Crash::One(*one, Fate::Done, Fate::Lost));
        }
    }
    // Only the newest change: older ones were torn in the states before.
    if let Some((newest, Some(len))) = pending.last().copied() {
        for tear in 0..variety.tears.min(len) {
            let at = match variety.tears < len {
                true => random.below(len),
                false => tear,
            };
            for torn in [Fate::First(at), Fate::After(at), Fate::Zeros] {
                found.push(Crash::One(newest, torn, Fate::Done));
                found.push(Crash::One(newest, torn, Fate::Lost));
            }
        }
    }
    for _ in 0..variety.random {
        let fates = pending
            .iter()
            .map(|(number, len)| (*number, random_fate(*len, random)));
        found.push(Crash::Each(fates.collect()));
    }
    found
}

fn random_fate(len: Option<usize>, random: &mut Random) -> Fate {
    match (random.below(8), len) {
        (0..3, _) => Fate::Done,
        (3, Some(len)) => Fate::First(random.below(len + 1)),
        (4, Some(len)) => Fate::After(random.below(len + 1)),
        (5, Some(_)) => Fate::Zeros,
        _ => Fate::Lost,
    }
}

/// Records what `run` does in a directory, and calls `check` with every state that a crash could leave, and with
/// the number that `run` had promised before it. Returns the number of states.
pub(crate) fn check_all(run: impl FnOnce(&Path, &AtomicU64), check: impl Fn(&Path, u64)) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let (recorder, _attached) = Recorder::attach(dir.path());
    let promised = Arc::new(AtomicU64::new(0));
    let probed = promised.clone();
    recorder.set_probe(move || probed.load(Ordering::SeqCst));
    run(dir.path(), &promised);
    let (steps, at_end) = (recorder.steps(), recorder.promised());
    let (mut disk, mut random, mut count) = (Disk::default(), Random(1), 0);
    let variety = Variety {
        tears: 64,
        random: 8,
        single: true,
    };
    for (at, step) in steps.iter().enumerate() {
        disk.apply(step);
        let promised = steps.get(at + 1).map_or(at_end, |next| next.promised);
        for crash in crashes(&disk, variety, &mut random) {
            let dir = tempfile::tempdir().unwrap();
            write_to(&crash.files(&disk), dir.path());
            check(dir.path(), promised);
            count += 1;
        }
    }
    count
}

/// Creates the files below `dir`.
pub(crate) fn write_to(files: &Files, dir: &Path) {
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_file::{self, DataFile};

    fn text(files: &Files) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "0");
        let pairs = files.iter();
        pairs
            .map(|(path, bytes)| (path.display().to_string(), text(bytes)))
            .collect()
    }

    /// The state after the first `count` of the operations that `run` does.
    fn after(count: usize, fate: Fate, run: impl FnOnce(&Path)) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let (recorder, _attached) = Recorder::attach(dir.path());
        run(dir.path());
        let mut disk = Disk::default();
        recorder
            .steps()
            .iter()
            .take(count)
            .for_each(|step| disk.apply(step));
        text(&disk.state(&|_| fate))
    }

    fn replace(dir: &Path) {
        let (old, new) = (dir.join("a"), dir.join("a.new"));
        let file = DataFile::create_new(&new, 0o600).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        file.sync_data().unwrap();
        data_file::rename(&new, &old).unwrap();
        data_file::sync_dir(dir).unwrap();
    }

    fn named(name: &str, bytes: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), bytes.to_owned())]
    }

    #[test]
    fn what_was_not_synced_may_be_lost() {
        assert_eq!(after(2, Fate::Done, replace), named("a.new", "abc"));
        assert_eq!(after(2, Fate::Lost, replace), []);
        assert_eq!(after(2, Fate::First(2), replace), named("a.new", "ab"));
        assert_eq!(after(2, Fate::After(2), replace), named("a.new", "00c"));
        assert_eq!(after(2, Fate::Zeros, replace), named("a.new", "000"));
        // A sync that has only begun covers nothing; one that is done, the bytes.
        assert_eq!(after(3, Fate::Zeros, replace), named("a.new", "000"));
        assert_eq!(after(4, Fate::Zeros, replace), named("a.new", "abc"));
        assert_eq!(after(5, Fate::Done, replace), named("a", "abc"));
        assert_eq!(after(6, Fate::Lost, replace), []);
        assert_eq!(after(7, Fate::Lost, replace), named("a", "abc"));
    }

    #[test]
    fn sync_covers_only_what_was_written_before_it_began() {
        let dir = tempfile::tempdir().unwrap();
        let (recorder, _attached) = Recorder::attach(dir.path());
        let file = DataFile::create(&dir.path().join("a"), 0o600).unwrap();
        file.write_all_at(b"ab", 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(b"cd", 2).unwrap();
        data_file::sync_dir(dir.path()).unwrap();
        let mut steps = recorder.steps();
        // As if another thread had written meanwhile.
        steps.swap(3, 4);
        let mut disk = Disk::default();
        steps.iter().for_each(|step| disk.apply(step));
        assert_eq!(text(&disk.state(&|_| Fate::Lost)), named("a", "ab"));
        assert_eq!(disk.pending().len(), 1);
        let variety = Variety {
            tears: 9,
            random: 2,
            single: true,
        };
        assert_eq!(crashes(&disk, variety, &mut Random(1)).len(), 2 + 2 * 6 + 2);
    }

    #[test]
    fn truncated_and_removed_files_may_be_there_again() {
        let run = |dir: &Path| {
            replace(dir);
            DataFile::create(&dir.join("a"), 0o600).unwrap();
            data_file::remove(&dir.join("a")).unwrap();
        };
        assert_eq!(after(8, Fate::Done, run), named("a", ""));
        assert_eq!(after(8, Fate::Lost, run), named("a", "abc"));
        assert_eq!(after(10, Fate::Done, run), []);
        assert_eq!(after(10, Fate::Lost, run), named("a", "abc"));
    }
}
