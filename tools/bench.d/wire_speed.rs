//! How fast the relay records what a source sends at wire speed, beside the floor: the same bytes from a socket into
//! a file, with the same syncs.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Options;
use crate::floor::{Syncs, file_to_socket, socket_to_file};
use crate::measure::{CLIENT_SERVER_ID, KeyPair, RUN_SECS_MAX};
use crate::report::{Figures, Floor, Report};
use crate::source::Source;
use crate::support::Deadline;
use crate::support::raw_client::RawClient;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::servers::{REPL_PASSWORD, REPL_USER};
use crate::wire::WireSource;

/// The pause between two looks at how much is durable.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// Measures the floor and each build, in turn.
pub async fn measure(source: &Source, options: &Options, report: &mut Report) -> (Figures, Floor) {
    let programs = options.programs();
    let keys = KeyPair::generate(&programs[0], &[source]).await;
    let wire = WireSource::start(source.server.port);
    let base = options.directory();
    let directory = tempfile::tempdir_in(&base).expect("a directory");
    // The first run records, and is not measured.
    time_relay(&programs[0], source, &wire, &keys, options).await;
    let bytes = wire.finish_recording();
    let mut floor = Floor::default();
    let mut figures = Figures::new("wire", "the floor, overlapped", programs.len());
    for round in 0..options.rounds {
        let timed = |syncs| socket_to_file(&bytes, directory.path(), syncs);
        floor.inline.push(timed(Syncs::Inline));
        floor.unsynced.push(timed(Syncs::None));
        figures.reference.push(timed(Syncs::Overlapped));
        floor.serving.push(file_to_socket(&bytes, directory.path()));
        let mut order: Vec<usize> = (0..programs.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let (seconds, cpu, peak_kib) =
                time_relay(&programs[index], source, &wire, &keys, options).await;
            figures.relays[index].push(seconds);
            figures.cpu_seconds[index].push(cpu);
            figures.peak_kib[index] = figures.peak_kib[index].max(peak_kib);
        }
        report.note(&format!("round {}: {figures}", round + 1));
    }
    (figures, floor)
}

/// The seconds from the request of the dump until everything is durable, the processor time and the peak memory.
async fn time_relay(
    program: &Path,
    source: &Source,
    wire: &WireSource,
    keys: &KeyPair,
    options: &Options,
) -> (f64, f64, u64) {
    let mut of_source = SourceOptions::at("m1", wire.port);
    let of_source_lines = [
        "tls = { mode = \"disabled\" }",
        // Whether the server has the account in its cache yet does not matter then.
        "get_source_public_key = true",
    ];
    of_source.extra.extend(of_source_lines.map(str::to_owned));
    let mut of_relay = RelayOptions::new(vec![of_source]);
    of_relay.program = program.to_path_buf();
    of_relay.replicate_do_db.clear();
    of_relay.data_files = keys.files();
    of_relay.base = options.dir.clone();
    let mut relay = Relay::start(of_relay);
    let replicas: Vec<_> = (0..options.replicas)
        .map(|number| null_replica(relay.port, number, source.server.kind.is_mysql()))
        .collect();
    let (stop, mark) = (
        Arc::new(AtomicBool::new(false)),
        relay.data_dir().join("relay-bin.durable"),
    );
    let own = stop.clone();
    let watching = thread::spawn(move || watch(&mark, &own));
    let (file, position) = source.end();
    let deadline = Deadline::after_secs(RUN_SECS_MAX);
    loop {
        let status = relay.status();
        let first = &status["sources"][0];
        if first["file"] == file.as_str() && first["position"] == *position {
            break;
        }
        relay.assert_running();
        assert!(!deadline.passed(), "not everything in {RUN_SECS_MAX} s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let cpu = relay.cpu_seconds();
    stop.store(true, Ordering::Relaxed);
    let reached = watching.join().expect("the watcher");
    let peak_kib = relay.rss_peak_kib();
    relay.terminate();
    for replica in replicas {
        let _ = replica.join();
    }
    let seconds = reached.saturating_duration_since(wire.requested());
    (seconds.as_secs_f64(), cpu, peak_kib)
}

/// When the durable mark got its last value.
fn watch(mark: &PathBuf, stop: &AtomicBool) -> Instant {
    let (mut last, mut since) = (Vec::new(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        if let Ok(bytes) = std::fs::read(mark)
            && bytes != last
        {
            (last, since) = (bytes, Instant::now());
        }
        thread::sleep(LOOK_PAUSE);
    }
    since
}

/// A replica that discards everything, until the relay ends.
fn null_replica(port: u16, number: u32, has_uuid: bool) -> thread::JoinHandle<()> {
    let server_id = CLIENT_SERVER_ID + 1 + number;
    let uuid = format!("00000000-0000-0000-0000-{server_id:012}");
    thread::spawn(move || {
        while TcpStream::connect(("127.0.0.1", port)).is_ok() {
            let mut client = RawClient::connect("127.0.0.1", port);
            client.set_read_timeout(Duration::from_secs(RUN_SECS_MAX));
            client.login(REPL_USER, REPL_PASSWORD).expect("a login");
            client
                .prepare_dump(server_id, has_uuid.then_some(uuid.as_str()))
                .expect("a session for a dump");
            client.dump(server_id, "relay-bin.000001", 4, 0);
            // An error while there is no log yet, or when the relay ends.
            if client.discard_dump().is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    })
}
