//! The network between a source and the relay, which fails on request: a forwarder of TCP connections.
//!
//! A fault affects the connection with the dump: the one on which the client has sent COM_BINLOG_DUMP or
//! COM_BINLOG_DUMP_GTID. The link must not use TLS.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Deadline;

/// What happens to the bytes from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection ends in order after so many more bytes, within a packet.
    CutAfter(u64),
    /// It is reset.
    ResetAfter(u64),
    /// One bit of the byte after so many more is flipped, once.
    CorruptAfter(u64),
    /// Nothing passes any more, in either direction, and nothing is closed.
    HalfOpen,
    /// Nothing passes from the source; what the client sends does.
    OneWay,
    /// 1,000 bytes pass in each tenth of a second.
    Slow,
}

struct State {
    fault: Mutex<Fault>,
    /// How often a fault has taken effect.
    happened: AtomicU64,
    /// The number of the fault: connections that an earlier one holds back end.
    number: watch::Sender<u64>,
}

pub struct FaultyLink {
    pub port: u16,
    state: Arc<State>,
}

impl FaultyLink {
    /// A link to a port of 127.0.0.1, without a fault.
    pub async fn to(target: u16) -> FaultyLink {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let state = Arc::new(State {
            fault: Mutex::new(Fault::None),
            happened: AtomicU64::new(0),
            number: watch::Sender::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target, Arc::clone(&shared)));
            }
        });
        FaultyLink { port, state }
    }

    /// Sets the fault, which ends the one before.
    pub fn set(&self, fault: Fault) {
        *self.state.fault.lock().expect("no thread has panicked") = fault;
        self.state.number.send_modify(|number| *number += 1);
    }

    /// Waits until a fault has taken effect so often in all.
    pub async fn wait_happened(&self, count: u64) {
        let deadline = Deadline::after_secs(30);
        while self.state.happened.load(Ordering::SeqCst) < count {
            assert!(!deadline.passed(), "the fault has not taken effect in 30 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl State {
    fn fault(&self) -> Fault {
        *self.fault.lock().expect("no thread has panicked")
    }

    /// The fault has taken effect. One that happens once is over.
    fn note(&self, is_over: bool) {
        if is_over {
            *self.fault.lock().expect("no thread has panicked") = Fault::None;
        }
        self.happened.fetch_add(1, Ordering::SeqCst);
    }
}

async fn forward(client: TcpStream, target: u16, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let is_dump = watch::Sender::new(false);
    let upward = send_up(from_client, to_server, &is_dump, &state);
    let downward = send_down(from_server, to_client, is_dump.subscribe(), &state);
    // Either side's end is the connection's end.
    tokio::select! {
        () = upward => {}
        () = downward => {}
    }
}

async fn send_up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_dump: &watch::Sender<bool>,
    state: &State,
) {
    let mut buffer = vec![0; 65536];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(count) if count > 0 => count,
            _ => return,
        };
        // The command follows the packet's header: 0x12 and 0x1e are the dumps.
        if count > 4 && buffer[3] == 0 && matches!(buffer[4], 0x12 | 0x1e) {
            is_dump.send_replace(true);
        }
        if *is_dump.borrow() && state.fault() == Fault::HalfOpen {
            held_back(state).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn send_down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_dump: watch::Receiver<bool>,
    state: &State,
) {
    let mut buffer = vec![0; 65536];
    let mut since = Since::default();
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(count) if count > 0 => count,
            _ => return,
        };
        let fault = if *is_dump.borrow() {
            state.fault()
        } else {
            Fault::None
        };
        let before = since.passed(count as u64, *state.number.borrow());
        let part = |after: u64| after.checked_sub(before).filter(|at| *at < count as u64);
        match fault {
            Fault::CutAfter(after) => {
                if let Some(at) = part(after) {
                    let _ = to.write_all(&buffer[..at as usize]).await;
                    state.note(true);
                    return;
                }
            }
            Fault::ResetAfter(after) => {
                if let Some(at) = part(after) {
                    let _ = to.write_all(&buffer[..at as usize]).await;
                    state.note(true);
                    // Closing with a linger time of zero resets the connection.
                    let socket = socket2::SockRef::from(to.as_ref());
                    socket
                        .set_linger(Some(Duration::ZERO))
                        .expect("a socket's option");
                    return;
                }
            }
            Fault::CorruptAfter(after) => {
                if let Some(at) = part(after) {
                    buffer[at as usize] ^= 0x10;
                    state.note(true);
                }
            }
            Fault::HalfOpen | Fault::OneWay => {
                state.note(false);
                return held_back(state).await;
            }
            Fault::Slow => {
                for piece in buffer[..count].chunks(1000) {
                    // What was read meanwhile passes at once when the fault is over.
                    if state.fault() == Fault::Slow {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    if to.write_all(piece).await.is_err() {
                        return;
                    }
                }
                state.note(false);
                continue;
            }
            Fault::None => {}
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits until the fault is over.
async fn held_back(state: &State) {
    let mut number = state.number.subscribe();
    let _ = number.changed().await;
}

/// Counts the bytes that have passed since a fault was set.
#[derive(Default)]
struct Since {
    number: u64,
    passed: u64,
}

impl Since {
    /// Adds `count` bytes, and returns how many had passed before.
    fn passed(&mut self, count: u64, number: u64) -> u64 {
        if self.number != number {
            *self = Since { number, passed: 0 };
        }
        let before = self.passed;
        self.passed += count;
        before
    }
}
