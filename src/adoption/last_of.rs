//! Without GTIDs: where a replica's last transactions are in the log.
//!
//! The transactions of one origin have the same order in every log. So the replica has all
//! transactions of an origin up to the last one in its relay log. That one is recognised by its
//! fingerprint, and by those before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::error::AttachError;
use super::messages::OriginEnd;
use crate::identity::Fingerprint;
use crate::merge::pairing::second;
use crate::position::RecordNumber;
use crate::relay_log::held::{LogPart, RecordSet};
use crate::relay_log::index_record::{Record, RecordedIdentity};
use crate::relay_log::removed_until;

/// How many different seconds suffice to recognise transactions all of which the filter has altered.
const SECONDS_MIN: usize = 20;

/// A transaction of the log that can be compared.
#[derive(Debug, Clone, Copy)]
struct Compared {
    fingerprint: Fingerprint,
    /// Whether the replica has received other events than those of the fingerprint, which is that of the source's
    /// transaction: then only the time can be compared.
    is_altered: bool,
}

/// The search for the end of one origin's transactions.
struct Search {
    last: Vec<Fingerprint>,
    /// The log's newest transactions of the origin, at most as many as `last`.
    window: VecDeque<Compared>,
    /// Where the last ones match, and their number.
    found: Option<RecordNumber>,
    count: u64,
    is_in_log: bool,
}

impl Search {
    fn pass(&mut self, compared: Compared, record: RecordNumber) {
        if self.window.len() == self.last.len() {
            self.window.pop_front();
        }
        self.window.push_back(compared);
        if self.matches() {
            self.found = Some(record);
            self.count += 1;
        }
    }

    /// Whether the replica's last transactions are those of the window: at least one by its content, or very many by
    /// their times.
    fn matches(&self) -> bool {
        let (mut is_same_content, mut seconds) = (false, BTreeSet::new());
        for (one, other) in self.window.iter().rev().zip(self.last.iter().rev()) {
            let Compared {
                fingerprint,
                is_altered,
            } = one;
            if fingerprint.same_content(other) {
                is_same_content = true;
            } else if *is_altered
                && fingerprint.commit_timestamp == 0
                && fingerprint.timestamp == other.timestamp
            {
                seconds.insert(fingerprint.timestamp);
            } else {
                return false;
            }
        }
        is_same_content || seconds.len() >= SECONDS_MIN
    }
}

/// An empty transaction has no fingerprint of its own, unless it has a commit timestamp.
pub(super) fn is_comparable(fingerprint: &Fingerprint) -> bool {
    let form = Fingerprint::HAS_STATEMENTS | Fingerprint::HAS_ROWS;
    fingerprint.commit_timestamp != 0 || fingerprint.traits & form != 0
}

/// The transactions up to the last ones of each origin.
pub(super) fn held_up_to(part: &LogPart<'_>, ends: &[OriginEnd]) -> Result<RecordSet, AttachError> {
    let mut searches: BTreeMap<u32, Search> = BTreeMap::new();
    for end in ends {
        let last = end.last.iter().map(|one| Fingerprint::from(*one));
        let search = Search {
            last: last.filter(is_comparable).collect(),
            window: VecDeque::new(),
            found: None,
            count: 0,
            is_in_log: false,
        };
        searches.insert(end.server_id, search);
    }
    each_transaction(part, |compared, server_id, record, is_delivered| {
        let Some(search) = searches.get_mut(&server_id) else {
            return match is_delivered {
                true => Err(AttachError::OriginUnknown(server_id)),
                false => Ok(()),
            };
        };
        search.is_in_log |= is_delivered;
        if let Some(compared) = compared {
            search.pass(compared, record);
        }
        Ok(())
    })?;
    check_removed(part, &searches)?;
    let mut ends = BTreeMap::new();
    for (server_id, search) in searches {
        match (search.found, search.count) {
            (Some(record), 1) => {
                ends.insert(server_id, record);
            }
            (None, _) if !search.is_in_log => {}
            (None, _) => {
                let (file, offset) = (part.log_dir.file_name(part.end.file), part.end.offset);
                return Err(AttachError::LastNotFound {
                    server_id,
                    end: format!("{file}:{offset}"),
                });
            }
            (Some(_), count) => return Err(AttachError::Ambiguous { server_id, count }),
        }
    }
    let mut held = RecordSet::default();
    each_transaction(part, |_, server_id, record, _| {
        if ends.get(&server_id).is_some_and(|end| record <= *end) {
            held.insert(record);
        }
        Ok(())
    })?;
    Ok(held)
}

/// Refuses a replica that may lack transactions which were removed from the log: the log has no later ones of
/// their server, and the replica's last one is not certainly later.
fn check_removed(part: &LogPart<'_>, searches: &BTreeMap<u32, Search>) -> Result<(), AttachError> {
    for (server_id, until) in removed_until::read(part.log_dir)? {
        let is_held = searches.get(&server_id).is_some_and(|search| {
            let newest = search.last.iter().map(second).max();
            search.is_in_log || newest.is_some_and(|newest| newest > until)
        });
        if !is_held {
            return Err(AttachError::OriginUnknown(server_id));
        }
    }
    Ok(())
}

/// Passes the transactions that count as delivered to `accept`: what can be compared of each, if anything can; the
/// origin; the record; and whether it is in the log.
fn each_transaction(
    part: &LogPart<'_>,
    mut accept: impl FnMut(Option<Compared>, u32, RecordNumber, bool) -> Result<(), AttachError>,
) -> Result<(), AttachError> {
    part.visit(&mut |visited| {
        let (transaction, emptied, is_altered) = match visited.record {
            Record::Transaction {
                transaction,
                emptied,
                altered,
                ..
            } => (transaction, *emptied, *altered),
            Record::BeforeStart { transaction, .. } => (transaction, false, false),
            _ => return Ok(()),
        };
        let RecordedIdentity::Anonymous(fingerprint) = transaction.identity else {
            return Err(AttachError::UseGtids);
        };
        let is_compared =
            is_comparable(&fingerprint) && (!emptied || fingerprint.commit_timestamp != 0);
        let is_delivered = visited.logged.is_some();
        let compared = is_compared.then_some(Compared {
            fingerprint,
            is_altered,
        });
        accept(compared, transaction.server_id, visited.at, is_delivered)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: u64, timestamp: u32) -> Fingerprint {
        Fingerprint {
            content,
            timestamp,
            ..Fingerprint::default()
        }
    }

    /// The record after which the replica's last transactions are found, and how often. The replica has `last`; the
    /// log has `log`, with what the filter has altered.
    fn found(last: Vec<Fingerprint>, log: &[(u64, u32, bool)]) -> (Option<u64>, u64) {
        let mut search = Search {
            last,
            window: VecDeque::new(),
            found: None,
            count: 0,
            is_in_log: true,
        };
        for (record, (content, timestamp, is_altered)) in (0..).zip(log) {
            let compared = Compared {
                fingerprint: of(*content, *timestamp),
                is_altered: *is_altered,
            };
            search.pass(compared, RecordNumber { file: 1, record });
        }
        (search.found.map(|record| record.record), search.count)
    }

    #[test]
    fn altered_transactions_are_recognised_by_those_around_them() {
        let log = [
            (1, 5, false),
            (2, 5, false),
            (3, 6, true),
            (4, 6, true),
            (5, 7, false),
        ];
        let last = vec![of(1, 5), of(2, 5), of(33, 6)];
        assert_eq!(found(last.clone(), &log), (Some(2), 1));
        assert_eq!(found([last, vec![of(44, 6)]].concat(), &log), (Some(3), 1));
        // The last one was altered, and is of another second.
        assert_eq!(found(vec![of(2, 5), of(33, 7)], &log), (None, 0));
        // Nothing but seconds fits.
        assert_eq!(found(vec![of(33, 6)], &log), (None, 0));
        // The replica is ahead of the log.
        let ahead = vec![of(2, 5), of(33, 6), of(44, 6), of(45, 6)];
        assert_eq!(found(ahead, &log), (None, 0));
    }

    #[test]
    fn transactions_all_of_which_were_altered_are_recognised_by_many_seconds() {
        let log: Vec<_> = (0..40).map(|at| (at, 100 + at as u32 / 2, true)).collect();
        let replica = |to: usize| {
            log[..to]
                .iter()
                .map(|(at, second, _)| of(*at + 900, *second))
        };
        assert_eq!(found(replica(39).collect(), &log), (Some(38), 1));
        assert_eq!(found(replica(38).skip(30).collect(), &log), (None, 0));
    }
}
