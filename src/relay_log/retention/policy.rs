//! The decision which files are removed.

use std::time::SystemTime;

/// A log file with its commit index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Its number.
    pub number: u64,
    /// Bytes of both.
    pub len: u64,
    /// When the log file was last written.
    pub modified: SystemTime,
}

/// What needs a file and those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeedKind {
    /// It is connected.
    Reader,
    /// A replica that is not connected.
    Replica,
    /// A bridge that leads to it.
    Bridge,
    /// Without GTIDs: a source whose copies would not be recognised.
    Pairing,
    /// With GTIDs: a source whose copies would be recognised by their GTID alone.
    Copies,
}

impl NeedKind {
    /// What happens if the file is removed all the same.
    pub fn cost(self) -> &'static str {
        match self {
            NeedKind::Reader | NeedKind::Replica => "it must be seeded again",
            NeedKind::Bridge => "the replica must be attached again",
            NeedKind::Pairing => {
                "it will fail if it sends a transaction of which a copy may have been removed"
            }
            NeedKind::Copies => "copies that it sends are recognised by their GTID alone",
        }
    }
}

/// One that needs a file and those after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The file's number.
    pub file: u64,
    /// What needs it.
    pub kind: NeedKind,
    /// Its description.
    pub who: String,
}

impl Need {
    /// Its description, without what changes all the time.
    pub fn who_without_time(&self) -> &str {
        let (who, _) = self
            .who
            .split_once(", last seen")
            .unwrap_or((&self.who, ""));
        who
    }
}

/// The limits at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Files that were last written before this are removed.
    pub expired_before: Option<SystemTime>,
    /// The most bytes of all files.
    pub max_total: Option<u64>,
}

/// What is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The oldest file that is kept.
    pub keep_from: u64,
    /// Those that lose a file that they need.
    pub forced: Vec<Need>,
    /// Those that keep a file that has expired.
    pub holding: Vec<Need>,
}

/// Decides which of `files` are removed: the oldest ones, and never the last, which is being written.
pub fn plan(files: &[FileFacts], limits: &Limits, needs: &[Need]) -> Plan {
    let Some((active, complete)) = files.split_last() else {
        return Plan {
            keep_from: 0,
            forced: Vec::new(),
            holding: Vec::new(),
        };
    };
    let is_expired = |file: &FileFacts| {
        let before = limits.expired_before;
        before.is_some_and(|before| file.modified < before)
    };
    let valid = complete.iter().find(|file| !is_expired(file));
    let unexpired = valid.map_or(active.number, |file| file.number);
    let needed = needs.iter().map(|need| need.file).min();
    let by_age = unexpired.min(needed.unwrap_or(u64::MAX));
    let mut total: u64 = files.iter().map(|file| file.len).sum();
    let mut keep_from = active.number;
    for file in complete {
        let exceeds = limits.max_total.is_some_and(|max| total > max);
        if file.number >= by_age && !exceeds {
            keep_from = file.number;
            break;
        }
        total -= file.len;
    }
    let by_need = |wanted: &dyn Fn(&Need) -> bool| {
        let mut found: Vec<Need> = needs.iter().filter(|need| wanted(need)).cloned().collect();
        found.sort_by(|one, two| {
            (one.file, one.kind, &one.who).cmp(&(two.file, two.kind, &two.who))
        });
        found
    };
    Plan {
        keep_from,
        forced: by_need(&|need| need.file < keep_from),
        holding: by_need(&|need| need.file < unexpired && need.file >= keep_from),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Files 3, 4, … of 10 bytes each, written at second 3, 4, …
    fn files(last: u64) -> Vec<FileFacts> {
        let file = |number| FileFacts {
            number,
            len: 10,
            modified: UNIX_EPOCH + Duration::from_secs(number),
        };
        (3..=last).map(file).collect()
    }

    fn need(file: u64) -> Need {
        Need {
            file,
            kind: NeedKind::Replica,
            who: format!("replica {file}"),
        }
    }

    fn limits(second: u64, max_total: u64) -> Limits {
        Limits {
            expired_before: (second > 0).then(|| UNIX_EPOCH + Duration::from_secs(second)),
            max_total: (max_total > 0).then_some(max_total),
        }
    }

    #[test]
    fn age_and_size_remove_the_oldest_and_only_size_what_is_needed() {
        // Expired before, max_total, needs: keep_from, forced, holding.
        for (second, max, needed, keep_from, forced, holding) in [
            (0, 0, vec![], 3, 0, 0),
            (6, 0, vec![], 6, 0, 0),
            (99, 0, vec![], 8, 0, 0),
            (6, 0, vec![4, 5, 7], 4, 0, 2),
            (6, 0, vec![3], 3, 0, 1),
            (0, 40, vec![], 5, 0, 0),
            (0, 40, vec![5], 5, 0, 0),
            (0, 40, vec![4, 3], 5, 2, 0),
            (7, 50, vec![3, 4], 4, 1, 1),
            (0, 1, vec![8], 8, 0, 0),
            (0, 1, vec![7, 8], 8, 1, 0),
            (0, 60, vec![3], 3, 0, 0),
        ] {
            let needs: Vec<Need> = needed.into_iter().map(need).collect();
            let found = plan(&files(8), &limits(second, max), &needs);
            let counts = (found.keep_from, found.forced.len(), found.holding.len());
            assert_eq!(
                counts,
                (keep_from, forced, holding),
                "{second} {max} {needs:?}"
            );
        }
    }

    /// A file that was touched later than the one after it keeps that one: files are removed in order.
    #[test]
    fn files_are_removed_in_order() {
        let mut files = files(6);
        files[1].modified += Duration::from_secs(100);
        assert_eq!(plan(&files, &limits(50, 0), &[]).keep_from, 4);
    }
}
