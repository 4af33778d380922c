//! MySQL's ids: `uuid:gno`, since 8.3 also `uuid:tag:gno`, and sets of them.

use std::collections::BTreeMap;

use super::error::GtidError;
use super::intervals::{Interval, Intervals};

/// The highest transaction number: mysqld keeps the end of an interval, exclusive, in an `i64`.
pub const MAX_GNO: u64 = i64::MAX as u64 - 1;

/// The most characters in a tag.
pub const MAX_TAG_LENGTH: usize = 32;

/// The UUID of a GTID: usually the `server_uuid` of the server on which the transaction was first
/// committed; with Group Replication, the group's name.
///
/// Text: 32 hex digits in groups of 8-4-4-4-12; parsing also accepts them without hyphens and, in
/// either form, in braces, as mysqld does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// A new version 4 UUID. (mysqld generates version 1; nothing depends on it.)
    pub fn random() -> Uuid {
        let bits = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62);
        Uuid((bits | 0x4 << 76 | 0x2 << 62).to_be_bytes())
    }
}

/// The tag of a GTID: at most 32 of `[a-z0-9_]`, the first of them not a digit; or none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    // Zeroes after the text make the derived order that of the text, with "no tag" first.
    text: [u8; MAX_TAG_LENGTH],
    length: u8,
}

impl Tag {
    /// The GTID has no tag.
    pub const NONE: Tag = Tag {
        text: [0; MAX_TAG_LENGTH],
        length: 0,
    };

    /// A tag as entered by a user: upper case becomes lower case, an empty text means no tag.
    ///
    /// # Errors
    /// When the text is too long or has a character that a tag cannot have.
    pub fn parse(text: &str) -> Result<Tag, GtidError> {
        Tag::read(text.as_bytes(), u8::to_ascii_lowercase)
    }

    /// A tag as servers write it in events, where it is always in lower case.
    ///
    /// # Errors
    /// When it is longer than 32 bytes or has a byte that a tag cannot have.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tag, GtidError> {
        Tag::read(bytes, |b| *b)
    }

    fn read(bytes: &[u8], normal: impl Fn(&u8) -> u8) -> Result<Tag, GtidError> {
        let error = |expected, at| {
            let rest = bytes.get(at..).unwrap_or_default();
            // A malicious tag may have any length: read only as much as the excerpt needs.
            let rest = rest.get(..256).unwrap_or(rest);
            GtidError::text(expected, at, &String::from_utf8_lossy(rest))
        };
        let mut tag = Tag::NONE;
        if bytes.len() > MAX_TAG_LENGTH {
            return Err(error("a tag of at most 32 characters", 0));
        }
        for (at, (slot, byte)) in tag.text.iter_mut().zip(bytes).enumerate() {
            *slot = normal(byte);
            match *slot {
                b'a'..=b'z' | b'_' => {}
                b'0'..=b'9' if at > 0 => {}
                _ if at == 0 => return Err(error("a tag to begin with a letter or _", at)),
                _ => return Err(error("a letter, a digit or _ in a tag", at)),
            }
            tag.length += 1;
        }
        Ok(tag)
    }

    /// The text, empty when there is no tag.
    pub fn as_str(&self) -> &str {
        let text = self
            .text
            .get(..usize::from(self.length))
            .unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Whether there is no tag.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Default for Tag {
    fn default() -> Tag {
        Tag::NONE
    }
}

/// The part of a GTID before the number: a UUID, or a UUID and a tag. (MySQL calls it TSID.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    /// The server.
    pub uuid: Uuid,
    /// Its tag, often [`Tag::NONE`].
    pub tag: Tag,
}

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    /// The origin of its number.
    pub sid: Sid,
    /// Its number, from 1 to [`MAX_GNO`].
    pub gno: u64,
}

/// A set of transactions, such as `gtid_executed`.
///
/// Invariant: every `Sid` in the map has transactions, so equal sets compare equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct GtidSet {
    pub(super) sources: BTreeMap<Sid, Intervals>,
}

impl GtidSet {
    /// The empty set.
    pub fn new() -> GtidSet {
        GtidSet::default()
    }

    /// Whether no transaction is in the set.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether the transaction is in the set.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.sources
            .get(&gtid.sid)
            .is_some_and(|i| i.contains(gtid.gno))
    }

    /// Adds a transaction; true when it was absent. A number outside `1..=MAX_GNO` is not a
    /// transaction and is ignored (false).
    ///
    /// Allocates only for a `Sid`'s first transaction and for a new gap in its numbers.
    pub fn insert(&mut self, gtid: Gtid) -> bool {
        if !(1..=MAX_GNO).contains(&gtid.gno) {
            return false;
        }
        if let Some(intervals) = self.sources.get_mut(&gtid.sid) {
            return intervals.insert(gtid.gno);
        }
        self.sources.entry(gtid.sid).or_default().insert(gtid.gno)
    }

    /// Adds the transactions `start..=end_inclusive` of a `Sid` that are within `1..=MAX_GNO`.
    pub fn insert_interval(&mut self, sid: Sid, start: u64, end_inclusive: u64) {
        let (start, end) = (start.max(1), end_inclusive.min(MAX_GNO));
        if start <= end {
            self.sources
                .entry(sid)
                .or_default()
                .insert_interval(Interval { start, end });
        }
    }

    /// Adds every transaction of `other`.
    pub fn union_with(&mut self, other: &GtidSet) {
        for (sid, intervals) in &other.sources {
            self.sources.entry(*sid).or_default().union_with(intervals);
        }
    }

    /// Removes every transaction of `other`.
    pub fn subtract(&mut self, other: &GtidSet) {
        self.sources.retain(|sid, intervals| {
            if let Some(removed) = other.sources.get(sid) {
                intervals.subtract(removed);
            }
            !intervals.is_empty()
        });
    }

    /// Whether every transaction of this set is in `other`.
    pub fn is_subset_of(&self, other: &GtidSet) -> bool {
        self.sources.iter().all(|(sid, intervals)| {
            other
                .sources
                .get(sid)
                .is_some_and(|there| intervals.is_subset_of(there))
        })
    }

    /// Whether a transaction is in both sets.
    pub fn intersects(&self, other: &GtidSet) -> bool {
        self.sources.iter().any(|(sid, intervals)| {
            other
                .sources
                .get(sid)
                .is_some_and(|there| intervals.intersects(there))
        })
    }

    /// How many transactions are in the set. (Those of three UUIDs can exceed a `u64`.)
    pub fn count(&self) -> u128 {
        self.sources.values().map(Intervals::count).sum()
    }

    /// The intervals as (sid, first, last), both ends inclusive: by UUID, tag and number,
    /// with a gap between neighbours of one `Sid`.
    pub fn iter_intervals(&self) -> impl Iterator<Item = (Sid, u64, u64)> + '_ {
        self.sources
            .iter()
            .flat_map(|(sid, intervals)| intervals.iter().map(|i| (*sid, i.start, i.end)))
    }

    /// The `Sid`s with transactions in the set, by UUID and tag.
    pub fn sids(&self) -> impl Iterator<Item = Sid> + '_ {
        self.sources.keys().copied()
    }

    /// Whether a transaction with a tag is in the set; servers before 8.3 cannot read such a set.
    pub fn has_tags(&self) -> bool {
        self.sources.keys().any(|sid| !sid.tag.is_empty())
    }

    /// The transactions that have no tag.
    pub fn without_tags(&self) -> GtidSet {
        let untagged = self.sources.iter().filter(|(sid, _)| sid.tag.is_empty());
        GtidSet {
            sources: untagged.map(|(sid, i)| (*sid, i.clone())).collect(),
        }
    }
}
