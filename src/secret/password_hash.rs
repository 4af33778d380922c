//! Password hashes, as servers store them.
//!
//! ```text
//! mysql_native_password   * and SHA1(SHA1(password)) in 40 hex digits
//! ed25519                 the public key, 32 bytes, in 43 base64 characters without padding
//! caching_sha2_password   $A$ rounds/1000 in 3 hex digits $ salt, 20 bytes, digest, 43 characters
//!                         or 0x and the hex digits of all these bytes
//! ```
//! Sources: `SHOW CREATE USER`, `mysql.user` and `mysql.global_priv` of MySQL 9.7 and
//! MariaDB 11.8.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use curve25519_dalek::edwards::CompressedEdwardsY;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const CACHING_SHA2_PREFIX: &[u8] = b"$A$";
/// The characters of sha-crypt's own base64.
fn is_crypt_digit(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/')
}

/// A password's hash in the form of one authentication plugin.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub enum PasswordHash {
    /// `mysql_native_password`: SHA1(SHA1(password)).
    Native([u8; 20]),
    /// MariaDB's `ed25519`: the public key.
    Ed25519([u8; 32]),
    /// `caching_sha2_password`.
    CachingSha2(CachingSha2Hash),
}

/// The hash that `caching_sha2_password` stores: SHA-256 crypt with a salt.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct CachingSha2Hash {
    /// Rounds of the hash in thousands, 5 to 4095.
    pub kilorounds: u16,
    /// The salt.
    pub salt: [u8; 20],
    /// The hash in the characters of crypt.
    pub digest: [u8; 43],
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plugin())?;
        f.write_str(" ***")
    }
}

impl fmt::Debug for CachingSha2Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PasswordHash {
    /// The plugin's name, as servers store it with the hash.
    pub fn plugin(&self) -> &'static str {
        match self {
            PasswordHash::Native(_) => "mysql_native_password",
            PasswordHash::Ed25519(_) => "ed25519",
            PasswordHash::CachingSha2(_) => "caching_sha2_password",
        }
    }

    /// Reads a hash in one of the three forms.
    ///
    /// # Errors
    /// Describes the expected form, without repeating the text.
    pub fn parse(text: &str) -> Result<PasswordHash, &'static str> {
        if let Some(digits) = text.strip_prefix('*') {
            return decode_hex(digits)
                .and_then(|bytes| Some(PasswordHash::Native(bytes.as_slice().try_into().ok()?)))
                .ok_or("* and 40 hex digits (mysql_native_password)");
        }
        if let Some(digits) = text.strip_prefix("0x") {
            return decode_hex(digits)
                .and_then(|bytes| CachingSha2Hash::from_bytes(&bytes))
                .map(PasswordHash::CachingSha2)
                .ok_or(
                    "0x and the 140 hex digits of a caching_sha2_password hash, as SHOW CREATE \
                     USER prints it with print_identified_with_as_hex",
                );
        }
        if text.as_bytes().starts_with(CACHING_SHA2_PREFIX) {
            return CachingSha2Hash::from_bytes(text.as_bytes())
                .map(PasswordHash::CachingSha2)
                .ok_or(
                    "$A$, 3 hex digits, $, 20 characters of salt and 43 of the hash \
                     (caching_sha2_password); a salt with control characters is best given in \
                     hex digits after 0x",
                );
        }
        let key = Zeroizing::new(STANDARD_NO_PAD.decode(text).unwrap_or_default());
        match key.as_slice().try_into() {
            Ok(key) if CompressedEdwardsY(key).decompress().is_some() => {
                Ok(PasswordHash::Ed25519(key))
            }
            _ => Err(
                "* and 40 hex digits (mysql_native_password), 43 base64 characters of a public \
                 key (ed25519), or $A$005$… or its hex form 0x… (caching_sha2_password)",
            ),
        }
    }
}

impl CachingSha2Hash {
    fn from_bytes(bytes: &[u8]) -> Option<CachingSha2Hash> {
        let rest = bytes.strip_prefix(CACHING_SHA2_PREFIX)?;
        let (digits, rest) = rest.split_first_chunk::<3>()?;
        // The number's parser would accept a sign as well.
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let kilorounds = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        let (salt, digest) = rest.strip_prefix(b"$")?.split_first_chunk::<20>()?;
        let is_valid = kilorounds >= 5
            && salt.iter().all(|byte| !matches!(byte, 0 | b'$'))
            && digest.iter().all(is_crypt_digit);
        let digest = digest.try_into().ok().filter(|_| is_valid)?;
        Some(CachingSha2Hash {
            kilorounds,
            salt: *salt,
            digest,
        })
    }
}

fn decode_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok())
        .collect::<Option<Vec<u8>>>()?;
    Some(Zeroizing::new(bytes))
}

#[cfg(test)]
mod tests;
