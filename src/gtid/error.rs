//! Why a text or an encoding is not a GTID, a set or a position.

use thiserror::Error;

/// The most characters of the input that an error repeats.
const EXCERPT_CHARS: usize = 48;

/// Input that does not have the expected form, with the offset of the first wrong byte.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GtidError {
    /// A text that is not a GTID, a tag, a UUID, a set or a position.
    #[error("expected {expected} at byte {at}, found {found}")]
    Text {
        /// The expected syntax.
        expected: &'static str,
        /// The byte offset in the text, from 0.
        at: usize,
        /// The wrong part, quoted and shortened to 48 characters, or "the end".
        found: String,
    },
    /// A binary encoding that is truncated or breaks a rule of its format.
    #[error("{structure}: expected {expected} at byte {at}, found {found}")]
    Binary {
        /// The encoding being read, such as "GTID set".
        structure: &'static str,
        /// The expected field.
        expected: &'static str,
        /// The byte offset in the encoding, from 0.
        at: usize,
        /// The value found, or the number of bytes left.
        found: String,
    },
}

impl GtidError {
    /// An error about the text that starts with `rest`, at byte `at` of the whole input.
    pub(super) fn text(expected: &'static str, at: usize, rest: &str) -> GtidError {
        let found = if rest.is_empty() {
            "the end".to_string()
        } else {
            let cut = rest.chars().take(EXCERPT_CHARS).collect::<String>();
            let more = if cut.len() < rest.len() { "…" } else { "" };
            format!("{cut:?}{more}")
        };
        GtidError::Text {
            expected,
            at,
            found,
        }
    }

    /// An encoding that has a source twice.
    pub(super) fn repeated_source(sid: &dyn std::fmt::Display) -> GtidError {
        GtidError::Binary {
            structure: "GTID set",
            expected: "each source once",
            at: 0,
            found: format!("{sid} again"),
        }
    }

    /// The same error for a part that starts at byte `base` of a larger text.
    pub(super) fn shifted(self, base: usize) -> GtidError {
        match self {
            GtidError::Text {
                expected,
                at,
                found,
            } => GtidError::Text {
                expected,
                at: at.saturating_add(base),
                found,
            },
            binary => binary,
        }
    }
}
