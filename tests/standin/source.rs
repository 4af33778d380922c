//! A source that answers and sends its binlog as MySQL 5.5.59 or 5.7.23 does.
//!
//! What a dump contains follows what those servers do: the events of the file as they are; before
//! each file a ROTATE made for the connection; for a dump that begins within a file its format
//! description without position and creation time; heartbeats with the position of the newest
//! event that was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mysql_common::scramble::scramble_native;

use super::answers::{self, OK, UserVariables};
use super::binlog::{Binlog, EventEnd};
use super::dump::{Dump, Step};
use super::version::Version;
use super::wire::{ErrorPacket, Wire};

const USER: &str = "repl";
const SCRAMBLE: &[u8; 20] = b"abcdefghijklmnopqrst";
const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;
const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
const COM_PING: u8 = 14;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1E;

/// Where a connection breaks, counted from an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// After its last byte.
    After,
    /// In its middle.
    Within,
}

/// What the tests see and change.
pub struct State {
    pub binlog: Binlog,
    /// Connections break once at each of these events.
    breaks: BTreeMap<EventEnd, Break>,
    /// Statements that the version does not know.
    pub unknown_statements: BTreeSet<String>,
    /// Requests that a real server would refuse.
    pub refused: Vec<String>,
    pub dumps: usize,
    /// Everything that clients sent after their logins.
    pub commands: Vec<Vec<u8>>,
    is_up: bool,
    is_dropped: bool,
    connections: Vec<TcpStream>,
}

struct Shared {
    password: String,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source on a port of its own; dropping it closes all connections.
pub struct SourceStandin {
    pub port: u16,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl SourceStandin {
    pub fn start(binlog: Binlog, password: &str) -> SourceStandin {
        SourceStandin::start_at("127.0.0.1:0", binlog, password)
    }

    /// On that address; port 0 is a free one.
    pub fn start_at(address: &str, binlog: Binlog, password: &str) -> SourceStandin {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            password: password.to_owned(),
            state: Mutex::new(State {
                binlog,
                breaks: BTreeMap::new(),
                unknown_statements: BTreeSet::new(),
                refused: Vec::new(),
                dumps: 0,
                commands: Vec::new(),
                is_up: true,
                is_dropped: false,
                connections: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &serving));
        SourceStandin {
            port: address.port(),
            address,
            shared,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Changes the binlog; open dumps send what is new.
    pub fn change(&self, change: impl FnOnce(&mut Binlog)) {
        change(&mut self.state().binlog);
        self.shared.changed.notify_all();
    }

    /// From now on the connection breaks once at every event that is in the binlog.
    pub fn break_at_every_event(&self, at: Break) {
        let mut state = self.state();
        state.breaks = state
            .binlog
            .ends()
            .into_iter()
            .map(|end| (end, at))
            .collect();
    }

    /// The same, at the newest `count` events only.
    pub fn break_at_newest_events(&self, count: usize, at: Break) {
        let mut state = self.state();
        let newest = state.binlog.ends().into_iter().rev().take(count);
        state.breaks = newest.map(|end| (end, at)).collect();
    }

    /// How many of these breaks have not come yet.
    pub fn breaks_left(&self) -> usize {
        self.state().breaks.len()
    }

    /// The server ends: by SIGTERM if `cleanly`, else by SIGKILL.
    pub fn stop(&self, cleanly: bool) {
        let mut state = self.state();
        if cleanly {
            state.binlog.stop();
        }
        state.is_up = false;
        state.disconnect();
        self.shared.changed.notify_all();
    }

    /// It is started again, with a new file.
    pub fn restart(&self) {
        let mut state = self.state();
        state.binlog.start();
        state.is_up = true;
    }
}

impl Drop for SourceStandin {
    fn drop(&mut self) {
        let mut state = self.state();
        state.is_dropped = true;
        state.is_up = false;
        state.disconnect();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the listener.
        TcpStream::connect(self.address).ok();
    }
}

impl State {
    fn disconnect(&mut self) {
        for connection in self.connections.drain(..) {
            connection.shutdown(Shutdown::Both).ok();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        let mut state = shared.state();
        if state.is_dropped {
            return;
        }
        if !state.is_up {
            continue;
        }
        // Each holds a descriptor.
        state
            .connections
            .retain(|connection| connection.peer_addr().is_ok());
        state
            .connections
            .push(stream.try_clone().expect("a socket"));
        drop(state);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let mut session = Session {
                wire: Wire::new(stream),
                user: UserVariables::new(),
                short_end: false,
                shared: &shared,
            };
            // An error is the end of the connection.
            let _ = session.serve();
            session.wire.stream.shutdown(Shutdown::Both).ok();
        });
    }
}

struct Session<'a> {
    wire: Wire,
    user: UserVariables,
    /// The client announced CLIENT_DEPRECATE_EOF, and the version has it.
    short_end: bool,
    shared: &'a Shared,
}

impl Session<'_> {
    fn serve(&mut self) -> io::Result<()> {
        if !self.log_in()? {
            return Ok(());
        }
        while let Some(packet) = self.wire.read()? {
            self.shared.state().commands.push(packet.clone());
            let (command, body) = packet.split_first().expect("a command");
            match *command {
                COM_QUIT => return Ok(()),
                COM_QUERY => self.query(&String::from_utf8_lossy(body))?,
                COM_PING | COM_REGISTER_SLAVE => self.wire.write(&OK)?,
                COM_BINLOG_DUMP | COM_BINLOG_DUMP_GTID => return self.dump(*command, body),
                other => self.refuse(&format!("command {other}"), &unknown_command())?,
            }
        }
        Ok(())
    }

    fn version(&self) -> Version {
        self.shared.state().binlog.version
    }

    fn log_in(&mut self) -> io::Result<bool> {
        let version = self.version();
        self.wire.write(&greeting(version))?;
        let Some(response) = self.wire.read()? else {
            return Ok(false);
        };
        let capabilities = u32::from_le_bytes([response[0], response[1], response[2], response[3]]);
        self.short_end = capabilities & version.capabilities() & CLIENT_DEPRECATE_EOF != 0;
        let (user, rest) = response[32..].split_at(USER.len().min(response.len() - 32));
        let expected = scramble_native(SCRAMBLE, self.shared.password.as_bytes());
        let expected = expected.expect("a password");
        let is_right = user == USER.as_bytes()
            && rest.starts_with(&[0, 20])
            && rest[2..].starts_with(&expected);
        if !is_right {
            let denied = "Access denied for user 'repl'@'localhost' (using password: YES)";
            let error = ErrorPacket::new(1045, "28000", denied);
            self.wire.write(&error.payload())?;
            return Ok(false);
        }
        self.wire.write(&OK)?;
        Ok(true)
    }

    fn query(&mut self, sql: &str) -> io::Result<()> {
        let answer = {
            let mut state = self.shared.state();
            let answer = answers::answer(sql, &mut self.user, &state.binlog);
            if answers::is_syntax_error(&answer) {
                state.unknown_statements.insert(sql.to_owned());
            }
            answer
        };
        for payload in answer.payloads(self.short_end) {
            self.wire.write(&payload)?;
        }
        Ok(())
    }

    fn refuse(&mut self, request: &str, error: &ErrorPacket) -> io::Result<()> {
        let refused = format!("{request}: {} {}", error.code, error.message);
        self.shared.state().refused.push(refused);
        self.wire.write(&error.payload())
    }

    fn dump(&mut self, command: u8, body: &[u8]) -> io::Result<()> {
        if command == COM_BINLOG_DUMP_GTID && self.version() == Version::V55 {
            return self.refuse("COM_BINLOG_DUMP_GTID", &unknown_command());
        }
        let begun = {
            let mut state = self.shared.state();
            state.dumps += 1;
            Dump::begin(
                command == COM_BINLOG_DUMP_GTID,
                body,
                &self.user,
                &state.binlog,
            )
        };
        let mut dump = match begun {
            Ok(dump) => dump,
            Err(error) => return self.refuse(&format!("dump {}", body.escape_ascii()), &error),
        };
        loop {
            let (step, at_end) = {
                let mut state = self.shared.state();
                let step = dump.step(&state.binlog);
                let at_end = dump.end().and_then(|end| state.breaks.remove(&end));
                (step, at_end)
            };
            match step {
                Step::Send(event) => {
                    let packet = self.wire.packet(&[&[0], &event[..]].concat());
                    let sent = match at_end {
                        Some(Break::Within) => packet.len() / 2,
                        _ => packet.len(),
                    };
                    io::Write::write_all(&mut self.wire.stream, &packet[..sent])?;
                    if at_end.is_some() {
                        return Ok(());
                    }
                }
                Step::Wait(heartbeat) => {
                    if !self.wait(&dump, heartbeat) {
                        return Ok(());
                    }
                }
                Step::End => return self.wire.write(&[0xFE, 0, 0, 2, 0]),
                Step::Fail(error) => return self.refuse("dump", &error),
            }
        }
    }

    /// Until there is more to send or the heartbeat is due; false when the server is down.
    fn wait(&self, dump: &Dump, heartbeat: Option<Duration>) -> bool {
        let limit = heartbeat.unwrap_or(Duration::from_secs(3600));
        let state = self.shared.state();
        let is_idle = |state: &mut State| state.is_up && !dump.has_more(&state.binlog);
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, limit, is_idle);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_up
    }
}

fn unknown_command() -> ErrorPacket {
    ErrorPacket::new(1047, "08S01", "Unknown command")
}

/// The first packet of a connection, as recorded.
pub fn greeting(version: Version) -> Vec<u8> {
    let capabilities = version.capabilities().to_le_bytes();
    let mut greeting = vec![10];
    greeting.extend(version.name().bytes());
    greeting.extend([0, 3, 0, 0, 0]);
    greeting.extend(&SCRAMBLE[..8]);
    greeting.extend([0, capabilities[0], capabilities[1], 8, 2, 0]);
    greeting.extend([capabilities[2], capabilities[3], 21]);
    greeting.extend([0; 10]);
    greeting.extend(&SCRAMBLE[8..]);
    greeting.push(0);
    greeting.extend(b"mysql_native_password\0");
    greeting
}
