//! `[[source]]`: the servers that the relay follows.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::filter_config::{FilterConfig, SharedFilter};
use super::reader::{Reader, shortened};
use super::section::Section;
use super::settings::{SourceCompression, SourceConfig, SourceStart, SyncPolicy};
use super::values::DURATION_MAX;
use super::{filter_rules, password};
use crate::position::SourcePosition;
use crate::tls::{ClientTls, OfferedTls, TlsMode};

const KEYS: &[&str] = &[
    "name",
    "host",
    "port",
    "user",
    "password",
    "password_file",
    "password_env",
    "start",
    "auto_position",
    "semi_sync",
    "connect_retry",
    "connect_retry_max",
    "read_timeout",
    "get_source_public_key",
    "source_public_key_file",
    "compression",
    "tls",
    "filter",
];

/// The default of `connect_retry`.
pub(super) const CONNECT_RETRY: Duration = Duration::from_secs(1);
/// The default of `connect_retry_max`.
pub(super) const CONNECT_RETRY_MAX: Duration = Duration::from_secs(60);
/// The default of `read_timeout`.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The offset of the first event in a binlog file, after its magic number.
const FIRST_EVENT: u64 = 4;

const START_EXPECTED: &str = "\"earliest\", \"latest\", \"FILE:POSITION\" with a position from 4 \
                              (the beginning of the file) to 4294967295, or \"gtid:SET\"";

/// Reads one source; the offset of its table and its number (from 1) are for messages.
pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    (table, offset): (&'t DeTable<'t>, usize),
    number: usize,
    global_filter: &FilterConfig,
    sync: SyncPolicy,
) -> SourceConfig {
    let label = |of: &str| label(of, table, number);
    let mut section = Section::open(reader, label("source"), Some(table), Some(offset), KEYS);
    const NAME: &str = "a name of 1 to 64 letters, digits, \"_\", \".\" or \"-\"";
    const HOST: &str = "a host name or address";
    const USER: &str = "the name of an account on the source";
    section.require("name", NAME);
    let name = section
        .string_if("name", NAME, is_channel_name)
        .unwrap_or_default()
        .to_owned();
    section.require("host", HOST);
    let host = section
        .string_if("host", HOST, |text| is_host(without_brackets(text)))
        .map(without_brackets)
        .unwrap_or_default()
        .to_owned();
    section.require("user", USER);
    let user = section
        .string_if("user", USER, |text| !text.is_empty())
        .unwrap_or_default();
    let port = section
        .number("port", 1..=65_535)
        .and_then(|port| u16::try_from(port).ok());
    let start = read_start(&mut section);
    let auto_position = read_auto_position(&mut section, &start);
    let semi_sync = read_semi_sync(&mut section, sync);
    let (connect_retry, connect_retry_max) = read_retry(&mut section);
    let read_timeout = section
        .duration(
            "read_timeout",
            Duration::from_secs(1)..=Duration::from_secs(86_400),
        )
        .unwrap_or(READ_TIMEOUT);
    let compression = match section.choice("compression", &["off", "zlib", "zstd"]) {
        Some(1) => SourceCompression::Zlib,
        Some(2) => SourceCompression::Zstd,
        _ => SourceCompression::Off,
    };
    let (password, password_file) = password::read(&mut section);
    let (get_source_public_key, source_public_key_file) = read_server_key(&mut section);
    let tls = read_tls(&mut section, label("source.tls"));
    let filter = if section.has("filter") {
        filter_rules::read(&mut section, label("source.filter"))
    } else {
        global_filter.clone()
    };
    SourceConfig {
        name,
        host,
        port: port.unwrap_or(3306),
        user: user.to_owned(),
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
        offered_tls: OfferedTls::default(),
        get_source_public_key,
        source_public_key_file,
        filter: SharedFilter::new(filter),
    }
}

fn read_server_key(section: &mut Section<'_, '_>) -> (bool, Option<PathBuf>) {
    let is_requested = section.boolean("get_source_public_key").unwrap_or(false);
    (
        is_requested,
        section.readable_file("source_public_key_file"),
    )
}

/// `[source "m1"]`, or `[source #1]` if it has no valid name.
fn label(of: &str, table: &DeTable<'_>, number: usize) -> String {
    match table.get("name").map(|name| name.get_ref()) {
        Some(DeValue::String(name)) if is_channel_name(name) => format!("[{of} \"{name}\"]"),
        _ => format!("[{of} #{number}]"),
    }
}

pub(super) fn is_channel_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// An IPv6 address is also accepted as it is written before a port.
fn without_brackets(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.filter(|inner| inner.contains(':')).unwrap_or(host)
}

pub(super) fn is_host(host: &str) -> bool {
    // A colon is valid only in an IPv6 address; elsewhere a port follows it, which belongs in `port`.
    !host.is_empty()
        && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
        && (!host.contains(':') || host.parse::<std::net::Ipv6Addr>().is_ok())
}

fn read_start(section: &mut Section<'_, '_>) -> SourceStart {
    let Some(text) = section.string("start", START_EXPECTED) else {
        return SourceStart::Earliest;
    };
    match SourceStart::parse(text) {
        Some(start) => start,
        None => {
            section.expected("start", START_EXPECTED);
            SourceStart::Earliest
        }
    }
}

impl SourceStart {
    /// Reads a start as the configuration has it: `earliest`, `latest`, `FILE:POS` or `gtid:…`.
    pub fn parse(text: &str) -> Option<SourceStart> {
        parse_start(text)
    }
}

/// As in the configuration.
impl fmt::Display for SourceStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceStart::Earliest => f.write_str("earliest"),
            SourceStart::Latest => f.write_str("latest"),
            SourceStart::FilePosition(position) => position.fmt(f),
            SourceStart::Gtid(text) => write!(f, "gtid:{}", text.replace(char::is_whitespace, " ")),
        }
    }
}

fn parse_start(text: &str) -> Option<SourceStart> {
    match text {
        "earliest" => return Some(SourceStart::Earliest),
        "latest" => return Some(SourceStart::Latest),
        _ => {}
    }
    if let Some(set) = text.strip_prefix("gtid:") {
        // The forms of both flavors use only these; the source's flavor decides which one it is.
        let fits = |c: char| {
            c.is_ascii_alphanumeric()
                || c.is_ascii_whitespace()
                || matches!(c, ':' | ',' | '-' | '_')
        };
        let is_set = set.chars().all(fits) && set.contains(|c: char| c.is_ascii_digit());
        return is_set.then(|| SourceStart::Gtid(set.trim().to_owned()));
    }
    let (file, position) = text.rsplit_once(':')?;
    let is_file = !file.is_empty()
        && !file.contains(|c: char| c == '/' || c == ':' || c.is_control() || c.is_whitespace());
    let is_number = !position.is_empty() && position.bytes().all(|b| b.is_ascii_digit());
    let position = position.parse().ok().filter(|_| is_file && is_number)?;
    (FIRST_EVENT..=u64::from(u32::MAX))
        .contains(&position)
        .then(|| SourceStart::FilePosition(SourcePosition::new(file, position)))
}

fn read_auto_position(section: &mut Section<'_, '_>, start: &SourceStart) -> Option<bool> {
    let auto_position = section.boolean("auto_position")?;
    match (start, auto_position) {
        (SourceStart::FilePosition(at), true) => {
            let (file, offset) = (shortened(&at.file), at.offset);
            let message = format!("expected false with start = \"{file}:{offset}\", found true");
            section.refuse("auto_position", &message);
        }
        (SourceStart::Gtid(_), false) => section.refuse(
            "auto_position",
            "expected true with start = \"gtid:…\", found false",
        ),
        _ => {}
    }
    Some(auto_position)
}

fn read_semi_sync(section: &mut Section<'_, '_>, sync: SyncPolicy) -> bool {
    let semi_sync = section.boolean("semi_sync").unwrap_or(false);
    if semi_sync && sync == SyncPolicy::Never {
        section.refuse(
            "semi_sync",
            "expected false with [log] sync = \"never\", because nothing would be acknowledged \
             before it is durable, found true",
        );
    }
    if semi_sync && matches!(sync, SyncPolicy::Interval(_)) {
        section.warn(
            "semi_sync",
            "[log] sync is a duration, so each acknowledgement waits for the next sync",
        );
    }
    semi_sync
}

fn read_retry(section: &mut Section<'_, '_>) -> (Duration, Duration) {
    let range = Duration::from_millis(10)..=DURATION_MAX;
    let first = section.duration("connect_retry", range.clone());
    let last = section.duration("connect_retry_max", range);
    let (first_or_default, last_or_default) = (
        first.unwrap_or(CONNECT_RETRY),
        last.unwrap_or(CONNECT_RETRY_MAX),
    );
    if first_or_default > last_or_default {
        let (key, expected) = match first {
            Some(_) => (
                "connect_retry",
                "no more than connect_retry_max (default \"60s\")",
            ),
            None => (
                "connect_retry_max",
                "no less than connect_retry (default \"1s\")",
            ),
        };
        section.expected(key, expected);
    }
    (first_or_default, last_or_default)
}

fn read_tls(source: &mut Section<'_, '_>, label: String) -> ClientTls {
    let keys = &["mode", "ca", "cert", "key"];
    let mut section = source.subsection("tls", label, keys);
    let words = [
        "disabled",
        "preferred",
        "required",
        "verify_ca",
        "verify_identity",
    ];
    let mode = match section.choice("mode", &words) {
        Some(0) => TlsMode::Disabled,
        Some(2) => TlsMode::Required,
        Some(3) => TlsMode::VerifyCa,
        Some(4) => TlsMode::VerifyIdentity,
        _ => TlsMode::Preferred,
    };
    if matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity) {
        section.require(
            "ca",
            "the path of a PEM file, since mode verifies the certificate",
        );
    }
    let ca = section.readable_file("ca");
    if ca.is_some()
        && matches!(
            mode,
            TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required
        )
    {
        // The clients of servers take it for verify_ca.
        section.warn(
            "ca",
            &format!(
                "is not used with mode \"{mode}\", which does not verify the source's certificate: set \
                 mode = \"verify_ca\" or \"verify_identity\""
            ),
        );
    }
    let (cert, key) = section.certificate_and_key();
    ClientTls {
        mode,
        ca,
        cert,
        key,
    }
}
