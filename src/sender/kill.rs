//! KILL, as a statement and as COM_PROCESS_KILL.

use super::answer::Answer;
use super::cursor::Cursor;
use super::login::Privileges;
use super::replicas::Replicas;
use super::sql::Token;
use super::sql_errors::no_such_thread;
use super::statement_context::Caller;
use crate::protocol::ServerError;

/// "You are not owner of thread".
const ER_KILL_DENIED_ERROR: u16 = 1095;

/// `KILL [CONNECTION | QUERY | SOFT | HARD] id`: the client's own connections, as replicas do on
/// STOP REPLICA; any connection with "admin". `None` for any other form.
///
/// # Errors
/// There is no such connection, or it belongs to another account.
pub fn kill(mut cursor: Cursor<'_>, caller: &Caller<'_>) -> Result<Option<Answer>, ServerError> {
    while ["HARD", "SOFT", "CONNECTION", "QUERY"]
        .iter()
        .any(|word| cursor.eat(word))
    {}
    let Some(Token::Number(number)) = cursor.next() else {
        return Ok(None);
    };
    let Ok(id) = number.parse() else {
        return Err(no_such_thread(number));
    };
    if !cursor.is_done() {
        return Ok(None);
    }
    kill_client(id, caller.replicas, caller.user, caller.privileges)?;
    Ok(Some(Answer::Ok))
}

/// Ends a client's connection.
///
/// # Errors
/// There is no such connection, or it belongs to another account.
pub fn kill_client(
    id: u32,
    replicas: &Replicas,
    user: &str,
    privileges: Privileges,
) -> Result<(), ServerError> {
    let clients = replicas.clients();
    let Some(client) = clients.iter().find(|client| client.id == id) else {
        return Err(no_such_thread(&id.to_string()));
    };
    if client.user != user && !privileges.admin {
        let text = format!("You are not owner of thread {id}");
        return Err(ServerError::new(ER_KILL_DENIED_ERROR, text));
    }
    replicas.kill(id);
    Ok(())
}
