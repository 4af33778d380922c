//! Warns when a source's `start` was changed after the source had been started: it is used on the first start only.
//!
//! `data_dir/starts` remembers with which `start` each source was started: one line per source, with its name, a
//! tab, its start.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::filter_changes::by_source;
use crate::atomic_file;
use crate::config::SourceConfig;

/// Permission bits of the file, which holds no secret.
const FILE_MODE: u32 = 0o640;

/// Warnings, each with its source's name, about starts that differ from those with which the sources were
/// started. `started` are the names of the sources of which the log has a position.
pub fn changed_starts<'a>(
    data_dir: &Path,
    sources: &'a [SourceConfig],
    started: &[String],
) -> Vec<(&'a str, String)> {
    let text = fs::read_to_string(path(data_dir)).unwrap_or_default();
    let before = by_source(&text);
    let changed = sources.iter().filter_map(|source| {
        let name = source.name.as_str();
        let now = source.start.to_string();
        let old = before.get(name).filter(|old| **old != now)?;
        let is_started = started.iter().any(|started| started == name);
        is_started.then(|| {
            let text = format!(
                "start = \"{now}\" is ignored: it is used on the first start only. Source {name} was started with \
                 \"{old}\" and resumes after the last transaction received from it; set start back to \"{old}\""
            );
            (name, text)
        })
    });
    changed.collect()
}

/// Logs [`changed_starts`], and remembers the starts of sources that have not been started.
pub fn announce_starts(data_dir: &Path, sources: &[SourceConfig], started: &[String]) {
    for (source, warning) in changed_starts(data_dir, sources, started) {
        tracing::warn!(source, "{warning}");
    }
    let path = path(data_dir);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut starts: BTreeMap<String, String> = by_source(&text)
        .into_iter()
        .map(|(name, start)| (name.to_owned(), start.to_owned()))
        .collect();
    for source in sources {
        let is_started = started.contains(&source.name);
        if !is_started || !starts.contains_key(&source.name) {
            starts.insert(source.name.clone(), source.start.to_string());
        }
    }
    let lines = starts.iter();
    let now: String = lines
        .map(|(name, start)| format!("{name}\t{start}\n"))
        .collect();
    if now != text
        && let Err(error) = atomic_file::replace(&path, now.as_bytes(), FILE_MODE)
    {
        tracing::warn!("{error}; a changed start will not be noticed at the next start");
    }
}

fn path(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("starts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceStart;
    use crate::receiver::tests::source::config;

    #[test]
    fn only_a_changed_start_of_a_started_source_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let mut sources = vec![config("m1", 1), config("m2", 1)];
        announce_starts(dir.path(), &sources, &[]);
        let started = vec!["m1".to_owned()];
        assert_eq!(changed_starts(dir.path(), &sources, &started), []);
        for source in &mut sources {
            source.start = SourceStart::Latest;
        }
        for _ in 0..2 {
            let found = changed_starts(dir.path(), &sources, &started);
            let [(name, text)] = &found[..] else {
                panic!("{found:?}");
            };
            assert_eq!(*name, "m1");
            assert!(text.starts_with("start = \"latest\" is ignored"), "{text}");
            assert!(text.ends_with("set start back to \"earliest\""), "{text}");
            announce_starts(dir.path(), &sources, &started);
        }
        // m2 was not started: now it is, with the new start.
        let started = vec!["m1".to_owned(), "m2".to_owned()];
        assert_eq!(changed_starts(dir.path(), &sources, &started).len(), 1);
    }
}
