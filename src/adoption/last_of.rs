//! Without GTIDs: where a replica's last transactions are in the log.
//!
//! The transactions of one origin have the same order in every log. So the replica has all
//! transactions of an origin up to the last one in its relay log. That one is recognised by its
//! fingerprint, and by those before it.

use std::collections::{BTreeMap, VecDeque};

use super::error::AttachError;
use super::messages::OriginEnd;
use crate::identity::Fingerprint;
use crate::merge::pairing::second;
use crate::position::RecordNumber;
use crate::relay_log::held::{LogPart, RecordSet};
use crate::relay_log::index_record::{Record, RecordedIdentity};
use crate::relay_log::removed_until;

/// The search for the end of one origin's transactions.
struct Search {
    last: Vec<Fingerprint>,
    /// The log's newest transactions of the origin, at most as many as `last`.
    window: VecDeque<Fingerprint>,
    /// Where the last ones match, and their number.
    found: Option<RecordNumber>,
    count: u64,
    is_in_log: bool,
}

impl Search {
    fn pass(&mut self, fingerprint: Fingerprint, record: RecordNumber) {
        if self.window.len() == self.last.len() {
            self.window.pop_front();
        }
        self.window.push_back(fingerprint);
        let mut pairs = self.window.iter().rev().zip(self.last.iter().rev());
        if !self.last.is_empty() && pairs.all(|(one, other)| one.same_content(other)) {
            self.found = Some(record);
            self.count += 1;
        }
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
    each_transaction(part, |fingerprint, server_id, record, is_delivered| {
        let Some(search) = searches.get_mut(&server_id) else {
            return match is_delivered {
                true => Err(AttachError::OriginUnknown(server_id)),
                false => Ok(()),
            };
        };
        search.is_in_log |= is_delivered;
        if let Some(fingerprint) = fingerprint {
            search.pass(fingerprint, record);
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

/// Passes the transactions that count as delivered to `accept`: the fingerprint, if it can be
/// compared; the origin; the record; and whether it is in the log.
fn each_transaction(
    part: &LogPart<'_>,
    mut accept: impl FnMut(Option<Fingerprint>, u32, RecordNumber, bool) -> Result<(), AttachError>,
) -> Result<(), AttachError> {
    part.visit(&mut |visited| {
        let (transaction, emptied) = match visited.record {
            Record::Transaction {
                transaction,
                emptied,
                ..
            } => (transaction, *emptied),
            Record::BeforeStart { transaction, .. } => (transaction, false),
            _ => return Ok(()),
        };
        let RecordedIdentity::Anonymous(fingerprint) = transaction.identity else {
            return Err(AttachError::UseGtids);
        };
        let is_compared =
            is_comparable(&fingerprint) && (!emptied || fingerprint.commit_timestamp != 0);
        let is_delivered = visited.logged.is_some();
        let compared = is_compared.then_some(fingerprint);
        accept(compared, transaction.server_id, visited.at, is_delivered)
    })
}
