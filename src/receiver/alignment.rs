//! The very first start without GTIDs, where files of a source were purged: which transactions of each
//! path precede another path's first file.
//!
//! Such transactions count as delivered, as everything does that is before any source's start. The binlogs
//! no longer show them on the other path, so they are found by order ([`anchor`](crate::merge::pairing::anchor)): a common transaction
//! anchors the two. All binlogs are read twice from their first files up to their ends; only the
//! beginning of each path is kept in memory.
//!
//! For a path P, an origin, and another path Q whose server was purged:
//!
//! | Q has transactions of the origin | P has | what precedes Q's first file on P |
//! |---|---|---|
//! | yes | its first one | what precedes this one |
//! | yes | others; Q has the first one of these | nothing |
//! | yes | others; they have none in common | undecidable |
//! | no, and it is Q's own server | any | all |
//! | no, and Q does not log what it replicates | any | nothing |
//! | no | some after P's start, which is `earliest` | undecidable |
//! | no | others | nothing: before P's start all count as delivered, and a configured position decides |

use std::collections::{BTreeMap, BTreeSet};

use super::connect::{connect, within};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::first_contact::FirstContact;
use super::options::ReceiverOptions;
use super::rereading::read_binlog;
use crate::config::SourceStart;
use crate::identity::{Fingerprint, Identity};
use crate::merge::pairing::anchor::{Anchor, Beginning, PrecedingTransactions, Search};
use crate::position::SourcePosition;
use crate::transaction::{Transaction, TransactionBatch};

/// A path: a source that has answered.
struct Path<'a> {
    options: &'a ReceiverOptions,
    facts: &'a SourceFacts,
    /// Where its binlog begins.
    first: SourcePosition,
    /// Its start, if it is after that.
    start: Option<SourcePosition>,
    /// Whether files before the first one are lost.
    is_purged: bool,
    /// Whether its server logs the transactions that it replicates.
    logs_updates: bool,
    /// By origin.
    origins: BTreeMap<u32, OnPath>,
}

/// One origin's transactions on a path.
#[derive(Default)]
struct OnPath {
    beginning: Beginning,
    /// Whether there is one after the path's start.
    is_after_start: bool,
}

/// A path's transactions, compared with the beginnings of the other paths.
#[derive(Default)]
struct Compared {
    origins: BTreeSet<u32>,
    /// By the number of the other path, and by origin.
    searches: BTreeMap<(u16, u32), Search>,
}

/// Why the paths cannot be aligned, and the source that is to report it.
pub(super) type NotAligned = (u16, ReceiverError);

/// Aligns the paths of the sources that have answered.
///
/// # Errors
/// When a source cannot be read, or order decides nothing. Trying again may help: the masters may have
/// replicated more by then.
pub(super) async fn align<'a>(
    contacts: impl Iterator<Item = (&'a ReceiverOptions, &'a FirstContact)>,
) -> Result<Vec<PrecedingTransactions>, NotAligned> {
    let mut paths = Vec::new();
    for (options, contact) in contacts {
        let path = Path::new(options, contact).await;
        paths.push(path.map_err(|error| (options.number, error))?);
    }
    if paths.len() < 2 || !paths.iter().any(|path| path.is_purged) {
        return Ok(Vec::new()); // Nothing is lost: all copies will be seen.
    }
    tracing::info!("comparing the binlogs of the sources, from which files were purged");
    for path in &mut paths {
        let number = path.options.number;
        path.read().await.map_err(|error| (number, error))?;
    }
    let mut compared = Vec::new();
    for path in &paths {
        let read = path.compare(&paths).await;
        compared.push(read.map_err(|error| (path.options.number, error))?);
    }
    let mut found = Vec::new();
    for (path, of_path) in paths.iter().zip(&compared) {
        for origin in path.origins.keys().copied() {
            let mut count = 0;
            for (other, of_other) in paths.iter().zip(&compared) {
                let pair = Pair {
                    path,
                    other,
                    of_path,
                    of_other,
                };
                let preceding = pair.count_preceding(origin);
                count = count.max(preceding.map_err(|error| (path.options.number, error))?);
            }
            if count > 0 {
                tracing::info!(
                    source = %path.options.config.name,
                    "its first {count} transactions of server_id {origin} precede another source's \
                     first file and count as delivered"
                );
                found.push(PrecedingTransactions {
                    path: path.options.number,
                    origin,
                    count,
                });
            }
        }
    }
    Ok(found)
}

impl<'a> Path<'a> {
    async fn new(
        options: &'a ReceiverOptions,
        contact: &'a FirstContact,
    ) -> Result<Self, ReceiverError> {
        let (mut connection, _) = connect(options).await?;
        let asking = async {
            // log_slave_updates, or log_replica_updates.
            let answer = connection
                .query("SHOW GLOBAL VARIABLES LIKE 'log\\_%\\_updates'")
                .await?;
            let value = answer.value(0, "Value");
            Ok(value.as_deref() != Some("OFF"))
        };
        let logs_updates = within(options.config.read_timeout, asking).await?;
        Ok(Self {
            options,
            facts: &contact.facts,
            first: contact.progress.position.clone(),
            start: contact.read_back_to.clone(),
            is_purged: contact.progress.first_timestamp != 0,
            logs_updates,
            origins: BTreeMap::new(),
        })
    }

    fn name(&self) -> &str {
        &self.options.config.name
    }

    /// Reads the beginnings.
    async fn read(&mut self) -> Result<(), ReceiverError> {
        let (origins, start) = (&mut self.origins, &self.start);
        let own = self.options.server_id;
        let mut accept = |batch: &TransactionBatch| {
            for (transaction, end, fingerprint) in transactions(batch, own) {
                let origin = transaction.server_id;
                let on_path = origins.entry(origin).or_default();
                on_path.beginning.add(&fingerprint);
                let is_before = start
                    .as_ref()
                    .is_some_and(|start| end == *start || end.precedes(start));
                on_path.is_after_start |= !is_before;
            }
        };
        read_binlog(self.options, self.facts, &self.first, &mut accept).await
    }

    /// Reads its binlog again, and searches it for the beginnings of the others.
    async fn compare(&self, paths: &[Path<'_>]) -> Result<Compared, ReceiverError> {
        let mut compared = Compared::default();
        let number = self.options.number;
        for other in paths.iter().filter(|other| other.options.number != number) {
            for (origin, on_path) in &other.origins {
                let key = (other.options.number, *origin);
                compared
                    .searches
                    .insert(key, Search::new(&on_path.beginning));
            }
        }
        let numbers = paths.iter().map(|path| path.options.number);
        let numbers: Vec<u16> = numbers.collect();
        let (origins, searches) = (&mut compared.origins, &mut compared.searches);
        let own = self.options.server_id;
        let mut accept = |batch: &TransactionBatch| {
            for (transaction, _, fingerprint) in transactions(batch, own) {
                let origin = transaction.server_id;
                origins.insert(origin);
                for number in &numbers {
                    if let Some(search) = searches.get_mut(&(*number, origin)) {
                        search.add(&fingerprint);
                    }
                }
            }
        };
        read_binlog(self.options, self.facts, &self.first, &mut accept).await?;
        Ok(compared)
    }
}

/// The transactions of a batch that are not the relay's own: origin, end and identity.
pub(super) fn transactions(
    batch: &TransactionBatch,
    own_server_id: u32,
) -> impl Iterator<Item = (&Transaction, SourcePosition, Fingerprint)> {
    batch.transactions.iter().filter_map(move |transaction| {
        let Identity::Anonymous(fingerprint) = transaction.identity else {
            return None;
        };
        let file = batch.source_end.file.clone();
        let end = SourcePosition::new(file, transaction.source_offset);
        (transaction.server_id != own_server_id).then_some((transaction, end, fingerprint))
    })
}

/// A path, and another one whose first file may follow some of its transactions.
struct Pair<'a> {
    path: &'a Path<'a>,
    other: &'a Path<'a>,
    of_path: &'a Compared,
    of_other: &'a Compared,
}

impl Pair<'_> {
    /// How many of the origin's transactions on `path` precede the first file of `other`.
    fn count_preceding(&self, origin: u32) -> Result<u64, ReceiverError> {
        let (number, other_number) = (self.path.options.number, self.other.options.number);
        let Some(on_path) = self.path.origins.get(&origin) else {
            return Ok(0);
        };
        if number == other_number || !self.other.is_purged {
            return Ok(0);
        }
        let Some(search) = self.of_path.searches.get(&(other_number, origin)) else {
            return self.count_preceding_of_absent(origin, on_path);
        };
        match search.anchor() {
            // The origin's own binlog omits nothing. So it begins after those that the other has before.
            Anchor::At { skipped, .. } if skipped > 0 && self.path.facts.server_id == origin => {
                Ok(0)
            }
            Anchor::At { before, .. } => Ok(before),
            Anchor::Ambiguous => Err(self.looks_alike(origin)),
            Anchor::Absent => {
                let search = self.of_other.searches.get(&(number, origin));
                match search.map(Search::anchor) {
                    Some(Anchor::At { .. }) => Ok(0),
                    Some(Anchor::Ambiguous) => Err(self.looks_alike(origin)),
                    Some(Anchor::Absent) | None => Err(self.nothing_common(origin)),
                }
            }
        }
    }

    /// As [`Pair::count_preceding`], where `other` has no transaction of the origin.
    fn count_preceding_of_absent(
        &self,
        origin: u32,
        on_path: &OnPath,
    ) -> Result<u64, ReceiverError> {
        let is_own = self.other.facts.server_id == origin;
        // Its binlog was read again after `path` was read.
        if is_own && !self.of_other.origins.contains(&origin) {
            return Ok(on_path.beginning.len());
        }
        let is_decided = !on_path.is_after_start
            || self.path.options.config.start != SourceStart::Earliest
            || !is_own && !self.other.logs_updates;
        match is_decided {
            true => Ok(0),
            false => Err(self.undecided(origin)),
        }
    }

    fn undecided(&self, origin: u32) -> ReceiverError {
        let other = self.other.name();
        ReceiverError::setup(
            format!(
                "files of source \"{other}\" were purged, and the remaining ones contain no \
                 transaction of server_id {origin}: it cannot be determined which transactions of \
                 that server in this source's binlog precede those files"
            ),
            format!(
                "configure as start of this source the coordinates in its binlog up to which source \
                 \"{other}\" had applied it at its own start (SHOW REPLICA STATUS or SHOW SLAVE STATUS \
                 there: Relay_Source_Log_File and Exec_Source_Log_Pos, in older versions \
                 Relay_Master_Log_File and Exec_Master_Log_Pos)"
            ),
        )
    }

    fn nothing_common(&self, origin: u32) -> ReceiverError {
        let other = self.other.name();
        ReceiverError::setup(
            format!(
                "files of this source's peer \"{other}\" were purged, and the two binlogs have no \
                 common transaction of server_id {origin}: it cannot be determined which \
                 transactions of that server in this source's binlog precede the peer's first file"
            ),
            format!(
                "let the replication between this source and \"{other}\" catch up: the relay compares them \
                 again and then begins"
            ),
        )
    }

    fn looks_alike(&self, origin: u32) -> ReceiverError {
        let other = self.other.name();
        ReceiverError::setup(
            format!(
                "transactions of the server with server_id {origin} in the first file of source \
                 \"{other}\" cannot be distinguished from others in this source's binlog"
            ),
            "write other transactions on that server: the relay compares the binlogs again and then \
             begins",
        )
    }
}
