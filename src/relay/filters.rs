//! Which filter is in force, for the program's log: changing one between two runs is allowed, and
//! what was left out before stays left out, so it must be seen that it changed.
//!
//! `data_dir/filters` remembers them: a line for each source, its name, a tab, its rules.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::atomic_file;
use crate::config::SourceConfig;

/// Permission bits of the file, which holds no secret.
const FILE_MODE: u32 = 0o644;

/// Logs each source's filter, and that it is not that of the last run.
pub(super) fn announce(data_dir: &Path, sources: &[SourceConfig]) {
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
    let before = parse(&before);
    let mut now = String::new();
    for source in sources {
        let (name, filter) = (source.name.as_str(), source.filter.to_string());
        tracing::info!(source = name, "filter: {filter}");
        if let Some(old) = before.get(name).filter(|old| ***old != *filter) {
            tracing::warn!(
                source = name,
                "the filter differs from that of the last run, which was: {old}; what it left \
                 out is not fetched again"
            );
        }
        now.push_str(&format!("{name}\t{filter}\n"));
    }
    if let Err(error) = atomic_file::replace(&path, now.as_bytes(), FILE_MODE) {
        tracing::warn!("{error}; a changed filter will not be noticed at the next start");
    }
}

fn parse(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_remembered_by_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filters");
        fs::write(&path, "m1\tnone\nm2\treplicate_do_db = [\"a\"]\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let found = parse(&text);
        assert_eq!(found["m1"], "none");
        assert_eq!(found["m2"], "replicate_do_db = [\"a\"]");
        assert!(parse("half a li").is_empty());
    }
}
