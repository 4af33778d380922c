use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::*;
use crate::config::Config;
use crate::conflicts::Conflicts;
use crate::relay_log::{ReplicaAcknowledgements, ReplicaWait};
use crate::status::{SourceList, SourceParts};

#[tokio::test]
async fn slow_client_is_waited_for() {
    let (mut client, server) = tokio::io::duplex(100);
    let reading = tokio::spawn(read_request(server));
    // A busy machine may keep a client from sending its request at once.
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.write_all(b"{\"continue\":").await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.write_all(b"1}\n").await.unwrap();
    assert_eq!(reading.await.unwrap(), b"{\"continue\":1}\n");
    let (silent, server) = tokio::io::duplex(100);
    assert_eq!(read_request(server).await, b"");
    drop(silent);
}

#[tokio::test]
async fn only_an_unused_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let alive = listen(&path).await.unwrap();
    let error = listen(&path).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(alive);
    listen(&path).await.unwrap();

    let file = dir.path().join("precious");
    std::fs::write(&file, "kept").unwrap();
    let error = listen(&file).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

/// The parts of a relay with one source, `m1`.
fn parts(deciding: mpsc::Sender<ContinueRequest>) -> Parts {
    let text = "[relay]\nserver_id = 1\ndata_dir = \"d\"\nlisten = \"127.0.0.1:3306\"\n\
                [[source]]\nname = \"m1\"\nhost = \"m1\"\nuser = \"repl\"\npassword = \"\"\n";
    let mut config = Config::parse(text, Path::new("binrelay.toml")).unwrap();
    let source = SourceParts {
        number: 0,
        config: config.sources.remove(0),
        changed: Vec::new(),
        status: Arc::default(),
        counters: Arc::default(),
        deciding,
    };
    Parts {
        server_id: 1,
        server_uuid: crate::gtid::Uuid::random(),
        started: Instant::now(),
        sources: SourceList::new(vec![source]),
        conflicts: None,
        acknowledged: Arc::new(ReplicaAcknowledgements::new(ReplicaWait {
            replicas: 0,
            timeout: Duration::ZERO,
        })),
        alert: Mutex::new(config.alert),
    }
}

/// Answers for a relay with one source, `m1`, whose requests go to `m1`; `disconnect` disconnects replicas.
fn answering(
    m1: mpsc::Sender<ContinueRequest>,
    disconnect: impl Fn() + Send + Sync + 'static,
) -> Answering {
    let report = || Report {
        relay: crate::status::RelayReport {
            state: "running".to_owned(),
            ..Default::default()
        },
        sources: Vec::new(),
        replicas: Vec::new(),
    };
    let options = crate::adoption::AdoptionOptions {
        server_id: 1,
        listen: "127.0.0.1:3306".to_owned(),
        user: watch::channel(None).1,
        sources: Vec::new(),
    };
    Answering {
        report: Arc::new(report),
        data_dir: PathBuf::new(),
        parts: Arc::new(parts(m1)),
        adoption: Arc::new(Adoption::new(
            options,
            Box::new(Vec::new),
            watch::channel(None).1,
        )),
        disconnect_replicas: Arc::new(disconnect),
        forget: Arc::new(|_| Decided::Done(String::new())),
        reload: Arc::new(|| Reloaded::Refused(String::new())),
    }
}

#[tokio::test]
async fn replicas_are_disconnected_when_gtids_are_counted_although_the_command_has_ended() {
    let (m1, mut requests) = mpsc::channel(1);
    let (disconnected, mut disconnections) = mpsc::unbounded_channel();
    let answering = answering(m1, move || {
        let _ = disconnected.send(());
    });
    let decision = || {
        let answering = answering.clone();
        let order = ContinueOrder {
            source: "m1".to_owned(),
            at: None,
            new_history: true,
            skip_missing: false,
        };
        tokio::spawn(async move { decide(&answering, &order).await })
    };
    let deciding = decision();
    let request = requests.recv().await.unwrap();
    deciding.abort();
    assert!(deciding.await.unwrap_err().is_cancelled());
    request.counted.send(()).unwrap();
    disconnections.recv().await.unwrap();

    // The replicas are disconnected before the command ends, also when the decision fails in the end.
    let deciding = decision();
    let request = requests.recv().await.unwrap();
    request.counted.send(()).unwrap();
    let _ = request.answer.send(Err("refused".to_owned()));
    let decided = deciding.await.unwrap();
    assert_eq!(decided, Decided::Refused("refused".to_owned()));
    disconnections.try_recv().unwrap();

    // Nothing was counted.
    let deciding = decision();
    let request = requests.recv().await.unwrap();
    drop(request.counted);
    let _ = request.answer.send(Ok("done".to_owned()));
    assert_eq!(deciding.await.unwrap(), Decided::Done("done".to_owned()));
    disconnections.try_recv().unwrap_err();
}

/// The dead master was removed after the conflict that its end had caused.
#[tokio::test]
async fn conflicts_stay_known_when_one_source_is_left() {
    let mut parts = parts(mpsc::channel(1).0);
    let conflicts = Arc::new(Conflicts::default());
    parts.conflicts = Some(conflicts.clone());
    assert!(
        parts.found_conflicts().is_none(),
        "it cannot be in conflict"
    );
    conflicts.add(None);
    assert_eq!(parts.found_conflicts().map(|found| found.count()), Some(1));
}
