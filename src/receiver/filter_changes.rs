//! Logs each source's filter, and warns when it has changed since the last run: that is allowed, but
//! transactions that the old filter skipped are not fetched again.
//!
//! `data_dir/filters` remembers the filters: one line per source, with its name, a tab, its rules.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::different_rules::announce_different_rules;
use crate::atomic_file;
use crate::config::SourceConfig;

/// Permission bits of the file, which holds no secret.
const FILE_MODE: u32 = 0o640;

/// Logs each source's filter, and a warning if it differs from that of the last run or from another source's.
pub fn announce_filters(data_dir: &Path, sources: &[SourceConfig]) {
    let path = data_dir.join("filters");
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("cannot read {}: {error}", path.display());
            }
            String::new()
        }
    };
    let before = by_source(&before);
    for source in sources {
        let (name, filter) = (source.name.as_str(), source.filter.current().to_string());
        tracing::info!(source = name, "filter: {filter}");
        if let Some(old) = before.get(name).filter(|old| ***old != *filter) {
            tracing::warn!(
                source = name,
                "the filter differs from that of the last run, which was: {old}; what the old \
                 filter skipped is not fetched again"
            );
        }
    }
    announce_different_rules(sources);
    remember_filters(data_dir, sources);
}

/// Records each source's filter, with which the next run compares its own.
pub fn remember_filters(data_dir: &Path, sources: &[SourceConfig]) {
    let mut now = String::new();
    for source in sources {
        now.push_str(&format!("{}\t{}\n", source.name, source.filter.current()));
    }
    let path = data_dir.join("filters");
    if let Err(error) = atomic_file::replace(&path, now.as_bytes(), FILE_MODE) {
        tracing::warn!("{error}; a changed filter will not be noticed at the next start");
    }
}

/// The lines of such a file, by the sources' names. Others are ignored.
pub(super) fn by_source(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_remembered_per_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filters");
        fs::write(&path, "m1\tnone\nm2\treplicate_do_db = [\"a\"]\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let found = by_source(&text);
        assert_eq!(found["m1"], "none");
        assert_eq!(found["m2"], "replicate_do_db = [\"a\"]");
        assert!(by_source("part of a li").is_empty());
    }
}
