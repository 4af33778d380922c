//! Verifying a password on the server side without keeping the password.

use super::auth::AuthPlugin;
use super::handshake::SCRAMBLE_LENGTH;
use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What the server keeps of a password: one hash per plugin that it can verify. Zeroed when
/// dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StoredPassword {
    /// The account has no password: only an empty answer is right.
    is_empty: bool,
    /// SHA1(SHA1(password)).
    native: [u8; 20],
    /// SHA256(SHA256(password)).
    caching_sha2: [u8; 32],
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredPassword(…)")
    }
}

impl StoredPassword {
    /// The hashes of a password.
    pub fn from_plaintext(password: &str) -> StoredPassword {
        let sha1 = &SHA1_FOR_LEGACY_USE_ONLY;
        StoredPassword {
            is_empty: password.is_empty(),
            native: *hash(sha1, &[hash::<20>(sha1, &[password.as_bytes()]).as_slice()]),
            caching_sha2: *hash(
                &SHA256,
                &[hash::<32>(&SHA256, &[password.as_bytes()]).as_slice()],
            ),
        }
    }

    /// A password that nobody has, so that an unknown user costs the same steps as a known one.
    pub fn unmatchable() -> StoredPassword {
        StoredPassword {
            is_empty: false,
            native: rand::random(),
            caching_sha2: rand::random(),
        }
    }

    /// SHA1(SHA1(password)), as `mysql_native_password` stores it.
    pub fn native_hash(&self) -> &[u8; 20] {
        &self.native
    }

    /// True when `response` proves the password to this scramble. False for plugins that are not
    /// served.
    pub fn verify(
        &self,
        plugin: AuthPlugin,
        scramble: &[u8; SCRAMBLE_LENGTH],
        response: &[u8],
    ) -> bool {
        // MySQL's caching_sha2_password client sends a NUL for an empty password.
        let empty_response =
            response.is_empty() || (plugin == AuthPlugin::CachingSha2 && response == [0]);
        if self.is_empty || empty_response {
            return self.is_empty && empty_response;
        }
        match plugin {
            AuthPlugin::Native => self.verify_native(scramble, response),
            AuthPlugin::CachingSha2 => self.verify_caching_sha2(scramble, response),
            AuthPlugin::Ed25519 | AuthPlugin::Clear => false,
        }
    }

    /// response = SHA1(password) XOR SHA1(scramble ‖ stored).
    fn verify_native(&self, scramble: &[u8], response: &[u8]) -> bool {
        let sha1 = &SHA1_FOR_LEGACY_USE_ONLY;
        let mask: [u8; 20] = *hash(sha1, &[scramble, &self.native]);
        let Some(candidate) = unmask(response, mask) else {
            return false;
        };
        let stored: Zeroizing<[u8; 20]> = hash(sha1, &[candidate.as_slice()]);
        stored.as_slice().ct_eq(&self.native).into()
    }

    /// response = SHA256(password) XOR SHA256(stored ‖ scramble).
    fn verify_caching_sha2(&self, scramble: &[u8], response: &[u8]) -> bool {
        let mask: [u8; 32] = *hash(&SHA256, &[&self.caching_sha2, scramble]);
        let Some(candidate) = unmask(response, mask) else {
            return false;
        };
        let stored: Zeroizing<[u8; 32]> = hash(&SHA256, &[candidate.as_slice()]);
        stored.as_slice().ct_eq(&self.caching_sha2).into()
    }
}

/// The response without its mask, or None where its length is wrong.
fn unmask<const N: usize>(response: &[u8], mask: [u8; N]) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new(<[u8; N]>::try_from(response).ok()?);
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Some(bytes)
}

fn hash<const N: usize>(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut context = Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let mut out = Zeroizing::new([0; N]);
    for (byte, digest) in out.iter_mut().zip(context.finish().as_ref()) {
        *byte = *digest;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::scramble::{scramble_native, scramble_sha256};

    const SCRAMBLE: [u8; SCRAMBLE_LENGTH] = *b"0123456789abcdefghij";

    #[test]
    fn answers_of_the_right_password_only() {
        let stored = StoredPassword::from_plaintext("secret");
        for (password, right) in [("secret", true), ("Secret", false), ("secret ", false)] {
            let native = scramble_native(&SCRAMBLE, password.as_bytes()).unwrap();
            let sha2 = scramble_sha256(&SCRAMBLE, password.as_bytes()).unwrap();
            assert_eq!(stored.verify(AuthPlugin::Native, &SCRAMBLE, &native), right);
            assert_eq!(
                stored.verify(AuthPlugin::CachingSha2, &SCRAMBLE, &sha2),
                right
            );
            // An answer replayed to another scramble proves nothing.
            let other = *b"jihgfedcba9876543210";
            assert!(!stored.verify(AuthPlugin::Native, &other, &native));
            assert!(!stored.verify(AuthPlugin::CachingSha2, &other, &sha2));
            // Neither does an answer that is cut, nor another plugin's.
            for cut in 0..native.len() {
                assert!(!stored.verify(AuthPlugin::Native, &SCRAMBLE, &native[..cut]));
            }
            for cut in 0..sha2.len() {
                assert!(!stored.verify(AuthPlugin::CachingSha2, &SCRAMBLE, &sha2[..cut]));
            }
            assert!(!stored.verify(AuthPlugin::Clear, &SCRAMBLE, password.as_bytes()));
        }
    }

    #[test]
    fn an_account_without_password_takes_only_an_empty_answer() {
        let stored = StoredPassword::from_plaintext("");
        assert!(stored.verify(AuthPlugin::Native, &SCRAMBLE, &[]));
        assert!(stored.verify(AuthPlugin::CachingSha2, &SCRAMBLE, &[0]));
        assert!(!stored.verify(AuthPlugin::Native, &SCRAMBLE, &[0; 20]));
        let stored = StoredPassword::from_plaintext("x");
        assert!(!stored.verify(AuthPlugin::Native, &SCRAMBLE, &[]));
        assert!(!stored.verify(AuthPlugin::CachingSha2, &SCRAMBLE, &[0]));
        assert!(!StoredPassword::unmatchable().verify(AuthPlugin::Native, &SCRAMBLE, &[]));
    }

    #[test]
    fn native_hash_is_what_servers_store() {
        // PASSWORD('secret') of a live MariaDB server.
        let stored = StoredPassword::from_plaintext("secret");
        let hex: String = stored
            .native_hash()
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect();
        assert_eq!(hex, "14E65567ABDB5135D0CFD9A70B3032C179A49EE7");
        assert_eq!(format!("{stored:?}"), "StoredPassword(…)");
    }
}
