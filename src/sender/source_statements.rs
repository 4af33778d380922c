//! START, STOP and RESET of sources, in the forms of both flavors; CHANGE is in `change_statement`.
//!
//! A source is a *channel* of MySQL, a *connection* of MariaDB. Without a name, a statement is about all sources on
//! MySQL; on MariaDB about the one without a name, which is here the only source.

use super::answer::Answer;
use super::cursor::Cursor;
use super::source_changes::{ChangedSources, SourceChange};
use super::source_errors::{SourceWords, Statement};
use super::sql::Token;
use super::sql_errors::syntax_error;
use super::statement_context::StatementContext;
use super::variables::Warning;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::{ER_NOT_SUPPORTED_YET, ER_UNKNOWN_ERROR};

/// The sources that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one with this name.
    Named(String),
    /// No name is given.
    Unnamed,
    /// MariaDB: ALL SLAVES.
    All,
}

/// Answers the rest of a statement that began with `verb`; `None` if it is not about sources.
///
/// # Errors
/// Those of real servers.
pub fn answer(
    verb: &str,
    text: &str,
    mut cursor: Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let statement = match verb {
        "START" => Statement::Start,
        "STOP" => Statement::Stop,
        "RESET" => Statement::Reset,
        _ => return Ok(None),
    };
    let Some(target) = target(&mut cursor, context.relay.flavor, statement)? else {
        return Ok(None);
    };
    let words = SourceWords::of(context);
    let (target, is_all) = match statement {
        Statement::Reset => {
            let is_all = cursor.eat("ALL");
            (for_channel(&mut cursor, target)?, is_all)
        }
        _ => {
            threads(&mut cursor)?;
            (for_channel(&mut cursor, target)?, false)
        }
    };
    if let Some(span) = cursor.peek() {
        if ["UNTIL", "USER", "PASSWORD", "DEFAULT_AUTH", "PLUGIN_DIR"]
            .iter()
            .any(|word| span.token.is(word))
        {
            return Err(unsupported("UNTIL, USER and PASSWORD in START"));
        }
        return Err(syntax_error(
            context.relay.flavor,
            text.get(span.start..).unwrap_or_default(),
        ));
    }
    words.check_privilege(statement, context)?;
    let is_every = target == Target::All;
    let names = names(target, context, &words)?;
    let change = match statement {
        Statement::Start => SourceChange::Start(names),
        Statement::Stop => SourceChange::Stop(names),
        _ if is_all => SourceChange::Remove(names),
        _ => SourceChange::Forget(names),
    };
    let changed = context.relay.changes.apply(change);
    let changed = changed.map_err(|error| words.refusal(error, statement))?;
    Ok(Some(answer_of(&words, statement, is_every, changed)))
}

/// `{SLAVE | REPLICA} ['name']` or `ALL {SLAVES | REPLICAS}`.
fn target(
    cursor: &mut Cursor<'_>,
    flavor: Flavor,
    statement: Statement,
) -> Result<Option<Target>, ServerError> {
    let is_mariadb = flavor == Flavor::MariaDb;
    if is_mariadb && statement != Statement::Reset && cursor.eat("ALL") {
        let is_known = cursor.eat("SLAVES") || cursor.eat("REPLICAS");
        return Ok(is_known.then_some(Target::All));
    }
    if !cursor.eat("SLAVE") && !cursor.eat("REPLICA") {
        return Ok(None);
    }
    Ok(Some(match connection_name(cursor, is_mariadb) {
        Some(name) => Target::Named(name),
        None => Target::Unnamed,
    }))
}

/// MariaDB: the name of a connection, as a text.
pub(super) fn connection_name(cursor: &mut Cursor<'_>, is_mariadb: bool) -> Option<String> {
    let name = match cursor.peek().map(|span| &span.token) {
        Some(Token::Text(name)) if is_mariadb => Some(name.clone()),
        _ => None,
    };
    cursor.next_if(name.is_some());
    name
}

/// `FOR CHANNEL 'name'`, where no name was given before.
pub(super) fn for_channel(cursor: &mut Cursor<'_>, target: Target) -> Result<Target, ServerError> {
    if target != Target::Unnamed || !cursor.eat_words(&["FOR", "CHANNEL"]) {
        return Ok(target);
    }
    match cursor.next() {
        Some(Token::Text(name) | Token::Word(name)) => Ok(Target::Named(name.clone())),
        _ => Err(unsupported("FOR CHANNEL without a name")),
    }
}

/// `IO_THREAD` and `SQL_THREAD`. A relay has no SQL thread of its own: what arrives is in its log.
fn threads(cursor: &mut Cursor<'_>) -> Result<(), ServerError> {
    let (mut receives, mut applies) = (false, false);
    loop {
        if cursor.eat("IO_THREAD") || cursor.eat("RELAY_THREAD") {
            receives = true;
        } else if cursor.eat("SQL_THREAD") {
            applies = true;
        } else {
            break;
        }
        if !cursor.eat_symbol(',') {
            break;
        }
    }
    match applies && !receives {
        true => Err(unsupported(
            "SQL_THREAD without IO_THREAD: a relay has no applier",
        )),
        false => Ok(()),
    }
}

pub(super) fn unsupported(what: &str) -> ServerError {
    ServerError::new(
        ER_NOT_SUPPORTED_YET,
        format!("This is binrelay, a binlog relay, which does not support {what}"),
    )
}

fn names(
    target: Target,
    context: &StatementContext<'_>,
    words: &SourceWords,
) -> Result<Vec<String>, ServerError> {
    let rows = context.relay.sources.read();
    let all = || rows.iter().map(|row| row.name.clone()).collect();
    match target {
        Target::All => Ok(all()),
        Target::Named(name) if !name.is_empty() => Ok(vec![name]),
        // MySQL's default channel, which does not exist here. Only without FOR CHANNEL are all sources meant.
        Target::Named(_) if words.flavor() == Flavor::MySql => Err(words.no_such_channel("")),
        _ if words.flavor() == Flavor::MySql || rows.len() == 1 => Ok(all()),
        _ => Err(words.no_such_channel("")),
    }
}

fn answer_of(
    words: &SourceWords,
    statement: Statement,
    is_every: bool,
    changed: ChangedSources,
) -> Answer {
    let mut warnings: Vec<Warning> = Vec::new();
    if is_every {
        let names = changed.changed.iter();
        warnings.extend(names.map(|name| words.was_changed(statement, name)));
    } else if matches!(statement, Statement::Start | Statement::Stop) {
        let names = changed.unchanged.iter();
        warnings.extend(names.map(|name| words.was_so(statement, name)));
    }
    warnings.extend(with_code(changed.warnings));
    match warnings.is_empty() {
        true => Answer::Ok,
        false => Answer::Warned(warnings),
    }
}

/// Warnings of binrelay itself.
pub(super) fn with_code(texts: Vec<String>) -> impl Iterator<Item = Warning> {
    texts.into_iter().map(|message| Warning {
        code: ER_UNKNOWN_ERROR,
        message,
    })
}
