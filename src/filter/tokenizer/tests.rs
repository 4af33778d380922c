use proptest::prelude::*;

use super::*;

fn all(text: &str, dialect: Dialect) -> Result<Vec<String>, Unclear> {
    let mut tokenizer = Tokenizer::new(text.as_bytes(), true, dialect);
    let mut found = Vec::new();
    loop {
        found.push(match tokenizer.next()? {
            Token::End => return Ok(found),
            Token::Text => "''".to_owned(),
            Token::Symbol(byte) => char::from(byte).to_string(),
            Token::Word(word) => String::from_utf8_lossy(word).into_owned(),
            token => format!("`{}`", String::from_utf8_lossy(&name_of(token)?)),
        });
    }
}

fn tokens(text: &str) -> String {
    all(text, Dialect::default()).unwrap().join(" ")
}

#[test]
fn strings_names_and_comments_are_recognised() {
    for (text, expected) in [
        ("a.b", "a . b"),
        ("`a``b`.`c d`", "`a`b` . `c d`"),
        ("'it''s' x '\\'' y", "'' x '' y"),
        ("\"a \"\" b\" c", "'' c"),
        ("a -- b ' c\nd --e", "a d - - e"),
        ("a # b ' c\nd", "a d"),
        ("a/* ' ` */b /**/ c", "a b c"),
        ("a --", "a"),
        ("DROP /*!40005 TEMPORARY */ TABLE", "DROP TEMPORARY TABLE"),
        ("a /*! b */ c /*M! d */", "a b c"),
        ("a /*!80016 b */ c", "a c"),
        ("x@`y`=1.5", "x @ `y` = 1 . 5"),
        ("ünï", "ünï"),
        ("", ""),
    ] {
        assert_eq!(tokens(text), expected, "{text}");
    }
}

#[test]
fn tokens_depend_on_sql_mode_and_server() {
    let ansi = Dialect {
        ansi_quotes: true,
        ..Dialect::default()
    };
    assert_eq!(all("\"a\"\"b\" 'x'", ansi).unwrap(), ["`a\"b`", "''"]);
    let plain = Dialect {
        plain_backslash: true,
        ..Dialect::default()
    };
    assert_eq!(all("'\\' a", plain).unwrap(), ["''", "a"]);
    let mariadb = Dialect {
        mariadb: true,
        reads_versions: true,
        ..Dialect::default()
    };
    let text = "a /*M! b */ /*!100001 c */ /*!80016 d */";
    assert_eq!(all(text, mariadb).unwrap(), ["a", "b", "c", "d"]);
}

#[test]
fn unterminated_token_is_an_error() {
    for text in ["'a", "`a", "a /* b", "'a\\'", "/*! a", "\"x"] {
        assert_eq!(
            all(text, Dialect::default()),
            Err(Unclear::Unterminated),
            "{text}"
        );
    }
    assert_eq!(
        all("/*! /*! a */ */", Dialect::default()),
        Err(Unclear::Syntax)
    );
}

/// The tokens of a truncated text are the first ones of the complete text, then an error follows.
#[test]
fn truncated_text_gives_the_first_tokens_and_an_error() {
    let text = b"INSERT /*!40005 x */ INTO `a``b`.c -- z\n SELECT 'it''s \\' x' /* no */, \"q\"";
    let run = |bytes: &'static [u8], whole| {
        let mut tokenizer = Tokenizer::new(bytes, whole, Dialect::default());
        let mut found = Vec::new();
        loop {
            match tokenizer.next() {
                Ok(Token::End) => return (found, None),
                Ok(token) => found.push(token),
                Err(error) => return (found, Some(error)),
            }
        }
    };
    let (expected, error) = run(text, true);
    assert_eq!((expected.len(), error), (10, None));
    for cut in 0..text.len() {
        let (found, error) = run(&text[..cut], false);
        assert_eq!(error, Some(Unclear::Incomplete), "cut at {cut}");
        // A string that is truncated inside a doubled quote looks complete.
        assert!(expected.starts_with(&found), "cut at {cut}: {found:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_do_not_panic(
        text in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(
            b"`'\"/*!M-#\\ ab1.,()\n".to_vec())], 0..200),
        flags in any::<[bool; 5]>(),
    ) {
        let [ansi_quotes, plain_backslash, mariadb, reads_versions, whole] = flags;
        let dialect = Dialect { ansi_quotes, plain_backslash, mariadb, reads_versions };
        let mut tokenizer = Tokenizer::new(&text, whole, dialect);
        // Every token has at least one byte.
        for _ in 0..=text.len() {
            match tokenizer.next() {
                Ok(Token::End) => prop_assert!(whole),
                Ok(token) => { let _ = name_of(token); continue }
                Err(_) => {}
            }
            return Ok(());
        }
        prop_assert!(false, "it does not end");
    }
}
