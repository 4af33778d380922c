//! A replica's side of the protocol, packet by packet, for requests that no real replica makes.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder};
use mysql_common::crypto;
use mysql_common::scramble::{scramble_native, scramble_sha256};

/// LONG_PASSWORD, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x2000 | 0x8000 | 0x8_0000;

/// An error packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerError {
    pub code: u16,
    pub state: String,
    pub message: String,
}

impl ServerError {
    fn parse(packet: &[u8]) -> ServerError {
        let code = u16::from_le_bytes([packet[1], packet[2]]);
        let rest = String::from_utf8_lossy(&packet[3..]).into_owned();
        match rest.strip_prefix('#') {
            Some(rest) => ServerError {
                code,
                state: rest[..5].to_owned(),
                message: rest[5..].to_owned(),
            },
            None => ServerError {
                code,
                state: String::new(),
                message: rest,
            },
        }
    }

    /// Without parts that legitimately differ between two servers: numbers, file paths, ids.
    pub fn normalised(&self) -> ServerError {
        ServerError {
            message: normalise(&self.message),
            ..self.clone()
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.state, self.message)
    }
}

/// Quoted text becomes '?', other numbers N.
pub fn normalise(message: &str) -> String {
    let parts = message.split('\'').enumerate();
    let parts: Vec<String> = parts
        .map(|(index, part)| {
            if index % 2 == 1 {
                "?".to_owned()
            } else {
                numbers_to_n(part)
            }
        })
        .collect();
    parts.join("'")
}

fn numbers_to_n(text: &str) -> String {
    let mut result = String::new();
    for letter in text.chars() {
        match letter {
            '0'..='9' if result.ends_with('N') => {}
            '0'..='9' => result.push('N'),
            other => result.push(other),
        }
    }
    result
}

/// What is received in a dump.
#[derive(Debug)]
pub enum Dumped {
    /// An event, header first.
    Event(Vec<u8>),
    Error(ServerError),
    /// The server sent EOF or closed.
    End,
    /// Nothing arrived within the read timeout.
    Silence,
}

pub struct RawClient {
    stream: TcpStream,
    sequence: u8,
    scramble: Vec<u8>,
    plugin: String,
    pub server_version: String,
}

impl RawClient {
    /// Connects and reads the greeting; nothing is answered yet.
    pub fn connect(host: &str, port: u16) -> RawClient {
        let stream = TcpStream::connect((host, port))
            .unwrap_or_else(|error| panic!("{host}:{port}: cannot connect: {error}"));
        RawClient::on(stream)
    }

    /// As `connect`, to 127.0.0.1 from another address of this machine.
    pub fn connect_from(address: [u8; 4], port: u16) -> RawClient {
        RawClient::on(connect_from(address, port).expect("a connection"))
    }

    fn on(stream: TcpStream) -> RawClient {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a read timeout");
        let mut client = RawClient {
            stream,
            sequence: 0,
            scramble: Vec::new(),
            plugin: String::new(),
            server_version: String::new(),
        };
        let greeting = client.read().expect("a greeting").expect("a greeting");
        client.greeting(&greeting);
        client
    }

    fn greeting(&mut self, packet: &[u8]) {
        assert_eq!(packet[0], 10, "protocol version in {packet:?}");
        let (version, rest) = until_zero(&packet[1..]);
        self.server_version = version;
        self.scramble = rest[4..12].to_vec();
        // 4 thread id, 8 scramble, 1 filler, 2 capabilities, 1 charset, 2 status, 2 capabilities,
        // 1 length, 10 reserved, 12 scramble, 0.
        self.scramble.extend_from_slice(&rest[31..43]);
        self.plugin = until_zero(&rest[44..]).0;
    }

    pub fn set_read_timeout(&self, timeout: Duration) {
        self.stream
            .set_read_timeout(Some(timeout))
            .expect("a read timeout");
    }

    /// Sends a packet that begins a command.
    pub fn command(&mut self, payload: &[u8]) {
        self.sequence = 0;
        self.write(payload).expect("the command is sent");
    }

    /// Sends the next packet of a conversation.
    pub fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len())
            .expect("a small packet")
            .to_le_bytes();
        let mut packet = vec![length[0], length[1], length[2], self.sequence];
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&packet)
    }

    /// The next packet, however many frames it has; None at the connection's end.
    pub fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            match self.stream.read_exact(&mut header) {
                Ok(()) => {}
                Err(error) if ended(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            self.sequence = header[3].wrapping_add(1);
            let begin = payload.len();
            payload.resize(begin + length, 0);
            self.stream.read_exact(&mut payload[begin..])?;
            if length < 0xFF_FFFF {
                return Ok(Some(payload));
            }
        }
    }

    /// Authenticates with the plugin that the server asks for.
    pub fn login(&mut self, user: &str, password: &str) -> Result<(), ServerError> {
        let mut response = CAPABILITIES.to_le_bytes().to_vec();
        response.extend_from_slice(&(64_u32 << 20).to_le_bytes());
        response.push(45);
        response.extend_from_slice(&[0; 23]);
        response.extend_from_slice(user.as_bytes());
        response.push(0);
        let answer = self.answer(password);
        response.push(u8::try_from(answer.len()).expect("a short answer"));
        response.extend_from_slice(&answer);
        response.extend_from_slice(self.plugin.as_bytes());
        response.push(0);
        self.write(&response)
            .expect("the handshake response is sent");
        loop {
            let packet = self
                .read()
                .expect("an answer")
                .expect("an answer, not the end");
            match packet.as_slice() {
                [0, ..] => return Ok(()),
                [0xFF, ..] => return Err(ServerError::parse(&packet)),
                [0xFE, rest @ ..] => {
                    let (plugin, data) = until_zero(rest);
                    self.plugin = plugin;
                    self.scramble = data[..20].to_vec();
                    let answer = self.answer(password);
                    self.write(&answer).expect("the answer is sent");
                }
                [1, 3] => {}
                [1, 4] => self.write(&[2]).expect("the key is asked for"),
                [1, key @ ..] => {
                    let secret = self.encrypted(password, key);
                    self.write(&secret).expect("the password is sent");
                }
                other => panic!("unexpected packet while authenticating: {other:?}"),
            }
        }
    }

    fn answer(&self, password: &str) -> Vec<u8> {
        let password = password.as_bytes();
        let answer = match self.plugin.as_str() {
            "mysql_native_password" => {
                scramble_native(&self.scramble, password).map(|bytes| bytes.to_vec())
            }
            "caching_sha2_password" => {
                scramble_sha256(&self.scramble, password).map(|bytes| bytes.to_vec())
            }
            other => panic!("the raw client does not know {other}"),
        };
        answer.unwrap_or_default()
    }

    fn encrypted(&self, password: &str, key: &[u8]) -> Vec<u8> {
        let mut secret: Vec<u8> = password.bytes().chain([0]).collect();
        for (byte, mask) in secret.iter_mut().zip(self.scramble.iter().cycle()) {
            *byte ^= mask;
        }
        crypto::encrypt(&secret, key)
    }

    /// Runs a query; the rows as text.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, ServerError> {
        let mut payload = vec![3];
        payload.extend_from_slice(sql.as_bytes());
        self.command(&payload);
        let first = self.packet();
        match first[0] {
            0 => return Ok(Vec::new()),
            0xFF => return Err(ServerError::parse(&first)),
            _ => {}
        }
        while !is_eof(&self.packet()) {}
        let mut rows = Vec::new();
        loop {
            let packet = self.packet();
            if is_eof(&packet) {
                return Ok(rows);
            }
            rows.push(text_row(&packet));
        }
    }

    fn packet(&mut self) -> Vec<u8> {
        self.read()
            .expect("a packet")
            .expect("a packet, not the end")
    }

    /// What a replica does before its dump.
    pub fn prepare_dump(&mut self, server_id: u32, uuid: Option<&str>) -> Result<(), ServerError> {
        self.query("SET @master_binlog_checksum='CRC32', @source_binlog_checksum='CRC32'")?;
        match uuid {
            Some(uuid) => self.query(&format!(
                "SET @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'"
            ))?,
            None => self.query("SET @mariadb_slave_capability=4")?,
        };
        let mut register = vec![0x15];
        register.extend_from_slice(&server_id.to_le_bytes());
        // Empty host, user and password, port 3306, rank and master id 0.
        register.extend_from_slice(&[0, 0, 0, 0xEA, 0x0C, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.command(&register);
        let answer = self.packet();
        if answer[0] == 0xFF {
            Err(ServerError::parse(&answer))
        } else {
            Ok(())
        }
    }

    /// COM_BINLOG_DUMP.
    pub fn dump(&mut self, server_id: u32, file: &str, position: u32, flags: u16) {
        let mut payload = vec![0x12];
        payload.extend_from_slice(&position.to_le_bytes());
        payload.extend_from_slice(&flags.to_le_bytes());
        payload.extend_from_slice(&server_id.to_le_bytes());
        payload.extend_from_slice(file.as_bytes());
        self.command(&payload);
    }

    /// COM_BINLOG_DUMP_GTID with an empty set.
    pub fn dump_empty_gtid_set(&mut self, server_id: u32) {
        self.dump_gtid_set(server_id, 0, &0_u64.to_le_bytes());
    }

    /// COM_BINLOG_DUMP_GTID with an encoded set.
    pub fn dump_gtid_set(&mut self, server_id: u32, flags: u16, set: &[u8]) {
        const THROUGH_GTID: u16 = 4;
        let mut payload = vec![0x1e];
        payload.extend_from_slice(&(flags | THROUGH_GTID).to_le_bytes());
        payload.extend_from_slice(&server_id.to_le_bytes());
        payload.extend_from_slice(&0_u32.to_le_bytes());
        payload.extend_from_slice(&4_u64.to_le_bytes());
        let len = u32::try_from(set.len()).expect("a set below 4 GiB");
        payload.extend_from_slice(&len.to_le_bytes());
        payload.extend_from_slice(set);
        self.command(&payload);
    }

    pub fn next_event(&mut self) -> Dumped {
        match self.read() {
            Ok(Some(packet)) if packet[0] == 0xFF => Dumped::Error(ServerError::parse(&packet)),
            Ok(Some(packet)) if is_eof(&packet) => Dumped::End,
            Ok(Some(packet)) => Dumped::Event(packet[1..].to_vec()),
            Ok(None) => Dumped::End,
            Err(error) if silent(&error) => Dumped::Silence,
            Err(error) => panic!("dump: {error}"),
        }
    }

    /// Reads a dump to its end without looking at the events: how many packets came, and how many
    /// bytes with their headers.
    pub fn discard_dump(&mut self) -> Result<(u64, u64), ServerError> {
        let mut reader = io::BufReader::with_capacity(1 << 20, &self.stream);
        let (mut packets, mut bytes) = (0, 0);
        let mut is_continued = false;
        loop {
            let mut header = [0; 4];
            reader.read_exact(&mut header).expect("a packet");
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
            bytes += u64::from(length) + 4;
            if !is_continued && length < 512 {
                let mut packet = vec![0; length as usize];
                reader.read_exact(&mut packet).expect("a whole packet");
                match packet.first() {
                    Some(0xFF) => return Err(ServerError::parse(&packet)),
                    Some(0xFE) if is_eof(&packet) => return Ok((packets, bytes)),
                    _ => {}
                }
            } else {
                skip(&mut reader, length as usize);
            }
            packets += u64::from(!is_continued);
            is_continued = length == 0xFF_FFFF;
        }
    }

    /// Reads events until the server ends it: the error, or None.
    pub fn read_to_error(&mut self) -> Option<ServerError> {
        loop {
            match self.next_event() {
                Dumped::Event(_) => {}
                Dumped::Error(error) => return Some(error),
                Dumped::End | Dumped::Silence => return None,
            }
        }
    }
}

/// A connection to 127.0.0.1 from another address of this machine, such as 127.0.0.3.
pub fn connect_from(address: [u8; 4], port: u16) -> io::Result<TcpStream> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    Ok(socket.into())
}

/// Options of an account over TCP, for the plain client library.
pub fn tcp_opts(host: &str, port: u16, user: &str, password: &str) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port)
        .user(Some(user))
        .pass(Some(password))
        .prefer_socket(false)
        .into()
}

/// Passes over bytes without a copy of them.
fn skip(reader: &mut impl io::BufRead, mut length: usize) {
    while length > 0 {
        let available = reader.fill_buf().expect("a whole packet").len();
        assert!(available > 0, "the connection ended within a packet");
        let now = available.min(length);
        reader.consume(now);
        length -= now;
    }
}

fn ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

fn silent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn is_eof(packet: &[u8]) -> bool {
    packet[0] == 0xFE && packet.len() < 9
}

fn until_zero(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    (text, bytes.get(end + 1..).unwrap_or_default())
}

/// Length-encoded strings; lengths up to 64 KiB are enough here.
fn text_row(mut packet: &[u8]) -> Vec<Option<String>> {
    let mut columns = Vec::new();
    while let Some((first, rest)) = packet.split_first() {
        let (length, rest) = match first {
            0xFB => {
                columns.push(None);
                packet = rest;
                continue;
            }
            0xFC => (
                usize::from(u16::from_le_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            small => (usize::from(*small), rest),
        };
        columns.push(Some(String::from_utf8_lossy(&rest[..length]).into_owned()));
        packet = &rest[length..];
    }
    columns
}
