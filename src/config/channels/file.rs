//! The text of `channels.toml`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ChangedSettings, ChannelChange};
use crate::config::settings::SourceStart;
use crate::config::source::{is_channel_name, is_host};
use crate::config::values::{parse_duration, show_duration};
use crate::one_line::escaped;
use crate::secret::Secret;
use crate::tls::{ClientTls, TlsMode};

/// The file, as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileText {
    #[serde(default)]
    pub(super) channel: Vec<ChannelText>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// One channel of it.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelText {
    name: String,
    #[serde(default, skip_serializing_if = "is_false")]
    stopped: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    added: bool,
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<PasswordText>,
    start: Option<String>,
    auto_position: Option<bool>,
    connect_retry: Option<String>,
    read_timeout: Option<String>,
    get_source_public_key: Option<bool>,
    source_public_key_file: Option<PathBuf>,
    tls: Option<TlsText>,
}

/// A password on its way from or to the file.
struct PasswordText(Zeroizing<String>);

impl Serialize for PasswordText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PasswordText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsText {
    mode: String,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl ChannelText {
    pub(super) fn of(change: &ChannelChange) -> Self {
        let settings = &change.settings;
        let password = settings.password.as_ref();
        Self {
            name: change.name.clone(),
            stopped: change.is_stopped,
            removed: change.is_removed,
            added: change.is_added,
            host: settings.host.clone(),
            port: settings.port,
            user: settings.user.clone(),
            password: password
                .map(|password| PasswordText(Zeroizing::new(password.expose().to_owned()))),
            start: settings.start.as_ref().map(SourceStart::to_string),
            auto_position: settings.auto_position,
            connect_retry: settings.connect_retry.map(show_duration),
            read_timeout: settings.read_timeout.map(show_duration),
            get_source_public_key: settings.get_source_public_key,
            source_public_key_file: settings.source_public_key_file.clone(),
            tls: settings.tls.as_ref().map(|tls| TlsText {
                mode: tls.mode.to_string(),
                ca: tls.ca.clone(),
                cert: tls.cert.clone(),
                key: tls.key.clone(),
            }),
        }
    }

    pub(super) fn read(self) -> Result<ChannelChange, String> {
        let name = self.name;
        if !is_channel_name(&name) {
            return Err(format!(
                "expected the name of a channel, found \"{}\"",
                escaped(&name)
            ));
        }
        let invalid = |key: &str| format!("channel \"{name}\": {key} has no valid value");
        let duration = |key: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => parse_duration(&text)
                .filter(|duration| !duration.is_zero())
                .map(Some)
                .ok_or_else(|| invalid(key)),
        };
        let start = match self.start {
            None => None,
            Some(text) => Some(SourceStart::parse(&text).ok_or_else(|| invalid("start"))?),
        };
        let tls = match self.tls {
            None => None,
            Some(text) => Some(text.read().ok_or_else(|| invalid("tls"))?),
        };
        let has_address = self.host.is_some() && self.user.is_some();
        if self.added && !has_address {
            return Err(format!(
                "channel \"{name}\" is added, so it needs host and user"
            ));
        }
        if self.host.as_deref().is_some_and(|host| !is_host(host)) {
            return Err(invalid("host"));
        }
        if self.user.as_deref() == Some("") {
            return Err(invalid("user"));
        }
        if self.port == Some(0) {
            return Err(invalid("port"));
        }
        let settings = ChangedSettings {
            host: self.host,
            port: self.port,
            user: self.user,
            password: self.password.map(|text| Secret::new(text.0.as_str())),
            start,
            auto_position: self.auto_position,
            connect_retry: duration("connect_retry", self.connect_retry)?,
            read_timeout: duration("read_timeout", self.read_timeout)?,
            get_source_public_key: self.get_source_public_key,
            source_public_key_file: self.source_public_key_file,
            tls,
        };
        Ok(ChannelChange {
            is_stopped: self.stopped,
            is_removed: self.removed,
            is_added: self.added,
            settings,
            name,
        })
    }
}

impl TlsText {
    fn read(self) -> Option<ClientTls> {
        let modes = [
            TlsMode::Disabled,
            TlsMode::Preferred,
            TlsMode::Required,
            TlsMode::VerifyCa,
            TlsMode::VerifyIdentity,
        ];
        let mode = modes
            .into_iter()
            .find(|mode| mode.to_string() == self.mode)?;
        let verifies = matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
        let is_complete = self.cert.is_some() == self.key.is_some();
        (is_complete && (!verifies || self.ca.is_some())).then_some(ClientTls {
            mode,
            ca: self.ca,
            cert: self.cert,
            key: self.key,
        })
    }
}
