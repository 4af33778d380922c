//! CHANGE MASTER TO …, CHANGE REPLICATION SOURCE TO … FOR CHANNEL, and MariaDB's CHANGE MASTER 'name' TO …

mod options;

use std::time::Duration;

use self::options::Options;
use super::answer::Answer;
use super::cursor::Cursor;
use super::source_changes::SourceChange;
use super::source_errors::{SourceWords, Statement};
use super::source_rows::SourceRow;
use super::source_statements::{Target, connection_name, for_channel, with_code};
use super::sql_errors::syntax_error;
use super::statement_context::StatementContext;
use crate::config::{ChangedSettings, SourceConfig};
use crate::flavor::Flavor;
use crate::position::SourcePosition;
use crate::protocol::ServerError;
use crate::tls::{ClientTls, TlsMode};

/// The first event of a binlog file; servers raise a smaller position to it.
const FIRST_EVENT: u64 = 4;
/// Heartbeats are requested at this part of the time limit for a silent source.
const HEARTBEATS_PER_TIMEOUT: u32 = 3;
/// The shortest `read_timeout`.
const READ_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Answers the rest of a statement that began with CHANGE; `None` if it is not about a source.
///
/// # Errors
/// Those of real servers.
pub fn answer(
    text: &str,
    mut cursor: Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let words = SourceWords::of(context);
    let is_mariadb = words.flavor() == Flavor::MariaDb;
    let target = if cursor.eat("MASTER") {
        match connection_name(&mut cursor, is_mariadb) {
            Some(name) => Target::Named(name),
            None => Target::Unnamed,
        }
    } else if !is_mariadb && cursor.eat_words(&["REPLICATION", "SOURCE"]) {
        Target::Unnamed
    } else {
        return Ok(None);
    };
    let near = |cursor: &Cursor<'_>| {
        let start = cursor.peek().map_or(text.len(), |span| span.start);
        syntax_error(words.flavor(), text.get(start..).unwrap_or_default())
    };
    if !cursor.eat("TO") {
        return Err(near(&cursor));
    }
    let Some(options) = Options::parse(&mut cursor, &words)? else {
        return Err(near(&cursor));
    };
    let target = for_channel(&mut cursor, target)?;
    if !cursor.is_done() {
        return Err(near(&cursor));
    }
    words.check_privilege(Statement::Change, context)?;
    let rows = context.relay.sources.read();
    let name = name(target, &rows, &words)?;
    let row = rows.iter().find(|row| row.name.eq_ignore_ascii_case(&name));
    check_address(&name, row, &rows, &options, &words)?;
    let (position, mut warnings) = position(&options, row, &words)?;
    warnings.extend(options.warnings.iter().cloned());
    let change = SourceChange::Change {
        settings: Box::new(settings(options, row, &words)?),
        position,
        name,
    };
    let changed = context.relay.changes.apply(change);
    let changed = changed.map_err(|error| words.refusal(error, Statement::Change))?;
    warnings.extend(changed.warnings);
    let warnings: Vec<_> = with_code(warnings).collect();
    Ok(Some(match warnings.is_empty() {
        true => Answer::Ok,
        false => Answer::Warned(warnings),
    }))
}

fn name(target: Target, rows: &[SourceRow], words: &SourceWords) -> Result<String, ServerError> {
    match (target, rows) {
        (Target::Named(name), _) if !name.is_empty() => match SourceConfig::is_name(&name) {
            true => Ok(name),
            false => Err(words.invalid_name()),
        },
        (Target::Named(_), _) if words.flavor() == Flavor::MySql => Err(words.no_such_channel("")),
        (_, [only]) => Ok(only.name.clone()),
        _ => Err(words.needs_name()),
    }
}

/// Refuses a new source without an address, and the address of another source.
fn check_address(
    name: &str,
    row: Option<&SourceRow>,
    rows: &[SourceRow],
    options: &Options,
    words: &SourceWords,
) -> Result<(), ServerError> {
    if row.is_none() && (options.host.is_none() || options.user.is_none()) {
        let source = words.source();
        return Err(words.wrong_arguments(&format!(
            "CHANGE: source {name} is new, so it needs {source}_HOST and {source}_USER"
        )));
    }
    let host = options.host.as_deref().or(row.map(|row| row.host.as_str()));
    let port = options.port.or(row.map(|row| row.port)).unwrap_or(3306);
    let has_address = |other: &&SourceRow| {
        !other.name.eq_ignore_ascii_case(name)
            && Some(other.host.as_str()) == host
            && other.port == port
    };
    match rows.iter().find(has_address) {
        Some(other) => Err(words.same_address(name, &other.name)),
        None => Ok(()),
    }
}

/// The position at which the source continues, and what is said about it.
fn position(
    options: &Options,
    row: Option<&SourceRow>,
    words: &SourceWords,
) -> Result<(Option<SourcePosition>, Vec<String>), ServerError> {
    let has_position = options.log_file.is_some() || options.log_pos.is_some();
    if has_position && options.by_gtid == Some(true) {
        if words.flavor() == Flavor::MySql {
            return Err(words.position_with_auto_position());
        }
        let warning = "the file and the position are not used with MASTER_USE_GTID".to_owned();
        return Ok((None, vec![warning]));
    }
    let offset = options.log_pos.unwrap_or(FIRST_EVENT).max(FIRST_EVENT);
    if let Some(file) = &options.log_file {
        return Ok((Some(SourcePosition::new(file.as_str(), offset)), Vec::new()));
    }
    if options.log_pos.is_none() {
        return Ok((None, Vec::new()));
    }
    // In the file up to which the source has been received, as on a server.
    let known = row.and_then(|row| row.position.as_ref());
    let known =
        known.ok_or_else(|| words.wrong_arguments(&format!("{}_LOG_POS", words.source())))?;
    let at = SourcePosition::new(known.file.clone(), offset);
    Ok((Some(at), Vec::new()))
}

fn settings(
    options: Options,
    row: Option<&SourceRow>,
    words: &SourceWords,
) -> Result<ChangedSettings, ServerError> {
    let tls = tls(&options, row, words)?;
    let heartbeats = options.heartbeat_period;
    let read_timeout = heartbeats.map(|period| {
        let timeout = period.saturating_mul(HEARTBEATS_PER_TIMEOUT);
        timeout.max(READ_TIMEOUT_MIN)
    });
    Ok(ChangedSettings {
        host: options.host,
        port: options.port,
        user: options.user,
        password: options.password,
        start: None,
        auto_position: options.by_gtid,
        connect_retry: options.connect_retry,
        read_timeout,
        get_source_public_key: options.get_public_key,
        source_public_key_file: options.public_key_path.map(Into::into),
        tls,
    })
}

/// The settings of TLS, if one of them changes. As on a server, a certificate authority makes it verify.
fn tls(
    options: &Options,
    row: Option<&SourceRow>,
    words: &SourceWords,
) -> Result<Option<ClientTls>, ServerError> {
    let is_changed = options.ssl.is_some() || options.ssl_verify.is_some();
    let files = [&options.ssl_ca, &options.ssl_cert, &options.ssl_key];
    if !is_changed && files.iter().all(|file| file.is_none()) {
        return Ok(None);
    }
    let old = row.map(|row| row.tls.clone()).unwrap_or_default();
    let file = |changed: &Option<String>, old: Option<std::path::PathBuf>| match changed {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(path.into()),
        None => old,
    };
    let mut tls = ClientTls {
        mode: old.mode,
        ca: file(&options.ssl_ca, old.ca),
        cert: file(&options.ssl_cert, old.cert),
        key: file(&options.ssl_key, old.key),
    };
    let verifies_name = options
        .ssl_verify
        .unwrap_or(old.mode == TlsMode::VerifyIdentity);
    let is_on = options.ssl.unwrap_or(old.mode != TlsMode::Disabled);
    tls.mode = match (is_on, verifies_name, tls.ca.is_some()) {
        (false, _, _) => TlsMode::Disabled,
        (true, true, true) => TlsMode::VerifyIdentity,
        (true, true, false) => {
            let option = format!("{}_SSL_CA", words.source());
            return Err(words.wrong_arguments(&option));
        }
        (true, false, true) => TlsMode::VerifyCa,
        (true, false, false) => TlsMode::Required,
    };
    if tls.cert.is_some() != tls.key.is_some() {
        let source = words.source();
        let options = format!("{source}_SSL_CERT and {source}_SSL_KEY");
        return Err(words.wrong_arguments(&options));
    }
    Ok(Some(tls))
}
