//! Rust source as words and marks, without comments and without the contents of literals.

/// A piece of code; a word has its line number, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A word: identifier, keyword or number.
    Ident(usize, String),
    /// Any other character.
    Mark(char),
}

/// `text` with comments and the contents of string and character literals blanked, line by line.
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

/// Blanks comments and literals; line numbers do not change.
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

/// `at` is the index after the `r`. A raw identifier is not a string: it ends where it began.
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

    #[test]
    fn comments_and_literals_are_blanked() {
        let text = "//! [`crate::a`]\n/* crate::b /* */ crate::c */ let s = \"crate::d \\\" crate::e\";\n\
            let r = r#\"crate::f\" crate::g\"#; let c = ('\"', b'\\'', '\\u{1F}'); let l: &'a str = crate::h::X;";
        assert_eq!(code_lines(text).len(), text.lines().count());
        let after_crate = |pair: &[Token]| match pair {
            [Token::Ident(_, word), Token::Mark(':')] => word == "crate",
            _ => false,
        };
        assert_eq!(
            tokens(text)
                .windows(2)
                .filter(|pair| after_crate(pair))
                .count(),
            1
        );
        assert!(tokens(text).contains(&Token::Ident(3, "h".to_owned())));
    }
}
