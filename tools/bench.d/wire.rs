//! A source at wire speed: a real server whose binlog is sent from memory.
//!
//! It forwards everything to the server, and keeps what the server answers to the first dump request. Later dump
//! requests are answered with that, so that the server's own speed is not measured. The relay asks for the same each
//! time, because it is always a fresh one.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// Bytes forwarded by one call.
const BLOCK_LEN: usize = 256 * 1024;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;

/// The proxy; it runs until the process ends.
pub struct WireSource {
    pub port: u16,
    dump: Arc<Dump>,
}

type Recording = Arc<Mutex<Vec<u8>>>;

#[derive(Default)]
struct Dump {
    /// The answer to each dump request of the first run: a relay reads the beginning of a file on another connection
    /// before it follows the source.
    recordings: Mutex<Vec<Recording>>,
    /// Once it is complete.
    complete: Mutex<Option<Arc<Vec<u8>>>>,
    /// When the newest dump was requested.
    requested: Mutex<Option<Instant>>,
}

impl WireSource {
    /// In front of the server at `server_port`.
    pub fn start(server_port: u16) -> WireSource {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let dump = Arc::new(Dump::default());
        let own = dump.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let dump = own.clone();
                let _ = client.set_nodelay(true);
                thread::spawn(move || dump.serve(client, server_port));
            }
        });
        WireSource { port, dump }
    }

    /// The longest answer that was recorded is the whole dump; it is sent from now on.
    pub fn finish_recording(&self) -> Arc<Vec<u8>> {
        let recordings = std::mem::take(&mut *self.dump.recordings.lock().expect("no panic"));
        let recorded = recordings.iter();
        let recorded = recorded.map(|one| std::mem::take(&mut *one.lock().expect("no panic")));
        let bytes = Arc::new(recorded.max_by_key(Vec::len).expect("a dump was recorded"));
        *self.dump.complete.lock().expect("no panic") = Some(bytes.clone());
        bytes
    }

    /// When the newest dump was requested.
    pub fn requested(&self) -> Instant {
        let requested = *self.dump.requested.lock().expect("no panic");
        requested.expect("a dump was requested")
    }
}

impl Dump {
    fn serve(self: Arc<Self>, client: TcpStream, server_port: u16) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else {
            return;
        };
        let _ = server.set_nodelay(true);
        let records = Arc::new(Mutex::new(None));
        let (mut from_server, mut to_client) = (
            server.try_clone().expect("a socket"),
            client.try_clone().expect("a socket"),
        );
        let recording: Arc<Mutex<Option<Recording>>> = records.clone();
        thread::spawn(move || {
            let mut block = vec![0; BLOCK_LEN];
            while let Ok(len @ 1..) = from_server.read(&mut block) {
                if let Some(recording) = &*recording.lock().expect("no panic") {
                    let mut recording = recording.lock().expect("no panic");
                    recording.extend_from_slice(&block[..len]);
                }
                if to_client.write_all(&block[..len]).is_err() {
                    break;
                }
            }
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let _ = self.forward_commands(&client, &server, &records);
        let _ = server.shutdown(Shutdown::Both);
    }

    /// From the client to the server, packet by packet.
    fn forward_commands(
        &self,
        mut client: &TcpStream,
        mut server: &TcpStream,
        records: &Mutex<Option<Recording>>,
    ) -> std::io::Result<()> {
        loop {
            let mut packet = vec![0; 4];
            client.read_exact(&mut packet)?;
            let len = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
            packet.resize(4 + len, 0);
            client.read_exact(&mut packet[4..])?;
            let is_command = packet[3] == 0;
            if is_command
                && matches!(
                    packet.get(4),
                    Some(&(COM_BINLOG_DUMP | COM_BINLOG_DUMP_GTID))
                )
            {
                *self.requested.lock().expect("no panic") = Some(Instant::now());
                let complete = self.complete.lock().expect("no panic").clone();
                if let Some(bytes) = complete {
                    client.write_all(&bytes)?;
                    continue;
                }
                let recording = Recording::default();
                self.recordings
                    .lock()
                    .expect("no panic")
                    .push(recording.clone());
                *records.lock().expect("no panic") = Some(recording);
            }
            server.write_all(&packet)?;
        }
    }
}
