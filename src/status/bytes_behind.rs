//! How many bytes of the log replicas have not been sent.

use std::fs;

use crate::relay_log::{RelayLog, RelayLogPosition};
use crate::sender::ReplicaReport;

/// Sets this for each replica that is in the log; others read a bridge, or a file that is gone.
pub(super) fn set(log: &RelayLog, replicas: &mut [ReplicaReport]) {
    let end = log.published();
    let place = |replica: &ReplicaReport| {
        Some(RelayLogPosition {
            file: log.log_dir().file_number(&replica.file)?,
            offset: replica.position,
        })
    };
    let Some(oldest) = replicas.iter().filter_map(place).map(|at| at.file).min() else {
        return;
    };
    let files = log.state().files.clone();
    let complete = files
        .into_iter()
        .filter(|number| (oldest..end.file).contains(number));
    let length = |number| {
        Some((
            number,
            fs::metadata(log.log_dir().log_path(number)).ok()?.len(),
        ))
    };
    let complete: Vec<(u64, u64)> = complete.filter_map(length).collect();
    for replica in replicas {
        replica.bytes_behind = place(replica).and_then(|at| between(at, end, &complete));
    }
}

/// The bytes from `at` to `end`; `complete` has the lengths of the files before the last.
fn between(at: RelayLogPosition, end: RelayLogPosition, complete: &[(u64, u64)]) -> Option<u64> {
    if at.file >= end.file {
        return Some(end.offset.saturating_sub(at.offset));
    }
    let mut rest = complete.iter().filter(|(number, _)| *number >= at.file);
    let (first, len) = rest.next()?;
    let in_first = (*first == at.file).then(|| len.saturating_sub(at.offset))?;
    let others: u64 = rest.map(|(_, len)| len).sum();
    Some(in_first + others + end.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_all_files_up_to_the_end() {
        let at = |file, offset| RelayLogPosition { file, offset };
        let complete = [(3, 100), (4, 200)];
        let behind = |place| between(place, at(5, 50), &complete);
        assert_eq!(behind(at(5, 50)), Some(0));
        assert_eq!(behind(at(5, 20)), Some(30));
        assert_eq!(behind(at(4, 150)), Some(100));
        assert_eq!(behind(at(3, 0)), Some(350));
        assert_eq!(behind(at(2, 4)), None, "its file was removed");
    }
}
