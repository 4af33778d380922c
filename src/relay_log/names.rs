//! Numbers assigned to names in one commit index.

use std::collections::HashMap;
use std::sync::Arc;

use super::index_record::{Record, TextPart};
use crate::gtid::Sid;

/// Assigns numbers, and writes the definition of each before its first use.
#[derive(Debug)]
pub(super) struct Names {
    sources: Vec<Arc<str>>,
    defined: Vec<bool>,
    /// The newest file of each source, and its number. Earlier files do not occur again.
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

    /// Adds a source with the next number.
    pub(super) fn add_source(&mut self, name: Arc<str>) {
        self.sources.push(name);
        self.defined.push(false);
        self.files.push((Arc::from(""), 0));
    }

    /// For the next index: nothing is defined in it yet.
    pub(super) fn restarted(&self) -> Self {
        Self::new(self.sources.clone())
    }

    /// Defines the names of all sources that are not defined yet.
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
            for text in TextPart::parts(name.as_bytes()) {
                stage(&Record::SourceName { source, text }, out);
            }
        }
    }

    /// The number of `file` of `source`.
    pub(super) fn source_file(&mut self, source: u16, file: &Arc<str>, out: &mut Vec<u8>) -> u32 {
        let slot = usize::from(source);
        self.define_source(source, out);
        let Some((newest, number)) = self.files.get_mut(slot) else {
            return 0;
        };
        if !Arc::ptr_eq(newest, file) && newest != file {
            *newest = file.clone();
            *number += 1;
            for text in TextPart::parts(file.as_bytes()) {
                let number = *number;
                let record = Record::SourceFile {
                    source,
                    number,
                    text,
                };
                stage(&record, out);
            }
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
            for text in TextPart::parts(&text) {
                stage(&Record::Origin { number, text }, out);
            }
        }
        self.newest_origin = Some((sid, number));
        number
    }
}

fn stage(record: &Record, out: &mut Vec<u8>) {
    out.extend_from_slice(&record.encode());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gtid::{Tag, Uuid};
    use crate::identity::IdentityKind;
    use crate::relay_log::index_record::RECORD_LEN;

    fn staged(out: &[u8]) -> Vec<&'static str> {
        let (records, rest) = out.as_chunks::<RECORD_LEN>();
        assert!(rest.is_empty());
        let decode = |bytes| Record::decode(bytes, IdentityKind::MySql).unwrap().name();
        records.iter().map(decode).collect()
    }

    #[test]
    fn each_name_is_defined_once_before_its_first_use() {
        let mut names = Names::new(vec!["m1".into(), "m2".into()]);
        let (first, second): (Arc<str>, Arc<str>) = ("bin.1".into(), "bin.2".into());
        let mut out = Vec::new();
        assert_eq!(names.source_file(1, &first, &mut out), 1);
        assert_eq!(names.source_file(1, &first, &mut out), 1);
        assert_eq!(names.source_file(1, &second, &mut out), 2);
        assert_eq!(names.source_file(0, &first, &mut out), 1);
        assert_eq!(
            staged(&out),
            [
                "source name",
                "source file",
                "source file",
                "source name",
                "source file"
            ]
        );
        out.clear();
        let sid = |byte| Sid {
            uuid: Uuid([byte; 16]),
            tag: Tag::NONE,
        };
        let numbers = [7, 8, 7, 7].map(|byte| names.origin(sid(byte), &mut out));
        assert_eq!(numbers, [1, 2, 1, 1]);
        assert_eq!(staged(&out), ["origin", "origin"]);
    }

    #[test]
    fn next_index_defines_all_names_again() {
        let mut names = Names::new(vec!["m1".into()]);
        let mut out = Vec::new();
        names.define_sources(&mut out);
        names.define_sources(&mut out);
        assert_eq!(staged(&out), ["source name"]);
        out.clear();
        names.restarted().define_sources(&mut out);
        assert_eq!(staged(&out), ["source name"]);
    }

    #[test]
    fn source_without_a_file_has_number_zero() {
        let mut names = Names::new(vec!["m1".into()]);
        let mut out = Vec::new();
        assert_eq!(names.source_file(0, &Arc::from(""), &mut out), 0);
        assert_eq!(staged(&out), ["source name"]);
    }
}
