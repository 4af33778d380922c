//! By file and position: a part of a source's binlog in which no transaction was received.
//!
//! A source's position moves without a transaction where its binlog begins new files: a standby that was restarted, or
//! `FLUSH LOGS`. Then the newest transaction that was received proves nothing about these files. After a restore, or
//! `RESET MASTER`, files with the same names may contain transactions, and to resume after them would lose these. So
//! everything from that transaction up to the position is read again. It is nearly always nothing, or a few empty files.

use std::sync::Arc;

use super::connect::connect;
use super::dump_request::FIRST_EVENT;
use super::error::ReceiverError;
use super::event_boundary::oldest_file;
use super::facts::SourceFacts;
use super::history::{describe, is_unknown_file, is_unknown_position};
use super::options::{ReceiverContext, ReceiverOptions};
use super::own_gtids::{pinned_by, unreadable};
use super::rereading::Rereading;
use crate::config::FilterConfig;
use crate::identity::{Executed, IdentityKind};
use crate::position::SourcePosition;
use crate::relay_log::{SourceProgress, without_transactions_from};
use crate::transaction::TransactionBatch;

/// What the binlog has between two positions.
enum Found {
    /// No transaction, as when it was received.
    Nothing,
    /// A transaction; the text describes it.
    Transaction(String),
    /// Its end is between them.
    End(SourcePosition),
    /// There is no file with the name in the first one.
    NoFile,
    /// The source refuses the first one; its error.
    NoPosition(String),
}

/// Verifies that the source's binlog has no transaction between the newest one that was received and `progress`, the
/// point at which it is resumed. Where the first files were purged, the others are read. Returns whether that is proved.
///
/// # Errors
/// [`ReceiverError::History`] when it has one, or ends before; others when the source or the log cannot be read.
pub(super) async fn verify(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    facts: &SourceFacts,
    progress: &SourceProgress,
) -> Result<bool, ReceiverError> {
    let to = &progress.position;
    let Some(mut from) = begin(options, context, progress).await? else {
        return Ok(false);
    };
    if from == *to {
        return Ok(true);
    }
    if from.offset > u64::from(u32::MAX) && from.file != to.file {
        // It cannot be requested.
        from = SourcePosition::new(to.file.clone(), FIRST_EVENT);
    }
    if from.offset > u64::from(u32::MAX) || !from.precedes(to) {
        return Ok(false);
    }
    let executed = context.log.state().executed.clone();
    let mut found = read(options, facts, (&from, to), &executed).await?;
    if matches!(found, Found::NoFile) {
        from = oldest_file(options, facts).await?;
        if !from.precedes(to) {
            return Ok(false); // All of it was purged.
        }
        found = read(options, facts, (&from, to), &executed).await?;
    }
    if matches!(found, Found::End(_)) {
        // A source that is shutting down ends a dump in the same way, but accepts no new connection.
        found = read(options, facts, (&from, to), &executed).await?;
    }
    let found = match found {
        Found::Nothing => return Ok(true),
        // It was purged a moment ago.
        Found::NoFile => return Ok(false),
        Found::Transaction(text) => text,
        // Its last events may be some that it does not send: only the source knows its end.
        Found::End(at) if at.file == to.file => {
            match read(options, facts, (to, to), &executed).await? {
                Found::NoPosition(error) => error,
                _ => return Ok(true),
            }
        }
        Found::End(at) => format!("the end of its binlog at {at}"),
        Found::NoPosition(error) => error,
    };
    Err(ReceiverError::History {
        expected: format!("no transaction between {from} and {to}, where none was received"),
        found,
    })
}

/// Where the part begins in which no transaction was received; `None` if that is unknown.
async fn begin(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    progress: &SourceProgress,
) -> Result<Option<SourcePosition>, ReceiverError> {
    if progress.position.is_unknown() {
        return Ok(None);
    }
    if let Some(last) = &progress.last {
        return Ok(Some(SourcePosition::new(last.file.clone(), last.end)));
    }
    let names = context.paths.names();
    let Some(name) = names.get(usize::from(options.number)).cloned() else {
        return Ok(None);
    };
    let log = Arc::clone(&context.log);
    let reading = tokio::task::spawn_blocking(move || {
        let _pin = log.pin(pinned_by(&name));
        without_transactions_from(&log, &name)
    });
    let begin = reading.await.map_err(|_| ReceiverError::LogClosed)?;
    begin.map_err(|cause| unreadable(&cause))
}

/// Reads the binlog of the server `expected` from `from` up to the first transaction that is not in `executed`, or to `to`.
async fn read(
    options: &ReceiverOptions,
    expected: &SourceFacts,
    (from, to): (&SourcePosition, &SourcePosition),
    executed: &Executed,
) -> Result<Found, ReceiverError> {
    // A connection cannot be reused after an aborted dump.
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    let everything = FilterConfig::default();
    let reading = Rereading::request(&mut connection, options, &facts, from, &everything).await?;
    let mut reading = reading.up_to(to);
    let next = loop {
        match reading.next(&mut connection).await {
            Ok(Some(batch)) if is_delivered(&batch, executed, expected.server_id) => {
                batch.recycle()
            }
            next => break next,
        }
    };
    match next {
        Ok(Some(batch)) => Ok(Found::Transaction(describe(&batch))),
        // It has ended before a transaction that begins there or later.
        Ok(None) if !reading.began.is_unknown() && !reading.began.precedes(to) => {
            Ok(Found::Nothing)
        }
        Ok(None) => {
            let at = reading.position.at.clone();
            match at {
                at if at.is_unknown() => Err(ReceiverError::Ended { at }),
                at if at.precedes(to) => Ok(Found::End(at)),
                _ => Ok(Found::Nothing),
            }
        }
        Err(ReceiverError::Source(error)) if is_unknown_file(&error.message) => Ok(Found::NoFile),
        Err(ReceiverError::Source(error)) if is_unknown_position(&error.message) => Ok(
            Found::NoPosition(format!("the error \"{}\"", error.message)),
        ),
        // What follows the position is decided on when it is received.
        Err(ReceiverError::Transaction { at, .. }) if !at.precedes(to) => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// Whether all transactions of `batch` are in the relay log by their GTIDs. While the source was followed by GTID, its
/// position has passed those that another source had delivered. A MariaDB `server` that was reset uses its own numbers
/// again, so these show nothing.
fn is_delivered(batch: &TransactionBatch, executed: &Executed, server: u32) -> bool {
    let kind = executed.kind();
    let mut transactions = batch.transactions.iter();
    kind != IdentityKind::Anonymous
        && transactions.all(|transaction| {
            let is_own = transaction.server_id == server;
            (kind == IdentityKind::MySql || !is_own) && executed.contains(&transaction.identity)
        })
}
