//! SHA-256 crypt, the hash that `caching_sha2_password` stores: many rounds, so that a stolen hash
//! is slow to guess.
//!
//! Source: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512" (public domain). MySQL's salt
//! has 20 bytes; the specification would truncate it to 16.

use aws_lc_rs::digest::SHA256;
use zeroize::Zeroizing;

use super::digest::hash;

/// The order in which the digest's bytes are encoded, in groups of three, the first byte highest.
const ORDER: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

/// The hash of a password in crypt's characters. Its cost grows with `rounds` and the password's
/// length: callers limit both.
pub(super) fn sha256_crypt(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 43] {
    let alternate = sha256(&[password, salt, password]);
    let mut input = Zeroizing::new([password, salt].concat());
    input.extend(alternate.iter().cycle().take(password.len()));
    let mut bits = password.len();
    while bits != 0 {
        let part: &[u8] = if bits & 1 == 1 { &*alternate } else { password };
        input.extend_from_slice(part);
        bits >>= 1;
    }
    let mut state = sha256(&[&input]);
    let repeated = Zeroizing::new(password.repeat(password.len()));
    let password = stretch(&sha256(&[&repeated]), password.len());
    let [first, ..] = *state;
    let salt = stretch(
        &sha256(&[&salt.repeat(16 + usize::from(first))]),
        salt.len(),
    );
    for round in 0..rounds {
        input.clear();
        let is_odd = round % 2 == 1;
        input.extend_from_slice(if is_odd { &password } else { &*state });
        if round % 3 != 0 {
            input.extend_from_slice(&salt);
        }
        if round % 7 != 0 {
            input.extend_from_slice(&password);
        }
        input.extend_from_slice(if is_odd { &*state } else { &password });
        state = sha256(&[&input]);
    }
    encode(&state)
}

fn sha256(parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    hash(&SHA256, parts)
}

fn stretch(digest: &[u8; 32], length: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(digest.iter().copied().cycle().take(length).collect())
}

fn encode(state: &[u8; 32]) -> [u8; 43] {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let byte = |index: usize| state.get(index).copied().map_or(0, u32::from);
    let groups = ORDER
        .iter()
        .map(|[high, middle, low]| byte(*high) << 16 | byte(*middle) << 8 | byte(*low))
        .chain([byte(31) << 8 | byte(30)]);
    let digits = groups.flat_map(|group| [0, 6, 12, 18].map(|shift| group >> shift & 63));
    let mut text = [0; 43];
    for (out, digit) in text.iter_mut().zip(digits) {
        *out = DIGITS.get(digit as usize).copied().unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_those_of_other_implementations() {
        for (salt, rounds, password, hash) in [
            (
                "saltstring",
                5000,
                "Hello world!",
                "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
            (
                "saltstringsaltst",
                10000,
                "Hello world!",
                "3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
            ),
        ] {
            let found = sha256_crypt(password.as_bytes(), salt.as_bytes(), rounds);
            assert_eq!(String::from_utf8_lossy(&found), hash);
        }
    }
}
