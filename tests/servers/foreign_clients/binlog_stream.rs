//! mysql_async's stream of binlog events.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_core::Stream as _;
use mysql_async::{BinlogStream, BinlogStreamRequest};

use super::packets::{NOT_REPLACED, rotates_to};
use super::sql::connect;
use crate::support::foreign_clients::{Comparison, without_comments};
use crate::support::same_binlog::SameBinlog;

/// Time for all events.
const STREAM_LIMIT: Duration = Duration::from_secs(30);

/// Reads as an application of this package does.
pub async fn binlog_stream(binlog: &SameBinlog, table: &mut Comparison) {
    let names = binlog.file_names();
    let first = names[0].as_bytes();
    let mut received = [Vec::new(), Vec::new()];
    let mut by_gtid = [Vec::new(), Vec::new()];
    for (index, port) in binlog.ports().into_iter().enumerate() {
        let request = BinlogStreamRequest::new(79).with_non_blocking();
        let by_file = request.with_filename(first).with_pos(4);
        received[index] = events(binlog, port, by_file).await;
        if binlog.kind().is_mysql() {
            let request = BinlogStreamRequest::new(79).with_non_blocking();
            by_gtid[index] = events(binlog, port, request.with_gtid()).await;
        }
    }
    let [relay, master] = received;
    let name = "mysql_async, file and position";
    if binlog.kind().is_mariadb() {
        let [relay, master] = [relay, master].map(|lines| without_comments(&lines));
        table.add_until_master_fails(name, &relay, &master, NOT_REPLACED);
    } else {
        table.add(name, &relay, &master);
    }
    if binlog.kind().is_mysql() {
        let [relay, master] = by_gtid;
        table.add("mysql_async, GTID", &relay, &master);
    }
}

async fn events(binlog: &SameBinlog, port: u16, request: BinlogStreamRequest<'_>) -> Vec<String> {
    let stream = connect(port).await.get_binlog_stream(request).await;
    let mut stream = pin!(stream.expect("a stream of events"));
    let stop = binlog.stop_file();
    let mut shown = Vec::new();
    let read = read(&mut stream, &stop, &mut shown);
    let outcome = tokio::time::timeout(STREAM_LIMIT, read).await;
    assert!(
        outcome.is_ok(),
        "port {port}: {} events, and no end",
        shown.len()
    );
    shown
}

async fn read(stream: &mut Pin<&mut BinlogStream>, stop: &str, shown: &mut Vec<String>) {
    while let Some(event) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        let event = match event {
            Ok(event) => event,
            Err(error) => return shown.push(error.to_string()),
        };
        let mut bytes = Vec::new();
        let written = event.write(mysql_async::binlog::BinlogVersion::Version4, &mut bytes);
        written.expect("memory takes it");
        shown.push(format!("{:?} {:?}", event.header(), event.read_data()));
        if rotates_to(&bytes, stop) {
            return;
        }
    }
    shown.push("EOF".to_owned());
}
