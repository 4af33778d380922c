//! `[filter]` and `[source.filter]`: the replication filter rules.

use super::filter_config::FilterConfig;
use super::reader::shortened;
use super::section::Section;

const KEYS: &[&str] = &[
    "replicate_do_db",
    "replicate_ignore_db",
    "replicate_do_table",
    "replicate_ignore_table",
    "replicate_wild_do_table",
    "replicate_wild_ignore_table",
    "replicate_rewrite_db",
];

/// Reads the table `filter` of the root or of a source.
pub(super) fn read(parent: &mut Section<'_, '_>, label: String) -> FilterConfig {
    let mut section = parent.subsection("filter", label, KEYS);
    FilterConfig {
        replicate_do_db: read_databases(&mut section, "replicate_do_db"),
        replicate_ignore_db: read_databases(&mut section, "replicate_ignore_db"),
        replicate_do_table: read_tables(&mut section, "replicate_do_table"),
        replicate_ignore_table: read_tables(&mut section, "replicate_ignore_table"),
        replicate_wild_do_table: read_tables(&mut section, "replicate_wild_do_table"),
        replicate_wild_ignore_table: read_tables(&mut section, "replicate_wild_ignore_table"),
        replicate_rewrite_db: read_rewrites(&mut section),
    }
}

fn read_databases(section: &mut Section<'_, '_>, key: &str) -> Vec<String> {
    read_rules(section, key, "a list of database names", |name| {
        Some(name.to_owned())
    })
}

fn read_tables(section: &mut Section<'_, '_>, key: &str) -> Vec<String> {
    read_rules(section, key, "a list of \"database.table\"", |rule| {
        rule.contains('.').then(|| rule.to_owned())
    })
}

fn read_rewrites(section: &mut Section<'_, '_>) -> Vec<(String, String)> {
    /// Characters of a database's name, as both servers limit it.
    const NAME_LEN_MAX: usize = 64;
    let expected = "a list of \"from->to\" with two database names of 1 to 64 characters";
    // A binlog has one byte for the name's length; the servers' names have no 4-byte characters.
    let is_name = |name: &str| {
        (1..=NAME_LEN_MAX).contains(&name.chars().count()) && name.len() <= usize::from(u8::MAX)
    };
    read_rules(section, "replicate_rewrite_db", expected, |rule| {
        let (from, to) = rule.split_once("->")?;
        let (from, to) = (from.trim(), to.trim());
        (is_name(from) && is_name(to)).then(|| (from.to_owned(), to.to_owned()))
    })
}

fn read_rules<T>(
    section: &mut Section<'_, '_>,
    key: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let mut rules = Vec::new();
    for text in section.strings(key, expected).unwrap_or_default() {
        match read(text) {
            Some(rule) => rules.push(rule),
            None => {
                let found = shortened(text);
                section.refuse(
                    key,
                    &format!("expected {expected}, found \"{found}\" in it"),
                );
            }
        }
    }
    rules
}
