//! A source that attacks the relay: a man in the middle who wants its password, or a server that wants
//! its memory.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use binrelay::protocol::auth::{
    AuthPlugin, encode_full_auth_needed, encode_public_key, encode_switch,
};
use binrelay::protocol::capability::{CLIENT_SSL, SERVER_SIDE};
use binrelay::protocol::framing::put_packet;
use binrelay::protocol::handshake::{COLLATION_UTF8MB4, Greeting, SCRAMBLE_LENGTH};
use binrelay::protocol::response::{OkPacket, encode_eof};
use binrelay::tls::{PasswordKey, ServerTls, server_config};
use rustls::{ServerConnection, StreamOwned};
use tempfile::TempDir;

const SCRAMBLE: [u8; SCRAMBLE_LENGTH] = *b"abcdefghijklmnopqrst";

/// What it does with the relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attack {
    /// Without TLS, `caching_sha2_password`: it requires the password and sends its own RSA key.
    OwnKey,
    /// The same, after a greeting with `mysql_native_password` and a switch.
    OwnKeyAfterSwitch,
    /// The same, sending the key before it is requested.
    OwnKeyUnasked,
    /// Without TLS: it switches to `mysql_clear_password`.
    Clear,
    /// With its own certificate: it switches to `mysql_clear_password`.
    ClearOverTls,
    /// With its own certificate: it requires the password of a `caching_sha2_password` account.
    FullOverTls,
    /// It accepts any login, and answers each question with this many bytes of NULLs.
    Nulls(usize),
}

impl Attack {
    fn offers_tls(self) -> bool {
        matches!(self, Attack::ClearOverTls | Attack::FullOverTls)
    }

    fn greeting_plugin(self) -> &'static str {
        match self {
            Attack::OwnKey | Attack::OwnKeyUnasked | Attack::FullOverTls => "caching_sha2_password",
            _ => "mysql_native_password",
        }
    }
}

struct Shared {
    _dir: TempDir,
    attack: Mutex<Attack>,
    key: PasswordKey,
    tls: ServerTls,
    /// Everything that clients sent, decrypted; a packet each.
    received: Mutex<Vec<Vec<u8>>>,
}

/// A hostile source on a port of its own.
pub struct HostileSource {
    pub port: u16,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key pair that has been generated.
fn key_in(dir: &Path) -> PasswordKey {
    let key = PasswordKey::open(dir).expect("a key");
    // In a thread of its own: the test runs in a runtime, and must not start another one.
    let generating = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(key.ready());
        key
    });
    generating.join().expect("the key is ready")
}

impl HostileSource {
    pub fn start(attack: Attack) -> HostileSource {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            attack: Mutex::new(attack),
            key: key_in(dir.path()),
            tls: server_config(None, dir.path()).expect("a certificate"),
            received: Mutex::default(),
            _dir: dir,
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // A client that disconnects ends its session; the test does not fail.
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        HostileSource { port, shared }
    }

    pub fn attack_by(&self, attack: Attack) {
        *lock(&self.shared.attack) = attack;
    }

    /// Whether a client has given the password away: in clear text, or encrypted for this server's key.
    pub fn has_got(&self, password: &str) -> bool {
        let masked: Vec<u8> = format!("{password}\0")
            .bytes()
            .zip(SCRAMBLE.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        lock(&self.shared.received).iter().any(|packet| {
            let is_in = |bytes: &[u8]| packet.windows(bytes.len()).any(|part| part == bytes);
            is_in(password.as_bytes())
                || self
                    .shared
                    .key
                    .decrypt(packet)
                    .is_some_and(|clear| *clear == masked)
        })
    }

    /// How many packets clients have sent.
    pub fn packets(&self) -> usize {
        lock(&self.shared.received).len()
    }
}

/// The server's side of one connection.
struct Session<'a, S> {
    stream: S,
    sequence: u8,
    shared: &'a Shared,
}

impl<S: Read + Write> Session<'_, S> {
    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut packet = Vec::new();
        put_packet(&mut packet, &mut self.sequence, payload);
        self.stream.write_all(&packet)?;
        self.stream.flush()
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        self.sequence = header[3].wrapping_add(1);
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload)?;
        lock(&self.shared.received).push(payload.clone());
        Ok(payload)
    }

    fn log_in(&mut self, attack: Attack) -> io::Result<()> {
        self.read()?;
        match attack {
            Attack::Clear | Attack::ClearOverTls => {
                self.write(&encode_switch(AuthPlugin::Clear, &[]))?;
                self.read()?;
            }
            Attack::OwnKeyAfterSwitch => {
                self.write(&encode_switch(AuthPlugin::CachingSha2, &SCRAMBLE))?;
                self.read()?;
                self.require_password()?;
            }
            Attack::OwnKeyUnasked => {
                self.write(&encode_public_key(self.shared.key.public_pem()))?;
                self.read()?;
            }
            Attack::OwnKey => self.require_password()?,
            Attack::FullOverTls => {
                self.write(&encode_full_auth_needed())?;
                self.read()?;
            }
            Attack::Nulls(_) => {}
        }
        self.write(&OkPacket::default().encode())
    }

    fn require_password(&mut self) -> io::Result<()> {
        self.write(&encode_full_auth_needed())?;
        self.read()?;
        self.write(&encode_public_key(self.shared.key.public_pem()))?;
        self.read()?;
        Ok(())
    }

    /// Answers questions until the client disconnects.
    fn answer(&mut self, nulls: usize) -> io::Result<()> {
        const COLUMNS: u8 = 100;
        loop {
            self.read()?;
            let mut answer = Vec::new();
            let mut column = Vec::new();
            for text in ["def", "", "", "", "c", ""] {
                column.push(text.len() as u8);
                column.extend_from_slice(text.as_bytes());
            }
            column.extend_from_slice(&[12, 45, 0, 0, 1, 0, 0, 0xFD, 0, 0, 0, 0, 0]);
            put_packet(&mut answer, &mut self.sequence, &[COLUMNS]);
            for _ in 0..COLUMNS {
                put_packet(&mut answer, &mut self.sequence, &column);
            }
            put_packet(&mut answer, &mut self.sequence, &encode_eof(2));
            self.stream.write_all(&answer)?;
            let row = [0xFB; COLUMNS as usize];
            for _ in 0..nulls / row.len() / 1000 {
                answer.clear();
                for _ in 0..1000 {
                    put_packet(&mut answer, &mut self.sequence, &row);
                }
                self.stream.write_all(&answer)?;
            }
            self.write(&encode_eof(2))?;
        }
    }
}

fn serve(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let attack = *lock(&shared.attack);
    let mut session = Session {
        stream: client,
        sequence: 0,
        shared,
    };
    let tls = if attack.offers_tls() { CLIENT_SSL } else { 0 };
    let greeting = Greeting {
        server_version: "8.0.36".to_owned(),
        connection_id: 7,
        scramble: SCRAMBLE,
        capabilities: SERVER_SIDE | tls,
        collation: COLLATION_UTF8MB4,
        status: 2,
        auth_plugin: attack.greeting_plugin().to_owned(),
    };
    session.write(&greeting.encode())?;
    if attack.offers_tls() {
        session.read()?;
        let connection = ServerConnection::new(shared.tls.config.clone());
        let connection = connection.map_err(io::Error::other)?;
        let mut session = Session {
            stream: StreamOwned::new(connection, session.stream),
            sequence: session.sequence,
            shared,
        };
        return session.log_in(attack);
    }
    session.log_in(attack)?;
    match attack {
        Attack::Nulls(bytes) => session.answer(bytes),
        _ => Ok(()),
    }
}
