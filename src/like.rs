//! SQL's LIKE, for the patterns of SHOW statements and of filter rules.

/// Whether `text` matches the LIKE pattern: `%` matches any letters, `_` one letter, and `\` makes
/// the letter after it an ordinary one. Letters are compared with `equal`, the pattern's first.
///
/// Takes time proportional to the product of both lengths at most, and no memory.
pub fn matches<Letter>(
    mut pattern: impl Iterator<Item = Letter> + Clone,
    mut text: impl Iterator<Item = Letter> + Clone,
    equal: impl Fn(Letter, Letter) -> bool,
) -> bool
where
    Letter: Copy + PartialEq<char>,
{
    // Where to continue when the part of the pattern after the last `%` does not match.
    let mut retry = None;
    loop {
        let wanted = pattern.next();
        if wanted.is_some_and(|letter| letter == '%') {
            retry = Some((pattern.clone(), text.clone()));
            continue;
        }
        let matches = match (wanted, text.next()) {
            (None, None) => return true,
            (None, Some(_)) => false,
            (Some(_), None) => return false,
            (Some(wanted), Some(_)) if wanted == '_' => true,
            (Some(wanted), Some(letter)) if wanted == '\\' => {
                equal(pattern.next().unwrap_or(wanted), letter)
            }
            (Some(wanted), Some(letter)) => equal(wanted, letter),
        };
        if !matches {
            // The last `%` matches one letter more.
            let Some((after_percent, rest)) = &mut retry else {
                return false;
            };
            if rest.next().is_none() {
                return false;
            }
            pattern = after_percent.clone();
            text = rest.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn like(text: &str, pattern: &str) -> bool {
        matches(pattern.chars(), text.chars(), |a, b| a == b)
    }

    /// The definition, by trying every way to match a `%`.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            (['%', rest @ ..], _) => (0..=text.len()).any(|n| by_definition(rest, &text[n..])),
            (['_', rest @ ..], [_, after @ ..]) => by_definition(rest, after),
            (['\\'], ['\\']) => true,
            (['\\', letter, rest @ ..], [first, after @ ..])
            | ([letter, rest @ ..], [first, after @ ..]) => {
                letter == first && by_definition(rest, after)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_match_by_their_definition(pattern in "[ab%_\\\\]{0,8}", text in "[ab%_\\\\]{0,8}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                like(&text, &pattern),
                by_definition(&letters(&pattern), &letters(&text))
            );
        }
    }

    #[test]
    fn many_wildcards_take_no_exponential_time() {
        assert!(!like(&"a".repeat(2000), &format!("{}b", "%a".repeat(200))));
    }
}
