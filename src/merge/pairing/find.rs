//! Where an arriving transaction is in its path's queue.
//!
//! Copies in the same binlog format have the same content. When one server has logged a statement
//! and another its rows, only the order, the second, the databases and the kinds of changes can be
//! compared, and:
//!
//! - A transaction of statements that ends with a COMMIT statement ([`may_be_without_rows`]) has
//!   changed no transactional table. A peer that logs rows has a copy of it only if it changed
//!   nontransactional tables, and then these rows end with a COMMIT statement, too. So it is never
//!   paired with rows that end otherwise.
//! - A path has the transactions of one origin in their order. The origin's own path omits none,
//!   so what it sends is not later than the first entry of its queue. If it is not this entry, the
//!   peers omitted it. A peer that logs rows omits statements that changed no row. They must not be
//!   delivered after later transactions, whose rows they might change. It omits no others: if one is
//!   missing, or the peer sends another one first, it cannot be determined what is new.

use std::collections::VecDeque;

use super::arrival::{Arrival, Unaligned};
use super::delivered::{Delivered, Ledger};
use crate::identity::Fingerprint;
use crate::position::RecordNumber;

/// Where a transaction was found in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    First {
        other_format: bool,
    },
    Later {
        index: usize,
        other_format: bool,
    },
    /// Beyond the entries in memory: its record of the ledger, and the path that delivered it.
    Beyond {
        record: RecordNumber,
        path: u16,
    },
    Skipped(usize),
    /// It is a statement that changed no row, or whose rows were delivered.
    WithoutEffect,
    /// It is not in the queue, although order says that it is, unless one server has logged
    /// changes that another has not.
    Omitted,
    Absent,
}

/// A queue that is searched.
pub(super) struct Queue<'a> {
    pub(super) window: &'a VecDeque<Delivered>,
    /// Where the queue continues in the ledger after the window.
    pub(super) rest: Option<RecordNumber>,
    /// See [`super::path::PathState::own_until`].
    pub(super) own_until: RecordNumber,
    pub(super) skipped: &'a VecDeque<Delivered>,
    /// Whether a peer logs rows where the origin logs statements, and the origin's own path has sent
    /// the arrival or all entries.
    pub(super) formats_differ: bool,
}

/// Whether it is a statement that may have changed no row, so that a peer may have no copy of it.
pub(super) fn may_be_without_rows(fingerprint: &Fingerprint) -> bool {
    fingerprint.traits & Fingerprint::MAY_BE_WITHOUT_ROWS != 0
}

/// Whether it is one statement outside BEGIN and COMMIT.
pub(super) fn is_lone(fingerprint: &Fingerprint) -> bool {
    fingerprint.traits & Fingerprint::LONE_STATEMENT != 0
}

/// Whether two transactions with BEGIN both end with a COMMIT statement, or none of them does.
fn end_alike(one: &Fingerprint, two: &Fingerprint) -> bool {
    let differing = one.traits ^ two.traits;
    let is_either_lone = is_lone(one) || is_lone(two);
    !is_either_lone && differing & Fingerprint::ENDED_BY_STATEMENT == 0
}

/// Whether it consists of statements in a transaction, at least partly.
fn has_statements(fingerprint: &Fingerprint) -> bool {
    fingerprint.traits & Fingerprint::HAS_STATEMENTS != 0 && !is_lone(fingerprint)
}

/// Whether the two may have changed the same database.
fn share_database(one: &Fingerprint, two: &Fingerprint) -> bool {
    let [one, two] = [one, two].map(|one| one.traits & Fingerprint::ANY_DATABASE);
    one & two != 0 || one == 0 || two == 0
}

impl Queue<'_> {
    pub(super) fn find(&self, arrival: &Arrival, ledger: &impl Ledger) -> Result<Found, Unaligned> {
        let fingerprint = &arrival.fingerprint;
        let same = |entry: &Delivered| entry.fingerprint.same_content(fingerprint);
        if self.window.front().is_some_and(same) {
            return Ok(Found::First {
                other_format: false,
            });
        }
        if let Some(index) = self.skipped.iter().position(same) {
            return Ok(Found::Skipped(index));
        }
        if let Some(index) = self.window.iter().position(same) {
            return Ok(Found::Later {
                index,
                other_format: false,
            });
        }
        match may_be_without_rows(fingerprint) {
            true => self.find_without_rows(arrival, ledger),
            false => self.find_other_format(arrival, ledger),
        }
    }

    /// Finds a statement that may have changed no row.
    fn find_without_rows(
        &self,
        arrival: &Arrival,
        ledger: &impl Ledger,
    ) -> Result<Found, Unaligned> {
        let fingerprint = &arrival.fingerprint;
        let similar = |entry: &Delivered| entry.fingerprint.may_be_other_format(fingerprint);
        let pairs =
            |first: &Delivered| similar(first) && end_alike(&first.fingerprint, fingerprint);
        if arrival.is_direct() && self.window.front().is_some_and(pairs) {
            return Ok(Found::First { other_format: true });
        }
        let is_ahead = self.formats_differ && arrival.is_direct() && !is_lone(fingerprint);
        let is_overtaken =
            |entry: &Delivered| is_ahead && share_database(&entry.fingerprint, fingerprint);
        // If it changed no row, dropping it loses nothing. If it did, its rows were delivered.
        let is_old = |entry: &Delivered| similar(entry) || is_overtaken(entry);
        if self.window.iter().any(is_old) || self.skipped.iter().any(similar) {
            return Ok(Found::WithoutEffect);
        }
        let same = |entry: &Delivered| entry.fingerprint.same_content(fingerprint);
        let beyond = self.first_beyond(arrival, ledger, |entry| same(entry) || is_old(entry))?;
        Ok(match beyond {
            Some(entry) if same(&entry) => Found::Beyond {
                record: entry.record,
                path: entry.path,
            },
            Some(_) => Found::WithoutEffect,
            None => Found::Absent,
        })
    }

    /// Finds a transaction that another server may have logged in another format.
    fn find_other_format(
        &self,
        arrival: &Arrival,
        ledger: &impl Ledger,
    ) -> Result<Found, Unaligned> {
        let fingerprint = &arrival.fingerprint;
        let same = |entry: &Delivered| entry.fingerprint.same_content(fingerprint);
        let similar = |entry: &Delivered| entry.fingerprint.may_be_other_format(fingerprint);
        let alike =
            |entry: &Delivered| similar(entry) && end_alike(&entry.fingerprint, fingerprint);
        let sure = |entry: &Delivered| similar(entry) && !may_be_without_rows(&entry.fingerprint);
        let position = self.window.iter().position(alike);
        match position.or_else(|| self.window.iter().position(sure)) {
            Some(0) => return Ok(Found::First { other_format: true }),
            Some(index) => {
                return Ok(Found::Later {
                    index,
                    other_format: true,
                });
            }
            None => {}
        }
        let possible = |entry: &Delivered| alike(entry) || sure(entry);
        if let Some(index) = self.skipped.iter().position(possible) {
            return Ok(Found::Skipped(index));
        }
        let copy = |entry: &Delivered| same(entry) || possible(entry);
        if let Some(entry) = self.first_beyond(arrival, ledger, copy)? {
            return Ok(Found::Beyond {
                record: entry.record,
                path: entry.path,
            });
        }
        if !self.formats_differ {
            return Ok(Found::Absent);
        }
        // The rows of a statement precede later changes, on every path. Executed after those, a
        // statement may have another effect; and rows may be those of an entry, although their
        // second differs, because its first statement changed no row.
        let contradicts = |entry: &Delivered| match arrival.is_direct() {
            true => has_statements(fingerprint) && share_database(&entry.fingerprint, fingerprint),
            false => {
                let at_its_second = Fingerprint {
                    timestamp: fingerprint.timestamp,
                    ..entry.fingerprint
                };
                has_statements(&entry.fingerprint)
                    && !may_be_without_rows(&entry.fingerprint)
                    && at_its_second.may_be_other_format(fingerprint)
            }
        };
        let is_omitted = self.window.iter().any(contradicts)
            || self.first_beyond(arrival, ledger, contradicts)?.is_some();
        Ok(match is_omitted {
            true => Found::Omitted,
            false => Found::Absent,
        })
    }

    /// The first entry beyond the window that is `wanted`.
    fn first_beyond(
        &self,
        arrival: &Arrival,
        ledger: &impl Ledger,
        wanted: impl Fn(&Delivered) -> bool,
    ) -> Result<Option<Delivered>, Unaligned> {
        let Some(rest) = self.rest else {
            return Ok(None);
        };
        let mut found = None;
        let mut accept = |entry: Delivered| {
            let is_of_queue = entry.path != arrival.path || entry.record < self.own_until;
            if is_of_queue && wanted(&entry) {
                found = Some(entry);
            }
            found.is_none()
        };
        let read = ledger.read(rest, arrival.origin, &mut accept);
        read.map_err(Unaligned::Ledger)?;
        Ok(found)
    }
}
