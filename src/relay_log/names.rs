//! The numbers that stand for names in one commit index.

use std::collections::HashMap;
use std::sync::Arc;

use super::index_record::{self, DefinitionKind};
use crate::gtid::Sid;

/// Gives out numbers, and writes each one's definition before its first use.
#[derive(Debug)]
pub(super) struct Names {
    sources: Vec<Arc<str>>,
    defined: Vec<bool>,
    /// The newest file of each source, and its number: a source's files come one after another.
    files: Vec<(Arc<str>, u32)>,
    origins: HashMap<Sid, u32>,
    newest_origin: Option<(Sid, u32)>,
}

impl Names {
    /// For a new index; `sources` are the configured names.
    pub(super) fn new(sources: Vec<Arc<str>>) -> Self {
        let count = sources.len();
        Self {
            sources,
            defined: vec![false; count],
            files: vec![(Arc::from(""), 0); count],
            origins: HashMap::new(),
            newest_origin: None,
        }
    }

    /// Begins a new index.
    pub(super) fn restart(&mut self) {
        *self = Self::new(std::mem::take(&mut self.sources));
    }

    /// Defines all sources' names that are not yet.
    pub(super) fn define_sources(&mut self, out: &mut Vec<u8>) {
        for source in 0..self.sources.len() {
            self.define_source(source as u16, out);
        }
    }

    fn define_source(&mut self, source: u16, out: &mut Vec<u8>) {
        let slot = usize::from(source);
        if let (Some(defined), Some(name)) = (self.defined.get_mut(slot), self.sources.get(slot))
            && !std::mem::replace(defined, true)
        {
            define(DefinitionKind::SourceName, source, 0, name.as_bytes(), out);
        }
    }

    /// The number of `file` of `source`.
    pub(super) fn source_file(&mut self, source: u16, file: &Arc<str>, out: &mut Vec<u8>) -> u32 {
        let slot = usize::from(source);
        self.define_source(source, out);
        let Some((newest, number)) = self.files.get_mut(slot) else {
            return 0;
        };
        if newest != file {
            *newest = file.clone();
            *number += 1;
            define(
                DefinitionKind::SourceFile,
                source,
                *number,
                file.as_bytes(),
                out,
            );
        }
        *number
    }

    /// The number of a UUID and tag.
    pub(super) fn origin(&mut self, sid: Sid, out: &mut Vec<u8>) -> u32 {
        if let Some((newest, number)) = self.newest_origin
            && newest == sid
        {
            return number;
        }
        let next = self.origins.len() as u32 + 1;
        let number = *self.origins.entry(sid).or_insert(next);
        if number == next {
            let mut text = sid.uuid.0.to_vec();
            text.extend_from_slice(sid.tag.as_str().as_bytes());
            define(DefinitionKind::Origin, 0, number, &text, out);
        }
        self.newest_origin = Some((sid, number));
        number
    }
}

pub(super) fn define(
    kind: DefinitionKind,
    source: u16,
    number: u32,
    text: &[u8],
    out: &mut Vec<u8>,
) {
    for record in index_record::encode_definition(kind, source, number, text) {
        out.extend_from_slice(&record);
    }
}
