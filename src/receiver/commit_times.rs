//! Whether masters without GTIDs log commit times, by which copies of their transactions are recognised.

use crate::binlog::format_description::version_numbers;

/// The first version that logs them.
const FIRST: (u32, u32, u32) = (8, 0, 1);

/// A warning that names the sources that log other sources' transactions without the commit times that these
/// have. For each source without GTIDs: its name, its version, and whether it logs what it replicates.
pub fn lost_commit_times(sources: &[(String, String, Option<bool>)]) -> Option<String> {
    let is_old = |version: &str| version_numbers(version) < FIRST;
    let shown = |(name, version, _): &(String, String, Option<bool>)| format!("{name} ({version})");
    let (old, new): (Vec<_>, Vec<_>) = sources.iter().partition(|(_, version, _)| is_old(version));
    let losing = old.into_iter().filter(|(_, _, logs)| *logs != Some(false));
    let [losing, new] = [
        losing.map(shown).collect::<Vec<_>>(),
        new.into_iter().map(shown).collect(),
    ];
    (!losing.is_empty() && !new.is_empty()).then(|| {
        format!(
            "without GTIDs, copies of transactions are not recognised between servers before and since MySQL 8.0: if {} \
             replicates from {}, one of these sources will fail; set log_slave_updates=OFF on the older server \
             until it is upgraded, or take writes only on it (binrelay help without-gtids)",
            losing.join(", "),
            new.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(sources: &[(&str, Option<bool>)]) -> Option<String> {
        let sources = sources.iter().enumerate();
        let named = sources
            .map(|(number, (version, logs))| (format!("m{number}"), (*version).to_owned(), *logs));
        lost_commit_times(&named.collect::<Vec<_>>())
    }

    #[test]
    fn older_servers_that_log_what_they_replicate_from_newer_ones_are_named() {
        let (yes, no) = (Some(true), Some(false));
        let text = warning(&[("5.7.44-log", yes), ("8.0.41", yes), ("9.7.0", no)]).unwrap();
        assert!(
            text.contains("if m0 (5.7.44-log) replicates from m1 (8.0.41), m2 (9.7.0), one"),
            "{text}"
        );
        assert!(warning(&[("8.0.41", no), ("5.6.51", None)]).is_some());
        for sources in [
            [("5.7.44", no), ("8.0.41", yes)],
            [("5.6.51", yes), ("5.7.44", yes)],
            [("8.0.41", yes), ("9.7.0", yes)],
        ] {
            assert_eq!(warning(&sources), None, "{sources:?}");
        }
        assert_eq!(warning(&[]), None);
    }
}
