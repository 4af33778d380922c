//! SHOW GRANTS: the privileges of an account, as a server with this flavor and version would show them.

use super::answer::Answer;
use super::statement_context::StatementContext;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::response::ColumnKind;

/// The answer to `SHOW GRANTS [FOR CURRENT_USER[()]]`.
pub fn show(context: &StatementContext<'_>) -> Answer {
    let numbers = version_numbers(context.relay.version);
    let quote = match (context.relay.flavor, numbers) {
        (Flavor::MySql, numbers) if numbers < (8, 0, 0) => '\'',
        (Flavor::MariaDb, numbers) if numbers < (10, 2, 3) => '\'',
        _ => '`',
    };
    let user = context.caller.user;
    let quoted = user.replace(quote, &format!("{quote}{quote}"));
    let account = format!("{quote}{quoted}{quote}@{quote}%{quote}");
    let names = names(context, numbers).join(", ");
    let column = format!("Grants for {user}@%");
    let row = vec![Some(format!("GRANT {names} ON *.* TO {account}"))];
    Answer::rows(&[(&column, ColumnKind::Text)], vec![row])
}

/// In the order in which servers list them.
fn names(context: &StatementContext<'_>, numbers: (u32, u32, u32)) -> Vec<&'static str> {
    let privileges = context.caller.privileges;
    // MariaDB 10.5 has split REPLICATION CLIENT.
    let is_split = context.relay.flavor == Flavor::MariaDb && numbers >= (10, 5, 0);
    let mut names = Vec::new();
    if privileges.sees_status() {
        names.push("PROCESS");
    }
    if privileges.admin {
        names.push("SUPER");
    }
    if privileges.replication {
        names.push("REPLICATION SLAVE");
    }
    if privileges.sees_status() {
        names.push(match is_split {
            true => "BINLOG MONITOR",
            false => "REPLICATION CLIENT",
        });
        if is_split {
            names.push("SLAVE MONITOR");
        }
    }
    if names.is_empty() {
        names.push("USAGE");
    }
    names
}
