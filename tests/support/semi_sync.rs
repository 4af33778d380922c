//! Semi-synchronous replication of real servers: options and status.

use super::servers::{Kind, Server};

/// The words of a kind of server for the two sides.
pub struct Words {
    pub source: &'static str,
    pub replica: &'static str,
}

impl Words {
    pub fn of(kind: Kind) -> Words {
        match kind {
            Kind::MySql => Words {
                source: "source",
                replica: "replica",
            },
            _ => Words {
                source: "master",
                replica: "slave",
            },
        }
    }
}

/// Options of a master with semi-sync on both sides. A commit waits for ten minutes: what is acknowledged
/// to a client was acknowledged by a replica.
pub fn master_extra(kind: Kind) -> Vec<String> {
    let source = Words::of(kind).source;
    let mut options = replica_extra(kind);
    options.extend([
        format!("--loose-rpl-semi-sync-{source}-enabled=1"),
        format!("--loose-rpl-semi-sync-{source}-timeout=600000"),
        format!("--loose-rpl-semi-sync-{source}-wait-point=AFTER_SYNC"),
    ]);
    options
}

/// Options of a replica with semi-sync.
pub fn replica_extra(kind: Kind) -> Vec<String> {
    let replica = Words::of(kind).replica;
    let mut options = vec![format!("--loose-rpl-semi-sync-{replica}-enabled=1")];
    if kind == Kind::MySql {
        options.push(
            "--plugin-load-add=rpl_semi_sync_source=semisync_source.so;\
             rpl_semi_sync_replica=semisync_replica.so"
                .to_owned(),
        );
    }
    options
}

/// A value of SHOW GLOBAL STATUS.
pub async fn global_status(server: &Server, name: &str) -> String {
    let rows: Vec<(String, String)> = server
        .rows(&format!("SHOW GLOBAL STATUS LIKE '{name}'"))
        .await;
    assert_eq!(rows.len(), 1, "{server}: {name}");
    rows[0].1.clone()
}
