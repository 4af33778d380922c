//! Two masters of different versions as sources of one relay, and a replica of the newer version: each
//! master's events keep the form of its version.

use crate::support;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, assert_healthy, attach, retry_each_second, settle_in};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_rows;

const ARRIVAL_SECS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_and_97() {
    both_orders(Kind::MySql56, Kind::MySql).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_and_97() {
    both_orders(Kind::MySql57, Kind::MySql).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_and_57() {
    both_orders(Kind::MySql56, Kind::MySql57).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_105_and_118() {
    both_orders(Kind::MariaDb105, Kind::MariaDb118).await;
}

/// The relay log begins with the form of either master.
async fn both_orders(older: Kind, newer: Kind) {
    let _turn = support::turn();
    for kinds in [[older, newer], [newer, older]] {
        one_order(kinds, newer).await;
    }
}

async fn one_order(kinds: [Kind; 2], replica_kind: Kind) {
    let [first, second] = kinds;
    let (first, second, replica) = tokio::join!(
        Server::start(first, master_options(first, 86)),
        Server::start(second, master_options(second, 18)),
        Server::start(replica_kind, ServerOptions::new(11)),
    );
    let mut relay = Relay::start(RelayOptions {
        replicate_do_db: Vec::new(),
        ..RelayOptions::new(vec![
            SourceOptions::of("first", &first),
            SourceOptions::of("second", &second),
        ])
    });
    relay.wait_streaming().await;
    let at = match replica_kind.is_mariadb() {
        true => StartAt::first_file("relay-bin"),
        false => StartAt::AutoPosition,
    };
    let extra = retry_each_second(replica_kind);
    attach(&replica, RELAY_HOST, relay.port, &at, extra).await;
    let masters = [(&first, "of_first"), (&second, "of_second")];
    for (master, database) in masters {
        let statements = [
            &format!("CREATE DATABASE {database} CHARACTER SET utf8 COLLATE utf8_general_ci"),
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(99), d DECIMAL(9,3), b BLOB, \
             at TIMESTAMP(3) NULL) ENGINE=InnoDB",
        ];
        master
            .sql(&format!(
                "{}; USE {database}; {}",
                statements[0], statements[1]
            ))
            .await;
    }
    for round in 0..6 {
        for (master, database) in masters {
            write(master, database, round).await;
        }
        if round == 2 {
            relay.kill9();
            relay.restart();
        }
    }
    for (master, database) in masters {
        settle_in(database, &[master], &[&replica], ARRIVAL_SECS).await;
        assert_same_rows(master, &replica, database).await;
    }
    assert_healthy(&replica).await;
    relay.assert_running();
    relay.terminate();
    relay.verify();
}

fn master_options(kind: Kind, server_id: u32) -> ServerOptions {
    let mut options = ServerOptions::new(server_id);
    options.binlog_format = Some("MIXED");
    match kind.is_mariadb() {
        true => options.extra(format!("--gtid-domain-id={server_id}")),
        false => options,
    }
}

/// Statements and rows, in the form of each version.
async fn write(master: &Server, database: &str, round: u32) {
    let (one, two, three) = (round * 10, round * 10 + 1, round * 10 + 2);
    master
        .sql(&format!(
            "USE {database}; \
             SET SESSION binlog_format='STATEMENT'; SET @v = 'ä', time_zone = '+02:00'; \
             INSERT INTO t VALUES ({one}, @v, 1.5, 'b', '2024-02-29 12:00:00.5'); \
             SET SESSION binlog_format='ROW'; BEGIN; \
             INSERT INTO t VALUES ({two}, 'row', -2.25, REPEAT('x', 300), NOW(3)), \
             ({three}, NULL, NULL, NULL, NULL); \
             UPDATE t SET v = 'changed' WHERE id = {one}; DELETE FROM t WHERE id = {three}; COMMIT"
        ))
        .await;
}
