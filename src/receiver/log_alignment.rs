//! Without GTIDs: which transactions of a server's binlog precede the relay log.
//!
//! A server whose binlog was never read answers at a source's address. What the log contains is recognised
//! in its binlog, transaction by transaction. But where files were purged before the log began, its binlog
//! may have transactions that are older than the log: they count as delivered. And if it has purged files
//! itself, transactions that were never delivered may be lost. Both is decided by order, with a transaction
//! that the log and the binlog have in common; see [`anchor`](crate::merge::pairing::anchor).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::alignment::transactions;
use super::error::ReceiverError;
use super::first_contact::FirstContact;
use super::options::{ReceiverContext, ReceiverOptions};
use super::rereading::read_binlog;
use crate::merge::pairing::anchor::{Anchor, Beginning, Search};
use crate::merge::pairing::{Delivered, Ledger};
use crate::position::RecordNumber;
use crate::relay_log::RelayLog;
use crate::relay_log::ledger::IndexLedger;
use crate::transaction::TransactionBatch;

/// One origin's transactions in the binlog and in the log.
struct Origin {
    /// How many transactions of any origin precede the first one in the binlog.
    first_at: u64,
    /// Those of the log.
    delivered: Beginning,
    /// Where the binlog begins in the log.
    in_log: Anchor,
    /// Where the log begins in the binlog.
    in_binlog: Search,
    /// How many transactions of any origin precede the first common one in the binlog.
    common_at: Option<u64>,
}

/// Returns the origins of which transactions in the binlog precede the log, and how many do.
///
/// # Errors
/// When order does not decide.
pub(super) async fn align_with_log(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    contact: &FirstContact,
) -> Result<Vec<(u32, u64)>, ReceiverError> {
    let is_complete = {
        let state = context.log.state();
        let mut sources = state.sources.iter();
        sources.all(|progress| progress.first_timestamp == 0)
    };
    let is_complete = is_complete && !context.log.begins_later();
    let _pin = context.log.pin(format!(
        "source {}, which is being aligned",
        options.config.name
    ));
    let is_purged = contact.progress.first_timestamp != 0;
    if is_complete && !is_purged {
        return Ok(Vec::new()); // Nothing is lost: all copies will be seen.
    }
    let server_id = contact.facts.server_id;
    let origins = read(options, context, contact).await?;
    let mut before = Vec::new();
    let mut common_at = None;
    for (origin, of_origin) in &origins {
        if !of_origin.delivered.is_empty() {
            let count = of_origin.precedents(*origin, server_id)?;
            common_at = common_at.max(of_origin.common_at.or(Some(of_origin.first_at)));
            if count > 0 && !is_complete {
                before.push((*origin, count));
            }
        }
    }
    // The log has none of these. On this server, what follows a transaction that the log has was committed
    // after it.
    let mut others = origins.iter();
    let undecided = others.find(|(_, of_origin)| {
        of_origin.delivered.is_empty() && common_at.is_none_or(|at| of_origin.first_at < at)
    });
    match undecided {
        Some((origin, _)) => Err(nothing_common(server_id, *origin)),
        None if is_purged && common_at.is_none() => Err(nothing_common(server_id, server_id)),
        None => Ok(before),
    }
}

/// Reads the binlog twice, and the log's commit indexes.
async fn read(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    contact: &FirstContact,
) -> Result<BTreeMap<u32, Origin>, ReceiverError> {
    let (own, first) = (options.server_id, &contact.progress.position);
    let mut beginnings: BTreeMap<u32, (Beginning, u64)> = BTreeMap::new();
    let mut count = 0;
    let mut accept = |batch: &TransactionBatch| {
        for (origin, _, fingerprint) in transactions(batch, own) {
            let entry = beginnings.entry(origin);
            let (beginning, _) = entry.or_insert_with(|| (Beginning::default(), count));
            beginning.add(&fingerprint);
            count += 1;
        }
    };
    read_binlog(options, &contact.facts, first, &mut accept).await?;
    let mut origins = BTreeMap::new();
    for (origin, (beginning, first_at)) in beginnings {
        let (log, names) = (context.log.clone(), context.paths.names());
        let searching =
            tokio::task::spawn_blocking(move || search_log(&log, &names, origin, &beginning));
        let (delivered, in_log) = searching.await.map_err(|_| ReceiverError::LogClosed)??;
        let in_binlog = Search::new(&delivered);
        let of_origin = Origin {
            first_at,
            delivered,
            in_log,
            in_binlog,
            common_at: None,
        };
        origins.insert(origin, of_origin);
    }
    let mut count = 0;
    let mut accept = |batch: &TransactionBatch| {
        for (origin, _, fingerprint) in transactions(batch, own) {
            if let Some(of_origin) = origins.get_mut(&origin)
                && of_origin.in_binlog.add(&fingerprint)
            {
                of_origin.common_at.get_or_insert(count);
            }
            count += 1;
        }
    };
    read_binlog(options, &contact.facts, first, &mut accept).await?;
    Ok(origins)
}

/// The first transactions of `origin` in the log, and where `beginning` is in the log. `names` are those of its
/// paths. It reads all commit indexes.
fn search_log(
    log: &RelayLog,
    names: &[Arc<str>],
    origin: u32,
    beginning: &Beginning,
) -> Result<(Beginning, Anchor), ReceiverError> {
    let _pin = log.pin("a path that begins".to_owned());
    let files = log.state().files.clone();
    let number = |file: Option<&u64>, record| RecordNumber {
        file: file.copied().unwrap_or(1),
        record,
    };
    let ledger = IndexLedger {
        log_dir: log.log_dir(),
        source_names: names,
        // What is not written yet is not needed.
        end: number(files.last(), u64::MAX),
        staged: &[],
    };
    let mut delivered = Beginning::default();
    let mut search = Search::new(beginning);
    let mut accept = |entry: Delivered| {
        delivered.add(&entry.fingerprint);
        search.add(&entry.fingerprint);
        true
    };
    ledger
        .read(number(files.first(), 0), origin, &mut accept)
        .map_err(|cause| {
            ReceiverError::setup(
                format!("the record of delivered transactions cannot be read: {cause}"),
                "run binrelay verify",
            )
        })?;
    Ok((delivered, search.anchor()))
}

impl Origin {
    /// How many of the binlog's transactions precede those of the log.
    fn precedents(&self, origin: u32, server_id: u32) -> Result<u64, ReceiverError> {
        match (self.in_binlog.anchor(), self.in_log) {
            // The server's own binlog omits nothing. So it begins after those that the log has before.
            (Anchor::At { skipped, .. }, _) if skipped > 0 && origin == server_id => Ok(0),
            (Anchor::At { before, .. }, _) => Ok(before),
            (Anchor::Absent, Anchor::At { .. }) => Ok(0),
            _ => Err(nothing_common(server_id, origin)),
        }
    }
}

fn nothing_common(server_id: u32, origin: u32) -> ReceiverError {
    ReceiverError::setup(
        format!(
            "another server (server_id {server_id}) answers at the address, and order does not show which \
             transactions with server_id {origin} in its binlog were delivered: none precedes them that is \
             in the relay log, too, and can be distinguished from others"
        ),
        "let it replicate from the old server (the relay compares them again), or point the address to \
         the old server again",
    )
}
