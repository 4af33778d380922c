//! The options of CHANGE, by their names without MASTER_ or SOURCE_.

use std::fmt;
use std::time::Duration;

use crate::config::SourceConfig;
use crate::protocol::ServerError;
use crate::secret::Secret;
use crate::sender::cursor::Cursor;
use crate::sender::source_errors::SourceWords;
use crate::sender::source_statements::unsupported;
use crate::sender::sql::Token;

/// Options that change nothing here if they are empty or 0, and are not supported otherwise.
const UNSUPPORTED: &[&str] = &[
    "BIND",
    "DELAY",
    "COMPRESSION_ALGORITHMS",
    "ZSTD_COMPRESSION_LEVEL",
    "SSL_CAPATH",
    "SSL_CIPHER",
    "SSL_CRL",
    "SSL_CRLPATH",
    "TLS_VERSION",
    "TLS_CIPHERSUITES",
    "CONNECTION_AUTO_FAILOVER",
    "RELAY_LOG_FILE",
    "RELAY_LOG_POS",
    "PRIVILEGE_CHECKS_USER",
    "REQUIRE_ROW_FORMAT",
    "REQUIRE_TABLE_PRIMARY_KEY_CHECK",
    "ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS",
    "GTID_ONLY",
    "NETWORK_NAMESPACE",
    "DEMOTE_TO_SLAVE",
    "DEMOTE_TO_REPLICA",
    "DO_DOMAIN_IDS",
    "IGNORE_DOMAIN_IDS",
    "IGNORE_SERVER_IDS",
];

/// The options of one statement.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) log_file: Option<String>,
    pub(super) log_pos: Option<u64>,
    /// AUTO_POSITION or USE_GTID.
    pub(super) by_gtid: Option<bool>,
    pub(super) connect_retry: Option<Duration>,
    pub(super) heartbeat_period: Option<Duration>,
    pub(super) ssl: Option<bool>,
    pub(super) ssl_verify: Option<bool>,
    pub(super) ssl_ca: Option<String>,
    pub(super) ssl_cert: Option<String>,
    pub(super) ssl_key: Option<String>,
    pub(super) get_public_key: Option<bool>,
    pub(super) public_key_path: Option<String>,
    pub(super) warnings: Vec<String>,
}

/// The value of an option.
enum Value<'a> {
    Text(&'a str),
    Number(&'a str),
    Word(&'a str),
    /// `(…)`, and whether it has elements.
    List(bool),
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

impl Options {
    /// Reads the options up to the first token that follows none; `None` where the syntax is wrong.
    ///
    /// # Errors
    /// An option has an impossible value, or is not supported.
    pub(super) fn parse(
        cursor: &mut Cursor<'_>,
        words: &SourceWords,
    ) -> Result<Option<Self>, ServerError> {
        let mut options = Self::default();
        loop {
            let mut ahead = cursor.clone();
            let Some(Token::Word(name)) = ahead.next() else {
                return Ok(None);
            };
            if !ahead.eat_symbol('=') {
                return Ok(None);
            }
            let Some(value) = value(&mut ahead) else {
                return Ok(None);
            };
            let name = name.to_ascii_uppercase();
            match options.set(&key(&name), &value) {
                Set::Done => {}
                Set::Wrong => return Err(words.wrong_arguments(&name)),
                Set::Unsupported => {
                    return Err(unsupported(&format!(
                        "{name} with another value than its default"
                    )));
                }
                Set::Unknown => return Ok(None),
            }
            *cursor = ahead;
            if !cursor.eat_symbol(',') {
                return Ok(Some(options));
            }
        }
    }

    fn set(&mut self, key: &str, value: &Value<'_>) -> Set {
        match key {
            "HOST" => set(
                &mut self.host,
                text(value).filter(|host| SourceConfig::is_host(host)),
            ),
            "PORT" => set(&mut self.port, number(value).filter(|port| *port > 0)),
            "USER" => set(&mut self.user, text(value).filter(|user| !user.is_empty())),
            "PASSWORD" => set(&mut self.password, text(value).map(Secret::new)),
            "LOG_FILE" => set(&mut self.log_file, text(value).filter(|file| is_file(file))),
            "LOG_POS" => set(
                &mut self.log_pos,
                number(value).filter(|at| *at <= u64::from(u32::MAX)),
            ),
            "AUTO_POSITION" => set(&mut self.by_gtid, switch(value)),
            "USE_GTID" => set(&mut self.by_gtid, use_gtid(value)),
            "CONNECT_RETRY" => {
                let seconds = number(value).filter(|seconds| (1..=31_536_000).contains(seconds));
                set(&mut self.connect_retry, seconds.map(Duration::from_secs))
            }
            "HEARTBEAT_PERIOD" => set(&mut self.heartbeat_period, period(value)),
            "RETRY_COUNT" => {
                self.warnings
                    .push("the number of attempts to connect is not limited".to_owned());
                Set::Done
            }
            "SSL" => set(&mut self.ssl, switch(value)),
            "SSL_VERIFY_SERVER_CERT" => set(&mut self.ssl_verify, switch(value)),
            "SSL_CA" => set(&mut self.ssl_ca, text(value)),
            "SSL_CERT" => set(&mut self.ssl_cert, text(value)),
            "SSL_KEY" => set(&mut self.ssl_key, text(value)),
            "GET_PUBLIC_KEY" => set(&mut self.get_public_key, switch(value)),
            "PUBLIC_KEY_PATH" => set(&mut self.public_key_path, text(value)),
            _ if UNSUPPORTED.contains(&key) => match is_default(value) {
                true => Set::Done,
                false => Set::Unsupported,
            },
            _ => Set::Unknown,
        }
    }
}

/// How an option was taken.
enum Set {
    Done,
    Wrong,
    Unsupported,
    Unknown,
}

fn set<T>(option: &mut Option<T>, value: Option<T>) -> Set {
    match value {
        Some(value) => {
            *option = Some(value);
            Set::Done
        }
        None => Set::Wrong,
    }
}

/// The name without MASTER or SOURCE.
fn key(name: &str) -> String {
    let public_key = ["GET_MASTER_PUBLIC_KEY", "GET_SOURCE_PUBLIC_KEY"];
    if public_key.contains(&name) {
        return "GET_PUBLIC_KEY".to_owned();
    }
    let short = name.strip_prefix("MASTER_");
    let short = short.or_else(|| name.strip_prefix("SOURCE_"));
    match short {
        Some(short) => short.to_owned(),
        // Without a prefix there are only options that are not supported.
        None if UNSUPPORTED.contains(&name) => name.to_owned(),
        None => String::new(),
    }
}

fn value<'a>(cursor: &mut Cursor<'a>) -> Option<Value<'a>> {
    match cursor.next()? {
        Token::Text(text) => Some(Value::Text(text)),
        Token::Number(number) => Some(Value::Number(number)),
        Token::Word(word) => Some(Value::Word(word)),
        Token::Symbol('(') => {
            let mut has_elements = false;
            while !cursor.eat_symbol(')') {
                cursor.next()?;
                has_elements = true;
            }
            Some(Value::List(has_elements))
        }
        _ => None,
    }
}

fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) if !text.contains('\0') => Some((*text).to_owned()),
        _ => None,
    }
}

fn number<N: std::str::FromStr>(value: &Value<'_>) -> Option<N> {
    match value {
        Value::Number(number) => number.parse().ok(),
        _ => None,
    }
}

fn switch(value: &Value<'_>) -> Option<bool> {
    number::<u64>(value).map(|number| number != 0)
}

fn use_gtid(value: &Value<'_>) -> Option<bool> {
    let Value::Word(word) = value else {
        return None;
    };
    match word.to_ascii_uppercase().as_str() {
        "SLAVE_POS" | "REPLICA_POS" | "CURRENT_POS" => Some(true),
        "NO" => Some(false),
        _ => None,
    }
}

/// A period in seconds, with decimals; 0 would disable the heartbeats, which the relay needs.
fn period(value: &Value<'_>) -> Option<Duration> {
    let seconds: f64 = number(value)?;
    let is_possible = (0.001..=4_294_967.0).contains(&seconds);
    is_possible.then(|| Duration::from_millis((seconds * 1000.0) as u64))
}

/// A file's name as sources have them; see [`SourceStart`](crate::config::SourceStart).
fn is_file(file: &str) -> bool {
    !file.is_empty()
        && !file.contains(|c: char| c == '/' || c == ':' || c.is_control() || c.is_whitespace())
}

fn is_default(value: &Value<'_>) -> bool {
    match value {
        Value::Text(text) => text.is_empty() || *text == "uncompressed",
        Value::Number(number) => *number == "0",
        Value::Word(word) => ["NULL", "OFF", "STREAM"]
            .iter()
            .any(|default| word.eq_ignore_ascii_case(default)),
        Value::List(has_elements) => !has_elements,
    }
}
