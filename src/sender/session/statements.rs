//! Answering the SQL statements of a session.

use std::sync::Arc;

use super::state::Session;
use crate::connection::ConnectionError;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_UNKNOWN_ERROR;
use crate::protocol::handshake::SERVER_STATUS_AUTOCOMMIT;
use crate::protocol::response::{Column, OkPacket};
use crate::relay_log::RelayLog;
use crate::sender::answer::Answer;
use crate::sender::binlog_events::{self, EventListing};
use crate::sender::counters::Counters;
use crate::sender::environment::{SessionEnvironment, stopping};
use crate::sender::queries;
use crate::sender::relay_view::RelayView;
use crate::sender::replicas::killed;
use crate::sender::statement_context::Caller;
use crate::sender::value::Value;
use crate::sender::waits::{Wait, Waits};

/// The statement for the log, unless it may have a password.
fn loggable(text: &str) -> &str {
    let upper = text.to_ascii_uppercase();
    match upper.contains("PASSWORD") || upper.contains("IDENTIFIED") {
        true => "(a statement that names a password)",
        false => text,
    }
}

impl Session {
    /// Answers COM_QUERY. Some answers read files, so they are made on a thread for blocking calls.
    pub(super) async fn query(&mut self, text: Vec<u8>) -> Result<(), ConnectionError> {
        Counters::count(&self.environment.replicas.counters.questions);
        // It may be of 1 MiB, and wait for its turn: one copy of it.
        let text: Arc<str> = match String::from_utf8(text) {
            Ok(text) => text.into(),
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into(),
        };
        let mut waits = Waits::default();
        self.registration.client.set_executing(true);
        loop {
            let (answer, answered) = self.evaluate(text.clone(), waits).await;
            match answer {
                Ok(Answer::Wait(wait)) => {
                    let Some(value) = self.wait(&wait).await? else {
                        return Ok(());
                    };
                    waits = answered.with(value);
                }
                answer => {
                    // Before it is sent: who has received it may look.
                    self.registration.client.set_executing(false);
                    return self.answer(answer).await;
                }
            }
        }
    }

    /// Evaluates a statement; `waits` are the results of the waits that it has already asked for.
    async fn evaluate(
        &mut self,
        text: Arc<str>,
        waits: Waits,
    ) -> (Result<Answer, ServerError>, Waits) {
        let turns = self.environment.statement_turns.clone();
        let turn = turns.wait(self.privileges, &text).await;
        let mut variables = std::mem::take(&mut self.variables);
        let environment = self.environment.clone();
        let (user, host) = (self.user.clone(), self.host.clone());
        let (privileges, connection_id) = (self.privileges, self.registration.client.id);
        let answered = tokio::task::spawn_blocking(move || {
            let log = environment.log();
            let version = environment.version(log.as_deref());
            let relay = relay_view(&environment, log.as_deref(), &version);
            let caller = Caller {
                replicas: &environment.replicas,
                connection_id,
                user: &user,
                host: &host,
                privileges,
                waits: &waits,
                limits: environment.options.statement_limits,
            };
            let answer = queries::answer(&text, relay, &mut variables, caller);
            let text = loggable(&text);
            tracing::debug!(connection_id, text, refused = answer.is_err(), "statement");
            drop(turn);
            (variables, answer, waits)
        });
        match answered.await {
            Ok((variables, answer, answered)) => {
                self.variables = variables;
                (answer, answered)
            }
            Err(_) => {
                let error = ServerError::new(
                    ER_UNKNOWN_ERROR,
                    "the statement could not be answered: internal error",
                );
                (Err(error), Waits::default())
            }
        }
    }

    /// Waits; `None` when the session ends instead.
    async fn wait(&mut self, wait: &Wait) -> Result<Option<Value>, ConnectionError> {
        let mut kill = self.registration.client.follow_kill();
        let mut shutdown = self.environment.shutdown.clone();
        let log = self.environment.log();
        let waiting = wait.run(log.as_deref(), &self.environment.sources.rows);
        tokio::select! {
            value = waiting => Ok(Some(value)),
            () = killed(&mut kill) => Ok(None),
            () = stopping(&mut shutdown) => Ok(None),
            // Whatever the client sends now is kept, so this only ends the wait of a client that is gone.
            error = self.connection.wait_closed() => Err(error),
        }
    }

    /// Sends an answer or an error.
    pub(super) async fn answer(
        &mut self,
        answer: Result<Answer, ServerError>,
    ) -> Result<(), ConnectionError> {
        let patience = self.patience();
        let outcome = match answer {
            Ok(Answer::Ok) => {
                patience
                    .wait(self.connection.write_ok(&OkPacket::default()))
                    .await
            }
            Ok(Answer::Warned(warnings)) => {
                let ok = OkPacket {
                    warnings: warnings.len() as u16,
                    ..OkPacket::default()
                };
                patience.wait(self.connection.write_ok(&ok)).await
            }
            Ok(Answer::Rows { columns, rows }) => {
                let columns: Vec<Column<'_>> = columns
                    .iter()
                    .map(|(name, kind)| Column { name, kind: *kind })
                    .collect();
                let rows: Vec<Vec<Option<Vec<u8>>>> = rows
                    .into_iter()
                    .map(|row| row.into_iter().map(|v| v.map(String::into_bytes)).collect())
                    .collect();
                let write = self.connection.write_text_result(&columns, &rows);
                patience.wait(write).await
            }
            // Waits end before their statement is answered.
            Ok(Answer::Wait(_)) => Ok(Ok(())),
            Ok(Answer::Events(listing)) => return self.list_events(listing).await,
            Err(error) => patience.wait(self.connection.write_error(&error)).await,
        };
        self.written(outcome)
    }

    /// Sends the rows of SHOW BINLOG EVENTS; each batch is written before the next one is read.
    async fn list_events(&mut self, listing: EventListing) -> Result<(), ConnectionError> {
        let columns = binlog_events::COLUMNS.map(|(name, kind)| Column { name, kind });
        let id = self.registration.client.id;
        let reader = || format!("connection {id} (SHOW BINLOG EVENTS)");
        let _pin = self.environment.log().map(|log| log.pin(reader()));
        let mut has_columns = false;
        let mut listing = Some(listing);
        while let Some(mut rest) = listing.take() {
            let Some(log) = self.environment.log() else {
                return Ok(());
            };
            let made = tokio::task::spawn_blocking(move || {
                let rows = rest.next_rows(&log)?;
                Ok::<_, ServerError>(rows.map(|rows| (rest, rows)))
            });
            let failed = || {
                ServerError::new(
                    ER_UNKNOWN_ERROR,
                    "the statement could not be answered: internal error",
                )
            };
            let made = match made.await.unwrap_or_else(|_| Err(failed())) {
                Ok(made) => made,
                Err(error) => {
                    let outcome = self
                        .patience()
                        .wait(self.connection.write_error(&error))
                        .await;
                    return self.written(outcome);
                }
            };
            if !has_columns {
                self.connection.begin_text_result(&columns);
                has_columns = true;
            }
            if let Some((rest, rows)) = made {
                let patience = self.patience();
                let write = self.connection.write_rows(columns.len(), &rows);
                let outcome = patience.wait(write).await;
                self.written(outcome)?;
                listing = Some(rest);
            }
        }
        let patience = self.patience();
        let outcome = patience
            .wait(self.connection.write_eof(SERVER_STATUS_AUTOCOMMIT))
            .await;
        self.written(outcome)
    }
}

fn relay_view<'a>(
    environment: &'a SessionEnvironment,
    log: Option<&'a RelayLog>,
    version: &'a str,
) -> RelayView<'a> {
    RelayView {
        log,
        version,
        flavor: Flavor::of_version(version),
        host: &environment.options.host,
        sources: &environment.sources.rows,
        changes: &environment.sources.changes,
        server_id: environment.options.server_id,
        server_uuid: environment.options.server_uuid,
        replica_wait: environment.options.replica_wait,
        write_timeout: environment.options.write_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_logged() {
        for statement in [
            "change master to master_Password='secret'",
            "CREATE USER a IDENTIFIED BY 'secret'",
        ] {
            assert!(!loggable(statement).contains("secret"));
        }
        assert_eq!(loggable("SELECT 1"), "SELECT 1");
    }
}
