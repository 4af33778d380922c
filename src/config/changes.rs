//! What a reload changes: which settings take effect while the relay runs, and the differences between two
//! configurations.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::settings::{
    AdminConfig, AlertConfig, Config, FlavorChoice, LimitsConfig, ListenerTlsConfig, LogConfig,
    RelayConfig, SourceConfig, SyncPolicy, UserConfig, UserPassword,
};
use super::values::{show_duration, show_size};
use crate::secret::{CachingSha2Hash, PasswordHash, Secret};

impl Config {
    /// This configuration, with everything of `new` that can change while the relay runs.
    pub fn with_changes_of(&self, new: &Config) -> Config {
        let mut sources = new.sources.clone();
        if self.log.sync == SyncPolicy::Never {
            // Nothing becomes durable that could be acknowledged, until a restart applies the new policy.
            sources
                .iter_mut()
                .for_each(|source| source.semi_sync = false);
        }
        Config {
            sources,
            relay: RelayConfig {
                compression: new.relay.compression,
                replica_write_timeout: new.relay.replica_write_timeout,
                max_connections: new.relay.max_connections,
                ..self.relay.clone()
            },
            log: LogConfig {
                max_size: new.log.max_size,
                expire_after: new.log.expire_after,
                max_total_size: new.log.max_total_size,
                keep_for_replicas: new.log.keep_for_replicas,
                ..self.log.clone()
            },
            admin: self.admin.clone(),
            limits: LimitsConfig {
                max_transaction_size: self.limits.max_transaction_size,
                ..new.limits
            },
            ..new.clone()
        }
    }

    /// The settings in which `new` differs from this configuration, in the order of the sections.
    pub fn changes_to(&self, new: &Config) -> Vec<Change> {
        let (before, after) = (sections(self), sections(new));
        let mut changes = Vec::new();
        for section in &before {
            match after.iter().find(|other| other.label == section.label) {
                Some(other) => changes.extend(section.changes_to(other)),
                None => changes.push(Change::new(&section.label, "removed")),
            }
        }
        let is_new = |section: &&Section| !before.iter().any(|one| one.label == section.label);
        let added = after.iter().filter(is_new);
        changes.extend(added.map(|section| Change::new(&section.label, "added")));
        changes
    }
}

/// A difference. `Display` gives `[section] key: old → new`; of passwords, only that they have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The section, and the key unless the whole section was added or removed.
    pub key: String,
    /// The old and the new value.
    pub values: String,
}

impl Change {
    fn new(key: &str, values: &str) -> Self {
        Self {
            key: key.to_owned(),
            values: values.to_owned(),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.values)
    }
}

/// A value, as it is compared and shown.
#[derive(PartialEq)]
enum Value {
    Shown(String),
    Hidden(Zeroizing<String>),
}

struct Section {
    label: String,
    keys: Vec<(&'static str, Value)>,
}

impl Section {
    fn new(label: String) -> Self {
        Self {
            label,
            keys: Vec::new(),
        }
    }

    fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.keys.push((key, Value::Shown(value.to_string())));
        self
    }

    /// A value that may be absent.
    fn with_optional(self, key: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self.with(key, "not set"),
        }
    }

    /// A path that may be absent.
    fn with_path(self, key: &'static str, path: &Option<PathBuf>) -> Self {
        self.with_optional(key, path.as_ref().map(|path| path.display()))
    }

    fn with_hidden(mut self, key: &'static str, value: String) -> Self {
        self.keys.push((key, Value::Hidden(Zeroizing::new(value))));
        self
    }

    /// The differences; both have the same keys.
    fn changes_to<'a>(&'a self, other: &'a Section) -> impl Iterator<Item = Change> + 'a {
        let pairs = self.keys.iter().zip(&other.keys);
        let differing = pairs.filter(|((_, before), (_, after))| before != after);
        differing.map(|((key, before), (_, after))| {
            let values = match (before, after) {
                (Value::Shown(before), Value::Shown(after)) => format!("{before} → {after}"),
                _ => "changed".to_owned(),
            };
            Change::new(&format!("{} {key}", self.label), &values)
        })
    }
}

/// All sections. Each struct is taken apart, so that a new field cannot be forgotten here.
fn sections(config: &Config) -> Vec<Section> {
    let mut sections = vec![
        of_relay(&config.relay),
        of_log(&config.log),
        of_limits(&config.limits),
        of_alert(&config.alert),
        of_tls(&config.tls),
        of_admin(&config.admin),
    ];
    // The rules of [filter] are those of each source without its own.
    sections.extend(config.sources.iter().map(of_source));
    sections.extend(config.users.iter().map(of_user));
    sections
}

fn of_relay(relay: &RelayConfig) -> Section {
    let RelayConfig {
        server_id,
        data_dir,
        listen,
        report_host,
        report_port,
        flavor,
        server_uuid,
        compression,
        replica_write_timeout,
        max_connections: _, // Shown in [limits].
        detect_conflicts,
        semi_sync_wait_for_replicas,
        semi_sync_timeout,
    } = relay;
    Section::new("[relay]".to_owned())
        .with("server_id", server_id)
        .with("data_dir", data_dir.display())
        .with("listen", listen)
        .with_optional("report_host", report_host.as_ref())
        .with_optional("report_port", *report_port)
        .with("flavor", show_flavor(*flavor))
        .with_optional("server_uuid", server_uuid.as_ref())
        .with("compression", format!("{compression:?}").to_lowercase())
        .with(
            "replica_write_timeout",
            show_duration(*replica_write_timeout),
        )
        .with("detect_conflicts", detect_conflicts)
        .with("semi_sync_wait_for_replicas", semi_sync_wait_for_replicas)
        .with("semi_sync_timeout", show_duration(*semi_sync_timeout))
}

fn of_log(log: &LogConfig) -> Section {
    let LogConfig {
        basename,
        max_size,
        sync,
        expire_after,
        max_total_size,
        keep_for_replicas,
        spill_size,
    } = log;
    Section::new("[log]".to_owned())
        .with("basename", basename)
        .with("max_size", show_size(*max_size))
        .with("sync", show_sync(*sync))
        .with("spill_size", show_size(*spill_size))
        .with_optional("expire_after", expire_after.map(show_duration))
        .with_optional("max_total_size", max_total_size.map(show_size))
        .with("keep_for_replicas", show_duration(*keep_for_replicas))
}

fn of_limits(limits: &LimitsConfig) -> Section {
    let LimitsConfig {
        max_connections,
        max_connections_per_address,
        reserved_connections,
        login_timeout,
        max_statement_size,
        max_result_size,
        max_transaction_size,
    } = limits;
    Section::new("[limits]".to_owned())
        .with("max_connections", max_connections)
        .with("max_connections_per_address", max_connections_per_address)
        .with("reserved_connections", reserved_connections)
        .with("login_timeout", show_duration(*login_timeout))
        .with("max_statement_size", show_size(*max_statement_size))
        .with("max_result_size", show_size(*max_result_size))
        .with("max_transaction_size", show_size(*max_transaction_size))
}

fn of_alert(alert: &AlertConfig) -> Section {
    let AlertConfig {
        replica_missing_after,
        replica_lag,
        source_silent,
    } = alert;
    Section::new("[alert]".to_owned())
        .with(
            "replica_missing_after",
            show_duration(*replica_missing_after),
        )
        .with("replica_lag", show_duration(*replica_lag))
        .with("source_silent", show_duration(*source_silent))
}

fn of_tls(tls: &ListenerTlsConfig) -> Section {
    let ListenerTlsConfig {
        cert,
        key,
        ca,
        required,
    } = tls;
    Section::new("[tls]".to_owned())
        .with_path("cert", cert)
        .with_path("key", key)
        .with_path("ca", ca)
        .with("required", required)
}

fn of_admin(admin: &AdminConfig) -> Section {
    let AdminConfig {
        socket,
        http,
        http_token,
    } = admin;
    let token = http_token.as_ref().map_or("", Secret::expose);
    Section::new("[admin]".to_owned())
        .with("socket", socket.display())
        .with_optional("http", *http)
        .with_hidden("http_token", token.to_owned())
}

fn of_source(source: &SourceConfig) -> Section {
    let SourceConfig {
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
        offered_tls: _, // Not a setting.
        get_source_public_key,
        source_public_key_file,
        filter,
    } = source;
    Section::new(format!("[source \"{name}\"]"))
        .with("host", host)
        .with("port", port)
        .with("user", user)
        .with_hidden("password", password.expose().to_owned())
        .with_path("password_file", password_file)
        .with("start", start)
        .with_optional("auto_position", *auto_position)
        .with("semi_sync", semi_sync)
        .with("connect_retry", show_duration(*connect_retry))
        .with("connect_retry_max", show_duration(*connect_retry_max))
        .with("read_timeout", show_duration(*read_timeout))
        .with("compression", format!("{compression:?}").to_lowercase())
        .with("tls.mode", tls.mode)
        .with_path("tls.ca", &tls.ca)
        .with_path("tls.cert", &tls.cert)
        .with_path("tls.key", &tls.key)
        .with("get_source_public_key", get_source_public_key)
        .with_path("source_public_key_file", source_public_key_file)
        .with("filter", filter.current())
}

fn of_user(user: &UserConfig) -> Section {
    let UserConfig {
        name,
        password,
        hosts,
        privileges,
    } = user;
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let hosts = match hosts.is_empty() {
        true => "all".to_owned(),
        false => hosts.join(", "),
    };
    let privileges: Vec<String> = privileges.iter().map(|one| format!("{one:?}")).collect();
    let privileges = format!("[{}]", privileges.join(", ").to_lowercase());
    Section::new(format!("[user {name:?}]"))
        .with_hidden("password", compared(password))
        .with("hosts", hosts)
        .with("privileges", privileges)
}

/// A text that is the same for the same password only. It is never shown.
fn compared(password: &UserPassword) -> String {
    match password {
        UserPassword::Plain(secret) => format!("plain {}", secret.expose()),
        UserPassword::Hashes(hashes) => {
            let text = |hash: &PasswordHash| match hash {
                PasswordHash::Native(bytes) => format!("native {bytes:?}"),
                PasswordHash::Ed25519(bytes) => format!("ed25519 {bytes:?}"),
                PasswordHash::CachingSha2(CachingSha2Hash {
                    kilorounds,
                    salt,
                    digest,
                }) => format!("sha2 {kilorounds} {salt:?} {digest:?}"),
            };
            hashes.iter().map(text).collect()
        }
    }
}

fn show_sync(sync: SyncPolicy) -> String {
    match sync {
        SyncPolicy::Commit => "commit".to_owned(),
        SyncPolicy::Interval(interval) => show_duration(interval),
        SyncPolicy::Never => "never".to_owned(),
    }
}

fn show_flavor(flavor: FlavorChoice) -> &'static str {
    match flavor {
        FlavorChoice::Auto => "auto",
        FlavorChoice::Fixed(flavor) => flavor.name(),
    }
}

#[cfg(test)]
mod tests;
