//! PURGE BINARY LOGS and FLUSH BINARY LOGS.

use std::time::{Duration, SystemTime};

use super::answer::Answer;
use super::cursor::Cursor;
use super::datetime::Instants;
use super::sql::Token;
use super::sql_errors::{missing_user_privilege, shortened};
use super::statement_context::StatementContext;
use super::variables::Warning;
use crate::protocol::ServerError;
use crate::protocol::error_code::{ER_UNKNOWN_ERROR, ER_UNKNOWN_TARGET_BINLOG};
use crate::relay_log::purge::{self, Purged};
use crate::relay_log::retention::policy::{Need, NeedKind};
use crate::relay_log::{Condition, LogError, RelayLog, coordinates};

/// A file was not purged because it is in use.
const ER_WARN_PURGE_LOG_IN_USE: u16 = 1867;
/// A file was not purged because it is the active one.
const ER_WARN_PURGE_LOG_IS_ACTIVE: u16 = 1868;
/// How long FLUSH waits for the new file.
const ROTATION_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it looks.
const ROTATION_INTERVAL: Duration = Duration::from_millis(5);

fn check_admin(context: &StatementContext<'_>) -> Result<(), ServerError> {
    match context.caller.privileges.admin {
        true => Ok(()),
        false => Err(missing_user_privilege("SUPER, BINLOG ADMIN", "admin")),
    }
}

/// `PURGE {BINARY | MASTER} LOGS {TO 'file' | BEFORE expression}`; `None` for any other form.
///
/// # Errors
/// The privilege is missing, there is no such file, or it is not a time.
pub fn purge(
    mut cursor: Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let is_purge = (cursor.eat("BINARY") || cursor.eat("MASTER")) && cursor.eat("LOGS");
    let is_to = is_purge && cursor.eat("TO");
    if !is_purge || !is_to && !cursor.eat("BEFORE") {
        return Ok(None);
    }
    check_admin(context)?;
    let log = context.relay.log()?;
    if is_to {
        let Some(Token::Text(name)) = cursor.next() else {
            return Ok(None);
        };
        if !cursor.is_done() {
            return Ok(None);
        }
        let number = coordinates::file_by_name(log, name.as_bytes());
        let number = number.filter(|_| !name.is_empty()).ok_or_else(|| {
            tracing::warn!("PURGE BINARY LOGS TO: no file {:?}", shortened(name));
            ServerError::new(
                ER_UNKNOWN_TARGET_BINLOG,
                "Target log not found in binlog index",
            )
        })?;
        return purge_to(log, number, None).map(Some);
    }
    let instants = Instants::of_session(context.variables)?;
    let Some(time) = instants.read(&mut cursor)? else {
        return Ok(None);
    };
    if !cursor.is_done() {
        return Ok(None);
    }
    let number = purge::first_since(log, time).map_err(|error| failed(&error))?;
    let active = log.published().file;
    let facts = purge::file_facts(log).map_err(|error| failed(&error))?;
    let newest = facts.last().map(|file| file.modified);
    let is_active_old = number >= active && newest.is_some_and(|modified| modified < time);
    let reached = is_active_old.then_some(active);
    purge_to(log, number, reached).map(Some)
}

/// Removes the files before `number`. `reached` is the active file, if it would be removed otherwise.
fn purge_to(log: &RelayLog, number: u64, reached: Option<u64>) -> Result<Answer, ServerError> {
    let purged = purge::purge_to(log, number, SystemTime::now()).map_err(|error| failed(&error))?;
    let mut warnings = kept(|number| log.log_dir().file_name(number), &purged);
    if let Some(active) = reached.filter(|_| warnings.is_empty()) {
        warnings.push(Warning {
            code: ER_WARN_PURGE_LOG_IS_ACTIVE,
            message: format!(
                "file {} was not purged because it is the active log file.",
                log.log_dir().file_name(active)
            ),
        });
    }
    Ok(Answer::Warned(warnings))
}

/// What was kept, and why. `name` is the name of the file with a number.
fn kept(name: impl Fn(u64) -> String, purged: &Purged) -> Vec<Warning> {
    let Purged {
        removed, wanted, ..
    } = purged;
    let warn = |message| Warning {
        code: ER_WARN_PURGE_LOG_IN_USE,
        message,
    };
    let Some(first) = purged.kept.first() else {
        let is_less = removed < wanted;
        let warning = is_less.then(|| {
            warn(format!(
                "purged only {removed} out of {wanted} files: a source without GTIDs that is not followed at \
                 present, or was removed, needs the others, or a reader has begun to read them; repeat the \
                 statement"
            ))
        });
        return warning.into_iter().collect();
    };
    let reads_it = |need: &&Need| need.kind == NeedKind::Reader && need.file == first.file;
    let file = name(first.file);
    let message = match purged.kept.iter().filter(reads_it).count() {
        0 => format!(
            "purged only {removed} out of {wanted} files: file {file} is needed by {}",
            first.who
        ),
        // As servers say it.
        readers => format!(
            "file {file} was not purged because it was being read by {readers} thread(s), purged only {removed} \
             out of {wanted} files."
        ),
    };
    let mut warnings = vec![warn(message)];
    let by_need = purged.kept.iter().map(|need| {
        warn(format!(
            "file {} and those after it were kept for {}",
            name(need.file),
            need.who
        ))
    });
    warnings.extend(by_need);
    warnings
}

fn failed(error: &LogError) -> ServerError {
    tracing::error!(%error, "log files could not be removed");
    ServerError::new(ER_UNKNOWN_ERROR, error.to_string())
}

/// `FLUSH [LOCAL | NO_WRITE_TO_BINLOG] {BINARY LOGS | LOGS}`; `None` for any other form.
///
/// # Errors
/// The privilege is missing, or no file could be begun.
pub fn flush(
    mut cursor: Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let _local = cursor.eat("LOCAL") || cursor.eat("NO_WRITE_TO_BINLOG");
    let _binary = cursor.eat("BINARY");
    if !cursor.eat("LOGS") || !cursor.is_done() {
        return Ok(None);
    }
    check_admin(context)?;
    let log = context.relay.log()?;
    let before = log.published().file;
    log.retention().request_rotation();
    let deadline = SystemTime::now() + ROTATION_TIMEOUT;
    while log.published().file == before {
        let is_late = SystemTime::now() > deadline;
        if let Some(reason) = not_rotated(&log.condition(), is_late) {
            return Err(ServerError::new(ER_UNKNOWN_ERROR, reason));
        }
        std::thread::sleep(ROTATION_INTERVAL);
    }
    Ok(Some(Answer::Ok))
}

/// Why FLUSH waits no longer for the new file. `is_late`: it has waited for [`ROTATION_TIMEOUT`].
fn not_rotated(condition: &Condition, is_late: bool) -> Option<String> {
    let state = match condition {
        Condition::Running => {
            return is_late.then(|| {
                format!(
                    "no new log file was begun within {} s; it may still appear, see SHOW BINARY LOGS",
                    ROTATION_TIMEOUT.as_secs()
                )
            });
        }
        Condition::DiskFull(_) => "disk_full",
        Condition::Failed(_) => "failed",
    };
    Some(format!(
        "no new log file could be begun: the log is {state}; see binrelay status"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(file: u64, kind: NeedKind, who: &str) -> Need {
        Need {
            file,
            kind,
            who: who.to_owned(),
        }
    }

    fn warnings(removed: u64, kept_for: Vec<Need>) -> Vec<String> {
        let purged = Purged {
            removed,
            wanted: 5,
            kept: kept_for,
        };
        let warnings = kept(|number| format!("relay-bin.{number:06}"), &purged);
        assert!(warnings.iter().all(|warning| warning.code == 1867));
        warnings
            .into_iter()
            .map(|warning| warning.message)
            .collect()
    }

    #[test]
    fn readers_are_only_named_if_they_read_the_kept_file() {
        let reader = |file| need(file, NeedKind::Reader, "replica 11");
        let missing = || need(3, NeedKind::Replica, "replica 12 (db12)");
        let found = warnings(2, vec![reader(3), reader(3), reader(4)]);
        assert_eq!(
            found[0],
            "file relay-bin.000003 was not purged because it was being read by 2 thread(s), purged only 2 out of \
             5 files."
        );
        assert_eq!(found.len(), 4, "{found:?}");
        for kept in [vec![missing()], vec![missing(), reader(4)]] {
            let count = kept.len();
            let found = warnings(2, kept);
            assert_eq!(
                found[..2],
                [
                    "purged only 2 out of 5 files: file relay-bin.000003 is needed by replica 12 (db12)",
                    "file relay-bin.000003 and those after it were kept for replica 12 (db12)"
                ]
            );
            assert_eq!(found.len(), 1 + count, "{found:?}");
        }
        assert!(warnings(2, Vec::new())[0].starts_with("purged only 2 out of 5 files: a source"));
        assert_eq!(warnings(5, Vec::new()), [""; 0]);
    }

    #[test]
    fn flush_that_waits_too_long_does_not_say_that_the_log_has_failed() {
        let text = |condition, is_late| not_rotated(&condition, is_late);
        assert_eq!(text(Condition::Running, false), None);
        let late = text(Condition::Running, true).unwrap();
        assert!(late.contains("within 10 s; it may still appear"), "{late}");
        for (condition, state) in [
            (Condition::DiskFull("a".to_owned()), "disk_full"),
            (Condition::Failed("a".to_owned()), "failed"),
        ] {
            let found = text(condition, false).unwrap();
            assert!(found.contains(&format!("the log is {state};")), "{found}");
        }
    }
}
