//! Answering the SQL statements of a session.

use super::state::Session;
use crate::connection::ConnectionError;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_UNKNOWN_ERROR;
use crate::protocol::handshake::SERVER_STATUS_AUTOCOMMIT;
use crate::protocol::response::{Column, OkPacket};
use crate::sender::answer::Answer;
use crate::sender::binlog_events::{self, EventListing};
use crate::sender::environment::SessionEnvironment;
use crate::sender::queries;
use crate::sender::statement_context::Caller;
use crate::sender::variables::RelayView;

impl Session {
    /// Answers COM_QUERY. Some answers read files, so they are made on a thread for blocking calls.
    pub(super) async fn query(&mut self, text: Vec<u8>) -> Result<(), ConnectionError> {
        let mut variables = std::mem::take(&mut self.variables);
        let environment = self.environment.clone();
        let (user, host) = (self.user.clone(), self.host.clone());
        let (privileges, connection_id) = (self.privileges, self.registration.client.id);
        let answered = tokio::task::spawn_blocking(move || {
            let text = String::from_utf8_lossy(&text);
            let relay = relay_view(&environment);
            let caller = Caller {
                replicas: &environment.replicas,
                connection_id,
                user: &user,
                host: &host,
                privileges,
            };
            let answer = queries::answer(&text, relay, &mut variables, caller);
            tracing::debug!(connection_id, %text, refused = answer.is_err(), "statement");
            (variables, answer)
        });
        let answer = match answered.await {
            Ok((variables, answer)) => {
                self.variables = variables;
                answer
            }
            Err(_) => Err(ServerError::new(
                ER_UNKNOWN_ERROR,
                "the statement could not be answered: internal error",
            )),
        };
        self.answer(answer).await
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
            Ok(Answer::Events(listing)) => return self.list_events(listing).await,
            Err(error) => patience.wait(self.connection.write_error(&error)).await,
        };
        self.written(outcome)
    }

    /// Sends the rows of SHOW BINLOG EVENTS; each batch is written before the next one is read.
    async fn list_events(&mut self, listing: EventListing) -> Result<(), ConnectionError> {
        let columns = binlog_events::COLUMNS.map(|(name, kind)| Column { name, kind });
        let _pin = (self.environment.log).pin(format!(
            "connection {} (SHOW BINLOG EVENTS)",
            self.registration.client.id
        ));
        let mut has_columns = false;
        let mut listing = Some(listing);
        while let Some(mut rest) = listing.take() {
            let log = self.environment.log.clone();
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

fn relay_view(environment: &SessionEnvironment) -> RelayView<'_> {
    RelayView {
        log: &environment.log,
        flavor: Flavor::of_version(environment.log.server_version()),
        server_id: environment.options.server_id,
        server_uuid: environment.options.server_uuid,
        write_timeout: environment.options.write_timeout,
    }
}
