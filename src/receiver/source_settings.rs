//! Settings of a source that do not keep the relay from following it, but that its administrator should know of.

/// What a source says about how it logs. `None` where the server does not have the variable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoggingSettings {
    /// `binlog_format`: STATEMENT, MIXED or ROW.
    pub binlog_format: Option<String>,
    /// `binlog_row_image`: FULL, NOBLOB, MINIMAL, on MariaDB also FULL_NODUP.
    pub row_image: Option<String>,
    /// `sync_binlog`: after how many commits the binlog is synced; 0 never.
    pub sync_binlog: Option<u64>,
    /// `rpl_semi_sync_source_wait_point` or `rpl_semi_sync_master_wait_point`: the name that the server has, and its
    /// value.
    pub wait_point: Option<(String, String)>,
    /// How many seconds its clock is ahead of this machine's; negative if it is behind.
    pub clock_ahead: i64,
}

/// A smaller difference of two clocks is not reported: replicas count whole seconds as well.
const CLOCK_DIFFERENCE_MAX: u64 = 2;

impl LoggingSettings {
    /// What makes replicas show something false.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let difference = self.clock_ahead.unsigned_abs();
        if difference > CLOCK_DIFFERENCE_MAX {
            let direction = match self.clock_ahead > 0 {
                true => "ahead of",
                false => "behind",
            };
            warnings.push(format!(
                "its clock is {difference} s {direction} this machine's: replicas take this machine's clock for \
                 that of their master, so the lag that they show is wrong by as much; synchronize both clocks (NTP)"
            ));
        }
        warnings
    }

    /// What matters only in some cases.
    pub(super) fn notes(&self, semi_sync: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if self.binlog_format.as_deref() == Some("STATEMENT") {
            notes.push(
                "binlog_format is STATEMENT: statements that are unsafe for it can change other rows on \
                 replicas than on the source; set it to MIXED or ROW"
                    .to_owned(),
            );
        }
        if let Some(image) = self.row_image.as_deref()
            && !image.starts_with("FULL")
        {
            notes.push(format!(
                "binlog_row_image is {image}: replicas need the same columns and keys as the source, and \
                 binrelay conflicts does not show the other columns of a row"
            ));
        }
        if let Some(commits) = self.sync_binlog.filter(|commits| *commits != 1) {
            notes.push(format!(
                "sync_binlog is {commits}: if the host crashes, its binlog may lose transactions that the relay \
                 has already received; the source then fails (state failed) when it returns (binrelay help \
                 messages, Recovering a failed source); set sync_binlog=1"
            ));
        }
        if let Some((variable, value)) = &self.wait_point
            && semi_sync
            && value == "AFTER_COMMIT"
        {
            notes.push(format!(
                "{variable} is AFTER_COMMIT: other clients see a transaction before the relay has acknowledged \
                 it; set it to AFTER_SYNC"
            ));
        }
        notes
    }
}

/// A note that names the sources that do not log what they replicate, if there are others to replicate from.
/// For each source: its name, and whether it logs that.
pub fn not_logging_updates(sources: &[(String, Option<bool>)]) -> Option<String> {
    let silent = sources.iter().filter(|(_, logs)| *logs == Some(false));
    let names: Vec<&str> = silent.map(|(name, _)| name.as_str()).collect();
    (sources.len() > 1 && !names.is_empty()).then(|| {
        format!(
            "log_slave_updates is OFF on {}: while another master is down, the transactions received from it are \
             not delivered by them; if the masters replicate from each other, set log_slave_updates=ON (since \
             MySQL 8.0.26 log_replica_updates) and restart",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_point(value: &str) -> Option<(String, String)> {
        let variable = "rpl_semi_sync_source_wait_point";
        Some((variable.to_owned(), value.to_owned()))
    }

    fn sound() -> LoggingSettings {
        LoggingSettings {
            binlog_format: Some("MIXED".to_owned()),
            row_image: Some("FULL".to_owned()),
            sync_binlog: Some(1),
            wait_point: wait_point("AFTER_SYNC"),
            clock_ahead: 0,
        }
    }

    #[test]
    fn sound_settings_are_not_mentioned() {
        for settings in [sound(), LoggingSettings::default()] {
            assert_eq!(settings.warnings(), [""; 0]);
            assert_eq!(settings.notes(true), [""; 0]);
        }
        let nodup = LoggingSettings {
            row_image: Some("FULL_NODUP".to_owned()),
            ..sound()
        };
        assert_eq!(nodup.notes(true), [""; 0]);
    }

    #[test]
    fn clock_differences_are_warned_of() {
        let mut settings = sound();
        for (ahead, expected) in [
            (2, None),
            (-2, None),
            (3, Some("3 s ahead of this")),
            (-90, Some("90 s behind this")),
        ] {
            settings.clock_ahead = ahead;
            let warnings = settings.warnings();
            assert_eq!(warnings.len(), usize::from(expected.is_some()), "{ahead}");
            let is_named = expected.is_none_or(|text| warnings[0].contains(text));
            assert!(is_named, "{warnings:?}");
        }
    }

    #[test]
    fn settings_that_matter_in_some_cases_are_notes() {
        let settings = LoggingSettings {
            binlog_format: Some("STATEMENT".to_owned()),
            row_image: Some("MINIMAL".to_owned()),
            sync_binlog: Some(0),
            wait_point: wait_point("AFTER_COMMIT"),
            clock_ahead: 0,
        };
        assert_eq!(settings.warnings(), [""; 0]);
        let notes = settings.notes(true);
        assert_eq!(notes.len(), 4, "{notes:?}");
        let expected = "rpl_semi_sync_source_wait_point is AFTER_COMMIT";
        assert!(notes[3].starts_with(expected), "{notes:?}");
        assert_eq!(settings.notes(false).len(), 3, "no semi-sync");
    }

    #[test]
    fn masters_that_do_not_log_updates_are_named_if_there_are_several() {
        let of = |logs: &[Option<bool>]| {
            let sources = logs.iter().enumerate();
            let sources = sources.map(|(number, logs)| (format!("m{number}"), *logs));
            not_logging_updates(&sources.collect::<Vec<_>>())
        };
        assert_eq!(of(&[Some(false)]), None);
        assert_eq!(of(&[Some(true), None]), None);
        let note = of(&[Some(true), Some(false)]).unwrap();
        assert!(
            note.starts_with("log_slave_updates is OFF on m1:"),
            "{note}"
        );
    }
}
