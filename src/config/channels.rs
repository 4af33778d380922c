//! `data_dir/channels.toml`: what was changed about the sources at run time by CHANGE …, START, STOP and RESET.
//!
//! It overrides the configuration file: each `[[channel]]` names a source and has only what differs. It is
//! replaced in one step, and may contain passwords, so only its owner may read it. While no relay runs, entries
//! may be edited or removed by hand.
//!
//! | key | meaning |
//! |---|---|
//! | `name` | the source |
//! | `stopped` | `true`: it is not followed until START |
//! | `removed` | `true`: the configuration file has it, and RESET … ALL removed it |
//! | `added` | `true`: the configuration file does not have it |
//! | `host`, `port`, `user`, `password`, `start`, `auto_position`, `connect_retry`, `read_timeout`, `get_source_public_key`, `source_public_key_file`, `tls` | as in `[[source]]`, instead of its values there |

mod file;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use self::file::{ChannelText, FileText};
use super::filter_config::SharedFilter;
use super::settings::{SourceCompression, SourceConfig, SourceStart};
use super::source::{CONNECT_RETRY, CONNECT_RETRY_MAX, READ_TIMEOUT, is_channel_name, is_host};
use crate::atomic_file::{self, AtomicFileError};
use crate::one_line::escaped;
use crate::secret::Secret;
use crate::tls::{ClientTls, OfferedTls};

/// The file's name in the data directory.
const FILE: &str = "channels.toml";
/// Permission bits of the file, which may contain passwords.
const FILE_MODE: u32 = 0o600;
const HEAD: &str = "# Written by binrelay: what CHANGE, START, STOP and RESET statements changed about the sources. It overrides\n\
     # the configuration file. While binrelay does not run, entries may be edited or removed.\n\n";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChannelsError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// It does not have the expected form.
    #[error(
        "{}: {problem}; correct the file, or remove it to follow the sources as they are configured",
        path.display()
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The problem, without any value.
        problem: String,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
}

/// The settings of a source that a statement changed; `None` where it did not.
#[derive(Debug, Clone, Default)]
pub struct ChangedSettings {
    /// As [`SourceConfig::host`].
    pub host: Option<String>,
    /// As [`SourceConfig::port`].
    pub port: Option<u16>,
    /// As [`SourceConfig::user`].
    pub user: Option<String>,
    /// As [`SourceConfig::password`].
    pub password: Option<Secret>,
    /// As [`SourceConfig::start`].
    pub start: Option<SourceStart>,
    /// As [`SourceConfig::auto_position`].
    pub auto_position: Option<bool>,
    /// As [`SourceConfig::connect_retry`].
    pub connect_retry: Option<Duration>,
    /// As [`SourceConfig::read_timeout`].
    pub read_timeout: Option<Duration>,
    /// As [`SourceConfig::get_source_public_key`].
    pub get_source_public_key: Option<bool>,
    /// As [`SourceConfig::source_public_key_file`]; an empty path is none.
    pub source_public_key_file: Option<PathBuf>,
    /// As [`SourceConfig::tls`].
    pub tls: Option<ClientTls>,
}

/// What was changed about one source.
#[derive(Debug, Clone, Default)]
pub struct ChannelChange {
    /// Its name.
    pub name: String,
    /// It is not followed until START.
    pub is_stopped: bool,
    /// The configuration file has it, and it was removed.
    pub is_removed: bool,
    /// The configuration file does not have it.
    pub is_added: bool,
    /// Its other changes.
    pub settings: ChangedSettings,
}

/// What was changed about the sources.
#[derive(Debug, Clone, Default)]
pub struct ChannelChanges {
    channels: Vec<ChannelChange>,
}

/// A source, with its changes.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its settings.
    pub config: SourceConfig,
    /// Whether it is not followed until START.
    pub is_stopped: bool,
    /// The keys that differ from the configuration file; `added` if that does not have the source.
    pub changed: Vec<&'static str>,
}

impl ChangedSettings {
    /// Replaces what `newer` changes.
    pub fn update(&mut self, newer: ChangedSettings) {
        fn replace<T>(old: &mut Option<T>, newer: Option<T>) {
            if newer.is_some() {
                *old = newer;
            }
        }
        replace(&mut self.host, newer.host);
        replace(&mut self.port, newer.port);
        replace(&mut self.user, newer.user);
        replace(&mut self.password, newer.password);
        replace(&mut self.start, newer.start);
        replace(&mut self.auto_position, newer.auto_position);
        replace(&mut self.connect_retry, newer.connect_retry);
        replace(&mut self.read_timeout, newer.read_timeout);
        replace(&mut self.get_source_public_key, newer.get_source_public_key);
        replace(
            &mut self.source_public_key_file,
            newer.source_public_key_file,
        );
        replace(&mut self.tls, newer.tls);
    }

    /// Applies the changes; returns the keys.
    fn apply(&self, config: &mut SourceConfig) -> Vec<&'static str> {
        let mut keys = Vec::new();
        let mut set = |key, is_set: bool| {
            if is_set {
                keys.push(key);
            }
        };
        set("host", replace(&mut config.host, &self.host));
        set("port", replace(&mut config.port, &self.port));
        set("user", replace(&mut config.user, &self.user));
        set("password", replace(&mut config.password, &self.password));
        if self.password.is_some() {
            config.password_file = None;
        }
        set("start", replace(&mut config.start, &self.start));
        let auto_position = self.auto_position.map(Some);
        set(
            "auto_position",
            replace(&mut config.auto_position, &auto_position),
        );
        set(
            "connect_retry",
            replace(&mut config.connect_retry, &self.connect_retry),
        );
        config.connect_retry_max = config.connect_retry_max.max(config.connect_retry);
        set(
            "read_timeout",
            replace(&mut config.read_timeout, &self.read_timeout),
        );
        set(
            "get_source_public_key",
            replace(
                &mut config.get_source_public_key,
                &self.get_source_public_key,
            ),
        );
        let file = self.source_public_key_file.as_ref();
        let file = file.map(|path| (!path.as_os_str().is_empty()).then(|| path.clone()));
        set(
            "source_public_key_file",
            replace(&mut config.source_public_key_file, &file),
        );
        set("tls", replace(&mut config.tls, &self.tls));
        if self.host.is_some() || self.port.is_some() {
            // What was learnt about the old address.
            config.offered_tls = OfferedTls::default();
        }
        keys
    }
}

fn replace<T: Clone>(setting: &mut T, changed: &Option<T>) -> bool {
    if let Some(changed) = changed {
        setting.clone_from(changed);
    }
    changed.is_some()
}

impl ChannelChange {
    fn is_empty(&self) -> bool {
        let mut unchanged = SourceConfig::added(&self.name, &SharedFilter::default());
        let has_settings = !self.settings.apply(&mut unchanged).is_empty();
        !self.is_stopped && !self.is_removed && !self.is_added && !has_settings
    }
}

impl ChannelChanges {
    /// Reads the file; there are no changes where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or does not have the expected form.
    pub fn load(data_dir: &Path) -> Result<Self, ChannelsError> {
        let path = data_dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(cause)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Self::default());
            }
            Err(cause) => return Err(ChannelsError::Read { path, cause }),
        };
        Self::parse(&text).map_err(|problem| ChannelsError::Invalid { path, problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: FileText = toml::from_str(text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let line = text.get(..before).unwrap_or_default().matches('\n').count() + 1;
            // The text around it may be a password, and so may what other messages say.
            let names_keys = ["unknown field", "missing field", "duplicate key"];
            let message = error.message();
            match names_keys.iter().any(|kind| message.starts_with(kind)) {
                true => format!("line {line}: {}", escaped(message)),
                false => format!("line {line} is not a key with a valid value"),
            }
        })?;
        let channels = file.channel.into_iter().map(ChannelText::read);
        let channels: Vec<ChannelChange> = channels.collect::<Result<_, _>>()?;
        for (number, channel) in channels.iter().enumerate() {
            let mut earlier = channels.iter().take(number);
            if earlier.any(|other| other.name == channel.name) {
                return Err(format!("channel \"{}\" occurs twice", channel.name));
            }
        }
        Ok(Self { channels })
    }

    /// Replaces the file, durably.
    ///
    /// # Errors
    /// When it cannot be written; it is unchanged then.
    pub fn save(&self, data_dir: &Path) -> Result<(), ChannelsError> {
        let path = data_dir.join(FILE);
        let channel = self.channels.iter().map(ChannelText::of).collect();
        let text = toml::to_string(&FileText { channel }).map(Zeroizing::new);
        let text = text.map_err(|error| ChannelsError::Invalid {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        let text = Zeroizing::new(format!("{HEAD}{}", *text));
        Ok(atomic_file::replace(&path, text.as_bytes(), FILE_MODE)?)
    }

    /// What was changed about the source with this name.
    pub fn get(&self, name: &str) -> Option<&ChannelChange> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// Changes what was changed about the source with this name.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut ChannelChange)) {
        let mut channels = self.channels.iter();
        let at = channels.position(|channel| channel.name == name);
        let mut channel = match at {
            Some(at) => self.channels.remove(at),
            None => ChannelChange {
                name: name.to_owned(),
                ..ChannelChange::default()
            },
        };
        change(&mut channel);
        if !channel.is_empty() {
            let at = at.unwrap_or(self.channels.len());
            self.channels.insert(at, channel);
        }
    }

    /// Nothing was changed about the source with this name.
    pub fn forget(&mut self, name: &str) {
        self.channels.retain(|channel| channel.name != name);
    }

    /// The sources: those of the configuration, in their order, with their changes, then those that were added, which
    /// get `filter`.
    pub fn apply(&self, configured: &[SourceConfig], filter: &SharedFilter) -> Vec<Channel> {
        let of_file = configured.iter().filter_map(|source| {
            let mut config = source.clone();
            let Some(change) = self.get(&source.name) else {
                return Some(Channel {
                    config,
                    is_stopped: false,
                    changed: Vec::new(),
                });
            };
            (!change.is_removed).then(|| Channel {
                changed: change.settings.apply(&mut config),
                config,
                is_stopped: change.is_stopped,
            })
        });
        let is_configured = |name: &str| configured.iter().any(|source| source.name == name);
        let added = self.channels.iter().filter(|channel| channel.is_added);
        let added = added.filter(|channel| !is_configured(&channel.name));
        let added = added.map(|change| {
            let mut config = SourceConfig::added(&change.name, filter);
            change.settings.apply(&mut config);
            Channel {
                config,
                is_stopped: change.is_stopped,
                changed: vec!["added"],
            }
        });
        of_file.chain(added).collect()
    }

    /// A sentence for each source that differs from the configuration.
    pub fn sentences(&self, configured: &[SourceConfig], data_dir: &Path) -> Vec<String> {
        let file = data_dir.join(FILE);
        let file = file.display();
        let channels = self.channels.iter();
        let sentences = channels.filter_map(|change| {
            let name = &change.name;
            let source = configured.iter().find(|source| source.name == *name);
            let sentence = match source {
                None if change.is_added => {
                    let host = change.settings.host.as_deref().unwrap_or_default();
                    format!("source {name} ({host}) was added at run time ({file})")
                }
                None => format!(
                    "{file} changes source {name}, which is not configured: this has no effect"
                ),
                Some(_) if change.is_removed => {
                    format!("source {name} is configured, but was removed at run time ({file})")
                }
                Some(source) => {
                    let keys = change.settings.apply(&mut source.clone());
                    if keys.is_empty() {
                        return None;
                    }
                    format!(
                        "source {name}: {} changed at run time; {file} overrides the configuration",
                        keys.join(", ")
                    )
                }
            };
            Some(sentence)
        });
        let stopped = self.channels.iter().filter(|change| change.is_stopped);
        let stopped =
            stopped.map(|change| format!("source {} is stopped until START ({file})", change.name));
        sentences.chain(stopped).collect()
    }
}

impl SourceConfig {
    /// A source that is not configured, with the defaults of `[[source]]`.
    fn added(name: &str, filter: &SharedFilter) -> Self {
        Self {
            name: name.to_owned(),
            host: String::new(),
            port: 3306,
            user: String::new(),
            password: Secret::default(),
            password_file: None,
            start: SourceStart::Earliest,
            auto_position: None,
            semi_sync: false,
            connect_retry: CONNECT_RETRY,
            connect_retry_max: CONNECT_RETRY_MAX,
            read_timeout: READ_TIMEOUT,
            compression: SourceCompression::Off,
            tls: ClientTls::default(),
            offered_tls: OfferedTls::default(),
            get_source_public_key: false,
            source_public_key_file: None,
            filter: filter.clone(),
        }
    }

    /// Whether all settings are the same, whatever was learnt about the sources.
    pub fn has_same_settings(&self, other: &Self) -> bool {
        let Self {
            name,
            host,
            port,
            user,
            password,
            password_file,
            start,
            auto_position,
            semi_sync,
            connect_retry,
            connect_retry_max,
            read_timeout,
            compression,
            tls,
            offered_tls: _,
            get_source_public_key,
            source_public_key_file,
            filter: _, // It changes without another order.
        } = self;
        // A password in a file is read for each connection.
        let is_same_password = match password_file {
            Some(_) => true,
            None => password.expose() == other.password.expose(),
        };
        is_same_password
            && (name, host, port, user, password_file)
                == (
                    &other.name,
                    &other.host,
                    &other.port,
                    &other.user,
                    &other.password_file,
                )
            && (start, auto_position, semi_sync, compression)
                == (
                    &other.start,
                    &other.auto_position,
                    &other.semi_sync,
                    &other.compression,
                )
            && (connect_retry, connect_retry_max, read_timeout)
                == (
                    &other.connect_retry,
                    &other.connect_retry_max,
                    &other.read_timeout,
                )
            && (tls, get_source_public_key, source_public_key_file)
                == (
                    &other.tls,
                    &other.get_source_public_key,
                    &other.source_public_key_file,
                )
    }

    /// Whether a name may be that of a source.
    pub fn is_name(name: &str) -> bool {
        is_channel_name(name)
    }

    /// Whether a text may be the host of a source.
    pub fn is_host(host: &str) -> bool {
        is_host(host)
    }
}

#[cfg(test)]
mod tests;
