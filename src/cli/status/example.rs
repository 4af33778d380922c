//! A report for tests.

use binrelay::sender::ReplicaReport;
use binrelay::status::{ErrorReport, RelayReport, Report, SourceReport, TransactionCounts};

/// Two sources, the first of which was killed, and two replicas.
pub(super) fn report() -> Report {
    let source = |name: &str, port, server_id, state: &str, position, behind, counts: [u64; 4]| {
        let [kept, duplicate, filtered, only_here] = counts;
        SourceReport {
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            state: state.to_owned(),
            server_id: Some(server_id),
            tls: Some("none".to_owned()),
            file: Some("mysql-bin.000001".to_owned()),
            position: Some(position),
            seconds_behind: behind,
            transactions: TransactionCounts {
                received: kept + duplicate,
                kept,
                duplicate,
                filtered,
                repeated: 0,
            },
            only_here: Some(only_here),
            ..SourceReport::default()
        }
    };
    let mut m1 = source("m1", 14123, 86, "connecting", 25842, None, [33, 49, 3, 0]);
    m1.last_error = Some(ErrorReport {
        code: 0,
        message: "127.0.0.1:14123: dump: the peer closed the connection".to_owned(),
        at: "2026-11-27T06:05:44Z".to_owned(),
        resolved_at: None,
    });
    let m2 = source("m2", 10623, 18, "streaming", 25614, Some(0), [50, 30, 0, 1]);
    let replicas = [(101, "s1"), (102, "s2")];
    Report {
        relay: RelayReport {
            version: "0.1.0".to_owned(),
            server_id: 900,
            flavor: Some("mysql".to_owned()),
            state: "running".to_owned(),
            file: Some("relay-bin.000001".to_owned()),
            position: Some(25814),
            gtid_executed: (10..20)
                .map(|number| format!("3e11fa47-71ca-11e1-9e33-c80aa94295{number}:1-83"))
                .collect::<Vec<_>>()
                .join(","),
            uptime_seconds: 1,
            degraded: vec![
                "source m1 is connecting since 2026-11-27T06:05:44Z: 127.0.0.1:14123: dump: the peer closed the connection"
                    .to_owned(),
            ],
            ..RelayReport::default()
        },
        sources: vec![m1, m2],
        replicas: replicas.map(|(id, host)| replica(id, host)).to_vec(),
    }
}

/// A replica that has everything.
pub(super) fn replica(server_id: u32, host: &str) -> ReplicaReport {
    ReplicaReport {
        server_id,
        host: host.to_owned(),
        user: "repl".to_owned(),
        state: "streaming".to_owned(),
        file: "relay-bin.000001".to_owned(),
        position: 25814,
        seconds_behind: Some(0),
        bytes_behind: Some(0),
        bytes_sent: 25576,
        tls: Some("none".to_owned()),
        ..ReplicaReport::default()
    }
}
