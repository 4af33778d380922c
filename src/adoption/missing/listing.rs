//! The transactions that a source lacks, one by one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::messages::MissingTransaction;
use super::source_has::Known;
use crate::gtid::MariaDbGtid;
use crate::identity::Identity;
use crate::inspect::{Describer, Description, EventReader};
use crate::one_line::escaped;
use crate::relay_log::LogError;
use crate::relay_log::held::{Held, LogPart, Logged, Visited};

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
    /// MariaDB: the last one of each domain.
    pub(super) last: BTreeMap<u32, MariaDbGtid>,
}

impl Listing {
    /// Reads the whole log.
    pub(super) fn read(part: &LogPart<'_>, known: &Known) -> Result<Self, LogError> {
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
                return Ok(());
            }
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
        if let Identity::MariaDb(gtid) = logged.identity {
            self.last.insert(gtid.domain_id, gtid);
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

fn transaction(
    part: &LogPart<'_>,
    visited: &Visited<'_>,
    logged: &Logged,
    texts: &mut Texts,
) -> Result<MissingTransaction, LogError> {
    let at = visited.index.position(visited.step)?;
    let time_us = visited.record.transaction().map(|one| one.commit_time_us());
    let time = time_us.filter(|us| *us != 0).and_then(time_text);
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

/// Microseconds since 1970 as text, in UTC.
fn time_text(us: u64) -> Option<String> {
    let time = Timestamp::from_microsecond(i64::try_from(us).ok()?).ok()?;
    let format = match us % 1_000_000 {
        0 => "%Y-%m-%dT%H:%M:%SZ",
        _ => "%Y-%m-%dT%H:%M:%S.%6fZ",
    };
    Some(time.strftime(format).to_string())
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

    #[test]
    fn times_have_the_precision_that_is_known() {
        assert_eq!(time_text(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        let exact = time_text(1_700_000_000_000_012);
        assert_eq!(exact.as_deref(), Some("2023-11-14T22:13:20.000012Z"));
        assert_eq!(time_text(u64::MAX), None);
    }
}
