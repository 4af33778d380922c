//! Why the rules cannot be evaluated.

/// Why a statement's tables cannot be determined with certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// The statement is too long, and the part that was read does not decide.
    #[error("they are not named in the first part of this long statement")]
    Incomplete,
    /// A string, name or comment without an end.
    #[error("a string, name or comment in it does not end")]
    Unterminated,
    /// Syntax that this parser does not know.
    #[error("its syntax is not supported")]
    Syntax,
    /// A client character set in which an ASCII byte may be part of another character.
    #[error("its character set is not UTF-8 and it has non-ASCII characters")]
    CharacterSet,
    /// A comment that only some server versions execute.
    #[error("it depends on a comment /*!…*/ that only some server versions execute")]
    VersionedComment,
    /// The rules give different results for the tables that the statement names, and the text does
    /// not determine which of them it changes first.
    #[error(
        "the rules disagree on the tables that it names, and it is uncertain which one decides"
    )]
    Order,
    /// Names that only the server's collation can compare.
    #[error("it is uncertain whether a name with non-ASCII letters matches a rule")]
    Letters,
}
