//! A source that plays a script: it logs replicas in, answers, and sends a dump up to where the script says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::answers::{Server, values, variables};
use super::binlog::{Asked, Binlog, Packet};
use crate::config::{SharedFilter, SourceCompression, SourceConfig, SourceStart};
use crate::connection::{Connection, ConnectionError};
use crate::flavor::Flavor;
use crate::gtid::GtidSet;
use crate::position::SourcePosition;
use crate::protocol::auth::{AuthPlugin, Secret, new_scramble};
use crate::protocol::capability::SERVER_SIDE;
use crate::protocol::command::{BINLOG_DUMP_NON_BLOCK, Command};
use crate::protocol::framing::put_packet;
use crate::protocol::handshake::{COLLATION_UTF8MB4, Greeting, HandshakeResponse};
use crate::protocol::response::{Column, OkPacket};
use crate::protocol::semi_sync::Acknowledgement;
use crate::protocol::{ServerError, StoredPassword};
use crate::tls::{ClientTls, OfferedTls, TlsMode};

const PASSWORD: &str = "correct horse";

/// What follows the dump's packets.
pub(crate) enum Then {
    /// Silence.
    Nothing,
    /// The other packets, when the test requests them.
    Rest(Arc<Notify>),
    /// The connection is closed when the test requests it.
    Close(Arc<Notify>),
    Eof,
    Error(u16, &'static str),
    /// One byte of another packet now and then, forever.
    Trickle(Duration),
}

type Edit = Box<dyn FnOnce(&mut Vec<Packet>) + Send>;

/// How one dump is answered.
pub(crate) struct Plan {
    /// Changes the packets first.
    pub(crate) edit: Option<Edit>,
    /// How many bytes of them are sent, packet headers included; all when `None`.
    pub(crate) cut: Option<usize>,
    pub(crate) then: Then,
}

impl Plan {
    pub(crate) fn then(then: Then) -> Self {
        Self {
            edit: None,
            cut: None,
            then,
        }
    }

    pub(crate) fn edit(edit: impl FnOnce(&mut Vec<Packet>) + Send + 'static, then: Then) -> Self {
        Self {
            edit: Some(Box::new(edit)),
            ..Self::then(then)
        }
    }
}

/// How a source is semi-synchronous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SemiSyncPlugin {
    /// It asks for acknowledgements of transactions.
    Transactions,
    /// It asks for one of every event, and waits for each, as MySQL 5.5 and 5.6 may.
    EveryEvent,
    /// It has the variable, but sends no header.
    NoHeader,
    /// It sends the header to everyone.
    Unasked,
}

/// The source's side, which tests change and look at.
pub(crate) struct State {
    pub(crate) binlog: Binlog,
    /// For the dumps to come, in order; afterwards everything is sent, and then nothing.
    pub(crate) plans: VecDeque<Plan>,
    /// The same for dumps that do not wait at the end; afterwards everything is sent, and then EOF.
    pub(crate) scan_plans: VecDeque<Plan>,
    /// The requested dumps, except those that do not wait at the end.
    pub(crate) asked: Vec<Asked>,
    /// All statements, except those that only SET something.
    pub(crate) questions: usize,
    pub(crate) logins: usize,
    pub(crate) refuse_login: Option<ServerError>,
    pub(crate) refuse_register: Option<ServerError>,
    /// Statements that contain this are never answered.
    pub(crate) silent_to: Option<&'static str>,
    /// Variables that the server does not have: error 1193.
    pub(crate) unknown_variables: &'static [&'static str],
    /// The value of `gtid_purged`.
    pub(crate) purged: GtidSet,
    /// How many transactions at the end of its binlog it has not executed: they wait for an acknowledgement.
    pub(crate) waiting: usize,
    /// Its server_uuid, instead of one that no transaction has.
    pub(crate) uuid: Option<String>,
    /// The value of `gtid_mode`.
    pub(crate) gtid_mode: &'static str,
    /// Of a MariaDB 12.3 server: its `binlog_storage_engine`.
    pub(crate) binlog_engine: Option<&'static str>,
    pub(crate) semi_sync: Option<SemiSyncPlugin>,
    /// Its clock, in seconds since 1970, instead of this machine's.
    pub(crate) clock: Option<u64>,
    /// The acknowledgements that arrived, and when.
    pub(crate) acknowledged: Vec<(SourcePosition, Instant)>,
}

impl State {
    fn server(&self) -> Server<'_> {
        Server {
            binlog: &self.binlog,
            purged: &self.purged,
            waiting: self.waiting,
            uuid: self.uuid.as_deref(),
            gtid_mode: self.gtid_mode,
            binlog_engine: self.binlog_engine,
            clock: self.clock,
        }
    }
}

/// A source on a socket of its own.
pub(crate) struct FakeSource {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeSource {
    pub(crate) async fn start(binlog: Binlog) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::on(listener, port, binlog)
    }

    /// Begins to answer at an address that was announced before.
    pub(crate) fn on(listener: TcpListener, port: u16, binlog: Binlog) -> Self {
        let state = Arc::new(Mutex::new(State {
            binlog,
            plans: VecDeque::new(),
            scan_plans: VecDeque::new(),
            asked: Vec::new(),
            questions: 0,
            logins: 0,
            refuse_login: None,
            refuse_register: None,
            silent_to: None,
            unknown_variables: &[],
            purged: GtidSet::new(),
            waiting: 0,
            uuid: None,
            gtid_mode: "ON",
            binlog_engine: None,
            semi_sync: None,
            clock: None,
            acknowledged: Vec::new(),
        }));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let state = shared.clone();
                // A replica that disconnects ends its session; the test does not fail.
                tokio::spawn(async move { serve(tcp, &state).await });
            }
        });
        Self { port, state, task }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn plan(&self, plan: Plan) {
        self.state().plans.push_back(plan);
    }

    /// A dump from the beginning by GTID lacks its last byte: the last transaction does not arrive.
    pub(super) fn plan_without_end(&self) {
        let packets = self.state().binlog.dump(&Asked::Set(GtidSet::default()));
        let mut bytes = Vec::new();
        packets
            .iter()
            .for_each(|packet| frame(&mut bytes, &mut 1, packet));
        self.plan(Plan {
            edit: None,
            cut: Some(bytes.len() - 1),
            then: Then::Nothing,
        });
    }

    /// Its section of a relay's configuration, with immediate retries.
    pub(crate) fn config(&self, name: &str) -> SourceConfig {
        config(name, self.port)
    }
}

/// A source's section of a relay's configuration.
pub(crate) fn config(name: &str, port: u16) -> SourceConfig {
    SourceConfig {
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        user: "repl".to_owned(),
        password: Secret::new(PASSWORD),
        password_file: None,
        start: SourceStart::Earliest,
        auto_position: None,
        semi_sync: false,
        connect_retry: Duration::from_millis(2),
        connect_retry_max: Duration::from_millis(5),
        read_timeout: Duration::from_secs(60),
        compression: SourceCompression::Off,
        tls: ClientTls {
            mode: TlsMode::Disabled,
            ca: None,
            cert: None,
            key: None,
        },
        offered_tls: OfferedTls::default(),
        get_source_public_key: false,
        source_public_key_file: None,
        filter: SharedFilter::default(),
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(tcp: TcpStream, state: &Mutex<State>) -> Result<(), ConnectionError> {
    let mut connection = Connection::new(tcp, "replica".to_owned(), 1 << 16);
    log_in(&mut connection, state).await?;
    let mut connect_state = None;
    let mut asks_semi_sync = false;
    loop {
        let packet = connection.read_command(1 << 20).await?;
        let command = Command::parse(&packet).unwrap();
        let (asked, flags) = match command {
            Command::Query(sql) => {
                let sql = String::from_utf8(sql.to_vec()).unwrap();
                if let Some(text) = sql.strip_prefix("SET @slave_connect_state = ") {
                    connect_state = Some(text.trim_matches('\'').parse().unwrap());
                }
                asks_semi_sync |= sql.contains("@rpl_semi_sync_slave = 1");
                answer(&mut connection, state, &sql).await?;
                continue;
            }
            Command::RegisterReplica(_) => {
                let refusal = lock(state).refuse_register.clone();
                match refusal {
                    Some(error) => connection.write_error(&error).await?,
                    None => connection.write_ok(&OkPacket::default()).await?,
                }
                continue;
            }
            Command::BinlogDump(dump) => {
                let file = String::from_utf8(dump.file.to_vec()).unwrap();
                let asked = match connect_state.take() {
                    Some(position) => Asked::Position(position),
                    None => Asked::File(SourcePosition::new(file, u64::from(dump.position))),
                };
                (asked, dump.flags)
            }
            Command::BinlogDumpGtid(dump) => {
                (Asked::Set(GtidSet::decode(dump.set).unwrap()), dump.flags)
            }
            other => panic!("a replica sent {other:?}"),
        };
        return dump(&mut connection, state, asked, (flags, asks_semi_sync)).await;
    }
}

async fn log_in(connection: &mut Connection, state: &Mutex<State>) -> Result<(), ConnectionError> {
    let (version, refusal) = {
        let mut state = lock(state);
        state.logins += 1;
        let version = match state.binlog.flavor {
            Flavor::MySql => "8.0.41",
            Flavor::MariaDb if state.binlog_engine.is_some() => "12.3.2-MariaDB",
            Flavor::MariaDb => "5.5.5-10.11.14-MariaDB",
        };
        (version.to_owned(), state.refuse_login.clone())
    };
    let scramble = new_scramble();
    let greeting = Greeting {
        server_version: version,
        connection_id: 7,
        scramble,
        capabilities: SERVER_SIDE,
        collation: COLLATION_UTF8MB4,
        status: 2,
        auth_plugin: AuthPlugin::Native.name().to_owned(),
    };
    connection.write_packet(&greeting.encode()).await?;
    connection.flush().await?;
    let packet = connection.read_packet(1 << 16).await?;
    let login = HandshakeResponse::decode(&packet).unwrap();
    let password = StoredPassword::from_plaintext(PASSWORD);
    assert!(password.verify(AuthPlugin::Native, &scramble, &login.auth_response));
    match refusal {
        Some(error) => connection.write_error(&error).await,
        None => connection.write_ok(&OkPacket::default()).await,
    }
}

async fn answer(
    connection: &mut Connection,
    state: &Mutex<State>,
    sql: &str,
) -> Result<(), ConnectionError> {
    if sql.starts_with("SELECT @@GLOBAL.rpl_semi_sync") {
        return answer_semi_sync(connection, state, sql).await;
    }
    let unknown = lock(state).unknown_variables;
    if unknown.iter().any(|name| sql.contains(name)) {
        let error = ServerError::new(1193, "Unknown system variable");
        return connection.write_error(&error).await;
    }
    if sql.starts_with("SET ") {
        return connection.write_ok(&OkPacket::default()).await;
    }
    let (row, variables, is_silent) = {
        let mut state = lock(state);
        state.questions += 1;
        let is_silent = state.silent_to.is_some_and(|part| sql.contains(part));
        let server = state.server();
        (values(&server, sql), variables(&server, sql), is_silent)
    };
    if is_silent {
        return std::future::pending().await;
    }
    let text = |value: &str| Some(value.as_bytes().to_vec());
    if !variables.is_empty() {
        let columns = ["Variable_name", "Value"].map(Column::text);
        let rows = variables.iter().map(|row| vec![text(row.0), text(&row.1)]);
        let rows: Vec<_> = rows.collect();
        return connection.write_text_result(&columns, &rows).await;
    }
    let columns: Vec<_> = row.iter().map(|(name, _)| Column::text(name)).collect();
    let row = row.iter().map(|(_, value)| text(value));
    connection
        .write_text_result(&columns, &[row.collect()])
        .await
}

async fn dump(
    connection: &mut Connection,
    state: &Mutex<State>,
    asked: Asked,
    (flags, asks_semi_sync): (u16, bool),
) -> Result<(), ConnectionError> {
    let is_scan = flags & BINLOG_DUMP_NON_BLOCK != 0;
    let (mut packets, plan) = {
        let mut state = lock(state);
        let plan = match is_scan {
            true => {
                let plan = state.scan_plans.pop_front();
                Some(plan.unwrap_or_else(|| Plan::then(Then::Eof)))
            }
            false => state.plans.pop_front(),
        };
        let packets = state.binlog.dump(&asked);
        if !is_scan {
            state.asked.push(asked);
        }
        (packets, plan.unwrap_or_else(|| Plan::then(Then::Nothing)))
    };
    if packets.is_empty() {
        let text = "Could not find first log file name in binary log index file";
        return connection.write_error(&ServerError::new(1236, text)).await;
    }
    if let Some(edit) = plan.edit {
        edit(&mut packets);
    }
    let plugin = lock(state).semi_sync;
    let has_header = match plugin {
        None | Some(SemiSyncPlugin::NoHeader) => false,
        Some(SemiSyncPlugin::Unasked) => true,
        Some(_) => asks_semi_sync,
    };
    if has_header {
        let waits = plugin == Some(SemiSyncPlugin::EveryEvent);
        return dump_semi_sync(connection, state, &packets, waits).await;
    }
    let mut framed = Vec::new();
    let mut sequence = connection.sequence();
    for packet in &packets {
        frame(&mut framed, &mut sequence, packet);
    }
    let rest = framed.split_off(plan.cut.unwrap_or(usize::MAX).min(framed.len()));
    connection.write_raw(&framed).await?;
    connection.flush().await?;
    connection.set_sequence(sequence);
    match plan.then {
        Then::Nothing => std::future::pending().await,
        Then::Rest(go) => {
            go.notified().await;
            connection.write_raw(&rest).await?;
            connection.flush().await?;
            std::future::pending().await
        }
        Then::Close(go) => {
            go.notified().await;
            Ok(())
        }
        Then::Eof => connection.write_eof(2).await,
        Then::Error(code, text) => connection.write_error(&ServerError::new(code, text)).await,
        Then::Trickle(pause) => {
            let mut packet = vec![0xff, 0xff, 0, sequence];
            packet.resize(0xffff, 0);
            for byte in packet {
                connection.write_raw(&[byte]).await?;
                connection.flush().await?;
                tokio::time::sleep(pause).await;
            }
            Ok(())
        }
    }
}

/// MySQL before 8.0.26 and MariaDB have the older name.
async fn answer_semi_sync(
    connection: &mut Connection,
    state: &Mutex<State>,
    sql: &str,
) -> Result<(), ConnectionError> {
    if lock(state).semi_sync.is_none() || !sql.contains("master") {
        let error = ServerError::new(1193, "Unknown system variable");
        return connection.write_error(&error).await;
    }
    let columns = [Column::text("rpl_semi_sync_master_enabled")];
    let rows = [vec![Some(b"1".to_vec())]];
    connection.write_text_result(&columns, &rows).await
}

/// Sends the packets with the header for semi-sync; `waits_for_each`: each is to be acknowledged.
async fn dump_semi_sync(
    connection: &mut Connection,
    state: &Mutex<State>,
    packets: &[Packet],
    waits_for_each: bool,
) -> Result<(), ConnectionError> {
    let mut sequence = connection.sequence();
    connection.begin_semi_sync();
    for packet in packets {
        let asks = waits_for_each || packet.ends.is_some();
        let mut payload = vec![0, 0xEF, u8::from(asks)];
        payload.extend_from_slice(&packet.event);
        let mut framed = Vec::new();
        put_packet(&mut framed, &mut sequence, &payload);
        connection.write_raw(&framed).await?;
        connection.flush().await?;
        if asks {
            sequence = 1;
        }
        if waits_for_each {
            receive_acknowledgement(connection, state).await?;
        }
    }
    loop {
        receive_acknowledgement(connection, state).await?;
    }
}

async fn receive_acknowledgement(
    connection: &mut Connection,
    state: &Mutex<State>,
) -> Result<(), ConnectionError> {
    let packet = connection.read_packet(1 << 10).await?;
    let Acknowledgement { file, position } = Acknowledgement::decode(&packet).unwrap();
    let file = String::from_utf8(file.to_vec()).unwrap();
    let at = SourcePosition::new(file, position);
    lock(state).acknowledged.push((at, Instant::now()));
    Ok(())
}

/// The packet as sent on the socket.
pub(crate) fn frame(out: &mut Vec<u8>, sequence: &mut u8, packet: &Packet) {
    let payload = [&[0], &packet.event[..]].concat();
    put_packet(out, sequence, &payload);
}
