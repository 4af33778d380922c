//! One client from its login to its end: reads commands, and answers them or serves a dump.

mod dumps;
mod state;
mod statements;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admission::{Eviction, Place};
use super::answer::Answer;
use super::counters::Counters;
use super::dump_request::DumpRequest;
use super::environment::{SessionEnvironment, stopping};
use super::kill::kill_client;
use super::login::{self, LoginError, LoginOptions};
use super::queries;
use super::replicas::killed;
use crate::binlog::format_description::version_numbers;
use crate::config::CompressionChoice;
use crate::connection::{Compression, ConnectionError, Phase};
use crate::flavor::Flavor;
use crate::protocol::auth::AuthPlugin;
use crate::protocol::capability::{CLIENT_COMPRESS, CLIENT_ZSTD_COMPRESSION};
use crate::protocol::command::Command;
use crate::protocol::error_code::*;
use crate::protocol::handshake::SERVER_STATUS_AUTOCOMMIT;
use crate::protocol::{InvalidMessage, ServerError};
use state::{Flow, Session};

/// The largest command of clients that may not dump.
const COMMAND_LENGTH_MAX: usize = 1 << 20;
/// The largest command of replicas: a GTID set with many gaps is long.
const REPLICA_COMMAND_LENGTH_MAX: usize = 16 << 20;
/// A connection without a command for this long is closed: the default of `wait_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(28_800);
/// A client whose system does not acknowledge data is disconnected this long after the write timeout. Several keepalive
/// probes must be lost, too.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(60);
/// A longer GTID set, in bytes, is decoded on a thread for blocking calls: that takes milliseconds, in which a thread of
/// the runtime would serve no other replica.
const INLINE_SET_LENGTH_MAX: usize = 64 << 10;
/// "This command is not supported in the prepared statement protocol yet".
const ER_UNSUPPORTED_PS: u16 = 1295;

/// Serves a client until it disconnects or is disconnected.
pub(super) async fn serve(
    tcp: TcpStream,
    connection_id: u32,
    (mut place, eviction): (Place, Eviction),
    environment: SessionEnvironment,
) {
    crate::fault::inject("session");
    let limit = environment.options.write_timeout + UNREACHABLE_AFTER;
    // A socket that refuses it still works; that a client cannot be reached is noticed later.
    let _ = SockRef::from(&tcp).set_tcp_user_timeout(Some(limit));
    let peer_address = tcp.peer_addr().ok().map(|address| address.ip());
    let is_local = peer_address.is_some_and(|address| address.is_loopback());
    let options = login_options(&environment, is_local);
    let mut shutdown = environment.shutdown.clone();
    let logged_in = tokio::select! {
        outcome = login::login(tcp, connection_id, &options, &mut place) => outcome,
        () = eviction.happened() => {
            tracing::debug!(connection_id, "a newer connection took the place of one that had not logged in");
            return;
        }
        () = stopping(&mut shutdown) => return,
    };
    drop(options);
    let client = match logged_in {
        Ok(client) => client,
        Err(error) => {
            report_failure(&environment, peer_address, connection_id, &error);
            return;
        }
    };
    let peer = client.connection.peer_name().to_owned();
    let compression = client.compression.map_or("none", Compression::name);
    // Accounts that cannot do anything are those of monitoring and load balancers, which come every few seconds.
    let is_quiet = !client.privileges.replication && !client.privileges.admin;
    if is_quiet {
        tracing::debug!(connection_id, peer, user = client.user, %compression, "client logged in");
    } else {
        tracing::info!(connection_id, peer, user = client.user, %compression, "client logged in");
    }
    let mut session = Session::new(client, connection_id, environment);
    match (session.run().await, is_quiet) {
        (Ok(()), true) => tracing::debug!(connection_id, peer, "client disconnected"),
        (Ok(()), false) => tracing::info!(connection_id, peer, "client disconnected"),
        (Err(error), true) => tracing::debug!(connection_id, %error, "client disconnected"),
        (Err(error), false) => tracing::info!(connection_id, %error, "client disconnected"),
    }
}

/// Decodes a dump by GTID on a thread for blocking calls; `None` after a panic there.
async fn decode_apart(payload: Vec<u8>) -> Option<DumpRequest> {
    let decoding = tokio::task::spawn_blocking(move || match Command::parse(&payload) {
        Ok(Command::BinlogDumpGtid(dump)) => Some(DumpRequest::from(dump)),
        _ => None,
    });
    decoding.await.ok().flatten()
}

fn report_failure(
    environment: &SessionEnvironment,
    address: Option<IpAddr>,
    connection_id: u32,
    error: &LoginError,
) {
    Counters::count(&environment.replicas.counters.aborted_connects);
    if error.is_probe() {
        tracing::debug!(connection_id, %error, "the client disconnected before its login");
        return;
    }
    Counters::count(&environment.replicas.counters.login_failures);
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    match environment.failed_logins.record(address, Instant::now()) {
        None => {}
        Some(0) => tracing::warn!(connection_id, %error, "login failed"),
        Some(others) => tracing::warn!(
            connection_id,
            %error,
            "login failed, and {others} more from this address before it"
        ),
    }
}

/// `is_local`: whether the client has a loopback address.
fn login_options(environment: &SessionEnvironment, is_local: bool) -> LoginOptions {
    let log = environment.log();
    let version = environment.version(log.as_deref());
    let is_new = version_numbers(&version) >= (8, 0, 4);
    let compresses = match environment.options.compression {
        CompressionChoice::Auto => !is_local,
        CompressionChoice::On => true,
        CompressionChoice::Off => false,
    };
    let compression = match Flavor::of_version(&version) {
        _ if !compresses => 0,
        Flavor::MySql => CLIENT_COMPRESS | CLIENT_ZSTD_COMPRESSION,
        Flavor::MariaDb => CLIENT_COMPRESS,
    };
    LoginOptions {
        server_version: greeting_version(&version),
        default_plugin: match Flavor::of_version(&version) {
            Flavor::MySql if is_new => AuthPlugin::CachingSha2,
            _ => AuthPlugin::Native,
        },
        accounts: environment.options.accounts.clone(),
        tls: Some(environment.options.tls.clone()),
        require_tls: environment.options.require_tls,
        compression,
        timeout: environment.options.login_timeout,
    }
}

/// The version for the greeting: MariaDB's begins with the prefix that replicas before 10.0
/// expect.
fn greeting_version(version: &str) -> String {
    match Flavor::of_version(version) {
        Flavor::MariaDb if !version.starts_with("5.5.5-") => format!("5.5.5-{version}"),
        _ => version.to_owned(),
    }
}

impl Session {
    async fn run(&mut self) -> Result<(), ConnectionError> {
        let limit = if self.privileges.replication {
            REPLICA_COMMAND_LENGTH_MAX
        } else {
            COMMAND_LENGTH_MAX.max(self.environment.options.statement_limits.statement_len + 1)
        };
        let mut kill = self.registration.client.follow_kill();
        let mut shutdown = self.environment.shutdown.clone();
        loop {
            self.connection.set_phase(Phase::Query);
            let idle_timeout = self.idle_timeout();
            let command = tokio::select! {
                command = timeout(idle_timeout, self.connection.read_command(limit)) => {
                    match command {
                        Ok(command) => command?,
                        Err(_) => return Ok(()),
                    }
                }
                () = killed(&mut kill) => return Ok(()),
                () = stopping(&mut shutdown) => {
                    let text = "Server shutdown in progress";
                    self.send_final_error(&ServerError::new(ER_SERVER_SHUTDOWN, text)).await;
                    return Ok(());
                }
            };
            // The column Time of SHOW PROCESSLIST: of a dump, since it was requested.
            self.registration.client.enter_state();
            if let Flow::End = self.command(command).await? {
                return Ok(());
            }
            self.registration.client.enter_state();
        }
    }

    /// The session's `wait_timeout`.
    fn idle_timeout(&self) -> Duration {
        let text = self.variables.system_text("wait_timeout");
        let seconds = text.and_then(|text| text.parse().ok());
        seconds.map_or(IDLE_TIMEOUT, |seconds: u32| {
            Duration::from_secs(u64::from(seconds.max(1)))
        })
    }

    async fn command(&mut self, payload: Vec<u8>) -> Result<Flow, ConnectionError> {
        let command = match Command::parse(&payload) {
            Ok(command) => command,
            Err(error) => return self.malformed(&error).await,
        };
        let request = match command {
            Command::BinlogDump(dump) => DumpRequest::from(dump),
            Command::BinlogDumpGtid(dump) if dump.set.len() <= INLINE_SET_LENGTH_MAX => {
                DumpRequest::from(dump)
            }
            Command::BinlogDumpGtid(_) => {
                Counters::count(&self.environment.replicas.counters.dumps);
                return match decode_apart(payload).await {
                    Some(request) => self.dump(request).await,
                    None => Ok(Flow::End),
                };
            }
            Command::Query(text) => {
                let text = text.to_vec();
                drop(payload);
                self.query(text).await?;
                return Ok(Flow::Continue);
            }
            Command::Quit => return Ok(Flow::End),
            other => {
                self.short_command(other).await?;
                return Ok(Flow::Continue);
            }
        };
        // It may be of 16 MiB, and a dump may last for months.
        drop(payload);
        Counters::count(&self.environment.replicas.counters.dumps);
        self.dump(request).await
    }

    /// Answers a command that is neither a statement nor a dump.
    async fn short_command(&mut self, command: Command<'_>) -> Result<(), ConnectionError> {
        match command {
            Command::Ping => self.answer(Ok(Answer::Ok)).await,
            Command::ResetConnection => {
                self.variables.clear();
                self.answer(Ok(Answer::Ok)).await
            }
            Command::SetOption(_) => {
                let patience = self.patience();
                let write = self.connection.write_eof(SERVER_STATUS_AUTOCOMMIT);
                let outcome = patience.wait(write).await;
                self.written(outcome)
            }
            Command::Statistics => {
                let replicas = &self.environment.replicas;
                let uptime = replicas.uptime_seconds();
                let threads = replicas.clients().len();
                let questions = replicas.counters.questions.load(Relaxed);
                let text = format!("Uptime: {uptime}  Threads: {threads}  Questions: {questions}");
                let patience = self.patience();
                let write = async {
                    self.connection.write_packet(text.as_bytes()).await?;
                    self.connection.flush().await
                };
                let outcome = patience.wait(write).await;
                self.written(outcome)
            }
            Command::ProcessKill(id) => {
                let outcome =
                    kill_client(id, &self.environment.replicas, &self.user, self.privileges);
                self.answer(outcome.map(|()| Answer::Ok)).await
            }
            Command::InitDb(name) => {
                let name = String::from_utf8_lossy(name);
                let answer = queries::use_database(&name, &mut self.variables);
                self.answer(answer).await
            }
            Command::RegisterReplica(replica) => {
                let answer = self.register(&replica).map(|()| Answer::Ok);
                self.answer(answer).await
            }
            Command::StmtPrepare => {
                let text = "This command is not supported in the prepared statement protocol yet";
                let error = ServerError::new(ER_UNSUPPORTED_PS, text);
                self.answer(Err(error)).await
            }
            // ChangeUser and Unknown; the callers handle the others.
            _ => {
                let error = ServerError::new(ER_UNKNOWN_COM_ERROR, "Unknown command");
                self.answer(Err(error)).await
            }
        }
    }

    async fn malformed(&mut self, error: &InvalidMessage) -> Result<Flow, ConnectionError> {
        tracing::warn!(peer = self.connection.peer_name(), %error, "malformed command");
        let error = ServerError::new(1835, "Malformed communication packet.");
        self.answer(Err(error)).await?;
        Ok(Flow::Continue)
    }
}
