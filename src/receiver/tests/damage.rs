//! Bytes that the network changes on their way: the source is never taken for damaged, and nothing wrong is recorded.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::binlog::Binlog;
use super::following::FollowMode;
use super::source::{FakeSource, Plan, Then};
use super::*;
use crate::binlog::event;

/// Bytes after which a connection is cut: within the format description.
const CUT: usize = 100;

/// What the link does to a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dump {
    Pass,
    /// The byte at this offset of it is changed.
    Flip(usize, u8),
    /// It is cut.
    Cut,
}

/// A forwarder of connections to a source, which changes one byte of most dumps.
struct Link {
    port: u16,
    state: Arc<Mutex<LinkState>>,
}

struct LinkState {
    /// The offsets of the bytes that are changed, one for each dump.
    offsets: std::vec::IntoIter<usize>,
    flipped: usize,
    /// The dump before was changed.
    has_flipped: bool,
    passes_scan: bool,
    /// The receiver behind it.
    status: Option<Arc<SourceStatus>>,
    /// The errors of a source that was `failed` when it connected.
    failures: Vec<LastError>,
}

impl LinkState {
    fn note_connection(&mut self) {
        let status = self.status.as_ref();
        if let Some(status) = status.filter(|status| status.state() == SourceState::Failed) {
            self.failures.extend(status.last_error());
        }
    }

    /// No two dumps in a row are changed: a source whose event is damaged twice is `failed`.
    fn next(&mut self, is_scan: bool) -> Dump {
        if std::mem::take(&mut self.has_flipped) {
            return Dump::Cut;
        }
        if is_scan {
            self.passes_scan = !self.passes_scan;
            if self.passes_scan {
                return Dump::Pass;
            }
        }
        let Some(at) = self.offsets.next() else {
            return Dump::Pass;
        };
        self.has_flipped = true;
        self.flipped += 1;
        Dump::Flip(at, [0x01, 0x10, 0x80][self.flipped % 3])
    }
}

impl Link {
    async fn to(target: u16, offsets: Vec<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(LinkState {
            offsets: offsets.into_iter(),
            flipped: 0,
            has_flipped: false,
            passes_scan: false,
            status: None,
            failures: Vec::new(),
        }));
        let shared = state.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                shared.lock().unwrap().note_connection();
                let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                tokio::spawn(forward(client, server, shared.clone()));
            }
        });
        Self { port, state }
    }
}

async fn forward(client: TcpStream, server: TcpStream, state: Arc<Mutex<LinkState>>) {
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let dump = watch::Sender::new(None);
    tokio::select! {
        () = send_up(client_in, server_out, &dump, &state) => {}
        () = send_down(server_in, client_out, dump.subscribe()) => {}
    }
}

async fn send_up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    dump: &watch::Sender<Option<Dump>>,
    state: &Mutex<LinkState>,
) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        let flags = match bytes.get(4) {
            Some(0x12) => Some(bytes[9]),
            Some(0x1e) => Some(bytes[5]),
            _ => None,
        };
        if let Some(flags) = flags.filter(|_| bytes[3] == 0) {
            let next = state.lock().unwrap().next(flags & 1 != 0);
            dump.send_replace(Some(next));
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn send_down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    dump: watch::Receiver<Option<Dump>>,
) {
    let mut buffer = vec![0; 65536];
    let mut passed = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &mut buffer[..count];
        match *dump.borrow() {
            Some(Dump::Flip(at, mask)) => {
                if let Some(byte) = at.checked_sub(passed).and_then(|at| bytes.get_mut(at)) {
                    *byte ^= mask;
                }
            }
            Some(Dump::Cut) if passed + count > CUT => return,
            _ => {}
        }
        if dump.borrow().is_some() {
            passed += count;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// The offsets of bytes that are changed in turn: few of them in each run, all of 1,000 by hand.
fn offsets() -> Vec<usize> {
    let is_long = std::env::var("BINRELAY_PROFILE").is_ok_and(|profile| profile == "long");
    let count = if is_long { 3000 } else { 100 };
    (0..count).map(|number| number * 37 % 1000).collect()
}

/// The bodies of all events in the log that no relay rewrites.
fn bodies(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(dir.join("relay-bin.000001")).unwrap();
    let events = make::split(&bytes[MAGIC.len()..]);
    let rewritten = |event: &[u8]| {
        let kind = EventType(event[4]);
        kind.is_control() || kind.is_gtid()
    };
    let kept = events.iter().filter(|event| !rewritten(event));
    kept.map(|event| event::body(event, true).to_vec())
        .collect()
}

async fn changed_bytes_are_fetched_again(mode: FollowMode) {
    let offsets = offsets();
    let mut binlog = Binlog::new(mode.flavor(), 86);
    for number in 1..=3 * offsets.len() as u64 {
        if number % 10 == 0 {
            binlog.next_file(Checksum::Crc32);
        }
        binlog.commit(86, number);
    }
    let source = FakeSource::start(binlog.clone()).await;
    let link = Link::to(source.port, offsets).await;
    let config = SourceConfig {
        port: link.port,
        ..mode.config(&source)
    };
    let relay = Relay::start(mode.flavor(), vec![config], vec![at_start(86)]);
    link.state.lock().unwrap().status = Some(relay.statuses[0].clone());
    let waiting = async {
        while relay.progress(0) != binlog.end() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(600), waiting).await;
    let error = relay.statuses[0].last_error();
    assert!(waited.is_ok(), "it ends: {error:?}");
    let flipped = link.state.lock().unwrap().flipped;
    let failures = std::mem::take(&mut link.state.lock().unwrap().failures);
    assert!(failures.is_empty(), "{mode:?}: {failures:?}");
    let dir = relay.dir.path().to_owned();
    let kept = bodies(&dir);
    assert_eq!(relay.stop().await, binlog.executed(), "{mode:?}");

    let undisturbed = Relay::start(
        mode.flavor(),
        vec![mode.config(&source)],
        vec![at_start(86)],
    );
    undisturbed.until_executed(binlog.executed()).await;
    assert_eq!(bodies(undisturbed.dir.path()), kept, "{mode:?}");
    undisturbed.stop().await;
    println!("{mode:?}: {flipped} bytes were changed");
}

#[tokio::test]
async fn changed_bytes_are_fetched_again_by_gtid_from_mysql() {
    changed_bytes_are_fetched_again(FollowMode::MySqlSet).await;
}

#[tokio::test]
async fn changed_bytes_are_fetched_again_by_position_from_mysql() {
    changed_bytes_are_fetched_again(FollowMode::MySqlFile).await;
}

#[tokio::test]
async fn changed_bytes_are_fetched_again_by_gtid_from_mariadb() {
    changed_bytes_are_fetched_again(FollowMode::MariaDbPosition).await;
}

#[tokio::test]
async fn changed_bytes_are_fetched_again_by_position_from_mariadb() {
    changed_bytes_are_fetched_again(FollowMode::MariaDbFile).await;
}

/// As a byte of the first dump's first statement is changed.
#[tokio::test]
async fn changed_event_is_reported_with_its_position_like_a_lost_connection() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let source = FakeSource::start(binlog.clone()).await;
    let plan = Plan::edit(
        |packets| {
            let ends = packets.iter().position(|packet| packet.ends.is_some());
            let event = &mut packets[ends.unwrap() - 1].event;
            let at = event.len() - 6;
            event[at] ^= 4;
        },
        Then::Nothing,
    );
    source.plan(plan);
    let config = SourceConfig {
        connect_retry_max: Duration::from_secs(3600),
        ..FollowMode::MySqlFile.config(&source)
    };
    let relay = Relay::start(Flavor::MySql, vec![config], vec![at_start(86)]);
    relay.until_executed(binlog.executed()).await;
    let error = relay.statuses[0].last_error().unwrap();
    let open = binlog.boundaries().iter().filter(|(_, open)| *open).count() / 3;
    let boundaries = binlog.boundaries();
    let (begin, _) = boundaries
        .iter()
        .filter(|(_, open)| *open)
        .nth(open - 2)
        .unwrap();
    let expected = format!("at bin.000001:{begin}: Query: checksum mismatch");
    assert!(
        error.message.starts_with(&expected),
        "{expected}: {error:?}"
    );
    assert!(
        error
            .message
            .ends_with("requested again over a new connection"),
        "{error:?}"
    );
    assert_eq!(relay.statuses[0].reconnects.load(Ordering::Relaxed), 1);
    relay.stop().await;
}
