//! The whole file, and the sections that occur once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::error::ConfigError;
use super::filter_config::FilterConfig;
use super::reader::Reader;
use super::section::{Section, value_offset};
use super::settings::ListenerTlsConfig;
use super::settings::{AdminConfig, AlertConfig, CompressionChoice, Config, FlavorChoice};
use super::settings::{LimitsConfig, LogConfig, RelayConfig, SourceConfig, SyncPolicy};
use super::values::{DURATION_MAX, is_listen_address, is_uuid, show_size};
use super::{filter_rules, password, source, user};
use crate::flavor::Flavor;

const SECTIONS: &[&str] = &[
    "relay", "log", "filter", "source", "user", "limits", "alert", "tls", "admin",
];

const RELAY: &[&str] = &[
    "server_id",
    "data_dir",
    "listen",
    "report_host",
    "report_port",
    "flavor",
    "server_uuid",
    "compression",
    "replica_write_timeout",
    "max_connections",
    "detect_conflicts",
    "semi_sync_wait_for_replicas",
    "semi_sync_timeout",
];

const LOG: &[&str] = &[
    "basename",
    "max_size",
    "sync",
    "expire_after",
    "max_total_size",
    "keep_for_replicas",
    "spill_size",
];

const LIMITS: &[&str] = &[
    "max_connections",
    "max_connections_per_address",
    "reserved_connections",
    "login_timeout",
    "max_statement_size",
    "max_result_size",
    "max_transaction_size",
];

/// The longest path of a unix socket, in bytes: `sun_path` less the closing zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// Reads a configuration text; without `reads_secrets`, only this text.
pub(super) fn parse(text: &str, path: &Path, reads_secrets: bool) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(text, path, reads_secrets);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            reader.problem(
                Some(offset),
                "",
                &format!("not valid TOML: {}", error.message()),
            );
            return Err(ConfigError::Invalid(reader.problems));
        }
    };
    let mut root = Section::open(
        &mut reader,
        String::new(),
        Some(document.get_ref()),
        None,
        SECTIONS,
    );
    let relay = read_relay(&mut root);
    let log = read_log(&mut root);
    let filter = filter_rules::read(&mut root, "[filter]".to_owned());
    let sources = read_sources(&mut root, &filter, log.sync);
    let users = user::read_all(&mut root);
    let limits = read_limits(&mut root, relay.max_connections);
    let alert = read_alert(&mut root);
    let tls = read_tls(&mut root);
    let admin = read_admin(&mut root, &relay.data_dir);
    let mut problems = reader.problems;
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.at);
        return Err(ConfigError::Invalid(problems));
    }
    let (warnings, holds_passwords) = (reader.warnings, reader.holds_passwords);
    let path = path.to_owned();
    Ok(Config {
        relay,
        log,
        filter,
        sources,
        users,
        limits,
        alert,
        tls,
        admin,
        warnings,
        holds_passwords,
        path,
    })
}

fn read_relay(root: &mut Section<'_, '_>) -> RelayConfig {
    let mut section = root.subsection("relay", "[relay]".to_owned(), RELAY);
    section.require(
        "server_id",
        "a number from 1 to 4294967295, unique in the topology",
    );
    let server_id = section
        .number("server_id", 1..=u32::MAX)
        .unwrap_or_default();
    const DIRECTORY: &str = "the path of a directory for the relay's files";
    section.require("data_dir", DIRECTORY);
    let data_dir = section.path("data_dir", DIRECTORY).unwrap_or_default();
    if data_dir.metadata().is_ok_and(|found| !found.is_dir()) {
        section.refuse(
            "data_dir",
            &format!("expected a directory: {}", data_dir.display()),
        );
    }
    let listen = section
        .string_if(
            "listen",
            "HOST:PORT, such as \"0.0.0.0:3306\"",
            is_listen_address,
        )
        .unwrap_or("0.0.0.0:3306");
    let (report_host, report_port) = read_report(&mut section);
    let flavor = match section.choice("flavor", &["auto", "mysql", "mariadb"]) {
        Some(1) => FlavorChoice::Fixed(Flavor::MySql),
        Some(2) => FlavorChoice::Fixed(Flavor::MariaDb),
        _ => FlavorChoice::Auto,
    };
    let uuid = "a UUID such as \"3e11fa47-71ca-11e1-9e33-c80aa9429562\"";
    let server_uuid = section
        .string_if("server_uuid", uuid, is_uuid)
        .map(str::to_ascii_lowercase);
    let compression = match section.choice("compression", &["auto", "on", "off"]) {
        Some(1) => CompressionChoice::On,
        Some(2) => CompressionChoice::Off,
        _ => CompressionChoice::Auto,
    };
    let replica_write_timeout = section
        .duration(
            "replica_write_timeout",
            Duration::from_secs(1)..=Duration::from_secs(86_400),
        )
        .unwrap_or(Duration::from_secs(60));
    let detect_conflicts = section.boolean("detect_conflicts").unwrap_or(true);
    // Its name before there was [limits].
    let max_connections = section.number("max_connections", 1..=100_000);
    let semi_sync_wait_for_replicas = section.number("semi_sync_wait_for_replicas", 0..=1000);
    let semi_sync_timeout = section.duration(
        "semi_sync_timeout",
        Duration::from_millis(100)..=Duration::from_secs(86_400),
    );
    RelayConfig {
        server_id,
        data_dir,
        listen: listen.to_owned(),
        report_host,
        report_port,
        flavor,
        server_uuid,
        compression,
        replica_write_timeout,
        max_connections,
        detect_conflicts,
        semi_sync_wait_for_replicas: semi_sync_wait_for_replicas.unwrap_or(0),
        semi_sync_timeout: semi_sync_timeout.unwrap_or(Duration::from_secs(10)),
    }
}

/// The host and the port that sources show for the relay.
fn read_report(section: &mut Section<'_, '_>) -> (Option<String>, Option<u16>) {
    const HOST: &str = "a host name or address of 1 to 60 characters, without spaces";
    let host = section.string_if("report_host", HOST, |host| {
        (1..=60).contains(&host.len())
            && !host.contains(|c: char| c.is_whitespace() || c.is_control())
    });
    let port = section.number("report_port", 1..=65_535);
    (
        host.map(str::to_owned),
        port.and_then(|port| u16::try_from(port).ok()),
    )
}

fn read_limits(root: &mut Section<'_, '_>, of_relay: Option<u32>) -> LimitsConfig {
    let mut section = root.subsection("limits", "[limits]".to_owned(), LIMITS);
    if of_relay.is_some() && section.has("max_connections") {
        section.refuse(
            "max_connections",
            "[relay] has the same key; remove that one",
        );
    }
    let max_connections = section.number("max_connections", 1..=100_000).or(of_relay);
    let per_address = section.number("max_connections_per_address", 1..=100_000);
    let reserved_connections = section.number("reserved_connections", 0..=10_000);
    let login_timeout = section.duration(
        "login_timeout",
        Duration::from_secs(1)..=Duration::from_secs(3600),
    );
    let max_statement_size = section.size("max_statement_size", 1 << 10..=16 << 20);
    let max_result_size = section.size("max_result_size", 64 << 10..=1 << 30);
    let max_transaction_size = section.size("max_transaction_size", 1 << 20..=4 << 30);
    LimitsConfig {
        max_connections: max_connections.unwrap_or(200),
        max_connections_per_address: per_address.unwrap_or(50),
        reserved_connections: reserved_connections.unwrap_or(10),
        login_timeout: login_timeout.unwrap_or(Duration::from_secs(10)),
        max_statement_size: max_statement_size.unwrap_or(1 << 20),
        max_result_size: max_result_size.unwrap_or(16 << 20),
        max_transaction_size: max_transaction_size.unwrap_or(4 << 30),
    }
}

fn read_alert(root: &mut Section<'_, '_>) -> AlertConfig {
    let keys = &["replica_missing_after", "replica_lag", "source_silent"];
    let mut section = root.subsection("alert", "[alert]".to_owned(), keys);
    let range = Duration::from_secs(1)..=DURATION_MAX;
    let replica_missing_after = section.duration("replica_missing_after", range.clone());
    let replica_lag = section.duration("replica_lag", range.clone());
    let source_silent = section.duration("source_silent", range);
    AlertConfig {
        replica_missing_after: replica_missing_after.unwrap_or(Duration::from_secs(300)),
        replica_lag: replica_lag.unwrap_or(Duration::from_secs(300)),
        source_silent: source_silent.unwrap_or(Duration::from_secs(120)),
    }
}

fn read_log(root: &mut Section<'_, '_>) -> LogConfig {
    let mut section = root.subsection("log", "[log]".to_owned(), LOG);
    let basename = section.string_if(
        "basename",
        "a file name of 1 to 64 letters, digits, \"_\", \"-\" or \".\" that begins with none of \
         the last two",
        |name| {
            (1..=64).contains(&name.len())
                && !name.starts_with(['.', '-'])
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        },
    );
    // Offsets in a binlog file are 32 bits wide in event headers and in the protocol.
    let max_size = section
        .size("max_size", 4096..=u64::from(u32::MAX))
        .unwrap_or(1 << 30);
    let sync = read_sync(&mut section);
    let expire_after = section
        .duration("expire_after", Duration::ZERO..=DURATION_MAX)
        .unwrap_or(Duration::from_secs(7 * 86_400));
    let max_total_size = section.size("max_total_size", 4096..=1 << 60);
    let keep_for_replicas = section
        .duration("keep_for_replicas", Duration::ZERO..=DURATION_MAX)
        .unwrap_or(Duration::from_secs(86_400));
    if max_total_size.is_some_and(|total| total < max_size) {
        let expected = format!("no less than max_size ({})", show_size(max_size));
        section.expected("max_total_size", &expected);
    }
    let spill_size = section
        .size("spill_size", 64 << 10..=64 << 20)
        .unwrap_or(4 << 20);
    LogConfig {
        basename: basename.unwrap_or("relay-bin").to_owned(),
        max_size,
        sync,
        expire_after: (!expire_after.is_zero()).then_some(expire_after),
        max_total_size,
        keep_for_replicas,
        spill_size,
    }
}

fn read_sync(section: &mut Section<'_, '_>) -> SyncPolicy {
    const EXPECTED: &str =
        "\"commit\", \"never\", or a duration from \"1ms\" to \"1h\" such as \"100ms\"";
    match section.string("sync", EXPECTED) {
        None | Some("commit") => SyncPolicy::Commit,
        Some("never") => SyncPolicy::Never,
        Some(text) => {
            let limits = Duration::from_millis(1)..=Duration::from_secs(3_600);
            match super::values::parse_duration(text).filter(|d| limits.contains(d)) {
                Some(interval) => SyncPolicy::Interval(interval),
                None => {
                    section.expected("sync", EXPECTED);
                    SyncPolicy::Commit
                }
            }
        }
    }
}

fn read_sources(
    root: &mut Section<'_, '_>,
    filter: &FilterConfig,
    sync: SyncPolicy,
) -> Vec<SourceConfig> {
    let tables = root.tables("source");
    if tables.is_empty() && !root.has("source") {
        root.refuse(
            "[[source]]",
            "is required: expected at least one server to follow",
        );
    }
    let mut sources: Vec<SourceConfig> = Vec::new();
    for (index, (table, offset)) in tables.into_iter().enumerate() {
        let source = source::read(root.reader(), (table, offset), index + 1, filter, sync);
        // Statements name a source in any case, as the channels of a server.
        let is_repeated = sources
            .iter()
            .any(|other| other.name.eq_ignore_ascii_case(&source.name));
        if is_repeated && !source.name.is_empty() {
            let message = format!("expected a unique name, found \"{}\" again", source.name);
            let key = format!("[source #{}] name", index + 1);
            let offset = value_offset(table, "name", offset);
            root.reader().problem(Some(offset), &key, &message);
        }
        sources.push(source);
    }
    sources
}

fn read_tls(root: &mut Section<'_, '_>) -> ListenerTlsConfig {
    let keys = &["cert", "key", "ca", "required"];
    let mut section = root.subsection("tls", "[tls]".to_owned(), keys);
    let (cert, key) = section.certificate_and_key();
    let ca = section.readable_file("ca");
    let required = section.boolean("required").unwrap_or(false);
    ListenerTlsConfig {
        cert,
        key,
        ca,
        required,
    }
}

fn read_admin(root: &mut Section<'_, '_>, data_dir: &Path) -> AdminConfig {
    let mut section = root.subsection(
        "admin",
        "[admin]".to_owned(),
        &["socket", "http", "http_token", "http_token_file"],
    );
    let socket: PathBuf = section
        .path("socket", "the path of a unix socket")
        .unwrap_or_else(|| data_dir.join("binrelay.sock"));
    let length = socket.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        let message = format!(
            "expected a path of at most {SOCKET_PATH_MAX} bytes, found {length}: {} (the default \
             is binrelay.sock in data_dir)",
            socket.display()
        );
        section.refuse("socket", &message);
    }
    const ADDRESS: &str = "ADDRESS:PORT, such as \"127.0.0.1:9105\"";
    let is_address = |text: &str| text.parse::<SocketAddr>().is_ok();
    let http = section
        .string_if("http", ADDRESS, is_address)
        .and_then(|text| text.parse().ok());
    let http_token = password::read_http_token(&mut section);
    if http.is_some_and(|at: SocketAddr| !at.ip().is_loopback()) && http_token.is_none() {
        section.refuse(
            "http",
            "an address that other machines reach needs http_token or http_token_file",
        );
    }
    AdminConfig {
        socket,
        http,
        http_token,
    }
}
