//! An address that is moved from one server to another: a forwarder of TCP connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct VirtualIp {
    pub port: u16,
    target: Arc<AtomicU16>,
    moves: watch::Sender<u64>,
}

impl VirtualIp {
    /// An address of the server at this port of 127.0.0.1.
    pub async fn of(target: u16) -> VirtualIp {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let target = Arc::new(AtomicU16::new(target));
        let moves = watch::Sender::new(0);
        let (shared, moved) = (Arc::clone(&target), moves.subscribe());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut moved = moved.clone();
                moved.mark_unchanged();
                let target = shared.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    let forwarding = async {
                        if let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await {
                            copy_bidirectional(&mut client, &mut server).await.ok();
                        }
                    };
                    tokio::select! {
                        _ = moved.changed() => {}
                        () = forwarding => {}
                    }
                });
            }
        });
        VirtualIp {
            port,
            target,
            moves,
        }
    }

    /// Moves it to the server at another port: all connections end.
    pub fn move_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
        self.moves.send_modify(|moves| *moves += 1);
    }
}
