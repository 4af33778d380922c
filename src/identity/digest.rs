//! A hash by which a transaction is recognised in the binlog that it was received from.

use std::hash::Hasher as _;

use twox_hash::XxHash64;

use super::Identity;

/// A hash of a transaction's identity, its origin and its commit time, as in
/// [`crate::transaction::Transaction`]. The same source sends the same transaction with the same hash
/// again, as long as its binlog is the same. It is stored in the commit index, so it must not change
/// without a new format version of that file.
///
/// It is computed when it is needed: of most transactions it never is.
#[derive(Debug, Clone, Copy)]
pub enum HistoryDigest {
    /// As the commit index has it.
    Recorded(u64),
    /// That of this transaction.
    Of {
        /// The transaction's identity.
        identity: Identity,
        /// Its origin.
        server_id: u32,
        /// Its commit time.
        commit_time_us: u64,
    },
}

impl HistoryDigest {
    /// The XXH64 hash.
    pub fn value(&self) -> u64 {
        match self {
            HistoryDigest::Recorded(value) => *value,
            HistoryDigest::Of {
                identity,
                server_id,
                commit_time_us,
            } => hash(identity, *server_id, *commit_time_us),
        }
    }
}

impl PartialEq for HistoryDigest {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for HistoryDigest {}

fn hash(identity: &Identity, server_id: u32, commit_time_us: u64) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write_u32(server_id);
    match identity {
        Identity::MySql(gtid) => {
            hasher.write(&gtid.sid.uuid.0);
            hasher.write(gtid.sid.tag.as_str().as_bytes());
            hasher.write_u64(gtid.gno);
            hasher.write_u64(commit_time_us);
        }
        Identity::MariaDb(gtid) => {
            hasher.write_u32(gtid.domain_id);
            hasher.write_u64(gtid.seq_no);
            hasher.write_u64(commit_time_us);
        }
        // It contains the times.
        Identity::Anonymous(fingerprint) => {
            hasher.write_u64(fingerprint.commit_timestamp);
            hasher.write_u64(fingerprint.content);
            hasher.write_u32(fingerprint.timestamp);
            hasher.write_u32(fingerprint.traits);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gtid::MariaDbGtid;

    #[test]
    fn every_part_of_a_transaction_changes_its_digest() {
        let gtid = |seq_no| {
            Identity::MariaDb(MariaDbGtid {
                domain_id: 0,
                server_id: 86,
                seq_no,
            })
        };
        let of = |identity, server_id, commit_time_us| HistoryDigest::Of {
            identity,
            server_id,
            commit_time_us,
        };
        let digest = of(gtid(7), 86, 1_000_000);
        assert_eq!(digest, of(gtid(7), 86, 1_000_000));
        assert_ne!(digest, of(gtid(8), 86, 1_000_000));
        assert_ne!(digest, of(gtid(7), 87, 1_000_000));
        assert_ne!(digest, of(gtid(7), 86, 2_000_000));
        assert_eq!(digest, HistoryDigest::Recorded(digest.value()));
        assert_ne!(digest, HistoryDigest::Recorded(digest.value() + 1));
    }
}
