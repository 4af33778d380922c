//! Relay logs with hand-made transactions, and a sender that serves them.

use crate::binlog::event::{self, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::binlog::{EventType, FormatDescription};
use crate::config::{CompressionChoice, SyncPolicy};
use crate::connection::client::{ConnectOptions, ServerGreeting, connect};
use crate::connection::{Compression, Connection};
use crate::filter::Filter;
use crate::flavor::Flavor;
use crate::gtid::{GtidSet, Uuid};
use crate::identity::Executed;
use crate::log_thread::LogThread;
use crate::protocol::ServerError;
use crate::protocol::StoredPassword;
use crate::protocol::auth::{Secret, ServerKey};
use crate::protocol::command::{self, BinlogDump, BinlogDumpGtid};
use crate::protocol::response::{is_eof, is_error, parse_error};
use crate::relay_log::{LogDir, LogOptions, RelayLog, ReplicaWait};
use crate::sender::login::{Account, Accounts, Privileges};
use crate::sender::{
    ChangedSources, ConnectionLimits, HostNames, Replicas, SenderOptions, SourceAccess,
    SourceChanges, SourceRows, StatementLimits,
};
use crate::tls::{ClientTls, OfferedTls, PasswordKey, TlsMode, server_config};
use crate::transaction::{Assembler, AssemblerOptions};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

pub const SERVER_ID: u32 = 900;
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
pub const UUID: &str = "11111111-1111-1111-1111-111111111111";
pub const RELAY_UUID: &str = "99999999-9999-9999-9999-999999999999";

/// A relay log that a test writes.
pub struct TestLog {
    _dir: tempfile::TempDir,
    pub writer: LogThread,
    assembler: Assembler,
    flavor: Flavor,
    position: u64,
}

fn format(flavor: Flavor) -> FormatDescription {
    FormatDescription {
        server_version: match flavor {
            Flavor::MySql => "9.7.4".to_owned(),
            Flavor::MariaDb => "10.11.19-MariaDB-log".to_owned(),
        },
        created: 7,
        post_header_lengths: (1..=171)
            .map(|event_type| match event_type {
                2 => 13,
                19 | 23..=25 => 8,
                30..=32 => 10,
                _ => 0,
            })
            .collect(),
        checksum: Checksum::Crc32,
    }
}

impl TestLog {
    /// An empty log after `purged`; each file ends after `max_size` bytes.
    pub fn new(flavor: Flavor, max_size: u64, purged: Executed) -> TestLog {
        TestLog::with_format(format(flavor), max_size, purged)
    }

    /// An empty log of MySQL 5.6, which has 35 event types.
    pub fn of_mysql_5_6() -> TestLog {
        let mut format = format(Flavor::MySql);
        format.server_version = "5.6.24-log".to_owned();
        format.post_header_lengths.truncate(35);
        TestLog::with_format(format, 1 << 20, Executed::empty(Flavor::MySql))
    }

    /// An empty log of MySQL 5.6 without GTIDs; each file ends after `max_size` bytes.
    pub fn without_gtids(max_size: u64) -> TestLog {
        let mut format = format(Flavor::MySql);
        format.server_version = "5.6.24-log".to_owned();
        format.post_header_lengths.truncate(35);
        TestLog::with_format(format, max_size, Executed::Anonymous)
    }

    fn with_format(format: FormatDescription, max_size: u64, purged: Executed) -> TestLog {
        let flavor = Flavor::of_version(&format.server_version);
        let dir = tempfile::tempdir().unwrap();
        let log_dir = LogDir {
            dir: dir.path().to_owned(),
            basename: "relay-bin".to_owned(),
        };
        std::fs::create_dir_all(log_dir.spool_path()).unwrap();
        let options = LogOptions {
            log_dir: log_dir.clone(),
            server_id: SERVER_ID,
            max_size,
            sync: SyncPolicy::Never,
            source_names: vec![Arc::from("m1")],
            retention: crate::relay_log::RetentionOptions::default(),
            reserve: 0,
            hand_over_min: Duration::ZERO,
            stopping: Arc::new(AtomicBool::new(false)),
        };
        let has_gtids = purged != Executed::Anonymous;
        let writer = LogThread::create(options, &format, purged, Vec::new()).unwrap();
        let assembler_options = AssemblerOptions {
            source: 0,
            source_server_id: 86,
            source_first_timestamp: 0,
            has_gtids,
            first_run: 0,
            filter: Filter::default(),
            spill_dir: log_dir.spool_path(),
            spill_size: 64 << 20,
        };
        let mut assembler = Assembler::new(assembler_options, Arc::new(format));
        assembler.start_file(Arc::from("mysql-bin.000001"), 4);
        TestLog {
            _dir: dir,
            writer,
            assembler,
            flavor,
            position: 4,
        }
    }

    pub fn empty(flavor: Flavor, max_size: u64) -> TestLog {
        TestLog::new(flavor, max_size, Executed::empty(flavor))
    }

    pub fn log(&self) -> Arc<RelayLog> {
        self.writer.log().clone()
    }

    fn event(&mut self, event_type: EventType, server_id: u32, body: &[u8]) {
        let header = EventHeader {
            timestamp: 1_700_000_000,
            event_type,
            server_id,
            event_size: 0,
            log_pos: 0,
            flags: 0,
        };
        let event = event::build(header, body);
        self.position += event.len() as u64;
        self.assembler.event(&event, self.position).unwrap();
    }

    /// A group whose one statement has `text`.
    fn group(&mut self, gtid_type: EventType, server_id: u32, gtid: &[u8], text: &[u8]) {
        self.event(gtid_type, server_id, gtid);
        let mut query = vec![0; 14];
        query.extend_from_slice(text);
        self.event(EventType::QUERY, server_id, &query);
    }

    /// MySQL: transaction `gno` of [`UUID`].
    pub fn mysql(&mut self, gno: u64, text: &[u8]) -> &mut Self {
        assert_eq!(self.flavor, Flavor::MySql);
        let mut body = vec![1];
        body.extend(UUID.parse::<Uuid>().unwrap().0);
        body.extend(gno.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        self.group(EventType::GTID, 86, &body, text);
        self.append();
        self
    }

    /// MariaDB: a standalone group.
    pub fn mariadb(&mut self, gtid: &str, annotation: Option<&[u8]>) -> &mut Self {
        assert_eq!(self.flavor, Flavor::MariaDb);
        let gtid: crate::gtid::MariaDbGtid = gtid.parse().unwrap();
        let mut body = gtid.seq_no.to_le_bytes().to_vec();
        body.extend(gtid.domain_id.to_le_bytes());
        match annotation {
            None => {
                body.extend([1, 0, 0, 0, 0, 0, 0]);
                self.group(EventType::MARIADB_GTID, gtid.server_id, &body, b"CREATE");
            }
            Some(text) => {
                body.extend([0, 0, 0, 0, 0, 0, 0]);
                self.event(EventType::MARIADB_GTID, gtid.server_id, &body);
                self.event(EventType::ANNOTATE_ROWS, gtid.server_id, text);
                let mut table_map = vec![1, 0, 0, 0, 0, 0, 1, 0, 4];
                table_map.extend(b"test\0\x01t\0\x01\x03\0\x01");
                self.event(EventType::TABLE_MAP, gtid.server_id, &table_map);
                let rows = [1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0xFE, 1, 0, 0, 0];
                self.event(EventType::WRITE_ROWS_V1, gtid.server_id, &rows);
                self.event(EventType::XID, gtid.server_id, &[1; 8]);
            }
        }
        self.append();
        self
    }

    /// A transaction without GTID that consists of these events.
    pub fn transaction(&mut self, events: &[(EventType, &[u8])]) -> &mut Self {
        for (event_type, body) in events {
            self.event(*event_type, 86, body);
        }
        self.append();
        self
    }

    fn append(&mut self) {
        let batch = self.assembler.take_batch().unwrap();
        assert_eq!(batch.transactions.len(), 1);
        for transaction in &batch.transactions {
            self.writer.append(&batch, transaction).unwrap();
        }
        self.writer.commit().unwrap();
    }
}

/// What the relay is called.
pub fn host_names() -> HostNames {
    HostNames {
        host_name: "relay.example".to_owned(),
        port: 3306,
        report_host: "reported.example".to_owned(),
        report_port: 3307,
        data_dir: "/var/lib/binrelay/".to_owned(),
        base_dir: "/usr/".to_owned(),
        max_log_size: 1 << 30,
    }
}

/// A sender on a port of its own.
pub struct TestSender {
    pub port: u16,
    pub replicas: Arc<Replicas>,
    pub log: watch::Sender<Option<Arc<RelayLog>>>,
    pub shutdown: watch::Sender<bool>,
    pub task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl TestSender {
    pub async fn start(log: Option<Arc<RelayLog>>, write_timeout: Duration) -> TestSender {
        TestSender::offering(log, write_timeout, CompressionChoice::Auto).await
    }

    pub async fn offering(
        log: Option<Arc<RelayLog>>,
        write_timeout: Duration,
        compression: CompressionChoice,
    ) -> TestSender {
        let dir = tempfile::tempdir().unwrap();
        let account = |name: &str, replication| Account {
            name: name.to_owned(),
            password: StoredPassword::from_plaintext("secret"),
            hosts: Vec::new(),
            privileges: Privileges {
                replication,
                ..Privileges::default()
            },
        };
        let options = SenderOptions {
            server_id: SERVER_ID,
            server_uuid: RELAY_UUID.parse().unwrap(),
            flavor: None,
            host: host_names(),
            accounts: Arc::new(Accounts::new(
                vec![account("repl", true), account("nobody", false)],
                PasswordKey::open(dir.path()).unwrap().into(),
            )),
            tls: server_config(None, dir.path()).unwrap(),
            require_tls: false,
            compression,
            write_timeout,
            replica_wait: ReplicaWait::default(),
            login_timeout: Duration::from_secs(10),
            limits: ConnectionLimits {
                total: 4,
                per_address: 50,
                reserved: 0,
            },
            statement_limits: StatementLimits::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let replicas = Arc::new(Replicas::new(Arc::default()));
        let (log, log_slot) = watch::channel(log);
        let (shutdown, stop) = watch::channel(false);
        let task = tokio::spawn(crate::sender::run(
            listener,
            tokio::sync::watch::Sender::new(Arc::new(options)).subscribe(),
            log_slot,
            replicas.clone(),
            SourceAccess {
                rows: SourceRows::new(Vec::new),
                changes: SourceChanges::new(|_| Ok(ChangedSources::default())),
            },
            stop,
        ));
        TestSender {
            port,
            replicas,
            log,
            shutdown,
            task,
            _dir: dir,
        }
    }

    pub async fn of(log: &TestLog) -> TestSender {
        TestSender::start(Some(log.log()), WRITE_TIMEOUT).await
    }

    pub async fn connect(
        &self,
        user: &str,
    ) -> Result<Connection, crate::connection::ConnectionError> {
        self.login(user).await.map(|(connection, _)| connection)
    }

    pub async fn login(
        &self,
        user: &str,
    ) -> Result<(Connection, ServerGreeting), crate::connection::ConnectionError> {
        self.login_with(user, None).await
    }

    pub async fn login_with(
        &self,
        user: &str,
        compression: Option<Compression>,
    ) -> Result<(Connection, ServerGreeting), crate::connection::ConnectionError> {
        self.login_over(TlsMode::Disabled, user, compression).await
    }

    pub async fn login_over(
        &self,
        mode: TlsMode,
        user: &str,
        compression: Option<Compression>,
    ) -> Result<(Connection, ServerGreeting), crate::connection::ConnectionError> {
        let options = ConnectOptions {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: user.to_owned(),
            password: Secret::new("secret"),
            tls: ClientTls {
                mode,
                ..ClientTls::default()
            },
            offered_tls: OfferedTls::default(),
            server_key: ServerKey::Requested,
            compression,
            connect_timeout: Duration::from_secs(10),
            read_buffer_size: 64 << 10,
        };
        connect(&options).await
    }

    /// A connection that has sent the statements of a replica.
    pub async fn replica(&self) -> Connection {
        let mut connection = self.connect("repl").await.unwrap();
        let checksums = "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = \
                         @@global.binlog_checksum";
        connection.execute(checksums).await.unwrap();
        let log = self.log.borrow().clone();
        if log.is_some_and(|log| Flavor::of_version(log.server_version()) == Flavor::MariaDb) {
            let capability = "SET @mariadb_slave_capability=4";
            connection.execute(capability).await.unwrap();
        }
        connection
    }
}

/// COM_BINLOG_DUMP.
pub fn by_position(file: &str, position: u32, flags: u16, server_id: u32) -> Vec<u8> {
    command::binlog_dump(&BinlogDump {
        position,
        flags,
        server_id,
        file: file.as_bytes(),
    })
}

/// COM_BINLOG_DUMP_GTID, non-blocking.
pub fn by_set(set: &str, flags: u16) -> Vec<u8> {
    let mut encoded = Vec::new();
    set.parse::<GtidSet>().unwrap().encode(&mut encoded);
    command::binlog_dump_gtid(&BinlogDumpGtid {
        flags: flags | 4,
        server_id: 11,
        file: b"",
        position: 4,
        set: &encoded,
    })
}

/// Intervals that make a set longer than what is decoded at once.
pub fn gaps() -> String {
    (0..5000)
        .map(|number| format!(":{}", 11 + 2 * number))
        .collect()
}

/// One packet of a dump.
#[derive(Debug)]
pub enum Item {
    Event(EventHeader, Vec<u8>),
    Error(ServerError),
    Eof,
}

/// The next packet of a dump.
pub async fn next(connection: &mut Connection) -> Item {
    let packet = timeout(Duration::from_secs(20), connection.read_packet(64 << 20));
    let packet = packet.await.expect("a packet in time").unwrap();
    if is_error(&packet) {
        return Item::Error(parse_error(&packet).unwrap());
    }
    if is_eof(&packet) {
        return Item::Eof;
    }
    assert_eq!(packet[0], 0);
    let header = EventHeader::parse(&packet[1..]).unwrap();
    assert_eq!(header.event_size as usize, packet.len() - 1);
    event::verify_checksum(&packet[1..]).unwrap();
    Item::Event(header, packet[1..].to_vec())
}

/// All events up to EOF, as `type@log_pos`, and the final error if there is one.
pub async fn outline(connection: &mut Connection, command: &[u8]) -> Vec<String> {
    connection.write_command(command).await.unwrap();
    let mut lines = Vec::new();
    loop {
        match next(connection).await {
            Item::Event(header, _) => {
                let artificial = if header.is_artificial() { "!" } else { "" };
                let name = header.event_type.name();
                lines.push(format!("{artificial}{name}@{}", header.log_pos));
            }
            Item::Error(error) => {
                lines.push(format!("{} {}", error.code, error.message));
                return lines;
            }
            Item::Eof => return lines,
        }
    }
}
