//! How fast many replicas that discard everything are served from files, beside the floor: the same bytes from a file to
//! as many sockets.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::Options;
use crate::at_size::{Generator, Running, Size};
use crate::measure::{CLIENT_SERVER_ID, RUN_SECS_MAX};
use crate::report::Report;
use crate::support::raw_client::RawClient;
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER};

/// How many replicas read at the same time.
const REPLICAS: [u32; 3] = [1, 16, 100];
/// Bytes read and written by one call of the floor, as many as a block of the relay.
const BLOCK_LEN: usize = 512 * 1024;
const BINLOG_DUMP_NON_BLOCK: u16 = 1;

/// What was measured with so many replicas, a number for each round.
pub struct Served {
    pub replicas: u32,
    /// Bytes of the log.
    pub bytes: u64,
    /// Seconds.
    pub floor: Vec<f64>,
    pub relay: Vec<f64>,
    /// Processor time of the relay, in seconds.
    pub cpu_seconds: Vec<f64>,
    /// The most memory that the relay has held while it served, above what it held before.
    pub added_kib: u64,
}

/// Generates a log of so many MiB of small transactions, and serves it.
pub fn measure(kind: Kind, mib: u64, options: &Options, report: &mut Report) {
    let base = options.directory();
    let directory = tempfile::tempdir_in(base).expect("a directory");
    let data = directory.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    let size = Size {
        files: 1,
        file_len: 0,
        transactions: mib * (1 << 20) / Generator::small_len(kind) / 2 * 2,
    };
    Generator::new(kind, data.clone(), size).write_all();
    let log = data.join("relay-bin.000001");
    let bytes = std::fs::metadata(&log).expect("the log").len();
    let mut all = REPLICAS.map(|replicas| Served {
        replicas,
        bytes,
        floor: Vec::new(),
        relay: Vec::new(),
        cpu_seconds: Vec::new(),
        added_kib: 0,
    });
    for round in 0..options.rounds {
        for served in &mut all {
            served.floor.push(file_to_sockets(&log, served.replicas));
            let relay = Running::start(&options.relay, directory.path(), &data);
            // The first look at the file is not measured.
            serve(relay.port, kind, 1);
            let (cpu, memory) = (relay.cpu_seconds(), relay.peak_kib());
            served.relay.push(serve(relay.port, kind, served.replicas));
            served.cpu_seconds.push(relay.cpu_seconds() - cpu);
            let added = relay.peak_kib().saturating_sub(memory);
            served.added_kib = served.added_kib.max(added);
            relay.stop();
        }
        report.note(&format!("{kind}: serving, round {}", round + 1));
    }
    report.add_served(kind, &all);
}

/// The seconds until so many replicas have read the whole log.
fn serve(port: u16, kind: Kind, replicas: u32) -> f64 {
    let begin = Arc::new(Barrier::new(replicas as usize + 1));
    let readers = (0..replicas).map(|number| {
        let begin = begin.clone();
        thread::spawn(move || {
            let server_id = CLIENT_SERVER_ID + 1 + number;
            let uuid = format!("00000000-0000-0000-0000-{server_id:012}");
            let mut client = RawClient::connect("127.0.0.1", port);
            client.set_read_timeout(Duration::from_secs(RUN_SECS_MAX));
            client.login(REPL_USER, REPL_PASSWORD).expect("a login");
            client
                .prepare_dump(server_id, kind.is_mysql().then_some(uuid.as_str()))
                .expect("a session for a dump");
            begin.wait();
            client.dump(server_id, "relay-bin.000001", 4, BINLOG_DUMP_NON_BLOCK);
            client.discard_dump().expect("the whole log");
        })
    });
    let readers: Vec<_> = readers.collect();
    begin.wait();
    let began = Instant::now();
    for reader in readers {
        reader.join().expect("a replica");
    }
    began.elapsed().as_secs_f64()
}

/// The seconds that the file takes to so many clients that discard it, with a thread for each.
fn file_to_sockets(path: &Path, clients: u32) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let connect = |_| TcpStream::connect(address).expect("a connection");
    let connected: Vec<TcpStream> = (0..clients).map(connect).collect();
    let accepted = (0..clients).map(|_| listener.accept().expect("a client").0);
    let accepted: Vec<TcpStream> = accepted.collect();
    let began = Instant::now();
    let sending = accepted.into_iter().map(|mut client| {
        let path = path.to_owned();
        thread::spawn(move || {
            let mut file = File::open(path).expect("the file");
            let mut block = vec![0; BLOCK_LEN];
            while let Ok(len @ 1..) = file.read(&mut block) {
                client.write_all(&block[..len]).expect("everything is sent");
            }
        })
    });
    let sending: Vec<_> = sending.collect();
    let receiving = connected.into_iter().map(|mut source| {
        thread::spawn(move || {
            let mut block = vec![0; 1 << 20];
            while let Ok(1..) = source.read(&mut block) {}
        })
    });
    let receiving: Vec<_> = receiving.collect();
    for one in sending.into_iter().chain(receiving) {
        one.join().expect("a thread");
    }
    began.elapsed().as_secs_f64()
}
