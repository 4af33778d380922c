//! Verifying a password on the server side without keeping the password.

use super::auth::AuthPlugin;
use super::digest::hash;
use super::sha256_crypt::sha256_crypt;
use crate::secret::{CachingSha2Hash, PasswordHash};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use curve25519_dalek::edwards::EdwardsPoint;
use rand::Rng;
use std::sync::{Arc, OnceLock};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Thousands of rounds of a `caching_sha2_password` hash that is computed here: the fewest that
/// MySQL accepts. The hash is kept in memory only.
const KILOROUNDS: u16 = 5;
/// The longest password that `caching_sha2_password` accepts, in bytes; MySQL's limit, which also
/// bounds the cost of a hash.
const CACHING_SHA2_PASSWORD_LENGTH_MAX: usize = 256;

/// The stored form of a password: a hash for each plugin that the account can log in with.
/// Zeroed when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StoredPassword {
    /// The account has no password: only an empty answer is correct.
    is_empty: bool,
    /// SHA1(SHA1(password)).
    native: Option<[u8; 20]>,
    /// MariaDB's public key.
    ed25519: Option<[u8; 32]>,
    caching_sha2: Option<CachingSha2Hash>,
    /// SHA256(SHA256(password)), with which `caching_sha2_password` verifies a scramble. It is not
    /// part of the stored hash: it is known once the password was received. Shared by all clones.
    #[zeroize(skip)]
    cached_sha2: Arc<OnceLock<Zeroizing<[u8; 32]>>>,
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredPassword(…)")
    }
}

impl StoredPassword {
    /// All hashes of a password. Takes some milliseconds.
    pub fn from_plaintext(password: &str) -> StoredPassword {
        let password = password.as_bytes();
        let sha1 = &SHA1_FOR_LEGACY_USE_ONLY;
        let mut caching_sha2 = CachingSha2Hash {
            kilorounds: KILOROUNDS,
            salt: new_salt(),
            digest: [0; 43],
        };
        caching_sha2.digest = crypt(&caching_sha2, password);
        StoredPassword {
            is_empty: password.is_empty(),
            native: Some(*hash(sha1, &[hash::<20>(sha1, &[password]).as_slice()])),
            ed25519: Some(ed25519_public_key(password)),
            caching_sha2: Some(caching_sha2),
            cached_sha2: Arc::new(OnceLock::from(double_sha256(password))),
        }
    }

    /// The password of an account whose hashes were given: it can log in with their plugins only.
    /// Of several hashes for one plugin the last is used.
    pub fn from_hashes(hashes: &[PasswordHash]) -> StoredPassword {
        let mut stored = StoredPassword {
            is_empty: false,
            native: None,
            ed25519: None,
            caching_sha2: None,
            cached_sha2: Arc::default(),
        };
        for hash in hashes {
            match hash {
                PasswordHash::Native(hash) => stored.native = Some(*hash),
                PasswordHash::Ed25519(key) => stored.ed25519 = Some(*key),
                PasswordHash::CachingSha2(hash) => stored.caching_sha2 = Some(hash.clone()),
            }
        }
        stored
    }

    /// An unguessable password, with hashes for the same plugins and of the same cost. The answers
    /// of an unknown user are checked against it, so that nothing distinguishes them from those of
    /// a known one.
    pub fn decoy(&self) -> StoredPassword {
        let secret: [u8; 32] = rand::random();
        StoredPassword {
            is_empty: false,
            native: self.native.map(|_| rand::random()),
            // Not random bytes: half of them are not valid keys, and are rejected faster.
            ed25519: self.ed25519.map(|_| ed25519_public_key(&secret)),
            caching_sha2: self.caching_sha2.as_ref().map(|hash| CachingSha2Hash {
                kilorounds: hash.kilorounds,
                salt: new_salt(),
                // Matches no digest: NUL is not one of crypt's characters.
                digest: [0; 43],
            }),
            cached_sha2: Arc::default(),
        }
    }

    /// Whether the account can log in with that plugin.
    pub fn has(&self, plugin: AuthPlugin) -> bool {
        match plugin {
            AuthPlugin::Native => self.native.is_some(),
            AuthPlugin::Ed25519 => self.ed25519.is_some(),
            AuthPlugin::CachingSha2 => self.caching_sha2.is_some(),
            AuthPlugin::Clear => false,
        }
    }

    /// The bytes from which MariaDB's certificate proof for that plugin is computed; None for an
    /// account without a password, and for plugins without a proof.
    pub fn proof_hash(&self, plugin: AuthPlugin) -> Option<&[u8]> {
        match plugin {
            _ if self.is_empty => None,
            AuthPlugin::Native => Some(self.native.as_ref()?),
            AuthPlugin::Ed25519 => Some(self.ed25519.as_ref()?),
            AuthPlugin::CachingSha2 | AuthPlugin::Clear => None,
        }
    }

    /// True when `response` proves the password to this scramble. False for plugins that the
    /// account does not have. For `caching_sha2_password` false may also mean that the password
    /// was not received yet: see [`StoredPassword::verify_clear`].
    pub fn verify(&self, plugin: AuthPlugin, scramble: &[u8], response: &[u8]) -> bool {
        if plugin == AuthPlugin::Ed25519 {
            // An empty password signs, too.
            return self.ed25519.is_some_and(|key| {
                UnparsedPublicKey::new(&ED25519, key)
                    .verify(scramble, response)
                    .is_ok()
            });
        }
        // MySQL's caching_sha2_password client sends a NUL for an empty password.
        let empty_response =
            response.is_empty() || (plugin == AuthPlugin::CachingSha2 && response == [0]);
        if self.is_empty || empty_response {
            return self.is_empty && empty_response;
        }
        match plugin {
            AuthPlugin::Native => self.verify_native(scramble, response),
            AuthPlugin::CachingSha2 => self.verify_cached_sha2(scramble, response),
            AuthPlugin::Ed25519 | AuthPlugin::Clear => false,
        }
    }

    /// response = SHA1(password) XOR SHA1(scramble ‖ stored).
    fn verify_native(&self, scramble: &[u8], response: &[u8]) -> bool {
        let Some(native) = &self.native else {
            return false;
        };
        let sha1 = &SHA1_FOR_LEGACY_USE_ONLY;
        let mask: [u8; 20] = *hash(sha1, &[scramble, native]);
        let Some(candidate) = unmask(response, mask) else {
            return false;
        };
        let stored: Zeroizing<[u8; 20]> = hash(sha1, &[candidate.as_slice()]);
        stored.as_slice().ct_eq(native).into()
    }

    /// response = SHA256(password) XOR SHA256(stored ‖ scramble).
    fn verify_cached_sha2(&self, scramble: &[u8], response: &[u8]) -> bool {
        // While it is not known, the same steps fail, because no SHA-256 is zero.
        const UNKNOWN: &[u8; 32] = &[0; 32];
        let cached = self
            .cached_sha2
            .get()
            .map_or(UNKNOWN.as_slice(), |cached| cached.as_slice());
        let mask: [u8; 32] = *hash(&SHA256, &[cached, scramble]);
        let Some(candidate) = unmask(response, mask) else {
            return false;
        };
        let stored: Zeroizing<[u8; 32]> = hash(&SHA256, &[candidate.as_slice()]);
        stored.as_slice().ct_eq(cached).into()
    }

    /// True when `password` matches the `caching_sha2_password` hash; from then on its scrambles
    /// are verified without it. Takes milliseconds or more, depending on the hash's rounds: call it
    /// where blocking is allowed.
    pub fn verify_clear(&self, password: &[u8]) -> bool {
        let Some(stored) = &self.caching_sha2 else {
            return false;
        };
        if password.len() > CACHING_SHA2_PASSWORD_LENGTH_MAX {
            return false;
        }
        let is_correct = crypt(stored, password)
            .as_slice()
            .ct_eq(&stored.digest)
            .into();
        if is_correct {
            self.cached_sha2.get_or_init(|| double_sha256(password));
        }
        is_correct
    }
}

fn crypt(hash: &CachingSha2Hash, password: &[u8]) -> [u8; 43] {
    sha256_crypt(password, &hash.salt, u32::from(hash.kilorounds) * 1000)
}

fn double_sha256(password: &[u8]) -> Zeroizing<[u8; 32]> {
    hash(&SHA256, &[hash::<32>(&SHA256, &[password]).as_slice()])
}

/// MariaDB's key: as in the Ed25519 standard, but with the password in place of the seed.
fn ed25519_public_key(password: &[u8]) -> [u8; 32] {
    let expanded: Zeroizing<[u8; 64]> = hash(&SHA512, &[password]);
    let mut scalar = Zeroizing::new([0; 32]);
    scalar
        .iter_mut()
        .zip(expanded.iter())
        .for_each(|(to, from)| *to = *from);
    EdwardsPoint::mul_base_clamped(*scalar)
        .compress()
        .to_bytes()
}

fn new_salt() -> [u8; 20] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| rng.random_range(b'0'..=b'z'))
}

/// The response without its mask, or None if its length is wrong.
fn unmask<const N: usize>(response: &[u8], mask: [u8; N]) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new(<[u8; N]>::try_from(response).ok()?);
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
