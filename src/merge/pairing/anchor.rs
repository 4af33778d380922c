//! Which transactions at the beginning of one path precede those of another path.
//!
//! Where files were purged, paths begin at different transactions. Each path has the transactions of one
//! origin in their order, so if a path has a copy of the first one that the other path has, everything
//! before this copy precedes the other path's first file.
//!
//! Transactions may look alike, and a path may omit some. So the first [`BEGINNING_LEN`] transactions
//! of the other path are compared, without those of which this path has no copy: the place where most of
//! them follow each other in the same order is the right one, if it is the only one.

use std::collections::HashSet;

use crate::identity::Fingerprint;

/// The most transactions at the beginning of a path that are compared.
const BEGINNING_LEN: usize = 4096;
/// The most transactions that are compared with them.
const KEPT_LEN: usize = 4 * BEGINNING_LEN;

/// The part of a fingerprint that is equal in copies that were logged in the same format.
type Content = (u64, u64, u32);

fn content(fingerprint: &Fingerprint) -> Content {
    match fingerprint.commit_timestamp {
        0 => (0, fingerprint.content, fingerprint.timestamp),
        microseconds => (microseconds, 0, 0),
    }
}

/// The first transactions of one origin on a path.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    first: Vec<Content>,
    len: u64,
    /// In which formats their changes of rows were logged: these traits of all of them.
    forms: u32,
}

impl Beginning {
    /// Adds the next transaction.
    pub fn add(&mut self, fingerprint: &Fingerprint) {
        if self.first.len() < BEGINNING_LEN {
            self.first.push(content(fingerprint));
        }
        self.len += 1;
        // DDL is a statement in any format.
        if fingerprint.traits & Fingerprint::LONE_STATEMENT == 0 {
            let form = Fingerprint::HAS_STATEMENTS | Fingerprint::HAS_ROWS;
            self.forms |= fingerprint.traits & form;
        }
    }

    /// Whether rows were logged in one, and statements in the other.
    pub fn has_other_forms(&self, other: &Beginning) -> bool {
        self.forms != 0 && other.forms != 0 && self.forms != other.forms
    }

    /// How many transactions were added.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the first transactions of both look alike.
    pub fn begins_like(&self, other: &Beginning) -> bool {
        !self.is_empty() && self.first.first() == other.first.first()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The first transactions of an origin on a path precede the first file of another path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrecedingTransactions {
    /// The path: a source's number.
    pub path: u16,
    /// The server_id of the transactions.
    pub origin: u32,
    /// Their number.
    pub count: u64,
}

/// Where a path's beginning is on another path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At their first common transaction.
    At {
        /// How many transactions precede it on the path that was searched.
        before: u64,
        /// How many precede it on the path whose beginning it is.
        skipped: u64,
    },
    /// The two have no common transaction.
    Absent,
    /// Transactions look alike, and it may be at several places.
    Ambiguous,
}

/// Searches the transactions of one origin on a path for the beginning of another path.
#[derive(Debug)]
pub struct Search {
    beginning: Vec<Content>,
    contents: HashSet<Content>,
    /// How many transactions were added.
    len: u64,
    /// Those that the beginning has, too, with how many precede them.
    kept: Vec<(u64, Content)>,
}

impl Search {
    /// For this beginning.
    pub fn new(beginning: &Beginning) -> Self {
        Self {
            beginning: beginning.first.clone(),
            contents: beginning.first.iter().copied().collect(),
            len: 0,
            kept: Vec::new(),
        }
    }

    /// Adds the next transaction of the path that is searched. Returns whether the beginning has it, too.
    pub fn add(&mut self, fingerprint: &Fingerprint) -> bool {
        let content = content(fingerprint);
        let is_common = self.contents.contains(&content);
        if self.kept.len() < KEPT_LEN && is_common {
            self.kept.push((self.len, content));
        }
        self.len += 1;
        is_common
    }

    /// Where the beginning is.
    pub fn anchor(&self) -> Anchor {
        let kept: HashSet<Content> = self.kept.iter().map(|(_, content)| *content).collect();
        let common = (0u64..).zip(self.beginning.iter().copied());
        let common: Vec<(u64, Content)> = common
            .filter(|(_, content)| kept.contains(content))
            .collect();
        let (Some((before, _)), Some((skipped, _))) = (self.kept.first(), common.first()) else {
            return Anchor::Absent;
        };
        if kept.len() == self.kept.len() && kept.len() == common.len() {
            // None looks like another.
            let (before, skipped) = (*before, *skipped);
            return Anchor::At { before, skipped };
        }
        let places = self.places(&common);
        let most = places.iter().map(|place| place.matching).max();
        let mut best = places.iter().filter(|place| Some(place.matching) == most);
        let (Some(place), None) = (best.next(), best.next()) else {
            return Anchor::Ambiguous;
        };
        let (before, skipped) = (place.before, place.skipped);
        let others = places
            .iter()
            .filter(|other| other.matching != place.matching);
        match others.into_iter().any(|other| other.is_open) {
            true => Anchor::Ambiguous,
            false => Anchor::At { before, skipped },
        }
    }

    /// Where the first common transaction may be. One of the two paths begins with it, if those are left
    /// out that the other does not have.
    fn places(&self, common: &[(u64, Content)]) -> Vec<Place> {
        let is_whole = self.kept.len() < KEPT_LEN;
        let place = |at: usize, skip: usize| {
            let (kept, common) = (self.kept.get(at..)?, common.get(skip..)?);
            let ((before, _), (skipped, _)) = (kept.first()?, common.first()?);
            let pairs = kept.iter().zip(common);
            let matching = pairs.take_while(|(one, two)| one.1 == two.1).count();
            (matching > 0).then_some(Place {
                before: *before,
                skipped: *skipped,
                matching,
                is_open: is_whole && matching == kept.len(),
            })
        };
        let later = (0..self.kept.len()).filter_map(|at| place(at, 0));
        let earlier = (1..common.len()).filter_map(|skip| place(0, skip));
        later.chain(earlier).collect()
    }
}

/// A place at which the first common transaction may be.
#[derive(Debug)]
struct Place {
    /// See [`Anchor::At`].
    before: u64,
    /// See [`Anchor::At`].
    skipped: u64,
    /// How many transactions from there on are equal.
    matching: usize,
    /// Whether the searched path ends there: it may lag with the rest.
    is_open: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One transaction for each character. Equal characters look alike.
    fn search(beginning: &str, path: &str) -> Anchor {
        let fingerprint = |one: char| Fingerprint {
            content: u64::from(u32::from(one)),
            ..Fingerprint::default()
        };
        let mut first = Beginning::default();
        beginning
            .chars()
            .for_each(|one| first.add(&fingerprint(one)));
        let mut search = Search::new(&first);
        for one in path.chars() {
            search.add(&fingerprint(one));
        }
        search.anchor()
    }

    fn at(before: u64, skipped: u64) -> Anchor {
        Anchor::At { before, skipped }
    }

    #[test]
    fn order_decides_where_a_path_begins() {
        for (beginning, path, expected) in [
            ("cde", "abcde", at(2, 0)),
            ("cde", "abc", at(2, 0)),
            ("abc", "abc", at(0, 0)),
            // The path begins later.
            ("abcde", "cde", at(0, 2)),
            ("abc", "xyz", Anchor::Absent),
            ("abc", "", Anchor::Absent),
            // One of the two omits some.
            ("aXbYc", "zabc", at(1, 0)),
            ("abc", "zaXbYc", at(1, 0)),
            ("Xabc", "zabc", at(1, 1)),
            // Transactions look alike.
            ("aabbb", "aaaaabbb", at(3, 0)),
            ("aab", "xaaab", at(2, 0)),
            ("xyxyxyxyxyz", "yxyxyz", at(0, 5)),
            ("aab", "aaa", Anchor::Ambiguous),
            ("aa", "aaaa", Anchor::Ambiguous),
            // A master that was killed has logged some again.
            ("abcd", "zabcbcd", at(1, 0)),
        ] {
            assert_eq!(search(beginning, path), expected, "{beginning} in {path}");
        }
    }

    #[test]
    fn forms_differ_only_where_both_have_logged_changes_of_rows() {
        let of = |traits: &[u32]| {
            let mut beginning = Beginning::default();
            for traits in traits {
                beginning.add(&Fingerprint {
                    traits: *traits,
                    ..Fingerprint::default()
                });
            }
            beginning
        };
        let (statement, rows) = (Fingerprint::HAS_STATEMENTS, Fingerprint::HAS_ROWS);
        let ddl = statement | Fingerprint::LONE_STATEMENT;
        assert!(of(&[statement]).has_other_forms(&of(&[rows])));
        assert!(of(&[rows, statement]).has_other_forms(&of(&[rows])));
        for (one, other) in [
            (&[rows, ddl][..], &[rows][..]),
            (&[ddl], &[rows]),
            (&[statement], &[ddl, statement]),
            (&[0], &[rows]),
        ] {
            assert!(!of(one).has_other_forms(&of(other)), "{one:?} {other:?}");
        }
    }

    #[test]
    fn commit_timestamps_decide_alone() {
        let committed = |commit_timestamp| Fingerprint {
            commit_timestamp,
            ..Fingerprint::default()
        };
        let mut beginning = Beginning::default();
        (5..9_000).for_each(|time| beginning.add(&committed(time)));
        let mut search = Search::new(&beginning);
        for time in 1..20_000 {
            search.add(&committed(time));
        }
        assert_eq!(search.anchor(), at(4, 0));
        assert_eq!(beginning.len(), 8_995);
    }
}
