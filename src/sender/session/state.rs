//! The state of one client's session.

use std::time::Duration;

use tokio::time::timeout;

use crate::connection::Connection;
use crate::protocol::ServerError;
use crate::sender::environment::SessionEnvironment;
use crate::sender::login::{LoggedIn, Privileges};
use crate::sender::replicas::Registration;
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

impl Session {
    /// The session of a client that has logged in; registers it.
    pub(super) fn new(
        client: LoggedIn,
        connection_id: u32,
        environment: SessionEnvironment,
    ) -> Self {
        let peer = client.connection.peer_addr();
        let registration = environment
            .replicas
            .register(connection_id, client.user.clone(), peer);
        Self {
            host: registration.client.host(),
            registration,
            connection: client.connection,
            user: client.user,
            privileges: client.privileges,
            variables: SessionVariables::default(),
            environment,
        }
    }

    /// Sends the final packet; the client may already be gone.
    pub(super) async fn farewell(&mut self, error: &ServerError) {
        let _ = timeout(FAREWELL_TIMEOUT, self.connection.write_error(error)).await;
    }
}
