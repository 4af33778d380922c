//! Passwords and password hashes that do not end up in logs, errors or freed memory.

mod password_hash;

pub use password_hash::{CachingSha2Hash, PasswordHash};

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A password or another text that must not be shown. Its memory is wiped when it is dropped, and
/// `Debug` prints `***`; there is no `Display`.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Makes a text a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself. The name is conspicuous on purpose: a review should notice every use.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is the empty password.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_text_nor_length() {
        let secret = Secret::new("correct horse");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(format!("{:?}", Secret::default()), "***");
        assert_eq!(secret.expose(), "correct horse");
        assert!(Secret::default().is_empty());
    }
}
