//! A gate between a source and the relay that lets a number of bytes pass and then holds the rest, so
//! that something can be killed in the middle of a transaction, in every run. It can also be shut:
//! then the source is unreachable through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Deadline;

#[derive(Default)]
struct State {
    /// Bytes that have gone from the server to the client.
    passed: AtomicU64,
    /// Bytes that may.
    limit: AtomicU64,
}

pub struct Gate {
    pub port: u16,
    state: Arc<State>,
    is_shut: watch::Sender<bool>,
}

impl Gate {
    /// An open gate to a port on 127.0.0.1.
    pub async fn open_to(target: u16) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let state = Arc::new(State {
            passed: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
        });
        let shared = Arc::clone(&state);
        let (is_shut, shut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut shut = shut.clone();
                let forward = forward(client, target, Arc::clone(&shared));
                tokio::spawn(async move {
                    tokio::select! {
                        _ = shut.wait_for(|is_shut| *is_shut) => {}
                        () = forward => {}
                    }
                });
            }
        });
        Gate {
            port,
            state,
            is_shut,
        }
    }

    /// Closes all connections; new ones are closed at once, until [`Gate::open`].
    pub fn shut(&self) {
        self.is_shut.send_replace(true);
    }

    pub fn open(&self) {
        self.is_shut.send_replace(false);
    }

    /// Lets this many bytes more pass.
    pub fn hold_after(&self, bytes: u64) {
        let passed = self.state.passed.load(Ordering::SeqCst);
        self.state.limit.store(passed + bytes, Ordering::SeqCst);
    }

    /// Waits until it holds something back.
    pub async fn wait_held(&self, secs: u64) {
        let deadline = Deadline::after_secs(secs);
        while self.state.passed.load(Ordering::SeqCst) < self.state.limit.load(Ordering::SeqCst) {
            assert!(
                !deadline.passed(),
                "the source sent too little within {secs} s"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The other side needs a moment to read it.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    pub fn release(&self) {
        self.state.limit.store(u64::MAX, Ordering::SeqCst);
    }
}

async fn forward(client: TcpStream, target: u16, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upward = tokio::io::copy(&mut from_client, &mut to_server);
    let downward = async {
        let mut buffer = vec![0; 65536];
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return to_client.shutdown().await;
            }
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                let passed = state.passed.load(Ordering::SeqCst);
                let free = state.limit.load(Ordering::SeqCst).saturating_sub(passed);
                let now = rest.len().min(usize::try_from(free).unwrap_or(usize::MAX));
                if now == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                to_client.write_all(&rest[..now]).await?;
                state.passed.fetch_add(now as u64, Ordering::SeqCst);
                rest = &rest[now..];
            }
        }
    };
    // Either side's end is the connection's end.
    tokio::select! {
        _ = upward => {}
        _ = downward => {}
    }
}
