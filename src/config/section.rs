//! Reading typed values from the sections of a configuration file.
//!
//! serde stops at its first error and words it in Rust's terms; an administrator is better served
//! by every problem at once, each with its line, its key and the expected value. So the sections are
//! read by hand from the parser's table, which keeps the offset of each value.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::reader::{Reader, shortened};
use super::values::{nearest, parse_duration, parse_size, show_duration, show_size};

/// One table of the file; absent tables read as if every key were absent.
pub(super) struct Section<'r, 't> {
    reader: &'r mut Reader<'t>,
    /// As errors name it: `[log]`, `[source "m1"]`.
    label: String,
    table: Option<&'t DeTable<'t>>,
    /// Offset of the section's header in the text.
    offset: Option<usize>,
}

impl<'r, 't> Section<'r, 't> {
    /// Opens a table, refusing every key that is not among the known ones.
    pub(super) fn open(
        reader: &'r mut Reader<'t>,
        label: String,
        table: Option<&'t DeTable<'t>>,
        offset: Option<usize>,
        known: &[&str],
    ) -> Section<'r, 't> {
        for key in table.into_iter().flat_map(DeTable::keys) {
            let word = key.get_ref().as_ref();
            if !known.contains(&word) {
                let unknown = format!("{label} {}", shortened(word));
                let guess = match nearest(word, known) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("expected one of: {}", known.join(", ")),
                };
                let message = format!("unknown key; {guess}");
                reader.problem(Some(key.span().start), unknown.trim_start(), &message);
            }
        }
        Section {
            reader,
            label,
            table,
            offset,
        }
    }

    /// Opens the table under a key of this one.
    pub(super) fn subsection(
        &mut self,
        key: &str,
        label: String,
        known: &[&str],
    ) -> Section<'_, 't> {
        let mut opened = (None, None);
        match self.get(key) {
            None => {}
            Some((DeValue::Table(table), offset)) => opened = (Some(table), Some(offset)),
            Some(_) => self.expected(key, "a table of keys and values"),
        }
        Section::open(self.reader, label, opened.0, opened.1, known)
    }

    /// The tables of a `[[key]]` list, each with its offset in the text.
    pub(super) fn tables(&mut self, key: &str) -> Vec<(&'t DeTable<'t>, usize)> {
        let mut tables = Vec::new();
        match self.get(key) {
            None => {}
            Some((DeValue::Array(array), offset)) => {
                for item in array.iter() {
                    match item.get_ref() {
                        DeValue::Table(table) => tables.push((table, item.span().start)),
                        other => {
                            let found = describe(other);
                            let message = format!("expected [[{key}]] tables, found {found}");
                            self.reader.problem(Some(offset), key, &message);
                        }
                    }
                }
            }
            Some((DeValue::Table(_), offset)) => {
                let message = format!("expected [[{key}]] with double brackets, found [{key}]");
                self.reader.problem(Some(offset), key, &message);
            }
            Some(_) => self.expected(key, &format!("[[{key}]] tables")),
        }
        tables
    }

    pub(super) fn reader(&mut self) -> &mut Reader<'t> {
        self.reader
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key and where it begins.
    fn get(&self, key: &str) -> Option<(&'t DeValue<'t>, usize)> {
        let value = self.table?.get(key)?;
        Some((value.get_ref(), value.span().start))
    }

    pub(super) fn is_list(&self, key: &str) -> bool {
        matches!(self.get(key), Some((DeValue::Array(_), _)))
    }

    /// The section and the key, as errors name them.
    fn full_key(&self, key: &str) -> String {
        format!("{} {key}", self.label).trim().to_owned()
    }

    /// Warns about the value of a key.
    pub(super) fn warn(&mut self, key: &str, text: &str) {
        let warning = format!("{}: {text}", self.full_key(key));
        self.reader().warnings.push(warning);
    }

    /// Refuses a key with a specific message; for an absent key the line is that of the section's
    /// header.
    pub(super) fn refuse(&mut self, key: &str, message: &str) {
        let offset = self.get(key).map(|(_, offset)| offset).or(self.offset);
        let full_key = self.full_key(key);
        self.reader.problem(offset, &full_key, message);
    }

    /// Refuses the value of a key, with what was expected and found. Passwords are not repeated.
    pub(super) fn expected(&mut self, key: &str, expected: &str) {
        let found = match self.get(key) {
            None => return self.refuse(key, &format!("is required: expected {expected}")),
            Some((value, _)) => found(key, value),
        };
        self.refuse(key, &format!("expected {expected}, found {found}"));
    }

    /// Refuses an absent key. Returns whether it is present.
    pub(super) fn require(&mut self, key: &str, expected: &str) -> bool {
        let is_present = self.has(key);
        if !is_present {
            self.expected(key, expected);
        }
        is_present
    }

    /// A string, possibly empty.
    pub(super) fn string(&mut self, key: &str, expected: &str) -> Option<&'t str> {
        match self.get(key)?.0 {
            DeValue::String(text) => Some(text.as_ref()),
            _ => {
                self.expected(key, expected);
                None
            }
        }
    }

    /// A string that the given test accepts.
    pub(super) fn string_if(
        &mut self,
        key: &str,
        expected: &str,
        accepts: fn(&str) -> bool,
    ) -> Option<&'t str> {
        let text = self.string(key, expected)?;
        if !accepts(text) {
            self.expected(key, expected);
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.get(key)?.0 {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                self.expected(key, "true or false");
                None
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let number = whole(self.get(key)?.0).and_then(|n| u32::try_from(n).ok());
        if let Some(number) = number.filter(|n| range.contains(n)) {
            return Some(number);
        }
        self.expected(
            key,
            &format!("a number from {} to {}", range.start(), range.end()),
        );
        None
    }

    /// A duration in a range; 0 needs no unit and no quotes.
    pub(super) fn duration(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let duration = match self.get(key)?.0 {
            DeValue::String(text) => parse_duration(text),
            value => whole(value).filter(|n| *n == 0).map(|_| Duration::ZERO),
        };
        if let Some(duration) = duration.filter(|d| range.contains(d)) {
            return Some(duration);
        }
        let (from, to) = (show_duration(*range.start()), show_duration(*range.end()));
        self.expected(
            key,
            &format!("a duration such as \"30s\", from \"{from}\" to \"{to}\""),
        );
        None
    }

    /// A size in a range of bytes; a plain integer is bytes.
    pub(super) fn size(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let size = match self.get(key)?.0 {
            DeValue::String(text) => parse_size(text),
            value => whole(value),
        };
        if let Some(size) = size.filter(|n| range.contains(n)) {
            return Some(size);
        }
        let (from, to) = (show_size(*range.start()), show_size(*range.end()));
        self.expected(
            key,
            &format!("a size such as \"64MiB\", from \"{from}\" to \"{to}\""),
        );
        None
    }

    /// One of a few words, as its position in the list.
    pub(super) fn choice(&mut self, key: &str, words: &[&str]) -> Option<usize> {
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let expected = format!("one of {}", quoted.join(", "));
        let text = self.string(key, &expected)?;
        let found = words.iter().position(|word| *word == text);
        if found.is_none() {
            self.expected(key, &expected);
        }
        found
    }

    /// A list of non-empty strings.
    pub(super) fn strings(&mut self, key: &str, expected: &str) -> Option<Vec<&'t str>> {
        let DeValue::Array(array) = self.get(key)?.0 else {
            self.expected(key, expected);
            return None;
        };
        let mut strings = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::String(text) if !text.is_empty() => strings.push(text.as_ref()),
                other => {
                    let found = found(key, other);
                    let message = format!("expected {expected}, found {found} in it");
                    let full_key = self.full_key(key);
                    self.reader
                        .problem(Some(item.span().start), &full_key, &message);
                    return None;
                }
            }
        }
        Some(strings)
    }

    /// A path, resolved against the configuration file's directory.
    pub(super) fn path(&mut self, key: &str, expected: &str) -> Option<PathBuf> {
        let text = self.string_if(key, expected, |text| {
            !text.is_empty() && !text.contains('\0')
        })?;
        Some(self.reader.resolve(text))
    }

    /// The path of a file that this process can read.
    pub(super) fn readable_file(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.path(key, "the path of a PEM file")?;
        if self.reader.reads_secrets {
            let opened = File::open(&path).and_then(|file| file.metadata());
            match opened {
                Err(error) => self.refuse(key, &format!("{}: {error}", path.display())),
                Ok(found) if found.is_dir() => {
                    let path = path.display();
                    self.refuse(
                        key,
                        &format!("expected a PEM file, found the directory {path}"),
                    );
                }
                Ok(_) => {}
            }
        }
        Some(path)
    }

    /// `cert` and `key`, which need each other.
    pub(super) fn certificate_and_key(&mut self) -> (Option<PathBuf>, Option<PathBuf>) {
        match (self.has("cert"), self.has("key")) {
            (true, false) => self.refuse("key", "is required with cert: expected a PEM file"),
            (false, true) => self.refuse("cert", "is required with key: expected a PEM file"),
            _ => {}
        }
        (self.readable_file("cert"), self.readable_file("key"))
    }
}

/// A non-negative TOML integer.
fn whole(value: &DeValue<'_>) -> Option<u64> {
    match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// The value of a key as an error shows it. Passwords and tokens are not repeated.
fn found(key: &str, value: &DeValue<'_>) -> String {
    let is_secret = key.starts_with("password") || key.starts_with("http_token");
    match value {
        DeValue::String(_) if is_secret => "another string".to_owned(),
        value if is_secret => kind(value).to_owned(),
        value => describe(value),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value as an error shows it.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", shortened(text)),
        DeValue::Integer(number) => shortened(number.as_str()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        other => kind(other).to_owned(),
    }
}

/// Offset of a key's value in the text; `otherwise` if the key is absent.
pub(super) fn value_offset(table: &DeTable<'_>, key: &str, otherwise: usize) -> usize {
    table.get(key).map_or(otherwise, |value| value.span().start)
}
