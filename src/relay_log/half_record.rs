//! What a commit index says of transactions that come in two halves.

use super::index_record::DefinitionKind;
use super::names::define;
use crate::gtid::MariaDbGtid;
use crate::merge::halves::HalfChange;

/// Appends the records of `change` to `out`.
pub(super) fn encode(change: &HalfChange, out: &mut Vec<u8>) {
    let (kind, text) = match change {
        HalfChange::EmptiedXa(xid) => (DefinitionKind::EmptiedXa, xid.clone()),
        HalfChange::EndedXa(xid) => (DefinitionKind::EndedXa, xid.clone()),
        HalfChange::StartedAlter { start, kept: true } => {
            (DefinitionKind::KeptAlter, gtid_bytes(start))
        }
        HalfChange::StartedAlter { start, kept: false } => {
            (DefinitionKind::EmptiedAlter, gtid_bytes(start))
        }
        HalfChange::EndedAlter(start) => (DefinitionKind::EndedAlter, gtid_bytes(start)),
    };
    define(kind, 0, 0, &text, out);
}

/// Reads what all records of one change say; `None` when they are no such ones.
pub(super) fn decode(kind: DefinitionKind, text: Vec<u8>) -> Option<HalfChange> {
    let started = |kept| {
        let start = gtid(&text)?;
        Some(HalfChange::StartedAlter { start, kept })
    };
    match kind {
        DefinitionKind::KeptAlter => started(true),
        DefinitionKind::EmptiedAlter => started(false),
        DefinitionKind::EndedAlter => gtid(&text).map(HalfChange::EndedAlter),
        DefinitionKind::EmptiedXa => Some(HalfChange::EmptiedXa(text)),
        DefinitionKind::EndedXa => Some(HalfChange::EndedXa(text)),
        DefinitionKind::SourceFile | DefinitionKind::Origin | DefinitionKind::SourceName => None,
    }
}

fn gtid_bytes(gtid: &MariaDbGtid) -> Vec<u8> {
    let mut bytes = gtid.domain_id.to_le_bytes().to_vec();
    bytes.extend_from_slice(&gtid.server_id.to_le_bytes());
    bytes.extend_from_slice(&gtid.seq_no.to_le_bytes());
    bytes
}

fn gtid(bytes: &[u8]) -> Option<MariaDbGtid> {
    let (domain_id, rest) = bytes.split_first_chunk()?;
    let (server_id, seq_no) = rest.split_first_chunk()?;
    Some(MariaDbGtid {
        domain_id: u32::from_le_bytes(*domain_id),
        server_id: u32::from_le_bytes(*server_id),
        seq_no: u64::from_le_bytes(seq_no.try_into().ok()?),
    })
}
