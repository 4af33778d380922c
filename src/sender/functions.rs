//! The functions of expressions.

use std::time::Duration;

use super::budget::Budget;
use super::replicas::now_seconds;
use super::source_rows::SourceRow;
use super::sql_errors::{malformed_gtid_set, no_such_function, shortened};
use super::statement_context::StatementContext;
use super::value::Value;
use super::waits::{Condition, Wait};
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::gtid::GtidSet;
use crate::position::SourcePosition;
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_NOT_SUPPORTED_YET;
use crate::relay_log::{bridge, coordinates};

/// "Multiple channels exist on the slave. Please provide channel name as an argument."
const ER_SLAVE_MULTIPLE_CHANNELS_CMD: u16 = 3079;
/// "Incorrect arguments".
const ER_WRONG_ARGUMENTS: u16 = 1210;

type Outcome = Result<Value, ServerError>;

/// Calls a function.
///
/// # Errors
/// It does not exist, or its arguments are wrong.
pub fn call(
    context: &StatementContext<'_>,
    name: &str,
    arguments: Vec<Value>,
    budget: &mut Budget,
) -> Outcome {
    let relay = &context.relay;
    let upper = name.to_ascii_uppercase();
    Ok(match (upper.as_str(), arguments.as_slice()) {
        ("UNIX_TIMESTAMP", []) => Value::Number(now_seconds().to_string()),
        ("UNIX_TIMESTAMP", [time]) => unix_timestamp(time),
        ("NOW" | "CURRENT_TIMESTAMP" | "UTC_TIMESTAMP" | "SYSDATE", []) => now(0),
        ("NOW" | "CURRENT_TIMESTAMP" | "UTC_TIMESTAMP" | "SYSDATE", [digits]) => {
            let digits = digits.as_text().and_then(|text| text.parse().ok());
            now(digits
                .filter(|digits| *digits <= 6)
                .ok_or_else(|| wrong_arguments(name))?)
        }
        ("VERSION", []) => Value::Text(relay.version.to_owned()),
        ("DATABASE" | "SCHEMA", []) => context
            .variables
            .database
            .map_or(Value::Null, |name| Value::Text(name.to_owned())),
        ("CONNECTION_ID", []) => Value::Number(context.caller.connection_id.to_string()),
        ("USER" | "SESSION_USER" | "SYSTEM_USER", []) => {
            Value::Text(format!("{}@{}", context.caller.user, context.caller.host))
        }
        ("CURRENT_USER", []) => Value::Text(format!("{}@%", context.caller.user)),
        ("COALESCE" | "IFNULL", [_, ..]) if upper == "COALESCE" || arguments.len() == 2 => {
            let mut values = arguments.into_iter();
            values
                .find(|value| *value != Value::Null)
                .unwrap_or(Value::Null)
        }
        ("CONCAT", [_, ..]) => concat(&arguments),
        ("SUBSTRING_INDEX", [text, delimiter, count]) => substring_index(text, delimiter, count),
        // There are no such locks.
        ("IS_USED_LOCK", [_]) => Value::Null,
        ("IS_FREE_LOCK", [_]) => Value::Number("1".to_owned()),
        ("BINLOG_GTID_POS", [file, position]) if relay.flavor == Flavor::MariaDb => {
            budget.look_up()?;
            binlog_gtid_pos(context, file, position)?
        }
        _ if is_gtid_function(context, &upper) => gtid_function(context, &upper, &arguments)?,
        ("BINLOG_GTID_POS" | "UNIX_TIMESTAMP" | "NOW", _) => {
            let name = shortened(name);
            let text = format!("binrelay does not support {name} with these arguments");
            return Err(ServerError::new(ER_NOT_SUPPORTED_YET, text));
        }
        _ => return Err(no_such_function(name)),
    })
}

fn wrong_arguments(name: &str) -> ServerError {
    let text = format!("Incorrect arguments to {}", shortened(name));
    ServerError::new(ER_WRONG_ARGUMENTS, text)
}

/// The current time. In UTC, as all times that the relay reports.
fn now(digits: u8) -> Value {
    let now = jiff::Timestamp::now();
    let mut text = now.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
    let fraction = match digits {
        0 => 0,
        digits => usize::from(digits) + 1,
    };
    text.truncate(text.len() - ".000000".len() + fraction);
    Value::Time(text)
}

/// Of a time in UTC. As on servers, 0 if it is none.
fn unix_timestamp(time: &Value) -> Value {
    let Some(text) = time.as_text() else {
        return Value::Null;
    };
    let zoned = |time: jiff::civil::DateTime| time.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let Some(time) = text.parse().ok().and_then(zoned) else {
        return Value::Number("0".to_owned());
    };
    let seconds = time.timestamp().as_second().max(0);
    Value::Number(match text.split_once('.') {
        Some((_, fraction)) => format!("{seconds}.{fraction}"),
        None => seconds.to_string(),
    })
}

fn concat(arguments: &[Value]) -> Value {
    let texts: Option<Vec<&str>> = arguments.iter().map(Value::as_text).collect();
    texts.map_or(Value::Null, |texts| Value::Text(texts.concat()))
}

/// The text before the `count`-th delimiter, from the end if negative.
fn substring_index(text: &Value, delimiter: &Value, count: &Value) -> Value {
    let texts = text.as_text().zip(delimiter.as_text());
    let Some(((text, delimiter), count)) = texts.zip(count.as_text()) else {
        return Value::Null;
    };
    let count: i64 = count.parse().unwrap_or(0);
    let number = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if number == 0 || delimiter.is_empty() {
        return Value::Text(String::new());
    }
    let part = match count > 0 {
        true => text
            .match_indices(delimiter)
            .nth(number - 1)
            .and_then(|(at, _)| text.get(..at)),
        false => text
            .rmatch_indices(delimiter)
            .nth(number - 1)
            .and_then(|(at, _)| text.get(at + delimiter.len()..)),
    };
    Value::Text(part.unwrap_or(text).to_owned())
}

/// NULL unless the answer is certain: the replica adopts it as its own position.
fn binlog_gtid_pos(context: &StatementContext<'_>, file: &Value, position: &Value) -> Outcome {
    let log = context.relay.log()?;
    let file = file.as_text().unwrap_or_default();
    let position = position.as_text().and_then(|text| text.parse().ok());
    let Some(position) = position else {
        return Ok(Value::Null);
    };
    let found = match coordinates::file_by_name(log, file.as_bytes()) {
        Some(file) => coordinates::gtid_position_at(log, file, position),
        None => bridge::named(log.log_dir(), file.as_bytes()).and_then(|found| match found {
            Some(found) => bridge::gtid_position_at(log.log_dir(), found, position),
            None => Ok(None),
        }),
    };
    Ok(match found {
        Ok(Some(position)) => Value::Text(position.to_string()),
        Ok(None) => Value::Null,
        Err(error) => {
            tracing::warn!(%error, "binlog_gtid_pos failed");
            Value::Null
        }
    })
}

/// Whether servers of this flavor and version have the function.
fn is_gtid_function(context: &StatementContext<'_>, name: &str) -> bool {
    let is_mysql = context.relay.flavor == Flavor::MySql;
    let numbers = version_numbers(context.relay.version);
    match name {
        "MASTER_POS_WAIT" => true,
        "SOURCE_POS_WAIT" => is_mysql && numbers >= (8, 0, 26),
        "GTID_SUBTRACT" | "GTID_SUBSET" => is_mysql && numbers >= (5, 6, 5),
        // The manual of 8.4 lists it among what was removed since 8.0.
        "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS" => {
            is_mysql && ((5, 6, 5)..(8, 4, 0)).contains(&numbers)
        }
        "WAIT_FOR_EXECUTED_GTID_SET" => is_mysql && numbers >= (5, 7, 5),
        "MASTER_GTID_WAIT" => !is_mysql,
        _ => false,
    }
}

fn gtid_function(context: &StatementContext<'_>, name: &str, arguments: &[Value]) -> Outcome {
    let limit = |of: usize| -> Result<Option<Duration>, ServerError> {
        let seconds = arguments.get(of).and_then(Value::as_text);
        let seconds: Option<f64> = seconds.and_then(|text| text.parse().ok());
        match seconds.map(Duration::try_from_secs_f64) {
            Some(Err(_)) => Err(wrong_arguments(name)),
            Some(Ok(limit)) => Ok(Some(limit)),
            None => Ok(None),
        }
    };
    match (name, arguments) {
        ("GTID_SUBTRACT", [set, other]) => Ok(match sets(set, other)? {
            Some((mut set, other)) => {
                set.subtract(&other);
                Value::Text(set.to_mysql_string())
            }
            None => Value::Null,
        }),
        ("GTID_SUBSET", [set, other]) => Ok(match sets(set, other)? {
            Some((set, other)) => Value::Number(u8::from(set.is_subset_of(&other)).to_string()),
            None => Value::Null,
        }),
        ("WAIT_FOR_EXECUTED_GTID_SET", [set] | [set, _]) => {
            wait_for_set(context, set, limit(1)?, "1")
        }
        // 0 means without a limit here.
        ("WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS", [set] | [set, _] | [set, _, _]) => {
            let limit = limit(1)?.filter(|limit| !limit.is_zero());
            wait_for_set(context, set, limit, "-1")
        }
        ("MASTER_GTID_WAIT", [position] | [position, _]) => {
            let Some(text) = position.as_text() else {
                return Ok(Value::Null);
            };
            let position = text.parse().map_err(|_| malformed_gtid_set(text))?;
            let timeout = limit(1)?;
            context.caller.waits.result(|| Wait {
                condition: Condition::GtidPosition(position),
                timeout,
                timed_out: Value::Number("-1".to_owned()),
            })
        }
        (
            "MASTER_POS_WAIT" | "SOURCE_POS_WAIT",
            [file, position] | [file, position, _] | [file, position, _, _],
        ) => {
            let timeout = limit(2)?.filter(|limit| !limit.is_zero());
            let position = position.as_text().and_then(|text| text.parse().ok());
            let (Some(file), Some(position)) = (file.as_text(), position) else {
                return Ok(Value::Null);
            };
            let position = SourcePosition::new(file, position);
            wait_for_position(context, position, timeout, arguments.get(3))
        }
        _ => Err(wrong_arguments(name)),
    }
}

/// The longest GTID set that is waited for, in bytes: it is compared with the log's again and again.
const AWAITED_SET_LENGTH_MAX: usize = 64 << 10;

fn sets(first: &Value, second: &Value) -> Result<Option<(GtidSet, GtidSet)>, ServerError> {
    let parse = |text: &str| {
        text.parse::<GtidSet>()
            .map_err(|_| malformed_gtid_set(text))
    };
    match first.as_text().zip(second.as_text()) {
        Some((first, second)) => Ok(Some((parse(first)?, parse(second)?))),
        None => Ok(None),
    }
}

fn wait_for_set(
    context: &StatementContext<'_>,
    set: &Value,
    timeout: Option<Duration>,
    timed_out: &str,
) -> Outcome {
    if set.byte_len() > AWAITED_SET_LENGTH_MAX {
        let text = format!("binrelay waits for GTID sets of up to {AWAITED_SET_LENGTH_MAX} bytes");
        return Err(ServerError::new(ER_NOT_SUPPORTED_YET, text));
    }
    let Some((set, _)) = sets(set, &Value::Text(String::new()))? else {
        return Ok(Value::Null);
    };
    context.caller.waits.result(|| Wait {
        condition: Condition::GtidSet(set),
        timeout,
        timed_out: Value::Number(timed_out.to_owned()),
    })
}

/// Without a channel: that of the only source.
fn wait_for_position(
    context: &StatementContext<'_>,
    position: SourcePosition,
    timeout: Option<Duration>,
    channel: Option<&Value>,
) -> Outcome {
    let rows = context.relay.sources.read();
    let name = channel.and_then(Value::as_text).unwrap_or_default();
    let found: Option<&SourceRow> = match (name, rows.as_slice()) {
        ("", [only]) => Some(only),
        ("", _) if context.relay.flavor == Flavor::MySql => {
            let text =
                "Multiple channels exist on the slave. Please provide channel name as an argument.";
            return Err(ServerError::new(ER_SLAVE_MULTIPLE_CHANNELS_CMD, text));
        }
        _ => rows.iter().find(|row| row.name.eq_ignore_ascii_case(name)),
    };
    // As on a server that is not a replica.
    let Some(row) = found.filter(|_| !position.is_unknown()) else {
        return Ok(Value::Null);
    };
    let condition = Condition::SourcePosition(row.name.clone(), position);
    context.caller.waits.result(|| Wait {
        condition,
        timeout,
        timed_out: Value::Number("-1".to_owned()),
    })
}
