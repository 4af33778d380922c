//! The transactions that a source lacks, one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::messages::MissingTransaction;
use super::source_has::Known;
use crate::gtid::MariaDbGtid;
use crate::identity::Identity;
use crate::inspect::{Describer, Description, EventReader};
use crate::one_line::escaped;
use crate::relay_log::LogError;
use crate::relay_log::held::{Held, LogPart, Logged, Visited};
use crate::relay_log::index_record::Record;
use crate::utc;

/// The most transactions that are listed: the answer must fit into memory.
const LISTED_MAX: usize = 10_000;
/// The events of a transaction that are read for its summary.
const EVENTS_MAX: usize = 100;
/// The statements and rows that a summary shows.
const SHOWN_MAX: usize = 3;
/// The characters of a statement that a summary shows.
const STATEMENT_CHARS: usize = 80;
/// Bytes of an event that are kept.
const KEPT_MAX: usize = 64 * 1024;

/// What a source lacks.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) total: u64,
    pub(super) bytes: u64,
    pub(super) altered: u64,
    /// Those of which the filter has left nothing; not in the other numbers.
    pub(super) filtered: u64,
    /// Those with the server_id of the source itself, if that is known.
    pub(super) own: Option<u64>,
    pub(super) transactions: Vec<MissingTransaction>,
    /// By server_id: those that the source lacks, and whether it has a later one.
    origins: BTreeMap<u32, (u64, bool)>,
    /// MariaDB: the last one of each domain that a rescue has.
    pub(super) last: BTreeMap<u32, MariaDbGtid>,
    /// Those that a rescue does not have although others after them are in it; on MariaDB, others of the same
    /// domain. Afterwards no position tells the source's state: it would skip them forever.
    pub(super) skipped: u64,
    /// Those that a rescue does not have, by domain (0 without MariaDB's GTIDs), since the last one that it has.
    unwritten: BTreeMap<u32, u64>,
    /// Without GTIDs: transactions that the source was the first to execute, and that are not in its binlog. They
    /// are not in the other numbers: it cannot be given them.
    pub(super) own_lost: u64,
}

impl Listing {
    /// Reads the whole log. `with_altered`: whether a rescue has altered transactions, too.
    pub(super) fn read(
        part: &LogPart<'_>,
        known: &Known,
        with_altered: bool,
    ) -> Result<Self, LogError> {
        let mut listing = Self {
            own: known.server_id.map(|_| 0),
            ..Self::default()
        };
        let mut texts = Texts::default();
        part.visit::<LogError>(&mut |visited| {
            let Some(logged) = &visited.logged else {
                return Ok(());
            };
            if known.has(logged) {
                if let Some((count, has_later)) = listing.origins.get_mut(&logged.server_id) {
                    *has_later |= *count > 0;
                }
                listing.own_lost += u64::from(is_own_lost(visited.record, logged, known));
                return Ok(());
            }
            listing.note_written(logged, with_altered);
            if logged.emptied {
                listing.filtered += 1;
                return Ok(());
            }
            listing.count(logged, known);
            if listing.transactions.len() < LISTED_MAX {
                let one = transaction(part, visited, logged, &mut texts)?;
                listing.transactions.push(one);
            }
            Ok(())
        })?;
        Ok(listing)
    }

    fn count(&mut self, logged: &Logged, known: &Known) {
        self.total += 1;
        self.bytes += logged.end - logged.begin;
        self.altered += u64::from(logged.altered);
        if let Some(own) = &mut self.own {
            *own += u64::from(known.is_own(logged));
        }
        self.origins.entry(logged.server_id).or_default().0 += 1;
    }

    /// Notes whether a rescue has a transaction that the source lacks.
    fn note_written(&mut self, logged: &Logged, with_altered: bool) {
        let domain = match logged.identity {
            Identity::MariaDb(gtid) => gtid.domain_id,
            _ => 0,
        };
        if logged.emptied || (logged.altered && !with_altered) {
            *self.unwritten.entry(domain).or_default() += 1;
            return;
        }
        self.skipped += self.unwritten.remove(&domain).unwrap_or_default();
        if let Identity::MariaDb(gtid) = logged.identity {
            self.last.insert(domain, gtid);
        }
    }

    pub(super) fn not_listed(&self) -> u64 {
        self.total.saturating_sub(self.transactions.len() as u64)
    }

    /// Without GTIDs: a server of which the source has a later transaction than some that it lacks, and how many
    /// it lacks. Each path has a server's transactions in the same order, so its binlog is not complete.
    pub(super) fn gap(&self, known: &Known) -> Option<(u32, u64)> {
        if !matches!(known.held, Held::Records(_)) {
            return None;
        }
        let mut origins = self.origins.iter();
        let found = origins.find(|(_, (_, has_later))| *has_later);
        found.map(|(server_id, (count, _))| (*server_id, *count))
    }
}

/// Whether the source was the first to execute it, and its binlog does not have it. One that another server may have
/// logged twice is no other transaction.
fn is_own_lost(record: &Record, logged: &Logged, known: &Known) -> bool {
    let executed_again = matches!(
        record,
        Record::Transaction {
            may_be_repetition: true,
            ..
        }
    );
    !executed_again && !known.held.has(logged)
}

fn transaction(
    part: &LogPart<'_>,
    visited: &Visited<'_>,
    logged: &Logged,
    texts: &mut Texts,
) -> Result<MissingTransaction, LogError> {
    let at = visited.index.position(visited.step)?;
    let time_us = visited.record.transaction().map(|one| one.commit_time_us());
    let time = time_us.filter(|us| *us != 0).and_then(utc::microseconds);
    let text = texts.of(part, logged);
    Ok(MissingTransaction {
        file: part.log_dir.file_name(logged.file),
        position: logged.begin,
        end_position: logged.end,
        source: visited.index.name_of(visited.step)?.to_string(),
        source_file: escaped(&at.file).into_owned(),
        source_position: at.offset,
        time,
        server_id: logged.server_id,
        gtid: match logged.identity {
            Identity::MySql(gtid) => Some(gtid.to_string()),
            Identity::MariaDb(gtid) => Some(gtid.to_string()),
            Identity::Anonymous(_) => None,
        },
        databases: text.databases.into_iter().collect(),
        summary: text.summary,
        altered: logged.altered,
    })
}

/// What a transaction does.
#[derive(Debug, Default)]
struct Text {
    databases: BTreeSet<String>,
    summary: String,
}

/// Reads transactions of the log for their summaries.
#[derive(Debug, Default)]
struct Texts {
    open: Option<(u64, EventReader)>,
}

impl Texts {
    /// A transaction that cannot be read has no summary: what is missing does not depend on that.
    fn of(&mut self, part: &LogPart<'_>, logged: &Logged) -> Text {
        if self
            .open
            .as_ref()
            .is_none_or(|(file, _)| *file != logged.file)
        {
            self.open = open(part, logged.file).map(|reader| (logged.file, reader));
        }
        let mut text = Text::default();
        if let Some((_, reader)) = &mut self.open {
            read(reader, logged, &mut text);
        }
        text
    }
}

/// The format description is read at once: events depend on it.
fn open(part: &LogPart<'_>, file: u64) -> Option<EventReader> {
    let mut reader = EventReader::open(&part.log_dir.log_path(file), KEPT_MAX).ok()?;
    reader.next_event().ok()?;
    Some(reader)
}

fn read(reader: &mut EventReader, logged: &Logged, text: &mut Text) {
    if reader.seek(logged.begin).is_err() {
        return;
    }
    let (mut describer, mut shown, mut more) = (Describer::new(), Vec::new(), 0);
    for _ in 0..EVENTS_MAX {
        if reader.offset() >= logged.end {
            break;
        }
        let Ok(Some(event)) = reader.next_event() else {
            break;
        };
        let Ok(found) = describer.describe(&reader.bytes(), &event) else {
            continue;
        };
        if let Some(database) = &found.database
            && !found.is_transaction_keyword
        {
            let database = String::from_utf8_lossy(database);
            text.databases.insert(escaped(&database).into_owned());
        }
        if let Some(one) = summary(&found, &event.header.event_type.to_string()) {
            match shown.len() < SHOWN_MAX {
                true => shown.push(one),
                false => more += 1,
            }
        }
    }
    text.summary = shown.join("; ");
    if more > 0 || reader.offset() < logged.end {
        text.summary.push_str("; …");
    }
}

fn summary(found: &Description, event_type: &str) -> Option<String> {
    if let Some(statement) = &found.statement {
        let statement = String::from_utf8_lossy(statement);
        let statement = escaped(&statement);
        let mut short: String = statement.chars().take(STATEMENT_CHARS).collect();
        if short.len() < statement.len() {
            short.push('…');
        }
        return (!found.is_transaction_keyword).then_some(short);
    }
    let rows = found.rows?;
    let table = String::from_utf8_lossy(found.table.as_deref().unwrap_or(b"?"));
    let rows = rows.map_or("?".to_owned(), |rows| rows.to_string());
    Some(format!("{event_type} {} rows={rows}", escaped(&table)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::RecordNumber;

    fn logged(gtid: &str, emptied: bool, altered: bool) -> Logged {
        Logged {
            record: RecordNumber { file: 1, record: 9 },
            file: 1,
            begin: 4,
            end: 5,
            identity: Identity::MariaDb(gtid.parse().unwrap()),
            server_id: 80,
            emptied,
            altered,
            executed_again: false,
        }
    }

    #[test]
    fn position_after_a_rescue_has_only_what_is_written() {
        let all = [
            logged("0-80-1", false, false),
            logged("0-80-2", false, true),
            logged("1-80-1", true, false),
            logged("2-80-1", false, false),
        ];
        let note = |transactions: &[Logged], with_altered| {
            let mut listing = Listing::default();
            for one in transactions {
                listing.note_written(one, with_altered);
            }
            let last: Vec<String> = listing.last.values().map(ToString::to_string).collect();
            (last.join(","), listing.skipped)
        };
        assert_eq!(note(&all, false), ("0-80-1,2-80-1".to_owned(), 0));
        assert_eq!(note(&all, true), ("0-80-2,2-80-1".to_owned(), 0));
        // Another one of the domain, or of the other domain, follows.
        for (next, unwritten, skipped) in [("0-80-3", 1, 0), ("1-80-2", 1, 1)] {
            let mut more = all.to_vec();
            more.push(logged(next, false, false));
            assert_eq!(note(&more, false).1, unwritten, "{next}");
            assert_eq!(note(&more, true).1, skipped, "{next}");
        }
    }
}
