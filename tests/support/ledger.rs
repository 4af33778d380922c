//! Clients that record every commit that their server acknowledges: each inserts rows that count up, one in each
//! transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder};
use tokio::task::JoinHandle;

use super::Deadline;
use super::replication::wait_for_table;
use super::servers::Server;

/// By client, the number of its last row that was acknowledged. All rows before it were acknowledged, too.
pub type Acknowledged = BTreeMap<u32, u64>;

/// Creates the clients' table, and waits until its replicas have it.
pub async fn create(server: &Server, replicas: impl IntoIterator<Item = &Server>) {
    let table = "USE test; CREATE TABLE ledger (client INT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (client, n))";
    server.sql(table).await;
    for replica in replicas {
        wait_for_table(replica, "test", "ledger").await;
    }
}

/// The rows of a server, as client and number.
pub async fn rows(server: &Server) -> BTreeSet<(u32, u64)> {
    let rows = server.rows("SELECT client, n FROM test.ledger").await;
    rows.into_iter().collect()
}

/// The acknowledged rows that a server does not have.
pub async fn lacking(server: &Server, acknowledged: &Acknowledged) -> Vec<(u32, u64)> {
    let found = rows(server).await;
    let all = acknowledged
        .iter()
        .flat_map(|(client, last)| (1..=*last).map(|n| (*client, n)));
    all.filter(|row| !found.contains(row)).collect()
}

/// Waits until a server has all acknowledged rows.
pub async fn wait_for(server: &Server, acknowledged: &Acknowledged, secs: u64) {
    let deadline = Deadline::after_secs(secs);
    loop {
        let lacking = lacking(server, acknowledged).await;
        if lacking.is_empty() {
            return;
        }
        assert!(
            !deadline.passed(),
            "{server}: in {secs} s these rows (client, n) did not arrive, although they were acknowledged: {lacking:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The clients, while they write.
pub struct Ledger {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Client>>,
}

struct Client {
    number: u32,
    /// The last row that was acknowledged.
    last: u64,
    /// Whether it lost its server.
    disconnected: bool,
}

impl Ledger {
    /// Clients with these numbers, which no others of the test may have, begin to write.
    pub async fn start(server: &Server, numbers: Range<u32>, pause: Duration) -> Ledger {
        let stop = Arc::new(AtomicBool::new(false));
        // The default database decides whether a statement passes the relay's filter.
        let opts: Opts = OptsBuilder::from_opts(server.opts())
            .db_name(Some("test"))
            .into();
        let mut clients = Vec::new();
        for number in numbers {
            let client = Client {
                number,
                last: 0,
                disconnected: false,
            };
            let stop = Arc::clone(&stop);
            let conn = Conn::new(opts.clone()).await;
            let conn = conn.unwrap_or_else(|error| panic!("{server}: connect: {error}"));
            clients.push(tokio::spawn(client.run(conn, pause, stop)));
        }
        Ledger { stop, clients }
    }

    /// Ends it; no client has lost its server.
    pub async fn finish(self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.join().await;
        let lost = clients.iter().find(|client| client.disconnected);
        let lost = lost.map(|client| client.number);
        assert_eq!(lost, None, "a client has lost its server");
        totals(clients)
    }

    /// What was acknowledged, once all clients have noticed that their server was killed.
    pub async fn ended(self) -> Acknowledged {
        totals(self.join().await)
    }

    async fn join(self) -> Vec<Client> {
        let mut clients = Vec::new();
        for client in self.clients {
            clients.push(client.await.expect("a client of the ledger ends"));
        }
        clients
    }
}

fn totals(clients: Vec<Client>) -> Acknowledged {
    let of_each = clients.into_iter();
    of_each.map(|client| (client.number, client.last)).collect()
}

impl Client {
    async fn run(mut self, mut conn: Conn, pause: Duration, stop: Arc<AtomicBool>) -> Client {
        while !stop.load(Ordering::Relaxed) {
            let row = format!("({}, {})", self.number, self.last + 1);
            let insert = format!("INSERT INTO ledger VALUES {row}");
            match conn.query_drop(insert).await {
                Ok(()) => self.last += 1,
                Err(Error::Server(error)) => panic!("the ledger, {row}: {error}"),
                Err(_) => {
                    self.disconnected = true;
                    return self;
                }
            }
            tokio::time::sleep(pause).await;
        }
        conn.disconnect().await.ok();
        self
    }
}
