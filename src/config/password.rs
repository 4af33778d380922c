//! Passwords: in the configuration file, in a file of their own, or in an environment variable; those
//! of users also as the hashes that servers store.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::section::Section;
use super::settings::UserPassword;
use crate::secret::{PasswordHash, Secret};

const HASH: &str = "password_hash";
/// The keys for a source's password: at most one is given.
const SOURCE_KEYS: &[&str] = &["password", "password_file", "password_env"];
/// The keys for a user's password: at most one is given.
pub(super) const USER_KEYS: &[&str] =
    &["password", "password_file", "password_env", "password_hash"];

/// The longest password read from a file, in bytes; no server accepts one of this size.
const PASSWORD_SIZE_MAX: usize = 64 << 10;

/// The password of a source, empty when no key is given or the value is refused; and its file.
pub(super) fn read(section: &mut Section<'_, '_>) -> (Secret, Option<PathBuf>) {
    if !has_at_most_one(section, SOURCE_KEYS) {
        return (Secret::default(), None);
    }
    read_plain(section)
}

/// Reads a password file again.
///
/// # Errors
/// When it cannot be read, or does not hold a password; the message names the file.
pub fn read_again(path: &Path) -> io::Result<Secret> {
    match read_password_file(path) {
        Ok((password, _)) => Ok(password),
        Err(error) => Err(io::Error::other(format!(
            "cannot read password_file {}: {error}",
            path.display()
        ))),
    }
}

/// The password of a user, or its hashes; the empty password when no key is given or the value is
/// refused.
pub(super) fn read_user(section: &mut Section<'_, '_>) -> UserPassword {
    if !has_at_most_one(section, USER_KEYS) {
        return UserPassword::Plain(Secret::default());
    }
    match section.has(HASH) {
        true => {
            section.reader().holds_passwords = true;
            UserPassword::Hashes(read_hashes(section))
        }
        false => UserPassword::Plain(read_plain(section).0),
    }
}

/// The token of the HTTP listener; `None` when no key is given or the value is refused.
pub(super) fn read_http_token(section: &mut Section<'_, '_>) -> Option<Secret> {
    const KEY: &str = "http_token";
    const FILE: &str = "http_token_file";
    if !has_at_most_one(section, &[KEY, FILE]) {
        return None;
    }
    let token = match section.string(KEY, "a string") {
        Some(text) => {
            section.reader().holds_passwords |= !text.is_empty();
            Secret::new(text)
        }
        // Without the secrets it is enough that there is one.
        None if section.has(FILE) && !section.reader().reads_secrets => {
            return Some(Secret::default());
        }
        None => from_file(section, FILE, "the path of a file that holds the token")?,
    };
    if token.is_empty() {
        let key = if section.has(KEY) { KEY } else { FILE };
        section.refuse(key, "expected a token, found an empty one");
    }
    Some(token)
}

fn has_at_most_one(section: &mut Section<'_, '_>, keys: &[&'static str]) -> bool {
    let given: Vec<&str> = keys
        .iter()
        .copied()
        .filter(|key| section.has(key))
        .collect();
    let [_, second, ..] = given.as_slice() else {
        return true;
    };
    let message = format!(
        "expected only one of {}, found {}",
        keys.join(", "),
        given.join(", ")
    );
    section.refuse(second, &message);
    false
}

/// The password, and its file if it is in one.
fn read_plain(section: &mut Section<'_, '_>) -> (Secret, Option<PathBuf>) {
    const KEY: &str = "password_file";
    if let Some(text) = section.string("password", "a string") {
        section.reader().holds_passwords |= !text.is_empty();
        return (Secret::new(text.to_owned()), None);
    }
    let path = section.path(KEY, "the path of a file that holds the password");
    let password = match &path {
        Some(path) => from_path(section, KEY, path),
        None => from_variable(section),
    };
    (password.unwrap_or_default(), path)
}

/// One hash, or a list of them: one for each authentication plugin.
fn read_hashes(section: &mut Section<'_, '_>) -> Vec<PasswordHash> {
    const EXPECTED: &str = "a password's hash as a server stores it, or a list of such hashes";
    let texts = match section.is_list(HASH) {
        true => section.strings(HASH, EXPECTED),
        false => section.string(HASH, EXPECTED).map(|text| vec![text]),
    };
    let Some(texts) = texts else {
        return Vec::new();
    };
    if texts.is_empty() {
        section.refuse(HASH, &format!("expected {EXPECTED}, found an empty list"));
    }
    let mut hashes: Vec<PasswordHash> = Vec::new();
    for text in texts {
        let hash = match PasswordHash::parse(text) {
            Ok(hash) => hash,
            Err(expected) => {
                let count = text.chars().count();
                section.refuse(
                    HASH,
                    &format!("expected {expected}, found another string of {count} characters"),
                );
                continue;
            }
        };
        if hashes.iter().any(|other| other.plugin() == hash.plugin()) {
            let message = format!(
                "expected one hash of each kind, found two of {}",
                hash.plugin()
            );
            section.refuse(HASH, &message);
        }
        hashes.push(hash);
    }
    hashes
}

fn from_file(section: &mut Section<'_, '_>, key: &str, expected: &str) -> Option<Secret> {
    let path = section.path(key, expected)?;
    from_path(section, key, &path)
}

fn from_path(section: &mut Section<'_, '_>, key: &str, path: &Path) -> Option<Secret> {
    if !section.reader().reads_secrets {
        return None;
    }
    match read_password_file(path) {
        Ok((secret, is_world_readable)) => {
            if is_world_readable {
                let (label, path) = (section.label().to_owned(), path.display());
                section.reader().warnings.push(format!(
                    "{label} {key}: {path} is world-readable; run chmod 600 on it"
                ));
            }
            Some(secret)
        }
        Err(error) => {
            section.refuse(key, &format!("cannot read {}: {error}", path.display()));
            None
        }
    }
}

/// The password, and whether its file is world-readable.
fn read_password_file(path: &Path) -> io::Result<(Secret, bool)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(PASSWORD_SIZE_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > PASSWORD_SIZE_MAX {
        return Err(io::Error::other(
            "expected a password, found more than 64KiB",
        ));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| io::Error::other("expected UTF-8 text, found other bytes"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok((Secret::new(line.to_owned()), mode & 0o004 != 0))
}

fn from_variable(section: &mut Section<'_, '_>) -> Option<Secret> {
    const KEY: &str = "password_env";
    // An invalid name is not repeated: it may be the password, entered here by mistake.
    let expected = "the name of an environment variable (letters, digits and _)";
    let name = section.string_if(KEY, expected, |name| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    })?;
    if !section.reader().reads_secrets {
        return None;
    }
    match std::env::var(name) {
        Ok(text) => Some(Secret::new(text)),
        Err(std::env::VarError::NotPresent) => {
            section.refuse(
                KEY,
                &format!(
                    "expected an environment variable that is set, found {name}, which is not set"
                ),
            );
            None
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            section.refuse(
                KEY,
                &format!("expected UTF-8 text in {name}, found other bytes"),
            );
            None
        }
    }
}
