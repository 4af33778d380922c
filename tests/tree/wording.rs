//! Phrases that are not standard English, in comments, messages, documentation and identifiers.
//!
//! The list holds only what is never right in this project, so that it needs no exceptions. It does
//! not replace reading.

use std::path::Path;

use crate::files::{assert_none, text_files};

/// A phrase and what to write instead. Words are separated by blanks, forms of a word by
/// `|`; `^` is the beginning of a clause.
const PHRASES: &[(&str, &str)] = &[
    ("anew", "again"),
    ("for ever", "forever"),
    ("nobody", "no one"),
    ("in words", "as text, a message"),
    ("such ones", "those"),
    ("such a one", "that one, name it"),
    ("made|make|makes|making up", "generated"),
    ("go|goes|going|gone|went on", "continue, resume"),
    ("of old times", "older"),
    ("^ by what", "how"),
    ("mend|mends|mended|mending", "fix, repair"),
    ("make|makes|made|making room", "free space"),
    ("cut|cuts|cutting off", "truncated"),
    ("border|borders", "boundary"),
    ("folder|folders", "directory"),
    ("told|tell|tells of|from", "reported, distinguished from"),
    (
        "stand|stands|stood|standing in|at|on|there|behind|before|after",
        "is, appears, is written",
    ),
    (
        "offset|offsets|place|places|position|positions behind",
        "after, past, end offset of",
    ),
    ("behind the last|first|next|end", "after the last"),
    ("has|have|had not the|a|an|one|any", "does not have"),
    (
        "takes|took|taking|taken in what|that|the",
        "read, receive, record, apply",
    ),
];

/// Nouns that a thing is or is not: "is no event" is "is not an event". "There is no event" is right.
const NOUNS: &[&str] = &[
    "binlog",
    "boundary",
    "code",
    "command",
    "comment",
    "copy",
    "database",
    "directory",
    "end",
    "error",
    "event",
    "fault",
    "file",
    "finding",
    "function",
    "gtid",
    "import",
    "index",
    "literal",
    "log",
    "master",
    "module",
    "name",
    "number",
    "option",
    "packet",
    "part",
    "password",
    "path",
    "place",
    "position",
    "problem",
    "query",
    "record",
    "replica",
    "row",
    "rule",
    "secret",
    "server",
    "source",
    "statement",
    "string",
    "table",
    "test",
    "token",
    "transaction",
    "type",
    "use",
    "value",
    "word",
];

/// A word in lower case, or the end of a clause; with its line, from 1.
enum Piece {
    Word(usize, String),
    Break,
}

/// The words of a text: comments that continue on the next line read on, identifiers are split.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line
            .trim_start()
            .trim_start_matches(['/', '!', '#', '*', '|', '-', '>', ' ']);
        if line.is_empty() {
            pieces.push(Piece::Break);
        }
        let mut word = String::new();
        let mut is_quoted = false;
        for c in line.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '-' || c == '\'' {
                word.extend(c.to_lowercase());
                continue;
            }
            // A single word in quotes is a name.
            if is_quoted && c == '"' {
                word.clear();
                pieces.push(Piece::Break);
            }
            if !word.is_empty() {
                let word = std::mem::take(&mut word);
                let word = word.strip_suffix("'s").unwrap_or(&word).to_owned();
                pieces.push(Piece::Word(index + 1, word));
            }
            is_quoted = c == '"';
            if ".,;:!?()|{}=".contains(c) {
                pieces.push(Piece::Break);
            }
        }
    }
    pieces
}

/// The line of each place at which the pieces have the phrase.
fn lines_with(pieces: &[Piece], phrase: &str) -> Vec<usize> {
    let forms: Vec<Vec<&str>> = phrase
        .split(' ')
        .map(|word| word.split('|').collect())
        .collect();
    let found = pieces.windows(forms.len()).filter_map(|window| {
        let is_phrase = window.iter().zip(&forms).all(|(piece, forms)| match piece {
            Piece::Word(_, word) => forms.contains(&word.as_str()),
            Piece::Break => forms == &["^"],
        });
        match window.last() {
            Some(Piece::Word(line, _)) if is_phrase => Some(*line),
            _ => None,
        }
    });
    found.collect()
}

/// The lines with "is no NOUN" that is not "there is no NOUN".
fn lines_with_no_noun(pieces: &[Piece]) -> Vec<(usize, String)> {
    let word = |at: usize| match pieces.get(at) {
        Some(Piece::Word(line, word)) => Some((*line, word.as_str())),
        _ => None,
    };
    let found = (0..pieces.len()).filter_map(|at| {
        let (line, verb) = word(at)?;
        let (_, no) = word(at + 1)?;
        let (_, noun) = word(at + 2)?;
        let is_there = at
            .checked_sub(1)
            .and_then(word)
            .is_some_and(|(_, word)| word == "there");
        let is_verb = matches!(verb, "is" | "are" | "was" | "were");
        let is_noun = NOUNS.contains(&noun)
            || noun
                .strip_suffix('s')
                .is_some_and(|one| NOUNS.contains(&one));
        (is_verb && no == "no" && is_noun && !is_there).then(|| (line, format!("{verb} no {noun}")))
    });
    found.collect()
}

fn findings(path: &Path, text: &str) -> Vec<String> {
    let pieces = pieces(text);
    let mut found = Vec::new();
    for (phrase, better) in PHRASES {
        for line in lines_with(&pieces, phrase) {
            found.push(format!("{}:{line}: \"{phrase}\": {better}", path.display()));
        }
    }
    for (line, words) in lines_with_no_noun(&pieces) {
        found.push(format!(
            "{}:{line}: \"{words}\": is not a …",
            path.display()
        ));
    }
    found
}

/// The text without the style sheets of a page, which have words of their own.
fn without_style_sheets(text: &str) -> String {
    let is_sheet = |line: &&str| line.starts_with("<style>");
    let mut in_sheet = false;
    let kept = text.lines().map(|line| {
        in_sheet = (in_sheet || is_sheet(&line)) && !line.starts_with("</style>");
        if in_sheet { "" } else { line }
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[test]
fn text_has_only_standard_phrases() {
    let mut found = Vec::new();
    for (path, text) in text_files() {
        // This file names the phrases.
        if path != Path::new(file!()) {
            found.extend(findings(&path, &without_style_sheets(&text)));
        }
    }
    assert_none("phrases that are not standard English", &found);
}

#[test]
fn phrases_are_found_across_lines_and_in_identifiers() {
    let text = "/// The relay goes\n/// on, for ever.\nfn others_go_on() {} // Goes. On\n// There is no file.\n// It is no\n// file: go, on";
    let found = findings(Path::new("a.rs"), text);
    assert_eq!(
        found,
        [
            "a.rs:2: \"for ever\": forever",
            "a.rs:2: \"go|goes|going|gone|went on\": continue, resume",
            "a.rs:3: \"go|goes|going|gone|went on\": continue, resume",
            "a.rs:5: \"is no file\": is not a …",
        ]
    );
}
