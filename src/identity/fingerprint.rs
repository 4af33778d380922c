//! How copies of a transaction without a GTID are recognised.
//!
//! A copy is the transaction that a peer logs when it applies the original. The fingerprint
//! consists only of fields that re-logging preserves. It is stored in the commit index, so neither
//! the hash nor the meaning of a bit may change without a new format version of that file.

use std::hash::Hasher as _;

use twox_hash::XxHash64;

/// The fingerprint of a transaction without a GTID, which identifies its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint {
    /// Its commit time on its origin, in microseconds since 1970 (MySQL 8.0+); 0 if unknown. If
    /// known, it decides alone, and the other fields are 0.
    pub commit_timestamp: u64,
    /// Hashes of the content that re-logging in the same binlog format preserves: in the upper half
    /// of statements and changed tables, in the lower half of row images.
    pub content: u64,
    /// The timestamp in the header of the first change, in seconds since 1970, which re-logging in
    /// any format preserves.
    pub timestamp: u32,
    /// The properties that can still be compared when a peer with another binlog format has logged
    /// statements as rows: the bits below, and a bit for each changed database.
    pub traits: u32,
}

impl Fingerprint {
    /// It has a change logged as a statement.
    pub const HAS_STATEMENTS: u32 = 1 << 31;
    /// It has a change logged as rows.
    pub const HAS_ROWS: u32 = 1 << 30;
    /// Rows are, or may be, inserted.
    pub const INSERTS: u32 = 1 << 29;
    /// Rows are, or may be, updated.
    pub const UPDATES: u32 = 1 << 28;
    /// Rows are, or may be, deleted.
    pub const DELETES: u32 = 1 << 27;
    /// One statement outside BEGIN and COMMIT, usually DDL: a statement in every format.
    pub const LONE_STATEMENT: u32 = 1 << 26;
    /// That statement drops temporary tables; its text depends on the binlog format.
    pub const DROPS_TEMPORARY: u32 = 1 << 25;
    /// The same bit in all other transactions: it ends with a COMMIT statement, so that no
    /// transactional table was changed.
    pub const ENDED_BY_STATEMENT: u32 = 1 << 25;
    /// Its statements may have changed no row, or only temporary tables: a peer that logs rows may
    /// not have a copy of it.
    pub const MAY_BE_WITHOUT_ROWS: u32 = 1 << 24;
    /// Row images do not have all columns. Re-logging may complete them: MySQL 5.6 with
    /// binlog_format=MIXED writes partial images, and its replicas write full ones.
    pub const PARTIAL_IMAGES: u32 = 1 << 23;
    /// All of `INSERTS`, `UPDATES` and `DELETES`.
    pub const ANY_CHANGE: u32 = Self::INSERTS | Self::UPDATES | Self::DELETES;
    /// All bits for databases.
    pub const ANY_DATABASE: u32 = Self::PARTIAL_IMAGES - 1;

    /// The bit for a database. Several databases may share one.
    pub fn database(name: &[u8]) -> u32 {
        let mut hasher = XxHash64::with_seed(0);
        hasher.write(name);
        1 << (hasher.finish() % u64::from(Self::ANY_DATABASE.count_ones()))
    }

    /// As if its statements had not only changed their default database, but perhaps any.
    pub fn with_unknown_databases(self) -> Self {
        match self.traits & Self::HAS_STATEMENTS {
            0 => self,
            _ => Self {
                traits: self.traits | Self::ANY_DATABASE,
                ..self
            },
        }
    }

    /// Whether the two are copies that were logged in the same format.
    pub fn same_content(&self, other: &Fingerprint) -> bool {
        if self.commit_timestamp != 0 || other.commit_timestamp != 0 {
            return self.commit_timestamp == other.commit_timestamp;
        }
        self.content == other.content && self.timestamp == other.timestamp
    }

    /// Whether the two may be copies, one of which has rows where the other has statements, or rows
    /// with fewer columns. This is much weaker than [`Fingerprint::same_content`].
    pub fn may_be_other_format(&self, other: &Fingerprint) -> bool {
        let known = self.commit_timestamp != 0 || other.commit_timestamp != 0;
        if known || self.timestamp != other.timestamp {
            return false;
        }
        let both = self.traits & other.traits;
        let either = self.traits | other.traits;
        if either & Self::PARTIAL_IMAGES != 0 && self.content >> 32 == other.content >> 32 {
            return true;
        }
        let same_databases = both & Self::ANY_DATABASE != 0 || either & Self::ANY_DATABASE == 0;
        let form = Self::HAS_STATEMENTS | Self::HAS_ROWS;
        let fits = if both & Self::LONE_STATEMENT != 0 {
            both & Self::DROPS_TEMPORARY != 0
        } else if either & Self::LONE_STATEMENT != 0 {
            // CREATE TABLE … SELECT, which in row format is CREATE TABLE and the rows.
            [self, other].iter().any(|one| one.traits & form == form)
        } else {
            either & form == form
        };
        fits && both & Self::ANY_CHANGE != 0 && same_databases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(traits: u32) -> Fingerprint {
        Fingerprint {
            timestamp: 5,
            traits,
            ..Fingerprint::default()
        }
    }

    #[test]
    fn known_commit_timestamp_decides_alone() {
        let known = |commit_timestamp, content| Fingerprint {
            commit_timestamp,
            content,
            ..Fingerprint::default()
        };
        assert!(known(7, 1).same_content(&known(7, 2)));
        assert!(!known(7, 1).same_content(&known(8, 1)));
        assert!(!known(7, 1).same_content(&known(0, 1)));
        assert!(known(0, 1).same_content(&known(0, 1)));
        assert!(!known(0, 1).same_content(&known(0, 2)));
        assert!(!known(7, 1).may_be_other_format(&known(7, 1)));
    }

    #[test]
    fn copy_in_another_format_is_recognised_by_its_traits() {
        let (a, b) = (1 << 3, 1 << 4);
        let statement = Fingerprint::HAS_STATEMENTS | Fingerprint::INSERTS | Fingerprint::UPDATES;
        let rows = Fingerprint::HAS_ROWS | Fingerprint::INSERTS;
        let may = |one: u32, two: u32| {
            let answer = with(one).may_be_other_format(&with(two));
            assert_eq!(answer, with(two).may_be_other_format(&with(one)));
            answer
        };
        assert!(may(statement | a, rows | a));
        assert!(may(statement | a | b, rows | b));
        assert!(may(statement, rows));
        assert!(!may(statement | a, rows | b));
        assert!(!may(statement | a, rows));
        assert!(!may(statement | a, statement | a));
        assert!(!may(rows | a, rows | a));
        assert!(!may(
            statement | a,
            Fingerprint::HAS_ROWS | Fingerprint::DELETES | a
        ));
        let elsewhere = with(statement | a).with_unknown_databases();
        assert!(elsewhere.may_be_other_format(&with(rows | b)));
        assert!(!elsewhere.may_be_other_format(&with(statement | b)));
        let in_rows = with(rows | a);
        assert_eq!(in_rows.with_unknown_databases(), in_rows);
        let lone = statement | Fingerprint::DELETES | Fingerprint::LONE_STATEMENT | a;
        assert!(!may(lone, rows | a) && !may(lone, lone) && !may(lone, statement | a));
        assert!(may(lone, Fingerprint::HAS_STATEMENTS | rows | a));
        let with_images = |content, traits| Fingerprint {
            content,
            ..with(traits)
        };
        let partial = with_images(7 << 32 | 1, rows | a | Fingerprint::PARTIAL_IMAGES);
        assert!(partial.may_be_other_format(&with_images(7 << 32 | 2, rows | a)));
        assert!(!partial.may_be_other_format(&with_images(8 << 32 | 1, rows | a)));
        let drops = lone | Fingerprint::DROPS_TEMPORARY;
        assert!(may(drops, drops) && !may(drops, lone));
        let later = Fingerprint {
            timestamp: 6,
            ..with(rows | a)
        };
        assert!(!with(statement | a).may_be_other_format(&later));
    }

    /// Stored fingerprints must keep their meaning in later versions.
    #[test]
    fn database_bits_are_stable() {
        assert_eq!(Fingerprint::database(b"abc"), 1 << 20);
        assert_eq!(Fingerprint::database(b""), 1 << 14);
    }
}
