//! The state of one client's session.

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::connection::{Connection, ConnectionError};
use crate::protocol::ServerError;
use crate::sender::environment::SessionEnvironment;
use crate::sender::login::{LoggedIn, Privileges};
use crate::sender::queries;
use crate::sender::replicas::{KillReason, Registration, killed};
use crate::sender::variables::SessionVariables;

/// Time limit of the last packet of a connection.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the session continues after a command.
pub(super) enum Flow {
    Continue,
    End,
}

/// One client's session.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) user: String,
    pub(super) host: String,
    pub(super) privileges: Privileges,
    pub(super) variables: SessionVariables,
    pub(super) registration: Registration,
    pub(super) environment: SessionEnvironment,
}

/// How long a session waits for a client that does not read: until a time limit, or until it is killed.
pub(super) struct Patience {
    limit: Duration,
    kill: watch::Receiver<Option<KillReason>>,
}

impl Patience {
    /// Waits for a write.
    ///
    /// # Errors
    /// The client was killed, or accepted nothing in time.
    pub(super) async fn wait<Written>(
        mut self,
        write: impl Future<Output = Written>,
    ) -> io::Result<Written> {
        tokio::select! {
            // A client that kills itself gets the answer.
            biased;
            written = timeout(self.limit, write) => {
                written.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer"))
            }
            () = killed(&mut self.kill) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was killed"))
            }
        }
    }
}

impl Session {
    /// The session of a client that has logged in; registers it.
    pub(super) fn new(
        client: LoggedIn,
        connection_id: u32,
        environment: SessionEnvironment,
    ) -> Self {
        let peer = client.connection.peer_addr();
        let registration = environment.replicas.register(
            connection_id,
            client.user.clone(),
            peer,
            client.connection.traffic().clone(),
            client.connection.encryption(),
        );
        let mut variables = SessionVariables::default();
        // Another name is accepted, too: clients of tools are configured with one, and select from no table of it.
        if let Some(name) = &client.database {
            let _ = queries::use_database(name, &mut variables);
        }
        Self {
            host: registration.client.host(),
            registration,
            connection: client.connection,
            user: client.user,
            privileges: client.privileges,
            variables,
            environment,
        }
    }

    /// How long the session waits for its client to accept an answer.
    pub(super) fn patience(&self) -> Patience {
        Patience {
            limit: self.environment.options.write_timeout,
            kill: self.registration.client.follow_kill(),
        }
    }

    /// The outcome of a write that had [`Patience`].
    pub(super) fn written(
        &self,
        outcome: io::Result<Result<(), ConnectionError>>,
    ) -> Result<(), ConnectionError> {
        outcome.unwrap_or_else(|cause| Err(self.connection.error(cause)))
    }

    /// Sends the final packet; the client may already be gone.
    pub(super) async fn send_final_error(&mut self, error: &ServerError) {
        let _ = timeout(FAREWELL_TIMEOUT, self.connection.write_error(error)).await;
    }
}
