//! The second of a transaction, by which those that were removed are distinguished from later ones.

use crate::identity::Fingerprint;

/// The second in which a transaction was committed or begun, by its origin's clock; copies have the same.
pub fn second(fingerprint: &Fingerprint) -> u32 {
    match fingerprint.commit_timestamp {
        0 => fingerprint.timestamp,
        microseconds => u32::try_from(microseconds / 1_000_000).unwrap_or(u32::MAX),
    }
}

/// Whether a transaction was committed before its server's first file that was read, which was created at
/// `first_file` if files before it are lost. Then its own path need not send it.
pub(super) fn may_be_lost(fingerprint: &Fingerprint, first_file: Option<u32>) -> bool {
    first_file.is_some_and(|created| second(fingerprint) <= created)
}
