//! The floor: what the machine needs for the bytes alone, without a relay: socket to file with the relay's
//! discipline of syncs, and file to socket.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

/// Bytes read and written by one call.
const BLOCK_LEN: usize = 1024 * 1024;
/// Bytes between two syncs, as many as a group of the relay has at most.
const GROUP_LEN: u64 = 16 * 1024 * 1024;

/// When what was written is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// After each group, before the next one is received.
    Inline,
    /// After each group, while the next one is received.
    Overlapped,
    /// Never.
    None,
}

/// The seconds that `bytes` take from a socket into a file in `dir`.
pub fn socket_to_file(bytes: &Arc<Vec<u8>>, dir: &Path, syncs: Syncs) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let sent = bytes.clone();
    let sending = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("the receiver connects");
        client.write_all(&sent).expect("everything is sent");
    });
    let path = dir.join("floor");
    let file = Arc::new(File::create(&path).expect("a file"));
    let began = Instant::now();
    let mut source = TcpStream::connect(address).expect("a connection");
    let (requests, requested) = sync_channel::<()>(0);
    let own = file.clone();
    let syncing = thread::spawn(move || {
        while requested.recv().is_ok() {
            own.sync_data().expect("a sync");
        }
    });
    let (mut block, mut written, mut synced) = (vec![0; BLOCK_LEN], 0, 0);
    while let Ok(len @ 1..) = source.read(&mut block) {
        file.write_all_at(&block[..len], written).expect("a write");
        written += len as u64;
        if written - synced < GROUP_LEN {
            continue;
        }
        synced = written;
        match syncs {
            Syncs::Inline => file.sync_data().expect("a sync"),
            Syncs::Overlapped => requests.send(()).expect("the thread that syncs"),
            Syncs::None => {}
        }
    }
    drop(requests);
    syncing.join().expect("the thread that syncs");
    if syncs != Syncs::None {
        file.sync_data().expect("a sync");
    }
    let took = began.elapsed().as_secs_f64();
    sending.join().expect("the sender");
    assert_eq!(written, bytes.len() as u64, "bytes that were received");
    std::fs::remove_file(path).expect("the file is removed");
    took
}

/// The seconds that `bytes`, which are in a file in `dir`, take to a client that discards them.
pub fn file_to_socket(bytes: &[u8], dir: &Path) -> f64 {
    let path = dir.join("floor");
    std::fs::write(&path, bytes).expect("a file");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let read = path.clone();
    let sending = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("the receiver connects");
        let mut file = File::open(read).expect("the file");
        let mut block = vec![0; BLOCK_LEN];
        while let Ok(len @ 1..) = file.read(&mut block) {
            client.write_all(&block[..len]).expect("everything is sent");
        }
    });
    let began = Instant::now();
    let mut source = TcpStream::connect(address).expect("a connection");
    let (mut block, mut received) = (vec![0; BLOCK_LEN], 0);
    while let Ok(len @ 1..) = source.read(&mut block) {
        received += len;
    }
    let took = began.elapsed().as_secs_f64();
    sending.join().expect("the sender");
    assert_eq!(received, bytes.len(), "bytes that were received");
    std::fs::remove_file(path).expect("the file is removed");
    took
}
