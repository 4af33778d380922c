//! Rust source as far as the tidy test must understand it: words and marks, without comments and
//! without the insides of literals.

/// A piece of code; each has the line it stands on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A word: identifier, keyword or number.
    Ident(usize, String),
    /// Any other character.
    Mark(char),
}

/// `text` with comments and the insides of string and character literals blanked, line by line.
pub fn code_lines(text: &str) -> Vec<(usize, String)> {
    let code = without_comments_and_literals(text);
    let lines = code.lines().map(str::to_owned);
    lines.enumerate().map(|(at, line)| (at + 1, line)).collect()
}

/// The words and marks of `text`.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in code_lines(text) {
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                tokens.push(Token::Ident(number, std::mem::take(&mut word)));
            }
            if !c.is_whitespace() {
                tokens.push(Token::Mark(c));
            }
        }
    }
    tokens
}

/// What the file of module `module` names of the crate's root, with the line: by `crate::`, by
/// `binrelay::` and by a chain of `super::` that is long enough.
pub fn imports(text: &str, module: &[String]) -> Vec<(usize, String)> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    // The depths of braces at which inline modules were opened.
    let mut depth = 0_usize;
    let mut inline = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Mark('{') => {
                depth += 1;
                if is_inline_module(&tokens, at) {
                    inline.push(depth);
                }
            }
            Token::Mark('}') => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
                depth = depth.saturating_sub(1);
            }
            Token::Ident(_, word) if word == "crate" || word == "binrelay" => {
                if let Some(next) = after_colons(&tokens, at + 1) {
                    found.extend(first_names(&tokens, next));
                }
            }
            Token::Ident(_, word) if word == "super" => {
                let mut climbed = 1;
                let mut next = after_colons(&tokens, at + 1);
                while let Some(here) = next
                    && matches!(tokens.get(here), Some(Token::Ident(_, word)) if word == "super")
                {
                    climbed += 1;
                    at = here;
                    next = after_colons(&tokens, here + 1);
                }
                if let Some(next) = next
                    && climbed >= module.len() + inline.len()
                {
                    found.extend(first_names(&tokens, next));
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether the brace at `at` follows `mod NAME`.
fn is_inline_module(tokens: &[Token], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|index| tokens.get(index));
    matches!(before(1), Some(Token::Ident(..)))
        && matches!(before(2), Some(Token::Ident(_, word)) if word == "mod")
}

/// The index behind `::` at `at`.
fn after_colons(tokens: &[Token], at: usize) -> Option<usize> {
    let is_colon = |index: usize| tokens.get(index) == Some(&Token::Mark(':'));
    (is_colon(at) && is_colon(at + 1)).then_some(at + 2)
}

/// The name at `at`, or the first name of each path in the group that begins there.
fn first_names(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    match tokens.get(at) {
        Some(Token::Ident(line, name)) => vec![(*line, name.clone())],
        Some(Token::Mark('*')) => vec![(0, "*".to_owned())],
        Some(Token::Mark('{')) => names_of_group(tokens, at),
        _ => Vec::new(),
    }
}

fn names_of_group(tokens: &[Token], open: usize) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut at_start = false;
    for token in tokens.get(open..).unwrap_or_default() {
        match token {
            Token::Mark('{') => {
                depth += 1;
                at_start = depth == 1;
                continue;
            }
            Token::Mark('}') => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            Token::Mark(',') if depth == 1 => {
                at_start = true;
                continue;
            }
            Token::Ident(line, name) if at_start => names.push((*line, name.clone())),
            Token::Mark('*') if at_start => names.push((0, "*".to_owned())),
            _ => {}
        }
        at_start = false;
    }
    names
}

/// Blanks what is not code. Lines stay where they are.
fn without_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    let get = |index: usize| chars.get(index).copied().unwrap_or('\0');
    while at < chars.len() {
        let end = match (get(at), get(at + 1)) {
            ('/', '/') => end_of_line(&chars, at),
            ('/', '*') => end_of_block_comment(&chars, at),
            ('"', _) => end_of_string(&chars, at + 1),
            ('r', '"' | '#') if !is_word(&chars, at) => end_of_raw_string(&chars, at + 1),
            ('\'', '\\') => at + 3 + chars[at + 3..].iter().take_while(|c| **c != '\'').count() + 1,
            ('\'', _) if get(at + 2) == '\'' => at + 3,
            _ => at,
        };
        if end == at {
            code.push(get(at));
            at += 1;
            continue;
        }
        let blanked = &chars[at..end.min(chars.len())];
        code.push(' ');
        code.extend(blanked.iter().filter(|c| **c == '\n'));
        at = end;
    }
    code
}

/// Whether the character before `at` belongs to a word. A `b` of a byte string does not count.
fn is_word(chars: &[char], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|index| chars.get(index));
    let part = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    part(before(1)) && (before(1) != Some(&'b') || part(before(2)))
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    at + chars[at..].iter().take_while(|c| **c != '\n').count()
}

fn end_of_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => depth += 1,
            ('*', Some('/')) => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// `at` is behind the `r`. What is no raw string (a raw identifier) ends where it began.
fn end_of_raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return at - 1;
    }
    let mut end = at + hashes + 1;
    while end < chars.len() {
        let closes = chars[end] == '"'
            && chars[end + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        end += 1;
        if closes {
            return end + hashes;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
        imports(text, &module)
            .into_iter()
            .map(|found| found.1)
            .collect()
    }

    #[test]
    fn paths_of_every_form_are_found() {
        let text = "use crate::gtid::Uuid;\nuse crate::{binlog::{self, event}, flavor::*};\n\
            fn f() { super::super::tls::g(); crate::merge::h() }";
        assert_eq!(
            names(text, &["sender", "login"]),
            ["gtid", "binlog", "flavor", "tls", "merge"]
        );
        assert_eq!(names("use binrelay::config;", &["cli", "run"]), ["config"]);
        assert_eq!(names("use crate::*;", &["cli"]), ["*"]);
    }

    #[test]
    fn a_path_that_stays_below_the_root_is_no_import() {
        assert!(names("use super::status;", &["receiver", "stream"]).is_empty());
        let text = "fn f() {} mod tests { use super::super::status; } use super::super::tls;";
        assert_eq!(names(text, &["receiver", "stream"]), ["tls"]);
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "//! [`crate::a`]\n/* crate::b /* */ crate::c */ let s = \"crate::d \\\" crate::e\";\n\
            let r = r#\"crate::f\" crate::g\"#; let c = ('\"', b'\\'', '\\u{1F}'); let l: &'a str = crate::h::X;";
        assert_eq!(names(text, &["m"]), ["h"]);
        assert_eq!(code_lines(text).len(), text.lines().count());
        let found = imports(text, &["m".to_owned()]);
        assert_eq!(found, [(3, "h".to_owned())]);
    }
}
