//! Clients of other projects receive from the relay what they receive from a real master with the
//! same binlog: its files are copies of the relay's, its server_id is the relay's.
//!
//! So everything can be compared as it is, with one exception: the newest file of
//! each side is its own, and readers that follow the log stop at the ROTATE into it.

mod binlog_stream;
mod drivers;
mod packets;
mod sql;
mod tools;
mod waiting;

use crate::support;
use crate::support::foreign_clients::Comparison;
use crate::support::same_binlog::SameBinlog;
use crate::support::servers::Kind;
use binlog_stream::binlog_stream;
use drivers::drivers;
use packets::packets;
use sql::{listings, queries};
use tools::binlog_tool;
use waiting::waiting;

#[tokio::test(flavor = "multi_thread")]
async fn mysql_clients_get_what_a_master_sends() {
    compare_all(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_clients_get_what_a_master_sends() {
    compare_all(Kind::MariaDb).await;
}

async fn compare_all(kind: Kind) {
    let _turn = support::turn();
    let binlog = SameBinlog::start(kind).await;
    let mut table = Comparison::default();
    let began = std::time::Instant::now();
    let note = |what: &str| println!("{what} after {:?}", began.elapsed());
    queries(&binlog, &mut table).await;
    listings(&binlog, &mut table).await;
    note("queries");
    packets(&binlog, &mut table);
    note("packets");
    binlog_tool(&binlog, &mut table).await;
    note("binlog tool");
    drivers(&binlog, &mut table).await;
    note("drivers");
    binlog_stream(&binlog, &mut table).await;
    note("mysql_async");
    waiting(&binlog, &mut table).await;
    note("waiting");
    table.finish(&format!("{kind}: received from"));
}
