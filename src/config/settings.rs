//! The settings of a configuration file, one struct for each section.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::address_range::AddressRange;
use super::filter_config::{FilterConfig, SharedFilter};
use crate::flavor::Flavor;
use crate::position::SourcePosition;
use crate::secret::{PasswordHash, Secret};
use crate::tls::{ClientTls, OfferedTls};

/// A whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[relay]`: who the relay is and where it listens.
    pub relay: RelayConfig,
    /// `[log]`: the relay's own binlog files.
    pub log: LogConfig,
    /// `[filter]`: which changes are kept, for every source without its own filter.
    pub filter: FilterConfig,
    /// `[[source]]`: at least one, in the order of the file.
    pub sources: Vec<SourceConfig>,
    /// `[[user]]`: who may connect; may be empty.
    pub users: Vec<UserConfig>,
    /// `[limits]`: what clients may take.
    pub limits: LimitsConfig,
    /// `[alert]`: what makes the relay degraded.
    pub alert: AlertConfig,
    /// `[tls]`: the listener's certificate.
    pub tls: ListenerTlsConfig,
    /// `[admin]`: where the relay reports its state.
    pub admin: AdminConfig,
    /// Settings that are allowed but probably not intended: a sentence each, with section and key.
    pub warnings: Vec<String>,
    /// Whether the file itself contains a password or a hash of one.
    pub holds_passwords: bool,
    /// The file this was read from.
    pub path: PathBuf,
}

impl Config {
    /// Whether the file contains passwords and any user of the machine can read it.
    pub fn exposes_passwords(&self) -> bool {
        let is_world_readable = |found: std::fs::Metadata| found.permissions().mode() & 0o004 != 0;
        self.holds_passwords && self.path.metadata().is_ok_and(is_world_readable)
    }
}

/// `[relay]`.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// The relay's `server_id`, 1 to 4294967295, unique in the topology.
    pub server_id: u32,
    /// The directory of the relay's files. It need not exist yet.
    pub data_dir: PathBuf,
    /// Where replicas and SQL clients connect: `HOST:PORT`. The host may be a name; an IPv6 address is
    /// written in brackets. Default `0.0.0.0:3306`.
    pub listen: String,
    /// The name that sources show for this replica; `None` = the machine's.
    pub report_host: Option<String>,
    /// The port that sources show for this replica; `None` = that of `listen`.
    pub report_port: Option<u16>,
    /// The server family. Default: that of the first source.
    pub flavor: FlavorChoice,
    /// The relay's `server_uuid` in lower case; `None` = kept in `data_dir/auto.cnf`.
    pub server_uuid: Option<String>,
    /// To whom compression of the protocol is offered. Default [`CompressionChoice::Auto`].
    pub compression: CompressionChoice,
    /// A replica that accepts no data for this long is disconnected. Default 60 s.
    pub replica_write_timeout: Duration,
    /// `max_connections` of [`LimitsConfig`], under its name before there was `[limits]`.
    pub max_connections: Option<u32>,
    /// Whether conflicts of the sources are detected. Default true.
    pub detect_conflicts: bool,
    /// Semi-sync: how many replicas must have acknowledged a transaction before the relay acknowledges it
    /// to its source. Default 0.
    pub semi_sync_wait_for_replicas: u32,
    /// How long that is waited for. Default 10 s.
    pub semi_sync_timeout: Duration,
}

/// `[limits]`.
#[derive(Debug, Clone, Copy)]
pub struct LimitsConfig {
    /// How many clients may have logged in at once; as many may be logging in. Default 200.
    pub max_connections: u32,
    /// How many connections one address may have. Default 50.
    pub max_connections_per_address: u32,
    /// How many accounts with a privilege may be logged in beyond `max_connections`. Default 10.
    pub reserved_connections: u32,
    /// Time limit of a client's login. Default 10 s.
    pub login_timeout: Duration,
    /// The longest statement of a client, in bytes. Default 1 MiB.
    pub max_statement_size: u64,
    /// The most bytes of a statement's values and of its result. Default 16 MiB.
    pub max_result_size: u64,
    /// The largest transaction of a source, in bytes, as it is kept. Default 4 GiB.
    pub max_transaction_size: u64,
}

/// `[alert]`: what makes `status` degraded.
#[derive(Debug, Clone, Copy)]
pub struct AlertConfig {
    /// A replica that was connected, is not now, and was not forgotten, after this time. Default 5 min.
    pub replica_missing_after: Duration,
    /// A replica that is further behind. Default 5 min.
    pub replica_lag: Duration,
    /// A source that has sent nothing for longer, not even a heartbeat. Default 2 min.
    pub source_silent: Duration,
}

/// To whom the listener offers compression of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionChoice {
    /// To clients on other machines.
    Auto,
    /// To all clients.
    On,
    /// To no client.
    Off,
}

/// The algorithm that is requested from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceCompression {
    /// None.
    Off,
    /// zlib.
    Zlib,
    /// zstd: MySQL 8.0.18 and later.
    Zstd,
}

/// The server family as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlavorChoice {
    /// That of the first source.
    Auto,
    /// As configured.
    Fixed(Flavor),
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The file names before `.000001` and `.index`. Default `relay-bin`.
    pub basename: String,
    /// A file is rotated once it has this many bytes; 4 KiB to 4 GiB less one. Default 1 GiB.
    pub max_size: u64,
    /// When written transactions become durable. Default [`SyncPolicy::Commit`].
    pub sync: SyncPolicy,
    /// Files that were last written longer ago are deleted; `None` = never. Default 7 days.
    pub expire_after: Option<Duration>,
    /// The oldest files are deleted while all files are larger than this, in bytes; `None` = no
    /// limit. Never less than `max_size`.
    pub max_total_size: Option<u64>,
    /// A file that a replica needs is kept while it was seen within this time. Default 1 day.
    pub keep_for_replicas: Duration,
    /// A transaction with more bytes than this waits in `data_dir/spool` instead of memory; 64 KiB
    /// to 64 MiB. Default 4 MiB.
    pub spill_size: u64,
}

/// When the log becomes durable. Nothing is served or acknowledged before it is durable by this
/// policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// One fsync for each group of transactions that were ready together.
    Commit,
    /// An fsync at most this often; never zero.
    Interval(Duration),
    /// Left to the operating system: a crash of the machine can lose transactions that were served.
    Never,
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
    /// The file that it is in; read again for each connection.
    pub password_file: Option<PathBuf>,
    /// Where to begin when nothing was received from this source yet. Default earliest.
    pub start: SourceStart,
    /// Whether the dump is requested by GTID set. `None` = decided by the source's GTID mode and
    /// `start`. Never contradicts `start`.
    pub auto_position: Option<bool>,
    /// Whether to acknowledge transactions to it (semi-sync). Default false; never true with
    /// [`SyncPolicy::Never`].
    pub semi_sync: bool,
    /// The first delay before reconnecting. Default 1 s, never more than `connect_retry_max`.
    pub connect_retry: Duration,
    /// The longest delay before reconnecting. Default 60 s.
    pub connect_retry_max: Duration,
    /// When a source sends nothing for this long, not even a heartbeat, the relay reconnects. At
    /// least 1 s; default 30 s.
    pub read_timeout: Duration,
    /// How the dump is compressed. Default off.
    pub compression: SourceCompression,
    /// How the connection is encrypted.
    pub tls: ClientTls,
    /// Whether the source has offered TLS before; shared by all copies. Not a setting: it is learnt.
    pub offered_tls: OfferedTls,
    /// Without TLS: whether the password may be sent under the RSA key that the source sends. Default
    /// false.
    pub get_source_public_key: bool,
    /// Without TLS: PEM file of the source's RSA key, under which the password may be sent.
    pub source_public_key_file: Option<PathBuf>,
    /// Which of its changes are kept: its own `[source.filter]`, or else a copy of `[filter]`.
    pub filter: SharedFilter,
}

/// Where the relay starts to read a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceStart {
    /// The oldest transaction the source still has.
    Earliest,
    /// Only transactions committed after the first connection.
    Latest,
    /// A position in the source's own binlog: the offset of an event, 4 to 4294967295 (the
    /// protocol's field has four bytes).
    FilePosition(SourcePosition),
    /// Everything after a GTID set (MySQL) or a GTID position (MariaDB), as the administrator
    /// wrote it: not empty, but not parsed yet, since its form depends on the source's flavor.
    Gtid(String),
}

/// One `[[user]]`.
#[derive(Debug, Clone)]
pub struct UserConfig {
    /// The name clients log in with, unique, not empty.
    pub name: String,
    /// The password or its hashes; the empty password when none is given.
    pub password: UserPassword,
    /// From which addresses clients may log in as this user; empty = from all.
    pub hosts: Vec<AddressRange>,
    /// The user's privileges, without repetitions; without any, it may only log in. Default replication.
    pub privileges: Vec<Privilege>,
}

impl UserConfig {
    /// Whether both have the same password.
    pub fn has_password_of(&self, other: &UserConfig) -> bool {
        match (&self.password, &other.password) {
            (UserPassword::Plain(one), UserPassword::Plain(other)) => {
                one.expose() == other.expose()
            }
            (UserPassword::Hashes(one), UserPassword::Hashes(other)) => one == other,
            _ => false,
        }
    }
}

/// How a user of the relay authenticates.
#[derive(Debug, Clone)]
pub enum UserPassword {
    /// The password; every authentication plugin's form is derived from it.
    Plain(Secret),
    /// Password hashes as a server stores them: at least one, at most one for each authentication
    /// plugin. Clients can only use these plugins.
    Hashes(Vec<PasswordHash>),
}

/// A privilege of a user of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// See the state of the relay, its sources and its clients.
    Monitor,
    /// Follow the relay as a replica; includes `Monitor`.
    Replication,
    /// Run administrative statements.
    Admin,
}

/// `[tls]`. Certificate and key are given together or not at all.
#[derive(Debug, Clone, Default)]
pub struct ListenerTlsConfig {
    /// PEM file of the listener's certificate; `None` = self-signed, created in the data directory.
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
    /// Address for the page, metrics and health checks; `None` = none.
    pub http: Option<SocketAddr>,
    /// What clients must present there. Invariant: `Some` unless `http` is a loopback address.
    pub http_token: Option<Secret>,
}
