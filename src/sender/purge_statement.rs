//! PURGE BINARY LOGS and FLUSH BINARY LOGS.

use std::time::{Duration, SystemTime};

use super::answer::Answer;
use super::cursor::Cursor;
use super::datetime::Instants;
use super::sql::Token;
use super::sql_errors::{missing_privilege, shortened};
use super::statement_context::StatementContext;
use super::variables::Warning;
use crate::protocol::ServerError;
use crate::protocol::error_code::{ER_UNKNOWN_ERROR, ER_UNKNOWN_TARGET_BINLOG};
use crate::relay_log::purge::{self, Purged};
use crate::relay_log::retention::policy::NeedKind;
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
        false => Err(missing_privilege("SUPER, BINLOG ADMIN")),
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
    let mut warnings = kept(log, &purged);
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

/// What was kept, and why.
fn kept(log: &RelayLog, purged: &Purged) -> Vec<Warning> {
    let name = |number| log.log_dir().file_name(number);
    let readers = purged
        .kept
        .iter()
        .filter(|need| need.kind == NeedKind::Reader)
        .count();
    let mut warnings = Vec::new();
    let warn = |message| Warning {
        code: ER_WARN_PURGE_LOG_IN_USE,
        message,
    };
    if let Some(first) = purged.kept.first() {
        warnings.push(warn(format!(
            "file {} was not purged because it was being read by {readers} thread(s), purged only {} \
             out of {} files.",
            name(first.file),
            purged.removed,
            purged.wanted
        )));
    } else if purged.removed < purged.wanted {
        warnings.push(warn(format!(
            "purged only {} out of {} files: a source without GTIDs that is not followed at present, or was \
             removed, needs the others, or a reader has begun to read them; repeat the statement",
            purged.removed, purged.wanted
        )));
    }
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
        if log.condition() != Condition::Running || SystemTime::now() > deadline {
            return Err(ServerError::new(
                ER_UNKNOWN_ERROR,
                "no new log file could be begun: the log is not running; see binrelay status",
            ));
        }
        std::thread::sleep(ROTATION_INTERVAL);
    }
    Ok(Some(Answer::Ok))
}
