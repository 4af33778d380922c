//! The whole file, and the sections that occur once, and the users.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::reader::{Reader, Section, shortened};
use super::source::read_pair;
use super::values::{DURATION_MAX, is_listen_address, is_uuid, show_size};
use super::{AdminConfig, Config, ConfigError, FilterConfig, FlavorChoice, ListenerTlsConfig};
use super::{LogConfig, Privilege, RelayConfig, SourceConfig, SyncPolicy, UserConfig};
use super::{password, source};
use crate::flavor::Flavor;

const SECTIONS: &[&str] = &["relay", "log", "filter", "source", "user", "tls", "admin"];

const RELAY: &[&str] = &[
    "server_id",
    "data_dir",
    "listen",
    "flavor",
    "server_uuid",
    "replica_write_timeout",
    "max_connections",
];

const LOG: &[&str] = &[
    "basename",
    "max_size",
    "sync",
    "expire_after",
    "max_total_size",
    "spill_size",
];

const FILTER: &[&str] = &[
    "replicate_do_db",
    "replicate_ignore_db",
    "replicate_do_table",
    "replicate_ignore_table",
    "replicate_wild_do_table",
    "replicate_wild_ignore_table",
    "replicate_rewrite_db",
];

const USER: &[&str] = &[
    "name",
    "password",
    "password_file",
    "password_env",
    "password_hash",
    "privileges",
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
    let filter = read_filter(&mut root, "[filter]".to_owned());
    let sources = read_sources(&mut root, &filter);
    let users = read_users(&mut root);
    let tls = read_tls(&mut root);
    let admin = read_admin(&mut root, &relay.data_dir);
    let mut problems = reader.problems;
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.at);
        return Err(ConfigError::Invalid(problems));
    }
    let warnings = reader.warnings;
    let path = path.to_owned();
    Ok(Config {
        relay,
        log,
        filter,
        sources,
        users,
        tls,
        admin,
        warnings,
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
    let flavor = match section.choice("flavor", &["auto", "mysql", "mariadb"]) {
        Some(1) => FlavorChoice::Fixed(Flavor::MySql),
        Some(2) => FlavorChoice::Fixed(Flavor::MariaDb),
        _ => FlavorChoice::Auto,
    };
    let uuid = "a UUID such as \"3e11fa47-71ca-11e1-9e33-c80aa9429562\"";
    let server_uuid = section
        .string_if("server_uuid", uuid, is_uuid)
        .map(str::to_ascii_lowercase);
    let replica_write_timeout = section
        .duration(
            "replica_write_timeout",
            Duration::from_secs(1)..=Duration::from_secs(86_400),
        )
        .unwrap_or(Duration::from_secs(60));
    let max_connections = section
        .number("max_connections", 1..=100_000)
        .unwrap_or(200);
    RelayConfig {
        server_id,
        data_dir,
        listen: listen.to_owned(),
        flavor,
        server_uuid,
        replica_write_timeout,
        max_connections,
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
    for key in ["expire_after", "max_total_size"] {
        section.warn_not_served(key, "old log files are not removed");
    }
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

/// Reads the table `filter` of the root or of a source.
pub(super) fn read_filter(parent: &mut Section<'_, '_>, label: String) -> FilterConfig {
    let mut section = parent.subsection("filter", label, FILTER);
    FilterConfig {
        replicate_do_db: read_databases(&mut section, "replicate_do_db"),
        replicate_ignore_db: read_databases(&mut section, "replicate_ignore_db"),
        replicate_do_table: read_tables(&mut section, "replicate_do_table"),
        replicate_ignore_table: read_tables(&mut section, "replicate_ignore_table"),
        replicate_wild_do_table: read_tables(&mut section, "replicate_wild_do_table"),
        replicate_wild_ignore_table: read_tables(&mut section, "replicate_wild_ignore_table"),
        replicate_rewrite_db: read_rewrites(&mut section),
    }
}

fn read_databases(section: &mut Section<'_, '_>, key: &str) -> Vec<String> {
    read_rules(section, key, "a list of database names", |name| {
        Some(name.to_owned())
    })
}

fn read_tables(section: &mut Section<'_, '_>, key: &str) -> Vec<String> {
    read_rules(section, key, "a list of \"database.table\"", |rule| {
        rule.contains('.').then(|| rule.to_owned())
    })
}

fn read_rewrites(section: &mut Section<'_, '_>) -> Vec<(String, String)> {
    /// Characters of a database's name, as both servers limit it.
    const NAME_LEN_MAX: usize = 64;
    let expected = "a list of \"from->to\" with two database names of 1 to 64 characters";
    // A binlog has one byte for the name's length; the servers' names have no 4-byte characters.
    let is_name = |name: &str| {
        (1..=NAME_LEN_MAX).contains(&name.chars().count()) && name.len() <= usize::from(u8::MAX)
    };
    read_rules(section, "replicate_rewrite_db", expected, |rule| {
        let (from, to) = rule.split_once("->")?;
        let (from, to) = (from.trim(), to.trim());
        (is_name(from) && is_name(to)).then(|| (from.to_owned(), to.to_owned()))
    })
}

fn read_rules<T>(
    section: &mut Section<'_, '_>,
    key: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let mut rules = Vec::new();
    for text in section.strings(key, expected).unwrap_or_default() {
        match read(text) {
            Some(rule) => rules.push(rule),
            None => {
                let found = shortened(text);
                section.refuse(
                    key,
                    &format!("expected {expected}, found \"{found}\" in it"),
                );
            }
        }
    }
    rules
}

fn read_sources(root: &mut Section<'_, '_>, filter: &FilterConfig) -> Vec<SourceConfig> {
    let tables = root.tables("source");
    if tables.is_empty() && !root.has("source") {
        root.refuse(
            "[[source]]",
            "is required: expected at least one server to follow",
        );
    }
    let mut sources: Vec<SourceConfig> = Vec::new();
    for (index, (table, offset)) in tables.into_iter().enumerate() {
        let source = source::read(root.reader(), (table, offset), index + 1, filter);
        let is_repeated = sources.iter().any(|other| other.name == source.name);
        if is_repeated && !source.name.is_empty() {
            let message = format!("expected a unique name, found \"{}\" again", source.name);
            let place = format!("[source #{}] name", index + 1);
            root.reader()
                .problem(Some(value_offset(table, "name", offset)), &place, &message);
        }
        sources.push(source);
    }
    sources
}

fn read_users(root: &mut Section<'_, '_>) -> Vec<UserConfig> {
    let tables = root.tables("user");
    if tables.is_empty() {
        let message = "[[user]]: there is none, so that no replica can connect".to_owned();
        root.reader().warnings.push(message);
    }
    let mut users: Vec<UserConfig> = Vec::new();
    for (index, (table, offset)) in tables.into_iter().enumerate() {
        let user = read_user(root.reader(), (table, offset), index + 1);
        let is_repeated = users.iter().any(|other| other.name == user.name);
        if is_repeated && !user.name.is_empty() {
            let name = shortened(&user.name);
            let message = format!("expected a unique name, found \"{name}\" again");
            let place = format!("[user #{}] name", index + 1);
            root.reader()
                .problem(Some(value_offset(table, "name", offset)), &place, &message);
        }
        users.push(user);
    }
    users
}

/// Where the value of a key begins; the table's own place if it is absent.
fn value_offset(table: &DeTable<'_>, key: &str, otherwise: usize) -> usize {
    table.get(key).map_or(otherwise, |value| value.span().start)
}

fn read_user<'t>(
    reader: &mut Reader<'t>,
    (table, offset): (&'t DeTable<'t>, usize),
    number: usize,
) -> UserConfig {
    let label = match table.get("name").map(|name| name.get_ref()) {
        Some(DeValue::String(name)) if !name.is_empty() => {
            format!("[user \"{}\"]", shortened(name))
        }
        _ => format!("[user #{number}]"),
    };
    let mut section = Section::open(reader, label, Some(table), Some(offset), USER);
    const NAME: &str = "the name that clients log in with";
    section.require("name", NAME);
    let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_control);
    let name = section
        .string_if("name", NAME, is_name)
        .unwrap_or_default()
        .to_owned();
    let has_password = password::USER_KEYS.iter().any(|key| section.has(key));
    let password = password::read_user(&mut section);
    if !has_password {
        let warning = format!(
            "{}: has no password, so that anybody can log in",
            section.label()
        );
        section.reader().warnings.push(warning);
    }
    let privileges = read_privileges(&mut section);
    UserConfig {
        name,
        password,
        privileges,
    }
}

fn read_privileges(section: &mut Section<'_, '_>) -> Vec<Privilege> {
    const EXPECTED: &str = "a list of \"replication\" and \"admin\", at least one of them";
    let default = vec![Privilege::Replication];
    let Some(words) = section.strings("privileges", EXPECTED) else {
        return default;
    };
    let mut privileges = Vec::new();
    for word in &words {
        let privilege = match *word {
            "replication" => Privilege::Replication,
            "admin" => Privilege::Admin,
            other => {
                let message = format!("expected {EXPECTED}, found \"{}\" in it", shortened(other));
                section.refuse("privileges", &message);
                return default;
            }
        };
        if !privileges.contains(&privilege) {
            privileges.push(privilege);
        }
    }
    if privileges.is_empty() {
        section.refuse(
            "privileges",
            &format!("expected {EXPECTED}, found an empty list"),
        );
    }
    privileges
}

fn read_tls(root: &mut Section<'_, '_>) -> ListenerTlsConfig {
    let keys = &["cert", "key", "ca", "required"];
    let mut section = root.subsection("tls", "[tls]".to_owned(), keys);
    let (cert, key) = read_pair(&mut section);
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
    let mut section = root.subsection("admin", "[admin]".to_owned(), &["socket", "http"]);
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
    const ADDRESS: &str = "ADDRESS:PORT, such as \"127.0.0.1:9104\"";
    let is_address = |text: &str| text.parse::<SocketAddr>().is_ok();
    let http = section
        .string_if("http", ADDRESS, is_address)
        .and_then(|text| text.parse().ok());
    if http.is_some() {
        section.warn_not_served("http", "nothing listens there");
    }
    AdminConfig { socket, http }
}
