//! The second of a transaction, by which those that were removed are distinguished from later ones.

use crate::identity::Fingerprint;

/// The second in which a transaction was committed or begun, by its origin's clock; copies have the same.
pub fn second(fingerprint: &Fingerprint) -> u32 {
    match fingerprint.commit_timestamp {
        0 => fingerprint.timestamp,
        microseconds => u32::try_from(microseconds / 1_000_000).unwrap_or(u32::MAX),
    }
}
