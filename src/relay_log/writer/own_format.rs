//! The format description of the relay's own files.
//!
//! A file holds events of several sources, and control events of the relay's own. Its format
//! description is therefore never a source's: it has the event types of all sources and those of
//! the relay's control events, and its version is one that readers handle as the sources' versions.
//!
//! Readers use three fields of it:
//!
//! | field | readers use it for |
//! |---|---|
//! | types, lengths | MySQL replicas and `mysqlbinlog` stop at a type that is not listed. A length is that of the type's fixed part |
//! | version ≥ 5.6.1 (MariaDB ≥ 5.3) | events end with a checksum. The relay's events always do |
//! | version < 5.6.6 | MySQL replicas execute CREATE and ALTER TABLE with `explicit_defaults_for_timestamp=OFF`; otherwise with their own setting, unless the event states it (MySQL 5.7.19 and later) |
//!
//! So events of a MySQL server before 5.6.6 need a version from 5.6.1 to 5.6.5: otherwise their
//! TIMESTAMP columns would differ on replicas where that variable is ON, the default since 8.0. If
//! the source's own version is not one of these, the version is [`OLD_MYSQL`], with the types of
//! MySQL 5.6. A MySQL 5.5 replica knows neither checksums nor PREVIOUS_GTIDS: it can read such a file
//! only as a sender translates it. `mysqlbinlog` of 5.5 cannot read it, like a file of a 5.6 master.
//! Other MySQL versions and MariaDB do not distinguish more by the version; in particular none
//! selects the layout of an event by it.
//!
//! While at least one source sends events older than 5.6.6, the version stays one of these. Events
//! of MySQL 5.6 that do not state the variable are then executed with OFF, its default there.

use std::sync::Arc;

use crate::binlog::FormatDescription;
use crate::binlog::format_description::{Checksum, version_numbers};
use crate::flavor::Flavor;

/// The version in files with events of MySQL before 5.6.6.
const OLD_MYSQL: &str = "5.6.5-binrelay";

/// The fixed parts of MySQL's event types 1 to 35, as in a file of MySQL 5.6.24.
const MYSQL_LENGTHS: [u8; 35] = [
    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 92, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0, 0, 0,
    10, 10, 10, 25, 25, 0,
];

/// Those of MariaDB's event types 1 to 171, as in a file of MariaDB 10.5.
fn mariadb_lengths() -> Vec<u8> {
    let length = |number: u8| match number {
        15 => 57 + 171,
        161 | 163 => 4,
        162 => 19,
        165 => 13,
        166..=168 => 8,
        169..=171 => 10,
        33.. => 0,
        as_mysql => MYSQL_LENGTHS
            .get(usize::from(as_mysql).saturating_sub(1))
            .copied()
            .unwrap_or(0),
    };
    (1..=171).map(length).collect()
}

/// Whether replicas must execute this server's statements as those of a MySQL before 5.6.6.
pub(in crate::relay_log) fn is_old(format: &FormatDescription) -> bool {
    Flavor::of_version(&format.server_version) == Flavor::MySql
        && version_numbers(&format.server_version) < (5, 6, 6)
}

/// `format` for a file that also has events of a MySQL before 5.6.6.
pub(in crate::relay_log) fn as_old(format: FormatDescription) -> FormatDescription {
    FormatDescription {
        server_version: OLD_MYSQL.to_owned(),
        ..format
    }
}

/// The relay's format description for events of `source` alone.
pub(super) fn own_format(source: &FormatDescription) -> FormatDescription {
    let complete = match Flavor::of_version(&source.server_version) {
        Flavor::MySql => MYSQL_LENGTHS.to_vec(),
        Flavor::MariaDb => mariadb_lengths(),
    };
    let mut own = FormatDescription {
        created: 0, // A file whose value is another one sets it itself.
        checksum: Checksum::Crc32,
        ..source.clone()
    };
    // A longer list has all types of the relay's control events.
    if own.post_header_lengths.len() < complete.len() {
        let complete = FormatDescription {
            post_header_lengths: complete,
            ..source.clone()
        };
        own.post_header_lengths = own.joined_post_header_lengths(&complete);
    }
    if is_old(source) && !source.is_checksummed() {
        own.server_version = OLD_MYSQL.to_owned();
    }
    own
}

/// `ours` for events of all `sources`, which must be compatible; `None` if it is right for them.
pub(super) fn adapted(
    ours: &FormatDescription,
    sources: &[Option<Arc<FormatDescription>>],
) -> Option<FormatDescription> {
    let mut adapted = ours.clone();
    let known = || sources.iter().flatten().map(AsRef::as_ref);
    let must_be_old = known().any(is_old);
    for source in known() {
        let own = own_format(source);
        let is_longer = own.post_header_lengths.len() > adapted.post_header_lengths.len();
        let fits = is_old(&own) == must_be_old;
        if fits && (is_longer || is_old(&adapted) != must_be_old) {
            adapted.server_version = own.server_version.clone();
        }
        adapted.post_header_lengths = adapted.joined_post_header_lengths(&own);
    }
    (adapted != *ours).then_some(adapted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: &str, lengths: &[u8], checksum: Checksum) -> FormatDescription {
        FormatDescription {
            server_version: version.to_owned(),
            created: 5,
            post_header_lengths: lengths.to_vec(),
            checksum,
        }
    }

    fn mysql_55() -> FormatDescription {
        let mut lengths = MYSQL_LENGTHS[..27].to_vec();
        lengths[14] = 57 + 27;
        of("5.5.59-log", &lengths, Checksum::None)
    }

    fn mysql_56() -> FormatDescription {
        of("5.6.24-log", &MYSQL_LENGTHS, Checksum::None)
    }

    fn mysql_57() -> FormatDescription {
        let mut lengths = [&MYSQL_LENGTHS[..], &[18, 52, 0]].concat();
        lengths[14] = 57 + 38;
        (lengths[32], lengths[33]) = (42, 42);
        of("5.7.23-log", &lengths, Checksum::Crc32)
    }

    fn adapt(ours: &FormatDescription, sources: &[FormatDescription]) -> Option<FormatDescription> {
        let sources: Vec<_> = sources.iter().cloned().map(Arc::new).map(Some).collect();
        adapted(ours, &sources)
    }

    #[test]
    fn file_with_old_events_is_described_completely() {
        let own = own_format(&mysql_55());
        assert_eq!(own.post_header_lengths, MYSQL_LENGTHS);
        assert_eq!((own.created, own.checksum), (0, Checksum::Crc32));
        assert!(
            own.is_checksummed() && is_old(&own),
            "{}",
            own.server_version
        );
        // MySQL 5.6.4, which has checksums, but fewer types than 5.6.24.
        let mut lengths = MYSQL_LENGTHS[..32].to_vec();
        lengths[14] = 57 + 32;
        let own = own_format(&of("5.6.4-m7-log", &lengths, Checksum::None));
        assert_eq!(own.server_version, "5.6.4-m7-log");
        assert_eq!(own.post_header_lengths, MYSQL_LENGTHS);
        let own = own_format(&of("5.5.68-MariaDB", &lengths, Checksum::Crc32));
        assert_eq!(own.post_header_lengths, mariadb_lengths());
        assert_eq!(own.server_version, "5.5.68-MariaDB");
    }

    #[test]
    fn newer_format_descriptions_are_the_sources_own() {
        for source in [mysql_56(), mysql_57()] {
            let own = own_format(&source);
            assert_eq!(own.server_version, source.server_version);
            assert_eq!(own.post_header_lengths, source.post_header_lengths);
        }
    }

    #[test]
    fn version_stays_old_while_a_source_is() {
        let old = own_format(&mysql_55());
        assert_eq!(adapt(&old, &[mysql_55()]), None);
        let both = adapt(&old, &[mysql_55(), mysql_57()]).unwrap();
        assert_eq!(both.server_version, OLD_MYSQL);
        assert_eq!(both.post_header_lengths, mysql_57().post_header_lengths);
        assert_eq!(adapt(&both, &[mysql_57(), mysql_55()]), None);
        // The source continues in a file of its newer version.
        let new = adapt(&old, &[mysql_56()]).unwrap();
        assert_eq!(new, own_format(&mysql_56()));
        let new = adapt(&both, &[mysql_57(), mysql_56()]).unwrap();
        assert_eq!(new.server_version, "5.7.23-log");
        // An old source joins.
        let both = adapt(&new, &[mysql_57(), mysql_55()]).unwrap();
        assert_eq!(both.server_version, OLD_MYSQL);
        assert_eq!(both.post_header_lengths, new.post_header_lengths);
    }
}
