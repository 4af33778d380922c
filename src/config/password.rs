//! Passwords: in the file, in a file of their own, or in an environment variable.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::reader::Section;
use crate::secret::Secret;

/// The three keys of which one may be given.
const KEYS: [&str; 3] = ["password", "password_file", "password_env"];

/// The longest password read from a file, in bytes; no server takes one of this size.
const PASSWORD_SIZE_MAX: usize = 64 << 10;

/// The password of a source or user; the empty one when no key is given or something is refused.
pub(super) fn read(section: &mut Section<'_, '_>) -> Secret {
    let given: Vec<&str> = KEYS.into_iter().filter(|key| section.has(key)).collect();
    if let [_, second, ..] = given.as_slice() {
        let message = format!(
            "expected only one of {}, found {}",
            KEYS.join(", "),
            given.join(", ")
        );
        section.refuse(second, &message);
        return Secret::default();
    }
    if let Some(text) = section.string("password", "a string") {
        return Secret::new(text.to_owned());
    }
    from_file(section)
        .or_else(|| from_variable(section))
        .unwrap_or_default()
}

fn from_file(section: &mut Section<'_, '_>) -> Option<Secret> {
    const KEY: &str = "password_file";
    let path = section.path(KEY, "the path of a file that holds the password")?;
    if !section.reader().reads_secrets {
        return None;
    }
    match read_password_file(&path) {
        Ok((secret, is_world_readable)) => {
            if is_world_readable {
                let (label, path) = (section.label().to_owned(), path.display());
                section.reader().warnings.push(format!(
                    "{label} {KEY}: {path} can be read by every user of this machine; \
                     chmod 600 it"
                ));
            }
            Some(secret)
        }
        Err(error) => {
            section.refuse(KEY, &format!("cannot read {}: {error}", path.display()));
            None
        }
    }
}

/// The password and whether everybody can read its file.
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
    // A name that cannot be a variable's is not repeated: it may be the password, put here by
    // mistake.
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
                &format!("expected a variable that is set, found no {name}"),
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
