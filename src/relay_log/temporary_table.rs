//! Records of the commit index about temporary tables.

use super::index_record::{Record, TextPart};
use crate::merge::temporary_tables::{OpenTable, TableChange, TemporaryTable};

/// Appends the records of a table's new state; `None`: it was dropped.
pub(super) fn stage(table: &TemporaryTable, state: Option<&OpenTable>, out: &mut Vec<u8>) {
    let fields = state.copied().unwrap_or(OpenTable {
        created_at: 0,
        paths: 0,
        is_dead: false,
    });
    let parts: [&[u8]; 6] = [
        &table.origin.to_le_bytes(),
        &table.thread_id.to_le_bytes(),
        &fields.created_at.to_le_bytes(),
        &fields.paths.to_le_bytes(),
        &[u8::from(fields.is_dead)],
        &table.name,
    ];
    for text in TextPart::parts(&parts.concat()) {
        let record = match state {
            Some(_) => Record::OpenTemporaryTable(text),
            None => Record::DroppedTemporaryTable(text),
        };
        out.extend_from_slice(&record.encode());
    }
}

/// The change that a record describes, if it ends one. `text` collects the parts of a long text.
pub(super) fn change(record: &Record, text: &mut Vec<u8>) -> Option<TableChange> {
    let (part, is_open) = match record {
        Record::OpenTemporaryTable(part) => (part, true),
        Record::DroppedTemporaryTable(part) => (part, false),
        _ => return None,
    };
    part.append_to(text);
    if !part.is_last() {
        return None;
    }
    let (origin, rest) = text.split_first_chunk::<4>()?;
    let (thread_id, rest) = rest.split_first_chunk::<4>()?;
    let (created_at, rest) = rest.split_first_chunk::<4>()?;
    let (paths, rest) = rest.split_first_chunk::<8>()?;
    let (flags, name) = rest.split_first()?;
    let table = TemporaryTable {
        origin: u32::from_le_bytes(*origin),
        thread_id: u32::from_le_bytes(*thread_id),
        name: name.into(),
    };
    let state = OpenTable {
        created_at: u32::from_le_bytes(*created_at),
        paths: u64::from_le_bytes(*paths),
        is_dead: *flags != 0,
    };
    Some((table, is_open.then_some(state)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::IdentityKind;
    use crate::relay_log::index_record::{RECORD_LEN, RecordBytes};

    #[test]
    fn a_change_is_read_as_it_was_written() {
        for name in ["test.t".to_owned(), "d".repeat(200)] {
            let table = TemporaryTable {
                origin: 86,
                thread_id: 1 << 31,
                name: name.into_bytes().into(),
            };
            let state = OpenTable {
                created_at: 1_800_000_000,
                paths: 0b101,
                is_dead: true,
            };
            for state in [Some(state), None] {
                let mut bytes = Vec::new();
                stage(&table, state.as_ref(), &mut bytes);
                let mut text = Vec::new();
                let mut changes = Vec::new();
                for record in bytes.chunks(RECORD_LEN) {
                    let record: RecordBytes = record.try_into().unwrap();
                    let record = Record::decode(&record, IdentityKind::MySql).unwrap();
                    changes.extend(change(&record, &mut text));
                }
                assert_eq!(changes, [(table.clone(), state)]);
            }
        }
    }
}
