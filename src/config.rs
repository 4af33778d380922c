//! The configuration file: TOML in, plain structs out, one part for each stage.
//!
//! Everything that can be judged without a network is judged here, so that the stages need not
//! check their options again: unknown keys, wrong types and impossible values are refused with the
//! file, the line, the key and what was expected. All problems of a file are found in one pass.
//!
//! Durations are written `"500ms"`, `"10s"`, `"5m"`, `"2h"`, `"7d"`; sizes `"100B"`, `"512KiB"`,
//! `"64MiB"`, `"1GiB"`, or a plain number of bytes. Relative paths are relative to the directory of
//! the configuration file.
#![doc = include_str!("config/options.md")]

mod error;
mod password;
mod reader;
mod sections;
mod source;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

pub use self::error::{ConfigError, Problem};
use crate::flavor::Flavor;
use crate::secret::{PasswordHash, Secret};
use crate::tls::ClientTls;

/// The largest configuration file that is read, in bytes.
const FILE_SIZE_MAX: usize = 4 << 20;

/// A whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[relay]`: who the relay is and where it listens.
    pub relay: RelayConfig,
    /// `[log]`: the relay's own binlog files.
    pub log: LogConfig,
    /// `[filter]`: what is kept, for every source without a filter of its own.
    pub filter: FilterConfig,
    /// `[[source]]`: at least one, in the order of the file.
    pub sources: Vec<SourceConfig>,
    /// `[[user]]`: who may connect; may be empty.
    pub users: Vec<UserConfig>,
    /// `[tls]`: the listener's certificate.
    pub tls: ListenerTlsConfig,
    /// `[admin]`: where the state is reported.
    pub admin: AdminConfig,
    /// What is allowed but probably not meant, each a full sentence with its place.
    pub warnings: Vec<String>,
    /// The file this was read from.
    pub path: PathBuf,
}

/// `[relay]`.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// The relay's `server_id`, 1 to 4294967295, unique in the topology.
    pub server_id: u32,
    /// The directory of the relay's files. It need not exist yet.
    pub data_dir: PathBuf,
    /// Where replicas and SQL clients connect: `HOST:PORT`, where the host may be a name and an
    /// IPv6 address stands in brackets. Default `0.0.0.0:3306`.
    pub listen: String,
    /// The server family. Default: what the first source is.
    pub flavor: FlavorChoice,
    /// The relay's `server_uuid` in lower case; `None` = kept in `data_dir/auto.cnf`.
    pub server_uuid: Option<String>,
    /// A replica that takes nothing for this long is disconnected. Default 60 s.
    pub replica_write_timeout: Duration,
    /// How many clients may be connected at once. Default 200.
    pub max_connections: u32,
}

/// The server family as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlavorChoice {
    /// What the first source is.
    Auto,
    /// As told.
    Fixed(Flavor),
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The file names before `.000001` and `.index`. Default `relay-bin`.
    pub basename: String,
    /// A file is rotated once it has this many bytes; 4 KiB to 4 GiB less one. Default 1 GiB.
    pub max_size: u64,
    /// When written transactions are made durable. Default [`SyncPolicy::Commit`].
    pub sync: SyncPolicy,
    /// Files whose last event is older than this are deleted; `None` = never. Default 7 days.
    pub expire_after: Option<Duration>,
    /// The oldest files are deleted while all files are larger than this, in bytes; `None` = no
    /// limit. Never less than `max_size`.
    pub max_total_size: Option<u64>,
    /// A transaction with more bytes than this waits in `data_dir/spool` instead of memory; 64 KiB
    /// to 64 MiB. Default 4 MiB.
    pub spill_size: u64,
}

/// When the log is made durable. Nothing is served or acknowledged before it is durable in the
/// sense of this policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// One fsync for each group of transactions that were ready together.
    Commit,
    /// An fsync at most this often; never zero.
    Interval(Duration),
    /// Left to the operating system: a crash of the machine can lose what was served.
    Never,
}

/// `[filter]` or `[source.filter]`. All lists empty = everything is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterConfig {
    /// Only these databases are kept, unless the list is empty.
    pub replicate_do_db: Vec<String>,
    /// These databases are dropped.
    pub replicate_ignore_db: Vec<String>,
    /// These tables are kept, of others only what another rule keeps: `database.table`.
    pub replicate_do_table: Vec<String>,
    /// These tables are dropped: `database.table`.
    pub replicate_ignore_table: Vec<String>,
    /// As `replicate_do_table`, with `%` and `_` as in LIKE.
    pub replicate_wild_do_table: Vec<String>,
    /// As `replicate_ignore_table`, with `%` and `_` as in LIKE.
    pub replicate_wild_ignore_table: Vec<String>,
    /// Databases that get another name, before the other rules: from which to which.
    pub replicate_rewrite_db: Vec<(String, String)>,
}

impl fmt::Display for FilterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rewrites = self.replicate_rewrite_db.iter();
        let rewrites: Vec<String> = rewrites.map(|(a, b)| format!("{a}->{b}")).collect();
        let lists = [
            ("replicate_do_db", &self.replicate_do_db),
            ("replicate_ignore_db", &self.replicate_ignore_db),
            ("replicate_do_table", &self.replicate_do_table),
            ("replicate_ignore_table", &self.replicate_ignore_table),
            ("replicate_wild_do_table", &self.replicate_wild_do_table),
            (
                "replicate_wild_ignore_table",
                &self.replicate_wild_ignore_table,
            ),
            ("replicate_rewrite_db", &rewrites),
        ];
        let mut separator = "";
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            write!(f, "{separator}{key} = {list:?}")?;
            separator = ", ";
        }
        match separator {
            "" => f.write_str("none, everything is kept"),
            _ => Ok(()),
        }
    }
}

/// One `[[source]]`.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// The channel's name, unique: 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub name: String,
    /// Host name or address, without the port.
    pub host: String,
    /// TCP port, never 0. Default 3306.
    pub port: u16,
    /// The account on the source; not empty.
    pub user: String,
    /// Its password; empty when none is given.
    pub password: Secret,
    /// Where to begin when nothing of this source has been received yet. Default earliest.
    pub start: SourceStart,
    /// Whether events are asked for by GTID set. `None` = decided from what the source offers and
    /// from `start`. Never contradicts `start`.
    pub auto_position: Option<bool>,
    /// Whether to register as a semi-synchronous replica. Default false.
    pub semi_sync: bool,
    /// The first delay before reconnecting. Default 1 s, never more than `connect_retry_max`.
    pub connect_retry: Duration,
    /// What the delay grows to. Default 60 s.
    pub connect_retry_max: Duration,
    /// A source that sends nothing for this long, not even a heartbeat, is given up and
    /// reconnected. At least 1 s; default 30 s.
    pub read_timeout: Duration,
    /// How the connection is encrypted.
    pub tls: ClientTls,
    /// What is kept of this source: its own `[source.filter]`, or else a copy of `[filter]`.
    pub filter: FilterConfig,
}

/// Where a source is read from at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceStart {
    /// The oldest transaction the source still has.
    Earliest,
    /// Only what is written after the first connection.
    Latest,
    /// A file and an offset in the source's own binlog.
    FilePosition {
        /// The binlog file's name on the source.
        file: String,
        /// Offset of an event in it, 4 to 4294967295 (the protocol's field has four bytes).
        position: u64,
    },
    /// Everything after a GTID set (MySQL) or a GTID position (MariaDB), as the administrator
    /// wrote it: not empty, but not parsed yet, since its form depends on the source's family.
    Gtid(String),
}

/// One `[[user]]`.
#[derive(Debug, Clone)]
pub struct UserConfig {
    /// The name clients log in with, unique, not empty.
    pub name: String,
    /// What logins are verified by; the empty password when none is given.
    pub password: UserPassword,
    /// What the user may do, without repetitions; at least one. Default replication.
    pub privileges: Vec<Privilege>,
}

/// What a user of the relay proves itself by.
#[derive(Debug, Clone)]
pub enum UserPassword {
    /// The password, from which every form that a client can use is derived.
    Plain(Secret),
    /// What a server has stored of it: at least one, at most one of each form. Clients can use
    /// these forms only.
    Hashes(Vec<PasswordHash>),
}

/// What a user of the relay may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// Follow the relay as a replica.
    Replication,
    /// Statements that change something.
    Admin,
}

/// `[tls]`. Certificate and key are given together or not at all.
#[derive(Debug, Clone, Default)]
pub struct ListenerTlsConfig {
    /// PEM file of the listener's certificate; `None` = self-signed, made in the data directory.
    pub cert: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
    /// PEM file of the authorities that sign clients' certificates.
    pub ca: Option<PathBuf>,
    /// Whether clients without TLS are refused. Default false.
    pub required: bool,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The unix socket for `binrelay status`. Default `data_dir/binrelay.sock`.
    pub socket: PathBuf,
    /// Where metrics and health are to be served; accepted, but not served yet.
    pub http: Option<SocketAddr>,
}

impl Config {
    /// Reads a configuration file, and the password files, variables and certificates it names.
    ///
    /// # Errors
    /// When the file cannot be read, and with all problems found in it.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::parse(&read_file(path)?, path)
    }

    /// Like [`Config::load`], but reads no other file and no variable: passwords that are not in
    /// the file itself are left empty. For commands that only need to know where things are, and
    /// may be run by somebody who cannot read the secrets.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_without_secrets(path: &Path) -> Result<Config, ConfigError> {
        sections::parse(&read_file(path)?, path, false)
    }

    /// Reads a configuration from its text; `path` is for messages and for relative paths.
    ///
    /// # Errors
    /// With all problems found in it.
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
            place: String::new(),
            message: "expected UTF-8 text, found other bytes".to_owned(),
        }])),
    }
}
