//! Without GTIDs: which transactions of a server's binlog precede the relay log.
//!
//! A server whose binlog was never read answers at a source's address, or joins. What the log contains is recognised
//! in its binlog, transaction by transaction. But its binlog may have transactions that are older than the log, even
//! if nothing was purged: a dump that was loaded into it, for example. They count as delivered. And if it has purged
//! files, transactions that were never delivered may be lost. Both is decided by order, with a transaction
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

/// A server's binlog, compared with the log.
struct Compared {
    /// Whether the log has all that its sources' servers ever logged.
    is_complete: bool,
    /// Whether files of the binlog were purged.
    is_purged: bool,
    /// That of the server.
    server_id: u32,
    origins: BTreeMap<u32, Origin>,
}

/// One origin's transactions in the binlog and in the log.
struct Origin {
    /// How many transactions of any origin precede the first one in the binlog.
    first_at: u64,
    /// How many precede the first one that brings replicas a change; `None` if the filter drops all of them.
    first_kept_at: Option<u64>,
    /// Those of the log.
    delivered: Beginning,
    /// Whether the first one of the log and of the binlog look alike.
    begin_alike: bool,
    /// Whether the log has them in another format than the binlog.
    forms_differ: bool,
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
    let compared = compare(options, context, contact).await?;
    let before = compared.before()?;
    for (origin, count) in &before {
        let text = format!(
            "the first {count} transactions of server_id {origin} in the binlog of the server with server_id {} \
             precede the relay log and count as delivered",
            compared.server_id
        );
        match compared.is_complete {
            // No file was purged, so it may be unexpected.
            true => tracing::warn!(source = %options.config.name, "{text}"),
            false => tracing::info!(source = %options.config.name, "{text}"),
        }
    }
    Ok(before)
}

/// Whether all transactions of a source that joins a complete log may be delivered: its binlog and the log have
/// none in common, or none that the log lacks precedes the first common one.
///
/// # Errors
/// When its binlog or the log cannot be read.
pub(super) async fn joins_whole(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    contact: &FirstContact,
) -> Result<bool, ReceiverError> {
    let compared = compare(options, context, contact).await?;
    let mut origins = compared.origins.values();
    Ok(origins.all(|of_origin| of_origin.delivered.is_empty())
        || compared.before().is_ok_and(|before| before.is_empty()))
}

async fn compare(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    contact: &FirstContact,
) -> Result<Compared, ReceiverError> {
    let is_complete = {
        let state = context.log.state();
        let mut sources = state.sources.iter();
        sources.all(|progress| progress.first_timestamp == 0)
    };
    tracing::info!(
        source = %options.config.name,
        "comparing the binlog of the server with server_id {} with the relay log: it is read twice",
        contact.facts.server_id
    );
    let _pin = context.log.pin(format!(
        "source {}, which is being aligned",
        options.config.name
    ));
    Ok(Compared {
        is_complete: is_complete && !context.log.begins_later(),
        is_purged: contact.progress.first_timestamp != 0,
        server_id: contact.facts.server_id,
        origins: read(options, context, contact).await?,
    })
}

/// Reads the binlog twice, and the log's commit indexes.
async fn read(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    contact: &FirstContact,
) -> Result<BTreeMap<u32, Origin>, ReceiverError> {
    let (own, first) = (options.server_id, &contact.progress.position);
    let mut beginnings: BTreeMap<u32, (Beginning, u64, Option<u64>)> = BTreeMap::new();
    let mut count = 0;
    let mut accept = |batch: &TransactionBatch| {
        for (transaction, _, fingerprint) in transactions(batch, own) {
            let entry = beginnings.entry(transaction.server_id);
            let new = || (Beginning::default(), count, None);
            let (beginning, _, first_kept_at) = entry.or_insert_with(new);
            beginning.add(&fingerprint);
            if !transaction.emptied {
                first_kept_at.get_or_insert(count);
            }
            count += 1;
        }
    };
    read_binlog(options, &contact.facts, first, &mut accept).await?;
    let mut origins = BTreeMap::new();
    for (origin, (beginning, first_at, first_kept_at)) in beginnings {
        let (log, names) = (context.log.clone(), context.paths.names());
        let searching =
            tokio::task::spawn_blocking(move || search_log(&log, &names, origin, beginning));
        let (delivered, in_log, beginning) =
            searching.await.map_err(|_| ReceiverError::LogClosed)??;
        let in_binlog = Search::new(&delivered);
        let of_origin = Origin {
            first_at,
            first_kept_at,
            begin_alike: delivered.begins_like(&beginning),
            forms_differ: delivered.has_other_forms(&beginning),
            delivered,
            in_log,
            in_binlog,
            common_at: None,
        };
        origins.insert(origin, of_origin);
    }
    let mut count = 0;
    let mut accept = |batch: &TransactionBatch| {
        for (transaction, _, fingerprint) in transactions(batch, own) {
            if let Some(of_origin) = origins.get_mut(&transaction.server_id)
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

/// The first transactions of `origin` in the log, where `beginning` is in the log, and `beginning`. `names` are those
/// of the log's paths. It reads all commit indexes.
fn search_log(
    log: &RelayLog,
    names: &[Arc<str>],
    origin: u32,
    beginning: Beginning,
) -> Result<(Beginning, Anchor, Beginning), ReceiverError> {
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
    let mut search = Search::new(&beginning);
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
    Ok((delivered, search.anchor(), beginning))
}

impl Compared {
    /// See [`align_with_log`].
    fn before(&self) -> Result<Vec<(u32, u64)>, ReceiverError> {
        let mut before = Vec::new();
        let mut common_at = None;
        for (origin, of_origin) in &self.origins {
            if !of_origin.delivered.is_empty() {
                let count = self.count_preceding(*origin, of_origin)?;
                common_at = common_at.max(of_origin.common_at.or(Some(of_origin.first_at)));
                if count > 0 {
                    before.push((*origin, count));
                }
            }
        }
        // The log has none of these. On this server, what follows a transaction that the log has was committed
        // after it. Others may be older than the data that the replicas have: a dump that was loaded, for example.
        let mut others = self.origins.iter();
        let undecided = others.find(|(_, of_origin)| {
            let is_early = |first| common_at.is_none_or(|at| first < at);
            of_origin.delivered.is_empty() && of_origin.first_kept_at.is_some_and(is_early)
        });
        match undecided {
            Some((origin, _)) => Err(not_in_log(self.server_id, *origin)),
            None if self.is_purged && common_at.is_none() => {
                Err(nothing_common(self.server_id, self.server_id))
            }
            None => Ok(before),
        }
    }

    /// How many of the origin's transactions in the binlog precede those of the log.
    fn count_preceding(&self, origin: u32, of_origin: &Origin) -> Result<u64, ReceiverError> {
        if self.is_complete && !self.is_purged && of_origin.begin_alike {
            return Ok(0);
        }
        if of_origin.first_kept_at.is_none() {
            return Ok(0); // They bring replicas nothing.
        }
        let anchors = (of_origin.in_binlog.anchor(), of_origin.in_log);
        if origin == self.server_id && !self.is_purged && lack_each_other(anchors) {
            // If formats differ, those that look different may be the same.
            let may_be_same = match anchors.0 {
                Anchor::At { before, skipped } => of_origin.forms_differ && before <= skipped,
                _ => false,
            };
            return match may_be_same {
                true => Ok(0),
                false => Err(begun_again(self.server_id)),
            };
        }
        match anchors {
            // The log has as many before the common one: they may be copies in another format.
            (Anchor::At { before, skipped }, _) if self.is_complete && before <= skipped => Ok(0),
            (Anchor::At { before, .. }, _) if self.is_complete => Ok(before),
            // The server's own binlog omits nothing. So it begins after those that the log has before.
            (Anchor::At { skipped, .. }, _) if skipped > 0 && origin == self.server_id => Ok(0),
            (Anchor::At { before, .. }, _) => Ok(before),
            (Anchor::Absent, Anchor::At { .. }) => Ok(0),
            (Anchor::Absent, Anchor::Absent) if origin != self.server_id && !self.is_purged => {
                Err(not_in_log(self.server_id, origin))
            }
            _ => Err(nothing_common(self.server_id, origin)),
        }
    }
}

/// Whether both the binlog and the log have transactions before the first common one.
fn lack_each_other((in_binlog, in_log): (Anchor, Anchor)) -> bool {
    match (in_binlog, in_log) {
        (Anchor::At { before, skipped }, _) | (Anchor::Absent, Anchor::At { before, skipped }) => {
            before > 0 && skipped > 0
        }
        _ => false,
    }
}

/// The error for a server whose own binlog should have all of its transactions that the log has.
fn begun_again(server_id: u32) -> ReceiverError {
    ReceiverError::setup(
        format!(
            "another server (server_id {server_id}) answers at the address, and its binlog lacks transactions of its own \
             that the relay log has, and has others instead: it was begun again, and what it begins with may be \
             older than the data that the replicas have (a dump that was loaded)"
        ),
        "point the address to the old server again; if the replicas have everything up to a position of this server, \
         run binrelay continue SOURCE --at FILE:POS",
    )
}

/// The error for transactions that precede all that is common, and of which the log has none.
fn not_in_log(server_id: u32, origin: u32) -> ReceiverError {
    ReceiverError::setup(
        format!(
            "another server (server_id {server_id}) answers at the address, and its binlog has transactions with \
             server_id {origin} that are not in the relay log, before the first one that is: they may be new, or \
             older than the data that the replicas have (accounts, a dump that was loaded)"
        ),
        "if all of its binlog is new, run binrelay continue SOURCE --at earliest; otherwise run binrelay continue SOURCE \
         --at FILE:POS, with the end of the last transaction in this server's binlog that the replicas have; or point \
         the address to the old server again",
    )
}

fn nothing_common(server_id: u32, origin: u32) -> ReceiverError {
    ReceiverError::setup(
        format!(
            "another server (server_id {server_id}) answers at the address, and order does not show which \
             transactions with server_id {origin} in its binlog were delivered: none precedes them that is \
             in the relay log, too, and can be distinguished from others"
        ),
        "let it replicate from the old server (the relay compares them again), or point the address to \
         the old server again; if the replicas have everything up to a position of this server, run binrelay \
         continue SOURCE --at FILE:POS",
    )
}
