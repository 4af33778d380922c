//! The configuration file: TOML in, plain structs out, one for each section.
//!
//! Everything that can be checked without a network is checked here, so that the stages need not
//! check their options again: unknown keys, wrong types and impossible values are refused with the
//! file, the line, the key and the expected value. All problems of a file are found in one pass.
//!
//! Durations are written `"500ms"`, `"10s"`, `"5m"`, `"2h"`, `"7d"`; sizes `"100B"`, `"512KiB"`,
//! `"64MiB"`, `"1GiB"`, or a plain number of bytes. Relative paths are relative to the directory of
//! the configuration file.
#![doc = include_str!("config/options.md")]

mod address_range;
mod changes;
mod channels;
mod error;
mod filter_config;
mod filter_rules;
mod password;
mod reader;
mod section;
mod sections;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod user;
mod values;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

pub use self::address_range::AddressRange;
pub use self::changes::Change;
pub use self::channels::{ChangedSettings, Channel, ChannelChange, ChannelChanges, ChannelsError};
pub use self::error::{ConfigError, Problem};
pub use self::filter_config::{FilterConfig, SharedFilter};
pub use self::password::read_again as read_password_again;
pub use self::settings::{
    AdminConfig, AlertConfig, CompressionChoice, Config, FlavorChoice, ListenerTlsConfig,
    LogConfig, Privilege, RelayConfig, SourceCompression, SourceConfig, SourceStart, SyncPolicy,
    UserConfig, UserPassword,
};

/// The largest configuration file that is read, in bytes.
const FILE_SIZE_MAX: usize = 4 << 20;

impl Config {
    /// Reads a configuration file, and the password files, variables and certificates it names.
    ///
    /// # Errors
    /// When the file cannot be read, and with all problems found in it.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::parse(&read_file(path)?, path)
    }

    /// Like [`Config::load`], but reads no other file and no variable: passwords that are not in
    /// the file itself are left empty. For commands that only need paths and addresses, and may be
    /// run by a user who cannot read the secrets.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_without_secrets(path: &Path) -> Result<Config, ConfigError> {
        Config::parse_without_secrets(&read_file(path)?, path)
    }

    /// As [`Config::parse`], but reads no other file and no variable.
    ///
    /// # Errors
    /// All problems found in it.
    pub fn parse_without_secrets(text: &str, path: &Path) -> Result<Config, ConfigError> {
        sections::parse(text, path, false)
    }

    /// Reads a configuration from its text; `path` is for messages and for relative paths.
    ///
    /// # Errors
    /// All problems found in it.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        sections::parse(text, path, true)
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let refused = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(refused)?;
    file.take(FILE_SIZE_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() > FILE_SIZE_MAX {
        return Err(refused(std::io::Error::other(
            "expected at most 4MiB, found more",
        )));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => Err(ConfigError::Invalid(vec![Problem {
            path: path.to_owned(),
            at: Some(reader::line_and_column(&bytes, error.valid_up_to())),
            key: String::new(),
            message: "expected UTF-8 text, found other bytes".to_owned(),
        }])),
    }
}
