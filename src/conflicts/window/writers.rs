//! Which transactions changed a key.

use std::collections::VecDeque;

/// A transaction of a server that changed a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    pub(super) number: u64,
    pub(super) id: u64,
}

/// The transactions of a server that changed a key, by number. Most keys have one.
#[derive(Debug)]
pub(super) enum Writers {
    One(Writer),
    Many(VecDeque<Writer>),
}

impl Writers {
    pub(super) fn as_slices(&self) -> [&[Writer]; 2] {
        match self {
            Writers::One(writer) => [std::slice::from_ref(writer), &[]],
            Writers::Many(writers) => writers.as_slices().into(),
        }
    }

    pub(super) fn add(&mut self, writer: Writer) {
        if let Writers::One(first) = self {
            *self = Writers::Many(VecDeque::from([*first]));
        }
        if let Writers::Many(writers) = self {
            let at = writers.partition_point(|known| known.number < writer.number);
            writers.insert(at, writer);
        }
    }

    /// Returns whether it was the last one.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        match self {
            Writers::One(writer) => writer.number == number,
            Writers::Many(writers) => {
                let found = writers.binary_search_by_key(&number, |known| known.number);
                found.ok().and_then(|at| writers.remove(at));
                writers.is_empty()
            }
        }
    }
}
