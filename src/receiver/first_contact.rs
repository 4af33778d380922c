//! Where a dump starts, and the first contact with a source.
//!
//! | | first start | later |
//! |---|---|---|
//! | MySQL, GTIDs | `start`: the source's purged set, its executed set, or the configured one | all that the relay log holds |
//! | MySQL, file | `start`: the first file, the end, or the configured position | the end of the newest durable transaction |
//! | MariaDB, GTIDs | `start`: the configured one, or that of the first file or of the end | the newest GTID of each domain from this source, or before its start |
//! | MariaDB, file | as MySQL | as MySQL |
//!
//! The first contact also finds the transactions *before* the start: they count as delivered, so
//! that a copy that arrives by another path is not new.

use std::time::Duration;

use super::connect::{connect, within};
use super::dump_request::{FIRST_EVENT, dump_file, dump_gtid, prepare};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::identities::Identities;
use super::options::ReceiverOptions;
use super::scan::{Scanned, Until, scan};
use super::source_queries::{known_before, source_end};
use crate::binlog::FormatDescription;
use crate::config::SourceStart;
use crate::connection::Connection;
use crate::flavor::Flavor;
use crate::gtid::GtidPosition;
use crate::identity::{Executed, IdentityKind};
use crate::position::SourcePosition;
use crate::protocol::command::BINLOG_DUMP_NON_BLOCK;
use crate::relay_log::SourceProgress;

/// At the first contact, the time limit for a source that sends nothing, even if its
/// `read_timeout` is longer.
const FIRST_CONTACT_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of the first contact with a source.
#[derive(Debug, Clone)]
pub struct FirstContact {
    /// The server that answered.
    pub facts: SourceFacts,
    /// The format of the source's events.
    pub format: FormatDescription,
    /// All transactions before the start.
    pub before: Executed,
    /// The start; without GTIDs the position from which the source is read.
    pub progress: SourceProgress,
    /// Without GTIDs: the start, if it is after that position. Transactions between the two count
    /// as delivered, and are read to recognise copies of them.
    pub read_back_to: Option<SourcePosition>,
}

/// Connects to a source of which the relay log has nothing yet, and finds where to start.
///
/// # Errors
/// When it cannot be reached, or cannot be followed as it is set up, or its start cannot be found.
pub async fn first_contact(
    options: &ReceiverOptions,
    identities: &Identities,
) -> Result<FirstContact, ReceiverError> {
    let mut options = options.clone();
    let config = &mut options.config;
    // The other sources may be waiting for this one.
    config.read_timeout = config.read_timeout.min(FIRST_CONTACT_TIMEOUT);
    let (mut connection, facts) = connect(&options).await?;
    identities.note(options.number, &facts, options.server_id)?;
    let contact = explore(&mut connection, &options, facts).await?;
    if contact.facts.identity_kind() == IdentityKind::Anonymous {
        return read_back(&options, contact).await;
    }
    Ok(contact)
}

/// Without GTIDs: has the source read from its first file on. Transactions before `contact`'s start
/// are not recorded, but copies of them that other sources send must be recognised.
async fn read_back(
    options: &ReceiverOptions,
    mut contact: FirstContact,
) -> Result<FirstContact, ReceiverError> {
    let mut earliest = options.clone();
    earliest.config.start = SourceStart::Earliest;
    // A connection cannot be reused after an aborted dump.
    let (mut connection, facts) = connect(&earliest).await?;
    let first = explore(&mut connection, &earliest, facts).await?;
    let start = std::mem::replace(&mut contact.progress, first.progress).position;
    if start != contact.progress.position {
        contact.read_back_to = Some(start);
        contact.progress.reading_back = true;
    }
    Ok(contact)
}

/// Whether a binlog file is the first that its server ever wrote (since a reset).
fn is_first_file(name: &str) -> bool {
    let number = name.rsplit('.').next().unwrap_or_default();
    number.parse() == Ok(1)
}

/// Finds the configured start.
pub(super) async fn explore(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: SourceFacts,
) -> Result<FirstContact, ReceiverError> {
    prepare(connection, options, &facts).await?;
    let by_gtid = facts.follows_by_gtid(&options.config);
    let config = &options.config;
    let asking = async {
        let until = match &config.start {
            SourceStart::FilePosition(start) => Until::ConfiguredStart(start.clone()),
            SourceStart::Latest if !by_gtid => {
                Until::SourceEnd(source_end(connection, &facts).await?)
            }
            _ => Until::FirstTransaction,
        };
        let before = known_before(connection, &config.start, &facts, by_gtid).await?;
        Ok((until, before))
    };
    let (until, before) = within(config.read_timeout, asking).await?;
    let dump = match &before {
        Some(Executed::MySql(set)) => dump_gtid(options, BINLOG_DUMP_NON_BLOCK, set),
        _ => {
            let file = until.position().map(|position| position.file.clone());
            let from = SourcePosition::new(file.unwrap_or_default(), FIRST_EVENT);
            dump_file(options, &facts, BINLOG_DUMP_NON_BLOCK, &from)?
        }
    };
    within(config.read_timeout, async {
        Ok(connection.write_command(&dump).await?)
    })
    .await?;
    let kind = facts.identity_kind();
    let scanned = scan(connection, config.read_timeout, kind, &until).await?;
    first_contact_of(facts, &until, before, scanned)
}

/// Combines the answers and the scan.
fn first_contact_of(
    facts: SourceFacts,
    until: &Until,
    before: Option<Executed>,
    scanned: Scanned,
) -> Result<FirstContact, ReceiverError> {
    let Some(format) = scanned.position.format else {
        return Err(ReceiverError::setup(
            "the source sent no format description event",
            "check its error log",
        ));
    };
    let format = match Flavor::of_version(&format.server_version) == facts.flavor {
        true => format.as_ref().clone(),
        // A MariaDB server that still holds files of MySQL: none of their events is received.
        false => FormatDescription {
            server_version: facts.version.clone(),
            post_header_lengths: Vec::new(),
            ..format.as_ref().clone()
        },
    };
    let before = before.unwrap_or(scanned.before);
    let gtid_position = match &before {
        Executed::MariaDb(state) => state.position(),
        Executed::MySql(_) | Executed::Anonymous => GtidPosition::new(),
    };
    let (file, began) = (scanned.position.at.file, scanned.position.file_timestamp);
    let has_lost = facts.identity_kind() == IdentityKind::Anonymous && !is_first_file(&file);
    // A start in the head of a file that has nothing else is the next file's beginning.
    let end = until.position().filter(|end| end.file == file);
    let offset = end.map_or(FIRST_EVENT, |end| end.offset);
    let progress = SourceProgress {
        position: SourcePosition::new(file, offset),
        server_id: facts.server_id,
        gtid_position,
        sent: before.as_mariadb().cloned().unwrap_or_default(),
        first_timestamp: if has_lost { began } else { 0 },
        reading_back: false,
        last: None,
    };
    Ok(FirstContact {
        facts,
        format,
        before,
        progress,
        read_back_to: None,
    })
}
