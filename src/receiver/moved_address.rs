//! Another server answers at a source's address, for example because a virtual IP was moved.
//!
//! A position of one server is not valid on another. So without GTIDs, and wherever a source is followed by
//! file and position, the other server's binlog is a path of its own ([`Paths`]), with its own progress.
//! When the old server answers again, its path continues where it was.
//!
//! [`Paths`]: crate::log_thread::Paths

use super::connect::connect;
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::first_contact::{FirstContact, explore};
use super::history::is_same_server;
use super::log_alignment::align_with_log;
use super::options::{ReceiverContext, ReceiverOptions};
use super::rereading::read_binlog;
use super::resume::missing;
use crate::config::SourceStart;
use crate::gtid::BinlogState;
use crate::identity::IdentityKind;
use crate::log_thread::NewPath;
use crate::position::SourcePosition;
use crate::relay_log::SourceProgress;
use crate::transaction::TransactionBatch;

/// The path of the server that answers.
#[derive(Debug)]
pub(super) enum AnsweringPath {
    /// It continues after its progress, or is that of a source from which nothing was received.
    Known(u16),
    /// It begins.
    New {
        /// Its number.
        path: u16,
        /// Its first file.
        begin: SourcePosition,
        /// See [`SourceProgress::first_timestamp`].
        first_timestamp: u32,
    },
}

/// What was received at the source's address from the server that answered there first.
fn first_progress(options: &ReceiverOptions, context: &ReceiverContext) -> SourceProgress {
    let state = context.log.state();
    let progress = state.sources.get(usize::from(options.number));
    progress.cloned().unwrap_or_default()
}

/// Ends the connection of another source that follows this source's own server, because its address was moved
/// to that server while this source was not connected. Returns whether there was one.
pub(super) fn reclaim(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    facts: &SourceFacts,
) -> bool {
    let server_of = |source: u16| {
        let state = context.log.state();
        let progress = state.sources.get(usize::from(source));
        progress.map_or(0, |progress| progress.server_id)
    };
    let holder = context.identities.holder(facts);
    let guest = holder.filter(|holder| {
        let own = server_of(*holder);
        *holder != options.number && own != 0 && own != facts.server_id
    });
    let Some(guest) = guest.filter(|_| server_of(options.number) == facts.server_id) else {
        return false;
    };
    context.identities.displace(guest);
    true
}

/// Waits until the server at the source's address is followed by its own source again; returns the error.
pub(super) async fn displaced(
    options: &ReceiverOptions,
    context: &ReceiverContext,
) -> ReceiverError {
    context.identities.displaced(options.number).await;
    ReceiverError::Elsewhere(
        "the address was moved to the server of another source of this relay, which is connected again: its \
         transactions arrive there until the address is moved again"
            .to_owned(),
    )
}

/// The error for a server that another source follows, if it is at this source's address because the
/// address was moved there.
pub(super) fn followed_elsewhere(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    facts: &SourceFacts,
) -> Option<ReceiverError> {
    let first = first_progress(options, context).server_id;
    let is_moved = first != 0 && first != facts.server_id && options.server_id != facts.server_id;
    is_moved.then(|| {
        ReceiverError::Elsewhere(format!(
            "the address belongs now to the server with server_id {}, which another source of this relay \
             follows: its transactions arrive there until the address is moved again",
            facts.server_id
        ))
    })
}

/// Finds the path of the server that answers. A new one is aligned with the log first. `before` is the server
/// that answered before, if one did since the relay's start.
///
/// # Errors
/// When it cannot be asked, or it cannot be determined what of its binlog was delivered.
pub(super) async fn answering_path(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    facts: &SourceFacts,
    before: Option<&SourceFacts>,
) -> Result<AnsweringPath, ReceiverError> {
    let progress = first_progress(options, context);
    if facts.follows_by_gtid(&options.config) || progress.position.is_unknown() {
        return Ok(AnsweringPath::Known(options.number));
    }
    let name = format!("{}@{}", options.config.name, facts.server_key());
    let known = context.paths.number_of(&name);
    let has_progress = |path: &u16| {
        let state = context.log.state();
        let progress = state.sources.get(usize::from(*path));
        progress.is_some_and(|progress| !progress.position.is_unknown())
    };
    if let Some(path) = known.filter(has_progress) {
        return Ok(AnsweringPath::Known(path));
    }
    if !progress.is_of_another(facts.server_id) {
        return Ok(AnsweringPath::Known(options.number));
    }
    let before = before.filter(|before| before.server_id == progress.server_id);
    if is_same_server(options, facts, before, &progress).await? {
        return Ok(AnsweringPath::Known(options.number));
    }
    new_path(options, context, facts, (name, known), &progress).await
}

/// The path of a server that was not followed at this address before; `known` is its number if it has one
/// already, `progress` that of the server before it.
async fn new_path(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    facts: &SourceFacts,
    (name, known): (String, Option<u16>),
    progress: &SourceProgress,
) -> Result<AnsweringPath, ReceiverError> {
    if progress.reading_back {
        return Err(ReceiverError::setup(
            format!(
                "the source is another server: it has server_id {} instead of {}, and the relay log has \
                 not begun",
                facts.server_id, progress.server_id
            ),
            "point the address to the old server again, or start with an empty data_dir",
        ));
    }
    let mut earliest = options.clone();
    earliest.config.start = SourceStart::Earliest;
    // A connection cannot be reused after an aborted dump.
    let (mut connection, again) = connect(&earliest).await?;
    again.check_server(facts)?;
    let contact = explore(&mut connection, &earliest, again).await?;
    let state = context.log.state().clone();
    if let Some(missing) = missing(&contact.before, &state, facts.server_id) {
        return Err(ReceiverError::setup(
            format!(
                "another server (server_id {}) answers at the address, and has purged transactions that \
                 the relay log never had: {missing}",
                facts.server_id
            ),
            "point the address to the old server again until they have arrived from there",
        ));
    }
    let before = match contact.facts.identity_kind() {
        IdentityKind::Anonymous => align_with_log(options, context, &contact).await?,
        IdentityKind::MariaDb => {
            check_beginning(options, context, &contact).await?;
            Vec::new()
        }
        // Followed by file and position only on request; replicas ask for what they lack by GTID.
        IdentityKind::MySql => Vec::new(),
    };
    let path = match known {
        // Nothing of it is in the log yet, and files may have been purged since.
        Some(path) => {
            context.paths.align(path, before);
            path
        }
        None => {
            let name = name.into();
            context.paths.add(NewPath { name, before })
        }
    };
    tracing::info!(
        source = %options.config.name,
        "another server answers at the address: server_id {} instead of {}; its binlog is read from {}, and \
         what was delivered is recognised",
        facts.server_id,
        progress.server_id,
        contact.progress.position
    );
    Ok(AnsweringPath::New {
        path,
        begin: contact.progress.position,
        first_timestamp: contact.progress.first_timestamp,
    })
}

/// MariaDB: refuses a binlog that begins, before the first transaction that the log has, too, with one that the log lacks:
/// it may be older than the data that the replicas have, as a dump that was loaded is.
async fn check_beginning(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    contact: &FirstContact,
) -> Result<(), ReceiverError> {
    let lists_earlier = |before: &BinlogState| !before.is_empty();
    if contact.before.as_mariadb().is_some_and(lists_earlier) {
        return Ok(()); // The log has those that the first file lists.
    }
    let executed = context.log.state().executed.clone();
    let own = options.server_id;
    let (mut lacked, mut has_common) = (None, false);
    let mut accept = |batch: &TransactionBatch| {
        let others = batch.transactions.iter();
        for transaction in others.filter(|transaction| transaction.server_id != own) {
            has_common |= executed.contains(&transaction.identity);
            if !has_common && lacked.is_none() && !transaction.emptied {
                lacked = Some(transaction.identity);
            }
        }
    };
    let first = &contact.progress.position;
    read_binlog(options, &contact.facts, first, &mut accept).await?;
    let Some(lacked) = lacked else {
        return Ok(());
    };
    Err(ReceiverError::setup(
        format!(
            "another server (server_id {}) answers at the address, and its binlog begins with {lacked}, which the \
             relay log never had: no transaction precedes it that is in the relay log, too",
            contact.facts.server_id
        ),
        "if all of its binlog is new, run binrelay continue SOURCE --at earliest; otherwise run binrelay continue SOURCE \
         --at FILE:POS --skip-missing, with the end of the last transaction in this server's binlog that the replicas \
         have; or point the address to the old server again",
    ))
}
