//! One client from its login to its end: commands come in, answers and dumps go out.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::binlog_events::{self, EventListing};
use super::dump_request::{DumpRequest, find_start};
use super::login::{self, LoggedIn, LoginOptions, Privileges};
use super::queries::{self, Answer, Caller, missing_privilege};
use super::replicas::{Registration, Replica, Replicas, killed};
use super::stream::{self, DumpContext, DumpEnd};
use super::variables::{ServerFacts, SessionVariables};
use super::{SenderOptions, greeting_version, stopping};
use crate::binlog::format_description::version_numbers;
use crate::connection::{Connection, ConnectionError, Phase};
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::protocol::auth::AuthPlugin;
use crate::protocol::command::{Command, RegisterReplica};
use crate::protocol::error_code::*;
use crate::protocol::handshake::SERVER_STATUS_AUTOCOMMIT;
use crate::protocol::response::{Column, OkPacket};
use crate::protocol::{InvalidMessage, ServerError};
use crate::relay_log::RelayLog;

/// The largest command of clients that may not dump.
const COMMAND_LENGTH_MAX: usize = 1 << 20;
/// The largest command of replicas: a GTID set with many gaps is long.
const REPLICA_COMMAND_LENGTH_MAX: usize = 16 << 20;
/// A connection without a command for so long is closed, as with wait_timeout.
const IDLE_TIMEOUT: Duration = Duration::from_secs(28_800);
/// Time limit of a login, as `connect_timeout` has it.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time given to the last packet of a connection.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// The text of a `report_host` is cut to this.
const REPORT_HOST_LENGTH_MAX: usize = 255;
/// "This command is not supported in the prepared statement protocol yet".
const ER_UNSUPPORTED_PS: u16 = 1295;

/// What all sessions share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub options: Arc<SenderOptions>,
    pub log: Arc<RelayLog>,
    pub replicas: Arc<Replicas>,
    pub shutdown: watch::Receiver<bool>,
}

/// Whether the session goes on.
enum Flow {
    Continue,
    End,
}

/// Serves a client until it goes.
pub(super) async fn serve(tcp: TcpStream, connection_id: u32, shared: Shared) {
    crate::fault::inject("session");
    let options = login_options(&shared);
    let mut shutdown = shared.shutdown.clone();
    let logged_in = tokio::select! {
        outcome = login::login(tcp, connection_id, &options) => outcome,
        () = stopping(&mut shutdown) => return,
    };
    drop(options);
    let client = match logged_in {
        Ok(client) => client,
        Err(error) => {
            tracing::warn!(connection_id, %error, "a client did not log in");
            return;
        }
    };
    let peer = client.connection.peer_name().to_owned();
    tracing::info!(
        connection_id,
        peer,
        user = client.user,
        "a client has logged in"
    );
    let mut session = Session::new(client, connection_id, shared);
    match session.run().await {
        Ok(()) => tracing::info!(connection_id, peer, "a client has gone"),
        Err(error) => tracing::info!(connection_id, %error, "a client has gone"),
    }
}

fn login_options(shared: &Shared) -> LoginOptions {
    let version = shared.log.server_version();
    let is_new = version_numbers(version) >= (8, 0, 4);
    LoginOptions {
        server_version: greeting_version(version),
        default_plugin: match Flavor::of_version(version) {
            Flavor::MySql if is_new => AuthPlugin::CachingSha2,
            _ => AuthPlugin::Native,
        },
        accounts: shared.options.accounts.clone(),
        tls: Some(shared.options.tls.clone()),
        require_tls: shared.options.require_tls,
        timeout: LOGIN_TIMEOUT,
    }
}

struct Session {
    connection: Connection,
    user: String,
    host: String,
    privileges: Privileges,
    variables: SessionVariables,
    registration: Registration,
    shared: Shared,
}

impl Session {
    fn new(client: LoggedIn, connection_id: u32, shared: Shared) -> Self {
        let peer = client.connection.peer_addr();
        let registration = shared
            .replicas
            .register(connection_id, client.user.clone(), peer);
        Self {
            host: registration.client.host(),
            registration,
            connection: client.connection,
            user: client.user,
            privileges: client.privileges,
            variables: SessionVariables::default(),
            shared,
        }
    }

    async fn run(&mut self) -> Result<(), ConnectionError> {
        let limit = if self.privileges.replication {
            REPLICA_COMMAND_LENGTH_MAX
        } else {
            COMMAND_LENGTH_MAX
        };
        let mut kill = self.registration.client.follow_kill();
        let mut shutdown = self.shared.shutdown.clone();
        loop {
            self.connection.set_phase(Phase::Query);
            let command = tokio::select! {
                command = timeout(IDLE_TIMEOUT, self.connection.read_command(limit)) => {
                    match command {
                        Ok(command) => command?,
                        Err(_) => return Ok(()),
                    }
                }
                () = killed(&mut kill) => return Ok(()),
                () = stopping(&mut shutdown) => {
                    let text = "Server shutdown in progress";
                    self.farewell(&ServerError::new(ER_SERVER_SHUTDOWN, text)).await;
                    return Ok(());
                }
            };
            if let Flow::End = self.command(&command).await? {
                return Ok(());
            }
        }
    }

    async fn command(&mut self, payload: &[u8]) -> Result<Flow, ConnectionError> {
        let command = match Command::parse(payload) {
            Ok(command) => command,
            Err(error) => return self.malformed(&error).await,
        };
        match command {
            Command::Quit => return Ok(Flow::End),
            Command::Query(text) => self.query(text.to_vec()).await?,
            Command::Ping => self.connection.write_ok(&OkPacket::default()).await?,
            Command::ResetConnection => {
                self.variables.clear();
                self.connection.write_ok(&OkPacket::default()).await?;
            }
            Command::SetOption(_) => self.connection.write_eof(SERVER_STATUS_AUTOCOMMIT).await?,
            Command::Statistics => {
                let uptime = self.shared.replicas.uptime_seconds();
                let text = format!("Uptime: {uptime}  Threads: 1  Questions: 0");
                self.connection.write_packet(text.as_bytes()).await?;
                self.connection.flush().await?;
            }
            Command::ProcessKill(id) => {
                let outcome =
                    queries::kill_client(id, &self.shared.replicas, &self.user, self.privileges);
                self.answer(outcome.map(|()| Answer::Ok)).await?;
            }
            Command::InitDb(name) => {
                let name: String = String::from_utf8_lossy(name).chars().take(64).collect();
                let text = format!("Unknown database '{name}'");
                let error = ServerError::new(ER_BAD_DB_ERROR, text);
                self.connection.write_error(&error).await?;
            }
            Command::RegisterReplica(replica) => self.register(&replica).await?,
            Command::BinlogDump(dump) => return self.dump(dump.into()).await,
            Command::BinlogDumpGtid(dump) => return self.dump(dump.into()).await,
            Command::StmtPrepare => {
                let text = "This command is not supported in the prepared statement protocol yet";
                let error = ServerError::new(ER_UNSUPPORTED_PS, text);
                self.connection.write_error(&error).await?;
            }
            Command::ChangeUser | Command::Unknown(_) => {
                let error = ServerError::new(ER_UNKNOWN_COM_ERROR, "Unknown command");
                self.connection.write_error(&error).await?;
            }
        }
        Ok(Flow::Continue)
    }

    async fn malformed(&mut self, error: &InvalidMessage) -> Result<Flow, ConnectionError> {
        tracing::warn!(peer = self.connection.peer_name(), %error, "a command was not understood");
        let error = ServerError::new(1835, "Malformed communication packet.");
        self.connection.write_error(&error).await?;
        Ok(Flow::Continue)
    }

    /// Some answers need files: they are made where blocking is allowed.
    async fn query(&mut self, text: Vec<u8>) -> Result<(), ConnectionError> {
        let mut variables = std::mem::take(&mut self.variables);
        let shared = self.shared.clone();
        let (user, host) = (self.user.clone(), self.host.clone());
        let (privileges, connection_id) = (self.privileges, self.registration.client.id);
        let answered = tokio::task::spawn_blocking(move || {
            let text = String::from_utf8_lossy(&text);
            let facts = facts(&shared);
            let caller = Caller {
                replicas: &shared.replicas,
                connection_id,
                user: &user,
                host: &host,
                privileges,
            };
            let answer = queries::answer(&text, facts, &mut variables, &caller);
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
                "the answer could not be made",
            )),
        };
        self.answer(answer).await
    }

    async fn answer(&mut self, answer: Result<Answer, ServerError>) -> Result<(), ConnectionError> {
        match answer {
            Ok(Answer::Ok) => self.connection.write_ok(&OkPacket::default()).await,
            Ok(Answer::Rows { columns, rows }) => {
                let columns: Vec<Column<'_>> = columns
                    .iter()
                    .map(|(name, kind)| Column { name, kind: *kind })
                    .collect();
                let rows: Vec<Vec<Option<Vec<u8>>>> = rows
                    .into_iter()
                    .map(|row| row.into_iter().map(|v| v.map(String::into_bytes)).collect())
                    .collect();
                self.connection.write_text_result(&columns, &rows).await
            }
            Ok(Answer::Events(listing)) => self.list_events(listing).await,
            Err(error) => self.connection.write_error(&error).await,
        }
    }

    /// The rows of SHOW BINLOG EVENTS, each batch written before the next is made.
    async fn list_events(&mut self, listing: EventListing) -> Result<(), ConnectionError> {
        let columns = binlog_events::COLUMNS.map(|(name, kind)| Column { name, kind });
        let mut is_begun = false;
        let mut listing = Some(listing);
        while let Some(mut rest) = listing.take() {
            let log = self.shared.log.clone();
            let made = tokio::task::spawn_blocking(move || {
                let rows = rest.next_rows(&log)?;
                Ok::<_, ServerError>(rows.map(|rows| (rest, rows)))
            });
            let failed = || ServerError::new(ER_UNKNOWN_ERROR, "the answer could not be made");
            let made = match made.await.unwrap_or_else(|_| Err(failed())) {
                Ok(made) => made,
                Err(error) => return self.connection.write_error(&error).await,
            };
            if !is_begun {
                self.connection.begin_text_result(&columns);
                is_begun = true;
            }
            if let Some((rest, rows)) = made {
                let limit = self.shared.options.write_timeout;
                let write = self.connection.write_rows(columns.len(), &rows);
                match timeout(limit, write).await {
                    Ok(written) => written?,
                    Err(_) => {
                        let cause = std::io::Error::from(std::io::ErrorKind::TimedOut);
                        return Err(self.connection.error(cause));
                    }
                }
                listing = Some(rest);
            }
        }
        self.connection.write_eof(SERVER_STATUS_AUTOCOMMIT).await
    }

    /// COM_REGISTER_SLAVE.
    async fn register(&mut self, replica: &RegisterReplica<'_>) -> Result<(), ConnectionError> {
        if !self.privileges.replication {
            let text = format!(
                "Access denied for user '{}'@'{}' (using password: YES)",
                self.user, self.host
            );
            let error = ServerError::new(ER_ACCESS_DENIED_ERROR, text);
            return self.connection.write_error(&error).await;
        }
        let host = String::from_utf8_lossy(replica.host);
        let replica = Replica {
            server_id: replica.server_id,
            server_uuid: self.replica_uuid(),
            report_host: host.chars().take(REPORT_HOST_LENGTH_MAX).collect(),
            report_port: replica.port,
            ..Replica::default()
        };
        let client = &self.registration.client;
        self.shared.replicas.set_replica(client, replica);
        self.connection.write_ok(&OkPacket::default()).await
    }

    fn replica_uuid(&self) -> Option<Uuid> {
        let names = ["replica_uuid", "slave_uuid"];
        self.variables.first_text(&names)?.parse().ok()
    }

    async fn dump(&mut self, request: DumpRequest) -> Result<Flow, ConnectionError> {
        self.connection.set_phase(Phase::Stream);
        if !self.privileges.replication {
            self.farewell(&missing_privilege("REPLICATION SLAVE")).await;
            return Ok(Flow::End);
        }
        let client = self.registration.client.clone();
        let registered = client.replica();
        let replica = Replica {
            server_id: request.server_id,
            server_uuid: self.replica_uuid(),
            report_host: registered
                .as_ref()
                .map_or_else(String::new, |known| known.report_host.clone()),
            report_port: registered.map_or(0, |known| known.report_port),
            ..Replica::default()
        };
        let flavor = Flavor::of_version(self.shared.log.server_version());
        let replica = self.shared.replicas.set_replica(&client, replica);
        self.shared
            .replicas
            .end_older_dumps(flavor, &client, &replica);
        let start = match self.find_start(request).await {
            Ok(start) => start,
            Err(error) => {
                tracing::warn!(peer = self.connection.peer_name(), %error, "a dump is refused");
                self.farewell(&error).await;
                return Ok(Flow::End);
            }
        };
        tracing::info!(
            peer = self.connection.peer_name(),
            server_id = replica.server_id,
            file = start.file,
            position = start.position,
            by_gtid = start.by_gtid,
            "a dump begins"
        );
        let context = DumpContext {
            log: self.shared.log.clone(),
            server_id: self.shared.options.server_id,
            write_timeout: self.shared.options.write_timeout,
            client,
            replica,
            shutdown: self.shared.shutdown.clone(),
        };
        let peer = self.connection.peer_name().to_owned();
        match stream::run(&mut self.connection, context, start).await {
            DumpEnd::Complete => return Ok(Flow::Continue),
            DumpEnd::Gone(error) => return Err(error),
            DumpEnd::Cut => {}
            DumpEnd::Stalled => {
                let limit = self.shared.options.write_timeout;
                tracing::warn!(peer, "a replica took nothing for {limit:?} and is dropped");
            }
            DumpEnd::Refused(error) => {
                tracing::warn!(peer, %error, "a dump ends");
                self.farewell(&error).await;
            }
        }
        Ok(Flow::End)
    }

    async fn find_start(
        &self,
        request: DumpRequest,
    ) -> Result<super::dump_request::DumpStart, ServerError> {
        let shared = self.shared.clone();
        let variables = self.variables.clone();
        let found = tokio::task::spawn_blocking(move || {
            let uuid = shared.options.server_uuid;
            find_start(&shared.log, uuid, &request, &variables)
        });
        found.await.unwrap_or_else(|_| {
            let text = "the start of the dump could not be found";
            Err(ServerError::new(ER_UNKNOWN_ERROR, text))
        })
    }

    /// The connection's last packet; the client may be gone already.
    async fn farewell(&mut self, error: &ServerError) {
        let _ = timeout(FAREWELL_TIMEOUT, self.connection.write_error(error)).await;
    }
}

fn facts(shared: &Shared) -> ServerFacts<'_> {
    ServerFacts {
        log: &shared.log,
        flavor: Flavor::of_version(shared.log.server_version()),
        server_id: shared.options.server_id,
        server_uuid: shared.options.server_uuid,
    }
}
