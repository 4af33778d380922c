//! How a source logs, and its clock.

use std::time::{SystemTime, UNIX_EPOCH};

use super::connection::{ControlConnection, ControlError, text_at, unreadable};
use crate::receiver::source_settings::LoggingSettings;

/// The clock is asked in UTC, whatever the session's time zone is.
const CLOCK: &str = "SELECT UNIX_TIMESTAMP()";

impl ControlConnection {
    /// Asks how the server logs, and for its clock.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn logging_settings(&mut self) -> Result<LoggingSettings, ControlError> {
        let clock_ahead = self.clock_ahead().await?.unwrap_or(0);
        let rows = self
            .query(
                "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_format', 'binlog_row_image', \
                 'sync_binlog', 'rpl_semi_sync_master_wait_point', 'rpl_semi_sync_source_wait_point')",
            )
            .await?;
        let mut settings = LoggingSettings {
            clock_ahead,
            ..LoggingSettings::default()
        };
        for row in &rows {
            let (Some(name), Some(value)) = (text_at(row, 0), text_at(row, 1)) else {
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "binlog_format" => settings.binlog_format = Some(value),
                "binlog_row_image" => settings.row_image = Some(value),
                "sync_binlog" => settings.sync_binlog = value.parse().ok(),
                name => settings.wait_point = Some((name.to_owned(), value)),
            }
        }
        Ok(settings)
    }

    /// Asks how many seconds the server's clock is ahead of this machine's; `None` if the server refuses the
    /// statement.
    ///
    /// # Errors
    /// When the connection fails, or the answer cannot be read.
    pub async fn clock_ahead(&mut self) -> Result<Option<i64>, ControlError> {
        let asked = unix_seconds();
        let rows = self.query_if_allowed(CLOCK).await?;
        let answered = unix_seconds();
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let text = text_at(row, 0).unwrap_or_default();
        let found: i64 = text.parse().map_err(|_| unreadable(CLOCK, &text))?;
        Ok(Some(ahead(found, asked, answered)))
    }
}

/// How far a clock that showed `found` between `asked` and `answered` is ahead at least; 0 while it can be equal,
/// so that a slow answer never makes a difference.
fn ahead(found: i64, asked: i64, answered: i64) -> i64 {
    match found {
        _ if found > answered => found.saturating_sub(answered),
        _ if found < asked => found.saturating_sub(asked),
        _ => 0,
    }
}

fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_differs_only_where_no_moment_of_the_round_trip_fits() {
        for (found, expected) in [(89, -11), (99, -1), (100, 0), (104, 0), (105, 0), (106, 1)] {
            assert_eq!(ahead(found, 100, 105), expected, "{found}");
        }
    }
}
