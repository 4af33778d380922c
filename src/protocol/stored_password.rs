//! Verifying a password on the server side without keeping the password.

use super::auth::AuthPlugin;
use super::sha256_crypt::sha256_crypt;
use crate::secret::{CachingSha2Hash, PasswordHash};
use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use curve25519_dalek::edwards::EdwardsPoint;
use rand::Rng;
use std::sync::{Arc, OnceLock};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Thousands of rounds of a `caching_sha2_password` hash that is made here: the least that MySQL
/// takes. The hash is kept in memory only.
const KILOROUNDS: u16 = 5;
/// The longest password that `caching_sha2_password` takes, in bytes; MySQL's limit, which also
/// bounds what a hash costs.
const CACHING_SHA2_PASSWORD_LENGTH_MAX: usize = 256;

/// What the server keeps of a password: a hash for each plugin that the account can log in with.
/// Zeroed when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StoredPassword {
    /// The account has no password: only an empty answer is right.
    is_empty: bool,
    /// SHA1(SHA1(password)).
    native: Option<[u8; 20]>,
    /// MariaDB's public key.
    ed25519: Option<[u8; 32]>,
    caching_sha2: Option<CachingSha2Hash>,
    /// SHA256(SHA256(password)), by which `caching_sha2_password` verifies a scramble. It is not
    /// part of the stored hash: known as soon as the password was seen once. Shared by all clones.
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
    /// Of several hashes for one plugin the last counts.
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

    /// A password that nobody has, with hashes for the same plugins and of the same cost: what an
    /// unknown user is measured by, so that nothing tells it from a known one.
    pub fn decoy(&self) -> StoredPassword {
        let secret: [u8; 32] = rand::random();
        StoredPassword {
            is_empty: false,
            native: self.native.map(|_| rand::random()),
            // Not just any bytes: half of them are no key, and are rejected faster.
            ed25519: self.ed25519.map(|_| ed25519_public_key(&secret)),
            caching_sha2: self.caching_sha2.as_ref().map(|hash| CachingSha2Hash {
                kilorounds: hash.kilorounds,
                salt: new_salt(),
                // No digest has it: NUL is not a character of crypt.
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

    /// The bytes that MariaDB's certificate proof for that plugin is computed from; None for an
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
    /// account does not have. For `caching_sha2_password` false may only mean that the password
    /// was not seen yet: see [`StoredPassword::verify_clear`].
    pub fn verify(&self, plugin: AuthPlugin, scramble: &[u8], response: &[u8]) -> bool {
        if plugin == AuthPlugin::Ed25519 {
            // Signs with an empty password too.
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
        // Where it is not known yet, the same steps lead to no: no SHA-256 is zero.
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

    /// True when `password` is the one that `caching_sha2_password` stored; then its scrambles are
    /// verified without it from now on. Takes milliseconds at least, by the hash's rounds: call it
    /// where that holds up nobody else.
    pub fn verify_clear(&self, password: &[u8]) -> bool {
        let Some(stored) = &self.caching_sha2 else {
            return false;
        };
        if password.len() > CACHING_SHA2_PASSWORD_LENGTH_MAX {
            return false;
        }
        let is_right = crypt(stored, password)
            .as_slice()
            .ct_eq(&stored.digest)
            .into();
        if is_right {
            self.cached_sha2.get_or_init(|| double_sha256(password));
        }
        is_right
    }
}

fn crypt(hash: &CachingSha2Hash, password: &[u8]) -> [u8; 43] {
    sha256_crypt(password, &hash.salt, u32::from(hash.kilorounds) * 1000)
}

fn double_sha256(password: &[u8]) -> Zeroizing<[u8; 32]> {
    hash(&SHA256, &[hash::<32>(&SHA256, &[password]).as_slice()])
}

/// MariaDB's key: the standard's, but with the password in place of the 32 bytes of seed.
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

/// The response without its mask, or None where its length is wrong.
fn unmask<const N: usize>(response: &[u8], mask: [u8; N]) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new(<[u8; N]>::try_from(response).ok()?);
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Some(bytes)
}

pub(super) fn hash<const N: usize>(
    algorithm: &'static Algorithm,
    parts: &[&[u8]],
) -> Zeroizing<[u8; N]> {
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
mod tests;
